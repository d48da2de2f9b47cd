//! `PeerAuthentication` (iapi:security/v1beta1/peer_authentication.proto).

use serde::Deserialize;

use super::selector::{self, WorkloadSelector};
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{Map, Spanned};

/// `PeerAuthentication.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerAuthentication {
    /// The workloads that it is for; all of its namespace if not set, and of the mesh in the root namespace.
    pub selector: Option<Spanned<WorkloadSelector>>,
    /// What their peers must do.
    pub mtls: Option<Spanned<MutualTls>>,
    /// What differs on single ports, which are those of workloads.
    pub port_level_mtls: Option<Map<Spanned<MutualTls>>>,
}

/// `PeerAuthentication.MutualTLS`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MutualTls {
    /// `UNSET` if not set.
    pub mode: Option<Spanned<Mode>>,
}

/// `PeerAuthentication.MutualTLS.Mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// What the next level says.
    Unset,
    /// Clear text only.
    Disable,
    /// Mutual TLS or clear text.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

impl PeerAuthentication {
    /// Istio's own validation (istio:pkg/config/validation, `ValidatePeerAuthentication`).
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        selector::check(spec.selector.as_ref(), None, &[], checker);
        let Some(ports) = &spec.port_level_mtls else { return };
        let everywhere = spec.selector.as_ref().is_none_or(|selector| selector.match_labels.is_empty());
        match ports.iter().next() {
            None => checker.invalid(spec.span, "`portLevelMtls` names no port"),
            Some((first, _)) if everywhere => checker.invalid_because(
                first.span,
                "only a policy with a `selector` can say what holds for single ports",
                "select the workloads whose port it is",
            ),
            Some(_) => {}
        }
        for (port, _) in ports {
            if super::port(port).is_none() {
                checker.invalid(port.span, format!("`{}` is not a port from 1 to 65535", Short(port)));
            }
        }
    }
}
