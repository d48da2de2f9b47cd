//! What can be wrong with Istio's networking kinds by themselves: Istio's own validation
//! (istio:pkg/config/validation), and everything that cannot be honoured exactly.

mod destination_rule;
mod extras;
mod gateway;
mod http;
mod layer4;
mod matches;
mod service_entry;
mod sidecar;
mod virtual_service;

use std::collections::BTreeMap;

pub(crate) use self::http::is_authority_field;
use crate::diagnostic::Diagnostic;
use crate::dialect::NO_EFFECT;
use crate::dialect::check::{Checker, is_label, is_subdomain};
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// A host: the name of a service, short or in full, or a pattern whose first label is `*`.
fn host(name: &Spanned<String>, checker: &mut Checker<'_>) {
    match name.strip_prefix("*.") {
        Some(rest) if is_subdomain(rest) => {}
        None if name.value == "*" => {}
        None if !name.contains('*') => checker.subdomain(name, "a host"),
        Some(_) | None => checker.invalid_because(
            name.span,
            format!("`{}` is not a pattern of hosts", Short(name)),
            "a `*` stands for the first labels, as in `*.example.com`",
        ),
    }
}

/// A host that names one service: where requests go is not a pattern.
fn one_host(name: &Spanned<String>, checker: &mut Checker<'_>) {
    if name.contains('*') {
        checker.invalid_because(
            name.span,
            format!("`{}` stands for many services, and requests go to one", Short(name)),
            "name the service",
        );
    } else {
        checker.subdomain(name, "a host");
    }
}

/// `mesh`, or gateways as `namespace/name` or `name`.
fn gateways(names: &[Spanned<String>], checker: &mut Checker<'_>) {
    for gateway in names {
        let (namespace, name) = match gateway.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, gateway.as_str()),
        };
        if !namespace.is_none_or(|namespace| namespace == "." || is_label(namespace)) || !is_subdomain(name) {
            checker.invalid_because(
                gateway.span,
                format!("`{}` is not the name of a gateway", Short(gateway)),
                "write `mesh`, `name` or `namespace/name`",
            );
        }
    }
    checker.unique(names.iter().map(|g| (&g.value, g.span)), |name| format!("`{name}` is given twice"));
}

/// `*` alone, or `.` and namespaces, each once.
fn export_to(scopes: &[Spanned<String>], checker: &mut Checker<'_>) {
    for scope in scopes {
        if !matches!(scope.as_str(), "*" | ".") && !is_label(scope) {
            checker.invalid(scope.span, format!("`{}` is not `*`, `.` or a namespace", Short(scope)));
        }
        if scope.value == "*" && scopes.len() > 1 {
            checker.invalid_because(
                scope.span,
                "`*` is every namespace, and others are named beside it",
                "write `*` alone, or leave it out",
            );
        }
    }
    checker.unique(scopes.iter().map(|s| (&s.value, s.span)), |name| format!("`{name}` is given twice"));
}

/// Labels that a workload must carry: names with values, neither a pattern.
fn labels(labels: &BTreeMap<String, String>, span: Span, checker: &mut Checker<'_>) {
    for (key, value) in labels {
        if key.is_empty() || key.contains('*') || value.contains('*') {
            checker.invalid_because(
                span,
                format!("`{}: {}` is not a label", Short(key), Short(value)),
                "labels are compared as they are; there are no patterns",
            );
        }
    }
}

/// A field that is accepted and changes nothing.
fn no_effect(span: Span, what: &str, why: &str, checker: &mut Checker<'_>) {
    let finding = Diagnostic::warning(NO_EFFECT, format!("`{what}` has no effect")).at(span).with_note(why);
    checker.report(finding.help("remove it"));
}

/// Two fields of which only one may be there.
fn exclusive(first: (&str, Span), second: (&str, Span), checker: &mut Checker<'_>) {
    let message = format!("`{}` and `{}` exclude each other", first.0, second.0);
    checker.report(
        Diagnostic::error(INVALID_VALUE, message)
            .at(second.1)
            .related(first.1, format!("`{}` is here", first.0)),
    );
}
