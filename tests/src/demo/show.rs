//! What the audience sees: a line as each step ends, the commands in between, a table at the end.
//!
//! On a terminal the running step is shown as well, and there are colours; elsewhere only plain lines that stay true
//! when read later.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weft_tests::{Failure, Result, command};

/// The running show.
pub(crate) struct Show {
    begun: Instant,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The step that runs now.
    running: Option<String>,
    /// Left out of the commands that are shown, as everything happens there.
    directory: String,
    rows: Vec<Row>,
}

struct Row {
    title: String,
    detail: String,
    held: bool,
    took: Duration,
}

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";
/// To the beginning of the line, and clear it.
const OVERWRITE: &str = "\r\x1b[2K";

impl Show {
    /// Begins with the title.
    pub(crate) fn begin() -> Self {
        anstream::println!(
            "{BOLD}weft demo{PLAIN}: from a Git repository to a running mesh without a control plane\n"
        );
        let terminal = std::io::stdout().is_terminal();
        Self { begun: Instant::now(), terminal, state: Mutex::default() }
    }

    /// Everything happens in this directory from now on.
    pub(crate) fn enter(&self, directory: &std::path::Path) {
        self.line(&format!("{DIM}  $ cd {}{PLAIN}", directory.display()));
        self.state().directory = format!("{}/", directory.display());
    }

    /// Runs a step. What it gives is shown behind its title; a failure ends the show.
    pub(crate) fn step<T: fmt::Display>(&self, title: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.state().running = Some(title.to_owned());
        self.show_running();
        self.talkative_step(title, act)
    }

    /// The same for a step that shows its own progress.
    pub(crate) fn talkative_step<T: fmt::Display>(
        &self,
        title: &str,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        let outcome = act();
        self.state().running = None;
        let detail = match &outcome {
            Ok(detail) => detail.to_string(),
            Err(failure) => failure.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let row = Row { title: title.to_owned(), detail, held: outcome.is_ok(), took: begun.elapsed() };
        self.line(&format!(
            "{} {:<28} {} {DIM}({:.1} s){PLAIN}",
            mark(row.held),
            row.title,
            row.detail,
            row.took.as_secs_f32()
        ));
        self.state().rows.push(row);
        outcome
    }

    /// Shows a command before it runs.
    pub(crate) fn command(&self, shown: &Command) {
        let line = command::shown(shown);
        let line = line.replace(&self.state().directory, "");
        self.line(&format!("{DIM}  $ {line}{PLAIN}"));
    }

    /// Shows a command with many options, a few to a line.
    pub(crate) fn long_command(&self, shown: &Command) {
        let line = command::shown(shown).replace(&self.state().directory, "");
        let mut text = String::new();
        let mut width = 0;
        for (number, option) in line.split(" --").enumerate() {
            let dashes = if number == 0 { "  $ " } else { " --" };
            if number > 0 && width + option.len() > 100 {
                text.push_str(" \\\n      ");
                width = 6;
            }
            text.push_str(dashes);
            text.push_str(option);
            width += dashes.len() + option.len();
        }
        self.line(&format!("{DIM}{text}{PLAIN}"));
    }

    /// Shows something worth reading below the running step.
    pub(crate) fn remark(&self, text: &str) {
        self.line(&format!("    {text}"));
    }

    /// Shows all of what went wrong.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.line(&format!("\n{RED}{failure}{PLAIN}"));
    }

    /// Shows the table. Whether everything held.
    pub(crate) fn table(&self) -> bool {
        let state = self.state();
        let width = state.rows.iter().map(|row| row.title.chars().count()).max().unwrap_or_default();
        anstream::println!("\n{BOLD}{:width$}    what was seen{PLAIN}", "promise");
        for row in &state.rows {
            anstream::println!("{:width$}  {} {}", row.title, mark(row.held), row.detail);
        }
        let held = state.rows.iter().filter(|row| row.held).count();
        anstream::println!(
            "\n{held} of {} held, after {:.0} s",
            state.rows.len(),
            self.begun.elapsed().as_secs_f32()
        );
        held == state.rows.len()
    }

    /// Prints a line, and the running step below it.
    fn line(&self, text: &str) {
        let overwrite = if self.terminal { OVERWRITE } else { "" };
        anstream::println!("{overwrite}{text}");
        self.show_running();
    }

    fn show_running(&self) {
        if self.terminal
            && let Some(title) = &self.state().running
        {
            anstream::print!("{OVERWRITE}· {title} …");
            // A closed pipe shows itself at the next line.
            drop(std::io::stdout().flush());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark(held: bool) -> String {
    match held {
        true => format!("{GREEN}✓{PLAIN}"),
        false => format!("{RED}✗{PLAIN}"),
    }
}
