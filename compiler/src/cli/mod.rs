//! The `weft` command line: one module per command.
//!
//! The only place that knows the clock, the environment and the terminal. Exit codes are the same for every command and
//! every output format: 0 fine, 1 findings at error level, 2 could not do it.

pub mod build;
pub mod ca;
pub mod check;
pub mod completions;
pub mod explain;
pub mod graph;
pub mod init;
pub mod inspect;
pub mod key;
pub mod levels;
pub mod man;
pub mod schema;
pub mod test;
pub mod trace;
pub mod verify;
mod bar;
mod left_alone;

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::source::{Directory, GitTree, Source, SourceError, Sources};

/// All is well.
pub const FINE: ExitCode = ExitCode::SUCCESS;

/// There are findings at error level.
pub fn findings() -> ExitCode {
    ExitCode::from(1)
}

/// It could not be done.
pub fn cannot() -> ExitCode {
    ExitCode::from(2)
}

/// Checks mesh policy, shows what it does, and compiles it into signed bundles
#[derive(Parser, Debug)]
#[command(
    name = "weft",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 fine, 1 findings at error level, 2 could not do it.

Start with `weft init DIR`; `weft help COMMAND` shows examples."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Init(init::Args),
    Check(check::Args),
    Build(build::Args),
    Trace(trace::Args),
    Test(test::Args),
    Graph(graph::Args),
    Verify(verify::Args),
    Inspect(inspect::Args),
    Explain(explain::Args),
    Schema(schema::Args),
    Key(key::Args),
    Ca(ca::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return match error.print() {
                Err(failed) if failed.kind() != io::ErrorKind::BrokenPipe => {
                    refuse(format_args!("cannot write to standard output: {failed}"))
                }
                Ok(()) | Err(_) if error.use_stderr() => cannot(),
                Ok(()) | Err(_) => FINE,
            };
        }
    };
    match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Graph(args) => graph::run(&args),
        Command::Verify(args) => verify::run(args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema(args) => schema::run(args),
        Command::Key(args) => key::run(args),
        Command::Ca(args) => ca::run(args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    }
}

/// Where the documents are.
#[derive(clap::Args, Debug)]
pub struct Where {
    /// The directory with the policy documents
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Read a Git revision instead of the files as they are
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
}

impl Where {
    fn read(&self) -> Result<Sources, SourceError> {
        read(&self.path, self.rev.as_deref())
    }
}

/// Reads the documents of a directory, or of a Git revision of it.
fn read(path: &Path, rev: Option<&str>) -> Result<Sources, SourceError> {
    match rev {
        Some(rev) => GitTree::new(path, rev).read(),
        None => Directory::new(path).read(),
    }
}

/// Prints a line to standard output. A reader that has seen enough, as `head`, is no fault; a full disk is one.
fn say(line: impl fmt::Display) {
    if let Err(error) = writeln!(anstream::stdout().lock(), "{line}")
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        refuse(format_args!("cannot write to standard output: {error}"));
        std::process::exit(2);
    }
}

/// Prints an error, and gives the exit code for it.
fn refuse(message: impl fmt::Display) -> ExitCode {
    // Nothing can be done about a closed pipe.
    let _ = writeln!(anstream::stderr().lock(), "error: {message}");
    cannot()
}

/// Prints something worth knowing beside the answer.
fn remark(message: impl fmt::Display) {
    // Nothing can be done about a closed pipe.
    let _ = writeln!(anstream::stderr().lock(), "note: {message}");
}

/// Prints an error with its causes, as cargo does, and gives the exit code for it.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, "\n  caused by: {inner}");
        cause = inner.source();
    }
    refuse(text)
}

#[cfg(test)]
mod tests;
