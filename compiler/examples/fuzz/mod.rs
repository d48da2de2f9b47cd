//! What fuzzers have in common: a clock, seeds, and a report of the case that failed.
//!
//! A fuzzer is an example with this module in it (`#[path = "../fuzz/mod.rs"] mod fuzz;`) and a function of one round,
//! which panics on what must not be. Every round has a seed of its own, so `--round N` repeats one.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A round that takes longer than this hangs.
const LONGEST: Duration = Duration::from_secs(60);

const USAGE: &str = "arguments: [--seconds N] [--seed N] [--round N]";

/// What was asked for.
struct Options {
    seconds: u64,
    seed: u64,
    /// Only this one.
    round: Option<u64>,
}

impl Options {
    fn read() -> Option<Self> {
        let mut options = Self { seconds: 60, seed: 1, round: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next()?.parse().ok()?;
            match name.as_str() {
                "--seconds" => options.seconds = value,
                "--seed" => options.seed = value,
                "--round" => options.round = Some(value),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Runs rounds until the time is over. A round that panics or hangs ends the process, and says how to repeat it.
pub(crate) fn run(mut round: impl FnMut(&mut Draw)) -> ExitCode {
    let Some(options) = Options::read() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let seed = options.seed;
    let current = Arc::new(AtomicU64::new(0));
    let now = Arc::clone(&current);
    let inner = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        inner(panic);
        eprintln!("found in round {}: repeat it with --seed {seed} --round {0}", now.load(Ordering::Relaxed));
    }));
    let _watched = watch(Arc::clone(&current), seed);
    let (start, mut rounds) = (Instant::now(), 0_u64);
    let mut slowest = (Duration::ZERO, 0);
    let first = options.round.unwrap_or(0);
    for number in first.. {
        current.store(number, Ordering::Relaxed);
        let began = Instant::now();
        round(&mut Draw::new(seed, number));
        slowest = slowest.max((began.elapsed(), number));
        rounds += 1;
        if options.round.is_some() || start.elapsed() > Duration::from_secs(options.seconds) {
            break;
        }
    }
    println!(
        "{rounds} rounds in {:.0} s, seed {seed}: nothing found; the slowest, round {}, took {:.0} ms",
        start.elapsed().as_secs_f64(),
        slowest.1,
        slowest.0.as_secs_f64() * 1e3
    );
    ExitCode::SUCCESS
}

/// Ends the process when a round takes too long. Watches until what it gives is dropped.
fn watch(current: Arc<AtomicU64>, seed: u64) -> mpsc::Sender<()> {
    let (alive, over) = mpsc::channel();
    std::thread::spawn(move || {
        let mut before = None;
        while over.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout) {
            let number = current.load(Ordering::Relaxed);
            if before == Some(number) {
                eprintln!("round {number} hangs: repeat it with --seed {seed} --round {number}");
                std::process::exit(1);
            }
            before = Some(number);
        }
    });
    alive
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Draw(u64);

impl Draw {
    fn new(seed: u64, round: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    #[allow(dead_code, reason = "not every fuzzer draws in all ways")]
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % (end.max(1) as u64)).unwrap_or(0)
    }

    /// One of these.
    #[allow(dead_code, reason = "not every fuzzer draws in all ways")]
    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        from.get(self.below(from.len()))
    }
}
