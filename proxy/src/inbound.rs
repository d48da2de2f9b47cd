//! Requests from peers to our application: who calls → with which token → may they → how many may they → the application.

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use weft_bundle::body::PeerTls;
use weft_bundle::engine::{Authorization, Facts, Peer, Permit};

use crate::answer::{self, Refusal};
use crate::cluster::balancer::Wish;
use crate::cluster::{Cluster, ClusterSpec};
use crate::forward::{self, Answer, Plan};
use crate::message::body::{DEFAULT_IDLE, RequestBody, ResponseBody};
use crate::message::fields;
use crate::message::head::Target;
use crate::stream::dial::Upstream;
use crate::stream::inbound::Call;
use crate::stream::upgrade::{self, Via};
use crate::stream::{self, tunnel};
use crate::telemetry::record::{Kept, Record};
use crate::telemetry::{Direction, Reason};
use crate::tokens;
use crate::worker::Plane;
use crate::worker::connection::Connection;

/// Answers one request.
pub(crate) async fn serve(
    connection: &Rc<Connection>,
    port: u16,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let shared = &connection.worker.shared;
    let mut record = Record::start(Direction::Inbound, Arc::clone(&shared.in_flight), connection.busy());
    record.service(shared.unknown(Direction::Inbound));
    let plane = shared.plane.load_full();
    match walk(connection, port, plane, request, &mut record).await {
        Ok(Arrived::Answer((response, lease))) => {
            record.status = response.status().as_u16();
            let mut response = answer::pass_on(response, |incoming| {
                ResponseBody::upstream(incoming, DEFAULT_IDLE, lease, record)
            });
            fields::strip_own(response.headers_mut());
            response
        }
        Ok(Arrived::Switched { response, upstream, call }) => {
            let course = (upstream, stream::DEFAULT_IDLE);
            let mut response = tunnel::switch(connection, response, course, record, call.revoked());
            fields::strip_own(response.headers_mut());
            response
        }
        Err(refusal) => answer::refuse(refusal, record),
    }
}

/// What came of a request.
enum Arrived {
    Answer(Answer),
    /// The application agrees to change the protocol.
    Switched {
        response: Response<Incoming>,
        upstream: Upstream,
        call: Call,
    },
}

/// The path of a request, in the order it is travelled.
async fn walk(
    connection: &Rc<Connection>,
    number: u16,
    plane: Option<Arc<Plane>>,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Arrived, Refusal> {
    let plane = plane.ok_or_else(|| Refusal::new(Reason::NoPolicy, "there is no policy yet"))?;
    let (mut head, incoming) = request.into_parts();
    record.follow(plane.snapshot.telemetry.as_ref(), &head.method);
    note(connection, &plane, &head, record);
    let port = plane.snapshot.engine.inbound(number);
    let (port, ours) = port
        .and_then(|port| Some((port, plane.inbound(port)?)))
        .ok_or_else(|| Refusal::new(Reason::NoPolicy, "there is no policy for this port any more"))?;
    record.service(&ours.metrics);

    let identity = connection.identity();
    if !connection.is_trusted(&plane) {
        return Err(Refusal::new(
            Reason::IdentityRequired,
            "the caller's certificate is not trusted any more",
        ));
    }
    match (port.get().tls, identity) {
        (PeerTls::Strict, None) => {
            return Err(Refusal::new(Reason::IdentityRequired, "this port takes mutual TLS only"));
        }
        (PeerTls::Permissive, None) => {
            ours.metrics.would_deny.inc();
        }
        (PeerTls::Strict | PeerTls::Permissive, Some(_)) | (PeerTls::Off, _) => {}
    }

    let mut target = Target::read(&head, if identity.is_some() { "https" } else { "http" })?;
    let kept = |head: &Parts, target: &Target, token| Kept {
        method: head.method.clone(),
        target: target.clone(),
        headers: head.headers.clone(),
        peer: identity.cloned(),
        token,
        port: port.get().port,
    };
    record.keep(|| kept(&head, &target, None));
    let peer = Peer { identity, address: connection.client.ip() };
    let engine = &plane.snapshot.engine;
    let realm = &engine.body().service;
    let tokens = &connection.worker.tokens;
    let admitted =
        tokens::admit(engine.tokens(port), tokens, (&head, &target), realm, &ours.metrics, record)?;
    // As it was received, for when policy changes while it is a tunnel.
    let asks = ours.application.upgrades && head.headers.contains_key(http::header::UPGRADE);
    let received = asks.then(|| Box::new((target.clone(), head.clone())));
    // Policy does not look at what a caller says in our place.
    fields::strip_own(&mut head.headers);
    admitted.pass_on(&mut head.headers, &mut target);
    if let Some(token) = admitted.verified() {
        record.keep(|| kept(&head, &target, Some(token)));
    }
    let request = target.request(&head);
    let facts = Facts { request: Some(&request), token: admitted.token(), ..Facts::of(peer) };
    let Authorization { verdict, audits } = engine.decide(port, &facts);
    if !audits.is_empty() {
        ours.metrics.audited.inc();
    }
    let permit = verdict.map_err(|denial| {
        record.decided_by(denial.origin);
        ours.metrics.decided(false);
        admitted.denied(&denial, realm)
    })?;
    record.decided_by(permit.origin());
    ours.metrics.decided(true);
    ours.rates.take(&peer, Some(&request)).map_err(|wait| Refusal {
        retry_after: Some(wait),
        ..Refusal::new(Reason::RateLimited, "more requests than this port takes")
    })?;

    let upgrade = fields::asks_for_websocket(&head)? && ours.application.upgrades;
    let call = received.filter(|_| upgrade).map(|received| Call {
        connection: Rc::clone(connection),
        number,
        destination: None,
        request: Some(received),
    });
    fields::strip_request(&mut head.headers);
    admitted.pass_on(&mut head.headers, &mut target);
    record.trace(&mut head.headers);
    if let Some(identity) = identity
        && let Ok(value) = HeaderValue::from_str(&identity.to_string())
    {
        head.headers.insert(fields::PEER, value);
    }
    let application = connection.worker.clusters.of(&ours.application);
    match call {
        None => {
            let body = RequestBody::replayable(incoming, DEFAULT_IDLE)
                .without_trailers(admitted.told())
                .counted(&ours.metrics.received);
            to_application(permit, &application, &target, head, body, record).await.map(Arrived::Answer)
        }
        // Boxed: they are rare, and their state would make every request's future larger.
        Some(call) => Box::pin(upgrade_to_application(permit, &application, &target, head, record))
            .await
            .map(|(response, via)| match via {
                Via::Lease(lease) => Arrived::Answer((response, lease)),
                Via::Tunnel(upstream) => Arrived::Switched { response, upstream, call },
            }),
    }
}

fn note(connection: &Connection, plane: &Plane, head: &Parts, record: &mut Record) {
    record.log(|log| {
        log.head(head);
        log.client = Some(connection.client);
        log.sequence = plane.snapshot.generation.sequence;
    });
    record.caller(connection.identity());
}

/// Forwards what access policy let pass; the permit is the proof.
async fn to_application(
    _: Permit<'_>,
    application: &Cluster,
    target: &Target,
    mut head: Parts,
    body: RequestBody,
    record: &mut Record,
) -> Result<Answer, Refusal> {
    address(&application.spec, target, target.path.as_str(), &target.authority, &mut head, false)?;
    let plan = Plan {
        http2: application.spec.http2,
        wish: Wish::default(),
        request: None,
        per_try: None,
        retry: None,
    };
    Ok(forward::send(application, plan, head, body, Some(record)).await?)
}

/// The same for a request to change the protocol.
async fn upgrade_to_application(
    _: Permit<'_>,
    application: &Cluster,
    target: &Target,
    mut head: Parts,
    record: &mut Record,
) -> Result<(Response<Incoming>, Via), Refusal> {
    address(&application.spec, target, target.path.as_str(), &target.authority, &mut head, false)?;
    let plan = Plan { http2: false, wish: Wish::default(), request: None, per_try: None, retry: None };
    Ok(upgrade::send(application, plan, head, record).await?)
}

/// Writes where a request goes: path and `Host` on HTTP/1.1, a whole URI on HTTP/2.
pub(crate) fn address(
    spec: &ClusterSpec,
    target: &Target,
    path: &str,
    authority: &str,
    head: &mut Parts,
    http2: bool,
) -> Result<(), Refusal> {
    let illegal = |_: http::Error| Refusal::new(Reason::BadPath, "the request cannot be written");
    let http2 = http2 || spec.http2;
    let path = match &target.query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if http2 {
        let scheme = if spec.tls.is_some() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
        head.uri = uri.build().map_err(illegal)?;
        head.version = Version::HTTP_2;
        head.headers.remove(http::header::HOST);
    } else {
        let host = HeaderValue::from_str(authority).map_err(|error| illegal(error.into()))?;
        head.uri = Uri::builder().path_and_query(path).build().map_err(illegal)?;
        head.version = Version::HTTP_11;
        head.headers.insert(http::header::HOST, host);
        fields::join_cookies(&mut head.headers);
        if head.headers.contains_key(http::header::TE) {
            head.headers.insert(http::header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    Ok(())
}
