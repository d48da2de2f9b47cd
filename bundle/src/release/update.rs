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
use super::cycle::Cycle;
use super::delivery::{Expected, check_body, check_service_file};
use super::digest::Digest;
use super::error::UpdateError;
use super::names::{Channel, MeshName, ServiceId};
use super::payload::{Denylist, Pin, Release, Timestamp};
use super::recall::Recalled;
use super::record::{Etag, Record, Slot, load_object};
use super::rollout::Turn;
use super::store::{State, Store};
use super::trust::Trust;
use super::version::ProgramVersion;
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
    pub(super) mesh: MeshName,
    pub(super) service: ServiceId,
    pub(super) service_file: Vec<u8>,
    /// The version of the root it was verified under.
    pub(super) root: u64,
    /// What to store as the tag when it is accepted; `None` leaves the tag as it is.
    pub(super) etag: Option<Option<Etag>>,
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
        let recalled = Recalled::new(&self.anchor, state)?;
        Cycle { config: &self.config, state, store, running: running.copied(), now, walked: false, recalled }
            .run()
    }

    /// The release to start with, from the state directory alone: the active one if its bytes still verify, else the one
    /// before it. If it cannot be built either, [`Updater::reject`] it and ask again.
    ///
    /// # Errors
    /// [`UpdateError::NoBundle`] if there is none that verifies; [`UpdateError::State`] if the directory cannot be read.
    pub fn resume(&self, state: &dyn State, now: UtcTime) -> Result<Installed, UpdateError> {
        let recalled = Recalled::new(&self.anchor, state)?;
        let freshness = recalled.freshness(now).max(Freshness::Stale);
        let mut first_failure = None;
        for slot in recalled.record.active.iter().chain(&recalled.record.previous) {
            match self.verify_slot(slot, &recalled.trust, state) {
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
        Ok(Recalled::new(&self.anchor, state)?.standing(&self.config, state, now))
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
