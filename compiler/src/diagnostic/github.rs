//! Diagnostics as GitHub's workflow commands, which become annotations on the changed lines of a pull request.
//!
//! `::error file=…,line=…,endLine=…,col=…,endColumn=…,title=…::message`. GitHub shows columns only within one line, and
//! ten annotations of each level per step: findings are in order of file and line, so the same ten every time.

use std::fmt::Write as _;

use super::human::harmless;
use super::position::Positions;
use super::report::{Report, at_length};
use super::{Diagnostic, Severity};

/// A line for each finding; empty if there are none.
pub fn render(report: &Report<'_>) -> String {
    let mut positions = Positions::new(report.sources);
    let mut output = String::new();
    for diagnostic in report.diagnostics {
        command(&mut output, diagnostic, report, &mut positions);
    }
    output
}

fn command(output: &mut String, diagnostic: &Diagnostic, report: &Report<'_>, positions: &mut Positions<'_>) {
    output.push_str(match diagnostic.severity {
        Severity::Error => "::error ",
        Severity::Warning => "::warning ",
        Severity::Note => "::notice ",
    });
    if let Some(span) = diagnostic.span {
        let range = positions.range(span);
        let (start, end) = (range.start, range.end);
        let _ = write!(output, "file={},line={}", property(report.sources.path(span.file)), start.line);
        let _ = write!(output, ",endLine={},", end.line);
        if start.line == end.line {
            let _ = write!(output, "col={},endColumn={},", start.column, end.column);
        }
    }
    let _ = writeln!(output, "title={}::{}", property(diagnostic.analysis), message(&at_length(diagnostic)));
}

/// As `@actions/core` escapes what stands behind `::`.
fn message(text: &str) -> String {
    harmless(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As `@actions/core` escapes the value of a property.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}
