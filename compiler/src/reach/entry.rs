//! What goes in: one entry of an ordered list, as conditions that must all hold.
//!
//! A rule with several matches is several entries; whoever feeds the list remembers which entry belongs to which rule.

/// Conditions on a request; all that are set must hold. The default matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The canonical path, without query.
    pub path: Option<PathPattern>,
    /// The method, as received.
    pub method: Option<StringPattern>,
    /// The scheme: `http` or `https`.
    pub scheme: Option<StringPattern>,
    /// The authority, lower case, with its port if it has one.
    pub authority: Option<StringPattern>,
    /// The port that the caller names.
    pub port: Option<u16>,
    /// Header fields; names are compared without case.
    pub headers: Vec<FieldCondition>,
    /// Query parameters; names are compared as they are, values after decoding.
    pub query: Vec<FieldCondition>,
    /// Anything else that may be known of a request or its connection, by name: `sni`, `source.namespace`, …
    pub facts: Vec<FieldCondition>,
}

/// A condition on the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// How the path is compared.
    pub kind: PathKind,
    /// Whether ASCII letters are compared without case.
    pub ignore_case: bool,
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// The whole path.
    Exact(String),
    /// Whole segments: `/a` and `/a/` match `/a` and `/a/b`, not `/ab`; `/` matches everything.
    SegmentPrefix(String),
    /// Leading bytes: `/a` matches `/ab`.
    Prefix(String),
    /// The whole path, as a regular expression over bytes: ASCII classes, `.` is any byte but the line feed.
    Regex(String),
}

/// A condition on a text that is always there, or on the value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StringPattern {
    /// The whole text.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// The whole text, as a regular expression over bytes: ASCII classes, `.` is any byte but the line feed.
    Regex(String),
}

/// A condition on a header, a query parameter or a fact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldCondition {
    /// The name of the field.
    pub name: String,
    /// What its value must be.
    pub value: FieldPattern,
    /// Whether the condition is turned round: it then holds exactly when `value` does not, so an absent field
    /// satisfies an inverted text.
    pub invert: bool,
}

/// What is asked of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldPattern {
    /// It is there and its value matches.
    Text(StringPattern),
    /// It is there, perhaps empty.
    Present,
    /// It is not there.
    Absent,
}
