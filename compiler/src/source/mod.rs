//! Where documents come from: a directory, or a Git tree at a revision.
