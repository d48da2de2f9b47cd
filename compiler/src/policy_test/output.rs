//! A report for people, for machines, and for build servers. The shapes are promises; fields are only ever added.

use serde_json::{Value, json};

use super::{Outcome, Report, RuleKind};
use crate::diagnostic::human::{self, Style};
use crate::diagnostic::{self, Diagnostic};
use crate::junit::{Case, Failure, Run, Suite};
use crate::source::Sources;

/// A line for each test below its document. Findings have their own renderer.
pub fn human(report: &Report) -> String {
    let mut text = String::new();
    for (object, outcomes) in by_object(report) {
        text += &format!("{object}\n");
        for outcome in outcomes {
            let word = if outcome.passed() { "ok" } else { "FAILED" };
            text += &format!("  {word:<6}  {}\n", outcome.name());
        }
    }
    text
}

/// `12 passed, 1 failed`.
pub fn summary(report: &Report) -> String {
    let passed = report.outcomes.iter().filter(|outcome| outcome.passed()).count();
    match report.outcomes.len() - passed {
        0 => format!("{passed} passed"),
        failed => format!("{passed} passed, {failed} failed"),
    }
}

/// What the cases reached, and where the rest is.
pub fn coverage(report: &Report) -> String {
    let coverage = &report.coverage;
    let ((routes, of_routes), (access, of_access)) =
        (coverage.count(RuleKind::Route), coverage.count(RuleKind::Access));
    let mut text = format!(
        "cases reach {} % of the rules: {routes} of {of_routes} route rules, {access} of {of_access} access rules\n",
        coverage.per_cent()
    );
    for (_, origin) in coverage.unreached() {
        text += &format!("  no case reaches {origin}\n");
    }
    text
}

/// Everything that failed, in order.
pub fn failures(report: &Report) -> Vec<Diagnostic> {
    report.outcomes.iter().flat_map(|outcome| &outcome.failures).cloned().collect()
}

/// One JSON object, indented, with a line break at the end.
///
/// ```json
/// { "tests": [ { "kind": "case", "object": "PolicyTest shop/cart", "name": "testers see version two",
///                "file": "tests.yaml", "line": 6, "passed": false, "failures": [ … ] } ],
///   "coverage": { "per_cent": 50, "routes": { "reached": 1, "rules": 2 }, "access": { "reached": 0, "rules": 0 },
///                 "unreached": [ { "kind": "route", "object": "…", "rule": "…", "file": "…", "line": 1 } ] },
///   "summary": { "tests": 1, "passed": 0, "failed": 1 } }
/// ```
///
/// `kind` is `case`, `invariant` or `body`; failures have the shape of findings in `weft check --format json`.
pub fn json(report: &Report, sources: &Sources) -> String {
    let coverage = &report.coverage;
    let count = |kind| {
        let (reached, rules) = coverage.count(kind);
        json!({ "reached": reached, "rules": rules })
    };
    let unreached: Vec<Value> = coverage
        .unreached()
        .map(|(kind, origin)| {
            json!({
                "kind": kind.as_str(),
                "object": origin.object,
                "rule": origin.rule,
                "file": origin.file,
                "line": origin.line,
            })
        })
        .collect();
    let tests: Vec<Value> = report.outcomes.iter().map(|outcome| test(outcome, sources)).collect();
    let passed = report.outcomes.iter().filter(|outcome| outcome.passed()).count();
    let value = json!({
        "tests": tests,
        "coverage": {
            "per_cent": coverage.per_cent(),
            "routes": count(RuleKind::Route),
            "access": count(RuleKind::Access),
            "unreached": unreached,
        },
        "summary": {
            "tests": report.outcomes.len(),
            "passed": passed,
            "failed": report.outcomes.len() - passed,
        },
    });
    format!("{value:#}\n")
}

fn test(outcome: &Outcome, sources: &Sources) -> Value {
    json!({
        "kind": outcome.kind.as_str(),
        "object": outcome.origin.object,
        "name": outcome.name(),
        "file": outcome.origin.file,
        "line": outcome.origin.line,
        "passed": outcome.passed(),
        "failures": diagnostic::json::list(&outcome.failures, sources),
    })
}

/// JUnit's XML: a suite for each document.
pub fn junit(report: &Report, sources: &Sources) -> String {
    let suites = by_object(report).into_iter().map(|(object, outcomes)| Suite {
        name: object.to_owned(),
        cases: outcomes.into_iter().map(|outcome| case(outcome, sources)).collect(),
    });
    Run { name: "weft test".to_owned(), suites: suites.collect() }.render()
}

fn case(outcome: &Outcome, sources: &Sources) -> Case {
    let failure = |finding: &Diagnostic| Failure {
        kind: finding.analysis.to_owned(),
        message: finding.message.clone(),
        text: human::render(std::slice::from_ref(finding), sources, Style::Plain).trim_end().to_owned(),
    };
    // Readers show one failure of a case; the others follow in its text.
    let failure = outcome
        .failures
        .iter()
        .map(failure)
        .reduce(|first, next| Failure { text: format!("{}\n\n{}", first.text, next.text), ..first });
    Case {
        name: outcome.name().to_owned(),
        class: outcome.origin.object.clone(),
        file: Some(outcome.origin.file.clone()),
        line: Some(outcome.origin.line),
        failure,
        output: None,
    }
}

/// The outcomes of each document; those of a document stand together.
fn by_object(report: &Report) -> Vec<(&str, Vec<&Outcome>)> {
    let mut groups: Vec<(&str, Vec<&Outcome>)> = Vec::new();
    for outcome in &report.outcomes {
        let object = match outcome.kind {
            super::TestKind::Body => "bodies",
            super::TestKind::Case | super::TestKind::Invariant => outcome.origin.object.as_str(),
        };
        match groups.last_mut() {
            Some((last, outcomes)) if *last == object => outcomes.push(outcome),
            _ => groups.push((object, vec![outcome])),
        }
    }
    groups
}
