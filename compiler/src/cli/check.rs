//! `weft check`: what is wrong with the documents, or what a change makes wrong.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::ValueEnum;

use super::bar::Bar;
use super::levels::LevelArgs;
use super::{FINE, Where, fail, findings, left_alone, say};
use crate::analysis::unsafe_transition;
use crate::diagnostic::human::Style;
use crate::diagnostic::{
    self, Change, Diagnostic, Report, Severity, Summary, github, human, json, junit, sarif,
};
use crate::dialect::{parse_watched, parse_with};
use crate::findings::levels::anything_broken;
use crate::findings::{Baseline, Checks, Comparison, Levels, Waivers, compare};
use crate::model::Mesh;
use crate::parallel;
use crate::progress::{Progress, Silent, Stage};
use crate::source::{GitTree, SourceError, Sources};
use crate::{Compilation, Known, Parsed, Skipped, compile_parsed};

/// Checks policy documents and says what is wrong with them
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft check                            check the documents below this directory
  weft check policy --format json       for machines
  weft check --rev origin/main          check a Git revision instead of the files as they are
  weft check --base origin/main         only what changed since: introduced, fixed, and how many are unchanged
  weft check --format github --report sarif=weft.sarif --report junit=weft.xml
                                        annotations on standard output, and two files beside
  weft check --level dead-backend=error --level undeclared-call=off --deny-warnings
  weft check -v                         also name the documents of other programs and the hidden files
  weft check --write-baseline .weft-baseline.json
  weft check --baseline .weft-baseline.json
                                        hide what is there today, see what comes

A document accepts a finding about itself with an annotation, and with a reason:
  weft.dev/waive: \"unreachable-route until=2027-03-01 reason=kept for the spring campaign\"

People read standard error, machines standard output. Exit codes, in every format: 0 no errors (warnings and
notes may be), 1 errors (with --base: that the change introduces), 2 could not check.
`weft explain NAME` says what a finding means.")]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = FindingsFormat::Human)]
    format: FindingsFormat,
    /// Also write them into a file, in another format; repeatable
    #[arg(long = "report", value_name = "FORMAT=FILE")]
    reports: Vec<ReportFile>,
    #[command(flatten)]
    levels: LevelArgs,
    /// Show only what changed since this Git revision; only errors that are new since count
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Hide the findings that this file lists, and say which of them are gone
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Also say which documents and files were left alone
    #[arg(short, long)]
    verbose: bool,
    /// List the findings of today in this file, for `--baseline`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "base"])]
    write_baseline: Option<PathBuf>,
}

/// How a command that answers a question writes its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// For machines: one JSON object
    Json,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FindingsFormat {
    /// For people: excerpts and underlines
    Human,
    /// For machines: one JSON object
    Json,
    /// For code scanning and editors: SARIF 2.1.0
    Sarif,
    /// For GitHub Actions: annotations on the changed lines
    Github,
    /// For CI systems: JUnit XML
    Junit,
}

/// A file to write findings into.
#[derive(Clone, Debug)]
struct ReportFile {
    format: FindingsFormat,
    path: PathBuf,
}

impl FromStr for ReportFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (format, path) =
            text.split_once('=').ok_or("write it as `FORMAT=FILE`, such as `sarif=weft.sarif`")?;
        if path.is_empty() {
            return Err("the file has no name".to_owned());
        }
        Ok(Self { format: <FindingsFormat as ValueEnum>::from_str(format, false)?, path: path.into() })
    }
}

/// Checks, prints, and gives the exit code.
pub fn run(args: &Args) -> ExitCode {
    let bar = Bar::new();
    let checked = check(args, &bar);
    drop(bar);
    let code = checked.and_then(|checked| {
        let code = checked.finish(args)?;
        // As with the mesh: the process ends now.
        std::mem::forget(checked);
        Ok(code)
    });
    match code {
        Ok(code) => code,
        Err(error) => fail(&*error),
    }
}

/// What was found, and with a base what became of it.
struct Checked {
    sources: Sources,
    /// To show.
    diagnostics: Vec<Diagnostic>,
    summary: Summary,
    skipped: Vec<Skipped>,
    base: Option<Base>,
}

/// What findings were compared with.
struct Base {
    commit: String,
    sources: Sources,
    fixed: Vec<Diagnostic>,
    unchanged: Vec<Diagnostic>,
}

fn check(args: &Args, progress: &dyn Progress) -> Result<Checked, Box<dyn Error>> {
    for (place, report) in args.reports.iter().enumerate() {
        if args.reports.iter().take(place).any(|earlier| earlier.path == report.path) {
            return Err(format!("two reports are to be written into `{}`", report.path.display()).into());
        }
    }
    let baseline = args.baseline.as_deref().map(read_baseline).transpose()?;
    let checks = args.levels.checks();
    progress.begin(Stage::Reading, 0);
    let mut sources = args.place.read()?;
    let Some(revision) = &args.base else {
        let parsed = parse_watched(&sources, progress);
        let Found { diagnostics, summary, skipped, .. } =
            findings_of(&sources, parsed, &checks, baseline.as_ref(), progress);
        return Ok(Checked { sources, diagnostics, summary, skipped, base: None });
    };
    let mut old = read_base(&args.place.path, revision, &sources)?;
    let is_new = old.files.is_empty() && old.diagnostics.is_empty();
    sources.align(&mut old);
    let of = |sources: &Sources, parsed, progress: &dyn Progress| {
        findings_of(sources, parsed, &checks, baseline.as_ref(), progress)
    };
    let mut known = Known::default();
    let parsed = parse_with(&sources, &mut known, progress);
    // What is equal has equal findings, and need not be compiled again.
    let equal = same(&old, &sources);
    let (base, head) = if is_new || equal {
        (None, of(&sources, parsed, progress))
    } else {
        let before = parse_with(&old, &mut known, &Silent);
        drop(known);
        let (base, head) = parallel::both(|| of(&old, before, &Silent), || of(&sources, parsed, progress));
        (Some(base), head)
    };
    let commit = old.revision.as_ref().map_or_else(|| revision.clone(), |revision| revision.commit.clone());
    let (before, transition) = match base {
        None if equal => (head.diagnostics.clone(), Transition::default()),
        None => (Vec::new(), Transition::default()),
        Some(base) => {
            let transition = Transition::between(&base, &head, &Levels::new(&head.mesh, &checks));
            (base.diagnostics, transition)
        }
    };
    let mut compared = compare(before, &old, head.diagnostics, &sources);
    // What is wrong with the change itself is new by its nature.
    compared.introduced.extend(transition.found);
    diagnostic::sort(&mut compared.introduced);
    let Comparison { introduced, unchanged, fixed } = compared;
    let base = Some(Base { commit, sources: old, fixed, unchanged });
    let mut summary = head.summary.of(&introduced);
    summary.waived += transition.waived;
    Ok(Checked { summary, sources, diagnostics: introduced, skipped: head.skipped, base })
}

/// What is wrong with a change itself, and how much of that is waived.
#[derive(Default)]
struct Transition {
    found: Vec<Diagnostic>,
    waived: usize,
}

impl Transition {
    /// Nothing where one of both is broken: no proxy follows what cannot be built, and what could not be read only seems to be
    /// gone.
    fn between(base: &Found, head: &Found, levels: &Levels) -> Self {
        if anything_broken(&base.diagnostics) || anything_broken(&head.diagnostics) {
            return Self::default();
        }
        let found = unsafe_transition::between(&base.mesh, &head.mesh).into_iter();
        let shown = found.filter_map(|finding| levels.apply(finding));
        let (waived, found): (Vec<_>, Vec<_>) = shown.partition(|finding| head.waivers.silence(finding));
        Self { found, waived: waived.len() }
    }
}

/// What is found and not hidden, and in what.
struct Found {
    /// Never dropped: the process ends soon, and taking a mesh of ten thousand services apart first would take as long as
    /// analysing it.
    mesh: ManuallyDrop<Mesh>,
    diagnostics: Vec<Diagnostic>,
    summary: Summary,
    skipped: Vec<Skipped>,
    waivers: Waivers,
}

fn findings_of(
    sources: &Sources,
    parsed: Parsed,
    checks: &Checks,
    baseline: Option<&Baseline>,
    progress: &dyn Progress,
) -> Found {
    let Compilation { mesh, diagnostics, summary, skipped, waivers } =
        compile_parsed(sources, parsed, checks, progress);
    let mesh = ManuallyDrop::new(mesh);
    let Some(baseline) = baseline else { return Found { mesh, diagnostics, summary, skipped, waivers } };
    let left = baseline.apply(diagnostics, sources, &Levels::new(&mesh, checks));
    let summary = Summary { baselined: left.hidden, ..summary.of(&left.diagnostics) };
    Found { mesh, diagnostics: left.diagnostics, summary, skipped, waivers }
}

/// What a directory held at a revision; nothing if it was not there yet. Git is asked only for what is not the same now.
fn read_base(path: &Path, revision: &str, now: &Sources) -> Result<Sources, SourceError> {
    match GitTree::new(path, revision).read_knowing(now) {
        Err(SourceError::NoSuchDirectory { .. }) => Ok(Sources::default()),
        other => other,
    }
}

/// Whether both hold the same, whatever revision they are of.
fn same(a: &Sources, b: &Sources) -> bool {
    (&a.files, &a.attachments, &a.diagnostics) == (&b.files, &b.attachments, &b.diagnostics)
}

fn read_baseline(path: &Path) -> Result<Baseline, BadFile> {
    let text = fs::read_to_string(path).map_err(|error| BadFile::new("read", path, error))?;
    Baseline::parse(&text).map_err(|error| BadFile::new("read", path, error))
}

/// A file beside the documents that could not be read or written.
#[derive(Debug)]
struct BadFile {
    what: &'static str,
    path: PathBuf,
    source: Box<dyn Error>,
}

impl BadFile {
    fn new(what: &'static str, path: &Path, source: impl Into<Box<dyn Error>>) -> Self {
        Self { what, path: path.to_owned(), source: source.into() }
    }
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} `{}`", self.what, self.path.display())
    }
}

impl Error for BadFile {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

impl Checked {
    /// Writes everything that was asked for, and gives the exit code.
    fn finish(&self, args: &Args) -> Result<ExitCode, BadFile> {
        if let Some(path) = &args.write_baseline {
            let baseline = Baseline::of(&self.diagnostics, &self.sources);
            write(path, &baseline.render())?;
            let findings = if baseline.len() == 1 { "finding" } else { "findings" };
            say(format_args!("listed {} {findings} in {}", baseline.len(), path.display()));
            return Ok(FINE);
        }
        let report = self.report();
        for file in &args.reports {
            write(&file.path, &rendered(file.format, &report, Style::Plain))?;
        }
        print(args.format, &report);
        if args.verbose {
            left_alone::tell(&self.sources, &self.skipped);
        }
        let errors = self.diagnostics.iter().any(|finding| finding.severity == Severity::Error);
        Ok(if errors { findings() } else { FINE })
    }

    fn report(&self) -> Report<'_> {
        let change = self.base.as_ref().map(|base| Change {
            base: &base.commit,
            fixed: &base.fixed,
            base_sources: &base.sources,
            unchanged: &base.unchanged,
        });
        Report { change, ..Report::new(&self.diagnostics, &self.sources, &self.summary) }
    }
}

fn write(path: &Path, text: &str) -> Result<(), BadFile> {
    fs::write(path, text).map_err(|error| BadFile::new("write", path, error))
}

fn rendered(format: FindingsFormat, report: &Report<'_>, style: Style) -> String {
    match format {
        FindingsFormat::Human => {
            human::render(report.diagnostics, report.sources, style) + &human::conclusion(report) + "\n"
        }
        FindingsFormat::Json => json::render(report),
        FindingsFormat::Sarif => sarif::render(report),
        FindingsFormat::Github => github::render(report),
        FindingsFormat::Junit => junit::render(report),
    }
}

/// Prints findings: for people to standard error with a line that sums up, for machines to standard output.
fn print(format: FindingsFormat, report: &Report<'_>) {
    let style = if std::io::stderr().is_terminal() { Style::Styled } else { Style::Plain };
    let text = rendered(format, report, style);
    if format == FindingsFormat::Human {
        // Nothing can be done about a closed pipe.
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        return;
    }
    if !text.is_empty() {
        say(text.trim_end());
    }
    if format == FindingsFormat::Github {
        // The log of a job is read by people too.
        let _ = writeln!(anstream::stderr().lock(), "{}", human::conclusion(report));
    }
}

/// Prints the findings of a command that checks before it does something else.
pub(super) fn show(compilation: &Compilation, sources: &Sources, format: Format) {
    let report = Report::new(&compilation.diagnostics, sources, &compilation.summary);
    match format {
        Format::Human => print(FindingsFormat::Human, &report),
        Format::Json => print(FindingsFormat::Json, &report),
    }
}
