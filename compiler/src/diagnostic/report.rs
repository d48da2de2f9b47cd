//! What a renderer for machines is given: findings, counts, and what a change does to them.

use super::{Diagnostic, Summary};
use crate::source::Sources;

/// Findings with everything that is needed to show them.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What to show, in order. With a base: only what the change introduces.
    pub diagnostics: &'a [Diagnostic],
    /// What their spans point into.
    pub sources: &'a Sources,
    /// The counts of `diagnostics`.
    pub summary: &'a Summary,
    /// What else the change does; none where nothing is compared.
    pub change: Option<Change<'a>>,
}

/// What a change does besides introducing findings.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The commit it is compared with, in hex.
    pub base: &'a str,
    /// Findings that only the base has.
    pub fixed: &'a [Diagnostic],
    /// What the spans of `fixed` point into.
    pub base_sources: &'a Sources,
    /// Findings that both have, with spans into the sources of the report.
    pub unchanged: &'a [Diagnostic],
}

impl<'a> Report<'a> {
    /// Findings that are compared with nothing.
    pub fn new(diagnostics: &'a [Diagnostic], sources: &'a Sources, summary: &'a Summary) -> Self {
        Self { diagnostics, sources, summary, change: None }
    }
}

/// The message, then reasons and remedies, a line each.
pub(super) fn at_length(diagnostic: &Diagnostic) -> String {
    let object = diagnostic.object.iter().filter(|object| !diagnostic.message.contains(object.as_str()));
    let lines = std::iter::once(diagnostic.message.clone())
        .chain(object.map(|object| format!("in {object}")))
        .chain(diagnostic.notes.iter().map(|note| format!("note: {note}")))
        .chain(diagnostic.help.iter().map(|help| format!("help: {help}")));
    lines.collect::<Vec<_>>().join("\n")
}
