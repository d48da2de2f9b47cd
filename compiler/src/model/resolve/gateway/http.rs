//! HTTPRoutes: conditions on requests.

use std::collections::BTreeMap;

use weft_bundle::body::{PathMatch, RequestMatch, StringMatch};

use super::super::Context;
use super::rules::{self, Binder, Written};
use super::{Scene, made, parents};
use crate::dialect::ParsedDocument;
use crate::dialect::gateway::{HttpMatch, HttpRoute, HttpRule, PathMatchType};
use crate::model::{Route, RouteEntry, RouteKind, RouteRule};
use crate::yaml::{Span, Spanned};

pub(super) fn route(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    spec: &Spanned<HttpRoute>,
) -> Route {
    let kind = RouteKind::Http;
    // Without rules there is one that matches everything and has no backend.
    let nothing = [Spanned::new(HttpRule::default(), spec.span)];
    let written = spec.rules.as_deref().unwrap_or(&nothing);
    let mut binder = Binder { context, scene, document, kind, outside: parents::is_outside(spec) };
    let rules: Vec<RouteRule> =
        written.iter().enumerate().map(|(index, rule)| binder.rule(&parts(rule), index)).collect();
    let entries = written.iter().enumerate().flat_map(|(index, rule)| {
        let matches = rule.matches.iter().map(|written| (condition(written), written.span)).collect();
        entries(matches, rule.name.as_ref().map_or(rule.span, |name| name.span), index)
    });
    let entries = entries.collect();
    made(context, scene, document, spec, kind, (entries, rules))
}

fn parts(rule: &Spanned<HttpRule>) -> Written<'_> {
    Written {
        name: rule.name.as_ref(),
        span: rule.span,
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: rule.timeouts.as_deref(),
        retry: rule.retry.as_deref(),
        session: rule.session_persistence.as_deref(),
    }
}

/// One entry for each condition of a rule; one that always holds if there is none, which is written where `otherwise`
/// is.
pub(super) fn entries(
    conditions: Vec<(RequestMatch, Span)>,
    otherwise: Span,
    rule: usize,
) -> Vec<RouteEntry> {
    let conditions = match conditions.is_empty() {
        true => vec![(RequestMatch::default(), otherwise)],
        false => conditions,
    };
    let entry = |(condition, span)| RouteEntry {
        condition,
        port: None,
        source_namespace: None,
        source_labels: BTreeMap::new(),
        rule,
        span,
    };
    conditions.into_iter().map(entry).collect()
}

fn condition(written: &HttpMatch) -> RequestMatch {
    let query = written.query_params.iter().map(|parameter| {
        (parameter.name.value.clone(), rules::value(parameter.kind(), &parameter.value.value))
    });
    let path = written.path.as_ref().map(|path| match path.kind() {
        PathMatchType::Exact => PathMatch::Exact(path.value().to_owned()),
        PathMatchType::PathPrefix => PathMatch::SegmentPrefix(path.value().to_owned()),
        PathMatchType::RegularExpression => PathMatch::Regex(path.value().to_owned()),
    });
    let method = written.method.as_ref().map(|method| StringMatch::Exact(method.value.clone()));
    RequestMatch {
        path,
        method,
        headers: rules::headers(&written.headers),
        query: rules::first_of_each_name(query),
        ..RequestMatch::default()
    }
}
