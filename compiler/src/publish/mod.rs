//! Writes a release into a directory in the order that makes it atomic.
//!
//! ```text
//! read what is current, verified → blobs → sign → releases/<n>/ (one rename claims the number) → latest.json
//! ```
//! A reader follows `latest.json` and nothing else, and that is written last; so whatever moment it reads at, and
//! wherever a publisher stops, it sees the release before or the new one, whole. Every file is written under a temporary
//! name beside its place, synced, renamed, and its directory synced.
//!
//! Two publishers take turns by a lock on the directory. The lock is a courtesy; what makes a number safe is that a
//! directory cannot be renamed over one that has files in it: the loser takes the next number.

mod directory;
mod keys;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use directory::{Directory, Lock};
pub use keys::{KeyDir, KeyDirError, NewKeys};

use weft_bundle::release::delivery::{Expected, check_release};
use weft_bundle::release::envelope::Envelope;
use weft_bundle::release::key::{Signer, SigningKey};
use weft_bundle::release::payload::{Pin, Role, Source, Statement, Timestamp};
use weft_bundle::release::rollout::Rollout;
use weft_bundle::release::sign::{
    Listed, ReleaseInput, SignError, SignedRelease, sign_listed, sign_timestamp,
};
use weft_bundle::release::store::{Fetched, Store};
use weft_bundle::release::trust::{Trust, read_timestamp};
use weft_bundle::release::{
    Channel, Digest, MAX_ROOT, MAX_ROOT_STEPS, MAX_SERVICE_FILE, MAX_TIMESTAMP, ObjectName, ProgramVersion,
    ServiceId, UpdateError, UtcTime,
};

use crate::parallel;

/// How long after signing proxies report that they hear nothing new: a day, so that a pipeline that stopped is noticed
/// the next morning.
pub const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after signing a timestamp may be adopted: a week, so that a weekend without a pipeline does no harm, and
/// nobody can hold a fleet on an old release for longer.
pub const EXPIRES: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How to publish.
pub struct Options<'a> {
    /// The channel whose `latest.json` is written.
    pub channel: Channel,
    /// The time that goes into the timestamp.
    pub now: UtcTime,
    /// The program that compiled the bodies, such as `weft/0.1.0`.
    pub compiler: String,
    /// The lowest version of the proxy that understands the bodies.
    pub min_proxy: ProgramVersion,
    /// A number instead of the next one, for rebuilding a release elsewhere.
    pub sequence: Option<u64>,
    /// How long until proxies report that they hear nothing new.
    pub stale_after: Duration,
    /// How long until the timestamp is adopted no more.
    pub expires: Duration,
    /// Who may run the release from when; everyone at once if `None`.
    pub rollout: Option<Rollout>,
    /// Publish also if the commit does not descend from the current one; goes into the release.
    pub allow_non_descendant: Option<String>,
    /// Whether the second commit descends from the first, or is it. Asked only if both are known.
    pub descends: &'a dyn Fn(&str, &str) -> Result<bool, String>,
}

impl<'a> Options<'a> {
    /// The channel `stable`, the next number, everyone at once, the default lifetimes.
    pub fn new(now: UtcTime, descends: &'a dyn Fn(&str, &str) -> Result<bool, String>) -> Self {
        Self {
            channel: Channel::stable(),
            now,
            compiler: format!("weft/{}", ProgramVersion::own()),
            min_proxy: MIN_PROXY,
            sequence: None,
            stale_after: STALE_AFTER,
            expires: EXPIRES,
            rollout: None,
            allow_non_descendant: None,
            descends,
        }
    }
}

/// The first version of the proxy that reads bodies of the present format.
pub const MIN_PROXY: ProgramVersion = ProgramVersion { major: 0, minor: 1, patch: 0 };

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The number of the release.
    pub sequence: u64,
    /// The digest of its payload.
    pub digest: Digest,
    /// The version of the timestamp.
    pub timestamp_version: u64,
    /// The number of services.
    pub services: usize,
    /// The bodies that were written.
    pub blobs_written: usize,
    /// The bodies that were there already.
    pub blobs_unchanged: usize,
}

/// Why nothing was published. Readers of the directory see what they saw before.
#[derive(Debug)]
pub enum PublishError {
    /// The files are not those of a commit, and the channel is not `dev`.
    Dirty {
        /// The channel.
        channel: Channel,
    },
    /// The commit does not descend from the one that is published.
    NotDescendant {
        /// The published commit.
        published: String,
        /// The commit to be published.
        commit: String,
    },
    /// Whether it descends could not be found out.
    Descent(String),
    /// What is published does not verify, so its number cannot be counted on.
    Current(UpdateError),
    /// The directory has another root of trust than the keys.
    OtherRoot {
        /// The version of the root.
        version: u64,
    },
    /// The number that was asked for is taken, or not above the current one.
    Sequence {
        /// The number.
        sequence: u64,
    },
    /// It could not be signed.
    Sign(SignError),
    /// A key is not the one that the root names for its role, or not enough of them.
    WrongKey {
        /// The role.
        role: Role,
        /// How many keys of the role must sign.
        threshold: usize,
    },
    /// The keys are not those that the root names.
    Keys(UpdateError),
    /// A file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dirty { channel } => {
                write!(
                    f,
                    "the files are not all committed, so they cannot be signed for the channel `{channel}`; \
                     commit them, or publish with `--channel dev`"
                )
            }
            Self::NotDescendant { published, commit } => {
                write!(f, "commit {commit} does not descend from {published}, which is published")
            }
            Self::Descent(message) => write!(f, "cannot tell whether the commit descends: {message}"),
            Self::Current(_) => f.write_str("what is published there does not verify"),
            Self::OtherRoot { version } => write!(f, "root {version} there is not the one of these keys"),
            Self::Sequence { sequence } => {
                write!(f, "release {sequence} is taken, or not above the current one")
            }
            Self::Sign(_) => f.write_str("cannot sign the release"),
            Self::WrongKey { role, threshold: 1 } => {
                write!(f, "the key given for {role}s is not one that the root of trust names for them")
            }
            Self::WrongKey { role, threshold } => {
                write!(f, "the root of trust asks for {threshold} {role} keys, and one is given")
            }
            Self::Keys(_) => f.write_str("the keys are not those that the root of trust names"),
            Self::Io { path, .. } => write!(f, "cannot use {}", path.display()),
        }
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Current(error) | Self::Keys(error) => Some(error),
            Self::Sign(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            Self::Dirty { .. }
            | Self::NotDescendant { .. }
            | Self::Descent(_)
            | Self::OtherRoot { .. }
            | Self::WrongKey { .. }
            | Self::Sequence { .. } => None,
        }
    }
}

impl From<SignError> for PublishError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

/// Signs these bodies and publishes them into the directory, which is made if it is not there.
///
/// # Errors
/// Every [`PublishError`].
pub fn publish(
    dir: &Path,
    keys: &KeyDir,
    bodies: &[(ServiceId, Vec<u8>)],
    source: &Source,
    options: &Options<'_>,
) -> Result<Published, PublishError> {
    let mut publication = Publication::begin(dir, keys, source, options)?;
    publication.add(bodies)?;
    publication.finish()
}

/// A release in the making. Bodies go into the directory as they come, and of each only the digest is kept, so that a
/// release may be larger than memory. One that is not finished leaves nothing but blobs that nobody refers to.
pub struct Publication<'a> {
    directory: Directory,
    _lock: Lock,
    keys: &'a KeyDir,
    source: &'a Source,
    options: &'a Options<'a>,
    current: Current,
    listed: Vec<(ServiceId, Listed)>,
    /// The digests of the bodies so far; services may share one.
    blobs: BTreeSet<Digest>,
    written: usize,
}

impl<'a> Publication<'a> {
    /// Begins: reads and verifies what is current, and finds out whether it may be followed.
    ///
    /// # Errors
    /// Every [`PublishError`] but those of signing.
    pub fn begin(
        dir: &Path,
        keys: &'a KeyDir,
        source: &'a Source,
        options: &'a Options<'a>,
    ) -> Result<Self, PublishError> {
        if (source.dirty || source.commit.is_empty()) && !options.channel.allows_dirty() {
            return Err(PublishError::Dirty { channel: options.channel.clone() });
        }
        let directory = Directory::new(dir);
        let lock = directory.lock().map_err(|error| at(dir, error))?;
        let current = read_current(&directory, keys, &options.channel)?;
        // Before a number is claimed: one without a timestamp would be lost.
        require_key(&current.trust, Role::Release, &keys.release)?;
        require_key(&current.trust, Role::Timestamp, &keys.timestamp)?;
        require_descent(current.release.as_ref(), source, options)?;
        let (listed, blobs) = (Vec::new(), BTreeSet::new());
        Ok(Self { directory, _lock: lock, keys, source, options, current, listed, blobs, written: 0 })
    }

    /// Puts bodies into the directory.
    ///
    /// # Errors
    /// [`PublishError::Sign`] if one is larger than proxies read, [`PublishError::Io`].
    pub fn add(&mut self, bodies: &[(ServiceId, Vec<u8>)]) -> Result<(), PublishError> {
        let listed = parallel::map(bodies, |_, (service, body)| Listed::of(service, body));
        let mut objects = Vec::new();
        for ((service, body), listed) in bodies.iter().zip(listed) {
            let listed = listed?;
            if self.blobs.insert(listed.sha256) {
                objects.push((ObjectName::blob(&listed.sha256), body.as_slice()));
            }
            self.listed.push((service.clone(), listed));
        }
        let written = self.directory.write_new(&objects);
        self.written += written.map_err(|(path, error)| at(&path, error))?;
        Ok(())
    }

    /// Signs what was added and makes it the current release.
    ///
    /// # Errors
    /// Every [`PublishError`].
    pub fn finish(self) -> Result<Published, PublishError> {
        let signed = self.claim()?;
        let Self { directory, current, options, keys, .. } = &self;
        let timestamp = next_timestamp(current, signed.pin, options);
        let latest = sign_timestamp(&timestamp, &[&keys.timestamp])?;
        read_timestamp("the new timestamp", &latest, current.trust.newest()).map_err(PublishError::Keys)?;
        write(directory, &ObjectName::latest(&options.channel), &latest)?;
        Ok(Published {
            sequence: signed.pin.sequence,
            digest: signed.pin.sha256,
            timestamp_version: timestamp.version,
            services: signed.services.len(),
            blobs_written: self.written,
            blobs_unchanged: self.blobs.len() - self.written,
        })
    }

    /// Signs under the first free number and puts everything but `latest.json` in its place.
    fn claim(&self) -> Result<SignedRelease, PublishError> {
        let Self { directory, current, options, keys, source, .. } = self;
        let root = current.trust.newest();
        let pinned = current.timestamp.as_ref().map(|timestamp| timestamp.current);
        let lowest = pinned.map_or(1, |pin| pin.sequence + 1).max(root.release_floor).max(1);
        let mut sequence = options.sequence.unwrap_or(lowest);
        if sequence < lowest {
            return Err(PublishError::Sequence { sequence });
        }
        let signers: [&dyn Signer; 1] = [&keys.release];
        loop {
            let input = ReleaseInput {
                mesh: root.mesh.clone(),
                epoch: root.epoch,
                sequence,
                previous: pinned.map(|pin| pin.sha256),
                source: Source::clone(source),
                compiler: options.compiler.clone(),
                min_proxy: options.min_proxy,
                non_descendant: options.allow_non_descendant.clone(),
            };
            let signed = sign_listed(&input, &self.listed, &signers)?;
            let envelope = Envelope::decode(&signed.release.1).expect("an envelope that we wrote reads back");
            let expected = Expected { mesh: &root.mesh, root, pin: signed.pin, version: options.min_proxy };
            check_release(signed.release.0.as_str(), &envelope, expected).map_err(PublishError::Keys)?;
            if claim_number(directory, &signed)? {
                return Ok(signed);
            }
            if options.sequence.is_some() {
                return Err(PublishError::Sequence { sequence });
            }
            sequence += 1;
        }
    }
}

/// What is published in a channel, verified; times are not looked at, because a publisher is who renews them.
struct Current {
    trust: Trust,
    timestamp: Option<Timestamp>,
    release: Option<Statement>,
}

fn read_current(directory: &Directory, keys: &KeyDir, channel: &Channel) -> Result<Current, PublishError> {
    let mut trust = Trust::new(&keys.anchor, &keys.mesh).map_err(PublishError::Keys)?;
    let version = trust.newest().version;
    let name = ObjectName::root(version);
    match get(directory, &name, MAX_ROOT)? {
        None => write(directory, &name, &keys.anchor)?,
        Some(bytes) if bytes != keys.anchor => return Err(PublishError::OtherRoot { version }),
        Some(_) => {}
    }
    for _ in 0..MAX_ROOT_STEPS {
        let next = ObjectName::root(trust.newest().version + 1);
        let Some(bytes) = get(directory, &next, MAX_ROOT)? else { break };
        trust.extend(&bytes).map_err(PublishError::Current)?;
    }
    let name = ObjectName::latest(channel);
    let Some(bytes) = get(directory, &name, MAX_TIMESTAMP)? else {
        return Ok(Current { trust, timestamp: None, release: None });
    };
    let timestamp = read_timestamp(name.as_str(), &bytes, trust.newest()).map_err(PublishError::Current)?;
    let release = read_release(directory, &trust, timestamp.current)?;
    Ok(Current { trust, timestamp: Some(timestamp), release })
}

/// The statement that is current; nothing if it was made under an earlier epoch, whose key may be anybody's by now.
fn read_release(directory: &Directory, trust: &Trust, pin: Pin) -> Result<Option<Statement>, PublishError> {
    let name = ObjectName::release(pin.sequence);
    let missing = || PublishError::Current(UpdateError::Missing { object: name.to_string() });
    let bytes = get(directory, &name, MAX_SERVICE_FILE)?.ok_or_else(missing)?;
    let envelope = Envelope::decode(&bytes).map_err(|error| {
        let (object, message) = (name.to_string(), error.to_string());
        PublishError::Current(UpdateError::BadEnvelope { object, message })
    })?;
    let root = trust.newest();
    // A newer proxy than this program may be asked for; that is no reason not to publish the next release.
    let version = ProgramVersion { major: u32::MAX, minor: 0, patch: 0 };
    match check_release(name.as_str(), &envelope, Expected { mesh: &root.mesh, root, pin, version }) {
        Ok(statement) => Ok(Some(statement)),
        Err(UpdateError::WrongRelease { what: "epoch", .. }) => Ok(None),
        Err(error) if root.epoch > 1 && matches!(error.reason(), "unknown-key" | "threshold") => Ok(None),
        Err(error) => Err(PublishError::Current(error)),
    }
}

fn require_key(trust: &Trust, role: Role, key: &SigningKey) -> Result<(), PublishError> {
    let (mut named, threshold) = trust.newest().role(role);
    if threshold == 1 && named.any(|named| named == key.public()) {
        return Ok(());
    }
    Err(PublishError::WrongKey { role, threshold })
}

fn require_descent(
    current: Option<&Statement>,
    source: &Source,
    options: &Options<'_>,
) -> Result<(), PublishError> {
    let Some(published) = current.map(|statement| &statement.predicate.source.commit) else { return Ok(()) };
    if published.is_empty() || source.commit.is_empty() || options.allow_non_descendant.is_some() {
        return Ok(());
    }
    if (options.descends)(published, &source.commit).map_err(PublishError::Descent)? {
        return Ok(());
    }
    Err(PublishError::NotDescendant { published: published.clone(), commit: source.commit.clone() })
}

/// Moves the files of a release into place, all with one rename. False if another release is there.
fn claim_number(directory: &Directory, signed: &SignedRelease) -> Result<bool, PublishError> {
    let place = directory.path(&signed.release.0);
    let place = place.parent().unwrap_or(&place).to_owned();
    if place.join("release.json").exists() {
        return Ok(false);
    }
    let files = signed.services.iter().chain([&signed.manifest, &signed.release]);
    directory.claim(&place, files).map_err(|error| at(&place, error))
}

fn next_timestamp(current: &Current, pin: Pin, options: &Options<'_>) -> Timestamp {
    let old = current.timestamp.as_ref();
    let floor = current.trust.newest().release_floor;
    // A clock that was set back must not sign a time before the last one: proxies never go back behind it.
    let issued = old.map_or(options.now, |old| options.now.max(old.issued));
    Timestamp {
        mesh: current.trust.newest().mesh.clone(),
        channel: options.channel.clone(),
        version: old.map_or(1, |old| old.version + 1),
        issued,
        stale_after: issued.plus(options.stale_after),
        expires: issued.plus(options.expires),
        root_version: current.trust.newest().version,
        current: pin,
        // A release of an earlier epoch, or below the floor, is one that no proxy would take.
        previous: current
            .release
            .as_ref()
            .and(old)
            .map(|old| old.current)
            .filter(|pin| pin.sequence >= floor),
        rollout: options.rollout.clone(),
        denylist: old.and_then(|old| old.denylist),
    }
}

fn get(directory: &Directory, name: &ObjectName, cap: u64) -> Result<Option<Vec<u8>>, PublishError> {
    match directory.get(name, cap, None) {
        Ok(Fetched::Found { bytes, .. }) if bytes.len() as u64 > cap => {
            Err(PublishError::Current(UpdateError::Oversized { object: name.to_string(), cap }))
        }
        Ok(Fetched::Found { bytes, .. }) => Ok(Some(bytes)),
        Ok(Fetched::Absent | Fetched::NotModified) => Ok(None),
        Err(error) => Err(at(&directory.path(name), io::Error::other(error.0))),
    }
}

fn write(directory: &Directory, name: &ObjectName, bytes: &[u8]) -> Result<(), PublishError> {
    directory.write(name, bytes).map_err(|error| at(&directory.path(name), error))
}

fn at(path: &Path, source: io::Error) -> PublishError {
    PublishError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
