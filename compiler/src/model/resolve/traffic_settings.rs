//! The settings that a Weft TrafficPolicy makes, block by block.

use weft_bundle::body::{
    Abort, Delay, Distribution, Fault, Fraction, HashKey, HashPolicy, HealthCheck, Keepalive, Locality,
    Probe, RateLimit, RateLimitKey, SessionCarrier, SessionPersistence, Warmup,
};
use weft_bundle::duration::DurationText;

use super::convert;
use crate::dialect::weft::{self, TrafficPolicy};
use crate::model::Settings;
use crate::yaml::Spanned;

/// Everything that a policy sets.
pub(super) fn of(spec: &TrafficPolicy) -> Settings {
    let blocks = [
        convert::timeouts(spec.timeouts.as_deref()),
        convert::retry(spec.retry.as_ref()),
        spec.load_balancer.as_deref().map(balancing).unwrap_or_default(),
        spec.connection.as_deref().map(connection).unwrap_or_default(),
        spec.limits.as_deref().map(limits).unwrap_or_default(),
        spec.outliers.as_deref().map(outliers).unwrap_or_default(),
        protection(spec),
    ];
    blocks.iter().fold(Settings::default(), |merged, block| merged.or(block))
}

/// What protects a service, and faults.
fn protection(spec: &TrafficPolicy) -> Settings {
    let mut made = Settings::default();
    if let Some(check) = &spec.health_check {
        made = made.with(Settings::HEALTH_CHECK, health_check(check), check.span);
    }
    if let Some(limits) = &spec.rate_limits {
        let span = limits.first().zip(limits.last()).map(|(first, last)| first.span.to(last.span));
        let limits = limits.iter().map(|limit| rate_limit(limit)).collect();
        made = match span {
            Some(span) => made.with(Settings::RATE_LIMITS, Some(limits), span),
            // An empty list, which stands nowhere.
            None => Settings { rate_limits: Some(limits), ..made },
        };
    }
    let made = made.written(Settings::FAULT, block(&spec.fault, fault).as_ref());
    match &spec.affinity {
        Some(written) => made.with(Settings::SESSION, affinity(written), written.span),
        None => made,
    }
}

/// What is made of a block that may be left out, at its place.
fn block<T, U>(written: &Option<Spanned<T>>, made: impl FnOnce(&T) -> U) -> Option<Spanned<U>> {
    written.as_ref().map(|written| written.as_ref().map(made))
}

fn millis(millis: u64) -> DurationText {
    DurationText::new(std::time::Duration::from_millis(millis))
}

/// A value that may be left out.
fn copied<T: Copy>(field: &Option<Spanned<T>>) -> Option<T> {
    field.as_ref().map(|field| field.value)
}

fn text(field: &Spanned<String>) -> String {
    field.value.clone()
}

fn balancing(spec: &weft::LoadBalancer) -> Settings {
    let hash = block(&spec.hash, |hash| HashPolicy {
        keys: hash.on.iter().map(|key| hash_key(key)).collect(),
        size: copied(&hash.size),
    });
    let warmup = block(&spec.warmup, |warmup| Warmup {
        duration: warmup.duration.value,
        minimum_percent: copied(&warmup.minimum_percent).unwrap_or(10),
        aggression_thousandths: 1000,
    });
    Settings::default()
        .written(Settings::LOAD_BALANCER, spec.policy.as_ref())
        .written(Settings::HASH, hash.as_ref())
        .written(Settings::LOCALITY, block(&spec.locality, locality).as_ref())
        .written(Settings::WARMUP, warmup.as_ref())
}

fn locality(written: &weft::balancing::Locality) -> Locality {
    let distribution = |written: &weft::balancing::Distribution| Distribution {
        from: text(&written.from),
        to: written.to.iter().map(|(place, share)| (text(place), share.value)).collect(),
    };
    Locality {
        distribute: written.distribute.iter().map(|written| distribution(written)).collect(),
        failover: written.failover.iter().map(|pair| (text(&pair.from), text(&pair.to))).collect(),
        priority: written.priority.iter().map(text).collect(),
    }
}

fn hash_key(key: &weft::HashKey) -> HashKey {
    match key {
        weft::HashKey::Header(name) => HashKey::Header(name.to_ascii_lowercase()),
        weft::HashKey::Query(name) => HashKey::Query(text(name)),
        weft::HashKey::Source(source) => match source.value {
            weft::HashSource::Address => HashKey::SourceAddress,
        },
        weft::HashKey::Cookie(cookie) => HashKey::Cookie {
            name: text(&cookie.name),
            ttl: copied(&cookie.ttl),
            path: cookie.path.as_ref().map(text),
        },
    }
}

fn connection(spec: &weft::Connection) -> Settings {
    let keepalive = block(&spec.keepalive, |keepalive| Keepalive {
        time: copied(&keepalive.time),
        interval: copied(&keepalive.interval),
        probes: copied(&keepalive.probes),
    });
    Settings::default()
        .written(Settings::REQUESTS_PER_CONNECTION, spec.max_requests.as_ref())
        .written(Settings::CONNECTION_AGE, spec.max_age.as_ref())
        .written(Settings::STREAMS_PER_CONNECTION, spec.max_streams.as_ref())
        .written(Settings::KEEPALIVE, keepalive.as_ref())
        .written(Settings::UPGRADE_TO_HTTP2, spec.upgrade_to_http2.as_ref())
        .written(Settings::PROXY_PROTOCOL, spec.proxy_protocol.as_ref())
}

fn limits(spec: &weft::Limits) -> Settings {
    Settings::default()
        .written(Settings::MAX_CONNECTIONS, spec.connections.as_ref())
        .written(Settings::MAX_PENDING, spec.pending.as_ref())
        .written(Settings::MAX_REQUESTS, spec.requests.as_ref())
        .written(Settings::MAX_RETRIES, spec.retries.as_ref())
}

fn outliers(spec: &weft::Outliers) -> Settings {
    Settings::default()
        .written(Settings::CONSECUTIVE_ERRORS, spec.consecutive_errors.as_ref())
        .written(Settings::CONSECUTIVE_GATEWAY_ERRORS, spec.consecutive_gateway_errors.as_ref())
        .written(Settings::CONSECUTIVE_LOCAL_FAILURES, spec.consecutive_local_failures.as_ref())
        .written(Settings::EJECTION_INTERVAL, spec.interval.as_ref())
        .written(Settings::BASE_EJECTION, spec.base_ejection.as_ref())
        .written(Settings::MAX_EJECTED_PERCENT, spec.max_ejected_percent.as_ref())
        .written(Settings::MIN_HEALTHY_PERCENT, spec.min_healthy_percent.as_ref())
}

/// None without a probe, which was reported while reading.
fn health_check(spec: &weft::HealthCheck) -> Option<HealthCheck> {
    let http = spec
        .http
        .as_deref()
        .map(|http| Probe::Http { path: text(&http.path), host: http.host.as_ref().map(text) });
    let grpc = spec
        .grpc
        .as_deref()
        .map(|grpc| Probe::Grpc { service: grpc.service.as_ref().map(text).unwrap_or_default() });
    Some(HealthCheck {
        probe: http.or(grpc).or_else(|| spec.tcp.as_ref().map(|_| Probe::Tcp))?,
        interval: copied(&spec.interval).unwrap_or(millis(10_000)),
        timeout: copied(&spec.timeout).unwrap_or(millis(1_000)),
        healthy_after: copied(&spec.healthy_after).unwrap_or(1),
        unhealthy_after: copied(&spec.unhealthy_after).unwrap_or(3),
    })
}

fn rate_limit(spec: &weft::RateLimit) -> RateLimit {
    let by = match spec.by.as_deref() {
        Some(by) if by.identity.as_ref().is_some_and(|identity| identity.value) => RateLimitKey::Identity,
        Some(by) => by
            .header
            .as_ref()
            .map_or(RateLimitKey::All, |header| RateLimitKey::Header(header.to_ascii_lowercase())),
        None => RateLimitKey::All,
    };
    let requests = spec.requests.value;
    RateLimit { requests, per: spec.per.value, burst: copied(&spec.burst).unwrap_or(requests), by }
}

fn fault(spec: &weft::Fault) -> Fault {
    let share = |percent: &Option<Spanned<u32>>| match copied(percent) {
        Some(percent) => Fraction::percent(percent),
        None => Fraction::ALL,
    };
    Fault {
        delay: spec
            .delay
            .as_deref()
            .map(|delay| Delay { fixed: delay.fixed.value, share: share(&delay.percent) }),
        abort: spec.abort.as_deref().map(|abort| Abort {
            status: copied(&abort.status).unwrap_or(200),
            grpc_status: copied(&abort.grpc_status),
            share: share(&abort.percent),
        }),
    }
}

/// None without a name, which was reported while reading.
fn affinity(spec: &weft::Affinity) -> Option<SessionPersistence> {
    let absolute_timeout = copied(&spec.absolute_timeout);
    let carrier = match (&spec.cookie, absolute_timeout) {
        (Some(_), Some(_)) => SessionCarrier::PermanentCookie,
        (Some(_), None) => SessionCarrier::Cookie,
        (None, _) => SessionCarrier::Header,
    };
    let name = match (&spec.cookie, &spec.header) {
        (Some(cookie), _) => text(cookie),
        (None, header) => header.as_ref()?.to_ascii_lowercase(),
    };
    Some(SessionPersistence { name, carrier, absolute_timeout, idle_timeout: copied(&spec.idle_timeout) })
}
