//! How all matches of a regular expression begin, when the expression itself is too large for an automaton.
//!
//! One huge expression must not make every later entry undecided: knowing that it only matches below `/reports/` is
//! enough to settle most of them.

use super::table::Allowance;
use regex_automata::{
    nfa::thompson::{NFA, State},
    util::primitives::StateID,
};
use std::collections::BTreeSet;

/// The bytes, in lower case, that every text accepted by `nfa` begins with; perhaps empty.
/// What it takes is taken off, even if there is less left: it is little, and worth it.
pub(super) fn beginning(nfa: &NFA, allowance: &mut Allowance) -> Vec<u8> {
    const LONGEST: usize = 64;
    /// Transitions looked at; what many alternatives share at length is not worth more.
    const MOST_TRANSITIONS: usize = 4_000;
    const STEPS_PER_TRANSITION: usize = 4;
    let mut text = Vec::new();
    let mut states = BTreeSet::from([nfa.start_anchored()]);
    let mut looked_at = 0_usize;
    while text.len() < LONGEST && looked_at < MOST_TRANSITIONS {
        let Some(steps) = steps(nfa, &states) else { break };
        looked_at = looked_at.saturating_add(steps.len());
        let mut bytes =
            steps.iter().flat_map(|(range, _)| range.clone()).map(|byte| byte.to_ascii_lowercase());
        let Some(first) = bytes.next() else { break };
        if bytes.any(|byte| byte != first) {
            break;
        }
        text.push(first);
        states = steps.into_iter().map(|(_, next)| next).collect();
    }
    allowance.take(looked_at.saturating_mul(STEPS_PER_TRANSITION));
    text
}

type Step = (std::ops::RangeInclusive<u8>, StateID);

/// All steps over a byte; `None` if a match may end here. Assertions are taken to hold, which can only add steps.
fn steps(nfa: &NFA, from: &BTreeSet<StateID>) -> Option<Vec<Step>> {
    let mut pending: Vec<StateID> = from.iter().copied().collect();
    let mut seen = from.clone();
    let mut steps = Vec::new();
    while let Some(id) = pending.pop() {
        let mut follow = |next: StateID| {
            if seen.insert(next) {
                pending.push(next);
            }
        };
        match nfa.state(id) {
            State::ByteRange { trans } => steps.push((trans.start..=trans.end, trans.next)),
            State::Sparse(sparse) => {
                steps.extend(sparse.transitions.iter().map(|trans| (trans.start..=trans.end, trans.next)));
            }
            State::Dense(dense) => {
                let step = |byte| Some((byte..=byte, dense.matches_byte(byte)?));
                steps.extend((0..=u8::MAX).filter_map(step));
            }
            State::Look { next, .. } | State::Capture { next, .. } => follow(*next),
            State::Union { alternates } => alternates.iter().copied().for_each(follow),
            State::BinaryUnion { alt1, alt2 } => [*alt1, *alt2].into_iter().for_each(follow),
            State::Fail => {}
            State::Match { .. } => return None,
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_automata::{nfa::thompson, util::syntax};

    fn check(regex: &str, expected: &str) {
        let nfa = thompson::Compiler::new()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .configure(thompson::Config::new().utf8(false))
            .build(regex)
            .unwrap();
        let mut allowance = Allowance { bytes: 0, steps: 1_000_000 };
        assert_eq!(beginning(&nfa, &mut allowance).escape_ascii().to_string(), expected, "{regex}");
        assert!((900_000..=1_000_000).contains(&allowance.steps), "{regex}: {allowance:?}");
    }

    #[test]
    fn the_beginning_ends_at_a_choice_or_a_match() {
        check("/a.*b.{25}", "/a");
        check("/a(b|bc)d*", "/ab");
        check("(?i)^/Ab", "/ab");
        check("/ab?", "/a");
        check("a*", "");
        check("x|y", "");
        check("(/a|/b)c", "/");
        check("a{90}", &"a".repeat(64));
    }
}
