//! Compares predicates with the interpreter of CEL on random expressions, and feeds the compiler garbage.
//!
//! `cargo run --release -p weft --example fuzz_cel -- --seconds 900 --seed 1`. Stops at the first difference with status 1;
//! the same seed finds it again. What it finds becomes a named case in `compiler/tests/cel_oracle.rs`.

#[path = "oracle.rs"]
mod oracle;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest that one expression may take.
const SLOW: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, otherwise: u64| {
        let value = arguments.iter().skip_while(|argument| *argument != name).nth(1);
        value.map_or(Some(otherwise), |value| value.parse().ok())
    };
    let (Some(seconds), Some(seed)) = (number("--seconds", 60), number("--seed", 1)) else {
        eprintln!("usage: fuzz_cel [--seconds N] [--seed N]");
        return ExitCode::from(2);
    };
    let begin = Instant::now();
    let (mut rounds, mut lowered, mut accepted) = (0_u64, 0_u64, 0_u64);
    let mut slowest = (Duration::ZERO, String::new());
    while begin.elapsed() < Duration::from_secs(seconds) {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_add(rounds));
        match oracle::compare(&mut rng) {
            Ok(could) => lowered += u64::from(could),
            Err(difference) => {
                eprintln!("seed {}: {difference}", seed.wrapping_add(rounds));
                return ExitCode::FAILURE;
            }
        }
        let text = oracle::garbage(&mut rng);
        let start = Instant::now();
        accepted += u64::from(weft::cel::compile(&text, weft::cel::Environment::Everything).is_ok());
        if start.elapsed() > slowest.0 {
            slowest = (start.elapsed(), text);
        }
        if slowest.0 > SLOW {
            eprintln!("seed {}: {:?} for {:?}", seed.wrapping_add(rounds), slowest.0, slowest.1);
            return ExitCode::FAILURE;
        }
        rounds += 1;
    }
    println!(
        "{rounds} rounds from seed {seed}: {lowered} expressions compared on 4 requests each, {accepted} of the garbage accepted, \
         the slowest took {:?}: {:?}",
        slowest.0, slowest.1
    );
    ExitCode::SUCCESS
}
