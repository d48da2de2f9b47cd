//! `StringMatch`, and its empty form.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::super::check::Checker;
use crate::yaml::Spanned;

/// `StringMatch`. One key says how a text is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// The whole text.
    Exact(Spanned<String>),
    /// Its beginning, byte by byte.
    Prefix(Spanned<String>),
    /// The whole text, as a regular expression (RE2).
    Regex(Spanned<String>),
}

/// A condition on a header field or a query parameter: a [`StringMatch`], or nothing (`{}`), which asks only that the
/// field is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueMatch {
    /// Any value.
    Present,
    /// A value like this.
    Like(StringMatch),
}

impl StringMatch {
    /// The text or pattern.
    pub fn text(&self) -> &Spanned<String> {
        match self {
            Self::Exact(text) | Self::Prefix(text) | Self::Regex(text) => text,
        }
    }

    /// An empty exact text is only fit for fields that may be empty; an empty prefix matches everything.
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        match self {
            Self::Exact(_) => {}
            Self::Prefix(prefix) if prefix.is_empty() => checker.invalid_because(
                prefix.span,
                "an empty prefix matches everything",
                "leave the condition out",
            ),
            Self::Prefix(_) => {}
            Self::Regex(pattern) => checker.regex(pattern),
        }
    }
}

impl<'de> Deserialize<'de> for ValueMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueMatchVisitor)
    }
}

/// The keys of a [`StringMatch`].
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Way {
    Exact,
    Prefix,
    Regex,
}

struct ValueMatchVisitor;

impl<'de> Visitor<'de> for ValueMatchVisitor {
    type Value = ValueMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`exact`, `prefix` or `regex`, or `{}`")
    }

    fn visit_unit<E: Error>(self) -> Result<ValueMatch, E> {
        Ok(ValueMatch::Present)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ValueMatch, A::Error> {
        let Some(way) = map.next_key()? else { return Ok(ValueMatch::Present) };
        let text = map.next_value()?;
        if map.next_key::<Way>()?.is_some() {
            return Err(A::Error::custom("expected exactly one of `exact`, `prefix` or `regex`"));
        }
        Ok(ValueMatch::Like(match way {
            Way::Exact => StringMatch::Exact(text),
            Way::Prefix => StringMatch::Prefix(text),
            Way::Regex => StringMatch::Regex(text),
        }))
    }
}
