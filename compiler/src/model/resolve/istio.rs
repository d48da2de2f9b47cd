//! Istio's VirtualServices, into routes that have their frontends to themselves; and DestinationRules, into subsets and
//! settings of services.
//!
//! What Istio does by default is written out: two retries on connect failure and refused stream, no request timeout
//! (istio:pilot/pkg/networking/core/route/retry/retry.go). Its default also names two conditions on `grpc-status`, which
//! proxies here do not read; a document that asks for one is refused.

use std::collections::BTreeMap;

use weft_bundle::body::{
    FieldMatch, HeaderEdits, LoadBalancer, PathMatch, PathRewrite, Redirect, RequestMatch, RetryOn, Rewrite,
    StringMatch,
};
use weft_bundle::duration::DurationText;

use super::{Context, convert, services};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::{
    self, Destination, DestinationRule, HeaderOperations, HttpMatchRequest, HttpRetry, HttpRoute, SimpleLb,
    VirtualService,
};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{
    Attachment, BackendRef, BackendTarget, Mesh, Order, Route, RouteEntry, RouteKind, RouteRule, RuleAction,
    Scope, ServiceIndex, Settings, Subset,
};
use crate::yaml::{Map, Spanned};

/// Every method: Istio does not ask whether a request is safe to repeat.
const ALL_METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// Adds the subsets and settings of all DestinationRules to their services.
pub(super) fn bind_destination_rules(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    mesh: &mut Mesh,
) {
    for document in documents {
        let Kind::DestinationRule(spec) = &document.spec else { continue };
        let Some(index) = host(context, mesh, document, &spec.host) else { continue };
        bind_destination_rule(context, document, spec, mesh, index);
    }
}

fn bind_destination_rule(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &DestinationRule,
    mesh: &mut Mesh,
    index: ServiceIndex,
) {
    let Some(service) = mesh.services.get_mut(index.0) else { return };
    for subset in &spec.subsets {
        let at = context.at(document, subset.name.span, Some(subset.name.value.clone()));
        let settings = balancing(subset.traffic_policy.as_deref());
        let made = Subset { at, labels: subset.labels.clone(), settings };
        services::add_subset(context, document, &mut service.subsets, &subset.name, made);
    }
    let own = balancing(spec.traffic_policy.as_deref());
    if let (false, Some(policy)) = (own.clashes(&service.settings).is_empty(), &spec.traffic_policy) {
        let message = format!("another DestinationRule sets the load balancer of `{}` too", service.id());
        context.report(
            Diagnostic::error("conflicting-settings", message).object(document.object()).at(policy.span),
        );
    }
    service.settings = std::mem::take(&mut service.settings).or(&own);
}

fn balancing(policy: Option<&istio::TrafficPolicy>) -> Settings {
    let simple = policy.and_then(|policy| policy.load_balancer.as_ref()).and_then(|lb| lb.simple.as_deref());
    let load_balancer = simple.and_then(|simple| match simple {
        SimpleLb::Random => Some(LoadBalancer::Random),
        SimpleLb::RoundRobin => Some(LoadBalancer::RoundRobin),
        SimpleLb::LeastConn | SimpleLb::LeastRequest => Some(LoadBalancer::LeastRequest),
        SimpleLb::Unspecified | SimpleLb::Passthrough => None,
    });
    Settings { load_balancer, ..Settings::default() }
}

/// Adds the routes of all VirtualServices.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    for document in documents {
        if let Kind::VirtualService(spec) = &document.spec {
            let route = route(context, document, spec, mesh);
            mesh.routes.push(route);
        }
    }
}

fn route(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &Spanned<VirtualService>,
    mesh: &Mesh,
) -> Route {
    let attachments: Vec<Attachment> =
        spec.hosts.iter().flat_map(|host| attach(context, document, spec, host, mesh)).collect();
    let mut entries = Vec::new();
    let mut rules = Vec::new();
    for (index, written) in spec.http.iter().enumerate() {
        entries.extend(rule_entries(written, index));
        rules.push(rule(context, document, written, index, mesh));
    }
    Route {
        at: context.at_document(document),
        namespace: document.namespace().to_owned(),
        kind: RouteKind::Http,
        attachments,
        listeners: Vec::new(),
        order: Order::Listed,
        priority: convert::priority(context, document),
        entries,
        rules,
        dialect_defaults: Settings {
            request: Some(DurationText::default()),
            retry_attempts: Some(2),
            retry_on: Some(vec![RetryOn::ConnectFailure, RetryOn::RefusedStream]),
            ..Settings::default()
        },
    }
}

/// One attachment for each HTTP port of a host.
fn attach(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &VirtualService,
    name: &Spanned<String>,
    mesh: &Mesh,
) -> Vec<Attachment> {
    let Some(index) = host(context, mesh, document, name) else { return Vec::new() };
    let service = mesh.service(index);
    let (http, other): (Vec<_>, Vec<_>) = service.ports.iter().partition(|port| port.protocol.is_http());
    if let (true, Some(port)) = (http.is_empty(), other.first()) {
        context.not_http("protocol-mismatch", document, name.span, service, port, "`http` routes requests");
    }
    let everyone = spec.export_to.is_empty() || spec.export_to.iter().any(|namespace| namespace.value == "*");
    let own = |namespace: &Spanned<String>| match namespace.as_str() {
        "." => document.namespace().to_owned(),
        other => other.to_owned(),
    };
    let scope = match everyone {
        true => Scope::Everyone,
        false => Scope::Namespaces(spec.export_to.iter().map(own).collect()),
    };
    let attachment =
        |number| Attachment { service: index, port: Some(number), scope: scope.clone(), span: name.span };
    http.iter().map(|port| attachment(port.number)).collect()
}

/// The service that an Istio host names: `name`, `name.namespace`, `name.namespace.svc` or the cluster's full name. A
/// short name means the document's own namespace.
fn host(
    context: &mut Context<'_>,
    mesh: &Mesh,
    document: &ParsedDocument,
    host: &Spanned<String>,
) -> Option<ServiceIndex> {
    let text = host.value.strip_suffix(".svc.cluster.local").or_else(|| host.value.strip_suffix(".svc"));
    let text = text.unwrap_or(&host.value);
    match text.split('.').collect::<Vec<_>>().as_slice() {
        [name] if *name != "*" => context.service(
            mesh,
            document,
            document.namespace(),
            &Spanned::new((*name).to_owned(), host.span),
        ),
        [name, namespace] if *name != "*" => {
            context.service(mesh, document, namespace, &Spanned::new((*name).to_owned(), host.span))
        }
        _ => {
            let finding = Diagnostic::error(
                NOT_SUPPORTED,
                format!("`{host}` is not the name of a service of this mesh"),
            )
            .object(document.object())
            .at(host.span)
            .help("write `name`, `name.namespace` or `name.namespace.svc.cluster.local`");
            context.report(finding);
            None
        }
    }
}

fn rule_entries(rule: &Spanned<HttpRoute>, index: usize) -> Vec<RouteEntry> {
    // A rewrite replaces the matched prefix; without a condition on the path that prefix is `/`.
    let rewrites = rule.rewrite.as_ref().is_some_and(|rewrite| rewrite.uri.is_some());
    let whole = rewrites.then(|| PathMatch::Prefix("/".to_owned()));
    if rule.matches.is_empty() {
        let span = rule.name.as_ref().map_or(rule.span, |name| name.span);
        let condition = RequestMatch { path: whole, ..RequestMatch::default() };
        return vec![RouteEntry {
            condition,
            port: None,
            source_namespace: None,
            source_labels: BTreeMap::new(),
            rule: index,
            span,
        }];
    }
    let mut entries = Vec::new();
    for written in &rule.matches {
        let mut condition = condition(written);
        condition.path = condition.path.or_else(|| whole.clone());
        entries.push(RouteEntry {
            condition,
            port: written.port.as_deref().copied(),
            source_namespace: written.source_namespace.as_ref().map(|namespace| namespace.value.clone()),
            source_labels: BTreeMap::new(),
            rule: index,
            span: written.span,
        });
    }
    entries
}

fn condition(written: &HttpMatchRequest) -> RequestMatch {
    let text = |written: &Option<Spanned<istio::StringMatch>>| written.as_deref().map(string_match);
    let (method, scheme, authority) =
        (text(&written.method), text(&written.scheme), text(&written.authority));
    let path = written.uri.as_ref().map(|uri| match &uri.value {
        istio::StringMatch::Exact(path) => PathMatch::Exact(path.value.clone()),
        istio::StringMatch::Prefix(path) => PathMatch::Prefix(path.value.clone()),
        istio::StringMatch::Regex(pattern) => PathMatch::Regex(pattern.value.clone()),
    });
    let lower = |mut field: FieldMatch| {
        field.name.make_ascii_lowercase();
        field
    };
    let inverted = fields(&written.without_headers).map(|field| FieldMatch { invert: true, ..field });
    let headers = fields(&written.headers).chain(inverted).map(lower).collect();
    RequestMatch {
        path,
        path_ignore_case: written.ignore_uri_case.as_deref().copied().unwrap_or(false),
        method,
        scheme,
        authority,
        headers,
        query: fields(&written.query_params).collect(),
        ..RequestMatch::default()
    }
}

fn string_match(written: &istio::StringMatch) -> StringMatch {
    match written {
        istio::StringMatch::Exact(text) => StringMatch::Exact(text.value.clone()),
        istio::StringMatch::Prefix(text) => StringMatch::Prefix(text.value.clone()),
        istio::StringMatch::Regex(pattern) => StringMatch::Regex(pattern.value.clone()),
    }
}

fn fields(written: &Map<Spanned<istio::ValueMatch>>) -> impl Iterator<Item = FieldMatch> {
    written.into_iter().map(|(name, condition)| {
        let value = match &condition.value {
            istio::ValueMatch::Like(condition) => string_match(condition),
            istio::ValueMatch::Present => StringMatch::Present,
        };
        FieldMatch { name: name.value.clone(), value, invert: false }
    })
}

fn rule(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &Spanned<HttpRoute>,
    index: usize,
    mesh: &Mesh,
) -> RouteRule {
    let name = written.name.as_ref().map_or_else(|| format!("http[{index}]"), |name| name.value.clone());
    let at = context.at(document, written.span, Some(name));
    let action = if let Some(redirect) = &written.redirect {
        RuleAction::Redirect(self::redirect(redirect))
    } else if let Some(response) = &written.direct_response {
        let body =
            response.body.as_ref().and_then(|body| body.string.as_ref()).map(|text| text.value.clone());
        RuleAction::Respond { status: response.status.value, body }
    } else {
        RuleAction::Forward(backends(context, document, written, mesh))
    };
    let (request_headers, response_headers) = edits(context, document, written.headers.as_ref());
    let rewrite = written.rewrite.as_deref().map(|rewrite| Rewrite {
        host: rewrite.authority.as_ref().map(|authority| authority.value.clone()),
        path: rewrite.uri.as_ref().map(|uri| PathRewrite::Matched(uri.value.clone())),
    });
    let retries = written.retries.as_deref().map(retry).unwrap_or_default();
    let settings = Settings { request: written.timeout.as_deref().copied(), ..retries };
    RouteRule {
        at,
        action,
        request_headers,
        response_headers,
        rewrite,
        mirrors: Vec::new(),
        cors: None,
        settings,
    }
}

/// Envoy drops the request's port where it changes the host; Gateway API, whose rules the engine has, keeps it unless
/// another is given. Calls inside the mesh are `http` to the proxy, so 80 stands for "none".
fn redirect(written: &istio::HttpRedirect) -> Redirect {
    let authority =
        written.authority.as_ref().map(|authority| weft_bundle::engine::split_authority(authority));
    let dropped = (authority.is_some() && written.scheme.is_none()).then_some(80);
    Redirect {
        scheme: written.scheme.as_ref().map(|scheme| scheme.value.clone()),
        host: authority.map(|(host, _)| host.to_owned()),
        port: written.port.as_deref().copied().or(authority.and_then(|(_, port)| port)).or(dropped),
        path: written.uri.as_ref().map(|uri| PathRewrite::Full(uri.value.clone())),
        status: written.redirect_code.as_deref().copied().unwrap_or(301),
    }
}

fn backends(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &HttpRoute,
    mesh: &Mesh,
) -> Vec<BackendRef> {
    let alone = written.route.len() == 1;
    let mut backends = Vec::new();
    for route in &written.route {
        let (request_headers, response_headers) = edits(context, document, route.headers.as_ref());
        backends.push(BackendRef {
            target: destination(context, document, &route.destination, mesh),
            weight: if alone { 1 } else { route.weight.as_deref().copied().unwrap_or(0) },
            request_headers,
            response_headers,
            span: route.span,
        });
    }
    backends
}

fn destination(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &Spanned<Destination>,
    mesh: &Mesh,
) -> Option<BackendTarget> {
    let index = host(context, mesh, document, &written.host)?;
    let service = mesh.service(index);
    let port = match (&written.port, service.ports.as_slice()) {
        (Some(port), _) => context.port(document, service, port.number.value, port.span)?.number,
        (None, [only]) => only.number,
        (None, ports) => {
            let numbers = ports.iter().map(|port| port.number.to_string()).collect::<Vec<_>>().join(", ");
            let message = format!("`{}` has {} ports, and none is named here", service.id(), ports.len());
            let finding = Diagnostic::error("unknown-reference", message)
                .object(document.object())
                .at(written.span)
                .help(format!("add `port: {{ number: … }}` with one of {numbers}"));
            context.report(finding);
            return None;
        }
    };
    if let Some(subset) = &written.subset
        && !context.subset(document, service, subset)
    {
        return None;
    }
    Some(BackendTarget {
        service: index,
        port,
        subset: written.subset.as_ref().map(|subset| subset.value.clone()),
    })
}

fn edits(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    headers: Option<&Spanned<istio::Headers>>,
) -> (HeaderEdits, HeaderEdits) {
    let Some(headers) = headers else { return Default::default() };
    let mut edit = |operations: Option<&Spanned<HeaderOperations>>| {
        let mut edits = HeaderEdits::default();
        if let Some(operations) = operations {
            fn pair((name, value): &(Spanned<String>, Spanned<String>)) -> (&str, &str) {
                (name.as_str(), value.as_str())
            }
            convert::edit(
                &mut edits,
                operations.set.iter().map(pair),
                operations.add.iter().map(pair),
                operations.remove.iter().map(|name| name.as_str()),
            );
            convert::check_edits(context, document, operations.span, &edits);
        }
        edits
    };
    (edit(headers.request.as_ref()), edit(headers.response.as_ref()))
}

fn retry(written: &HttpRetry) -> Settings {
    let on = written.conditions();
    Settings {
        // Without a number there are none (istio:pilot/pkg/networking/core/route/retry/retry.go, `ConvertPolicy`).
        retry_attempts: Some(written.attempts.as_deref().copied().unwrap_or(0)),
        per_try: written.per_try_timeout.as_deref().copied(),
        retry_methods: on.is_some().then(|| ALL_METHODS.map(str::to_owned).to_vec()),
        retry_on: on,
        backoff_base: written.backoff.as_deref().copied(),
        ..Settings::default()
    }
}
