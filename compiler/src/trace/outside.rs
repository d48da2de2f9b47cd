//! Callers from outside the mesh: the listener that takes them, and whether they may come in.

use std::net::IpAddr;

use weft_bundle::body::Origin;
use weft_bundle::engine::{Authorization, Engine, Facts, FrontendRef, ListenerRef, Peer, Request};

use super::{Access, Decision, Place, Run, Trace, respond};
use crate::model::{Gateway, GatewayIndex};

/// The way in, or what happens before one is found.
pub(super) type Entrance<'e> = Result<FrontendRef<'e>, Box<Trace>>;

impl Run<'_, '_> {
    /// The frontend of the listener that takes a request, if the caller may use it.
    pub(super) fn enter<'e>(
        &mut self,
        engine: &'e Engine,
        gateway: GatewayIndex,
        (host, port): (&str, u16),
        request: &Request<'_>,
    ) -> Entrance<'e> {
        let gateway = self.tracer.mesh.gateway(gateway);
        let listener = self.listener(engine, gateway, port, Some(host))?;
        let name = &listener.get().name;
        if !listener.get().frontend.protocol.is_http() {
            self.say(
                "listener",
                format!("listener `{name}` takes connections; there are no requests to route"),
                None,
            );
            return Err(Box::new(respond(400, None)));
        }
        let over_tls = listener.get().tls.is_some();
        if over_tls != (request.scheme == "https") {
            let speaks = if over_tls { "TLS" } else { "clear text" };
            self.say("listener", format!("listener `{name}` speaks {speaks}"), None);
            return Err(Box::new(respond(400, None)));
        }
        let read = match self.token(&gateway.id(), engine.listener_tokens(listener), request) {
            Ok(read) => read,
            Err(refusal) => {
                let status = Some(refusal.refusal());
                self.admission = Some(refusal.clone());
                let access = Some(refusal);
                return Err(Box::new(Trace {
                    decision: Decision::Deny,
                    access,
                    ..Trace { status, ..respond(401, None) }
                }));
            }
        };
        let arrived = read.passed.as_ref().map_or(*request, |passed| passed.request(request));
        let facts =
            Facts { request: Some(&arrived), token: read.token.as_ref(), ..Facts::of(self.outsider()) };
        let answer = engine.decide_listener(listener, &facts);
        self.judge(gateway, &answer, Some(403))?;
        self.passed = read.passed;
        Ok(listener.frontend())
    }

    /// The frontend of the listener that takes a connection, if the caller may use it.
    pub(super) fn connect<'e>(
        &mut self,
        engine: &'e Engine,
        gateway: GatewayIndex,
        (host, port): (&str, u16),
        server_name: Option<&str>,
    ) -> Entrance<'e> {
        let gateway = self.tracer.mesh.gateway(gateway);
        // Without a server name no listener is found that has one, though it may be the one that is meant.
        let meant = engine.listener(port, Some(host)).filter(|found| found.get().frontend.protocol.is_http());
        let listener = match meant {
            Some(listener) => listener,
            None => self.listener(engine, gateway, port, server_name)?,
        };
        if listener.get().frontend.protocol.is_http() {
            let scheme = if listener.get().tls.is_some() { "https" } else { "http" };
            let text = format!("listener `{}` takes requests; ask with `{scheme}://`", listener.get().name);
            self.say("listener", text, None);
            return Err(Box::new(respond(400, None)));
        }
        let answer =
            engine.decide_listener(listener, &Facts { sni: server_name, ..Facts::of(self.outsider()) });
        self.judge(gateway, &answer, None)?;
        Ok(listener.frontend())
    }

    /// A caller of whom only the address is known.
    fn outsider(&self) -> Peer<'static> {
        Peer { identity: None, address: self.question.address }
    }

    fn listener<'e>(
        &mut self,
        engine: &'e Engine,
        gateway: &Gateway,
        port: u16,
        name: Option<&str>,
    ) -> Result<ListenerRef<'e>, Box<Trace>> {
        let shown = name.unwrap_or("*");
        match engine.listener(port, name) {
            Some(listener) => {
                let hosts = listener.get().frontend.hosts.join(", ");
                let text = format!("`{shown}:{port}` is listener `{}`, for `{hosts}`", listener.get().name);
                let origin = gateway.listeners.iter().find(|known| known.name == listener.get().name);
                self.say("listener", text, origin.map(|known| &known.at.origin));
                Ok(listener)
            }
            None => {
                let known = gateway.listeners.iter().map(|listener| {
                    let hosts = listener.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    format!("`{hosts}:{}`", listener.port)
                });
                let known = known.collect::<Vec<_>>().join(", ");
                let text =
                    format!("no listener of `{}` takes `{shown}:{port}`; there are {known}", gateway.id());
                self.say("listener", text, Some(&gateway.at.origin));
                Err(Box::new(respond(404, None)))
            }
        }
    }

    /// Says what the gateway's own policies decide.
    fn judge(
        &mut self,
        gateway: &Gateway,
        answer: &Authorization<'_>,
        status: Option<u16>,
    ) -> Result<(), Box<Trace>> {
        let id = gateway.id();
        let caller = caller(self.question.address);
        for audit in &answer.audits {
            self.say("access", format!("`{id}` records it: {}", audit.object), Some(audit));
        }
        self.audits = answer.audits.iter().map(|origin| Place::from(*origin)).collect();
        let told = |origin: &Origin, allowed| {
            let Origin { object, rule, file, line } = origin.clone();
            Access { allowed, policy: object, rule, file, line, status: None }
        };
        match &answer.verdict {
            Ok(permit) => {
                let origin = permit.origin();
                self.say("access", format!("`{id}` lets {caller} in: {}", origin.object), Some(origin));
                self.admission = Some(told(origin, true));
                Ok(())
            }
            Err(denial) => {
                let text = format!("`{id}` refuses {caller}: {}", denial.origin.object);
                self.say("access", text, Some(denial.origin));
                let access = Some(told(denial.origin, false));
                self.admission = access.clone();
                Err(Box::new(Trace {
                    decision: Decision::Deny,
                    access,
                    ..Trace { status, ..respond(403, None) }
                }))
            }
        }
    }
}

fn caller(address: IpAddr) -> String {
    match address.is_unspecified() {
        true => "a caller from outside".to_owned(),
        false => format!("a caller from {address}"),
    }
}
