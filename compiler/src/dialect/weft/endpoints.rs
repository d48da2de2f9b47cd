//! `endpoints` of a Service or ExternalService: where its workloads are.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};

use super::super::check::Checker;
use super::shapes;
use crate::diagnostic::Diagnostic;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, Map, Spanned};

/// Where the workloads of a service are.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoints {
    /// Addresses written here.
    #[serde(rename = "static", default)]
    pub fixed: Vec<Spanned<StaticEndpoint>>,
    /// A name to look up; its addresses join those written here.
    pub dns: Option<Spanned<Dns>>,
    /// A file of addresses that callers' proxies watch; they join those written here.
    pub file: Option<Spanned<EndpointFile>>,
}

/// A name to look up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// The name.
    pub name: Spanned<String>,
    /// What is looked up; addresses if not set.
    pub record: Option<Spanned<DnsRecord>>,
}

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DnsRecord {
    /// Addresses, of both families.
    A,
    /// Names with ports.
    SRV,
}

/// A file of addresses: a JSON list of `{address, port, labels, weight, locality}`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointFile {
    /// Where it is on the machines of the callers' proxies.
    pub path: Spanned<String>,
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

impl Endpoints {
    /// Beside the names of the service's ports.
    pub(super) fn check(&self, ports: &[&str], checker: &mut Checker<'_>) {
        if let (Some(dns), Some(file)) = (&self.dns, &self.file) {
            checker.report(
                Diagnostic::error(INVALID_VALUE, "`dns` and `file` exclude each other")
                    .at(file.span)
                    .related(dns.span, "the other one is here"),
            );
        }
        if let Some(dns) = &self.dns {
            checker.dns_name(&dns.name);
        }
        if let Some(path) = self.file.as_ref().map(|file| &file.path)
            && !path.starts_with('/')
        {
            checker.invalid_because(
                path.span,
                format!("`{}` does not begin with `/`", Short(path)),
                "name a file on the machines of the callers' proxies",
            );
        }
        for endpoint in &self.fixed {
            endpoint.check(ports, checker);
        }
    }
}

impl StaticEndpoint {
    fn check(&self, ports: &[&str], checker: &mut Checker<'_>) {
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
                if ports.len() > 1 {
                    checker.invalid_because(
                        span,
                        "one number does not say which port of the service it is for",
                        "write a mapping from port names to numbers",
                    );
                }
            }
            Some((EndpointPort::ByName(numbers), _)) => {
                for (name, number) in numbers {
                    checker.port(Some(number));
                    if !ports.contains(&name.as_str()) {
                        checker.invalid(name.span, format!("the service has no port `{}`", name.value));
                    }
                }
            }
        }
    }
}

pub(super) fn ip_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Spanned<IpAddr>, D::Error> {
    let text = Spanned::<String>::deserialize(deserializer)?;
    match text.parse() {
        Ok(address) => Ok(Spanned::new(address, text.span)),
        Err(_) => Err(D::Error::custom(format_args!("`{}` is not an IP address", Short(&text)))),
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
