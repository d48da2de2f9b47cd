//! Each renderer with every part of a diagnostic in use.

use super::human::{self, Style};
use super::*;
use crate::source::{FileId, Sources};

/// The place of `text` in file number `file`.
fn find(sources: &Sources, file: u32, text: &str) -> Span {
    let content = std::str::from_utf8(&sources.files[file as usize].bytes).unwrap();
    let start = u32::try_from(content.find(text).unwrap()).unwrap();
    Span::new(FileId(file), start, start + u32::try_from(text.len()).unwrap())
}

fn two_files() -> Sources {
    let filler: String = (0..100).map(|line| format!("# line {line}\n")).collect();
    Sources::in_memory([
        ("a.yaml", format!("kind: Service\nname: réviews\nport: 80\n{filler}weight: 5\nlast: x")),
        ("b.yaml", "kind: HTTPRoute\nname: reviews\n".to_owned()),
    ])
}

fn full(sources: &Sources) -> Vec<Diagnostic> {
    let mut diagnostics = vec![
        Diagnostic::warning("unreachable-route", "the rule is never reached")
            .object("HTTPRoute bookinfo/reviews")
            .at(find(sources, 0, "réviews"))
            .label("this one")
            .related(find(sources, 0, "80"), "near")
            .related(find(sources, 0, "weight: 5"), "far, and in the same file")
            .related(find(sources, 1, "reviews"), "in another file")
            .with_note("a reason")
            .help("a remedy")
            .fix(Fix {
                message: "write the weight".into(),
                safety: Safety::Unsafe,
                edits: vec![Edit { span: find(sources, 0, "weight: 5"), replacement: "weight: 7".into() }],
            }),
        Diagnostic::note("widened", "spans of several lines are underlined on the first").at(find(
            sources,
            1,
            "HTTPRoute\nname",
        )),
        Diagnostic::error("refused-file", "`x.yaml` is a symbolic link").help("put the file itself there"),
    ];
    sort(&mut diagnostics);
    diagnostics
}

#[test]
fn people_see_what_rustc_would_show() {
    let sources = two_files();
    insta::assert_snapshot!(human::render(&full(&sources), &sources, Style::Plain));
}

#[test]
fn styled_output_says_the_same_with_escapes() {
    let sources = two_files();
    let styled = human::render(&full(&sources), &sources, Style::Styled);
    assert!(styled.contains("\u{1b}["));
    let mut plain = String::new();
    let mut escape = false;
    for c in styled.chars() {
        match c {
            '\u{1b}' => escape = true,
            'm' if escape => escape = false,
            c if !escape => plain.push(c),
            _ => {}
        }
    }
    assert_eq!(plain, human::render(&full(&sources), &sources, Style::Plain));
}

#[test]
fn machines_see_the_promised_shape() {
    let sources = two_files();
    let diagnostics = full(&sources);
    let summary = Summary::new(2, 1, 3, &diagnostics);
    let text = json::render(&Report::new(&diagnostics, &sources, &summary));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for diagnostic in value["diagnostics"].as_array().unwrap() {
        let keys: Vec<&str> = diagnostic.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "analysis",
                "severity",
                "message",
                "object",
                "file",
                "line",
                "column",
                "end_line",
                "end_column",
                "related",
                "help",
                "fix"
            ]
        );
    }
    insta::assert_snapshot!(text);
}

/// The same finding with what annotations and XML have to escape, and a file whose name a URI cannot hold.
fn odd() -> (Sources, Vec<Diagnostic>) {
    let sources = Sources::in_memory([("a b/é:c,d.yaml", "kind: Service\nname: x\n")]);
    let span = find(&sources, 0, "Service\nname");
    let finding = Diagnostic::error("dead-backend", "100% of `a<b>&c`, [x](y): lost\r\nfor good")
        .object("HTTPRoute a/b")
        .at(span)
        .help("a remedy: one, two");
    (sources, vec![finding.clone(), finding])
}

#[test]
fn every_format_says_the_same() {
    let sources = two_files();
    let diagnostics = full(&sources);
    let summary = Summary::new(2, 1, 3, &diagnostics);
    let report = Report::new(&diagnostics, &sources, &summary);
    let (odd_sources, odd_diagnostics) = odd();
    let odd_report = Report::new(&odd_diagnostics, &odd_sources, &summary);
    insta::assert_snapshot!("github", github::render(&report) + &github::render(&odd_report));
    insta::assert_snapshot!("junit", junit::render(&report) + &junit::render(&odd_report));
    let sarif = |report: &Report<'_>| {
        let mut log: serde_json::Value = serde_json::from_str(&sarif::render(report)).unwrap();
        let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array_mut().unwrap();
        assert_eq!(rules.len(), crate::analysis::PAGES.len());
        rules.retain(|rule| rule["id"] == "dead-backend");
        log["runs"][0]["tool"]["driver"]["semanticVersion"] = "VERSION".into();
        serde_json::to_string_pretty(&log).unwrap() + "\n"
    };
    insta::assert_snapshot!("sarif", sarif(&report) + &sarif(&odd_report));
}

#[test]
fn a_comparison_in_every_format() {
    let (sources, base_sources) = (two_files(), two_files());
    let all = full(&sources);
    let (introduced, unchanged) = all.split_at(2);
    let fixed =
        [Diagnostic::error("unknown-field", "there is no field `prot`").at(find(&base_sources, 0, "80"))];
    let summary = Summary { waived: 2, baselined: 3, ..Summary::new(2, 1, 0, introduced) };
    let change = Change { base: "0123456789abcdef", fixed: &fixed, base_sources: &base_sources, unchanged };
    let report = Report { change: Some(change), ..Report::new(introduced, &sources, &summary) };
    insta::assert_snapshot!("human_comparison", human::conclusion(&report));
    let json: serde_json::Value = serde_json::from_str(&json::render(&report)).unwrap();
    assert_eq!(json["diagnostics"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&json["fixed"][0]["analysis"], &json["fixed"][0]["line"]),
        (&"unknown-field".into(), &3.into())
    );
    assert_eq!(
        json["base"],
        serde_json::json!({ "commit": "0123456789abcdef", "introduced": 2, "fixed": 1, "unchanged": 1 })
    );
    assert_eq!((&json["summary"]["waived"], &json["summary"]["baselined"]), (&2.into(), &3.into()));
    let log: serde_json::Value = serde_json::from_str(&sarif::render(&report)).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let states: Vec<_> = results.iter().map(|result| result["baselineState"].as_str().unwrap()).collect();
    assert_eq!(states, ["new", "new", "unchanged"]);
    assert_eq!(github::render(&report).lines().count(), 2);
    assert!(!junit::render(&report).contains("spans of several lines"), "what is unchanged fails nobody");
}

#[test]
fn machine_formats_are_what_they_claim_to_be() {
    let (sources, diagnostics) = odd();
    let summary = Summary::new(1, 1, 0, &diagnostics);
    let report = Report::new(&diagnostics, &sources, &summary);
    let xml = junit::render(&report);
    let document = roxmltree::Document::parse(&xml).unwrap();
    let failures = document.descendants().filter(|node| node.has_tag_name("failure")).count();
    assert_eq!((failures, document.root_element().attribute("failures")), (2, Some("2")));
    for line in github::render(&report).lines() {
        let (properties, message) = line.strip_prefix("::error ").unwrap().split_once("::").unwrap();
        assert!(properties.starts_with("file=a b/é%3Ac%2Cd.yaml,line=1,endLine=2,title="), "{properties}");
        assert!(message.starts_with("100%25 of `a<b>&c`"), "{message}");
    }
    let log: serde_json::Value = serde_json::from_str(&sarif::render(&report)).unwrap();
    let prints = |at: usize| log["runs"][0]["results"][at]["partialFingerprints"]["weftFinding/v1"].clone();
    let (first, second) = (prints(0), prints(1));
    let digest = |print: &serde_json::Value| print.as_str().unwrap().split(':').next().unwrap().to_owned();
    assert_eq!(digest(&first), digest(&second));
    assert_ne!(first, second);
}

#[test]
fn the_summary_in_a_line() {
    let count = |documents, services, errors, warnings, notes, skipped| {
        human::summary(&Summary {
            documents,
            services,
            errors,
            warnings,
            notes,
            skipped,
            ..Summary::default()
        })
    };
    assert_eq!(count(1, 0, 0, 0, 0, 0), "1 document, 0 services, 0 errors");
    assert_eq!(
        count(12, 5, 1, 2, 1, 3),
        "12 documents, 5 services, 1 error, 2 warnings, 1 note, 3 documents of other programs skipped"
    );
}

#[test]
fn order_is_by_file_then_position_and_duplicates_go() {
    let at = |file, start| Diagnostic::error("x", "y").at(Span::new(FileId(file), start, start));
    let mut diagnostics = vec![
        at(1, 0),
        at(0, 5),
        Diagnostic::error("x", "y"),
        at(0, 5),
        at(0, 1),
        Diagnostic::note("x", "y").at(at(0, 1).span.unwrap()),
    ];
    sort(&mut diagnostics);
    let order: Vec<_> =
        diagnostics.iter().map(|d| (d.span.map(|s| (s.file.0, s.start)), d.severity)).collect();
    let (error, note) = (Severity::Error, Severity::Note);
    assert_eq!(
        order,
        [
            (None, error),
            (Some((0, 1)), error),
            (Some((0, 1)), note),
            (Some((0, 5)), error),
            (Some((1, 0)), error)
        ]
    );
}

#[test]
fn near_names_are_offered_and_far_ones_are_not() {
    let fields = ["weight", "port", "name", "namespace"];
    assert_eq!(did_you_mean("wieght", fields), Some("weight"));
    assert_eq!(did_you_mean("Port", fields), Some("port"));
    assert_eq!(did_you_mean("nmae", fields), Some("name"));
    assert_eq!(did_you_mean("nameSpace", fields), Some("namespace"));
    assert_eq!(did_you_mean("timeout", fields), None);
    assert_eq!(did_you_mean("a", ["b"]), None);
}

#[test]
fn places_that_do_not_exist_do_no_harm() {
    let sources = two_files();
    for span in [
        Span::new(FileId(9), 5, 7),
        Span::new(FileId(1), 1_000_000, 2_000_000),
        Span::new(FileId(0), u32::MAX, u32::MAX),
        // Inside a character of two bytes.
        Span::new(FileId(0), find(&sources, 0, "é").start + 1, find(&sources, 0, "é").start + 1),
    ] {
        let diagnostic = Diagnostic::error("x", "y").at(span).related(span, "z");
        human::render(std::slice::from_ref(&diagnostic), &sources, Style::Plain);
        let (diagnostics, summary) = ([diagnostic], Summary::default());
        let report = Report::new(&diagnostics, &sources, &summary);
        for render in [json::render, sarif::render, github::render, junit::render] {
            render(&report);
        }
    }
}

#[test]
fn a_document_cannot_speak_to_the_terminal() {
    let sources = Sources::in_memory([("a\u{1b}[2J.yaml", "key: \u{1b}[31m\u{7}\u{9b}x\u{202e}\n")]);
    let span = find(&sources, 0, "\u{1b}");
    let evil = "\u{1b}]8;;http://evil\u{7}\r\u{9b}31m\u{202e}";
    let diagnostic = Diagnostic::error("x", evil)
        .object(evil)
        .at(span)
        .label(evil)
        .related(span, evil)
        .with_note(evil)
        .help(evil)
        .fix(Fix {
            message: evil.into(),
            safety: Safety::Unsafe,
            edits: vec![Edit { span, replacement: evil.into() }],
        });
    let output = human::render(&[diagnostic], &sources, Style::Plain);
    let harmful = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
    let left: Vec<char> = output.chars().filter(harmful).collect();
    assert_eq!(left, [], "{output}");
}
