//! What every object says about itself: Kubernetes' `metadata`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::yaml::{Map, Opaque, Spanned, Unread};

/// The namespace of a document that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Kubernetes' `metadata`. What only an API server writes is accepted and ignored, so that objects exported from a
/// cluster compile as they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "fields of the API server are listed so that they are known, and never read")]
pub struct Metadata {
    /// The name, a DNS subdomain.
    pub name: Spanned<String>,
    /// The namespace, a DNS label; [`Metadata::namespace`] has the default.
    pub namespace: Option<Spanned<String>>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations, with the place of each key and value.
    #[serde(default)]
    pub annotations: Map<Spanned<String>>,
    #[serde(default)]
    creation_timestamp: Opaque,
    #[serde(default)]
    deletion_grace_period_seconds: Opaque,
    /// There while the cluster is removing the object.
    pub deletion_timestamp: Option<Unread>,
    #[serde(default)]
    finalizers: Opaque,
    #[serde(default)]
    generate_name: Opaque,
    #[serde(default)]
    generation: Opaque,
    #[serde(default)]
    managed_fields: Opaque,
    #[serde(default)]
    owner_references: Opaque,
    #[serde(default)]
    resource_version: Opaque,
    #[serde(default)]
    self_link: Opaque,
    #[serde(default)]
    uid: Opaque,
}

impl Metadata {
    /// The namespace; `default` if the document names none.
    pub fn namespace(&self) -> &str {
        self.namespace.as_ref().map_or(DEFAULT_NAMESPACE, |namespace| namespace.value.as_str())
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&Spanned<String>> {
        self.annotations.get(key)
    }
}
