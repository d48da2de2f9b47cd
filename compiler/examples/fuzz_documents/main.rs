//! Documents of all kinds, changed at random, through the whole compiler.
//!
//! `cargo run --release -p weft --example fuzz_documents -- --seconds 900 --seed 1`. The corpus is every document of the
//! repository: the examples, the fixtures, and the inputs of the snapshot tests. A round takes one or a few, changes
//! bytes, tokens, lines or values, and compiles what comes out. What must hold:
//!
//! * nothing panics or hangs, and rendering the findings does not either;
//! * the same documents give the same findings and the same bodies;
//! * every span lies in its file, at the bounds of characters;
//! * documents without errors become bodies that a proxy loads;
//! * the quick reader of YAML agrees with the full one.

#[path = "../fuzz/mod.rs"]
mod fuzz;
mod mutate;

use std::path::Path;
use std::process::ExitCode;

use fuzz::Draw;
use mutate::Corpus;
use weft::diagnostic::human::{self, Style};
use weft::diagnostic::{Report, json};
use weft::emit::emit;
use weft::source::{FileId, Sources};
use weft::yaml::{self, Span};
use weft::{Compilation, compile};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = match Corpus::read(root) {
        Ok(corpus) => corpus,
        Err(error) => {
            eprintln!("error: cannot read the corpus: {error}");
            return ExitCode::from(2);
        }
    };
    let keep = std::env::var_os("FUZZ_KEEP");
    fuzz::run(|draw| {
        let texts = texts(&corpus, draw);
        if let Some(directory) = &keep {
            // So that what fails can be looked at; there is no time for it otherwise.
            for (name, text) in &texts {
                std::fs::write(Path::new(directory).join(name), text)
                    .expect("the directory can be written to");
            }
        }
        round(texts);
    })
}

/// The files of one round: a mesh that most of the corpus goes with, and one or two changed documents.
fn texts(corpus: &Corpus, draw: &mut Draw) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    if draw.below(8) > 0 {
        files.push(("a-shop.yaml".to_owned(), corpus.shop().to_vec()));
    }
    for number in 0..=draw.below(3) {
        let mut text = corpus.pick(draw);
        for _ in 0..1 + draw.below(4) {
            text = corpus.changed(text, draw);
        }
        files.push((format!("case-{number}.yaml"), text));
    }
    files
}

fn round(texts: Vec<(String, Vec<u8>)>) {
    for (_, text) in &texts {
        readers_agree(text);
    }
    let sources = Sources::in_memory(texts);
    let compilation = compile(&sources);
    for finding in &compilation.diagnostics {
        let spans = finding.span.into_iter().chain(finding.related.iter().map(|related| related.span));
        spans.for_each(|span| lies_in_its_file(&sources, span));
    }
    human::render(&compilation.diagnostics, &sources, Style::Plain);
    json::render(&Report::new(&compilation.diagnostics, &sources, &compilation.summary));
    let again = compile(&sources);
    assert_eq!(compilation.diagnostics, again.diagnostics, "two compilations find different things");
    if !compilation.has_errors() {
        assert_eq!(bodies(&compilation), bodies(&again), "two compilations give different bodies");
    }
}

fn bodies(compilation: &Compilation) -> Vec<(String, Vec<u8>)> {
    let emitted = emit(&compilation.mesh).expect("documents without errors become bodies that load");
    emitted.into_iter().map(|body| (body.service, body.bytes)).collect()
}

fn readers_agree(text: &[u8]) {
    let (quick, full) = (yaml::parse(FileId(0), text), yaml::parse::parse_fully(FileId(0), text));
    assert_eq!(quick.diagnostics, full.diagnostics, "the readers of YAML complain differently");
    assert_eq!(
        format!("{:?}", quick.documents),
        format!("{:?}", full.documents),
        "the readers of YAML read differently"
    );
}

fn lies_in_its_file(sources: &Sources, span: Span) {
    let file = sources.file(span.file).expect("a span names a file");
    let bytes = file.bytes.get(span.range()).expect("a span lies in its file");
    // A file that is no UTF-8 as a whole has spans of single bytes.
    if std::str::from_utf8(&file.bytes).is_ok() {
        assert!(std::str::from_utf8(bytes).is_ok(), "{span:?} cuts a character");
    }
}
