//! Whose signatures count: the anchor, and the roots that lead on from it.

use super::digest::Digest;
use super::envelope::{Envelope, EnvelopeError, PayloadType, VerifyError};
use super::error::UpdateError;
use super::names::{MeshName, ObjectName};
use super::payload::{Denylist, Role, Root, Timestamp};
use crate::json;

/// The roots we trust: the anchor of our own configuration, then each next version, every one signed by enough keys of
/// the one before and by enough of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    mesh: MeshName,
    anchor: Root,
    later: Vec<Root>,
}

impl Trust {
    /// Begins with the anchor, which must be for our mesh and signed by enough of its own keys.
    ///
    /// # Errors
    /// What is wrong with the anchor. Its expiry is not looked at: a newer root may lead on from it.
    pub fn new(anchor: &[u8], mesh: &MeshName) -> Result<Self, UpdateError> {
        let object = "the trust anchor";
        let envelope = decode(object, anchor)?;
        // Which keys must have signed it stands inside, so this once the payload is read first; it is believed only
        // because our own configuration says so.
        let root = parse_root(object, envelope.unverified_payload())?;
        require_mesh(object, mesh, &root.mesh)?;
        verify(object, &envelope, PayloadType::Root, &root, Role::Root)?;
        Ok(Self { mesh: mesh.clone(), anchor: root, later: Vec::new() })
    }

    /// The newest root.
    pub fn newest(&self) -> &Root {
        self.later.last().unwrap_or(&self.anchor)
    }

    /// The root of this version, unless it is older than the anchor or newer than the newest.
    pub fn at(&self, version: u64) -> Option<&Root> {
        std::iter::once(&self.anchor).chain(&self.later).find(|root| root.version == version)
    }

    /// Takes the next root (step 4): version exactly n+1, the same mesh, the threshold of root n and its own.
    ///
    /// # Errors
    /// What is wrong with it; the trust is as before.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), UpdateError> {
        let old = self.newest();
        let expected = old.version + 1;
        let object = ObjectName::root(expected);
        let envelope = decode(&object, bytes)?;
        // Rule: signed by >= threshold of root n ...
        let payload = verify(&object, &envelope, PayloadType::Root, old, Role::Root)?;
        let root = parse_root(&object, payload)?;
        // ... AND of root n+1.
        verify(&object, &envelope, PayloadType::Root, &root, Role::Root)?;
        // Rule: version exactly n+1.
        if root.version != expected {
            return Err(UpdateError::RootVersion { expected, found: root.version });
        }
        // Rule: same mesh.
        require_mesh(&object, &self.mesh, &root.mesh)?;
        // Deviation: also never a lower epoch, which would let releases of a stolen key back in.
        if root.epoch < old.epoch {
            return Err(UpdateError::Rollback { what: "root epoch", seen: old.epoch, found: root.epoch });
        }
        self.later.push(root);
        Ok(())
    }
}

/// A timestamp that enough timestamp keys of a root signed (step 3). Its times, target and number are not looked at.
///
/// # Errors
/// What is wrong with the envelope, its signatures or its payload.
pub fn read_timestamp(object: &str, bytes: &[u8], root: &Root) -> Result<Timestamp, UpdateError> {
    let envelope = decode(object, bytes)?;
    let payload = verify(object, &envelope, PayloadType::Timestamp, root, Role::Timestamp)?;
    let timestamp: Timestamp =
        json::from_slice(payload).map_err(|error| UpdateError::json(object, &error))?;
    timestamp
        .validate()
        .map_err(|nonsense| UpdateError::BadPayload { object: object.to_owned(), message: nonsense.0 })?;
    Ok(timestamp)
}

/// A denylist that enough denylist keys of a root signed (step 7).
///
/// # Errors
/// What is wrong with the envelope, its signatures or its payload.
pub fn read_denylist(object: &str, bytes: &[u8], root: &Root) -> Result<Denylist, UpdateError> {
    let envelope = decode(object, bytes)?;
    let payload = verify(object, &envelope, PayloadType::Denylist, root, Role::Denylist)?;
    json::from_slice(payload).map_err(|error| UpdateError::json(object, &error))
}

/// Reads an envelope of `object`.
pub(super) fn decode(object: impl std::fmt::Display, bytes: &[u8]) -> Result<Envelope, UpdateError> {
    Envelope::decode(bytes).map_err(|error| envelope_error(object, &error))
}

fn envelope_error(object: impl std::fmt::Display, error: &EnvelopeError) -> UpdateError {
    let message = error.to_string();
    match error {
        EnvelopeError::Json(error) => UpdateError::json(object, error),
        EnvelopeError::Base64 => UpdateError::BadEnvelope { object: object.to_string(), message },
        EnvelopeError::TooManySignatures => UpdateError::TooManySignatures { object: object.to_string() },
    }
}

/// The payload of an envelope, if enough keys of a role signed it.
pub(super) fn verify<'e>(
    object: impl std::fmt::Display,
    envelope: &'e Envelope,
    payload_type: PayloadType,
    root: &Root,
    role: Role,
) -> Result<&'e [u8], UpdateError> {
    let (keys, threshold) = root.role(role);
    envelope.verify(payload_type, keys, threshold).map_err(|error| match error {
        VerifyError::PayloadType { found } => UpdateError::PayloadType { object: object.to_string(), found },
        VerifyError::Threshold { needed, valid, seen } => {
            let keyids = &root.roles.of(role).keyids;
            let known = |id: &String| id.parse::<Digest>().is_ok_and(|id| keyids.contains(&id));
            let object = object.to_string();
            if valid == 0 && !seen.iter().any(known) {
                UpdateError::UnknownKey { object, role, seen }
            } else {
                UpdateError::Threshold { object, role, needed, valid, seen }
            }
        }
    })
}

pub(super) fn require_mesh(
    object: impl std::fmt::Display,
    expected: &MeshName,
    found: &MeshName,
) -> Result<(), UpdateError> {
    if expected == found {
        return Ok(());
    }
    Err(UpdateError::WrongTarget {
        object: object.to_string(),
        what: "mesh",
        expected: expected.to_string(),
        found: found.to_string(),
    })
}

fn parse_root(object: impl std::fmt::Display, payload: &[u8]) -> Result<Root, UpdateError> {
    let root: Root = json::from_slice(payload).map_err(|error| UpdateError::json(&object, &error))?;
    root.validate()
        .map_err(|nonsense| UpdateError::BadPayload { object: object.to_string(), message: nonsense.0 })?;
    Ok(root)
}
