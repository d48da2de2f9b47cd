//! The sidecar: serves from a signed bundle and needs no control plane.
//!
//! Invariants:
//! * Every decision is a call into [`weft_bundle::engine`]; nothing here decides where a request goes or who may call.
//! * One pointer to one [`snapshot`] is read per request; a reload replaces it in one store, and any error keeps the old one.
//! * No label and no file name is made from a request. Every wait has a limit, every buffer a bound, every task an owner.
//! * Fail closed on access, fail static on configuration.
//!
//! Two halves. The *control* half, one thread: [`source`] → [`state`] → [`updater`] → [`snapshot`], with threads beside it
//! that look for endpoints ([`discovery`]) where a bundle names names or files. The *data* half, one
//! thread per core: [`worker`] accepts, [`inbound`] and [`outbound`] walk a request through, [`rates`] counts
//! what is taken, [`stream`] is for bytes that are not looked at, [`cluster`] holds balancers
//! and pools, [`identity`] the certificates. [`telemetry`], [`admin`], [`drain`] and [`app`] serve the operator.

pub mod cli;
pub mod source;
pub mod state;
pub mod updater;
pub mod snapshot;
pub mod identity;
pub mod worker;
mod inbound;
mod tokens;
mod rates;
mod outbound;
mod gateway;
mod message;
mod forward;
mod stream;
mod answer;
mod cluster;
mod discovery;
pub mod telemetry;
pub mod admin;
pub mod drain;
pub mod app;

#[cfg(test)]
mod testing;
