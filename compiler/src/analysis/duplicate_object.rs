//! # What it finds
//! Two documents of one kind, namespace and name; a subset that two documents declare for one service; a second Mesh. A patch
//! that a `kustomization.yaml` lists is no document of its own, and left alone.
//!
//! # Why it matters
//! In a cluster the second would overwrite the first. In a repository nothing says which one is meant, and the order of
//! files must never decide.
//!
//! # Example
//! ```yaml
//! kind: Service
//! metadata: { name: reviews }
//! ---
//! kind: Service
//! metadata: { name: reviews }      # is there twice
//! ```
//!
//! # Fix
//! Rename one, merge them, or remove the copy. A document without a namespace belongs to `default`.
//!
//! # References
//! Kubernetes, object names and UIDs.
