//! What can be wrong with any route by itself: parents, host names, names of rules, backends
//! (gwapi:apis/v1/shared_types.go).

use super::super::filter::FilterType;
use super::super::route::{BackendRef, ParentRef, RouteSpec};
use super::filter::{Allowed, check_filters};
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{MISSING_FIELD, Span, Spanned};

/// What every route says of its parents.
pub(super) fn check_parents<R>(spec: Spanned<&RouteSpec<R>>, checker: &mut Checker<'_>) {
    checker.not_yet(
        spec.use_default_gateways.as_ref(),
        "useDefaultGateways",
        "gateways that take routes which do not name them",
    );
    if spec.parent_refs.is_empty() {
        checker.invalid_because(
            spec.span,
            "the route is attached to nothing",
            "name a Service or a Gateway in `parentRefs`",
        );
    }
    checker.at_most(&spec.parent_refs, 32, "parents");
    for parent in &spec.parent_refs {
        parent.check(checker);
    }
    checker.unique(spec.parent_refs.iter().map(|p| ((p.object(), p.part()), p.span)), |_| {
        "the route is attached to this parent twice".to_owned()
    });
    for parent in &spec.parent_refs {
        let again =
            |other: &&Spanned<ParentRef>| other.span != parent.span && other.object() == parent.object();
        let whole = parent.port.is_none() && parent.section_name.is_none();
        if whole
            && let Some(other) =
                spec.parent_refs.iter().find(again).filter(|other| other.part() != parent.part())
        {
            let finding = Diagnostic::error(
                crate::yaml::INVALID_VALUE,
                "the route is attached to all of this parent, and to a part of it",
            );
            let finding = finding.at(parent.span).related(other.span, "the part is here");
            checker.report(finding.help("give each reference a `sectionName` or a `port`"));
        }
    }
}

/// Host names, perhaps with a wildcard as first label.
pub(super) fn check_hostnames(hostnames: &[Spanned<String>], limit: usize, checker: &mut Checker<'_>) {
    checker.at_most(hostnames, limit, "hostnames");
    for hostname in hostnames {
        check_hostname(hostname, checker);
    }
}

/// `Hostname`: a name, perhaps with a wildcard as first label, and no address.
pub(super) fn check_hostname(hostname: &Spanned<String>, checker: &mut Checker<'_>) {
    let bare = hostname.clone().map(|name| name.strip_prefix("*.").unwrap_or(&name).to_owned());
    checker.subdomain(&bare, "a host");
    if hostname.parse::<std::net::IpAddr>().is_ok() {
        checker.invalid(hostname.span, format!("`{hostname}` is an address, and no host name"));
    }
}

/// A rule of a route of requests.
pub(super) trait RequestRule {
    fn name(&self) -> Option<&Spanned<String>>;
    /// Where its matches are.
    fn matches(&self) -> Vec<Span>;
    fn check(&self, checker: &mut Checker<'_>);
}

/// A route of requests: its parents, its host names, and its rules.
pub(super) fn check_requests<R: RequestRule>(spec: &Spanned<RouteSpec<R>>, checker: &mut Checker<'_>) {
    check_parents(spec.as_ref(), checker);
    check_hostnames(&spec.hostnames, 16, checker);
    let rules = spec.rules.as_deref().unwrap_or_default();
    checker.at_most(rules, 16, "rules");
    let matches: Vec<Span> = rules.iter().flat_map(|rule| rule.matches()).collect();
    if let Some(first) = matches.get(128) {
        checker.invalid(
            *first,
            format!("{} matches are more than the 128 that a route may have", matches.len()),
        );
    }
    for rule in rules {
        rule.value.check(checker);
    }
    let names = rules.iter().filter_map(|rule| rule.name());
    checker.unique(names.map(|n| (&n.value, n.span)), |name| format!("two rules are called `{name}`"));
}

/// The backends of a rule.
pub(super) fn check_backends(backends: &[Spanned<BackendRef>], allowed: Allowed, checker: &mut Checker<'_>) {
    checker.at_most(backends, 16, "backends");
    for backend in backends {
        backend.check(allowed, checker);
    }
}

impl ParentRef {
    fn check(&self, checker: &mut Checker<'_>) {
        if self.parent_kind().is_none() {
            let kind = self.kind.as_ref().map_or("Gateway", |kind| kind.value.as_str());
            let group = self.group.as_ref().map(|group| group.value.as_str());
            let span = self.kind.as_ref().map_or(self.name.span, |kind| kind.span);
            let name = match group {
                Some(group) if !matches!(group, "" | "core") => format!("parentRef to {group}/{kind}"),
                _ => format!("parentRef to a {kind}"),
            };
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, format!("{} is not supported", Short(&name))).at(span).help(
                    "routes are attached to a Service (`group: \"\"`, `kind: Service`), a Gateway or a ListenerSet",
                ),
            );
        }
        checker.subdomain(&self.name, "an object");
        if let Some(namespace) = &self.namespace {
            checker.label(namespace, "a namespace");
        }
        checker.port(self.port.as_ref());
    }

    /// The object that it names.
    fn object(&self) -> impl std::hash::Hash + Eq + '_ {
        let namespace = self.namespace.as_ref().map(|namespace| namespace.value.as_str());
        let kind = match self.parent_kind() {
            Some(kind) => kind.as_str(),
            None => self.kind.as_ref().map_or("", |kind| kind.value.as_str()),
        };
        (kind, namespace, self.name.value.as_str())
    }

    /// The part of the object.
    fn part(&self) -> impl std::hash::Hash + Eq + '_ {
        let section = self.section_name.as_ref().map(|name| name.value.as_str());
        (self.port.as_ref().map(|port| port.value), section)
    }
}

impl BackendRef {
    fn check(&self, allowed: Allowed, checker: &mut Checker<'_>) {
        self.check_object(checker);
        if let Some(weight) = &self.weight
            && weight.value > 1_000_000
        {
            checker.invalid(weight.span, format!("the weight {weight} is more than 1000000"));
        }
        check_filters(&self.filters, allowed, checker);
        for filter in &self.filters {
            let needs = match filter.kind.value {
                FilterType::RequestRedirect | FilterType::UrlRewrite => "rewriting after the split",
                FilterType::RequestMirror => "copying after the split",
                FilterType::Cors => "answers to browsers after the split",
                FilterType::RequestHeaderModifier
                | FilterType::ResponseHeaderModifier
                | FilterType::ExternalAuth
                | FilterType::ExtensionRef => continue,
            };
            let what = format!("{} for one backend", filter.kind.value.as_str());
            checker.not_yet_at(filter.kind.span, &what, needs);
        }
    }

    /// What it names; also of the backend of a mirror.
    pub(super) fn check_object(&self, checker: &mut Checker<'_>) {
        if !self.is_service() {
            let kind = self.kind.as_ref().map_or("Service", |kind| kind.value.as_str());
            let group = self.group.as_ref().map_or("", |group| group.value.as_str());
            let span = self.kind.as_ref().or(self.group.as_ref()).map_or(self.name.span, |field| field.span);
            let backend = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
            checker.report(
                Diagnostic::error(
                    NOT_SUPPORTED,
                    format!("a backend of kind {} is not supported", Short(&backend)),
                )
                .at(span)
                .help("backends are Services"),
            );
        }
        checker.subdomain(&self.name, "a Service");
        if let Some(namespace) = &self.namespace {
            checker.label(namespace, "a namespace");
        }
        match &self.port {
            Some(_) => checker.port(self.port.as_ref()),
            None => checker.report(
                Diagnostic::error(
                    MISSING_FIELD,
                    format!("the backend `{}` has no `port`", Short(&self.name)),
                )
                .at(self.name.span)
                .with_note("a reference to a Service names one of its ports"),
            ),
        }
    }
}
