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
        convert::retry(spec.retry.as_deref()),
        spec.load_balancer.as_deref().map(balancing).unwrap_or_default(),
        spec.connection.as_deref().map(connection).unwrap_or_default(),
        spec.limits.as_deref().map(limits).unwrap_or_default(),
        spec.outliers.as_deref().map(outliers).unwrap_or_default(),
        Settings {
            health_check: spec.health_check.as_deref().and_then(health_check),
            rate_limits: spec
                .rate_limits
                .as_ref()
                .map(|limits| limits.iter().map(|limit| rate_limit(limit)).collect()),
            fault: spec.fault.as_deref().map(fault),
            session: spec.affinity.as_deref().and_then(affinity),
            ..Settings::default()
        },
    ];
    blocks.iter().fold(Settings::default(), |merged, block| merged.or(block))
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
    Settings {
        load_balancer: copied(&spec.policy),
        hash: spec.hash.as_deref().map(|hash| HashPolicy {
            keys: hash.on.iter().map(|key| hash_key(key)).collect(),
            size: copied(&hash.size),
        }),
        locality: spec.locality.as_deref().map(|locality| Locality {
            distribute: locality
                .distribute
                .iter()
                .map(|distribution| Distribution {
                    from: text(&distribution.from),
                    to: distribution.to.iter().map(|(place, share)| (text(place), share.value)).collect(),
                })
                .collect(),
            failover: locality.failover.iter().map(|pair| (text(&pair.from), text(&pair.to))).collect(),
            priority: locality.priority.iter().map(text).collect(),
        }),
        warmup: spec.warmup.as_deref().map(|warmup| Warmup {
            duration: warmup.duration.value,
            minimum_percent: copied(&warmup.minimum_percent).unwrap_or(10),
            aggression_thousandths: 1000,
        }),
        ..Settings::default()
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
    Settings {
        requests_per_connection: copied(&spec.max_requests),
        connection_age: copied(&spec.max_age),
        streams_per_connection: copied(&spec.max_streams),
        keepalive: spec.keepalive.as_deref().map(|keepalive| Keepalive {
            time: copied(&keepalive.time),
            interval: copied(&keepalive.interval),
            probes: copied(&keepalive.probes),
        }),
        upgrade_to_http2: copied(&spec.upgrade_to_http2),
        proxy_protocol: copied(&spec.proxy_protocol),
        ..Settings::default()
    }
}

fn limits(spec: &weft::Limits) -> Settings {
    Settings {
        max_connections: copied(&spec.connections),
        max_pending: copied(&spec.pending),
        max_requests: copied(&spec.requests),
        max_retries: copied(&spec.retries),
        ..Settings::default()
    }
}

fn outliers(spec: &weft::Outliers) -> Settings {
    Settings {
        consecutive_errors: copied(&spec.consecutive_errors),
        consecutive_gateway_errors: copied(&spec.consecutive_gateway_errors),
        consecutive_local_failures: copied(&spec.consecutive_local_failures),
        ejection_interval: copied(&spec.interval),
        base_ejection: copied(&spec.base_ejection),
        max_ejected_percent: copied(&spec.max_ejected_percent),
        min_healthy_percent: copied(&spec.min_healthy_percent),
        ..Settings::default()
    }
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
