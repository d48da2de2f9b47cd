//! One generation of policy as workers use it: a snapshot, and what it needs of this machine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use weft_bundle::body::{
    self, Cluster, ConnectionSettings, InboundPort, LoadBalancer, PeerTls, Protocol, RetryBudget,
    TerminatedTls, UpstreamTls,
};
use weft_bundle::engine::{FrontendRef, InboundRef};

use super::Shared;
use super::connection::Connection;
use super::entrance::Speaks;
use super::listener::{Override, find_override};
use crate::cluster::limits::Circuit;
use crate::cluster::members::{EndpointSpec, Members, Recipe};
use crate::cluster::{ClusterSpec, Keep};
use crate::identity;
use crate::identity::listener::{ListenerTls, Means};
use crate::rates::Rates;
use crate::snapshot::{ApplyError, Snapshot, wants_http2};
use crate::stream;
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
    /// Outbound ones, then listeners, in the body's order.
    frontends: Vec<Arc<ServiceMetrics>>,
    /// TLS of the listeners that end it, by their name.
    listeners: HashMap<String, ListenerPlane>,
    /// Grows with each plane.
    pub(crate) number: u64,
    /// Absent if no HTTP port takes TLS.
    pub(crate) server_tls: Option<Arc<ServerConfig>>,
    /// The same of opaque ports.
    pub(crate) stream_tls: Option<Arc<ServerConfig>>,
}

/// What a listener that ends TLS needs besides policy.
#[derive(Debug)]
struct ListenerPlane {
    /// Everything it was made from.
    section: Vec<u8>,
    tls: Arc<ListenerTls>,
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
            .chain(
                body.listeners
                    .iter()
                    .map(|listener| shared.metrics.service(Direction::Inbound, &listener.frontend.service)),
            )
            .collect();
        let listeners = body.listeners.iter().filter_map(|listener| match &listener.tls {
            Some(body::ListenerTls::Terminate(tls)) => {
                Some(maker.listener(&listener.name, tls).map(|made| (listener.name.clone(), made)))
            }
            Some(body::ListenerTls::Passthrough) | None => None,
        });
        let listeners = listeners.collect::<Result<_, ApplyError>>()?;
        let server_tls = |is_http: bool| {
            let mut ports = body.inbound.iter().filter(|port| port.protocol.is_http() == is_http);
            let offers = if is_http { &identity::HTTP[..] } else { &[stream::ALPN][..] };
            let config = || identity::server_config(&snapshot.trust, &shared.deny, &shared.identity, offers);
            ports.any(|port| port.tls != PeerTls::Off).then(config)
        };
        let (server_tls, stream_tls) = (server_tls(true), server_tls(false));
        let number = previous.map_or(1, |previous| previous.number + 1);
        Ok(Self { number, clusters, inbound, frontends, listeners, server_tls, stream_tls, snapshot })
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

    /// How the listener of that name ends TLS; none if it does not.
    pub(super) fn listener(&self, name: &str) -> Option<&Arc<ListenerTls>> {
        self.listeners.get(name).map(|listener| &listener.tls)
    }

    /// What the listeners of a port speak; none if there are none.
    pub(super) fn speaks(&self, port: u16) -> Option<Speaks> {
        let body = self.snapshot.body();
        let mut here = body.listeners.iter().filter(|listener| listener.frontend.port == port).peekable();
        here.peek()?;
        Some(if here.any(|listener| listener.tls.is_some()) { Speaks::Tls } else { Speaks::Clear })
    }

    /// Whether a caller from outside could connect as it did: to that port, and over TLS to that listener.
    pub(super) fn still_listens(&self, port: u16, listener: Option<&str>) -> bool {
        match listener {
            Some(name) => self.listener(name).is_some(),
            None => self.speaks(port) == Some(Speaks::Clear),
        }
    }

    /// Whether the listener that a caller from outside came in by is still there and would let its certificates, or the
    /// lack of them, pass now. Anybody else is not stopped here.
    pub(crate) fn admits(&self, connection: &Connection) -> bool {
        let Some(name) = connection.listener() else { return true };
        self.listener(name).is_some_and(|tls| {
            // Whoever came in as a peer stays one, and nobody becomes one without another handshake.
            (connection.identity().is_none() || tls.proves_identities()) && tls.admits(connection.presented())
        })
    }

    /// Names of the inbound ports, and where their application is.
    pub(super) fn applications(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.inbound.values().flat_map(|port| {
            let set = port.application.members.current();
            let addresses: Vec<_> = set.endpoints.iter().map(|endpoint| endpoint.address).collect();
            addresses.into_iter().map(|address| (port.name.as_str(), address))
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
    /// TLS of a listener; what it was before if it was made from the same.
    fn listener(&self, name: &str, tls: &TerminatedTls) -> Result<ListenerPlane, ApplyError> {
        let by_mesh = tls.clients.as_ref().is_some_and(|clients| clients.anchors.is_empty());
        let section = section(&(tls, by_mesh.then_some(&self.snapshot.body().trust_anchors)))?;
        let before = self.previous.and_then(|previous| previous.listeners.get(name));
        if let Some(before) = before.filter(|before| before.section == section) {
            return Ok(ListenerPlane { section, tls: Arc::clone(&before.tls) });
        }
        let Shared { deny, identity, certificates, .. } = self.shared;
        let means = Means { trust: &self.snapshot.trust, deny, identity, certificates };
        let made = ListenerTls::new(tls, means)
            .map_err(|why| ApplyError::Listener { listener: name.to_owned(), why })?;
        Ok(ListenerPlane { section, tls: Arc::new(made) })
    }

    fn upstream(&self, id: &str, cluster: &Cluster) -> Result<Arc<ClusterSpec>, ApplyError> {
        let section = self.section(cluster)?;
        let previous = self.previous.and_then(|previous| previous.clusters.get(id));
        if let Some(kept) = previous.filter(|spec| spec.section == section) {
            return Ok(Arc::clone(kept));
        }
        let tls = match &cluster.tls {
            UpstreamTls::Off => None,
            UpstreamTls::Server(tls) => Some(
                identity::server::client_tls(tls, &self.shared.certificates)
                    .map_err(|why| ApplyError::Cluster { cluster: id.to_owned(), why })?,
            ),
            UpstreamTls::Mutual(ids) => Some(identity::client_tls(
                &self.snapshot.trust,
                &self.shared.deny,
                &self.shared.identity,
                ids,
            )),
        };
        let metrics = self.shared.metrics.cluster(id);
        let members =
            Members::new(self.recipe(id, cluster)?, previous.map(|spec| spec.health()), Instant::now());
        if cluster.health_check.is_none() {
            members.health.forget_answers();
        }
        Ok(Arc::new(ClusterSpec {
            id: id.to_owned(),
            section,
            tls,
            members,
            load_balancer: cluster.load_balancer,
            hash: cluster.hash.clone(),
            connect_timeout: cluster.connect_timeout.get(),
            keep: Keep::new(cluster.idle_timeout.get(), cluster.connection),
            keepalive: cluster.connection.keepalive,
            proxy_protocol: cluster.connection.proxy_protocol,
            external: cluster.external,
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

    /// What the cluster's endpoints follow from.
    fn recipe(&self, id: &str, cluster: &Cluster) -> Result<Recipe, ApplyError> {
        let feed = |discovery| self.shared.feeds.of(discovery).map_err(ApplyError::Discovery);
        let discovery = match &cluster.discovery {
            Some(discovery) => feed(discovery)?.map(|feed| (discovery.clone(), feed)),
            None => None,
        };
        if cluster.locality.is_some()
            && self.shared.here.place.is_none()
            && self.shared.here.labels.is_empty()
        {
            tracing::warn!(
                cluster = id,
                "policy prefers near endpoints, and we do not know where we are (--locality)"
            );
        }
        Ok(Recipe {
            cluster: id.to_owned(),
            fixed: cluster.endpoints.iter().map(EndpointSpec::from).collect(),
            discovery,
            port: cluster.port,
            locality: cluster.locality.clone(),
            here: Arc::clone(&self.shared.here),
            load_balancer: cluster.load_balancer,
            table_size: cluster.hash.as_ref().and_then(|hash| hash.size),
            outliers: cluster.outliers,
            metrics: self.shared.metrics.cluster(id),
        })
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
        let section = section(&(address, port.protocol, port.limits))?;
        let previous = self.previous.and_then(|previous| {
            previous.inbound.values().map(|port| &port.application).find(|application| application.id == id)
        });
        if let Some(kept) = previous.filter(|spec| spec.section == section) {
            return Ok(Arc::clone(kept));
        }
        let metrics = self.shared.metrics.cluster(&id);
        let recipe = Recipe {
            cluster: id.clone(),
            fixed: vec![EndpointSpec::fixed(address, 1)],
            discovery: None,
            port: address.port(),
            locality: None,
            here: Arc::default(),
            load_balancer: LoadBalancer::Random,
            table_size: None,
            outliers: None,
            metrics: Arc::clone(&metrics),
        };
        Ok(Arc::new(ClusterSpec {
            section,
            tls: None,
            members: Members::new(recipe, None, Instant::now()),
            load_balancer: LoadBalancer::Random,
            hash: None,
            connect_timeout: APPLICATION_CONNECT,
            keep: Keep::new(APPLICATION_IDLE, ConnectionSettings::default()),
            keepalive: None,
            proxy_protocol: None,
            external: false,
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
}

/// What a cluster is made from, to be compared.
fn section(parts: &impl serde::Serialize) -> Result<Vec<u8>, ApplyError> {
    serde_json::to_vec(parts).map_err(|error| ApplyError::Json(error.to_string()))
}
