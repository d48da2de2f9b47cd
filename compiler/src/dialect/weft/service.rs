//! `Service`: a name that clients call, its ports, and the workloads behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use weft_bundle::body::{PeerTls, Protocol};
use weft_bundle::spiffe::SpiffeId;

use super::super::check::Checker;
use super::reference::ServiceRef;
use super::shapes;
use crate::yaml::scalar::Short;
use crate::yaml::{Map, Spanned, Unread};

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
            endpoints.check(spec, checker);
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

impl Endpoints {
    fn check(&self, service: &Service, checker: &mut Checker<'_>) {
        checker.not_yet(self.dns.as_ref(), "endpoints.dns", "proxies that look names up");
        checker.not_yet(self.file.as_ref(), "endpoints.file", "proxies that watch a file of addresses");
        for endpoint in &self.fixed {
            endpoint.check(service, checker);
        }
    }
}

impl StaticEndpoint {
    fn check(&self, service: &Service, checker: &mut Checker<'_>) {
        if let Some(weight) = &self.weight
            && weight.value == 0
        {
            checker.invalid_because(
                weight.span,
                "a weight is at least 1",
                "remove an endpoint that gets nothing",
            );
        }
        if let Some(locality) = &self.locality
            && (locality.split('/').count() > 3 || locality.split('/').any(str::is_empty))
        {
            checker.invalid(locality.span, format!("`{}` is not `region/zone/subzone`", locality.value));
        }
        match self.port.as_ref().map(|port| (&port.value, port.span)) {
            None => {}
            Some((EndpointPort::Number(number), span)) => {
                checker.port(Some(&Spanned::new(*number, span)));
                if service.ports.len() > 1 {
                    checker.invalid_because(
                        span,
                        "one number does not say which port of the service it is for",
                        "write a mapping from port names to numbers",
                    );
                }
            }
            Some((EndpointPort::ByName(ports), _)) => {
                for (name, number) in ports {
                    checker.port(Some(number));
                    if !service.ports.iter().any(|port| port.name.value == name.value) {
                        checker.invalid(name.span, format!("the service has no port `{}`", name.value));
                    }
                }
            }
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

/// Where the workloads of a service are.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoints {
    /// Addresses written here.
    #[serde(rename = "static", default)]
    pub fixed: Vec<Spanned<StaticEndpoint>>,
    /// Names to look up. Not supported yet.
    pub dns: Option<Unread>,
    /// A file that the proxy watches. Not supported yet.
    pub file: Option<Unread>,
}

/// One workload.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticEndpoint {
    /// Its IP address.
    #[serde(deserialize_with = "ip_address")]
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

pub(super) fn ip_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Spanned<IpAddr>, D::Error> {
    let text = Spanned::<String>::deserialize(deserializer)?;
    match text.parse() {
        Ok(address) => Ok(Spanned::new(address, text.span)),
        Err(_) => Err(D::Error::custom(format_args!("`{}` is not an IP address", Short(&text)))),
    }
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
