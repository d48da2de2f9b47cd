//! `weft man`: manual pages, one for each command.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{FINE, refuse, say};

/// Writes manual pages into a directory
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft man ~/.local/share/man/man1     then: man weft-check
  weft man man                         for a package: man/weft.1, man/weft-check.1, ...")]
pub struct Args {
    /// Where to write them; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the pages of `command` and of its subcommands.
pub fn run(args: &Args, command: clap::Command) -> ExitCode {
    let directory = &args.directory;
    let written = fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    match written {
        Ok(()) => {
            say(format_args!("wrote manual pages into {}", directory.display()));
            FINE
        }
        Err(error) => {
            refuse(format_args!("cannot write manual pages into `{}`: {error}", directory.display()))
        }
    }
}
