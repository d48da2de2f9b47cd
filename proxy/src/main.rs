//! The `weft-proxy` binary: reads its arguments and hands over to the library.

use std::process::ExitCode;

use clap::Parser;
use weft_proxy::cli::{Cli, Command, check, run};

/// Requests make many small values, each freed by the thread that made it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
    }
}
