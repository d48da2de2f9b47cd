//! Requests from callers outside the mesh: which listener → is the caller who it must be → its token → may it come in. From there on
//! they travel like those of our own application ([`crate::outbound`]): the same rules, clusters, retries and limits.
//!
//! Nothing that such a caller says about itself is believed: our own header fields, and those in which proxies say for
//! whom they ask, are dropped, and written anew from the connection. Answers tell it no more than a status and the reason
//! from the closed list: names, addresses and policies of the mesh stay in the access log.

use std::rc::Rc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weft_bundle::engine::{
    Authorization, Facts, FrontendRef, ListenerRef, Peer, RefusedToken, Request, Token,
};

use crate::answer::Refusal;
use crate::forward::Failure;
use crate::message::fields;
use crate::message::head::Target;
use crate::stream::inbound::refused_later;
use crate::telemetry::Reason;
use crate::telemetry::record::{Kept, Record};
use crate::tokens::{self, Admitted};
use crate::worker::Plane;
use crate::worker::connection::Connection;

/// Fields that begin with it say for whom a proxy asks.
const FORWARDED_PREFIX: &str = "x-forwarded-";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Other fields that say so.
const FORWARDED: [HeaderName; 2] = [http::header::FORWARDED, HeaderName::from_static("x-real-ip")];

/// A request that was let in.
pub(crate) struct Entered<'e> {
    /// The decisions of the listener that takes it.
    pub(crate) frontend: FrontendRef<'e>,
    /// What its token makes of it.
    pub(crate) admitted: Admitted<'e>,
}

/// The listener that takes a request, if the caller may use it. Leaves of the request what is passed on.
pub(crate) fn enter<'e>(
    connection: &Connection,
    plane: &'e Plane,
    port: u16,
    (target, head): (&mut Target, &mut Parts),
    record: &mut Record,
) -> Result<Entered<'e>, Refusal> {
    let listener = find(connection, plane, port, target)?;
    let frontend = listener.frontend();
    let no_policy = || Refusal::new(Reason::NoPolicy, "there is no policy for this listener any more");
    let metrics = plane.frontend_metrics(frontend).ok_or_else(no_policy)?;
    record.service(metrics);
    if target.scheme != connection.scheme() {
        let detail = format!("`{}` over a connection that is `{}`", target.scheme, connection.scheme());
        return Err(Refusal { status: StatusCode::BAD_REQUEST, ..Refusal::new(Reason::BadHost, detail) });
    }
    if !connection.is_trusted(plane) {
        let detail = "the caller has no certificate that this listener takes now";
        return Err(Refusal::new(Reason::IdentityRequired, detail));
    }
    let identity = connection.identity();
    record.caller(identity);
    let (engine, tokens) = (&plane.snapshot.engine, &connection.worker.tokens);
    // What the caller asked for, not what it is in the mesh.
    let realm = &target.host().to_owned();
    let reader = engine.listener_tokens(listener);
    let admitted = tokens::admit(reader, tokens, (&*head, &*target), realm, metrics, record)?;
    disbelieve(connection, target, &mut head.headers);
    admitted.pass_on(&mut head.headers, target);
    record.keep(|| Kept {
        method: head.method.clone(),
        target: target.clone(),
        headers: head.headers.clone(),
        peer: identity.cloned(),
        token: admitted.verified(),
        port,
    });
    let request = target.request(head);
    let facts = facts(connection, &request, admitted.token());
    let Authorization { verdict, audits } = engine.decide_listener(listener, &facts);
    if !audits.is_empty() {
        metrics.audited.inc();
    }
    match verdict {
        Ok(_) => {
            metrics.decided(true);
            Ok(Entered { frontend, admitted })
        }
        Err(denial) => {
            record.decided_by(denial.origin);
            metrics.decided(false);
            Err(admitted.denied(&denial, realm))
        }
    }
}

/// What access policy of a listener looks at.
fn facts<'f>(connection: &'f Connection, request: &'f Request<'f>, token: Option<&'f Token>) -> Facts<'f> {
    let address = connection.client.ip();
    Facts {
        request: Some(request),
        token,
        remote_address: Some(address),
        destination_address: connection.local.map(|local| local.ip()),
        sni: connection.server_name(),
        ..Facts::of(Peer { identity: connection.identity(), address })
    }
}

/// A request that became a tunnel, as it was received.
pub(crate) struct Call {
    pub(crate) connection: Rc<Connection>,
    pub(crate) port: u16,
    pub(crate) request: Box<(Target, Parts)>,
}

impl Call {
    /// Waits until it would not be let in any more, and says why.
    pub(crate) async fn is_refused_later(&self) -> Failure {
        refused_later(&self.connection, |plane| self.judge(plane)).await
    }

    fn judge(&self, plane: &Plane) -> Result<(), Failure> {
        let connection = &*self.connection;
        let (mut target, mut head) = (*self.request).clone();
        let listener = find(connection, plane, self.port, &target)
            .map_err(|Refusal { reason, detail, .. }| Failure { reason, detail })?;
        if !connection.is_trusted(plane) {
            let detail = "the caller has no certificate that this listener takes now".to_owned();
            return Err(Failure { reason: Reason::IdentityRequired, detail });
        }
        let (engine, tokens) = (&plane.snapshot.engine, &connection.worker.tokens);
        let admitted = tokens::admit_again(engine.listener_tokens(listener), tokens, (&head, &target))
            .map_err(|RefusedToken { origin, fault }| {
                let detail = format!("the token is refused by {origin}: {fault}");
                Failure { reason: Reason::TokenRefused, detail }
            })?;
        disbelieve(connection, &target, &mut head.headers);
        admitted.pass_on(&mut head.headers, &mut target);
        let request = target.request(&head);
        let verdict =
            engine.decide_listener(listener, &facts(connection, &request, admitted.token())).verdict;
        verdict.map(drop).map_err(|denial| {
            let detail = format!("denied by {}", denial.origin);
            Failure { reason: Reason::AccessDenied, detail }
        })
    }
}

/// The listener for the request's host, which must be the one that the connection was made to.
fn find<'e>(
    connection: &Connection,
    plane: &'e Plane,
    port: u16,
    target: &Target,
) -> Result<ListenerRef<'e>, Refusal> {
    let found = plane.snapshot.engine.listener(port, Some(target.host()));
    let found = found.filter(|listener| listener.get().frontend.protocol.is_http());
    match (found, connection.listener()) {
        (Some(listener), None) if listener.get().tls.is_none() => Ok(listener),
        (Some(listener), Some(entered)) if listener.get().name == entered => Ok(listener),
        // Certificate, versions and what is asked of the caller's certificate are those of the listener that the server
        // name chose: they say nothing about the hosts of another one (RFC 9110 section 7.4).
        (_, Some(entered)) => {
            let detail = format!("`{}` is not of listener `{entered}`", target.host());
            Err(Refusal::new(Reason::Misdirected, detail))
        }
        (_, None) => {
            let detail = format!("no listener on port {port} takes `{}`", target.host());
            Err(Refusal { status: StatusCode::NOT_FOUND, ..Refusal::new(Reason::UnknownHost, detail) })
        }
    }
}

/// Takes out what a caller says of itself, before policy looks at the request.
fn disbelieve(connection: &Connection, target: &Target, headers: &mut HeaderMap) {
    fields::strip_own(headers);
    vouch(connection, target, headers);
}

/// Replaces what a caller from outside says about whom it asks for by what we know of it.
pub(crate) fn vouch(connection: &Connection, target: &Target, headers: &mut HeaderMap) {
    let is_one = |name: &HeaderName, known: &HeaderName| {
        name.as_str().len() == known.as_str().len() && fields::begins_as(name, known.as_str())
    };
    let says = |name: &HeaderName| {
        fields::begins_as(name, FORWARDED_PREFIX) || FORWARDED.iter().any(|known| is_one(name, known))
    };
    let named: Vec<HeaderName> = headers.keys().filter(|name| says(name)).cloned().collect();
    for name in named {
        headers.remove(name);
    }
    if let Ok(client) = HeaderValue::from_str(&connection.client.ip().to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, client);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(target.scheme));
}
