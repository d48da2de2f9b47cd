//! `weft test`: runs the PolicyTests of a repository, and compares readable bodies with those kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::check::{self, Format as Findings};
use super::{FINE, Where, fail, findings, refuse, remark, say};
use crate::compile;
use crate::diagnostic::human::{self, Style};
use crate::emit::{Emitted, emit, render};
use crate::policy_test::{self, Outcome, Report, bodies, output};
use crate::source::Sources;

/// Runs the tests that the documents hold: single requests, invariants, and readable bodies
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft test                            run every PolicyTest below this directory
  weft test policy --filter payments   only tests whose name, or whose document's, has this in it
  weft test --coverage                 also list the rules that no case reaches
  weft test --min-coverage 80          fail if cases reach less than 80 % of the rules
  weft test --update                   keep the readable bodies in `snapshots`, to be compared from now on
  weft test --format junit > tests.xml

Requests are decided by the proxies' own engine. Invariants hold for every request or are refuted by one. Bodies are
compared if the directory of snapshots is there; `--update` makes it.
Exit codes: 0 all passed, 1 something failed or the documents have errors, 2 could not test, or nothing matches
`--filter`.")]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// Run only tests whose name, or whose document's, contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Keep the bodies as they are now
    #[arg(long, conflicts_with_all = ["rev", "filter"])]
    update: bool,
    /// Where readable bodies are kept [default: `snapshots` beside the policy]
    #[arg(long, value_name = "DIR")]
    snapshots: Option<PathBuf>,
    /// List the rules that no case reaches
    #[arg(long)]
    coverage: bool,
    /// Fail if cases reach less than this share of the rules, in per cent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_coverage: Option<u8>,
    /// How results are written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: a line for each test, then what failed
    Human,
    /// For machines: one JSON object
    Json,
    /// For build servers: JUnit's XML
    Junit,
}

/// Runs, prints, and gives the exit code.
pub fn run(args: &Args) -> ExitCode {
    let sources = match args.place.read() {
        Ok(sources) => sources,
        Err(error) => return fail(&error),
    };
    let compilation = compile(&sources);
    if compilation.has_errors() {
        check::show(&compilation, &sources, Findings::Human);
        refuse("documents with errors cannot be tested");
        return findings();
    }
    let mut report = match policy_test::run(&compilation.mesh, &args.filter) {
        Ok(report) => report,
        Err(error) => return fail(&error),
    };
    let emitted = match emit(&compilation.mesh) {
        Ok(emitted) => emitted,
        Err(error) => return fail(&error),
    };
    let directory = snapshots(args);
    if args.update {
        match update(&directory, &emitted) {
            Ok(changed) => {
                remark(format_args!(
                    "kept {} bodies in {}, {changed} changed",
                    emitted.len(),
                    directory.display()
                ));
            }
            Err((path, error)) => return refuse(format_args!("cannot write `{}`: {error}", path.display())),
        }
    } else if compares(args, &directory) {
        match compare(&directory, &emitted) {
            Ok(outcomes) => {
                let wanted = |outcome: &Outcome| outcome.name().contains(&args.filter);
                report.outcomes.extend(outcomes.into_iter().filter(wanted));
            }
            Err((path, error)) => return refuse(format_args!("cannot read `{}`: {error}", path.display())),
        }
    }
    show(args, &report, &sources)
}

/// Prints the results, and gives the exit code.
fn show(args: &Args, report: &Report, sources: &Sources) -> ExitCode {
    match args.format {
        Format::Human => {
            let list = output::human(report);
            if !list.is_empty() {
                say(list.trim_end());
            }
            let style = if io::stderr().is_terminal() { Style::Styled } else { Style::Plain };
            let found = human::render(&output::failures(report), sources, style);
            if !found.is_empty() {
                // Nothing can be done about a closed pipe.
                let _ = writeln!(anstream::stderr().lock(), "\n{}", found.trim_end());
            }
            if args.coverage {
                say(format_args!("\n{}", output::coverage(report).trim_end()));
            }
            say(format_args!("\n{}", output::summary(report)));
        }
        Format::Json => say(output::json(report, sources).trim_end()),
        Format::Junit => say(output::junit(report, sources).trim_end()),
    }
    if report.outcomes.is_empty() {
        if !args.filter.is_empty() {
            return refuse(format_args!("no test has `{}` in its name or that of its document", args.filter));
        }
        remark("there is nothing to test: no PolicyTest, and no snapshots");
    }
    let reached = report.coverage.per_cent();
    let wanted = args.min_coverage.map(usize::from).filter(|wanted| reached < *wanted);
    if let Some(wanted) = wanted {
        refuse(format_args!("cases reach {reached} % of the rules, and {wanted} % are asked for"));
    }
    let passed = report.outcomes.iter().all(Outcome::passed) && wanted.is_none();
    if passed { FINE } else { findings() }
}

/// Beside the policy: in the directory, or in that of the one file.
fn snapshots(args: &Args) -> PathBuf {
    let beside = || match args.place.path.is_file() {
        true => args.place.path.with_file_name("snapshots"),
        false => args.place.path.join("snapshots"),
    };
    args.snapshots.clone().unwrap_or_else(beside)
}

/// The files on disk belong to the policy on disk; to another revision only if somebody says so.
fn compares(args: &Args, directory: &Path) -> bool {
    match args.snapshots {
        Some(_) => true,
        None => args.place.rev.is_none() && directory.is_dir(),
    }
}

type Failed = (PathBuf, io::Error);

/// What became of every body, and of every one that is kept and has no service.
fn compare(directory: &Path, emitted: &[Emitted]) -> Result<Vec<Outcome>, Failed> {
    let rendered: BTreeMap<&str, String> =
        emitted.iter().map(|emitted| (emitted.service.as_str(), render(&emitted.bytes))).collect();
    let kept = kept(directory)?;
    let services: BTreeSet<&str> = rendered.keys().copied().chain(kept.iter().map(String::as_str)).collect();
    services
        .into_iter()
        .map(|service| {
            let path = directory.join(bodies::file_name(service));
            let kept = match kept.contains(service) {
                true => Some(fs::read(&path).map_err(|error| (path.clone(), error))?),
                false => None,
            };
            let kept = kept.as_deref().map(String::from_utf8_lossy);
            let file = path.display().to_string().replace('\\', "/");
            Ok(bodies::compare(service, &file, kept.as_deref(), rendered.get(service).map(String::as_str)))
        })
        .collect()
}

/// Writes the bodies that changed, and removes those of services that are gone; how many that were.
fn update(directory: &Path, emitted: &[Emitted]) -> Result<usize, Failed> {
    let mut changed = 0;
    for service in emitted {
        let path = directory.join(bodies::file_name(&service.service));
        let text = render(&service.bytes);
        if fs::read(&path).is_ok_and(|kept| kept == text.as_bytes()) {
            continue;
        }
        let parent = path.parent().unwrap_or(directory);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
        written.map_err(|error| (path, error))?;
        changed += 1;
    }
    let services: BTreeSet<&str> = emitted.iter().map(|emitted| emitted.service.as_str()).collect();
    for gone in kept(directory)?.iter().filter(|service| !services.contains(service.as_str())) {
        let path = directory.join(bodies::file_name(gone));
        fs::remove_file(&path).map_err(|error| (path, error))?;
        changed += 1;
    }
    Ok(changed)
}

/// The services whose bodies are kept: `namespace/name`, of the files two levels down that have our ending.
fn kept(directory: &Path) -> Result<BTreeSet<String>, Failed> {
    let mut kept = BTreeSet::new();
    if !directory.is_dir() {
        return Ok(kept);
    }
    let ending = bodies::file_name("");
    for namespace in entries(directory)? {
        let path = directory.join(&namespace);
        if !path.is_dir() {
            continue;
        }
        let names = entries(&path)?;
        let names = names.iter().filter_map(|name| name.strip_suffix(&ending));
        kept.extend(names.map(|name| format!("{namespace}/{name}")));
    }
    Ok(kept)
}

fn entries(directory: &Path) -> Result<Vec<String>, Failed> {
    let failed = |error| (directory.to_owned(), error);
    let entries = fs::read_dir(directory).map_err(failed)?;
    entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(failed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(services: &[&str]) -> Vec<Emitted> {
        let mut text = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: { name: a }\nspec: { trustDomain: a.example }\n"
            .to_owned();
        for name in services {
            text += &format!(
                "---\napiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {{ ports: [ {{ \
                 name: http, port: 80, protocol: http }} ] }}\n"
            );
        }
        emit(&compile(&Sources::in_memory([("a.yaml", text)])).mesh).unwrap()
    }

    fn failed(directory: &Path, emitted: &[Emitted]) -> Vec<String> {
        let outcomes = compare(directory, emitted).unwrap();
        let failed = outcomes.into_iter().filter(|outcome| !outcome.passed());
        failed.map(|outcome| outcome.name().to_owned()).collect()
    }

    #[test]
    fn bodies_are_kept_compared_and_forgotten() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("snapshots");
        let (two, three) = (emitted(&["b", "c"]), emitted(&["b", "d"]));
        assert_eq!(failed(&directory, &two), ["body of default/b", "body of default/c"]);
        assert_eq!(update(&directory, &two).unwrap(), 2);
        assert_eq!(update(&directory, &two).unwrap(), 0);
        assert!(failed(&directory, &two).is_empty());
        fs::write(directory.join("default/b.yaml.snap"), "b: 1\n").unwrap();
        fs::write(directory.join("default/README.md"), "not ours").unwrap();
        assert_eq!(
            failed(&directory, &three),
            ["body of default/b", "body of default/c", "body of default/d"]
        );
        assert_eq!(update(&directory, &three).unwrap(), 3);
        assert!(failed(&directory, &three).is_empty());
        assert!(!directory.join("default/c.yaml.snap").exists());
        assert!(directory.join("default/README.md").exists());
    }
}
