//! The programs under test, built if they are not.
//!
//! Cargo gives an integration test the path of its own package's binaries only, and ours belong to other packages. So
//! the bench asks Cargo to build them, with the target directory and profile of the running process. Cargo itself says
//! where the binaries are.
//!
//! A test names itself as a target of that build. Cargo then resolves features as `cargo test --workspace` did, finds
//! every library built, and has two programs left to link; without that, development dependencies count for nothing
//! and half of the workspace is built once more.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::{Context, Failure, Result};

/// The two programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The compiler's command line.
    pub weft: PathBuf,
    /// The sidecar.
    pub proxy: PathBuf,
}

impl Binaries {
    /// The programs; built at most once per process. Those in the directory that `WEFT_PROGRAMS` names are taken as they are:
    /// so a benchmark compares two builds.
    ///
    /// # Errors
    /// The build fails; its messages are on standard error.
    pub fn get() -> Result<&'static Self> {
        static BUILT: OnceLock<Result<Binaries>> = OnceLock::new();
        let found = || match std::env::var_os("WEFT_PROGRAMS").map(PathBuf::from) {
            Some(folder) => Ok(Self { weft: folder.join("weft"), proxy: folder.join("weft-proxy") }),
            None => Self::build(&mut build_command()),
        };
        BUILT.get_or_init(found).as_ref().map_err(Clone::clone)
    }

    /// Runs a build and notes where it put the programs.
    ///
    /// # Errors
    /// The build fails, or does not build them.
    pub fn build(command: &mut Command) -> Result<Self> {
        let line = crate::command::shown(command);
        let mut cargo = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context(&line)?;
        let messages = cargo.stdout.take().map(BufReader::new);
        let (mut weft, mut proxy) = (None, None);
        for message in messages.into_iter().flat_map(BufRead::lines) {
            let message = message.context(&line)?;
            match executable(&message) {
                Some((name, path)) if name == "weft" => weft = Some(path),
                Some((name, path)) if name == "weft-proxy" => proxy = Some(path),
                Some(_) | None => {}
            }
        }
        if !cargo.wait().context(&line)?.success() {
            return Err(Failure::new(format!("`{line}` failed")));
        }
        match (weft, proxy) {
            (Some(weft), Some(proxy)) => Ok(Self { weft, proxy }),
            _ => Err(Failure::new(format!("`{line}` built no `weft` or no `weft-proxy`"))),
        }
    }
}

/// The build, as [`Binaries::get`] runs it. Progress goes to standard error.
pub fn build_command() -> Command {
    let mut command = Command::new(now_or_then("CARGO", env!("CARGO")));
    command.current_dir(workspace()).args(["build", "--workspace", "--bins"]);
    if let Some(place) = std::env::current_exe().ok().and_then(|exe| Place::of(&exe)) {
        if place.is_test {
            command.args(["--test", "whole_path"]);
        }
        command.args(["--profile", &place.profile, "--target-dir"]).arg(place.target);
    }
    command.arg("--message-format=json-render-diagnostics");
    command
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let tests = PathBuf::from(now_or_then("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR")));
    tests.parent().unwrap_or(&tests).to_path_buf()
}

/// What Cargo says as it runs us, else what it said as it built us: a checkout that was moved with its target directory
/// is not built again.
fn now_or_then(variable: &str, then: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| then.into())
}

/// Where in a target directory a process was built: `<target>/<profile>[/deps]/<program>`.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    target: PathBuf,
    profile: String,
    is_test: bool,
}

impl Place {
    fn of(exe: &Path) -> Option<Self> {
        let folder = exe.parent()?;
        let is_test = folder.ends_with("deps");
        let folder = if is_test { folder.parent()? } else { folder };
        let profile = match folder.file_name()?.to_str()? {
            "debug" => "dev",
            other => other,
        };
        Some(Self { target: folder.parent()?.to_path_buf(), profile: profile.to_owned(), is_test })
    }
}

/// The program that a message of Cargo's tells of, if it does.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_target_directory_and_profile() {
        let place = |path: &str| {
            let place = Place::of(Path::new(path)).unwrap();
            (place.target.display().to_string(), place.profile, place.is_test)
        };
        let expected = |target: &str, profile: &str, test| (target.to_owned(), profile.to_owned(), test);
        assert_eq!(place("/w/target/debug/deps/whole_path-1f"), expected("/w/target", "dev", true));
        assert_eq!(place("/w/target/debug/weft-demo"), expected("/w/target", "dev", false));
        assert_eq!(place("/t/release/weft-demo"), expected("/t", "release", false));
    }

    #[test]
    fn cargo_says_where_programs_are() {
        let message =
            r#"{"reason":"compiler-artifact","target":{"name":"weft"},"executable":"/t/debug/weft"}"#;
        assert_eq!(executable(message), Some(("weft".to_owned(), PathBuf::from("/t/debug/weft"))));
        assert_eq!(executable(r#"{"target":{"name":"serde"},"executable":null}"#), None);
        assert_eq!(executable("not json"), None);
    }
}
