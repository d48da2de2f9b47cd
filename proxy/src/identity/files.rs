//! Our certificate and key from two files, kept up to date.
//!
//! The directories that contain the files are watched, and their real parents, never the files: a watch on a file of a
//! Kubernetes Secret is dead after its first update. Any event, and a timer, mean the same: read again and compare
//! digests. A pair that is not whole yet, or wrong, is counted and reported once, and the old one stays.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Identity, IdentityError};
use crate::snapshot::ApplyError;
use crate::worker::DataPlane;

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// How long to wait after an event, so that both files are there.
const SETTLE: Duration = Duration::from_millis(200);

/// How often to look when nothing is heard.
const BACKSTOP: Duration = Duration::from_secs(10);

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

    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), FilesError> {
        Ok((read(&self.certificates)?, read(&self.key)?))
    }

    /// What is in the files, for comparing; also for files that cannot be read.
    fn fingerprint(&self) -> Vec<u8> {
        match self.read() {
            Ok((certificates, key)) => {
                let sums = [digest(&SHA256, &certificates), digest(&SHA256, &key)];
                sums.iter().flat_map(AsRef::as_ref).copied().collect()
            }
            Err(error) => error.to_string().into_bytes(),
        }
    }

    fn directories(&self) -> BTreeSet<PathBuf> {
        let parent = |path: &Path| match path.parent() {
            Some(parent) if parent != Path::new("") => Some(parent.to_owned()),
            Some(_) => Some(PathBuf::from(".")),
            None => None,
        };
        let real = |path: &PathBuf| path.canonicalize().ok().and_then(|real| parent(&real));
        let paths = [&self.certificates, &self.key];
        paths.iter().flat_map(|path| [parent(path), real(path)]).flatten().collect()
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
    let (events, woken) = channel();
    let (seen, plane) = (files.fingerprint(), Arc::downgrade(plane));
    let run = move || {
        let mut watcher = notify::recommended_watcher(move |_: notify::Result<notify::Event>| {
            // The thread that listens has ended: so will the watcher.
            let _ = events.send(());
        })
        .map_err(|error| tracing::warn!(%error, "no file events; certificates are read by the clock only"))
        .ok();
        let mut watch = Watch { files, plane, seen, watched: BTreeSet::new() };
        while watch.turn(watcher.as_mut(), &woken) {}
    };
    std::thread::Builder::new().name("identity".to_owned()).spawn(run)?;
    Ok(())
}

struct Watch {
    files: IdentityFiles,
    plane: Weak<DataPlane>,
    /// The fingerprint that was processed last.
    seen: Vec<u8>,
    watched: BTreeSet<PathBuf>,
}

impl Watch {
    /// Waits for something to happen and looks. False once the data plane is gone.
    fn turn(&mut self, watcher: Option<&mut RecommendedWatcher>, woken: &Receiver<()>) -> bool {
        if let Some(watcher) = watcher {
            self.follow(watcher);
        }
        match woken.recv_timeout(BACKSTOP) {
            Ok(()) => {
                std::thread::sleep(SETTLE);
                while woken.try_recv().is_ok() {}
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Without a watcher nothing ever wakes us but the clock.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(BACKSTOP),
        }
        let Some(plane) = self.plane.upgrade() else {
            return false;
        };
        self.look(&plane);
        true
    }

    /// Watches the directories that the files are in now; one that was removed and came back is watched again.
    fn follow(&mut self, watcher: &mut RecommendedWatcher) {
        let now = self.files.directories();
        for gone in self.watched.difference(&now) {
            // It may be gone from the disk as well.
            let _ = watcher.unwatch(gone);
        }
        self.watched = now
            .into_iter()
            .filter(|directory| watcher.watch(directory, RecursiveMode::NonRecursive).is_ok())
            .collect();
    }

    fn look(&mut self, plane: &DataPlane) {
        let fingerprint = self.files.fingerprint();
        if fingerprint == self.seen {
            return;
        }
        self.seen = fingerprint;
        let taken = self.files.load().and_then(|identity| {
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
}
