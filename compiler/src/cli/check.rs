//! `weft check`: what is wrong with the documents.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use super::{FINE, Where, fail, findings, say};
use crate::diagnostic::human::Style;
use crate::diagnostic::{human, json};
use crate::source::Sources;
use crate::{Compilation, compile};

/// Checks policy documents and says what is wrong with them
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft check                            check the documents below this directory
  weft check policy --format json       for machines
  weft check --rev origin/main          check a Git revision instead of the files as they are

Exit codes: 0 no errors (warnings and notes may be), 1 errors, 2 could not check.
`weft explain NAME` says what a finding means.")]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: excerpts and underlines
    Human,
    /// For machines: one JSON object
    Json,
}

/// Checks, prints, and gives the exit code.
pub fn run(args: &Args) -> ExitCode {
    let sources = match args.place.read() {
        Ok(sources) => sources,
        Err(error) => return fail(&error),
    };
    let compilation = compile(&sources);
    show(&compilation, &sources, args.format);
    let code = if compilation.has_errors() { findings() } else { FINE };
    // The process ends now; taking a mesh of ten thousand services apart first would take as long as analysing it.
    std::mem::forget((compilation, sources));
    code
}

/// Prints findings: for people to standard error with a line that sums up, for machines to standard output.
pub(super) fn show(compilation: &Compilation, sources: &Sources, format: Format) {
    match format {
        Format::Human => {
            let style = if std::io::stderr().is_terminal() { Style::Styled } else { Style::Plain };
            let found = human::render(&compilation.diagnostics, sources, style);
            // Nothing can be done about a closed pipe.
            let _ = writeln!(anstream::stderr().lock(), "{found}{}", human::summary(&compilation.summary));
        }
        Format::Json => {
            let text = json::render(&compilation.diagnostics, sources, &compilation.summary);
            say(text.trim_end());
        }
    }
}
