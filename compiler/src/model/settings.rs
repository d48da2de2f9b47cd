//! Traffic settings as people set them: each field on its own, nearest level first.
//!
//! A field that is not set at one level is taken from the next. [`Settings::or`] is that step; which levels there are, and in
//! which order, is in [`super::levels`].
//!
//! Settings know where each of their fields is written, for findings to point there.

use std::sync::{Arc, LazyLock};

use weft_bundle::body::{
    Fault, HashPolicy, HealthCheck, Keepalive, LoadBalancer, Locality, RateLimit, RetryBudget, RetryOn,
    SessionPersistence, Warmup,
};
use weft_bundle::duration::DurationText;

use crate::yaml::{Span, Spanned};

/// One field of [`Settings`]: what documents call it, and how it is read and set.
#[derive(Debug)]
pub struct Setting<T> {
    /// As documents spell it.
    pub name: &'static str,
    read: fn(&Settings) -> Option<&T>,
    write: fn(&mut Settings, T),
}

impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Setting<T> {}

/// Where a field is set.
#[derive(Clone, Debug)]
pub struct Place {
    field: &'static str,
    /// The bytes to underline.
    pub span: Span,
    /// The object that sets it, where that is not the one that the settings belong to.
    pub object: Option<Arc<str>>,
}

/// The struct, and everything that is said once for each field: how it is read, how levels merge, and which fields two levels
/// share.
macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident $setting:ident: $type:ty, $name:literal;)*) => {
        /// Traffic settings; a field that is `None` leaves the decision to the next level. A timeout of zero means no
        /// limit. Settings are equal if they set the same, wherever that is written.
        #[derive(Clone, Debug, Default)]
        pub struct Settings {
            $($(#[$doc])* pub $field: Option<$type>,)*
            /// Where fields are set, of those of which that is known.
            pub(crate) places: Vec<Place>,
        }

        impl PartialEq for Settings {
            fn eq(&self, other: &Self) -> bool {
                $(self.$field == other.$field)&&*
            }
        }

        impl Eq for Settings {}

        impl Settings {
            $($(#[$doc])* pub const $setting: Setting<$type> = Setting {
                name: $name,
                read: |settings| settings.$field.as_ref(),
                write: |settings, value| settings.$field = Some(value),
            };)*

            /// These settings, with what is missing taken from the next level.
            #[must_use]
            pub fn or(mut self, next: &Self) -> Self {
                if next.is_empty() {
                    return self;
                }
                let taken = next.places.iter().filter(|place| !self.sets(place.field)).cloned();
                let taken: Vec<_> = taken.collect();
                self.places.extend(taken);
                Self { $($field: self.$field.or_else(|| next.$field.clone()),)* places: self.places }
            }

            /// What of these settings another level sets too.
            #[must_use]
            pub fn where_set(&self, other: &Self) -> Self {
                let places = self.places.iter().filter(|place| other.sets(place.field)).cloned().collect();
                Self { $($field: other.$field.as_ref().and(self.$field.clone()),)* places }
            }

            /// The names of the fields that both set, as documents spell them.
            pub fn clashes(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$field.is_some() && other.$field.is_some() {
                    names.push($name);
                })*
                names
            }

            fn sets(&self, name: &str) -> bool {
                match name {
                    $($name => self.$field.is_some(),)*
                    _ => false,
                }
            }

            /// Whether nothing is set.
            pub fn is_empty(&self) -> bool {
                true $(&& self.$field.is_none())*
            }
        }
    };
}

settings! {
    /// From the whole request received to response headers, all tries together.
    request REQUEST: DurationText, "timeouts.request";
    /// The same for one try.
    per_try PER_TRY: DurationText, "timeouts.perTry";
    /// Between two frames of a body.
    idle IDLE: DurationText, "timeouts.idle";
    /// To open a connection.
    connect CONNECT: DurationText, "timeouts.connect";
    /// How long an unused connection is kept.
    pool_idle POOL_IDLE: DurationText, "timeouts.poolIdle";
    /// Tries after the first; zero means none.
    retry_attempts RETRY_ATTEMPTS: u32, "retry.attempts";
    /// What makes a try count as failed.
    retry_on RETRY_ON: Vec<RetryOn>, "retry.on";
    /// Methods that may be tried again after bytes were sent.
    retry_methods RETRY_METHODS: Vec<String>, "retry.methods";
    /// The first pause's upper bound.
    backoff_base BACKOFF_BASE: DurationText, "retry.backoff.base";
    /// The longest pause.
    backoff_max BACKOFF_MAX: DurationText, "retry.backoff.max";
    /// How many retries there may be at once.
    retry_budget RETRY_BUDGET: RetryBudget, "retry.budget";
    /// How an endpoint is chosen.
    load_balancer LOAD_BALANCER: LoadBalancer, "loadBalancer.policy";
    /// What a consistent hash is of.
    hash HASH: HashPolicy, "loadBalancer.hash";
    /// Which endpoints are preferred for being near.
    locality LOCALITY: Locality, "loadBalancer.locality";
    /// How new endpoints are eased in.
    warmup WARMUP: Warmup, "loadBalancer.warmup";
    /// Connections in flight.
    max_connections MAX_CONNECTIONS: u32, "limits.connections";
    /// Requests that wait for a connection.
    max_pending MAX_PENDING: u32, "limits.pending";
    /// Requests in flight.
    max_requests MAX_REQUESTS: u32, "limits.requests";
    /// Retries in flight.
    max_retries MAX_RETRIES: u32, "limits.retries";
    /// Requests after which a connection is not used again; zero: no limit.
    requests_per_connection REQUESTS_PER_CONNECTION: u32, "connection.maxRequests";
    /// The age after which a connection is not used again.
    connection_age CONNECTION_AGE: DurationText, "connection.maxAge";
    /// Streams at once on one HTTP/2 connection.
    streams_per_connection STREAMS_PER_CONNECTION: u32, "connection.maxStreams";
    /// TCP keep-alive probes.
    keepalive KEEPALIVE: Keepalive, "connection.keepalive";
    /// Whether HTTP/1.1 requests travel over HTTP/2.
    upgrade_to_http2 UPGRADE_TO_HTTP2: bool, "connection.upgradeToHttp2";
    /// The version of the PROXY protocol that opens a connection.
    proxy_protocol PROXY_PROTOCOL: u8, "connection.proxyProtocol";
    /// When an endpoint is left out: after so many errors in a row; zero: never for these.
    consecutive_errors CONSECUTIVE_ERRORS: u32, "outliers.consecutiveErrors";
    /// After so many errors of gateways in a row.
    consecutive_gateway_errors CONSECUTIVE_GATEWAY_ERRORS: u32, "outliers.consecutiveGatewayErrors";
    /// After so many failures in a row that are not answers, counted apart.
    consecutive_local_failures CONSECUTIVE_LOCAL_FAILURES: u32, "outliers.consecutiveLocalFailures";
    /// How often endpoints are looked at again.
    ejection_interval EJECTION_INTERVAL: DurationText, "outliers.interval";
    /// How long the first time.
    base_ejection BASE_EJECTION: DurationText, "outliers.baseEjection";
    /// Never more than this share at once.
    max_ejected_percent MAX_EJECTED_PERCENT: u32, "outliers.maxEjectedPercent";
    /// With fewer well endpoints than this share, all are used.
    min_healthy_percent MIN_HEALTHY_PERCENT: u32, "outliers.minHealthyPercent";
    /// How endpoints are asked whether they are well.
    health_check HEALTH_CHECK: HealthCheck, "healthCheck";
    /// How many requests the service takes.
    rate_limits RATE_LIMITS: Vec<RateLimit>, "rateLimits";
    /// Faults to inject.
    fault FAULT: Fault, "fault";
    /// Whether a caller stays with one endpoint.
    session SESSION: SessionPersistence, "affinity";
}

/// Most rules set nothing.
static NOTHING: LazyLock<Arc<Settings>> = LazyLock::new(Arc::default);
static BUILT_IN: LazyLock<Settings> = LazyLock::new(Settings::without_a_word);

impl Settings {
    /// These settings, to be kept by many; those that set nothing are kept once.
    pub fn shared(self) -> Arc<Self> {
        if self.is_empty() { Arc::clone(&NOTHING) } else { Arc::new(self) }
    }

    /// What is set of one field.
    pub fn get<T>(&self, setting: Setting<T>) -> Option<&T> {
        (setting.read)(self)
    }

    /// Where one field is set, if that is known.
    pub fn place<T>(&self, setting: Setting<T>) -> Option<&Place> {
        self.place_named(setting.name)
    }

    /// Where the field of a name is set, as [`Settings::clashes`] gives names.
    pub fn place_named(&self, name: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.field == name)
    }

    /// Sets one field, if there is a value, which stands at `span`.
    #[must_use]
    pub fn with<T>(mut self, setting: Setting<T>, value: Option<T>, span: Span) -> Self {
        let Some(value) = value else { return self };
        (setting.write)(&mut self, value);
        self.places.retain(|place| place.field != setting.name);
        self.places.push(Place { field: setting.name, span, object: None });
        self
    }

    /// Sets one field, if it is written.
    #[must_use]
    pub fn written<T: Clone>(self, setting: Setting<T>, written: Option<&Spanned<T>>) -> Self {
        let Some(written) = written else { return self };
        self.with(setting, Some(written.value.clone()), written.span)
    }

    /// These settings, made by an object that is not the one they belong to, as a DestinationRule's of a Service.
    #[must_use]
    pub fn made_by(mut self, object: &str) -> Self {
        let object: Arc<str> = object.into();
        self.places.iter_mut().for_each(|place| place.object = Some(Arc::clone(&object)));
        self
    }

    /// What holds where nobody says anything: 15 s for a request, 5 min between frames (an hour on opaque connections), 1 s to
    /// connect, no retries.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    fn without_a_word() -> Self {
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
        let merged = rule.clone().or(&service).or(Settings::built_in());
        assert_eq!(merged.retry_attempts, Some(2));
        assert_eq!(merged.connect, "2s".parse().ok());
        assert_eq!(merged.request, "15s".parse().ok());
        assert_eq!(rule.clashes(&service), ["retry.attempts"]);
    }

    #[test]
    fn a_merged_field_knows_where_it_is_written() {
        let span = |start| Span::new(crate::source::FileId::default(), start, start + 1);
        let rule = Settings::default().with(Settings::RETRY_ATTEMPTS, Some(2), span(1));
        let service = Settings::default()
            .with(Settings::RETRY_ATTEMPTS, Some(5), span(2))
            .with(Settings::CONNECT, "2s".parse().ok(), span(3))
            .made_by("DestinationRule default/a");
        let merged = rule.or(&service);
        let place = merged.place(Settings::RETRY_ATTEMPTS).unwrap();
        assert_eq!((place.span, place.object.as_deref()), (span(1), None));
        let place = merged.place(Settings::CONNECT).unwrap();
        assert_eq!((place.span, place.object.as_deref()), (span(3), Some("DestinationRule default/a")));
        assert!(merged.place(Settings::REQUEST).is_none());
        // What is set without a place does not take that of a field it hides.
        let bare = Settings { retry_attempts: Some(0), ..Settings::default() }.or(&service);
        assert!(bare.place(Settings::RETRY_ATTEMPTS).is_none());
    }
}
