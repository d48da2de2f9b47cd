//! A text that a regular expression matches: the shortest way through its NFA.
//!
//! That is all it takes to see that an expression matches anything, and often that a request gets past the entries before
//! it. No automaton is made.

use regex_automata::{
    nfa::thompson::{NFA, State},
    util::primitives::StateID,
};
use std::collections::{BTreeMap, VecDeque};

/// How a state is come by: from which other one, and by which byte.
type Come = (StateID, Option<u8>);

/// Which byte of a range to take, if any.
type Choose = fn(u8, u8) -> Option<u8>;

/// A text that all of `nfa` matches: the shortest of letters, digits, `-`, `_` and `/`, else the shortest of visible ASCII.
/// None if there is none, or only one that depends on where words or lines begin and end.
pub(super) fn example(nfa: &NFA) -> Option<String> {
    shortest(nfa, plain_byte).or_else(|| shortest(nfa, visible_byte))
}

fn shortest(nfa: &NFA, choose: Choose) -> Option<String> {
    let start = nfa.start_anchored();
    let mut come: BTreeMap<StateID, Option<Come>> = BTreeMap::from([(start, None)]);
    let mut pending = VecDeque::from([start]);
    while let Some(id) = pending.pop_front() {
        if matches!(nfa.state(id), State::Match { .. }) {
            return Some(text(&come, id));
        }
        for (byte, next) in ways(nfa.state(id), choose) {
            come.entry(next).or_insert_with(|| {
                // Ways that take no byte first, so that no longer text is met before a shorter one.
                match byte {
                    Some(_) => pending.push_back(next),
                    None => pending.push_front(next),
                }
                Some((id, byte))
            });
        }
    }
    None
}

fn text(come: &BTreeMap<StateID, Option<Come>>, end: StateID) -> String {
    let mut bytes = Vec::new();
    let mut at = end;
    while let Some(Some((before, byte))) = come.get(&at) {
        bytes.extend(byte.map(char::from));
        at = *before;
    }
    bytes.into_iter().rev().collect()
}

fn ways(state: &State, choose: Choose) -> Vec<(Option<u8>, StateID)> {
    let over = |start: u8, end: u8, next| choose(start, end).map(|byte| (Some(byte), next));
    match state {
        State::ByteRange { trans } => over(trans.start, trans.end, trans.next).into_iter().collect(),
        State::Sparse(sparse) => {
            sparse.transitions.iter().filter_map(|trans| over(trans.start, trans.end, trans.next)).collect()
        }
        State::Dense(dense) => {
            (0..=u8::MAX).filter_map(|byte| over(byte, byte, dense.matches_byte(byte)?)).collect()
        }
        State::Capture { next, .. } => vec![(None, *next)],
        State::Union { alternates } => alternates.iter().map(|next| (None, *next)).collect(),
        State::BinaryUnion { alt1, alt2 } => vec![(None, *alt1), (None, *alt2)],
        State::Look { .. } | State::Fail | State::Match { .. } => Vec::new(),
    }
}

fn visible_byte(start: u8, end: u8) -> Option<u8> {
    plain_byte(start, end).or_else(|| (start..=end).find(u8::is_ascii_graphic))
}

/// A plain byte of a range, one that does not end a segment if there is one.
fn plain_byte(start: u8, end: u8) -> Option<u8> {
    let mut range = start..=end;
    range
        .clone()
        .find(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        .or_else(|| range.find(|byte| *byte == b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::table::{Allowance, allowed_nfa};
    use weft_bundle::engine::whole_regex;

    fn of(pattern: &str) -> Option<String> {
        let mut allowance = Allowance { bytes: 1 << 20, steps: 1 << 20 };
        let found = example(&allowed_nfa(pattern, false, &mut allowance).unwrap());
        if let Some(text) = &found {
            assert!(
                whole_regex(pattern).unwrap().is_match(text.as_bytes()),
                "{pattern} does not match {text}"
            );
        }
        found
    }

    #[test]
    fn it_is_the_shortest_plain_text() {
        let cases = [
            ("/reports-54/[0-9]+(/(lines|totals))?", Some("/reports-54/0")),
            ("GET|HEAD|POST", Some("GET")),
            ("HEAD|GET", Some("GET")),
            ("spiffe:[^:]+|/ns/[^/]+", Some("/ns/-")),
            ("spiffe://a\\.b(?:/.*)?", Some("spiffe://a.b")),
            ("/[.:]+(a|%)", Some("/.%")),
            ("/a/.*", Some("/a/")),
            ("[/-]", Some("-")),
            ("(a|bc)(d|)e{2,}", Some("aee")),
            ("", Some("")),
        ];
        for (pattern, expected) in cases {
            assert_eq!(of(pattern).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn there_may_be_none() {
        for pattern in ["[^\\x00-\\xff]", "/a b", "^/a", "\\bx", "é"] {
            assert_eq!(of(pattern), None, "{pattern}");
        }
    }
}
