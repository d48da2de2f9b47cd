//! What a gateway accepts from callers outside the mesh.
//!
//! Of the listeners on one port, the one with the most specific host pattern takes a request or connection, and only its
//! own routes are looked at (Gateway API v1, `Gateway.spec.listeners`, listener isolation).

use serde::{Deserialize, Serialize};

use super::{Access, Frontend};

/// A port and host pattern on which a gateway accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Its name in the gateway.
    pub name: String,
    /// What it does with TLS; clear text if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Its port, protocol, host patterns and decisions. `hosts` are patterns here, and never empty.
    pub frontend: Frontend,
    /// Who may call.
    pub access: Access,
    /// The tokens that callers may bring: keys of [`super::Body::token_providers`], sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
}

/// What a listener does with TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ListenerTls {
    /// It goes through as it is; only the server name is read.
    Passthrough,
    /// It ends here.
    Terminate(TerminatedTls),
}

/// How TLS ends at a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminatedTls {
    /// The certificates to present, by the names of their files in the proxy's own configuration: `namespace/name`. Keys
    /// never travel in a body. Empty: the workload's own identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// Whether callers present a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCertificates>,
    /// The lowest version, `1.2` or `1.3`; 1.2 if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    /// The highest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<String>,
}

/// What is asked of callers' certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// Whether callers without one are let in.
    pub optional: bool,
    /// Who may have issued them: base64 of one DER certificate each, sorted. Empty: the mesh's own trust anchors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<String>,
}
