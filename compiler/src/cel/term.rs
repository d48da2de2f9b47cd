//! What a part of an expression comes to: a literal, something known of a request, or a condition.

use std::ops::Range;

use weft_bundle::body::{
    AddressAttribute, Attribute, ClaimPath, FlagAttribute, ListAttribute, NumberAttribute, Predicate,
};

/// What a part of an expression comes to.
#[derive(Clone, Debug)]
pub(super) enum Term {
    /// A condition; a constant one is a literal.
    Condition(Predicate),
    /// A literal text.
    Text(String),
    /// A literal whole number.
    Int(i64),
    /// A literal duration, in milliseconds.
    Duration(i64),
    /// A literal list.
    List(Vec<(Term, Range<usize>)>),
    /// A text of the request.
    Attribute(Attribute),
    /// A number of the request.
    Number(NumberAttribute),
    /// A duration of the request, in milliseconds.
    Milliseconds(NumberAttribute),
    /// An address of the request.
    Address(AddressAttribute),
    /// A list of texts of the request.
    Texts(ListAttribute),
    /// A claim, which may be a text, a number, true or false, or a list.
    Claim(ClaimPath),
    /// All header fields.
    Headers,
    /// All claims.
    Claims,
    /// What attributes belong to, such as `request`.
    Object(String),
}

impl Term {
    /// What it is, in the words of messages.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Condition(_) => "true or false",
            Self::Text(_) | Self::Attribute(_) => "a text",
            Self::Int(_) | Self::Number(_) => "a whole number",
            Self::Duration(_) | Self::Milliseconds(_) => "a duration",
            Self::List(_) | Self::Texts(_) => "a list",
            Self::Address(_) => "an address",
            Self::Claim(_) => "a claim",
            Self::Headers => "the headers",
            Self::Claims => "the claims",
            Self::Object(_) => "a group of attributes",
        }
    }

    /// Whether its value is known here, and not only of a request.
    pub(super) fn is_literal(&self) -> bool {
        match self {
            Self::Text(_) | Self::Int(_) | Self::Duration(_) | Self::List(_) => true,
            Self::Condition(condition) => condition.as_constant().is_some(),
            _ => false,
        }
    }

    /// The condition that it is, if it can be one: a claim that is true or false can.
    pub(super) fn into_condition(self) -> Result<Predicate, Self> {
        match self {
            Self::Condition(condition) => Ok(condition),
            Self::Claim(path) => Ok(Predicate::Flag(FlagAttribute::Claim(path))),
            other => Err(other),
        }
    }
}
