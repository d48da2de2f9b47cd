//! Facts about a Kubernetes cluster: what we need of them, and nothing else.
//!
//! Unknown fields are not errors here: these documents belong to the API server, which has checked them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::weft::PortRef;
use crate::yaml::Spanned;

pub mod secret;
pub mod workload;

pub use self::secret::Secret;
pub use self::workload::{Pod, Workload};

/// `v1 Service`, its `spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The ports that clients name.
    #[serde(default)]
    pub ports: Vec<Spanned<ServicePort>>,
    /// The labels of its pods.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// `ClusterIP` if not set.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<String>>,
    /// `None` for a headless service.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<Spanned<String>>,
    /// Where an `ExternalName` service points.
    pub external_name: Option<Spanned<String>>,
}

/// A port of a [`Service`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name; may be left out if it is the only one.
    pub name: Option<Spanned<String>>,
    /// The number that clients name.
    pub port: Spanned<u16>,
    /// The pods' port, by name or number; the same number if not set.
    pub target_port: Option<Spanned<PortRef>>,
    /// `TCP` (if not set), `UDP` or `SCTP`.
    pub protocol: Option<Spanned<String>>,
    /// What is spoken on it, such as `http` or `kubernetes.io/h2c`.
    pub app_protocol: Option<Spanned<String>>,
}

/// `discovery.k8s.io/v1 EndpointSlice`. Has no `spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: Spanned<String>,
    /// The addresses.
    #[serde(default)]
    pub endpoints: Vec<Spanned<Endpoint>>,
    /// The ports of every one of them.
    #[serde(default)]
    pub ports: Vec<Spanned<EndpointPort>>,
}

/// The group of [`EndpointSlice`].
pub const DISCOVERY_GROUP: &str = "discovery.k8s.io";

/// The label of an [`EndpointSlice`] that names its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// An address of an [`EndpointSlice`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// At least one; consumers use the first.
    pub addresses: Vec<Spanned<IpAddr>>,
    /// Whether it may be called.
    #[serde(default)]
    pub conditions: Conditions,
    /// Where it is.
    pub zone: Option<Spanned<String>>,
    /// The pod behind it.
    pub target_ref: Option<ObjectRef>,
}

/// `EndpointConditions`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    /// `None` counts as ready.
    pub ready: Option<bool>,
}

/// The pod behind an endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// The object's kind.
    pub kind: Option<String>,
    /// The object's name.
    pub name: Option<String>,
    /// The object's namespace.
    pub namespace: Option<String>,
}

/// A port of an [`EndpointSlice`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPort {
    /// The Service port's name; empty if that has none.
    pub name: Option<Spanned<String>>,
    /// The number; `None` means every port.
    pub port: Option<Spanned<u16>>,
    /// `TCP` (if not set), `UDP` or `SCTP`.
    pub protocol: Option<Spanned<String>>,
    /// What is spoken on it.
    pub app_protocol: Option<Spanned<String>>,
}

/// `v1 ConfigMap`. Has no `spec`. Only those with certificates are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    /// Texts by key.
    #[serde(default)]
    pub data: BTreeMap<String, Spanned<String>>,
}

/// The key of a [`ConfigMap`] with certificates to believe, in PEM.
pub const CA_KEY: &str = "ca.crt";
