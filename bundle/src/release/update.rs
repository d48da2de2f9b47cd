//! The update cycle: what a proxy checks, in this order.
//!
//! The numbers at the checks are those of the specification's section 3. Every cycle begins with what the state directory
//! holds and nothing else, so a crash between two cycles is the ordinary case, and one inside a cycle leaves the old
//! state or the new. Nothing is persisted before all checks of its step have passed.
//!
//! ```text
//! Updater::new       0        our own configuration and the trust anchor
//! Updater::check     1 to 11  → Unchanged, or a Denylist to apply, or a Candidate
//! the caller         12       builds the runtime objects from the candidate's body
//! Candidate::accept  13       persists it; then the caller swaps its pointer
//! Candidate::reject  12       remembers that it could not be applied
//! Updater::resume             start from the state directory alone
//! Updater::reject             leaves a release that was found bad while it ran
//! ```

use super::clock::UtcTime;
use super::delivery::{Delivery, Expected, check_body, check_service_file, require_digest};
use super::digest::Digest;
use super::error::UpdateError;
use super::names::{Channel, MeshName, ObjectName, ServiceId};
use super::payload::{Denylist, Pin, Release, Role, Root, Timestamp};
use super::record::{Etag, Held, HeldDenylist, Record, Seen, Slot, load, load_object, root_name, save};
use super::rollout::{Turn, bucket};
use super::store::{Fetched, State, Store};
use super::trust::{Trust, decode, read_denylist, read_timestamp, require_mesh};
use super::version::ProgramVersion;
use super::{CLOCK_SKEW, MAX_DENYLIST, MAX_PACK, MAX_ROOT, MAX_ROOT_STEPS, MAX_SERVICE_FILE, MAX_TIMESTAMP};
use crate::body::Body;
use crate::json;

/// What our own configuration says. None of it ever comes from a bundle (step 0).
#[derive(Clone, Debug)]
pub struct Config {
    /// Our mesh.
    pub mesh: MeshName,
    /// The channel we follow.
    pub channel: Channel,
    /// The service we run.
    pub service: ServiceId,
    /// Which instance of it we are; draws the bucket of a rollout.
    pub instance_id: String,
    /// Whether we go first in every rollout.
    pub canary: bool,
    /// The version of this program.
    pub version: ProgramVersion,
    /// Whether a start without state may adopt from an expired timestamp.
    pub allow_expired: bool,
}

/// Brings a proxy from what it has to what the channel says, or says why not.
#[derive(Clone, Debug)]
pub struct Updater {
    config: Config,
    anchor: Trust,
}

/// What a cycle found.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing to do.
    Unchanged(Box<Standing>),
    /// A new denylist is in force. Apply it, close the connections it means, then check again: what else is new was
    /// not looked at.
    Denylist(Denylist),
    /// A release that passed every check up to its body's digest. Build it, then accept or reject.
    Candidate(Box<Candidate>),
}

/// A verified release that is not yet active.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The release.
    pub pin: Pin,
    /// What its statement says.
    pub release: Release,
    /// The digest of the body.
    pub body_digest: Digest,
    /// The body: exactly the bytes that were signed for.
    pub body: Vec<u8>,
    /// How fresh the timestamp is that pins it.
    pub freshness: Freshness,
    mesh: MeshName,
    service: ServiceId,
    service_file: Vec<u8>,
    root: u64,
    /// What to store as the tag when it is accepted; `None` leaves the tag as it is.
    etag: Option<Option<Etag>>,
}

/// A release from the state directory whose bytes verified again.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The release.
    pub pin: Pin,
    /// What its statement says.
    pub release: Release,
    /// The digest of the body.
    pub body_digest: Digest,
    /// The body.
    pub body: Vec<u8>,
    /// Never [`Freshness::Fresh`]: nothing has been heard since the start.
    pub freshness: Freshness,
    /// Why the one that was active before did not verify, if this is the one before it.
    pub instead_of: Option<UpdateError>,
}

/// How recent the last word from the channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// Recent.
    Fresh,
    /// Past `stale_after`: serve on, and say so.
    Stale,
    /// Past `expires`: serve on, adopt nothing.
    Expired,
}

/// Where a proxy stands, for metrics, logs and the admin page.
#[derive(Clone, Debug)]
pub struct Standing {
    /// How recent the last accepted timestamp is; [`Freshness::Stale`] if there is none.
    pub freshness: Freshness,
    /// The version of the newest root.
    pub root_version: u64,
    /// The last accepted timestamp.
    pub timestamp: Option<Timestamp>,
    /// The highest sequence that was pinned.
    pub seen: Option<Pin>,
    /// The release that the state directory holds as active.
    pub active: Option<Pin>,
    /// The one before it.
    pub previous: Option<Pin>,
    /// Releases that could not be applied here.
    pub rejected: Vec<Pin>,
    /// The denylist in force.
    pub denylist: Option<Denylist>,
    /// Our bucket in the current rollout, and whose turn it is.
    pub rollout: Option<(u64, Turn)>,
}

impl Updater {
    /// An updater for this configuration and this trust anchor (step 0): the bytes of the root that came with our own
    /// configuration or image, never from the bucket.
    ///
    /// # Errors
    /// If the anchor is not a root of our mesh, signed by its own keys.
    pub fn new(config: Config, anchor: &[u8]) -> Result<Self, UpdateError> {
        let anchor = Trust::new(anchor, &config.mesh)?;
        Ok(Self { config, anchor })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One cycle, steps 1 to 11. `running` is the digest of the release that serves now, if any; `now` the wall clock.
    ///
    /// # Errors
    /// The first check that failed. What runs stays; what was persisted before the failing step stays.
    pub fn check(
        &self,
        state: &dyn State,
        store: &dyn Store,
        running: Option<&Digest>,
        now: UtcTime,
    ) -> Result<Step, UpdateError> {
        let memory = self.recall(state)?;
        Cycle { config: &self.config, state, store, running: running.copied(), now, walked: false, memory }
            .run()
    }

    /// The release to start with, from the state directory alone: the active one if its bytes still verify, else the one
    /// before it. If it cannot be built either, [`Updater::reject`] it and ask again.
    ///
    /// # Errors
    /// [`UpdateError::NoBundle`] if there is none that verifies; [`UpdateError::State`] if the directory cannot be read.
    pub fn resume(&self, state: &dyn State, now: UtcTime) -> Result<Installed, UpdateError> {
        let memory = self.recall(state)?;
        let freshness = memory.freshness(now).max(Freshness::Stale);
        let mut first_failure = None;
        for slot in memory.record.active.iter().chain(&memory.record.previous) {
            match self.verify_slot(slot, &memory.trust, state) {
                Ok((release, body)) => {
                    return Ok(Installed {
                        pin: slot.pin,
                        release,
                        body_digest: slot.body,
                        body,
                        freshness,
                        instead_of: first_failure,
                    });
                }
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        let message = first_failure.map(|error| error.to_string()).unwrap_or_default();
        Err(UpdateError::NoBundle { message })
    }

    /// Leaves a release that was found bad: it is not tried again while the channel pins it, and if it was the active one,
    /// the one before it is active in its place. What was seen is not forgotten.
    ///
    /// # Errors
    /// If the state directory cannot be read or written.
    pub fn reject(&self, state: &dyn State, release: Pin) -> Result<(), UpdateError> {
        reject(state, release)
    }

    /// Where we stand.
    ///
    /// # Errors
    /// If the state directory cannot be read.
    pub fn standing(&self, state: &dyn State, now: UtcTime) -> Result<Standing, UpdateError> {
        Ok(self.recall(state)?.standing(&self.config, state, now))
    }

    /// Reads the state directory, and verifies again what in it is signed.
    fn recall(&self, state: &dyn State) -> Result<Memory, UpdateError> {
        let mut trust = self.anchor.clone();
        // A gap or a damaged file ends the chain here; the store has the roots again.
        while let Some(bytes) = load(state, &root_name(trust.newest().version + 1))? {
            if trust.extend(&bytes).is_err() {
                break;
            }
        }
        let record = Record::load(state)?;
        let mut memory = Memory { trust, record, timestamp: None };
        memory.recall_timestamp(state)?;
        Ok(memory)
    }

    /// A stored release and its body, if all its bytes still verify.
    fn verify_slot(
        &self,
        slot: &Slot,
        trust: &Trust,
        state: &dyn State,
    ) -> Result<(Release, Vec<u8>), UpdateError> {
        let lost =
            |what: &str| UpdateError::Missing { object: format!("{what} of release {}", slot.pin.sequence) };
        let file = load_object(state, &slot.service_file)?.ok_or_else(|| lost("the service file"))?;
        let expected = Expected {
            mesh: &self.config.mesh,
            root: trust.at(slot.root).unwrap_or(trust.newest()),
            pin: slot.pin,
            version: self.config.version,
        };
        let delivery = check_service_file("the stored service file", &file, &self.config.service, expected)?;
        let body = load_object(state, &slot.body)?.ok_or_else(|| lost("the body"))?;
        check_body("the stored body", &body, &delivery.leaf)?;
        Ok((delivery.statement.predicate, body))
    }
}

impl Candidate {
    /// The body as its type (step 12): strict JSON, for our own mesh and service.
    ///
    /// # Errors
    /// If it is not a body, or one for somebody else.
    pub fn parse(&self) -> Result<Body, UpdateError> {
        parse_body(&self.body, &self.mesh, &self.service)
    }

    /// Persists it as the active release (step 13): raw bytes first, then the record, with the tag of its timestamp. Call
    /// it when everything is built, then swap the pointer.
    ///
    /// # Errors
    /// If the state directory cannot be written; the old release is still the active one.
    pub fn accept(&self, state: &dyn State) -> Result<(), UpdateError> {
        let old = Record::load(state)?;
        let mut record = old.clone();
        let slot = Slot {
            pin: self.pin,
            service_file: Digest::of(&self.service_file),
            body: self.body_digest,
            root: self.root,
        };
        // Adopted again, perhaps because its files were damaged: the one before it stays the one before it.
        if old.active.is_some_and(|active| active.pin != self.pin) {
            record.previous = old.active;
        }
        record.active = Some(slot);
        if let Some(etag) = &self.etag {
            record.etag.clone_from(etag);
        }
        record.commit(&old, &[&self.service_file, &self.body], state)
    }

    /// Remembers that it could not be applied (step 12). The active release is untouched, the tag is not stored, and this
    /// release is not tried again.
    ///
    /// # Errors
    /// If the state directory cannot be written.
    pub fn reject(&self, state: &dyn State) -> Result<(), UpdateError> {
        reject(state, self.pin)
    }
}

/// A body as its type: strict JSON, for this mesh and service.
///
/// # Errors
/// If it is not a body, or one for somebody else.
pub fn parse_body(bytes: &[u8], mesh: &MeshName, service: &ServiceId) -> Result<Body, UpdateError> {
    let body: Body = json::from_slice(bytes).map_err(|error| UpdateError::json("the body", &error))?;
    for (what, expected, found) in
        [("mesh", mesh.as_str(), &body.mesh), ("service", service.as_str(), &body.service)]
    {
        if expected != found {
            let (expected, found) = (expected.to_owned(), found.clone());
            return Err(UpdateError::WrongTarget { object: "the body".to_owned(), what, expected, found });
        }
    }
    Ok(body)
}

fn reject(state: &dyn State, release: Pin) -> Result<(), UpdateError> {
    let old = Record::load(state)?;
    let mut record = old.clone();
    if !record.rejects(&release.sha256) {
        record.rejected.push(release);
    }
    let is_it = |slot: &Slot| slot.pin.sha256 == release.sha256;
    if record.active.as_ref().is_some_and(is_it) {
        record.active = record.previous.take();
    }
    if record.previous.as_ref().is_some_and(is_it) {
        record.previous = None;
    }
    // The timestamp has not been processed to its end.
    record.etag = None;
    record.commit(&old, &[], state)
}

/// What the state directory says, verified.
struct Memory {
    trust: Trust,
    record: Record,
    /// The last accepted timestamp, unless its keys have been replaced since.
    timestamp: Option<Timestamp>,
}

impl Memory {
    /// Reads the stored timestamp again, or forgets it: "new timestamp keys: forget the stored timestamp version and
    /// `issued`" (step 4). Decided from the root it was accepted under, so a crash during the walk changes nothing.
    fn recall_timestamp(&mut self, state: &dyn State) -> Result<(), UpdateError> {
        self.timestamp = None;
        let Some(held) = self.record.timestamp else { return Ok(()) };
        let newest = self.trust.newest();
        let then = self.trust.at(held.root).unwrap_or(newest);
        if !same_role(then, newest, Role::Timestamp) {
            return Ok(());
        }
        let Some(bytes) = load_object(state, &held.object)? else { return Ok(()) };
        self.timestamp = read_timestamp("the stored timestamp", &bytes, newest).ok();
        Ok(())
    }

    fn freshness(&self, now: UtcTime) -> Freshness {
        self.timestamp.as_ref().map_or(Freshness::Stale, |timestamp| freshness(timestamp, now))
    }

    fn standing(&self, config: &Config, state: &dyn State, now: UtcTime) -> Standing {
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

    fn denylist(&self, state: &dyn State) -> Option<Denylist> {
        let held = self.record.denylist?.held;
        let bytes = load_object(state, &held.object).ok()??;
        let root = self.trust.at(held.root).unwrap_or(self.trust.newest());
        read_denylist("the stored denylist", &bytes, root).ok()
    }
}

/// One pass through the steps.
struct Cycle<'a> {
    config: &'a Config,
    state: &'a dyn State,
    store: &'a dyn Store,
    running: Option<Digest>,
    /// Fixed for the cycle.
    now: UtcTime,
    /// At most one walk along the roots per cycle.
    walked: bool,
    memory: Memory,
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
    /// This one.
    Take(Pin),
}

impl Cycle<'_> {
    fn run(mut self) -> Result<Step, UpdateError> {
        // 1. `now` = max(wall clock, last verified `issued`), fixed for the cycle.
        if let Some(timestamp) = &self.memory.timestamp {
            self.now = self.now.max(timestamp.issued);
        }
        // 2. `latest.json`, conditional on the tag stored with the last fully processed digest.
        let (layout, latest) = self.fetch_latest()?;
        let (timestamp, etag) = match (latest, self.memory.timestamp.clone()) {
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
                    let old = self.memory.record.clone();
                    self.memory.record.etag = etag;
                    self.memory.record.commit(&old, &[], self.state)?;
                }
                Ok(Step::Unchanged(Box::new(self.memory.standing(self.config, self.state, self.now))))
            }
            Choice::Take(pin) => self.fetch_candidate(layout, &timestamp, pin, etag),
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
        let record = &self.memory.record;
        let held = self.memory.timestamp.as_ref().and(record.timestamp);
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
        let mut read = read_timestamp(object.as_str(), bytes, self.memory.trust.newest());
        // 4. Signature fails: walk the roots, then try once more.
        if read.as_ref().is_err_and(is_signature_failure) && self.walk(layout)? {
            read = read_timestamp(object.as_str(), bytes, self.memory.trust.newest());
        }
        let timestamp = read?;
        // 4. ... or `root_version` is higher; afterwards the root must be unexpired. The keys may change on the way, so
        // the signature is then checked again.
        if self.require_current_root(layout, timestamp.root_version)? {
            read_timestamp(object.as_str(), bytes, self.memory.trust.newest())?;
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
        // ... version >= stored (equal means identical payloads: other signatures over it are no equivocation) ...
        if let Some(stored) = &self.memory.timestamp {
            require_order("timestamp", (0, stored.version), (0, timestamp.version), *stored == timestamp)?;
        }
        // ... `issued` <= now + 5 min ...
        if timestamp.issued > self.now.plus(CLOCK_SKEW) {
            return Err(UpdateError::ClockSkew { issued: timestamp.issued, now: self.now });
        }
        // ... `expires` > now.
        self.check_expiry(&timestamp)?;
        // 6. (`epoch`, `sequence`) >= persisted `seen` and >= `release_floor`; equal means the same digest.
        let root = self.memory.trust.newest();
        let pin = timestamp.current;
        let seen = Seen { epoch: root.epoch, sequence: pin.sequence, sha256: pin.sha256 };
        if let Some(old) = self.memory.record.seen {
            let same = old.sha256 == seen.sha256;
            require_order("release", (old.epoch, old.sequence), (seen.epoch, seen.sequence), same)?;
        }
        if pin.sequence < root.release_floor {
            return Err(UpdateError::BelowFloor { floor: root.release_floor, found: pin.sequence });
        }
        // Only then persist the timestamp.
        let old = self.memory.record.clone();
        let record = &mut self.memory.record;
        record.timestamp = Some(Held { object: Digest::of(bytes), root: root.version });
        record.seen = Some(seen);
        // A rejected release can come back only while something pins it.
        record.rejected.retain(|pin| *pin == timestamp.current || Some(*pin) == timestamp.previous);
        if old.timestamp != record.timestamp {
            record.commit(&old, &[bytes], self.state)?;
        }
        self.memory.timestamp = Some(timestamp.clone());
        Ok(timestamp)
    }

    /// Walks if the newest root is too old for the timestamp or has expired, and requires that it now is neither. Says
    /// whether there are new roots.
    fn require_current_root(&mut self, layout: Layout, version: u64) -> Result<bool, UpdateError> {
        let newest = self.memory.trust.newest();
        // Deviation: an expired root starts a walk, too; else a proxy whose timestamp keys never changed would stay
        // with it.
        let walked = (version > newest.version || newest.expires <= self.now) && self.walk(layout)?;
        let newest = self.memory.trust.newest();
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
        let start = self.memory.trust.newest().version;
        for _ in 0..MAX_ROOT_STEPS {
            let next = self.memory.trust.newest().version + 1;
            let Some(bytes) = self.fetch_root(layout, next)? else { break };
            self.memory.trust.extend(&bytes)?;
            save(self.state, &root_name(next), &bytes)?;
        }
        // New timestamp keys: forget the stored timestamp version and `issued`.
        self.memory.recall_timestamp(self.state)?;
        Ok(self.memory.trust.newest().version > start)
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
        let held = self.memory.record.denylist;
        if held.is_some_and(|held| held.sha256 == pin.sha256) && self.memory.denylist(self.state).is_some() {
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
        let mut read = read_denylist(name.as_str(), &bytes, self.memory.trust.newest());
        if read.as_ref().is_err_and(is_signature_failure) && self.walk(layout)? {
            read = read_denylist(name.as_str(), &bytes, self.memory.trust.newest());
        }
        let denylist = read?;
        require_mesh(&name, &self.config.mesh, &denylist.mesh)?;
        if denylist.version != pin.version {
            return Err(UpdateError::Rollback {
                what: "denylist",
                seen: pin.version,
                found: denylist.version,
            });
        }
        let old = self.memory.record.clone();
        let held = Held { object: Digest::of(&bytes), root: self.memory.trust.newest().version };
        self.memory.record.denylist = Some(HeldDenylist { version: pin.version, sha256: pin.sha256, held });
        self.memory.record.commit(&old, &[&bytes], self.state)?;
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
        let record = &self.memory.record;
        if !record.rejects(&wanted.sha256) {
            return Ok(Choice::Take(wanted));
        }
        // It was tried and failed: what runs is untouched. With nothing to run, the one before is better than none.
        match previous.filter(|pin| !record.rejects(&pin.sha256)) {
            _ if self.running.is_some() => Ok(Choice::Stay { settled: false }),
            Some(previous) => Ok(Choice::Take(previous)),
            None => Err(UpdateError::Rejected { release: wanted.sha256 }),
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
        let floor = self.memory.trust.newest().release_floor;
        if pin.sequence < floor {
            return Err(UpdateError::BelowFloor { floor, found: pin.sequence });
        }
        let (name, cap) = match layout {
            Layout::Tree => (ObjectName::service(pin.sequence, &self.config.service), MAX_SERVICE_FILE),
            Layout::Pack => (ObjectName::pack_service(), MAX_PACK),
        };
        let service_file = self.fetch(&name, cap)?;
        let mut delivery = self.check_delivery(&name, &service_file, pin);
        if delivery.as_ref().is_err_and(is_signature_failure) && self.walk(layout)? {
            delivery = self.check_delivery(&name, &service_file, pin);
        }
        let Delivery { statement, leaf, inline_body } = delivery?;
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
            root: self.memory.trust.newest().version,
            etag,
        })))
    }

    fn check_delivery(&self, name: &ObjectName, bytes: &[u8], pin: Pin) -> Result<Delivery, UpdateError> {
        let expected = Expected {
            mesh: &self.config.mesh,
            root: self.memory.trust.newest(),
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

fn same_role(a: &Root, b: &Root, role: Role) -> bool {
    let ids = |root: &Root| {
        let role = root.roles.of(role);
        (role.keyids.iter().copied().collect::<std::collections::BTreeSet<_>>(), role.threshold)
    };
    ids(a) == ids(b)
}

fn freshness(timestamp: &Timestamp, now: UtcTime) -> Freshness {
    if timestamp.expires <= now {
        Freshness::Expired
    } else if timestamp.stale_after <= now {
        Freshness::Stale
    } else {
        Freshness::Fresh
    }
}

fn turn(config: &Config, timestamp: &Timestamp, now: UtcTime) -> Option<(u64, Turn)> {
    let rollout = timestamp.rollout.as_ref()?;
    let bucket = bucket(&rollout.salt, &config.service, &config.instance_id, config.canary);
    Some((bucket, rollout.turn(bucket, now)))
}
