//! # What it finds
//! A repository without a document of kind `Mesh`.
//!
//! # Why it matters
//! The Mesh names the trust domain, the trust anchors and the defaults. Without it there are no identities, so nothing can
//! be built; everything else is still checked.
//!
//! # Example
//! A directory with routes and services only, or `weft check` in the wrong directory.
//!
//! # Fix
//! ```yaml
//! apiVersion: weft.dev/v1alpha1
//! kind: Mesh
//! metadata: { name: prod }
//! spec: { trustDomain: prod.example, trustAnchors: [ { file: ca/root.pem } ] }
//! ```
//!
//! # References
//! `weft init` makes a repository that has one.
