//! `weft build`: compile, sign, publish.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use weft_bundle::release::{Channel, ServiceId, Source, UtcTime};

use super::bar::Bar;
use super::check::{self, Format};
use super::levels::LevelArgs;
use super::{FINE, Where, fail, findings, refuse, say};
use crate::emit::{EmitError, Emitted, batches, render};
use crate::lower::subjects;
use crate::model::Mesh;
use crate::parallel;
use crate::progress::{Progress, Stage};
use crate::publish::{KeyDir, Options, Publication, PublishError, Published};
use crate::source::{Revision, is_ancestor};
use crate::{Compilation, compile_with};

/// Compiles policy documents into a signed release, one bundle per service
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft build --out release --key keys              compile, sign, and publish into the directory `release`
  weft build policy --rev v1.4 --out release --key keys
  weft build --render rendered                     only write readable bodies, for review and snapshots
  weft build --out release --key keys --channel dev     sign files that are not committed

Only a commit is signed for a channel other than `dev`, and only one that descends from what is published.
Exit codes: 0 published (or nothing to do but render), 1 the documents have errors, 2 could not build.")]
pub struct Args {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    levels: LevelArgs,
    /// The directory to publish into; made if it is not there
    #[arg(long, value_name = "DIR", requires = "key", required_unless_present = "render")]
    out: Option<PathBuf>,
    /// The directory with the signing keys, as `weft key new` makes it
    #[arg(long, value_name = "DIR")]
    key: Option<PathBuf>,
    /// The channel to publish on
    #[arg(long, default_value = "stable")]
    channel: Channel,
    /// Also write each body as readable YAML into this directory
    #[arg(long, value_name = "DIR")]
    render: Option<PathBuf>,
    /// Use this number instead of the next one, to rebuild a release byte for byte
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Publish although the commit does not descend from the published one; needs `--reason`
    #[arg(long, requires = "reason")]
    allow_non_descendant: bool,
    /// Why; it is recorded in the release
    #[arg(long, value_name = "TEXT", requires = "allow_non_descendant")]
    reason: Option<String>,
}

/// Compiles, renders, publishes, and says what was done.
pub fn run(args: &Args) -> ExitCode {
    let bar = Bar::new();
    bar.begin(Stage::Reading, 0);
    let sources = match args.place.read() {
        Ok(sources) => sources,
        Err(error) => {
            drop(bar);
            return fail(&error);
        }
    };
    let compilation = compile_with(&sources, &args.levels.checks(), &bar);
    // It ends before anything is printed over it.
    drop(bar);
    if !compilation.diagnostics.is_empty() {
        check::show(&compilation, &sources, Format::Human);
    }
    if compilation.has_errors() {
        refuse("nothing is built from documents with errors");
        return findings();
    }
    let Compilation { mesh, .. } = compilation;
    // As in `check`: the process ends soon, and taking a large mesh apart takes as long as analysing it.
    let mesh = ManuallyDrop::new(mesh);
    match (&args.out, &args.key) {
        (Some(out), Some(key)) => sign_and_publish(args, out, key, &mesh, sources.revision),
        _ => match emit_all(args, &mesh, |_| Ok(())) {
            Ok(()) => FINE,
            Err(failure) => failure.say(),
        },
    }
}

/// Why nothing was built.
enum Failure {
    Emit(EmitError),
    Render(PathBuf, io::Error),
    Name(Box<dyn Error>),
    Publish(PublishError),
}

impl Failure {
    fn say(self) -> ExitCode {
        let error = match self {
            Self::Emit(error) => return fail(&error),
            Self::Name(error) => return fail(&*error),
            Self::Render(path, error) => {
                return refuse(format_args!("cannot write `{}`: {error}", path.display()));
            }
            Self::Publish(error) => error,
        };
        let code = fail(&error);
        if let Some(help) = remedy(&error) {
            // Nothing can be done about a closed pipe.
            let _ = writeln!(anstream::stderr().lock(), "  help: {help}");
        }
        code
    }
}

/// Makes all bodies, some at a time; renders them, if that was asked for, and hands them on. While some are handed on,
/// which is waiting for a disk, the next are made.
fn emit_all(
    args: &Args,
    mesh: &Mesh,
    mut take: impl FnMut(Vec<Emitted>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let bar = Bar::new();
    let subjects = subjects(mesh);
    bar.begin(Stage::Emitting, subjects.len());
    let mut hand_on = |batch: Vec<Emitted>| {
        if let Some(directory) = &args.render {
            render_all(directory, &batch).map_err(|(path, error)| Failure::Render(path, error))?;
        }
        let count = batch.len();
        take(batch)?;
        (0..count).for_each(|_| bar.step());
        Ok(())
    };
    let mut batches = batches(mesh, &subjects);
    let mut next = batches.next();
    while let Some(batch) = next {
        let batch = batch.map_err(Failure::Emit)?;
        let handed_on: Result<(), Failure>;
        (next, handed_on) = parallel::both(|| batches.next(), || hand_on(batch));
        handed_on?;
    }
    drop(bar);
    if let Some(directory) = &args.render {
        say(format_args!("rendered {} bodies into {}", subjects.len(), directory.display()));
    }
    Ok(())
}

fn sign_and_publish(
    args: &Args,
    out: &Path,
    key: &Path,
    mesh: &Mesh,
    revision: Option<Revision>,
) -> ExitCode {
    let keys = match KeyDir::open(key) {
        Ok(keys) => keys,
        Err(error) => return fail(&error),
    };
    let repository = args.place.path.clone();
    let descends = move |ancestor: &str, commit: &str| {
        is_ancestor(&repository, ancestor, commit).map_err(|error| error.to_string())
    };
    let mut options = Options::new(UtcTime::from(SystemTime::now()), &descends);
    options.channel = args.channel.clone();
    options.sequence = args.sequence;
    options.allow_non_descendant = args.reason.clone().filter(|_| args.allow_non_descendant);
    let source = source(revision);
    let published = Publication::begin(out, &keys, &source, &options).map_err(Failure::Publish);
    let published = published.and_then(|mut publication| {
        emit_all(args, mesh, |batch| {
            let named = |body: Emitted| Ok((body.service.parse::<ServiceId>()?, body.bytes));
            let named: Result<Vec<_>, Box<dyn Error>> = batch.into_iter().map(named).collect();
            publication.add(&named.map_err(Failure::Name)?).map_err(Failure::Publish)
        })?;
        publication.finish().map_err(Failure::Publish)
    });
    match published {
        Ok(published) => {
            say(sum_up(&published, &args.channel, out));
            FINE
        }
        Err(failure) => failure.say(),
    }
}

/// What to do about a refusal that a person can lift.
fn remedy(error: &PublishError) -> Option<&'static str> {
    match error {
        PublishError::NotDescendant { .. } => Some(
            "a Git revert is a new commit and descends; after a force-push, use `--allow-non-descendant --reason TEXT`",
        ),
        _ => None,
    }
}

/// What the release says about where it came from. Files outside Git belong to no commit.
fn source(revision: Option<Revision>) -> Source {
    match revision {
        Some(Revision { repo, commit, tree, dirty }) => Source { repo, commit, tree, dirty },
        None => Source { repo: String::new(), commit: String::new(), tree: String::new(), dirty: true },
    }
}

fn sum_up(published: &Published, channel: &Channel, out: &Path) -> String {
    let Published { sequence, services, blobs_written, digest, .. } = published;
    format!(
        "published release {sequence} on channel `{channel}` in {}: {services} services, {blobs_written} changed\n  sha256 {digest}",
        out.display()
    )
}

/// Writes `namespace/name.yaml` for each service.
fn render_all(directory: &Path, emitted: &[Emitted]) -> Result<(), (PathBuf, io::Error)> {
    for service in emitted {
        let path = directory.join(format!("{}.yaml", service.service));
        let parent = path.parent().unwrap_or(directory);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, render(&service.bytes)));
        written.map_err(|error| (path, error))?;
    }
    Ok(())
}
