//! The `weft` command line; see [`weft::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    weft::cli::main()
}
