//! What is signed: root, timestamp, release, leaf, denylist; and the file that carries a release to one service.
//!
//! Times are RFC 3339 in UTC, digests lower-case hex, bytes base64, durations texts such as `10m`. Fields that a payload
//! may gain later are ignored; a field whose neglect would be unsafe comes with a new payload type, a new leaf schema or
//! a higher `min_proxy`. The names of roles are closed: there are no delegations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clock::UtcTime;
use super::digest::Digest;
use super::envelope::Envelope;
use super::key::{Algorithm, KeyId, PublicKey};
use super::names::{MeshName, ObjectName, ServiceId};
use super::rollout::Rollout;
use super::version::ProgramVersion;
use super::{Channel, MAX_KEYS};
use crate::spiffe::SpiffeId;

/// Keys and thresholds, version n: signed by enough keys of root n and of root n-1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The mesh it is the root of.
    pub mesh: MeshName,
    /// From 1, without gaps.
    pub version: u64,
    /// Raised when a release key was stolen: releases of a lower epoch are below any of this one.
    pub epoch: u64,
    /// The lowest sequence that may be adopted, for hosts that have no state of their own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub release_floor: u64,
    /// From then on nothing is adopted under it.
    pub expires: UtcTime,
    /// The keys that roles name, by id.
    pub keys: BTreeMap<KeyId, RootKey>,
    /// Who may sign what.
    pub roles: Roles,
}

/// A public key as it stands in a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireKey", into = "WireKey")]
pub struct RootKey(pub PublicKey);

/// Who may sign what. Any other role is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Roots.
    pub root: RoleKeys,
    /// Releases.
    pub release: RoleKeys,
    /// Timestamps; may be an online key.
    pub timestamp: RoleKeys,
    /// Denylists.
    pub denylist: RoleKeys,
}

/// The keys of a role, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// The keys, each once.
    pub keyids: Vec<KeyId>,
    /// How many distinct ones must sign; from 1 to the number of keys.
    pub threshold: u64,
}

/// A role of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Signs roots.
    Root,
    /// Signs releases.
    Release,
    /// Signs timestamps.
    Timestamp,
    /// Signs denylists.
    Denylist,
}

/// What is current in a channel. Short-lived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// The mesh.
    pub mesh: MeshName,
    /// The channel.
    pub channel: Channel,
    /// Raised with each signing.
    pub version: u64,
    /// When it was signed.
    pub issued: UtcTime,
    /// From then on proxies report that they hear nothing new.
    pub stale_after: UtcTime,
    /// From then on nothing is adopted by it.
    pub expires: UtcTime,
    /// The version of the newest root.
    pub root_version: u64,
    /// The release to run.
    pub current: Pin,
    /// The release before, for those not yet eligible and for going back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Pin>,
    /// Who may run `current` from when; everyone at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The denylist in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denylist: Option<DenylistPin>,
}

/// A release, pinned by the digest of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pin {
    /// Its number.
    pub sequence: u64,
    /// The digest of its payload.
    pub sha256: Digest,
}

/// A denylist, pinned by the digest of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenylistPin {
    /// Its number.
    pub version: u64,
    /// The digest of its payload.
    pub sha256: Digest,
}

/// A release, as an in-toto Statement. Holds no clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub type_: String,
    /// The manifest.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// The release itself.
    pub predicate: Release,
}

/// The type of an in-toto Statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The type of our predicate.
pub const PREDICATE_TYPE: &str = "https://weft.dev/release/v1";

/// The one tree algorithm: RFC 6962 with SHA-256.
pub const TREE_ALGORITHM: &str = "rfc6962-sha256";

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The object's name.
    pub name: String,
    /// Its digest.
    pub digest: SubjectDigest,
}

/// The digest of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectDigest {
    /// SHA-256.
    pub sha256: Digest,
}

/// The predicate of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The mesh.
    pub mesh: MeshName,
    /// The epoch of the root it was made under.
    pub epoch: u64,
    /// Its number; never derived from Git.
    pub sequence: u64,
    /// The digest of the payload of the release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// What it was compiled from.
    pub source: Source,
    /// The program that compiled it.
    pub compiler: String,
    /// The lowest version of the proxy that understands its bodies.
    pub min_proxy: ProgramVersion,
    /// All services.
    pub tree: TreeHead,
    /// Why the commit need not descend from that of the release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub non_descendant: Option<String>,
}

/// What a release was compiled from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The address of the repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// The commit, in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// The tree of that commit, in hex.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tree: String,
    /// Whether the files differed from the commit's, or there was none. Only in the channel `dev`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dirty: bool,
}

/// The Merkle tree over the leaves of all services, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeHead {
    /// [`TREE_ALGORITHM`].
    pub alg: String,
    /// The root hash.
    pub root: Digest,
    /// The number of leaves.
    pub size: u64,
}

/// One service of a release: which body it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The length of the body in bytes.
    pub length: u64,
    /// The version of the body's format.
    pub schema: u32,
    /// The service.
    pub service: ServiceId,
    /// The digest of the body.
    pub sha256: Digest,
}

/// What carries a release to one service: the signed release, the service's leaf, and the proof that joins them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFile {
    /// The signed release.
    pub release: Envelope,
    /// The bytes of a [`Leaf`].
    pub leaf: Base64,
    /// The leaf's place in the tree.
    pub proof: Proof,
    /// The body, in a single-service pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Base64>,
}

/// The place of a leaf in a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// From 0.
    pub index: u64,
    /// The number of leaves; must be the signed one.
    pub size: u64,
    /// The siblings on the way to the root, from the bottom; none for the only leaf of a tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<Base64>,
}

/// Identities no longer trusted, whatever their certificates say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denylist {
    /// The mesh.
    pub mesh: MeshName,
    /// Raised with each change.
    pub version: u64,
    /// The identities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<DenylistEntry>,
}

/// An identity no longer trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireEntry", into = "WireEntry")]
pub struct DenylistEntry {
    /// Whom it means.
    pub subject: Denied,
    /// When the last certificate it means has expired, and the entry with it.
    pub until: UtcTime,
}

/// Whom an entry of a denylist means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Certificates with this public key: the digest of the SubjectPublicKeyInfo.
    Key(Digest),
    /// Certificates for this identity.
    Identity(SpiffeId),
    /// One certificate.
    Certificate {
        /// The issuer's distinguished name in DER.
        issuer: Vec<u8>,
        /// The serial number in lower-case hex, without leading zeros.
        serial: String,
    },
}

/// Bytes that stand in JSON as standard base64 with padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

/// A payload was read, but what it says cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonsense(pub &'static str);

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Nonsense {}

impl Role {
    /// The role's name in a root.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Release => "release",
            Self::Timestamp => "timestamp",
            Self::Denylist => "denylist",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Roles {
    /// The keys of a role.
    pub fn of(&self, role: Role) -> &RoleKeys {
        match role {
            Role::Root => &self.root,
            Role::Release => &self.release,
            Role::Timestamp => &self.timestamp,
            Role::Denylist => &self.denylist,
        }
    }
}

impl Root {
    /// What its form alone can say against it.
    ///
    /// # Errors
    /// A version of 0; too many keys; a key under another's id; a role with a key twice, a key that is not listed, or a
    /// threshold that is 0 or more than it has keys.
    pub fn validate(&self) -> Result<(), Nonsense> {
        if self.version == 0 {
            return Err(Nonsense("root versions begin with 1"));
        }
        if self.keys.len() > MAX_KEYS {
            return Err(Nonsense("a root has at most 64 keys"));
        }
        if self.keys.iter().any(|(id, key)| *id != key.0.id()) {
            return Err(Nonsense("a key is not the one its id says"));
        }
        for role in [Role::Root, Role::Release, Role::Timestamp, Role::Denylist] {
            let RoleKeys { keyids, threshold } = self.roles.of(role);
            if keyids.iter().collect::<BTreeSet<_>>().len() != keyids.len() {
                return Err(Nonsense("a role names a key twice"));
            }
            if !keyids.iter().all(|id| self.keys.contains_key(id)) {
                return Err(Nonsense("a role names a key that is not listed"));
            }
            if *threshold == 0 || *threshold > keyids.len() as u64 {
                return Err(Nonsense("a threshold is 0, or more than its role has keys"));
            }
        }
        Ok(())
    }

    /// The keys of a role, and how many of them must sign.
    pub fn role(&self, role: Role) -> (impl Iterator<Item = &PublicKey>, usize) {
        let RoleKeys { keyids, threshold } = self.roles.of(role);
        // A threshold past the address space is past the number of keys, too.
        let threshold = usize::try_from(*threshold).unwrap_or(usize::MAX);
        (keyids.iter().filter_map(|id| self.keys.get(id)).map(|key| &key.0), threshold)
    }
}

impl Timestamp {
    /// What its form alone can say against it.
    ///
    /// # Errors
    /// Stages of the rollout that go backwards or past everyone.
    pub fn validate(&self) -> Result<(), Nonsense> {
        self.rollout.as_ref().map_or(Ok(()), Rollout::validate)
    }
}

impl Statement {
    /// The statement of a release.
    pub fn new(release: Release, manifest: Digest) -> Self {
        Self {
            type_: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject {
                name: ObjectName::manifest(release.sequence).to_string(),
                digest: SubjectDigest { sha256: manifest },
            }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: release,
        }
    }

    /// The digest of the manifest.
    pub fn manifest(&self) -> Option<Digest> {
        let name = ObjectName::manifest(self.predicate.sequence);
        self.subject.iter().find(|subject| subject.name == name.as_str()).map(|subject| subject.digest.sha256)
    }
}

#[derive(Serialize, Deserialize)]
struct WireKey {
    alg: Algorithm,
    spki: Base64,
}

impl TryFrom<WireKey> for RootKey {
    type Error = Nonsense;

    fn try_from(wire: WireKey) -> Result<Self, Nonsense> {
        let key = PublicKey::from_spki(&wire.spki.0)
            .map_err(|_| Nonsense("a key is not Ed25519 or ECDSA P-256 in its plain encoding"))?;
        if key.algorithm() != wire.alg {
            return Err(Nonsense("a key is not of the algorithm it says"));
        }
        Ok(Self(key))
    }
}

impl From<RootKey> for WireKey {
    fn from(key: RootKey) -> Self {
        Self { alg: key.0.algorithm(), spki: Base64(key.0.spki().to_vec()) }
    }
}

/// An entry as it stands in JSON. A field we do not know might narrow or widen it, so it is an error.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spki_sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_id: Option<SpiffeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<Base64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    until: UtcTime,
}

impl TryFrom<WireEntry> for DenylistEntry {
    type Error = Nonsense;

    fn try_from(wire: WireEntry) -> Result<Self, Nonsense> {
        let subject = match (wire.spki_sha256, wire.spiffe_id, wire.issuer, wire.serial) {
            (Some(digest), None, None, None) => Denied::Key(digest),
            (None, Some(id), None, None) => Denied::Identity(id),
            // Another spelling of a number would deny nobody.
            (None, None, Some(_), Some(serial)) if !is_serial(&serial) => {
                return Err(Nonsense("a serial number is lower-case hex without leading zeros"));
            }
            (None, None, Some(issuer), Some(serial)) => Denied::Certificate { issuer: issuer.0, serial },
            _ => return Err(Nonsense("an entry means one of spki_sha256, spiffe_id, or issuer with serial")),
        };
        Ok(Self { subject, until: wire.until })
    }
}

fn is_serial(text: &str) -> bool {
    !text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b"0123456789abcdef".contains(&b))
}

impl From<DenylistEntry> for WireEntry {
    fn from(entry: DenylistEntry) -> Self {
        let mut wire =
            Self { spki_sha256: None, spiffe_id: None, issuer: None, serial: None, until: entry.until };
        match entry.subject {
            Denied::Key(digest) => wire.spki_sha256 = Some(digest),
            Denied::Identity(id) => wire.spiffe_id = Some(id),
            Denied::Certificate { issuer, serial } => {
                wire.issuer = Some(Base64(issuer));
                wire.serial = Some(serial);
            }
        }
        wire
    }
}

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Self).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
