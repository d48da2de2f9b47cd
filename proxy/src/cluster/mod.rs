//! Endpoints behind a backend: choosing one, and keeping connections to it.
//!
//! ```text
//! ClusterSpec  (shared, from the bundle) ── what and how; kept by pointer while its section of the bundle is equal
//! Cluster      (one per worker) ── Endpoint* ── load and pool of one address
//! Circuit      (one per spec) ── what is in flight, counted over all workers, and its limits
//! Health       (one per spec) ── how endpoints do, over all workers; an address keeps its state while it is there
//! ```
//! A worker's [`Cluster`] lives as long as its spec's pointer: a reload that does not change the section keeps balancer
//! state and connections; one that does lets requests in flight finish on the old one.

pub(crate) mod balancer;
mod view;
pub(crate) mod hash;
pub(crate) mod limits;
pub(crate) mod outliers;
pub(crate) mod checkout;
mod checks;
mod proxy_protocol;
pub(crate) mod terms;
pub(crate) mod connect;
pub(crate) mod pool;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Version;
use weft_bundle::body::{HashPolicy, HealthCheck, Keepalive, LoadBalancer, Warmup};
use weft_bundle::engine::stable_hash;

use self::balancer::Load;
use self::connect::ClientTls;
use self::hash::Table;
use self::limits::Circuit;
use self::outliers::{Health, millis};
pub(crate) use self::pool::{Keep, Lease};
use self::view::View;
use crate::telemetry::cluster::ClusterMetrics;

/// What a cluster is, ready for use by any worker.
#[derive(Debug)]
pub(crate) struct ClusterSpec {
    /// The key in the bundle, or `application/<port>` for our own application.
    pub(crate) id: String,
    /// Everything this was made from; an equal section means the same cluster.
    pub(crate) section: Vec<u8>,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) endpoints: Vec<EndpointSpec>,
    pub(crate) load_balancer: LoadBalancer,
    /// What is hashed, for a balancer that does.
    pub(crate) hash: Option<HashPolicy>,
    /// Which endpoint a hash means; made once the spec is known to be new.
    pub(crate) table: Option<Table>,
    pub(crate) connect_timeout: Duration,
    pub(crate) keep: Keep,
    /// TCP keep-alive probes.
    pub(crate) keepalive: Option<Keepalive>,
    /// The version of the PROXY protocol that opens a connection.
    pub(crate) proxy_protocol: Option<u8>,
    /// Whether it is outside the mesh, and nothing of the mesh is told to it.
    pub(crate) external: bool,
    /// Whether requests go as HTTP/2, whatever they came as.
    pub(crate) http2: bool,
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) health: Arc<Health>,
    /// How endpoints are asked whether they are well.
    pub(crate) check: Option<HealthCheck>,
    /// What they are called in such questions.
    pub(crate) host: String,
    pub(crate) warmup: Option<Warmup>,
    pub(crate) metrics: Arc<ClusterMetrics>,
}

impl ClusterSpec {
    /// Whether a request that came as this version goes as HTTP/2. Between sidecars HTTP/2 stays HTTP/2; any other
    /// endpoint need not speak more than its port declares.
    pub(crate) fn takes_http2(&self, version: Version) -> bool {
        let is_peer = self.tls.as_ref().is_some_and(ClientTls::is_mutual);
        self.http2 || (is_peer && version == Version::HTTP_2)
    }
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointSpec {
    pub(crate) address: SocketAddr,
    pub(crate) weight: u32,
}

/// A worker's view of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) spec: Arc<ClusterSpec>,
    pub(crate) endpoints: Vec<Rc<Endpoint>>,
    /// Those that requests may go to now.
    view: RefCell<View>,
    /// The next turn of round robin.
    turn: Cell<u64>,
    /// What this worker does for the cluster beside requests; ends with it.
    chores: RefCell<Vec<Chore>>,
}

/// A task that ends when it is dropped.
#[derive(Debug)]
struct Chore(tokio::task::JoinHandle<()>);

impl Drop for Chore {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A worker's view of one address: how loaded it is, and open connections.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Its place among the endpoints of the spec.
    place: usize,
    /// What sessions call it: the hash of its address.
    pub(crate) id: u64,
    weight: u32,
    load: Load,
    health: Arc<Health>,
    pub(crate) pool: pool::Pool,
}

impl Cluster {
    fn new(spec: Arc<ClusterSpec>) -> Self {
        let endpoint = |(place, endpoint): (usize, &EndpointSpec)| {
            Rc::new(Endpoint {
                address: endpoint.address,
                place,
                id: stable_hash(&[endpoint.address.to_string().as_bytes()]),
                weight: endpoint.weight.max(1),
                load: Load::new(Instant::now()),
                health: Arc::clone(&spec.health),
                pool: pool::Pool::new(Arc::clone(&spec.circuit), spec.keep),
            })
        };
        let endpoints: Vec<_> = spec.endpoints.iter().enumerate().map(endpoint).collect();
        let view = View::new(&endpoints, &spec.health, spec.warmup, millis(Instant::now()));
        let (turn, view) = (Cell::new(fastrand::u64(..)), RefCell::new(view));
        Self { spec, endpoints, view, turn, chores: RefCell::default() }
    }

    /// Closes a connection that this worker does not use; false if it uses all of them.
    fn make_room(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.pool.close_one())
    }

    fn start_chores(self: &Rc<Self>) {
        if self.spec.circuit.connections().is_some() {
            let task = checkout::make_room_for_others(Rc::downgrade(self));
            self.chores.borrow_mut().push(Chore(tokio::task::spawn_local(task)));
        }
    }

    /// Begins to ask the endpoints whether they are well.
    fn start_checks(self: &Rc<Self>) {
        let Some(check) = &self.spec.check else { return };
        for place in 0..self.endpoints.len() {
            let task = checks::keep_asking(Rc::downgrade(self), place, check.clone());
            self.chores.borrow_mut().push(Chore(tokio::task::spawn_local(task)));
        }
    }
}

/// All clusters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    made: RefCell<HashMap<String, Rc<Cluster>>>,
    /// Whether this is the worker that asks endpoints whether they are well.
    asks: bool,
}

impl Clusters {
    /// None yet.
    pub(crate) fn new(asks: bool) -> Self {
        Self { made: RefCell::default(), asks }
    }

    /// Begins to ask the endpoints of a spec whether they are well, if policy says so and this worker is the one to do it.
    pub(crate) fn check(&self, spec: &Arc<ClusterSpec>) {
        if self.asks && spec.check.is_some() {
            self.of(spec);
        }
    }

    /// The worker's cluster for a spec, made at its first use.
    pub(crate) fn of(&self, spec: &Arc<ClusterSpec>) -> Rc<Cluster> {
        if let Some(cluster) = self.made.borrow().get(&spec.id)
            && Arc::ptr_eq(&cluster.spec, spec)
        {
            return Rc::clone(cluster);
        }
        let cluster = Rc::new(Cluster::new(Arc::clone(spec)));
        cluster.start_chores();
        if self.asks {
            cluster.start_checks();
        }
        self.made.borrow_mut().insert(spec.id.clone(), Rc::clone(&cluster));
        cluster
    }

    /// Forgets clusters that policy does not have any more, and closes connections that nobody used for too long.
    pub(crate) fn tidy(&self, is_current: impl Fn(&Arc<ClusterSpec>) -> bool, now: Instant) {
        self.made.borrow_mut().retain(|_, cluster| is_current(&cluster.spec));
        for cluster in self.made.borrow().values() {
            cluster.spec.health.look(now);
            for endpoint in &cluster.endpoints {
                endpoint.pool.tidy(now);
            }
        }
    }

    /// Closes every unused connection.
    pub(crate) fn clear(&self) {
        self.made.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use weft_bundle::body::{ConnectionSettings, Limits, RetryBudget};

    /// A cluster with one endpoint per weight, on ports counted from 1.
    pub(super) fn cluster(load_balancer: LoadBalancer, weights: &[u32]) -> Cluster {
        let endpoint = |(port, weight): (u16, &u32)| EndpointSpec {
            address: ([127, 0, 0, 1], port).into(),
            weight: *weight,
        };
        let endpoints: Vec<_> = (1..).zip(weights).map(endpoint).collect();
        let metrics = Metrics::new().cluster("test");
        let addresses = endpoints.iter().map(|endpoint| endpoint.address);
        let health = Health::new(None, addresses, None, Arc::clone(&metrics), Instant::now());
        Cluster::new(Arc::new(ClusterSpec {
            id: "test".to_owned(),
            section: Vec::new(),
            tls: None,
            endpoints,
            load_balancer,
            hash: None,
            table: None,
            connect_timeout: Duration::from_secs(1),
            keep: Keep::new(Duration::from_secs(1), ConnectionSettings::default()),
            keepalive: None,
            proxy_protocol: None,
            external: false,
            http2: false,
            circuit: Circuit::new(RetryBudget { percent: 20, min: 3 }, Limits::default()),
            health,
            check: None,
            host: "test".to_owned(),
            warmup: None,
            metrics,
        }))
    }
}
