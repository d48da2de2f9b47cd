//! Documents in, rendered findings out: source and output in one snapshot.

use super::{Kind, Parsed, parse};
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
#[expect(dead_code)]
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
    if parsed.skipped > 0 {
        lines.push(format!("skipped {}\n", parsed.skipped));
    }
    lines.concat()
}

#[test]
fn the_canary_of_the_istio_documentation_reads_as_it_stands() {
    let parsed = parse(&sources(include_str!("../../../fixtures/istio-canary/policy.yaml")));
    assert_eq!(parsed.diagnostics, []);
    let [virtual_service, destination_rule] = parsed.documents.as_slice() else { panic!("two documents") };
    let Kind::VirtualService(spec) = &virtual_service.spec else { panic!("a VirtualService") };
    let weights: Vec<_> = spec.http[0].route.iter().map(|d| d.weight.unwrap().value).collect();
    assert_eq!(weights, [90, 10]);
    let Kind::DestinationRule(spec) = &destination_rule.spec else { panic!("a DestinationRule") };
    assert_eq!(spec.subsets[1].labels["version"], "v2");
    assert_eq!(destination_rule.namespace(), "default");
}
