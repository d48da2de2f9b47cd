//! Routes that are put together from two VirtualServices: a root with hosts, and a delegate without.
//!
//! A route of the root that delegates stands for all routes of the delegate, each with the conditions of both
//! (istio:pilot/pkg/model/virtualservice.go, `mergeHTTPRoutes`). Where the conditions of a delegate's route are not within
//! those of the root, Istio drops that route with a line in its log; here it is an error.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::Context;
use super::hosts::scope;
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::{HttpMatchRequest, HttpRoute, StringMatch, ValueMatch, VirtualService};
use crate::dialect::{Kind, NO_EFFECT, ParsedDocument};
use crate::yaml::{INVALID_VALUE, Map, Span, Spanned};

/// A route as it holds, with the document that wrote it.
pub(super) struct Effective<'d> {
    /// The document it is written in.
    pub(super) document: &'d ParsedDocument,
    /// The route; merged if it is a delegate's.
    pub(super) route: Cow<'d, HttpRoute>,
    /// Where it is written.
    pub(super) span: Span,
    /// Its name, or its place.
    pub(super) name: String,
}

/// The VirtualServices that only lend their routes.
pub(super) struct Delegates<'d>(BTreeMap<(&'d str, &'d str), Lender<'d>>);

struct Lender<'d> {
    document: &'d ParsedDocument,
    spec: &'d VirtualService,
    taken: bool,
}

impl<'d> Delegates<'d> {
    pub(super) fn of(documents: &[&'d ParsedDocument]) -> Self {
        let lender = |document: &'d ParsedDocument| match &document.spec {
            Kind::VirtualService(spec) if spec.is_delegate() => {
                Some(((document.namespace(), document.name()), Lender { document, spec, taken: false }))
            }
            _ => None,
        };
        Self(documents.iter().copied().filter_map(lender).collect())
    }

    /// The routes of a root, in order, with those of its delegates in their places.
    pub(super) fn routes(
        &mut self,
        context: &mut Context<'_>,
        document: &'d ParsedDocument,
        spec: &'d VirtualService,
    ) -> Vec<Effective<'d>> {
        let mut routes = Vec::new();
        for (index, written) in spec.http.iter().enumerate() {
            if written.delegate.is_some() {
                self.delegated(context, document, written, &mut routes);
            } else {
                let name = written.name.as_ref();
                let name = name.map_or_else(|| format!("http[{index}]"), |name| name.value.clone());
                let route = Cow::Borrowed(&written.value);
                routes.push(Effective { document, route, span: written.span, name });
            }
        }
        routes
    }

    fn delegated(
        &mut self,
        context: &mut Context<'_>,
        document: &'d ParsedDocument,
        root: &'d Spanned<HttpRoute>,
        routes: &mut Vec<Effective<'d>>,
    ) {
        let Some(wanted) = &root.delegate else { return };
        let namespace = wanted.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
        let Some(lender) = self.0.get_mut(&(namespace, wanted.name.as_str())) else {
            self.missing(context, document, namespace, &wanted.name);
            return;
        };
        lender.taken = true;
        if !scope(lender.document, &lender.spec.export_to).includes(document.namespace()) {
            let message =
                format!("`{}` is not exported to namespace `{}`", lender.document, document.namespace());
            let finding = Diagnostic::error("unknown-reference", message)
                .object(document.object())
                .at(wanted.name.span)
                .related(lender.document.metadata.name.span, "its `exportTo` leaves that namespace out");
            context.report(finding);
            return;
        }
        for (index, sub) in lender.spec.http.iter().enumerate() {
            match merged(root, sub) {
                Ok(route) => {
                    let own = sub.name.as_ref();
                    let own = own.map_or_else(|| format!("http[{index}]"), |name| name.value.clone());
                    let name = match &root.name {
                        Some(root) => format!("{root}-{own}"),
                        None => own,
                    };
                    let route = Cow::Owned(route);
                    routes.push(Effective { document: lender.document, route, span: sub.span, name });
                }
                Err(conflict) => conflict.report(context, document, lender.document, root.span),
            }
        }
    }

    fn missing(
        &self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        namespace: &str,
        name: &Spanned<String>,
    ) {
        if context.is_unread("VirtualService", namespace, name) {
            return;
        }
        let own = self.0.keys().filter(|(of, _)| *of == namespace);
        let known: Vec<&str> = own.map(|(_, name)| *name).collect();
        let what = format!("VirtualService without `hosts` in namespace `{namespace}` called");
        context.unknown(document, name.span, &what, name, &known);
    }

    /// Says which were taken in by nobody: they decide nothing.
    pub(super) fn report_unused(&self, context: &mut Context<'_>) {
        for lender in self.0.values().filter(|lender| !lender.taken) {
            let name = lender.document.metadata.name.span;
            let finding = Diagnostic::warning(NO_EFFECT, "no VirtualService takes in these routes")
                .object(lender.document.object())
                .at(name)
                .with_note("without `hosts` it only lends its routes to a VirtualService that names it as `delegate`")
                .help("give it `hosts`, or name it as `delegate`");
            context.report(finding);
        }
    }
}

/// A condition of a delegate's route that no condition of the root holds.
struct Conflict {
    span: Span,
    root: Option<Span>,
    why: String,
}

impl Conflict {
    fn report(
        self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        delegate: &ParsedDocument,
        root: Span,
    ) {
        let message = format!("no request of the route that `{document}` delegates can meet this condition");
        let finding = Diagnostic::error(INVALID_VALUE, message)
            .object(delegate.object())
            .at(self.span)
            .label(self.why)
            .related(self.root.unwrap_or(root), "what the root asks for")
            .with_note("Istio drops the route silently")
            .help("make the condition narrower than the root's, or remove it");
        context.report(finding);
    }
}

/// A delegate's route with what the root adds: conditions of both, and the root's settings where it has none of its own.
fn merged(root: &HttpRoute, sub: &HttpRoute) -> Result<HttpRoute, Conflict> {
    Ok(HttpRoute {
        name: sub.name.clone(),
        matches: conditions(&root.matches, &sub.matches)?,
        rewrite: sub.rewrite.clone().or_else(|| root.rewrite.clone()),
        timeout: sub.timeout.or(root.timeout),
        retries: sub.retries.clone().or_else(|| root.retries.clone()),
        fault: sub.fault.clone().or_else(|| root.fault.clone()),
        mirror: sub.mirror.clone().or_else(|| root.mirror.clone()),
        mirrors: if sub.mirrors.is_empty() { root.mirrors.clone() } else { sub.mirrors.clone() },
        mirror_percent: sub.mirror_percent.or(root.mirror_percent),
        mirror_percentage: sub.mirror_percentage.or(root.mirror_percentage),
        cors_policy: sub.cors_policy.clone().or_else(|| root.cors_policy.clone()),
        headers: sub.headers.clone().or_else(|| root.headers.clone()),
        delegate: None,
        ..sub.clone()
    })
}

type Conditions = Vec<Spanned<HttpMatchRequest>>;

/// Every pair of conditions of which the delegate's is within the root's; each of the delegate's must have one.
fn conditions(root: &Conditions, sub: &Conditions) -> Result<Conditions, Conflict> {
    if root.is_empty() {
        return Ok(sub.clone());
    }
    if sub.is_empty() {
        return Ok(root.clone());
    }
    let mut both = Vec::new();
    for condition in sub {
        let mut first = None;
        let before = both.len();
        for outer in root {
            match why_not_within(outer, condition) {
                None => both.push(Spanned::new(joined(outer, condition), condition.span)),
                Some(why) => drop(first.get_or_insert((outer.span, why))),
            }
        }
        if let (true, Some((outer, why))) = (both.len() == before, first) {
            return Err(Conflict { span: condition.span, root: Some(outer), why });
        }
    }
    Ok(both)
}

/// The delegate's condition with what only the root asks for.
fn joined(root: &HttpMatchRequest, sub: &HttpMatchRequest) -> HttpMatchRequest {
    HttpMatchRequest {
        uri: sub.uri.clone().or_else(|| root.uri.clone()),
        scheme: sub.scheme.clone().or_else(|| root.scheme.clone()),
        method: sub.method.clone().or_else(|| root.method.clone()),
        authority: sub.authority.clone().or_else(|| root.authority.clone()),
        headers: joined_fields(&root.headers, &sub.headers),
        without_headers: joined_fields(&root.without_headers, &sub.without_headers),
        query_params: joined_fields(&root.query_params, &sub.query_params),
        port: sub.port.or(root.port),
        ..sub.clone()
    }
}

fn joined_fields(
    root: &Map<Spanned<ValueMatch>>,
    sub: &Map<Spanned<ValueMatch>>,
) -> Map<Spanned<ValueMatch>> {
    let only_root = root.into_iter().filter(|(name, _)| sub.get(name).is_none());
    only_root.chain(sub).cloned().collect()
}

/// Why a delegate's condition is not within one of the root's, in Istio's comparison.
fn why_not_within(root: &HttpMatchRequest, sub: &HttpMatchRequest) -> Option<String> {
    let texts = [
        ("uri", &root.uri, &sub.uri),
        ("scheme", &root.scheme, &sub.scheme),
        ("method", &root.method, &sub.method),
        ("authority", &root.authority, &sub.authority),
    ];
    for (name, root, sub) in texts {
        if let (Some(root), Some(sub)) = (root, sub)
            && !is_within(&root.value, &sub.value)
        {
            return Some(format!("its `{name}` is not within the root's"));
        }
    }
    let fields = [
        ("headers", &root.headers, &sub.headers),
        ("withoutHeaders", &root.without_headers, &sub.without_headers),
        ("queryParams", &root.query_params, &sub.query_params),
    ];
    for (name, root, sub) in fields {
        for (field, condition) in sub {
            // What is left out must be the same: a narrower exclusion would let more through.
            let fits = |outer: &ValueMatch| match name {
                "withoutHeaders" => *outer == condition.value,
                _ => is_value_within(outer, &condition.value),
            };
            if root.get(field).is_some_and(|outer| !fits(&outer.value)) {
                return Some(format!("its `{name}` ask for another `{field}`"));
            }
        }
    }
    let ignores =
        |condition: &HttpMatchRequest| condition.ignore_uri_case.is_some_and(|ignored| ignored.value);
    if ignores(root) != ignores(sub) {
        return Some("one of them compares `uri` without case, the other does not".to_owned());
    }
    match (root.port, sub.port) {
        (Some(root), Some(sub)) if root.value != sub.value => Some("it is for another port".to_owned()),
        _ => None,
    }
}

/// Whether every text that fits the inner condition fits the outer one. Expressions were refused while reading.
fn is_within(outer: &StringMatch, inner: &StringMatch) -> bool {
    match (outer, inner) {
        (StringMatch::Exact(outer), StringMatch::Exact(inner)) => outer.value == inner.value,
        (StringMatch::Prefix(outer), StringMatch::Exact(inner) | StringMatch::Prefix(inner)) => {
            inner.starts_with(&outer.value)
        }
        (StringMatch::Exact(_), StringMatch::Prefix(_))
        | (StringMatch::Regex(_), _)
        | (_, StringMatch::Regex(_)) => false,
    }
}

fn is_value_within(outer: &ValueMatch, inner: &ValueMatch) -> bool {
    match (outer, inner) {
        (ValueMatch::Present, _) => true,
        (ValueMatch::Like(_), ValueMatch::Present) => false,
        (ValueMatch::Like(outer), ValueMatch::Like(inner)) => is_within(outer, inner),
    }
}
