//! What a proxy remembers, read from its state directory and verified again.

use std::collections::BTreeSet;

use super::clock::UtcTime;
use super::digest::Digest;
use super::error::UpdateError;
use super::payload::{Denylist, Pin, Role, Root, Timestamp};
use super::record::{Record, load, load_object, root_name};
use super::rollout::{Turn, bucket};
use super::store::State;
use super::trust::{Trust, decode, read_denylist, read_timestamp};
use super::update::{Config, Freshness, Standing};

/// What the state directory says, verified.
pub(super) struct Recalled {
    pub(super) trust: Trust,
    pub(super) record: Record,
    /// The last accepted timestamp, unless its keys have been replaced since.
    pub(super) timestamp: Option<Timestamp>,
    /// The digest of its payload.
    pub(super) timestamp_payload: Option<Digest>,
}

impl Recalled {
    /// Reads the state directory, and verifies again what in it is signed.
    pub(super) fn new(anchor: &Trust, state: &dyn State) -> Result<Self, UpdateError> {
        let mut trust = anchor.clone();
        // A gap or a damaged file ends the chain here; the store has the roots again.
        while let Some(bytes) = load(state, &root_name(trust.newest().version + 1))? {
            if trust.extend(&bytes).is_err() {
                break;
            }
        }
        let record = Record::load(state)?;
        let mut recalled = Self { trust, record, timestamp: None, timestamp_payload: None };
        recalled.recall_timestamp(state)?;
        Ok(recalled)
    }

    /// Reads the stored timestamp again, or forgets it: "new timestamp keys: forget the stored timestamp version and
    /// `issued`" (step 4). Decided from the root it was accepted under, so a crash during the walk changes nothing.
    pub(super) fn recall_timestamp(&mut self, state: &dyn State) -> Result<(), UpdateError> {
        self.timestamp = None;
        self.timestamp_payload = None;
        let Some(held) = self.record.timestamp else { return Ok(()) };
        let newest = self.trust.newest();
        let then = self.trust.at(held.root).unwrap_or(newest);
        if !same_role(then, newest, Role::Timestamp) {
            return Ok(());
        }
        let Some(bytes) = load_object(state, &held.object)? else { return Ok(()) };
        let object = "the stored timestamp";
        self.timestamp = read_timestamp(object, &bytes, newest).ok();
        self.timestamp_payload = decode(object, &bytes).ok().map(|envelope| envelope.payload_digest());
        Ok(())
    }

    pub(super) fn freshness(&self, now: UtcTime) -> Freshness {
        self.timestamp.as_ref().map_or(Freshness::Stale, |timestamp| freshness(timestamp, now))
    }

    pub(super) fn standing(&self, config: &Config, state: &dyn State, now: UtcTime) -> Standing {
        let now = self.timestamp.as_ref().map_or(now, |timestamp| now.max(timestamp.issued));
        let rollout = self.timestamp.as_ref().and_then(|timestamp| turn(config, timestamp, now));
        Standing {
            freshness: self.freshness(now),
            root_version: self.trust.newest().version,
            timestamp: self.timestamp.clone(),
            seen: self.record.seen.map(|seen| Pin { sequence: seen.sequence, sha256: seen.sha256 }),
            active: self.record.active.map(|slot| slot.pin),
            previous: self.record.previous.map(|slot| slot.pin),
            rejected: self.record.rejected.clone(),
            denylist: self.denylist(state),
            rollout,
        }
    }

    pub(super) fn denylist(&self, state: &dyn State) -> Option<Denylist> {
        let held = self.record.denylist?.held;
        let bytes = load_object(state, &held.object).ok()??;
        let root = self.trust.at(held.root).unwrap_or(self.trust.newest());
        read_denylist("the stored denylist", &bytes, root).ok()
    }
}

fn same_role(a: &Root, b: &Root, role: Role) -> bool {
    let ids = |root: &Root| {
        let role = root.roles.of(role);
        (role.keyids.iter().copied().collect::<BTreeSet<_>>(), role.threshold)
    };
    ids(a) == ids(b)
}

pub(super) fn freshness(timestamp: &Timestamp, now: UtcTime) -> Freshness {
    if timestamp.expires <= now {
        Freshness::Expired
    } else if timestamp.stale_after <= now {
        Freshness::Stale
    } else {
        Freshness::Fresh
    }
}

pub(super) fn turn(config: &Config, timestamp: &Timestamp, now: UtcTime) -> Option<(u64, Turn)> {
    let rollout = timestamp.rollout.as_ref()?;
    let bucket = bucket(&rollout.salt, &config.service, &config.instance_id, config.canary);
    Some((bucket, rollout.turn(bucket, now)))
}
