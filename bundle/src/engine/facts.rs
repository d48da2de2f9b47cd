//! What is known when a decision is made: the peer, the request, the token, the connection, and later the response.
//!
//! Whatever is not known is none, and an atom of a predicate that asks about it is an error, which access policy treats
//! as the stricter answer. So a proxy that does not know something yet needs no special case.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Request;
use super::access::Peer;

/// What is known of a request, its caller and its connection.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who is calling.
    pub peer: Peer<'a>,
    /// The request; none where requests cannot be seen.
    pub request: Option<&'a Request<'a>>,
    /// The token of the request, verified. Never an unverified one.
    pub token: Option<&'a Token>,
    /// The client's address, derived from forwarding headers of trusted peers, or the peer's.
    pub remote_address: Option<IpAddr>,
    /// The address that the peer connected to.
    pub destination_address: Option<IpAddr>,
    /// The port that the peer connected to. [`Engine::decide`](super::Engine::decide) knows it from the body.
    pub destination_port: Option<u16>,
    /// The server name in the TLS greeting.
    pub sni: Option<&'a str>,
    /// The response, in the access log.
    pub response: Option<ResponseFacts>,
}

/// What is known of a response when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// The status.
    pub code: u16,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
}

impl<'a> Facts<'a> {
    /// That this peer is calling, and nothing else.
    pub fn of(peer: Peer<'a>) -> Self {
        Self {
            peer,
            request: None,
            token: None,
            remote_address: None,
            destination_address: None,
            destination_port: None,
            sni: None,
            response: None,
        }
    }
}

/// The claim that is always a list written as text with spaces.
const SCOPE: &str = "scope";

/// The claims of a token whose signature, times and audience have been verified (RFC 7519).
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    principal: Option<String>,
    claims: Map<String, Value>,
    /// Claims, beside `scope`, that are lists written as text with spaces; one in an object after a dot.
    lists: Vec<String>,
}

impl Token {
    /// A token with these claims.
    pub fn new(claims: Map<String, Value>) -> Self {
        Self::with_lists(claims, Vec::new())
    }

    /// The same, where these claims, beside `scope`, are lists written as text with spaces.
    pub fn with_lists(claims: Map<String, Value>, lists: Vec<String>) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let principal = text("iss").zip(text("sub")).map(|(issuer, subject)| format!("{issuer}/{subject}"));
        Self { principal, claims, lists }
    }

    /// Who issued it (`iss`).
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// Whom it is about (`sub`).
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// To whom it was issued (`azp`).
    pub fn presenter(&self) -> Option<&str> {
        self.text("azp")
    }

    /// `<iss>/<sub>`; none if either is missing.
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// For whom it is meant (`aud`), which may be one text or a list of them. May be empty.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.claims.get("aud").and_then(texts).into_iter().flatten()
    }

    /// The claim that these names lead to, through nested objects.
    pub fn claim(&self, names: &[String]) -> Option<&Value> {
        let (first, rest) = names.split_first()?;
        rest.iter().try_fold(self.claims.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// The texts of the list that these names lead to. A single text is a list of one, or, if it is written with spaces
    /// between its items, of several (RFC 8693, section 4.2). None if it is neither.
    pub fn list(&self, names: &[String]) -> Option<impl Iterator<Item = &str>> {
        let items = texts(self.claim(names)?)?;
        let is_named = |list: &String| list.split('.').eq(names) || matches!(names, [name] if name == list);
        let spaced = matches!(names, [name] if name == SCOPE) || self.lists.iter().any(is_named);
        let separator = move |letter: char| spaced && letter == ' ';
        Some(
            items.flat_map(move |item| item.split(separator).filter(move |part| !spaced || !part.is_empty())),
        )
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }
}

/// The texts of a list, or the one text; none if it is neither. Items that are not texts are left out.
pub(super) fn texts(value: &Value) -> Option<impl Iterator<Item = &str>> {
    let items = match value {
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(items) => items.as_slice(),
        _ => return None,
    };
    Some(items.iter().filter_map(Value::as_str))
}
