//! Asking endpoints whether they are well (active health).
//!
//! One worker asks, each endpoint in a task of its own that the cluster owns, from the moment that policy asks for it and for
//! as long as the endpoint is there. So many are asked at once and no more; others wait for their turn. An
//! endpoint is taken to be well until so many bad answers in a row say otherwise, and then unwell until so many good ones
//! do. An answer that does not come in time is bad. Unwell endpoints are left out like those that fail, without a share that
//! may be left out at most; the floor under which all are used holds for both together.
//!
//! Questions go over connections of their own, with the cluster's TLS, and so also ask the sidecar before the application,
//! whose access policy must let them pass.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, TE};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use weft_bundle::body::{HealthCheck, Probe};

use super::connect;
use super::terms::Terms;
use super::{ClusterSpec, Endpoint};
use crate::message::body::RequestBody;
use crate::message::tap::Copied;

/// The shortest time between two questions.
const SHORTEST: Duration = Duration::from_millis(10);

/// How many questions a proxy has under way at once, over all its clusters.
pub(super) const AT_ONCE: usize = 128;

/// How much of a gRPC answer is read: a message has two bytes.
const ANSWER_BYTES: usize = 1024;

/// What and how to ask.
pub(super) struct Ask {
    pub(super) spec: Arc<ClusterSpec>,
    pub(super) check: HealthCheck,
    /// Bounds the questions under way.
    pub(super) asking: Rc<Semaphore>,
}

/// Asks one endpoint for as long as it is there.
pub(super) async fn keep_asking(ask: Ask, endpoint: Weak<Endpoint>) {
    let Ask { spec, check, asking } = ask;
    let mut verdict: Option<Verdict> = None;
    loop {
        {
            // It is never closed.
            let _turn = asking.acquire().await;
            let Some(endpoint) = endpoint.upgrade() else { return };
            let answer =
                tokio::time::timeout(check.timeout.get(), self::ask(&spec, &endpoint, &check.probe)).await;
            let is_good = matches!(answer, Ok(Some(())));
            spec.metrics.checked(is_good);
            let known = || Verdict { is_well: !endpoint.state.is_unwell(), other: 0 };
            if verdict.get_or_insert_with(known).note(is_good, &check) {
                spec.health().judge(&endpoint.state, is_good);
            }
        }
        // Spread, so that the proxies of a mesh do not ask all at once.
        let pause = check.interval.get().mul_f64(0.9 + 0.2 * fastrand::f64());
        tokio::time::sleep(pause.max(SHORTEST)).await;
    }
}

/// Whether an endpoint is taken to be well, and how many answers in a row say the other thing.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    is_well: bool,
    other: u32,
}

impl Verdict {
    /// Takes an answer into account; true if it turns the verdict.
    fn note(&mut self, is_good: bool, check: &HealthCheck) -> bool {
        if is_good == self.is_well {
            self.other = 0;
            return false;
        }
        self.other += 1;
        let needed = if is_good { check.healthy_after } else { check.unhealthy_after };
        if self.other < needed {
            return false;
        }
        *self = Self { is_well: is_good, other: 0 };
        true
    }
}

/// A good answer, or none.
async fn ask(spec: &ClusterSpec, endpoint: &Endpoint, probe: &Probe) -> Option<()> {
    match probe {
        Probe::Tcp => {
            let terms = Terms::for_host(spec, &spec.host);
            connect::reach(spec, endpoint, &terms).await.ok()
        }
        Probe::Http { path, host } => {
            let host = host.as_deref().unwrap_or(&spec.host);
            let response =
                send(spec, endpoint, spec.http2, Method::GET, host, path, RequestBody::Empty).await?;
            response.status().is_success().then_some(())
        }
        Probe::Grpc { service } => {
            let body = RequestBody::Copied(Copied::of(question(service)?));
            let path = "/grpc.health.v1.Health/Check";
            let response = send(spec, endpoint, true, Method::POST, &spec.host, path, body).await?;
            is_serving(response).await.then_some(())
        }
    }
}

async fn send(
    spec: &ClusterSpec,
    endpoint: &Endpoint,
    http2: bool,
    method: Method,
    host: &str,
    path: &str,
    body: RequestBody,
) -> Option<Response<Incoming>> {
    let is_grpc = method == Method::POST;
    let mut request = Request::builder().method(method);
    if is_grpc {
        request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers");
    }
    let request = if http2 {
        let scheme = if spec.tls.is_some() { "https" } else { "http" };
        request.uri(format!("{scheme}://{host}{path}"))
    } else {
        request.uri(path).header(HOST, host)
    };
    let request = request.body(body).ok()?;
    let (now, terms) = (Instant::now(), Terms::for_host(spec, host));
    if http2 {
        let mut connection = connect::begin_shared(spec, endpoint, &terms, None, now).await.ok()?;
        connection.sender.send_request(request).await.ok()
    } else {
        let mut connection = connect::begin_one_by_one(spec, endpoint, &terms, None, now).await.ok()?;
        connection.sender.send_request(request).await.ok()
    }
}

/// A `HealthCheckRequest` in a gRPC frame: field 1 is the service's name.
fn question(service: &str) -> Option<Bytes> {
    let length = u8::try_from(service.len()).ok().filter(|length| *length < 0x80)?;
    let mut frame = vec![0, 0, 0, 0];
    match length {
        0 => frame.push(0),
        length => frame.extend([length + 2, 0x0a, length]),
    }
    frame.extend(service.as_bytes());
    Some(frame.into())
}

/// Whether a gRPC answer is a `HealthCheckResponse` of status 1, `SERVING`, and ends well.
async fn is_serving(response: Response<Incoming>) -> bool {
    let ok = |headers: &http::HeaderMap| headers.get("grpc-status").is_some_and(|status| status == "0");
    let mut status = ok(response.headers());
    let mut body = response.into_body();
    let mut message = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            message.extend_from_slice(data);
        }
        status |= frame.trailers_ref().is_some_and(ok);
        if message.len() > ANSWER_BYTES {
            return false;
        }
    }
    status && message == [0, 0, 0, 0, 2, 0x08, 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_bundle::duration::DurationText;

    #[test]
    fn so_many_in_a_row_turn_the_verdict() {
        let time = DurationText::new(Duration::from_secs(1));
        let check = HealthCheck {
            probe: Probe::Tcp,
            interval: time,
            timeout: time,
            healthy_after: 2,
            unhealthy_after: 3,
        };
        let mut verdict = Verdict { is_well: true, other: 0 };
        let turns: Vec<usize> = "bbgbbbgbggbbgbbb"
            .chars()
            .enumerate()
            .filter(|(_, answer)| verdict.note(*answer == 'g', &check))
            .map(|(place, _)| place)
            .collect();
        assert_eq!(turns, [5, 9, 15]);
    }

    #[test]
    fn the_question_is_a_message_in_a_frame() {
        assert_eq!(question("").unwrap(), &[0, 0, 0, 0, 0][..]);
        assert_eq!(question("a.B").unwrap(), &[0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B'][..]);
        assert_eq!(question(&"x".repeat(128)), None);
    }
}
