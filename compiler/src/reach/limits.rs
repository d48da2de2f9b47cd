//! How much may be spent, and what is said when it is not enough.

use std::fmt;

/// What the questions about one thing, such as a service, may take. It bounds memory and time on any input; running out
/// makes an answer unknown, never wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes for the automaton of one pattern.
    pub pattern_bytes: usize,
    /// Bytes for the automata of all patterns together.
    pub total_pattern_bytes: usize,
    /// Steps that one question may take. A step is one transition of one automaton; comparing an entry with a request
    /// counts as eight.
    pub steps_per_question: u64,
    /// Steps that all questions may take together, and the making of automata.
    pub total_steps: u64,
    /// Conflicts of the SAT core that one question may take.
    pub conflicts_per_question: u64,
}

impl Default for Limits {
    /// About a tenth of a second for one question, and some ten seconds for all of them, at the very worst.
    fn default() -> Self {
        Self {
            pattern_bytes: 2 << 20,
            total_pattern_bytes: 256 << 20,
            steps_per_question: 4_000_000,
            total_steps: 500_000_000,
            conflicts_per_question: 20_000,
        }
    }
}

/// Why there is no answer, in words for a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Lower case, no final stop.
    pub why: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unknown {}
