//! What can be wrong with a condition on requests.

use super::{gateways, labels, no_effect};
use crate::dialect::check::Checker;
use crate::dialect::istio::virtual_service::HttpMatchRequest;
use crate::dialect::istio::{StringMatch, ValueMatch};
use crate::yaml::{Map, Span, Spanned};

impl HttpMatchRequest {
    pub(super) fn check(&self, span: Span, checker: &mut Checker<'_>) {
        if let Some(prefix) = &self.stat_prefix {
            let why = "metrics here are named by service and rule, never by what a document makes up";
            no_effect(prefix.span, "statPrefix", why, checker);
        }
        gateways(&self.gateways, checker);
        labels(&self.source_labels, span, checker);
        self.check_uri(checker);
        for text in [&self.scheme, &self.method, &self.authority].into_iter().flatten() {
            text.check(checker);
        }
        if let Some(method) = &self.method
            && let StringMatch::Exact(method) = &method.value
        {
            checker.method(method);
        }
        fields(&self.headers, checker);
        fields(&self.without_headers, checker);
        for (_, condition) in &self.query_params {
            if let ValueMatch::Like(condition) = &condition.value {
                condition.check(checker);
            }
        }
        checker.port(self.port.as_ref());
        if let Some(namespace) = &self.source_namespace {
            checker.label(namespace, "a namespace");
        }
    }

    fn check_uri(&self, checker: &mut Checker<'_>) {
        let Some(uri) = &self.uri else { return };
        uri.check(checker);
        if let StringMatch::Exact(path) | StringMatch::Prefix(path) = &uri.value
            && !path.is_empty()
            && self.ignore_uri_case.as_ref().is_none_or(|ignored| !ignored.value)
        {
            checker.path(path);
        }
    }

    /// Where routes of two documents come together, conditions are compared, which expressions cannot be, and callers are
    /// those of the root (istio:pkg/config/validation/virtualservice.go, `validateHTTPRouteMatchRequest`).
    pub(super) fn check_delegating(&self, span: Span, checker: &mut Checker<'_>) {
        let texts = [&self.uri, &self.scheme, &self.method, &self.authority];
        let texts = texts.into_iter().flatten().map(|text| &text.value);
        let fields = [&self.headers, &self.without_headers, &self.query_params];
        let fields = fields.into_iter().flatten().filter_map(|(_, condition)| match &condition.value {
            ValueMatch::Like(text) => Some(text),
            ValueMatch::Present => None,
        });
        for text in texts.chain(fields) {
            if let StringMatch::Regex(pattern) = text {
                checker.invalid_because(
                    pattern.span,
                    "conditions that meet those of another document are no expressions",
                    "use `exact` or `prefix`, so that the two can be compared",
                );
            }
        }
        let callers = self.source_namespace.is_some() || !self.source_labels.is_empty();
        if callers || !self.gateways.is_empty() {
            checker.invalid_because(
                span,
                "conditions on callers are lost where routes of two documents are put together",
                "Istio drops `sourceLabels`, `sourceNamespace` and `gateways` there; remove them",
            );
        }
    }
}

fn fields(conditions: &Map<Spanned<ValueMatch>>, checker: &mut Checker<'_>) {
    for (name, condition) in conditions {
        if name.starts_with("@request.auth.claims") {
            let needs = "tokens that are read before a request is routed";
            checker.not_yet_at(name.span, &name.value, needs);
            continue;
        }
        checker.header_name(name);
        if let ValueMatch::Like(condition) = &condition.value {
            condition.check(checker);
        }
    }
}
