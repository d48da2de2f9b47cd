//! A release directory on disk: reading for the verifier, atomic writing for the publisher.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use weft_bundle::release::ObjectName;
use weft_bundle::release::store::{Fetched, Store, StoreError};

use crate::parallel;

/// A directory that holds releases, or a single-service pack.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

/// Held while publishing; let go when dropped, also by a crash.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Directory {
    /// The directory at this path, which need not exist yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where an object is.
    pub fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Waits until nobody else publishes into the directory. Makes the directory if it is not there.
    ///
    /// # Errors
    /// If the directory or its lock file cannot be made.
    pub fn lock(&self) -> io::Result<Lock> {
        fs::create_dir_all(&self.root)?;
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(self.root.join(".lock"))?;
        file.lock()?;
        Ok(Lock { _file: file })
    }

    /// Replaces an object: temporary name beside it, fsync, rename, fsync of the directory.
    ///
    /// # Errors
    /// If it cannot be written; the old object is as it was.
    pub fn write(&self, name: &ObjectName, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.root);
        make_directories(&self.root, parent)?;
        replace(&path, parent, bytes)?;
        sync_directory(parent)
    }

    /// Writes immutable objects, many at once; those that are there already are left alone, and one that was damaged is
    /// replaced. When this returns all are on the disk. Gives how many were written.
    ///
    /// # Errors
    /// The first file that cannot be written, and why; others may have been.
    pub fn write_new(&self, objects: &[(ObjectName, &[u8])]) -> Result<usize, (PathBuf, io::Error)> {
        let parents: BTreeSet<PathBuf> =
            objects.iter().filter_map(|(name, _)| Some(self.path(name).parent()?.to_owned())).collect();
        let each = |of: &dyn Fn(&Path) -> io::Result<()>| {
            parents.iter().try_for_each(|parent| of(parent).map_err(|error| (parent.clone(), error)))
        };
        each(&|parent| make_directories(&self.root, parent))?;
        let written = parallel::map_waiting(objects, |_, (name, bytes)| {
            let path = self.path(name);
            if holds(&path, bytes) {
                return Ok(0);
            }
            let parent = path.parent().unwrap_or(&self.root);
            replace(&path, parent, bytes).map(|()| 1).map_err(|error| (path.clone(), error))
        });
        let written = written.into_iter().sum::<Result<usize, _>>()?;
        each(&sync_directory)?;
        Ok(written)
    }

    /// Puts all `files`, whose names lie under `place`, in place with one rename, if there is nothing yet. False if there
    /// is.
    ///
    /// # Errors
    /// If they cannot be written; then `place` is as it was.
    pub fn claim<'f>(
        &self,
        place: &Path,
        files: impl Iterator<Item = &'f (ObjectName, Vec<u8>)>,
    ) -> io::Result<bool> {
        let parent = place.parent().unwrap_or(&self.root);
        make_directories(&self.root, parent)?;
        let staging = tempfile::Builder::new()
            .prefix(".staging-")
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent)?;
        let mut staged = Vec::new();
        for (name, bytes) in files {
            let path = self.path(name);
            let inside = path.strip_prefix(place).map_err(|_| io::Error::other("outside of its release"))?;
            let path = staging.path().join(inside);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            staged.push((path, bytes));
        }
        let written = parallel::map_waiting(&staged, |_, (path, bytes)| {
            let mut file = File::create_new(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.into_iter().collect::<io::Result<()>>()?;
        sync_tree(staging.path())?;
        match fs::rename(staging.path(), place) {
            Ok(()) => {
                // It is no longer there under its temporary name.
                let _ = staging.keep();
                sync_directory(parent)?;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl Store for Directory {
    fn get(&self, name: &ObjectName, cap: u64, _etag: Option<&str>) -> Result<Fetched, StoreError> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Fetched::Absent);
            }
            Err(error) => return Err(StoreError(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(cap.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| StoreError(error.to_string()))?;
        Ok(Fetched::Found { bytes, etag: None })
    }
}

/// Temporary files are made for their owner only; releases are for everyone whom the umask allows.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp").permissions(Permissions::from_mode(0o666));
    builder
}

/// Replaces a file under a temporary name, and does not sync its directory yet.
fn replace(path: &Path, parent: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary().tempfile_in(parent)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Whether a file holds just these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let same_length =
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == bytes.len() as u64);
    same_length && fs::read(path).is_ok_and(|found| found == bytes)
}

/// Makes the directories from `root` down to `path`, and syncs each that got a new entry.
fn make_directories(root: &Path, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|_| path != root) {
        make_directories(root, parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        return sync_directory(parent);
    }
    fs::create_dir_all(path)
}

fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_directory(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
