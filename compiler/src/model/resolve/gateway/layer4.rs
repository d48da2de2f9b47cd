//! TLSRoutes, TCPRoutes and UDPRoutes: where connections and datagrams go.

use weft_bundle::body::RequestMatch;
use weft_bundle::engine::HostPattern;

use super::super::Context;
use super::http::entries;
use super::rules::{Binder, Written};
use super::{Scene, made, parents};
use crate::dialect::ParsedDocument;
use crate::dialect::gateway::{Layer4Rule, RouteSpec};
use crate::model::routing::tiers;
use crate::model::{Route, RouteKind, RouteRule};
use crate::yaml::Spanned;

pub(super) fn route(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    spec: &RouteSpec<Layer4Rule>,
    kind: RouteKind,
) -> Route {
    let written = spec.rules.as_deref().unwrap_or_default();
    let mut binder = Binder { context, scene, document, kind, outside: parents::is_outside(spec) };
    let rules: Vec<RouteRule> =
        written.iter().enumerate().map(|(index, rule)| binder.rule(&parts(rule), index)).collect();
    let found = written.iter().enumerate().flat_map(|(index, rule)| {
        entries(conditions(spec), rule.name.as_ref().map_or(rule.span, |name| name.span), index)
    });
    let found = found.collect();
    made(context, scene, document, spec, kind, (found, rules))
}

fn parts(rule: &Spanned<Layer4Rule>) -> Written<'_> {
    Written {
        name: rule.name.as_ref(),
        span: rule.span,
        filters: &[],
        backends: &rule.backend_refs,
        timeouts: None,
        retry: None,
        session: None,
    }
}

/// The server names of a TLSRoute, in groups of one rank each, the most specific first. None for other kinds.
fn conditions(spec: &RouteSpec<Layer4Rule>) -> Vec<(RequestMatch, crate::yaml::Span)> {
    let parsed = spec.hostnames.iter().filter_map(|name| Some((HostPattern::parse(name).ok()?, name.span)));
    let mut names: Vec<(HostPattern, crate::yaml::Span)> = parsed.collect();
    names.sort_by(|(a, _), (b, _)| (b.specificity(), a.to_string()).cmp(&(a.specificity(), b.to_string())));
    let patterns: Vec<HostPattern> = names.iter().map(|(pattern, _)| pattern.clone()).collect();
    let groups = tiers(&patterns).map(|group| {
        let first = group.first();
        let span = names.iter().find(|(pattern, _)| Some(pattern) == first).map(|(_, span)| *span);
        let server_names = group.iter().map(HostPattern::to_string).collect();
        (RequestMatch { server_names, ..RequestMatch::default() }, span.unwrap_or_default())
    });
    groups.collect()
}
