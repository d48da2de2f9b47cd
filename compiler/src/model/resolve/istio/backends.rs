//! Where routes send, and what they change on the way.

use weft_bundle::body::HeaderEdits;

use super::super::{Context, convert};
use super::hosts::Hosts;
use crate::diagnostic::Diagnostic;
use crate::dialect::ParsedDocument;
use crate::dialect::istio::virtual_service::RouteDestination;
use crate::dialect::istio::{self, Destination, HeaderOperations, HttpRouteDestination, is_authority_field};
use crate::model::{BackendRef, BackendTarget, Headers, Mesh};
use crate::yaml::Spanned;

/// What binding a destination needs to know.
pub(super) struct Binder<'b> {
    pub(super) mesh: &'b Mesh,
    pub(super) hosts: &'b Hosts,
}

/// The backends of a route of requests. One alone gets everything; among several, one without a weight gets nothing.
pub(super) fn backends(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    routes: &[Spanned<HttpRouteDestination>],
    binder: &Binder<'_>,
) -> Vec<BackendRef> {
    let alone = routes.len() == 1;
    let mut backends = Vec::new();
    for route in routes {
        let headers = edits(context, document, route.headers.as_ref());
        backends.push(BackendRef {
            target: destination(context, document, &route.destination, binder),
            weight: if alone { 1 } else { route.weight.as_deref().copied().unwrap_or(0) },
            headers,
            span: route.span,
        });
    }
    backends
}

/// The same for a route of connections.
pub(super) fn layer4_backends(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    routes: &[Spanned<RouteDestination>],
    binder: &Binder<'_>,
) -> Vec<BackendRef> {
    let alone = routes.len() == 1;
    let backend = |route: &Spanned<RouteDestination>| BackendRef {
        target: destination(context, document, &route.destination, binder),
        weight: if alone { 1 } else { route.weight.as_deref().copied().unwrap_or(0) },
        headers: Headers::default(),
        span: route.span,
    };
    routes.iter().map(backend).collect()
}

/// The service, port and subset that a destination names; findings for what is not there.
pub(super) fn destination(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &Spanned<Destination>,
    binder: &Binder<'_>,
) -> Option<BackendTarget> {
    let index = binder.hosts.service(context, binder.mesh, document, &written.host)?;
    let service = binder.mesh.service(index);
    context.visible(document, service, written.host.span)?;
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

/// The changes to the headers of requests and responses. The authority is none of them.
pub(super) fn edits(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    headers: Option<&Spanned<istio::Headers>>,
) -> Headers {
    let Some(headers) = headers else { return Headers::default() };
    let mut edit = |operations: Option<&Spanned<HeaderOperations>>| {
        let mut edits = HeaderEdits::default();
        if let Some(operations) = operations {
            fn pair((name, value): &(Spanned<String>, Spanned<String>)) -> (&str, &str) {
                (name.as_str(), value.as_str())
            }
            convert::edit(
                &mut edits,
                operations.set.iter().map(pair).filter(|(name, _)| !is_authority_field(name)),
                operations.add.iter().map(pair).filter(|(name, _)| !is_authority_field(name)),
                operations.remove.iter().map(|name| name.as_str()),
            );
            convert::check_edits(context, document, operations.span, &edits);
        }
        edits
    };
    Headers::new(edit(headers.request.as_ref()), edit(headers.response.as_ref()))
}
