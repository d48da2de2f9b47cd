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

use std::process::ExitCode;
use std::sync::{Arc, mpsc};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use weft_tests::{Result, runtime};

use crate::show::Show;
use crate::stage::{Leftovers, Stage};

/// Shows the whole path: a Git repository, a signed release, a running mesh, a canary, and what happens when things break
#[derive(Parser, Debug)]
#[command(
    name = "cargo demo",
    bin_name = "cargo demo --",
    max_term_width = 100,
    after_help = "Examples:
  cargo demo              run everything, clean up, exit 0 if all of it held
  cargo demo -- --keep    leave the mesh running, and print what to try with curl"
)]
struct Arguments {
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Why the main thread wakes.
enum Wake {
    Ended(bool),
    Interrupted,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (sender, wakes) = mpsc::channel();
    let leftovers = Arc::new(Leftovers::default());
    let interrupted = sender.clone();
    runtime::handle().spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            // The receiver is gone only when the process is about to be.
            drop(interrupted.send(Wake::Interrupted));
        }
    });
    let performing = {
        let leftovers = Arc::clone(&leftovers);
        std::thread::spawn(move || {
            let held = perform(&arguments, &leftovers);
            drop(sender.send(Wake::Ended(held)));
        })
    };
    match wakes.recv() {
        Ok(Wake::Ended(true)) => ExitCode::SUCCESS,
        Ok(Wake::Interrupted) => {
            clean_up(&leftovers);
            anstream::println!("\nstopped; nothing is left behind");
            ExitCode::from(130)
        }
        Ok(Wake::Ended(false)) | Err(_) => {
            // A panic ends the thread without a word to us; its own message is on standard error.
            drop(performing.join());
            clean_up(&leftovers);
            ExitCode::FAILURE
        }
    }
}

/// Runs the demo. Whether everything held.
fn perform(arguments: &Arguments, leftovers: &Arc<Leftovers>) -> bool {
    let show = Arc::new(Show::begin());
    let staged = play(&show, leftovers);
    if let Err(failure) = &staged {
        show.failure(failure);
    }
    let held = show.table() && staged.is_ok();
    match (&staged, arguments.keep) {
        (Ok(stage), true) => {
            stage.print_addresses();
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

/// Ends the proxies and removes the directory of a demo that was stopped in its course.
fn clean_up(leftovers: &Leftovers) {
    let (proxies, directory) = leftovers.take();
    for id in proxies {
        if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
            // Gone already is as good.
            let _ = kill_process(id, Signal::KILL);
        }
    }
    if let Some(directory) = directory {
        drop(std::fs::remove_dir_all(directory));
    }
}
