//! What can be wrong with retries and sessions by themselves (gwapi:apis/v1/httproute_types.go, shared_types.go).

use super::super::session::{CookieLifetime, RouteRetry, SessionPersistence, SessionType};
use crate::diagnostic::Diagnostic;
use crate::dialect::check::Checker;
use crate::yaml::MISSING_FIELD;

impl RouteRetry {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        for code in self.codes.iter().filter(|code| !(400..=599).contains(&code.value)) {
            checker.invalid(code.span, format!("{code} is not a status from 400 to 599"));
        }
        checker.unique(self.codes.iter().map(|code| (code.value, code.span)), |code| {
            format!("the status {code} is there twice")
        });
        if let Some(backoff) = self.backoff.as_ref().filter(|backoff| backoff.is_zero()) {
            checker.invalid_because(
                backoff.span,
                "a pause of zero would retry at once",
                "leave `backoff` out for a pause of 25 ms that grows",
            );
        }
    }
}

impl SessionPersistence {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        if let Some(name) = &self.session_name {
            if name.len() > 128 {
                checker.invalid(name.span, "a session's name has at most 128 characters");
            }
            // Names of cookies and of header fields are both tokens.
            checker.header_name(name);
        }
        let Some(config) = &self.cookie_config else { return };
        if self.kind() == SessionType::Header {
            checker.invalid(config.span, "`cookieConfig` is not for a session of type `Header`");
        }
        if self.lifetime() == CookieLifetime::Permanent && self.absolute_timeout.is_none() {
            checker.report(
                Diagnostic::error(MISSING_FIELD, "a permanent cookie has no `absoluteTimeout` that ends it")
                    .at(config.span),
            );
        }
    }
}
