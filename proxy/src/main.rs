//! The `weft-proxy` binary: reads its arguments and hands over to the library.

use std::process::ExitCode;

use clap::Parser;
use weft_proxy::cli::{Cli, Command, check, run};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => {
            run::run(&args, |_, _| Err::<(), _>("no source of bundles in this build".to_owned()))
        }
        Command::Check(args) => check::run(&args),
    }
}
