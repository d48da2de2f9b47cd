//! Diagnostics for machines: one object with a list and a summary. The shape is a promise; fields are only ever added.
//!
//! Lines and columns count from 1, columns in characters; the end is the place after the last character. What has no
//! place has `null` there. With a base, `diagnostics` and the counts are about what the change introduces, `fixed` lists
//! what it mends at its places in the base, and `base` says what was compared.

use serde::Serialize;

use super::position::Positions;
use super::report::Report;
use super::{Diagnostic, Fix, Related, Safety};
use crate::source::Sources;
use crate::yaml::Span;

/// The report as indented JSON with a line break at the end.
pub fn render(report: &Report<'_>) -> String {
    let summary = report.summary;
    let output = Output {
        diagnostics: findings(report.diagnostics, report.sources),
        fixed: report.change.map(|change| findings(change.fixed, change.base_sources)),
        base: report.change.map(|change| Base {
            commit: change.base,
            introduced: report.diagnostics.len(),
            fixed: change.fixed.len(),
            unchanged: change.unchanged.len(),
        }),
        summary: Counts {
            documents: summary.documents,
            services: summary.services,
            errors: summary.errors,
            warnings: summary.warnings,
            notes: summary.notes,
            skipped: summary.skipped,
            waived: summary.waived,
            baselined: summary.baselined,
        },
    };
    let mut text = serde_json::to_string_pretty(&output).expect("strings and numbers always serialise");
    text.push('\n');
    text
}

fn findings<'a>(diagnostics: &'a [Diagnostic], sources: &'a Sources) -> Vec<Finding<'a>> {
    let mut positions = Positions::new(sources);
    diagnostics.iter().map(|diagnostic| Finding::new(diagnostic, sources, &mut positions)).collect()
}

/// The list alone, each finding as in [`render`].
pub(crate) fn list(diagnostics: &[Diagnostic], sources: &Sources) -> Vec<serde_json::Value> {
    let findings = findings(diagnostics, sources).into_iter();
    findings.map(|finding| serde_json::to_value(finding).unwrap_or_default()).collect()
}

#[derive(Serialize)]
struct Output<'a> {
    diagnostics: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed: Option<Vec<Finding<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Base<'a>>,
    summary: Counts,
}

/// What the findings were compared with, and how many there are of each sort.
#[derive(Serialize)]
struct Base<'a> {
    commit: &'a str,
    introduced: usize,
    fixed: usize,
    unchanged: usize,
}

#[derive(Serialize)]
struct Finding<'a> {
    analysis: &'static str,
    severity: &'static str,
    message: &'a str,
    object: Option<&'a str>,
    #[serde(flatten)]
    place: Place<'a>,
    related: Vec<OtherPlace<'a>>,
    /// Remedies, then reasons, a line each.
    help: Option<String>,
    fix: Option<Mend<'a>>,
}

#[derive(Serialize, Default)]
struct Place<'a> {
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    end_line: Option<u32>,
    end_column: Option<u32>,
}

#[derive(Serialize)]
struct OtherPlace<'a> {
    message: &'a str,
    #[serde(flatten)]
    place: Place<'a>,
}

#[derive(Serialize)]
struct Mend<'a> {
    message: &'a str,
    safety: &'static str,
    edits: Vec<Replacement<'a>>,
}

#[derive(Serialize)]
struct Replacement<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    replacement: &'a str,
}

#[derive(Serialize)]
struct Counts {
    documents: usize,
    services: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
    skipped: usize,
    waived: usize,
    baselined: usize,
}

impl<'a> Finding<'a> {
    fn new(diagnostic: &'a Diagnostic, sources: &'a Sources, positions: &mut Positions<'_>) -> Self {
        let remarks: Vec<&str> =
            diagnostic.help.iter().chain(&diagnostic.notes).map(String::as_str).collect();
        Self {
            analysis: diagnostic.analysis,
            severity: diagnostic.severity.as_str(),
            message: &diagnostic.message,
            object: diagnostic.object.as_deref(),
            place: diagnostic.span.map_or_else(Place::default, |span| Place::new(span, sources, positions)),
            related: diagnostic.related.iter().map(|r| OtherPlace::new(r, sources, positions)).collect(),
            help: (!remarks.is_empty()).then(|| remarks.join("\n")),
            fix: diagnostic.fix.as_ref().map(|fix| Mend::new(fix, sources, positions)),
        }
    }
}

impl<'a> Place<'a> {
    fn new(span: Span, sources: &'a Sources, positions: &mut Positions<'_>) -> Self {
        let range = positions.range(span);
        Self {
            file: Some(sources.path(span.file)),
            line: Some(range.start.line),
            column: Some(range.start.column),
            end_line: Some(range.end.line),
            end_column: Some(range.end.column),
        }
    }
}

impl<'a> OtherPlace<'a> {
    fn new(related: &'a Related, sources: &'a Sources, positions: &mut Positions<'_>) -> Self {
        Self { message: &related.message, place: Place::new(related.span, sources, positions) }
    }
}

impl<'a> Mend<'a> {
    fn new(fix: &'a Fix, sources: &'a Sources, positions: &mut Positions<'_>) -> Self {
        let edits = fix.edits.iter().map(|edit| Replacement {
            place: Place::new(edit.span, sources, positions),
            replacement: &edit.replacement,
        });
        Self {
            message: &fix.message,
            safety: match fix.safety {
                Safety::Safe => "safe",
                Safety::Unsafe => "unsafe",
            },
            edits: edits.collect(),
        }
    }
}
