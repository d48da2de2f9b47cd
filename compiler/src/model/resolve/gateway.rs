//! HTTPRoutes attached to Services (GAMMA, GEP-1294), into routes ordered by specificity.

use std::collections::BTreeMap;

use weft_bundle::body::{
    FieldMatch, HeaderEdits, PathMatch, PathRewrite, Redirect, RequestMatch, Rewrite, StringMatch,
};

use super::{Context, convert};
use crate::diagnostic::Diagnostic;
use crate::dialect::gateway::{
    self, Filter, FilterAction, HttpMatch, HttpRoute, HttpRule, ParentRef, PathMatchType, PathModifier,
    PathModifierType, ValueMatchType,
};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{
    Attachment, BackendRef, BackendTarget, Mesh, Order, Route, RouteEntry, RouteKind, RouteRule, RuleAction,
    Scope, Settings,
};
use crate::yaml::Spanned;

/// Adds the routes of all HTTPRoutes.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    for document in documents {
        if let Kind::HttpRoute(spec) = &document.spec {
            let route = route(context, document, spec, mesh);
            mesh.routes.push(route);
        }
    }
}

fn route(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &Spanned<HttpRoute>,
    mesh: &Mesh,
) -> Route {
    if let Some(host) = spec.hostnames.first() {
        let finding = Diagnostic::warning(
            "ignored-hostnames",
            "`hostnames` have no effect on a route of a Service",
        )
        .object(document.object())
        .at(host.span)
        .with_note(
            "callers reach a Service by its own names; Gateway API says that a mesh ignores this field",
        )
        .help("remove `hostnames`");
        context.report(finding);
    }
    let attachments =
        spec.parent_refs.iter().flat_map(|parent| attach(context, document, parent, mesh)).collect();
    // Without rules there is one that matches everything and has no backend.
    let nothing = [Spanned::new(HttpRule::default(), spec.span)];
    let written = spec.rules.as_deref().unwrap_or(&nothing);
    let mut entries = Vec::new();
    let mut rules = Vec::new();
    for (index, written) in written.iter().enumerate() {
        entries.extend(rule_entries(written, index));
        rules.push(rule(context, document, written, index, mesh));
    }
    Route {
        at: context.at_document(document),
        namespace: document.namespace().to_owned(),
        kind: RouteKind::Http,
        attachments,
        listeners: Vec::new(),
        order: Order::Specificity,
        priority: convert::priority(context, document),
        entries,
        rules,
        dialect_defaults: Settings::default(),
    }
}

/// One attachment for each HTTP port of the parent that is meant. Other kinds of parent were reported while reading.
fn attach(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    parent: &Spanned<ParentRef>,
    mesh: &Mesh,
) -> Vec<Attachment> {
    if !parent.is_service() {
        return Vec::new();
    }
    let namespace = parent.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    let Some(index) = context.service(mesh, document, namespace, &parent.name) else { return Vec::new() };
    let service = mesh.service(index);
    let scope = match namespace == document.namespace() {
        true => Scope::Everyone,
        false => Scope::Consumers(document.namespace().to_owned()),
    };
    if let Some(number) = &parent.port
        && context.port(document, service, number.value, number.span).is_none()
    {
        return Vec::new();
    }
    if let Some(name) = &parent.section_name
        && service.ports.iter().all(|port| port.name != name.value)
    {
        let known: Vec<&str> = service.ports.iter().map(|port| port.name.as_str()).collect();
        context.unknown(document, name.span, &format!("port of `{}` called", service.id()), name, &known);
        return Vec::new();
    }
    let meant = service.ports.iter().filter(|port| {
        parent.port.as_ref().is_none_or(|number| number.value == port.number)
            && parent.section_name.as_ref().is_none_or(|name| name.value == port.name)
    });
    let (http, other): (Vec<_>, Vec<_>) = meant.partition(|port| port.protocol.is_http());
    if let (true, Some(port)) = (http.is_empty(), other.first()) {
        context.not_http(
            "protocol-mismatch",
            document,
            parent.span,
            service,
            port,
            "an HTTPRoute routes requests",
        );
    }
    let attachment =
        |number| Attachment { service: index, port: Some(number), scope: scope.clone(), span: parent.span };
    http.iter().map(|port| attachment(port.number)).collect()
}

fn rule_entries(rule: &Spanned<HttpRule>, index: usize) -> Vec<RouteEntry> {
    let entry = |condition, span| RouteEntry {
        condition,
        port: None,
        source_namespace: None,
        source_labels: BTreeMap::new(),
        rule: index,
        span,
    };
    if rule.matches.is_empty() {
        let span = rule.name.as_ref().map_or(rule.span, |name| name.span);
        return vec![entry(RequestMatch::default(), span)];
    }
    rule.matches.iter().map(|written| entry(condition(written), written.span)).collect()
}

fn condition(written: &HttpMatch) -> RequestMatch {
    let value = |kind: ValueMatchType, text: &Spanned<String>| match kind {
        ValueMatchType::Exact => StringMatch::Exact(text.value.clone()),
        ValueMatchType::RegularExpression => StringMatch::Regex(text.value.clone()),
    };
    let mut headers: Vec<FieldMatch> = Vec::new();
    for header in &written.headers {
        // "Only the first entry with an equivalent name MUST be considered for a match" (HTTPHeaderMatch.name).
        let name = header.name.to_ascii_lowercase();
        if headers.iter().all(|other| other.name != name) {
            headers.push(FieldMatch {
                name,
                value: value(header.kind(), &header.value.value),
                invert: false,
            });
        }
    }
    let mut query: Vec<FieldMatch> = Vec::new();
    for parameter in &written.query_params {
        let name = parameter.name.value.clone();
        if query.iter().all(|other| other.name != name) {
            query.push(FieldMatch {
                name,
                value: value(parameter.kind(), &parameter.value.value),
                invert: false,
            });
        }
    }
    let path = written.path.as_ref().map(|path| match path.kind() {
        PathMatchType::Exact => PathMatch::Exact(path.value().to_owned()),
        PathMatchType::PathPrefix => PathMatch::SegmentPrefix(path.value().to_owned()),
        PathMatchType::RegularExpression => PathMatch::Regex(path.value().to_owned()),
    });
    let method = written.method.as_ref().map(|method| StringMatch::Exact(method.value.clone()));
    RequestMatch { path, method, headers, query, ..RequestMatch::default() }
}

fn rule(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &Spanned<HttpRule>,
    index: usize,
    mesh: &Mesh,
) -> RouteRule {
    let name = written.name.as_ref().map_or_else(|| format!("rules[{index}]"), |name| name.value.clone());
    let mut effects = Effects::default();
    for filter in &written.filters {
        effects.add(context, document, filter);
    }
    let backends: Vec<BackendRef> =
        written.backend_refs.iter().map(|backend| self::backend(context, document, backend, mesh)).collect();
    let action = match (effects.redirect, backends.is_empty()) {
        (Some(redirect), _) => RuleAction::Redirect(redirect),
        // HTTPRouteRule.backendRefs: without any, and without a filter that answers, the status is 500.
        (None, true) => RuleAction::Respond { status: 500, body: None },
        (None, false) => RuleAction::Forward(backends),
    };
    let timeouts = written.timeouts.as_deref();
    RouteRule {
        at: context.at(document, written.span, Some(name)),
        action,
        request_headers: effects.request,
        response_headers: effects.response,
        rewrite: effects.rewrite,
        mirrors: Vec::new(),
        cors: None,
        settings: Settings {
            request: timeouts.and_then(|timeouts| timeouts.request.as_deref().copied()),
            per_try: timeouts.and_then(|timeouts| timeouts.backend_request.as_deref().copied()),
            ..Settings::default()
        },
    }
}

fn backend(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &Spanned<gateway::BackendRef>,
    mesh: &Mesh,
) -> BackendRef {
    let namespace = written.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    let service = match written.is_service() {
        true => context.service(mesh, document, namespace, &written.name),
        // Reported while reading; no bundle is built.
        false => None,
    };
    let target = service.zip(written.port.as_ref()).and_then(|(service, port)| {
        context.port(document, mesh.service(service), port.value, port.span)?;
        Some(BackendTarget { service, port: port.value, subset: None })
    });
    let mut effects = Effects::default();
    for filter in &written.filters {
        effects.add(context, document, filter);
    }
    BackendRef {
        target,
        weight: written.weight(),
        request_headers: effects.request,
        response_headers: effects.response,
        span: written.span,
    }
}

/// What the filters of a rule or backend come to.
#[derive(Default)]
struct Effects {
    request: HeaderEdits,
    response: HeaderEdits,
    redirect: Option<Redirect>,
    rewrite: Option<Rewrite>,
}

impl Effects {
    fn add(&mut self, context: &mut Context<'_>, document: &ParsedDocument, filter: &Spanned<Filter>) {
        match filter.action() {
            None => {}
            Some(FilterAction::RequestHeaders(modifier)) => {
                modify(&mut self.request, modifier);
                convert::check_edits(context, document, filter.span, &self.request);
            }
            Some(FilterAction::ResponseHeaders(modifier)) => {
                modify(&mut self.response, modifier);
                convert::check_edits(context, document, filter.span, &self.response);
            }
            Some(FilterAction::Redirect(redirect)) => {
                self.redirect = Some(Redirect {
                    scheme: redirect.scheme.as_ref().map(|scheme| scheme.value.clone()),
                    host: redirect.hostname.as_ref().map(|host| host.value.clone()),
                    port: redirect.port.as_deref().copied(),
                    path: redirect.path.as_deref().and_then(path_rewrite),
                    status: redirect.status_code.as_deref().copied().unwrap_or(302),
                });
            }
            Some(FilterAction::Rewrite(rewrite)) => {
                let host = rewrite.hostname.as_ref().map(|host| host.value.clone());
                self.rewrite = Some(Rewrite { host, path: rewrite.path.as_deref().and_then(path_rewrite) });
            }
        }
    }
}

fn modify(edits: &mut HeaderEdits, modifier: &gateway::HeaderModifier) {
    let pair = |header: &'_ Spanned<gateway::Header>| (header.name.value.clone(), header.value.value.clone());
    let (set, add): (Vec<_>, Vec<_>) =
        (modifier.set.iter().map(pair).collect(), modifier.add.iter().map(pair).collect());
    convert::edit(
        edits,
        set.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        add.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        modifier.remove.iter().map(|name| name.as_str()),
    );
}

fn path_rewrite(modifier: &PathModifier) -> Option<PathRewrite> {
    match modifier.kind.value {
        PathModifierType::ReplaceFullPath => {
            Some(PathRewrite::Full(modifier.replace_full_path.as_ref()?.value.clone()))
        }
        PathModifierType::ReplacePrefixMatch => {
            Some(PathRewrite::Matched(modifier.replace_prefix_match.as_ref()?.value.clone()))
        }
    }
}
