//! Callers: as many requests as asked for, over a fixed number of connections, as fast as answers come or at an even pace.
//!
//! HTTP/1.1 is written and read by hand, so that load costs little beside what it measures.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use weft_tests::any_server::AnyServer;
use weft_tests::{Context, Failure, Result};

/// How many requests are under way at once.
const CALLERS: u64 = 32;

/// How many of them share a connection of HTTP/2.
const STREAMS: u64 = 8;

/// What callers speak.
#[derive(Debug, Clone)]
pub(crate) enum Speech {
    /// HTTP/1.1, connections kept.
    Http1,
    /// HTTP/2 with prior knowledge, eight streams on each connection.
    Http2,
    /// HTTP/1.1 over mutual TLS, a new connection for each request.
    NewTls(Arc<ClientConfig>),
}

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    pub(crate) address: SocketAddr,
    pub(crate) authority: &'static str,
    pub(crate) path: String,
}

impl Aim {
    fn request(&self) -> Vec<u8> {
        let Self { authority, path, .. } = self;
        format!(
            "GET {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: weft-bench\r\naccept: */*\r\n\
             x-request-id: 5f3c1f0e-6a52-4c8e-9b57-8f5c0b2f9f10\r\n\r\n"
        )
        .into_bytes()
    }
}

/// Runs a future on a runtime of its own, on this thread, beside the origin's.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs nothing but a few file descriptors");
    LocalSet::new().block_on(&runtime, future)
}

/// Sends this many requests as fast as answers come.
///
/// # Errors
/// One fails, or its answer is not a 200 with 1 KiB.
pub(crate) async fn flood(speech: &Speech, aim: &Aim, requests: u64) -> Result<()> {
    let left = Rc::new(Cell::new(requests));
    let mut callers = Vec::new();
    match speech {
        Speech::Http1 => {
            for _ in 0..CALLERS {
                let (aim, left) = (aim.clone(), Rc::clone(&left));
                callers.push(tokio::task::spawn_local(async move {
                    let mut caller = Caller::open(connect(aim.address).await?, &aim);
                    while take(&left) {
                        caller.call().await?;
                    }
                    Ok(())
                }));
            }
        }
        Speech::Http2 => {
            for _ in 0..CALLERS / STREAMS {
                let io = TokioIo::new(connect(aim.address).await?);
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.context("HTTP/2")?;
                tokio::task::spawn_local(connection);
                for _ in 0..STREAMS {
                    callers.push(tokio::task::spawn_local(stream(
                        sender.clone(),
                        aim.clone(),
                        Rc::clone(&left),
                    )));
                }
            }
        }
        Speech::NewTls(config) => {
            for _ in 0..CALLERS {
                let (aim, left, config) = (aim.clone(), Rc::clone(&left), Arc::clone(config));
                callers.push(tokio::task::spawn_local(async move {
                    while take(&left) {
                        Caller::open(secure(aim.address, &config).await?, &aim).call().await?;
                    }
                    Ok(())
                }));
            }
        }
    }
    for caller in callers {
        caller.await.context("a caller")??;
    }
    Ok(())
}

fn take(left: &Cell<u64>) -> bool {
    let before = left.get();
    left.set(before.saturating_sub(1));
    before > 0
}

async fn stream(mut sender: http2::SendRequest<Empty<Bytes>>, aim: Aim, left: Rc<Cell<u64>>) -> Result<()> {
    while take(&left) {
        let request = http::Request::builder()
            .uri(format!("http://{}{}", aim.authority, aim.path))
            .header("user-agent", "weft-bench")
            .header("accept", "*/*")
            .header("x-request-id", "5f3c1f0e-6a52-4c8e-9b57-8f5c0b2f9f10")
            .body(Empty::new())
            .context("a request")?;
        sender.ready().await.context("HTTP/2")?;
        let response = sender.send_request(request).await.context("HTTP/2")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("HTTP/2")?.to_bytes();
        if status != 200 || body.len() != 1024 {
            return Err(Failure::new(format!("{status} with {} bytes", body.len())));
        }
    }
    Ok(())
}

/// Sends requests at an even pace over kept connections, and gives how long each answer took, in order of time taken.
///
/// # Errors
/// One fails.
pub(crate) async fn paced(aim: &Aim, per_second: u32, requests: u32) -> Result<Vec<Duration>> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let receiver = Rc::new(tokio::sync::Mutex::new(receiver));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = Caller::open(connect(aim.address).await?, aim);
        let receiver = Rc::clone(&receiver);
        callers.push(tokio::task::spawn_local(async move {
            let mut taken = Vec::new();
            caller.call().await?;
            loop {
                let due: Option<Instant> = receiver.lock().await.recv().await;
                let Some(due) = due else { return Ok::<_, Failure>(taken) };
                caller.call().await?;
                taken.push(due.elapsed());
            }
        }));
    }
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
    for _ in 0..requests {
        pace.tick().await;
        // The tick is at most a millisecond late, for every contender alike: time is taken from the moment of sending.
        if sender.send(Instant::now()).is_err() {
            break;
        }
    }
    drop(sender);
    let mut taken = Vec::new();
    for caller in callers {
        taken.extend(caller.await.context("a caller")??);
    }
    taken.sort_unstable();
    Ok(taken)
}

/// Connections that have each carried a request, and are kept.
pub(crate) async fn idle(speech: &Speech, aim: &Aim, count: usize) -> Result<Vec<Box<dyn std::any::Any>>> {
    let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
    for _ in 0..count {
        match speech {
            Speech::NewTls(config) => {
                let mut caller = Caller::open(secure(aim.address, config).await?, aim);
                caller.call().await?;
                kept.push(Box::new(caller));
            }
            Speech::Http1 | Speech::Http2 => {
                let mut caller = Caller::open(connect(aim.address).await?, aim);
                caller.call().await?;
                kept.push(Box::new(caller));
            }
        }
    }
    Ok(kept)
}

/// Asks until there is an answer, a new connection each time.
///
/// # Errors
/// There is none within a minute; the failure is the last one.
pub(crate) async fn first(aim: &Aim) -> Result<()> {
    let begun = Instant::now();
    loop {
        let asked = async { Caller::open(connect(aim.address).await?, aim).call().await };
        match asked.await {
            Err(_) if begun.elapsed() < Duration::from_secs(60) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            done => return done,
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context(address)?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn secure(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from("api.default").context("a name")?;
    TlsConnector::from(Arc::clone(config)).connect(name, connect(address).await?).await.context("a handshake")
}

/// One connection, and what is sent over it.
struct Caller<S> {
    stream: S,
    request: Vec<u8>,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    fn open(stream: S, aim: &Aim) -> Self {
        Self { stream, request: aim.request(), read: Vec::with_capacity(4096) }
    }

    async fn call(&mut self) -> Result<()> {
        self.stream.write_all(&self.request).await.context("sending")?;
        self.read.clear();
        let mut expected = usize::MAX;
        while self.read.len() < expected {
            if self.stream.read_buf(&mut self.read).await.context("receiving")? == 0 {
                return Err(Failure::new("the connection ended before the answer did"));
            }
            if expected == usize::MAX {
                expected = length(&self.read)?.unwrap_or(expected);
            }
        }
        Ok(())
    }
}

/// How long an answer is, once its head is there.
fn length(read: &[u8]) -> Result<Option<usize>> {
    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(read.get(..end).unwrap_or_default());
    if !head.starts_with("HTTP/1.1 200") {
        return Err(Failure::new(format!("not a 200:\n{}", String::from_utf8_lossy(read))));
    }
    let field =
        |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok();
    let body = head.lines().find_map(field).ok_or_else(|| Failure::new(format!("no length:\n{head}")))?;
    Ok(Some(end + 4 + body))
}

/// TLS of a caller with a certificate. The same for everybody: TLS 1.3, X25519, nothing resumed. It takes any certificate,
/// since what it does is not measured.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn tls(
    (certificate, key): &(std::path::PathBuf, std::path::PathBuf),
) -> Result<Arc<ClientConfig>> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).context(key.display())?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(chain, key)
        .context("TLS")?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).context(path.display())?;
    read.collect::<std::result::Result<_, _>>().context(path.display())
}
