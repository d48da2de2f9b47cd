//! `TokenProvider`: an issuer of JSON Web Tokens, and what is done with them.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::super::check::Checker;
use super::super::jwks::KeySet;
use super::reference::{TargetKind, TargetRef};
use crate::yaml::{Span, Spanned};

/// An issuer of JSON Web Tokens. A request that brings a token of it must bring a valid one, or it is answered with 401;
/// whether it must bring one at all is said by access policies.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenProvider {
    /// What reads its tokens: services, gateways, namespaces, or the whole mesh.
    pub target_refs: Vec<Spanned<TargetRef>>,
    /// The issuer, as tokens have it in `iss`.
    pub issuer: Spanned<String>,
    /// Audiences of which a token must have one; any if not set.
    pub audiences: Option<Vec<Spanned<String>>>,
    /// The keys that verify tokens: a JSON Web Key Set, pinned here.
    pub jwks: Spanned<KeySource>,
    /// Where a token is looked for, in this order; the header `authorization` after `Bearer ` if not set.
    pub from: Option<Vec<Spanned<TokenLocation>>>,
    /// Whether the token stays in the request that the application gets; `false` if not set.
    pub forward: Option<Spanned<bool>>,
    /// The header that carries the payload, in base64url, to the application.
    pub payload_header: Option<Spanned<String>>,
    /// Claims that headers carry to the application. What callers send in these headers is dropped.
    pub claim_headers: Option<Vec<Spanned<ClaimHeader>>>,
    /// Claims, beside `scope`, that are lists written as text with spaces.
    pub space_delimited_claims: Option<Vec<Spanned<String>>>,
}

/// Where keys are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum KeySource {
    /// A file in the repository, relative to this document, such as `keys/users.jwks`.
    File(Spanned<String>),
    /// The text itself, as JSON.
    Inline(Spanned<String>),
}

/// A place in a request. One key says which.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum TokenLocation {
    /// A header.
    Header(Spanned<HeaderLocation>),
    /// A query parameter.
    Query(Spanned<String>),
    /// A cookie.
    Cookie(Spanned<String>),
}

/// A header that carries a token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderLocation {
    /// Its name.
    pub name: Spanned<String>,
    /// What comes before the token, such as `Bearer `.
    pub prefix: Option<Spanned<String>>,
}

/// A claim that a header carries.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimHeader {
    /// The header's name.
    pub header: Spanned<String>,
    /// The claim.
    pub claim: Spanned<ClaimName>,
}

/// A claim: its name, or the names that lead to it, such as `[ realm, roles ]`. Never empty once checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimName(pub Vec<String>);

impl TokenProvider {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.target_refs.is_empty() {
            checker.invalid(spec.span, "`targetRefs` is empty, so nothing reads its tokens");
        }
        let kinds = [TargetKind::Service, TargetKind::Gateway, TargetKind::Namespace, TargetKind::Mesh];
        for target in &spec.target_refs {
            target.check(checker);
            target.check_kind("a token provider", &kinds, checker);
            if let Some(port) = &target.port {
                checker.invalid(port.span, "tokens are read on all ports of a service");
            }
        }
        checker.unique(spec.target_refs.iter().map(|t| (t.identity(), t.span)), |_| {
            "the provider names this target twice".to_owned()
        });
        if spec.issuer.is_empty() {
            checker.invalid(spec.issuer.span, "`issuer` is empty");
        }
        checker.not_empty(spec.audiences.as_ref(), spec.span, "audiences");
        checker.not_empty(spec.from.as_ref(), spec.span, "from");
        if let KeySource::Inline(text) = &spec.jwks.value
            && let Err(error) = KeySet::parse(text.as_bytes())
        {
            checker.invalid(text.span, format!("`inline` is refused: {error}"));
        }
        spec.check_places(checker);
    }

    fn check_places(&self, checker: &mut Checker<'_>) {
        for location in self.from.iter().flatten() {
            match &location.value {
                TokenLocation::Header(header) => checker.header_name(&header.name),
                TokenLocation::Query(name) | TokenLocation::Cookie(name) if name.is_empty() => {
                    checker.invalid(name.span, "the place of a token has a name");
                }
                TokenLocation::Query(_) | TokenLocation::Cookie(_) => {}
            }
        }
        if let Some(name) = &self.payload_header {
            checker.told_header(name);
        }
        for carried in self.claim_headers.iter().flatten() {
            checker.told_header(&carried.header);
            carried.claim.value.check(carried.claim.span, checker);
        }
        let headers = self.claim_headers.iter().flatten().map(|c| &c.header).chain(&self.payload_header);
        checker.unique(headers.map(|h| (h.to_ascii_lowercase(), h.span)), |name| {
            format!("`{name}` is to carry two things")
        });
    }
}

impl ClaimName {
    pub(super) fn check(&self, span: Span, checker: &mut Checker<'_>) {
        if self.0.is_empty() || self.0.iter().any(String::is_empty) {
            checker.invalid(span, "a claim has a name");
        }
    }
}

impl<'de> Deserialize<'de> for ClaimName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClaimNameVisitor)
    }
}

struct ClaimNameVisitor;

impl<'de> Visitor<'de> for ClaimNameVisitor {
    type Value = ClaimName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a claim, or a list of the names that lead to it")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ClaimName, E> {
        Ok(ClaimName(vec![name.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<ClaimName, A::Error> {
        let mut path = Vec::new();
        while let Some(name) = names.next_element()? {
            path.push(name);
        }
        Ok(ClaimName(path))
    }
}

impl JsonSchema for ClaimName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } }
            ]
        })
    }
}
