//! One entry against those before it: guesses, and clauses that refute them.

use super::{
    limits::Unknown,
    reachability::{Reachability, Values},
    sat::{Answer, Sat, Variable},
    theory::Choice,
    vocabulary::{Conditions, DimensionId, PredicateId},
};
use std::collections::BTreeMap;

/// What entries with an opaque predicate count for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opaque {
    /// The predicate is taken to hold wherever it may.
    MayMatch,
    /// They are left out of the list.
    PassedOver,
}

/// Steps that a conflict of the SAT core takes, which counts for all questions together only.
const STEPS_PER_CONFLICT: usize = 200;

/// What came of a question.
pub(super) enum Outcome {
    /// These values satisfy the target and no earlier entry.
    Arrives(Values),
    /// These entries take everything; not yet minimal.
    Covered(Vec<usize>),
}

/// One entry against those before it. Clauses say which predicates to *avoid*: a variable is true if the request
/// sought must not satisfy its predicate.
pub(super) struct Question<'a> {
    entries: &'a [Conditions],
    at: usize,
    target: &'a Conditions,
    sat: Sat,
    selectors: BTreeMap<usize, Variable>,
    avoided: BTreeMap<PredicateId, Variable>,
}

impl<'a> Question<'a> {
    pub(super) fn new(
        entries: &'a [Conditions],
        at: usize,
        target: &'a Conditions,
        max_conflicts: u64,
    ) -> Self {
        let sat = Sat::new(max_conflicts);
        Self { entries, at, target, sat, selectors: BTreeMap::new(), avoided: BTreeMap::new() }
    }

    /// Looks for a request that only the target matches, from a first `guess` that the target matches.
    pub(super) fn ask(
        &mut self,
        list: &mut Reachability<'_>,
        guess: &Values,
        opaque: Opaque,
    ) -> Result<Outcome, Unknown> {
        let mut active = Vec::new();
        let mut guess = guess.clone();
        loop {
            let mut takers = list.takers(self.entries, &guess, self.at)?;
            if opaque == Opaque::PassedOver {
                takers.retain(|taker| self.entries.get(*taker).is_some_and(|entry| entry.opaque.is_none()));
            }
            // The most general taker is the one most likely to refute the next guesses too.
            let Some(taker) = takers.into_iter().min_by_key(|taker| self.demands(list, *taker)) else {
                return Ok(Outcome::Arrives(guess));
            };
            self.activate(list, taker);
            active.push(taker);
            match self.solve(list, &active)? {
                Outcome::Covered(core) => return Ok(Outcome::Covered(core)),
                Outcome::Arrives(values) => guess = values,
            }
        }
    }

    /// How much an entry asks beyond what the target asks: conditions, then the length of their literal beginnings.
    fn demands(&self, list: &Reachability<'_>, entry: usize) -> (usize, usize) {
        let ids = self.entries.get(entry).into_iter().flat_map(Conditions::predicates);
        let predicates = ids.map(|id| (id, list.vocabulary.predicate(id)));
        predicates
            .filter(|(id, predicate)| !self.target.on(predicate.dimension).contains(id))
            .fold((0, 0), |(count, length), (_, predicate)| (count + 1, length + predicate.beginning.len()))
    }

    /// Adds the clause "avoid at least one condition of this entry", under a selector.
    fn activate(&mut self, list: &Reachability<'_>, entry: usize) {
        let Some(conditions) = self.entries.get(entry) else { return };
        let mut ways = Vec::new();
        for id in conditions.predicates() {
            let shared = self.target.on(list.vocabulary.predicate(id).dimension).contains(&id);
            if !shared && list.vocabulary.predicate(id).is_avoidable() {
                ways.push(*self.avoided.entry(id).or_insert_with(|| self.sat.variable()));
            }
        }
        let selector = self.sat.variable();
        self.sat.clause(&ways, &[selector]);
        self.selectors.insert(entry, selector);
    }

    /// Looks for values that satisfy the target and none of `active`.
    fn solve(&mut self, list: &mut Reachability<'_>, active: &[usize]) -> Result<Outcome, Unknown> {
        let selectors: Vec<Variable> =
            active.iter().filter_map(|entry| self.selectors.get(entry).copied()).collect();
        loop {
            let before = self.sat.conflicts();
            let answer = self.sat.solve(&selectors);
            let conflicts = usize::try_from(self.sat.conflicts() - before).unwrap_or(usize::MAX);
            list.effort
                .budget
                .spend(conflicts.saturating_mul(STEPS_PER_CONFLICT).saturating_add(selectors.len()))?;
            if let Answer::Core(core) = answer? {
                let guilty =
                    |entry: &usize| self.selectors.get(entry).is_some_and(|selector| core.contains(selector));
                return Ok(Outcome::Covered(active.iter().copied().filter(guilty).collect()));
            }
            if let Some(values) = self.realise(list)? {
                return Ok(Outcome::Arrives(values));
            }
        }
    }

    /// Turns the solver's model into values, or learns a clause that excludes it.
    fn realise(&mut self, list: &mut Reachability<'_>) -> Result<Option<Values>, Unknown> {
        let mut to_avoid: BTreeMap<DimensionId, Vec<PredicateId>> =
            self.target.by_dimension.keys().map(|dimension| (*dimension, Vec::new())).collect();
        for (&id, &variable) in &self.avoided {
            if self.sat.is_true(variable) {
                to_avoid.entry(list.vocabulary.predicate(id).dimension).or_default().push(id);
            }
        }
        let mut values = Values::new();
        for (dimension, avoided) in to_avoid {
            match list.choose(dimension, self.target.on(dimension), &avoided)? {
                Choice::Value(value) => {
                    values.insert(dimension, value);
                }
                Choice::Conflict(conflict) => {
                    let conflict: Vec<Variable> =
                        conflict.iter().filter_map(|id| self.avoided.get(id).copied()).collect();
                    self.sat.clause(&[], &conflict);
                    return Ok(None);
                }
            }
        }
        Ok(Some(values))
    }

    /// Leaves out of `core` what is not needed; sorted.
    pub(super) fn minimise(
        &mut self,
        list: &mut Reachability<'_>,
        mut core: Vec<usize>,
    ) -> Result<Vec<usize>, Unknown> {
        for candidate in core.clone() {
            if core.contains(&candidate) {
                let rest: Vec<usize> = core.iter().copied().filter(|entry| *entry != candidate).collect();
                if let Outcome::Covered(smaller) = self.solve(list, &rest)? {
                    core = smaller;
                }
            }
        }
        core.sort_unstable();
        Ok(core)
    }
}
