//! What can be wrong with a value, in the words of a document's author.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Expected, Unexpected};

use super::Reader;
use crate::diagnostic::{Diagnostic, Edit, Fix, Safety, did_you_mean};
use crate::yaml::scalar::Short;
use crate::yaml::tree::NodeId;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD};

/// What went wrong, and where if that is known yet. Small, as every value that is read may be one.
#[derive(Debug)]
pub(super) struct Error(Box<Fault>);

#[derive(Debug)]
struct Fault {
    analysis: &'static str,
    message: String,
    label: Option<String>,
    help: Option<String>,
    /// What the node's text could become.
    replacement: Option<String>,
    node: Option<NodeId>,
}

impl Error {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self::of(INVALID_VALUE, message)
    }

    pub(super) fn of(analysis: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Fault { analysis, message, label: None, help: None, replacement: None, node: None }))
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// With a text that could stand there instead.
    pub(super) fn replacement(mut self, text: impl Into<String>) -> Self {
        self.0.replacement = Some(text.into());
        self
    }

    /// At `node`, unless a node further inside is known.
    pub(super) fn at(mut self, node: NodeId) -> Self {
        self.0.node.get_or_insert(node);
        self
    }

    pub(super) fn into_diagnostic(self, reader: &Reader<'_>, fallback: NodeId) -> Diagnostic {
        let Fault { analysis, message, label, help, replacement, node } = *self.0;
        let node = node.unwrap_or(fallback);
        let span = reader.document.span(node);
        let path = reader.path(node);
        let message = match (analysis, path.is_empty()) {
            (INVALID_VALUE, false) => format!("`{path}`: {message}"),
            (MISSING_FIELD, false) => format!("`{path}` {message}"),
            (MISSING_FIELD, true) => format!("the document {message}"),
            _ => message,
        };
        let mut diagnostic = Diagnostic::error(analysis, message).at(span);
        diagnostic.label = label;
        diagnostic.help.extend(help);
        diagnostic.fix = replacement.map(|replacement| Fix {
            message: format!("write `{replacement}`"),
            safety: Safety::Unsafe,
            edits: vec![Edit { span, replacement }],
        });
        diagnostic
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", wanted(expected), words(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", wanted(expected), words(found)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let mut error = Self::new(format!("`{}` is not one of {}", Short(variant), listed(expected)));
        if let Some(near) = did_you_mean(variant, expected.iter().copied()) {
            error.0.label = Some(format!("did you mean `{near}`?"));
            error.0.replacement = Some(near.to_owned());
        }
        error
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(MISSING_FIELD, format!("has no `{field}`"))
    }
}

/// Numbers by their range instead of their Rust type.
fn wanted(expected: &dyn Expected) -> Cow<'static, str> {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => "a number from 0 to 255".into(),
        "u16" => "a number from 0 to 65535".into(),
        "u32" => "a number from 0 to 4294967295".into(),
        "u64" | "usize" => "a whole number that is not negative".into(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".into(),
        "a boolean" => "`true` or `false`".into(),
        "a string" => "text".into(),
        _ => text.into(),
    }
}

fn words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("the truth value `{value}`"),
        Unexpected::Unsigned(value) => format!("`{value}`"),
        Unexpected::Signed(value) => format!("`{value}`"),
        Unexpected::Float(value) => format!("`{value}`"),
        Unexpected::Str(text) => format!("the text `{}`", Short(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// "`a`, `b` or `c`".
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
