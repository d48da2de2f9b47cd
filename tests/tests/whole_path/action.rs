//! The action in `.github/actions/weft-check`: its scripts run here as a runner would run them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weft_tests::binaries::{Binaries, workspace};
use weft_tests::command::{self, Finished};

use crate::findings::{ROUTE, Repository};

fn folder() -> PathBuf {
    workspace().join(".github/actions/weft-check")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// What stands behind each `prefix` in a text, as long as it is a name.
fn names_behind(text: &str, prefix: &str) -> BTreeSet<String> {
    let name =
        |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    text.split(prefix).skip(1).map(name).collect()
}

#[test]
fn every_input_is_used_and_described_and_none_is_pasted_into_a_script() {
    let action = yaml(&folder().join("action.yml"));
    let inputs = keys(&action["inputs"]);
    assert_eq!(names_behind(&read("action.yml"), "inputs."), inputs);
    let readme = read("README.md");
    for input in &inputs {
        assert!(readme.contains(&format!("| `{input}` |")), "the README does not describe `{input}`");
    }
    let steps = action["runs"]["steps"].as_array().unwrap();
    for step in steps {
        let Some(run) = step["run"].as_str() else { continue };
        assert!(!run.contains("${{"), "pasted: {run}");
        assert_eq!(step["shell"], "bash");
        let script = run.split('"').nth(1).unwrap().replace("$GITHUB_ACTION_PATH/", "");
        assert!(folder().join(&script).exists(), "{run}");
        // What the runner gives is there always, the rest is what the step hands on.
        let own = ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RUNNER_TEMP"].map(str::to_owned).into();
        let used: BTreeSet<String> =
            ["$", "${"].iter().flat_map(|prefix| names_behind(&read(&script), prefix)).collect();
        let loud =
            |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let used: BTreeSet<String> = used.into_iter().filter(loud).collect();
        let handed = if step["env"].is_object() { keys(&step["env"]) } else { BTreeSet::new() };
        assert_eq!(used.difference(&own).cloned().collect::<BTreeSet<_>>(), handed, "{script}");
    }
}

#[test]
fn what_the_script_asks_of_weft_exists() {
    let help = Repository::clean().weft(&["check", "--help"]).expect_code(0).unwrap().stdout;
    let script = read("check.sh");
    let lines = script.lines().filter(|line| line.contains("arguments"));
    let options: BTreeSet<String> =
        lines.flat_map(|line| names_behind(line, "--")).filter(|name| !name.is_empty()).collect();
    assert!(options.len() >= 6, "{options:?}");
    for option in options {
        assert!(help.contains(&format!("--{option}")), "weft check has no `--{option}`");
    }
    let workflow = yaml(&workspace().join(".github/workflows/ci.yml"));
    let steps = workflow["jobs"]["action"]["steps"].as_array().unwrap();
    let ours = steps.iter().find(|step| step["uses"] == "./.github/actions/weft-check").unwrap();
    assert!(keys(&ours["with"]).is_subset(&keys(&yaml(&folder().join("action.yml"))["inputs"])));
    yaml(&workspace().join("compiler/src/cli/init/weft.yml"));
}

/// Runs the script in a repository, with these inputs and otherwise the defaults of `action.yml`.
fn run(repository: &Repository, inputs: &[(&str, &str)]) -> Outcome {
    let action = yaml(&folder().join("action.yml"));
    let temporary = tempfile::tempdir().unwrap();
    let mut script = Command::new("bash");
    script.current_dir(repository.path()).arg(folder().join("check.sh"));
    let step = action["runs"]["steps"].as_array().unwrap().last().unwrap();
    for (variable, value) in step["env"].as_object().unwrap() {
        let input = names_behind(value.as_str().unwrap(), "inputs.").pop_first();
        let given = inputs.iter().find(|(name, _)| Some(*name) == input.as_deref() || name == variable);
        let default = input.as_ref().and_then(|input| action["inputs"][input]["default"].as_str());
        script.env(variable, given.map(|(_, value)| *value).or(default).unwrap_or_default());
    }
    if !inputs.iter().any(|(name, _)| *name == "weft") {
        script.env("WEFT", &Binaries::get().unwrap().weft);
    }
    let (output, summary) = (temporary.path().join("output"), temporary.path().join("summary"));
    script
        .env("GITHUB_OUTPUT", &output)
        .env("GITHUB_STEP_SUMMARY", &summary)
        .env("RUNNER_TEMP", temporary.path());
    let finished = command::run(&mut script).unwrap();
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    Outcome { finished, output: text(&output), summary: text(&summary) }
}

struct Outcome {
    finished: Finished,
    output: String,
    summary: String,
}

#[test]
fn a_pull_request_fails_for_what_it_introduces() {
    let repository = Repository::new();
    let all = run(&repository, &[]);
    assert_eq!((all.finished.code, all.output.as_str()), (Some(1), "exit-code=1\n"), "{}", all.finished);
    assert!(all.finished.stdout.contains("::error file=b-route.yaml,line=9"), "{}", all.finished);
    assert!(all.summary.contains("### weft check\n\n    error[unreachable-route]"), "{}", all.summary);
    // A pull request that changes nothing, and one whose base had nothing.
    let same = run(&repository, &[("PULL_REQUEST_BASE", "HEAD")]);
    assert_eq!((same.finished.code, same.output.as_str()), (Some(0), "exit-code=0\n"), "{}", same.finished);
    assert_eq!(run(&repository, &[("base", "HEAD~1")]).finished.code, Some(1));
    assert_eq!(run(&repository, &[("base", "none"), ("PULL_REQUEST_BASE", "HEAD")]).finished.code, Some(1));
}

#[test]
fn inputs_do_what_the_readme_says() {
    let repository = Repository::new();
    let code = |inputs: &[(&str, &str)]| run(&repository, inputs).finished.code;
    assert_eq!(code(&[("fail-on", "never")]), Some(0));
    assert_eq!(code(&[("fail-on", "never"), ("path", "nowhere")]), Some(2));
    assert_eq!(code(&[("fail-on", "sometimes")]), Some(2));
    let levels = "unreachable-route = note\n\n  dead-backend=warn\n";
    assert_eq!(code(&[("levels", levels)]), Some(0));
    assert_eq!(code(&[("levels", levels), ("fail-on", "warning")]), Some(1));
    repository.weft(&["check", "--write-baseline", "known.txt"]).expect_code(0).unwrap();
    assert_eq!(code(&[("baseline", "known.txt")]), Some(0));
    let quiet = run(&repository, &[("summary", "false"), ("sarif", "a b.sarif"), ("junit", "weft.xml")]);
    assert_eq!(quiet.summary, "");
    for (file, text) in [("a b.sarif", "\"2.1.0\""), ("weft.xml", "<testsuites")] {
        assert!(fs::read_to_string(repository.path().join(file)).unwrap().contains(text), "{file}");
    }
}

#[test]
fn a_base_that_the_clone_lacks_is_fetched() {
    let origin = Repository::new();
    origin.write("b-route.yaml", &format!("# moved\n{ROUTE}"));
    origin.commit();
    let clone = Repository::clean();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(clone.path()).env("GIT_CONFIG_GLOBAL", "/dev/null").args(arguments);
        command::run(&mut git).unwrap().expect_code(0).unwrap().stdout
    };
    git(&["remote", "add", "origin", &format!("file://{}", origin.path().display())]);
    git(&["fetch", "--quiet", "--depth=1", "origin", "HEAD"]);
    git(&["reset", "--quiet", "--hard", "FETCH_HEAD"]);
    let mut main = Command::new("git");
    main.current_dir(origin.path()).args(["branch", "release/1", "HEAD~1"]);
    command::run(&mut main).unwrap().expect_code(0).unwrap();
    for base in ["release/1", "origin/release/1"] {
        let outcome = run(&clone, &[("base", base)]);
        assert_eq!(outcome.finished.code, Some(0), "{}", outcome.finished);
        assert!(
            outcome.finished.stderr.contains("0 introduced, 0 fixed, 2 unchanged"),
            "{}",
            outcome.finished
        );
    }
    assert_eq!(run(&clone, &[("base", "release/2")]).finished.code, Some(2));
}

#[test]
fn nothing_that_is_given_is_run() {
    let repository = Repository::new();
    let evil = [
        "$(touch pwned)",
        "`touch pwned`",
        "x; touch pwned",
        "x\" && touch pwned #",
        "--upload-pack=touch pwned",
        "'$(touch pwned)'",
    ];
    for value in evil {
        for input in ["path", "base", "levels", "baseline", "fail-on", "sarif", "junit", "summary", "weft"] {
            let outcome = run(&repository, &[(input, value)]);
            assert!(!repository.path().join("pwned").exists(), "{input}: {value}");
            if ["path", "base", "levels", "baseline", "fail-on"].contains(&input) {
                assert_eq!(outcome.finished.code, Some(2), "{input}: {value}\n{}", outcome.finished);
            }
        }
    }
    // Nor does a document speak to the runner, or to the summary.
    repository.write("c.yaml", "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: { name: x }\nspec: { \"a\\n::add-mask::b\\n```\": 1 }\n");
    let outcome = run(&repository, &[]);
    assert!(
        outcome
            .finished
            .stdout
            .lines()
            .all(|line| line.starts_with("::error ") || line.starts_with("::warning ")),
        "{}",
        outcome.finished
    );
    assert!(
        outcome.summary.lines().skip(2).all(|line| line.is_empty() || line.starts_with("    ")),
        "{}",
        outcome.summary
    );
}
