//! JSON Web Tokens that a service's callers may bring.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Origin, is_false};

/// An issuer of tokens, and what is done with them. A token that is there must be valid, or the request is answered with
/// 401; that there is none is for access rules to judge.
///
/// A token is believed for [`crate::engine::TOKEN_LEEWAY_SECONDS`] after its `exp`, and as long before its `nbf`, as clocks
/// differ; one without `exp` does not end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenProvider {
    /// Where it is written.
    pub origin: Origin,
    /// The issuer, compared with `iss`.
    pub issuer: String,
    /// Audiences of which a token must have one; empty: any, also none. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// The keys: a JSON Web Key Set, as canonical JSON text, pinned in the repository.
    pub jwks: String,
    /// Where a token is looked for, in order.
    pub locations: Vec<TokenLocation>,
    /// Whether the token stays in the request that is forwarded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub forward: bool,
    /// The header field, lower case, that carries the payload to the application, as the token spells it. What a caller sends
    /// in it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_header: Option<String>,
    /// Header fields, lower case, and the claims that they carry to the application, as paths: texts, numbers and truths as
    /// they are, lists and objects as their JSON in base64url. What a caller sends in these fields is dropped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claim_headers: BTreeMap<String, Vec<String>>,
    /// Claims that are lists written as text with spaces, beside `scope`; one in an object after a dot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub space_delimited_claims: Vec<String>,
}

/// Where a token is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenLocation {
    /// A header field, after a prefix such as `Bearer `.
    Header {
        /// The name, lower case.
        name: String,
        /// What comes before the token, compared without case.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
    },
    /// A query parameter.
    Query(String),
    /// A cookie.
    Cookie(String),
}
