//! Diagnostics as JUnit XML: a suite for each analysis, a case for each finding.
//!
//! An analysis that finds nothing is one case that passes, so that a clean repository has a report and the history of
//! each analysis can be seen. Only errors fail; warnings and notes are cases that pass and have something to say, so that
//! the report is red exactly when the exit code is.

use super::human::harmless;
use super::position::Positions;
use super::report::{Report, at_length};
use super::{Diagnostic, Severity};
use crate::analysis::PAGES;
use crate::junit::{Case, Failure, Run, Suite};

/// The XML document, with a line break at the end.
pub fn render(report: &Report<'_>) -> String {
    let mut positions = Positions::new(report.sources);
    let suites = PAGES.iter().map(|page| {
        let found = report.diagnostics.iter().filter(|finding| finding.analysis == page.name);
        let mut cases: Vec<Case> = found.map(|finding| case(finding, report, &mut positions)).collect();
        if cases.is_empty() {
            cases.push(Case {
                name: page.summary.to_owned(),
                class: page.name.to_owned(),
                ..Case::default()
            });
        }
        Suite { name: page.name.to_owned(), cases }
    });
    Run { name: "weft check".to_owned(), suites: suites.collect() }.render()
}

fn case(diagnostic: &Diagnostic, report: &Report<'_>, positions: &mut Positions<'_>) -> Case {
    let file = diagnostic.span.map(|span| report.sources.path(span.file).to_owned());
    let line = diagnostic.span.map(|span| positions.line(span));
    let place = file.as_ref().zip(line).map(|(file, line)| format!("{file}:{line}\n")).unwrap_or_default();
    let text = harmless(&format!("{place}{}", at_length(diagnostic))).into_owned();
    let message = harmless(&diagnostic.message).into_owned();
    let about = diagnostic.object.clone().or_else(|| file.clone());
    let case = Case {
        name: about.map_or_else(|| message.clone(), |about| format!("{}: {message}", harmless(&about))),
        class: diagnostic.analysis.to_owned(),
        file,
        line,
        ..Case::default()
    };
    match diagnostic.severity {
        Severity::Error => {
            Case { failure: Some(Failure { kind: "error".to_owned(), message, text }), ..case }
        }
        Severity::Warning | Severity::Note => {
            Case { output: Some(format!("{}: {text}", diagnostic.severity)), ..case }
        }
    }
}
