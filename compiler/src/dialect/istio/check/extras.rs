//! What can be wrong with retries, faults, copies and cross-origin answers.

use super::{exclusive, no_effect};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::dialect::check::Checker;
use crate::dialect::istio::StringMatch;
use crate::dialect::istio::virtual_service::{
    AbortFault, CorsPolicy, DelayFault, HttpFault, HttpRetry, HttpRoute, IntegerPercent, Percent, condition,
};
use crate::dialect::{NO_EFFECT, NOT_SUPPORTED};
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, Span, Spanned};

impl HttpRetry {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        if let Some(remote) = self.retry_remote_localities.as_ref().filter(|remote| remote.value) {
            let needs =
                "retries that leave the locality on purpose; here a retry goes to any endpoint not yet tried";
            checker.not_yet_at(remote.span, "retryRemoteLocalities", needs);
        }
        if let Some(ignore) = self.retry_ignore_previous_hosts.as_ref().filter(|ignore| !ignore.value) {
            let needs =
                "retries that may go to the endpoint that failed; here they prefer those not yet tried";
            checker.not_yet_at(ignore.span, "retryIgnorePreviousHosts: false", needs);
        }
        if self.attempts.as_ref().is_none_or(|attempts| attempts.value == 0)
            && let Some(span) = (self.per_try_timeout.as_ref().map(|limit| limit.span))
                .or(self.retry_on.as_ref().map(|words| words.span))
        {
            checker.invalid_because(
                span,
                "there are no retries, so this has no effect",
                "add `attempts`: without a number above 0 there are none",
            );
        }
        let Some(words) = &self.retry_on else { return };
        let unknown = |word: &&str| !word.trim().is_empty() && condition(word).is_none();
        for word in words.split(',').filter(unknown) {
            unknown_condition(word.trim(), words.span, checker);
        }
        let codes = |word: &str| word.trim().parse::<u16>().is_ok();
        if words.split(',').any(|word| word.trim() == "retriable-status-codes")
            && !words.split(',').any(codes)
        {
            checker.invalid_because(
                words.span,
                "`retriable-status-codes` stands for codes, and none is named",
                "add them, as in `retriable-status-codes,503`",
            );
        }
    }
}

fn unknown_condition(word: &str, span: Span, checker: &mut Checker<'_>) {
    let needs = match word {
        "envoy-ratelimited" => Some("answers that say they come from a rate limit of Envoy"),
        "retriable-headers" => {
            Some("headers that say so; Istio has no field to name them, so it does nothing there")
        }
        "reset-before-request" => {
            Some("telling how much of a request a lost connection had taken; use `reset`")
        }
        "http3-post-connect-failure" => Some("HTTP/3, which is not spoken here"),
        _ => None,
    };
    let diagnostic = match needs {
        Some(_) => Diagnostic::error(NOT_SUPPORTED, format!("retries on `{word}` are not supported")),
        None => Diagnostic::error(INVALID_VALUE, format!("`{}` is not a retry condition", Short(word))),
    };
    let known = "connect-failure, refused-stream, reset, gateway-error, 5xx, retriable-4xx, cancelled, \
                 deadline-exceeded, internal, resource-exhausted, unavailable and codes such as 503";
    let diagnostic = diagnostic.at(span).help(format!("conditions are {known}"));
    checker.report(match needs {
        Some(needs) => diagnostic.with_note(format!("it needs {needs}")),
        None => diagnostic,
    });
}

/// 0 to 100, and nothing finer than Istio's own resolution.
fn percent(percent: &Spanned<Percent>, checker: &mut Checker<'_>) {
    let Some(value) = &percent.value.value else { return };
    if !(0.0..=100.0).contains(&value.value) {
        checker.invalid(value.span, format!("{} is not a share from 0 to 100 per cent", value.value));
    } else if value.value > 0.0 && value.value < 0.0001 {
        checker.invalid(value.span, "a share is at least 0.0001 per cent");
    }
}

fn integer_percent(percent: &Spanned<IntegerPercent>, checker: &mut Checker<'_>) {
    if percent.value.0 > 100 {
        checker.invalid(percent.span, format!("{} is not a share from 0 to 100 per cent", percent.value.0));
    }
}

/// A fault whose share is not there, or nothing, hits no request.
fn never(span: Span, share: Option<weft_bundle::body::Fraction>, what: &str, checker: &mut Checker<'_>) {
    if share.is_none_or(|share| share.numerator == 0) {
        let why = "without a `percentage` above 0 no request is hit";
        no_effect(span, what, why, checker);
    }
}

impl HttpFault {
    pub(super) fn check(&self, span: Span, checker: &mut Checker<'_>) {
        if self.delay.is_none() && self.abort.is_none() {
            checker.invalid(span, "a fault needs `delay` or `abort`");
        }
        if let Some(delay) = &self.delay {
            delay.check(delay.span, checker);
        }
        if let Some(abort) = &self.abort {
            abort.check(abort.span, checker);
        }
    }
}

impl DelayFault {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let needs = "a delay that grows; Istio has the field and does not serve it either";
        checker.not_yet(self.exponential_delay.as_ref(), "exponentialDelay", needs);
        match &self.fixed_delay {
            None if self.exponential_delay.is_none() => {
                checker.invalid(span, "a delay needs `fixedDelay`");
            }
            Some(delay) if delay.is_zero() => {
                checker.invalid(delay.span, "a delay is at least `1ms`");
            }
            Some(_) | None => {}
        }
        if let Some(share) = &self.percentage {
            percent(share, checker);
        }
        if let Some(share) = &self.percent {
            integer_percent(share, checker);
        }
        never(span, self.share(), "delay", checker);
    }
}

impl AbortFault {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let needs = "an HTTP/2 error as an answer; Istio has the field and does not serve it either";
        checker.not_yet(self.http2_error.as_ref(), "http2Error", needs);
        match (&self.http_status, &self.grpc_status) {
            (Some(http), Some(grpc)) => {
                exclusive(("httpStatus", http.span), ("grpcStatus", grpc.span), checker);
            }
            (None, None) if self.http2_error.is_none() => {
                checker.invalid(span, "an abort needs `httpStatus` or `grpcStatus`");
            }
            _ => {}
        }
        if let Some(status) = self.http_status.as_ref().filter(|status| !(200..=599).contains(&status.value))
        {
            checker.invalid(status.span, format!("{status} is not a status from 200 to 599"));
        }
        if let Some(status) = &self.grpc_status
            && self.grpc_code().is_none()
        {
            let message = format!("`{}` is not a status of gRPC", Short(status));
            let near = did_you_mean(status, Self::grpc_names().iter().copied());
            let near = near.map(|near| format!("did you mean `{near}`?"));
            checker.report(Diagnostic::error(INVALID_VALUE, message).at(status.span).maybe_help(near));
        }
        if let Some(share) = &self.percentage {
            percent(share, checker);
        }
        never(span, self.share(), "abort", checker);
    }
}

impl CorsPolicy {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        for origin in &self.allow_origins {
            origin.check(checker);
        }
        for method in self.allow_methods.iter().filter(|method| method.value != "*") {
            checker.method(method);
        }
        for name in self.allow_headers.iter().chain(&self.expose_headers).filter(|name| name.value != "*") {
            checker.header_name(name);
        }
        if let (Some(old), Some(new)) = (self.allow_origin.first(), self.allow_origins.first()) {
            exclusive(("allowOrigins", new.span), ("allowOrigin", old.span), checker);
        }
        if let Some(age) = &self.max_age
            && age.get().subsec_millis() != 0
        {
            checker.invalid(age.span, "browsers count whole seconds");
        }
        let credentials = self.allow_credentials.as_ref().filter(|allowed| allowed.value);
        let everyone = self
            .allow_origins
            .iter()
            .find(|origin| matches!(&origin.value, StringMatch::Exact(text) if text.value == "*"));
        if let (Some(credentials), Some(everyone)) = (credentials, everyone) {
            checker.report(
                Diagnostic::warning(NO_EFFECT, "browsers send no credentials where any origin may ask")
                    .at(credentials.span)
                    .related(everyone.span, "any origin may ask"),
            );
        }
    }
}

/// Where copies go, by either of two fields, and how many.
pub(super) fn mirrors(route: &HttpRoute, checker: &mut Checker<'_>) {
    if let (Some(one), Some(several)) = (&route.mirror, route.mirrors.first()) {
        exclusive(("mirror", one.span), ("mirrors", several.span), checker);
    }
    let shares = [
        route.mirror_percentage.as_ref().map(|share| ("mirrorPercentage", share.span)),
        route.mirror_percent.as_ref().map(|share| ("mirrorPercent", share.span)),
    ];
    for (name, span) in shares.into_iter().flatten().filter(|_| route.mirror.is_none()) {
        checker.invalid_because(
            span,
            format!("`{name}` is a share of copies, and there is no `mirror`"),
            "add `mirror`",
        );
    }
    if let Some(mirror) = &route.mirror {
        mirror.check(checker);
    }
    for mirror in &route.mirrors {
        mirror.destination.check(checker);
        if let Some(share) = &mirror.percentage {
            percent(share, checker);
        }
    }
    if let Some(share) = &route.mirror_percentage {
        percent(share, checker);
    }
    if let Some(share) = &route.mirror_percent {
        integer_percent(share, checker);
    }
}
