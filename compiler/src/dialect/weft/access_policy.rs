//! `AccessPolicy`: who may call a service, and what they may ask of it.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use weft_bundle::spiffe::SpiffeId;

use super::reference::{PortRef, TargetRef};
use super::shapes;
use crate::yaml::{Opaque, Spanned};

/// Who may call a service, and what they may ask of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessPolicy {
    /// The services, or ports of services, that it protects.
    pub target_refs: Vec<Spanned<TargetRef>>,
    /// What happens to a request that a rule matches. Denials are looked at first, and an audit only records. With at
    /// least one `allow` on a service, everything that is not allowed is denied.
    pub action: Spanned<AccessAction>,
    /// Any of these rules.
    pub rules: Vec<Spanned<AccessRule>>,
}

/// What happens to a request that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum AccessAction {
    /// It passes.
    Allow,
    /// It is refused.
    Deny,
    /// It is recorded, and decided by the other policies.
    Audit,
}

/// A condition on the caller and on the request; both must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRule {
    /// Any of these callers; every caller, known or not, if not set.
    pub from: Option<Vec<Spanned<Source>>>,
    /// Any of these operations; every operation if not set.
    pub to: Option<Vec<Spanned<Operation>>>,
    /// A further condition, in CEL.
    pub when: Option<Spanned<String>>,
}

/// A caller. One key says by what it is known.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Source {
    /// A SPIFFE id, such as `spiffe://prod.example/ns/shop/sa/cart`.
    Identity(#[schemars(with = "shapes::SpiffeId")] Spanned<SpiffeId>),
    /// A service, as `name` in the namespace of this document, or `namespace/name`.
    Service(Spanned<String>),
    /// Every identity of a namespace.
    Namespace(Spanned<String>),
    /// A network, such as `10.0.0.0/8`, as the connection's address.
    Network(#[schemars(with = "shapes::Network")] Spanned<IpNet>),
    /// A token's claims.
    Token(Spanned<Opaque>),
}

/// What is asked for. Every field that is set must hold; within a field any value will do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// Methods, such as `GET`.
    pub methods: Option<Vec<Spanned<String>>>,
    /// Paths, without query.
    pub paths: Option<Vec<Spanned<PathMatch>>>,
    /// Ports of the service, by name or number.
    pub ports: Option<Vec<Spanned<PortRef>>>,
}

/// A condition on a path. One key says how it is compared.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum PathMatch {
    /// The whole path.
    Exact(Spanned<String>),
    /// Whole segments: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(Spanned<String>),
    /// The whole path, as a regular expression.
    Regex(Spanned<String>),
}
