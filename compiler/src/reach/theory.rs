//! Values of one dimension: is there one that satisfies these predicates and avoids those?

use super::{
    automaton::Automaton,
    budget::Effort,
    dimension::Shape,
    limits::Unknown,
    search,
    vocabulary::{DimensionId, Meaning, PredicateId, Value, Vocabulary},
};
use std::collections::HashMap;

/// What was asked before, and the answer. Entries of one list ask the same of their headers again and again.
#[derive(Debug, Default)]
pub(super) struct Theory {
    answers: HashMap<Question, Option<Value>>,
}

/// Answers kept; beyond it all are dropped, which costs time only.
const MAX_ANSWERS: usize = 200_000;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Question {
    dimension: DimensionId,
    required: Vec<PredicateId>,
    avoided: Vec<PredicateId>,
}

/// A value, or the reason why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Value(Value),
    /// These of the predicates to be avoided cannot all be avoided; none of them can be left out.
    Conflict(Vec<PredicateId>),
}

impl Theory {
    /// Chooses a value that satisfies all of `required`, which are not opaque, and certainly none of `avoided`, which
    /// are avoidable.
    pub(super) fn choose(
        &mut self,
        vocabulary: &Vocabulary<'_>,
        effort: &mut Effort<'_>,
        dimension: DimensionId,
        required: &[PredicateId],
        avoided: &[PredicateId],
    ) -> Result<Choice, Unknown> {
        // Grown on demand: a product with every predicate that is to be avoided would be far larger than is needed.
        let mut considered = Vec::new();
        loop {
            let Some(value) = self.value(vocabulary, effort, dimension, required, &considered)? else {
                return self
                    .shrink(vocabulary, effort, dimension, required, considered)
                    .map(Choice::Conflict);
            };
            effort.spend(avoided.len())?;
            let met = |id: &PredicateId| vocabulary.predicate(*id).admits(value.as_deref());
            match avoided.iter().find(|id| met(id)) {
                Some(id) => considered.push(*id),
                None => return Ok(Choice::Value(value)),
            }
        }
    }

    fn shrink(
        &mut self,
        vocabulary: &Vocabulary<'_>,
        effort: &mut Effort<'_>,
        dimension: DimensionId,
        required: &[PredicateId],
        mut conflict: Vec<PredicateId>,
    ) -> Result<Vec<PredicateId>, Unknown> {
        for candidate in conflict.clone() {
            let rest: Vec<PredicateId> = conflict.iter().copied().filter(|id| *id != candidate).collect();
            if self.value(vocabulary, effort, dimension, required, &rest)?.is_none() {
                conflict = rest;
            }
        }
        Ok(conflict)
    }

    fn value(
        &mut self,
        vocabulary: &Vocabulary<'_>,
        effort: &mut Effort<'_>,
        dimension: DimensionId,
        required: &[PredicateId],
        avoided: &[PredicateId],
    ) -> Result<Option<Value>, Unknown> {
        let mut question = Question { dimension, required: required.to_vec(), avoided: avoided.to_vec() };
        question.avoided.sort_unstable();
        if let Some(answer) = self.answers.get(&question) {
            return Ok(answer.clone());
        }
        let sides = Sides::new(vocabulary, &question);
        let answer = sides.find(vocabulary.dimension(dimension).shape(), effort)?;
        if self.answers.len() >= MAX_ANSWERS {
            self.answers.clear();
        }
        self.answers.insert(question, answer.clone());
        Ok(answer)
    }
}

/// Languages that the value must be inside and outside of, and whether it may be absent.
struct Sides<'a> {
    inside: Vec<&'a Automaton>,
    outside: Vec<&'a Automaton>,
    absent: bool,
}

impl<'a> Sides<'a> {
    fn new(vocabulary: &'a Vocabulary<'_>, question: &Question) -> Self {
        let mut sides = Self { inside: Vec::new(), outside: Vec::new(), absent: true };
        let required = question.required.iter().map(|id| (id, true));
        let avoided = question.avoided.iter().map(|id| (id, false));
        for (id, must_hold) in required.chain(avoided) {
            let predicate = vocabulary.predicate(*id);
            let (language, invert) = match &predicate.meaning {
                Meaning::Exactly { language, invert } => (language.as_ref(), *invert),
                Meaning::AtMost { language, .. } => (language, false),
                Meaning::Anything { .. } => continue,
            };
            // Satisfying an inverted predicate and avoiding a plain one are the same thing.
            if must_hold != invert {
                sides.inside.push(language);
                sides.absent = false;
            } else {
                sides.outside.push(language);
            }
        }
        sides
    }

    fn find(&self, shape: &Shape, effort: &mut Effort<'_>) -> Result<Option<Value>, Unknown> {
        if shape.optional && self.absent {
            return Ok(Some(None));
        }
        effort.spend(shape.favourites.len())?;
        if let Some(known) = shape.favourites.iter().find(|text| self.hold(text.as_bytes())) {
            return Ok(Some(Some(known.as_bytes().to_vec())));
        }
        Ok(search::shortest(shape, &self.inside, &self.outside, effort)?.map(Some))
    }

    fn hold(&self, text: &[u8]) -> bool {
        self.inside.iter().all(|language| language.matches(text))
            && !self.outside.iter().any(|language| language.matches(text))
    }
}
