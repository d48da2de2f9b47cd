//! What an untyped text means: the YAML 1.2 core schema.

use std::fmt;

use super::tree::Tag;

/// A scalar, resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'d> {
    /// Nothing: `null`, `~`, or no text at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; the text as written.
    Int(i128, &'d str),
    /// A number with a fraction or exponent; the text as written.
    Float(f64, &'d str),
    /// Anything else, and everything in quotes.
    Text(&'d str),
    /// A tag that the text does not fit, such as `!!int x`.
    Mismatch(&'d str),
}

impl fmt::Display for Scalar<'_> {
    /// As messages call it: `the number 5`, `the text "a"`, `nothing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => write!(f, "the truth value `{value}`"),
            Self::Int(_, text) | Self::Float(_, text) => write!(f, "the number `{}`", Short(text)),
            Self::Text(text) | Self::Mismatch(text) => write!(f, "the text `{}`", Short(text)),
        }
    }
}

/// A text cut to what a message can bear, on one line.
pub(crate) struct Short<'a>(pub(crate) &'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(60) {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        if chars.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// What `text` means; `plain` is false for everything in quotes and in blocks.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<Tag>) -> Scalar<'_> {
    match tag {
        None if plain => untagged(text),
        None | Some(Tag::Str) => Scalar::Text(text),
        Some(tag) => match (tag, untagged(text)) {
            (Tag::Int, value @ Scalar::Int(..))
            | (Tag::Float, value @ Scalar::Float(..))
            | (Tag::Bool, value @ Scalar::Bool(_))
            | (Tag::Null, value @ Scalar::Null) => value,
            (Tag::Float, Scalar::Int(value, text)) => Scalar::Float(value as f64, text),
            _ => Scalar::Mismatch(text),
        },
    }
}

fn untagged(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        _ => number(text).unwrap_or(Scalar::Text(text)),
    }
}

fn number(text: &str) -> Option<Scalar<'_>> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    if let Some(value) = integer(text) {
        return Some(Scalar::Int(value, text));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
        return Some(Scalar::Float(sign * f64::INFINITY, text));
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Scalar::Float(f64::NAN, text));
    }
    let looks_like_one = unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    looks_like_one.then(|| text.parse().ok()).flatten().map(|value| Scalar::Float(value, text))
}

/// `None` also for numbers of more than 38 digits, which then count as floats.
fn integer(text: &str) -> Option<i128> {
    if let Some(octal) = text.strip_prefix("0o") {
        return plain_digits(octal, 8);
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return plain_digits(hex, 16);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = plain_digits(digits, 10)?;
    Some(if text.starts_with('-') { -value } else { value })
}

/// Digits only: `from_str_radix` alone would take a sign.
fn plain_digits(text: &str, radix: u32) -> Option<i128> {
    let legal = !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    legal.then(|| i128::from_str_radix(text, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_schema() {
        for text in
            ["yes", "no", "on", "off", "y", "1.2.3", "10.0.0.4", "-", "+", ".", "1_000", "0x", "1:30", "e5"]
        {
            assert_eq!(untagged(text), Scalar::Text(text), "{text}");
        }
        assert_eq!(untagged("0o17"), Scalar::Int(15, "0o17"));
        assert_eq!(untagged("0x1F"), Scalar::Int(31, "0x1F"));
        assert_eq!(untagged("-12"), Scalar::Int(-12, "-12"));
        assert_eq!(untagged("1.50"), Scalar::Float(1.5, "1.50"));
        assert_eq!(untagged("1e3"), Scalar::Float(1000.0, "1e3"));
        assert_eq!(untagged("~"), Scalar::Null);
        assert_eq!(untagged(""), Scalar::Null);
    }

    #[test]
    fn quotes_and_tags() {
        assert_eq!(resolve("true", false, None), Scalar::Text("true"));
        assert_eq!(resolve("5", true, Some(Tag::Str)), Scalar::Text("5"));
        assert_eq!(resolve("x", true, Some(Tag::Int)), Scalar::Mismatch("x"));
        assert_eq!(resolve("5", true, Some(Tag::Float)), Scalar::Float(5.0, "5"));
    }
}
