//! `weft key`: the keys that sign releases.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use weft_bundle::release::{MeshName, UtcTime};

use super::{FINE, fail, say};
use crate::publish::{KeyDirError, NewKeys};

/// Makes the keys that sign releases
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft key new --mesh prod --out keys
  weft build policy --out release --key keys

One Ed25519 key per role, in PKCS#8 PEM files that only their owner can read:
  root.pem        names all the others; keep it offline, it is needed for rotation only
  release.pem     signs releases; for the pipeline
  timestamp.pem   signs what is current; for the pipeline
  denylist.pem    signs lists of identities no longer trusted
and root.json, the signed root of trust that names them: every proxy gets it (`--root`).

`weft build --key` takes this directory. It also takes one PEM file with root.json beside it,
if that root names the key both for releases and for timestamps.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Makes new keys, and root 1 that names them
    New {
        /// The mesh they sign for, such as `prod`
        #[arg(long, value_name = "NAME")]
        mesh: MeshName,
        /// Where to put them; nothing is overwritten
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How many days the root of trust is valid
        #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=36500))]
        days: u64,
    },
}

/// How long a root of trust is valid, unless somebody says otherwise.
pub(super) const LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Makes the keys.
pub fn run(args: Args) -> ExitCode {
    let Command::New { mesh, out, days } = args.command;
    let expires = UtcTime::from(SystemTime::now()).plus(Duration::from_secs(days * 24 * 60 * 60));
    match new(&mesh, &out, expires) {
        Ok(paths) => {
            for path in paths {
                say(format_args!("wrote {}", path.display()));
            }
            say(format_args!("root 1 of mesh {mesh}, valid until {expires}"));
            FINE
        }
        Err(error) => fail(&error),
    }
}

/// Makes the keys of a mesh.
///
/// # Errors
/// If a file is there already, or cannot be written.
pub(super) fn new(
    mesh: &MeshName,
    out: &std::path::Path,
    expires: UtcTime,
) -> Result<Vec<PathBuf>, KeyDirError> {
    let random = |seed: &mut [u8; 32]| {
        aws_lc_rs::rand::fill(seed).map_err(|_| io::Error::other("the system gives no randomness"))
    };
    NewKeys::generate(mesh, expires, random)?.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::KeyDir;

    #[test]
    fn new_keys_are_each_their_own_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let mesh: MeshName = "prod".parse().unwrap();
        let expires = UtcTime::from_unix(1_900_000_000);
        let paths = new(&mesh, &dir.path().join("a/keys"), expires).unwrap();
        assert_eq!(paths.len(), 5);
        let keys = KeyDir::open(&dir.path().join("a/keys")).unwrap();
        assert_eq!(keys.mesh, mesh);
        assert_ne!(keys.release.public(), keys.timestamp.public());
        let before = std::fs::read(dir.path().join("a/keys/root.pem")).unwrap();
        assert!(matches!(new(&mesh, &dir.path().join("a/keys"), expires), Err(KeyDirError::Exists { .. })));
        assert_eq!(std::fs::read(dir.path().join("a/keys/root.pem")).unwrap(), before);
        // One missing file does not make room for a mixture of two sets.
        std::fs::remove_file(dir.path().join("a/keys/root.pem")).unwrap();
        assert!(new(&mesh, &dir.path().join("a/keys"), expires).is_err());
        assert!(!dir.path().join("a/keys/root.pem").exists());
    }
}
