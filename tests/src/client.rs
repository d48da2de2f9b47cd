//! A small HTTP client: one connection, kept as long as the other side keeps it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::{Context, Failure, Result, runtime};

/// How long a request may take before it counts as failed.
const LIMIT: Duration = Duration::from_secs(60);

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, kept alive.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// A request to send, as often as needed.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    url: Uri,
    headers: HeaderMap,
    body: Bytes,
    absolute: bool,
}

impl Call {
    /// `GET` of an absolute URL such as `http://reviews:9080/reviews/7`.
    ///
    /// # Panics
    /// If it is no URL; those come from the bench's own code.
    pub fn get(url: &str) -> Self {
        let url = url.parse().expect("the bench writes valid URLs");
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new(), absolute: false }
    }

    /// The same with another method.
    ///
    /// # Panics
    /// If it is no method; those come from the bench's own code.
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.parse().expect("the bench writes valid methods");
        self
    }

    /// The same with one more header field.
    ///
    /// # Panics
    /// If it is no header field; those come from the bench's own code.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the bench writes valid header names");
        self.headers
            .append(name, HeaderValue::from_str(value).expect("the bench writes valid header values"));
        self
    }

    /// The same with a body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same in absolute form, as a client sends it to a proxy that it was told of (`HTTP_PROXY`).
    pub fn absolute(mut self) -> Self {
        self.absolute = true;
        self
    }

    fn request(&self, protocol: Protocol) -> Result<Request<Full<Bytes>>> {
        let host = self.url.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        match protocol {
            Protocol::Http1 => {
                let path = self.url.path_and_query().map_or("/", |path| path.as_str());
                *request.uri_mut() =
                    if self.absolute { self.url.clone() } else { path.parse().context(path)? };
                if !request.headers().contains_key(http::header::HOST) {
                    let host = HeaderValue::from_str(&host).context("a host")?;
                    request.headers_mut().insert(http::header::HOST, host);
                }
            }
            Protocol::Http2 => {
                *request.uri_mut() = self.url.clone();
                *request.version_mut() = Version::HTTP_2;
            }
        }
        Ok(request)
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header field; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A field of the JSON body as text, such as the `version` of an upstream; empty if it is not there.
    pub fn field(&self, name: &str) -> String {
        self.json().get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.header("x-weft-reason").is_empty() {
            write!(f, " ({})", self.header("x-weft-reason"))?;
        }
        write!(f, " {}", self.text().trim())
    }
}

/// A client of one address.
#[derive(Debug)]
pub struct Client {
    protocol: Protocol,
    address: SocketAddr,
    connection: Option<Connection>,
}

#[derive(Debug)]
enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// A client that connects when it first sends.
    pub fn new(protocol: Protocol, address: SocketAddr) -> Self {
        Self { protocol, address, connection: None }
    }

    /// Sends a request and reads the answer, on the connection there is if the other side has kept it.
    ///
    /// # Errors
    /// No connection can be made, or it ends before the answer does. A request that never left is sent on a fresh
    /// connection, as every client does when it meets `Connection: close` or GOAWAY; one that may have been seen is not.
    pub async fn send(&mut self, call: &Call) -> Result<Answer> {
        match tokio::time::timeout(LIMIT, self.send_unlimited(call)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.connection = None;
                Err(Failure::new(format!("no answer within {} s", LIMIT.as_secs())))
            }
        }
    }

    /// The same, from blocking code.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_blocking(&mut self, call: &Call) -> Result<Answer> {
        runtime::block_on(self.send(call))
    }

    async fn send_unlimited(&mut self, call: &Call) -> Result<Answer> {
        let mut request = call.request(self.protocol)?;
        // Each round but the last met a connection that had ended before the request left.
        for _ in 0..3 {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            if !connection.is_ready().await {
                continue;
            }
            match connection.send(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body =
                        body.collect().await.map_err(|error| chain(&error)).context("reading the answer")?;
                    self.connection = Some(connection);
                    return Ok(Answer {
                        status: head.status.as_u16(),
                        headers: head.headers,
                        body: body.to_bytes(),
                    });
                }
                Err((_, Some(unsent))) => request = unsent,
                Err((failure, None)) => return Err(failure),
            }
        }
        Err(Failure::new("the other side closed three connections before taking a request"))
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address).await.context("connecting")?;
        stream.set_nodelay(true).context("connecting")?;
        let io = TokioIo::new(stream);
        match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io)
                    .await
                    .map_err(|error| chain(&error))
                    .context("HTTP/1.1 handshake")?;
                runtime::handle().spawn(async move { drop(connection.await) });
                Ok(Connection::Http1(sender))
            }
            Protocol::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.timer(TokioTimer::new());
                let (sender, connection) =
                    builder.handshake(io).await.map_err(|error| chain(&error)).context("HTTP/2 handshake")?;
                runtime::handle().spawn(async move { drop(connection.await) });
                Ok(Connection::Http2(sender))
            }
        }
    }
}

type Unsent = Option<Request<Full<Bytes>>>;

impl Connection {
    async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> std::result::Result<http::Response<hyper::body::Incoming>, (Failure, Unsent)> {
        let sent = match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error| {
            let unsent = error.take_message();
            (Failure::new(chain(error.error())), unsent)
        })
    }
}

/// Sends one request on a connection of its own.
///
/// # Errors
/// As [`Client::send`].
pub fn call(protocol: Protocol, address: SocketAddr, call: &Call) -> Result<Answer> {
    Client::new(protocol, address).send_blocking(call)
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
