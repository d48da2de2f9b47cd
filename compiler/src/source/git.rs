//! The files of a Git tree at a revision: blobs, not the work tree.

use std::path::{Path, PathBuf};

use super::SourceError;

/// A directory of a Git repository, at a revision.
#[derive(Clone, Debug)]
pub struct GitTree {
    directory: PathBuf,
    revision: String,
}

impl GitTree {
    /// What `directory`, somewhere inside a work tree, held at `revision` (anything `git rev-parse` understands).
    pub fn new(directory: impl Into<PathBuf>, revision: impl Into<String>) -> Self {
        Self { directory: directory.into(), revision: revision.into() }
    }
}

/// Whether commit `ancestor` is `descendant` or among its ancestors.
///
/// # Errors
/// When `git` cannot be asked, or does not know one of the two.
pub fn is_ancestor(repository: &Path, ancestor: &str, descendant: &str) -> Result<bool, SourceError> {
    let _ = (repository, ancestor, descendant);
    Err(SourceError::Protocol("not asked"))
}
