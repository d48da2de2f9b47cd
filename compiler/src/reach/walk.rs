//! Regular expressions walked one byte at a time, to see that a text leads nowhere.

use super::example::example;
use super::table::{Allowance, allowed_nfa};
use regex_automata::{
    Anchored, MatchKind,
    hybrid::dfa::{self as lazy, Cache, DFA},
    util::start,
};

/// An expression, and the states that were visited.
#[derive(Debug)]
pub(super) struct Walk {
    dfa: DFA,
    cache: Cache,
    /// A text that it matches.
    example: Option<String>,
}

/// Larger expressions are for the engine.
const MOST_BYTES: usize = 1 << 16;
/// Visited states are forgotten beyond this.
const MOST_VISITED: usize = 1 << 16;

impl Walk {
    /// None for what is too large or no expression.
    pub(super) fn new(pattern: &str, allowance: &mut Allowance) -> Option<Self> {
        allowance.bytes = allowance.bytes.min(MOST_BYTES);
        let nfa = allowed_nfa(pattern, false, allowance).ok()?;
        let example = example(&nfa);
        // Of all that match, not of the first that does: an alternative that comes later counts too.
        let config = lazy::Config::new()
            .match_kind(MatchKind::All)
            .cache_capacity(MOST_VISITED)
            .skip_cache_capacity_check(true);
        let dfa = lazy::Builder::new().configure(config).build_from_nfa(nfa).ok()?;
        let cache = dfa.create_cache();
        Some(Self { dfa, cache, example })
    }

    /// A text that matches, if one was found.
    pub(super) fn example(&self) -> Option<&str> {
        self.example.as_deref()
    }

    /// Whether nothing matches that begins with `text`, or that is all of it; and the steps that took.
    pub(super) fn refuses(&mut self, text: &str, whole: bool) -> (bool, usize) {
        let before = self.cache.memory_usage();
        let refused = self.leads_nowhere(text, whole).unwrap_or(false);
        let made = self.cache.memory_usage().saturating_sub(before);
        (refused, text.len().saturating_add(made))
    }

    /// None if it cannot be told.
    fn leads_nowhere(&mut self, text: &str, whole: bool) -> Option<bool> {
        let anchored = start::Config::new().anchored(Anchored::Yes);
        let mut state = self.dfa.start_state(&mut self.cache, &anchored).ok()?;
        for byte in text.bytes() {
            state = self.dfa.next_state(&mut self.cache, state, byte).ok()?;
            if state.is_dead() {
                return Some(true);
            }
        }
        Some(whole && !self.dfa.next_eoi_state(&mut self.cache, state).ok()?.is_match())
    }
}
