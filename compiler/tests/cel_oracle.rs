//! Predicates say what the interpreter of CEL says, and no text makes the compiler panic.
//!
//! `cargo run --release -p weft --example fuzz_cel` asks the same for longer.

#[path = "../examples/fuzz_cel/oracle.rs"]
mod oracle;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn predicates_say_what_expressions_say(seed: u64) {
        prop_assert!(oracle::compare(&mut fastrand::Rng::with_seed(seed)).is_ok());
    }

    #[test]
    fn garbage_is_refused_and_never_panics(seed: u64) {
        let text = oracle::garbage(&mut fastrand::Rng::with_seed(seed));
        if let Err(faults) = weft::cel::compile(&text, weft::cel::Environment::Everything) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(text.get(fault.range.clone()).is_some(), "{text:?}: {fault:?}");
            }
        }
    }
}

#[test]
fn most_random_expressions_are_compared() {
    let mut rng = fastrand::Rng::with_seed(7);
    let lowered = (0..200).filter(|_| oracle::compare(&mut rng) == Ok(true)).count();
    assert!(lowered > 150, "{lowered} of 200");
}
