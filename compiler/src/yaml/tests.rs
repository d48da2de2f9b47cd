//! Properties of the reader, and of paths and spans. What people read is in `dialect::tests`.

use proptest::prelude::*;

use super::*;
use crate::diagnostic::human::{self, Style};
use crate::diagnostic::{Summary, json};
use crate::dialect;
use crate::source::{FileId, Sources};

fn document(text: &str) -> Document {
    let mut stream = parse(FileId(0), text.as_bytes());
    assert_eq!(stream.diagnostics, []);
    stream.documents.remove(0)
}

#[test]
fn paths_lead_to_nodes_and_back() {
    let text =
        "spec:\n  rules:\n  - a: 1\n  - matches:\n    - path: /x\n  annotations: { weft.dev/waive: y }\n";
    let document = document(text);
    for (path, value) in [
        ("spec.rules[1].matches[0].path", "/x"),
        ("spec.rules[0].a", "1"),
        ("spec.annotations[\"weft.dev/waive\"]", "y"),
    ] {
        let node = document.find(path).unwrap();
        assert_eq!(document.text(node), Some(value));
        assert_eq!(document.path(document.root(), node), path);
        let span = document.find_span(path).unwrap();
        assert_eq!(text.get(span.range()), Some(value));
    }
    for path in ["nothing", "spec.rules[2]", "spec.rules.a", "spec[0]", "spec.rules[x]", "spec.", "[", "[\"a"]
    {
        assert_eq!(document.find(path), None, "{path}");
    }
}

#[test]
fn collections_end_with_their_last_child() {
    let text = "a:\n  b: [1, 2]\n  c:\n    - x\n    - y: z\n\n# comment\nd: 1\n";
    let document = document(text);
    let slice = |path: &str| {
        let span = document.find_span(path).unwrap();
        text.get(span.range()).unwrap()
    };
    assert_eq!(slice("a"), "b: [1, 2]\n  c:\n    - x\n    - y: z");
    assert_eq!(slice("a.b"), "[1, 2]");
    assert_eq!(slice("a.c"), "- x\n    - y: z");
    assert_eq!(document.comments[0].text.trim(), "comment");
}

#[test]
fn values_of_every_type() {
    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct All {
        bool: bool,
        int: i8,
        float: f64,
        text: String,
        block: String,
        list: Vec<u16>,
        pair: (u8, String),
        none: Option<u8>,
        map: std::collections::BTreeMap<String, String>,
    }
    let text = "bool: true\nint: -5\nfloat: 1\ntext: 'it''s'\nblock: |\n  a\n  b\nlist: [1, 2]\npair: [1, x]\n\
                map: {1: a, true: b}\n";
    let document = document(text);
    let outcome = deserialize::<All>(&document, document.root(), Fields::Strict);
    assert_eq!(outcome.diagnostics, []);
    let all = outcome.value.unwrap();
    assert_eq!((all.bool, all.int, all.float, all.none), (true, -5, 1.0, None));
    assert_eq!((all.text.as_str(), all.block.as_str()), ("it's", "a\nb\n"));
    assert_eq!((all.list, all.pair), (vec![1, 2], (1, "x".to_owned())));
    assert_eq!(
        all.map.into_iter().collect::<Vec<_>>(),
        [("1".into(), "a".into()), ("true".into(), "b".into())]
    );
}

#[test]
fn there_is_an_end_to_findings() {
    let text = "x: 1\n".to_owned() + &(0..5_000).map(|i| format!("unknown{i}: 1\n")).collect::<String>();
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(rename = "x")]
        _x: u8,
    }
    let document = document(&text);
    let outcome = deserialize::<One>(&document, document.root(), Fields::Strict);
    assert_eq!(outcome.diagnostics.len(), de::MAX_FINDINGS);
    assert!(outcome.value.is_some());
}

/// A text that has most of the syntax and of the kinds in it.
const SEED: &str = include_str!("../../../fixtures/seed/policy.yaml");

/// Everything a command does with a text, up to the model.
fn exercise(bytes: Vec<u8>) {
    let sources = Sources::in_memory([("a.yaml", bytes)]);
    let parsed = dialect::parse(&sources);
    human::render(&parsed.diagnostics, &sources, Style::Plain);
    let summary = Summary::new(parsed.documents.len(), 0, parsed.skipped.len(), &parsed.diagnostics);
    json::render(&crate::diagnostic::Report::new(&parsed.diagnostics, &sources, &summary));
}

#[test]
fn the_seed_is_sound() {
    let sources = Sources::in_memory([("a.yaml", SEED)]);
    let parsed = dialect::parse(&sources);
    assert_eq!(human::render(&parsed.diagnostics, &sources, Style::Plain), "");
    assert!(parsed.documents.iter().all(|document| document.sound));
    assert_eq!(parsed.documents.len(), 9);
}

/// A change of a text.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, String),
    Delete(prop::sample::Index, usize),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let token = prop::sample::select(vec![
        "{", "}", "[", "]", ": ", "- ", "? ", "&a ", "*a", "!!str ", "!x ", "|\n", ">-\n", "'", "\"", "#",
        "\t", "\n", "\r\n", "---\n", "...\n", "%", "@", "`", "<<: ", "~", ",", "{{", "}}", "\u{feff}",
        "\u{85}", "é", "\u{0}", "  ", "0x", "1e9", ".inf", "-", "null",
    ]);
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<prop::sample::Index>(), token).prop_map(|(at, text)| Mutation::Insert(at, text.to_owned())),
        (any::<prop::sample::Index>(), 1..40_usize).prop_map(|(at, count)| Mutation::Delete(at, count)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..60_usize)
            .prop_map(|(from, to, count)| Mutation::Copy(from, to, count)),
    ]
}

fn mutated(mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = SEED.as_bytes().to_vec();
    for mutation in mutations {
        let length = bytes.len().max(1);
        match mutation {
            Mutation::Replace(at, byte) => {
                if let Some(old) = bytes.get_mut(at.index(length)) {
                    *old = *byte;
                }
            }
            Mutation::Insert(at, text) => {
                let at = at.index(length).min(bytes.len());
                bytes.splice(at..at, text.bytes());
            }
            Mutation::Delete(at, count) => {
                let at = at.index(length).min(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Mutation::Copy(from, to, count) => {
                let from = from.index(length).min(bytes.len());
                let piece = bytes[from..(from + count).min(bytes.len())].to_vec();
                let to = to.index(length).min(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_change_of_a_document_makes_the_reader_panic(
        mutations in prop::collection::vec(mutation(), 1..8)
    ) {
        exercise(mutated(&mutations));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(bytes);
    }

    #[test]
    fn every_span_lies_in_its_file(mutations in prop::collection::vec(mutation(), 1..4)) {
        let bytes = mutated(&mutations);
        let length = bytes.len();
        let parsed = dialect::parse(&Sources::in_memory([("a.yaml", bytes)]));
        for diagnostic in &parsed.diagnostics {
            let spans = diagnostic.span.into_iter().chain(diagnostic.related.iter().map(|related| related.span));
            for span in spans {
                prop_assert!(span.start <= span.end && span.end as usize <= length, "{span:?}: {diagnostic:?}");
            }
        }
    }

    #[test]
    fn scalars_are_what_their_bytes_say(text in "[a-zA-Z0-9 _.:/-]{0,20}") {
        let line = format!("key: \"{text}\"\n");
        let document = document(&line);
        let span = document.find_span("key").unwrap();
        prop_assert_eq!(line.get(span.range()).unwrap(), format!("\"{text}\""));
        prop_assert_eq!(document.text(document.find("key").unwrap()), Some(text.as_str()));
    }
}
