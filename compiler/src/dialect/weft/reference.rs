//! References to other objects, as names.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::super::check::Checker;
use super::shapes;
use crate::yaml::Spanned;

/// A service, by name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRef {
    /// The service's name.
    pub name: Spanned<String>,
    /// Its namespace; the namespace of this document if not set.
    pub namespace: Option<Spanned<String>>,
}

impl ServiceRef {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        checker.subdomain(&self.name, "a service");
        if let Some(namespace) = &self.namespace {
            checker.label(namespace, "a namespace");
        }
    }
}

/// What a policy applies to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// The kind of the object.
    pub kind: Spanned<TargetKind>,
    /// The object's name.
    pub name: Spanned<String>,
    /// Its namespace; the namespace of this document if not set.
    pub namespace: Option<Spanned<String>>,
    /// One port of the service, by name or number; all of them if not set.
    pub port: Option<Spanned<PortRef>>,
    /// One subset of the service; all of it if not set.
    pub subset: Option<Spanned<String>>,
    /// One named rule of the route; all of them if not set.
    pub rule: Option<Spanned<String>>,
}

impl TargetRef {
    /// Everything about it that does not depend on the policy.
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        checker.subdomain(&self.name, "an object");
        if let Some(namespace) = &self.namespace {
            checker.label(namespace, "a namespace");
        }
        let is_service = self.kind.value == TargetKind::Service;
        if let Some(port) = self.port.as_ref().filter(|_| !is_service) {
            checker.invalid(port.span, "only a Service has ports");
        }
        if let Some(subset) = self.subset.as_ref().filter(|_| !is_service) {
            checker.invalid(subset.span, "only a Service has subsets");
        }
        if let Some(rule) = self.rule.as_ref().filter(|_| self.kind.value.route_kind().is_none()) {
            checker.invalid(rule.span, "only a route has rules");
        }
        if let (Some(port), Some(_)) = (&self.port, &self.subset) {
            checker.invalid(port.span, "a target is one port or one subset, not both");
        }
    }

    /// What tells two references of one policy apart.
    pub(super) fn identity(&self) -> impl std::hash::Hash + Eq + '_ {
        let namespace = self.namespace.as_ref().map(|namespace| namespace.value.as_str());
        let part = (&self.subset, &self.rule);
        let part = (part.0.as_ref().map(|s| s.value.as_str()), part.1.as_ref().map(|r| r.value.as_str()));
        (self.kind.value, self.name.value.as_str(), namespace, self.port.as_ref().map(|p| &p.value), part)
    }
}

/// The kinds that policies apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TargetKind {
    /// The whole mesh.
    Mesh,
    /// A service.
    Service,
    /// A route of HTTP requests.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// A route of gRPC calls.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
    /// Istio's routes.
    VirtualService,
}

impl TargetKind {
    /// The kind of route, as documents name it; none for what is no route.
    pub fn route_kind(self) -> Option<&'static str> {
        match self {
            Self::Mesh | Self::Service => None,
            Self::HttpRoute => Some("HTTPRoute"),
            Self::GrpcRoute => Some("GRPCRoute"),
            Self::VirtualService => Some("VirtualService"),
        }
    }
}

/// A port of a service, by name or by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortRef {
    /// By name.
    Name(String),
    /// By number.
    Number(u16),
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for PortRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortRefVisitor)
    }
}

struct PortRefVisitor;

impl Visitor<'_> for PortRefVisitor {
    type Value = PortRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name or number of a port")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<PortRef, E> {
        Ok(PortRef::Name(name.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<PortRef, E> {
        match u16::try_from(number) {
            Ok(number @ 1..) => Ok(PortRef::Number(number)),
            _ => Err(E::custom(format_args!("a port is a number from 1 to 65535, not {number}"))),
        }
    }
}

impl JsonSchema for PortRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortRef".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, generator.subschema_for::<shapes::PortNumber>()] })
    }
}
