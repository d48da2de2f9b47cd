//! `timeouts` and `retry`, of a TrafficPolicy and of the Mesh.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_bundle::body;
use weft_bundle::duration::DurationText;

use super::super::check::Checker;
use super::shapes;
use crate::diagnostic::Diagnostic;
use crate::yaml::{INVALID_VALUE, Spanned};

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
    /// How long an unused connection is kept; 50 s if not set, shorter than what our own listeners keep.
    #[schemars(with = "Option<shapes::Duration>")]
    pub pool_idle: Option<Spanned<DurationText>>,
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
    /// What makes a try count as failed: `connect-failure`, `refused-stream`, `reset`, `gateway-error`, `5xx`, a
    /// status such as `"503"`, or a gRPC status such as `unavailable`.
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
