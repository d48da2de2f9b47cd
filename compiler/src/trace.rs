//! What would happen to one request: the ordered decisions, each with the file and line that made it.
//!
//! Nothing is simulated. The caller's and the callee's bodies are lowered as for a release, and the very functions of
//! [`weft_bundle::engine`] that the proxies call decide on them. A split is shown as its shares, not drawn.

mod question;
mod answer;
mod access;
mod before;
mod token;
mod direct;
mod connection;
mod outside;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use weft_bundle::body::{Action, Backend, Fraction, Mirror, Origin, Rule, Target, UpstreamTls};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{self, BuildError, Engine, Grant, Request, Routed};

use self::access::Answer;
pub use self::answer::{Access, Arriving, BackendShare, Decision, Place, Step, Trace};
use self::outside::Entrance;
pub use self::question::{From, Question, QuestionError, Stranger};
use self::token::Passed;
use crate::diagnostic::hint;
use crate::lower::{Subject, lower_subject};
use crate::model::callers::dependencies;
use crate::model::{Mesh, Service, ServiceIndex};

/// Traces a request through a mesh.
///
/// # Errors
/// When a body cannot be loaded, which is a fault of the compiler.
pub fn trace(mesh: &Mesh, question: &Question) -> Result<Trace, BuildError> {
    Tracer::new(mesh).trace(question)
}

/// Traces many requests through one mesh: the body of a service is lowered and compiled once.
#[derive(Debug)]
pub struct Tracer<'m> {
    mesh: &'m Mesh,
    engines: BTreeMap<Subject, Arc<Engine>>,
}

impl<'m> Tracer<'m> {
    /// For requests through this mesh.
    pub fn new(mesh: &'m Mesh) -> Self {
        Self { mesh, engines: BTreeMap::new() }
    }

    /// Traces one request.
    ///
    /// # Errors
    /// When a body cannot be loaded, which is a fault of the compiler.
    pub fn trace(&mut self, question: &Question) -> Result<Trace, BuildError> {
        let (steps, audits) = (Vec::new(), Vec::new());
        let mut run = Run { tracer: self, question, steps, admission: None, audits, passed: None };
        let mut trace = match question.scheme.as_str() {
            "tcp" | "tls" => run.connection()?,
            _ => run.run()?,
        };
        (trace.steps, trace.admission, trace.audits) = (run.steps, run.admission, run.audits);
        Ok(trace)
    }

    /// The engine that the proxies of a service run.
    ///
    /// # Errors
    /// When its body cannot be loaded, which is a fault of the compiler.
    pub fn engine(&mut self, service: ServiceIndex) -> Result<Arc<Engine>, BuildError> {
        self.engine_of(Subject::Service(service))
    }

    fn engine_of(&mut self, subject: Subject) -> Result<Arc<Engine>, BuildError> {
        if let Some(engine) = self.engines.get(&subject) {
            return Ok(Arc::clone(engine));
        }
        let engine = Arc::new(Engine::build(Arc::new(lower_subject(self.mesh, subject)))?);
        self.engines.insert(subject, Arc::clone(&engine));
        Ok(engine)
    }
}

/// One request on its way.
struct Run<'t, 'm> {
    tracer: &'t mut Tracer<'m>,
    question: &'t Question,
    steps: Vec<Step>,
    /// What the gateway says, for a caller from outside, and its audit rules that record it.
    admission: Option<Access>,
    audits: Vec<Place>,
    /// What the gateway passes on, if it reads tokens.
    passed: Option<Passed>,
}

impl Run<'_, '_> {
    fn run(&mut self) -> Result<Trace, BuildError> {
        let question = self.question;
        let path = match CanonicalPath::parse(&question.path) {
            Ok(path) => path,
            Err(refusal) => {
                self.say("frontend", refusal.to_string(), None);
                return Ok(respond(400, None));
            }
        };
        let (host, port) = engine::split_authority(&question.authority);
        let port = port.unwrap_or(if question.scheme == "https" { 443 } else { 80 });
        let request = question.request(&path);
        let subject = match &question.from {
            From::Service(caller) => Subject::Service(*caller),
            From::Gateway(gateway) => Subject::Gateway(*gateway),
            From::Peer(stranger) => return self.direct(stranger, host, port, &path),
        };
        let engine = self.tracer.engine_of(subject)?;
        let entrance = match subject {
            Subject::Gateway(gateway) => self.enter(&engine, gateway, (host, port), &request),
            Subject::Service(caller) => self.call(&engine, caller, (host, port)),
        };
        let frontend = match entrance {
            Ok(frontend) => frontend,
            Err(trace) => return Ok(*trace),
        };
        let passed = self.passed.take();
        let request = passed.as_ref().map_or(request, |passed| passed.request(&request));
        let routed = engine.route(frontend, &request);
        self.say_route(&routed);
        let grant = match self.cross_origin(&routed, &request) {
            Ok(grant) => grant,
            Err(trace) => return Ok(*trace),
        };
        match &routed.rule.action {
            Action::Respond { status, .. } => Ok(respond(*status, Some(routed.rule))),
            Action::Redirect(redirect) => {
                let location = engine::redirect_location(redirect, routed.matched_path(), &request);
                let rule = Some(Place::from(&routed.rule.origin));
                Ok(Trace {
                    decision: Decision::Redirect,
                    location: Some(location),
                    rule,
                    ..respond(redirect.status, None)
                })
            }
            Action::Forward(backends) => self.forward(&engine, backends, &routed, &request, grant.as_ref()),
        }
    }

    /// The frontend of the service that a caller of the mesh names.
    fn call<'e>(
        &mut self,
        engine: &'e Engine,
        caller: ServiceIndex,
        (host, port): (&str, u16),
    ) -> Entrance<'e> {
        let Some(frontend) = engine.frontend(host, port) else {
            let text = self.why_unknown(caller, host, port);
            self.say("frontend", text, None);
            return Err(Box::new(respond(502, None)));
        };
        let service = &frontend.get().service;
        self.say("frontend", format!("`{host}:{port}` is service `{service}`, port {port}"), None);
        let speaks = frontend.get().protocol;
        if !speaks.is_http() {
            let text = format!("port {port} speaks {}; there are no requests to route", speaks.as_str());
            self.say("frontend", text, None);
            return Err(Box::new(respond(502, None)));
        }
        Ok(frontend)
    }

    fn forward(
        &mut self,
        engine: &Engine,
        backends: &[Backend],
        routed: &Routed<'_>,
        request: &Request<'_>,
        grant: Option<&Grant<'_>>,
    ) -> Result<Trace, BuildError> {
        let rule = routed.rule;
        self.say_faults(rule);
        let rewrite = rule.rewrite.as_ref();
        let new_path = routed.rewritten_path(request.path);
        let path = match new_path.as_deref().map(CanonicalPath::parse) {
            Some(Ok(path)) => path,
            None => request.path.clone(),
            // The callee's proxy refuses it.
            Some(Err(refusal)) => {
                let text = format!("the path becomes `{}`: {refusal}", new_path.unwrap_or_default());
                self.say("rewrite", text, Some(&rule.origin));
                return Ok(respond(400, Some(rule)));
            }
        };
        if path != *request.path {
            self.say("rewrite", format!("the path becomes `{path}`"), Some(&rule.origin));
        }
        let authority = rewrite.and_then(|rewrite| rewrite.host.as_deref()).unwrap_or(request.authority);
        if authority != request.authority {
            self.say("rewrite", format!("the host becomes `{authority}`"), Some(&rule.origin));
        }
        let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        let mut shares = Vec::new();
        for backend in backends {
            let mut headers = request.headers.clone();
            engine::edit_headers(&rule.request_headers, &mut headers);
            engine::edit_headers(&backend.request_headers, &mut headers);
            let arriving = Request { path: &path, authority, headers: &headers, ..*request };
            let share = self.share(engine, backend, total, rule, Some(&arriving))?;
            shares.push(before::told(share, grant));
        }
        let mirrors = rule.mirrors.iter().filter_map(|mirror| self.copy(engine, mirror, rule)).collect();
        Ok(Trace { mirrors, ..settle(shares, rule) })
    }

    /// A copy that goes elsewhere; its weight is its share in millionths.
    fn copy(&mut self, engine: &Engine, mirror: &Mirror, rule: &Rule) -> Option<BackendShare> {
        let Fraction { numerator, denominator } = mirror.share;
        let cluster = engine.body().clusters.get(&mirror.cluster)?;
        let text = format!("{numerator} of {denominator} are copied to `{}`", mirror.cluster);
        self.say("mirror", text, Some(&rule.origin));
        let millionths = u64::from(numerator) * 1_000_000 / u64::from(denominator.max(1));
        Some(BackendShare {
            service: cluster.service.clone(),
            subset: cluster.subset.clone(),
            port: Some(cluster.port),
            weight: u32::try_from(millionths).unwrap_or(u32::MAX),
            status: None,
            access: None,
            audits: Vec::new(),
            arriving: None,
        })
    }

    fn share(
        &mut self,
        engine: &Engine,
        backend: &Backend,
        total: u64,
        rule: &Rule,
        request: Option<&Request<'_>>,
    ) -> Result<BackendShare, BuildError> {
        let weight = backend.weight;
        let per_cent = per_cent(weight, total);
        let nowhere = |status| BackendShare {
            service: String::new(),
            subset: None,
            port: None,
            weight,
            status: Some(status),
            access: None,
            audits: Vec::new(),
            arriving: None,
        };
        let id = match &backend.target {
            Target::Cluster(id) => id,
            Target::Status(status) => {
                self.say("split", format!("{per_cent} % is answered with {status}"), Some(&rule.origin));
                return Ok(nowhere(*status));
            }
        };
        let Some(cluster) = engine.body().clusters.get(id) else { return Ok(nowhere(503)) };
        let count = cluster.endpoints.len();
        let plural = if count == 1 { "" } else { "s" };
        self.say(
            "split",
            format!("{per_cent} % goes to `{id}`, {count} endpoint{plural}"),
            Some(&rule.origin),
        );
        let identity = match cluster.tls {
            UpstreamTls::Mutual(_) => Some(&engine.body().identity),
            UpstreamTls::Off | UpstreamTls::Server(_) => None,
        };
        let mut response = HeaderMap::new();
        engine::edit_headers(&backend.response_headers, &mut response);
        engine::edit_headers(&rule.response_headers, &mut response);
        let Answer { access, audits, passed } = match weight {
            0 => Answer::default(),
            // Outside the mesh there is nobody of ours to ask.
            _ if cluster.external => Answer::default(),
            _ => self.ask(&cluster.service, cluster.port, identity, request)?,
        };
        let passed = |request: &Request<'_>| match &passed {
            Some(passed) => arriving(&passed.request(request), &response),
            None => arriving(request, &response),
        };
        Ok(BackendShare {
            service: cluster.service.clone(),
            subset: cluster.subset.clone(),
            port: Some(cluster.port),
            weight,
            status: cluster.endpoints.is_empty().then_some(503),
            access,
            audits,
            arriving: request.map(passed),
        })
    }

    fn say_route(&mut self, routed: &Routed<'_>) {
        let origin = &routed.rule.origin;
        let name = origin.rule.as_ref().map(|rule| format!(" `{rule}`")).unwrap_or_default();
        let text = match (routed.entry, &routed.rule.action) {
            (Some((place, _)), _) => format!("entry {} matches: {}{name}", place + 1, origin.object),
            (None, Action::Forward(_)) => "no route is attached; it goes to the service itself".to_owned(),
            (None, Action::Respond { .. } | Action::Redirect(_)) => {
                format!("no entry matches, and {} decides for this service", origin.object)
            }
        };
        self.say("route", text, Some(origin));
    }

    fn why_unknown(&self, caller: ServiceIndex, host: &str, port: u16) -> String {
        let mesh = self.tracer.mesh;
        let caller_service = mesh.service(caller);
        let Some(index) = named(mesh, host, &caller_service.namespace) else {
            return unknown_host(mesh, host);
        };
        let service = mesh.service(index);
        if dependencies(mesh, caller).contains(&index) {
            return no_such_port(service, port);
        }
        let reason =
            if caller_service.calls.is_some() { "does not declare it in `calls`" } else { "may not call it" };
        format!(
            "the bundle of `{}` does not hold `{}`, because it {reason}",
            caller_service.id(),
            service.id()
        )
    }

    fn say(&mut self, stage: &'static str, text: String, origin: Option<&Origin>) {
        let file = origin.map(|origin| origin.file.clone());
        self.steps.push(Step { stage, text, file, line: origin.map(|origin| origin.line) });
    }
}

/// What becomes of all shares together.
fn settle(shares: Vec<BackendShare>, rule: &Rule) -> Trace {
    let weighted = || shares.iter().filter(|share| share.weight > 0);
    let answers = || weighted().filter_map(|share| share.access.clone());
    let access = answers().find(|access| !access.allowed).or_else(|| answers().next());
    let refused = answers().next().is_some() && answers().all(|access| !access.allowed);
    let nowhere = weighted().all(|share| share.status.is_some());
    let (decision, status) = match (refused, nowhere) {
        (true, _) => (Decision::Deny, access.as_ref().map(Access::refusal)),
        (false, true) => (Decision::Respond, weighted().find_map(|share| share.status).or(Some(503))),
        (false, false) => (Decision::Forward, None),
    };
    let rule = Some(Place::from(&rule.origin));
    Trace {
        decision,
        status,
        location: None,
        backends: shares,
        mirrors: Vec::new(),
        rule,
        admission: None,
        audits: Vec::new(),
        access,
        steps: Vec::new(),
    }
}

/// The service of the mesh that a host name means to callers of a namespace.
fn named(mesh: &Mesh, host: &str, namespace: &str) -> Option<ServiceIndex> {
    let mut labels = host.split('.');
    let name = labels.next().unwrap_or_default();
    mesh.find(labels.next().unwrap_or(namespace), name)
}

fn unknown_host(mesh: &Mesh, host: &str) -> String {
    let name = host.split('.').next().unwrap_or_default();
    let hint = hint(name, mesh.services.iter().map(|service| service.name.as_str()));
    format!("no service of this mesh is called `{host}`{hint}")
}

fn no_such_port(service: &Service, port: u16) -> String {
    let ports = service.ports.iter().map(|port| port.number.to_string()).collect::<Vec<_>>().join(", ");
    format!("service `{}` has no port {port}; it has {ports}", service.id())
}

fn arriving(request: &Request<'_>, response: &HeaderMap) -> Arriving {
    Arriving {
        authority: request.authority.to_owned(),
        path: request.path.to_string(),
        headers: fields(request.headers),
        response_headers: fields(response),
    }
}

/// Header fields by name, in the order of their names.
fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut fields: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    // Stable: the values of one name stay in their order.
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields
}

/// `90`, `33.3`, `<0.1`: to one decimal, which is left out where it says nothing.
pub(crate) fn per_cent(weight: u32, total: u64) -> String {
    let tenths = (u64::from(weight) * 1000).checked_div(total).unwrap_or(0);
    match (tenths / 10, tenths % 10) {
        (0, 0) if weight > 0 => "<0.1".to_owned(),
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

fn respond(status: u16, rule: Option<&Rule>) -> Trace {
    Trace {
        decision: Decision::Respond,
        status: Some(status),
        location: None,
        backends: Vec::new(),
        mirrors: Vec::new(),
        rule: rule.map(|rule| Place::from(&rule.origin)),
        admission: None,
        audits: Vec::new(),
        access: None,
        steps: Vec::new(),
    }
}
