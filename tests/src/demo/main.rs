//! `cargo demo`: the whole path, from a Git repository to a running mesh, with every promise tried as it goes.
//!
//! ```text
//! prepare   build the programs; keys, certificates, a Git repository of policy-examples/bookinfo, ports of its own
//! stage     check, build, one weft-proxy per replica, an upstream behind each
//! acts      canary, routing by header, refusals, a new release under load, tampering, no release directory
//! show      a line as each step ends, the commands as a user would type them, a table at the end
//! ```
//!
//! Exits with 1 if anything did not hold. Everything lives in a temporary directory and is gone afterwards, also after
//! Ctrl-C, unless `--keep` is given.

mod show;
mod stage;
mod acts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use weft_tests::{Result, runtime};

use crate::show::Show;
use crate::stage::{Leftovers, Stage};

/// Shows the whole path: a Git repository, a signed release, a running mesh, a canary, and what happens when things break
#[derive(Parser, Debug)]
#[command(
    name = "cargo demo",
    bin_name = "cargo demo",
    max_term_width = 100,
    after_help = "Examples:
  cargo demo           run everything, clean up, exit 0 if all of it held
  cargo demo --keep    leave the mesh running, and print what to try with curl"
)]
struct Arguments {
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Why the main thread wakes.
enum Wake {
    Ended { held: bool },
    Interrupted,
}

fn main() -> ExitCode {
    // The alias ends with `--`; who writes another one, as for `cargo run`, means the same.
    let given = std::env::args_os().enumerate().filter(|(place, text)| *place != 1 || text != "--");
    let arguments = Arguments::parse_from(given.map(|(_, text)| text));
    let (sender, wakes) = mpsc::channel();
    let leftovers = Arc::new(Leftovers::default());
    let interrupted = sender.clone();
    runtime::handle().spawn(async move {
        if told_to_stop().await.is_ok() {
            // The receiver is gone only when the process is about to be.
            drop(interrupted.send(Wake::Interrupted));
        }
    });
    let keeping = Arc::new(AtomicBool::new(false));
    {
        let (leftovers, keeping) = (Arc::clone(&leftovers), Arc::clone(&keeping));
        std::thread::spawn(move || {
            let performance = AssertUnwindSafe(|| perform(&arguments, &leftovers, &keeping));
            // A panic has said on standard error what it was; without an answer the main thread would wait for ever.
            let held = catch_unwind(performance).unwrap_or(false);
            drop(sender.send(Wake::Ended { held }));
        });
    }
    let woken = wakes.recv();
    leftovers.clear();
    match woken {
        Ok(Wake::Ended { held: true }) => ExitCode::SUCCESS,
        Ok(Wake::Interrupted) => {
            anstream::println!("\nstopped; nothing is left behind");
            if keeping.load(Ordering::Relaxed) { ExitCode::SUCCESS } else { ExitCode::from(130) }
        }
        Ok(Wake::Ended { held: false }) | Err(_) => ExitCode::FAILURE,
    }
}

/// Waits for Ctrl-C, for `kill`, or for the terminal to be closed.
async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// Runs the demo. Whether everything held.
fn perform(arguments: &Arguments, leftovers: &Arc<Leftovers>, keeping: &AtomicBool) -> bool {
    let show = Arc::new(Show::begin());
    let staged = play(&show, leftovers);
    if let Err(failure) = &staged {
        show.failure(failure);
    }
    let held = show.table() && staged.is_ok();
    match (&staged, arguments.keep) {
        (Ok(stage), true) => {
            stage.print_addresses();
            keeping.store(true, Ordering::Relaxed);
            // Until Ctrl-C ends the process.
            loop {
                std::thread::park();
            }
        }
        _ => held,
    }
}

fn play(show: &Arc<Show>, leftovers: &Arc<Leftovers>) -> Result<Stage> {
    let mut stage = Stage::prepare(show, leftovers)?;
    stage.start(show)?;
    acts::canary(show, &stage, "90/10 canary", "v3", 10.0)?;
    acts::routed_by_header(show, &stage)?;
    acts::refused(show, &stage)?;
    acts::new_release_under_load(show, &stage)?;
    acts::tampered(show, &stage)?;
    acts::without_release_directory(show, &mut stage)?;
    Ok(stage)
}
