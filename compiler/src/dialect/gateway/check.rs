//! What can be wrong with an HTTPRoute by itself: the rules that the CRD has as schema and as CEL
//! (gwapi:apis/v1/httproute_types.go), and everything that cannot be honoured exactly.

use super::filter::{
    Filter, FilterType, Header, HeaderModifier, PathModifier, PathModifierType, RequestRedirect, UrlRewrite,
};
use super::http_route::{
    BackendRef, HttpMatch, HttpRoute, HttpRule, ParentRef, PathMatch, PathMatchType, RouteTimeouts,
    ValueMatchType,
};
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD, Spanned};

impl HttpRoute {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        checker.not_yet(
            spec.use_default_gateways.as_ref(),
            "useDefaultGateways",
            "gateways at the edge of the mesh",
        );
        if spec.parent_refs.is_empty() {
            checker.invalid_because(
                spec.span,
                "the route is attached to nothing",
                "name a Service in `parentRefs`",
            );
        }
        checker.at_most(&spec.parent_refs, 32, "parents");
        for parent in &spec.parent_refs {
            parent.check(checker);
        }
        checker.unique(spec.parent_refs.iter().map(|p| (p.identity(), p.span)), |_| {
            "the route is attached to this parent twice".to_owned()
        });
        check_hostnames(&spec.hostnames, checker);
        let rules = spec.rules.as_deref().unwrap_or_default();
        checker.at_most(rules, 16, "rules");
        let matches: Vec<_> = rules.iter().flat_map(|rule| &rule.matches).collect();
        if let Some(first) = matches.get(128) {
            checker.invalid(
                first.span,
                format!("{} matches are more than the 128 that a route may have", matches.len()),
            );
        }
        for rule in rules {
            rule.check(checker);
        }
        let names = rules.iter().filter_map(|rule| rule.name.as_ref());
        checker.unique(names.map(|n| (&n.value, n.span)), |name| format!("two rules are called `{name}`"));
    }
}

/// That they have no effect is found when the route is attached.
fn check_hostnames(hostnames: &[Spanned<String>], checker: &mut Checker<'_>) {
    checker.at_most(hostnames, 16, "hostnames");
    for hostname in hostnames {
        let bare = hostname.clone().map(|name| name.strip_prefix("*.").unwrap_or(&name).to_owned());
        checker.subdomain(&bare, "a host");
    }
}

impl ParentRef {
    fn check(&self, checker: &mut Checker<'_>) {
        if !self.is_service() {
            let kind = self.kind.as_ref().map_or("Gateway", |kind| kind.value.as_str());
            let group = self.group.as_ref().map(|group| group.value.as_str());
            let span = self.kind.as_ref().map_or(self.name.span, |kind| kind.span);
            let name = match group {
                Some(group) if !matches!(group, "" | "core") => format!("parentRef to {group}/{kind}"),
                _ => format!("parentRef to a {kind}"),
            };
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, format!("{} is not supported", Short(&name)))
                    .at(span)
                    .help("routes of a mesh are attached to a Service: `group: \"\"`, `kind: Service`"),
            );
        }
        checker.subdomain(&self.name, "an object");
        if let Some(namespace) = &self.namespace {
            checker.label(namespace, "a namespace");
        }
        checker.port(self.port.as_ref());
    }

    fn identity(&self) -> impl std::hash::Hash + Eq + '_ {
        let text = |field: &'_ Option<Spanned<String>>| field.as_ref().map(|f| f.value.clone());
        (
            text(&self.namespace),
            self.name.value.as_str(),
            self.port.as_ref().map(|p| p.value),
            text(&self.section_name),
        )
    }
}

impl HttpRule {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.not_yet(self.retry.as_ref(), "retry", "Gateway API's reckoning of retries");
        checker.not_yet(
            self.session_persistence.as_ref(),
            "sessionPersistence",
            "proxies that keep callers together",
        );
        if let Some(name) = &self.name {
            checker.subdomain(name, "a rule");
        }
        checker.at_most(&self.matches, 64, "matches");
        for condition in &self.matches {
            condition.check(checker);
        }
        check_filters(&self.filters, checker);
        self.check_redirects(checker);
        checker.at_most(&self.backend_refs, 16, "backends");
        for backend in &self.backend_refs {
            backend.check(checker);
        }
        if let Some(timeouts) = &self.timeouts {
            timeouts.check(checker);
        }
    }

    /// `replacePrefixMatch` needs to know one prefix, and a redirect leaves nothing for backends.
    fn check_redirects(&self, checker: &mut Checker<'_>) {
        for filter in &self.filters {
            let redirect = filter.request_redirect.as_ref();
            let path = redirect
                .and_then(|redirect| redirect.path.as_ref())
                .or_else(|| filter.url_rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref()));
            if let Some(path) = path
                && path.kind.value == PathModifierType::ReplacePrefixMatch
                && !self.has_one_prefix()
            {
                checker.invalid_because(
                    path.kind.span,
                    "`ReplacePrefixMatch` needs a rule with exactly one match, and that by `PathPrefix`",
                    "split the rule, or use `ReplaceFullPath`",
                );
            }
            if let (Some(redirect), Some(backend)) = (redirect, self.backend_refs.first()) {
                checker.report(
                    Diagnostic::error(INVALID_VALUE, "a rule that redirects has no backends")
                        .at(backend.span)
                        .related(redirect.span, "the redirect is here"),
                );
            }
        }
    }

    fn has_one_prefix(&self) -> bool {
        let is_prefix = |condition: &HttpMatch| {
            condition.path.as_ref().is_none_or(|path| path.kind() == PathMatchType::PathPrefix)
        };
        match self.matches.as_slice() {
            [] => true,
            [only] => is_prefix(only),
            [_, _, ..] => false,
        }
    }
}

impl HttpMatch {
    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(path) = &self.path {
            path.check(checker);
        }
        if let Some(method) = &self.method {
            checker.standard_method(method);
        }
        checker.at_most(&self.headers, 16, "header conditions");
        for header in &self.headers {
            checker.header_name(&header.name);
            value(header.kind(), &header.value.value, checker);
        }
        checker.unique(self.headers.iter().map(|h| (h.name.to_lowercase(), h.name.span)), |name| {
            format!("`{name}` is matched twice, and only the first would count")
        });
        checker.at_most(&self.query_params, 16, "query conditions");
        for parameter in &self.query_params {
            if parameter.name.is_empty() || parameter.name.len() > 256 {
                checker.invalid(parameter.name.span, "a query parameter's name has 1 to 256 characters");
            }
            value(parameter.kind(), &parameter.value.value, checker);
        }
        checker.unique(self.query_params.iter().map(|q| (&q.name.value, q.name.span)), |name| {
            format!("`{name}` is matched twice, and only the first would count")
        });
    }
}

fn value(kind: ValueMatchType, value: &Spanned<String>, checker: &mut Checker<'_>) {
    if value.is_empty() || value.len() > 4096 {
        checker.invalid(value.span, "a value to match has 1 to 4096 characters");
    } else if kind == ValueMatchType::RegularExpression {
        checker.regex(value);
    }
}

impl PathMatch {
    fn check(&self, checker: &mut Checker<'_>) {
        let Some(value) = &self.value else { return };
        if value.len() > 1024 {
            checker.invalid(value.span, "a path to match has at most 1024 characters");
            return;
        }
        match self.kind() {
            PathMatchType::Exact | PathMatchType::PathPrefix => checker.path(value),
            PathMatchType::RegularExpression => checker.regex(value),
        }
    }
}

impl BackendRef {
    fn check(&self, checker: &mut Checker<'_>) {
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
        if let Some(weight) = &self.weight
            && weight.value > 1_000_000
        {
            checker.invalid(weight.span, format!("the weight {weight} is more than 1000000"));
        }
        check_filters(&self.filters, checker);
        for filter in &self.filters {
            if matches!(filter.kind.value, FilterType::RequestRedirect | FilterType::UrlRewrite) {
                checker.not_yet_at(
                    filter.kind.span,
                    "a redirect or rewrite for one backend",
                    "rewriting after the split",
                );
            }
        }
    }
}

impl RouteTimeouts {
    fn check(&self, checker: &mut Checker<'_>) {
        if let (Some(request), Some(backend)) = (&self.request, &self.backend_request)
            && !request.is_zero()
            && (backend.value > request.value || backend.is_zero())
        {
            checker.report(
                Diagnostic::error(INVALID_VALUE, "`backendRequest` is longer than `request`")
                    .at(backend.span)
                    .related(request.span, "the whole request has less time"),
            );
        }
    }
}

// -------------------------------------------------------------------------------------------------- filters

fn check_filters(filters: &[Spanned<Filter>], checker: &mut Checker<'_>) {
    checker.at_most(filters, 16, "filters");
    for filter in filters {
        filter.check(checker);
    }
    checker.unique(filters.iter().map(|f| (f.kind.value, f.kind.span)), |kind| {
        format!("`{}` is given twice", kind.as_str())
    });
    let find = |kind| filters.iter().find(|filter| filter.kind.value == kind);
    if let (Some(redirect), Some(rewrite)) = (find(FilterType::RequestRedirect), find(FilterType::UrlRewrite))
    {
        checker.report(
            Diagnostic::error(INVALID_VALUE, "`RequestRedirect` and `URLRewrite` exclude each other")
                .at(rewrite.kind.span)
                .related(redirect.kind.span, "the redirect is here"),
        );
    }
}

impl Filter {
    fn check(&self, checker: &mut Checker<'_>) {
        self.check_shape(checker);
        let needs = match self.kind.value {
            FilterType::RequestMirror => Some("proxies that copy requests"),
            FilterType::Cors => Some("cross-origin answers in proxies"),
            FilterType::ExternalAuth => Some("proxies that ask another service"),
            FilterType::ExtensionRef => Some("filters of our own"),
            FilterType::RequestHeaderModifier
            | FilterType::ResponseHeaderModifier
            | FilterType::RequestRedirect
            | FilterType::UrlRewrite => None,
        };
        if let Some(needs) = needs {
            checker.not_yet_at(self.kind.span, self.kind.value.as_str(), needs);
        }
        for modifier in [&self.request_header_modifier, &self.response_header_modifier].into_iter().flatten()
        {
            modifier.check(checker);
        }
        if let Some(redirect) = &self.request_redirect {
            redirect.check(checker);
        }
        if let Some(rewrite) = &self.url_rewrite {
            rewrite.check(checker);
        }
    }

    /// The field of the filter's type, and no other.
    fn check_shape(&self, checker: &mut Checker<'_>) {
        let fields = [
            (FilterType::RequestHeaderModifier, self.request_header_modifier.as_ref().map(|f| f.span)),
            (FilterType::ResponseHeaderModifier, self.response_header_modifier.as_ref().map(|f| f.span)),
            (FilterType::RequestRedirect, self.request_redirect.as_ref().map(|f| f.span)),
            (FilterType::UrlRewrite, self.url_rewrite.as_ref().map(|f| f.span)),
            (FilterType::RequestMirror, self.request_mirror.map(|f| f.span)),
            (FilterType::Cors, self.cors.map(|f| f.span)),
            (FilterType::ExternalAuth, self.external_auth.map(|f| f.span)),
            (FilterType::ExtensionRef, self.extension_ref.map(|f| f.span)),
        ];
        let kind = self.kind.value;
        for (other, place) in fields {
            match place {
                Some(place) if other != kind => checker.invalid(
                    place,
                    format!("`{}` is not a field of a filter of type `{}`", other.field(), kind.as_str()),
                ),
                None if other == kind => checker.report(
                    Diagnostic::error(MISSING_FIELD, format!("the filter has no `{}`", kind.field()))
                        .at(self.kind.span),
                ),
                Some(_) | None => {}
            }
        }
    }
}

impl FilterType {
    fn as_str(self) -> &'static str {
        match self {
            Self::RequestHeaderModifier => "RequestHeaderModifier",
            Self::ResponseHeaderModifier => "ResponseHeaderModifier",
            Self::RequestRedirect => "RequestRedirect",
            Self::UrlRewrite => "URLRewrite",
            Self::RequestMirror => "RequestMirror",
            Self::Cors => "CORS",
            Self::ExternalAuth => "ExternalAuth",
            Self::ExtensionRef => "ExtensionRef",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::RequestHeaderModifier => "requestHeaderModifier",
            Self::ResponseHeaderModifier => "responseHeaderModifier",
            Self::RequestRedirect => "requestRedirect",
            Self::UrlRewrite => "urlRewrite",
            Self::RequestMirror => "requestMirror",
            Self::Cors => "cors",
            Self::ExternalAuth => "externalAuth",
            Self::ExtensionRef => "extensionRef",
        }
    }
}

impl HeaderModifier {
    fn check(&self, checker: &mut Checker<'_>) {
        for (headers, what) in [(&self.set, "set"), (&self.add, "added")] {
            checker.at_most(headers, 16, "headers");
            for header in headers {
                header.check(checker);
            }
            checker.unique(headers.iter().map(|h| (h.name.to_lowercase(), h.name.span)), |name| {
                format!("`{name}` is {what} twice")
            });
        }
        checker.at_most(&self.remove, 16, "headers");
        for name in &self.remove {
            checker.header_name(name);
        }
        checker.unique(self.remove.iter().map(|n| (n.to_lowercase(), n.span)), |name| {
            format!("`{name}` is removed twice")
        });
    }
}

impl Header {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.header_name(&self.name);
        checker.header_value(&self.value);
    }
}

impl RequestRedirect {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.scheme(self.scheme.as_ref());
        checker.redirect_status(self.status_code.as_ref());
        checker.port(self.port.as_ref());
        if let Some(hostname) = &self.hostname {
            checker.subdomain(hostname, "a host");
        }
        if let Some(path) = &self.path {
            path.check(checker);
        }
    }
}

impl UrlRewrite {
    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(hostname) = &self.hostname {
            checker.subdomain(hostname, "a host");
        }
        if let Some(path) = &self.path {
            path.check(checker);
        }
    }
}

impl PathModifier {
    fn check(&self, checker: &mut Checker<'_>) {
        let (wanted, other, name, other_name) = match self.kind.value {
            PathModifierType::ReplaceFullPath => {
                (&self.replace_full_path, &self.replace_prefix_match, "replaceFullPath", "replacePrefixMatch")
            }
            PathModifierType::ReplacePrefixMatch => {
                (&self.replace_prefix_match, &self.replace_full_path, "replacePrefixMatch", "replaceFullPath")
            }
        };
        if let Some(other) = other {
            checker.invalid(
                other.span,
                format!("`{other_name}` is not the field of this type; that is `{name}`"),
            );
        }
        match wanted {
            Some(path) if path.is_empty() && name == "replacePrefixMatch" => {}
            Some(path) => checker.path(path),
            None => checker.report(
                Diagnostic::error(MISSING_FIELD, format!("the new path has no `{name}`")).at(self.kind.span),
            ),
        }
    }
}
