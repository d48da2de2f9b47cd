//! One budget for the lists of a whole mesh.
//!
//! Each thing that is asked about, such as a service, first gets a little, which is enough for what people write. Those that
//! it was too little for are asked again with equal shares of what [`Limits`] allow one of them, which grow from round to
//! round while there is something left to share. So a mesh takes no longer than one list may, and a little for each: one
//! hard list gets all that it needs, and a thousand take nothing away from the others. Shares depend on how many
//! there are and on nothing else: not on time, on threads or on order.

use std::convert::Infallible;

use super::budget::Budget;
use super::limits::Limits;
use crate::parallel;

/// Steps that each gets at first: some two thousandths of a second, at the very worst.
const FIRST: u64 = 100_000;
/// How much larger a share is than the one that was too little, at least.
const GROWTH: u64 = 8;
/// So few get at once all that is left; more get half of it, as that is for their patterns rather than for their length.
const FEW: usize = 4;

/// What `ask` gives for each item, in their order.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], ask: impl Fn(usize, &T, &Budget) -> R + Sync) -> Vec<R> {
    map_within(&Limits::default(), items, ask)
}

/// The same with other limits than those that always hold.
pub(crate) fn map_within<T: Sync, R: Send>(
    limits: &Limits,
    items: &[T],
    ask: impl Fn(usize, &T, &Budget) -> R + Sync,
) -> Vec<R> {
    let round = |places: &[usize], share| {
        let one = |_, place: &usize| {
            let budget = Budget::share(limits, share);
            let answer = items.get(*place).map(|item| ask(*place, item, &budget));
            (answer, budget.fell_short())
        };
        Ok::<_, Infallible>(parallel::map(places, one))
    };
    let Ok(answers) = in_rounds(limits, items.len(), round);
    answers
}

/// The same for questions that one thread must ask, one after the other.
///
/// # Errors
/// The first that `ask` gives.
pub(crate) fn one_by_one<T, R, E>(
    items: &[T],
    mut ask: impl FnMut(&T, &Budget) -> Result<R, E>,
) -> Result<Vec<R>, E> {
    let limits = Limits::default();
    in_rounds(&limits, items.len(), |places, share| {
        let asked = places.iter().map(|place| {
            let budget = Budget::share(&limits, share);
            let answer = items.get(*place).map(|item| ask(item, &budget)).transpose()?;
            Ok((answer, budget.fell_short()))
        });
        asked.collect()
    })
}

/// Answers to as many questions, by place. A round gets the places of those that are asked, and what each may take; it gives
/// their answers, and whether more would have been needed.
fn in_rounds<R, E>(
    limits: &Limits,
    count: usize,
    mut round: impl FnMut(&[usize], u64) -> Result<Vec<(Option<R>, bool)>, E>,
) -> Result<Vec<R>, E> {
    let mut answers: Vec<Option<R>> = (0..count).map(|_| None).collect();
    let mut open: Vec<usize> = (0..count).collect();
    let mut share = FIRST.min(limits.total_steps);
    let mut left = limits.total_steps;
    loop {
        let mut short = Vec::new();
        for (place, (answer, fell_short)) in open.iter().zip(round(&open, share)?) {
            if let Some(slot) = answers.get_mut(*place) {
                *slot = answer;
            }
            if fell_short {
                short.push(*place);
            }
        }
        let Some(next) = next_share(share, left, short.len()) else { break };
        left = left.saturating_sub(next.saturating_mul(as_steps(short.len())));
        (open, share) = (short, next);
    }
    Ok(answers.into_iter().flatten().collect())
}

/// What each of those gets that `share` was too little for; none if they are none, or if there is not more for them.
fn next_share(share: u64, left: u64, short: usize) -> Option<u64> {
    let all = left.checked_div(as_steps(short))?;
    let next = match short <= FEW {
        true => all,
        false => share.saturating_mul(GROWTH).max(all / 8).min(all / 2),
    };
    (next > share).then_some(next)
}

fn as_steps(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::{Entry, PathKind, PathPattern, Reach, Reachability};

    /// A list in which the last entry is asked about.
    fn list(patterns: &[&str]) -> Vec<Entry> {
        let entry = |pattern: &&str| Entry {
            path: Some(PathPattern { kind: PathKind::Regex((*pattern).to_owned()), ignore_case: false }),
            ..Entry::default()
        };
        patterns.iter().map(entry).collect()
    }

    fn plain() -> Vec<Entry> {
        list(&["/api/v1(/.*)?", "/api/v[0-9]+/.*", "/api/v1/items/[0-9]+"])
    }

    /// Each such pattern has as many states as there are numbers of as many bits.
    fn hard(bits: usize) -> Vec<Entry> {
        let [first, second] = [bits, bits + 1].map(|bits| format!("/.*[a-k].{{{bits}}}"));
        list(&[&first, &second, "/[a-z]+"])
    }

    fn limits(total_steps: u64) -> Limits {
        Limits { total_steps, ..Limits::default() }
    }

    fn last(limits: &Limits, lists: &[Vec<Entry>]) -> Vec<Reach> {
        map_within(limits, lists, |_, list, budget| {
            Reachability::new(list, budget).reach(list.len().saturating_sub(1))
        })
    }

    fn why(reach: &Reach) -> &str {
        match reach {
            Reach::Unknown { why } => why,
            other => panic!("that is decided: {other:?}"),
        }
    }

    #[test]
    fn a_plain_list_beside_hard_ones_has_its_answer() {
        let mut lists = vec![hard(60); 100];
        lists.insert(50, plain());
        let answers = last(&limits(2_000_000), &lists);
        assert!(matches!(&answers[50], Reach::Unreachable { covered_by, .. } if covered_by == &[0]));
        assert_eq!(
            why(&answers[0]),
            "the regular expression `/.*[a-k].{60}` is too large to examine within its list's share of the budget of the \
             mesh"
        );
        assert!(answers.iter().filter(|answer| matches!(answer, Reach::Unknown { .. })).count() == 100);
    }

    #[test]
    fn what_one_hard_list_may_take_is_shared_by_many() {
        let one = last(&Limits::default(), &[hard(8)]);
        assert!(matches!(&one[0], Reach::Reachable { .. }), "{one:?}");
        let lists = vec![hard(8); 20];
        let enough = last(&limits(100_000_000), &lists);
        assert!(enough.iter().all(|answer| *answer == one[0]), "{enough:?}");
        let too_little = last(&limits(2_000_000), &lists);
        assert!(too_little.iter().all(|answer| matches!(answer, Reach::Unknown { .. })), "{too_little:?}");
    }

    #[test]
    fn the_limit_of_a_pattern_stays_what_it_is() {
        let one = last(&Limits::default(), &[hard(60)]);
        assert_eq!(
            why(&one[0]),
            "the regular expression `/.*[a-k].{60}` needs an automaton of more than 2097152 bytes"
        );
    }

    #[test]
    fn order_and_threads_change_nothing() {
        let mut lists: Vec<Vec<Entry>> = (0..40).map(|at| hard(2 + at % 12)).collect();
        lists.push(plain());
        let within = limits(3_000_000);
        let mut forwards = last(&within, &lists);
        assert!(forwards.iter().any(|answer| matches!(answer, Reach::Unknown { .. })));
        assert!(forwards.iter().any(|answer| matches!(answer, Reach::Reachable { .. })));
        let alone = in_rounds(&within, lists.len(), |places, share| {
            let one = |place: &usize| {
                let budget = Budget::share(&within, share);
                let answer = Reachability::new(&lists[*place], &budget).reach(2);
                (Some(answer), budget.fell_short())
            };
            Ok::<_, Infallible>(places.iter().map(one).collect())
        });
        assert_eq!(alone, Ok(forwards.clone()));
        lists.reverse();
        forwards.reverse();
        assert_eq!(last(&within, &lists), forwards);
    }

    #[test]
    fn no_more_is_shared_than_there_is() {
        for count in [1, 4, 5, 100, 5_000, 1_000_000] {
            let (mut spent, mut shares) = (0, Vec::new());
            let total = 500_000_000;
            let answers = in_rounds(&limits(total), count, |places, share| {
                if !shares.is_empty() {
                    spent += share * places.len() as u64;
                }
                shares.push(share);
                Ok::<_, Infallible>(vec![(Some(()), true); places.len()])
            });
            assert_eq!(answers, Ok(vec![(); count]));
            assert!(spent <= total && shares.is_sorted_by(|a, b| a < b), "{count}: {shares:?}");
            let least = if count <= FEW { total } else { total / 2 };
            assert!(count > 2_000 || spent >= least / 10 * 9, "{count}: {shares:?}");
        }
        assert_eq!(next_share(FIRST, 500_000_000, 1), Some(500_000_000));
        assert_eq!(next_share(FIRST, 500_000_000, 0), None);
    }
}
