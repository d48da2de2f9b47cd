//! The question itself, as a loop of guesses and refutations. The module page of [`super`] tells how it works.

use super::{
    dimension::Kind,
    entry::Entry,
    index::Index,
    limits::{Effort, Limits, Unknown},
    request::Request,
    sat::{Answer, Sat, Variable},
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
/// What was learnt for one question speeds up the next, and all share the total budget; hence `&mut self`.
#[derive(Debug)]
pub struct Reachability {
    vocabulary: Vocabulary,
    entries: Vec<Conditions>,
    index: Index,
    theory: Theory,
    effort: Effort,
    max_conflicts: u64,
}

/// A request as values; dimensions that are not named have their plain value.
type Values = BTreeMap<DimensionId, Value>;

impl Reachability {
    /// Compiles `entries`. Patterns that exceed `limits` make only the answers unknown that depend on them.
    pub fn new(entries: &[Entry], limits: &Limits) -> Self {
        let mut vocabulary = Vocabulary::new(limits);
        let entries: Vec<Conditions> = entries.iter().map(|entry| vocabulary.read(entry)).collect();
        let index = Index::new(&vocabulary, &entries);
        let effort = Effort::new(limits);
        let max_conflicts = limits.conflicts_per_question;
        Self { vocabulary, entries, index, theory: Theory::default(), effort, max_conflicts }
    }

    /// Says whether a request can reach the entry at `at`.
    ///
    /// A place beyond the end has no conditions and comes last: it stands for "none of the entries".
    pub fn reach(&mut self, at: usize) -> Reach {
        self.effort.next_question();
        self.decide(at).unwrap_or_else(|unknown| Reach::Unknown { why: unknown.why })
    }

    /// A request that both entries match, if there is one.
    ///
    /// # Errors
    /// [`Unknown`] if a pattern is too large or the search too long.
    pub fn overlaps(&mut self, a: usize, b: usize) -> Result<Option<Request>, Unknown> {
        self.effort.next_question();
        let mut both: BTreeMap<DimensionId, Vec<PredicateId>> = BTreeMap::new();
        for conditions in [a, b].iter().filter_map(|at| self.entries.get(*at)) {
            transparent(conditions)?;
            for (dimension, predicates) in &conditions.by_dimension {
                both.entry(*dimension).or_default().extend(predicates);
            }
        }
        for predicates in both.values_mut() {
            predicates.sort_unstable();
            predicates.dedup();
        }
        let target = Conditions { by_dimension: both, opaque: None };
        Ok(self.any_values(&target)?.ok().map(|values| self.request(&values)))
    }

    /// Whether entry `wide` matches every request that entry `narrow` matches.
    ///
    /// # Errors
    /// [`Unknown`] if a pattern is too large or the search too long.
    pub fn covers(&mut self, wide: usize, narrow: usize) -> Result<bool, Unknown> {
        self.effort.next_question();
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
        let values = self.values(request);
        let end = self.entries.len();
        self.candidates(&values, end).into_iter().find(|at| {
            self.entries.get(*at).is_some_and(|entry| entry.opaque.is_none() && self.matches(entry, &values))
        })
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
        let certain: Vec<usize> =
            takers.iter().copied().filter(|taker| is_transparent(entries, *taker)).collect();
        for &taker in &certain {
            if let Some(wide) = entries.get(taker)
                && self.includes(wide, target)?
            {
                return Ok(self.unreachable(vec![taker], &example, &certain));
            }
        }
        let mut question = Question::new(entries, at, target, self.max_conflicts);
        let covered_by = match question.ask(self, &example, Opaque::MayMatch)? {
            Outcome::Arrives(values) => return Ok(Reach::Reachable { witness: self.request(&values) }),
            Outcome::Covered(core) => core,
        };
        let Some(suspect) = covered_by.iter().find_map(|taker| entries.get(*taker)?.opaque.clone()) else {
            let core = question.minimise(self, covered_by)?;
            return Ok(self.unreachable(core, &example, &certain));
        };
        // The proof leans on a pattern that is too large. Perhaps another proof does not.
        let mut question = Question::new(entries, at, target, self.max_conflicts);
        match question.ask(self, &example, Opaque::PassedOver)? {
            Outcome::Covered(core) => {
                let core = question.minimise(self, core)?;
                Ok(self.unreachable(core, &example, &certain))
            }
            Outcome::Arrives(_) => Ok(Reach::Unknown { why: suspect.to_string() }),
        }
    }

    fn unreachable(&self, covered_by: Vec<usize>, example: &Values, takers: &[usize]) -> Reach {
        // A core is never empty, and every request that is covered has a taker in it.
        let taken_by = takers.first().or(covered_by.first()).copied().unwrap_or_default();
        Reach::Unreachable { covered_by, example: self.request(example), taken_by }
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

    fn choose(
        &mut self,
        dimension: DimensionId,
        required: &[PredicateId],
        avoided: &[PredicateId],
    ) -> Result<Choice, Unknown> {
        self.theory.choose(&self.vocabulary, &mut self.effort, dimension, required, avoided)
    }

    /// Entries before `end` that match, or with an opaque predicate may match; sorted.
    fn takers(&mut self, entries: &[Conditions], values: &Values, end: usize) -> Result<Vec<usize>, Unknown> {
        let mut takers = self.candidates(values, end);
        self.effort.spend(takers.len())?;
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

/// What entries with an opaque predicate count for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opaque {
    /// The predicate may hold for any value and cannot be avoided.
    MayMatch,
    /// They are left out of the list.
    PassedOver,
}

enum Outcome {
    /// These values satisfy the target and no earlier entry.
    Arrives(Values),
    /// These entries take everything; not yet minimal.
    Covered(Vec<usize>),
}

/// One entry against those before it. Clauses say which predicates to *avoid*: a variable is true if the request
/// sought must not satisfy its predicate.
struct Question<'a> {
    entries: &'a [Conditions],
    at: usize,
    target: &'a Conditions,
    sat: Sat,
    selectors: BTreeMap<usize, Variable>,
    avoided: BTreeMap<PredicateId, Variable>,
}

impl<'a> Question<'a> {
    fn new(entries: &'a [Conditions], at: usize, target: &'a Conditions, max_conflicts: u64) -> Self {
        let sat = Sat::new(max_conflicts);
        Self { entries, at, target, sat, selectors: BTreeMap::new(), avoided: BTreeMap::new() }
    }

    /// Looks for a request that only the target matches, from a first `guess` that the target matches.
    fn ask(&mut self, list: &mut Reachability, guess: &Values, opaque: Opaque) -> Result<Outcome, Unknown> {
        let mut active = Vec::new();
        let mut guess = guess.clone();
        loop {
            let mut takers = list.takers(self.entries, &guess, self.at)?;
            if opaque == Opaque::PassedOver {
                takers.retain(|taker| is_transparent(self.entries, *taker));
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
    fn demands(&self, list: &Reachability, entry: usize) -> (usize, usize) {
        let ids = self.entries.get(entry).into_iter().flat_map(Conditions::predicates);
        let predicates = ids.map(|id| (id, list.vocabulary.predicate(id)));
        predicates
            .filter(|(id, predicate)| !self.target.on(predicate.dimension).contains(id))
            .fold((0, 0), |(count, length), (_, predicate)| (count + 1, length + predicate.beginning.len()))
    }

    /// Adds the clause "avoid at least one condition of this entry", under a selector.
    fn activate(&mut self, list: &Reachability, entry: usize) {
        let Some(conditions) = self.entries.get(entry) else { return };
        let mut ways = Vec::new();
        for id in conditions.predicates() {
            let shared = self.target.on(list.vocabulary.predicate(id).dimension).contains(&id);
            if !shared && list.vocabulary.predicate(id).language.is_ok() {
                ways.push(*self.avoided.entry(id).or_insert_with(|| self.sat.variable()));
            }
        }
        let selector = self.sat.variable();
        self.sat.clause(&ways, &[selector]);
        self.selectors.insert(entry, selector);
    }

    /// Looks for values that satisfy the target and none of `active`.
    fn solve(&mut self, list: &mut Reachability, active: &[usize]) -> Result<Outcome, Unknown> {
        let selectors: Vec<Variable> =
            active.iter().filter_map(|entry| self.selectors.get(entry).copied()).collect();
        loop {
            if let Answer::Core(core) = self.sat.solve(&selectors)? {
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
    fn realise(&mut self, list: &mut Reachability) -> Result<Option<Values>, Unknown> {
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
    fn minimise(&mut self, list: &mut Reachability, mut core: Vec<usize>) -> Result<Vec<usize>, Unknown> {
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

fn is_transparent(entries: &[Conditions], at: usize) -> bool {
    entries.get(at).is_some_and(|entry| entry.opaque.is_none())
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
