//! Signed releases: envelopes, keys, proofs, and the order in which a proxy checks them.
