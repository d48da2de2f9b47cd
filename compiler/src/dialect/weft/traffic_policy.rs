//! `TrafficPolicy`: how patiently, how often and where to a service's requests go, and what protects it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::check::Checker;
use super::balancing::{Connection, LoadBalancer};
use super::protection::{Affinity, Fault, HealthCheck, Limits, Outliers, RateLimit};
use super::reference::{TargetKind, TargetRef};
use super::timing::{Retry, Timeouts};
use crate::diagnostic::Diagnostic;
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// How patiently, how often and where to a service's requests go, and what protects it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficPolicy {
    /// What it applies to. The nearest policy wins, field by field: rule, route, subset, port, service, mesh.
    pub target_refs: Vec<Spanned<TargetRef>>,
    /// How long things may take.
    pub timeouts: Option<Spanned<Timeouts>>,
    /// Whether and when requests are tried again.
    pub retry: Option<Spanned<Retry>>,
    /// How an endpoint is chosen.
    pub load_balancer: Option<Spanned<LoadBalancer>>,
    /// How connections are kept.
    pub connection: Option<Spanned<Connection>>,
    /// How much may be in flight.
    pub limits: Option<Spanned<Limits>>,
    /// When an endpoint is left out for a while.
    pub outliers: Option<Spanned<Outliers>>,
    /// How endpoints are asked whether they are well.
    pub health_check: Option<Spanned<HealthCheck>>,
    /// How many requests the service takes, counted by each of its proxies on its own; all must hold.
    pub rate_limits: Option<Vec<Spanned<RateLimit>>>,
    /// Faults to inject, to see how callers cope.
    pub fault: Option<Spanned<Fault>>,
    /// Whether a caller stays with one endpoint.
    pub affinity: Option<Spanned<Affinity>>,
}

impl TrafficPolicy {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.target_refs.is_empty() {
            checker.invalid(spec.span, "`targetRefs` is empty, so the policy applies to nothing");
        }
        for target in &spec.target_refs {
            target.check(checker);
            let kinds = [
                TargetKind::Mesh,
                TargetKind::Service,
                TargetKind::HttpRoute,
                TargetKind::GrpcRoute,
                TargetKind::VirtualService,
            ];
            target.check_kind("a traffic policy", &kinds, checker);
            spec.check_level(target, checker);
            if target.kind.value == TargetKind::Gateway {
                checker.invalid_because(
                    target.kind.span,
                    "a traffic policy is about services and routes, not about a gateway",
                    "name the mesh, or a route of the gateway",
                );
            }
        }
        checker.unique(spec.target_refs.iter().map(|t| (t.identity(), t.span)), |_| {
            "the policy names this target twice".to_owned()
        });
        if let Some(retry) = &spec.retry {
            retry.check(spec.timeouts.as_deref(), checker);
        }
        if let Some(balancer) = &spec.load_balancer {
            balancer.check(checker);
        }
        if let Some(connection) = &spec.connection {
            connection.check(checker);
        }
        if let Some(outliers) = &spec.outliers {
            outliers.check(checker);
        }
        if let Some(health_check) = &spec.health_check {
            HealthCheck::check(health_check, checker);
        }
        checker.not_idle(spec.rate_limits.as_ref(), spec.span, "rateLimits");
        for limit in spec.rate_limits.iter().flatten() {
            limit.check(checker);
        }
        if let Some(fault) = &spec.fault {
            Fault::check(fault, checker);
        }
        if let Some(affinity) = &spec.affinity {
            Affinity::check(affinity, checker);
        }
    }

    /// A field that says nothing about what a target is would have no effect there.
    fn check_level(&self, target: &Spanned<TargetRef>, checker: &mut Checker<'_>) {
        let (wrong, remedy): (Vec<(&str, Span)>, _) = match target.kind.value {
            kind if kind.is_route() => {
                ([self.of_backends(), self.of_callees()].concat(), "target the Service that is called")
            }
            _ if target.subset.is_some() => (
                [self.of_requests(), self.of_callees()].concat(),
                "target the Service, or the route that leads to the subset",
            ),
            _ => return,
        };
        let what = if target.kind.value.is_route() { "a route" } else { "a subset" };
        for (name, span) in wrong {
            checker.report(
                Diagnostic::error(INVALID_VALUE, format!("`{name}` would have no effect on {what}"))
                    .at(span)
                    .related(target.span, "the policy is for this")
                    .help(remedy),
            );
        }
    }

    /// The fields that are about requests, and belong to whoever the caller names.
    fn of_requests(&self) -> Vec<(&'static str, Span)> {
        let timeouts = self.timeouts.as_deref();
        let retry = self.retry.as_deref();
        present([
            ("timeouts.request", timeouts.and_then(|t| place(t.request.as_ref()))),
            ("timeouts.perTry", timeouts.and_then(|t| place(t.per_try.as_ref()))),
            ("timeouts.idle", timeouts.and_then(|t| place(t.idle.as_ref()))),
            ("retry.perTry", retry.and_then(|r| place(r.per_try.as_ref()))),
            ("retry.attempts", retry.and_then(|r| place(r.attempts.as_ref()))),
            ("retry.on", retry.and_then(|r| r.on.as_ref()?.first()).map(|on| on.span)),
            ("retry.methods", retry.and_then(|r| r.methods.as_ref()?.first()).map(|method| method.span)),
            ("retry.backoff", retry.and_then(|r| place(r.backoff.as_ref()))),
            ("fault", place(self.fault.as_ref())),
            ("affinity", place(self.affinity.as_ref())),
        ])
    }

    /// The fields that are about endpoints, and belong to where requests end up.
    fn of_backends(&self) -> Vec<(&'static str, Span)> {
        let timeouts = self.timeouts.as_deref();
        present([
            ("timeouts.connect", timeouts.and_then(|t| place(t.connect.as_ref()))),
            ("timeouts.poolIdle", timeouts.and_then(|t| place(t.pool_idle.as_ref()))),
            ("retry.budget", self.retry.as_deref().and_then(|retry| place(retry.budget.as_ref()))),
            ("loadBalancer", place(self.load_balancer.as_ref())),
            ("connection", place(self.connection.as_ref())),
            ("limits", place(self.limits.as_ref())),
            ("outliers", place(self.outliers.as_ref())),
            ("healthCheck", place(self.health_check.as_ref())),
        ])
    }

    /// The fields that the called service's own proxies act on.
    fn of_callees(&self) -> Vec<(&'static str, Span)> {
        let first = self.rate_limits.as_ref().and_then(|limits| limits.first());
        present([("rateLimits", place(first))])
    }
}

fn place<T>(field: Option<&Spanned<T>>) -> Option<Span> {
    field.map(|field| field.span)
}

fn present<const N: usize>(fields: [(&'static str, Option<Span>); N]) -> Vec<(&'static str, Span)> {
    fields.into_iter().filter_map(|(name, span)| Some((name, span?))).collect()
}

impl TargetKind {
    /// Whether it is a kind of route.
    pub fn is_route(self) -> bool {
        self.route_kind().is_some()
    }
}
