//! The keys of a pipeline: a directory with one PEM file per role and the signed root of trust that names them.
//!
//! ```text
//! root.pem  release.pem  timestamp.pem  denylist.pem     Ed25519, PKCS#8, readable by their owner only
//! root.json                                              what proxies are given as their trust anchor
//! ```
//! `root.pem` and `denylist.pem` are not needed to publish and belong somewhere safer.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use weft_bundle::json;
use weft_bundle::release::envelope::Envelope;
use weft_bundle::release::key::{KeyError, SigningKey};
use weft_bundle::release::payload::Roles;
use weft_bundle::release::sign::{SignError, key_list, role_keys, sign_root};
use weft_bundle::release::{MeshName, Root, UtcTime};

/// What a pipeline needs to publish.
#[derive(Debug)]
pub struct KeyDir {
    /// The mesh that the root is for.
    pub mesh: MeshName,
    /// The signed root of trust, as it stands in `root.json`.
    pub anchor: Vec<u8>,
    /// Signs releases.
    pub release: SigningKey,
    /// Signs timestamps.
    pub timestamp: SigningKey,
}

/// New keys, with the first root that names them.
#[derive(Debug)]
pub struct NewKeys {
    /// By file name, without `.pem`.
    keys: [(&'static str, SigningKey); 4],
    root: Vec<u8>,
}

/// Why keys could not be read, made or kept.
#[derive(Debug)]
pub enum KeyDirError {
    /// A file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file is there already, and keys are never overwritten.
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not a private key.
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// Not a root of trust.
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The first root could not be signed.
    Sign(SignError),
}

impl fmt::Display for KeyDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, .. } => write!(f, "cannot use {}", path.display()),
            Self::Exists { path } => {
                write!(f, "{} is there already; keys are never overwritten", path.display())
            }
            Self::Key { path, .. } => write!(f, "{} is not a signing key", path.display()),
            Self::Root { path, message } => write!(f, "{} is not a root of trust: {message}", path.display()),
            Self::Sign(_) => f.write_str("cannot sign the root of trust"),
        }
    }
}

impl std::error::Error for KeyDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Key { source, .. } => Some(source),
            Self::Sign(source) => Some(source),
            Self::Exists { .. } | Self::Root { .. } => None,
        }
    }
}

impl KeyDir {
    /// Reads keys from a directory as `weft key new` makes it; or from one PEM file, whose key then signs both releases
    /// and timestamps, with `root.json` beside it.
    ///
    /// # Errors
    /// Every [`KeyDirError`] about reading.
    pub fn open(path: &Path) -> Result<Self, KeyDirError> {
        // Else the complaint would be about a `root.json` somewhere near it.
        let is_directory = fs::metadata(path).map_err(|error| io_at(path, error))?.is_dir();
        let directory = if is_directory { path } else { path.parent().unwrap_or(Path::new(".")) };
        let key_file = |role: &str| match is_directory {
            true => directory.join(format!("{role}.pem")),
            false => path.to_owned(),
        };
        let anchor_path = directory.join("root.json");
        let anchor = fs::read(&anchor_path).map_err(|error| io_at(&anchor_path, error))?;
        Ok(Self {
            mesh: mesh_of(&anchor).map_err(|message| KeyDirError::Root { path: anchor_path, message })?,
            anchor,
            release: read_key(&key_file("release"))?,
            timestamp: read_key(&key_file("timestamp"))?,
        })
    }
}

impl NewKeys {
    /// Makes four keys, one per role, from this source of randomness, and root 1 that names them.
    ///
    /// # Errors
    /// If there is no randomness, or the root cannot be signed.
    pub fn generate(
        mesh: &MeshName,
        expires: UtcTime,
        mut random: impl FnMut(&mut [u8; 32]) -> io::Result<()>,
    ) -> Result<Self, KeyDirError> {
        let mut key = |name: &'static str| {
            let path = || PathBuf::from(format!("{name}.pem"));
            let mut seed = [0; 32];
            random(&mut seed).map_err(|source| KeyDirError::Io { path: path(), source })?;
            let key =
                SigningKey::from_seed(&seed).map_err(|source| KeyDirError::Key { path: path(), source })?;
            Ok((name, key))
        };
        let keys = [key("root")?, key("release")?, key("timestamp")?, key("denylist")?];
        let [root, release, timestamp, denylist] = &keys;
        let role = |(_, key): &(&str, SigningKey)| role_keys(1, &[key.public()]);
        let payload = Root {
            mesh: mesh.clone(),
            version: 1,
            epoch: 1,
            release_floor: 0,
            expires,
            keys: key_list(keys.iter().map(|(_, key)| key.public())),
            roles: Roles {
                root: role(root),
                release: role(release),
                timestamp: role(timestamp),
                denylist: role(denylist),
            },
        };
        let root = sign_root(&payload, &[&root.1]).map_err(KeyDirError::Sign)?;
        Ok(Self { keys, root })
    }

    /// Writes everything into a directory, which is made if it is not there. Gives the paths that were written.
    ///
    /// # Errors
    /// If a file is there already, or cannot be written; then nothing that was there has changed.
    pub fn write(&self, directory: &Path) -> Result<Vec<PathBuf>, KeyDirError> {
        fs::create_dir_all(directory).map_err(|error| io_at(directory, error))?;
        let pem =
            |(name, key): &(&str, SigningKey)| (format!("{name}.pem"), key.to_pem().into_bytes(), 0o600);
        let root = ("root.json".to_owned(), self.root.clone(), 0o644);
        let files: Vec<_> = self.keys.iter().map(pem).chain([root]).collect();
        // All or nothing: a directory with half of an older set is no place for half of a new one.
        for (name, ..) in &files {
            let path = directory.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(KeyDirError::Exists { path });
            }
        }
        let write = |(name, bytes, mode): &(String, Vec<u8>, u32)| {
            let path = directory.join(name);
            write_new(&path, bytes, *mode).map_err(|error| io_at(&path, error))?;
            Ok(path)
        };
        files.iter().map(write).collect()
    }
}

/// Writes a file that must not exist, with these permissions from the first byte on.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read_key(path: &Path) -> Result<SigningKey, KeyDirError> {
    let text = fs::read_to_string(path).map_err(|error| io_at(path, error))?;
    SigningKey::from_pem(&text).map_err(|source| KeyDirError::Key { path: path.to_owned(), source })
}

/// The mesh that a root names. Whether the root is any good is for [`super::publish`] to find out.
fn mesh_of(anchor: &[u8]) -> Result<MeshName, String> {
    let envelope = Envelope::decode(anchor).map_err(|error| error.to_string())?;
    let root: Root = json::from_slice(envelope.unverified_payload()).map_err(|error| error.to_string())?;
    Ok(root.mesh)
}

fn io_at(path: &Path, source: io::Error) -> KeyDirError {
    KeyDirError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
impl NewKeys {
    pub(super) fn root_for_tests(&self) -> &[u8] {
        &self.root
    }
}
