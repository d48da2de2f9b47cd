//! The steps of the update cycle, 1 to 11, with each rule at its check. See [`super::update`].

use super::clock::UtcTime;
use super::delivery::{Delivery, Expected, check_body, check_service_file, require_digest};
use super::digest::Digest;
use super::error::UpdateError;
use super::names::ObjectName;
use super::payload::{Denylist, Pin, Root, Timestamp};
use super::recall::{Recalled, freshness, turn};
use super::record::{Etag, Held, HeldDenylist, Seen, load_object, root_name, save};
use super::rollout::Turn;
use super::store::{Fetched, State, Store};
use super::trust::{decode, read_denylist, read_timestamp, require_mesh};
use super::update::{Candidate, Config, Step};
use super::{CLOCK_SKEW, MAX_DENYLIST, MAX_PACK, MAX_ROOT, MAX_ROOT_STEPS, MAX_SERVICE_FILE, MAX_TIMESTAMP};
use crate::json;

/// One pass through the steps.
pub(super) struct Cycle<'a> {
    pub(super) config: &'a Config,
    pub(super) state: &'a dyn State,
    pub(super) store: &'a dyn Store,
    pub(super) running: Option<Digest>,
    /// Fixed for the cycle.
    pub(super) now: UtcTime,
    /// At most one walk along the roots per cycle.
    pub(super) walked: bool,
    pub(super) recalled: Recalled,
}

/// Where the objects of one service are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// A whole release directory.
    Tree,
    /// A pack for one service: three or four files side by side.
    Pack,
}

/// What became of the request for the timestamp.
enum Latest {
    /// The one we have.
    Same,
    /// Perhaps another.
    Bytes { bytes: Vec<u8>, tag: Option<String> },
}

/// What to run.
enum Choice {
    /// What runs. `settled`: because it is what the timestamp wants, not for want of something better.
    Stay { settled: bool },
    /// This one; `settled` as above.
    Take { pin: Pin, settled: bool },
}

impl Cycle<'_> {
    pub(super) fn run(mut self) -> Result<Step, UpdateError> {
        let mut layout = Layout::Tree;
        match self.pass(&mut layout) {
            // "Unknown key, threshold not met: one root walk per cycle." Then from the beginning: the new root may have
            // other timestamp keys, too, a higher floor, or have expired.
            Err(error) if is_signature_failure(&error) => {
                if self.walk(layout)? {
                    self.pass(&mut layout)
                } else {
                    Err(error)
                }
            }
            done => done,
        }
    }

    fn pass(&mut self, found: &mut Layout) -> Result<Step, UpdateError> {
        // 1. `now` = max(wall clock, last verified `issued`), fixed for the cycle.
        if let Some(timestamp) = &self.recalled.timestamp {
            self.now = self.now.max(timestamp.issued);
        }
        // 2. `latest.json`, conditional on the tag stored with the last fully processed digest.
        let (layout, latest) = self.fetch_latest()?;
        *found = layout;
        let (timestamp, etag) = match (latest, self.recalled.timestamp.clone()) {
            // Not modified: only re-evaluate staleness and rollout.
            (Latest::Same, Some(timestamp)) => {
                self.require_current_root(layout, timestamp.root_version)?;
                self.check_expiry(&timestamp)?;
                (timestamp, None)
            }
            (Latest::Same, None) => {
                let message = "answered \"not modified\" to a question that was not asked".to_owned();
                return Err(UpdateError::Store { object: self.latest_name(layout).to_string(), message });
            }
            (Latest::Bytes { bytes, tag }, _) => {
                // 3 to 6.
                let timestamp = self.adopt_timestamp(layout, &bytes)?;
                (timestamp, Some(tag.map(|tag| Etag { tag, timestamp: Digest::of(&bytes) })))
            }
        };
        // 7. Denylist: applied at once, never staged.
        if let Some(denylist) = self.update_denylist(layout, &timestamp)? {
            return Ok(Step::Denylist(denylist));
        }
        // 8. Choose `current` or `previous` by rollout and the local rejected set. Same as active: stop.
        match self.choose(&timestamp)? {
            Choice::Stay { settled } => {
                if let (true, Some(etag)) = (settled, etag) {
                    let old = self.recalled.record.clone();
                    self.recalled.record.etag = etag;
                    self.recalled.record.commit(&old, &[], self.state)?;
                }
                Ok(Step::Unchanged(Box::new(self.recalled.standing(self.config, self.state, self.now))))
            }
            Choice::Take { pin, settled } => {
                self.fetch_candidate(layout, &timestamp, pin, etag.filter(|_| settled))
            }
        }
    }

    fn latest_name(&self, layout: Layout) -> ObjectName {
        match layout {
            Layout::Tree => ObjectName::latest(&self.config.channel),
            Layout::Pack => ObjectName::pack_latest(),
        }
    }

    /// Finds the layout by where `latest.json` is.
    fn fetch_latest(&self) -> Result<(Layout, Latest), UpdateError> {
        let record = &self.recalled.record;
        let held = self.recalled.timestamp.as_ref().and(record.timestamp);
        let tag = record.etag.as_ref().filter(|etag| held.is_some_and(|held| held.object == etag.timestamp));
        let tag = tag.map(|etag| etag.tag.as_str());
        for layout in [Layout::Tree, Layout::Pack] {
            match self.get(&self.latest_name(layout), MAX_TIMESTAMP, tag)? {
                Fetched::NotModified => return Ok((layout, Latest::Same)),
                Fetched::Found { bytes, etag } => return Ok((layout, Latest::Bytes { bytes, tag: etag })),
                Fetched::Absent => {}
            }
        }
        Err(UpdateError::Missing { object: self.latest_name(Layout::Tree).to_string() })
    }

    /// Steps 3 to 6: from bytes to a timestamp that is persisted.
    fn adopt_timestamp(&mut self, layout: Layout, bytes: &[u8]) -> Result<Timestamp, UpdateError> {
        let object = self.latest_name(layout);
        // 3. DSSE: exact payload type, at most 16 signatures, distinct trusted keys, strict JSON.
        // 4. Signature fails: `run` walks the roots ...
        let timestamp = read_timestamp(object.as_str(), bytes, self.recalled.trust.newest())?;
        // 4. ... or `root_version` is higher; afterwards the root must be unexpired. The keys may change on the way, so
        // the signature is then checked again.
        if self.require_current_root(layout, timestamp.root_version)? {
            read_timestamp(object.as_str(), bytes, self.recalled.trust.newest())?;
        }
        // 5. Mesh and channel as configured ...
        require_mesh(&object, &self.config.mesh, &timestamp.mesh)?;
        if timestamp.channel != self.config.channel {
            return Err(UpdateError::WrongTarget {
                object: object.to_string(),
                what: "channel",
                expected: self.config.channel.to_string(),
                found: timestamp.channel.to_string(),
            });
        }
        // ... version >= stored (equal means identical bytes: of the payload, because ECDSA never signs twice alike) ...
        let payload = decode(&object, bytes)?.payload_digest();
        if let Some(stored) = &self.recalled.timestamp {
            let same = self.recalled.timestamp_payload == Some(payload);
            require_order("timestamp", (0, stored.version), (0, timestamp.version), same)?;
        }
        // ... `issued` <= now + 5 min ...
        if timestamp.issued > self.now.plus(CLOCK_SKEW) {
            return Err(UpdateError::ClockSkew { issued: timestamp.issued, now: self.now });
        }
        // ... `expires` > now.
        self.check_expiry(&timestamp)?;
        // 6. (`epoch`, `sequence`) >= persisted `seen` and >= `release_floor`; equal means the same digest.
        let root = self.recalled.trust.newest();
        let pin = timestamp.current;
        let seen = Seen { epoch: root.epoch, sequence: pin.sequence, sha256: pin.sha256 };
        if let Some(old) = self.recalled.record.seen {
            let same = old.sha256 == seen.sha256;
            require_order("release", (old.epoch, old.sequence), (seen.epoch, seen.sequence), same)?;
        }
        if pin.sequence < root.release_floor {
            return Err(UpdateError::BelowFloor { floor: root.release_floor, found: pin.sequence });
        }
        // Only then persist the timestamp.
        let old = self.recalled.record.clone();
        let record = &mut self.recalled.record;
        record.timestamp = Some(Held { object: Digest::of(bytes), root: root.version });
        record.seen = Some(seen);
        // A rejected release can come back only while something pins it.
        record.rejected.retain(|pin| *pin == timestamp.current || Some(*pin) == timestamp.previous);
        if old.timestamp != record.timestamp {
            record.commit(&old, &[bytes], self.state)?;
        }
        self.recalled.timestamp = Some(timestamp.clone());
        self.recalled.timestamp_payload = Some(payload);
        Ok(timestamp)
    }

    /// Walks if the newest root is too old for the timestamp or has expired, and requires that it now is neither. Says
    /// whether there are new roots.
    fn require_current_root(&mut self, layout: Layout, version: u64) -> Result<bool, UpdateError> {
        let newest = self.recalled.trust.newest();
        // Deviation: an expired root starts a walk, too; else a proxy whose timestamp keys never changed would stay
        // with it.
        let walked = (version > newest.version || newest.expires <= self.now) && self.walk(layout)?;
        let newest = self.recalled.trust.newest();
        if version > newest.version {
            return Err(UpdateError::RootBehind { needed: version, newest: newest.version });
        }
        if newest.expires <= self.now {
            return Err(UpdateError::RootExpired { expires: newest.expires });
        }
        Ok(walked)
    }

    /// Walks `root/<n+1>.json` as far as there are any, at most 64 steps, and persists each step. Says whether it got
    /// anywhere.
    fn walk(&mut self, layout: Layout) -> Result<bool, UpdateError> {
        if std::mem::replace(&mut self.walked, true) {
            return Ok(false);
        }
        let start = self.recalled.trust.newest().version;
        for _ in 0..MAX_ROOT_STEPS {
            let next = self.recalled.trust.newest().version + 1;
            let Some(bytes) = self.fetch_root(layout, next)? else { break };
            self.recalled.trust.extend(&bytes)?;
            save(self.state, &root_name(next), &bytes)?;
        }
        // New timestamp keys: forget the stored timestamp version and `issued`.
        self.recalled.recall_timestamp(self.state)?;
        Ok(self.recalled.trust.newest().version > start)
    }

    fn fetch_root(&self, layout: Layout, version: u64) -> Result<Option<Vec<u8>>, UpdateError> {
        let name = match layout {
            Layout::Tree => ObjectName::root(version),
            Layout::Pack => ObjectName::pack_root(),
        };
        let Fetched::Found { bytes, .. } = self.get(&name, MAX_ROOT, None)? else { return Ok(None) };
        // A pack has one root only: the next one for us, or none.
        let is_next = || {
            let root: Option<Root> = json::from_slice(decode(&name, &bytes).ok()?.unverified_payload()).ok();
            root.map(|root| root.version == version)
        };
        if layout == Layout::Pack && is_next() != Some(true) {
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    fn check_expiry(&self, timestamp: &Timestamp) -> Result<(), UpdateError> {
        let bootstrap = self.config.allow_expired && self.running.is_none();
        if timestamp.expires <= self.now && !bootstrap {
            return Err(UpdateError::Expired { expires: timestamp.expires, now: self.now });
        }
        Ok(())
    }

    /// Step 7: changed digest: fetch, verify, version >= stored. Gives the denylist if it is new.
    fn update_denylist(
        &mut self,
        layout: Layout,
        timestamp: &Timestamp,
    ) -> Result<Option<Denylist>, UpdateError> {
        let Some(pin) = timestamp.denylist else { return Ok(None) };
        let held = self.recalled.record.denylist;
        if held.is_some_and(|held| held.sha256 == pin.sha256) && self.recalled.denylist(self.state).is_some()
        {
            return Ok(None);
        }
        if let Some(held) = held {
            require_order("denylist", (0, held.version), (0, pin.version), held.sha256 == pin.sha256)?;
        }
        let name = match layout {
            Layout::Tree => ObjectName::denylist(pin.version),
            Layout::Pack => ObjectName::pack_denylist(),
        };
        let bytes = self.fetch(&name, MAX_DENYLIST)?;
        require_digest(name.as_str(), pin.sha256, decode(&name, &bytes)?.payload_digest())?;
        let denylist = read_denylist(name.as_str(), &bytes, self.recalled.trust.newest())?;
        require_mesh(&name, &self.config.mesh, &denylist.mesh)?;
        if denylist.version != pin.version {
            return Err(UpdateError::Rollback {
                what: "denylist",
                seen: pin.version,
                found: denylist.version,
            });
        }
        let old = self.recalled.record.clone();
        let held = Held { object: Digest::of(&bytes), root: self.recalled.trust.newest().version };
        self.recalled.record.denylist = Some(HeldDenylist { version: pin.version, sha256: pin.sha256, held });
        self.recalled.record.commit(&old, &[&bytes], self.state)?;
        Ok(Some(denylist))
    }

    /// Step 8.
    fn choose(&self, timestamp: &Timestamp) -> Result<Choice, UpdateError> {
        let (current, previous) = (timestamp.current, timestamp.previous);
        let runs = |pin: Pin| self.running == Some(pin.sha256);
        let wanted = match turn(self.config, timestamp, self.now).map_or(Turn::Current, |(_, turn)| turn) {
            Turn::Current => current,
            // Whoever holds `current` keeps it: nobody moves back because a stage or a clock changed.
            Turn::NotYet(_) | Turn::Hold if runs(current) => current,
            // Frozen means frozen, also for those who are further behind.
            Turn::Hold if self.running.is_some() => return Ok(Choice::Stay { settled: true }),
            // Not eligible: load `previous`. Before the very first release there is none, and one must begin.
            Turn::NotYet(_) | Turn::Hold => previous.unwrap_or(current),
            // Sends holders of `current` back.
            Turn::Abort => match previous {
                Some(previous) => previous,
                None if self.running.is_some() => return Ok(Choice::Stay { settled: true }),
                None => return Err(UpdateError::NotEligible),
            },
        };
        if runs(wanted) {
            return Ok(Choice::Stay { settled: true });
        }
        let record = &self.recalled.record;
        if !record.rejects(&wanted.sha256) {
            return Ok(Choice::Take { pin: wanted, settled: true });
        }
        // It was tried and failed: the one before it, unless that is what runs, or failed, too.
        match previous.filter(|pin| !record.rejects(&pin.sha256)) {
            Some(previous) if !runs(previous) => Ok(Choice::Take { pin: previous, settled: false }),
            _ if self.running.is_some() => Ok(Choice::Stay { settled: false }),
            _ => Err(UpdateError::Rejected { release: wanted.sha256 }),
        }
    }

    /// Steps 9 to 11.
    fn fetch_candidate(
        &mut self,
        layout: Layout,
        timestamp: &Timestamp,
        pin: Pin,
        etag: Option<Option<Etag>>,
    ) -> Result<Step, UpdateError> {
        let floor = self.recalled.trust.newest().release_floor;
        if pin.sequence < floor {
            return Err(UpdateError::BelowFloor { floor, found: pin.sequence });
        }
        let (name, cap) = match layout {
            Layout::Tree => (ObjectName::service(pin.sequence, &self.config.service), MAX_SERVICE_FILE),
            Layout::Pack => (ObjectName::pack_service(), MAX_PACK),
        };
        let service_file = self.fetch(&name, cap)?;
        let Delivery { statement, leaf, inline_body } = self.check_delivery(&name, &service_file, pin)?;
        // 11. Body from cache or store, cap = `length`, exact length and digest.
        let blob = ObjectName::blob(&leaf.sha256);
        let body = match load_object(self.state, &leaf.sha256)? {
            Some(body) => body,
            None => match inline_body {
                Some(body) => body,
                None => self.fetch(&blob, leaf.length)?,
            },
        };
        check_body(blob.as_str(), &body, &leaf)?;
        Ok(Step::Candidate(Box::new(Candidate {
            pin,
            release: statement.predicate,
            body_digest: leaf.sha256,
            body,
            freshness: freshness(timestamp, self.now),
            mesh: self.config.mesh.clone(),
            service: self.config.service.clone(),
            service_file,
            root: self.recalled.trust.newest().version,
            etag,
        })))
    }

    fn check_delivery(&self, name: &ObjectName, bytes: &[u8], pin: Pin) -> Result<Delivery, UpdateError> {
        let expected = Expected {
            mesh: &self.config.mesh,
            root: self.recalled.trust.newest(),
            pin,
            version: self.config.version,
        };
        check_service_file(name.as_str(), bytes, &self.config.service, expected)
    }

    fn fetch(&self, name: &ObjectName, cap: u64) -> Result<Vec<u8>, UpdateError> {
        match self.get(name, cap, None)? {
            Fetched::Found { bytes, .. } => Ok(bytes),
            Fetched::Absent | Fetched::NotModified => Err(UpdateError::Missing { object: name.to_string() }),
        }
    }

    fn get(&self, name: &ObjectName, cap: u64, tag: Option<&str>) -> Result<Fetched, UpdateError> {
        let fetched = self
            .store
            .get(name, cap, tag)
            .map_err(|error| UpdateError::Store { object: name.to_string(), message: error.0 })?;
        match fetched {
            Fetched::Found { bytes, .. } if bytes.len() as u64 > cap => {
                Err(UpdateError::Oversized { object: name.to_string(), cap })
            }
            fetched @ (Fetched::Found { .. } | Fetched::NotModified | Fetched::Absent) => Ok(fetched),
        }
    }
}

/// "Unknown key, threshold not met: one root walk per cycle, then discard."
fn is_signature_failure(error: &UpdateError) -> bool {
    matches!(error, UpdateError::UnknownKey { .. } | UpdateError::Threshold { .. })
}

/// Lower is a rollback; equal must be the same thing. Numbers are (epoch, number).
fn require_order(
    what: &'static str,
    seen: (u64, u64),
    found: (u64, u64),
    same: bool,
) -> Result<(), UpdateError> {
    if found < seen {
        return Err(UpdateError::Rollback { what, seen: seen.1, found: found.1 });
    }
    if found == seen && !same {
        return Err(UpdateError::Equivocation { what, number: found.1 });
    }
    Ok(())
}
