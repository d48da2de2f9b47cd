//! What becomes of findings once they are made: levels, waivers, a baseline, a comparison with a base.
//!
//! ```text
//! found ── waivers in documents ──> kept ── levels ──> shown ── baseline ──> left ── base ──> introduced
//!              └─ counted                      └─ off: gone          └─ counted        └─ unchanged, fixed
//! ```
//!
//! Nothing here reads a clock or a file: [`Checks`] carries the day, and baselines are texts. A finding keeps its
//! [`Fingerprint`] when lines move, which is how a baseline and a base know it again.

pub mod baseline;
pub mod comparison;
pub mod fingerprint;
pub mod levels;
pub mod waiver;

use std::sync::Arc;

use std::collections::BTreeMap;

use time::Date;

pub use self::baseline::{Baseline, BaselineError};
pub use self::comparison::{Comparison, compare};
pub use self::fingerprint::Fingerprint;
pub use self::levels::Levels;
pub use self::waiver::Waivers;
use crate::analysis::Level;
use crate::diagnostic::{self, Diagnostic};
use crate::dialect::ParsedDocument;
use crate::model::Mesh;
use crate::source::Sources;

/// What the caller of a check says beside the documents.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// Levels by name, before those of the Mesh document. Names whose level is fixed have no effect here.
    pub levels: BTreeMap<String, Level>,
    /// Whether warnings count as errors.
    pub deny_warnings: bool,
    /// The day on which waivers are judged; without one, none has expired.
    pub today: Option<Date>,
}

/// Findings as they count.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Those to show, sorted.
    pub diagnostics: Vec<Diagnostic>,
    /// How many were waived that would have been shown.
    pub waived: usize,
    /// The waivers that hold.
    pub waivers: Waivers,
}

/// Findings of every step, without those that are waived or off, at their levels; and what is wrong with waivers.
pub fn judge(
    found: Vec<Diagnostic>,
    mesh: &Mesh,
    documents: &[Arc<ParsedDocument>],
    sources: &Sources,
    checks: &Checks,
) -> Judged {
    let levels = Levels::new(mesh, checks);
    let waived = waiver::apply(found, documents, sources, &levels, checks.today);
    let mut diagnostics: Vec<_> =
        waived.kept.into_iter().filter_map(|finding| levels.apply(finding)).collect();
    diagnostic::sort(&mut diagnostics);
    Judged {
        diagnostics,
        waived: waived.waived.into_iter().filter_map(|finding| levels.apply(finding)).count(),
        waivers: waived.waivers,
    }
}

#[cfg(test)]
mod tests;
