//! Levels: those that the caller sets, then those of the Mesh document, then each analysis' own.

use std::collections::BTreeMap;

use super::Checks;
use crate::analysis::{Level, Page};
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::Mesh;

/// How findings count, by the name of what finds them.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    /// Only names whose level may be changed.
    set: BTreeMap<String, Level>,
    deny_warnings: bool,
}

impl Levels {
    /// The levels of a mesh, as the caller overrides them.
    pub fn new(mesh: &Mesh, checks: &Checks) -> Self {
        let set = mesh.levels.iter().chain(&checks.levels).filter(|(name, _)| is_adjustable(name));
        Self {
            set: set.map(|(name, level)| (name.clone(), *level)).collect(),
            deny_warnings: checks.deny_warnings,
        }
    }

    /// The level of an analysis.
    pub fn of(&self, analysis: &str) -> Level {
        let own = || Page::find(analysis).map_or(Level::Error, |page| page.level);
        self.set.get(analysis).copied().unwrap_or_else(own)
    }

    /// A finding at its level; none if that is `off`. An analysis that says "unknown" has already lowered its own
    /// severity, which a level never raises.
    pub fn apply(&self, mut diagnostic: Diagnostic) -> Option<Diagnostic> {
        let page = Page::find(diagnostic.analysis);
        if let Some(level) = self.set.get(diagnostic.analysis) {
            let wanted = level.severity()?;
            diagnostic.severity = match page.and_then(|page| page.level.severity()) {
                Some(own) if own != diagnostic.severity => diagnostic.severity.max(wanted),
                Some(_) | None => wanted,
            };
        } else if page.is_some_and(|page| page.level == Level::Off) {
            return None;
        }
        if self.deny_warnings && diagnostic.severity == Severity::Warning {
            diagnostic.severity = Severity::Error;
        }
        Some(diagnostic)
    }
}

/// Whether the level of what finds this may be changed.
pub(super) fn is_adjustable(analysis: &str) -> bool {
    Page::find(analysis).is_some_and(|page| page.adjustable)
}

/// Whether some finding is of the kind that nothing can be built from. Then much else was not looked at, and that
/// something is not found says little.
pub(crate) fn anything_broken<'d>(found: impl IntoIterator<Item = &'d Diagnostic>) -> bool {
    found.into_iter().any(|finding| finding.severity == Severity::Error && !is_adjustable(finding.analysis))
}
