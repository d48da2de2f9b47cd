//! Compiles mesh policy documents into signed bundles, one per service.
//!
//! Invariants:
//! * The output type of a step is the only input of the next: [`source`] → [`dialect`] (parse) → [`model`] (resolve)
//!   → [`analysis`] → [`lower`] → [`emit`].
//! * A step yields what it could make *and* what was wrong; a broken document does not silence the others.
//! * The library reads no clock and no environment; files, keys and time are passed in by [`cli`].
//! * Same commit, same bytes: nothing here depends on the order of a hash map, a thread or a directory listing.
//!
//! What is found counts as [`findings`] say: levels, waivers, a baseline, a comparison with a base.
//!
//! [`compile`] is the whole path up to the model and its findings; [`emit::emit`] makes bodies of the model.

pub(crate) mod parallel;
pub mod source;
pub mod yaml;
pub mod diagnostic;
pub mod dialect;
pub mod model;
pub mod reach;
pub mod analysis;
pub mod findings;
pub mod progress;
pub mod junit;
pub mod lower;
pub mod trace;
pub mod emit;
pub mod publish;
pub mod schema;
pub mod cli;

use std::collections::BTreeSet;

use diagnostic::{Diagnostic, Severity, Summary};
use dialect::Parsed;
use findings::{Checks, Judged};
use model::Mesh;
use progress::{Progress, Silent, Stage};
use source::Sources;

/// What documents come to.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// The mesh; holes where something could not be bound. Not to be built from while there are errors.
    pub mesh: Mesh,
    /// Everything that was found, by file and position.
    pub diagnostics: Vec<Diagnostic>,
    /// The counts.
    pub summary: Summary,
}

impl Compilation {
    /// Whether anything was found at error level.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Parses, resolves and analyses documents, with nothing said beside them.
pub fn compile(sources: &Sources) -> Compilation {
    compile_with(sources, &Checks::default(), &Silent)
}

/// Parses, resolves and analyses documents. `checks` says how findings count, `progress` is told how far it has come.
pub fn compile_with(sources: &Sources, checks: &Checks, progress: &dyn Progress) -> Compilation {
    let files = dialect::parse_files(sources, None, progress);
    compile_parsed(sources, files.join(sources), checks, progress)
}

/// Compiles two states of one repository. What both hold alike is parsed once; for that, their files are
/// [aligned](Sources::align), so spans hold for the sources as they are afterwards.
pub fn compile_both(
    base: &mut Sources,
    head: &mut Sources,
    checks: &Checks,
    progress: &dyn Progress,
) -> (Compilation, Compilation) {
    base.align(head);
    let new = dialect::parse_files(head, None, progress);
    let old = dialect::parse_files(base, Some((head, &new)), progress);
    let old = compile_parsed(base, old.join(base), checks, progress);
    (old, compile_parsed(head, new.join(head), checks, progress))
}

/// Resolves and analyses what was parsed.
fn compile_parsed(
    sources: &Sources,
    mut parsed: Parsed,
    checks: &Checks,
    progress: &dyn Progress,
) -> Compilation {
    let mut diagnostics = std::mem::take(&mut parsed.diagnostics);
    progress.begin(Stage::Resolving, 0);
    let (mesh, found) = model::resolve::resolve(sources, &parsed);
    // A name that is none is not also an unknown one: what was found while reading says it.
    let refused = [dialect::INVALID_NAME, dialect::NOT_SUPPORTED, yaml::INVALID_VALUE, yaml::TEMPLATE];
    let misread = diagnostics.iter().filter(|finding| refused.contains(&finding.analysis));
    let misread: BTreeSet<yaml::Span> = misread.filter_map(|finding| finding.span).collect();
    let follows = |finding: &Diagnostic| finding.span.is_some_and(|span| misread.contains(&span));
    diagnostics.extend(found.into_iter().filter(|finding| !follows(finding)));
    diagnostics.extend(analysis::analyse_watched(&mesh, progress));
    let Judged { diagnostics, waived } =
        findings::judge(diagnostics, &mesh, &parsed.documents, sources, checks);
    let mut summary = Summary::new(parsed.documents.len(), mesh.services.len(), parsed.skipped, &diagnostics);
    summary.waived = waived;
    Compilation { mesh, diagnostics, summary }
}

#[cfg(test)]
mod tests;
