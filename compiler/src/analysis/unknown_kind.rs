//! # What it finds
//! A kind of a group that Weft reads (`weft.dev`, `gateway.networking.k8s.io`, `networking.istio.io`,
//! `security.istio.io`, …) that it does not know, or not yet. Kinds of other groups are skipped and counted.
//!
//! # Why it matters
//! Skipping a policy of a supported group would silently change what the mesh does.
//!
//! # Example
//! ```yaml
//! apiVersion: networking.istio.io/v1alpha3
//! kind: EnvoyFilter                    # raw patches for another proxy
//! ```
//!
//! # Fix
//! Correct the kind, express it with kinds that are supported, or move the document out of the policy directory.
//!
//! # References
//! `weft schema` lists the Weft kinds; the README says which others are read.
