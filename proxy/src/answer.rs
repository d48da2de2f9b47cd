//! Answers of our own: refusals with their reason, redirects, what rules say directly, preflights, and injected errors.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode, Version};
use hyper::body::Incoming;
use weft_bundle::body::Abort;

use crate::message::body::ResponseBody;
use crate::message::fields;
use crate::telemetry::Reason;
use crate::telemetry::record::Record;

/// A request that ends without an upstream's response.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) status: StatusCode,
    /// One line for the caller.
    pub(crate) detail: String,
    /// After how long asking again makes sense.
    pub(crate) retry_after: Option<Duration>,
    /// Which token would help (`WWW-Authenticate`).
    pub(crate) challenge: Option<String>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, status: reason.status(), detail: detail.into(), retry_after: None, challenge: None }
    }
}

impl From<crate::message::head::Refused> for Refusal {
    fn from(refused: crate::message::head::Refused) -> Self {
        Self::new(refused.reason, refused.detail)
    }
}

impl From<crate::forward::Failure> for Refusal {
    fn from(failure: crate::forward::Failure) -> Self {
        Self::new(failure.reason, failure.detail)
    }
}

/// The answer to a refused request: status, `x-weft-reason`, and one line of text.
pub(crate) fn refuse(refusal: Refusal, record: Record) -> Response<ResponseBody> {
    let text = format!("{}\n", refusal.detail);
    refuse_with(text, refusal, record)
}

/// The same for callers outside the mesh, who learn nothing of what is inside: the detail is for the log.
pub(crate) fn refuse_outsider(refusal: Refusal, record: Record) -> Response<ResponseBody> {
    let text = format!("{}\n", refusal.status.canonical_reason().unwrap_or_default());
    refuse_with(text, refusal, record)
}

fn refuse_with(text: String, refusal: Refusal, mut record: Record) -> Response<ResponseBody> {
    let Refusal { reason, status, detail, retry_after, challenge } = refusal;
    record.because(reason);
    record.status = status.as_u16();
    record.log(|log| log.detail = Some(detail));
    let mut response = Response::new(ResponseBody::text(text, record));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(fields::REASON, HeaderValue::from_static(reason.as_str()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if reason == Reason::BadUpgrade {
        // Nobody can say any more where the next request begins.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(time) = retry_after {
        // In whole seconds, and not before it makes sense.
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, seconds.max(1).into());
    }
    if let Some(challenge) = challenge.and_then(|challenge| HeaderValue::from_str(&challenge).ok()) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// What a rule answers by itself.
pub(crate) fn respond(status: StatusCode, text: Option<&str>, mut record: Record) -> Response<ResponseBody> {
    record.because(Reason::DirectResponse);
    record.status = status.as_u16();
    let text = Bytes::copy_from_slice(text.unwrap_or_default().as_bytes());
    let mut response = Response::new(ResponseBody::text(text, record));
    *response.status_mut() = status;
    response
}

/// The answer to a preflight that may go on.
pub(crate) fn preflight(mut record: Record) -> Response<ResponseBody> {
    record.because(Reason::Preflight);
    let status = Reason::Preflight.status();
    record.status = status.as_u16();
    let mut response = Response::new(ResponseBody::text(Bytes::new(), record));
    *response.status_mut() = status;
    response
}

/// The error that policy injects: by HTTP status, or by gRPC status in a response without messages (gRPC over HTTP/2,
/// *Trailers-Only*).
pub(crate) fn abort(abort: &Abort, mut record: Record) -> Response<ResponseBody> {
    record.because(Reason::FaultInjected);
    record.status = abort.status;
    let text = match (abort.grpc_status, abort.status) {
        // These never have a body, and a client would read one as the next response.
        (Some(_), _) | (None, 204 | 205 | 304) => "",
        (None, _) => "fault injected by policy\n",
    };
    let mut response = Response::new(ResponseBody::text(text, record));
    // The engine refuses bodies with other codes.
    *response.status_mut() = StatusCode::from_u16(abort.status).unwrap_or(Reason::FaultInjected.status());
    let headers = response.headers_mut();
    headers.insert(fields::REASON, HeaderValue::from_static(Reason::FaultInjected.as_str()));
    let kind = match abort.grpc_status {
        Some(status) => {
            headers.insert("grpc-status", status.into());
            headers.insert("grpc-message", HeaderValue::from_static("fault injected by policy"));
            "application/grpc"
        }
        None => "text/plain; charset=utf-8",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An upstream's response on its way downstream, without what belongs to the hop it came over.
pub(crate) fn pass_on(
    response: Response<Incoming>,
    body: impl FnOnce(Incoming) -> ResponseBody,
) -> Response<ResponseBody> {
    let (mut head, incoming) = response.into_parts();
    fields::strip_response(&mut head.headers);
    // Neither may have a body, so a length can only mislead (RFC 9110 section 8.6 lets us leave it out).
    if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        head.headers.remove(CONTENT_LENGTH);
    }
    head.version = Version::HTTP_11;
    Response::from_parts(head, body(incoming))
}
