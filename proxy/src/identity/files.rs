//! Our certificate and key from two files, kept up to date.
//!
//! The directories that contain the files are watched, and their real parents, never the files: a watch on a file of a
//! Kubernetes Secret is dead after its first update. Any event, and a timer, mean the same: read again and compare
//! digests. A pair that is not whole yet, or wrong, is counted and reported once, and the old one stays.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Identity, IdentityError};
use crate::snapshot::ApplyError;
use crate::source::watch::{DirectoryWatch, Wake};
use crate::worker::DataPlane;

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// How often to look when nothing is heard.
pub(super) const BACKSTOP: Duration = Duration::from_secs(10);

/// Where the pair is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// PEM, leaf first.
    pub certificates: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// Why a pair was not taken.
#[derive(Debug)]
pub enum FilesError {
    /// A file cannot be read.
    Read(PathBuf, std::io::Error),
    /// A file is too large.
    TooLarge(PathBuf),
    /// It is not an identity.
    Identity(IdentityError),
    /// It is not ours.
    Apply(ApplyError),
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read `{}`: {error}", path.display()),
            Self::TooLarge(path) => write!(f, "`{}` has more than {MAX_BYTES} bytes", path.display()),
            Self::Identity(error) => error.fmt(f),
            Self::Apply(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FilesError {}

impl IdentityFiles {
    /// Reads the pair.
    ///
    /// # Errors
    /// It is missing, too large, or not an identity.
    pub fn load(&self) -> Result<Identity, FilesError> {
        let (certificates, key) = self.read()?;
        Identity::from_pem(&certificates, &key).map_err(FilesError::Identity)
    }

    pub(super) fn read(&self) -> Result<(Vec<u8>, Vec<u8>), FilesError> {
        Ok((read(&self.certificates)?, read(&self.key)?))
    }

    /// What is in the files, for comparing; also for files that cannot be read.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        match self.read() {
            Ok((certificates, key)) => {
                let sums = [digest(&SHA256, &certificates), digest(&SHA256, &key)];
                sums.iter().flat_map(AsRef::as_ref).copied().collect()
            }
            Err(error) => error.to_string().into_bytes(),
        }
    }

    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let parent = |path: &PathBuf| match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        vec![parent(&self.certificates), parent(&self.key)]
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FilesError> {
    use std::io::Read;
    let fail = |error| FilesError::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FilesError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// Starts a thread that keeps a data plane's identity up to date for as long as the plane exists. The pair that is in the
/// files now counts as seen, whether it was taken or not.
///
/// # Errors
/// The thread cannot be started.
pub fn watch(files: IdentityFiles, plane: &Arc<DataPlane>) -> std::io::Result<()> {
    let mut seen = files.fingerprint();
    let plane = Arc::downgrade(plane);
    let run = move || {
        let mut watch = DirectoryWatch::new();
        loop {
            watch.arm(&files.directories());
            let Some(plane) = plane.upgrade() else {
                return;
            };
            look(&files, &plane, &mut seen);
            drop(plane);
            if watch.wait(BACKSTOP) == Wake::Stop {
                return;
            }
        }
    };
    std::thread::Builder::new().name("identity".to_owned()).spawn(run)?;
    Ok(())
}

fn look(files: &IdentityFiles, plane: &DataPlane, seen: &mut Vec<u8>) {
    let fingerprint = files.fingerprint();
    if fingerprint == *seen {
        return;
    }
    *seen = fingerprint;
    let taken = files.load().and_then(|identity| {
        let id = identity.id().clone();
        plane.replace_identity(identity).map_err(FilesError::Apply)?;
        Ok(id)
    });
    match taken {
        Ok(id) => tracing::info!(%id, "a new certificate is in use"),
        Err(error) => {
            plane.metrics().control.identity_rejected();
            tracing::error!(%error, "the new certificate was not taken; the old one stays in use");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Ca, Issued, plane_with, serves, until};

    fn write(directory: &Path, issued: &Issued) -> IdentityFiles {
        let files =
            IdentityFiles { certificates: directory.join("cert.pem"), key: directory.join("key.pem") };
        std::fs::write(&files.certificates, issued.certificate.pem()).unwrap();
        std::fs::write(&files.key, issued.key.serialize_pem()).unwrap();
        files
    }

    #[tokio::test]
    async fn a_new_pair_is_taken_and_a_wrong_one_is_not() {
        let ca = Ca::new();
        let directory = tempfile::tempdir().unwrap();
        let cart = "spiffe://td/ns/shop/sa/cart";
        let files = write(directory.path(), &ca.issue(cart));
        let body = serves("127.0.0.1:1".parse().unwrap(), "off", &json!({}));
        let plane = Arc::new(plane_with(&body));
        plane.replace_identity(files.load().unwrap()).unwrap();
        watch(files.clone(), &plane).unwrap();

        let mut later = crate::testing::leaf_params(cart);
        later.not_after = rcgen::date_time_ymd(2050, 1, 1);
        let next = ca.sign(later);
        write(directory.path(), &next);
        let expiry = next.identity().not_after();
        let uses = |expiry| plane.describe()["certificate"]["not_after"] == json!(expiry);
        until("the new pair is in use", || uses(expiry)).await;

        write(directory.path(), &ca.issue("spiffe://td/ns/shop/sa/other"));
        let rejected = || plane.metrics().encode().contains("weft_identity_rejected_total 1");
        until("the wrong pair is counted", rejected).await;
        std::fs::write(&files.key, "half a k").unwrap();
        let rejected = || plane.metrics().encode().contains("weft_identity_rejected_total 2");
        until("the broken pair is counted", rejected).await;
        assert!(uses(expiry), "the last good pair stays");
    }
}
