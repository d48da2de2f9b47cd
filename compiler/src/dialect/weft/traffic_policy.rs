//! `TrafficPolicy`: how patiently, how often and where to a service's requests go.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_bundle::body;
use weft_bundle::duration::DurationText;

use super::super::check::Checker;
use super::reference::{TargetKind, TargetRef};
use super::shapes;
use crate::diagnostic::Diagnostic;
use crate::yaml::{INVALID_VALUE, Spanned};

/// How patiently, how often and where to a service's requests go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficPolicy {
    /// What it applies to. The nearest policy wins, field by field.
    pub target_refs: Vec<Spanned<TargetRef>>,
    /// How long things may take.
    pub timeouts: Option<Spanned<Timeouts>>,
    /// Whether and when requests are tried again.
    pub retry: Option<Spanned<Retry>>,
    /// How an endpoint is chosen.
    pub load_balancer: Option<Spanned<LoadBalancer>>,
    /// How much may be in flight. Not supported yet.
    pub limits: Option<Spanned<Limits>>,
    /// When an endpoint is left out for a while. Not supported yet.
    pub outliers: Option<Spanned<Outliers>>,
}

impl TrafficPolicy {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.target_refs.is_empty() {
            checker.invalid(spec.span, "`targetRefs` is empty, so the policy applies to nothing");
        }
        for target in &spec.target_refs {
            target.check(checker);
            if target.kind.value == TargetKind::Gateway {
                checker.invalid_because(
                    target.kind.span,
                    "a traffic policy is about services and routes, not about a gateway",
                    "name the mesh, or a route of the gateway",
                );
            }
            checker.not_yet(target.port.as_ref(), "port", "traffic policies of single ports");
        }
        checker.unique(spec.target_refs.iter().map(|t| (t.identity(), t.span)), |_| {
            "the policy names this target twice".to_owned()
        });
        if let Some(retry) = &spec.retry {
            retry.check(spec.timeouts.as_deref(), checker);
        }
        checker.not_yet(spec.limits.as_ref(), "limits", "proxies that bound what is in flight per service");
        checker.not_yet(spec.outliers.as_ref(), "outliers", "proxies that leave failing endpoints out");
    }
}

impl Retry {
    /// On its own, and beside the `timeouts` of the same object.
    pub(super) fn check(&self, timeouts: Option<&Timeouts>, checker: &mut Checker<'_>) {
        if let Some(own) = &self.per_try
            && let Some(other) = timeouts.and_then(|timeouts| timeouts.per_try.as_ref())
        {
            checker.report(
                Diagnostic::error(INVALID_VALUE, "`perTry` is set in `timeouts` and in `retry`")
                    .at(own.span)
                    .related(other.span, "it is here too")
                    .help("set it in one of them"),
            );
        }
        if let Some(attempts) = &self.attempts
            && attempts.value > MAX_ATTEMPTS
        {
            checker
                .invalid(attempts.span, format!("{} retries are more than {MAX_ATTEMPTS}", attempts.value));
        }
        for method in self.methods.iter().flatten() {
            checker.method(method);
        }
        if let Some(percent) = self.budget.as_ref().and_then(|budget| budget.percent.as_ref())
            && percent.value > 100
        {
            checker.invalid(percent.span, format!("{} per cent is more than everything", percent.value));
        }
        if let Some(backoff) = &self.backoff
            && let (Some(base), Some(max)) = (&backoff.base, &backoff.max)
            && base.value > max.value
        {
            checker.invalid(base.span, format!("the first pause, {base}, is longer than the longest, {max}"));
        }
    }
}

/// More tries than this multiply load without helping anybody.
const MAX_ATTEMPTS: u32 = 10;

/// How long things may take. `0s` means without limit.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// A request, all tries together, up to the response's headers.
    #[schemars(with = "Option<shapes::Duration>")]
    pub request: Option<Spanned<DurationText>>,
    /// One try.
    #[schemars(with = "Option<shapes::Duration>")]
    pub per_try: Option<Spanned<DurationText>>,
    /// Between two pieces of a body.
    #[schemars(with = "Option<shapes::Duration>")]
    pub idle: Option<Spanned<DurationText>>,
    /// Opening a connection, TLS included.
    #[schemars(with = "Option<shapes::Duration>")]
    pub connect: Option<Spanned<DurationText>>,
}

/// Whether and when requests are tried again.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Tries after the first; 0 turns retries off.
    #[schemars(range(max = 10))]
    pub attempts: Option<Spanned<u32>>,
    /// How long one try may take.
    #[schemars(with = "Option<shapes::Duration>")]
    pub per_try: Option<Spanned<DurationText>>,
    /// What makes a try count as failed: `connect-failure`, `refused-stream`, `reset`, `gateway-error`, `5xx`, or a
    /// status such as `"503"`.
    #[schemars(with = "Option<Vec<shapes::RetryOn>>")]
    pub on: Option<Vec<Spanned<body::RetryOn>>>,
    /// Methods that may be tried again although the first try may have had an effect; the safe ones if not set.
    pub methods: Option<Vec<Spanned<String>>>,
    /// How many retries there may be at once.
    pub budget: Option<Spanned<Budget>>,
    /// The pauses between tries.
    pub backoff: Option<Spanned<Backoff>>,
}

/// How many retries there may be at once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// Per cent of the requests in flight; 20 if not set.
    #[schemars(range(max = 100))]
    pub percent: Option<Spanned<u32>>,
    /// As many as this in any case; 3 if not set.
    pub min: Option<Spanned<u32>>,
}

/// The pauses between tries.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backoff {
    /// The first pause is drawn from zero to this, and the bound doubles each time.
    #[schemars(with = "Option<shapes::Duration>")]
    pub base: Option<Spanned<DurationText>>,
    /// The bound never grows beyond this.
    #[schemars(with = "Option<shapes::Duration>")]
    pub max: Option<Spanned<DurationText>>,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// The way.
    #[schemars(with = "shapes::LoadBalancerPolicy")]
    pub policy: Spanned<body::LoadBalancer>,
}

/// How much may be in flight.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Open connections.
    pub connections: Option<Spanned<u32>>,
    /// Requests that wait for a connection.
    pub pending: Option<Spanned<u32>>,
    /// Requests in flight.
    pub requests: Option<Spanned<u32>>,
}

/// When an endpoint is left out for a while.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outliers {
    /// After this many errors in a row.
    pub consecutive_errors: Option<Spanned<u32>>,
    /// For this long, and longer each time.
    #[schemars(with = "Option<shapes::Duration>")]
    pub base_ejection: Option<Spanned<DurationText>>,
    /// Never more than this share of the endpoints at once.
    #[schemars(range(max = 100))]
    pub max_ejected_percent: Option<Spanned<u32>>,
}
