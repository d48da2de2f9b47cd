//! The command line as a whole.

use super::*;

#[test]
fn the_arguments_of_every_command_fit_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_shows_examples() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n  weft "), "{}: {help}", command.get_name());
    }
}
