//! What a policy of Istio is for (iapi:type/v1beta1/selector.proto): workloads by label, or objects by name.

use serde::Deserialize;

use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD, Map, Spanned};

/// `WorkloadSelector`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSelector {
    /// The labels that a workload must have, all of them; every workload if empty.
    #[serde(default)]
    pub match_labels: Map<Spanned<String>>,
}

/// `PolicyTargetReference`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// The group of the object; `` or `core` for Kubernetes' own.
    pub group: Option<Spanned<String>>,
    /// Its kind.
    pub kind: Spanned<String>,
    /// Its name.
    pub name: Spanned<String>,
    /// Its namespace, which must be that of the policy.
    pub namespace: Option<Spanned<String>>,
}

/// The kinds that a [`TargetReference`] may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferredKind {
    /// A Kubernetes Service.
    Service,
    /// An Istio ServiceEntry.
    ServiceEntry,
    /// A Gateway of the Gateway API.
    Gateway,
    /// A class of gateways.
    GatewayClass,
}

impl TargetReference {
    /// What it names; none if it may not be named.
    pub fn referred(&self) -> Option<ReferredKind> {
        let group = self.group.as_ref().map_or("", |group| group.value.as_str());
        match (group, self.kind.as_str()) {
            ("" | "core", "Service") => Some(ReferredKind::Service),
            (super::GROUP, "ServiceEntry") => Some(ReferredKind::ServiceEntry),
            (crate::dialect::gateway::GROUP, "Gateway") => Some(ReferredKind::Gateway),
            (crate::dialect::gateway::GROUP, "GatewayClass") => Some(ReferredKind::GatewayClass),
            _ => None,
        }
    }

    fn check(&self, checker: &mut Checker<'_>) {
        checker.subdomain(&self.name, "an object");
        if let Some(namespace) = &self.namespace {
            checker.invalid_because(
                namespace.span,
                "a target is in the namespace of its policy",
                "leave `namespace` out; a policy for another namespace lies in that one",
            );
        }
        match self.referred() {
            Some(ReferredKind::GatewayClass) => checker.report(
                Diagnostic::error(NOT_SUPPORTED, "a class of gateways is not a target here")
                    .at(self.kind.span)
                    .with_note("classes belong to a controller in a cluster, and none is asked")
                    .help("name the Gateways, or leave the target out to mean the whole namespace"),
            ),
            Some(_) => {}
            None => {
                let group = self.group.as_ref().map_or("", |group| group.value.as_str());
                let message =
                    format!("`{}` of `{}` is not a kind of target", Short(&self.kind), Short(group));
                checker.invalid_because(
                    self.kind.span,
                    message,
                    "targets are `Service`, `ServiceEntry` of `networking.istio.io`, and `Gateway` of \
                     `gateway.networking.k8s.io`",
                );
            }
        }
    }
}

/// At most one way to say what a policy is for, and each of them well-formed (istio:pkg/config/validation,
/// `validateOneOfSelectorType`, `validateWorkloadSelector`, `validatePolicyTargetReference`).
pub(super) fn check(
    selector: Option<&Spanned<WorkloadSelector>>,
    target_ref: Option<&Spanned<TargetReference>>,
    target_refs: &[Spanned<TargetReference>],
    checker: &mut Checker<'_>,
) {
    let ways = [
        selector.map(|selector| ("selector", selector.span)),
        target_ref.map(|target| ("targetRef", target.span)),
        target_refs.first().map(|target| ("targetRefs", target.span)),
    ];
    let given: Vec<_> = ways.into_iter().flatten().collect();
    if let [(first, one), (second, other), ..] = given.as_slice() {
        checker.report(
            Diagnostic::error(INVALID_VALUE, format!("`{first}` and `{second}` exclude each other"))
                .at(*other)
                .related(*one, format!("`{first}` is here")),
        );
    }
    if let Some(selector) = selector {
        check_selector(selector, checker);
    }
    target_ref.into_iter().chain(target_refs).for_each(|target| target.check(checker));
    let named = target_refs.iter().map(|target| ((&target.kind.value, &target.name.value), target.span));
    checker.unique(named, |_| "the policy names this target twice".to_owned());
}

fn check_selector(selector: &Spanned<WorkloadSelector>, checker: &mut Checker<'_>) {
    if selector.match_labels.is_empty() {
        checker.report(
            Diagnostic::warning(MISSING_FIELD, "`selector` has no label, which selects every workload")
                .at(selector.span)
                .help("leave `selector` out to say the same"),
        );
    }
    for (key, value) in &selector.match_labels {
        if key.is_empty() {
            checker.invalid(key.span, "a label has a name");
        }
        for text in [key, value].into_iter().filter(|text| text.contains('*')) {
            checker.invalid_because(
                text.span,
                format!("`{}` has a `*`, which no label has", Short(text)),
                "selectors know no wildcards",
            );
        }
    }
}
