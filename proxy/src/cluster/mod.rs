//! Endpoints behind a backend: choosing one, and keeping connections to it.
//!
//! ```text
//! ClusterSpec  (shared, from the bundle) ── what and how; kept by pointer while its section of the bundle is equal
//! Members      (one per spec) ── who is in it now: endpoints by tiers, replaced whole when others are found
//! Cluster      (one per worker) ── Endpoint* ── load and pool of one address, kept while the address is a member
//! Circuit      (one per spec) ── what is in flight, counted over all workers, and its limits
//! Health       (one per spec) ── how endpoints do, over all workers; an address keeps its state while it is there
//! ```
//! A worker's [`Cluster`] lives as long as its spec's pointer: a reload that does not change the section keeps balancer
//! state and connections; one that does lets requests in flight finish on the old one.

pub(crate) mod place;
pub(crate) mod members;
pub(crate) mod tiers;
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

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Version;
use tokio::sync::Semaphore;
use weft_bundle::body::{HashPolicy, HealthCheck, Keepalive, LoadBalancer, Warmup};
use weft_bundle::engine::stable_hash;

use self::balancer::Load;
use self::connect::ClientTls;
use self::limits::Circuit;
use self::members::{Members, Set};
use self::outliers::{EndpointState, Health, millis};
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
    pub(crate) members: Arc<Members>,
    pub(crate) load_balancer: LoadBalancer,
    /// What is hashed, for a balancer that does.
    pub(crate) hash: Option<HashPolicy>,
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
    /// Whether its port takes bytes that are not looked at.
    pub(crate) opaque: bool,
    /// Whether a request to it may change to another protocol, for which its port must take HTTP/1.1.
    pub(crate) upgrades: bool,
    pub(crate) circuit: Arc<Circuit>,
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

    /// How its endpoints do.
    pub(crate) fn health(&self) -> &Health {
        &self.members.health
    }
}

/// A worker's view of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) spec: Arc<ClusterSpec>,
    /// Who is in it, and which of them requests may go to now.
    view: RefCell<View>,
    /// What this worker does for the cluster beside requests; ends with it.
    chores: RefCell<Vec<Chore>>,
    /// Asking endpoints whether they are well, where this worker does so.
    checks: RefCell<HashMap<SocketAddr, (Rc<Endpoint>, Chore)>>,
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
    /// What sessions call it: the hash of its address.
    pub(crate) id: u64,
    load: Load,
    /// How it does, over all workers.
    state: Arc<EndpointState>,
    health: Arc<Health>,
    pub(crate) pool: pool::Pool,
}

impl Endpoint {
    fn new(address: SocketAddr, state: &Arc<EndpointState>, spec: &ClusterSpec) -> Self {
        Self {
            address,
            id: stable_hash(&[address.to_string().as_bytes()]),
            load: Load::new(Instant::now()),
            state: Arc::clone(state),
            health: Arc::clone(&spec.members.health),
            pool: pool::Pool::new(Arc::clone(&spec.circuit), spec.keep),
        }
    }
}

impl Cluster {
    fn new(spec: Arc<ClusterSpec>) -> Self {
        let view = Self::look(&spec, None, Instant::now());
        Self { spec, view: RefCell::new(view), chores: RefCell::default(), checks: RefCell::default() }
    }

    /// Who is in the cluster now. Those who were there before keep load and connections.
    fn look(spec: &ClusterSpec, before: Option<&View>, now: Instant) -> View {
        // Before the members: a change in between makes it again.
        let version = spec.health().version();
        let set = spec.members.current();
        let endpoints = match before {
            Some(before) if Arc::ptr_eq(&before.set, &set) => before.endpoints.clone(),
            Some(_) | None => Self::endpoints_of(spec, &set, before),
        };
        View::new(set, endpoints, spec.health(), version, spec.warmup, millis(now), before)
    }

    fn endpoints_of(spec: &ClusterSpec, set: &Set, before: Option<&View>) -> Vec<Rc<Endpoint>> {
        let known: HashMap<_, _> = before
            .iter()
            .flat_map(|before| &before.endpoints)
            .map(|endpoint| (endpoint.address, endpoint))
            .collect();
        let endpoint = |(one, state): (&members::EndpointSpec, _)| match known.get(&one.address) {
            Some(endpoint) if Arc::ptr_eq(&endpoint.state, state) => Rc::clone(endpoint),
            Some(_) | None => Rc::new(Endpoint::new(one.address, state, spec)),
        };
        set.endpoints.iter().zip(&set.states).map(endpoint).collect()
    }

    /// Makes the view again if it is not true any more.
    fn refresh(&self, now: Instant) {
        let health = self.spec.health();
        health.look(now);
        let mut view = self.view.borrow_mut();
        if view.version != health.version() || view.until <= millis(now) {
            *view = Self::look(&self.spec, Some(&view), now);
        }
    }

    /// Everybody who is in the cluster.
    #[cfg(test)]
    pub(crate) fn endpoints(&self) -> Vec<Rc<Endpoint>> {
        self.view.borrow().endpoints.clone()
    }

    /// Closes a connection that this worker does not use; false if it uses all of them.
    fn make_room(&self) -> bool {
        self.view.borrow().endpoints.iter().any(|endpoint| endpoint.pool.close_one())
    }

    fn start_chores(self: &Rc<Self>) {
        if self.spec.circuit.connections().is_some() {
            let task = checkout::make_room_for_others(Rc::downgrade(self));
            self.chores.borrow_mut().push(Chore(tokio::task::spawn_local(task)));
        }
    }

    /// Asks those who are in the cluster whether they are well, from now on, and nobody else any more.
    fn check(self: &Rc<Self>, asking: &Rc<Semaphore>) {
        let Some(check) = &self.spec.check else { return };
        let view = self.view.borrow();
        let mut checks = self.checks.borrow_mut();
        let mut before = std::mem::take(&mut *checks);
        for endpoint in &view.endpoints {
            let kept = before.remove(&endpoint.address).filter(|(known, _)| Rc::ptr_eq(known, endpoint));
            let asked = kept.unwrap_or_else(|| {
                let ask = checks::Ask {
                    spec: Arc::clone(&self.spec),
                    check: check.clone(),
                    asking: Rc::clone(asking),
                };
                let task = checks::keep_asking(ask, Rc::downgrade(endpoint));
                (Rc::clone(endpoint), Chore(tokio::task::spawn_local(task)))
            });
            checks.insert(endpoint.address, asked);
        }
    }
}

/// All clusters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    made: RefCell<HashMap<String, Rc<Cluster>>>,
    /// Bounds the questions that are under way; there for the worker that asks endpoints whether they are well.
    asks: Option<Rc<Semaphore>>,
}

impl Clusters {
    /// None yet.
    pub(crate) fn new(asks: bool) -> Self {
        let asks = asks.then(|| Rc::new(Semaphore::new(checks::AT_ONCE)));
        Self { made: RefCell::default(), asks }
    }

    /// Begins to ask the endpoints of a spec whether they are well, if policy says so and this worker is the one to do it.
    pub(crate) fn check(&self, spec: &Arc<ClusterSpec>) {
        if self.asks.is_some() && spec.check.is_some() {
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
        if let Some(asking) = &self.asks {
            cluster.check(asking);
        }
        self.made.borrow_mut().insert(spec.id.clone(), Rc::clone(&cluster));
        cluster
    }

    /// Forgets clusters that policy does not have any more and endpoints that are gone, and closes connections that nobody
    /// used for too long.
    pub(crate) fn tidy(&self, is_current: impl Fn(&Arc<ClusterSpec>) -> bool, now: Instant) {
        self.made.borrow_mut().retain(|_, cluster| is_current(&cluster.spec));
        for cluster in self.made.borrow().values() {
            cluster.refresh(now);
            if let Some(asking) = &self.asks {
                cluster.check(asking);
            }
            for endpoint in &cluster.view.borrow().endpoints {
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
    use super::members::{EndpointSpec, Recipe};
    use super::place::Here;
    use super::*;
    use crate::telemetry::Metrics;
    use weft_bundle::body::{ConnectionSettings, Limits, Locality, RetryBudget};

    /// A cluster with one endpoint per weight, on ports counted from 1.
    pub(super) fn cluster(load_balancer: LoadBalancer, weights: &[u32]) -> Cluster {
        let endpoint =
            |(port, weight): (u16, &u32)| EndpointSpec::fixed(([127, 0, 0, 1], port).into(), *weight);
        let fixed = (1..).zip(weights).map(endpoint).collect();
        of(load_balancer, fixed, None, Here::default())
    }

    /// A cluster of some endpoints, seen from somewhere.
    pub(super) fn of(
        load_balancer: LoadBalancer,
        fixed: Vec<EndpointSpec>,
        locality: Option<Locality>,
        here: Here,
    ) -> Cluster {
        let metrics = Metrics::new().cluster("test");
        let recipe = Recipe {
            cluster: "test".to_owned(),
            fixed,
            discovery: None,
            port: 80,
            locality,
            here: Arc::new(here),
            load_balancer,
            table_size: None,
            outliers: None,
            metrics: Arc::clone(&metrics),
        };
        Cluster::new(Arc::new(ClusterSpec {
            id: "test".to_owned(),
            section: Vec::new(),
            tls: None,
            members: Members::new(recipe, None, Instant::now()),
            load_balancer,
            hash: None,
            connect_timeout: Duration::from_secs(1),
            keep: Keep::new(Duration::from_secs(1), ConnectionSettings::default()),
            keepalive: None,
            proxy_protocol: None,
            external: false,
            http2: false,
            opaque: false,
            upgrades: true,
            circuit: Circuit::new(RetryBudget { percent: 20, min: 3 }, Limits::default()),
            check: None,
            host: "test".to_owned(),
            warmup: None,
            metrics,
        }))
    }
}
