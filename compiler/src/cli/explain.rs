//! `weft explain`: what a finding means.

use std::process::ExitCode;

use super::{FINE, refuse, say};
use crate::analysis::{PAGES, Page};
use crate::diagnostic::did_you_mean;

/// Says what an analysis finds, why it matters, and how to mend it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft explain                      list all analyses
  weft explain unreachable-route    the page of one")]
pub struct Args {
    /// The name in brackets behind `error`, `warning` or `note`; without it, all names are listed
    analysis: Option<String>,
}

/// Prints the page, or the list.
pub fn run(args: &Args) -> ExitCode {
    let Some(name) = &args.analysis else {
        for page in PAGES {
            let fixed = if page.adjustable { "" } else { " (always)" };
            say(format_args!("{:<22} {:<6} {}{fixed}", page.name, page.level.to_string(), page.summary));
        }
        return FINE;
    };
    match Page::find(name) {
        Some(page) => {
            say(format_args!("{} — {}\n\n{}", page.name, page.summary, page.text()));
            FINE
        }
        None => {
            let near = did_you_mean(name, PAGES.iter().map(|page| page.name));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            refuse(format_args!("there is no analysis `{name}`{hint}\n\n`weft explain` lists them all"))
        }
    }
}
