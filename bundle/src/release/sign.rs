//! The producer's side: from bodies to the objects of a release, and the signing of roots and timestamps.
//!
//! Same input, same bytes: Ed25519 is deterministic, every list is sorted, and nothing here knows the time.

use std::collections::BTreeMap;
use std::fmt;

use super::digest::Digest;
use super::envelope::{Envelope, PayloadType};
use super::key::{PublicKey, Signer};
use super::merkle::{Tree, leaf_hash};
use super::names::{MeshName, ObjectName, ServiceId};
use super::payload::{
    Base64, Denylist, Leaf, Nonsense, Pin, Proof, Release, RoleKeys, Root, RootKey, ServiceFile, Source,
    Statement, TREE_ALGORITHM, Timestamp, TreeHead,
};
use super::version::ProgramVersion;
use super::{MAX_BODY, MAX_DENYLIST, MAX_ROOT, MAX_SERVICE_FILE, MAX_TIMESTAMP};
use crate::body;
use crate::json::{self, JsonError};

/// What a release is made of, besides its bodies.
#[derive(Clone, Debug)]
pub struct ReleaseInput {
    /// The mesh.
    pub mesh: MeshName,
    /// The epoch of the root.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
    /// The digest of the payload of the release before.
    pub previous: Option<Digest>,
    /// What it was compiled from.
    pub source: Source,
    /// The program that compiled it, such as `weft/0.1.0`.
    pub compiler: String,
    /// The lowest version of the proxy that understands the bodies.
    pub min_proxy: ProgramVersion,
    /// Why the commit need not descend from that of the release before.
    pub non_descendant: Option<String>,
}

/// The objects of a release, in the order in which they are published.
#[derive(Clone, Debug)]
pub struct SignedRelease {
    /// Its number and the digest of its payload.
    pub pin: Pin,
    /// The bodies, each once, by name; none if only their digests were given.
    pub blobs: BTreeMap<ObjectName, Vec<u8>>,
    /// The service files, in the order of the services' ids.
    pub services: Vec<(ObjectName, Vec<u8>)>,
    /// The manifest.
    pub manifest: (ObjectName, Vec<u8>),
    /// The signed statement.
    pub release: (ObjectName, Vec<u8>),
}

/// Why something was not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignError {
    /// There is no service at all.
    NoServices,
    /// Two bodies for one service.
    DuplicateService(ServiceId),
    /// More bytes than a proxy reads.
    TooLarge {
        /// What.
        what: String,
        /// The most it may have.
        cap: u64,
    },
    /// A payload that a proxy would refuse.
    Nonsense(Nonsense),
    /// A signer failed.
    Signer(String),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServices => f.write_str("a release needs at least one service"),
            Self::DuplicateService(service) => write!(f, "there are two bodies for {service}"),
            Self::TooLarge { what, cap } => write!(f, "{what} has more than {cap} bytes"),
            Self::Nonsense(nonsense) => nonsense.fmt(f),
            Self::Signer(message) => write!(f, "cannot sign: {message}"),
        }
    }
}

impl std::error::Error for SignError {}

/// What a release says of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its bytes.
    pub length: u64,
    /// Their digest.
    pub sha256: Digest,
}

impl Listed {
    /// What it says of this body.
    ///
    /// # Errors
    /// [`SignError::TooLarge`] if it has more bytes than a proxy reads.
    pub fn of(service: &ServiceId, body: &[u8]) -> Result<Self, SignError> {
        let length = body.len() as u64;
        require_cap(|| format!("the body of {service}"), length, MAX_BODY)?;
        Ok(Self { length, sha256: Digest::of(body) })
    }
}

/// Makes and signs a release of these bodies, which come in any order.
///
/// # Errors
/// Every [`SignError`].
pub fn sign_release(
    input: &ReleaseInput,
    bodies: &[(ServiceId, Vec<u8>)],
    signers: &[&dyn Signer],
) -> Result<SignedRelease, SignError> {
    let listed = bodies.iter().map(|(service, body)| Ok((service.clone(), Listed::of(service, body)?)));
    let listed = listed.collect::<Result<Vec<_>, _>>()?;
    let names = listed.iter().map(|(_, listed)| ObjectName::blob(&listed.sha256));
    let blobs = names.zip(bodies.iter().map(|(_, body)| body.clone())).collect();
    Ok(SignedRelease { blobs, ..sign_listed(input, &listed, signers)? })
}

/// The same of bodies that are elsewhere, as a release of ten thousand services need not be held in memory.
///
/// # Errors
/// Every [`SignError`].
pub fn sign_listed(
    input: &ReleaseInput,
    bodies: &[(ServiceId, Listed)],
    signers: &[&dyn Signer],
) -> Result<SignedRelease, SignError> {
    let mut leaves: BTreeMap<&ServiceId, Vec<u8>> = BTreeMap::new();
    for (service, Listed { length, sha256 }) in bodies {
        let leaf = Leaf { length: *length, schema: body::SCHEMA, service: service.clone(), sha256: *sha256 };
        if leaves.insert(service, canonical(&leaf)?).is_some() {
            return Err(SignError::DuplicateService(service.clone()));
        }
    }
    if leaves.is_empty() {
        return Err(SignError::NoServices);
    }
    let tree = Tree::new(leaves.values().map(|leaf| leaf_hash(leaf)).collect());
    let manifest: Vec<u8> = leaves.values().flat_map(|leaf| leaf.iter().chain(b"\n")).copied().collect();
    let statement = Statement::new(predicate(input, &tree), Digest::of(&manifest));
    let release = sign(PayloadType::Release, canonical(&statement)?, signers)?;
    let services = leaves.into_iter().zip(0..).map(|((service, leaf), index)| {
        let path = tree.path(index).expect("every leaf of a tree has a path");
        let path = path.iter().map(|node| Base64(node.as_bytes().to_vec())).collect();
        let proof = Proof { index, size: tree.size(), path };
        let file =
            canonical(&ServiceFile { release: release.clone(), leaf: Base64(leaf), proof, body: None })?;
        let name = ObjectName::service(input.sequence, service);
        require_cap(|| name.to_string(), file.len() as u64, MAX_SERVICE_FILE)?;
        Ok((name, file))
    });
    Ok(SignedRelease {
        pin: Pin { sequence: input.sequence, sha256: release.payload_digest() },
        services: services.collect::<Result<_, _>>()?,
        blobs: BTreeMap::new(),
        manifest: (ObjectName::manifest(input.sequence), manifest),
        release: (ObjectName::release(input.sequence), release.encode()),
    })
}

fn predicate(input: &ReleaseInput, tree: &Tree) -> Release {
    Release {
        mesh: input.mesh.clone(),
        epoch: input.epoch,
        sequence: input.sequence,
        previous: input.previous,
        source: input.source.clone(),
        compiler: input.compiler.clone(),
        min_proxy: input.min_proxy,
        tree: TreeHead { alg: TREE_ALGORITHM.to_owned(), root: tree.root(), size: tree.size() },
        non_descendant: input.non_descendant.clone(),
    }
}

/// Signs a timestamp.
///
/// # Errors
/// If it says what cannot be, or a signer failed.
pub fn sign_timestamp(timestamp: &Timestamp, signers: &[&dyn Signer]) -> Result<Vec<u8>, SignError> {
    timestamp.validate().map_err(SignError::Nonsense)?;
    sign_object("the timestamp", PayloadType::Timestamp, canonical(timestamp)?, MAX_TIMESTAMP, signers)
}

/// Signs a root: version 1 by enough of its own keys, every later one by enough of the one before, too. Signers for both
/// go into one list.
///
/// # Errors
/// If it says what cannot be, or a signer failed.
pub fn sign_root(root: &Root, signers: &[&dyn Signer]) -> Result<Vec<u8>, SignError> {
    root.validate().map_err(SignError::Nonsense)?;
    sign_object("the root", PayloadType::Root, canonical(root)?, MAX_ROOT, signers)
}

/// Signs a denylist. Gives the digest of its payload, which timestamps pin, and the object.
///
/// # Errors
/// If it says what cannot be, or a signer failed.
pub fn sign_denylist(denylist: &Denylist, signers: &[&dyn Signer]) -> Result<(Digest, Vec<u8>), SignError> {
    let payload = canonical(denylist)?;
    // An entry is checked where it is read; what could not be read must not be signed.
    if json::from_slice::<Denylist>(&payload).is_err() {
        return Err(SignError::Nonsense(Nonsense("a serial number is lower-case hex without leading zeros")));
    }
    let digest = Digest::of(&payload);
    Ok((digest, sign_object("the denylist", PayloadType::Denylist, payload, MAX_DENYLIST, signers)?))
}

/// A service file with its body inside, for a single-service pack.
///
/// # Errors
/// If the file is not one.
pub fn pack_service(service_file: &[u8], body: &[u8]) -> Result<Vec<u8>, JsonError> {
    let file: ServiceFile = json::from_slice(service_file)?;
    json::to_canonical(&ServiceFile { body: Some(Base64(body.to_vec())), ..file })
}

/// The entries of a root for a role with these keys.
pub fn role_keys(threshold: u64, keys: &[&PublicKey]) -> RoleKeys {
    RoleKeys { keyids: keys.iter().map(|key| key.id()).collect(), threshold }
}

/// The list of keys of a root.
pub fn key_list<'k>(keys: impl IntoIterator<Item = &'k PublicKey>) -> BTreeMap<super::key::KeyId, RootKey> {
    keys.into_iter().map(|key| (key.id(), RootKey(key.clone()))).collect()
}

fn sign_object(
    what: &str,
    payload_type: PayloadType,
    payload: Vec<u8>,
    cap: u64,
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, SignError> {
    let bytes = sign(payload_type, payload, signers)?.encode();
    require_cap(|| what.to_owned(), bytes.len() as u64, cap)?;
    Ok(bytes)
}

fn sign(payload_type: PayloadType, payload: Vec<u8>, signers: &[&dyn Signer]) -> Result<Envelope, SignError> {
    Envelope::sign(payload_type, payload, signers).map_err(SignError::Signer)
}

fn require_cap(what: impl FnOnce() -> String, length: u64, cap: u64) -> Result<(), SignError> {
    if length > cap {
        return Err(SignError::TooLarge { what: what(), cap });
    }
    Ok(())
}

/// Payloads are texts, lists and numbers; only a number can have no canonical form.
fn canonical<T: serde::Serialize>(payload: &T) -> Result<Vec<u8>, SignError> {
    json::to_canonical(payload).map_err(|_| SignError::Nonsense(Nonsense("a number is not below 2^53")))
}
