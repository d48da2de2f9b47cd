//! The files of a directory, as they stand.
//!
//! Hidden directories are left alone, and inside a Git work tree what Git ignores: keys, releases, rendered bodies. There
//! the paths are those of the repository, and the revision is the one that is checked out; it counts as dirty if a file
//! that was read differs from the commit's, or one is missing or new. That is decided by comparing contents, so no filter of
//! Git's ever runs.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use super::git::{Git, ids_below};
use super::{MAX_FILE_BYTES, Refusal, Role, Room, Source, SourceError, SourceFile, Sources};
use crate::parallel;

/// A directory of policy.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory at `root`; a single file is read alone.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl Source for Directory {
    fn read(&self) -> Result<Sources, SourceError> {
        let root = self.root.canonicalize().map_err(|source| error(&self.root, source))?;
        let repository = match in_work_tree(&root) {
            true => Some(Git::at(&root)?),
            false => None,
        };
        let prefix = repository.as_ref().map(|(_, prefix)| prefix.clone()).unwrap_or_default();
        let ignored = repository.as_ref().map(|(git, _)| git.ignored()).transpose()?.unwrap_or_default();
        let mut walk = Walk {
            root: root.clone(),
            ignored,
            found: Vec::new(),
            sources: Sources::default(),
            room: Room::new(),
        };
        if root.is_dir() {
            walk.directory(&root, &prefix)?;
            walk.read_found()?;
        } else {
            let name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let path = if prefix.is_empty() { name.to_owned() } else { prefix.clone() };
            match Role::of(&path) {
                Some(Role::Policy) => walk.file(&root, path)?,
                Some(Role::Attachment) | None => walk.sources.refuse(&path, Refusal::Extension),
            }
            walk.attachments_beside(root.parent().unwrap_or(&root), super::parent(&prefix), 1);
        }
        let mut sources = walk.sources;
        sources.sort();
        if let Some((git, _)) = repository
            && let Some(commit) = git.head()?
        {
            let committed = ids_below(&git.tree(&commit)?, &prefix);
            let dirty = !sources.diagnostics.is_empty() || differs(&sources, &committed, &prefix);
            sources.revision = Some(git.revision(&commit, dirty)?);
        }
        Ok(sources)
    }
}

/// Whether a `.git` is at `path` or above. Asked before `git` is, so that a directory needs no `git` installed.
fn in_work_tree(path: &Path) -> bool {
    path.ancestors().any(|directory| directory.join(".git").exists())
}

struct Walk {
    root: PathBuf,
    /// What Git ignores, from the root of the repository; such files can never be part of a commit.
    ignored: BTreeSet<String>,
    /// Files to be read, in order.
    found: Vec<Found>,
    sources: Sources,
    room: Room,
}

/// A file of ours.
struct Found {
    full: PathBuf,
    path: String,
    /// In bytes.
    size: u64,
}

/// So many bytes of files are read by all threads before what was read is counted, which is not much beside [`Room`].
const BATCH_BYTES: u64 = 16 << 20;

impl Walk {
    fn directory(&mut self, directory: &Path, prefix: &str) -> Result<(), SourceError> {
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>);
        let mut entries = entries.map_err(|source| error(directory, source))?;
        // The same file is the first that is too much, whatever order the disk has.
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            self.entry(&entry, prefix)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, prefix: &str) -> Result<(), SourceError> {
        let full = entry.path();
        let name = entry.file_name();
        let path = match prefix {
            "" => name.to_string_lossy().into_owned(),
            prefix => format!("{prefix}/{}", name.to_string_lossy()),
        };
        if self.ignored.contains(&path) {
            return Ok(());
        }
        let kind = entry.file_type().map_err(|source| error(&full, source))?;
        if name.to_string_lossy().starts_with('.') {
            self.hidden(kind, path);
            return Ok(());
        }
        if kind.is_symlink() {
            self.symlink(&full, &path);
        } else if kind.is_dir() && full.join(".git").exists() {
            self.sources.refuse(&path, Refusal::Submodule);
        } else if kind.is_dir() {
            self.directory(&full, &path)?;
        } else if Role::of(&path).is_some() {
            self.ours(kind, name.to_str().is_some(), &full, path)?;
        }
        Ok(())
    }

    fn hidden(&mut self, kind: FileType, path: String) {
        if kind.is_dir() && !matches!(path.rsplit('/').next(), Some(".git")) {
            self.sources.hidden.insert(path + "/");
        } else if kind.is_file() && Role::of(&path) == Some(Role::Policy) {
            self.sources.hidden.insert(path);
        }
    }

    fn ours(&mut self, kind: FileType, legible: bool, full: &Path, path: String) -> Result<(), SourceError> {
        if !legible {
            self.sources.refuse(&path, Refusal::Name);
        } else if !kind.is_file() {
            self.sources.refuse(&path, Refusal::NotAFile);
        } else {
            let found = self.look_at(full, path)?;
            self.found.extend(found);
        }
        Ok(())
    }

    /// The file, unless it is too large.
    fn look_at(&mut self, full: &Path, path: String) -> Result<Option<Found>, SourceError> {
        let size = fs::metadata(full).map_err(|source| error(full, source))?.len();
        if size > MAX_FILE_BYTES {
            self.sources.refuse(&path, Refusal::TooLarge);
            return Ok(None);
        }
        Ok(Some(Found { full: full.to_owned(), path, size }))
    }

    /// Reads what was found with several threads, and takes it in its order.
    fn read_found(&mut self) -> Result<(), SourceError> {
        let found = std::mem::take(&mut self.found);
        let mut rest = found.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let few = |file: &&Found| {
                bytes += file.size;
                bytes < BATCH_BYTES
            };
            let count = rest.iter().take_while(few).count().max(1);
            let (batch, later) = rest.split_at(count);
            rest = later;
            let read = parallel::map(batch, |_, file| fs::read(&file.full));
            for (file, bytes) in batch.iter().zip(read) {
                self.take(file, bytes)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, full: &Path, path: String) -> Result<(), SourceError> {
        match self.look_at(full, path)? {
            Some(file) => self.take(&file, fs::read(&file.full)),
            None => Ok(()),
        }
    }

    fn take(&mut self, file: &Found, bytes: io::Result<Vec<u8>>) -> Result<(), SourceError> {
        let Found { full, path, size } = file;
        let bytes = bytes.map_err(|source| error(full, source))?;
        match Refusal::of_content(&bytes) {
            Some(refusal) => self.sources.refuse(path, refusal),
            None => {
                self.room.take(path, *size)?;
                self.sources.push(SourceFile { path: path.clone(), bytes });
            }
        }
        Ok(())
    }

    /// What a document that is read alone may refer to: attachments in its directory and in those directly below.
    /// The directory may be anything, `/tmp` included, so nothing else of it is looked at or complained about.
    fn attachments_beside(&mut self, directory: &Path, prefix: &str, depth: usize) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (full, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth > 0 => self.attachments_beside(&full, &path, depth - 1),
                Ok(kind) if kind.is_file() && Role::of(&path) == Some(Role::Attachment) => {
                    let _ = self.file(&full, path);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// A link matters if it has the name of a file of ours, leaves the directory, or stands for a directory.
    fn symlink(&mut self, full: &Path, path: &str) {
        let target = full.canonicalize();
        let outside = target.as_ref().is_ok_and(|target| !target.starts_with(&self.root));
        let directory = target.as_ref().is_ok_and(|target| target.is_dir());
        if Role::of(path).is_some() || directory {
            self.sources.refuse(path, if outside { Refusal::LinkOut } else { Refusal::Link });
        }
    }
}

/// Whether what was read is something else than what was committed.
fn differs(sources: &Sources, committed: &std::collections::BTreeMap<String, String>, prefix: &str) -> bool {
    let inside = |file: &&SourceFile| prefix.is_empty() || file.path.starts_with(prefix);
    let files = || sources.files.iter().chain(&sources.attachments).filter(inside);
    files().count() != committed.len()
        || files()
            .any(|file| committed.get(&file.path).is_none_or(|id| *id != blob_id(&file.bytes, id.len())))
}

/// Git's name for a content: SHA-1, or SHA-256 in repositories that use it, told apart by the length of their names.
pub(super) fn blob_id(bytes: &[u8], hex_digits: usize) -> String {
    let algorithm = if hex_digits == 64 { &digest::SHA256 } else { &digest::SHA1_FOR_LEGACY_USE_ONLY };
    let mut context = digest::Context::new(algorithm);
    context.update(format!("blob {}\0", bytes.len()).as_bytes());
    context.update(bytes);
    data_encoding::HEXLOWER.encode(context.finish().as_ref())
}

fn error(path: &Path, source: io::Error) -> SourceError {
    SourceError::Io { path: path.to_owned(), source }
}
