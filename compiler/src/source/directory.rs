//! The files of a directory, as they stand.

use std::path::PathBuf;

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
