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
//!
//! # In tests of your own
//! A policy repository can be tested without this library: `weft test` runs its PolicyTests and compares its bodies with
//! those of last time. A Rust project that holds policy, or makes it, can do the same in its own tests: [`snapshot::of`]
//! gives the findings and the readable bodies as texts for any snapshot library, [`policy_test::run`] runs PolicyTests,
//! [`trace::Tracer`] decides single requests. `examples/snapshot.rs` prints what such a test would keep.
//!
//! ```
//! use weft::source::Sources;
//! use weft::trace::{Decision, Question, Tracer};
//!
//! let documents = "
//! apiVersion: weft.dev/v1alpha1
//! kind: Mesh
//! metadata: { name: shop }
//! spec: { trustDomain: shop.example }
//! ---
//! apiVersion: weft.dev/v1alpha1
//! kind: Service
//! metadata: { name: web }
//! spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart } ] }
//! ---
//! apiVersion: weft.dev/v1alpha1
//! kind: Service
//! metadata: { name: cart }
//! spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.1 } ] } }
//! ";
//! let mesh = weft::compile(&Sources::in_memory([("shop.yaml", documents)])).mesh;
//! let web = mesh.find("default", "web").ok_or("there is a web")?;
//! let request = Question::parse(web, [10, 0, 0, 2].into(), "GET http://cart/", &[])?;
//! // Nobody may call what no policy allows.
//! assert_eq!(Tracer::new(&mesh).trace(&request)?.decision, Decision::Deny);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod parallel;
pub mod source;
pub mod yaml;
pub mod diagnostic;
pub mod dialect;
pub mod cel;
pub mod model;
pub mod reach;
pub mod analysis;
pub mod findings;
pub mod progress;
pub mod junit;
pub mod lower;
pub mod trace;
pub mod graph;
pub mod policy_test;
pub mod snapshot;
pub mod emit;
pub mod publish;
pub mod schema;
pub mod cli;

use std::collections::BTreeSet;

use diagnostic::{Diagnostic, Severity, Summary};
pub use dialect::{Known, Parsed, Skipped};
use findings::{Checks, Judged, Waivers};
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
    /// Documents of other programs, in the order of the sources.
    pub skipped: Vec<Skipped>,
    /// The waivers that hold, for findings about changes (see [`analysis::unsafe_transition`]).
    pub waivers: Waivers,
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

/// Parses, resolves and analyses documents. `checks` says how findings count; `progress` is told how far it has come.
pub fn compile_with(sources: &Sources, checks: &Checks, progress: &dyn Progress) -> Compilation {
    compile_parsed(sources, dialect::parse_watched(sources, progress), checks, progress)
}

/// The same for documents that have been read, such as those of one of two revisions, which share what is equal
/// ([`dialect::parse_with`]).
pub fn compile_parsed(
    sources: &Sources,
    mut parsed: Parsed,
    checks: &Checks,
    progress: &dyn Progress,
) -> Compilation {
    let mut diagnostics = std::mem::take(&mut parsed.diagnostics);
    progress.begin(Stage::Resolving, 0);
    let (mesh, found) = model::resolve::resolve(sources, &mut parsed);
    // A name that is none is not also an unknown one: what was found while reading says it.
    let refused = [dialect::INVALID_NAME, dialect::NOT_SUPPORTED, yaml::INVALID_VALUE, yaml::TEMPLATE];
    let misread = diagnostics.iter().filter(|finding| refused.contains(&finding.analysis));
    let misread: BTreeSet<yaml::Span> = misread.filter_map(|finding| finding.span).collect();
    let follows = |finding: &Diagnostic| finding.span.is_some_and(|span| misread.contains(&span));
    diagnostics.extend(found.into_iter().filter(|finding| !follows(finding)));
    let broken = findings::levels::anything_broken(&diagnostics);
    diagnostics.extend(analysis::analyse_watched(&mesh, checks.today, progress));
    let diagnostics = without_echoes(diagnostics, broken);
    let Judged { diagnostics, waived, waivers } =
        findings::judge(diagnostics, &mesh, &parsed.documents, sources, checks);
    let mut summary =
        Summary::new(parsed.documents.len(), mesh.services.len(), parsed.skipped.len(), &diagnostics);
    summary.waived = waived;
    Compilation { mesh, diagnostics, summary, skipped: parsed.skipped, waivers }
}

/// What says that something is missing. Where documents are broken, something is.
const OF_ABSENCE: [&str; 7] = [
    "denied-by-default",
    "ineffective-access",
    "uncovered-service",
    "undeclared-host",
    "unknown-principal",
    "unreachable-service",
    "unused-object",
];

/// Findings without those that may only echo what is broken, or say of two things of one name that they share it.
fn without_echoes(mut found: Vec<Diagnostic>, broken: bool) -> Vec<Diagnostic> {
    let twice = found.iter().filter(|finding| finding.analysis == "duplicate-object");
    let twice: BTreeSet<_> = twice.map(|finding| (finding.object.clone(), finding.span)).collect();
    found.retain(|finding| {
        let absent = broken && OF_ABSENCE.contains(&finding.analysis);
        let shared = finding.analysis == "conflicting-hosts"
            && twice.contains(&(finding.object.clone(), finding.span));
        !absent && !shared
    });
    found
}

#[cfg(test)]
mod tests;
