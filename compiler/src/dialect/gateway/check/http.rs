//! What can be wrong with an HTTPRoute by itself: the rules that the CRD has as schema and as CEL
//! (gwapi:apis/v1/httproute_types.go), and everything that cannot be honoured exactly.

use super::super::filter::PathModifierType;
use super::super::http_route::{
    HeaderMatch, HttpMatch, HttpRoute, HttpRule, PathMatch, PathMatchType, RouteTimeouts, ValueMatchType,
};
use super::filter::{Allowed, check_filters};
use super::route::{RequestRule, check_backends, check_requests};
use crate::diagnostic::Diagnostic;
use crate::dialect::check::Checker;
use crate::yaml::{INVALID_VALUE, Span, Spanned};

impl HttpRoute {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        check_requests(spec, checker);
    }
}

impl RequestRule for HttpRule {
    fn name(&self) -> Option<&Spanned<String>> {
        self.name.as_ref()
    }

    fn matches(&self) -> Vec<Span> {
        self.matches.iter().map(|condition| condition.span).collect()
    }

    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(name) = &self.name {
            checker.subdomain(name, "a rule");
        }
        checker.at_most(&self.matches, 64, "matches");
        for condition in &self.matches {
            condition.check(checker);
        }
        check_filters(&self.filters, Allowed::Http, checker);
        self.check_redirects(checker);
        check_backends(&self.backend_refs, Allowed::Http, checker);
        if let Some(retry) = &self.retry {
            retry.check(checker);
        }
        if let Some(session) = &self.session_persistence {
            session.check(checker);
        }
        if let Some(timeouts) = &self.timeouts {
            timeouts.check(checker);
        }
    }
}

impl HttpRule {
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
        check_headers(&self.headers, checker);
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

/// The conditions on headers of a match.
pub(super) fn check_headers(headers: &[Spanned<HeaderMatch>], checker: &mut Checker<'_>) {
    checker.at_most(headers, 16, "header conditions");
    for header in headers {
        checker.header_name(&header.name);
        value(header.kind(), &header.value.value, checker);
    }
    checker.unique(headers.iter().map(|h| (h.name.to_lowercase(), h.name.span)), |name| {
        format!("`{name}` is matched twice, and only the first would count")
    });
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
