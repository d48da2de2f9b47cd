//! The parts of a traffic policy, as settings.

use weft_bundle::body::{
    Distribution, HashKey, HashPolicy, Keepalive, LoadBalancer, Locality, RetryBudget, Warmup,
};
use weft_bundle::duration::DurationText;

use crate::dialect::istio::destination_rule::{
    ConnectionPoolSettings, ConsistentHash, H2UpgradePolicy, LoadBalancerSettings, LocalityLbSetting,
    OutlierDetection, PortTrafficPolicy, ProxyProtocol, ProxyProtocolVersion, SimpleLb,
};
use crate::dialect::istio::{self, TrafficPolicy};
use crate::model::{Port, Settings};
use crate::yaml::{Span, Spanned};

/// What of a policy can be replaced on its own.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts<'p> {
    pub(super) load_balancer: Option<&'p Spanned<LoadBalancerSettings>>,
    connection_pool: Option<&'p Spanned<ConnectionPoolSettings>>,
    outlier_detection: Option<&'p Spanned<OutlierDetection>>,
    proxy_protocol: Option<&'p Spanned<ProxyProtocol>>,
    retry_budget: Option<&'p Spanned<istio::destination_rule::RetryBudget>>,
}

impl<'p> Parts<'p> {
    pub(super) fn of(policy: &'p TrafficPolicy) -> Self {
        Self {
            load_balancer: policy.load_balancer.as_ref(),
            connection_pool: policy.connection_pool.as_ref(),
            outlier_detection: policy.outlier_detection.as_ref(),
            proxy_protocol: policy.proxy_protocol.as_ref(),
            retry_budget: policy.retry_budget.as_ref(),
        }
    }

    pub(super) fn of_port(policy: &'p PortTrafficPolicy) -> Self {
        Self {
            load_balancer: policy.load_balancer.as_ref(),
            connection_pool: policy.connection_pool.as_ref(),
            outlier_detection: policy.outlier_detection.as_ref(),
            proxy_protocol: None,
            retry_budget: None,
        }
    }

    /// Those of a port, if the policy has some for it.
    pub(super) fn on(policy: &'p TrafficPolicy, port: Option<u16>) -> Self {
        let here = policy.port_level_settings.iter().find(|of_port| {
            let number = of_port.port.as_ref().map(|selector| selector.number.value);
            number.is_some() && number == port
        });
        here.map_or_else(|| Self::of(policy), |here| Self::of_port(here))
    }
}

/// The settings that parts make.
pub(super) fn of(parts: &Parts<'_>) -> Settings {
    let balancer = parts.load_balancer.map(balancer).unwrap_or_default();
    let pool = parts.connection_pool.map(|part| pool(part)).unwrap_or_default();
    let outliers = parts.outlier_detection.map(outliers).unwrap_or_default();
    let proxy_protocol = parts.proxy_protocol.map(|part| {
        part.as_ref().map(|part| match part.version.as_deref() {
            Some(ProxyProtocolVersion::V2) => 2,
            Some(ProxyProtocolVersion::V1) | None => 1,
        })
    });
    let retry_budget = parts.retry_budget.map(|part| {
        part.as_ref().map(|part| RetryBudget {
            percent: part.percent.map_or(20, |percent| percent.value as u32),
            min: part.min_retry_concurrency.map_or(3, |min| min.value),
        })
    });
    balancer
        .or(&pool)
        .or(&outliers)
        .written(Settings::PROXY_PROTOCOL, proxy_protocol.as_ref())
        .written(Settings::RETRY_BUDGET, retry_budget.as_ref())
}

/// Istio's defaults for all fields of the parts that are there, in spellings that mean "none" where none is the default.
pub(super) fn written_out(parts: &Parts<'_>) -> Settings {
    let seconds = |seconds| Some(DurationText::new(std::time::Duration::from_secs(seconds)));
    let mut all = Settings::default();
    if parts.load_balancer.is_some() {
        all.load_balancer = Some(LoadBalancer::LeastRequest);
        all.hash = Some(HashPolicy { keys: Vec::new(), size: None });
        all.warmup = Some(Warmup {
            duration: DurationText::default(),
            minimum_percent: 0,
            aggression_thousandths: 1000,
        });
    }
    if parts.connection_pool.is_some() {
        all.max_connections = Some(u32::MAX);
        all.max_pending = Some(u32::MAX);
        all.max_requests = Some(u32::MAX);
        all.max_retries = Some(u32::MAX);
        all.requests_per_connection = Some(0);
        all.connection_age = Some(DurationText::default());
        all.streams_per_connection = Some(u32::MAX);
        // No document can ask for it: a number of zero says nothing.
        all.keepalive = Some(Keepalive { probes: Some(0), ..Keepalive::default() });
        all.upgrade_to_http2 = Some(false);
        all.connect = seconds(10);
        all.pool_idle = seconds(3600);
    }
    all
}

fn balancer(written: &Spanned<LoadBalancerSettings>) -> Settings {
    let hash = written.consistent_hash.as_deref();
    let simple = written.simple.as_deref();
    let warmup = written.warmup.as_deref();
    let by_hash = hash.map(|hash| match hash.maglev {
        Some(_) => LoadBalancer::Maglev,
        None => LoadBalancer::RingHash,
    });
    let chosen = by_hash.unwrap_or(match simple {
        Some(SimpleLb::Random) => LoadBalancer::Random,
        Some(SimpleLb::RoundRobin) => LoadBalancer::RoundRobin,
        // `PASSTHROUGH` was refused while reading.
        Some(
            SimpleLb::LeastConn | SimpleLb::LeastRequest | SimpleLb::Unspecified | SimpleLb::Passthrough,
        )
        | None => LoadBalancer::LeastRequest,
    });
    let place = written.consistent_hash.as_ref().map(|hash| hash.span);
    let place = place.or(written.simple.as_ref().map(|simple| simple.span)).unwrap_or(written.span);
    let locality_place = written.locality_lb_setting.as_ref().map_or(written.span, |locality| locality.span);
    let warmup_duration = warmup.and_then(|warmup| warmup.duration).or(written.warmup_duration_secs);
    let warmup = warmup_duration.map(|duration| {
        duration.map(|duration| Warmup {
            duration,
            minimum_percent: warmup
                .and_then(|warmup| warmup.minimum_percent)
                .map_or(10, |percent| percent.value as u32),
            aggression_thousandths: warmup
                .and_then(|warmup| warmup.aggression)
                .map_or(1000, |aggression| (aggression.value * 1000.0).round() as u32),
        })
    });
    Settings::default()
        .with(Settings::LOAD_BALANCER, Some(chosen), place)
        .with(Settings::HASH, hash.map(hash_policy), place)
        .with(Settings::LOCALITY, written.locality_lb_setting.as_deref().and_then(locality), locality_place)
        .written(Settings::WARMUP, warmup.as_ref())
}

/// Sizes are Envoy's where none is given.
fn hash_policy(written: &ConsistentHash) -> HashPolicy {
    let header = written.http_header_name.as_ref().map(|name| HashKey::Header(name.to_ascii_lowercase()));
    let query = written.http_query_parameter_name.as_ref().map(|name| HashKey::Query(name.value.clone()));
    let source = written.use_source_ip.filter(|used| used.value).map(|_| HashKey::SourceAddress);
    let cookie = written.http_cookie.as_ref().map(|cookie| HashKey::Cookie {
        name: cookie.name.value.clone(),
        ttl: cookie.ttl.as_deref().copied(),
        path: cookie.path.as_ref().map(|path| path.value.clone()),
    });
    let ring = written.ring_hash.and_then(|ring| ring.minimum_ring_size).or(written.minimum_ring_size);
    let size = match written.maglev {
        Some(maglev) => maglev.table_size.map_or(65_537, |size| size.value),
        None => ring.map_or(1024, |size| size.value),
    };
    HashPolicy { keys: header.or(cookie).or(source).or(query).into_iter().collect(), size: Some(size) }
}

fn locality(written: &LocalityLbSetting) -> Option<Locality> {
    if written.enabled.is_some_and(|enabled| !enabled.value) {
        return None;
    }
    let distribution = |written: &Spanned<istio::destination_rule::Distribute>| Distribution {
        from: written.from.value.clone(),
        to: written.to.iter().map(|(place, share)| (place.value.clone(), share.value)).collect(),
    };
    Some(Locality {
        distribute: written.distribute.iter().map(distribution).collect(),
        failover: written.failovers(),
        priority: written.failover_priority.iter().map(|label| label.value.clone()).collect(),
    })
}

/// A number of zero says nothing in Istio.
fn number(written: Option<Spanned<u32>>) -> Option<Spanned<u32>> {
    written.filter(|number| number.value > 0)
}

fn pool(written: &ConnectionPoolSettings) -> Settings {
    let tcp = written.tcp.as_deref().cloned().unwrap_or_default();
    let http = written.http.as_deref().cloned().unwrap_or_default();
    let time = |written: Option<Spanned<DurationText>>| written.map(|time| time.value);
    let keepalive = tcp.tcp_keepalive.as_ref().map(|probes| {
        probes.as_ref().map(|probes| Keepalive {
            time: time(probes.time),
            interval: time(probes.interval),
            probes: number(probes.probes).map(|probes| probes.value),
        })
    });
    let upgrade = http.h2_upgrade_policy.as_ref().and_then(|policy| match policy.value {
        H2UpgradePolicy::Default => None,
        H2UpgradePolicy::DoNotUpgrade => Some(Spanned::new(false, policy.span)),
        H2UpgradePolicy::Upgrade => Some(Spanned::new(true, policy.span)),
    });
    Settings::default()
        .written(Settings::MAX_CONNECTIONS, number(tcp.max_connections).as_ref())
        .written(Settings::CONNECT, tcp.connect_timeout.as_ref())
        .written(Settings::CONNECTION_AGE, tcp.max_connection_duration.as_ref())
        .written(Settings::KEEPALIVE, keepalive.as_ref())
        .written(Settings::MAX_PENDING, number(http.http1_max_pending_requests).as_ref())
        .written(Settings::MAX_REQUESTS, number(http.http2_max_requests).as_ref())
        .written(Settings::REQUESTS_PER_CONNECTION, number(http.max_requests_per_connection).as_ref())
        .written(Settings::MAX_RETRIES, number(http.max_retries).as_ref())
        .written(Settings::POOL_IDLE, http.idle_timeout.as_ref())
        .written(Settings::UPGRADE_TO_HTTP2, upgrade.as_ref())
        .written(Settings::STREAMS_PER_CONNECTION, number(http.max_concurrent_streams).as_ref())
}

/// `tcp.idleTimeout`, where connections are forwarded as they are.
pub(super) fn idle_connections(policy: &TrafficPolicy, port: &Port) -> Option<Settings> {
    let tcp = policy.connection_pool.as_ref()?.tcp.as_ref()?;
    let idle = tcp.idle_timeout.as_ref()?;
    (!port.protocol.is_http()).then(|| Settings::default().written(Settings::IDLE, Some(idle)))
}

/// All of it is written out (iapi:networking/v1alpha3/destination_rule.proto, `OutlierDetection`).
fn outliers(written: &Spanned<OutlierDetection>) -> Settings {
    let seconds = |seconds| DurationText::new(std::time::Duration::from_secs(seconds));
    let splits = written.split_external_local_origin_errors.is_some_and(|split| split.value);
    let count = |number: Option<Spanned<u32>>, default| or(number, default, written.span);
    let time = |time: Option<Spanned<DurationText>>, default| or(time, seconds(default), written.span);
    let local = match splits {
        true => count(written.consecutive_local_origin_failures, 5),
        false => count(None, 0),
    };
    let ejected = written.max_ejection_percent.filter(|percent| percent.value > 0);
    Settings::default()
        .written(Settings::CONSECUTIVE_ERRORS, Some(&count(written.consecutive_5xx_errors, 5)))
        .written(Settings::CONSECUTIVE_GATEWAY_ERRORS, Some(&count(written.consecutive_gateway_errors, 0)))
        .written(Settings::CONSECUTIVE_LOCAL_FAILURES, Some(&local))
        .written(Settings::EJECTION_INTERVAL, Some(&time(written.interval, 10)))
        .written(Settings::BASE_EJECTION, Some(&time(written.base_ejection_time, 30)))
        .written(Settings::MAX_EJECTED_PERCENT, Some(&count(ejected, 10)))
        .written(Settings::MIN_HEALTHY_PERCENT, Some(&count(written.min_health_percent, 0)))
}

/// What is written, or a default in its block.
fn or<T>(written: Option<Spanned<T>>, default: T, block: Span) -> Spanned<T> {
    written.unwrap_or(Spanned::new(default, block))
}
