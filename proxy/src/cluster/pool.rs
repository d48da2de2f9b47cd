//! Connections to one endpoint that can take another request. One pool per endpoint and worker; nothing is shared, so
//! nothing is locked. The endpoint belongs to a cluster whose section names the identities that may answer, so a
//! connection is never reused for another identity.
//!
//! HTTP/1.1 connections are taken out for a request and given back when the response's body is over. HTTP/2 connections
//! stay and are shared, up to a number of streams; then another one is opened.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};

use super::Endpoint;
use super::balancer::Pending;
use super::budget::ActiveGuard;
use crate::message::body::RequestBody;

/// How many requests one HTTP/2 connection carries before another is opened.
const STREAMS: usize = 100;

/// The oldest a connection gets, give or take a tenth.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// The most unused HTTP/1.1 connections that are kept per endpoint and worker.
const MAX_IDLE: usize = 128;

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(crate) struct OneByOne {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    /// When it is not used any more.
    retire: Instant,
    /// Since when nobody uses it.
    since: Instant,
}

/// A connection that carries many requests.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) sender: http2::SendRequest<RequestBody>,
    streams: Rc<Cell<usize>>,
    since: Rc<Cell<Instant>>,
    retire: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: RefCell<Vec<OneByOne>>,
    shared: RefCell<Vec<Shared>>,
    /// Held while an HTTP/2 connection is opened, so that a burst opens one and not a hundred.
    pub(crate) opening: tokio::sync::Mutex<()>,
}

fn retirement(now: Instant) -> Instant {
    let tenth = MAX_AGE / 10;
    let jitter = u64::try_from(tenth.as_millis()).unwrap_or(0) * 2;
    now + MAX_AGE - tenth + Duration::from_millis(fastrand::u64(0..=jitter))
}

impl OneByOne {
    pub(crate) fn new(sender: http1::SendRequest<RequestBody>, now: Instant) -> Self {
        Self { sender, retire: retirement(now), since: now }
    }

    fn is_usable(&self, now: Instant, idle_timeout: Duration) -> bool {
        !self.sender.is_closed() && now < self.retire && now < self.since + idle_timeout
    }
}

impl Shared {
    pub(crate) fn new(sender: http2::SendRequest<RequestBody>, now: Instant) -> Self {
        let (streams, since) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(now)));
        Self { sender, streams, since, retire: retirement(now) }
    }

    fn is_usable(&self, now: Instant, idle_timeout: Duration) -> bool {
        let idle = self.streams.get() == 0 && now >= self.since.get() + idle_timeout;
        !self.sender.is_closed() && now < self.retire && !idle
    }
}

impl Pool {
    /// An unused HTTP/1.1 connection, the one used last: it is the least likely to have been closed.
    pub(crate) fn take(&self, now: Instant, idle_timeout: Duration) -> Option<OneByOne> {
        let mut idle = self.idle.borrow_mut();
        while let Some(connection) = idle.pop() {
            if connection.is_usable(now, idle_timeout) && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn give_back(&self, mut connection: OneByOne) {
        connection.since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE && connection.since < connection.retire {
            idle.push(connection);
        }
    }

    /// An HTTP/2 connection with room for one more stream.
    pub(crate) fn share(&self, now: Instant, idle_timeout: Duration) -> Option<Shared> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| connection.is_usable(now, idle_timeout));
        shared.iter().find(|connection| connection.streams.get() < STREAMS).cloned()
    }

    pub(crate) fn add(&self, connection: Shared) {
        self.shared.borrow_mut().push(connection);
    }

    /// Closes what was unused for too long.
    pub(super) fn tidy(&self, now: Instant, idle_timeout: Duration) {
        self.idle.borrow_mut().retain(|connection| connection.is_usable(now, idle_timeout));
        self.shared.borrow_mut().retain(|connection| connection.is_usable(now, idle_timeout));
    }
}

/// What a request holds upstream until its response is over: load on the endpoint, a place among the requests in
/// flight, and the connection.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Connection,
    /// Last, so that they count until the connection is back.
    _guards: (Pending, ActiveGuard),
}

#[derive(Debug)]
enum Connection {
    OneByOne { connection: OneByOne, endpoint: Weak<Endpoint> },
    Shared { _stream: Stream },
}

/// One stream on a shared connection.
#[derive(Debug)]
pub(crate) struct Stream {
    streams: Rc<Cell<usize>>,
    since: Rc<Cell<Instant>>,
}

impl Stream {
    pub(crate) fn open(connection: &Shared) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self { streams: Rc::clone(&connection.streams), since: Rc::clone(&connection.since) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.set(self.streams.get().saturating_sub(1));
        self.since.set(Instant::now());
    }
}

impl Lease {
    pub(crate) fn one_by_one(connection: OneByOne, pending: Pending, active: ActiveGuard) -> Self {
        let endpoint = Rc::downgrade(pending.endpoint());
        Self { connection: Connection::OneByOne { connection, endpoint }, _guards: (pending, active) }
    }

    pub(crate) fn shared(stream: Stream, pending: Pending, active: ActiveGuard) -> Self {
        Self { connection: Connection::Shared { _stream: stream }, _guards: (pending, active) }
    }

    /// Returns the connection to its pool, after a response that arrived whole. Dropping the lease instead closes an
    /// HTTP/1.1 connection: bytes of the old response may still come over it.
    pub(crate) fn give_back(self) {
        if let Connection::OneByOne { connection, endpoint } = self.connection {
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

/// A response can be over before its request is: waits for the rest of the request, but not for long.
async fn give_back_when_ready(mut connection: OneByOne, endpoint: Weak<Endpoint>) {
    let ready = tokio::time::timeout(Duration::from_secs(1), connection.sender.ready()).await;
    if let (Ok(Ok(())), Some(endpoint)) = (ready, endpoint.upgrade()) {
        endpoint.pool.give_back(connection);
    }
}
