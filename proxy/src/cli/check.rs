//! `weft-proxy check`: the validator that the compiler's pipeline runs too. Builds everything that a proxy builds before it
//! adopts a bundle, and listens on nothing.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use weft_bundle::json;
use weft_bundle::release::payload::{Leaf, ServiceFile};
use weft_bundle::release::{Digest, MAX_BODY, MAX_PACK, ObjectName};

use crate::snapshot::{ApplyError, Generation, Snapshot};
use crate::worker;

/// Say whether a body or service file could be served
///
/// The signatures are not looked at; `weft verify` does that. A service file without its body finds the body in the
/// release directory that it lies in.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 it can be served, 1 it cannot, 2 it could not be read

Examples:
  weft-proxy check render/shop/cart.json
  weft-proxy check dist/releases/12/services/shop/cart.json")]
pub struct Args {
    /// A body as `weft build --render` writes it, or a service file of a release or pack
    file: PathBuf,
}

/// Why a file cannot be served.
#[derive(Debug)]
enum Fault {
    Read(PathBuf, std::io::Error),
    TooLarge(PathBuf),
    ServiceFile(String),
    Leaf(String),
    Digest,
    Apply(ApplyError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read `{}`: {error}", path.display()),
            Self::TooLarge(path) => write!(f, "`{}` is larger than any bundle may be", path.display()),
            Self::ServiceFile(why) => write!(f, "the service file is not understood: {why}"),
            Self::Leaf(why) => write!(f, "the service file's leaf is not understood: {why}"),
            Self::Digest => f.write_str("the body is not the one that the service file names"),
            Self::Apply(error) => error.fmt(f),
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    match check(&args.file) {
        Ok(snapshot) => {
            let body = snapshot.body();
            println!(
                "{}: can be served: {}, inbound ports {}, services {}, clusters {}",
                args.file.display(),
                body.service,
                body.inbound.len(),
                body.outbound.len(),
                body.clusters.len()
            );
            ExitCode::SUCCESS
        }
        Err(fault @ Fault::Read(..)) => {
            eprintln!("error: {fault}");
            ExitCode::from(2)
        }
        Err(fault) => {
            eprintln!("error: {}: {fault}", args.file.display());
            ExitCode::FAILURE
        }
    }
}

fn check(file: &Path) -> Result<Arc<Snapshot>, Fault> {
    let bytes = read(file, MAX_PACK)?;
    let body = match json::from_slice::<ServiceFile>(&bytes) {
        Ok(service_file) => body_of(service_file, file)?,
        Err(error) if is_for_a_release(&bytes) => return Err(Fault::ServiceFile(error.to_string())),
        // Then it is a body, or wrong as one.
        Err(_) => bytes,
    };
    let generation = Generation { sequence: 0, digest: Digest::of(&body).to_string(), stale: false };
    let snapshot = Arc::new(Snapshot::build(&body, generation).map_err(Fault::Apply)?);
    worker::dry_run(&snapshot).map_err(Fault::Apply)?;
    Ok(snapshot)
}

/// Whether it is a service file, though perhaps a wrong one: bodies have no such field.
fn is_for_a_release(bytes: &[u8]) -> bool {
    json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| value.get("release").is_some())
}

/// The body of a service file: inside, or among the blobs of the release directory around it.
fn body_of(service_file: ServiceFile, file: &Path) -> Result<Vec<u8>, Fault> {
    let leaf: Leaf =
        json::from_slice(&service_file.leaf.0).map_err(|error| Fault::Leaf(error.to_string()))?;
    let body = match service_file.body {
        Some(body) => body.0,
        None => {
            let blob = ObjectName::blob(&leaf.sha256);
            // <release directory>/releases/<sequence>/services/<namespace>/<name>.json
            let root = file.ancestors().nth(5).unwrap_or(Path::new(""));
            read(&root.join(blob.as_str()), MAX_BODY)?
        }
    };
    if Digest::of(&body) == leaf.sha256 { Ok(body) } else { Err(Fault::Digest) }
}

fn read(path: &Path, cap: u64) -> Result<Vec<u8>, Fault> {
    let fail = |error| Fault::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(cap + 1).read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > cap {
        return Err(Fault::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{calls, serves};
    use serde_json::{Value, json};

    fn checked(body: &Value) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("body.json");
        std::fs::write(&file, body.to_string()).unwrap();
        check(&file).map(drop).map_err(|fault| fault.to_string())
    }

    #[test]
    fn good_bodies_can_be_served() {
        let anywhere = "127.0.0.1:1".parse().unwrap();
        checked(&calls(&[anywhere])).unwrap();
        checked(&serves(anywhere, "strict", &json!({}))).unwrap();
    }

    #[test]
    fn a_wrong_service_file_is_not_called_a_body() {
        let fault = checked(&json!({"release": {}, "leaf": "", "proof": {}})).unwrap_err();
        assert!(fault.starts_with("the service file is not understood: missing field"), "{fault}");
    }

    #[test]
    fn bad_bodies_are_refused_with_their_fault() {
        let anywhere = "127.0.0.1:1".parse().unwrap();
        let fault = |change: &dyn Fn(&mut Value)| {
            let mut body = serves(anywhere, "off", &json!({}));
            change(&mut body);
            checked(&body).unwrap_err()
        };
        let unknown = fault(&|body| body["inbound"][0]["mirror"] = json!(1));
        assert!(unknown.contains("mirror"), "{unknown}");
        let address = fault(&|body| body["inbound"][0]["application"] = json!("localhost"));
        assert!(address.contains("`localhost` is not `ip:port`"), "{address}");
        let anchor = fault(&|body| body["trust_anchors"] = json!({"td": ["AAAA"]}));
        assert!(anchor.contains("trust anchor of `td`"), "{anchor}");
        let regex = fault(&|body| {
            body["inbound"][0]["access"]["rules"] = json!([{"effect": "allow",
                "origin": crate::testing::origin(2), "to": [{"paths": [{"regex": "("}]}]}]);
        });
        assert!(regex.contains("regular expression `(`"), "{regex}");
        let protocol = fault(&|body| body["inbound"][0]["protocol"] = json!("udp"));
        assert!(protocol.contains("forwarding datagrams (inbound port 80)"), "{protocol}");
    }
}
