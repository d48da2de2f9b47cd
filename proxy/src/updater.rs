//! The control thread: watch, check, build, persist, swap. Over and over, and never in the way of a request.
//!
//! One [`Control`] owns the source, the state directory and the update cycle of [`weft_bundle::release`]. Each round arms
//! the watches, runs a cycle, and waits for an event or for a jittered timer. What runs is replaced only by something that
//! verified, that could be built whole ([`Runtime::apply`]), and whose raw bytes are on our disk. Whatever fails is
//! counted under its reason, logged when it is new, and changes nothing.
//!
//! A start goes through the state directory first: with it, a proxy serves before it has heard anything from anybody.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weft_bundle::release::clock::UtcTime;
use weft_bundle::release::digest::Digest;
use weft_bundle::release::error::UpdateError;
use weft_bundle::release::names::ObjectName;
use weft_bundle::release::payload::{Denylist, Pin};
use weft_bundle::release::store::{Fetched, State, Store, StoreError};
use weft_bundle::release::update::{Candidate, Freshness, Standing, Step, Updater};

use crate::snapshot::{ApplyError, Generation, Snapshot};
use crate::source::directory::{Directory, Object};
use crate::source::watch::{DirectoryWatch, Wake};
use crate::state::StateDirectory;
use crate::telemetry::metrics::ControlMetrics;
use crate::worker::DataPlane;

/// How often a directory is read although nothing was heard of it.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The first pause after a failure that may pass by itself; it doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The longest such pause.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Most steps in one round: a denylist and a release, with room to spare.
const MOST_STEPS: usize = 8;

/// What policy is applied to.
pub trait Runtime: Send + Sync {
    /// Builds everything that a body asks for, calls `persist`, and only then swaps. Any failure leaves what runs.
    ///
    /// # Errors
    /// What could not be built, or what `persist` returned.
    fn apply(
        &self,
        body: &[u8],
        generation: Generation,
        persist: &mut dyn FnMut() -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError>;

    /// Closes the connections of peers that are denied, and refuses new ones.
    fn deny(&self, denylist: &Denylist);
}

impl Runtime for DataPlane {
    fn apply(
        &self,
        body: &[u8],
        generation: Generation,
        persist: &mut dyn FnMut() -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let snapshot = Snapshot::build(body, generation)?;
        self.apply_after(Arc::new(snapshot), persist)
    }

    fn deny(&self, denylist: &Denylist) {
        Self::deny(self, denylist.clone());
    }
}

/// What the operator is told, at `/bundle` and in the log.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The release that serves.
    pub running: Option<Pin>,
    /// Where we stand with the channel; none before the first cycle that reached its end.
    pub standing: Option<Standing>,
    /// Why the last cycle did not reach its end: its reason and its words.
    pub problem: Option<(&'static str, String)>,
}

/// The control thread's state.
pub struct Control {
    updater: Updater,
    state: StateDirectory,
    source: Directory,
    runtime: Arc<dyn Runtime>,
    metrics: ControlMetrics,
    report: Arc<Mutex<Report>>,
    watch: DirectoryWatch,
    running: Option<Pin>,
    /// Nothing serves, and not because of what the state directory holds: a port was taken, a certificate missing.
    resume_again: bool,
    failures: u32,
    /// Whether a cycle has reached its end since the start: until then nobody knows how old what we serve is.
    heard: bool,
    clock: fn() -> UtcTime,
}

impl Control {
    /// A control half that has not looked at anything yet.
    pub fn new(
        updater: Updater,
        state: StateDirectory,
        source: Directory,
        runtime: Arc<dyn Runtime>,
        metrics: ControlMetrics,
    ) -> Self {
        Self {
            updater,
            state,
            source,
            runtime,
            metrics,
            report: Arc::default(),
            watch: DirectoryWatch::new(),
            running: None,
            resume_again: false,
            failures: 0,
            heard: false,
            clock: || UtcTime::from(std::time::SystemTime::now()),
        }
    }

    /// Where the report is kept up to date.
    pub fn report(&self) -> Arc<Mutex<Report>> {
        Arc::clone(&self.report)
    }

    /// A handle that stops [`Control::run`], or makes it look at once.
    pub fn waker(&self) -> Sender<Wake> {
        self.watch.waker()
    }

    /// Starts from the state directory: the active release, else the one before it. Without any, nothing happens; the
    /// source may have one.
    pub fn resume(&mut self) {
        self.resume_again = false;
        // First, so that nothing is served to a denied peer in between.
        if let Ok(Standing { denylist: Some(denylist), .. }) = self.standing() {
            self.runtime.deny(&denylist);
        }
        loop {
            let installed = match self.updater.resume(&self.state, (self.clock)()) {
                Ok(installed) => installed,
                Err(UpdateError::NoBundle { message }) => {
                    if !message.is_empty() {
                        tracing::warn!(problem = message, "nothing in the state directory can be served");
                    }
                    return;
                }
                Err(error) => {
                    self.resume_again = true;
                    return self.failed(&error);
                }
            };
            if let Some(problem) = &installed.instead_of {
                self.metrics.rejected(problem.reason());
                tracing::warn!(%problem, "the stored release does not verify; starting with the one before it");
            }
            let generation = generation(installed.pin, installed.body_digest, installed.freshness);
            match self.runtime.apply(&installed.body, generation, &mut || Ok(())) {
                Ok(()) => {
                    let sequence = installed.pin.sequence;
                    tracing::info!(sequence, freshness = ?installed.freshness, "serving from the state directory");
                    return self.serves(installed.pin);
                }
                Err(error) => {
                    let body_is_wrong = is_bodys_fault(&error);
                    self.failed(&UpdateError::Apply { message: error.to_string() });
                    if !body_is_wrong {
                        self.resume_again = true;
                        return;
                    }
                    if let Err(error) = self.updater.reject(&self.state, installed.pin) {
                        return self.failed(&error);
                    }
                }
            }
        }
    }

    /// Looks, and waits, until it is stopped.
    pub fn run(&mut self) {
        loop {
            self.watch.arm(&self.directories());
            self.round();
            if self.watch.wait(self.pause()) == Wake::Stop {
                return;
            }
        }
    }

    fn round(&mut self) {
        // The source may be gone or expired, so that the state directory is all there is.
        if self.resume_again {
            self.resume();
        }
        self.look();
    }

    /// Cycles until there is nothing more to do.
    pub fn look(&mut self) {
        for _ in 0..MOST_STEPS {
            let running = self.running.map(|pin| pin.sha256);
            let store = DirectoryStore(&self.source);
            match self.updater.check(&self.state, &store, running.as_ref(), (self.clock)()) {
                Ok(Step::Unchanged(standing)) => return self.unchanged(*standing),
                Ok(Step::Denylist(denylist)) => {
                    tracing::warn!(
                        version = denylist.version,
                        entries = denylist.entries.len(),
                        "a new denylist is in force"
                    );
                    self.runtime.deny(&denylist);
                }
                Ok(Step::Candidate(candidate)) => {
                    if !self.adopt(&candidate) {
                        return;
                    }
                }
                Err(UpdateError::Missing { .. }) if !self.source.root().exists() => {
                    // Not one object is missing, and not the publisher forgot something.
                    let object = format!("directory `{}`", self.source.root().display());
                    return self.failed(&UpdateError::Missing { object });
                }
                Err(error) => return self.failed(&error),
            }
        }
    }

    /// Steps 12 and 13. Whether the release now runs.
    fn adopt(&mut self, candidate: &Candidate) -> bool {
        let generation = generation(candidate.pin, candidate.body_digest, candidate.freshness);
        let mut not_persisted = None;
        let state = &self.state;
        let mut persist = || {
            candidate.accept(state).map_err(|error| {
                let message = error.to_string();
                not_persisted = Some(error);
                ApplyError::NotPersisted(message)
            })
        };
        if let Err(error) = candidate.parse() {
            self.reject(candidate);
            self.failed(&error);
            return false;
        }
        let applied = self.runtime.apply(&candidate.body, generation, &mut persist);
        match (applied, not_persisted) {
            (Ok(()), _) => {
                let sequence = candidate.pin.sequence;
                tracing::info!(sequence, digest = %candidate.body_digest, "a new release serves");
                self.serves(candidate.pin);
                true
            }
            (Err(_), Some(error)) => {
                self.failed(&error);
                false
            }
            (Err(error), None) => {
                // What is wrong here, such as a port that is taken, may be mended without a new release; what is wrong
                // with the body may not.
                if is_bodys_fault(&error) {
                    self.reject(candidate);
                }
                self.failed(&UpdateError::Apply { message: error.to_string() });
                false
            }
        }
    }

    /// Remembers that a release is of no use, so that it is not tried again.
    fn reject(&mut self, candidate: &Candidate) {
        if let Err(error) = candidate.reject(&self.state) {
            self.failed(&error);
        }
    }

    fn serves(&mut self, pin: Pin) {
        self.running = Some(pin);
        self.resume_again = false;
        self.tell(|report| report.running = Some(pin));
    }

    fn unchanged(&mut self, standing: Standing) {
        self.failures = 0;
        self.heard = true;
        self.metrics.checked();
        let stale = standing.freshness != Freshness::Fresh;
        self.metrics.stale(stale);
        // What the channel wants was tried here, and failed: that is over when it wants something else.
        let wanted = standing.timestamp.as_ref().map(|timestamp| timestamp.current);
        let refused = wanted.is_some_and(|wanted| standing.rejected.contains(&wanted));
        self.tell(|report| {
            if !refused && report.problem.take().is_some() {
                tracing::info!("the source is fine again");
            }
            report.standing = Some(standing);
        });
    }

    /// Counts every failure, logs it when it is another than the last, and re-evaluates staleness.
    fn failed(&mut self, error: &UpdateError) {
        self.failures = if error.is_transient() { self.failures.saturating_add(1) } else { 0 };
        self.metrics.rejected(error.reason());
        let problem = (error.reason(), error.to_string());
        let standing = self.standing().ok();
        if let Some(standing) = &standing {
            let stale = standing.freshness != Freshness::Fresh || !self.heard;
            self.metrics.stale(stale);
        }
        let serving = self.running.map(|pin| pin.sequence);
        self.tell(|report| {
            if report.problem.as_ref() != Some(&problem) {
                tracing::warn!(
                    reason = problem.0,
                    problem = problem.1,
                    ?serving,
                    "a release was not adopted"
                );
            }
            report.problem = Some(problem);
            report.standing = standing.or(report.standing.take());
        });
    }

    fn standing(&self) -> Result<Standing, UpdateError> {
        self.updater.standing(&self.state, (self.clock)())
    }

    fn tell(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The directories whose entries change when a release is published: the root (packed layouts), the channel.
    fn directories(&self) -> Vec<PathBuf> {
        let root = self.source.root().to_path_buf();
        let channel = root.join("channels").join(self.updater.config().channel.as_str());
        vec![root.clone(), root.join("root"), root.join("denylist"), channel]
    }

    /// Ten seconds, or a back-off after failures that may pass; both jittered, so that a fleet does not move in step.
    fn pause(&self) -> Duration {
        let base = match self.failures {
            0 => LOOK_EVERY,
            failures => LONGEST_BACKOFF.min(FIRST_BACKOFF * 2u32.saturating_pow(failures - 1)),
        };
        base.mul_f64(0.8 + 0.4 * fastrand::f64()).min(LONGEST_BACKOFF)
    }
}

fn generation(pin: Pin, body: Digest, freshness: Freshness) -> Generation {
    Generation { sequence: pin.sequence, digest: body.to_string(), stale: freshness != Freshness::Fresh }
}

/// Whether no other machine or moment would have taken the body either.
fn is_bodys_fault(error: &ApplyError) -> bool {
    match error {
        ApplyError::Json(_)
        | ApplyError::Engine(_)
        | ApplyError::Trust(_)
        | ApplyError::Telemetry(_)
        | ApplyError::Application { .. }
        | ApplyError::Listener { .. }
        | ApplyError::Cluster { .. }
        | ApplyError::Unsupported(_) => true,
        ApplyError::ApplicationLoop { .. }
        | ApplyError::NoIdentity
        | ApplyError::IdentityMismatch { .. }
        | ApplyError::Override(_)
        | ApplyError::Listen { .. }
        | ApplyError::Discovery(_)
        | ApplyError::NotPersisted(_)
        | ApplyError::Stopped => false,
    }
}

/// A directory as the update cycle reads it. It has no tags: the digests decide.
struct DirectoryStore<'d>(&'d Directory);

impl Store for DirectoryStore<'_> {
    fn get(&self, name: &ObjectName, cap: u64, _etag: Option<&str>) -> Result<Fetched, StoreError> {
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        match self.0.read(name.as_str(), cap) {
            Ok(Object::Bytes(bytes) | Object::TooLarge(bytes)) => Ok(Fetched::Found { bytes, etag: None }),
            Ok(Object::Absent) => Ok(Fetched::Absent),
            Err(error) => Err(StoreError(error.to_string())),
        }
    }
}

impl State for StateDirectory {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(name).map_err(|error| StoreError(error.to_string()))
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(name, bytes).map_err(|error| StoreError(error.to_string()))
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.delete(name).map_err(|error| StoreError(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
