//! What a change does to findings: which it introduces, which it mends.
//!
//! Findings are known again by their [`Fingerprint`], so what only moved is unchanged. Of several with one fingerprint,
//! the first are the old ones.

use super::fingerprint::{Fingerprint, count, take};
use crate::diagnostic::Diagnostic;
use crate::source::Sources;

/// The findings of a base and of what is made of it.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Those that the base does not have, sorted as they came.
    pub introduced: Vec<Diagnostic>,
    /// Those that both have, at their present places.
    pub unchanged: Vec<Diagnostic>,
    /// Those that only the base has, at their places in the base.
    pub fixed: Vec<Diagnostic>,
}

/// Compares findings with those of a base.
pub fn compare(
    base: Vec<Diagnostic>,
    base_sources: &Sources,
    head: Vec<Diagnostic>,
    head_sources: &Sources,
) -> Comparison {
    let mut old = count(&base, base_sources);
    let mut new = count(&head, head_sources);
    let (unchanged, introduced) =
        head.into_iter().partition(|finding| take(&mut old, &Fingerprint::of(finding, head_sources)));
    let fixed =
        base.into_iter().filter(|finding| !take(&mut new, &Fingerprint::of(finding, base_sources))).collect();
    Comparison { introduced, unchanged, fixed }
}
