//! HTTPRoutes: conditions on requests.

use weft_bundle::body::{PathMatch, RequestMatch, StringMatch};

use super::rules::{self, Written};
use crate::dialect::gateway::{HttpMatch, HttpRule, PathMatchType};
use crate::yaml::{Span, Spanned};

/// What a rule does.
pub(super) fn parts(rule: &Spanned<HttpRule>) -> Written<'_> {
    Written {
        name: rule.name.as_ref(),
        span: rule.span,
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: rule.timeouts.as_deref().map(|timeouts| &timeouts.value),
        retry: rule.retry.as_deref(),
        session: rule.session_persistence.as_deref(),
    }
}

/// The conditions of a rule, each with its place.
pub(super) fn conditions(rule: &HttpRule) -> Vec<(RequestMatch, Span)> {
    rule.matches.iter().map(|written| (condition(written), written.span)).collect()
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
