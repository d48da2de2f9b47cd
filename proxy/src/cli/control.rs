//! The control half of `run`: made from the arguments, run on a thread of its own.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use weft_bundle::release::payload::Pin;
use weft_bundle::release::{Config, MAX_ROOT, ProgramVersion, Standing, Updater};

use super::run::Args;
use crate::admin::Facts;
use crate::source::directory::Directory;
use crate::source::watch::Wake;
use crate::state::StateDirectory;
use crate::updater::{Control, Report, Runtime};
use crate::worker::DataPlane;

/// The state file that holds the instance id of a proxy that was not given one.
const INSTANCE_ID: &str = "instance-id";

/// A control half that has not looked at anything yet.
pub(super) struct Prepared(Control);

/// A control half at work.
pub(super) struct Running {
    waker: Sender<Wake>,
    thread: JoinHandle<()>,
}

/// Reads the trust root and opens the state directory.
pub(super) fn prepare(args: &Args, plane: &Arc<DataPlane>) -> Result<Prepared, String> {
    if args.source.to_string_lossy().contains("://") {
        return Err(format!("source `{}`: this version follows directories only", args.source.display()));
    }
    let anchor = read_root(&args.root)?;
    let state = StateDirectory::open(&args.state)
        .map_err(|error| format!("state `{}`: {error}", args.state.display()))?;
    let version: ProgramVersion =
        env!("CARGO_PKG_VERSION").parse().map_err(|_| "our own version is not a version".to_owned())?;
    let config = Config {
        mesh: args.mesh.clone(),
        channel: args.channel.clone(),
        service: args.service.clone(),
        instance_id: instance_id(args, &state)?,
        canary: args.canary,
        version,
        allow_expired: args.bootstrap_allow_expired,
    };
    let updater =
        Updater::new(config, &anchor).map_err(|error| format!("root `{}`: {error}", args.root.display()))?;
    let runtime: Arc<dyn Runtime> = Arc::<DataPlane>::clone(plane);
    let metrics = plane.metrics().control.clone();
    Ok(Prepared(Control::new(updater, state, Directory::new(&args.source), runtime, metrics)))
}

fn read_root(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let fail = |error: std::io::Error| format!("root `{}`: {error}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(fail)?.take(MAX_ROOT + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// As configured, else the pod's name, else one drawn once and kept: a new draw at each start would move us about in
/// every rollout.
fn instance_id(args: &Args, state: &StateDirectory) -> Result<String, String> {
    let pod = || std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    if let Some(id) = args.instance_id.clone().or_else(pod) {
        return Ok(id);
    }
    let fail = |error: std::io::Error| format!("state `{}`: {error}", args.state.display());
    let kept = state.read(INSTANCE_ID).map_err(fail)?;
    if let Some(id) = kept.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|id| !id.is_empty()) {
        return Ok(id);
    }
    let id = format!("{:032x}", fastrand::u128(..));
    if let Err(error) = state.write(INSTANCE_ID, id.as_bytes()) {
        tracing::warn!(%error, "the instance id cannot be kept; the next start takes another place in rollouts");
    }
    Ok(id)
}

impl Prepared {
    /// What the admin page shows of it.
    pub(super) fn facts(&self) -> Facts {
        let report: Arc<Mutex<Report>> = self.0.report();
        Arc::new(move || describe(&report.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Starts from the state directory, then follows the source.
    pub(super) fn start(self) -> std::io::Result<Running> {
        let Self(mut control) = self;
        let waker = control.waker();
        let work = move || {
            control.resume();
            control.run();
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(work)?;
        Ok(Running { waker, thread })
    }
}

impl Running {
    /// Ends it after the step it is in.
    pub(super) fn stop(self) {
        // A thread that is gone has stopped.
        let _ = self.waker.send(Wake::Stop);
        let _ = self.thread.join();
    }
}

fn describe(report: &Report) -> Value {
    let pin = |pin: &Pin| json!({"sequence": pin.sequence, "sha256": pin.sha256});
    let standing = |standing: &Standing| {
        json!({
            "freshness": format!("{:?}", standing.freshness).to_lowercase(),
            "root_version": standing.root_version,
            "timestamp": standing.timestamp,
            "seen": standing.seen.as_ref().map(pin),
            "active": standing.active.as_ref().map(pin),
            "previous": standing.previous.as_ref().map(pin),
            "rejected": standing.rejected.iter().map(pin).collect::<Vec<_>>(),
            "denylist_version": standing.denylist.as_ref().map(|denylist| denylist.version),
            "rollout_bucket": standing.rollout.as_ref().map(|(bucket, _)| bucket),
        })
    };
    json!({
        "running": report.running.as_ref().map(pin),
        "standing": report.standing.as_ref().map(standing),
        "problem": report.problem.as_ref().map(|(reason, message)| json!({"reason": reason, "message": message})),
    })
}
