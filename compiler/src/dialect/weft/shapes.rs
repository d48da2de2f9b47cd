//! How types of other crates look in JSON Schema: named in `#[schemars(with = "…")]`, never built.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Defines a shape that is written out where it is used.
macro_rules! shape {
    ($(#[$doc:meta])* $name:ident, $schema:tt) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

shape! {
    /// A duration such as `250ms` or `1m30s`.
    Duration, { "type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" }
}
shape! {
    /// A trust domain.
    TrustDomain, { "type": "string", "pattern": "^[a-z0-9._-]{1,255}$" }
}
shape! {
    /// A SPIFFE id.
    SpiffeId, { "type": "string", "pattern": "^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+$", "maxLength": 2048 }
}
shape! {
    /// What a port speaks.
    Protocol, { "enum": ["http", "http2", "grpc", "tcp", "tls", "udp"] }
}
shape! {
    /// Whether peers must prove who they are.
    PeerTls, { "enum": ["strict", "permissive", "off"] }
}
shape! {
    /// How an endpoint is chosen.
    LoadBalancerPolicy, { "enum": ["peak-ewma", "least-request", "round-robin", "random", "ring-hash", "maglev"] }
}
shape! {
    /// What makes a try count as failed.
    RetryOn, {
        "type": "string",
        "pattern": "^(connect-failure|refused-stream|reset|gateway-error|5xx|[45][0-9][0-9]|cancelled|deadline-exceeded|resource-exhausted|internal|unavailable)$"
    }
}
shape! {
    /// A number from 1 to 65535.
    PortNumber, { "type": "integer", "minimum": 1, "maximum": 65535 }
}
shape! {
    /// An IP address with a port.
    SocketAddress, { "type": "string", "examples": ["127.0.0.1:8080", "[::1]:8080"] }
}
shape! {
    /// An IP address.
    IpAddress, { "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] }
}
shape! {
    /// A network, such as `10.0.0.0/8`.
    Network, { "type": "string", "examples": ["10.0.0.0/8", "fd00::/8"] }
}
