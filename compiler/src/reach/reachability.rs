//! The question itself, as a loop of guesses and refutations. The module page of [`super`] tells how it works.

use super::{
    budget::{Budget, Effort},
    dimension::Kind,
    entry::Entry,
    index::Index,
    limits::Unknown,
    question::{Opaque, Outcome, Question},
    request::Request,
    theory::{Choice, Theory},
    vocabulary::{Conditions, Dimension, DimensionId, PredicateId, Value, Vocabulary},
};
use std::collections::BTreeMap;

/// What is known of one entry. Entries are named by their place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Some request arrives.
    Reachable {
        /// One that does: this entry matches it and none before it does.
        witness: Request,
    },
    /// Earlier entries take everything that this one matches.
    Unreachable {
        /// Entries that do so together, sorted; without any one of them something would arrive. A single one if one
        /// is enough, and then the first such.
        covered_by: Vec<usize>,
        /// A request that this entry matches…
        example: Request,
        /// …and the earlier entry that takes it, the first to match.
        taken_by: usize,
    },
    /// The conditions contradict each other or the shape of requests, wherever the entry stands.
    Impossible {
        /// What cannot be satisfied: `the path`, ``the header `x-env` ``, …
        what: String,
    },
    /// Not decided.
    Unknown {
        /// Why, in words.
        why: String,
    },
}

/// An ordered list of entries, compiled, of which questions can be asked.
///
/// What was learnt for one question speeds up the next; hence `&mut self`. All share a budget, also with other lists.
#[derive(Debug)]
pub struct Reachability<'b> {
    pub(super) vocabulary: Vocabulary<'b>,
    entries: Vec<Conditions>,
    index: Index,
    theory: Theory,
    pub(super) effort: Effort<'b>,
    max_conflicts: u64,
}

/// What comparing an entry with a request counts for; a text is several steps, an entry may have several.
const STEPS_PER_ENTRY: usize = 8;

/// A request as values; dimensions that are not named have their plain value.
pub(super) type Values = BTreeMap<DimensionId, Value>;

impl<'b> Reachability<'b> {
    /// Compiles `entries`. Patterns that exceed the limits make only the answers unknown that depend on them.
    pub fn new(entries: &[Entry], budget: &'b Budget) -> Self {
        let mut vocabulary = Vocabulary::new(budget);
        let entries: Vec<Conditions> = entries.iter().map(|entry| vocabulary.read(entry)).collect();
        let index = Index::new(&vocabulary, &entries);
        let effort = Effort::new(budget);
        let max_conflicts = budget.conflicts_per_question();
        Self { vocabulary, entries, index, theory: Theory::default(), effort, max_conflicts }
    }

    /// Says whether a request can reach the entry at `at`.
    ///
    /// A place beyond the end has no conditions and comes last: it stands for "none of the entries".
    pub fn reach(&mut self, at: usize) -> Reach {
        let answer = self.effort.next_question().and_then(|()| self.decide(at));
        answer.unwrap_or_else(|unknown| Reach::Unknown { why: unknown.why })
    }

    /// A request that both entries match, if there is one.
    ///
    /// # Errors
    /// [`Unknown`] if a pattern is too large or the search too long.
    pub fn overlaps(&mut self, a: usize, b: usize) -> Result<Option<Request>, Unknown> {
        self.effort.next_question()?;
        let target = conjunction(&self.entries, &[a, b])?;
        Ok(self.any_values(&target)?.ok().map(|values| self.request(&values)))
    }

    /// Says whether a request that *all* of some entries match gets past the first `end` entries.
    pub fn reach_all(&mut self, all: &[usize], end: usize) -> Reach {
        let asked = self.effort.next_question();
        let entries = std::mem::take(&mut self.entries);
        let answer = asked
            .and_then(|()| conjunction(&entries, all))
            .and_then(|target| self.decide_among(&entries, end, &target));
        self.entries = entries;
        answer.unwrap_or_else(|unknown| Reach::Unknown { why: unknown.why })
    }

    /// Whether entry `wide` matches every request that entry `narrow` matches.
    ///
    /// # Errors
    /// [`Unknown`] if a pattern is too large or the search too long.
    pub fn covers(&mut self, wide: usize, narrow: usize) -> Result<bool, Unknown> {
        self.effort.next_question()?;
        let nothing = Conditions::default();
        let entries = std::mem::take(&mut self.entries);
        let (wide, narrow) = (entries.get(wide).unwrap_or(&nothing), entries.get(narrow).unwrap_or(&nothing));
        let answer = transparent(wide).and_then(|()| transparent(narrow)).and_then(|()| {
            let empty = self.any_values(narrow)?.is_err();
            Ok(empty || self.includes(wide, narrow)?)
        });
        self.entries = entries;
        answer
    }

    /// The first entry that matches `request`. Entries with a pattern that is too large are passed over.
    pub fn taker(&self, request: &Request) -> Option<usize> {
        self.first_taker(&self.entries, &self.values(request))
    }

    fn decide(&mut self, at: usize) -> Result<Reach, Unknown> {
        // Taken out while they are read, so that the theory can be changed meanwhile.
        let entries = std::mem::take(&mut self.entries);
        let nothing = Conditions::default();
        let answer = self.decide_among(&entries, at, entries.get(at).unwrap_or(&nothing));
        self.entries = entries;
        answer
    }

    fn decide_among(
        &mut self,
        entries: &[Conditions],
        at: usize,
        target: &Conditions,
    ) -> Result<Reach, Unknown> {
        transparent(target)?;
        let example = match self.any_values(target)? {
            Ok(values) => values,
            Err(dimension) => {
                return Ok(Reach::Impossible { what: describe(self.vocabulary.dimension(dimension)) });
            }
        };
        let takers = self.takers(entries, &example, at)?;
        if takers.is_empty() {
            return Ok(Reach::Reachable { witness: self.request(&example) });
        }
        for &taker in &takers {
            if let Some(wide) = entries.get(taker)
                && wide.opaque.is_none()
                && self.includes(wide, target)?
            {
                return self.unreachable(entries, target, vec![taker], example, &takers);
            }
        }
        let mut question = Question::new(entries, at, target, self.max_conflicts);
        let mut core = match question.ask(self, &example, Opaque::MayMatch)? {
            Outcome::Arrives(values) => return Ok(Reach::Reachable { witness: self.request(&values) }),
            Outcome::Covered(core) => core,
        };
        if let Some(why) = core.iter().find_map(|taker| entries.get(*taker)?.opaque.clone()) {
            // The proof leans on a pattern that is too large. Perhaps another proof does not.
            question = Question::new(entries, at, target, self.max_conflicts);
            core = match question.ask(self, &example, Opaque::PassedOver)? {
                Outcome::Arrives(_) => return Ok(Reach::Unknown { why: why.to_string() }),
                Outcome::Covered(core) => core,
            };
        }
        let core = question.minimise(self, core)?;
        self.unreachable(entries, target, core, example, &takers)
    }

    /// The verdict with an example, if possible one that a guilty entry is the first to take: a reader who is told of
    /// one entry should not meet another one in the example. `takers` are those of the example at hand.
    fn unreachable(
        &mut self,
        entries: &[Conditions],
        target: &Conditions,
        covered_by: Vec<usize>,
        mut example: Values,
        takers: &[usize],
    ) -> Result<Reach, Unknown> {
        let first = covered_by.first().copied().unwrap_or_default();
        let mut takers = takers.to_vec();
        if !takers.first().is_some_and(|taker| covered_by.contains(taker)) {
            let mut question = Question::new(entries, first, target, self.max_conflicts);
            // Running out of budget here costs only the better example.
            if let Ok(Outcome::Arrives(better)) = question.ask(self, &example, Opaque::MayMatch) {
                let last = covered_by.last().copied().unwrap_or_default();
                takers = self.takers(entries, &better, last.saturating_add(1))?;
                example = better;
            }
        }
        let certain = |at: &usize| entries.get(*at).is_some_and(|entry| entry.opaque.is_none());
        let taken_by = takers.into_iter().find(certain).unwrap_or(first);
        Ok(Reach::Unreachable { covered_by, example: self.request(&example), taken_by })
    }

    /// The first entry that certainly matches.
    fn first_taker(&self, entries: &[Conditions], values: &Values) -> Option<usize> {
        let certain = |at: &usize| {
            entries.get(*at).is_some_and(|entry| entry.opaque.is_none() && self.matches(entry, values))
        };
        self.candidates(values, entries.len()).into_iter().find(certain)
    }

    /// Values that satisfy `target`, or the dimension that has none.
    fn any_values(&mut self, target: &Conditions) -> Result<Result<Values, DimensionId>, Unknown> {
        let mut values = Values::new();
        for (&dimension, required) in &target.by_dimension {
            match self.choose(dimension, required, &[])? {
                Choice::Value(value) => values.insert(dimension, value),
                Choice::Conflict(_) => return Ok(Err(dimension)),
            };
        }
        Ok(Ok(values))
    }

    /// Whether `wide` matches all that `narrow` matches, where that is not nothing: an inclusion per dimension.
    fn includes(&mut self, wide: &Conditions, narrow: &Conditions) -> Result<bool, Unknown> {
        for (&dimension, predicates) in &wide.by_dimension {
            let required = narrow.on(dimension);
            for predicate in predicates {
                if required.contains(predicate) {
                    continue;
                }
                if let Choice::Value(_) = self.choose(dimension, required, &[*predicate])? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    pub(super) fn choose(
        &mut self,
        dimension: DimensionId,
        required: &[PredicateId],
        avoided: &[PredicateId],
    ) -> Result<Choice, Unknown> {
        self.theory.choose(&self.vocabulary, &mut self.effort, dimension, required, avoided)
    }

    /// Entries before `end` that match, or with an opaque predicate may match; sorted.
    pub(super) fn takers(
        &mut self,
        entries: &[Conditions],
        values: &Values,
        end: usize,
    ) -> Result<Vec<usize>, Unknown> {
        let mut takers = self.candidates(values, end);
        self.effort.spend(takers.len().saturating_mul(STEPS_PER_ENTRY))?;
        takers.retain(|at| entries.get(*at).is_some_and(|entry| self.matches(entry, values)));
        Ok(takers)
    }

    fn candidates(&self, values: &Values, end: usize) -> Vec<usize> {
        let plain: Vec<(DimensionId, Vec<u8>)> = (0..self.vocabulary.dimensions().len())
            .filter(|dimension| !values.contains_key(dimension))
            .filter_map(|dimension| Some((dimension, self.vocabulary.dimension(dimension).shape().plain()?)))
            .collect();
        let plain = plain.iter().map(|(dimension, value)| (*dimension, value.as_slice()));
        let chosen = values.iter().filter_map(|(dimension, value)| Some((*dimension, value.as_deref()?)));
        self.index.candidates(chosen.chain(plain), end)
    }

    fn matches(&self, entry: &Conditions, values: &Values) -> bool {
        entry.by_dimension.iter().all(|(dimension, predicates)| {
            let plain;
            let value = match values.get(dimension) {
                Some(value) => value.as_deref(),
                None => {
                    plain = self.vocabulary.dimension(*dimension).shape().plain();
                    plain.as_deref()
                }
            };
            predicates.iter().all(|id| self.vocabulary.predicate(*id).admits(value))
        })
    }

    fn request(&self, values: &Values) -> Request {
        let mut request = Request::default();
        for (id, dimension) in self.vocabulary.dimensions().iter().enumerate() {
            let value = match values.get(&id) {
                Some(value) => value.clone(),
                None => dimension.shape().plain(),
            };
            let Some(value) = value else { continue };
            let text = || String::from_utf8_lossy(&value).into_owned();
            match dimension.kind {
                Kind::Path => request.path = text(),
                Kind::Method => request.method = text(),
                Kind::Scheme => request.scheme = text(),
                Kind::Authority => request.authority = Some(text()),
                Kind::Port => request.port = text().parse().ok(),
                Kind::Header => request.headers.push((dimension.name.clone(), value)),
                Kind::Query => request.query.push((dimension.name.clone(), value)),
                Kind::Fact => request.facts.push((dimension.name.clone(), value)),
            }
        }
        for fields in [&mut request.headers, &mut request.query, &mut request.facts] {
            fields.sort_unstable();
        }
        request
    }

    fn values(&self, request: &Request) -> Values {
        let mut values = Values::new();
        for (id, dimension) in self.vocabulary.dimensions().iter().enumerate() {
            let field = |fields: &[(String, Vec<u8>)], same: fn(&str, &str) -> bool| {
                fields.iter().find(|(name, _)| same(name, &dimension.name)).map(|(_, value)| value.clone())
            };
            let text = |text: &str| Some(text.as_bytes().to_vec());
            let value = match dimension.kind {
                Kind::Path => text(&request.path),
                Kind::Method => text(&request.method),
                Kind::Scheme => text(&request.scheme),
                Kind::Authority => {
                    request.authority.as_deref().and_then(text).or_else(|| dimension.shape().plain())
                }
                Kind::Port => request
                    .port
                    .map(|port| port.to_string().into_bytes())
                    .or_else(|| dimension.shape().plain()),
                Kind::Header => field(&request.headers, str::eq_ignore_ascii_case),
                Kind::Query => field(&request.query, |a, b| a == b),
                Kind::Fact => field(&request.facts, |a, b| a == b),
            };
            values.insert(id, value);
        }
        values
    }
}

/// What all of some entries demand.
fn conjunction(entries: &[Conditions], all: &[usize]) -> Result<Conditions, Unknown> {
    let mut by_dimension: BTreeMap<DimensionId, Vec<PredicateId>> = BTreeMap::new();
    for conditions in all.iter().filter_map(|at| entries.get(*at)) {
        transparent(conditions)?;
        for (dimension, predicates) in &conditions.by_dimension {
            by_dimension.entry(*dimension).or_default().extend(predicates);
        }
    }
    for predicates in by_dimension.values_mut() {
        predicates.sort_unstable();
        predicates.dedup();
    }
    Ok(Conditions { by_dimension, opaque: None })
}

fn transparent(conditions: &Conditions) -> Result<(), Unknown> {
    match &conditions.opaque {
        Some(why) => Err(Unknown { why: why.to_string() }),
        None => Ok(()),
    }
}

fn describe(dimension: &Dimension) -> String {
    let name = &dimension.name;
    match dimension.kind {
        Kind::Path => "the path".to_owned(),
        Kind::Method => "the method".to_owned(),
        Kind::Scheme => "the scheme".to_owned(),
        Kind::Authority => "the authority".to_owned(),
        Kind::Port => "the port".to_owned(),
        Kind::Header => format!("the header `{name}`"),
        Kind::Query => format!("the query parameter `{name}`"),
        Kind::Fact => format!("`{name}`"),
    }
}

#[cfg(test)]
mod tests;
