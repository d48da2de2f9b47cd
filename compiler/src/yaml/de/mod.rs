//! A tree into any `Deserialize` type, with every finding at its node.
//!
//! * Unknown fields and repeated keys are reported and skipped; they do not stop the reading.
//! * A value of a wrong type is reported at the innermost node. In a list, the fields after the list are still read;
//!   either way no value comes out, so nothing half-read goes on.
//! * A field without a value (`rules:`) is an error where fields are strict, because it reads as "everything" in some
//!   places and as "nothing" in others; Kubernetes facts treat it as absent, like the API server.
//! * What hangs below aliases counts against a budget.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::INVALID_YAML;
use super::opaque::UNREAD;
use super::scalar::Scalar;
use super::span::SPANNED;
use super::tree::{Document, NodeId, View};
use crate::diagnostic::Diagnostic;

mod access;
mod error;

use access::{Entries, Items, Place, Variant};
use error::Error;
pub(crate) use error::listed;

/// How many nodes may be read through aliases, per document.
const ALIAS_BUDGET: usize = 10_000;
/// How many findings are put into words, per document.
pub(super) const MAX_FINDINGS: usize = 100;
/// How deep values may nest once aliases are followed; the text alone cannot nest deeper than 64.
const MAX_DEPTH: usize = 128;

/// What is done about fields that a type does not have, and about fields without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// Both are reported.
    Strict,
    /// The first are skipped, the second count as absent.
    Lenient,
}

/// A value, if one could be read whole, and what was wrong.
#[derive(Debug)]
pub struct Outcome<T> {
    /// `None` if a finding left a hole in it.
    pub value: Option<T>,
    /// What was wrong, in the order it was met.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the value at `node`.
pub fn deserialize<'de, T: Deserialize<'de>>(
    document: &'de Document,
    node: NodeId,
    fields: Fields,
) -> Outcome<T> {
    let reader = Reader {
        document,
        top: node,
        fields,
        diagnostics: RefCell::default(),
        broken: Cell::new(false),
        through_aliases: Cell::new(0),
    };
    let result = T::deserialize(Value { reader: &reader, node, key: None, depth: 0, through_alias: false });
    let value = match result {
        Ok(value) if !reader.broken.get() => Some(value),
        Ok(_) => None,
        Err(error) => {
            reader.report(|| error.into_diagnostic(&reader, node));
            None
        }
    };
    Outcome { value, diagnostics: reader.diagnostics.into_inner() }
}

struct Reader<'de> {
    document: &'de Document,
    top: NodeId,
    fields: Fields,
    diagnostics: RefCell<Vec<Diagnostic>>,
    /// Whether an element was reported and left out.
    broken: Cell<bool>,
    through_aliases: Cell<usize>,
}

impl<'de> Reader<'de> {
    /// Adds a finding, unless there are plenty: then it is not even put into words.
    fn report(&self, diagnostic: impl FnOnce() -> Diagnostic) {
        if self.diagnostics.borrow().len() < MAX_FINDINGS {
            let diagnostic = diagnostic();
            self.diagnostics.borrow_mut().push(diagnostic);
        }
    }

    /// What a message calls the place: `spec.rules[0]`.
    fn path(&self, node: NodeId) -> String {
        self.document.path(self.top, node)
    }

    /// The entries of a mapping, each key once, merge keys (`<<`) applied: what is written out beats what is merged,
    /// and an earlier merge beats a later one.
    fn entries(&self, mapping: &'de [(NodeId, NodeId)]) -> Result<Cow<'de, [(NodeId, NodeId)]>, Error> {
        if self.is_plain(mapping) {
            return Ok(mapping.into());
        }
        let mut entries: Vec<(NodeId, NodeId)> = Vec::with_capacity(mapping.len());
        let mut names = HashSet::with_capacity(mapping.len());
        let mut merged = Vec::new();
        for (key, value) in mapping {
            if self.is_merge(*key) {
                self.merge_sources(*value, &mut merged)?;
            } else if names.insert(self.document.text(*key)) {
                entries.push((*key, *value));
            }
        }
        for source in merged {
            let View::Mapping(more) = self.document.view(source) else { continue };
            for (key, value) in more {
                self.spend()?;
                if self.is_merge(*key) {
                    return Err(Error::new("merge keys inside merged mappings are not supported").at(*key));
                }
                if names.insert(self.document.text(*key)) {
                    entries.push((*key, *value));
                }
            }
        }
        Ok(entries.into())
    }

    /// Whether a mapping is as it stands: small, each key once, and no merge key.
    fn is_plain(&self, mapping: &[(NodeId, NodeId)]) -> bool {
        self.document.has_few_keys_once(mapping) && !mapping.iter().any(|(key, _)| self.is_merge(*key))
    }

    fn is_merge(&self, key: NodeId) -> bool {
        self.document.text(key) == Some("<<")
    }

    /// The mappings that a merge key names: one, or a list of them.
    fn merge_sources(&self, value: NodeId, sources: &mut Vec<NodeId>) -> Result<(), Error> {
        let refuse = |node| Err(Error::new("`<<` merges a mapping, or a list of mappings").at(node));
        match self.document.view(value) {
            View::Mapping(_) => sources.push(value),
            View::Sequence(items) => {
                for item in items {
                    match self.document.view(*item) {
                        View::Mapping(_) => sources.push(*item),
                        View::Scalar(_) | View::Sequence(_) | View::Tagged => return refuse(*item),
                    }
                }
            }
            View::Scalar(_) | View::Tagged => return refuse(value),
        }
        Ok(())
    }

    /// Takes from the budget of what may be read through aliases.
    fn spend(&self) -> Result<(), Error> {
        let spent = self.through_aliases.get() + 1;
        self.through_aliases.set(spent);
        if spent > ALIAS_BUDGET {
            return Err(Error::of(
                INVALID_YAML,
                format!("aliases make this document larger than {ALIAS_BUDGET} values"),
            ));
        }
        Ok(())
    }
}

/// A node about to be read.
#[derive(Clone, Copy)]
struct Value<'r, 'de> {
    reader: &'r Reader<'de>,
    node: NodeId,
    /// The key it is the value of.
    key: Option<NodeId>,
    depth: usize,
    through_alias: bool,
}

impl<'r, 'de> Value<'r, 'de> {
    /// A child, or the error that reading goes too far.
    fn child(self, node: NodeId) -> Result<Self, Error> {
        let through_alias = self.through_alias || self.reader.document.is_alias(node);
        if through_alias {
            self.reader.spend().map_err(|error| error.at(node))?;
        }
        if self.depth >= MAX_DEPTH {
            return Err(Error::of(INVALID_YAML, "aliases nest too deep").at(node));
        }
        Ok(Self { node, key: None, depth: self.depth + 1, through_alias, ..self })
    }

    fn view(self) -> View<'de> {
        self.reader.document.view(self.node)
    }

    fn is_null(self) -> bool {
        matches!(self.view(), View::Scalar(Scalar::Null))
    }

    /// The error that something else was expected here.
    fn expected(self, what: &str) -> Error {
        let error = match self.view() {
            View::Scalar(Scalar::Null) if self.reader.fields == Fields::Strict => {
                Error::new("has no value").help(format!("give it {what}, or remove it"))
            }
            view => Error::new(format!("expected {what}, found {}", found(view))),
        };
        error.at(self.node)
    }

    /// The text of a scalar that is text; numbers and truth values need quotes.
    fn str(self) -> Result<&'de str, Error> {
        match self.view() {
            View::Scalar(Scalar::Text(text)) => Ok(text),
            View::Scalar(Scalar::Int(_, text) | Scalar::Float(_, text)) => Err(self.unquoted(text)),
            View::Scalar(Scalar::Bool(_)) => {
                Err(self.unquoted(self.reader.document.text(self.node).unwrap_or_default()))
            }
            _ => Err(self.expected("text")),
        }
    }

    fn unquoted(self, text: &str) -> Error {
        let quoted = format!("\"{text}\"");
        self.expected("text").help(format!("put it in quotes: `{quoted}`")).replacement(quoted)
    }

    /// A whole number. Leading zeros are refused: some readers take them for octal, others for decimal.
    fn int(self) -> Result<i128, Error> {
        match self.view() {
            View::Scalar(Scalar::Int(_, text)) if ambiguous(text) => {
                Err(Error::new(format!("`{text}` is octal to some YAML readers and decimal to others"))
                    .help("leave out the leading zeros")
                    .at(self.node))
            }
            View::Scalar(Scalar::Int(value, _)) => Ok(value),
            View::Scalar(Scalar::Text(text)) if text.parse::<i128>().is_ok() => {
                Err(self.expected("a number").help("remove the quotes"))
            }
            _ => Err(self.expected("a number")),
        }
    }

    fn visit_int<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.int()?;
        if let Ok(value) = u64::try_from(value) {
            visitor.visit_u64(value)
        } else if let Ok(value) = i64::try_from(value) {
            visitor.visit_i64(value)
        } else {
            Err(Error::new(format!("`{value}` is out of range")))
        }
        .map_err(|error| error.at(self.node))
    }

    fn visit_seq<V: Visitor<'de>>(self, items: &'de [NodeId], visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { value: self, items: items.iter() }).map_err(|error| error.at(self.node))
    }

    fn visit_map<V: Visitor<'de>>(
        self,
        mapping: &'de [(NodeId, NodeId)],
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries = self.reader.entries(mapping).map_err(|error| error.at(self.node))?;
        visitor
            .visit_map(Entries { value: self, entries, next: 0, pending: None, known })
            .map_err(|error| error.at(self.node))
    }
}

fn found(view: View<'_>) -> String {
    match view {
        View::Scalar(scalar) => scalar.to_string(),
        View::Sequence(_) => "a list".to_owned(),
        View::Mapping(_) => "a mapping".to_owned(),
        View::Tagged => "a value with a tag of its own".to_owned(),
    }
}

fn ambiguous(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Methods that read a whole number.
macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.visit_int(visitor)
        })*
    };
}

/// Methods that read a text.
macro_rules! texts {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_borrowed_str(self.str()?).map_err(|error: Error| error.at(self.node))
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = Error;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    texts! { deserialize_char deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match self.view() {
            View::Scalar(Scalar::Null) => visitor.visit_unit(),
            View::Scalar(Scalar::Bool(value)) => visitor.visit_bool(value),
            View::Scalar(Scalar::Int(..)) => self.visit_int(visitor),
            View::Scalar(Scalar::Float(value, _)) => visitor.visit_f64(value),
            View::Scalar(Scalar::Text(text)) => visitor.visit_borrowed_str(text),
            View::Sequence(items) => self.visit_seq(items, visitor),
            View::Mapping(entries) => self.visit_map(entries, None, visitor),
            View::Scalar(Scalar::Mismatch(_)) | View::Tagged => Err(self.expected("a value without a tag")),
        };
        result.map_err(|error| error.at(self.node))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.view() {
            View::Scalar(Scalar::Bool(value)) => visitor.visit_bool(value),
            _ => Err(self.expected("`true` or `false`")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.view() {
            View::Scalar(Scalar::Float(value, _)) => visitor.visit_f64(value),
            View::Scalar(Scalar::Int(value, _)) => visitor.visit_f64(value as f64),
            _ => Err(self.expected("a number")),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() && self.reader.fields == Fields::Lenient {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_unit() } else { Err(self.expected("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == SPANNED {
            let span = self.reader.document.span(self.node);
            return visitor.visit_seq(Place { value: self, span, next: 0 });
        }
        if name == UNREAD {
            let span = self.reader.document.span(self.key.unwrap_or(self.node));
            return visitor.visit_seq(Place { value: self, span, next: 0 });
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.view() {
            View::Sequence(items) => self.visit_seq(items, visitor),
            View::Scalar(Scalar::Null) if self.reader.fields == Fields::Lenient => {
                self.visit_seq(&[], visitor)
            }
            View::Scalar(Scalar::Null) => Err(self.expected("a list")),
            View::Scalar(_) | View::Mapping(_) | View::Tagged => {
                Err(self.expected("a list").help("begin each entry with `-`, even if there is only one"))
            }
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.view() {
            View::Mapping(entries) => self.visit_map(entries, None, visitor),
            View::Scalar(Scalar::Null) if self.reader.fields == Fields::Lenient => {
                self.visit_map(&[], None, visitor)
            }
            View::Scalar(_) | View::Sequence(_) | View::Tagged => Err(self.expected("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.view() {
            View::Mapping(entries) => self.visit_map(entries, Some(fields), visitor),
            View::Scalar(Scalar::Null) if self.reader.fields == Fields::Lenient => {
                self.visit_map(&[], Some(fields), visitor)
            }
            View::Scalar(_) | View::Sequence(_) | View::Tagged => Err(self.expected("a mapping")),
        }
    }

    /// A text names a variant; a mapping with one key names it and holds its value.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let variant = match self.view() {
            View::Mapping(mapping) => {
                let entries = self.reader.entries(mapping).map_err(|error| error.at(self.node))?;
                let [(key, content)] = entries.as_ref() else {
                    let count = entries.len();
                    let message =
                        format!("expected exactly one of {}, found {count} keys", error::listed(variants));
                    return Err(Error::new(message).at(self.node));
                };
                Variant { value: self, key: *key, content: Some(*content) }
            }
            View::Scalar(Scalar::Null) => {
                return Err(self.expected(&format!("one of {}", error::listed(variants))));
            }
            View::Scalar(_) => Variant { value: self, key: self.node, content: None },
            View::Sequence(_) | View::Tagged => {
                return Err(self.expected(&format!("one of {}", error::listed(variants))));
            }
        };
        visitor.visit_enum(variant).map_err(|error| error.at(self.node))
    }

    /// Looks at nothing below this node, so it costs nothing.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 }
}
