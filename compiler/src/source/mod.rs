//! Where documents come from: a directory, or a Git tree at a revision.
//!
//! A [`Source`] gives [`Sources`]: every policy file's bytes, sorted by path, and the revision they belong to. Nothing
//! here looks inside a file, except to recognise a Git LFS pointer. What cannot be read as a plain file (a symbolic
//! link, a submodule, an LFS pointer, a huge file) is refused by name, in [`Sources::diagnostics`], because skipping it
//! silently could skip policy.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use crate::diagnostic::Diagnostic;

pub mod directory;
pub mod git;
#[cfg(test)]
mod tests;

pub use directory::Directory;
pub use git::{GitTree, is_ancestor};

/// Gives documents.
pub trait Source {
    /// Reads everything at once.
    ///
    /// # Errors
    /// When the source as a whole cannot be read; a file that is refused is a diagnostic instead.
    fn read(&self) -> Result<Sources, SourceError>;
}

/// What a source held.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The policy files (`.yaml`, `.yml`, `.json`, in letters of either case), sorted by path, unique. A [`FileId`] is an index into this list.
    pub files: Vec<SourceFile>,
    /// Files that documents may refer to (`.pem`, `.crt`, `.cer`, `.jwks`), sorted by path, unique.
    pub attachments: Vec<SourceFile>,
    /// The commit all this belongs to; `None` outside Git.
    pub revision: Option<Revision>,
    /// What was refused, by name.
    pub diagnostics: Vec<Diagnostic>,
    /// Hidden files and directories that were left alone; a directory ends with `/`.
    pub hidden: BTreeSet<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the root of the repository (outside Git: to the directory that was read), with `/`.
    pub path: String,
    /// The content as it stands.
    pub bytes: Vec<u8>,
}

/// An index into [`Sources::files`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// The state of the repository that documents were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The address of the remote `origin` without credentials; empty if there is none.
    pub repo: String,
    /// The commit, in hex.
    pub commit: String,
    /// The tree of that commit, in hex.
    pub tree: String,
    /// Whether the files that were read differ from the commit's.
    pub dirty: bool,
}

impl Sources {
    /// The file with this number.
    pub fn file(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(usize::try_from(id.0).ok()?)
    }

    /// The path of the file with this number; empty if there is none.
    pub fn path(&self, id: FileId) -> &str {
        self.file(id).map_or("", |file| file.path.as_str())
    }

    /// The files with their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().zip(0..).map(|(file, id)| (FileId(id), file))
    }

    /// The file that a document in `from` calls `path`: relative to that document's own directory. Key sets may be
    /// `.json`, which is the extension of documents too.
    pub fn attachment(&self, from: FileId, path: &str) -> Option<&SourceFile> {
        let wanted = join(parent(self.path(from)), path)?;
        match at(&self.attachments, &wanted) {
            Some(found) => self.attachments.get(found),
            None => self.files.get(at(&self.files, &wanted)?),
        }
    }

    /// The number of the policy file that one in `from` calls `path`.
    pub(crate) fn beside(&self, from: FileId, path: &str) -> Option<FileId> {
        let place = at(&self.files, &join(parent(self.path(from)), path)?)?;
        u32::try_from(place).ok().map(FileId)
    }

    /// Gives the policy files of two revisions the same numbers, so that what was read of one holds for the other. A file
    /// that only one of them has is an empty one in the other, in which there is nothing.
    pub fn align(&mut self, other: &mut Self) {
        let paths =
            |sources: &Self| sources.files.iter().map(|file| file.path.clone()).collect::<BTreeSet<_>>();
        let (own, others) = (paths(self), paths(other));
        let empty = |path: &String| SourceFile { path: path.clone(), bytes: Vec::new() };
        self.files.extend(others.difference(&own).map(empty));
        other.files.extend(own.difference(&others).map(empty));
        self.sort();
        other.sort();
    }

    /// Sources from texts in memory, for tests and editors; sorted by path.
    pub fn in_memory<P: Into<String>, B: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, B)>) -> Self {
        let mut sources = Self::default();
        for (path, bytes) in files {
            sources.push(SourceFile { path: path.into(), bytes: bytes.into() });
        }
        sources.sort();
        sources
    }

    fn push(&mut self, file: SourceFile) {
        match Role::of(&file.path) {
            Some(Role::Policy) => self.files.push(file),
            Some(Role::Attachment) => self.attachments.push(file),
            None => {}
        }
    }

    /// Notes a file that would be read if it, or a directory that it is in, were not hidden.
    fn hide(&mut self, path: &str, root: &str) {
        let below = path.strip_prefix(root).unwrap_or(path);
        let before = path.len() - below.len();
        let mut end = before;
        for segment in below.split_inclusive('/') {
            end += segment.len();
            if segment.starts_with('.') {
                break;
            }
        }
        self.hidden.extend(path.get(..end).map(str::to_owned));
    }

    fn refuse(&mut self, path: &str, refusal: Refusal) {
        self.diagnostics.push(refusal.diagnostic(path));
    }

    fn sort(&mut self) {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.attachments.sort_by(|a, b| a.path.cmp(&b.path));
        self.diagnostics.sort_by(|a, b| a.message.cmp(&b.message));
    }
}

/// Why a source could not be read.
#[derive(Debug)]
pub enum SourceError {
    /// A file or directory could not be read.
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `git` is not installed or could not be started.
    NoGit(std::io::Error),
    /// `git` ended with an error.
    Git {
        /// What was asked of it.
        command: String,
        /// What it said.
        message: String,
    },
    /// The revision does not name a commit of the repository.
    UnknownRevision {
        /// As given.
        revision: String,
        /// What `git` said.
        message: String,
    },
    /// The directory does not exist at that revision.
    NoSuchDirectory {
        /// Relative to the root of the repository.
        path: String,
        /// As given.
        revision: String,
    },
    /// The path is not inside a Git work tree.
    NotARepository(PathBuf),
    /// The files come to more than is read.
    TooMuch {
        /// The one with which they do.
        path: String,
    },
    /// `git` gave something that this program does not understand.
    Protocol(&'static str),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, .. } => write!(f, "cannot read `{}`", path.display()),
            Self::NoGit(_) => f.write_str("cannot start `git`"),
            Self::Git { command, message } => write!(f, "`git {command}` failed: {}", message.trim_end()),
            Self::UnknownRevision { revision, .. } => {
                write!(f, "`{revision}` does not name a commit of this repository")
            }
            Self::NoSuchDirectory { path, revision } => {
                write!(f, "there is no directory `{path}` at `{revision}`")
            }
            Self::NotARepository(path) => write!(f, "`{}` is not inside a Git repository", path.display()),
            Self::TooMuch { path } => write!(
                f,
                "with `{}` the files come to more than {} MiB, which is the most that is read; name a directory in it",
                path.escape_debug(),
                MAX_BYTES >> 20
            ),
            Self::Protocol(what) => write!(f, "`git` answered in an unexpected way: {what}"),
        }
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::NoGit(source) => Some(source),
            Self::Git { .. }
            | Self::UnknownRevision { .. }
            | Self::NoSuchDirectory { .. }
            | Self::NotARepository(_)
            | Self::TooMuch { .. }
            | Self::Protocol(_) => None,
        }
    }
}

/// A file that is not read.
pub const REFUSED_FILE: &str = "refused-file";

/// The largest file that is read: a hundred times the largest met in practice.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The most that is read all together: ten thousand services take a third of it.
const MAX_BYTES: u64 = 256 << 20;

/// How much more may be read.
struct Room(u64);

impl Room {
    /// For what nothing was read of yet.
    fn new() -> Self {
        Self(MAX_BYTES)
    }

    /// Takes the room that a file needs.
    fn take(&mut self, path: &str, size: u64) -> Result<(), SourceError> {
        self.0 = self.0.checked_sub(size).ok_or_else(|| SourceError::TooMuch { path: path.to_owned() })?;
        Ok(())
    }
}

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Link,
    LinkOut,
    Submodule,
    LfsPointer,
    TooLarge,
    Extension,
    Name,
    NotAFile,
}

impl Refusal {
    /// A pointer of Git LFS, as `git lfs pointer` writes it, in place of the content.
    fn of_content(bytes: &[u8]) -> Option<Self> {
        let pointer = bytes.len() < 1024 && bytes.starts_with(b"version https://git-lfs.github.com/spec/");
        pointer.then_some(Self::LfsPointer)
    }

    fn diagnostic(self, path: &str) -> Diagnostic {
        let (what, help) = match self {
            Self::Link => ("is a symbolic link", "put the file itself there; links are not followed"),
            Self::LinkOut => {
                ("is a symbolic link to a place outside", "put the file itself there; links are not followed")
            }
            Self::Submodule => {
                ("is a repository of its own", "check that repository by itself, or copy what belongs here")
            }
            Self::LfsPointer => (
                "is a pointer of Git LFS, not the file",
                "keep policy in Git itself, where a review can see it",
            ),
            Self::TooLarge => ("is larger than 16 MiB", "split it"),
            Self::Extension => {
                ("is not a `.yaml`, `.yml` or `.json` file", "name a directory, or such a file")
            }
            Self::Name => ("has a name that is not UTF-8", "rename it"),
            Self::NotAFile => ("is not a regular file", "put a regular file there"),
        };
        Diagnostic::error(REFUSED_FILE, format!("`{}` {what}", path.escape_debug())).help(help)
    }
}

/// What a file is to us, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Policy,
    Attachment,
}

impl Role {
    /// `None` for files that are none of our business.
    fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "yaml" | "yml" | "json" => Some(Self::Policy),
            "pem" | "crt" | "cer" | "jwks" => Some(Self::Attachment),
            _ => None,
        }
    }
}

/// Whether something below the directory that is read is hidden, or in a hidden directory. That the directory itself
/// is hidden does not count: it was asked for.
fn is_hidden(path: &str, root: &str) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.split('/').any(|segment| segment.starts_with('.'))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The place of a path among files, which are sorted.
fn at(files: &[SourceFile], path: &str) -> Option<usize> {
    files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()
}

/// `base/path` without `.` and `..`; `None` if it leaves the root or is absolute.
fn join(base: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\\') {
        return None;
    }
    let mut segments: Vec<&str> = base.split('/').filter(|s| !s.is_empty()).collect();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            name => segments.push(name),
        }
    }
    Some(segments.join("/"))
}
