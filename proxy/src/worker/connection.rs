//! One accepted connection: what it is (clear text or TLS, HTTP/1.1 or HTTP/2, whose), and serving it to its end.
//!
//! Limits that hyper does not set as we want them are kept here, by what [`super::activity`] notes: a request head must be complete 10 s after its first
//! byte (hyper would count idle time between requests too, and so make pooled connections of well-behaved callers
//! unusable), an idle connection is closed after a time that is longer than callers keep one, a reader that does not read
//! is cut off, and a connection ends at 30 minutes, give or take a tenth, or with its peer's certificate, after what is
//! under way.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Body as _;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use weft_bundle::body::PeerTls;
use weft_bundle::spiffe::SpiffeId;

use super::activity::{Activity, Busy, Due, Framing, HEAD_LIMIT, REST_AFTER};
use super::entrance::{self, Entered, Entrance};
use super::guard::Guard;
use super::listener::Key;
use super::strict::{Doubt, REFUSED_METHOD};
use super::transport::Transport;
use super::{LocalExecutor, LocalPort, Plane, Signal, Worker};
use crate::cluster::connect::chain;
use crate::cluster::terms::Source;
use crate::identity::leaf::Leaf;
use crate::message::head::{MAX_HEAD_BYTES, Target};
use crate::stream::outbound::Aim;
use crate::stream::tunnel::Tunnel;
use crate::stream::wire::Io;
use crate::stream::{self, hello};
use crate::telemetry::metrics::Refusal;
use crate::telemetry::record::Record;
use crate::{answer, inbound, outbound};

/// How long a connection of a peer may be without requests: longer than sidecars keep one (`idle_timeout`, 50 s unless
/// policy says otherwise).
const PEER_IDLE_LIMIT: Duration = Duration::from_secs(75);

/// The same for our application: many clients keep connections for 90 s, and one that is closed just when it is used
/// again costs a request.
const APPLICATION_IDLE_LIMIT: Duration = Duration::from_secs(600);

/// How long a connection that has not sent anything yet may still do so once we are told to end: its first request may
/// be on the way.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The oldest a connection gets, give or take a tenth.
const AGE_LIMIT: Duration = Duration::from_secs(30 * 60);

/// How many connections are served at once in each direction.
const MAX_CONNECTIONS: usize = 32 * 1024;

/// The first byte of a TLS handshake; no HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// What requests need to know of the connection they came over.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) key: Key,
    pub(crate) client: SocketAddr,
    /// Where the client connected to.
    pub(crate) local: Option<SocketAddr>,
    peer: Option<Proven>,
    /// How a caller from outside the mesh came in over TLS.
    entrance: Option<Entrance>,
    activity: Rc<Activity>,
    /// Where our application made it to, if it was redirected to us.
    pub(crate) destination: Option<SocketAddr>,
    /// What it becomes when its requests are over.
    tunnel: RefCell<Option<Tunnel>>,
}

/// What certificates proved, and they.
#[derive(Debug)]
pub(super) struct Proven {
    /// The identity in the mesh; a caller from outside has none.
    id: Option<SpiffeId>,
    chain: Vec<CertificateDer<'static>>,
    /// Seconds since the epoch.
    not_after: i64,
    /// The plane and the denylist that it was last checked against.
    checked: Cell<(u64, u64)>,
}

impl Proven {
    /// `not_after` is in seconds since the epoch.
    pub(super) fn new(id: Option<SpiffeId>, chain: Vec<CertificateDer<'static>>, not_after: i64) -> Self {
        // Never equal to a real pair: the first request checks once more, in case policy changed during the handshake.
        Self { id, chain, not_after, checked: Cell::new((0, 0)) }
    }
}

impl Connection {
    /// The peer's identity, if mutual TLS proved one.
    pub(crate) fn identity(&self) -> Option<&SpiffeId> {
        self.peer.as_ref().and_then(|peer| peer.id.as_ref())
    }

    /// Whether it is of our own application.
    fn is_our_own(&self) -> bool {
        matches!(self.key, Key::Outbound | Key::LocalPort(_))
    }

    /// Whether the caller is outside the mesh.
    pub(crate) fn is_from_outside(&self) -> bool {
        matches!(self.key, Key::Listener(_))
    }

    /// The scheme of URIs over it.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.peer.is_some() || self.entrance.is_some() { "https" } else { "http" }
    }

    /// The listener that its server name chose, where it is TLS from outside.
    pub(crate) fn listener(&self) -> Option<&str> {
        self.entrance.as_ref().map(|entrance| entrance.listener.as_str())
    }

    /// The server name that a caller from outside asked for.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.entrance.as_ref()?.server_name.as_deref()
    }

    /// What servers that want to know are told of it.
    pub(crate) fn source(&self) -> Option<Source> {
        Some(Source { client: self.client, local: self.local? })
    }

    /// Why a request is refused that stands for one which was not read.
    fn doubt<B>(&self, request: &http::Request<B>) -> Option<Doubt> {
        self.activity.doubt.get().filter(|_| request.method().as_str() == REFUSED_METHOD)
    }

    /// The certificates that the caller presented.
    pub(super) fn presented(&self) -> Option<&[CertificateDer<'static>]> {
        self.peer.as_ref().map(|peer| peer.chain.as_slice())
    }

    /// Whether the peer's certificates still lead to an anchor of its trust domain, or are what the listener asks for.
    /// Checked again once per plane and denylist.
    pub(crate) fn is_trusted(&self, plane: &Plane) -> bool {
        let Some(peer) = &self.peer else {
            return plane.admits(self);
        };
        let shared = &self.worker.shared;
        let now = (plane.number, shared.denylists.load(Ordering::Acquire));
        if peer.checked.get() == now {
            return true;
        }
        let is_peer = || {
            peer.chain.split_first().is_some_and(|(leaf, intermediates)| {
                let trust = &plane.snapshot.trust;
                trust.verify_client(&shared.deny, leaf, intermediates, UnixTime::now()).is_ok()
            })
        };
        let trusted = (peer.id.is_none() || is_peer()) && plane.admits(self);
        if trusted {
            peer.checked.set(now);
        }
        trusted
    }

    /// How long it may live: to its age, and not past the certificate that proved its peer.
    fn life(&self) -> Duration {
        let age = AGE_LIMIT.mul_f64(0.9 + 0.2 * fastrand::f64());
        self.proof_lasts().map_or(age, |left| age.min(left))
    }

    /// How long the certificate that proved its peer is still good; none if there is none.
    pub(crate) fn proof_lasts(&self) -> Option<Duration> {
        let peer = self.peer.as_ref()?;
        let left = u64::try_from(peer.not_after).unwrap_or(0).saturating_sub(UnixTime::now().as_secs());
        Some(Duration::from_secs(left))
    }

    fn idle_limit(&self) -> Duration {
        match self.key {
            Key::Outbound | Key::LocalPort(_) => APPLICATION_IDLE_LIMIT,
            Key::Inbound(_) | Key::Listener(_) => PEER_IDLE_LIMIT,
        }
    }

    /// The local port that it came to, if it did.
    pub(crate) fn local_port(&self) -> Option<&LocalPort> {
        match self.key {
            Key::LocalPort(number) => self.worker.shared.local_port(number),
            Key::Inbound(_) | Key::Outbound | Key::Listener(_) => None,
        }
    }

    /// The target of a request, which on a local port is the service behind it, whatever the request calls it.
    pub(crate) fn named(&self, target: Target) -> Target {
        match self.local_port().map(LocalPort::authority) {
            Some((host, port)) => target.at(&host, port),
            None => target,
        }
    }

    /// Says what it becomes once the response to the request at hand, which must agree to it, has been sent.
    pub(crate) fn tunnel_next(&self, tunnel: Tunnel) {
        self.tunnel.replace(Some(tunnel));
    }

    /// Notes that a request begins; it ends when the guard is dropped.
    pub(crate) fn busy(&self) -> Busy {
        Activity::begin(&self.activity)
    }
}

// ---------------------------------------------------------------------------------------------------- accepting

/// Counts a connection of the worker's direction while it lives.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, key: Key, stream: TcpStream, client: SocketAddr) {
    let shared = Arc::clone(&worker.shared);
    let direction = key.direction();
    let _open = shared.metrics.connection(direction);
    let before = shared.open_connections(direction).fetch_add(1, Ordering::AcqRel);
    let _counted = Counted(shared.open_connections(direction));
    if before >= MAX_CONNECTIONS {
        shared.metrics.refused(Refusal::Limit);
        return;
    }
    let mut signal = worker.signal(direction);
    let begun = tokio::select! {
        // Boxed: handshakes are large, and over soon.
        begun = tokio::time::timeout(HEAD_LIMIT, Box::pin(begin(&worker, key, stream, client))) => begun,
        () = drained(&mut signal) => return,
    };
    match begun {
        Ok(Ok((connection, Spoken::Http, io))) => {
            let transport = Transport::new(io, Rc::clone(&connection.activity));
            serve_http(Rc::new(connection), transport).await;
        }
        // Boxed: their state would make that of HTTP connections larger, too.
        Ok(Ok((connection, Spoken::ForUs(port), io))) => {
            Box::pin(stream::inbound::serve(connection, port, io)).await;
        }
        Ok(Ok((_, Spoken::ForService(aim), io))) => {
            Box::pin(stream::outbound::serve(&worker, client, aim, io)).await;
        }
        Ok(Err(refusal)) => {
            shared.metrics.refused(refusal);
        }
        Err(_) => shared.metrics.refused(Refusal::HeadTimeout),
    }
}

async fn drained(signal: &mut watch::Receiver<Signal>) {
    // An error means that the worker ends.
    let _ = signal.wait_for(|signal| signal.drain).await;
}

/// What comes over a connection.
enum Spoken {
    Http,
    /// Bytes, for the inbound port of this number.
    ForUs(u16),
    /// Bytes of our application, for a service.
    ForService(Aim),
}

/// Finds out what the connection is, and ends its handshake.
async fn begin(
    worker: &Rc<Worker>,
    key: Key,
    stream: TcpStream,
    client: SocketAddr,
) -> Result<(Connection, Spoken, Io), Refusal> {
    // Without it small answers wait for acknowledgements; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    let activity = Rc::new(Activity::new(Instant::now()));
    let local = stream.local_addr().ok();
    let destination = match key {
        Key::Outbound => stream::outbound::original_destination(worker, &stream),
        Key::LocalPort(_) | Key::Inbound(_) | Key::Listener(_) => None,
    };
    let made = |entrance, peer| Connection {
        worker: Rc::clone(worker),
        key,
        client,
        local,
        peer,
        entrance,
        activity: Rc::clone(&activity),
        destination,
        tunnel: RefCell::default(),
    };
    let connection = |peer| made(None, peer);
    let number = match key {
        Key::Inbound(number) => number,
        Key::Outbound | Key::LocalPort(_) => {
            let aim = stream::outbound::recognise(worker, key, &stream, destination).await;
            return Ok((connection(None), aim.map_or(Spoken::Http, Spoken::ForService), Io::Plain(stream)));
        }
        Key::Listener(port) => {
            let plane = worker.shared.plane.load_full().ok_or(Refusal::NoPolicy)?;
            let (connection, io) = match entrance::enter(&plane, port, stream, client).await? {
                Entered::Clear(stream) => (connection(None), Io::Plain(stream)),
                Entered::Tls(stream, entrance, peer) => (made(Some(entrance), peer), Io::tls(*stream)),
            };
            return Ok((connection, Spoken::Http, io));
        }
    };
    let plane = worker.shared.plane.load_full().ok_or(Refusal::NoPolicy)?;
    let port = plane.snapshot.engine.inbound(number).ok_or(Refusal::NoPolicy)?.get();
    let (spoken, config) = match port.protocol.is_http() {
        true => (Spoken::Http, &plane.server_tls),
        false => (Spoken::ForUs(number), &plane.stream_tls),
    };
    let takes_tls = match (port.tls, &spoken) {
        (PeerTls::Strict, _) => true,
        (PeerTls::Off, _) => false,
        (PeerTls::Permissive, Spoken::Http) => begins_with_tls(&stream).await,
        (PeerTls::Permissive, _) => is_of_sidecar(worker, &stream).await,
    };
    if !takes_tls {
        if port.tls == PeerTls::Permissive {
            worker.shared.clear_text.came(number, client.ip());
        }
        return Ok((connection(None), spoken, Io::Plain(stream)));
    }
    let config = config.clone().ok_or(Refusal::NoPolicy)?;
    // Before the handshake: what comes in between counts as not looked at.
    let against = (plane.number, worker.shared.denylists.load(Ordering::Acquire));
    let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|error| {
        tracing::info!(%client, error = %chain(&error), "a TLS handshake failed");
        Refusal::Handshake
    })?;
    let peer = prove(&stream, against).ok_or(Refusal::Handshake)?;
    Ok((connection(Some(peer)), spoken, Io::tls(stream)))
}

/// Looks at the first byte without taking it.
async fn begins_with_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1) if first == [TLS_HANDSHAKE])
}

/// Whether a caller of a permissive opaque port greets us as sidecars do. One that says nothing may be waiting for the
/// server to speak first, which no sidecar does.
async fn is_of_sidecar(worker: &Worker, stream: &TcpStream) -> bool {
    let looked = tokio::time::timeout(hello::SILENCE_LIMIT, hello::is_of_sidecar(stream)).await;
    let Ok(is_of_sidecar) = looked else {
        worker.shared.metrics.silent_caller();
        return false;
    };
    is_of_sidecar.unwrap_or(false)
}

/// Who the handshake proved the peer to be, against this plane and denylist.
fn prove(stream: &tokio_rustls::server::TlsStream<TcpStream>, against: (u64, u64)) -> Option<Proven> {
    let chain: Vec<CertificateDer<'static>> =
        stream.get_ref().1.peer_certificates()?.iter().map(|der| der.clone().into_owned()).collect();
    let Leaf { id, not_after, .. } = Leaf::read(chain.first()?).ok()?;
    let proven = Proven::new(Some(id), chain, not_after);
    proven.checked.set(against);
    Some(proven)
}

// ------------------------------------------------------------------------------------------------------ serving

async fn serve_http(connection: Rc<Connection>, mut transport: Transport) {
    let mut signal = connection.worker.signal(connection.key.direction());
    let last_call = async {
        drained(&mut signal).await;
        tokio::time::sleep(LAST_CALL).await;
    };
    let http2 = tokio::select! {
        http2 = tokio::time::timeout(connection.idle_limit(), transport.is_http2()) => http2,
        () = last_call => return,
    };
    let ended = match http2 {
        Ok(Ok(true)) => serve_http2(connection, transport).await,
        Ok(Ok(false)) => serve_http1(connection, transport).await,
        Ok(Err(_)) | Err(_) => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(error = %chain(&error), "a connection ended");
    }
}

/// Serves while there are requests, and rests in between: what hyper holds for a connection, mostly its two buffers, is
/// twenty times what the connection itself takes.
async fn serve_http1(connection: Rc<Connection>, mut transport: Transport) -> hyper::Result<()> {
    let end = Instant::now() + connection.life();
    // Behind a request of our own application's stand only others of its own.
    let is_strict = !connection.is_our_own();
    loop {
        let guard = Guard::new(transport, Rc::clone(&connection.activity), is_strict);
        let mut served = Box::new(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(None)
                .max_header_size(usize::from(MAX_HEAD_BYTES))
                .serve_connection(TokioIo::new(guard), service(&connection)),
        );
        let pinned = Pin::new(&mut *served);
        let over = watch_over(&connection, pinned, |served| served.graceful_shutdown(), Framing::Http1, end);
        let over = over.await;
        // Before anything else: it holds the connection that holds it.
        let tunnel = connection.tunnel.take();
        match (over?, tunnel) {
            (Over::Served, Some(tunnel)) => {
                let parts = served.into_parts();
                // Whoever sent what is no request before it was let through is not let through.
                if connection.activity.doubt.get().is_none() {
                    let (transport, behind) = parts.io.into_inner().into_parts(parts.read_buf);
                    tunnel.run(transport.into_wire().and(behind)).await;
                }
                return Ok(());
            }
            (Over::Served, None) | (Over::Cut, _) => return Ok(()),
            (Over::AtRest, _) => {
                let parts = served.into_parts();
                let (resting, behind) = parts.io.into_inner().into_parts(parts.read_buf);
                transport = resting;
                // What hyper left of a request could be taken for the beginning of the next.
                if !behind.is_empty() || !rest(&connection, &mut transport, end).await {
                    return Ok(());
                }
            }
        }
    }
}

/// Waits until a connection's next request begins. False if there will be none: its time is over, or its peer's.
async fn rest(connection: &Connection, transport: &mut Transport, end: Instant) -> bool {
    let direction = connection.key.direction();
    let _resting = connection.worker.shared.metrics.resting(direction);
    let mut signal = connection.worker.signal(direction);
    signal.mark_changed();
    let over = end.min(connection.activity.idle_since.get() + connection.idle_limit());
    let mut over = pin!(tokio::time::sleep_until(over.into()));
    loop {
        let ends = tokio::select! {
            biased;
            begun = transport.begins() => return begun,
            changed = signal.changed() => match changed {
                Ok(()) => match after_change(connection, *signal.borrow_and_update()) {
                    Change::None => false,
                    Change::End => true,
                    Change::Cut => return false,
                },
                Err(_) => return false,
            },
            () = over.as_mut() => true,
        };
        if ends {
            // In TLS the peer is told; one that does not read is not waited for.
            let _ = tokio::time::timeout(LAST_CALL, transport.shutdown()).await;
            return false;
        }
    }
}

async fn serve_http2(connection: Rc<Connection>, transport: Transport) -> hyper::Result<()> {
    let service = service(&connection);
    // Peers are few and known. Whoever is outside is not: what all its streams together may hold is bounded more tightly
    // (Envoy, edge best practices).
    let (streams, stream_window, window) =
        if connection.is_from_outside() { (100, 64 * 1024, 1 << 20) } else { (200, 1 << 20, 4 << 20) };
    // Boxed: connections of HTTP/1.1 should not have to keep the room.
    let mut served = Box::pin(
        http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .max_header_list_size(u32::from(MAX_HEAD_BYTES))
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(window)
            .max_send_buf_size(256 * 1024)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(transport), service),
    );
    let end = Instant::now() + connection.life();
    watch_over(&connection, served.as_mut(), |served| served.graceful_shutdown(), Framing::Http2, end)
        .await
        .map(drop)
}

type Answered = Result<http::Response<crate::message::body::ResponseBody>, Infallible>;

fn service(
    connection: &Rc<Connection>,
) -> impl hyper::service::Service<
    http::Request<hyper::body::Incoming>,
    Response = http::Response<crate::message::body::ResponseBody>,
    Error = Infallible,
    Future = impl Future<Output = Answered> + 'static,
> + 'static {
    let connection = Rc::clone(connection);
    service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let connection = Rc::clone(&connection);
        if connection.is_our_own() {
            // Its bytes are not followed; of a body nobody knows here when it is over.
            connection.activity.is_whole.set(request.body().is_end_stream());
        }
        // Boxed: hyper keeps room for one on every connection, also while there is no request.
        Box::pin(async move {
            if let Some(doubt) = connection.doubt(&request) {
                return Ok(refuse_unread(&connection, &request, doubt));
            }
            Ok(match connection.key {
                Key::Outbound | Key::LocalPort(_) | Key::Listener(_) => {
                    outbound::serve(&connection, request).await
                }
                Key::Inbound(port) => inbound::serve(&connection, port, request).await,
            })
        })
    })
}

/// The answer to a request that was refused before it was read.
fn refuse_unread<B>(
    connection: &Rc<Connection>,
    request: &http::Request<B>,
    Doubt { reason, status, what }: Doubt,
) -> http::Response<crate::message::body::ResponseBody> {
    let shared = &connection.worker.shared;
    let direction = connection.key.direction();
    let mut record = Record::start(direction, Arc::clone(&shared.in_flight), connection.busy());
    record.service(shared.unknown(direction));
    if let Some(plane) = shared.plane.load().as_ref() {
        record.follow(plane.snapshot.telemetry.as_ref(), request.method());
        record.log(|log| log.sequence = plane.snapshot.generation.sequence);
    }
    record.log(|log| log.client = Some(connection.client));
    answer::refuse(answer::Refusal { status, ..answer::Refusal::new(reason, what) }, record)
}

/// How serving a connection ended.
enum Over {
    /// By itself, or gracefully.
    Served,
    /// In the middle of whatever it was doing.
    Cut,
    /// It is not over: there was no request for a while, and nothing of one is there.
    AtRest,
}

/// Polls a connection, and ends it gracefully at its `end` or when it is time, or at once when it must.
async fn watch_over<C>(
    connection: &Connection,
    mut served: Pin<&mut C>,
    end_gracefully: impl Fn(Pin<&mut C>),
    framing: Framing,
    end: Instant,
) -> hyper::Result<Over>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut signal = connection.worker.signal(connection.key.direction());
    signal.mark_changed();
    let look_again = match framing {
        Framing::Http1 => REST_AFTER,
        Framing::Http2 => HEAD_LIMIT,
    };
    let mut timer = pin!(tokio::time::sleep_until((Instant::now() + look_again).min(end).into()));
    let mut ending = false;
    loop {
        // What has arrived is looked at first: a request that is there when we are told to end is still answered.
        let graceful = tokio::select! {
            biased;
            ended = served.as_mut() => return ended.map(|()| Over::Served),
            changed = signal.changed() => match changed {
                Ok(()) => match after_change(connection, *signal.borrow_and_update()) {
                    Change::None => false,
                    Change::End => true,
                    Change::Cut => return Ok(Over::Cut),
                },
                Err(_) => return Ok(Over::Cut),
            },
            () = timer.as_mut() => {
                let now = Instant::now();
                if framing == Framing::Http1 && !ending && connection.activity.is_at_rest(now) {
                    return Ok(Over::AtRest);
                }
                let (next, graceful) = match connection.activity.due(now, framing, connection.idle_limit()) {
                    Due::Wait(next) => (next.min(now + look_again).min(end.max(now + LAST_CALL)), now >= end),
                    Due::Idle => (now + HEAD_LIMIT, true),
                    Due::Stalled => {
                        connection.worker.shared.metrics.refused(Refusal::HeadTimeout);
                        return Ok(Over::Cut);
                    }
                };
                timer.as_mut().reset(next.into());
                graceful
            }
        };
        if graceful && !ending {
            ending = true;
            end_gracefully(served.as_mut());
        }
    }
}

enum Change {
    None,
    End,
    Cut,
}

/// What a new plane, or the end of the proxy, means for a connection.
fn after_change(connection: &Connection, signal: Signal) -> Change {
    if signal.drain {
        return Change::End;
    }
    if connection.key == Key::Outbound {
        return Change::None;
    }
    let Some(plane) = connection.worker.shared.plane.load_full() else {
        return Change::None;
    };
    if let Key::Listener(port) = connection.key
        && !plane.still_listens(port, connection.listener())
    {
        return Change::End;
    }
    if !connection.is_trusted(&plane) {
        if connection.peer.is_none() {
            return Change::End;
        }
        connection.worker.shared.metrics.refused(Refusal::TrustRevoked);
        return Change::Cut;
    }
    let Key::Inbound(number) = connection.key else {
        return Change::None;
    };
    let port = plane.snapshot.engine.inbound(number);
    let serves =
        port.is_some_and(|port| port.get().tls != PeerTls::Strict || connection.identity().is_some());
    if serves { Change::None } else { Change::End }
}
