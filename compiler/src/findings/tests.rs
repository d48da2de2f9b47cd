//! Levels, waivers, baselines and comparisons, on documents in memory.

use time::{Date, Month};

use super::*;
use crate::diagnostic::human::{self, Style};
use crate::progress::Silent;
use crate::{Compilation, compile_with};

const SHOP: &str = "apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: test.example, defaults: { access: allow }, analyses: { ANALYSES } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.2, labels: { version: v1 } } ] }
  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ]
";

/// A route whose second rule is never reached, and which sends a share to a subset without endpoints.
const ROUTE: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: cart
  annotations: { ANNOTATIONS }
spec:
  hosts: [ cart ]
  http:
  - route: [ { destination: { host: cart, subset: v1 } } ]
  - route: [ { destination: { host: cart, subset: v2 } } ]
";

fn today() -> Option<Date> {
    Date::from_calendar_date(2026, Month::June, 15).ok()
}

fn sources(analyses: &str, annotations: &str) -> Sources {
    let (shop, route) = (SHOP.replace("ANALYSES", analyses), ROUTE.replace("ANNOTATIONS", annotations));
    Sources::in_memory([("a-shop.yaml", shop), ("b-route.yaml", route)])
}

fn compiled(sources: &Sources, checks: &Checks) -> Compilation {
    compile_with(sources, checks, &Silent)
}

/// Severity and name of everything that is found, and how many are waived.
fn found(analyses: &str, annotations: &str, change: impl FnOnce(&mut Checks)) -> (Vec<String>, usize) {
    let mut checks = Checks { today: today(), ..Checks::default() };
    change(&mut checks);
    let Compilation { diagnostics, summary, .. } = compiled(&sources(analyses, annotations), &checks);
    (names(&diagnostics), summary.waived)
}

fn names(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(|finding| format!("{} {}", finding.severity, finding.analysis)).collect()
}

fn set(name: &str, level: Level) -> impl FnOnce(&mut Checks) {
    move |checks| checks.levels.extend([(name.to_owned(), level)])
}

const BOTH: [&str; 2] = ["error unreachable-route", "warning dead-backend"];

// ---------------------------------------------------------------------------------------------------- levels

#[test]
fn the_callers_level_comes_before_the_mesh_documents() {
    assert_eq!(found("", "", |_| ()).0, BOTH);
    let by_mesh = |change: fn(&mut Checks)| found("dead-backend: note", "", change).0;
    assert_eq!(by_mesh(|_| ()), ["error unreachable-route", "note dead-backend"]);
    assert_eq!(
        by_mesh(|checks| set("dead-backend", Level::Error)(checks)),
        ["error unreachable-route", "error dead-backend"]
    );
    assert_eq!(by_mesh(|checks| set("dead-backend", Level::Off)(checks)), ["error unreachable-route"]);
}

#[test]
fn denied_warnings_are_errors_and_notes_stay() {
    let deny = |checks: &mut Checks| checks.deny_warnings = true;
    assert_eq!(found("", "", deny).0, ["error unreachable-route", "error dead-backend"]);
    assert_eq!(found("dead-backend: note", "", deny).0, ["error unreachable-route", "note dead-backend"]);
}

#[test]
fn what_cannot_be_built_from_keeps_its_level() {
    let sources = Sources::in_memory([("a.yaml", "")]);
    let checks = Checks { levels: [("missing-mesh".to_owned(), Level::Off)].into(), ..Checks::default() };
    assert_eq!(names(&compiled(&sources, &checks).diagnostics), ["error missing-mesh"]);
}

// --------------------------------------------------------------------------------------------------- waivers

#[test]
fn a_waiver_silences_one_analysis_about_one_object() {
    let one = "weft.dev/waive: unreachable-route until=2026-06-15 reason=kept for the campaign";
    assert_eq!(found("", one, |_| ()), (vec!["warning dead-backend".to_owned()], 1));
    let two = "weft.dev/waive: 'unreachable-route reason=a b; dead-backend reason=c until=2027-01-01;'";
    assert_eq!(found("", two, |_| ()), (vec![], 2));
    let lines = r#"weft.dev/waive: "unreachable-route reason=a\n dead-backend reason=b\n""#;
    assert_eq!(found("", lines, |_| ()), (vec![], 2));
}

#[test]
fn a_waiver_elsewhere_silences_nothing() {
    let shop = SHOP.replace("ANALYSES", "").replace(
        "metadata: { name: cart }",
        "metadata: { name: cart, annotations: { weft.dev/waive: dead-backend reason=x } }",
    );
    let sources = Sources::in_memory([("a.yaml", shop), ("b.yaml", ROUTE.replace("ANNOTATIONS", ""))]);
    let Compilation { diagnostics, summary, .. } = compiled(&sources, &Checks::default());
    assert_eq!(names(&diagnostics), ["warning unused-waiver", BOTH[0], BOTH[1]]);
    assert_eq!(summary.waived, 0);
}

#[test]
fn an_expired_waiver_silences_nothing_and_is_found_itself() {
    let expired = "weft.dev/waive: dead-backend until=2026-06-14 reason=x";
    assert_eq!(found("", expired, |_| ()).0, ["warning expired-waiver", BOTH[0], BOTH[1]]);
    // Whoever knows no day cannot tell.
    assert_eq!(found("", expired, |checks| checks.today = None), (vec![BOTH[0].to_owned()], 1));
}

#[test]
fn what_is_off_is_neither_counted_nor_missed() {
    let waiver = "weft.dev/waive: dead-backend reason=x";
    assert_eq!(found("dead-backend: off", waiver, |_| ()), (vec![BOTH[0].to_owned()], 0));
}

#[test]
fn nothing_is_unused_while_documents_are_broken() {
    let waiver = "weft.dev/waive: dependency-cycle reason=x";
    assert_eq!(found("", waiver, |_| ()).0, ["warning unused-waiver", BOTH[0], BOTH[1]]);
    let mut sources = sources("", waiver);
    sources.diagnostics.push(Diagnostic::error("refused-file", "`x.yaml` is a symbolic link"));
    let found = names(&compiled(&sources, &Checks::default()).diagnostics);
    assert_eq!(found, ["error refused-file", BOTH[0], BOTH[1]]);
}

#[test]
fn findings_about_waivers_have_levels_too() {
    let waiver = "weft.dev/waive: dependency-cycle reason=x";
    assert_eq!(found("unused-waiver: off", waiver, |_| ()).0, BOTH);
    assert_eq!(found("", waiver, set("unused-waiver", Level::Note)).0[0], "note unused-waiver");
}

#[test]
fn what_is_wrong_with_waivers_is_said_at_its_place() {
    let annotations = r#"
    other: x
    weft.dev/waive: "
      unreachable-rout reason=x;
      unknown-field reason=x; unused-waiver reason=x;
      dead-backend; dead-backend reason= ;
      dead-backend until=2027-13-01 reason=x; dead-backend reason=x until=1 March;
      dead-backend because reason=x; dead-backend until=2027-01-01 reason=x until=2027-01-02"
"#;
    let text = ROUTE.replace(" { ANNOTATIONS }", annotations.trim_end());
    let sources = Sources::in_memory([("a.yaml", SHOP.replace("ANALYSES", "")), ("b.yaml", text)]);
    let Compilation { diagnostics, .. } = compiled(&sources, &Checks { today: today(), ..Checks::default() });
    let wrong: Vec<_> =
        diagnostics.into_iter().filter(|finding| finding.analysis == "invalid-waiver").collect();
    assert_eq!(wrong.len(), 9);
    insta::assert_snapshot!(human::render(&wrong, &sources, Style::Plain));
}

#[test]
fn an_empty_waiver_and_one_in_a_block_are_pointed_at() {
    let at = |annotations: &str| {
        let text = ROUTE.replace(" { ANNOTATIONS }", annotations);
        let sources = Sources::in_memory([("a.yaml", SHOP.replace("ANALYSES", "")), ("b.yaml", text)]);
        let Compilation { diagnostics, .. } = compiled(&sources, &Checks::default());
        let shown: Vec<_> =
            diagnostics.into_iter().filter(|finding| finding.analysis.ends_with("-waiver")).collect();
        human::render(&shown, &sources, Style::Plain)
    };
    insta::assert_snapshot!(
        at(" { weft.dev/waive: ' ; ' }")
            + &at("
    weft.dev/waive: |
      # dead-backend reason=b
      dependency-cycle reason=a")
    );
}

// -------------------------------------------------------------------------------------------------- baseline

#[test]
fn a_baseline_hides_what_it_lists_wherever_lines_are() {
    let before = sources("", "");
    let listed = Baseline::of(&compiled(&before, &Checks::default()).diagnostics, &before);
    insta::assert_snapshot!(listed.render());
    let read = Baseline::parse(&listed.render()).unwrap();
    assert_eq!(read, listed);

    let moved = Sources::in_memory([
        ("a-shop.yaml", SHOP.replace("ANALYSES", "")),
        ("z.yaml", format!("# moved\n\n\n{}", ROUTE.replace("ANNOTATIONS", ""))),
    ]);
    let left = read.apply(compiled(&moved, &Checks::default()).diagnostics, &moved, &Levels::default());
    assert_eq!((left.diagnostics, left.hidden), (vec![], 2));
}

#[test]
fn a_baseline_counts() {
    let sources = Sources::default();
    let finding = |message: &str| Diagnostic::warning("dead-backend", message).object("HTTPRoute a/b");
    let baseline = Baseline::of(&[finding("x"), finding("x"), finding("y")], &sources);
    assert_eq!(baseline.len(), 3);
    let apply = |found: &[Diagnostic]| {
        let left = baseline.apply(found.to_vec(), &sources, &Levels::default());
        (left.diagnostics.iter().map(|d| d.message.clone()).collect::<Vec<_>>(), left.hidden)
    };
    let three = [finding("x"), finding("x"), finding("x"), finding("y")];
    assert_eq!(apply(&three), (vec!["x".to_owned()], 3));
    let (messages, hidden) = apply(&[finding("y")]);
    let stale = "the baseline lists `dead-backend` of HTTPRoute a/b 2 times, and it is not found any more";
    assert_eq!((messages, hidden), (vec![stale.to_owned()], 1));
    // What is broken may keep others from being found.
    let broken = [finding("y"), Diagnostic::error("unknown-field", "z")];
    assert_eq!(apply(&broken), (vec!["z".to_owned()], 1));
}

#[test]
fn what_is_no_baseline_is_refused_in_words() {
    let refusal = |text: &str| Baseline::parse(text).unwrap_err().to_string();
    assert_eq!(refusal("x"), "it is not a baseline");
    assert_eq!(refusal("{\"findings\":[]}"), "it is not a baseline");
    assert_eq!(
        refusal("{\"format\":\"weft-baseline/2\",\"findings\":[]}"),
        "its format is `weft-baseline/2`, and only `weft-baseline/1` is read"
    );
}

#[test]
fn fingerprints_keep_parts_apart_and_know_the_file_only_without_an_object() {
    let sources = Sources::in_memory([("a.yaml", ""), ("b.yaml", "")]);
    let at = |file, object: Option<&str>| {
        let span = crate::yaml::Span::new(crate::source::FileId(file), 0, 0);
        let mut finding = Diagnostic::error("x", "y").at(span);
        finding.object = object.map(str::to_owned);
        Fingerprint::of(&finding, &sources)
    };
    assert_eq!(at(0, Some("o")), at(1, Some("o")));
    assert_ne!(at(0, None), at(1, None));
    let print = |object: &str, message: &str| {
        Fingerprint::of(&Diagnostic::error("x", message).object(object), &sources).digest()
    };
    assert_ne!(print("ab", "c"), print("a", "bc"));
    assert_eq!(print("ab", "c").len(), 32);
}

// ------------------------------------------------------------------------------------------------ comparison

#[test]
fn a_change_introduces_and_mends() {
    let (old, new) =
        (sources("", ""), sources("dead-backend: off", "weft.dev/waive: dependency-cycle reason=x"));
    let before = compiled(&old, &Checks::default()).diagnostics;
    let after = compiled(&new, &Checks::default()).diagnostics;
    let Comparison { introduced, unchanged, fixed } = compare(before, &old, after, &new);
    assert_eq!(names(&introduced), ["warning unused-waiver"]);
    assert_eq!(names(&unchanged), ["error unreachable-route"]);
    assert_eq!(names(&fixed), ["warning dead-backend"]);
}

#[test]
fn one_more_of_the_same_is_introduced() {
    let sources = Sources::default();
    let same = || Diagnostic::error("x", "y").object("o");
    let Comparison { introduced, unchanged, fixed } =
        compare(vec![same()], &sources, vec![same(), same()], &sources);
    assert_eq!((introduced.len(), unchanged.len(), fixed.len()), (1, 1, 0));
    let Comparison { introduced, unchanged, fixed } =
        compare(vec![same(), same()], &sources, vec![same()], &sources);
    assert_eq!((introduced.len(), unchanged.len(), fixed.len()), (0, 1, 1));
}
