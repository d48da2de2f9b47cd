//! What would happen to one request: the ordered decisions, each with the file and line that made it.
//!
//! Nothing is simulated. The caller's and the callee's bodies are lowered as for a release, and the very functions of
//! [`weft_bundle::engine`] that the proxies call decide on them. A split is shown as its shares, not drawn.

mod connection;
mod outside;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use weft_bundle::body::{Action, Backend, Fraction, Mirror, Origin, Rule, Target, UpstreamTls};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{self, BuildError, Engine, Facts, Peer, Request, Routed};
use weft_bundle::spiffe::SpiffeId;

use crate::diagnostic::did_you_mean;
use crate::lower::{lower, lower_gateway};
use crate::model::callers::dependencies;
use crate::model::{GatewayIndex, Mesh, ServiceIndex};

/// The request to trace.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who calls.
    pub from: Caller,
    /// The address it calls from, for rules about networks.
    pub address: IpAddr,
    /// The method.
    pub method: String,
    /// `http` or `https`; `tcp` or `tls` for a connection whose requests are not looked at.
    pub scheme: String,
    /// Host and port.
    pub authority: String,
    /// The path as sent. Of a TLS connection: the server name, after a `/`, if it is not the host.
    pub path: String,
    /// What follows `?`.
    pub query: Option<String>,
    /// Header fields.
    pub headers: HeaderMap,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A service of the mesh.
    Service(ServiceIndex),
    /// Someone outside, at a gateway.
    Gateway(GatewayIndex),
}

impl From<ServiceIndex> for Caller {
    fn from(service: ServiceIndex) -> Self {
        Self::Service(service)
    }
}

impl From<GatewayIndex> for Caller {
    fn from(gateway: GatewayIndex) -> Self {
        Self::Gateway(gateway)
    }
}

/// Why a text is not a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionError(String);

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for QuestionError {}

impl Question {
    /// The request that a text such as `GET http://reviews:9080/reviews/1?x=y` and headers such as `end-user: jason`
    /// describe. Without a method it is `GET`. `tcp://db:5432` and `tls://db:443` are connections.
    ///
    /// # Errors
    /// What is wrong with the text or a header.
    pub fn parse(
        from: impl Into<Caller>,
        address: IpAddr,
        text: &str,
        headers: &[String],
    ) -> Result<Self, QuestionError> {
        let (method, url) = text.trim().split_once(' ').unwrap_or(("GET", text.trim()));
        let wrong = |why: &str| {
            QuestionError(format!("`{text}` is not a request: {why}; write `GET http://reviews:9080/path`"))
        };
        let method = http::Method::from_bytes(method.as_bytes())
            .map_err(|_| wrong("the method has odd characters"))?;
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(|| wrong("it has no `http://host`"))?;
        let connection = matches!(scheme, "tcp" | "tls");
        if !connection && scheme != "http" && scheme != "https" {
            return Err(wrong("the scheme is not `http` or `https`"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (host, port) = engine::split_authority(authority);
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        if authority.contains('@') {
            return Err(wrong("a user name is no part of it"));
        }
        if authority.len() > host.len() && port.is_none_or(|port| port == 0) {
            return Err(wrong("the port is not a number from 1 to 65535"));
        }
        if connection && port.is_none() {
            return Err(wrong("a connection is to a port"));
        }
        if target.contains('#') {
            return Err(wrong("what follows `#` is never sent"));
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let headers = headers.iter().map(|line| header(line)).collect::<Result<HeaderMap, _>>()?;
        Ok(Self {
            from: from.into(),
            address,
            method: method.to_string(),
            scheme: scheme.to_owned(),
            authority: authority.to_ascii_lowercase(),
            path: path.to_owned(),
            query,
            headers,
        })
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), QuestionError> {
    let wrong = || QuestionError(format!("`{line}` is not a header; write `name: value`"));
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?))
}

/// What would happen.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// In a word.
    pub decision: Decision,
    /// The status, where the mesh itself answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where a redirect points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The shares of a split.
    pub backends: Vec<BackendShare>,
    /// Copies that are sent elsewhere; the weight is of a million requests.
    pub mirrors: Vec<BackendShare>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Place>,
    /// The verdict of the first backend that refuses, else of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Everything in the order in which it is decided.
    pub steps: Vec<Step>,
}

/// What happens to a request, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It reaches a backend.
    Forward,
    /// It is answered with another place to go.
    Redirect,
    /// The mesh itself answers.
    Respond,
    /// No backend lets it in.
    Deny,
}

/// A share of a split.
#[derive(Clone, Debug, Serialize)]
pub struct BackendShare {
    /// `namespace/name`; empty for a backend that does not exist.
    pub service: String,
    /// The subset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The share, relative to its neighbours.
    pub weight: u32,
    /// The status that answers this share, if it goes nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the backend lets it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// A rule, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Kind and name.
    pub object: String,
    /// The rule in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl From<&Origin> for Place {
    fn from(origin: &Origin) -> Self {
        Self {
            object: origin.object.clone(),
            name: origin.rule.clone(),
            file: origin.file.clone(),
            line: origin.line,
        }
    }
}

/// A verdict, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Does it pass?
    pub allowed: bool,
    /// The policy that decided.
    pub policy: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The stage: `listener`, `frontend`, `route`, `rewrite`, `split`, `mirror`, `access`.
    pub stage: &'static str,
    /// What was decided, in words.
    pub text: String,
    /// The file that decided, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// Traces a request through a mesh.
///
/// # Errors
/// When a body cannot be loaded, which is a fault of the compiler.
pub fn trace(mesh: &Mesh, question: &Question) -> Result<Trace, BuildError> {
    let body = match question.from {
        Caller::Service(service) => lower(mesh, service),
        Caller::Gateway(gateway) => lower_gateway(mesh, gateway),
    };
    let engine = Engine::build(Arc::new(body))?;
    let mut tracer = Tracer { mesh, question, engine: &engine, steps: Vec::new() };
    let mut trace = match question.scheme.as_str() {
        "tcp" | "tls" => tracer.connection()?,
        _ => tracer.run()?,
    };
    trace.steps = tracer.steps;
    Ok(trace)
}

struct Tracer<'t> {
    mesh: &'t Mesh,
    question: &'t Question,
    engine: &'t Engine,
    steps: Vec<Step>,
}

impl Tracer<'_> {
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
        let request = Request {
            method: &question.method,
            scheme: &question.scheme,
            authority: &question.authority,
            path: &path,
            query: question.query.as_deref(),
            headers: &question.headers,
        };
        let frontend = match question.from {
            Caller::Gateway(gateway) => match self.enter(gateway, (host, port), &request) {
                Ok(frontend) => frontend,
                Err(trace) => return Ok(*trace),
            },
            Caller::Service(caller) => {
                let Some(frontend) = self.engine.frontend(host, port) else {
                    let text = self.why_unknown(caller, host, port);
                    self.say("frontend", text, None);
                    return Ok(respond(502, None));
                };
                let service = &frontend.get().service;
                self.say("frontend", format!("`{host}:{port}` is service `{service}`, port {port}"), None);
                let speaks = frontend.get().protocol;
                if !speaks.is_http() {
                    let text =
                        format!("port {port} speaks {}; there are no requests to route", speaks.as_str());
                    self.say("frontend", text, None);
                    return Ok(respond(502, None));
                }
                frontend
            }
        };
        let routed = self.engine.route(frontend, &request);
        self.say_route(&routed);
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
            Action::Forward(backends) => self.forward(backends, &routed, &request),
        }
    }

    fn forward(
        &mut self,
        backends: &[Backend],
        routed: &Routed<'_>,
        request: &Request<'_>,
    ) -> Result<Trace, BuildError> {
        let rule = routed.rule;
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
            shares.push(self.share(backend, total, rule, Some(&arriving))?);
        }
        let mirrors = rule.mirrors.iter().filter_map(|mirror| self.copy(mirror, rule)).collect();
        Ok(Trace { mirrors, ..settle(shares, rule) })
    }

    fn copy(&mut self, mirror: &Mirror, rule: &Rule) -> Option<BackendShare> {
        let Fraction { numerator, denominator } = mirror.share;
        let cluster = self.engine.body().clusters.get(&mirror.cluster)?;
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
        })
    }

    fn share(
        &mut self,
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
        };
        let id = match &backend.target {
            Target::Cluster(id) => id,
            Target::Status(status) => {
                self.say("split", format!("{per_cent} % is answered with {status}"), Some(&rule.origin));
                return Ok(nowhere(*status));
            }
        };
        let Some(cluster) = self.engine.body().clusters.get(id) else { return Ok(nowhere(503)) };
        let count = cluster.endpoints.len();
        let plural = if count == 1 { "" } else { "s" };
        self.say(
            "split",
            format!("{per_cent} % goes to `{id}`, {count} endpoint{plural}"),
            Some(&rule.origin),
        );
        let identity = match cluster.tls {
            UpstreamTls::Mutual(_) => Some(&self.engine.body().identity),
            UpstreamTls::Off | UpstreamTls::Server(_) => None,
        };
        let access =
            if weight == 0 { None } else { self.ask(&cluster.service, cluster.port, identity, request)? };
        Ok(BackendShare {
            service: cluster.service.clone(),
            subset: cluster.subset.clone(),
            port: Some(cluster.port),
            weight,
            status: cluster.endpoints.is_empty().then_some(503),
            access,
        })
    }

    /// What the callee's proxy says.
    fn ask(
        &mut self,
        service: &str,
        port: u16,
        identity: Option<&SpiffeId>,
        request: Option<&Request<'_>>,
    ) -> Result<Option<Access>, BuildError> {
        let found = service.split_once('/').and_then(|(namespace, name)| self.mesh.find(namespace, name));
        let Some(callee) = found else { return Ok(None) };
        let Some(number) = self.mesh.service(callee).port(port).map(|port| port.target) else {
            return Ok(None);
        };
        let engine = Engine::build(Arc::new(lower(self.mesh, callee)))?;
        let Some(inbound) = engine.inbound(number) else { return Ok(None) };
        let address = match self.question.from {
            Caller::Service(_) => self.question.address,
            // The callee sees the gateway, whose address nobody knows here.
            Caller::Gateway(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let answer = engine.decide(inbound, &Facts { request, ..Facts::of(Peer { identity, address }) });
        for audit in &answer.audits {
            self.say("access", format!("`{service}` records it: {}", audit.object), Some(audit));
        }
        let caller = identity.map_or_else(|| "a caller without identity".to_owned(), |id| format!("`{id}`"));
        let (allowed, origin, text) = match &answer.verdict {
            Ok(permit) => {
                (true, permit.origin(), format!("`{service}` lets {caller} in: {}", permit.origin().object))
            }
            Err(denial) if denial.by_default => {
                let text = format!(
                    "`{service}` refuses {caller}: no rule allows it, and {} denies the rest",
                    denial.origin.object
                );
                (false, denial.origin, text)
            }
            Err(denial) => {
                (false, denial.origin, format!("`{service}` refuses {caller}: {}", denial.origin.object))
            }
        };
        self.say("access", text, Some(origin));
        let Origin { object, file, line, .. } = origin.clone();
        Ok(Some(Access { allowed, policy: object, file, line }))
    }

    fn say_route(&mut self, routed: &Routed<'_>) {
        let origin = &routed.rule.origin;
        let name = origin.rule.as_ref().map(|rule| format!(" `{rule}`")).unwrap_or_default();
        let text = match (routed.entry, &routed.rule.action) {
            (Some((place, _)), _) => format!("entry {} matches: {}{name}", place + 1, origin.object),
            (None, Action::Forward(_)) => "no route is attached; it goes to the service itself".to_owned(),
            (None, Action::Respond { .. } | Action::Redirect(_)) => {
                let of = match self.question.from {
                    Caller::Service(_) => "service",
                    Caller::Gateway(_) => "listener",
                };
                format!("no entry matches, and {} decides for this {of}", origin.object)
            }
        };
        self.say("route", text, Some(origin));
    }

    fn why_unknown(&self, from: ServiceIndex, host: &str, port: u16) -> String {
        let caller = self.mesh.service(from);
        let mut labels = host.split('.');
        let name = labels.next().unwrap_or_default();
        let namespace = labels.next().unwrap_or(&caller.namespace);
        let Some(index) = self.mesh.find(namespace, name) else {
            let near = did_you_mean(name, self.mesh.services.iter().map(|service| service.name.as_str()));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return format!("no service of this mesh is called `{host}`{hint}");
        };
        let service = self.mesh.service(index);
        if dependencies(self.mesh, from).contains(&index) {
            let ports =
                service.ports.iter().map(|port| port.number.to_string()).collect::<Vec<_>>().join(", ");
            return format!("service `{}` has no port {port}; it has {ports}", service.id());
        }
        let reason =
            if caller.calls.is_some() { "does not declare it in `calls`" } else { "may not call it" };
        format!("the bundle of `{}` does not hold `{}`, because it {reason}", caller.id(), service.id())
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
        (true, _) => (Decision::Deny, Some(403)),
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
        access,
        steps: Vec::new(),
    }
}

/// `90`, `33.3`, `<0.1`: to one decimal, which is left out where it says nothing.
fn per_cent(weight: u32, total: u64) -> String {
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
        access: None,
        steps: Vec::new(),
    }
}
