//! A connection of our application to a service whose bytes are not looked at: which service → which rule → faults → which
//! backend → which endpoint.
//!
//! Which service it is for is known by the local port that it comes to ([`LocalPort`](crate::worker::LocalPort)), by the
//! address that it was made to before it was redirected to us (`SO_ORIGINAL_DST`), or by the server name in a TLS greeting on
//! such a connection.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use weft_bundle::body::{Action, Backend, Fault, Target};
use weft_bundle::engine::{self, FrontendRef, Injected, hash_connection, inject, split};

use super::DEFAULT_IDLE;
use super::dial::{Ended, Upstream, dial};
use super::hello::{self, Hello};
use super::proof::Proof;
use super::relay::Wire;
use super::wire::Io;
use crate::cluster::Cluster;
use crate::cluster::balancer::Wish;
use crate::cluster::terms::{Source, Terms};
use crate::forward::Failure;
use crate::outbound::limit;
use crate::telemetry::stream::{Story, StreamRecord};
use crate::telemetry::{Direction, Reason};
use crate::worker::listener::Key;
use crate::worker::{Plane, Worker};

/// How a connection says which service it is for.
#[derive(Clone, Debug)]
pub(crate) enum Aim {
    /// By the local port of this number.
    LocalPort(u16),
    /// By where it was made to, and perhaps the server name in its greeting.
    Original { address: SocketAddr, server_name: Option<String> },
}

impl Aim {
    fn destination(&self) -> Option<SocketAddr> {
        match self {
            Self::LocalPort(_) => None,
            Self::Original { address, .. } => Some(*address),
        }
    }

    fn frontend<'e>(&self, worker: &Worker, plane: &'e Plane) -> Option<FrontendRef<'e>> {
        let engine = &plane.snapshot.engine;
        match self {
            Self::LocalPort(number) => worker.shared.local_port(*number)?.frontend(engine),
            Self::Original { address, server_name } => engine
                .frontend_at(address.ip(), address.port())
                .or_else(|| engine.frontend(server_name.as_deref()?, address.port())),
        }
    }
}

/// Whether a connection that our application has just made is opaque, and what it is for; none for one that speaks HTTP to
/// us.
pub(crate) async fn recognise(
    worker: &Worker,
    key: Key,
    stream: &TcpStream,
    destination: Option<SocketAddr>,
) -> Option<Aim> {
    let plane = worker.shared.plane.load_full();
    let engine = plane.as_ref().map(|plane| &plane.snapshot.engine);
    if let Key::LocalPort(number) = key {
        let frontend = worker.shared.local_port(number)?.frontend(engine?);
        let speaks_http = frontend.is_some_and(|frontend| frontend.get().protocol.is_http());
        return (!speaks_http).then_some(Aim::LocalPort(number));
    }
    let (engine, address) = (engine?, destination?);
    match engine.frontend_at(address.ip(), address.port()) {
        Some(frontend) => {
            let is_opaque = !frontend.get().protocol.is_http();
            is_opaque.then_some(Aim::Original { address, server_name: None })
        }
        None if engine.takes_server_names(address.port()) => {
            let read = tokio::time::timeout(hello::SILENCE_LIMIT, hello::read(&[], stream)).await;
            match read {
                Ok(Ok(Hello::Tls(server_name))) => Some(Aim::Original { address, server_name }),
                Ok(Ok(Hello::Other) | Err(_)) => None,
                Err(_) => {
                    worker.shared.metrics.silent_caller();
                    None
                }
            }
        }
        None => None,
    }
}

/// The address that a connection was made to before it was redirected to us; none if it was made to us, or if that cannot
/// matter.
pub(crate) fn original_destination(worker: &Worker, stream: &TcpStream) -> Option<SocketAddr> {
    let plane = worker.shared.plane.load();
    plane.as_ref().filter(|plane| plane.snapshot.engine.looks_at_destinations())?;
    let socket = SockRef::from(stream);
    let local = stream.local_addr().ok()?;
    let original = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    // Without address translation there is none, or it is our own.
    original.ok()?.as_socket().filter(|original| *original != local)
}

/// Serves one to its end.
pub(crate) async fn serve(worker: &Rc<Worker>, client: SocketAddr, aim: Aim, mut io: Io) {
    let shared = &worker.shared;
    let plane = shared.plane.load_full();
    let frontend = plane.as_deref().and_then(|plane| aim.frontend(worker, plane));
    let metrics =
        plane.as_deref().zip(frontend).and_then(|(plane, frontend)| plane.frontend_metrics(frontend));
    let metrics = metrics.unwrap_or(shared.unknown(Direction::Outbound));
    let mut record = StreamRecord::start(Direction::Outbound, &shared.in_flight, metrics);
    record.follow(plane.as_ref().and_then(|plane| plane.snapshot.telemetry.as_ref()));
    record.log(|log| {
        log.client = Some(client);
        log.destination = aim.destination();
        log.sequence = plane.as_ref().map_or(0, |plane| plane.snapshot.generation.sequence);
    });
    let ended = match pass(worker, plane.as_ref(), frontend, (client, &aim), &mut io, &mut record).await {
        Ok(ended) => ended,
        Err(failure) => {
            io.break_off();
            Ended::from(failure)
        }
    };
    record.ended(ended);
}

async fn pass(
    worker: &Rc<Worker>,
    plane: Option<&Arc<Plane>>,
    frontend: Option<FrontendRef<'_>>,
    (client, aim): (SocketAddr, &Aim),
    io: &mut Io,
    record: &mut StreamRecord,
) -> Result<Ended, Failure> {
    let fail = |reason, detail: &str| Failure { reason, detail: detail.to_owned() };
    let plane = plane.ok_or_else(|| fail(Reason::NoPolicy, "there is no policy yet"))?;
    let frontend = frontend.filter(|frontend| !frontend.get().protocol.is_http());
    let frontend =
        frontend.ok_or_else(|| fail(Reason::UnknownHost, "it leads to no service that this one may call"))?;
    let server_name = match aim {
        Aim::Original { server_name: Some(name), .. } => Some(name.clone()),
        _ if needs_server_name(frontend) => read_server_name(&[], io.socket()).await?,
        _ => None,
    };
    record.log(|log| log.server_name.clone_from(&server_name));
    let destination = aim.destination().map(|address| address.ip());
    let facts = engine::Connection { server_name: server_name.as_deref(), destination };
    let local = aim.destination().or_else(|| io.socket().local_addr().ok());
    let told = local.map(|local| Source { client, local });
    let source = (client.ip(), told);
    let (mut upstream, idle) = open(worker, plane, frontend, &facts, source, record).await?;
    let proof = Proof::of(upstream.io.io());
    Ok(tokio::select! {
        ended = upstream.relay(io, idle, &record.count) => ended,
        failure = is_refused_later(worker, proof) => {
            upstream.break_off(io);
            Ended::from(failure)
        }
    })
}

/// Whether the rules of a frontend look at server names.
pub(super) fn needs_server_name(frontend: FrontendRef<'_>) -> bool {
    let named = |entry: &weft_bundle::body::Entry| !entry.condition.server_names.is_empty();
    frontend.get().entries.iter().any(named)
}

/// The server name in a TLS greeting whose first bytes were perhaps read already. One that is no TLS, or does not come, has
/// none.
pub(super) async fn read_server_name(read: &[u8], stream: &TcpStream) -> Result<Option<String>, Failure> {
    match tokio::time::timeout(hello::GREETING_LIMIT, hello::read(read, stream)).await {
        Ok(Ok(Hello::Tls(name))) => Ok(name),
        Ok(Ok(Hello::Other)) => Ok(None),
        Ok(Err(error)) => Err(Failure { reason: Reason::DownstreamClosed, detail: error.to_string() }),
        Err(_) => {
            let detail = "it did not say which server it wants in time".to_owned();
            Err(Failure { reason: Reason::DownstreamClosed, detail })
        }
    }
}

/// The path of a connection, in the order it is travelled: gives the upstream, and how long nothing may move.
pub(super) async fn open(
    worker: &Worker,
    plane: &Plane,
    frontend: FrontendRef<'_>,
    facts: &engine::Connection<'_>,
    (source, told): (IpAddr, Option<Source>),
    story: &mut impl Story,
) -> Result<(Upstream, Duration), Failure> {
    let fail = |reason, detail: &str| Failure { reason, detail: detail.to_owned() };
    let rule = plane.snapshot.engine.route_connection(frontend, facts).rule;
    story.by_rule(&rule.origin);
    let Action::Forward(backends) = &rule.action else {
        return Err(fail(Reason::UnknownHost, "no rule takes this connection"));
    };
    meet(rule.fault.as_ref(), story).await?;
    let backend = split(backends, fastrand::u64(..))
        .ok_or_else(|| fail(Reason::NoBackend, "every backend has weight zero"))?;
    let cluster = cluster(worker, plane, backend)?;
    story.to_cluster(&cluster.spec.id);
    let hash = cluster.spec.hash.as_ref().filter(|_| cluster.spec.load_balancer.hashes());
    let wish = Wish { endpoint: None, hash: hash.and_then(|policy| hash_connection(policy, source)) };
    let terms = Terms::of_stream(&cluster.spec, told, facts.server_name);
    let upstream =
        dial(&cluster, wish, &terms, rule.retry.as_ref(), |endpoint| story.tried(endpoint)).await?;
    Ok((upstream, limit(rule.timeouts.idle).unwrap_or(DEFAULT_IDLE)))
}

/// Lets a connection meet its faults: a wait, then perhaps its end.
async fn meet(fault: Option<&Fault>, story: &mut impl Story) -> Result<(), Failure> {
    let Some(fault) = fault else { return Ok(()) };
    let Injected { delay, abort } = inject(fault, [fastrand::u64(..), fastrand::u64(..)]);
    if let Some(delay) = delay {
        story.delayed(delay);
        tokio::time::sleep(delay).await;
    }
    if abort.is_some() {
        story.aborted();
        let detail = "fault injected by policy".to_owned();
        return Err(Failure { reason: Reason::FaultInjected, detail });
    }
    Ok(())
}

fn cluster(worker: &Worker, plane: &Plane, backend: &Backend) -> Result<Rc<Cluster>, Failure> {
    let missing = || {
        let detail = "the backend does not exist".to_owned();
        Failure { reason: Reason::BackendMissing, detail }
    };
    match &backend.target {
        Target::Cluster(id) => plane.upstream(id).map(|spec| worker.clusters.of(spec)).ok_or_else(missing),
        Target::Status(_) => Err(missing()),
    }
}

/// Waits until the endpoint that a stream leads to would not be believed any more, and says why.
pub(super) async fn is_refused_later(worker: &Worker, proof: Option<Proof>) -> Failure {
    let Some(proof) = proof else { return pending().await };
    let refused = |detail: &str| Failure { reason: Reason::TlsFailure, detail: detail.to_owned() };
    let changed = async {
        let mut signal = worker.signal(Direction::Outbound);
        signal.mark_changed();
        loop {
            if signal.changed().await.is_err() {
                // The worker ends, and this with it.
                pending::<()>().await;
            }
            let plane = worker.shared.plane.load_full();
            if plane.is_some_and(|plane| !proof.is_trusted(&plane.snapshot.trust, &worker.shared.deny)) {
                return;
            }
        }
    };
    tokio::select! {
        () = changed => refused("the endpoint's certificate is not trusted any more"),
        () = tokio::time::sleep(proof.lasts()) => refused("the endpoint's certificate has ended"),
    }
}
