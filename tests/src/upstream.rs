//! The application behind a sidecar: a small HTTP server that says who it is and what it was asked.
//!
//! It speaks HTTP/1.1 and HTTP/2 with prior knowledge on one port. The answer is JSON: `service`, `version`, `method`,
//! `path`, `host`, `headers`, `body`. Request headers tell it to misbehave: `x-bench-status: 503` answers with that
//! status, `x-bench-delay-ms: 200` answers late, `x-bench-hold: yes` when the test says so ([`Upstream::release`]). One that [`Upstream::calls`] another asks it, through its own
//! sidecar, for each request, and puts the answer under `called`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Call, Client, Protocol};
use crate::{Context, Result, runtime};

/// A free port on loopback.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running upstream; gone when dropped, with its connections.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    service: String,
    version: String,
    hits: AtomicU64,
    /// Requests that wait to be released, and whether they are.
    held: AtomicU64,
    released: watch::Sender<bool>,
    /// The sidecar to send through, and what to send.
    calls: Option<(SocketAddr, Call)>,
    /// Connections to that sidecar that are not in use.
    idle: Mutex<Vec<Client>>,
}

impl Upstream {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// No socket is to be had.
    pub fn start(service: &str, version: &str) -> Result<Self> {
        Self::listen(service, version, None, ANYWHERE)
    }

    /// Starts one at an address, which may be one that another left.
    ///
    /// # Errors
    /// The address is not to be had.
    pub fn start_at(service: &str, version: &str, address: SocketAddr) -> Result<Self> {
        Self::listen(service, version, None, address)
    }

    /// Starts one that sends a request of its own through `sidecar` for each that it gets.
    ///
    /// # Errors
    /// No socket is to be had.
    pub fn calls(service: &str, version: &str, sidecar: SocketAddr, call: Call) -> Result<Self> {
        Self::listen(service, version, Some((sidecar, call)), ANYWHERE)
    }

    fn listen(
        service: &str,
        version: &str,
        calls: Option<(SocketAddr, Call)>,
        at: SocketAddr,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            service: service.to_owned(),
            version: version.to_owned(),
            hits: AtomicU64::new(0),
            held: AtomicU64::new(0),
            released: watch::Sender::new(false),
            calls,
            idle: Mutex::default(),
        });
        let bound = runtime::block_on(TcpListener::bind(at));
        let listener = bound.context("an upstream's socket")?;
        let address = listener.local_addr().context("an upstream's socket")?;
        let accepting = runtime::handle().spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has been sent.
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::Relaxed)
    }

    /// How many requests it holds until it is told to answer them.
    pub fn holds(&self) -> u64 {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Answers the requests that it holds, and from now on those that ask to be held.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }
}

/// One request that waits to be released.
struct Held<'s>(&'s AtomicU64);

impl<'s> Held<'s> {
    fn new(count: &'s AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection to its end; how it ends is the client's affair.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    // An answer is two small writes; without this the second waits for an acknowledgement.
    drop(stream.set_nodelay(true));
    let is_http2 = speaks_http2(&stream).await;
    let io = TokioIo::new(stream);
    if is_http2 {
        drop(
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(io, service)
                .await,
        );
    } else {
        drop(http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service).await);
    }
}

/// Whether the client begins with HTTP/2's preface. No HTTP/1.1 method begins with `PRI`.
async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut begin = [0; 3];
    loop {
        match stream.peek(&mut begin).await {
            Ok(3) => return &begin == b"PRI",
            Ok(1..) => tokio::task::yield_now().await,
            Ok(_) | Err(_) => return false,
        }
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    shared.hits.fetch_add(1, Ordering::Relaxed);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if let Some(delay) = number(&head.headers, "x-bench-delay-ms") {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if head.headers.contains_key("x-bench-hold") {
        let _held = Held::new(&shared.held);
        // An error means that the upstream is gone.
        let _ = shared.released.subscribe().wait_for(|released| *released).await;
    }
    let headers: BTreeMap<&str, String> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let host = head.uri.authority().map(|authority| authority.as_str());
    let mut said = json!({
        "service": shared.service,
        "version": shared.version,
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map(|path| path.as_str()),
        "host": host.or(headers.get("host").map(String::as_str)),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    let called = call_on(shared).await;
    let called_failed = called.as_ref().is_some_and(|called| called.get("status") != Some(&json!(200)));
    if let (Some(said), Some(called)) = (said.as_object_mut(), called) {
        said.insert("called".to_owned(), called);
    }
    let status = match number(&head.headers, "x-bench-status").and_then(|status| u16::try_from(status).ok()) {
        Some(status) => status,
        None if called_failed => 502,
        None => 200,
    };
    let mut response = Response::new(Full::new(Bytes::from(said.to_string())));
    *response.status_mut() = status.try_into().unwrap_or_default();
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

/// What the other service answered, if this upstream calls one.
async fn call_on(shared: &Shared) -> Option<serde_json::Value> {
    let (sidecar, call) = shared.calls.as_ref()?;
    let idle = || shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = idle().pop();
    let mut client = kept.unwrap_or_else(|| Client::new(Protocol::Http1, *sidecar));
    let outcome = client.send(call).await;
    idle().push(client);
    Some(match outcome {
        Ok(answer) => json!({ "status": answer.status, "answer": answer.json(), "text": answer.text() }),
        Err(failure) => json!({ "status": 0, "text": failure.to_string() }),
    })
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client;

    #[test]
    fn an_upstream_says_what_it_was_asked_in_both_protocols() {
        let upstream = Upstream::start("reviews", "v2").unwrap();
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let call =
                Call::get("http://reviews:9080/a?b=c").method("POST").header("end-user", "jason").body("hi");
            let answer = client::call(protocol, upstream.address(), &call).unwrap();
            let said = answer.json();
            assert_eq!(answer.status, 200);
            assert_eq!((said["service"].as_str(), said["version"].as_str()), (Some("reviews"), Some("v2")));
            assert_eq!((said["method"].as_str(), said["path"].as_str()), (Some("POST"), Some("/a?b=c")));
            assert_eq!((said["host"].as_str(), said["body"].as_str()), (Some("reviews:9080"), Some("hi")));
            assert_eq!(said["headers"]["end-user"], "jason");
        }
        assert_eq!(upstream.hits(), 2);
    }

    #[test]
    fn an_upstream_misbehaves_when_told() {
        let upstream = Upstream::start("reviews", "v1").unwrap();
        let mut client = Client::new(Protocol::Http1, upstream.address());
        let call =
            Call::get("http://reviews/").header("x-bench-status", "418").header("x-bench-delay-ms", "30");
        let begin = std::time::Instant::now();
        assert_eq!(client.send_blocking(&call).unwrap().status, 418);
        assert!(begin.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn an_upstream_asks_another_and_fails_with_it() {
        let ratings = Upstream::start("ratings", "v1").unwrap();
        let ask = Call::get("http://ratings:9080/ratings/7");
        let reviews = Upstream::calls("reviews", "v3", ratings.address(), ask).unwrap();
        let answer = client::call(Protocol::Http1, reviews.address(), &Call::get("http://reviews/")).unwrap();
        assert_eq!(answer.json()["called"]["answer"]["path"], "/ratings/7");
        drop(ratings);
        crate::wait::until("the other one to be gone", || {
            let answer =
                client::call(Protocol::Http1, reviews.address(), &Call::get("http://reviews/")).ok()?;
            (answer.status == 502).then_some(())
        })
        .unwrap();
    }
}
