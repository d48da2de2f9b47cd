//! Requests from our application to other services: which service → which rule → other origins → faults → which backend →
//! which endpoint. Those of callers outside the mesh go the same way once a listener has let them in ([`crate::gateway`]).

mod fault;
mod mirror;
mod session;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use weft_bundle::body::{Abort, Action, Backend, HeaderEdits, Rule, Target as BackendTarget, Timeouts};
use weft_bundle::duration::DurationText;
use weft_bundle::engine::{
    CrossOrigin, FrontendRef, Grant, Hashed, Injected, Routed, edit_headers, hash, redirect_location, split,
};

use self::session::Visit;
use crate::answer::{self, Refusal};
use crate::cluster::balancer::Wish;
use crate::cluster::{Cluster, ClusterSpec};
use crate::forward::{self, Plan};
use crate::gateway::{self, Entered};
use crate::inbound::address;
use crate::message::body::{DEFAULT_IDLE, RequestBody, ResponseBody};
use crate::message::fields;
use crate::message::head::Target;
use crate::stream::upgrade::{self, Via};
use crate::stream::{self, connect, tunnel};
use crate::telemetry::Reason;
use crate::telemetry::record::{Kept, Record};
use crate::tokens::Admitted;
use crate::worker::Plane;
use crate::worker::connection::Connection;
use crate::worker::listener::Key;

/// Answers one request.
pub(crate) async fn serve(connection: &Rc<Connection>, request: Request<Incoming>) -> Response<ResponseBody> {
    let shared = &connection.worker.shared;
    let direction = connection.key.direction();
    let mut record = Record::start(direction, Arc::clone(&shared.in_flight), connection.busy());
    record.service(shared.unknown(direction));
    let refuse = match connection.is_from_outside() {
        true => answer::refuse_outsider,
        false => answer::refuse,
    };
    let Some(plane) = shared.plane.load_full() else {
        return refuse(Refusal::new(Reason::NoPolicy, "there is no policy yet"), record);
    };
    // Where our application may connect to is nothing for callers outside the mesh.
    // A local port means one service already.
    if request.method() == Method::CONNECT && connection.key == Key::Outbound {
        let (head, _) = request.into_parts();
        // Boxed: it is rare, and its state would make every request's future larger.
        return Box::pin(connect::serve(connection, &plane, &head, record)).await;
    }
    let mut grant = None;
    let mut response = match walk(connection, &plane, request, &mut record, &mut grant).await {
        Ok(Outcome::Upstream { answer: (response, via), rule, backend, cookie, session, received }) => {
            record.status = response.status().as_u16();
            let idle = limit(rule.timeouts.idle);
            let mut response = match via {
                Via::Lease(lease) => answer::pass_on(response, |incoming| {
                    ResponseBody::upstream(incoming, idle.unwrap_or(DEFAULT_IDLE), lease, record)
                }),
                Via::Tunnel(upstream) => {
                    let revoked = tunnel::endpoint_revoked(connection, &upstream);
                    let revoked = match (connection.key, received) {
                        (Key::Listener(port), Some(request)) => {
                            let call = gateway::Call { connection: Rc::clone(connection), port, request };
                            tunnel::either(revoked, Box::pin(async move { call.is_refused_later().await }))
                        }
                        _ => revoked,
                    };
                    let course = (upstream, idle.unwrap_or(stream::DEFAULT_IDLE));
                    tunnel::switch(connection, response, course, record, revoked)
                }
            };
            if connection.is_from_outside() {
                fields::strip_own(response.headers_mut());
            }
            edit_headers(&backend.response_headers, response.headers_mut());
            edit_headers(&rule.response_headers, response.headers_mut());
            let cookie = cookie.map(|cookie| (SET_COOKIE, cookie));
            for (name, value) in cookie.into_iter().chain(session) {
                response.headers_mut().append(name, value);
            }
            response
        }
        Ok(Outcome::Redirect { location, status, edits }) => {
            let mut response = answer::respond(status, None, record);
            response.headers_mut().insert(LOCATION, location);
            edit_headers(edits, response.headers_mut());
            response
        }
        Ok(Outcome::Respond { status, text, edits }) => {
            let mut response = answer::respond(status, text, record);
            edit_headers(edits, response.headers_mut());
            response
        }
        Ok(Outcome::Preflight(fields)) => {
            let mut response = answer::preflight(record);
            response.headers_mut().extend(fields);
            response
        }
        Ok(Outcome::Abort { abort, edits }) => {
            let mut response = answer::abort(abort, record);
            edit_headers(edits, response.headers_mut());
            response
        }
        Err(refusal) => refuse(refusal, record),
    };
    if let Some(grant) = grant {
        grant.apply(response.headers_mut());
    }
    response
}

#[expect(clippy::large_enum_variant, reason = "the large one is the common one, and it moves once")]
enum Outcome<'e> {
    Upstream {
        answer: (Response<Incoming>, Via),
        rule: &'e Rule,
        backend: &'e Backend,
        /// A cookie that was made to be hashed.
        cookie: Option<HeaderValue>,
        /// What leads the caller back to where it was answered.
        session: Option<(HeaderName, HeaderValue)>,
        /// The request of a caller outside that asks to become a tunnel.
        received: Option<Box<(Target, Parts)>>,
    },
    Redirect {
        location: HeaderValue,
        status: StatusCode,
        edits: &'e HeaderEdits,
    },
    Respond {
        status: StatusCode,
        text: Option<&'e str>,
        edits: &'e HeaderEdits,
    },
    Preflight(HeaderMap),
    Abort {
        abort: &'e Abort,
        edits: &'e HeaderEdits,
    },
}

/// The path of a request, in the order it is travelled. The grant is what other origins are told, whatever the outcome.
async fn walk<'e>(
    connection: &Connection,
    plane: &'e Plane,
    request: Request<Incoming>,
    record: &mut Record,
    grant: &mut Option<Grant<'e>>,
) -> Result<Outcome<'e>, Refusal> {
    let (mut head, incoming) = request.into_parts();
    record.follow(plane.snapshot.telemetry.as_ref(), &head.method);
    record.log(|log| {
        log.head(&head);
        log.client = Some(connection.client);
        log.sequence = plane.snapshot.generation.sequence;
    });
    let mut target = connection.named(Target::read(&head, connection.scheme())?);
    record.keep(|| Kept {
        method: head.method.clone(),
        target: target.clone(),
        headers: head.headers.clone(),
        peer: None,
        token: None,
        port: target.port,
    });
    if head.headers.get_all(fields::HOP).iter().any(|hop| hop == connection.worker.shared.hop) {
        return Err(Refusal::new(Reason::Loop, "this request comes from this proxy"));
    }
    let asks = connection.is_from_outside() && fields::asks_for_websocket(&head)?;
    let received = asks.then(|| Box::new((target.clone(), head.clone())));
    let (frontend, admitted) = match connection.key {
        Key::Listener(port) => {
            let Entered { frontend, admitted } =
                gateway::enter(connection, plane, port, (&mut target, &mut head), record)?;
            (frontend, Some(admitted))
        }
        Key::Outbound | Key::LocalPort(_) | Key::Inbound(_) => (find(connection, plane, &target)?, None),
    };
    if let Some(metrics) = plane.frontend_metrics(frontend) {
        record.service(metrics);
    }
    let routed = plane.snapshot.engine.route(frontend, &target.request(&head));
    let Routed { rule, .. } = routed;
    record.decided_by(&rule.origin);
    match routed.cross_origin(&target.request(&head)) {
        None => {}
        Some(CrossOrigin::Preflight(fields)) => return Ok(Outcome::Preflight(fields)),
        Some(CrossOrigin::Refused) => {
            return Err(Refusal::new(Reason::OriginRefused, "this origin may not ask"));
        }
        Some(CrossOrigin::Pass(given)) => *grant = Some(given),
    }
    let edits = &rule.response_headers;
    match &rule.action {
        Action::Forward(backends) => {
            let limit = limit(rule.timeouts.request);
            let (Injected { abort, .. }, limit) = fault::meet(rule.fault.as_ref(), limit, record).await?;
            if let Some(abort) = abort {
                record.aborted();
                return Ok(Outcome::Abort { abort, edits });
            }
            let visit = Visit::of(rule.session.as_ref(), &head.headers);
            let home = visit.as_ref().and_then(|visit| visit.backend(backends));
            let backend = home
                .or_else(|| split(backends, fastrand::u64(..)))
                .ok_or_else(|| Refusal::new(Reason::NoBackend, "every backend has weight zero"))?;
            let home = visit.as_ref().and_then(Visit::endpoint);
            let course = Course { routed, backend, home, time: limit, admitted };
            let (answer, cookie) =
                forward(connection, plane, &mut target, course, head, incoming, record).await?;
            let endpoint = answer.1.endpoint();
            let session = visit.zip(endpoint).and_then(|(visit, id)| visit.answered(backend, id));
            Ok(Outcome::Upstream { answer, rule, backend, cookie, session, received })
        }
        Action::Redirect(redirect) => {
            let location = redirect_location(redirect, routed.matched_path(), &target.request(&head));
            let location = HeaderValue::from_str(&location)
                .map_err(|_| Refusal::new(Reason::BadPath, "the new location cannot be written"))?;
            Ok(Outcome::Redirect { location, status: status(redirect.status), edits })
        }
        Action::Respond { status: code, body } => {
            Ok(Outcome::Respond { status: status(*code), text: body.as_deref(), edits })
        }
    }
}

/// The engine refuses bodies with other codes.
fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// By the local port that the request came to, by the name that it is for, or by the address that it was made to.
fn find<'e>(connection: &Connection, plane: &'e Plane, target: &Target) -> Result<FrontendRef<'e>, Refusal> {
    let engine = &plane.snapshot.engine;
    let made_to = || {
        let address = connection.destination?;
        engine.frontend_at(address.ip(), address.port())
    };
    let found = match connection.local_port() {
        Some(port) => port.frontend(engine),
        None => engine.frontend(target.host(), target.port).or_else(made_to),
    };
    found.filter(|frontend| frontend.get().protocol.is_http()).ok_or_else(|| {
        let detail = format!("{}:{} is no service that this one may call", target.host(), target.port);
        Refusal::new(Reason::UnknownHost, detail)
    })
}

/// What was decided about a request that is forwarded.
struct Course<'r> {
    routed: Routed<'r>,
    backend: &'r Backend,
    /// The endpoint that its session is with.
    home: Option<u64>,
    /// What is left of the time that it may take.
    time: Option<Duration>,
    /// What the token of a caller from outside makes of it.
    admitted: Option<Admitted<'r>>,
}

/// Sends it, and gives the answer and the cookie that goes with it.
async fn forward(
    connection: &Connection,
    plane: &Plane,
    target: &mut Target,
    Course { routed, backend, home, time, admitted }: Course<'_>,
    mut head: Parts,
    incoming: Incoming,
    record: &mut Record,
) -> Result<((Response<Incoming>, Via), Option<HeaderValue>), Refusal> {
    let rule = routed.rule;
    let cluster = cluster(connection, plane, backend)?;
    record.log(|log| log.cluster = Some(cluster.spec.id.clone()));
    let spec = &cluster.spec;
    let upgrade = fields::asks_for_websocket(&head)? && spec.upgrades;
    let http2 = !upgrade && spec.takes_http2(head.version);

    fields::strip_request(&mut head.headers);
    if let Some(admitted) = &admitted {
        gateway::vouch(connection, target, &mut head.headers);
        // Afterwards: what a claim is told in may have a name that a forwarding field could have.
        admitted.pass_on(&mut head.headers, target);
    }
    let target = &*target;
    record.trace(&mut head.headers);
    let place = Place::of(&routed, target);
    edit_headers(&rule.request_headers, &mut head.headers);
    let Timeouts { request, per_try, idle } = rule.timeouts;
    let idle = limit(idle).unwrap_or(DEFAULT_IDLE);
    let mut body = RequestBody::replayable(incoming, idle);
    if let Some(admitted) = &admitted {
        body = body.without_trailers(admitted.told());
    }
    if let Some(service) = record.counts() {
        body = body.counted(&service.received);
    }
    if !rule.mirrors.is_empty() {
        mirror::begin(connection, plane, &place, &head, &mut body);
    }
    edit_headers(&backend.request_headers, &mut head.headers);
    if !spec.external {
        head.headers.insert(fields::HOP, connection.worker.shared.hop.clone());
    }
    let hashed = hashed(connection, spec, target, &head);
    address(spec, target, &place.path, place.authority, &mut head, http2)?;
    tell_source(connection, spec, &mut head);

    let wish = Wish { endpoint: home, hash: hashed.as_ref().map(|hashed| hashed.value) };
    let plan = Plan { http2, wish, request: time, per_try: limit(per_try), retry: rule.retry.as_ref() };
    let sent = if upgrade {
        // Boxed: they are rare, and their state would make every request's future larger.
        Box::pin(upgrade::send(&cluster, plan, head, record)).await
    } else {
        let sent = forward::send(&cluster, plan, head, body, Some(record)).await;
        sent.map(|(response, lease)| (response, Via::Lease(lease)))
    };
    let answer = sent.map_err(|failure| match limit(request) {
        // All of it, also what an injected delay took.
        Some(limit) if failure.reason == Reason::RequestTimeout => timed_out(limit),
        Some(_) | None => failure.into(),
    })?;
    Ok((answer, hashed.and_then(|hashed| hashed.cookie)))
}

/// Notes whose connection a request came over, for a server that is told.
fn tell_source(connection: &Connection, spec: &ClusterSpec, head: &mut Parts) {
    if spec.proxy_protocol.is_some()
        && let Some(source) = connection.source()
    {
        head.extensions.insert(source);
    }
}

/// What a request hashes to, for a cluster whose balancer hashes.
fn hashed(connection: &Connection, spec: &ClusterSpec, target: &Target, head: &Parts) -> Option<Hashed> {
    let policy = spec.hash.as_ref().filter(|_| spec.load_balancer.hashes())?;
    hash(policy, &target.request(head), connection.client.ip(), fastrand::u64(..))
}

/// Where a rule sends a request, whatever the backend.
struct Place<'r> {
    rule: &'r Rule,
    target: &'r Target,
    path: String,
    authority: &'r str,
}

impl<'r> Place<'r> {
    fn of(routed: &Routed<'r>, target: &'r Target) -> Self {
        let rule = routed.rule;
        let path = routed.rewritten_path(&target.path).unwrap_or_else(|| target.path.to_string());
        let host = rule.rewrite.as_ref().and_then(|rewrite| rewrite.host.as_deref());
        Self { rule, target, path, authority: host.unwrap_or(&target.authority) }
    }
}

fn timed_out(limit: Duration) -> Refusal {
    Refusal::new(Reason::RequestTimeout, format!("no response within {} ms", limit.as_millis()))
}

/// The cluster that a backend names.
fn cluster(connection: &Connection, plane: &Plane, backend: &Backend) -> Result<Rc<Cluster>, Refusal> {
    match &backend.target {
        BackendTarget::Cluster(id) => match plane.upstream(id) {
            Some(spec) => Ok(connection.worker.clusters.of(spec)),
            None => Err(Refusal::new(Reason::BackendMissing, "the backend does not exist")),
        },
        BackendTarget::Status(code) => Err(Refusal {
            status: status(*code),
            ..Refusal::new(Reason::BackendMissing, "the backend does not exist")
        }),
    }
}

/// Zero means "no limit", like absence.
pub(crate) fn limit(duration: Option<DurationText>) -> Option<Duration> {
    duration.filter(|duration| !duration.is_zero()).map(DurationText::get)
}
