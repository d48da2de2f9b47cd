//! Traffic settings as people set them: each field on its own, nearest level first.
//!
//! Levels, nearest first: rule, route, subset, port, service, dialect default, mesh. A field that is not set at one level is
//! taken from the next. [`Settings::or`] is that step; the order is [`super::routing::settings`]'s.

use std::sync::{Arc, LazyLock};

use weft_bundle::body::{
    Fault, HashPolicy, HealthCheck, Keepalive, LoadBalancer, Locality, RateLimit, RetryBudget, RetryOn,
    SessionPersistence, Warmup,
};
use weft_bundle::duration::DurationText;

/// The struct, and everything that is said once for each field: how levels merge, and which fields two levels share.
macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty, $name:literal;)*) => {
        /// Traffic settings; a field that is `None` leaves the decision to the next level. A timeout of zero means no
        /// limit.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Settings {
            $($(#[$doc])* pub $field: Option<$type>,)*
        }

        impl Settings {
            /// These settings, with what is missing taken from the next level.
            #[must_use]
            pub fn or(self, next: &Self) -> Self {
                Self { $($field: self.$field.or_else(|| next.$field.clone()),)* }
            }

            /// What of these settings another level sets too.
            #[must_use]
            pub fn where_set(&self, other: &Self) -> Self {
                Self { $($field: other.$field.as_ref().and(self.$field.clone()),)* }
            }

            /// The names of the fields that both set, as documents spell them.
            pub fn clashes(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$field.is_some() && other.$field.is_some() {
                    names.push($name);
                })*
                names
            }

            /// Whether nothing is set.
            pub fn is_empty(&self) -> bool {
                *self == Self::default()
            }
        }
    };
}

settings! {
    /// From the whole request received to response headers, all tries together.
    request: DurationText, "timeouts.request";
    /// The same for one try.
    per_try: DurationText, "timeouts.perTry";
    /// Between two frames of a body.
    idle: DurationText, "timeouts.idle";
    /// To open a connection.
    connect: DurationText, "timeouts.connect";
    /// How long an unused connection is kept.
    pool_idle: DurationText, "timeouts.poolIdle";
    /// Tries after the first; zero means none.
    retry_attempts: u32, "retry.attempts";
    /// What makes a try count as failed.
    retry_on: Vec<RetryOn>, "retry.on";
    /// Methods that may be tried again after bytes were sent.
    retry_methods: Vec<String>, "retry.methods";
    /// The first pause's upper bound.
    backoff_base: DurationText, "retry.backoff.base";
    /// The longest pause.
    backoff_max: DurationText, "retry.backoff.max";
    /// How many retries there may be at once.
    retry_budget: RetryBudget, "retry.budget";
    /// How an endpoint is chosen.
    load_balancer: LoadBalancer, "loadBalancer.policy";
    /// What a consistent hash is of.
    hash: HashPolicy, "loadBalancer.hash";
    /// Which endpoints are preferred for being near.
    locality: Locality, "loadBalancer.locality";
    /// How new endpoints are eased in.
    warmup: Warmup, "loadBalancer.warmup";
    /// Connections in flight.
    max_connections: u32, "limits.connections";
    /// Requests that wait for a connection.
    max_pending: u32, "limits.pending";
    /// Requests in flight.
    max_requests: u32, "limits.requests";
    /// Retries in flight.
    max_retries: u32, "limits.retries";
    /// Requests after which a connection is not used again; zero: no limit.
    requests_per_connection: u32, "connection.maxRequests";
    /// The age after which a connection is not used again.
    connection_age: DurationText, "connection.maxAge";
    /// Streams at once on one HTTP/2 connection.
    streams_per_connection: u32, "connection.maxStreams";
    /// TCP keep-alive probes.
    keepalive: Keepalive, "connection.keepalive";
    /// Whether HTTP/1.1 requests travel over HTTP/2.
    upgrade_to_http2: bool, "connection.upgradeToHttp2";
    /// The version of the PROXY protocol that opens a connection.
    proxy_protocol: u8, "connection.proxyProtocol";
    /// When an endpoint is left out: after so many errors in a row; zero: never for these.
    consecutive_errors: u32, "outliers.consecutiveErrors";
    /// After so many errors of gateways in a row.
    consecutive_gateway_errors: u32, "outliers.consecutiveGatewayErrors";
    /// After so many failures in a row that are not answers, counted apart.
    consecutive_local_failures: u32, "outliers.consecutiveLocalFailures";
    /// How often endpoints are looked at again.
    ejection_interval: DurationText, "outliers.interval";
    /// How long the first time.
    base_ejection: DurationText, "outliers.baseEjection";
    /// Never more than this share at once.
    max_ejected_percent: u32, "outliers.maxEjectedPercent";
    /// With fewer well endpoints than this share, all are used.
    min_healthy_percent: u32, "outliers.minHealthyPercent";
    /// How endpoints are asked whether they are well.
    health_check: HealthCheck, "healthCheck";
    /// How many requests the service takes.
    rate_limits: Vec<RateLimit>, "rateLimits";
    /// Faults to inject.
    fault: Fault, "fault";
    /// Whether a caller stays with one endpoint.
    session: SessionPersistence, "affinity";
}

/// Most rules set nothing.
static NOTHING: LazyLock<Arc<Settings>> = LazyLock::new(Arc::default);

impl Settings {
    /// These settings, to be kept by many; those that set nothing are kept once.
    pub fn shared(self) -> Arc<Self> {
        if self.is_empty() { Arc::clone(&NOTHING) } else { Arc::new(self) }
    }

    /// What holds where nobody says anything: 15 s for a request, 5 min between frames, 1 s to connect, no retries.
    pub fn built_in() -> Self {
        let millis = |millis| Some(DurationText::new(std::time::Duration::from_millis(millis)));
        let safe = ["GET", "HEAD", "OPTIONS", "TRACE"].map(str::to_owned);
        Self {
            request: millis(15_000),
            idle: millis(300_000),
            connect: millis(1_000),
            pool_idle: millis(POOL_IDLE_MILLIS),
            retry_attempts: Some(0),
            retry_on: Some(vec![RetryOn::ConnectFailure, RetryOn::RefusedStream]),
            retry_methods: Some(safe.to_vec()),
            backoff_base: millis(25),
            backoff_max: millis(250),
            retry_budget: Some(RetryBudget { percent: 20, min: 3 }),
            load_balancer: Some(LoadBalancer::PeakEwma),
            ..Self::default()
        }
    }
}

/// How much sooner a caller drops an unused connection than the callee, whose limit is a minute: a connection that the
/// callee closes while a request is on its way is the most reported fault of other meshes.
const POOL_IDLE_MILLIS: u64 = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_level_wins_field_by_field() {
        let rule = Settings { retry_attempts: Some(2), ..Settings::default() };
        let service = Settings { retry_attempts: Some(5), connect: "2s".parse().ok(), ..Settings::default() };
        let merged = rule.clone().or(&service).or(&Settings::built_in());
        assert_eq!(merged.retry_attempts, Some(2));
        assert_eq!(merged.connect, "2s".parse().ok());
        assert_eq!(merged.request, "15s".parse().ok());
        assert_eq!(rule.clashes(&service), ["retry.attempts"]);
    }
}
