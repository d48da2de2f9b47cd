//! The `weft` command line: one module per command.

pub mod build;
pub mod ca;
pub mod check;
pub mod explain;
pub mod init;
pub mod inspect;
pub mod key;
pub mod schema;
pub mod trace;
pub mod verify;
