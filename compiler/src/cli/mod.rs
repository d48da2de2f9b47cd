//! The `weft` command line: one module per command.
//!
//! The only place that knows the clock, the environment and the terminal. Exit codes are the same for every command and
//! every output format: 0 fine, 1 findings at error level, 2 could not do it.

pub mod build;
pub mod ca;
pub mod check;
pub mod explain;
pub mod init;
pub mod inspect;
pub mod key;
pub mod schema;
pub mod trace;
pub mod verify;

use std::process::ExitCode;

use clap::Parser;

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
    Explain(explain::Args),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { cannot() } else { FINE };
            // Nothing can be done about a closed pipe.
            drop(error.print());
            return code;
        }
    };
    match cli.command {
        Command::Explain(args) => explain::run(&args),
    }
}
