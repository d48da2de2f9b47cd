//! `ReferenceGrant` and `BackendTLSPolicy`, as Gateway API v1 has them (gwapi:apis/v1/referencegrant_types.go,
//! backendtlspolicy_types.go).

use serde::Deserialize;

use super::route::ObjectRef;
use crate::yaml::{Map, Spanned};

/// `ReferenceGrant.spec`: what objects of other namespaces may refer to in this one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrant {
    /// Any of these may refer…
    pub from: Vec<Spanned<GrantFrom>>,
    /// …to any of these.
    pub to: Vec<Spanned<GrantTo>>,
}

/// `ReferenceGrantFrom`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantFrom {
    /// The group.
    pub group: Spanned<String>,
    /// The kind.
    pub kind: Spanned<String>,
    /// The namespace.
    pub namespace: Spanned<String>,
}

/// `ReferenceGrantTo`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantTo {
    /// The group.
    pub group: Spanned<String>,
    /// The kind.
    pub kind: Spanned<String>,
    /// The name; every object of the kind if not set.
    pub name: Option<Spanned<String>>,
}

/// `BackendTLSPolicy.spec`: how a service proves who it is, to whom it speaks TLS as on the web.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicy {
    /// The services, or single ports of them.
    pub target_refs: Vec<Spanned<PolicyTarget>>,
    /// What its certificate must be.
    pub validation: Spanned<BackendValidation>,
    /// Not honoured.
    #[serde(default)]
    pub options: Map<Spanned<String>>,
}

/// `LocalPolicyTargetReferenceWithSectionName`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTarget {
    /// The group.
    pub group: Spanned<String>,
    /// The kind.
    pub kind: Spanned<String>,
    /// The name.
    pub name: Spanned<String>,
    /// One port of the Service, by name; all of them if not set.
    pub section_name: Option<Spanned<String>>,
}

/// `BackendTLSPolicyValidation`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendValidation {
    /// The ConfigMaps or Secrets with the certificates of issuers.
    #[serde(default)]
    pub ca_certificate_refs: Vec<Spanned<ObjectRef>>,
    /// `System`, instead of those.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<Spanned<String>>,
    /// The server name to ask for, and to find in the certificate unless names are listed.
    pub hostname: Spanned<String>,
    /// Names of which the certificate must have one.
    #[serde(default)]
    pub subject_alt_names: Vec<Spanned<SubjectAltName>>,
}

/// `SubjectAltName`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubjectAltName {
    /// Which field counts.
    #[serde(rename = "type")]
    pub kind: Spanned<SubjectAltNameType>,
    /// A host, perhaps with a wildcard.
    pub hostname: Option<Spanned<String>>,
    /// A URI.
    pub uri: Option<Spanned<String>>,
}

/// `SubjectAltNameType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum SubjectAltNameType {
    /// A host.
    Hostname,
    /// A URI.
    #[serde(rename = "URI")]
    Uri,
}
