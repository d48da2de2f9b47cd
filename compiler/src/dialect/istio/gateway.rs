//! `Gateway` of `networking.istio.io` (iapi:networking/v1alpha3/gateway.proto).

use serde::Deserialize;
use weft_bundle::engine::HostPattern;

use crate::yaml::{Map, Spanned, Unread};

/// `Gateway.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Where its workloads accept. Not empty once checked.
    #[serde(default)]
    pub servers: Vec<Spanned<Server>>,
    /// The labels of the workloads that are the gateway, in any namespace; whichever asks for it if not set.
    pub selector: Option<Spanned<Map<Spanned<String>>>>,
}

/// `Server`: a port, and who is taken there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// The port.
    pub port: Spanned<ServerPort>,
    /// The address of the machine; every one once checked.
    pub bind: Option<Spanned<String>>,
    /// `host` or `namespace/host`: the names that callers use, and whose VirtualServices may decide for them.
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    /// What happens to TLS.
    pub tls: Option<Spanned<ServerTls>>,
    /// Not honoured.
    pub default_endpoint: Option<Unread>,
    /// Its name; that of its port if not set.
    pub name: Option<Spanned<String>>,
}

/// `Port`, as servers have it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerPort {
    /// The number.
    pub number: Spanned<u16>,
    /// What is spoken on it.
    pub protocol: Spanned<String>,
    /// Its name, unique in the document once checked.
    pub name: Spanned<String>,
    /// Without effect in Istio.
    pub target_port: Option<Unread>,
}

/// `ServerTLSSettings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// Whether requests in clear text are sent to `https`.
    pub https_redirect: Option<Spanned<bool>>,
    /// What happens to TLS; `PASSTHROUGH` if not set.
    pub mode: Option<Spanned<ServerTlsMode>>,
    /// A path on the proxy's machine; not honoured.
    pub server_certificate: Option<Unread>,
    /// A path on the proxy's machine; not honoured.
    pub private_key: Option<Unread>,
    /// A file of the repository with the certificates that callers' own must come from.
    pub ca_certificates: Option<Spanned<String>>,
    /// Not honoured.
    pub ca_crl: Option<Unread>,
    /// The name of the certificate to present.
    pub credential_name: Option<Spanned<String>>,
    /// The names of several, of different kinds of keys.
    #[serde(default)]
    pub credential_names: Vec<Spanned<String>>,
    /// Not honoured.
    pub ca_cert_credential_name: Option<Unread>,
    /// Not honoured.
    pub tls_certificates: Option<Unread>,
    /// Not honoured.
    pub subject_alt_names: Option<Unread>,
    /// Not honoured.
    pub verify_certificate_spki: Option<Unread>,
    /// Not honoured.
    pub verify_certificate_hash: Option<Unread>,
    /// The lowest version; 1.2 if not set.
    pub min_protocol_version: Option<Spanned<TlsProtocol>>,
    /// The highest version.
    pub max_protocol_version: Option<Spanned<TlsProtocol>>,
    /// Not honoured.
    pub cipher_suites: Option<Unread>,
}

/// `ServerTLSSettings.TLSmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// It goes through; its server name is looked up in the VirtualServices' `tls`.
    Passthrough,
    /// It ends here.
    Simple,
    /// It ends here, and callers present certificates.
    Mutual,
    /// It goes through to the service that the server name spells; not honoured.
    AutoPassthrough,
    /// It ends here, with the mesh's own certificates on both sides.
    IstioMutual,
    /// It ends here, and callers may present certificates.
    OptionalMutual,
}

/// `ServerTLSSettings.TLSProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TlsProtocol {
    /// What Istio chooses.
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// 1.0.
    #[serde(rename = "TLSV1_0")]
    V1_0,
    /// 1.1.
    #[serde(rename = "TLSV1_1")]
    V1_1,
    /// 1.2.
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// 1.3.
    #[serde(rename = "TLSV1_3")]
    V1_3,
}

impl TlsProtocol {
    /// The version as bundles have it; none for what a server chooses, and for those that nobody should speak.
    pub fn version(self) -> Option<&'static str> {
        match self {
            Self::V1_2 => Some("1.2"),
            Self::V1_3 => Some("1.3"),
            Self::Auto | Self::V1_0 | Self::V1_1 => None,
        }
    }
}

/// What a server looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speaks {
    /// Requests.
    Http,
    /// Server names of TLS that goes through.
    ServerNames,
    /// Connections.
    Bytes,
}

impl Server {
    /// Its name in the document.
    pub fn name(&self) -> &Spanned<String> {
        self.name.as_ref().unwrap_or(&self.port.name)
    }

    /// What happens to TLS, if anything does.
    pub fn mode(&self) -> ServerTlsMode {
        let written = self.tls.as_ref().and_then(|tls| tls.mode.as_deref());
        written.copied().unwrap_or(ServerTlsMode::Passthrough)
    }

    /// Whether its port is for TLS, by its protocol; none for a protocol that is not one.
    pub fn is_tls(&self) -> Option<bool> {
        Some(match self.port.protocol.to_ascii_lowercase().as_str() {
            "https" | "tls" => true,
            "http" | "http2" | "grpc" | "grpc-web" | "http_proxy" | "tcp" | "mongo" | "redis" | "mysql" => {
                false
            }
            _ => return None,
        })
    }

    /// What is routed on it (istio:pkg/config/gateway, `IsHTTPServer`).
    pub fn speaks(&self) -> Speaks {
        let through = self.mode() == ServerTlsMode::Passthrough;
        match self.port.protocol.to_ascii_lowercase().as_str() {
            "https" | "tls" if through => Speaks::ServerNames,
            "http" | "http2" | "grpc" | "grpc-web" | "http_proxy" | "https" => Speaks::Http,
            _ => Speaks::Bytes,
        }
    }

    /// Whether its requests are all sent to `https`.
    pub fn redirects(&self) -> Option<&Spanned<bool>> {
        self.tls.as_ref()?.https_redirect.as_ref().filter(|redirects| redirects.value)
    }

    /// The names of its hosts, each with the namespace whose VirtualServices may decide for it, if not all may. `own` is
    /// the namespace of the document. What is no host was reported while reading.
    pub fn names<'s>(&'s self, own: &'s str) -> impl Iterator<Item = (Option<&'s str>, HostPattern)> {
        self.hosts.iter().filter_map(move |host| {
            let (namespace, name) = host.split_once('/').unwrap_or(("*", host));
            let namespace = match namespace {
                "*" => None,
                "." => Some(own),
                other => Some(other),
            };
            Some((namespace, HostPattern::parse(&name.to_ascii_lowercase()).ok()?))
        })
    }
}
