//! The reachability engine against brute force, for as long as you like.
//!
//! `cargo run --release -p weft --example fuzz_reach -- --seconds 900 --seed 1`. The cases and the oracle are those of
//! the engine's own tests; these only never stop drawing new ones.

#[path = "../../src/reach/brute_force.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "the rest of it is for tests")]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "it is written as a test")]
mod brute_force;
#[path = "../fuzz/mod.rs"]
mod fuzz;

// What the oracle takes from the module that it stands in.
use weft::reach::*;

fn main() -> std::process::ExitCode {
    let oracle = brute_force::Oracle::new();
    fuzz::run(|draw| {
        let mut seed = [0; 32];
        for part in seed.chunks_mut(8) {
            part.copy_from_slice(&draw.number().to_le_bytes());
        }
        oracle.round(&seed);
    })
}
