//! ReferenceGrants: references from a gateway, or from a route of one, into another namespace.
//!
//! Routes of Services need none (GEP-1294): what they may reach is decided by access policies, caller by caller.

use super::super::Context;
use super::facts::Facts;
use crate::diagnostic::Diagnostic;
use crate::dialect::ParsedDocument;
use crate::dialect::gateway::{GROUP, GrantFrom, GrantTo};
use crate::yaml::Spanned;

/// A reference that needs to be granted.
pub(super) struct Reference<'r> {
    /// The namespace of what is referred to.
    pub(super) namespace: &'r str,
    /// Its kind, of Kubernetes' core.
    pub(super) kind: &'r str,
    /// Its name.
    pub(super) name: &'r Spanned<String>,
}

/// Reports a reference into another namespace that nothing there grants.
pub(super) fn check(
    context: &mut Context<'_>,
    facts: &Facts<'_>,
    document: &ParsedDocument,
    reference: &Reference<'_>,
) {
    let Reference { namespace, kind, name } = *reference;
    let (from_kind, from_namespace) = (document.kind.value.as_str(), document.namespace());
    if namespace == from_namespace || context.has_unread("ReferenceGrant") {
        return;
    }
    let from = |from: &Spanned<GrantFrom>| {
        from.group.value == GROUP && from.kind.value == from_kind && from.namespace.value == from_namespace
    };
    let to = |to: &Spanned<GrantTo>| {
        matches!(to.group.as_str(), "" | "core")
            && to.kind.value == kind
            && to.name.as_ref().is_none_or(|granted| granted.is_empty() || granted.value == name.value)
    };
    let grants = facts.grants.get(namespace).map(Vec::as_slice).unwrap_or_default();
    if grants.iter().any(|grant| grant.from.iter().any(from) && grant.to.iter().any(to)) {
        return;
    }
    let message = format!("nothing grants {document} to refer to {kind} `{namespace}/{name}`");
    let grant = format!(
        "add, if the owners of namespace `{namespace}` agree: {{ apiVersion: {GROUP}/v1, kind: ReferenceGrant, \
         metadata: {{ name: {from_namespace}-to-{name}, namespace: {namespace} }}, spec: {{ from: [ {{ group: \
         {GROUP}, kind: {from_kind}, namespace: {from_namespace} }} ], to: [ {{ group: \"\", kind: {kind}, name: \
         {name} }} ] }} }}"
    );
    let finding = Diagnostic::error("missing-grant", message)
        .object(document.object())
        .at(name.span)
        .label(format!("is in namespace `{namespace}`"))
        .help(grant);
    let here = facts.grants.get(from_namespace).map(Vec::as_slice).unwrap_or_default();
    let misplaced = here.iter().filter(|grant| grant.to.iter().any(to)).find_map(|grant| {
        let meant = grant.from.iter().find(|written| from(written))?;
        let why =
            format!("this grant would do, but is in namespace `{from_namespace}`, not in `{namespace}`");
        Some((meant.span, why))
    });
    let near = grants.iter().find_map(|grant| match grant.to.iter().any(to) {
        true => grant.from.first().map(|other| {
            let why = format!("this grant is for {} of namespace `{}`", other.kind, other.namespace);
            (other.span, why)
        }),
        false => grant.to.first().filter(|_| grant.from.iter().any(from)).map(|other| {
            let named = other.name.as_ref().filter(|name| !name.is_empty());
            let named = named.map(|name| format!(" `{name}`")).unwrap_or_default();
            (other.span, format!("this grant is to refer to {}{named}", other.kind))
        }),
    });
    context.report(match misplaced.or(near) {
        Some((span, why)) => finding.related(span, why),
        None => finding,
    });
}
