//! GRPCRoutes: a call of `method` of `service` is a request for the path `/service/method`.

use weft_bundle::body::{PathMatch, RequestMatch};
use weft_bundle::engine::literal_regex;

use super::super::Context;
use super::http::entries;
use super::rules::{self, Binder, Written};
use super::{Scene, made, parents};
use crate::dialect::ParsedDocument;
use crate::dialect::gateway::{GrpcMatch, GrpcMethodMatch, GrpcRoute, GrpcRule, ValueMatchType};
use crate::model::{Route, RouteKind, RouteRule};
use crate::yaml::Spanned;

pub(super) fn route(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    spec: &Spanned<GrpcRoute>,
) -> Route {
    let kind = RouteKind::Grpc;
    let nothing = [Spanned::new(GrpcRule::default(), spec.span)];
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

fn parts(rule: &Spanned<GrpcRule>) -> Written<'_> {
    Written {
        name: rule.name.as_ref(),
        span: rule.span,
        filters: &rule.filters,
        backends: &rule.backend_refs,
        timeouts: None,
        retry: None,
        session: rule.session_persistence.as_deref(),
    }
}

fn condition(written: &GrpcMatch) -> RequestMatch {
    let path = written.method.as_ref().and_then(|method| path(method));
    RequestMatch { path, headers: rules::headers(&written.headers), ..RequestMatch::default() }
}

/// The paths of the calls that are asked for. [`crate::model::routing::Rank`] reads services and methods from these forms.
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
