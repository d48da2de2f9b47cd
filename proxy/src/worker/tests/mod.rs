//! The whole data plane in one process: a client, the proxy, an upstream.

mod tls;
mod tokens;
mod telemetry;
mod routing;
mod bodies;
mod resting;
mod retry;
mod mirror;
mod outliers;
mod reload;
mod checks;
mod connections;
mod endpoints;
mod faults;
mod framing;
mod gateway;
mod gateway_tls;
mod hashing;
mod limits;
mod proxy_protocol;
mod servers;
mod streams;
mod dependencies;
mod upgrades;
