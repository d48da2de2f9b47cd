//! Connections to one endpoint that can take another request. One pool per endpoint and worker; nothing is shared, so
//! nothing is locked. The endpoint belongs to a cluster whose section names the identities that may answer, so a
//! connection is never reused for another identity; nor is it for other [`Terms`].
//!
//! HTTP/1.1 connections are taken out for a request and given back when the response's body is over. HTTP/2 connections
//! stay and are shared, up to a number of streams; then another one is opened.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use tokio::sync::Notify;
use weft_bundle::body::ConnectionSettings;
use weft_bundle::duration::DurationText;

use super::Endpoint;
use super::balancer::Pending;
use super::limits::{Circuit, RequestGuard};
use super::terms::Terms;
use crate::message::body::RequestBody;

/// How many requests one HTTP/2 connection carries at once before another is opened, where policy does not say.
const STREAMS: usize = 100;

/// The oldest a connection gets, give or take a tenth, where policy does not say.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// The most unused HTTP/1.1 connections that are kept per endpoint and worker.
const MAX_IDLE: usize = 128;

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(crate) struct OneByOne {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    /// Since when nobody uses it.
    since: Instant,
    /// Boxed, as the connection itself moves through every state of a request.
    life: Box<Life>,
}

/// What a connection was opened for, and how long it may be used.
#[derive(Debug)]
struct Life {
    /// When it is not used any more.
    retire: Instant,
    /// Requests that it has carried.
    requests: u32,
    terms: Terms,
}

/// A connection that carries many requests.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) sender: http2::SendRequest<RequestBody>,
    state: Rc<SharedState>,
}

#[derive(Debug)]
struct SharedState {
    /// Requests that it carries now, and all that it has.
    streams: Cell<usize>,
    requests: Cell<u32>,
    /// Since when nobody uses it.
    since: Cell<Instant>,
    /// When it is not used any more.
    retire: Instant,
    terms: Terms,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    circuit: Arc<Circuit>,
    keep: Keep,
    idle: RefCell<Vec<OneByOne>>,
    shared: RefCell<Vec<Shared>>,
    /// How many requests of this worker wait for a connection to this endpoint, because there are too many.
    waiting: Cell<usize>,
    /// Tells the first of them that a connection, or a stream of one, is free again.
    pub(super) returned: Notify,
    /// Held while an HTTP/2 connection is opened, so that a burst opens one and not a hundred.
    pub(crate) opening: tokio::sync::Mutex<()>,
}

/// How connections are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// How long nobody may use one; as long as there is if policy says zero.
    idle_timeout: Duration,
    /// How old one gets.
    max_age: Option<Duration>,
    /// How many requests one carries, all in all.
    max_requests: u32,
    /// How many requests an HTTP/2 connection carries at once before another is opened.
    max_streams: usize,
}

impl Keep {
    pub(crate) fn new(idle_timeout: Duration, settings: ConnectionSettings) -> Self {
        let max_streams = settings.max_streams.map(|streams| usize::try_from(streams).unwrap_or(usize::MAX));
        let idle_timeout = if idle_timeout.is_zero() { Duration::MAX } else { idle_timeout };
        Self {
            idle_timeout,
            max_age: settings.max_age.map(DurationText::get),
            max_requests: settings.max_requests.unwrap_or(u32::MAX).max(1),
            max_streams: max_streams.unwrap_or(STREAMS).max(1),
        }
    }

    /// When a connection that is opened now is not used any more. Spread, so that not all are opened again at once; never
    /// later than policy says.
    fn retirement(&self, now: Instant) -> Instant {
        let part = match self.max_age {
            Some(age) => age.mul_f64(0.9 + 0.1 * fastrand::f64()),
            None => MAX_AGE.mul_f64(0.9 + 0.2 * fastrand::f64()),
        };
        now.checked_add(part).unwrap_or(now + MAX_AGE)
    }
}

impl OneByOne {
    /// For its first request.
    pub(crate) fn new(
        sender: http1::SendRequest<RequestBody>,
        keep: &Keep,
        terms: Terms,
        now: Instant,
    ) -> Self {
        let life = Box::new(Life { retire: keep.retirement(now), requests: 1, terms });
        Self { sender, since: now, life }
    }

    fn is_usable(&self, now: Instant, keep: &Keep) -> bool {
        let unused = now.saturating_duration_since(self.since);
        !self.sender.is_closed()
            && now < self.life.retire
            && unused < keep.idle_timeout
            && self.life.requests < keep.max_requests
    }
}

impl Shared {
    pub(crate) fn new(
        sender: http2::SendRequest<RequestBody>,
        keep: &Keep,
        terms: Terms,
        now: Instant,
    ) -> Self {
        let (streams, requests) = (Cell::new(0), Cell::new(0));
        let (since, retire) = (Cell::new(now), keep.retirement(now));
        Self { sender, state: Rc::new(SharedState { streams, requests, since, retire, terms }) }
    }

    fn is_usable(&self, now: Instant, keep: &Keep) -> bool {
        let SharedState { streams, requests, since, retire, .. } = &*self.state;
        let unused = now.saturating_duration_since(since.get());
        let idle = streams.get() == 0 && unused >= keep.idle_timeout;
        !self.sender.is_closed() && now < *retire && !idle && requests.get() < keep.max_requests
    }

    fn is_unused(&self) -> bool {
        self.state.streams.get() == 0
    }
}

impl Pool {
    pub(super) fn new(circuit: Arc<Circuit>, keep: Keep) -> Self {
        Self {
            circuit,
            keep,
            idle: RefCell::default(),
            shared: RefCell::default(),
            waiting: Cell::new(0),
            returned: Notify::new(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// An unused HTTP/1.1 connection of these terms, the one used last: it is the least likely to have been closed.
    pub(crate) fn take(&self, now: Instant, terms: &Terms) -> Option<OneByOne> {
        let mut idle = self.idle.borrow_mut();
        while let Some(place) = idle.iter().rposition(|connection| connection.life.terms == *terms) {
            let mut connection = idle.remove(place);
            if connection.is_usable(now, &self.keep) && connection.sender.is_ready() {
                connection.life.requests += 1;
                return Some(connection);
            }
        }
        None
    }

    fn give_back(&self, mut connection: OneByOne) {
        connection.since = Instant::now();
        if self.is_wanted_elsewhere() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= MAX_IDLE && !connection.life.terms.is_none() {
            // Of many clients or names each has its own: the oldest is the least likely to be asked for again.
            idle.remove(0);
        }
        if idle.len() < MAX_IDLE && connection.is_usable(connection.since, &self.keep) {
            idle.push(connection);
            self.tell_next();
        }
    }

    /// Whether requests to other endpoints, or of other workers, wait for a connection, and none to this endpoint does.
    fn is_wanted_elsewhere(&self) -> bool {
        self.waiting.get() == 0
            && self.circuit.connections().is_some_and(super::limits::Connections::is_wanted)
    }

    fn tell_next(&self) {
        if self.is_waited_for() {
            self.returned.notify_one();
        }
    }

    /// Whether a request of this worker waits for a connection to this endpoint. Later ones stand in line behind it.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Counts a request as one that waits here.
    pub(super) fn wait_here(&self) -> WaitHere<'_> {
        self.waiting.set(self.waiting.get() + 1);
        WaitHere(&self.waiting)
    }

    /// Closes the connection that was unused for longest; false if all are used.
    pub(super) fn close_one(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        if !idle.is_empty() {
            idle.remove(0);
            return true;
        }
        let mut shared = self.shared.borrow_mut();
        let unused = shared.iter().position(Shared::is_unused);
        unused.map(|place| shared.remove(place)).is_some()
    }

    /// Closes every HTTP/1.1 connection that is not used.
    pub(super) fn close_unused(&self) {
        self.idle.borrow_mut().clear();
    }

    /// An HTTP/2 connection of these terms with room for one more stream.
    pub(crate) fn share(&self, now: Instant, terms: &Terms) -> Option<Shared> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| connection.is_usable(now, &self.keep));
        let has_room = |connection: &&Shared| {
            connection.state.streams.get() < self.keep.max_streams && connection.state.terms == *terms
        };
        shared.iter().find(has_room).cloned()
    }

    pub(crate) fn add(&self, connection: Shared) {
        self.shared.borrow_mut().push(connection);
    }

    /// Closes what was unused for too long.
    pub(super) fn tidy(&self, now: Instant) {
        self.idle.borrow_mut().retain(|connection| connection.is_usable(now, &self.keep));
        self.shared.borrow_mut().retain(|connection| connection.is_usable(now, &self.keep));
    }
}

/// What a request holds upstream until its response is over: load on the endpoint, a place among the requests in
/// flight, and the connection.
#[derive(Debug)]
pub(crate) struct Lease {
    carrier: Carrier,
    /// Last, so that they count until the connection is back.
    pending: Option<Pending>,
    _request: Option<RequestGuard>,
}

/// What a response comes over.
#[derive(Debug)]
pub(crate) struct Carrier(Connection);

#[derive(Debug)]
enum Connection {
    OneByOne {
        connection: OneByOne,
        endpoint: Weak<Endpoint>,
    },
    Shared {
        _stream: Stream,
    },
    /// One that carries nothing else.
    Alone {
        _held: Box<dyn std::fmt::Debug>,
    },
}

/// One stream on a shared connection.
#[derive(Debug)]
pub(crate) struct Stream {
    state: Rc<SharedState>,
    endpoint: Weak<Endpoint>,
}

impl Stream {
    pub(crate) fn open(connection: &Shared, endpoint: &Rc<Endpoint>) -> Self {
        let state = Rc::clone(&connection.state);
        state.streams.set(state.streams.get() + 1);
        state.requests.set(state.requests.get().saturating_add(1));
        Self { state, endpoint: Rc::downgrade(endpoint) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.state.streams.set(self.state.streams.get().saturating_sub(1));
        self.state.since.set(Instant::now());
        if let Some(endpoint) = self.endpoint.upgrade() {
            let pool = &endpoint.pool;
            if self.state.streams.get() == 0 && pool.is_wanted_elsewhere() {
                pool.shared.borrow_mut().retain(|connection| !Rc::ptr_eq(&connection.state, &self.state));
            } else {
                pool.tell_next();
            }
        }
    }
}

impl Carrier {
    pub(crate) fn one_by_one(connection: OneByOne, endpoint: &Rc<Endpoint>) -> Self {
        Self(Connection::OneByOne { connection, endpoint: Rc::downgrade(endpoint) })
    }

    /// A connection that carries nothing else, held by what keeps it open.
    pub(crate) fn alone(held: impl std::fmt::Debug + 'static) -> Self {
        Self(Connection::Alone { _held: Box::new(held) })
    }

    pub(crate) fn shared(stream: Stream) -> Self {
        Self(Connection::Shared { _stream: stream })
    }
}

impl Lease {
    pub(crate) fn new(carrier: Carrier, pending: Option<Pending>) -> Self {
        Self { carrier, pending, _request: None }
    }

    /// The same, keeping a request's place among those in flight.
    pub(crate) fn with(self, request: RequestGuard) -> Self {
        Self { _request: Some(request), ..self }
    }

    /// What sessions call the endpoint that it leads to.
    pub(crate) fn endpoint(&self) -> Option<u64> {
        self.pending.as_ref().map(|pending| pending.endpoint().id)
    }

    /// Returns the connection to its pool, after a response that arrived whole. Dropping the lease instead closes an
    /// HTTP/1.1 connection: bytes of the old response may still come over it.
    pub(crate) fn give_back(self) {
        if let Connection::OneByOne { connection, endpoint } = self.carrier.0 {
            if connection.sender.is_ready() {
                if let Some(endpoint) = endpoint.upgrade() {
                    endpoint.pool.give_back(connection);
                }
            } else if !connection.sender.is_closed() {
                tokio::task::spawn_local(give_back_when_ready(connection, endpoint));
            }
        }
    }
}

/// One request that waits for a connection to an endpoint.
#[derive(Debug)]
pub(super) struct WaitHere<'p>(&'p Cell<usize>);

impl Drop for WaitHere<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A response can be over before its request is: waits for the rest of the request, but not for long.
async fn give_back_when_ready(mut connection: OneByOne, endpoint: Weak<Endpoint>) {
    let ready = tokio::time::timeout(Duration::from_secs(1), connection.sender.ready()).await;
    if let (Ok(Ok(())), Some(endpoint)) = (ready, endpoint.upgrade()) {
        endpoint.pool.give_back(connection);
    }
}
