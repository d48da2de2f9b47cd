//! One thread per core: accept and serve.
//!
//! ```text
//! DataPlane ── apply: build a Plane, bind, swap, tell the workers, retire ── one Plane behind one pointer
//!     └─ Worker* ── one current-thread runtime each; listeners (SO_REUSEPORT), connections, clusters of its own
//! ```
//! A connection stays on the worker that accepted it. A request reads the pointer once and keeps what it read to its end;
//! nothing on its way takes a lock.

pub(crate) mod plane;
pub(crate) mod listener;
pub(crate) mod connection;
pub(crate) mod activity;
mod transport;
pub(crate) mod entrance;
mod guard;
mod strict;
mod describe;
mod local_port;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use weft_bundle::release::Denylist;

use self::listener::{Key, Sharing, bind};
pub use self::listener::{ListenerOverride, ListenerOverrideError, Override, OverrideError};
pub use self::local_port::{LocalPort, LocalPortError};
pub(crate) use self::plane::Plane;
use crate::cluster::Clusters;
use crate::cluster::connect::ClientTls;
pub use crate::cluster::place::{Here, Label, LabelError, Place, PlaceError};
use crate::discovery::Feeds;
pub use crate::discovery::{DnsOptions, NameServer, NameServerError};
use crate::identity::certificates::Certificates;
use crate::identity::deny::DenyStore;
use crate::identity::{Identity, IdentityStore};
use crate::snapshot::{ApplyError, Generation, Snapshot};
use crate::telemetry::clear::ClearText;
use crate::telemetry::metrics::{Direction, Metrics, ServiceMetrics};
use crate::telemetry::record::InFlight;
use crate::tokens::TokenCache;

/// How often a worker looks for connections that nobody uses.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// How the data plane is set up. It does not change while the proxy runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; at least one.
    pub workers: usize,
    /// Where ports listen instead of on all addresses, as `[NAME=]ADDR`.
    pub inbound: Vec<Override>,
    /// Where listeners for callers outside the mesh are instead of on all addresses, as `PORT=ADDR`.
    pub listeners: Vec<ListenerOverride>,
    /// Where the application is instead of where the bundle says, as `[NAME=]ADDR`.
    pub application: Vec<Override>,
    /// Where our application finds other services.
    pub outbound: Option<SocketAddr>,
    /// The directory of the certificates that policy names.
    pub certificates: Option<PathBuf>,
    /// Where we are, for policy that prefers near endpoints.
    pub here: Here,
    /// Where names of endpoints are looked up.
    pub dns: DnsOptions,
    /// Local ports of single services.
    pub local_ports: Vec<LocalPort>,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plane: ArcSwapOption<Plane>,
    pub(crate) identity: Arc<IdentityStore>,
    pub(crate) deny: Arc<DenyStore>,
    pub(crate) certificates: Arc<Certificates>,
    /// How many denylists there were.
    pub(crate) denylists: AtomicU64,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) clear_text: ClearText,
    /// Where endpoints come from that the bundle does not list.
    pub(crate) feeds: Feeds,
    pub(crate) here: Arc<Here>,
    /// Requests that name no service we know.
    pub(crate) unknown: [Arc<ServiceMetrics>; 2],
    /// Marks requests that this process sent.
    pub(crate) hop: HeaderValue,
    local_ports: Vec<LocalPort>,
    connections: [AtomicUsize; 2],
    draining: AtomicBool,
    changes: AtomicU64,
}

impl Shared {
    fn new(
        metrics: Arc<Metrics>,
        certificates: Certificates,
        feeds: Feeds,
        Options { here, local_ports, .. }: &Options,
    ) -> Self {
        let unknown = [Direction::Inbound, Direction::Outbound].map(|way| metrics.service(way, "unknown"));
        let hop = format!("{:016x}", fastrand::u64(..));
        Self {
            plane: ArcSwapOption::empty(),
            identity: Arc::default(),
            deny: Arc::default(),
            certificates: Arc::new(certificates),
            denylists: AtomicU64::new(0),
            metrics,
            in_flight: Arc::default(),
            clear_text: ClearText::default(),
            feeds,
            here: Arc::new(here.clone()),
            unknown,
            local_ports: local_ports.clone(),
            hop: HeaderValue::from_str(&hop).expect("hexadecimal digits are legal in a header"),
            connections: Default::default(),
            draining: AtomicBool::new(false),
            changes: AtomicU64::new(0),
        }
    }

    pub(crate) fn unknown(&self, direction: Direction) -> &Arc<ServiceMetrics> {
        let [inbound, outbound] = &self.unknown;
        match direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        }
    }

    /// The local port of a number.
    pub(crate) fn local_port(&self, number: u16) -> Option<&LocalPort> {
        self.local_ports.get(usize::from(number))
    }

    pub(crate) fn open_connections(&self, direction: Direction) -> &AtomicUsize {
        let [inbound, outbound] = &self.connections;
        match direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        }
    }
}

/// What connections are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    /// Grows with each new plane and denylist.
    pub(crate) changes: u64,
    /// Finish what is under way, take nothing new.
    pub(crate) drain: bool,
}

/// One worker, seen from its own thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clusters: Clusters,
    /// What was verified of callers' tokens.
    pub(crate) tokens: TokenCache,
    signals: [watch::Sender<Signal>; 2],
    listeners: RefCell<HashMap<Key, oneshot::Sender<()>>>,
}

#[derive(Debug)]
enum Command {
    Listen(Key, std::net::TcpListener),
    Retire(Key),
    Changed,
    /// Close unused connections to endpoints: not all of them may be believed any more.
    Forget,
    Drain(Direction),
    Stop,
}

/// A task on the worker's own thread that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Task<T>(tokio::task::JoinHandle<T>);

impl<T: 'static> Task<T> {
    pub(crate) fn spawn(future: impl Future<Output = T> + 'static) -> Self {
        Self(tokio::task::spawn_local(future))
    }

    /// What it gives in the end; none if it was ended before.
    pub(crate) async fn output(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs futures of hyper's on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

impl Worker {
    pub(crate) fn signal(&self, direction: Direction) -> watch::Receiver<Signal> {
        self.sender(direction).subscribe()
    }

    fn sender(&self, direction: Direction) -> &watch::Sender<Signal> {
        let [inbound, outbound] = &self.signals;
        match direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        }
    }

    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Listen(key, listener) => self.listen(key, listener),
            Command::Retire(key) => drop(self.listeners.borrow_mut().remove(&key)),
            Command::Changed => {
                let changes = self.shared.changes.load(Ordering::Acquire);
                for sender in &self.signals {
                    sender.send_modify(|signal| signal.changes = changes);
                }
                self.tidy();
            }
            Command::Forget => {
                self.clusters.clear();
                self.obey(Command::Changed);
            }
            Command::Drain(direction) => {
                self.listeners.borrow_mut().retain(|key, _| key.direction() != direction);
                self.sender(direction).send_modify(|signal| signal.drain = true);
            }
            // Ends the loop that calls us.
            Command::Stop => {}
        }
    }

    fn listen(self: &Rc<Self>, key: Key, listener: std::net::TcpListener) {
        // The socket was bound and set up by `bind`; only a runtime out of resources refuses it.
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                let (stop, stopped) = oneshot::channel();
                tokio::task::spawn_local(listener::accept(Rc::clone(self), key, listener, stopped));
                self.listeners.borrow_mut().insert(key, stop);
            }
            Err(error) => tracing::error!(%error, "a listener could not be used"),
        }
    }

    fn tidy(&self) {
        let plane = self.shared.plane.load();
        let is_current = |spec: &Arc<_>| {
            plane.as_ref().and_then(|plane| plane.cluster(spec)).is_some_and(|now| Arc::ptr_eq(now, spec))
        };
        self.clusters.tidy(is_current, Instant::now());
        if let Some(plane) = plane.as_ref() {
            plane.cluster_specs().for_each(|spec| self.clusters.check(spec));
        }
    }
}

/// One worker, which may be the one that asks endpoints whether they are well.
fn run(
    shared: Arc<Shared>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    asks: bool,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let worker = Rc::new(Worker {
            shared,
            clusters: Clusters::new(asks),
            tokens: TokenCache::default(),
            signals: [watch::Sender::default(), watch::Sender::default()],
            listeners: RefCell::default(),
        });
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Stop) | None => break,
                    Some(command) => worker.obey(command),
                },
                _ = tidy.tick() => worker.tidy(),
            }
        }
        worker.clusters.clear();
    });
    Ok(())
}

/// The data half: listeners, workers, and the one pointer to the policy they serve.
#[derive(Debug)]
pub struct DataPlane {
    options: Options,
    shared: Arc<Shared>,
    workers: Vec<mpsc::UnboundedSender<Command>>,
    threads: Mutex<Vec<JoinHandle<std::io::Result<()>>>>,
    /// What listens, and where it really does; locked while policy is applied, never by a request.
    listening: Mutex<BTreeMap<Key, Bound>>,
}

#[derive(Clone, Copy, Debug)]
struct Bound {
    wanted: SocketAddr,
    actual: SocketAddr,
}

impl DataPlane {
    /// Starts the workers and the outbound listener. Until a bundle is applied requests are refused.
    ///
    /// # Errors
    /// A thread cannot be started, or the outbound address not be listened on.
    pub fn start(options: Options, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        let certificates = Certificates::new(options.certificates.clone(), Arc::clone(&metrics));
        let feeds = Feeds::new(options.dns.clone());
        let shared = Arc::new(Shared::new(metrics, certificates, feeds, &options));
        shared.certificates.watch().map_err(StartError::Thread)?;
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for number in 0..options.workers.max(1) {
            let (commands, receiver) = mpsc::unbounded_channel();
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || run(shared, receiver, number == 0))
                .map_err(StartError::Thread)?;
            workers.push(commands);
            threads.push(thread);
        }
        let plane =
            Self { options, shared, workers, threads: Mutex::new(threads), listening: Mutex::default() };
        let outbound = plane.options.outbound.map(|address| (Key::Outbound, address));
        let ports = plane.options.local_ports.iter().map(|port| port.address);
        let ports = (0..).zip(ports).map(|(number, address)| (Key::LocalPort(number), address));
        for (key, address) in outbound.into_iter().chain(ports) {
            let sockets = bind(address, plane.workers.len(), Sharing::Alone)
                .map_err(|source| StartError::Listen(ApplyError::Listen { address, source }))?;
            plane.listen(&mut plane.listening(), key, address, sockets);
        }
        Ok(plane)
    }

    /// Takes a new generation of policy: binds the ports it adds, swaps one pointer, and retires the ports it drops.
    /// Clusters whose section is equal keep balancers and connections. Requests in flight finish on what they began with.
    ///
    /// # Errors
    /// Anything that makes it unusable here. Nothing has changed then.
    pub fn apply(&self, snapshot: Arc<Snapshot>) -> Result<(), ApplyError> {
        self.apply_after(snapshot, &mut || Ok(()))
    }

    /// The same, with something that must succeed before the pointer is swapped, when all else has: writing the bundle
    /// to disk.
    ///
    /// # Errors
    /// As [`DataPlane::apply`], and what `persist` returns.
    pub fn apply_after(
        &self,
        snapshot: Arc<Snapshot>,
        persist: &mut dyn FnMut() -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        if self.shared.draining.load(Ordering::Acquire) {
            return Err(ApplyError::Stopped);
        }
        self.check_identity(&snapshot, self.shared.identity.current().as_deref())?;
        let wanted = listener::wanted(snapshot.body(), &self.options.inbound, &self.options.listeners)?;
        let mut listening = self.listening();
        let mut bound = Vec::new();
        for (&key, &address) in &wanted {
            if listening.get(&key).is_none_or(|bound| bound.wanted != address) {
                let moves = listening.values().any(|bound| bound.actual == address);
                let sharing = if moves { Sharing::WithOurselves } else { Sharing::Alone };
                let sockets = bind(address, self.workers.len(), sharing)
                    .map_err(|source| ApplyError::Listen { address, source })?;
                bound.push((key, address, sockets));
            }
        }
        let previous = self.shared.plane.load_full();
        let plane = Plane::build(snapshot, previous.as_deref(), &self.options.application, &self.shared)?;
        self.refuse_loops(&plane, &listening, &bound)?;
        persist()?;
        // Before the swap, so that whoever finds us ready also finds what we serve.
        let generation = &plane.snapshot.generation;
        self.shared.metrics.control.applied(generation.sequence, generation.stale);

        self.shared.plane.store(Some(Arc::new(plane)));
        self.shared.changes.fetch_add(1, Ordering::AcqRel);
        for (key, address, sockets) in bound {
            self.listen(&mut listening, key, address, sockets);
        }
        listening.retain(|key, _| {
            let keep = key.direction() == Direction::Outbound || wanted.contains_key(key);
            if !keep {
                self.tell(|| Command::Retire(*key));
            }
            keep
        });
        self.tell(|| Command::Changed);
        self.warn_of_local_ports();
        Ok(())
    }

    /// Takes a new certificate and key, for handshakes from now on.
    ///
    /// # Errors
    /// [`ApplyError::IdentityMismatch`] if it is not for the identity of the bundle that runs.
    pub fn replace_identity(&self, identity: Identity) -> Result<(), ApplyError> {
        let _order = self.listening();
        if let Some(plane) = self.shared.plane.load().as_ref() {
            self.check_identity(&plane.snapshot, Some(&identity))?;
        }
        self.shared.metrics.control.identity_expires(identity.not_after());
        self.shared.identity.replace(identity);
        Ok(())
    }

    /// Puts a denylist in force: handshakes with those it means fail from now on, and their connections are closed.
    pub fn deny(&self, denylist: Denylist) {
        let _order = self.listening();
        self.shared.deny.replace(denylist);
        self.shared.denylists.fetch_add(1, Ordering::AcqRel);
        self.shared.changes.fetch_add(1, Ordering::AcqRel);
        self.tell(|| Command::Forget);
    }

    /// The bundle that runs.
    pub fn generation(&self) -> Option<Generation> {
        self.snapshot().map(|snapshot| snapshot.generation.clone())
    }

    /// The policy that runs.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.shared.plane.load().as_ref().map(|plane| Arc::clone(&plane.snapshot))
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Where the inbound port of that name listens.
    pub fn inbound_address(&self, name: &str) -> Option<SocketAddr> {
        let snapshot = self.snapshot()?;
        let port = snapshot.body().inbound.iter().find(|port| port.name == name)?.port;
        self.listening().get(&Key::Inbound(port)).map(|bound| bound.actual)
    }

    /// Where the listeners of that port of the bundle are.
    pub fn listener_address(&self, port: u16) -> Option<SocketAddr> {
        self.listening().get(&Key::Listener(port)).map(|bound| bound.actual)
    }

    /// Where our application finds other services.
    pub fn outbound_address(&self) -> Option<SocketAddr> {
        self.listening().get(&Key::Outbound).map(|bound| bound.actual)
    }

    /// Where each local port really listens, in the order of the options.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        let listening = self.listening();
        let ports = (0..).zip(&self.options.local_ports);
        ports.filter_map(|(number, _)| Some(listening.get(&Key::LocalPort(number))?.actual)).collect()
    }

    /// A local port that leads nowhere keeps no policy from being applied: a dependency may be dropped.
    fn warn_of_local_ports(&self) {
        let Some(snapshot) = self.snapshot() else { return };
        for port in self.options.local_ports.iter().filter(|port| port.frontend(&snapshot.engine).is_none()) {
            tracing::warn!("--forward {port} leads nowhere: the bundle has no such service and port");
        }
    }

    /// What runs, as the admin page shows it.
    pub fn describe(&self) -> serde_json::Value {
        let identity = self.shared.identity.current();
        let Some(plane) = self.shared.plane.load_full() else {
            return json!({"bundle": null});
        };
        let snapshot = &plane.snapshot;
        let (body, generation) = (snapshot.body(), &snapshot.generation);
        let inbound = body.inbound.iter().map(|port| {
            let listens = self.inbound_address(&port.name);
            json!({"name": port.name, "port": port.port, "listens": listens, "tls": port.tls,
                "protocol": port.protocol, "application": port.application})
        });
        let listeners = body.listeners.iter().map(|listener| {
            let port = listener.frontend.port;
            json!({"name": listener.name, "port": port, "listens": self.listener_address(port),
                "hosts": listener.frontend.hosts, "tls": listener.tls.is_some(), "protocol": listener.frontend.protocol})
        });
        let outbound = body.outbound.iter().map(
            |frontend| json!({"service": frontend.service, "port": frontend.port, "hosts": frontend.hosts}),
        );
        json!({
            "bundle": {
                "mesh": body.mesh, "service": body.service, "identity": body.identity,
                "sequence": generation.sequence, "digest": generation.digest, "stale": generation.stale,
                "inbound": inbound.collect::<Vec<_>>(), "listeners": listeners.collect::<Vec<_>>(),
                "outbound": outbound.collect::<Vec<_>>(),
            },
            "certificate": identity.map(|identity| json!({"identity": identity.id(), "not_after": identity.not_after()})),
            "outbound_listens": self.outbound_address(),
        })
    }

    /// The clusters of the bundle that runs, and their endpoints.
    pub fn describe_clusters(&self) -> serde_json::Value {
        let plane = self.shared.plane.load_full();
        let clusters = plane.iter().flat_map(|plane| plane.cluster_specs()).map(|spec| {
            let metrics = &spec.metrics;
            let (requests, pending) = spec.circuit.in_flight();
            let members = &spec.members;
            let facts = json!({"endpoints": members.describe(), "tiers": members.describe_tiers(),
                "discovery": members.describe_discovery(), "load_balancer": spec.load_balancer, "tls": spec.tls.is_some(),
                "mutual_tls": spec.tls.as_ref().is_some_and(ClientTls::is_mutual),
                "requests": requests, "pending": pending, "open_connections": metrics.open.get(), "retries": metrics.retries.get(),
                "connect_failures": metrics.connect_failures.get(), "ejected": spec.health().out(), "unwell": spec.health().unwell()});
            (spec.id.clone(), facts)
        });
        clusters
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_iter()
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Why traffic should not be sent here; nothing if it should.
    pub fn not_ready(&self) -> Option<NotReady> {
        if self.shared.draining.load(Ordering::Acquire) {
            return Some(NotReady::Draining);
        }
        match self.snapshot() {
            None => Some(NotReady::NoBundle),
            Some(snapshot) if snapshot.needs_identity() && self.shared.identity.current().is_none() => {
                Some(NotReady::NoIdentity)
            }
            Some(_) => None,
        }
    }

    /// Says "not ready" from now on, without closing anything.
    pub fn begin_drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// Stops accepting in one direction, and tells its connections to end after what is under way.
    pub fn drain(&self, direction: Direction) {
        self.begin_drain();
        self.listening().retain(|key, _| key.direction() != direction);
        self.tell(|| Command::Drain(direction));
    }

    /// Requests that have begun and not ended.
    pub fn requests_in_flight(&self, direction: Direction) -> usize {
        self.shared.in_flight.count(direction)
    }

    /// Connections accepted and still open.
    pub fn open_connections(&self, direction: Direction) -> usize {
        self.shared.open_connections(direction).load(Ordering::Acquire)
    }

    /// Ends the workers, whatever they are doing.
    pub fn stop(&self) {
        self.begin_drain();
        self.tell(|| Command::Stop);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A worker that panicked has said so on standard error.
            let _ = thread.join();
        }
        self.shared.feeds.stop();
    }

    fn check_identity(&self, snapshot: &Snapshot, identity: Option<&Identity>) -> Result<(), ApplyError> {
        let bundle = &snapshot.body().identity;
        match identity {
            Some(identity) if identity.id() != bundle => Err(ApplyError::IdentityMismatch {
                bundle: Box::new(bundle.clone()),
                certificate: Box::new(identity.id().clone()),
            }),
            None if snapshot.needs_identity() => Err(ApplyError::NoIdentity),
            Some(_) | None => Ok(()),
        }
    }

    /// An application that is ourselves would call itself for ever.
    fn refuse_loops(
        &self,
        plane: &Plane,
        listening: &BTreeMap<Key, Bound>,
        bound: &[(Key, SocketAddr, Vec<std::net::TcpListener>)],
    ) -> Result<(), ApplyError> {
        let ours = |address: SocketAddr| {
            let same = |own: SocketAddr| {
                own.port() == address.port()
                    && (own.ip() == address.ip() || (own.ip().is_unspecified() && address.ip().is_loopback()))
            };
            listening.values().any(|bound| same(bound.actual)) || bound.iter().any(|(_, own, _)| same(*own))
        };
        match plane.applications().find(|(_, address)| ours(*address)) {
            Some((port, address)) => Err(ApplyError::ApplicationLoop { port: port.to_owned(), address }),
            None => Ok(()),
        }
    }

    fn listen(
        &self,
        listening: &mut BTreeMap<Key, Bound>,
        key: Key,
        wanted: SocketAddr,
        sockets: Vec<std::net::TcpListener>,
    ) {
        let actual = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(wanted);
        if listening.insert(key, Bound { wanted, actual }).is_some() {
            self.tell(|| Command::Retire(key));
        }
        for (worker, socket) in self.workers.iter().zip(sockets) {
            // A worker that is gone has no use for it.
            let _ = worker.send(Command::Listen(key, socket));
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.send(command());
        }
    }

    fn listening(&self) -> MutexGuard<'_, BTreeMap<Key, Bound>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds everything that [`DataPlane::apply`] builds, except listeners.
///
/// # Errors
/// Anything that makes the snapshot unusable, whatever the machine.
pub fn dry_run(snapshot: &Arc<Snapshot>) -> Result<(), ApplyError> {
    let metrics = Arc::new(Metrics::new());
    let shared =
        Shared::new(Arc::clone(&metrics), Certificates::unread(metrics), Feeds::idle(), &Options::default());
    listener::wanted(snapshot.body(), &[], &[])?;
    Plane::build(Arc::clone(snapshot), None, &[], &shared).map(drop)
}

/// Why the data plane cannot start.
#[derive(Debug)]
pub enum StartError {
    /// A thread cannot be started.
    Thread(std::io::Error),
    /// The outbound address cannot be listened on.
    Listen(ApplyError),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "a thread cannot be started: {error}"),
            Self::Listen(error) => write!(f, "outbound: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why traffic should not be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// There is no bundle.
    NoBundle,
    /// Policy asks for mutual TLS, and there is no certificate.
    NoIdentity,
    /// The proxy is shutting down.
    Draining,
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoBundle => "no bundle yet",
            Self::NoIdentity => "no certificate",
            Self::Draining => "draining",
        })
    }
}
