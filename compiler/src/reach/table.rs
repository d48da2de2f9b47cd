//! Suffixes and regular expressions as tables.
//!
//! `regex-automata` makes one state after another as they are asked for, and what that takes is counted: a pattern whose
//! table would be too large costs no more than what it is allowed, and the same wherever it is built.

use super::{
    automaton::{Alphabet, DEAD, FULL, State, index},
    beginning::beginning,
};
use regex_automata::{
    Anchored, MatchKind,
    hybrid::{LazyStateID, dfa as lazy},
    nfa::thompson,
    util::{start, syntax},
};
use std::collections::HashMap;

/// What may be spent on the automaton of one pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Bytes of its table.
    pub(super) bytes: usize,
    /// Steps to make it.
    pub(super) steps: u64,
}

impl Allowance {
    fn spend(&mut self, steps: usize) -> Result<(), Problem> {
        if self.take(steps) { Ok(()) } else { Err(Problem::Steps) }
    }

    /// Takes off so many steps, and says whether there were as many.
    pub(super) fn take(&mut self, steps: usize) -> bool {
        let left = self.steps.checked_sub(u64::try_from(steps).unwrap_or(u64::MAX));
        self.steps = left.unwrap_or(0);
        left.is_some()
    }
}

/// Why there is no table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// It would have more bytes than are allowed.
    Bytes,
    /// Making it would take more steps than are allowed.
    Steps,
    /// It is no regular expression, or has what is not supported.
    Pattern(String),
}

/// Steps that reading a pattern takes for each of its bytes.
const STEPS_PER_BYTE: usize = 16;
/// Bytes of an NFA that take a step to make.
const NFA_BYTES_PER_STEP: usize = 1;
/// Steps that a transition takes, beside what the NFA states do that its origin stands for.
const STEPS_PER_TRANSITION: usize = 4;
/// Steps that a new state takes, beside what the NFA states do that it stands for.
const STEPS_PER_STATE: usize = 48;
/// What `regex-automata` remembers of a state, beside its row and the NFA states that it stands for.
const BYTES_PER_STATE: usize = 45;

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
    /// Without a table, how all matches begin comes with the problem.
    pub(super) fn compile(
        regex: &str,
        ignore_case: bool,
        alphabet: &Alphabet,
        allowance: &mut Allowance,
    ) -> Result<Self, (Problem, Vec<u8>)> {
        let nfa = allowed_nfa(regex, ignore_case, allowance).map_err(|problem| (problem, Vec::new()))?;
        Self::build(&nfa, alphabet, allowance).map_err(|problem| (problem, beginning(&nfa, allowance)))
    }

    /// Makes the part of the DFA that texts over `alphabet` can visit. A text is accepted if the whole of it matches.
    fn build(nfa: &thompson::NFA, alphabet: &Alphabet, allowance: &mut Allowance) -> Result<Self, Problem> {
        let mut states = States::new(nfa)?;
        let (classes, representatives) = byte_classes(&states.dfa, alphabet);
        let stride = representatives.len();
        let mut table = Self { start: 0, classes, stride, next: Vec::new(), accepting: Vec::new() };
        let mut ids: HashMap<LazyStateID, State> = HashMap::new();
        let (start, size) = states.start()?;
        ids.insert(start, 0);
        let mut order = vec![(start, size)];
        let mut at = 0;
        while let Some(&(state, size)) = order.get(at) {
            at += 1;
            allowance.spend((stride + 1).saturating_mul(STEPS_PER_TRANSITION + size / 2))?;
            table.accepting.push(states.accepts(state)?);
            for &byte in &representatives {
                let (target, size) = states.next(state, byte)?;
                let number = match ids.get(&target) {
                    _ if target.is_dead() || target.is_quit() => DEAD,
                    Some(known) => *known,
                    None => {
                        allowance.spend(STEPS_PER_STATE + size.saturating_mul(2))?;
                        let number = State::try_from(order.len()).unwrap_or(DEAD);
                        ids.insert(target, number);
                        order.push((target, size));
                        number
                    }
                };
                table.next.push(number);
            }
            // What is made on the way is larger than what is kept.
            if table.bytes() > allowance.bytes || states.bytes() / 3 > allowance.bytes {
                return Err(Problem::Bytes);
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

/// The states of a pattern's DFA, made when they are first asked for.
struct States {
    dfa: lazy::DFA,
    cache: lazy::Cache,
    /// Bytes of the cache when last looked at.
    known_bytes: usize,
}

impl States {
    fn new(nfa: &thompson::NFA) -> Result<Self, Problem> {
        // Of all that match, not of the first that does: an alternative that comes later counts too. The cache is never
        // emptied, as states are told apart by their place in it.
        let config = lazy::Config::new()
            .match_kind(MatchKind::All)
            .cache_capacity(usize::MAX / 2)
            .minimum_cache_clear_count(Some(0));
        let built = lazy::Builder::new().configure(config).build_from_nfa(nfa.clone());
        let dfa = built.map_err(|problem| unsupported(&problem))?;
        let cache = dfa.create_cache();
        let known_bytes = cache.memory_usage();
        Ok(Self { dfa, cache, known_bytes })
    }

    fn bytes(&self) -> usize {
        self.known_bytes
    }

    /// The state before any text, and the size of what it stands for.
    fn start(&mut self) -> Result<(LazyStateID, usize), Problem> {
        let anchored = start::Config::new().anchored(Anchored::Yes);
        let state =
            self.dfa.start_state(&mut self.cache, &anchored).map_err(|problem| unsupported(&problem))?;
        Ok((state, self.grown()))
    }

    /// Where a byte leads, and if that is new the size of what it stands for.
    fn next(&mut self, state: LazyStateID, byte: u8) -> Result<(LazyStateID, usize), Problem> {
        let next = self.dfa.next_state(&mut self.cache, state, byte).map_err(|_| Problem::Bytes)?;
        Ok((next, self.grown()))
    }

    fn accepts(&mut self, state: LazyStateID) -> Result<bool, Problem> {
        let end = self.dfa.next_eoi_state(&mut self.cache, state).map_err(|_| Problem::Bytes)?;
        self.known_bytes = self.cache.memory_usage();
        Ok(end.is_match())
    }

    /// The bytes of NFA states that a new state stands for, roughly; 0 if there is none.
    fn grown(&mut self) -> usize {
        let before = std::mem::replace(&mut self.known_bytes, self.cache.memory_usage());
        let row = size_of::<LazyStateID>() << self.dfa.byte_classes().stride2();
        self.known_bytes.saturating_sub(before).saturating_sub(row + BYTES_PER_STATE)
    }
}

/// The NFA of a pattern, and what it takes is taken off.
pub(super) fn allowed_nfa(
    regex: &str,
    ignore_case: bool,
    allowance: &mut Allowance,
) -> Result<thompson::NFA, Problem> {
    allowance.spend(regex.len().saturating_mul(STEPS_PER_BYTE))?;
    let affordable =
        usize::try_from(allowance.steps).unwrap_or(usize::MAX).saturating_mul(NFA_BYTES_PER_STEP);
    let most = allowance.bytes.min(affordable);
    let nfa = compile_nfa(regex, ignore_case, most);
    let made = nfa.as_ref().map_or(most, thompson::NFA::memory_usage);
    match nfa {
        Err(Problem::Bytes) if affordable < allowance.bytes => {
            allowance.steps = 0;
            Err(Problem::Steps)
        }
        Err(Problem::Pattern(why)) => Err(Problem::Pattern(why)),
        other => allowance.spend(made / NFA_BYTES_PER_STEP).and(other),
    }
}

/// Parsed alone, not as text between anchors: an unbalanced `)` stays the error that it is for the proxy.
fn compile_nfa(regex: &str, ignore_case: bool, max_bytes: usize) -> Result<thompson::NFA, Problem> {
    let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(ignore_case);
    let hir = syntax::parse_with(regex, &syntax)
        .map_err(|problem| Problem::Pattern(format!("is not valid: {problem}")))?;
    let config = thompson::Config::new()
        .utf8(false)
        .which_captures(thompson::WhichCaptures::None)
        .nfa_size_limit(Some(max_bytes));
    thompson::Compiler::new().configure(config).build_from_hir(&hir).map_err(|problem| {
        if problem.size_limit().is_some() { Problem::Bytes } else { unsupported(&problem) }
    })
}

fn unsupported(problem: &dyn std::fmt::Display) -> Problem {
    Problem::Pattern(format!("is not supported: {problem}"))
}

/// Numbers the classes that have a byte in `alphabet`; gives the class of each byte and one byte of each class.
fn byte_classes(dfa: &lazy::DFA, alphabet: &Alphabet) -> (Vec<u16>, Vec<u8>) {
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
