//! Suffixes and regular expressions as tables, built by `regex-automata` under a size limit.

use super::{
    automaton::{Alphabet, DEAD, FULL, State, TooLarge, index},
    beginning::beginning,
};
use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton as _, StartKind, dense},
    nfa::thompson,
    util::{primitives::StateID, start, syntax},
};
use std::collections::HashMap;

/// Transitions by byte class. Unreachable acceptance is folded into [`DEAD`], certain acceptance into [`FULL`].
#[derive(Debug)]
pub(super) struct Table {
    start: State,
    /// The class of each byte; [`OUTSIDE`] for those that the dimension does not allow.
    classes: Vec<u16>,
    stride: usize,
    next: Vec<State>,
    accepting: Vec<bool>,
}

/// The class of bytes that cannot occur; there are at most 256 others.
const OUTSIDE: u16 = u16::MAX;

impl Table {
    pub(super) fn compile(
        regex: &str,
        ignore_case: bool,
        alphabet: &Alphabet,
        max_bytes: usize,
    ) -> Result<Self, TooLarge> {
        let nfa = compile_nfa(regex, ignore_case, max_bytes)
            .map_err(|why| TooLarge { why, beginning: Vec::new() })?;
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(MatchKind::All)
            .accelerate(false)
            .dfa_size_limit(Some(max_bytes))
            .determinize_size_limit(Some(max_bytes.saturating_mul(2)));
        let built = dense::Builder::new().configure(config).build_from_nfa(&nfa);
        built
            .map_err(|problem| {
                if problem.is_size_limit_exceeded() { too_large(max_bytes) } else { unsupported(&problem) }
            })
            .and_then(|dfa| Self::copy(&dfa, alphabet))
            .map_err(|why| TooLarge { why, beginning: beginning(&nfa) })
    }

    /// Copies the part of `dfa` that texts over `alphabet` can visit. A text is accepted if the whole of it matches.
    fn copy(dfa: &dense::DFA<Vec<u32>>, alphabet: &Alphabet) -> Result<Self, String> {
        let (classes, representatives) = byte_classes(dfa, alphabet);
        let start = dfa
            .start_state(&start::Config::new().anchored(Anchored::Yes))
            .map_err(|problem| unsupported(&problem))?;
        let mut ids: HashMap<StateID, State> = HashMap::from([(start, 0)]);
        let mut order = vec![start];
        let mut table = Self {
            start: 0,
            classes,
            stride: representatives.len(),
            next: Vec::new(),
            accepting: Vec::new(),
        };
        let mut at = 0;
        while let Some(&state) = order.get(at) {
            at += 1;
            table.accepting.push(dfa.is_match_state(dfa.next_eoi_state(state)));
            for &byte in &representatives {
                let target = dfa.next_state(state, byte);
                let number = if dfa.is_dead_state(target) || dfa.is_quit_state(target) {
                    DEAD
                } else {
                    *ids.entry(target).or_insert_with(|| {
                        order.push(target);
                        State::try_from(order.len() - 1).unwrap_or(DEAD)
                    })
                };
                table.next.push(number);
            }
        }
        table.fold();
        Ok(table)
    }

    /// Replaces states that cannot accept by [`DEAD`] and states that cannot refuse by [`FULL`].
    fn fold(&mut self) {
        let may_accept = self.leading_to(|_, accepting| accepting, false);
        let may_refuse = self.leading_to(|_, accepting| !accepting, true);
        let folded = |state: State| {
            if state == DEAD || !index(&may_accept, state).copied().unwrap_or(false) {
                DEAD
            } else if !index(&may_refuse, state).copied().unwrap_or(true) {
                FULL
            } else {
                state
            }
        };
        for target in &mut self.next {
            *target = folded(*target);
        }
        self.start = folded(self.start);
    }

    /// The states from which a state with `goal` can be reached; `dead` says whether [`DEAD`] is such a state.
    fn leading_to(&self, goal: impl Fn(usize, bool) -> bool, dead: bool) -> Vec<bool> {
        let mut reversed = vec![Vec::new(); self.accepting.len()];
        let mut found: Vec<bool> =
            self.accepting.iter().enumerate().map(|(state, accepting)| goal(state, *accepting)).collect();
        for (from, targets) in self.next.chunks(self.stride.max(1)).enumerate() {
            for &target in targets {
                if target == DEAD {
                    if let (true, Some(seen)) = (dead, found.get_mut(from)) {
                        *seen = true;
                    }
                } else if let Some(sources) = index_mut(&mut reversed, target) {
                    sources.push(from);
                }
            }
        }
        let mut pending: Vec<usize> =
            found.iter().enumerate().filter(|(_, seen)| **seen).map(|(state, _)| state).collect();
        while let Some(state) = pending.pop() {
            for &source in reversed.get(state).into_iter().flatten() {
                if let Some(seen @ false) = found.get_mut(source) {
                    *seen = true;
                    pending.push(source);
                }
            }
        }
        found
    }

    pub(super) fn start(&self) -> State {
        self.start
    }

    pub(super) fn accepts(&self, state: State) -> bool {
        index(&self.accepting, state).copied().unwrap_or(false)
    }

    /// The bytes that occur in accepted texts.
    pub(super) fn bytes_in_use(&self) -> Alphabet {
        let mut used = [true; 256];
        let states = State::try_from(self.accepting.len()).unwrap_or(DEAD);
        for byte in 0..=u8::MAX {
            if let Some(flag) = used.get_mut(usize::from(byte)) {
                *flag = (0..states).any(|state| self.step(state, byte) != DEAD);
            }
        }
        used
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.next.len() * size_of::<State>() + self.accepting.len()
    }

    pub(super) fn step(&self, state: State, byte: u8) -> State {
        let class = self.class(byte);
        if class == OUTSIDE {
            return DEAD;
        }
        let row = usize::try_from(state).unwrap_or(usize::MAX).saturating_mul(self.stride);
        self.next.get(row.saturating_add(usize::from(class))).copied().unwrap_or(DEAD)
    }

    /// Bytes of one class are never told apart.
    pub(super) fn class(&self, byte: u8) -> u16 {
        self.classes.get(usize::from(byte)).copied().unwrap_or(OUTSIDE)
    }

    pub(super) fn beginning(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut state = self.start;
        // A state that accepts, or a choice, ends what is certain. The bound only keeps keys short.
        while text.len() < 128
            && state != DEAD
            && state != FULL
            && !index(&self.accepting, state).copied().unwrap_or(true)
        {
            let mut ways: Vec<(u8, State)> = (0..=u8::MAX)
                .map(|byte| (byte.to_ascii_lowercase(), self.step(state, byte)))
                .filter(|(_, target)| *target != DEAD)
                .collect();
            ways.dedup();
            ways.sort_unstable();
            ways.dedup();
            let [(byte, target)] = ways.as_slice() else { break };
            text.push(*byte);
            state = *target;
        }
        text
    }
}

/// Parsed alone, not as text between anchors: an unbalanced `)` stays the error that it is for the proxy.
pub(super) fn compile_nfa(regex: &str, ignore_case: bool, max_bytes: usize) -> Result<thompson::NFA, String> {
    let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(ignore_case);
    let hir = syntax::parse_with(regex, &syntax).map_err(|problem| format!("is not valid: {problem}"))?;
    let config = thompson::Config::new()
        .utf8(false)
        .which_captures(thompson::WhichCaptures::None)
        .nfa_size_limit(Some(max_bytes));
    thompson::Compiler::new().configure(config).build_from_hir(&hir).map_err(|problem| {
        if problem.size_limit().is_some() { too_large(max_bytes) } else { unsupported(&problem) }
    })
}

fn too_large(max_bytes: usize) -> String {
    format!("needs an automaton of more than {max_bytes} bytes")
}

fn unsupported(problem: &dyn std::fmt::Display) -> String {
    format!("is not supported: {problem}")
}

/// Numbers the classes that have a byte in `alphabet`; gives the class of each byte and one byte of each class.
fn byte_classes(dfa: &dense::DFA<Vec<u32>>, alphabet: &Alphabet) -> (Vec<u16>, Vec<u8>) {
    let mut numbers: HashMap<u8, u16> = HashMap::new();
    let mut representatives = Vec::new();
    let mut classes = Vec::with_capacity(256);
    for byte in 0..=u8::MAX {
        if !alphabet.get(usize::from(byte)).copied().unwrap_or(false) {
            classes.push(OUTSIDE);
            continue;
        }
        let class = *numbers.entry(dfa.byte_classes().get(byte)).or_insert_with(|| {
            representatives.push(byte);
            u16::try_from(representatives.len() - 1).unwrap_or(OUTSIDE)
        });
        classes.push(class);
    }
    (classes, representatives)
}

fn index_mut<T>(list: &mut [T], state: State) -> Option<&mut T> {
    list.get_mut(usize::try_from(state).ok()?)
}
