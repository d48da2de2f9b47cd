//! TLSRoutes, TCPRoutes and UDPRoutes: where connections and datagrams go.

use weft_bundle::body::RequestMatch;
use weft_bundle::engine::HostPattern;

use super::super::Context;
use super::rules::Written;
use super::{Scene, bound};
use crate::dialect::ParsedDocument;
use crate::dialect::gateway::{Layer4Rule, RouteSpec};
use crate::model::rank::tiers;
use crate::model::{Route, RouteKind};
use crate::yaml::{Span, Spanned};

pub(super) fn route(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    spec: Spanned<&RouteSpec<Layer4Rule>>,
    kind: RouteKind,
) -> Route {
    bound(context, scene, document, (spec, kind), parts, |_| conditions(spec.value))
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
fn conditions(spec: &RouteSpec<Layer4Rule>) -> Vec<(RequestMatch, Span)> {
    let parsed = spec.hostnames.iter().filter_map(|name| Some((HostPattern::parse(name).ok()?, name.span)));
    let mut names: Vec<(HostPattern, Span)> = parsed.collect();
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
