//! How much may be spent, and what is said when it is not enough.

use std::fmt;

/// Budgets. They bound memory and time on any input; running out makes an answer unknown, never wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes for the automaton of one pattern.
    pub pattern_bytes: usize,
    /// Bytes for the automata of all patterns of a list.
    pub total_pattern_bytes: usize,
    /// Steps that one question may take. A step is one transition of one automaton; comparing an entry with a request
    /// counts as eight.
    pub steps_per_question: u64,
    /// Steps that all questions about a list may take together.
    pub total_steps: u64,
    /// Conflicts of the SAT core that one question may take.
    pub conflicts_per_question: u64,
}

impl Default for Limits {
    /// About a tenth of a second for one question, and some twenty seconds for a whole list, at the very worst.
    fn default() -> Self {
        Self {
            pattern_bytes: 2 << 20,
            total_pattern_bytes: 256 << 20,
            steps_per_question: 4_000_000,
            total_steps: 400_000_000,
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

/// What is left of the steps.
#[derive(Debug)]
pub(super) struct Effort {
    per_question: u64,
    question: u64,
    total: u64,
}

impl Effort {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            per_question: limits.steps_per_question,
            question: limits.steps_per_question,
            total: limits.total_steps,
        }
    }

    /// Starts a new question with its full share.
    pub(super) fn next_question(&mut self) {
        self.question = self.per_question;
    }

    /// Takes `steps` off both budgets.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Unknown> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        let Some(total) = self.total.checked_sub(steps) else {
            self.total = 0;
            return Err(Unknown {
                why: "the list is too large to examine all of it within its budget".to_owned(),
            });
        };
        self.total = total;
        match self.question.checked_sub(steps) {
            Some(left) => self.question = left,
            None => {
                return Err(Unknown {
                    why: format!("no answer after {} steps of searching", self.per_question),
                });
            }
        }
        Ok(())
    }
}
