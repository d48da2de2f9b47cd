//! Connections whose requests are not looked at: `tcp://service:port`, and `tls://service:port/name` for one that asks for
//! a server name.

use weft_bundle::body::{Action, Rule};
use weft_bundle::engine::{self, BuildError, Connection};

use super::{From, Run, Trace, respond, settle};
use crate::lower::Subject;

impl Run<'_, '_> {
    pub(super) fn connection(&mut self) -> Result<Trace, BuildError> {
        let question = self.question;
        let (host, port) = engine::split_authority(&question.authority);
        let port = port.unwrap_or_default();
        let asked = question.path.strip_prefix('/').filter(|name| !name.is_empty()).unwrap_or(host);
        let server_name = (question.scheme == "tls").then_some(asked);
        let subject = match &question.from {
            From::Service(caller) => Subject::Service(*caller),
            From::Gateway(gateway) => Subject::Gateway(*gateway),
            From::Peer(_) => {
                let text = "what a client without a proxy connects to is asked with `http://`";
                self.say("frontend", text.to_owned(), None);
                return Ok(closed(None));
            }
        };
        let engine = self.tracer.engine_of(subject)?;
        let frontend = match subject {
            Subject::Gateway(gateway) => match self.connect(&engine, gateway, (host, port), server_name) {
                Ok(frontend) => frontend,
                Err(trace) => return Ok(Trace { status: None, ..*trace }),
            },
            Subject::Service(caller) => {
                let Some(frontend) = engine.frontend(host, port) else {
                    let text = self.why_unknown(caller, host, port);
                    self.say("frontend", text, None);
                    return Ok(closed(None));
                };
                let service = &frontend.get().service;
                self.say("frontend", format!("`{host}:{port}` is service `{service}`, port {port}"), None);
                if frontend.get().protocol.is_http() {
                    self.say("frontend", format!("port {port} takes requests; ask with `http://`"), None);
                    return Ok(closed(None));
                }
                frontend
            }
        };
        if let Some(name) = server_name {
            self.say("frontend", format!("it asks for the server name `{name}`"), None);
        }
        let routed =
            engine.route_connection(frontend, &Connection { server_name, destination: host.parse().ok() });
        self.say_route(&routed);
        let Action::Forward(backends) = &routed.rule.action else { return Ok(closed(Some(routed.rule))) };
        let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        let mut shares = Vec::new();
        for backend in backends {
            shares.push(self.share(&engine, backend, total, routed.rule, None)?);
        }
        // Nothing answers a connection; it is closed.
        Ok(Trace { status: None, ..settle(shares, routed.rule) })
    }
}

fn closed(rule: Option<&Rule>) -> Trace {
    Trace { status: None, ..respond(502, rule) }
}
