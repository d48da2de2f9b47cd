//! What tests of the data plane share: authorities, bodies, upstreams and clients, all on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::identity::Identity;
use crate::snapshot::{ApplyError, Generation, Snapshot};
use crate::telemetry::Metrics;
use crate::worker::{DataPlane, Options, Override};

/// An authority of one trust domain.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and key.
pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Issued {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(self.certificate.pem().as_bytes(), self.key.serialize_pem().as_bytes()).unwrap()
    }
}

/// What `weft ca` puts into a workload's certificate.
pub(crate) fn leaf_params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// What is in a certificate for these names of the web.
pub(crate) fn web_params(names: &[&str]) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(crate) fn anchor(&self) -> String {
        BASE64.encode(self.issuer.der())
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.issuer.der().to_vec())
    }

    pub(crate) fn issue(&self, id: &str) -> Issued {
        self.sign(leaf_params(id))
    }

    pub(crate) fn sign(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key }
    }
}

// ------------------------------------------------------------------------------------------------------- bodies

pub(crate) fn origin(line: u32) -> Value {
    json!({"object": "Test shop/test", "file": "test.yaml", "line": line})
}

/// A body for `shop/cart` without ports or services.
pub(crate) fn body(anchors: &Value) -> Value {
    json!({
        "mesh": "test", "service": "shop/cart", "identity": "spiffe://td/ns/shop/sa/cart",
        "trust_anchors": anchors, "inbound": [], "outbound": [], "clusters": {},
    })
}

/// A cluster of clear-text endpoints.
pub(crate) fn cluster(endpoints: &[SocketAddr]) -> Value {
    let mut endpoints: Vec<Value> = endpoints
        .iter()
        .map(|address| json!({"address": address.ip(), "port": address.port(), "weight": 1}))
        .collect();
    endpoints.sort_by_key(|endpoint| endpoint["port"].as_u64());
    json!({
        "service": "shop/upstream", "port": 80, "protocol": "http", "tls": "off", "endpoints": endpoints,
        "load_balancer": "round-robin", "connect_timeout": "1s", "idle_timeout": "50s",
        "retry_budget": {"percent": 20, "min": 3},
    })
}

/// A rule that forwards everything to one cluster.
pub(crate) fn forward_to(cluster: &str) -> Value {
    json!({"origin": origin(1), "action": {"forward": [{"target": {"cluster": cluster}, "weight": 1}]}})
}

/// A frontend for host `upstream` on port 80 with one rule.
pub(crate) fn frontend(rule: &Value) -> Value {
    json!({"service": "shop/upstream", "port": 80, "protocol": "http", "hosts": ["upstream"], "otherwise": rule})
}

/// A body whose application reaches `upstream` at the endpoints.
pub(crate) fn calls(endpoints: &[SocketAddr]) -> Value {
    let mut body = body(&json!({}));
    body["clusters"]["up"] = cluster(endpoints);
    body["outbound"] = json!([frontend(&forward_to("up"))]);
    body
}

/// A body with the inbound port `http`, open to everybody who gets through TLS.
pub(crate) fn serves(application: SocketAddr, tls: &str, anchors: &Value) -> Value {
    let mut body = body(anchors);
    body["inbound"] = json!([{
        "name": "http", "port": 80, "protocol": "http", "application": application, "tls": tls,
        "access": {"otherwise": {"effect": "allow", "origin": origin(1)}},
    }]);
    body
}

pub(crate) fn snapshot(body: &Value, sequence: u64) -> Result<Arc<Snapshot>, ApplyError> {
    let generation = Generation { sequence, digest: format!("{sequence:064x}"), stale: false };
    Snapshot::build(body.to_string().as_bytes(), generation).map(Arc::new)
}

/// A data plane on loopback, without policy.
pub(crate) fn plane() -> DataPlane {
    plane_of(1)
}

/// The same, with so many workers.
pub(crate) fn plane_of(workers: usize) -> DataPlane {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let options = Options {
        workers,
        inbound: vec![Override { name: None, address: any }],
        outbound: Some(any),
        ..Options::default()
    };
    DataPlane::start(options, Arc::new(Metrics::new())).unwrap()
}

/// A data plane that serves a body.
pub(crate) fn plane_with(body: &Value) -> DataPlane {
    let plane = plane();
    plane.apply(snapshot(body, 1).unwrap()).unwrap();
    plane
}

pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// ---------------------------------------------------------------------------------------------------- upstreams

pub(crate) type Reply = Response<BoxBody<Bytes, hyper::Error>>;

pub(crate) fn full(text: impl Into<Bytes>) -> BoxBody<Bytes, hyper::Error> {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

pub(crate) fn reply(text: impl Into<Bytes>) -> Reply {
    Response::new(full(text))
}

/// Which HTTP an upstream speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// A server on the test's own runtime.
pub(crate) async fn upstream<F, R>(speaks: Speaks, handler: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let handler = handler.clone();
            let service = service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let io = TokioIo::new(stream);
            tokio::spawn(async move {
                let _ = match speaks {
                    Speaks::Http1 => {
                        hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .serve_connection(io, service)
                            .await
                    }
                    Speaks::Http2 => {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .timer(TokioTimer::new())
                            .serve_connection(io, service)
                            .await
                    }
                };
            });
        }
    });
    address
}

/// A server that answers with a text.
pub(crate) async fn says(text: &'static str) -> SocketAddr {
    upstream(Speaks::Http1, move |_| async move { reply(text) }).await
}

/// A server that answers once it is let, and counts.
pub(crate) struct Held {
    pub(crate) address: SocketAddr,
    seen: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
}

impl Held {
    pub(crate) async fn start(speaks: Speaks) -> Self {
        let (open, opened) = watch::channel(false);
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let address = upstream(speaks, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            let mut opened = opened.clone();
            async move {
                opened.wait_for(|open| *open).await.unwrap();
                reply("held")
            }
        })
        .await;
        Self { address, seen, open }
    }

    /// Requests that came so far.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Answers what came and what will come.
    pub(crate) fn release(&self) {
        self.open.send(true).unwrap();
    }
}

/// A server that sends back what it gets, and ends when its caller does.
pub(crate) async fn echoes() -> SocketAddr {
    bytes_server(|mut stream| async move {
        let (mut reads, mut writes) = stream.split();
        // A caller that breaks off ends it, too.
        if tokio::io::copy(&mut reads, &mut writes).await.is_ok() {
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut writes).await;
        }
    })
    .await
}

/// A server of bytes on the test's own runtime.
pub(crate) async fn bytes_server<F, R>(handler: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(handler(stream));
        }
    });
    address
}

// ------------------------------------------------------------------------------------------------------ clients

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Got {
    pub(crate) fn reason(&self) -> &str {
        self.headers.get("x-weft-reason").map_or("", |value| value.to_str().unwrap())
    }
}

async fn read(response: Response<Incoming>) -> Result<Got, hyper::Error> {
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    let text = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
    Ok(Got { status: head.status, headers: head.headers, text, trailers })
}

/// A client on one connection.
pub(crate) enum Client {
    Http1(hyper::client::conn::http1::SendRequest<BoxBody<Bytes, hyper::Error>>),
    Http2(hyper::client::conn::http2::SendRequest<BoxBody<Bytes, hyper::Error>>),
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, speaks: Speaks) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), speaks).await
    }

    pub(crate) async fn over<T>(io: T, speaks: Speaks) -> Self
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(io);
        match speaks {
            Speaks::Http1 => {
                let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Speaks::Http2 => {
                let executor = TokioExecutor::new();
                let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<BoxBody<Bytes, hyper::Error>>,
    ) -> Result<Got, hyper::Error> {
        read(self.begin(request).await?).await
    }

    pub(crate) async fn begin(
        &mut self,
        request: Request<BoxBody<Bytes, hyper::Error>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// GET from `upstream`.
    pub(crate) async fn get(&mut self, path: &str) -> Got {
        let request = self.request(Method::GET, path).body(full("")).unwrap();
        self.send(request).await.unwrap()
    }

    /// The beginning of a request to `upstream`, in the form that the protocol wants.
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method);
        match self {
            Self::Http1(_) => request.uri(path).header("host", "upstream"),
            Self::Http2(_) => request.uri(format!("http://upstream{path}")),
        }
    }
}

/// One GET of `upstream` over a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Got {
    Client::connect(address, Speaks::Http1).await.get(path).await
}

/// A TLS connection with a certificate, to a server whose certificate is not looked at.
pub(crate) async fn tls(
    address: SocketAddr,
    issued: Option<&Issued>,
    alpn: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let builder = rustls::ClientConfig::builder_with_provider(crate::identity::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match issued {
        Some(issued) => {
            let chain = vec![CertificateDer::from(issued.certificate.der().to_vec())];
            let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(address).await?;
    let name = rustls_pki_types::ServerName::IpAddress(address.ip().into());
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        crate::identity::provider().signature_verification_algorithms.supported_schemes()
    }
}
