//! Sending a request to a cluster: choose an endpoint, send, and decide whether to try again.
//!
//! A try may follow another only if the request certainly was not processed (no connection, the connection gave it back
//! unsent, the peer said so), or if policy lists its method. It takes from the cluster's budget, except where a connection
//! of the pool turned out to be closing. Nothing is tried again once a response is on its way downstream.

mod attempt;

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use weft_bundle::body::{Retry, RetryOn};

use self::attempt::{Arrived, Fault, Kind, attempt};
use crate::cluster::balancer::{Pending, Wish};
use crate::cluster::checkout::Pooled;
use crate::cluster::limits::{Limit, NoRetry, RetryGuard};
use crate::cluster::pool::Lease;
use crate::cluster::terms::Source;
use crate::cluster::{Cluster, Endpoint};
use crate::message::body::{BodyEnd, Remembered, RequestBody};
use crate::telemetry::Reason;
use crate::telemetry::record::Record;

/// How often a request that was never processed is sent over another connection, besides what policy says.
const RESENDS: u32 = 5;

/// What policy says about one forwarding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) http2: bool,
    pub(crate) wish: Wish,
    /// For all tries together, from the end of the request's body.
    pub(crate) request: Option<Duration>,
    /// The same for one.
    pub(crate) per_try: Option<Duration>,
    pub(crate) retry: Option<&'a Retry>,
}

/// A response, and the hold on what it comes over.
pub(crate) type Answer = (Response<Incoming>, Lease);

/// Why there is no response.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// Sends a request until there is a response to pass on, or no reason to go on. A copy of a request has no record.
pub(crate) async fn send(
    cluster: &Cluster,
    plan: Plan<'_>,
    head: Parts,
    body: RequestBody,
    record: Option<&mut Record>,
) -> Result<Answer, Failure> {
    let (mut underway, end) = (None, body.end());
    let (limit, sent) = {
        let request = Request::from_parts(head, body);
        let tries = pin!(try_until_answered(cluster, plan, request, record, &mut underway));
        let Some(limit) = plan.request else { return tries.await };
        (limit, end.and_then_within(limit, tries).await)
    };
    if let Some(sent) = sent {
        return sent;
    }
    if let Some(pending) = underway {
        pending.timed_out(Instant::now());
    }
    let detail = format!("no response within {} ms", limit.as_millis());
    Err(Failure { reason: Reason::RequestTimeout, detail })
}

/// One try after the other. The one that is under way stands in `underway`, so that whoever ends this knows of it.
async fn try_until_answered(
    cluster: &Cluster,
    plan: Plan<'_>,
    mut request: Request<RequestBody>,
    mut record: Option<&mut Record>,
    underway: &mut Option<Pending>,
) -> Result<Answer, Failure> {
    let Some(in_flight) = cluster.spec.circuit.request() else {
        cluster.spec.metrics.overflow(Limit::Requests).inc();
        let detail = format!("{}: the limit of requests is reached", cluster.spec.id);
        return Err(Failure { reason: Reason::Overflow, detail });
    };
    let mut tries = Tries::new(cluster, plan, request.method().clone());
    loop {
        let Some(pending) = cluster.pick_soon(plan.wish, &tries.tried).await else {
            return Err(nowhere(cluster));
        };
        let endpoint = Rc::clone(pending.endpoint());
        if let Some(record) = record.as_deref_mut() {
            record.tries += 1;
            record.log(|log| log.endpoint = Some(endpoint.address));
        }
        let spare = Spare::of(&request);
        let end = request.body().end();
        let pooled = if tries.had_stale { Pooled::Avoid } else { Pooled::Use };
        let pending = underway.insert(pending);
        let outcome = {
            let attempt = pin!(attempt(cluster, pending, request, plan.http2, pooled));
            within(plan.per_try, &end, attempt).await
        };
        tries.retrying = None;
        if matches!(&outcome, Err(fault) if fault.kind == Kind::TryTimeout) {
            pending.timed_out(Instant::now());
        }
        let pending = underway.take();
        let outcome = outcome.map(|(response, carrier)| (response, Lease::new(carrier, pending)));
        request = match outcome {
            Ok(answer) => match tries.after_answer(answer, endpoint, spare).await {
                After::Deliver((response, lease)) => return Ok((response, lease.with(in_flight))),
                After::Again(request) => request,
            },
            Err(fault) => tries.after_fault(fault, endpoint, spare).await?,
        };
    }
}

/// Why no endpoint could be chosen.
pub(crate) fn nowhere(cluster: &Cluster) -> Failure {
    let id = &cluster.spec.id;
    let members = &cluster.spec.members;
    let (reason, detail) = match (members.current().endpoints.is_empty(), members.unknown()) {
        (true, Some(why)) => (Reason::EndpointsUnknown, format!("no endpoints in cluster {id} yet ({why})")),
        (true, None) => (Reason::NoEndpoint, format!("no endpoints in cluster {id}")),
        (false, _) => (Reason::NoHealthyEndpoint, format!("all endpoints of cluster {id} fail")),
    };
    Failure { reason, detail }
}

async fn within(
    limit: Option<Duration>,
    end: &BodyEnd,
    attempt: Pin<&mut impl Future<Output = Result<Arrived, Fault>>>,
) -> Result<Arrived, Fault> {
    match limit {
        None => attempt.await,
        Some(limit) => end.and_then_within(limit, attempt).await.unwrap_or_else(|| {
            let detail = format!("no answer within {} ms", limit.as_millis());
            Err(Fault { kind: Kind::TryTimeout, detail, unsent: None, reused: false })
        }),
    }
}

/// What was tried so far, and what may still be.
struct Tries<'a> {
    cluster: &'a Cluster,
    plan: Plan<'a>,
    method: Method,
    tried: Vec<Rc<Endpoint>>,
    /// Tries that policy still allows.
    left: u32,
    /// Times that a request may still be sent again because it never was processed.
    resends: u32,
    /// Whether a connection from the pool ended under the request: then the next one is new, as its neighbours in the
    /// pool are likely to be closing too.
    had_stale: bool,
    backoff: Backoff,
    /// The retry that is under way, its pause included.
    retrying: Option<RetryGuard>,
}

/// Enough of a request to send it again.
struct Spare {
    head: Request<()>,
    body: Remembered,
}

impl Spare {
    /// None if the body passes once only.
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        let body = request.body().remembered()?;
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        if let Some(source) = request.extensions().get::<Source>() {
            head.extensions_mut().insert(*source);
        }
        Some(Self { head, body })
    }

    fn request(self) -> Request<RequestBody> {
        let (head, ()) = self.head.into_parts();
        Request::from_parts(head, self.body.again())
    }
}

enum After {
    Deliver(Answer),
    Again(Request<RequestBody>),
}

impl<'a> Tries<'a> {
    fn new(cluster: &'a Cluster, plan: Plan<'a>, method: Method) -> Self {
        let (left, backoff) = (plan.retry.map_or(0, |retry| retry.attempts), Backoff::new(plan.retry));
        let (tried, resends) = (Vec::new(), RESENDS);
        Self { cluster, plan, method, tried, left, resends, had_stale: false, backoff, retrying: None }
    }

    /// A response that policy calls a failure is dropped for another try, if there may be one; else it is delivered.
    async fn after_answer(&mut self, answer: Answer, endpoint: Rc<Endpoint>, spare: Option<Spare>) -> After {
        let fails = |retry: &Retry| {
            status_fails(&retry.on, answer.0.status()) || grpc_fails(&retry.on, answer.0.headers())
        };
        let wanted = self.plan.retry.is_some_and(|retry| fails(retry) && lists(retry, &self.method));
        match spare {
            Some(spare) if wanted && self.take_retry() => {
                drop(answer);
                self.tried.push(endpoint);
                self.backoff.pause().await;
                After::Again(spare.request())
            }
            _ => After::Deliver(answer),
        }
    }

    /// The request for another try, or the failure to report.
    async fn after_fault(
        &mut self,
        fault: Fault,
        endpoint: Rc<Endpoint>,
        spare: Option<Spare>,
    ) -> Result<Request<RequestBody>, Failure> {
        let Fault { kind, detail, unsent, reused } = fault;
        let failure = Failure { reason: kind.reason(), detail };
        let Some(request) = unsent.map(|unsent| *unsent).or_else(|| spare.map(Spare::request)) else {
            return Err(failure);
        };
        if self.resend_is_free(kind, reused) {
            self.resends -= 1;
            return Ok(request);
        }
        let wanted = self.plan.retry.is_some_and(|retry| {
            fault_fails(&retry.on, kind) && (kind.is_unprocessed() || lists(retry, &self.method))
        });
        // A reused connection that ends without a word was most likely closing while we sent: RFC 9110 section 9.2.2 lets
        // a proxy try safe methods again. Once, over a new connection, and outside the budget: an upstream that restarts
        // closes a whole pool at once, and there is at most one such try per connection of the pool.
        let was_closing = kind == Kind::Reset && reused && self.method.is_safe() && !self.had_stale;
        self.had_stale |= reused;
        if was_closing {
            return Ok(request);
        }
        if !wanted || !self.take_retry() {
            return Err(failure);
        }
        self.tried.push(endpoint);
        self.backoff.pause().await;
        Ok(request)
    }

    /// Nothing was sent, or the peer that goes away says that it did not look at it.
    fn resend_is_free(&self, kind: Kind, reused: bool) -> bool {
        self.resends > 0 && (kind == Kind::Unprocessed || (kind == Kind::Unsent && reused))
    }

    /// Takes one of policy's tries, and a place in the budget.
    fn take_retry(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        let Some(retry) = take_retry(self.cluster) else { return false };
        self.retrying = Some(retry);
        self.left -= 1;
        true
    }
}

/// Takes a place among the retries of a cluster, and counts what comes of that.
pub(crate) fn take_retry(cluster: &Cluster) -> Option<RetryGuard> {
    let metrics = &cluster.spec.metrics;
    match cluster.spec.circuit.retry() {
        Ok(retry) => {
            metrics.retries.inc();
            Some(retry)
        }
        Err(NoRetry::Budget) => {
            metrics.retry_overflow.inc();
            None
        }
        Err(NoRetry::Limit) => {
            metrics.overflow(Limit::Retries).inc();
            None
        }
    }
}

/// The pauses before retries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The bound of the next one.
    bound: Duration,
    longest: Duration,
}

impl Backoff {
    /// As policy says; none without.
    pub(crate) fn new(retry: Option<&Retry>) -> Self {
        let of = |retry: &Retry| (retry.backoff_base.get(), retry.backoff_max.get());
        let (bound, longest) = retry.map_or((Duration::ZERO, Duration::ZERO), of);
        Self { bound, longest }
    }

    /// Waits for a time drawn evenly from zero to the bound, and doubles the bound.
    pub(crate) async fn pause(&mut self) {
        let millis = u64::try_from(self.bound.as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=millis))).await;
        }
        self.bound = self.bound.saturating_mul(2).min(self.longest.max(self.bound));
    }
}

fn lists(retry: &Retry, method: &Method) -> bool {
    retry.methods.iter().any(|listed| listed == method.as_str())
}

fn status_fails(on: &[RetryOn], status: StatusCode) -> bool {
    let gateway = matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    );
    on.iter().any(|condition| match condition {
        RetryOn::GatewayError => gateway,
        RetryOn::ServerError => status.is_server_error(),
        RetryOn::Status(code) => status.as_u16() == *code,
        RetryOn::ConnectFailure | RetryOn::RefusedStream | RetryOn::Reset | RetryOn::Grpc(_) => false,
    })
}

/// Whether a gRPC response that failed before it had a message is one of those named. Its status is then among the headers
/// (gRPC over HTTP/2, *Trailers-Only*); one that comes later cannot be called back.
fn grpc_fails(on: &[RetryOn], headers: &HeaderMap) -> bool {
    let code = headers.get("grpc-status").and_then(|code| code.to_str().ok());
    on.iter().any(|condition| matches!(condition, RetryOn::Grpc(status) if code == Some(status.code())))
}

fn fault_fails(on: &[RetryOn], kind: Kind) -> bool {
    let named = match kind {
        Kind::Connect | Kind::Tls => Some(RetryOn::ConnectFailure),
        Kind::Refused => Some(RetryOn::RefusedStream),
        Kind::Unsent | Kind::Unprocessed | Kind::Reset => Some(RetryOn::Reset),
        // Seen from downstream both are a gateway's errors, with the status that we would answer.
        Kind::TryTimeout | Kind::Protocol => None,
        Kind::Overflow | Kind::Downstream | Kind::Idle => return false,
    };
    match named {
        Some(named) => on.contains(&named),
        None => status_fails(on, kind.reason().status()),
    }
}
