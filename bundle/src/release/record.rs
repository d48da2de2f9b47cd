//! What a proxy remembers, and in which order it is written.
//!
//! ```text
//! roots/<n>.json      every root after the anchor, as it came: the chain is checked again at each start
//! objects/<sha256>    timestamps, service files, denylists and bodies, as they came: raw bytes, so that they still verify
//! record.json         which of them are in force. Ours, not signed, and the one file whose replacement commits a step
//! ```
//! Objects are saved first, then the record that names them; only then are objects removed that it no longer names. A
//! crash between any two of these leaves the old record with all its objects.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::UpdateError;
use super::payload::Pin;
use super::store::State;
use crate::json;

/// The name of the record in the state directory.
pub(super) const RECORD: &str = "record.json";

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The last timestamp that passed every check of steps 3 to 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timestamp: Option<Held>,
    /// The highest release that a timestamp has pinned. Never lowered, whatever is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Seen>,
    /// The release that runs, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) active: Option<Slot>,
    /// The one that ran before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<Slot>,
    /// Releases that verified but could not be applied, or were found bad while they ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rejected: Vec<Pin>,
    /// The denylist in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) denylist: Option<HeldDenylist>,
    /// The store's tag of the last timestamp that was processed to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<Etag>,
}

/// An object, and the version of the root it was verified under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    pub(super) object: Digest,
    pub(super) root: u64,
}

/// A release that was pinned. Ordered by epoch, then sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) sha256: Digest,
}

/// A release that is stored whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slot {
    pub(super) pin: Pin,
    pub(super) service_file: Digest,
    pub(super) body: Digest,
    /// The version of the root it was verified under. It is verified under that root again: a proxy must restart with
    /// what it ran, also when the key has been rotated and the network is gone.
    pub(super) root: u64,
}

/// A denylist, by its number and the digests of its payload and of its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeldDenylist {
    pub(super) version: u64,
    pub(super) sha256: Digest,
    pub(super) held: Held,
}

/// A tag, and the timestamp it belongs to. Tied together, because a tag that outlives its processing would hide what
/// was never adopted (open-policy-agent/opa#2220).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Etag {
    pub(super) tag: String,
    pub(super) timestamp: Digest,
}

impl Record {
    /// The record, or an empty one for a proxy that starts for the first time.
    pub(super) fn load(state: &dyn State) -> Result<Self, UpdateError> {
        match load(state, RECORD)? {
            None => Ok(Self::default()),
            // A record we cannot read may hold numbers that must not be forgotten: no guess, an error.
            Some(bytes) => json::from_slice(&bytes).map_err(|error| UpdateError::State {
                name: RECORD.to_owned(),
                message: format!("{error}; restore it, or empty the state directory to begin anew"),
            }),
        }
    }

    /// Makes `self` the record, after `objects`; `old` is the one it replaces. Writes nothing if nothing changed.
    pub(super) fn commit(&self, old: &Self, objects: &[&[u8]], state: &dyn State) -> Result<(), UpdateError> {
        for bytes in objects {
            save(state, &object_name(&Digest::of(bytes)), bytes)?;
        }
        if self == old {
            return Ok(());
        }
        let bytes = json::to_canonical(self).expect("a record is texts and numbers read from JSON");
        save(state, RECORD, &bytes)?;
        let kept = self.objects();
        for gone in old.objects().difference(&kept) {
            // Left behind if it cannot be removed: that costs space, not safety.
            let _ = state.remove(&object_name(gone));
        }
        Ok(())
    }

    fn objects(&self) -> BTreeSet<Digest> {
        let slots = self.active.iter().chain(&self.previous);
        let held = self.timestamp.iter().chain(self.denylist.iter().map(|list| &list.held));
        slots.flat_map(|slot| [slot.service_file, slot.body]).chain(held.map(|held| held.object)).collect()
    }

    /// Whether a release was rejected here.
    pub(super) fn rejects(&self, release: &Digest) -> bool {
        self.rejected.iter().any(|pin| pin.sha256 == *release)
    }
}

/// The bytes of an object in the state directory, if they are there and still themselves.
pub(super) fn load_object(state: &dyn State, digest: &Digest) -> Result<Option<Vec<u8>>, UpdateError> {
    let bytes = load(state, &object_name(digest))?;
    Ok(bytes.filter(|bytes| Digest::of(bytes) == *digest))
}

pub(super) fn load(state: &dyn State, name: &str) -> Result<Option<Vec<u8>>, UpdateError> {
    state.load(name).map_err(|error| UpdateError::State { name: name.to_owned(), message: error.0 })
}

pub(super) fn save(state: &dyn State, name: &str, bytes: &[u8]) -> Result<(), UpdateError> {
    state.save(name, bytes).map_err(|error| UpdateError::State { name: name.to_owned(), message: error.0 })
}

pub(super) fn root_name(version: u64) -> String {
    format!("roots/{version}.json")
}

pub(super) fn object_name(digest: &Digest) -> String {
    format!("objects/{digest}")
}
