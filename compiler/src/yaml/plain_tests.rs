//! The quick reader against the full one: what it makes is the same, node for node and span for span.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{parse, plain};
use crate::source::FileId;

/// Whether the quick reader took it. What it took must be what the full one makes of it, without complaint.
fn agrees(text: &str) -> bool {
    let Some(quick) = plain::parse(FileId(3), text) else { return false };
    let full = parse::parse_fully(FileId(3), text.as_bytes());
    assert_eq!(full.diagnostics, [], "{text:?}");
    let (quick, full) = (format!("{:?}", quick.documents), format!("{:?}", full.documents));
    assert!(quick == full, "{text:?}\n{quick}\n{full}");
    true
}

#[test]
fn plain_documents_are_read_alike() {
    for text in [
        "",
        "\n\n",
        "# nothing\n",
        "---\n",
        "a: 1",
        "a: 1\n---\nb: 2\n",
        "---\na: 1\n---\n---\nb: 2\n---\n",
        "# first\n---\n# second\na: 1 # third\n# fourth\nb: 2\n# fifth\n---\n# sixth\nc: 3\n",
        "a:\n  b:\n    c: x\n  d: y\ne: z\n",
        "a:\n- b\n- c\nd:\n  - e\n  - f: g\n    h: i\n  - j:\n    - k\n",
        "a:\n-   b: 1\n    c: 2\n-   d: 3\n",
        "a: [ ]\nb: {}\nc: [ x, 'y', \"z\", { d: 1, e: [ 2 ] } ]\nf: { g: h, i: { j: k } }\n",
        "a: [x,y]\nb: [ 10.0.0.1, 127.0.0.1:80 ]\nc: [ a b , c ]\n",
        "a: http://x:80/y?z  \nb: \"#\" # c\nc: x#y\nd: -1\ne: (a|b)+\nf: '\"'\ng: \"\"\nh: ''\n",
        "- a: 1\n- b\n- [ c ]\n- 'd'\n",
        "a:\n  # between\n\n  b: 1\n\n\n  c: 2\n",
        "null: ~\ntrue: no\n1: 0x1F\n_a: .inf\nb.c/d-e: 1e3\n",
    ] {
        assert!(agrees(text), "not taken: {text:?}");
    }
}

#[test]
fn what_is_not_plain_is_left_to_the_full_reader() {
    for text in [
        "a:\n",
        "a: &x 1\n",
        "a: *x\n",
        "a: |\n  b\n",
        "a: >\n  b\n",
        "a: 'it''s'\n",
        "a: \"\\n\"\n",
        "a: b\n  c\n",
        "? a\n",
        "a: !x b\n",
        "a: é\n",
        "a:\tb\n",
        "%YAML 1.2\n---\na: 1\n",
        "a: 1\n...\n",
        "a: b: c\n",
        "a: [ b: c ]\n",
        "a: { b }\n",
        "a: [ b, ]\n",
        "a: [ b\n  ]\n",
        "a: x:\n",
        "- - a\n",
        "-\n",
        "a: 1\n  b: 2\n",
        "a:\n  b: 1\n c: 2\n",
        "a: 1\n- b\n",
        "text\n",
        "\"a\": 1\n",
        "<<: {}\n",
        "a: 'b' c\n",
        "a: [ b ] c\n",
        "a: @x\n",
        "--- a\n",
        "a: {b:c}\n",
    ] {
        assert!(!agrees(text), "taken: {text:?}");
    }
}

#[test]
fn repositories_are_read_alike_and_mostly_quickly() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut files: Vec<String> = Vec::new();
    let mut pending = vec![root.join("policy-examples"), root.join("fixtures")];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false if path.extension().is_some_and(|extension| extension == "yaml") => {
                    files.extend(std::fs::read_to_string(&path));
                }
                false => {}
            }
        }
    }
    let taken = files.iter().filter(|text| agrees(text)).count();
    assert!(taken * 2 > files.len(), "{taken} of {} are plain", files.len());
}

/// Lines that go well together, and some that do not.
fn lines() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "a: 1",
        "b:",
        "c: [ x, { y: z } ]",
        "- d",
        "- e: 2",
        "-",
        "- f:",
        "# g",
        "",
        "---",
        "h: 'i' # j",
        "k: l m",
        "n",
        "o: \"p\"",
        "- [ q, r ]",
        "s: { t: u, v: [ ] }",
        "...",
        "w: x: y",
        "- - z",
        "--- #",
        "a.b/c: -1",
        "- # x",
    ]);
    let indented = (0..4_usize, line).prop_map(|(depth, line)| format!("{}{line}", "  ".repeat(depth)));
    (prop::collection::vec(indented, 0..12), prop::bool::ANY)
        .prop_map(|(lines, end)| lines.join("\n") + if end { "\n" } else { "" })
}

#[test]
fn random_lines_are_read_alike() {
    let config = Config { cases: 20_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let taken = std::cell::Cell::new(0);
    runner
        .run(&lines(), |text| {
            taken.set(taken.get() + usize::from(agrees(&text)));
            Ok(())
        })
        .unwrap();
    assert!(taken.get() > 200, "only {} were plain", taken.get());
}
