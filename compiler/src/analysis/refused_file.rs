//! # What it finds
//! A file that is not read: a symbolic link, a submodule, a Git LFS pointer, a file over the size limit.
//!
//! # Why it matters
//! What stands behind a link can change without a commit, or lie outside the repository. Skipping the file silently could
//! skip policy.
//!
//! # Example
//! `policy/access.yaml -> ../../secrets/access.yaml`
//!
//! # Fix
//! Commit the file itself.
//!
//! # References
//! Git, modes 120000 (links) and 160000 (submodules).
