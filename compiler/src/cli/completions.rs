//! `weft completions`: what a shell needs to complete commands and options.

use std::process::ExitCode;

use clap_complete::Shell;

use super::{FINE, say};

/// Prints completions for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft completions bash > ~/.local/share/bash-completion/completions/weft
  weft completions zsh > \"${fpath[1]}/_weft\"
  weft completions fish > ~/.config/fish/completions/weft.fish

They describe this very version; print them again after an update.")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of `command`.
pub fn run(args: &Args, mut command: clap::Command) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "weft", &mut text);
    say(String::from_utf8_lossy(&text).trim_end());
    FINE
}
