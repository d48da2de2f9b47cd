//! `Service`: a name that clients call, its ports, and the workloads behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use weft_bundle::body::{PeerTls, Protocol};
use weft_bundle::spiffe::SpiffeId;

use super::super::check::Checker;
use super::endpoints::Endpoints;
use super::reference::ServiceRef;
use super::shapes;
use crate::yaml::Spanned;
use crate::yaml::scalar::Short;

/// A name that clients call, its ports, and the workloads behind it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// The ports that clients name.
    pub ports: Vec<Spanned<Port>>,
    /// The service account of its workloads; the service's name if not set.
    pub service_account: Option<Spanned<String>>,
    /// The identity of its workloads; `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` if not set.
    #[schemars(with = "Option<shapes::SpiffeId>")]
    pub identity: Option<Spanned<SpiffeId>>,
    /// Where its workloads are.
    pub endpoints: Option<Spanned<Endpoints>>,
    /// Named parts of its workloads, by label.
    #[serde(default)]
    pub subsets: Vec<Spanned<Subset>>,
    /// The services that its workloads call.
    pub calls: Option<Vec<Spanned<ServiceRef>>>,
}

impl Service {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.ports.is_empty() {
            checker.invalid(spec.span, "a service has at least one port");
        }
        for port in &spec.ports {
            checker.label(&port.name, "a port");
            checker.port(Some(&port.port));
            if let Some(application) = &port.application
                && application.port() == 0
            {
                checker.invalid(application.span, "an application cannot listen on port 0");
            }
        }
        checker.unique(spec.ports.iter().map(|p| (&p.name.value, p.name.span)), |name| {
            format!("two ports are called `{name}`")
        });
        checker.unique(spec.ports.iter().map(|p| (p.port.value, p.port.span)), |number| {
            format!("two ports have the number {number}")
        });
        if let Some(account) = &spec.service_account {
            checker.subdomain(account, "a service account");
        }
        if let Some(endpoints) = &spec.endpoints {
            let names: Vec<&str> = spec.ports.iter().map(|port| port.name.as_str()).collect();
            endpoints.check(&names, checker);
        }
        for subset in &spec.subsets {
            checker.label(&subset.name, "a subset");
        }
        checker.unique(spec.subsets.iter().map(|s| (&s.name.value, s.name.span)), |name| {
            format!("two subsets are called `{name}`")
        });
        for call in spec.calls.iter().flatten() {
            call.check(checker);
        }
    }
}

/// A port of a service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// The port's name, unique in the service.
    pub name: Spanned<String>,
    /// The number that clients name, unique in the service.
    #[schemars(with = "shapes::PortNumber")]
    pub port: Spanned<u16>,
    /// What is spoken on it.
    #[schemars(with = "shapes::Protocol")]
    pub protocol: Spanned<Protocol>,
    /// Where the application listens, such as `127.0.0.1:8080`; the same port on 127.0.0.1 if not set.
    #[serde(default, deserialize_with = "socket_address")]
    #[schemars(with = "Option<shapes::SocketAddress>")]
    pub application: Option<Spanned<SocketAddr>>,
    /// Whether peers must prove who they are; the mesh's default if not set.
    #[serde(rename = "peerTLS")]
    #[schemars(with = "Option<shapes::PeerTls>")]
    pub peer_tls: Option<Spanned<PeerTls>>,
}

/// A named part of a service's workloads.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subset {
    /// Its name, unique in the service.
    pub name: Spanned<String>,
    /// The labels that a workload must carry, all of them.
    pub labels: Spanned<BTreeMap<String, String>>,
}

fn socket_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<SocketAddr>>, D::Error> {
    let text = Spanned::<String>::deserialize(deserializer)?;
    match text.parse() {
        Ok(address) => Ok(Some(Spanned::new(address, text.span))),
        Err(_) => Err(D::Error::custom(format_args!(
            "`{}` is not an IP address with a port, such as `127.0.0.1:8080`",
            Short(&text)
        ))),
    }
}
