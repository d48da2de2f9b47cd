//! Requests from callers outside the mesh: which listener → is the caller who it must be → its token → may it come in. From there on
//! they travel like those of our own application ([`crate::outbound`]): the same rules, clusters, retries and limits.
//!
//! Nothing that such a caller says about itself is believed: our own header fields, and those in which proxies say for
//! whom they ask, are dropped, and written anew from the connection. Answers tell it no more than a status and the reason
//! from the closed list: names, addresses and policies of the mesh stay in the access log.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weft_bundle::engine::{Authorization, Facts, FrontendRef, ListenerRef, Peer};

use crate::answer::Refusal;
use crate::message::head::Target;
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
    admitted.pass_on(&mut head.headers, target);
    record.keep(|| Kept {
        method: head.method.clone(),
        target: target.clone(),
        headers: head.headers.clone(),
        peer: identity.cloned(),
        token: admitted.verified(),
        port,
    });
    let address = connection.client.ip();
    let request = target.request(head);
    let facts = Facts {
        request: Some(&request),
        token: admitted.token(),
        remote_address: Some(address),
        destination_address: connection.local.map(|local| local.ip()),
        sni: connection.server_name(),
        ..Facts::of(Peer { identity, address })
    };
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

/// Replaces what a caller from outside says about whom it asks for by what we know of it.
pub(crate) fn vouch(connection: &Connection, target: &Target, headers: &mut HeaderMap) {
    let says = |name: &HeaderName| name.as_str().starts_with(FORWARDED_PREFIX) || FORWARDED.contains(name);
    let named: Vec<HeaderName> = headers.keys().filter(|name| says(name)).cloned().collect();
    for name in named {
        headers.remove(name);
    }
    if let Ok(client) = HeaderValue::from_str(&connection.client.ip().to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, client);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(target.scheme));
}
