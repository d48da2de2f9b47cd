//! GRPCRoutes: a call of `method` of `service` is a request for the path `/service/method`.

use weft_bundle::body::{PathMatch, RequestMatch};
use weft_bundle::engine::literal_regex;

use super::rules::{self, Written};
use crate::dialect::gateway::{GrpcMatch, GrpcMethodMatch, GrpcRule, ValueMatchType};
use crate::yaml::{Span, Spanned};

/// What a rule does.
pub(super) fn parts(rule: &Spanned<GrpcRule>) -> Written<'_> {
    Written {
        name: rule.name.as_ref(),
        span: rule.span,
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: None,
        retry: None,
        session: rule.session_persistence.as_ref(),
    }
}

/// The conditions of a rule, each with its place.
pub(super) fn conditions(rule: &GrpcRule) -> Vec<(RequestMatch, Span)> {
    rule.matches.iter().map(|written| (condition(written), written.span)).collect()
}

fn condition(written: &GrpcMatch) -> RequestMatch {
    let path = written.method.as_ref().and_then(|method| path(method));
    RequestMatch { path, headers: rules::headers(&written.headers), ..RequestMatch::default() }
}

/// The paths of the calls that are asked for. [`crate::model::rank::Rank`] reads services and methods from these forms.
fn path(written: &GrpcMethodMatch) -> Option<PathMatch> {
    let (service, method) = (written.service(), written.method());
    Some(match (written.kind(), service, method) {
        (_, None, None) => return None,
        (ValueMatchType::Exact, Some(service), Some(method)) => {
            PathMatch::Exact(format!("/{}/{method}", bare(service)))
        }
        (ValueMatchType::Exact, Some(service), None) => PathMatch::Prefix(format!("/{}/", bare(service))),
        (ValueMatchType::Exact, None, Some(method)) => {
            PathMatch::Regex(format!("/[^/]+/{}", literal_regex(method)))
        }
        (ValueMatchType::RegularExpression, service, method) => {
            let part = |part: Option<&Spanned<String>>| match part {
                Some(pattern) => format!("(?:{pattern})"),
                None => "[^/]+".to_owned(),
            };
            PathMatch::Regex(format!("/{}/{}", part(service), part(method)))
        }
    })
}

/// A service's full name may be written with a leading dot, as in protobuf.
fn bare(service: &str) -> &str {
    service.strip_prefix('.').unwrap_or(service)
}
