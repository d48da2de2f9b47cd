//! What can be wrong with an AuthorizationPolicy by itself: Istio's own validation
//! (istio:pkg/config/validation, `ValidateAuthorizationPolicy`; istio:pkg/config/security), values that no request can
//! have, and what cannot be honoured exactly.

use std::net::IpAddr;

use ipnet::IpNet;
use weft_bundle::body::PathMatch;
use weft_bundle::body::Predicate;
use weft_bundle::engine::PredicateMatcher;
use weft_bundle::engine::path::{CanonicalPath, PathRefusal};

use super::authorization_policy::{
    Action, AuthorizationPolicy, Condition, KeyError, Operation, Rule, Source, Subject,
};
use super::{pattern, selector};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned};

impl AuthorizationPolicy {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        selector::check(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, checker);
        spec.check_action(checker);
        for rule in &spec.rules {
            rule.check(rule.span, checker);
        }
    }

    fn check_action(&self, checker: &mut Checker<'_>) {
        match self.action {
            Some(action) if action.value == Action::Custom => {
                checker.report(
                    Diagnostic::error(NOT_SUPPORTED, "`action: CUSTOM` is not supported")
                        .at(action.span)
                        .with_note("an external program would decide, and bundles hold every decision themselves")
                        .help("say who may call with `ALLOW` and `DENY`, and read tokens with a RequestAuthentication"),
                );
                return;
            }
            Some(action) if action.value != Action::Allow && self.rules.is_empty() => checker
                .invalid_because(
                    action.span,
                    "the policy has no rules, so it never does what it is for",
                    "add an empty rule, `rules: [ {} ]`, to mean every request",
                ),
            Some(_) | None => {}
        }
        if let Some(provider) = &self.provider {
            checker.invalid(provider.span, "`provider` belongs to `action: CUSTOM`");
        }
    }
}

impl Rule {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        checker.not_empty(self.from.as_ref(), span, "from");
        checker.not_empty(self.to.as_ref(), span, "to");
        for from in self.from.iter().flatten() {
            from.source.check(from.source.span, checker);
        }
        for to in self.to.iter().flatten() {
            to.operation.check(to.operation.span, checker);
        }
        for condition in &self.when {
            condition.check(condition.span, checker);
        }
    }
}

impl Source {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let lists = self.lists();
        if lists.iter().all(|(_, _, values, _)| values.is_empty()) {
            checker.invalid_because(span, "`source` says nothing", "leave `from` out to mean everyone");
        }
        let named =
            |subject: &Subject| lists.iter().find(|(of, _, values, _)| of == subject && !values.is_empty());
        let account = named(&Subject::ServiceAccount);
        let other = named(&Subject::Principal).or_else(|| named(&Subject::Namespace));
        if let (Some((_, account, _, _)), Some((_, other, _, _))) = (account, other) {
            checker.invalid(span, format!("`{account}` and `{other}` exclude each other"));
        }
        for (subject, name, values, _) in lists {
            check_values(&subject, name, values, checker);
            if subject == Subject::ServiceAccount {
                checker.at_most(values, 16, "service accounts");
            }
        }
    }
}

impl Operation {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let lists = self.lists();
        if lists.iter().all(|(_, _, values, _)| values.is_empty()) {
            checker.invalid_because(span, "`operation` says nothing", "leave `to` out to mean everything");
        }
        for (subject, name, values, _) in lists {
            check_values(&subject, name, values, checker);
        }
    }
}

impl Condition {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        if self.values.is_empty() && self.not_values.is_empty() {
            checker.invalid(span, "a condition has `values` or `notValues`");
        }
        match Subject::of_key(&self.key) {
            Ok(subject) => {
                check_values(&subject, "values", &self.values, checker);
                check_values(&subject, "notValues", &self.not_values, checker);
            }
            Err(error) => check_key(&self.key, error, checker),
        }
    }
}

/// The keys that need no name in brackets, for suggestions.
const KEYS: [&str; 13] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims",
    "request.headers",
    "destination.ip",
    "destination.port",
    "connection.sni",
];

fn check_key(key: &Spanned<String>, error: KeyError, checker: &mut Checker<'_>) {
    let short = Short(key);
    match error {
        KeyError::Unknown => {
            let finding =
                Diagnostic::error(crate::yaml::INVALID_VALUE, format!("nothing is known of the attribute `{short}`"))
                    .at(key.span);
            checker.report(match did_you_mean(key, KEYS) {
                Some(near) => finding.label(format!("did you mean `{near}`?")),
                None => finding,
            });
        }
        KeyError::Brackets => checker.invalid_because(
            key.span,
            format!("`{short}` does not name what it asks for"),
            "write `request.headers[name]`, `request.auth.claims[name]` or `request.auth.claims[outer][inner]`",
        ),
        KeyError::Header => {
            checker.invalid(key.span, format!("`{short}` does not name a header field"));
        }
        KeyError::Replaced(by) => checker.invalid_because(
            key.span,
            format!("`{short}` is not an attribute of a condition"),
            format!("what it meant is now said by {by}"),
        ),
        KeyError::Envoy => checker.report(
            Diagnostic::error(NOT_SUPPORTED, format!("`{short}` is not supported"))
                .at(key.span)
                .with_note("it reads what filters of Envoy write, and proxies here are not Envoy"),
        ),
    }
}

fn check_values(subject: &Subject, name: &str, values: &[Spanned<String>], checker: &mut Checker<'_>) {
    for value in values {
        if value.is_empty() {
            checker.invalid(value.span, format!("`{name}` has an empty value"));
        } else {
            check_value(subject, value, checker);
        }
    }
    checker.unique(values.iter().map(|value| (&value.value, value.span)), |value| {
        format!("`{}` is there twice", Short(value))
    });
}

fn check_value(subject: &Subject, value: &Spanned<String>, checker: &mut Checker<'_>) {
    let short = Short(value);
    match subject {
        Subject::Principal => check_principal(value, checker),
        Subject::ServiceAccount if pattern::service_account(value).is_none() => checker.invalid_because(
            value.span,
            format!("`{short}` is not a service account"),
            "write `account` or `namespace/account`; there are no wildcards",
        ),
        Subject::SourceIp | Subject::RemoteIp | Subject::DestinationIp if network(value).is_none() => {
            checker.invalid(value.span, format!("`{short}` is neither an address nor a network"));
        }
        Subject::DestinationPort if port(value).is_none() => {
            checker.invalid(value.span, format!("`{short}` is not a port from 1 to 65535"));
        }
        Subject::Sni if value.starts_with("outbound_") => checker.report(
            Diagnostic::error(NOT_SUPPORTED, "the server names of Istio's own proxies are not supported")
                .at(value.span)
                .with_note("proxies here do not call each other by such names, so it would never hold")
                .help("limit the rule with `ports` or `targetRefs`"),
        ),
        Subject::RequestPrincipal if value.as_str() != "*" && !value.contains(['/', '*']) => {
            checker.invalid_because(
                value.span,
                format!("no token has the principal `{short}`"),
                "a principal is `issuer/subject`, and `issuer/*` means every subject",
            );
        }
        Subject::Method => check_method(value, checker),
        Subject::Path => check_path(value, checker),
        _ => {}
    }
}

fn check_principal(value: &Spanned<String>, checker: &mut Checker<'_>) {
    let short = Short(value);
    if value.starts_with("spiffe://") {
        checker.invalid_because(
            value.span,
            format!("no identity is compared with `{short}`"),
            "identities are written without `spiffe://`: `trust-domain/ns/namespace/sa/account`",
        );
    } else if value.trim_start_matches('*').trim_end_matches('*').contains('*')
        || (value.len() > 1 && value.starts_with('*') && value.ends_with('*'))
    {
        checker.invalid_because(
            value.span,
            format!("`{short}` has a `*` that is not at one end"),
            "a `*` stands at the beginning or at the end, and only there; name each identity otherwise",
        );
    } else if !value.contains('*')
        && format!("spiffe://{}", value.value).parse::<weft_bundle::spiffe::SpiffeId>().is_err()
    {
        checker.invalid_because(
            value.span,
            format!("`{short}` is not an identity"),
            "write `trust-domain/ns/namespace/sa/account`, or a `*` at one end",
        );
    }
}

fn check_method(value: &Spanned<String>, checker: &mut Checker<'_>) {
    if !value.contains('*') {
        checker.method(value);
    }
}

fn check_path(value: &Spanned<String>, checker: &mut Checker<'_>) {
    match pattern::path(value) {
        Ok(Some(PathMatch::Exact(_))) => checker.path(value),
        Ok(Some(path)) => {
            check_canonical(value, &path, checker);
            if let Err(error) = PredicateMatcher::compile(&Predicate::Path { is: path, ignore_case: false }) {
                checker.invalid(value.span, error.to_string());
            }
            if !value.starts_with(['/', '*']) {
                checker.invalid(value.span, format!("the path `{}` does not begin with `/`", Short(value)));
            }
        }
        Ok(None) => {}
        Err(why) => checker.invalid_because(
            value.span,
            format!("`{}` is not a path template: {why}", Short(value)),
            "`{*}` stands for one whole segment, and `{**}` for any rest; there may be nothing else in braces, and no \
             other `*`",
        ),
    }
}

/// A part of a path that no request has in canonical form would never match, and a denial by it deny nothing.
fn check_canonical(value: &Spanned<String>, path: &PathMatch, checker: &mut Checker<'_>) {
    let plain = match path {
        PathMatch::Prefix(prefix) => prefix.clone(),
        PathMatch::Suffix(suffix) => format!("/x{suffix}"),
        PathMatch::Template(template) => template.replace("{**}", "x").replace("{*}", "x"),
        PathMatch::Exact(_) | PathMatch::SegmentPrefix(_) | PathMatch::Regex(_) => return,
    };
    let canonical = CanonicalPath::parse(&plain);
    // A prefix may end inside an escape or before what follows a dot.
    let cut = matches!(path, PathMatch::Prefix(_)) && plain.ends_with(['.', '%']);
    if !cut && canonical.as_ref().is_ok_and(|canonical| canonical.as_str() != plain)
        || matches!(canonical, Err(PathRefusal::AmbiguousEscape | PathRefusal::IllegalByte))
    {
        checker.invalid_because(
            value.span,
            format!("no request has a path with `{}`", Short(value)),
            "paths are compared in canonical form: no `//`, no dot segments, no escapes of plain characters",
        );
    }
}

/// A network, or an address as the network of itself.
pub fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        .map(|network| network.trunc())
}

/// A port number; Istio also takes 0, on which nothing listens.
pub fn port(text: &str) -> Option<u16> {
    text.parse::<u16>().ok().filter(|port| *port > 0)
}
