//! Documents in, rendered findings out: source and output in one snapshot.

use super::{Parsed, parse};
use crate::diagnostic::human::{self, Style};
use crate::source::Sources;

/// Files from one text: `=== path` begins a file; without one everything is `policy.yaml`.
fn sources(input: &str) -> Sources {
    if !input.starts_with("=== ") {
        return Sources::in_memory([("policy.yaml", input)]);
    }
    let files = input.split("=== ").skip(1).map(|part| {
        let (path, text) = part.split_once('\n').unwrap();
        (path.trim(), text)
    });
    Sources::in_memory(files)
}

/// The input, what was read, and what was found.
fn check(input: &str) -> String {
    let sources = sources(input);
    let parsed = parse(&sources);
    let findings = human::render(&parsed.diagnostics, &sources, Style::Plain);
    format!("{}\n-----\n{}-----\n{findings}", input.trim_end(), read(&parsed))
}

/// A line for each document.
fn read(parsed: &Parsed) -> String {
    let mut lines: Vec<String> =
        parsed.documents.iter().map(|document| format!("read {document}\n")).collect();
    if !parsed.skipped.is_empty() {
        lines.push(format!("skipped {}\n", parsed.skipped.len()));
    }
    lines.concat()
}

/// Snapshots the input together with what comes of it.
macro_rules! snapshot {
    ($input:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(super::check($input)) })
    };
}

mod broken;
mod gateway;
mod gateway_kinds;
mod identity;
mod istio;
mod istio_access;
mod istio_gateway;
mod kubernetes;
mod weft;
