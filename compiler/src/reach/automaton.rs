//! The language of one pattern, as a deterministic automaton over bytes.
//!
//! Literal patterns are walked as they are; only suffixes and regular expressions get a table, built by
//! `regex-automata` under a size limit. Two sentinel states make searches short: [`DEAD`] accepts no continuation,
//! [`FULL`] accepts every one (of the bytes that the dimension allows).

use super::beginning::beginning;
use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton as _, StartKind, dense},
    nfa::thompson,
    util::{primitives::StateID, start, syntax},
};
use std::collections::HashMap;

/// A state of some automaton.
pub(super) type State = u32;
/// From here nothing is accepted any more.
pub(super) const DEAD: State = u32::MAX;
/// From here everything is accepted.
pub(super) const FULL: State = u32::MAX - 1;

/// Bytes that may occur in a dimension.
pub(super) type Alphabet = [bool; 256];

/// What is to be matched, before it is compiled. Equal patterns share one automaton.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    Any,
    Exact { text: String, ignore_case: bool },
    Prefix { text: String, ignore_case: bool },
    Segments { text: String, ignore_case: bool },
    Suffix { text: String },
    Regex { text: String, ignore_case: bool },
}

/// A pattern without an automaton: too large, or not a regular expression.
#[derive(Debug)]
pub(super) struct TooLarge {
    /// What is the matter, in words.
    pub(super) why: String,
    /// Its matches begin like this, in lower case.
    pub(super) beginning: Vec<u8>,
}

impl TooLarge {
    fn about(mut self, pattern: &str) -> Self {
        self.why = format!("{pattern} {}", self.why);
        self
    }
}

/// A deterministic automaton.
#[derive(Debug)]
pub(super) enum Automaton {
    Any,
    Literal(Literal),
    Table(Table),
}

impl Automaton {
    /// Compiles a pattern for a dimension whose values consist of `alphabet`.
    pub(super) fn compile(
        pattern: &Pattern,
        alphabet: &Alphabet,
        max_bytes: usize,
    ) -> Result<Self, TooLarge> {
        let literal = |text: &str, end, ignore_case| {
            Ok(Self::Literal(Literal { text: text.as_bytes().to_vec(), end, ignore_case }))
        };
        match pattern {
            Pattern::Any => Ok(Self::Any),
            Pattern::Exact { text, ignore_case } => literal(text, End::Here, *ignore_case),
            Pattern::Prefix { text, .. } if text.is_empty() => Ok(Self::Any),
            Pattern::Prefix { text, ignore_case } => literal(text, End::Anywhere, *ignore_case),
            Pattern::Segments { text, ignore_case } => match text.trim_end_matches('/') {
                "" => literal("/", End::Anywhere, false),
                whole => literal(whole, End::SegmentBoundary, *ignore_case),
            },
            Pattern::Suffix { text } => {
                let escaped: String = text.bytes().map(|byte| format!(r"\x{byte:02x}")).collect();
                Table::compile(&format!("(?s:.*){escaped}"), false, alphabet, max_bytes)
                    .map(Self::Table)
                    .map_err(|problem| problem.about(&format!("the suffix `{text}`")))
            }
            Pattern::Regex { text, ignore_case } => Table::compile(text, *ignore_case, alphabet, max_bytes)
                .map(Self::Table)
                .map_err(|problem| problem.about(&format!("the regular expression `{}`", abridged(text)))),
        }
    }

    /// Accepts what begins like this, in any case.
    pub(super) fn beginning_with(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::Any;
        }
        Self::Literal(Literal { text: text.to_vec(), end: End::Anywhere, ignore_case: true })
    }

    pub(super) fn start(&self) -> State {
        match self {
            Self::Any => FULL,
            Self::Literal(_) => 0,
            Self::Table(table) => table.start,
        }
    }

    pub(super) fn step(&self, state: State, byte: u8) -> State {
        match (state, self) {
            (DEAD | FULL, _) => state,
            (_, Self::Any) => FULL,
            (_, Self::Literal(literal)) => literal.step(state, byte),
            (_, Self::Table(table)) => table.step(state, byte),
        }
    }

    pub(super) fn accepts(&self, state: State) -> bool {
        match (state, self) {
            (DEAD, _) => false,
            (FULL, _) | (_, Self::Any) => true,
            (_, Self::Literal(literal)) => literal.accepts(state),
            (_, Self::Table(table)) => index(&table.accepting, state).copied().unwrap_or(false),
        }
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let mut state = self.start();
        for &byte in text {
            if state == DEAD || state == FULL {
                break;
            }
            state = self.step(state, byte);
        }
        self.accepts(state)
    }

    /// How every accepted text begins, in lower case; empty if there is no such beginning.
    pub(super) fn beginning(&self) -> Vec<u8> {
        match self {
            Self::Any => Vec::new(),
            Self::Literal(literal) => literal.text.to_ascii_lowercase(),
            Self::Table(table) => table.beginning(),
        }
    }

    /// The bytes that occur in accepted texts.
    pub(super) fn bytes_in_use(&self) -> Alphabet {
        let mut used = [true; 256];
        if let Self::Table(table) = self {
            let states = State::try_from(table.accepting.len()).unwrap_or(DEAD);
            for byte in 0..=u8::MAX {
                if let Some(flag) = used.get_mut(usize::from(byte)) {
                    *flag = (0..states).any(|state| table.step(state, byte) != DEAD);
                }
            }
        }
        used
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Literal(literal) => literal.text.len(),
            Self::Table(table) => table.next.len() * size_of::<State>() + table.accepting.len(),
        }
    }
}

/// A text and where a match may end.
#[derive(Debug)]
pub(super) struct Literal {
    text: Vec<u8>,
    end: End,
    ignore_case: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Here,
    Anywhere,
    SegmentBoundary,
}

impl Literal {
    /// A state is the number of bytes read; texts are far shorter than the sentinels.
    fn step(&self, state: State, byte: u8) -> State {
        match index(&self.text, state) {
            Some(expected) if self.is(*expected, byte) => {
                let next = state + 1;
                let done = index(&self.text, next).is_none();
                if done && self.end == End::Anywhere { FULL } else { next }
            }
            None if self.end == End::SegmentBoundary && byte == b'/' => FULL,
            Some(_) | None => DEAD,
        }
    }

    fn is(&self, expected: u8, byte: u8) -> bool {
        expected == byte || self.ignore_case && expected.eq_ignore_ascii_case(&byte)
    }

    fn accepts(&self, state: State) -> bool {
        index(&self.text, state).is_none()
    }

    /// The bytes that this literal tells from others.
    pub(super) fn special_bytes(&self) -> impl Iterator<Item = u8> {
        let cases = |byte: &u8| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
        let boundary = (self.end == End::SegmentBoundary).then_some(b'/');
        self.text.iter().flat_map(cases).chain(boundary)
    }
}

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
    fn compile(
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

    fn step(&self, state: State, byte: u8) -> State {
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

    fn beginning(&self) -> Vec<u8> {
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

fn index<T>(list: &[T], state: State) -> Option<&T> {
    list.get(usize::try_from(state).ok()?)
}

fn index_mut<T>(list: &mut [T], state: State) -> Option<&mut T> {
    list.get_mut(usize::try_from(state).ok()?)
}

/// A pattern of ten kilobytes does not belong into a message.
fn abridged(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Alphabet = [true; 256];

    fn compile(pattern: &Pattern) -> Automaton {
        Automaton::compile(pattern, &ALL, 1 << 20).unwrap()
    }

    fn regex(text: &str) -> Pattern {
        Pattern::Regex { text: text.to_owned(), ignore_case: false }
    }

    fn check(pattern: &Pattern, yes: &[&str], no: &[&str]) {
        let automaton = compile(pattern);
        for text in yes {
            assert!(automaton.matches(text.as_bytes()), "{pattern:?} should match {text:?}");
        }
        for text in no {
            assert!(!automaton.matches(text.as_bytes()), "{pattern:?} should not match {text:?}");
        }
    }

    #[test]
    fn literals_end_where_their_kind_says() {
        let (text, ignore_case) = ("/a".to_owned(), false);
        check(&Pattern::Exact { text: text.clone(), ignore_case }, &["/a"], &["", "/", "/A", "/a/", "/ab"]);
        check(
            &Pattern::Prefix { text: text.clone(), ignore_case },
            &["/a", "/ab", "/a/b"],
            &["/", "/A", "b/a"],
        );
        check(&Pattern::Segments { text, ignore_case }, &["/a", "/a/", "/a/b"], &["/", "/ab", "/A"]);
        check(&Pattern::Segments { text: "/a/".to_owned(), ignore_case }, &["/a", "/a/b"], &["/ab"]);
        check(&Pattern::Segments { text: "/".to_owned(), ignore_case }, &["/", "/a"], &["*"]);
        check(&Pattern::Suffix { text: ".b*".to_owned() }, &[".b*", "x\n.b*"], &["", ".b", "xb*", ".b*x"]);
    }

    #[test]
    fn case_is_ignored_for_ascii_letters_only() {
        let (text, ignore_case) = ("/Aé[".to_owned(), true);
        let yes = ["/aé[", "/Aé["];
        let no = ["/aÉ[", "/aé{"];
        check(&Pattern::Exact { text, ignore_case }, &yes, &no);
        check(&Pattern::Regex { text: "/A[b-c]+".to_owned(), ignore_case }, &["/aBc"], &["/ad"]);
    }

    #[test]
    fn regular_expressions_match_the_whole_text_as_bytes() {
        check(&regex("a|ab"), &["a", "ab"], &["", "b", "abc", "xa"]);
        check(&regex("/.*"), &["/", "/é"], &["/\n", "x/"]);
        check(&regex(r"\d+"), &["0", "42"], &["٤", ""]);
        check(&regex("^/a$"), &["/a"], &["/a\n"]);
        check(&regex(r"(?m)a$\n^b"), &["a\nb"], &["a"]);
        check(&regex(r"\ba\b-b"), &["a-b"], &["ab"]);
        assert!(compile(&regex(r"(?-u:\xff)")).matches(b"\xff"));
    }

    #[test]
    fn hopeless_and_certain_states_are_folded() {
        let automaton = compile(&regex("(?s)a.*|b[^\\x00-\\xff]"));
        let start = automaton.start();
        assert_eq!(automaton.step(start, b'a'), FULL);
        assert_eq!(automaton.step(start, b'b'), DEAD);
        assert_eq!(compile(&regex("(?s).*")).start(), FULL);
        assert_eq!(compile(&regex("a$b")).start(), DEAD);
    }

    #[test]
    fn certainty_counts_only_bytes_that_can_occur() {
        let mut alphabet = ALL;
        alphabet[usize::from(b'\n')] = false;
        let automaton = Automaton::compile(&regex("/.*"), &alphabet, 1 << 20).unwrap();
        assert_eq!(automaton.step(automaton.start(), b'/'), FULL);
    }

    #[test]
    fn the_beginning_is_what_all_matches_share() {
        let beginning = |pattern: &Pattern| String::from_utf8(compile(pattern).beginning()).unwrap();
        assert_eq!(beginning(&regex("/api/v[0-9]+")), "/api/v");
        assert_eq!(beginning(&regex("/api(/.*)?")), "/api");
        assert_eq!(beginning(&regex("/a|/b")), "/");
        assert_eq!(beginning(&regex("a*")), "");
        assert_eq!(beginning(&Pattern::Regex { text: "/aPi".to_owned(), ignore_case: true }), "/api");
        assert_eq!(beginning(&Pattern::Prefix { text: "/X".to_owned(), ignore_case: false }), "/x");
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let problem = |text: &str| Automaton::compile(&regex(text), &ALL, 1 << 16).unwrap_err().why;
        assert_eq!(
            problem(".*a.{20}"),
            "the regular expression `.*a.{20}` needs an automaton of more than 65536 bytes"
        );
        assert!(problem("((a{1000}){1000}){1000}").contains("more than 65536 bytes"));
        assert!(problem("a)|(b").contains("is not valid"));
        assert!(problem(&format!("{}[", "é".repeat(100))).contains("é…` is not valid"));
    }
}
