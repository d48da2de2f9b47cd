//! Running a command to its end, and showing it as a user would type it.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Context, Failure, Result};

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// As a user would type it.
    pub line: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Itself, if it ended with this code.
    ///
    /// # Errors
    /// It ended otherwise; the failure holds everything that it wrote.
    pub fn expect_code(self, code: i32) -> Result<Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        Err(Failure::new(format!("expected exit code {code}\n{self}")))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("a signal".to_owned(), |code| code.to_string());
        write!(f, "$ {}\n{}{}(ended with {code})", self.line, self.stdout, self.stderr)
    }
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command) -> Result<Finished> {
    let line = shown(command);
    let output = command.stdin(Stdio::null()).output().context(&line)?;
    Ok(Finished {
        line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The command as a user would type it: the program without its directory, arguments quoted where a shell needs it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/usr/bin/weft");
        command.args(["trace", "GET http://reviews:9080/x", "-H", "it's"]);
        assert_eq!(shown(&command), r"weft trace 'GET http://reviews:9080/x' -H 'it'\''s'");
    }

    #[test]
    fn output_and_code_are_kept() {
        let finished = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert!(finished.clone().expect_code(3).is_ok());
        let failure = finished.expect_code(0).unwrap_err().to_string();
        assert!(failure.contains("expected exit code 0") && failure.contains("err"), "{failure}");
    }
}
