//! Predicates, compiled once and then only evaluated: no allocation, no failure, time linear in predicate and texts.

use http::HeaderMap;
use http::header::HeaderName;
use ipnet::IpNet;
use serde_json::Value;

use super::access::{matches_identity, plain_network};
use super::action::split_authority;
use super::facts::Facts;
use super::matcher::{MatchError, PathMatcher, TextMatcher};
use crate::body::{
    AddressAttribute, Attribute, ClaimPath, Comparison, FlagAttribute, IdentityMatch, ListAttribute,
    NumberAttribute, Predicate,
};
use crate::json::INTEGER_BOUND;

/// What a predicate says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It asks about something that is not there.
    Error,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Error => Self::Error,
        }
    }
}

impl Truth {
    /// What several values of one field say together: what they all say, else an error.
    fn agreed(values: impl Iterator<Item = Self>) -> Self {
        values.reduce(|one, other| if one == other { one } else { Self::Error }).unwrap_or(Self::Error)
    }

    /// The truth of a list: `decisive` if any part is, else an error if any part is, else the contrary of `decisive`.
    fn of_parts(parts: &[Node], decisive: Self, facts: &Facts<'_>) -> Self {
        let mut result = !decisive;
        for part in parts {
            match part.evaluate(facts) {
                truth if truth == decisive => return decisive,
                Self::Error => result = Self::Error,
                _ => {}
            }
        }
        result
    }
}

/// A predicate, ready to be asked.
#[derive(Debug)]
pub struct PredicateMatcher(Node);

impl PredicateMatcher {
    /// Compiles a predicate.
    ///
    /// # Errors
    /// * [`MatchError::Predicate`] if it is deeper or larger than its limits, or has a claim without name or a number
    ///   that is too large.
    /// * [`MatchError::Regex`] and [`MatchError::HeaderName`] as for other conditions.
    pub fn compile(predicate: &Predicate) -> Result<Self, MatchError> {
        if predicate.depth() > Predicate::MAX_DEPTH {
            return Err(MatchError::Predicate("it is nested too deeply"));
        }
        if predicate.size() > Predicate::MAX_SIZE {
            return Err(MatchError::Predicate("it is too large"));
        }
        Node::compile(predicate).map(Self)
    }

    /// What it says of these facts.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Truth {
        self.0.evaluate(facts)
    }
}

#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Text(Lookup, TextMatcher),
    Path(PathMatcher),
    Size(Lookup, Comparison, i64),
    Number(NumberAttribute, Comparison, i64),
    Address(AddressAttribute, Vec<IpNet>),
    Identity(IdentityMatch),
    Flag(ClaimPath),
    Contains(ListAttribute, TextMatcher),
    Has(Lookup),
}

impl Node {
    /// The depth was checked, so the recursion is bounded.
    fn compile(predicate: &Predicate) -> Result<Self, MatchError> {
        let all = |parts: &[Predicate]| parts.iter().map(Self::compile).collect::<Result<_, _>>();
        Ok(match predicate {
            Predicate::All(parts) => Self::All(all(parts)?),
            Predicate::Any(parts) => Self::Any(all(parts)?),
            Predicate::Not(part) => Self::Not(Box::new(Self::compile(part)?)),
            Predicate::Text { of, is } => Self::Text(Lookup::compile(of)?, TextMatcher::compile(is)?),
            Predicate::Path { is, ignore_case } => Self::Path(PathMatcher::compile(is, *ignore_case)?),
            Predicate::Number { value, .. } if value.unsigned_abs() >= INTEGER_BOUND => {
                return Err(MatchError::Predicate("it has a number that is not below 2^53"));
            }
            Predicate::Number { of: NumberAttribute::Size(of), is, value } => {
                Self::Size(Lookup::compile(of)?, *is, *value)
            }
            Predicate::Number { of, is, value } => {
                if let NumberAttribute::Claim(path) = of {
                    check_claim(path)?;
                }
                Self::Number(of.clone(), *is, *value)
            }
            Predicate::Address { of, any } => {
                Self::Address(*of, any.iter().copied().map(plain_network).collect())
            }
            Predicate::Identity(wanted) => Self::Identity(wanted.clone()),
            Predicate::Flag(FlagAttribute::Claim(path)) => {
                check_claim(path)?;
                Self::Flag(path.clone())
            }
            Predicate::Contains { of, is } => {
                if let ListAttribute::Claim(path) = of {
                    check_claim(path)?;
                }
                Self::Contains(of.clone(), TextMatcher::compile(is)?)
            }
            Predicate::Has(of) => Self::Has(Lookup::compile(of)?),
        })
    }

    fn evaluate(&self, facts: &Facts<'_>) -> Truth {
        match self {
            Self::All(parts) => Truth::of_parts(parts, Truth::False, facts),
            Self::Any(parts) => Truth::of_parts(parts, Truth::True, facts),
            Self::Not(part) => !part.evaluate(facts),
            Self::Text(of, is) => of.ask(facts, |text| is.matches(text).into()),
            Self::Path(is) => known(facts.request.map(|request| is.matches(request.path))),
            Self::Size(of, is, value) => {
                of.ask(facts, |text| known(size(text).map(|size| is.holds(size, *value))))
            }
            Self::Number(of, is, value) => known(number(of, facts).map(|number| is.holds(number, *value))),
            Self::Address(of, networks) => known(address(*of, facts).map(|address| {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address))
            })),
            Self::Identity(wanted) => known(facts.peer.identity.map(|id| matches_identity(wanted, id))),
            Self::Flag(path) => known(claim(path, facts).and_then(Value::as_bool)),
            Self::Contains(of, is) => contains(of, is, facts),
            Self::Has(of) => of.is_there(facts).into(),
        }
    }
}

fn check_claim(path: &ClaimPath) -> Result<(), MatchError> {
    if path.0.is_empty() { Err(MatchError::Predicate("it has a claim without a name")) } else { Ok(()) }
}

/// A text to look up; the name of a header is parsed once.
#[derive(Debug)]
enum Lookup {
    Header(HeaderName),
    Other(Attribute),
}

impl Lookup {
    fn compile(attribute: &Attribute) -> Result<Self, MatchError> {
        match attribute {
            Attribute::Header(name) => HeaderName::from_bytes(name.as_bytes())
                .map(Self::Header)
                .map_err(|_| MatchError::HeaderName(name.clone())),
            Attribute::Claim(path) => check_claim(path).map(|()| Self::Other(attribute.clone())),
            _ => Ok(Self::Other(attribute.clone())),
        }
    }

    fn ask(&self, facts: &Facts<'_>, is: impl Fn(&[u8]) -> Truth) -> Truth {
        match self {
            Self::Header(name) => {
                let headers = facts.request.map(|request| request.headers);
                let values = headers.into_iter().flat_map(|headers: &HeaderMap| headers.get_all(name));
                Truth::agreed(values.map(|value| is(value.as_bytes())))
            }
            Self::Other(attribute) => match text(attribute, facts) {
                Some(text) => is(text.as_bytes()),
                None => Truth::Error,
            },
        }
    }

    fn is_there(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Header(name) => facts.request.is_some_and(|request| request.headers.contains_key(name)),
            Self::Other(Attribute::Claim(path)) => claim(path, facts).is_some(),
            Self::Other(attribute) => text(attribute, facts).is_some(),
        }
    }
}

/// The text of an attribute that has one value at most.
fn text<'f>(attribute: &Attribute, facts: &Facts<'f>) -> Option<&'f str> {
    let (request, identity, token) = (facts.request, facts.peer.identity, facts.token);
    match attribute {
        Attribute::Method => request.map(|request| request.method),
        Attribute::Scheme => request.map(|request| request.scheme),
        Attribute::Host => request.map(|request| split_authority(request.authority).0),
        Attribute::Authority => request.map(|request| request.authority),
        Attribute::Path => request.map(|request| request.path.as_str()),
        Attribute::Query => request.map(|request| request.query.unwrap_or_default()),
        // Looked up by [`Lookup`], which never comes here with a header.
        Attribute::Header(_) => None,
        Attribute::Identity => identity.map(|id| id.as_str()),
        Attribute::TrustDomain => identity.map(|id| id.trust_domain().as_str()),
        Attribute::Namespace => identity?.namespace(),
        Attribute::ServiceAccount => identity?.service_account(),
        Attribute::Sni => facts.sni,
        Attribute::TokenIssuer => token?.issuer(),
        Attribute::TokenSubject => token?.subject(),
        Attribute::TokenPresenter => token?.presenter(),
        Attribute::TokenPrincipal => token?.principal(),
        Attribute::Claim(path) => claim(path, facts)?.as_str(),
    }
}

fn number(attribute: &NumberAttribute, facts: &Facts<'_>) -> Option<i64> {
    match attribute {
        // Asked through [`Node::Size`], because a header may have several values.
        NumberAttribute::Size(_) => None,
        NumberAttribute::DestinationPort => facts.destination_port.map(i64::from),
        NumberAttribute::Claim(path) => claim(path, facts)?.as_i64(),
        NumberAttribute::ResponseCode => facts.response.map(|response| i64::from(response.code)),
        NumberAttribute::ResponseMilliseconds => {
            let duration = facts.response?.duration;
            Some(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
        }
    }
}

fn address(attribute: AddressAttribute, facts: &Facts<'_>) -> Option<std::net::IpAddr> {
    match attribute {
        AddressAttribute::Source => Some(facts.peer.address),
        AddressAttribute::Remote => facts.remote_address,
        AddressAttribute::Destination => facts.destination_address,
    }
}

fn claim<'f>(path: &ClaimPath, facts: &Facts<'f>) -> Option<&'f Value> {
    facts.token?.claim(&path.0)
}

fn contains(list: &ListAttribute, is: &TextMatcher, facts: &Facts<'_>) -> Truth {
    let meets = |item: &str| is.matches(item.as_bytes());
    known(match list {
        ListAttribute::TokenAudiences => facts.token.map(|token| token.audiences().any(meets)),
        ListAttribute::Claim(path) => {
            facts.token.and_then(|token| token.list(&path.0)).map(|mut items| items.any(meets))
        }
    })
}

/// The length in code points, as CEL's `size`.
fn size(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    i64::try_from(text.chars().count()).ok()
}

fn known(answer: Option<bool>) -> Truth {
    answer.map_or(Truth::Error, Truth::from)
}

impl Comparison {
    /// Whether it holds between two numbers.
    pub fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

#[cfg(test)]
mod tests;
