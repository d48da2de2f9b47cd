//! The shortest text inside some languages and outside others: a breadth-first walk of the product of their automata.

use super::{
    automaton::{Automaton, DEAD, FULL, State},
    budget::Effort,
    dimension::Shape,
    limits::Unknown,
};
use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

/// A shortest legal text that all of `inside` accept and none of `outside`; among those of one length the most
/// readable. The walk visits each combination of states once, so it ends; `effort` bounds how many there may be.
pub(super) fn shortest(
    shape: &Shape,
    inside: &[&Automaton],
    outside: &[&Automaton],
    effort: &mut Effort<'_>,
) -> Result<Option<Vec<u8>>, Unknown> {
    let mut wanted = vec![&shape.language];
    wanted.extend(inside);
    let product = Product { wanted, unwanted: outside.to_vec() };
    let bytes = representatives(shape, &product);
    let Some(start) = product.start() else { return Ok(None) };
    let start: Rc<[State]> = start.into();
    let mut seen = HashSet::from([Rc::clone(&start)]);
    let mut visited = vec![Visit { state: start, from: 0, byte: 0 }];
    let mut at = 0;
    while let Some(state) = visited.get(at).map(|visit| Rc::clone(&visit.state)) {
        if product.accepts(&state) {
            return Ok(Some(text_to(&visited, at)));
        }
        effort.spend(bytes.len())?;
        for &byte in &bytes {
            let Some(next) = product.step(&state, byte) else { continue };
            effort.spend(next.len())?;
            if !seen.contains(next.as_slice()) {
                let next: Rc<[State]> = next.into();
                seen.insert(Rc::clone(&next));
                visited.push(Visit { state: next, from: at, byte });
            }
        }
        at += 1;
    }
    Ok(None)
}

/// A state of the product, and how it was first reached.
struct Visit {
    state: Rc<[State]>,
    from: usize,
    byte: u8,
}

fn text_to(visited: &[Visit], mut at: usize) -> Vec<u8> {
    let mut text = Vec::new();
    while let (true, Some(visit)) = (at != 0, visited.get(at)) {
        text.push(visit.byte);
        at = visit.from;
    }
    text.reverse();
    text
}

/// Automata run side by side: first the wanted ones, then the unwanted.
struct Product<'a> {
    wanted: Vec<&'a Automaton>,
    unwanted: Vec<&'a Automaton>,
}

impl Product<'_> {
    /// `None` if nothing can be found from here.
    fn start(&self) -> Option<Vec<State>> {
        self.each(|_, automaton| automaton.start())
    }

    fn step(&self, state: &[State], byte: u8) -> Option<Vec<State>> {
        // Most bytes lead out of the wanted languages at once: look before allocating.
        let lost =
            self.wanted.iter().zip(state).any(|(automaton, &state)| automaton.step(state, byte) == DEAD);
        if lost {
            return None;
        }
        self.each(|at, automaton| automaton.step(state.get(at).copied().unwrap_or(DEAD), byte))
    }

    fn each(&self, next: impl Fn(usize, &Automaton) -> State) -> Option<Vec<State>> {
        let mut states = Vec::with_capacity(self.wanted.len() + self.unwanted.len());
        for automaton in &self.wanted {
            let state = next(states.len(), automaton);
            if state == DEAD {
                return None;
            }
            states.push(state);
        }
        for automaton in &self.unwanted {
            let state = next(states.len(), automaton);
            if state == FULL {
                return None;
            }
            states.push(state);
        }
        Some(states)
    }

    fn accepts(&self, state: &[State]) -> bool {
        let (wanted, unwanted) = state.split_at_checked(self.wanted.len()).unwrap_or_default();
        let all = self.wanted.iter().zip(wanted).all(|(automaton, &state)| automaton.accepts(state));
        all && !self.unwanted.iter().zip(unwanted).any(|(automaton, &state)| automaton.accepts(state))
    }
}

/// One byte for each set of bytes that no automaton of the product tells apart, the most readable of its set.
fn representatives(shape: &Shape, product: &Product<'_>) -> Vec<u8> {
    let mut class = [0_u32; 256];
    let automata = || product.wanted.iter().chain(&product.unwanted);
    for automaton in automata() {
        if let Automaton::Literal(literal) = automaton {
            for byte in literal.special_bytes() {
                if let Some(class) = class.get_mut(usize::from(byte)) {
                    *class = 1 + u32::from(byte);
                }
            }
        }
    }
    for automaton in automata() {
        if let Automaton::Table(table) = automaton {
            let mut finer: HashMap<(u32, u16), u32> = HashMap::new();
            for &byte in &shape.bytes {
                if let Some(class) = class.get_mut(usize::from(byte)) {
                    let fresh = u32::from(u16::try_from(finer.len()).unwrap_or(u16::MAX));
                    *class = *finer.entry((*class, table.class(byte))).or_insert(fresh);
                }
            }
        }
    }
    let mut taken = HashSet::new();
    shape.bytes.iter().copied().filter(|byte| taken.insert(class.get(usize::from(*byte)).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::{Budget, Limits, automaton::Pattern, dimension::Kind, table::Allowance};

    fn path(regex: &str) -> Automaton {
        let pattern = Pattern::Regex { text: regex.to_owned(), ignore_case: false };
        let mut allowance = Allowance { bytes: 1 << 20, steps: u64::MAX };
        Automaton::compile(&pattern, &Kind::Path.shape().alphabet, &mut allowance).unwrap()
    }

    fn find(inside: &[&str], outside: &[&str]) -> Option<String> {
        let inside: Vec<Automaton> = inside.iter().map(|regex| path(regex)).collect();
        let outside: Vec<Automaton> = outside.iter().map(|regex| path(regex)).collect();
        let budget = Budget::default();
        let mut effort = Effort::new(&budget);
        let inside: Vec<&Automaton> = inside.iter().collect();
        let outside: Vec<&Automaton> = outside.iter().collect();
        let text = shortest(Kind::Path.shape(), &inside, &outside, &mut effort).unwrap();
        text.map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_text_found_is_short_and_readable() {
        assert_eq!(find(&[], &[]).as_deref(), Some("/"));
        assert_eq!(find(&[], &["/"]).as_deref(), Some("/x"));
        assert_eq!(find(&["/api.*"], &["/api", "/api/.*"]).as_deref(), Some("/apix"));
        assert_eq!(find(&["/[a-m]+", "/.*z?k"], &[]).as_deref(), Some("/k"));
    }

    #[test]
    fn a_union_can_cover_what_none_covers_alone() {
        let parts = ["/[a-m].*", "/[n-z].*", "/[^a-z].*", "/"];
        assert_eq!(find(&["/.*"], &parts), None);
        assert_eq!(find(&["/.*"], &parts[..3]).as_deref(), Some("/"));
        assert_eq!(find(&["/.*"], &parts[1..]).as_deref(), Some("/a"));
    }

    #[test]
    fn illegal_texts_do_not_count() {
        assert_eq!(find(&["[^/].*"], &[]), None);
        assert_eq!(find(&["/a b"], &[]), None);
        assert_eq!(find(&["/.*"], &["/[!-~]*"]), None);
    }

    #[test]
    fn a_long_search_is_given_up() {
        let inside = path("/(?:[ab]{7})*");
        let outside = path("/(?:[ab]{11})*|/(?:[ab]{13})*");
        let budget = Budget::new(&Limits { steps_per_question: 10, ..Limits::default() });
        let mut effort = Effort::new(&budget);
        let answer = shortest(Kind::Path.shape(), &[&inside], &[&outside], &mut effort);
        assert_eq!(answer.unwrap_err().why, "no answer after 10 steps of searching");
    }
}
