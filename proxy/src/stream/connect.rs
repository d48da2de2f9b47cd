//! `CONNECT` of our application: a tunnel to a service whose bytes are not looked at.
//!
//! The service is the one that the target names, and must be opaque: a tunnel to an HTTP port would pass by every rule for
//! its requests. The answer is 200 once there is a connection to an endpoint; where rules choose by server name, it is 200
//! before that choice, as the name comes through the tunnel.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode, Version};
use weft_bundle::engine::{self, FrontendRef};

use super::dial::{Ended, Upstream};
use super::outbound::{is_refused_later, needs_server_name, open, read_server_name};
use super::proof::Proof;
use super::relay::Wire;
use super::tunnel::{Tunnel, Underway, endpoint_revoked};
use super::wire::Prefixed;
use crate::answer::{self, Refusal};
use crate::forward::Failure;
use crate::message::body::ResponseBody;
use crate::message::head::Target;
use crate::telemetry::Reason;
use crate::telemetry::record::Record;
use crate::telemetry::stream::StreamKind;
use crate::worker::Plane;
use crate::worker::connection::Connection;

enum Begun {
    /// There is an upstream, and a limit on standing still.
    Through(Upstream, Duration),
    /// The server name decides.
    ByServerName(Target),
}

/// Answers one.
pub(crate) async fn serve(
    connection: &Connection,
    plane: &Arc<Plane>,
    head: &Parts,
    mut record: Record,
) -> Response<ResponseBody> {
    let begun = match begin(connection, plane, head, &mut record).await {
        Ok(begun) => begun,
        Err(refusal) => return answer::refuse(refusal, record),
    };
    let underway = Underway::new(connection, record, StreamKind::Connect, StatusCode::OK);
    connection.tunnel_next(match begun {
        Begun::Through(upstream, idle) => {
            let revoked = endpoint_revoked(connection, &upstream);
            Tunnel::to(upstream, idle, underway, revoked)
        }
        Begun::ByServerName(target) => by_server_name(connection, Arc::clone(plane), target, underway),
    });
    Response::new(ResponseBody::none())
}

async fn begin(
    connection: &Connection,
    plane: &Plane,
    head: &Parts,
    record: &mut Record,
) -> Result<Begun, Refusal> {
    record.follow(plane.snapshot.telemetry.as_ref(), &head.method);
    record.log(|log| {
        log.head(head);
        log.client = Some(connection.client);
        log.sequence = plane.snapshot.generation.sequence;
    });
    if head.version != Version::HTTP_11 {
        return Err(Refusal::new(Reason::Unsupported, "CONNECT is supported on HTTP/1.1 only"));
    }
    let target = Target::of_connect(head)?;
    let frontend = find(plane, &target)?;
    if let Some(metrics) = plane.frontend_metrics(frontend) {
        record.service(metrics);
    }
    let (host, port) = (target.host(), target.port);
    if frontend.get().protocol.is_http() {
        let detail = format!("{host}:{port} takes requests; send them without CONNECT");
        return Err(Refusal::new(Reason::Unsupported, detail));
    }
    if needs_server_name(frontend) {
        return Ok(Begun::ByServerName(target));
    }
    let facts = engine::Connection { server_name: None, destination: host.parse().ok() };
    let source = (connection.client.ip(), connection.source());
    let (upstream, idle) = open(&connection.worker, plane, frontend, &facts, source, record).await?;
    Ok(Begun::Through(upstream, idle))
}

fn find<'e>(plane: &'e Plane, target: &Target) -> Result<FrontendRef<'e>, Refusal> {
    plane.snapshot.engine.frontend(target.host(), target.port).ok_or_else(|| {
        let detail = format!("{}:{} is no service that this one may call", target.host(), target.port);
        Refusal::new(Reason::UnknownHost, detail)
    })
}

fn by_server_name(
    connection: &Connection,
    plane: Arc<Plane>,
    target: Target,
    mut underway: Underway,
) -> Tunnel {
    let worker = Rc::clone(&connection.worker);
    let source = (connection.client.ip(), connection.source());
    Tunnel::new(move |mut near: Prefixed| async move {
        let opened = async {
            let name = read_server_name(near.read(), near.socket()).await?;
            let destination = target.host().parse().ok();
            let facts = engine::Connection { server_name: name.as_deref(), destination };
            let gone = |refusal: Refusal| Failure { reason: refusal.reason, detail: refusal.detail };
            let frontend = find(&plane, &target).map_err(gone)?;
            open(&worker, &plane, frontend, &facts, source, &mut underway.record).await
        };
        match opened.await {
            Ok((upstream, idle)) => {
                let proof = Proof::of(upstream.io.io());
                let revoked = Box::pin(async move { is_refused_later(&worker, proof).await });
                underway.relay(&mut near, upstream, idle, revoked).await;
            }
            Err(failure) => {
                near.break_off();
                underway.ended(Ended::from(failure));
            }
        }
    })
}
