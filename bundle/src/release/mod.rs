//! Signed releases: envelopes, keys, proofs, and the order in which a proxy checks them.
//!
//! One signature per release covers every service through a Merkle tree. A proxy reads a small timestamp that pins the
//! release, then its own service file (release, leaf, proof), then its body; each is checked before anything in it is
//! believed. Roles, thresholds and the words are those of The Update Framework.
//!
//! ```text
//! root/<n>.json                             DSSE  keys and thresholds, version n
//! channels/<channel>/latest.json            DSSE  what is current; the only mutable object, written last
//! releases/<sequence>/release.json          DSSE  an in-toto Statement over the Merkle root of all services
//! releases/<sequence>/manifest.jsonl              every leaf; for auditors, never read by proxies
//! releases/<sequence>/services/<ns>/<name>.json   {release, leaf, proof[, body]}
//! blobs/sha256/<hex>                              a body: canonical JSON
//! denylist/<version>.json                   DSSE  identities no longer trusted
//! ```
//!
//! Nothing here reads a file or a clock: [`store::Store`] and [`store::State`] are the caller's, and so is `now`.
//!
//! In reading order: the parts ([`digest`], [`clock`], [`names`], [`version`], [`key`], [`envelope`], [`merkle`]); what is
//! signed ([`payload`], [`rollout`]); the checks ([`error`], [`trust`], [`delivery`], [`update`]) over [`store`]; and the
//! producer's side, [`sign`].

pub mod digest;
pub mod clock;
pub mod names;
pub mod version;
pub mod key;
pub mod envelope;
pub mod merkle;
pub mod payload;
pub mod rollout;
pub mod error;
pub mod store;
pub mod trust;
pub mod delivery;
mod record;
mod recall;
mod cycle;
pub mod update;
pub mod sign;

use std::time::Duration;

pub use clock::UtcTime;
pub use digest::Digest;
pub use error::UpdateError;
pub use names::{Channel, MeshName, ObjectName, ServiceId};
pub use payload::{Denylist, Pin, Root, Source, Timestamp};
pub use store::{Fetched, Memory, State, Store, StoreError};
pub use update::{Candidate, Config, Freshness, Installed, Standing, Step, Updater};
pub use version::ProgramVersion;

/// The most bytes of a timestamp.
pub const MAX_TIMESTAMP: u64 = 16 << 10;

/// The most bytes of a root.
pub const MAX_ROOT: u64 = 64 << 10;

/// The most keys of a root.
pub const MAX_KEYS: usize = 64;

/// The most roots that one cycle walks along.
pub const MAX_ROOT_STEPS: usize = 64;

/// The most bytes of a service file, whose body is elsewhere.
pub const MAX_SERVICE_FILE: u64 = 64 << 10;

/// The most bytes of a body.
pub const MAX_BODY: u64 = 16 << 20;

/// The most bytes of a service file with its body inside, in base64.
pub const MAX_PACK: u64 = MAX_SERVICE_FILE + MAX_BODY.div_ceil(3) * 4;

/// The most bytes of a denylist.
pub const MAX_DENYLIST: u64 = 1 << 20;

/// How far in the future a timestamp may have been issued.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests;
