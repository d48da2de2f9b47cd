//! What a release says about one service: the checks of a service file and a body (steps 9 to 11).
//!
//! The update cycle, the start from state and `weft verify` all come through here, so a file that one of them takes is a
//! file that the others take.

use super::MAX_BODY;
use super::digest::Digest;
use super::envelope::{Envelope, PayloadType};
use super::error::UpdateError;
use super::merkle::{Tree, leaf_hash, root_from_path};
use super::names::{MeshName, ServiceId};
use super::payload::{
    Leaf, PREDICATE_TYPE, Pin, Role, Root, STATEMENT_TYPE, ServiceFile, Statement, TREE_ALGORITHM,
};
use super::trust::{require_mesh, verify};
use super::version::ProgramVersion;
use crate::{body, json};

/// What must stand in a release.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Our mesh.
    pub mesh: &'a MeshName,
    /// The root whose release keys count, and whose epoch.
    pub root: &'a Root,
    /// The release that the timestamp pins.
    pub pin: Pin,
    /// The version of this program.
    pub version: ProgramVersion,
}

/// A service file whose every check passed. The body, if it came with it, has not been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The release.
    pub statement: Statement,
    /// Which body the service has in it.
    pub leaf: Leaf,
    /// The body, in a single-service pack.
    pub inline_body: Option<Vec<u8>>,
}

/// Checks the signed statement of a release (step 9).
///
/// # Errors
/// The first check that failed.
pub fn check_release(
    object: &str,
    release: &Envelope,
    expected: Expected<'_>,
) -> Result<Statement, UpdateError> {
    // Rule: payload digest as pinned. Before the signatures, so that the answer to a wrong release under the right name
    // does not depend on who signed it.
    require_digest(object, expected.pin.sha256, release.payload_digest())?;
    // Rule: release-role threshold.
    let payload = verify(object, release, PayloadType::Release, expected.root, Role::Release)?;
    let statement: Statement =
        json::from_slice(payload).map_err(|error| UpdateError::json(object, &error))?;
    let predicate = &statement.predicate;
    // Rule: predicateType.
    let types = [
        (statement.type_.as_str(), STATEMENT_TYPE),
        (statement.predicate_type.as_str(), PREDICATE_TYPE),
        (predicate.tree.alg.as_str(), TREE_ALGORITHM),
    ];
    if let Some((found, _)) = types.into_iter().find(|(found, wanted)| found != wanted) {
        return Err(UpdateError::PredicateType { object: object.to_owned(), found: found.to_owned() });
    }
    // Rule: mesh, epoch, sequence.
    require_mesh(object, expected.mesh, &predicate.mesh)?;
    let numbers = [
        ("epoch", expected.root.epoch, predicate.epoch),
        ("sequence", expected.pin.sequence, predicate.sequence),
    ];
    if let Some((what, expected, found)) = numbers.into_iter().find(|(_, expected, found)| expected != found)
    {
        return Err(UpdateError::WrongRelease { object: object.to_owned(), what, expected, found });
    }
    // Rule: min_proxy <= own version.
    if predicate.min_proxy > expected.version {
        return Err(UpdateError::MinProxy { needed: predicate.min_proxy, own: expected.version });
    }
    Ok(statement)
}

/// Checks a service file (steps 9 and 10).
///
/// # Errors
/// The first check that failed.
pub fn check_service_file(
    object: &str,
    bytes: &[u8],
    service: &ServiceId,
    expected: Expected<'_>,
) -> Result<Delivery, UpdateError> {
    let file: ServiceFile = json::from_slice(bytes).map_err(|error| UpdateError::json(object, &error))?;
    let statement = check_release(object, &file.release, expected)?;
    let tree = &statement.predicate.tree;
    // Rule: inclusion proof against the *signed* size.
    let fault = |message| UpdateError::Proof { object: object.to_owned(), message };
    if file.proof.size != tree.size {
        return Err(fault("the proof is for a tree of another size than the signed one"));
    }
    let path: Option<Vec<Digest>> = file
        .proof
        .path
        .iter()
        .map(|node| <[u8; 32]>::try_from(node.0.as_slice()).ok().map(Digest::from_bytes))
        .collect();
    let path = path.ok_or_else(|| fault("a node of the proof has not 32 bytes"))?;
    let root = root_from_path(leaf_hash(&file.leaf.0), file.proof.index, tree.size, &path)
        .ok_or_else(|| fault("the proof has not the length of its place in the tree"))?;
    if root != tree.root {
        return Err(fault("the leaf is not in the signed tree"));
    }
    let leaf: Leaf = json::from_slice(&file.leaf.0).map_err(|error| UpdateError::json(object, &error))?;
    // Rule: `leaf.service` equals the configured service.
    if leaf.service != *service {
        return Err(UpdateError::WrongTarget {
            object: object.to_owned(),
            what: "service",
            expected: service.to_string(),
            found: leaf.service.to_string(),
        });
    }
    // Rule: schema supported.
    if leaf.schema != body::SCHEMA {
        return Err(UpdateError::Schema { found: leaf.schema, supported: body::SCHEMA });
    }
    if leaf.length > MAX_BODY {
        return Err(UpdateError::Oversized { object: format!("the body of {service}"), cap: MAX_BODY });
    }
    Ok(Delivery { statement, leaf, inline_body: file.body.map(|body| body.0) })
}

/// Checks a body against its leaf (step 11): exact length, then digest.
///
/// # Errors
/// Too short, too long, or other bytes.
pub fn check_body(object: &str, body: &[u8], leaf: &Leaf) -> Result<(), UpdateError> {
    let length = body.len() as u64;
    if length > leaf.length {
        return Err(UpdateError::Oversized { object: object.to_owned(), cap: leaf.length });
    }
    if length < leaf.length {
        return Err(UpdateError::Truncated { object: object.to_owned() });
    }
    require_digest(object, leaf.sha256, Digest::of(body))
}

/// Checks the manifest against the signed statement, for auditors: its digest, its order, and that its leaves are exactly
/// those of the signed tree. Gives the leaves.
///
/// # Errors
/// The first check that failed.
pub fn check_manifest(object: &str, bytes: &[u8], statement: &Statement) -> Result<Vec<Leaf>, UpdateError> {
    let fault = |message| UpdateError::Proof { object: object.to_owned(), message };
    let expected = statement.manifest().ok_or_else(|| fault("the statement does not name its manifest"))?;
    require_digest(object, expected, Digest::of(bytes))?;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let lines: Option<Vec<&[u8]>> = lines.into_iter().map(|line| line.strip_suffix(b"\n")).collect();
    let lines = lines.ok_or_else(|| fault("the last line does not end"))?;
    let tree = Tree::new(lines.iter().map(|line| leaf_hash(line)).collect());
    if (tree.size(), tree.root()) != (statement.predicate.tree.size, statement.predicate.tree.root) {
        return Err(fault("its leaves are not those of the signed tree"));
    }
    let leaf =
        |line: &&[u8]| json::from_slice::<Leaf>(line).map_err(|error| UpdateError::json(object, &error));
    let leaves = lines.iter().map(leaf).collect::<Result<Vec<_>, _>>()?;
    if !leaves.is_sorted_by(|a, b| a.service < b.service) {
        return Err(fault("its services are not in order, or one is there twice"));
    }
    Ok(leaves)
}

pub(super) fn require_digest(object: &str, expected: Digest, found: Digest) -> Result<(), UpdateError> {
    if expected == found {
        return Ok(());
    }
    Err(UpdateError::WrongDigest { object: object.to_owned(), expected, found })
}
