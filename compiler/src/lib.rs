//! Compiles mesh policy documents into signed bundles, one per service.
//!
//! Invariants:
//! * The output type of a step is the only input of the next: [`source`] → [`dialect`] (parse) → [`model`] (resolve)
//!   → [`analysis`] → [`lower`] → [`emit`].
//! * A step yields what it could make *and* what was wrong; a broken document does not silence the others.
//! * The library reads no clock and no environment; files, keys and time are passed in by [`cli`].
//! * Same commit, same bytes: nothing here depends on the order of a hash map, a thread or a directory listing.
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
pub mod lower;
pub mod trace;
pub mod emit;
pub mod publish;
pub mod schema;
pub mod cli;

use std::collections::BTreeSet;

use diagnostic::{Diagnostic, Severity, Summary};
pub use dialect::Known;
use model::Mesh;
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

/// Parses, resolves and analyses documents.
pub fn compile(sources: &Sources) -> Compilation {
    compile_knowing(sources, &mut Known::default())
}

/// The same for one revision after another: files that are the same in both are read once. See
/// [`source::Sources::align`].
pub fn compile_knowing(sources: &Sources, known: &mut Known) -> Compilation {
    let mut parsed = dialect::parse_knowing(sources, known);
    let mut diagnostics = std::mem::take(&mut parsed.diagnostics);
    let (mesh, found) = model::resolve::resolve(sources, &parsed);
    // A name that is none is not also an unknown one: what was found while reading says it.
    let refused = [dialect::INVALID_NAME, dialect::NOT_SUPPORTED, yaml::INVALID_VALUE, yaml::TEMPLATE];
    let misread = diagnostics.iter().filter(|finding| refused.contains(&finding.analysis));
    let misread: BTreeSet<yaml::Span> = misread.filter_map(|finding| finding.span).collect();
    let follows = |finding: &Diagnostic| finding.span.is_some_and(|span| misread.contains(&span));
    diagnostics.extend(found.into_iter().filter(|finding| !follows(finding)));
    diagnostics.extend(analysis::analyse(&mesh));
    let mut diagnostics = analysis::at_levels(&mesh, diagnostics);
    diagnostic::sort(&mut diagnostics);
    let summary = Summary::new(parsed.documents.len(), mesh.services.len(), parsed.skipped, &diagnostics);
    Compilation { mesh, diagnostics, summary }
}

#[cfg(test)]
mod tests;
