//! What peers may ask of a service: its ports, and who may call them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Limits, Origin, PathMatch, PeerTls, Predicate, Protocol, RateLimit};
use crate::spiffe::{SpiffeId, TrustDomain};

/// A port that peers call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundPort {
    /// The port's name in the service.
    pub name: String,
    /// The number that peers connect to.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where the application listens, `ip:port`.
    pub application: String,
    /// Whether peers must prove who they are.
    pub tls: PeerTls,
    /// Who may call.
    pub access: Access,
    /// The tokens that callers may bring: keys of [`super::Body::token_providers`], sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
    /// How many requests are taken; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// How much may be in flight to the application.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

/// Who may call a port. Audit rules only record; the first deny or allow that matches decides; else `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Ordered: audits, then denials, then allowances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<AccessRule>,
    /// What happens when no rule decides.
    pub otherwise: AccessDefault,
}

/// What happens when no access rule decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessDefault {
    /// Allow or deny.
    pub effect: Verdict,
    /// The document that says so: the mesh's default, or a policy whose presence turned the rest into a refusal.
    pub origin: Origin,
}

/// A final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Let it pass.
    Allow,
    /// Refuse it.
    Deny,
}

/// What an access rule does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Record the request, decide nothing.
    Audit,
    /// Refuse it.
    Deny,
    /// Let it pass.
    Allow,
}

/// One rule of an access list: matches when a peer and an operation match, and the predicate holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// What it does.
    pub effect: Effect,
    /// Where it is written.
    pub origin: Origin,
    /// Any of these peers; empty: every caller, known or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<PeerMatch>,
    /// Any of these operations; empty: every operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<OperationMatch>,
    /// A further condition. Where it is an error, because it asks about something that is not there, a rule that allows
    /// does not hold, and one that denies or audits does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Predicate>,
}

/// A condition on the peer. Every field that is set must hold; within a field any value will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerMatch {
    /// The verified identity. A peer without one matches none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<IdentityMatch>,
    /// The address of the connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
}

/// A condition on an identity, compared as parsed structure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum IdentityMatch {
    /// This one.
    Exact(SpiffeId),
    /// Any `/ns/<namespace>/sa/…` of the trust domain.
    Namespace {
        /// The trust domain.
        trust_domain: TrustDomain,
        /// The namespace.
        namespace: String,
    },
    /// Any of the trust domain.
    TrustDomain(TrustDomain),
}

/// A condition on what is asked for. Every field that is set must hold; within a field any value will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationMatch {
    /// Methods, compared as received.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Canonical paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathMatch>,
}
