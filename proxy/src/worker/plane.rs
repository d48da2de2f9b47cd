//! One generation of policy as workers use it: a snapshot, and what it needs of this machine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use weft_bundle::body::{
    Cluster, ConnectionSettings, Endpoint, InboundPort, LoadBalancer, Outliers, PeerTls, Protocol,
    RetryBudget, UpstreamTls,
};
use weft_bundle::engine::{FrontendRef, InboundRef};
use weft_bundle::feature::Feature;

use super::Shared;
use super::listener::{Override, find_override};
use crate::cluster::hash::Table;
use crate::cluster::limits::Circuit;
use crate::cluster::outliers::Health;
use crate::cluster::{ClusterSpec, EndpointSpec, Keep};
use crate::identity;
use crate::rates::Rates;
use crate::snapshot::{ApplyError, Snapshot, wants_http2};
use crate::stream;
use crate::telemetry::cluster::ClusterMetrics;
use crate::telemetry::metrics::{Direction, ServiceMetrics};

/// Unused connections to our own application are closed after this: servers often keep them for only five seconds.
const APPLICATION_IDLE: Duration = Duration::from_secs(4);

/// Connecting to our own application is local.
const APPLICATION_CONNECT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Plane {
    pub(crate) snapshot: Arc<Snapshot>,
    clusters: HashMap<String, Arc<ClusterSpec>>,
    /// By number.
    inbound: HashMap<u16, InboundPlane>,
    /// In the body's order.
    frontends: Vec<Arc<ServiceMetrics>>,
    /// Grows with each plane.
    pub(crate) number: u64,
    /// Absent if no HTTP port takes TLS.
    pub(crate) server_tls: Option<Arc<ServerConfig>>,
    /// The same of opaque ports.
    pub(crate) stream_tls: Option<Arc<ServerConfig>>,
}

/// What an inbound port needs besides policy.
#[derive(Debug)]
pub(crate) struct InboundPlane {
    name: String,
    pub(crate) application: Arc<ClusterSpec>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) metrics: Arc<ServiceMetrics>,
}

impl Plane {
    /// Builds it, taking over from `previous` the clusters whose section is equal.
    pub(super) fn build(
        snapshot: Arc<Snapshot>,
        previous: Option<&Self>,
        applications: &[Override],
        shared: &Shared,
    ) -> Result<Self, ApplyError> {
        let body = snapshot.body();
        let maker = Maker { previous, shared, snapshot: &snapshot };
        let clusters = body
            .clusters
            .iter()
            .map(|(id, cluster)| Ok((id.clone(), maker.upstream(id, cluster)?)))
            .collect::<Result<_, ApplyError>>()?;
        let mut inbound = HashMap::new();
        for port in &body.inbound {
            let application = maker.application(port, find_override(applications, body, &port.name)?)?;
            let metrics = shared.metrics.service(Direction::Inbound, &body.service);
            let before = previous.and_then(|previous| previous.inbound.get(&port.port));
            let rates = Rates::new(&port.rate_limits, before.map(|before| &before.rates));
            inbound.insert(port.port, InboundPlane { name: port.name.clone(), application, rates, metrics });
        }
        let frontends = body
            .outbound
            .iter()
            .map(|frontend| shared.metrics.service(Direction::Outbound, &frontend.service))
            .collect();
        let server_tls = |is_http: bool| {
            let mut ports = body.inbound.iter().filter(|port| port.protocol.is_http() == is_http);
            let offers = if is_http { &identity::HTTP[..] } else { &[stream::ALPN][..] };
            let config = || identity::server_config(&snapshot.trust, &shared.deny, &shared.identity, offers);
            ports.any(|port| port.tls != PeerTls::Off).then(config)
        };
        let (server_tls, stream_tls) = (server_tls(true), server_tls(false));
        let number = previous.map_or(1, |previous| previous.number + 1);
        Ok(Self { number, clusters, inbound, frontends, server_tls, stream_tls, snapshot })
    }

    /// The spec that a cluster id of the body stands for.
    pub(crate) fn upstream(&self, id: &str) -> Option<&Arc<ClusterSpec>> {
        self.clusters.get(id)
    }

    /// The spec that now has the id of another spec.
    pub(crate) fn cluster(&self, spec: &ClusterSpec) -> Option<&Arc<ClusterSpec>> {
        self.clusters.get(&spec.id).or_else(|| {
            self.inbound.values().map(|port| &port.application).find(|application| application.id == spec.id)
        })
    }

    pub(crate) fn inbound(&self, port: InboundRef<'_>) -> Option<&InboundPlane> {
        self.inbound.get(&port.get().port)
    }

    pub(crate) fn frontend_metrics(&self, frontend: FrontendRef<'_>) -> Option<&Arc<ServiceMetrics>> {
        self.frontends.get(frontend.index())
    }

    /// Names of the inbound ports, and where their application is.
    pub(super) fn applications(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.inbound.values().flat_map(|port| {
            port.application.endpoints.iter().map(|endpoint| (port.name.as_str(), endpoint.address))
        })
    }

    /// The clusters, for people.
    pub(crate) fn cluster_specs(&self) -> impl Iterator<Item = &Arc<ClusterSpec>> {
        self.clusters.values()
    }
}

struct Maker<'a> {
    previous: Option<&'a Plane>,
    shared: &'a Shared,
    snapshot: &'a Snapshot,
}

impl Maker<'_> {
    fn upstream(&self, id: &str, cluster: &Cluster) -> Result<Arc<ClusterSpec>, ApplyError> {
        let tls = match &cluster.tls {
            UpstreamTls::Off => None,
            UpstreamTls::Server(_) => {
                return Err(ApplyError::Unsupported(format!("{} (cluster {id})", Feature::ServerTls)));
            }
            UpstreamTls::Mutual(ids) => Some(identity::client_tls(
                &self.snapshot.trust,
                &self.shared.deny,
                &self.shared.identity,
                ids,
            )),
        };
        let endpoint = |endpoint: &Endpoint| EndpointSpec {
            address: SocketAddr::new(endpoint.address, endpoint.port),
            weight: endpoint.weight,
        };
        let endpoints: Vec<_> = cluster.endpoints.iter().map(endpoint).collect();
        let metrics = self.shared.metrics.cluster(id);
        Ok(self.kept_or(ClusterSpec {
            id: id.to_owned(),
            section: self.section(cluster)?,
            tls,
            health: self.health(id, cluster.outliers, &endpoints, &metrics),
            endpoints,
            load_balancer: cluster.load_balancer,
            hash: cluster.hash.clone(),
            table: None,
            connect_timeout: cluster.connect_timeout.get(),
            keep: Keep::new(cluster.idle_timeout.get(), cluster.connection),
            keepalive: cluster.connection.keepalive,
            http2: wants_http2(cluster.protocol) || cluster.connection.upgrade_to_http2,
            opaque: !cluster.protocol.is_http(),
            upgrades: cluster.protocol == Protocol::Http,
            circuit: Circuit::new(cluster.retry_budget, cluster.limits),
            check: cluster.health_check.clone(),
            host: cluster.service.rsplit('/').next().unwrap_or_default().to_owned(),
            warmup: cluster.warmup,
            metrics,
        }))
    }

    /// The health of some endpoints; that of addresses which the cluster had before goes on.
    fn health(
        &self,
        id: &str,
        outliers: Option<Outliers>,
        endpoints: &[EndpointSpec],
        metrics: &Arc<ClusterMetrics>,
    ) -> Arc<Health> {
        let previous = self.previous.and_then(|previous| previous.clusters.get(id));
        let previous = previous.map(|spec| &*spec.health);
        let addresses = endpoints.iter().map(|endpoint| endpoint.address);
        Health::new(outliers, addresses, previous, Arc::clone(metrics), Instant::now())
    }

    /// What the cluster's connections depend on: its own section, who we are, and, with TLS, whom we believe.
    fn section(&self, cluster: &Cluster) -> Result<Vec<u8>, ApplyError> {
        let body = self.snapshot.body();
        let trust = match &cluster.tls {
            UpstreamTls::Off | UpstreamTls::Server(_) => Vec::new(),
            UpstreamTls::Mutual(ids) => {
                ids.iter().map(|id| (id, body.trust_anchors.get(id.trust_domain()))).collect()
            }
        };
        section(&(cluster, &body.identity, trust))
    }

    fn application(
        &self,
        port: &InboundPort,
        replaced: Option<SocketAddr>,
    ) -> Result<Arc<ClusterSpec>, ApplyError> {
        let address = match replaced {
            Some(address) => address,
            None => port.application.parse().map_err(|_| ApplyError::Application {
                port: port.name.clone(),
                address: port.application.clone(),
            })?,
        };
        let id = format!("application/{}", port.name);
        let metrics = self.shared.metrics.cluster(&id);
        let endpoints = vec![EndpointSpec { address, weight: 1 }];
        Ok(self.kept_or(ClusterSpec {
            section: section(&(address, port.protocol, port.limits))?,
            tls: None,
            health: self.health(&id, None, &endpoints, &metrics),
            endpoints,
            load_balancer: LoadBalancer::Random,
            hash: None,
            table: None,
            connect_timeout: APPLICATION_CONNECT,
            keep: Keep::new(APPLICATION_IDLE, ConnectionSettings::default()),
            keepalive: None,
            http2: wants_http2(port.protocol),
            opaque: !port.protocol.is_http(),
            upgrades: port.protocol == Protocol::Http,
            circuit: Circuit::new(RetryBudget { percent: 20, min: 3 }, port.limits),
            check: None,
            host: String::new(),
            warmup: None,
            metrics,
            id,
        }))
    }

    /// The old spec if it was made from the same, so that workers keep what they built on it.
    fn kept_or(&self, spec: ClusterSpec) -> Arc<ClusterSpec> {
        let old = self.previous.and_then(|previous| previous.cluster(&spec));
        match old {
            Some(old) if old.section == spec.section => Arc::clone(old),
            Some(_) | None => {
                let size = spec.hash.as_ref().and_then(|hash| hash.size);
                let table = Table::new(spec.load_balancer, size, &spec.endpoints);
                if spec.check.is_none() {
                    spec.health.forget_answers();
                }
                Arc::new(ClusterSpec { table, ..spec })
            }
        }
    }
}

/// What a cluster is made from, to be compared.
fn section(parts: &impl serde::Serialize) -> Result<Vec<u8>, ApplyError> {
    serde_json::to_vec(parts).map_err(|error| ApplyError::Json(error.to_string()))
}
