//! The `weft-proxy` command line: arguments here, one file per command.

pub mod run;
mod control;
pub mod check;

use clap::{Parser, Subcommand};

/// A sidecar that serves from a signed bundle and needs no control plane.
#[derive(Debug, Parser)]
#[command(name = "weft-proxy", version, about, long_about = None, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve, and follow a source of bundles
    Run(Box<run::Args>),
    /// Say whether a body or service file could be served
    Check(check::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
