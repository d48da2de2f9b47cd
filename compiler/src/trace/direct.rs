//! Clients without a proxy, who connect to the workloads of a service themselves.

use http::HeaderMap;
use weft_bundle::body::{Origin, PeerTls};
use weft_bundle::engine::BuildError;
use weft_bundle::engine::path::CanonicalPath;

use super::access::Answer;
use super::{
    Access, BackendShare, Decision, Run, Stranger, Trace, arriving, named, no_such_port, respond,
    unknown_host,
};

impl Run<'_, '_> {
    /// A client that connects to the callee's workloads itself.
    pub(super) fn direct(
        &mut self,
        stranger: &Stranger,
        host: &str,
        port: u16,
        path: &CanonicalPath,
    ) -> Result<Trace, BuildError> {
        let mesh = self.tracer.mesh;
        let known =
            |host: &str| matches!(host.splitn(3, '.').nth(2), None | Some("svc" | "svc.cluster.local"));
        let Some(callee) = named(mesh, host, &stranger.namespace).filter(|_| known(host)) else {
            self.say("frontend", unknown_host(mesh, host), None);
            return Ok(respond(502, None));
        };
        let service = mesh.service(callee);
        let Some(found) = service.port(port).filter(|port| port.protocol.is_http()) else {
            let text = match service.port(port) {
                Some(found) => {
                    format!("port {port} speaks {}; there are no requests", found.protocol.as_str())
                }
                None => no_such_port(service, port),
            };
            self.say("frontend", text, None);
            return Ok(respond(502, None));
        };
        self.say("frontend", format!("a client connects to port {port} of `{}` itself", service.id()), None);
        let request = self.question.request(path);
        let answer = match (found.peer_tls, &stranger.identity) {
            (PeerTls::Strict, None) => {
                let text = format!("`{}` takes no connection without a certificate", service.id());
                self.say("access", text, Some(&service.at.origin));
                let Origin { object, rule, file, line } = service.at.origin.clone();
                let access = Access { allowed: false, policy: object, rule, file, line, status: None };
                Answer { access: Some(access), ..Answer::default() }
            }
            (PeerTls::Off, _) => self.ask(&service.id(), port, None, Some(&request))?,
            (PeerTls::Strict | PeerTls::Permissive, identity) => {
                self.ask(&service.id(), port, identity.as_ref(), Some(&request))?
            }
        };
        let Answer { access, audits, passed } = answer;
        let passed = passed.as_ref().map_or(request, |passed| passed.request(&request));
        let connects = found.peer_tls != PeerTls::Strict || stranger.identity.is_some();
        let allowed = access.as_ref().is_none_or(|access| access.allowed);
        let share = BackendShare {
            service: service.id(),
            subset: None,
            port: Some(port),
            weight: 1,
            status: None,
            access: access.clone(),
            audits,
            arriving: Some(arriving(&passed, &HeaderMap::new())),
        };
        Ok(Trace {
            decision: if allowed { Decision::Forward } else { Decision::Deny },
            // Without a connection there is nobody to answer.
            status: access.as_ref().filter(|_| !allowed && connects).map(Access::refusal),
            backends: vec![share],
            access,
            ..respond(403, None)
        })
    }
}
