//! What a caller sees of a service: frontends with their rules, and the clusters behind them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weft_bundle::body::{
    Action, Backend, Cluster, Entry, Frontend, HeaderEdits, Mirror, Origin, Retry, Rule, Target, Timeouts,
};
use weft_bundle::duration::DurationText;

use super::cluster::{Clusters, cluster};
use crate::model::routing::{self, FrontendPlan, PlannedEntry, RuleSettings};
use crate::model::{
    BackendRef, BackendTarget, Mesh, MirrorRef, Port, RouteKind, RuleAction, Service, ServiceIndex, Settings,
};

/// What a caller sees of a service.
pub(crate) struct Seen {
    /// One per port, sorted.
    pub(crate) frontends: Vec<Frontend>,
    /// The clusters that they name, by id.
    pub(crate) clusters: BTreeMap<String, Cluster>,
    /// Whether more of the caller counted than [`Circle`] tells.
    pub(crate) personal: bool,
}

/// What a caller sees of a service.
pub(crate) fn seen(mesh: &Mesh, caller: ServiceIndex, target: ServiceIndex) -> Seen {
    let service = mesh.service(target);
    let caller = mesh.service(caller);
    let mut clusters = Clusters::new(caller);
    let frontend = |port: &Port| {
        let (entries, rules, otherwise) = decisions(mesh, target, port, caller, &mut clusters);
        Frontend {
            service: service.id(),
            port: port.number,
            protocol: port.protocol,
            hosts: hosts(service, &caller.namespace),
            addresses: service.addresses.clone(),
            entries,
            rules,
            otherwise,
        }
    };
    let mut frontends: Vec<Frontend> = service.ports.iter().map(frontend).collect();
    frontends.sort_by_key(|frontend| frontend.port);
    Seen { frontends, personal: clusters.personal.get(), clusters: clusters.made }
}

/// Callers that see the same of a service, unless what they see is [`Seen::personal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Circle<'m> {
    target: ServiceIndex,
    /// One that sees the same lists.
    namespace: &'m str,
    /// Whether they are of the service's own namespace, where it has a short name.
    at_home: bool,
}

impl<'m> Circle<'m> {
    /// That of a caller; none if labels of the caller count.
    pub(crate) fn of(mesh: &'m Mesh, caller: ServiceIndex, target: ServiceIndex) -> Option<Self> {
        let namespace = mesh.service(caller).namespace.as_str();
        let at_home = mesh.service(target).namespace == namespace;
        Some(Self { target, namespace: mesh.frontends.alike(target, namespace)?, at_home })
    }
}

/// The names a service answers to, sorted: the short one only inside its own namespace. One outside the mesh has only the
/// names that its document gives it.
fn hosts(service: &Service, caller_namespace: &str) -> Vec<String> {
    let Service { namespace, name, .. } = service;
    let mut hosts = service.hosts.clone();
    if !service.external {
        hosts.extend([".svc.cluster.local", ".svc", ""].map(|suffix| format!("{name}.{namespace}{suffix}")));
        if namespace == caller_namespace {
            hosts.push(name.to_owned());
        }
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

/// The ordered entries of a frontend, the rules they lead to, and what happens to the rest.
fn decisions(
    mesh: &Mesh,
    target: ServiceIndex,
    port: &Port,
    caller: &Service,
    clusters: &mut Clusters<'_>,
) -> (Vec<Entry>, Vec<Rule>, Rule) {
    let plan = routing::plan(mesh, target, port, caller);
    let view = clusters.view(mesh.service(target));
    let mut settings = RuleSettings::new(mesh, view, (target, port.number));
    let (entries, rules) = list(mesh, &plan, |place| settings.of(place), clusters);
    let otherwise = match plan.routes.first().and_then(|index| mesh.routes.get(*index)) {
        Some(route) => respond(route.at.origin.clone(), 404),
        None => to_service_itself(mesh, target, port, clusters),
    };
    (entries, rules, otherwise)
}

/// The entries of a plan, and the rules they lead to, each once; `settings` are those of a route's rule.
pub(super) fn list(
    mesh: &Mesh,
    plan: &FrontendPlan<'_>,
    mut settings: impl FnMut((usize, usize)) -> Arc<Settings>,
    clusters: &mut Clusters<'_>,
) -> (Vec<Entry>, Vec<Rule>) {
    let mut entries = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    let mut numbers: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for planned in &plan.entries {
        let next = rules.len();
        let place = (planned.route_index, planned.entry.rule);
        let number = *numbers.entry(place).or_insert(next);
        if number == next {
            rules.push(rule(mesh, planned, &settings(place), clusters));
        }
        entries.push(Entry { condition: planned.condition(), rule: number });
    }
    (entries, rules)
}

fn rule(mesh: &Mesh, planned: &PlannedEntry<'_>, settings: &Settings, clusters: &mut Clusters<'_>) -> Rule {
    let source = planned.rule();
    let kind = planned.route.kind;
    let action = match &source.action {
        RuleAction::Forward(backends) => {
            let backends = backends.iter().map(|backend| self::backend(mesh, backend, kind, clusters));
            Action::Forward(backends.collect())
        }
        RuleAction::Redirect(redirect) => Action::Redirect((**redirect).clone()),
        RuleAction::Respond { status, body } => Action::Respond { status: *status, body: body.clone() },
    };
    let forwards = matches!(action, Action::Forward(_));
    let speaks = match kind {
        RouteKind::Http | RouteKind::Grpc => Speaks::Requests,
        RouteKind::Tls | RouteKind::Tcp | RouteKind::Udp => Speaks::Bytes,
    };
    Rule {
        origin: source.at.origin.clone(),
        action,
        request_headers: source.headers.request(),
        response_headers: source.headers.response(),
        rewrite: source.rewrite.as_deref().cloned(),
        timeouts: if forwards { timeouts(settings, speaks) } else { Timeouts::default() },
        retry: if forwards { retry(settings) } else { None },
        mirrors: source.mirrors.iter().filter_map(|mirror| self::mirror(mesh, mirror, clusters)).collect(),
        cors: source.cors.as_deref().cloned(),
        fault: settings.fault.clone().filter(|_| forwards),
        session: settings.session.clone().filter(|_| forwards),
    }
}

fn mirror(mesh: &Mesh, source: &MirrorRef, clusters: &mut Clusters<'_>) -> Option<Mirror> {
    let cluster = cluster(mesh, source.target.as_ref()?, clusters)?;
    Some(Mirror { cluster, share: source.share })
}

fn backend(mesh: &Mesh, source: &BackendRef, kind: RouteKind, clusters: &mut Clusters<'_>) -> Backend {
    let target = match &source.target {
        // A subset that these callers do not know has no endpoints.
        Some(target) => cluster(mesh, target, clusters).map_or(Target::Status(503), Target::Cluster),
        // A caller of gRPC reads UNAVAILABLE from it (Gateway API v1, `GRPCRouteRule.backendRefs`).
        None if kind == RouteKind::Grpc => Target::Status(503),
        None => Target::Status(500),
    };
    Backend {
        target,
        weight: source.weight,
        request_headers: source.headers.request(),
        response_headers: source.headers.response(),
    }
}

fn to_service_itself(mesh: &Mesh, target: ServiceIndex, port: &Port, clusters: &mut Clusters<'_>) -> Rule {
    let service = mesh.service(target);
    let view = clusters.view(service);
    let settings = routing::settings_in(mesh, view, (target, port.number), None, None);
    let itself = BackendTarget { service: target, port: port.number, subset: None };
    let backend = Backend {
        target: cluster(mesh, &itself, clusters).map_or(Target::Status(503), Target::Cluster),
        weight: 1,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
    };
    Rule {
        timeouts: timeouts(&settings, if port.protocol.is_http() { Speaks::Requests } else { Speaks::Bytes }),
        retry: retry(&settings),
        action: Action::Forward(vec![backend]),
        fault: settings.fault,
        session: settings.session,
        ..respond(service.at.origin.clone(), 404)
    }
}

/// A rule that answers.
pub(super) fn respond(origin: Origin, status: u16) -> Rule {
    plain_rule(origin, Action::Respond { status, body: None })
}

/// A rule that does nothing beside its action.
pub(crate) fn plain_rule(origin: Origin, action: Action) -> Rule {
    Rule {
        origin,
        action,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        rewrite: None,
        timeouts: Timeouts::default(),
        retry: None,
        mirrors: Vec::new(),
        cors: None,
        fault: None,
        session: None,
    }
}

/// What a rule's callers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Requests,
    /// Bytes that are not looked at.
    Bytes,
}

/// How long nothing may move on an opaque connection where no document says so: pools of database connections are quiet
/// for far longer than bodies are (Envoy, `TcpProxy.idle_timeout`).
const OPAQUE_IDLE: Duration = Duration::from_secs(60 * 60);

fn timeouts(settings: &Settings, speaks: Speaks) -> Timeouts {
    let limit = |limit: Option<DurationText>| limit.filter(|limit| !limit.is_zero());
    let idle = match (speaks, settings.place(Settings::IDLE)) {
        (Speaks::Bytes, None) => Some(DurationText::new(OPAQUE_IDLE)),
        (Speaks::Bytes, Some(_)) | (Speaks::Requests, _) => settings.idle,
    };
    Timeouts { request: limit(settings.request), per_try: limit(settings.per_try), idle: limit(idle) }
}

fn retry(settings: &Settings) -> Option<Retry> {
    let attempts = settings.retry_attempts.filter(|attempts| *attempts > 0)?;
    let mut on = settings.retry_on.clone().unwrap_or_default();
    let mut methods = settings.retry_methods.clone().unwrap_or_default();
    on.sort();
    on.dedup();
    methods.sort();
    methods.dedup();
    let backoff_base = settings.backoff_base.unwrap_or_default();
    let backoff_max = settings.backoff_max.unwrap_or_default();
    Some(Retry { attempts, on, methods, backoff_base, backoff_max })
}
