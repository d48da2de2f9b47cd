//! Runs PolicyTests: what must hold, asked of the engine that proxies run.
//!
//! ```text
//! cases       request → Tracer → what happens      compared with what is expected
//! invariants  peers × access rules → reach         is there a request that gets through? then the engine confirms it
//! ```
//!
//! Nothing is decided here: cases go through [`Tracer`]; an invariant is a question to the reachability core, and what
//! that finds is sent through [`weft_bundle::engine`] before it is shown. An invariant that cannot be decided within the
//! core's limits fails and says so.
//!
//! [`bodies`] compares readable bodies with those kept from last time, [`Coverage`] says which rules no case reached.

pub mod bodies;
mod case;
mod condition;
mod coverage;
mod invariant;
pub mod output;
mod peers;
mod question;
#[cfg(test)]
mod tests;

use weft_bundle::body::Origin;
use weft_bundle::engine::BuildError;

pub use self::coverage::{Coverage, RuleKind};
use crate::diagnostic::Diagnostic;
use crate::model::{At, Mesh};
use crate::reach::ration;
use crate::trace::Tracer;

/// What became of all tests.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of their documents, cases before invariants.
    pub outcomes: Vec<Outcome>,
    /// Which rules the cases reached.
    pub coverage: Coverage,
}

/// What became of one test.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What kind of test it is.
    pub kind: TestKind,
    /// Where it is written; the origin's rule is its name.
    pub origin: Origin,
    /// What did not hold; none if it passed.
    pub failures: Vec<Diagnostic>,
}

/// A kind of test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestKind {
    /// One request.
    Case,
    /// All requests.
    Invariant,
    /// A readable body, compared with the one that was kept.
    Body,
}

impl TestKind {
    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Invariant => "invariant",
            Self::Body => "body",
        }
    }
}

impl Outcome {
    /// The name of the test.
    pub fn name(&self) -> &str {
        self.origin.rule.as_deref().unwrap_or_default()
    }

    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Runs the tests whose name, or whose document's, contains `filter`; all if it is empty.
///
/// # Errors
/// When a body cannot be loaded, which is a fault of the compiler.
pub fn run(mesh: &Mesh, filter: &str) -> Result<Report, BuildError> {
    let mut tracer = Tracer::new(mesh);
    let mut coverage = Coverage::of(mesh);
    let mut outcomes = Vec::new();
    let wanted = |at: &At| {
        at.origin.object.contains(filter)
            || at.origin.rule.as_deref().is_some_and(|name| name.contains(filter))
    };
    let invariants = mesh.tests.iter().flat_map(|test| &test.invariants);
    let invariants: Vec<_> = invariants.filter(|invariant| wanted(&invariant.at)).collect();
    let mut failures = ration::one_by_one(&invariants, |invariant, budget| {
        invariant::check(mesh, &mut tracer, invariant, budget)
    })?
    .into_iter();
    for test in &mesh.tests {
        for case in test.cases.iter().filter(|case| wanted(&case.at)) {
            let trace = tracer.trace(&case.question)?;
            coverage.reach(&trace);
            let failures = case::check(mesh, case, &trace);
            outcomes.push(Outcome { kind: TestKind::Case, origin: case.at.origin.clone(), failures });
        }
        for invariant in test.invariants.iter().filter(|invariant| wanted(&invariant.at)) {
            let failures = failures.next().unwrap_or_default();
            let origin = invariant.at.origin.clone();
            outcomes.push(Outcome { kind: TestKind::Invariant, origin, failures });
        }
    }
    Ok(Report { outcomes, coverage })
}
