//! Gateways: where callers from outside the mesh come in.
//!
//! A gateway is a workload with an identity of its own and a bundle of its own, whose id is its namespace and name. Where a
//! service of that name is in the mesh, the service's workloads are the gateway, and one bundle holds both.
//!
//! Istio's Gateways name workloads by label, and several may name the same: then they are one gateway, which has the name
//! of the service that those workloads are.

use std::collections::BTreeMap;

use weft_bundle::body::{ListenerTls, Protocol};
use weft_bundle::engine::HostPattern;
use weft_bundle::spiffe::SpiffeId;

use super::{At, Mesh, ServiceIndex, is_added_later};
use crate::yaml::Span;

/// A gateway of [`super::Mesh::gateways`], by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayIndex(pub usize);

/// The label that Istio gives the pods of a Gateway of the Gateway API.
pub(crate) const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// A gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The document that declares it.
    pub at: At,
    /// The identity of its workloads, which the services behind it see.
    pub identity: SpiffeId,
    /// The service whose workloads it is, if it is one of the mesh.
    pub service: Option<ServiceIndex>,
    /// Namespace and name of each of Istio's Gateways whose servers it has; none for one of the Gateway API, whose name is
    /// the gateway's own. Sorted.
    pub declared_by: Vec<(String, String)>,
    /// Labels that its workloads carry, if nothing else says so: those by which Istio's Gateways select them, or the one that
    /// Istio gives to those of a Gateway of the Gateway API.
    pub labels: BTreeMap<String, String>,
    /// Sorted by port, then name; names are unique.
    pub listeners: Vec<GatewayListener>,
    /// The certificate it presents to backends that speak TLS as on the web, by the name of its files.
    pub client_certificate: Option<String>,
}

impl Gateway {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether workloads of which only its own labels are known carry some: no answer if one of those is not among them and
    /// none has another value. Those of a Gateway of the Gateway API have no others but what is added later.
    pub fn own_labels_carry<'l>(&self, wanted: impl Iterator<Item = (&'l str, &'l str)>) -> Option<bool> {
        let mut known = true;
        for (key, value) in wanted {
            match self.labels.get(key) {
                Some(own) if own == value => {}
                Some(_) => return Some(false),
                None if self.declared_by.is_empty() && !is_added_later(key) => return Some(false),
                None => known = false,
            }
        }
        known.then_some(true)
    }
}

impl Mesh {
    /// Whether the workloads of a gateway carry some labels: no answer if they differ, or nothing says.
    pub fn gateway_carries(&self, gateway: &Gateway, wanted: &BTreeMap<String, String>) -> Option<bool> {
        let own = gateway.own_labels_carry(wanted.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        match gateway.service {
            Some(index) if own != Some(true) => self.service(index).workloads_carry(wanted),
            Some(_) | None => own,
        }
    }
}

/// A port and host names on which a gateway accepts.
#[derive(Clone, Debug)]
pub struct GatewayListener {
    /// The name.
    pub name: String,
    /// The port that callers connect to.
    pub port: u16,
    /// What is routed on it: requests, connections by server name, connections, or datagrams.
    pub protocol: Protocol,
    /// The names that callers use. Never empty.
    pub hosts: Vec<HostPattern>,
    /// What it does with TLS; clear text if none.
    pub tls: Option<ListenerTls>,
    /// The document that declares it, with the listener's name.
    pub at: At,
    /// The bytes to underline.
    pub span: Span,
}
