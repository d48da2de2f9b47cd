//! Conditions as numbers: equal conditions of different entries are one predicate, compiled once.

use super::{
    automaton::{Automaton, Pattern},
    budget::{Budget, Opaque},
    dimension::{Kind, Shape},
    entry::{Entry, FieldCondition, FieldPattern, PathKind, PathPattern, StringPattern},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The number of a dimension.
pub(super) type DimensionId = usize;
/// The number of a predicate.
pub(super) type PredicateId = usize;
/// What a request has in one dimension; `None` if the field is absent.
pub(super) type Value = Option<Vec<u8>>;

/// One axis of the space of requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Dimension {
    pub(super) kind: Kind,
    /// The name of the field; empty for what every request has once.
    pub(super) name: String,
}

impl Dimension {
    pub(super) fn shape(&self) -> &'static Shape {
        self.kind.shape()
    }
}

/// A condition on one dimension.
#[derive(Debug)]
pub(super) struct Predicate {
    pub(super) dimension: DimensionId,
    pub(super) meaning: Meaning,
    /// How every value that satisfies it begins, in lower case; empty if nothing is known of that.
    pub(super) beginning: Vec<u8>,
}

/// When a predicate holds. If that is not known exactly it is *opaque*, and `why` says so in words.
#[derive(Debug)]
pub(super) enum Meaning {
    /// For values in the language; inverted, for all others and for none.
    Exactly { language: Arc<Automaton>, invert: bool },
    /// At most for values in the language.
    AtMost { language: Automaton, why: Arc<str> },
    /// Perhaps for any value, and for none.
    Anything { why: Arc<str> },
}

impl Predicate {
    /// Whether the value satisfies this, or may.
    pub(super) fn admits(&self, value: Option<&[u8]>) -> bool {
        match (&self.meaning, value) {
            (Meaning::Exactly { invert, .. }, None) => *invert,
            (Meaning::Exactly { language, invert }, Some(text)) => language.matches(text) != *invert,
            (Meaning::AtMost { .. }, None) => false,
            (Meaning::AtMost { language, .. }, Some(text)) => language.matches(text),
            (Meaning::Anything { .. }, _) => true,
        }
    }

    /// Whether some values are known not to satisfy it.
    pub(super) fn is_avoidable(&self) -> bool {
        !matches!(self.meaning, Meaning::Anything { .. })
    }
}

/// The conditions of one entry.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Predicates by dimension, each list sorted and without repetition.
    pub(super) by_dimension: BTreeMap<DimensionId, Vec<PredicateId>>,
    /// Why one of them is opaque.
    pub(super) opaque: Option<Arc<str>>,
}

impl Conditions {
    pub(super) fn predicates(&self) -> impl Iterator<Item = PredicateId> {
        self.by_dimension.values().flatten().copied()
    }

    pub(super) fn on(&self, dimension: DimensionId) -> &[PredicateId] {
        self.by_dimension.get(&dimension).map_or(&[], Vec::as_slice)
    }
}

/// All dimensions and predicates of a list.
#[derive(Debug)]
pub(super) struct Vocabulary<'b> {
    dimensions: Vec<Dimension>,
    predicates: Vec<Predicate>,
    dimension_ids: HashMap<Dimension, DimensionId>,
    predicate_ids: HashMap<(DimensionId, Pattern, bool), PredicateId>,
    budget: &'b Budget,
}

/// Steps that taking in an entry takes, and each of its conditions.
const STEPS_PER_CONDITION: usize = 32;

impl<'b> Vocabulary<'b> {
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self {
            dimensions: Vec::new(),
            predicates: Vec::new(),
            dimension_ids: HashMap::new(),
            predicate_ids: HashMap::new(),
            budget,
        }
    }

    pub(super) fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// Ids are only made here, so every id has its item.
    pub(super) fn dimension(&self, id: DimensionId) -> &Dimension {
        self.dimensions.get(id).expect("dimension ids come from this vocabulary")
    }

    pub(super) fn predicate(&self, id: PredicateId) -> &Predicate {
        self.predicates.get(id).expect("predicate ids come from this vocabulary")
    }

    /// Takes the conditions of `entry` in. Without a budget they are not looked at, and the entry may match anything.
    pub(super) fn read(&mut self, entry: &Entry) -> Conditions {
        let mut conditions = Conditions::default();
        if let Err(unknown) = self.budget.spend(STEPS_PER_CONDITION) {
            conditions.opaque = Some(Arc::from(unknown.why));
            return conditions;
        }
        if let Some(path) = &entry.path {
            self.add(&mut conditions, Kind::Path, "", path_pattern(path), false);
        }
        let texts = [
            (Kind::Method, &entry.method),
            (Kind::Scheme, &entry.scheme),
            (Kind::Authority, &entry.authority),
        ];
        for (kind, text) in texts {
            if let Some(text) = text {
                self.add(&mut conditions, kind, "", string_pattern(text), false);
            }
        }
        if let Some(port) = entry.port {
            let port = Pattern::Exact { text: port.to_string(), ignore_case: false };
            self.add(&mut conditions, Kind::Port, "", port, false);
        }
        for header in &entry.headers {
            self.add_field(&mut conditions, Kind::Header, &header.name.to_ascii_lowercase(), header);
        }
        for parameter in &entry.query {
            self.add_field(&mut conditions, Kind::Query, &parameter.name, parameter);
        }
        for fact in &entry.facts {
            self.add_field(&mut conditions, Kind::Fact, &fact.name, fact);
        }
        for predicates in conditions.by_dimension.values_mut() {
            predicates.sort_unstable();
            predicates.dedup();
        }
        conditions
    }

    fn add_field(&mut self, conditions: &mut Conditions, kind: Kind, name: &str, field: &FieldCondition) {
        let (pattern, invert) = match &field.value {
            FieldPattern::Text(text) => (string_pattern(text), field.invert),
            FieldPattern::Present => (Pattern::Any, field.invert),
            FieldPattern::Absent => (Pattern::Any, !field.invert),
        };
        self.add(conditions, kind, name, pattern, invert);
    }

    fn add(&mut self, conditions: &mut Conditions, kind: Kind, name: &str, pattern: Pattern, invert: bool) {
        // Should there be too few left, the next entry learns of it.
        let _ = self.budget.spend(STEPS_PER_CONDITION);
        let id = self.predicate_of(kind, name, pattern, invert);
        let predicate = self.predicate(id);
        if let Meaning::AtMost { why, .. } | Meaning::Anything { why } = &predicate.meaning {
            conditions.opaque.get_or_insert_with(|| Arc::clone(why));
        }
        conditions.by_dimension.entry(predicate.dimension).or_default().push(id);
    }

    fn predicate_of(&mut self, kind: Kind, name: &str, pattern: Pattern, invert: bool) -> PredicateId {
        let dimension = self.dimension_of(kind, name);
        let key = (dimension, pattern, invert);
        if let Some(id) = self.predicate_ids.get(&key) {
            return *id;
        }
        let predicate = match self.budget.automaton(kind, &key.1) {
            Ok(language) => {
                let beginning = if invert { Vec::new() } else { language.beginning() };
                Predicate { dimension, meaning: Meaning::Exactly { language, invert }, beginning }
            }
            Err(problem) => opaque(dimension, &problem, invert),
        };
        self.predicates.push(predicate);
        let id = self.predicates.len() - 1;
        self.predicate_ids.insert(key, id);
        id
    }

    fn dimension_of(&mut self, kind: Kind, name: &str) -> DimensionId {
        let dimension = Dimension { kind, name: name.to_owned() };
        *self.dimension_ids.entry(dimension).or_insert_with_key(|dimension| {
            self.dimensions.push(dimension.clone());
            self.dimensions.len() - 1
        })
    }
}

fn opaque(dimension: DimensionId, problem: &Opaque, invert: bool) -> Predicate {
    let why = Arc::clone(&problem.why);
    if invert {
        return Predicate { dimension, meaning: Meaning::Anything { why }, beginning: Vec::new() };
    }
    let beginning = problem.beginning.to_vec();
    let language = Automaton::beginning_with(&beginning);
    Predicate { dimension, meaning: Meaning::AtMost { language, why }, beginning }
}

fn path_pattern(path: &PathPattern) -> Pattern {
    let ignore_case = path.ignore_case;
    match &path.kind {
        PathKind::Exact(text) => Pattern::Exact { text: text.clone(), ignore_case },
        PathKind::SegmentPrefix(text) => Pattern::Segments { text: text.clone(), ignore_case },
        PathKind::Prefix(text) => Pattern::Prefix { text: text.clone(), ignore_case },
        PathKind::Regex(text) => Pattern::Regex { text: text.clone(), ignore_case },
    }
}

fn string_pattern(pattern: &StringPattern) -> Pattern {
    match pattern {
        StringPattern::Exact(text) => Pattern::Exact { text: text.clone(), ignore_case: false },
        StringPattern::Prefix(text) => Pattern::Prefix { text: text.clone(), ignore_case: false },
        StringPattern::Suffix(text) => Pattern::Suffix { text: text.clone() },
        StringPattern::Regex(text) => Pattern::Regex { text: text.clone(), ignore_case: false },
    }
}
