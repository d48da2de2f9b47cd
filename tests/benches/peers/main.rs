//! What a request costs in `weft-proxy`, Envoy, nginx and HAProxy, side by side in one run.
//!
//! ```text
//! core 1: load ──> core 0: one contender (one proxy, or two with mutual TLS between them) ──> core 1: origin
//! ```
//! All contenders of a scenario run at once and are asked in turn, so that what the machine does meanwhile happens to all of
//! them. A figure is the median of the rounds; a ratio is taken within each round first. Nothing fails because it was slow.
//!
//! Envoy comes from PyPI and is kept in the target directory; nginx and HAProxy are those that are installed. Who is missing
//! is left out, with a message. `cargo bench --bench peers -- --help` says what can be asked for.

mod contender;
mod envoy;
mod haproxy;
mod load;
mod measure;
mod nginx;
mod origin;
mod report;
mod scenario;
mod weft;

use std::process::ExitCode;

use clap::Parser;
use weft_tests::{Failure, Result};

use crate::contender::{Contender, Place};
use crate::report::say;
use crate::scenario::{SCENARIOS, Scenario};

/// Measures weft-proxy beside other proxies
#[derive(Parser, Debug)]
#[command(after_help = "Examples:
  cargo bench --bench peers                                 everything, about ten minutes
  cargo bench --bench peers -- http1 mesh-http1             two scenarios
  cargo bench --bench peers -- --only weft --rounds 1 http1 one contender, once, as for a profile
  cargo bench --bench peers -- --list                       what there is")]
struct Args {
    /// The scenarios; all if none is named
    scenarios: Vec<String>,
    /// Only these contenders; repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How often each contender is asked in each scenario
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many requests a round has
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    requests: u64,
    /// List the scenarios
    #[arg(long)]
    list: bool,
    /// Cargo says so; nothing follows from it
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if args.list {
        for scenario in SCENARIOS {
            say(format_args!("{:<12} {}", scenario.name, scenario.title));
        }
        return Ok(());
    }
    let scenarios = chosen(&args.scenarios)?;
    let place = Place::new()?;
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for candidate in contender::all(&place) {
        let name = candidate.name();
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        match candidate.version() {
            Ok(version) => {
                say(format_args!("{name}: {version}"));
                contenders.push(candidate);
            }
            Err(failure) => say(format_args!("{name} is left out: {failure}")),
        }
    }
    if contenders.is_empty() {
        return Err(Failure::new("no contender is there"));
    }
    measure::pin_ourselves()?;
    for scenario in scenarios {
        scenario.run(&place, &contenders, args.rounds, args.requests)?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| Failure::new(format!("no scenario is called `{name}`; --list names them")))
    };
    names.iter().map(find).collect()
}
