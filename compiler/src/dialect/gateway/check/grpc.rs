//! What can be wrong with a GRPCRoute by itself (gwapi:apis/v1/grpcroute_types.go).

use super::super::grpc_route::{GrpcMatch, GrpcMethodMatch, GrpcRoute, GrpcRule};
use super::super::http_route::ValueMatchType;
use super::filter::{Allowed, check_filters};
use super::http::check_headers;
use super::route::{RequestRule, check_backends, check_requests};
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned};

impl GrpcRoute {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        check_requests(spec, checker);
    }
}

impl RequestRule for GrpcRule {
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
        check_filters(&self.filters, Allowed::Grpc, checker);
        check_backends(&self.backend_refs, Allowed::Grpc, checker);
        if let Some(session) = &self.session_persistence {
            session.check(checker);
        }
    }
}

impl GrpcMatch {
    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(method) = &self.method {
            method.check(method.span, checker);
        }
        check_headers(&self.headers, checker);
    }
}

impl GrpcMethodMatch {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        if self.service().is_none() && self.method().is_none() {
            checker.invalid_because(
                span,
                "neither a `service` nor a `method` is asked for",
                "leave `method` out to match every call",
            );
        }
        for (name, what) in [(self.service(), "service"), (self.method(), "method")] {
            let Some(name) = name else { continue };
            if name.len() > 1024 {
                checker.invalid(name.span, format!("the name of a {what} has at most 1024 characters"));
                continue;
            }
            match self.kind() {
                ValueMatchType::RegularExpression => checker.regex(name),
                ValueMatchType::Exact if is_name(name, what == "service") => {}
                ValueMatchType::Exact => {
                    checker.invalid(name.span, format!("`{}` is not the name of a gRPC {what}", Short(name)));
                }
            }
        }
    }
}

/// Letters, digits and `_`, not beginning with a digit; in a service's name several of these with dots between them.
fn is_name(name: &str, dotted: bool) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && !word.starts_with(|c: char| c.is_ascii_digit())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match dotted {
        true => name.strip_prefix('.').unwrap_or(name).split('.').all(word),
        false => word(name),
    }
}
