//! What can be wrong with a ReferenceGrant or a BackendTLSPolicy by itself (gwapi:apis/v1/referencegrant_types.go,
//! backendtlspolicy_types.go).

use super::super::policy::{
    BackendTlsPolicy, BackendValidation, PolicyTarget, ReferenceGrant, SubjectAltName, SubjectAltNameType,
};
use super::listener::check_issuers;
use super::route::check_hostname;
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD, Span, Spanned};

impl ReferenceGrant {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        for (empty, name) in [(spec.from.is_empty(), "from"), (spec.to.is_empty(), "to")] {
            if empty {
                checker.invalid(spec.span, format!("`{name}` is empty, so nothing is granted"));
            }
        }
        checker.at_most(&spec.from, 16, "sources");
        checker.at_most(&spec.to, 16, "targets");
        for from in &spec.from {
            checker.label(&from.namespace, "a namespace");
        }
        for name in spec.to.iter().filter_map(|to| to.name.as_ref()) {
            checker.subdomain(name, "an object");
        }
    }
}

impl BackendTlsPolicy {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.target_refs.is_empty() {
            checker.invalid(spec.span, "`targetRefs` is empty, so the policy is for nothing");
        }
        checker.at_most(&spec.target_refs, 16, "targets");
        for target in &spec.target_refs {
            target.check(checker);
        }
        checker.unique(spec.target_refs.iter().map(|t| ((t.object(), t.section()), t.span)), |_| {
            "the policy names this target twice".to_owned()
        });
        for target in spec.target_refs.iter().filter(|target| target.section().is_none()) {
            let part = |other: &&Spanned<PolicyTarget>| {
                other.object() == target.object() && other.section().is_some()
            };
            if let Some(part) = spec.target_refs.iter().find(part) {
                checker.report(
                    Diagnostic::error(
                        INVALID_VALUE,
                        "the policy is for all of this target, and for a part of it",
                    )
                    .at(target.span)
                    .related(part.span, "the part is here")
                    .help("give each reference a `sectionName`"),
                );
            }
        }
        spec.validation.check(spec.validation.span, checker);
        if let Some((key, _)) = spec.options.iter().next() {
            checker.not_yet_at(key.span, "options", "options of TLS of our own, of which there are none");
        }
    }
}

impl PolicyTarget {
    fn object(&self) -> (&str, &str, &str) {
        (&self.group.value, &self.kind.value, &self.name.value)
    }

    fn section(&self) -> Option<&str> {
        self.section_name.as_ref().map(|name| name.value.as_str()).filter(|name| !name.is_empty())
    }

    fn check(&self, checker: &mut Checker<'_>) {
        if self.kind.value != "Service" || !matches!(self.group.as_str(), "" | "core") {
            let message = format!("a target of kind {} is not supported", Short(&self.kind));
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, message)
                    .at(self.kind.span)
                    .help("the policy is for Services"),
            );
        }
        checker.subdomain(&self.name, "a Service");
    }
}

impl BackendValidation {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        check_precise(&self.hostname, checker);
        checker.at_most(&self.ca_certificate_refs, 8, "issuers");
        for reference in &self.ca_certificate_refs {
            check_issuers(reference, checker);
            if let Some(namespace) = &reference.namespace {
                checker.invalid(namespace.span, "issuers are of the policy's own namespace");
            }
        }
        let known = self.well_known_ca_certificates.as_ref().filter(|known| !known.is_empty());
        match (known, self.ca_certificate_refs.first()) {
            (Some(known), Some(reference)) => checker.report(
                Diagnostic::error(
                    INVALID_VALUE,
                    "`caCertificateRefs` and `wellKnownCACertificates` exclude each other",
                )
                .at(known.span)
                .related(reference.span, "the other one is here"),
            ),
            (None, None) => checker.report(
                Diagnostic::error(MISSING_FIELD, "nobody is named who may issue the certificate")
                    .at(span)
                    .help("list `caCertificateRefs`, or say `wellKnownCACertificates: System`"),
            ),
            (Some(known), None) if known.value != "System" => {
                checker.invalid(known.span, format!("`{}` is not `System`", Short(known)));
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        checker.at_most(&self.subject_alt_names, 5, "names");
        for name in &self.subject_alt_names {
            name.check(name.span, checker);
        }
    }
}

/// `PreciseHostname`: no wildcard.
fn check_precise(hostname: &Spanned<String>, checker: &mut Checker<'_>) {
    match hostname.starts_with('*') {
        true => checker.invalid(hostname.span, format!("`{}` is not one host", Short(hostname))),
        false => check_hostname(hostname, checker),
    }
}

impl SubjectAltName {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let there = |field: &Option<Spanned<String>>| field.as_ref().is_some_and(|field| !field.is_empty());
        let (own, other, name, other_name) = match self.kind.value {
            SubjectAltNameType::Hostname => (&self.hostname, &self.uri, "hostname", "uri"),
            SubjectAltNameType::Uri => (&self.uri, &self.hostname, "uri", "hostname"),
        };
        if !there(own) {
            checker.report(Diagnostic::error(MISSING_FIELD, format!("the name has no `{name}`")).at(span));
        }
        if let Some(other) = other.as_ref().filter(|other| !other.is_empty()) {
            checker.invalid(
                other.span,
                format!("`{other_name}` is not the field of this type; that is `{name}`"),
            );
        }
        match (self.kind.value, own) {
            (SubjectAltNameType::Hostname, Some(host)) if !host.is_empty() => check_hostname(host, checker),
            (SubjectAltNameType::Uri, Some(uri)) if !uri.is_empty() => {
                let absolute = uri.split_once(':').is_some_and(|(scheme, rest)| {
                    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !rest.is_empty()
                });
                if !absolute || uri.len() > 253 {
                    checker.invalid(uri.span, format!("`{}` is not an absolute URI", Short(uri)));
                }
            }
            (_, _) => {}
        }
    }
}
