//! `AccessPolicy`: who may call a service, and what they may ask of it.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use weft_bundle::spiffe::SpiffeId;

use super::super::check::Checker;
use super::reference::{PortRef, TargetKind, TargetRef};
use super::shapes;
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned, Unread};

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

impl AccessPolicy {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.target_refs.is_empty() {
            checker.invalid(spec.span, "`targetRefs` is empty, so the policy protects nothing");
        }
        for target in &spec.target_refs {
            target.check(checker);
            if target.kind.value.is_route() {
                checker.report(
                    Diagnostic::error(NOT_SUPPORTED, "an access policy for a route is not supported")
                        .at(target.kind.span)
                        .with_note("access is decided where a request arrives, after rewrites and splits")
                        .help("target the Services behind the route, and name paths and methods in `to`"),
                );
            }
            checker.not_yet(
                target.subset.as_ref(),
                "subset",
                "a bundle of its own for each subset: all workloads of a service have one",
            );
            if target.kind.value == TargetKind::Mesh {
                checker.invalid_because(
                    target.kind.span,
                    "an access policy protects services, not the whole mesh",
                    "set `defaults.access` in the Mesh",
                );
            }
        }
        checker.unique(spec.target_refs.iter().map(|t| (t.identity(), t.span)), |_| {
            "the policy names this target twice".to_owned()
        });
        for rule in &spec.rules {
            rule.check(rule.span, checker);
        }
    }
}

impl AccessRule {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        checker.not_empty(self.from.as_ref(), span, "from");
        checker.not_empty(self.to.as_ref(), span, "to");
        for source in self.from.iter().flatten() {
            source.check(checker);
        }
        for operation in self.to.iter().flatten() {
            operation.check(operation.span, checker);
        }
    }
}

impl Source {
    fn check(&self, checker: &mut Checker<'_>) {
        match self {
            Self::Identity(_) => {}
            Self::Network(network) if network.trunc() != network.value => checker.invalid_because(
                network.span,
                format!("`{network}` has address bits beyond its prefix"),
                format!("write `{}`, or a longer prefix", network.trunc()),
            ),
            Self::Network(_) => {}
            Self::Service(service) => {
                let (namespace, name) = match service.split_once('/') {
                    Some((namespace, name)) => (Some(namespace), name),
                    None => (None, service.as_str()),
                };
                checker.subdomain(&Spanned::new(name.to_owned(), service.span), "a service");
                if let Some(namespace) = namespace {
                    checker.label(&Spanned::new(namespace.to_owned(), service.span), "a namespace");
                }
            }
            Self::Namespace(namespace) => checker.label(namespace, "a namespace"),
            Self::Token(token) => checker.not_yet(Some(token), "token", "JWT validation in proxies"),
        }
    }
}

impl Operation {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        checker.not_empty(self.methods.as_ref(), span, "methods");
        checker.not_empty(self.paths.as_ref(), span, "paths");
        checker.not_empty(self.ports.as_ref(), span, "ports");
        if self.methods.is_none() && self.paths.is_none() && self.ports.is_none() {
            checker.invalid_because(
                span,
                "an operation says nothing",
                "leave `to` out to match every operation",
            );
        }
        for method in self.methods.iter().flatten() {
            checker.method(method);
        }
        for path in self.paths.iter().flatten() {
            match &path.value {
                PathMatch::Exact(path) | PathMatch::Prefix(path) => checker.path(path),
                PathMatch::Regex(pattern) => checker.regex(pattern),
            }
        }
    }
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

/// A condition on the caller and on the request; all of it must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRule {
    /// Any of these callers; every caller, known or not, if not set.
    pub from: Option<Vec<Spanned<Source>>>,
    /// Any of these operations; every operation if not set.
    pub to: Option<Vec<Spanned<Operation>>>,
    /// A further condition, in CEL, such as `request.headers['x-env'] != 'test'`. Where it asks about something that is
    /// not there, a rule that allows does not hold, and one that denies or audits does. `weft explain
    /// invalid-expression` lists the attributes and functions.
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
    Network(
        #[serde(deserialize_with = "network")]
        #[schemars(with = "shapes::Network")]
        Spanned<IpNet>,
    ),
    /// A token's claims. Not supported yet.
    Token(Unread),
}

/// A network, or a single address.
fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Spanned<IpNet>, D::Error> {
    let text = Spanned::<String>::deserialize(deserializer)?;
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) => Ok(Spanned::new(network, text.span)),
        Err(_) => {
            Err(D::Error::custom(format_args!("`{}` is not a network such as `10.0.0.0/8`", Short(&text))))
        }
    }
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
