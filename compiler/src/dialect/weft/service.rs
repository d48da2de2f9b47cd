//! `Service`: a name that clients call, its ports, and the workloads behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use weft_bundle::body::{PeerTls, Protocol};
use weft_bundle::spiffe::SpiffeId;

use super::reference::ServiceRef;
use super::shapes;
use crate::yaml::{Map, Opaque, Spanned};

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
    #[schemars(with = "Option<shapes::SocketAddress>")]
    pub application: Option<Spanned<SocketAddr>>,
    /// Whether peers must prove who they are; the mesh's default if not set.
    #[serde(rename = "peerTLS")]
    #[schemars(with = "Option<shapes::PeerTls>")]
    pub peer_tls: Option<Spanned<PeerTls>>,
}

/// Where the workloads of a service are.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoints {
    /// Addresses written here.
    #[serde(rename = "static", default)]
    pub fixed: Vec<Spanned<StaticEndpoint>>,
    /// Names to look up.
    pub dns: Option<Spanned<DnsEndpoints>>,
    /// A file that the proxy watches.
    pub file: Option<Spanned<Opaque>>,
}

/// Names to look up: not honoured yet, whatever it says.
pub type DnsEndpoints = Opaque;

/// One workload.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticEndpoint {
    /// Its IP address.
    #[schemars(with = "shapes::IpAddress")]
    pub address: Spanned<IpAddr>,
    /// Where it differs from the service's port: one number for all, or a number for each named port.
    pub port: Option<Spanned<EndpointPort>>,
    /// What subsets select by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its share among its neighbours; 1 if not set.
    #[schemars(range(min = 1))]
    pub weight: Option<Spanned<u32>>,
    /// Where it is, as `region/zone/subzone`.
    pub locality: Option<Spanned<String>>,
}

/// The port numbers of one workload, where they differ from the service's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointPort {
    /// One number, for a service with one port.
    Number(u16),
    /// A number for each port's name.
    ByName(Map<Spanned<u16>>),
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

impl<'de> Deserialize<'de> for EndpointPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EndpointPortVisitor)
    }
}

struct EndpointPortVisitor;

impl<'de> Visitor<'de> for EndpointPortVisitor {
    type Value = EndpointPort;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port number, or a mapping from port names to numbers")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<EndpointPort, E> {
        match u16::try_from(number) {
            Ok(number) => Ok(EndpointPort::Number(number)),
            Err(_) => Err(E::custom(format_args!("a port is a number from 1 to 65535, not {number}"))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EndpointPort, A::Error> {
        Map::deserialize(MapAccessDeserializer::new(map)).map(EndpointPort::ByName)
    }
}

impl JsonSchema for EndpointPort {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EndpointPort".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = generator.subschema_for::<shapes::PortNumber>();
        json_schema!({ "anyOf": [number.clone(), { "type": "object", "additionalProperties": number }] })
    }
}
