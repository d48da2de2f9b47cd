//! `weft verify`: what a proxy would say about a release directory or a single-service pack.
//!
//! Runs the proxy's own update cycle with an empty state, then looks at what proxies never read: `release.json` and the
//! manifest.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use weft_bundle::engine::Engine;
use weft_bundle::release::delivery::{Expected, check_manifest, check_release};
use weft_bundle::release::envelope::Envelope;
use weft_bundle::release::trust::Trust;
use weft_bundle::release::{
    Candidate, Channel, Config, Fetched, Freshness, MAX_SERVICE_FILE, Memory, MeshName, ObjectName,
    ProgramVersion, ServiceId, Step, Store, StoreError, UpdateError, Updater, UtcTime,
};

use super::{FINE, fail, findings, say};
use crate::publish::Directory;

/// Checks a release as a proxy does, and says which check failed
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft verify release --root keys/root.json --mesh prod --service shop/cart
  weft verify pack --root keys/root.json --mesh prod --service shop/cart --channel canary

Exit codes: 0 a proxy would run it, 1 it would refuse it, 2 the files could not be read.")]
pub struct Args {
    /// The directory of the release, or of a pack for one service
    dir: PathBuf,
    /// The root of trust that the proxy is given; never one from the directory itself
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// The mesh of the proxy
    #[arg(long, value_name = "NAME")]
    mesh: MeshName,
    /// The service of the proxy
    #[arg(long, value_name = "NS/NAME")]
    service: ServiceId,
    /// The channel that the proxy follows
    #[arg(long, value_name = "NAME", default_value = "stable")]
    channel: Channel,
    /// The time at which to judge, instead of now
    #[arg(long, value_name = "RFC3339")]
    at: Option<UtcTime>,
}

/// Checks the release and prints a line per step.
pub fn run(args: Args) -> ExitCode {
    let listed = || fs::read_dir(&args.dir).map(drop).map_err(|error| named(&args.dir, &error));
    let anchor = match read(&args.root).and_then(|anchor| listed().map(|()| anchor)) {
        Ok(anchor) => anchor,
        Err(error) => return fail(&error),
    };
    let config = Config {
        mesh: args.mesh,
        channel: args.channel,
        service: args.service,
        instance_id: "weft verify".to_owned(),
        // Judges what the first of all proxies would run.
        canary: true,
        version: ProgramVersion::own(),
        allow_expired: false,
    };
    let now = args.at.unwrap_or_else(|| SystemTime::now().into());
    let report = verify(&Directory::new(&args.dir), config, &anchor, now);
    for (what, found) in &report.passed {
        say(format_args!("ok       {what:<10} {found}"));
    }
    match report.refused {
        None => FINE,
        Some((what, error)) => {
            say(format_args!("refused  {what:<10} {} ({})", error, error.reason()));
            if matches!(error, UpdateError::Store { .. }) { super::cannot() } else { findings() }
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read `{}`: {error}", path.display()))
}

/// Which steps passed, with what was found; and the one that did not, if any.
#[derive(Debug, Default)]
struct Report {
    passed: Vec<(&'static str, String)>,
    refused: Option<(&'static str, UpdateError)>,
}

fn verify(directory: &Directory, config: Config, anchor: &[u8], now: UtcTime) -> Report {
    let mut report = Report::default();
    let mut what = "anchor";
    if let Err(error) = steps(directory, config, anchor, now, &mut report, &mut what) {
        report.refused = Some((what, error));
    }
    report
}

/// Goes through the steps; `what` is the one it is at.
fn steps(
    directory: &Directory,
    config: Config,
    anchor: &[u8],
    now: UtcTime,
    report: &mut Report,
    what: &mut &'static str,
) -> Result<(), UpdateError> {
    let (mesh, service) = (config.mesh.clone(), config.service.clone());
    let updater = Updater::new(config, anchor)?;
    let root = Trust::new(anchor, &mesh)?.newest().clone();
    report.passed.push(("anchor", format!("root {} of mesh {mesh}, epoch {}", root.version, root.epoch)));

    let (state, store) = (Memory::default(), Watched { directory, asked: RefCell::default() });
    *what = "timestamp";
    let mut step = updater.check(&state, &store, None, now);
    if matches!(step, Ok(Step::Denylist(_))) {
        step = updater.check(&state, &store, None, now);
    }
    // How far it came is seen from what it kept and what it asked for.
    let standing = updater.standing(&state, now)?;
    if let Some(timestamp) = &standing.timestamp {
        let stale = if standing.freshness == Freshness::Fresh { "" } else { ", stale" };
        let found = format!("version {}, issued {}{stale}", timestamp.version, timestamp.issued);
        report.passed.push(("timestamp", found));
        *what = "choice";
    }
    if standing.root_version > root.version {
        report.passed.push(("root", format!("led on to root {}", standing.root_version)));
    }
    let asked = store.asked.borrow().clone();
    if asked.iter().any(|name| name.contains("service")) {
        *what = "release";
    }
    let candidate = match step {
        Ok(Step::Candidate(candidate)) => candidate,
        Ok(Step::Unchanged(_) | Step::Denylist(_)) => return Err(UpdateError::NotEligible),
        Err(error) => {
            if error.to_string().starts_with("blobs/") || asked.iter().any(|name| name.starts_with("blobs/"))
            {
                *what = "body";
            }
            return Err(error);
        }
    };
    describe(&candidate, &service, report);

    *what = "body";
    let body = candidate.parse()?;
    Engine::build(std::sync::Arc::new(body))
        .map_err(|error| UpdateError::Apply { message: error.to_string() })?;
    let found = format!("{} bytes, sha256 {}", candidate.body.len(), candidate.body_digest);
    report.passed.push(("body", found));

    *what = "manifest";
    audit(directory, anchor, &mesh, &candidate, report)
}

fn describe(candidate: &Candidate, service: &ServiceId, report: &mut Report) {
    let release = &candidate.release;
    let commit = if release.source.commit.is_empty() { "no commit" } else { &release.source.commit };
    let found = format!("release {} of {commit} by {}", candidate.pin.sequence, release.compiler);
    report.passed.push(("release", found));
    report.passed.push(("proof", format!("{service} is one of its {} services", release.tree.size)));
}

/// What proxies never read: the release on its own, and the list of all services. A pack has neither.
fn audit(
    directory: &Directory,
    anchor: &[u8],
    mesh: &MeshName,
    candidate: &Candidate,
    report: &mut Report,
) -> Result<(), UpdateError> {
    let sequence = candidate.pin.sequence;
    let name = ObjectName::release(sequence);
    let Some(release) = get(directory, &name, MAX_SERVICE_FILE)? else { return Ok(()) };
    let envelope = Envelope::decode(&release)
        .map_err(|error| UpdateError::BadEnvelope { object: name.to_string(), message: error.to_string() })?;
    let mut trust = Trust::new(anchor, mesh)?;
    while let Some(root) =
        get(directory, &ObjectName::root(trust.newest().version + 1), weft_bundle::release::MAX_ROOT)?
    {
        trust.extend(&root)?;
    }
    let expected =
        Expected { mesh, root: trust.newest(), pin: candidate.pin, version: ProgramVersion::own() };
    let statement = check_release(name.as_str(), &envelope, expected)?;
    let name = ObjectName::manifest(sequence);
    // As long as its signed number of leaves can be, none of which is longer than this.
    let cap = statement.predicate.tree.size.saturating_mul(1024);
    let manifest =
        get(directory, &name, cap)?.ok_or_else(|| UpdateError::Missing { object: name.to_string() })?;
    let leaves = check_manifest(name.as_str(), &manifest, &statement)?;
    report.passed.push(("manifest", format!("lists {} services", leaves.len())));
    Ok(())
}

fn get(directory: &Directory, name: &ObjectName, cap: u64) -> Result<Option<Vec<u8>>, UpdateError> {
    match directory.get(name, cap, None) {
        Ok(Fetched::Found { bytes, .. }) if bytes.len() as u64 > cap => {
            Err(UpdateError::Oversized { object: name.to_string(), cap })
        }
        Ok(Fetched::Found { bytes, .. }) => Ok(Some(bytes)),
        Ok(Fetched::Absent | Fetched::NotModified) => Ok(None),
        Err(error) => Err(UpdateError::Store { object: name.to_string(), message: error.0 }),
    }
}

/// A directory that remembers what was asked for.
struct Watched<'a> {
    directory: &'a Directory,
    asked: RefCell<Vec<String>>,
}

impl Store for Watched<'_> {
    fn get(&self, name: &ObjectName, cap: u64, etag: Option<&str>) -> Result<Fetched, StoreError> {
        self.asked.borrow_mut().push(name.to_string());
        self.directory.get(name, cap, etag)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;
    use weft_bundle::json::to_canonical;
    use weft_bundle::release::sign::pack_service;
    use weft_bundle::release::{Digest, Source};

    use super::*;
    use crate::publish::{KeyDir, NewKeys, Options, publish};

    const NOW: UtcTime = UtcTime::from_unix(1_795_000_000);

    /// A release of two services.
    pub(crate) struct Bench {
        pub(crate) release: PathBuf,
        pub(crate) body_name: String,
        dir: tempfile::TempDir,
        keys: KeyDir,
    }

    impl Bench {
        pub(crate) fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut next = 0;
            let seed = |seed: &mut [u8; 32]| {
                next += 1;
                *seed = [next; 32];
                Ok(())
            };
            let keys = dir.path().join("keys");
            let mesh = "prod".parse().unwrap();
            NewKeys::generate(&mesh, UtcTime::from_unix(1_900_000_000), seed).unwrap().write(&keys).unwrap();
            let keys = KeyDir::open(&keys).unwrap();
            let body = |service: &str| {
                let identity = format!("spiffe://prod.example/{service}");
                let body =
                    json!({ "mesh": "prod", "service": service, "identity": identity, "trust_anchors": {} });
                (service.parse::<ServiceId>().unwrap(), to_canonical(&body).unwrap())
            };
            let bodies = [body("shop/cart"), body("shop/api")];
            let body_name = ObjectName::blob(&Digest::of(&bodies[0].1)).to_string();
            let release = dir.path().join("release");
            let source = Source { commit: "c0ffee".into(), ..Source::default() };
            publish(&release, &keys, &bodies, &source, &Options::new(NOW, &|_, _| Ok(true))).unwrap();
            Self { release, body_name, dir, keys }
        }

        fn verify(&self, dir: &Path, change: impl FnOnce(&mut Config)) -> Report {
            let mut config = Config {
                mesh: "prod".parse().unwrap(),
                channel: Channel::stable(),
                service: "shop/cart".parse().unwrap(),
                instance_id: String::new(),
                canary: true,
                version: ProgramVersion::own(),
                allow_expired: false,
            };
            change(&mut config);
            verify(&Directory::new(dir), config, &self.keys.anchor, NOW)
        }
    }

    fn steps_of(report: &Report) -> Vec<&str> {
        report.passed.iter().map(|(what, _)| *what).collect()
    }

    fn refusal(report: &Report) -> (&str, &str) {
        let (what, error) = report.refused.as_ref().unwrap();
        (what, error.reason())
    }

    #[test]
    fn a_good_release_passes_every_step() {
        let bench = Bench::new();
        let report = bench.verify(&bench.release, |_| {});
        assert!(report.refused.is_none(), "{report:?}");
        assert_eq!(steps_of(&report), ["anchor", "timestamp", "release", "proof", "body", "manifest"]);
    }

    #[test]
    fn a_pack_is_read_by_the_same_verifier() {
        let bench = Bench::new();
        let pack = bench.dir.path().join("pack");
        fs::create_dir(&pack).unwrap();
        let read = |name: &str| fs::read(bench.release.join(name)).unwrap();
        let service = read("releases/1/services/shop/cart.json");
        fs::write(pack.join("root.json"), read("root/1.json")).unwrap();
        fs::write(pack.join("latest.json"), read("channels/stable/latest.json")).unwrap();
        fs::write(pack.join("service.json"), pack_service(&service, &read(&bench.body_name)).unwrap())
            .unwrap();
        let report = bench.verify(&pack, |_| {});
        assert!(report.refused.is_none(), "{report:?}");
        assert_eq!(steps_of(&report), ["anchor", "timestamp", "release", "proof", "body"]);
        let other = bench.verify(&pack, |config| config.service = "shop/api".parse().unwrap());
        assert_eq!(refusal(&other), ("release", "wrong-target"));
        fs::write(pack.join("service.json"), pack_service(&service, b"other").unwrap()).unwrap();
        assert_eq!(refusal(&bench.verify(&pack, |_| {})), ("body", "truncated"));
    }

    #[test]
    fn the_step_that_failed_is_named() {
        let cases: &[(&str, &str, &str, (&str, &str))] = &[
            ("channels/stable/latest.json", "\"sig\":\"", "\"sig\":\"AAAA", ("timestamp", "threshold")),
            ("channels/stable/latest.json", "}", "", ("timestamp", "bad-json")),
            ("releases/1/services/shop/cart.json", "\"index\":1", "\"index\":0", ("release", "proof")),
            ("releases/1/services/shop/cart.json", "{", "[", ("release", "bad-json")),
            ("BODY", "spiffe", "spiffy", ("body", "digest")),
            ("BODY", "{", "", ("body", "truncated")),
            ("releases/1/manifest.jsonl", "shop/api", "shop/apj", ("manifest", "digest")),
            ("releases/1/release.json", "\"sig\":\"", "\"sig\":\"AAAA", ("manifest", "threshold")),
        ];
        for (name, from, to, expected) in cases {
            let bench = Bench::new();
            let name = if *name == "BODY" { &bench.body_name } else { *name };
            let path = bench.release.join(name);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{name} has no {from}");
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
            assert_eq!(refusal(&bench.verify(&bench.release, |_| {})), *expected, "{name}: {from}");
        }
    }

    #[test]
    fn another_target_is_refused() {
        let bench = Bench::new();
        let mesh = bench.verify(&bench.release, |config| config.mesh = "test".parse().unwrap());
        assert_eq!(refusal(&mesh), ("anchor", "wrong-target"));
        let channel = bench.verify(&bench.release, |config| config.channel = "dev".parse().unwrap());
        assert_eq!(refusal(&channel), ("timestamp", "missing"));
        let service = bench.verify(&bench.release, |config| config.service = "shop/none".parse().unwrap());
        assert_eq!(refusal(&service), ("release", "missing"));
        let late = verify(
            &Directory::new(&bench.release),
            Config {
                mesh: "prod".parse().unwrap(),
                channel: Channel::stable(),
                service: "shop/cart".parse().unwrap(),
                instance_id: String::new(),
                canary: true,
                version: ProgramVersion::own(),
                allow_expired: false,
            },
            &bench.keys.anchor,
            UtcTime::from_unix(1_799_000_000),
        );
        assert_eq!(refusal(&late), ("timestamp", "expired"));
    }
}
