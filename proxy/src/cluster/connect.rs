//! Opening connections to endpoints: TCP, then the PROXY protocol and TLS where the cluster says so, then HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsConnector;
use weft_bundle::body::Keepalive;
use weft_bundle::duration::DurationText;

use super::limits::Limit;
use super::pool::{OneByOne, Shared};
use super::terms::Terms;
use super::{ClusterSpec, Endpoint, proxy_protocol};
use crate::identity::certificates::Slot;
use crate::message::head::MAX_HEAD_BYTES;
use crate::stream::wire::Io;
use crate::telemetry::metrics::OpenGuard;
use crate::worker::LocalExecutor;

/// TLS towards a cluster: one configuration per protocol, as each offers only its own (ALPN).
#[derive(Clone, Debug)]
pub(crate) struct ClientTls {
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
    /// For bytes that are not looked at.
    pub(crate) stream: Arc<ClientConfig>,
    pub(crate) naming: Naming,
}

/// Whom TLS is with.
#[derive(Clone, Debug)]
pub(crate) enum Naming {
    /// A workload of the mesh, which has an identity and no name.
    Workload,
    /// A server outside it.
    Server {
        /// Its name; that of the request's host if there is none.
        name: Option<ServerName<'static>>,
        /// What we present. Where it is not there, nothing is sent.
        certificate: Option<Arc<Slot>>,
    },
}

impl ClientTls {
    /// Whether it is with workloads of the mesh.
    pub(crate) fn is_mutual(&self) -> bool {
        matches!(self.naming, Naming::Workload)
    }

    /// Whether the server's name is that of the request's host.
    pub(super) fn is_named_by_request(&self) -> bool {
        matches!(self.naming, Naming::Server { name: None, .. })
    }
}

/// Why a connection could not be opened. Nothing of a request was sent.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Timeout,
    Tcp(std::io::Error),
    Tls(std::io::Error),
    Http(hyper::Error),
    /// There are as many as there may be.
    Overflow(Limit),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no connection in time"),
            Self::Tcp(error) => write!(f, "no connection: {error}"),
            Self::Tls(error) => write!(f, "no TLS: {error}"),
            Self::Http(error) => write!(f, "no HTTP: {error}"),
            Self::Overflow(limit) => write!(f, "the limit of {} is reached", limit.as_str()),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Opens a connection for one request at a time. The permit, where connections are bounded, is given back when it ends.
pub(crate) async fn open_one_by_one(
    spec: &ClusterSpec,
    endpoint: &Endpoint,
    terms: &Terms,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<OneByOne, ConnectError> {
    counted(spec, begin_one_by_one(spec, endpoint, terms, permit, Instant::now())).await
}

/// Opens a connection for many requests at once; the permit as above.
pub(crate) async fn open_shared(
    spec: &ClusterSpec,
    endpoint: &Endpoint,
    terms: &Terms,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Shared, ConnectError> {
    counted(spec, begin_shared(spec, endpoint, terms, permit, Instant::now())).await
}

/// As [`open_one_by_one`], without a time limit and not counted.
pub(super) async fn begin_one_by_one(
    spec: &ClusterSpec,
    endpoint: &Endpoint,
    terms: &Terms,
    permit: Option<OwnedSemaphorePermit>,
    now: Instant,
) -> Result<OneByOne, ConnectError> {
    let tcp = open_tcp(spec, endpoint, terms).await?;
    let sender = match &spec.tls {
        None => start_http1(spec, tcp, permit).await?,
        Some(tls) => {
            let stream = open_tls(&tls.http1, &tls.naming, endpoint, terms, tcp).await?;
            start_http1(spec, stream, permit).await?
        }
    };
    Ok(OneByOne::new(sender, &spec.keep, terms.clone(), now))
}

/// As [`open_shared`], without a time limit and not counted.
pub(super) async fn begin_shared(
    spec: &ClusterSpec,
    endpoint: &Endpoint,
    terms: &Terms,
    permit: Option<OwnedSemaphorePermit>,
    now: Instant,
) -> Result<Shared, ConnectError> {
    let tcp = open_tcp(spec, endpoint, terms).await?;
    let sender = match &spec.tls {
        None => start_http2(spec, tcp, permit).await?,
        Some(tls) => {
            let stream = open_tls(&tls.http2, &tls.naming, endpoint, terms, tcp).await?;
            if !tls.is_mutual() && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(ConnectError::Tls(std::io::Error::other("the server does not speak HTTP/2")));
            }
            start_http2(spec, stream, permit).await?
        }
    };
    Ok(Shared::new(sender, &spec.keep, terms.clone(), now))
}

/// Whether the endpoint takes a connection, TLS included.
pub(super) async fn reach(
    spec: &ClusterSpec,
    endpoint: &Endpoint,
    terms: &Terms,
) -> Result<(), ConnectError> {
    begin_stream(spec, endpoint, terms).await.map(drop)
}

/// Opens a connection for bytes that are not looked at.
pub(super) async fn open_stream(
    spec: &ClusterSpec,
    endpoint: &Endpoint,
    terms: &Terms,
) -> Result<Io, ConnectError> {
    counted(spec, begin_stream(spec, endpoint, terms)).await
}

/// Those to an HTTP port are most likely HTTP/1.1, and its sidecar takes nothing else.
async fn begin_stream(spec: &ClusterSpec, endpoint: &Endpoint, terms: &Terms) -> Result<Io, ConnectError> {
    let tcp = open_tcp(spec, endpoint, terms).await?;
    match &spec.tls {
        None => Ok(Io::Plain(tcp)),
        Some(tls) => {
            let config = if spec.opaque { &tls.stream } else { &tls.http1 };
            Ok(Io::tls(open_tls(config, &tls.naming, endpoint, terms, tcp).await?))
        }
    }
}

async fn counted<T>(
    spec: &ClusterSpec,
    open: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let opened = match spec.connect_timeout {
        Duration::ZERO => open.await,
        limit => tokio::time::timeout(limit, open).await.unwrap_or(Err(ConnectError::Timeout)),
    };
    match &opened {
        Ok(_) => spec.metrics.connections.inc(),
        Err(_) => spec.metrics.connect_failures.inc(),
    };
    opened
}

async fn open_tcp(spec: &ClusterSpec, endpoint: &Endpoint, terms: &Terms) -> Result<TcpStream, ConnectError> {
    let mut tcp = TcpStream::connect(endpoint.address).await.map_err(ConnectError::Tcp)?;
    tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
    if let Some(probes) = spec.keepalive {
        SockRef::from(&tcp).set_tcp_keepalive(&keepalive(probes)).map_err(ConnectError::Tcp)?;
    }
    if let Some(version) = spec.proxy_protocol {
        let header = proxy_protocol::header(version, terms.source());
        tcp.write_all(&header).await.map_err(ConnectError::Tcp)?;
    }
    Ok(tcp)
}

/// What is not set is left to the operating system, which counts whole seconds, and none less than one.
fn keepalive(probes: Keepalive) -> TcpKeepalive {
    let seconds = |time: DurationText| Duration::from_secs(time.get().as_secs_f64().ceil().max(1.0) as u64);
    let mut set = TcpKeepalive::new();
    if let Some(time) = probes.time {
        set = set.with_time(seconds(time));
    }
    if let Some(interval) = probes.interval {
        set = set.with_interval(seconds(interval));
    }
    if let Some(retries) = probes.probes {
        set = set.with_retries(retries);
    }
    set
}

/// A handshake with whoever the naming says; the configuration's verifier decides who may answer.
async fn open_tls(
    config: &Arc<ClientConfig>,
    naming: &Naming,
    endpoint: &Endpoint,
    terms: &Terms,
    tcp: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectError> {
    let fail = |why: String| ConnectError::Tls(std::io::Error::other(why));
    let name = match naming {
        // An address, so that no SNI is sent.
        Naming::Workload => ServerName::IpAddress(endpoint.address.ip().into()),
        Naming::Server { certificate: Some(slot), .. } if slot.current().is_none() => {
            return Err(fail(format!("there is no certificate `{}` to present", slot.name())));
        }
        Naming::Server { name: Some(name), .. } => name.clone(),
        Naming::Server { name: None, .. } => {
            let name = terms.server_name().unwrap_or_default();
            let address = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            ServerName::try_from(address).map_err(|_| fail(format!("`{name}` is no name of a server")))?
        }
    };
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(ConnectError::Tls)
}

async fn start_http1<T>(
    spec: &ClusterSpec,
    io: T,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<http1::SendRequest<crate::message::body::RequestBody>, ConnectError>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_header_size(usize::from(MAX_HEAD_BYTES))
        .handshake(TokioIo::new(io))
        .await
        .map_err(ConnectError::Http)?;
    drive(spec, connection, permit);
    Ok(sender)
}

async fn start_http2<T>(
    spec: &ClusterSpec,
    io: T,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<http2::SendRequest<crate::message::body::RequestBody>, ConnectError>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(u32::from(MAX_HEAD_BYTES))
        .keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(3))
        .handshake(TokioIo::new(io))
        .await
        .map_err(ConnectError::Http)?;
    drive(spec, connection, permit);
    Ok(sender)
}

/// Moves a connection's bytes until it ends, which it does once its last sender is dropped. The worker owns the task.
fn drive(
    spec: &ClusterSpec,
    connection: impl Future<Output = hyper::Result<()>> + 'static,
    permit: Option<OwnedSemaphorePermit>,
) {
    let open = OpenGuard::new(spec.metrics.open.clone());
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %chain(&error), "an upstream connection ended");
        }
        drop((open, permit));
    });
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
