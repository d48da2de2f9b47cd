//! Literal texts: which could never be met, and the regular expressions made of them.

use std::ops::Range;

use weft_bundle::body::Attribute;
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{MatchError, split_authority, whole_regex};
use weft_bundle::spiffe::SpiffeId;

use super::Fault;
use crate::yaml::scalar::Short;

/// Methods that everyone writes in upper case.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Why nothing ever meets a literal.
#[derive(Debug)]
pub(super) struct Never {
    message: String,
    help: Option<String>,
}

impl Never {
    fn new(message: impl Into<String>, help: Option<String>) -> Self {
        Self { message: message.into(), help }
    }

    /// The fault, at the literal.
    pub(super) fn at(self, range: &Range<usize>) -> Fault {
        let fault = Fault::invalid(range, self.message);
        match self.help {
            Some(help) => fault.help(help),
            None => fault,
        }
    }
}

/// Whether an attribute can be this text; an identity, if that is what it is.
pub(super) fn exact(of: &Attribute, text: &str) -> Result<Option<SpiffeId>, Never> {
    let shown = Short(text);
    match of {
        Attribute::Identity => match text.parse::<SpiffeId>() {
            Ok(id) => Ok(Some(id)),
            Err(error) => Err(Never::new(format!("`{shown}` is not an identity: {error}"), None)),
        },
        Attribute::Path => match CanonicalPath::parse(text) {
            Ok(path) if path.as_str() == text => Ok(None),
            Ok(path) => Err(Never::new(
                format!("no request has the path `{shown}`"),
                Some(format!("paths are compared in canonical form, which is `{path}`")),
            )),
            Err(refusal) => Err(Never::new(format!("no request has the path `{shown}`: {refusal}"), None)),
        },
        Attribute::Method
            if text != text.to_ascii_uppercase() && METHODS.contains(&text.to_ascii_uppercase().as_str()) =>
        {
            Err(Never::new(
                format!("methods are compared with their case, and no request has `{shown}`"),
                Some(format!("write `{}`", text.to_ascii_uppercase())),
            ))
        }
        Attribute::Scheme if !matches!(text, "http" | "https") => {
            Err(Never::new(format!("`{shown}` is not `http` or `https`"), None))
        }
        Attribute::Host => {
            let (host, _) = split_authority(text);
            let lower = host.to_ascii_lowercase();
            if lower == text {
                return Ok(None);
            }
            let message =
                format!("no request has the host `{shown}`: hosts are in lower case and without port");
            Err(Never::new(message, Some(format!("write `{}`", Short(&lower)))))
        }
        _ => Ok(None),
    }
}

/// Whether an attribute can begin with this text, and whether that is a safe thing to ask.
pub(super) fn prefix(of: &Attribute, text: &str) -> Result<(), Never> {
    match of {
        Attribute::Path if !text.is_empty() && !text.starts_with('/') => Err(Never::new(
            format!("no request's path begins with `{}`", Short(text)),
            Some("paths begin with `/`".to_owned()),
        )),
        // `spiffe://prod` begins the ids of `prod` and of `prod.evil.example`.
        Attribute::Identity if !text.strip_prefix("spiffe://").is_some_and(|rest| rest.contains('/')) => {
            Err(Never::new(
                format!("identities of other trust domains may begin with `{}`, too", Short(text)),
                Some("end the trust domain with `/`, or compare `source.trust_domain`".to_owned()),
            ))
        }
        _ => Ok(()),
    }
}

/// A pattern that matches this text and nothing else.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// A pattern for the whole of a text that has a match of `pattern` somewhere.
pub(super) fn anywhere(pattern: &str) -> String {
    format!("(?s:.*)(?:{pattern})(?s:.*)")
}

/// CEL's `matches` looks for a match anywhere, a predicate's pattern matches the whole: the same pattern, for the whole.
///
/// # Errors
/// What is wrong with the pattern.
pub(super) fn whole(pattern: &str) -> Result<String, MatchError> {
    // On its own first: `a)(?:b` is wrong, though it would fit between our parentheses.
    whole_regex(pattern)?;
    if let Some(inner) = anchored(pattern) {
        return Ok(inner.to_owned());
    }
    // Under `(?x)` a comment at the end would swallow our parenthesis; there, and only there, a line break is no text.
    let loose = anywhere(pattern);
    if whole_regex(&loose).is_ok() {
        return Ok(loose);
    }
    let loose = anywhere(&format!("{pattern}\n"));
    whole_regex(&loose).map(|_| loose)
}

/// What is between `^` and `$`, where these plainly are the ends of the text.
fn anchored(pattern: &str) -> Option<&str> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let plain = !inner.contains(['\\', '|', '#']) && !inner.contains("(?");
    (plain && !inner.starts_with(['*', '+', '?', '{'])).then_some(inner)
}
