//! A connection of a peer to an opaque port of our application: who calls → may they → how many may they → the application.
//!
//! Access is decided when it comes, and again whenever policy or the denylist changes: a stream that would not be let in any
//! more is cut off, one that began with a request too. So is one whose peer's certificate has ended, as nothing proves any
//! more who that is.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::request::Parts;
use weft_bundle::body::{Origin, PeerTls};
use weft_bundle::engine::{Authorization, Facts, Peer, Permit, RefusedToken};

use super::DEFAULT_IDLE;
use super::dial::{Ended, Upstream, dial};
use super::relay::Wire;
use super::tunnel::Revoked;
use super::wire::Io;
use crate::cluster::Cluster;
use crate::cluster::balancer::Wish;
use crate::cluster::terms::Terms;
use crate::forward::Failure;
use crate::message::fields;
use crate::message::head::Target;
use crate::telemetry::metrics::Refusal;
use crate::telemetry::stream::{Story, StreamRecord};
use crate::telemetry::{Direction, Reason};
use crate::tokens;
use crate::worker::Plane;
use crate::worker::connection::Connection;
use crate::worker::plane::InboundPlane;

/// A stream, and the port of ours that it is to.
pub(crate) struct Call {
    pub(crate) connection: Rc<Connection>,
    pub(crate) number: u16,
    pub(crate) destination: Option<IpAddr>,
    /// What it began with, as it was received; none of one that is nothing but bytes.
    pub(crate) request: Option<Box<(Target, Parts)>>,
}

/// Serves a connection to its end.
pub(crate) async fn serve(connection: Connection, number: u16, mut io: Io) {
    let plane = connection.worker.shared.plane.load_full();
    let ours = plane.as_ref().and_then(|plane| plane.inbound(plane.snapshot.engine.inbound(number)?));
    let (Some(plane), Some(ours)) = (&plane, ours) else {
        // Policy has changed since it was accepted.
        connection.worker.shared.metrics.refused(Refusal::NoPolicy);
        return io.break_off();
    };
    let destination = io.socket().local_addr().ok();
    let mut record = begin(&connection, plane, ours, destination);
    let connection = Rc::new(connection);
    let destination = destination.map(|address| address.ip());
    let call = Call { connection, number, destination, request: None };
    let ended = match open(&call, plane, &mut record).await {
        Err(failure) => {
            io.break_off();
            Ended::from(failure)
        }
        Ok(mut upstream) => tokio::select! {
            ended = upstream.relay(&mut io, DEFAULT_IDLE, &record.count) => ended,
            failure = call.is_refused_later() => {
                upstream.break_off(&io);
                Ended::from(failure)
            }
        },
    };
    record.ended(ended);
}

fn begin(
    connection: &Connection,
    plane: &Plane,
    ours: &InboundPlane,
    destination: Option<SocketAddr>,
) -> StreamRecord {
    let in_flight = &connection.worker.shared.in_flight;
    let mut record = StreamRecord::start(Direction::Inbound, in_flight, &ours.metrics);
    record.follow(plane.snapshot.telemetry.as_ref());
    record.log(|log| {
        log.client = Some(connection.client);
        log.destination = destination;
        log.peer = connection.identity().cloned();
        log.sequence = plane.snapshot.generation.sequence;
    });
    record
}

/// The path of a connection to the application, in the order it is travelled.
async fn open(call: &Call, plane: &Plane, record: &mut StreamRecord) -> Result<Upstream, Failure> {
    let Admitted { permit, ours, is_audited, is_in_clear } = call.judge(plane).map_err(|refused| {
        if let Some(rule) = refused.rule {
            record.by_rule(rule);
            refused.ours.inspect(|ours| ours.metrics.decided(false));
        }
        refused.failure
    })?;
    record.by_rule(permit.origin());
    ours.metrics.decided(true);
    if is_audited {
        ours.metrics.audited.inc();
    }
    if is_in_clear {
        ours.metrics.would_deny.inc();
    }
    ours.rates.take(&call.peer(), None).map_err(|_| Failure {
        reason: Reason::RateLimited,
        detail: "more connections than this port takes".to_owned(),
    })?;
    let application = call.connection.worker.clusters.of(&ours.application);
    to_application(permit, &application, record).await
}

/// Connects what access policy let pass; the permit is the proof.
async fn to_application(
    _: Permit<'_>,
    application: &Cluster,
    record: &mut StreamRecord,
) -> Result<Upstream, Failure> {
    dial(application, Wish::default(), &Terms::default(), None, |endpoint| record.tried(endpoint)).await
}

/// A stream that policy lets in.
struct Admitted<'p> {
    permit: Permit<'p>,
    ours: &'p InboundPlane,
    is_audited: bool,
    /// On a port where others prove who they are.
    is_in_clear: bool,
}

/// One that it does not.
struct Refused<'p> {
    failure: Failure,
    /// The rule that refuses, and the port.
    rule: Option<&'p Origin>,
    ours: Option<&'p InboundPlane>,
}

impl Call {
    fn peer(&self) -> Peer<'_> {
        Peer { identity: self.connection.identity(), address: self.connection.client.ip() }
    }

    fn judge<'p>(&self, plane: &'p Plane) -> Result<Admitted<'p>, Refused<'p>> {
        let refuse = |reason, detail: &str| {
            let failure = Failure { reason, detail: detail.to_owned() };
            Err(Refused { failure, rule: None, ours: None })
        };
        let engine = &plane.snapshot.engine;
        let port = engine.inbound(self.number);
        let port = port.filter(|port| port.get().protocol.is_http() == self.request.is_some());
        let Some((port, ours)) = port.and_then(|port| Some((port, plane.inbound(port)?))) else {
            return refuse(Reason::NoPolicy, "there is no policy for this port any more");
        };
        if !self.connection.is_trusted(plane) {
            let detail = "the caller's certificate is not trusted any more";
            return refuse(Reason::IdentityRequired, detail);
        }
        let is_in_clear = match (port.get().tls, self.connection.identity()) {
            (PeerTls::Strict, None) => {
                return refuse(Reason::IdentityRequired, "this port takes mutual TLS only");
            }
            (tls, identity) => tls == PeerTls::Permissive && identity.is_none(),
        };
        // The token that it began with is judged again: the key of its issuer may have been taken back.
        let (mut admitted, mut passed) = (tokens::Admitted::default(), self.request.as_deref().cloned());
        if let Some((target, head)) = &mut passed {
            let cache = &self.connection.worker.tokens;
            admitted = match tokens::admit_again(engine.tokens(port), cache, (head, target)) {
                Ok(admitted) => admitted,
                Err(RefusedToken { origin, fault }) => {
                    let detail = format!("the token is refused by {origin}: {fault}");
                    let failure = Failure { reason: Reason::TokenRefused, detail };
                    return Err(Refused { failure, rule: Some(origin), ours: Some(ours) });
                }
            };
            fields::strip_own(&mut head.headers);
            admitted.pass_on(&mut head.headers, target);
        }
        let request = passed.as_ref().map(|(target, head)| target.request(head));
        let facts = Facts {
            request: request.as_ref(),
            token: admitted.token(),
            destination_address: self.destination,
            ..Facts::of(self.peer())
        };
        let Authorization { verdict, audits } = engine.decide(port, &facts);
        match verdict {
            Ok(permit) => Ok(Admitted { permit, ours, is_audited: !audits.is_empty(), is_in_clear }),
            Err(denial) => {
                let detail = format!("denied by {}", denial.origin);
                let failure = Failure { reason: Reason::AccessDenied, detail };
                Err(Refused { failure, rule: Some(denial.origin), ours: Some(ours) })
            }
        }
    }

    /// What ends the tunnel that it became.
    pub(crate) fn revoked(self) -> Revoked {
        Box::pin(async move { self.is_refused_later().await })
    }

    /// Waits until it would not be let in any more, and says why.
    async fn is_refused_later(&self) -> Failure {
        refused_later(&self.connection, |plane| match self.judge(plane) {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.failure),
        })
        .await
    }
}

/// Waits until a judge refuses what came over a connection, asked again whenever policy or the denylist changes, or until
/// the certificate has ended that proved its caller.
pub(crate) async fn refused_later(
    connection: &Connection,
    judge: impl Fn(&Plane) -> Result<(), Failure>,
) -> Failure {
    let shared = &connection.worker.shared;
    let changed = async {
        let mut signal = connection.worker.signal(Direction::Inbound);
        // What has changed since it was let in counts, too.
        signal.mark_changed();
        loop {
            if signal.changed().await.is_err() {
                // The worker ends, and this with it.
                pending::<()>().await;
            }
            let plane = shared.plane.load_full();
            if let Some(Err(failure)) = plane.as_deref().map(&judge) {
                return failure;
            }
        }
    };
    let expired = async {
        match connection.proof_lasts() {
            Some(left) => tokio::time::sleep(left).await,
            None => pending().await,
        }
    };
    let failure = tokio::select! {
        failure = changed => failure,
        () = expired => Failure {
            reason: Reason::IdentityRequired,
            detail: "the caller's certificate has ended".to_owned(),
        },
    };
    if failure.reason == Reason::IdentityRequired {
        shared.metrics.refused(Refusal::TrustRevoked);
    }
    failure
}
