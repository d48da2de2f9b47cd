//! One try: a connection to one endpoint, the request over it, and what went wrong if no answer came.

use std::time::Instant;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::cluster::Cluster;
use crate::cluster::balancer::Pending;
use crate::cluster::checkout::{self, Pooled};
use crate::cluster::connect::{ConnectError, chain};
use crate::cluster::outliers::Outcome;
use crate::cluster::pool::{Carrier, Stream};
use crate::cluster::terms::Terms;
use crate::message::body::{BodyError, RequestBody};
use crate::telemetry::Reason;

/// One failed try.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) detail: String,
    /// The request, if it came back unsent.
    pub(super) unsent: Option<Box<Request<RequestBody>>>,
    /// Whether the connection had carried requests before, and so may have been closing.
    pub(super) reused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As much is in flight as there may be.
    Overflow,
    /// No connection.
    Connect,
    /// TLS failed, in the handshake or right after it.
    Tls,
    /// The connection gave the request back.
    Unsent,
    /// The peer is going away and says that it did not process this request.
    Unprocessed,
    /// The peer refused the stream.
    Refused,
    /// The connection or stream ended.
    Reset,
    /// The answer is not HTTP.
    Protocol,
    /// No answer in the time for one try.
    TryTimeout,
    /// The caller's body broke off.
    Downstream,
    /// The caller's body stood still.
    Idle,
}

impl Kind {
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Overflow => Reason::Overflow,
            Self::Connect => Reason::ConnectFailure,
            Self::Tls => Reason::TlsFailure,
            Self::Refused => Reason::RefusedStream,
            Self::Unsent | Self::Unprocessed | Self::Reset => Reason::UpstreamReset,
            Self::Protocol => Reason::UpstreamProtocol,
            Self::TryTimeout => Reason::TryTimeout,
            Self::Downstream => Reason::DownstreamClosed,
            Self::Idle => Reason::IdleTimeout,
        }
    }

    /// Whether the request certainly was not processed.
    pub(super) const fn is_unprocessed(self) -> bool {
        matches!(self, Self::Connect | Self::Unsent | Self::Unprocessed | Self::Refused)
    }
}

/// A response, and the connection that it comes over.
pub(super) type Arrived = (Response<Incoming>, Carrier);

/// Sends a request over a connection to one endpoint, once.
pub(super) async fn attempt(
    cluster: &Cluster,
    pending: &Pending,
    request: Request<RequestBody>,
    http2: bool,
    pooled: Pooled,
) -> Result<Arrived, Fault> {
    if http2 {
        attempt_shared(cluster, pending, request).await
    } else {
        attempt_one_by_one(cluster, pending, request, pooled).await
    }
}

async fn attempt_one_by_one(
    cluster: &Cluster,
    pending: &Pending,
    request: Request<RequestBody>,
    pooled: Pooled,
) -> Result<Arrived, Fault> {
    let terms = Terms::of(&cluster.spec, &request);
    let (mut connection, reused) = match checkout::one_by_one(cluster, pending, &terms, pooled).await {
        Ok(found) => found,
        Err(error) => return Err(no_connection(&error, pending, request)),
    };
    let sent = Instant::now();
    let outcome = connection.sender.try_send_request(request).await;
    match outcome {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Err(not_asked(pending)),
        Ok(response) => {
            note_answer(pending, sent, &response);
            Ok((response, Carrier::one_by_one(connection, pending.endpoint())))
        }
        Err(mut error) => {
            let unsent = error.take_message().map(Box::new);
            Err(no_answer(error.error(), pending, unsent, reused))
        }
    }
}

async fn attempt_shared(
    cluster: &Cluster,
    pending: &Pending,
    request: Request<RequestBody>,
) -> Result<Arrived, Fault> {
    let terms = Terms::of(&cluster.spec, &request);
    let (mut connection, reused) = match checkout::shared(cluster, pending, &terms).await {
        Ok(found) => found,
        Err(error) => return Err(no_connection(&error, pending, request)),
    };
    let stream = Stream::open(&connection, pending.endpoint());
    let sent = Instant::now();
    let outcome = connection.sender.try_send_request(request).await;
    match outcome {
        Ok(response) => {
            note_answer(pending, sent, &response);
            Ok((response, Carrier::shared(stream)))
        }
        Err(mut error) => {
            let unsent = error.take_message().map(Box::new);
            Err(no_answer(error.error(), pending, unsent, reused))
        }
    }
}

/// A change of protocol that nobody asked for. What follows is not HTTP any more.
fn not_asked(pending: &Pending) -> Fault {
    pending.failed(Outcome::NoAnswer, Instant::now());
    let detail = format!("{}: a change of protocol that was not asked for", pending.endpoint().address);
    Fault { kind: Kind::Protocol, detail, unsent: None, reused: false }
}

fn note_answer(pending: &Pending, sent: Instant, response: &Response<Incoming>) {
    let now = Instant::now();
    pending.answered(now - sent, now, http_status(response));
}

/// The status of a response; of a gRPC response that failed before it had a message, the one that its gRPC status stands
/// for (Envoy, `Grpc::Utility::grpcToHttpStatus`).
fn http_status(response: &Response<Incoming>) -> u16 {
    match response.headers().get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"2" | b"13" | b"15") => 500,
        Some(b"12") => 501,
        Some(b"14") => 503,
        Some(b"4") => 504,
        Some(b"8") => 429,
        Some(_) | None => response.status().as_u16(),
    }
}

fn no_connection(error: &ConnectError, pending: &Pending, request: Request<RequestBody>) -> Fault {
    let kind = match error {
        ConnectError::Overflow(_) => Kind::Overflow,
        ConnectError::Tls(_) => Kind::Tls,
        ConnectError::Timeout | ConnectError::Tcp(_) | ConnectError::Http(_) => Kind::Connect,
    };
    if kind != Kind::Overflow {
        pending.failed(Outcome::NoConnection, Instant::now());
    }
    let detail = format!("{}: {error}", pending.endpoint().address);
    Fault { kind, detail, unsent: Some(Box::new(request)), reused: false }
}

fn no_answer(
    error: &hyper::Error,
    pending: &Pending,
    unsent: Option<Box<Request<RequestBody>>>,
    reused: bool,
) -> Fault {
    let kind = if unsent.is_some() { Kind::Unsent } else { kind_of(error) };
    let blameless = matches!(kind, Kind::Unsent | Kind::Unprocessed | Kind::Downstream | Kind::Idle)
        // It was most likely closing: its turn was over.
        || (kind == Kind::Reset && reused);
    if !blameless {
        pending.failed(Outcome::NoAnswer, Instant::now());
    }
    let detail = format!("{}: {}", pending.endpoint().address, chain(error));
    Fault { kind, detail, unsent, reused }
}

/// What went wrong, by the causes that the error carries.
fn kind_of(error: &hyper::Error) -> Kind {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(body) = inner.downcast_ref::<BodyError>() {
            return match body {
                BodyError::Source(_) => Kind::Downstream,
                BodyError::Idle => Kind::Idle,
                BodyError::Superseded => Kind::Reset,
            };
        }
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            if h2.is_remote() && h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR) {
                return Kind::Unprocessed;
            }
            if h2.is_remote() && h2.reason() == Some(h2::Reason::REFUSED_STREAM) {
                return Kind::Refused;
            }
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
        {
            return Kind::Tls;
        }
        cause = inner.source();
    }
    if error.is_parse() { Kind::Protocol } else { Kind::Reset }
}
