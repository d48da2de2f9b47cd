//! Predicates: conditions on whatever is known of a request or a connection, for what the flat lists of an access rule
//! cannot say. CEL expressions and Istio's `when` and `not*` fields are compiled to them; proxies know no CEL.
//!
//! ```text
//! Predicate ── all, any, not
//!           ── atoms: text, path, number, address, identity, flag, contains, has
//! ```
//!
//! # Three values
//! A predicate is true, false, or an *error*. An atom about something that is not there is an error: a header that was
//! not sent, the identity of a caller in clear text, the path on a port whose requests cannot be seen. As in CEL, and
//! whatever the order:
//!
//! | | |
//! |---|---|
//! | `all` | false if any part is false, else an error if any is one, else true; `all` of nothing is true |
//! | `any` | true if any part is true, else an error if any is one, else false; `any` of nothing is false |
//! | `not` | an error stays an error |
//! | `has` | is never an error |
//!
//! What an error means is up to the place. In access it fails closed: see [`AccessRule::when`](super::AccessRule).
//!
//! A header may have several lines. An atom about it is asked of each value by itself, never of values joined by
//! commas; where they disagree, the atom is an error. So a rule that allows needs every value to agree, and a rule that
//! denies is not escaped by adding a line.
//!
//! # Form
//! Texts are compared as bytes; regular expressions match the whole text. Connectives nest at most
//! [`Predicate::MAX_DEPTH`] deep, so that every body can be read, and a predicate has at most [`Predicate::MAX_SIZE`]
//! connectives and atoms.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{IdentityMatch, PathMatch, StringMatch, is_false};

/// A condition with three values: true, false, error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Predicate {
    /// Every one; true if there are none.
    All(Vec<Predicate>),
    /// At least one; false if there are none.
    Any(Vec<Predicate>),
    /// The contrary.
    Not(Box<Predicate>),
    /// A text. An error if it is not there.
    Text {
        /// Which.
        of: Attribute,
        /// What it must be.
        is: StringMatch,
    },
    /// The canonical path, for what a text condition cannot say: whole segments, and letters without case.
    Path {
        /// What it must be.
        is: PathMatch,
        /// Whether letters are compared without case.
        #[serde(default, skip_serializing_if = "is_false")]
        ignore_case: bool,
    },
    /// A number. An error if it is not there.
    Number {
        /// Which.
        of: NumberAttribute,
        /// How it is compared.
        is: Comparison,
        /// With what; nearer to zero than 2^53.
        value: i64,
    },
    /// An address, in any of these networks; false if there are none. An error if it is not known.
    Address {
        /// Which.
        of: AddressAttribute,
        /// The networks.
        any: Vec<IpNet>,
    },
    /// The verified identity of the caller, as parsed structure. An error if it has none.
    Identity(IdentityMatch),
    /// A yes or no. An error if it is not there, or is neither.
    Flag(FlagAttribute),
    /// A list with an item that meets the condition. An error if it is not there.
    Contains {
        /// Which.
        of: ListAttribute,
        /// What an item must be.
        is: StringMatch,
    },
    /// Whether something is there. Never an error.
    Has(Attribute),
}

/// A text that is known of a request, of its caller, or of the connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Attribute {
    /// The method, as received.
    Method,
    /// `http` or `https`.
    Scheme,
    /// The host of the authority, in lower case, without its port.
    Host,
    /// The authority, in lower case, with its port if it was sent with one.
    Authority,
    /// The canonical path, without query.
    Path,
    /// What follows `?`, as received; empty if there is none.
    Query,
    /// The value of a header field; the name in lower case. Several values are looked at one by one.
    Header(String),
    /// The verified identity of the caller, `spiffe://…`.
    Identity,
    /// Its trust domain.
    TrustDomain,
    /// Its namespace, if it has the form `/ns/<namespace>/sa/<service account>`.
    Namespace,
    /// Its service account, if it has that form.
    ServiceAccount,
    /// The server name that the client asked for in its TLS greeting.
    Sni,
    /// Who issued the token (`iss`).
    TokenIssuer,
    /// Whom it is about (`sub`).
    TokenSubject,
    /// To whom it was issued (`azp`).
    TokenPresenter,
    /// Issuer and subject, `<iss>/<sub>`: what Istio calls the request's principal.
    TokenPrincipal,
    /// A claim. As a text, an error if it is something else; [`Predicate::Has`] asks for a claim of any kind.
    Claim(ClaimPath),
}

/// The names that lead to a claim: `["realm", "roles"]` is `roles` in the object `realm`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimPath(pub Vec<String>);

/// A whole number that is known of a request, its connection, or its answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NumberAttribute {
    /// The length of a text in code points. An error if the text is not UTF-8.
    Size(Attribute),
    /// The port that the peer connected to.
    DestinationPort,
    /// A claim. An error if it is not a whole number.
    Claim(ClaimPath),
    /// The status of the response. Known in the access log only.
    ResponseCode,
    /// How long the answer took, in milliseconds. Known in the access log only.
    ResponseMilliseconds,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// `==`
    Equal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// An address. IPv4 addresses are never looked at in their IPv6 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressAttribute {
    /// The peer of the connection.
    Source,
    /// The client, as the proxy derives it from forwarding headers of peers it trusts; else the peer.
    Remote,
    /// The address that the peer connected to.
    Destination,
}

/// A yes or no.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FlagAttribute {
    /// A claim that is `true` or `false`.
    Claim(ClaimPath),
}

/// A list of texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ListAttribute {
    /// For whom the token is meant (`aud`); empty if the token does not say.
    TokenAudiences,
    /// A claim. A single text counts as a list of one, as in `aud`; items that are not texts meet no condition. An
    /// error if it is something else.
    Claim(ClaimPath),
}

impl Predicate {
    /// The deepest nesting of `all`, `any` and `not`.
    pub const MAX_DEPTH: usize = 9;

    /// The most connectives and atoms of one predicate.
    pub const MAX_SIZE: usize = 1024;

    /// True, or false.
    pub fn constant(holds: bool) -> Self {
        if holds { Self::All(Vec::new()) } else { Self::Any(Vec::new()) }
    }

    /// Whether it is a constant, and which.
    pub fn as_constant(&self) -> Option<bool> {
        match self {
            Self::All(parts) if parts.is_empty() => Some(true),
            Self::Any(parts) if parts.is_empty() => Some(false),
            _ => None,
        }
    }

    /// `all` of these, in plain form: no `all` in it, no constants, and no `all` around a single part.
    pub fn all_of(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(parts, true)
    }

    /// `any` of these, in the same plain form.
    pub fn any_of(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::joined(parts, false)
    }

    /// The contrary, with every `not` at an atom (De Morgan's laws hold for three values, too).
    pub fn negated(self) -> Self {
        match self {
            Self::All(parts) => Self::any_of(parts.into_iter().map(Self::negated)),
            Self::Any(parts) => Self::all_of(parts.into_iter().map(Self::negated)),
            Self::Not(part) => *part,
            atom => Self::Not(Box::new(atom)),
        }
    }

    /// `neutral` is the constant that makes no difference; the other one decides.
    fn joined(parts: impl IntoIterator<Item = Self>, neutral: bool) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match (part, neutral) {
                (part, _) if part.as_constant() == Some(!neutral) => return part,
                (Self::All(inner), true) | (Self::Any(inner), false) => flat.extend(inner),
                (part, _) => flat.push(part),
            }
        }
        match (flat.pop(), flat.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                flat.extend(last);
                if neutral { Self::All(flat) } else { Self::Any(flat) }
            }
        }
    }

    /// How deep connectives nest: 0 for an atom.
    pub fn depth(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => 1 + parts.iter().map(Self::depth).max().unwrap_or(0),
            Self::Not(part) => 1 + part.depth(),
            _ => 0,
        }
    }

    /// How many connectives and atoms it has.
    pub fn size(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => 1 + parts.iter().map(Self::size).sum::<usize>(),
            Self::Not(part) => 1 + part.size(),
            _ => 1,
        }
    }

    /// Whether it asks about requests, so that it is of no use on a port whose requests cannot be seen.
    pub fn needs_request(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::needs_request),
            Self::Not(part) => part.needs_request(),
            Self::Path { .. } | Self::Flag(_) | Self::Contains { .. } => true,
            Self::Text { of, .. } | Self::Has(of) => of.is_of_request(),
            Self::Number { of, .. } => match of {
                NumberAttribute::Size(of) => of.is_of_request(),
                NumberAttribute::DestinationPort => false,
                NumberAttribute::Claim(_)
                | NumberAttribute::ResponseCode
                | NumberAttribute::ResponseMilliseconds => true,
            },
            Self::Address { of, .. } => *of == AddressAttribute::Remote,
            Self::Identity(_) => false,
        }
    }

    /// Whether it asks about tokens, so that it is of no use where nobody reads any.
    pub fn asks_of_tokens(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::asks_of_tokens),
            Self::Not(part) => part.asks_of_tokens(),
            Self::Flag(FlagAttribute::Claim(_)) | Self::Contains { .. } => true,
            Self::Text { of, .. } | Self::Has(of) => of.is_of_token(),
            Self::Number { of, .. } => match of {
                NumberAttribute::Size(of) => of.is_of_token(),
                NumberAttribute::Claim(_) => true,
                NumberAttribute::DestinationPort
                | NumberAttribute::ResponseCode
                | NumberAttribute::ResponseMilliseconds => false,
            },
            Self::Path { .. } | Self::Address { .. } | Self::Identity(_) => false,
        }
    }
}

impl Attribute {
    /// Whether it is known only of a request that brings a token.
    pub fn is_of_token(&self) -> bool {
        matches!(
            self,
            Self::TokenIssuer
                | Self::TokenSubject
                | Self::TokenPresenter
                | Self::TokenPrincipal
                | Self::Claim(_)
        )
    }

    /// Whether it is known only where requests can be seen. Tokens travel in requests.
    pub fn is_of_request(&self) -> bool {
        !matches!(
            self,
            Self::Identity | Self::TrustDomain | Self::Namespace | Self::ServiceAccount | Self::Sni
        )
    }
}
