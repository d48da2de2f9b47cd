//! What a TrafficPolicy does for services under stress: limits, ejection, health checks, rate limits; and faults and
//! affinity.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_bundle::duration::DurationText;

use super::super::check::Checker;
use super::shapes;
use crate::diagnostic::Diagnostic;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD, Spanned};

/// How much may be in flight from one proxy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Open connections.
    pub connections: Option<Spanned<u32>>,
    /// Requests that wait for a connection.
    pub pending: Option<Spanned<u32>>,
    /// Requests in flight.
    pub requests: Option<Spanned<u32>>,
    /// Retries in flight, beside the budget.
    pub retries: Option<Spanned<u32>>,
}

/// When an endpoint is left out for a while. At least one count turns it on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outliers {
    /// After this many errors in a row: no connection, no response, or a status from 500. 0: never for these.
    pub consecutive_errors: Option<Spanned<u32>>,
    /// After this many in a row of 502, 503, 504 or failures to connect. 0: never for these.
    pub consecutive_gateway_errors: Option<Spanned<u32>>,
    /// After this many in a row that are no answers; these then do not count as errors. 0: they do.
    pub consecutive_local_failures: Option<Spanned<u32>>,
    /// How often endpoints are looked at again; 10 s if not set.
    #[schemars(with = "Option<shapes::Duration>")]
    pub interval: Option<Spanned<DurationText>>,
    /// For this long, and longer each time; 30 s if not set.
    #[schemars(with = "Option<shapes::Duration>")]
    pub base_ejection: Option<Spanned<DurationText>>,
    /// Never more than this share of the endpoints at once; 50 if not set. One may always be left out.
    #[schemars(range(max = 100))]
    pub max_ejected_percent: Option<Spanned<u32>>,
    /// With fewer well endpoints than this share, all are used; 0 if not set.
    #[schemars(range(max = 100))]
    pub min_healthy_percent: Option<Spanned<u32>>,
}

/// How endpoints are asked whether they are well: by one of `http`, `grpc` and `tcp`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// Whether it answers a GET with a status from 200 to 299.
    pub http: Option<Spanned<HttpProbe>>,
    /// Whether `grpc.health.v1.Health` says that it serves.
    pub grpc: Option<Spanned<GrpcProbe>>,
    /// Whether it takes a connection.
    pub tcp: Option<Spanned<TcpProbe>>,
    /// How often; 10 s if not set.
    #[schemars(with = "Option<shapes::Duration>")]
    pub interval: Option<Spanned<DurationText>>,
    /// How long an answer may take; 1 s if not set.
    #[schemars(with = "Option<shapes::Duration>")]
    pub timeout: Option<Spanned<DurationText>>,
    /// So many good answers make an endpoint well; 1 if not set.
    #[schemars(range(min = 1))]
    pub healthy_after: Option<Spanned<u32>>,
    /// So many bad ones make it unwell; 3 if not set.
    #[schemars(range(min = 1))]
    pub unhealthy_after: Option<Spanned<u32>>,
}

/// A GET that must be answered well.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// The path.
    pub path: Spanned<String>,
    /// The host; the service's name if not set.
    pub host: Option<Spanned<String>>,
}

/// A question to `grpc.health.v1.Health`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcProbe {
    /// The service asked about; the whole server if not set.
    pub service: Option<Spanned<String>>,
}

/// A connection that must open.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {}

/// How many requests a service takes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// So many.
    #[schemars(range(min = 1))]
    pub requests: Spanned<u32>,
    /// In so much time.
    #[schemars(with = "shapes::Duration")]
    pub per: Spanned<DurationText>,
    /// So many may come at once; as many as `requests` if not set.
    #[schemars(range(min = 1))]
    pub burst: Option<Spanned<u32>>,
    /// What is counted apart; nothing if not set.
    pub by: Option<Spanned<RateLimitKey>>,
}

/// What a rate limit counts apart.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitKey {
    /// Each identity of a caller.
    pub identity: Option<Spanned<bool>>,
    /// Each value of a header field.
    pub header: Option<Spanned<String>>,
}

/// Faults to inject. A delay comes before an abort.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Requests that wait.
    pub delay: Option<Spanned<Delay>>,
    /// Requests that are answered with an error.
    pub abort: Option<Spanned<Abort>>,
}

/// Requests that wait before they go on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delay {
    /// How long.
    #[schemars(with = "shapes::Duration")]
    pub fixed: Spanned<DurationText>,
    /// Which share of them, in per cent; all if not set.
    #[schemars(range(max = 100))]
    pub percent: Option<Spanned<u32>>,
}

/// Requests that are answered with an error and go nowhere: by `status` or by `grpcStatus`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Abort {
    /// The HTTP status.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<Spanned<u16>>,
    /// The gRPC status, as a number.
    #[schemars(range(min = 1, max = 16))]
    pub grpc_status: Option<Spanned<u32>>,
    /// Which share of them, in per cent; all if not set.
    #[schemars(range(max = 100))]
    pub percent: Option<Spanned<u32>>,
}

/// A caller stays with the endpoint that first answered it: by `cookie` or by `header`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Affinity {
    /// The name of the cookie that remembers.
    pub cookie: Option<Spanned<String>>,
    /// The name of the header field that remembers.
    pub header: Option<Spanned<String>>,
    /// When it ends at the latest; a cookie then lives as long, else until the browser ends.
    #[schemars(with = "Option<shapes::Duration>")]
    pub absolute_timeout: Option<Spanned<DurationText>>,
    /// When it ends without use.
    #[schemars(with = "Option<shapes::Duration>")]
    pub idle_timeout: Option<Spanned<DurationText>>,
}

impl Outliers {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        for percent in [&self.max_ejected_percent, &self.min_healthy_percent].into_iter().flatten() {
            checker.percent(percent);
        }
        for time in [&self.interval, &self.base_ejection].into_iter().flatten() {
            checker.some_time(time);
        }
    }
}

impl HealthCheck {
    pub(super) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        let probes = [
            ("http", spec.http.as_ref().map(|probe| probe.span)),
            ("grpc", spec.grpc.as_ref().map(|probe| probe.span)),
            ("tcp", spec.tcp.as_ref().map(|probe| probe.span)),
        ];
        checker.exactly_one(spec.span, &probes);
        if let Some(http) = &spec.http {
            checker.path(&http.path);
        }
        for time in [&spec.interval, &spec.timeout].into_iter().flatten() {
            checker.some_time(time);
        }
        for count in [&spec.healthy_after, &spec.unhealthy_after].into_iter().flatten() {
            checker.at_least_one(count);
        }
    }
}

impl RateLimit {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        checker.at_least_one(&self.requests);
        if let Some(burst) = &self.burst {
            checker.at_least_one(burst);
        }
        checker.some_time(&self.per);
        let Some(by) = &self.by else { return };
        let keys = [
            ("identity", by.identity.as_ref().filter(|identity| identity.value).map(|i| i.span)),
            ("header", by.header.as_ref().map(|header| header.span)),
        ];
        checker.exactly_one(by.span, &keys);
        if let Some(header) = &by.header {
            checker.header_name(header);
        }
    }
}

impl Fault {
    pub(super) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.delay.is_none() && spec.abort.is_none() {
            checker.report(
                Diagnostic::error(MISSING_FIELD, "the fault has no `delay` and no `abort`").at(spec.span),
            );
        }
        if let Some(delay) = &spec.delay {
            checker.some_time(&delay.fixed);
        }
        let shares = [
            spec.delay.as_ref().and_then(|delay| delay.percent.as_ref()),
            spec.abort.as_ref().and_then(|abort| abort.percent.as_ref()),
        ];
        for percent in shares.into_iter().flatten() {
            checker.percent(percent);
        }
        let Some(abort) = &spec.abort else { return };
        let kinds = [
            ("status", abort.status.as_ref().map(|status| status.span)),
            ("grpcStatus", abort.grpc_status.as_ref().map(|status| status.span)),
        ];
        checker.exactly_one(abort.span, &kinds);
        if let Some(status) = &abort.status
            && !(200..=599).contains(&status.value)
        {
            checker.invalid(status.span, format!("{status} is not a status from 200 to 599"));
        }
        if let Some(status) = &abort.grpc_status
            && !(1..=16).contains(&status.value)
        {
            checker.invalid(status.span, format!("{status} is not a gRPC status from 1 to 16"));
        }
    }
}

impl Affinity {
    pub(super) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        let carriers = [
            ("cookie", spec.cookie.as_ref().map(|cookie| cookie.span)),
            ("header", spec.header.as_ref().map(|header| header.span)),
        ];
        checker.exactly_one(spec.span, &carriers);
        if let Some(cookie) = &spec.cookie {
            checker.cookie_name(cookie);
        }
        if let Some(header) = &spec.header {
            checker.header_name(header);
        }
        for time in [&spec.absolute_timeout, &spec.idle_timeout].into_iter().flatten() {
            checker.some_time(time);
        }
        if let (Some(idle), Some(absolute)) = (&spec.idle_timeout, &spec.absolute_timeout)
            && idle.value > absolute.value
        {
            checker.report(
                Diagnostic::error(INVALID_VALUE, "`idleTimeout` is longer than `absoluteTimeout`")
                    .at(idle.span)
                    .related(absolute.span, "the whole session is shorter"),
            );
        }
    }
}
