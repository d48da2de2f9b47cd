//! `ServiceEntry`, `WorkloadEntry` and `WorkloadGroup` (iapi:networking/v1alpha3/service_entry.proto, workload_entry.proto,
//! workload_group.proto).

use std::collections::BTreeMap;

use serde::Deserialize;
use weft_bundle::body::Protocol;

use super::virtual_service::Network;
use crate::yaml::{Map, Opaque, Spanned, Unread};

/// `ServiceEntry.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntry {
    /// The names that callers use, in full, or `*.suffix`.
    pub hosts: Vec<Spanned<String>>,
    /// The addresses that callers use.
    #[serde(default)]
    pub addresses: Vec<Spanned<Network>>,
    /// The ports that callers name.
    #[serde(default)]
    pub ports: Vec<Spanned<EntryPort>>,
    /// Whether it is one of the mesh; `MESH_EXTERNAL` if not set.
    pub location: Option<Spanned<Location>>,
    /// How endpoints are found; `NONE` if not set.
    pub resolution: Option<Spanned<Resolution>>,
    /// Where its workloads are.
    #[serde(default)]
    pub endpoints: Vec<Spanned<WorkloadEntry>>,
    /// Its workloads, by label, instead of `endpoints`.
    pub workload_selector: Option<Spanned<LabelSelector>>,
    /// The namespaces whose callers see it: `*`, `.`, `~` for nobody, or names; every one if empty.
    #[serde(default)]
    pub export_to: Vec<Spanned<String>>,
    /// Names of which the workloads' certificates must have one.
    #[serde(default)]
    pub subject_alt_names: Vec<Spanned<String>>,
}

/// `ServicePort`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryPort {
    /// The number that callers name.
    pub number: Spanned<u16>,
    /// What is spoken on it, such as `HTTP`; else what the name begins with.
    pub protocol: Option<Spanned<String>>,
    /// Its name.
    pub name: Spanned<String>,
    /// The number that endpoints listen on; the same if not set.
    pub target_port: Option<Spanned<u16>>,
}

impl EntryPort {
    /// What is spoken on it, never guessed: the protocol, else what the name begins with (Istio's convention), else opaque
    /// bytes. None for a protocol that is not known.
    pub fn spoken(&self) -> Option<Protocol> {
        match &self.protocol {
            Some(protocol) => protocol_named(protocol),
            None => {
                let prefix = self.name.split('-').next().unwrap_or_default();
                Some(protocol_named(prefix).unwrap_or(Protocol::Tcp))
            }
        }
    }
}

/// The protocol of a name in Istio's documents, whatever its case (istio:pkg/config/protocol, `Parse`).
pub(crate) fn protocol_named(name: &str) -> Option<Protocol> {
    Some(match name.to_ascii_lowercase().as_str() {
        "http" | "http_proxy" | "grpc-web" => Protocol::Http,
        "http2" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        "https" | "tls" => Protocol::Tls,
        // Those that Envoy can look into, and we cannot, are bytes.
        "tcp" | "mongo" | "redis" | "mysql" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    })
}

/// `ServiceEntry.Location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside: no identity of the mesh.
    MeshExternal,
    /// One of the mesh.
    MeshInternal,
}

/// `ServiceEntry.Resolution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address that the caller connected to.
    None,
    /// The listed addresses.
    Static,
    /// All addresses of a name.
    Dns,
    /// The first address of a name; not honoured.
    DnsRoundRobin,
    /// Names that are looked up as they are called; not honoured.
    DynamicDns,
}

/// `WorkloadSelector` of the networking kinds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// What a workload must carry; every workload of the namespace if empty.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl LabelSelector {
    /// Whether a workload is one of them.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// `WorkloadEntry.spec`, and an endpoint of a [`ServiceEntry`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadEntry {
    /// An IP address, or a name that DNS knows. There once checked.
    pub address: Option<Spanned<String>>,
    /// Port numbers of its own, by port name.
    #[serde(default)]
    pub ports: Map<Spanned<u16>>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The network it is in; not honoured.
    pub network: Option<Unread>,
    /// `region/zone/subzone`.
    pub locality: Option<Spanned<String>>,
    /// Its share among its neighbours; 1 if not set.
    pub weight: Option<Spanned<u32>>,
    /// Its service account.
    pub service_account: Option<Spanned<String>>,
}

/// `WorkloadGroup.spec`: what Istio's own control plane copies into a WorkloadEntry when a machine registers itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadGroup {
    /// Labels and annotations of the entries.
    #[serde(default, rename = "metadata")]
    pub _metadata: Opaque,
    /// What the entries have.
    pub template: Spanned<WorkloadEntry>,
    /// How machines are asked whether they are well; not honoured.
    pub probe: Option<Unread>,
}
