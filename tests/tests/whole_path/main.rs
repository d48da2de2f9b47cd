//! The whole path, with real processes: documents in a Git repository, `weft`, a release directory, `weft-proxy`, real
//! clients. One binary, so that the programs are built once.
//!
//! Each module tries one kind of promise. `small`, `plain`, `pair` and `bookinfo` are the meshes they do it on; `forge` makes releases
//! that nobody should make.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    missing_docs,
    reason = "everything here is a test or a helper of one"
)]

mod small;
mod bookinfo;
mod forge;
mod plain;
mod pair;

mod routing;
mod access;
mod reload;
mod protection;
mod endpoints;
mod traffic;
mod web;
mod gateway;
mod raw_bytes;
mod tokens;
mod telemetry;
mod update_styles;
mod events;
mod keys;
mod peers;
mod lifecycle;
mod compiler;
mod commands;
mod findings;
mod action;
mod verifier;
mod every_byte;
mod streams;
mod grpc;
