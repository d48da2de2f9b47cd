//! Streams of bytes that are not looked at.
//!
//! [`relay`] moves bytes both ways; [`wire`] is what it moves them over, in clear text or TLS. [`dial`] gives a connection to
//! an endpoint of a cluster: balanced, bounded, tried again as policy says, and reported to the endpoint's health.
//! [`inbound`] walks a connection of a peer to our application, [`outbound`] one of our application to a service; [`hello`]
//! looks at what a connection begins with. Streams that begin with a request: [`upgrade`] asks an upstream to change the
//! protocol, [`connect`] answers `CONNECT`, and [`tunnel`] is what both become.
//!
//! Between sidecars a stream travels in mutual TLS of its own, one connection each, whose protocol by ALPN is [`ALPN`]: so
//! a permissive port can tell a sidecar's TLS from an application's own.

pub(crate) mod relay;
pub(crate) mod wire;
pub(crate) mod dial;
pub(crate) mod hello;
mod proof;
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod tunnel;
pub(crate) mod connect;
pub(crate) mod upgrade;

use std::time::Duration;

/// What sidecars agree on in TLS for bytes that are not looked at.
pub(crate) const ALPN: &[u8] = b"weft-stream";

/// How long nothing may move either way where no rule says otherwise.
pub(crate) const DEFAULT_IDLE: Duration = Duration::from_secs(60 * 60);
