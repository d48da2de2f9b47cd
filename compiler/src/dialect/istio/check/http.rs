//! What can be wrong with a route of requests.

use data_encoding::BASE64;
use weft_bundle::engine::{is_authority, is_path_text, is_substitution, whole_regex};

use super::{exclusive, extras, one_host};
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::dialect::istio::StringMatch;
use crate::dialect::istio::virtual_service::{
    Destination, DirectResponse, HeaderOperations, Headers, HttpRedirect, HttpRewrite, HttpRoute,
};
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, Span, Spanned};

impl HttpRoute {
    pub(super) fn check(&self, span: Span, of_delegate: bool, checker: &mut Checker<'_>) {
        self.check_outcome(span, of_delegate, checker);
        for condition in &self.matches {
            condition.check(condition.span, checker);
            if of_delegate || self.delegate.is_some() {
                condition.check_delegating(condition.span, checker);
            }
        }
        if let Some(redirect) = &self.redirect {
            redirect.check(checker);
            if redirect.prefix_rewrite.is_some() {
                self.check_prefix_rewrite(checker);
            }
        }
        if let Some(rewrite) = &self.rewrite {
            rewrite.check(rewrite.span, checker);
        }
        if let Some(response) = &self.direct_response {
            response.check(checker);
        }
        if let Some(retries) = &self.retries {
            retries.check(checker);
        }
        if let Some(fault) = &self.fault {
            fault.check(fault.span, checker);
            if self.direct_response.is_some() {
                checker.not_yet_at(
                    fault.span,
                    "fault",
                    "faults before an answer that the proxy gives itself",
                );
            }
        }
        if let Some(cors) = &self.cors_policy {
            cors.check(checker);
        }
        extras::mirrors(self, checker);
        self.check_authority(checker);
        headers(self.headers.as_ref(), true, checker);
        self.check_destinations(checker);
    }

    /// Exactly one of a destination, a redirect, an answer and a delegate (istio:pkg/config/validation/virtualservice.go).
    fn check_outcome(&self, span: Span, of_delegate: bool, checker: &mut Checker<'_>) {
        let route = self.route.first().map(|destination| ("route", destination.span));
        let redirect = self.redirect.as_ref().map(|redirect| ("redirect", redirect.span));
        let response = self.direct_response.as_ref().map(|response| ("directResponse", response.span));
        let delegate = self.delegate.as_ref().map(|delegate| ("delegate", delegate.span));
        let outcomes: Vec<(&str, Span)> =
            [route, redirect, response, delegate].into_iter().flatten().collect();
        match outcomes.as_slice() {
            [] => checker.invalid_because(
                span,
                "the route leads nowhere",
                "give it `route`, `redirect`, `directResponse` or `delegate`",
            ),
            [first, second, ..] => exclusive(*first, *second, checker),
            [_] => {}
        }
        if let (Some(delegate), true) = (&self.delegate, of_delegate) {
            checker.invalid_because(
                delegate.span,
                "a VirtualService that is taken in by another cannot take in a third",
                "let the first one name both",
            );
        }
        if let Some(redirect) = redirect {
            let fault = self.fault.as_ref().map(|fault| ("fault", fault.span));
            let rewrite = self.rewrite.as_ref().map(|rewrite| ("rewrite", rewrite.span));
            for other in [fault, rewrite].into_iter().flatten() {
                exclusive(redirect, other, checker);
            }
        }
    }

    fn check_destinations(&self, checker: &mut Checker<'_>) {
        for destination in &self.route {
            destination.destination.check(checker);
            headers(destination.headers.as_ref(), false, checker);
        }
        let nothing = |weight: Option<&Spanned<u32>>| weight.is_none_or(|weight| weight.value == 0);
        if let [first, _, ..] = self.route.as_slice()
            && self.route.iter().all(|destination| nothing(destination.weight.as_ref()))
        {
            all_zero(first.span, checker);
        }
    }

    /// The prefix that is replaced is one that was matched.
    fn check_prefix_rewrite(&self, checker: &mut Checker<'_>) {
        let prefix = |condition: &crate::dialect::istio::HttpMatchRequest| {
            matches!(condition.uri.as_deref(), Some(StringMatch::Prefix(_)))
        };
        let text = self.redirect.as_ref().and_then(|redirect| redirect.prefix_rewrite.as_ref());
        if let Some(text) = text
            && !self.matches.iter().all(|condition| prefix(condition))
        {
            checker.invalid_because(
                text.span,
                "`prefixRewrite` replaces the prefix that was matched, and there is none",
                "match `uri` by `prefix`, or write `uri` to replace all of it",
            );
        }
    }

    /// The authority is set in one place.
    fn check_authority(&self, checker: &mut Checker<'_>) {
        let rewrite = self.rewrite.as_ref().and_then(|rewrite| rewrite.authority.as_ref());
        let header = self.headers.as_ref().and_then(|headers| headers.request.as_ref());
        let header = header.and_then(|operations| operations.authority());
        if let (Some(rewrite), Some(header)) = (rewrite, header) {
            exclusive(("rewrite.authority", rewrite.span), ("host", header.span), checker);
        }
        if let Some(authority) = header {
            check_place(Some(authority), None, checker);
        }
    }
}

/// Of several destinations each says its share.
pub(super) fn all_zero(span: Span, checker: &mut Checker<'_>) {
    checker.invalid_because(
        span,
        "the weights of all destinations are zero",
        "of several destinations each needs a `weight`; one without gets nothing",
    );
}

/// What a rewrite or redirect puts into the request line or `Location`.
fn check_place(
    authority: Option<&Spanned<String>>,
    uri: Option<&Spanned<String>>,
    checker: &mut Checker<'_>,
) {
    if let Some(authority) = authority
        && !is_authority(authority)
    {
        let message = format!("`{}` is not a host, or a host and a port", Short(authority));
        checker.invalid(authority.span, message);
    }
    if let Some(uri) = uri
        && !is_path_text(uri)
    {
        checker.invalid_because(
            uri.span,
            format!("`{}` cannot stand in a path", Short(uri)),
            "write what is not plain as `%` and two digits; the query of the request always stays",
        );
    }
}

impl HttpRewrite {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        if self.uri.is_none() && self.authority.is_none() && self.uri_regex_rewrite.is_none() {
            checker.invalid(span, "a rewrite needs `uri`, `uriRegexRewrite` or `authority`");
        }
        if let Some(uri) = self.uri.as_ref().filter(|uri| uri.starts_with('/') && is_path_text(uri)) {
            checker.path(uri);
        }
        check_place(self.authority.as_ref(), self.uri.as_ref(), checker);
        if let (Some(uri), Some(regex)) = (&self.uri, &self.uri_regex_rewrite) {
            exclusive(("uri", uri.span), ("uriRegexRewrite", regex.span), checker);
        }
        let Some(regex) = &self.uri_regex_rewrite else { return };
        checker.regex(&regex.pattern);
        if !is_path_text(&regex.rewrite.replace('\\', "")) {
            checker
                .invalid(regex.rewrite.span, format!("`{}` cannot stand in a path", Short(&regex.rewrite)));
        }
        let fits = |pattern| is_substitution(&regex.rewrite, &pattern);
        if !whole_regex(&regex.pattern).map_or(true, fits) {
            checker.invalid_because(
                regex.rewrite.span,
                format!("`{}` does not fit the expression", Short(&regex.rewrite)),
                "after `\\` stands the number of a group of the expression, or another `\\`",
            );
        }
    }
}

impl HttpRedirect {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.scheme(self.scheme.as_ref());
        checker.redirect_status(self.redirect_code.as_ref());
        checker.port(self.port.as_ref());
        self.check_port(checker);
        check_place(self.authority.as_ref(), self.uri.as_ref(), checker);
        check_place(None, self.prefix_rewrite.as_ref(), checker);
        if let (Some(uri), Some(prefix)) = (&self.uri, &self.prefix_rewrite) {
            exclusive(("uri", uri.span), ("prefixRewrite", prefix.span), checker);
        }
        if let (Some(port), Some(derived)) = (&self.port, &self.derive_port) {
            exclusive(("port", port.span), ("derivePort", derived.span), checker);
        }
    }

    /// Where the port of the new place comes from must be plain.
    fn check_port(&self, checker: &mut Checker<'_>) {
        let of_authority =
            self.authority.as_ref().and_then(|text| weft_bundle::engine::split_authority(text).1);
        let written = self.port.as_ref().map(|port| port.span);
        let written = written.or(self.derive_port.as_ref().map(|derived| derived.span));
        if let (Some(span), Some(_)) = (written, of_authority) {
            checker.invalid(span, "`authority` names a port already");
        }
        if let (Some(scheme), None, None) = (&self.scheme, &self.authority, written)
            && matches!(scheme.as_str(), "http" | "https")
        {
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, "a new `scheme` alone is not supported")
                    .at(scheme.span)
                    .with_note("Envoy would keep the request's port, whatever the scheme")
                    .help("add the `port` that is meant, or `derivePort: FROM_PROTOCOL_DEFAULT`"),
            );
        }
    }
}

impl DirectResponse {
    fn check(&self, checker: &mut Checker<'_>) {
        if !(200..=599).contains(&self.status.value) {
            let message = format!("{} is not a status from 200 to 599", self.status);
            checker.invalid(self.status.span, message);
        }
        let Some(body) = &self.body else { return };
        if matches!(self.status.value, 204 | 205 | 304) {
            checker.invalid(body.span, format!("an answer with status {} has no body", self.status));
        }
        match (&body.string, &body.bytes) {
            (Some(text), Some(bytes)) => exclusive(("string", text.span), ("bytes", bytes.span), checker),
            (None, None) => checker.invalid(body.span, "a body needs `string` or `bytes`"),
            (None, Some(bytes)) if BASE64.decode(bytes.as_bytes()).is_err() => {
                checker.invalid(bytes.span, "this is not base64");
            }
            (None, Some(bytes)) if body.text().is_none() => {
                checker.not_yet_at(bytes.span, "bytes", "bodies that are not UTF-8 text");
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if let Some(text) = body.text()
            && text.len() > MAX_BODY_BYTES
        {
            let message = format!("{} bytes are more than the 4096 that an answer may have", text.len());
            checker.report(Diagnostic::error(INVALID_VALUE, message).at(body.span));
        }
    }
}

/// Envoy's default, `max_direct_response_body_size_bytes`.
const MAX_BODY_BYTES: usize = 4096;

impl Destination {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        one_host(&self.host, checker);
        if let Some(subset) = &self.subset {
            checker.label(subset, "a subset");
        }
        checker.port(self.port.as_ref().map(|port| &port.number));
    }
}

/// Of a whole route, or of one destination.
fn headers(headers: Option<&Spanned<Headers>>, of_route: bool, checker: &mut Checker<'_>) {
    let Some(headers) = headers else { return };
    if let Some(request) = &headers.request {
        request.check(of_route, checker);
    }
    if let Some(response) = &headers.response {
        response.check(false, checker);
    }
}

impl HeaderOperations {
    fn check(&self, may_set_host: bool, checker: &mut Checker<'_>) {
        for (name, value) in self.set.iter().chain(&self.add) {
            self.check_name(name, may_set_host, checker);
            checker.header_value(value);
            if value.contains('%') {
                checker.report(
                    Diagnostic::error(NOT_SUPPORTED, "`%` in a header value is not supported")
                        .at(value.span)
                        .with_note("Envoy replaces commands such as `%REQ(...)%` there; proxies here do not"),
                );
            }
        }
        for name in &self.remove {
            self.check_name(name, false, checker);
        }
    }

    /// Istio takes `host` and `:authority` in a request's fields for the authority.
    fn check_name(&self, name: &Spanned<String>, may_set_host: bool, checker: &mut Checker<'_>) {
        if !is_authority_field(name) {
            checker.header_name(name);
        } else if !may_set_host {
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, "changing `host` as a header is not supported here")
                    .at(name.span)
                    .help("use `rewrite.authority` of the route"),
            );
        }
    }

    /// The authority that a route's request fields set.
    pub fn authority(&self) -> Option<&Spanned<String>> {
        self.set.iter().chain(&self.add).find(|(name, _)| is_authority_field(name)).map(|(_, value)| value)
    }
}

/// Whether a field's name stands for the authority.
pub(crate) fn is_authority_field(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}
