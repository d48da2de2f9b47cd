//! Which entries may match a given request? Found without looking at all of them.
//!
//! Almost every entry demands some literal beginning: of the path, or of a header that tells tenants apart. Each entry
//! is filed under the rarest of its beginnings, in lower case so that patterns which ignore case are found too. A
//! request is looked up by all beginnings of its values; what turns up is compared properly afterwards.

use super::vocabulary::{Conditions, DimensionId, PredicateId, Vocabulary};
use std::collections::{BTreeSet, HashMap};

/// Entries by the beginning of a value.
#[derive(Debug, Default)]
pub(super) struct Index {
    shelves: HashMap<DimensionId, Shelf>,
    /// Entries that demand no beginning of anything.
    anywhere: Vec<usize>,
}

#[derive(Debug, Default)]
struct Shelf {
    entries: HashMap<Vec<u8>, Vec<usize>>,
    /// The lengths of the keys.
    lengths: BTreeSet<usize>,
}

impl Index {
    pub(super) fn new(vocabulary: &Vocabulary<'_>, entries: &[Conditions]) -> Self {
        let mut demand: HashMap<PredicateId, usize> = HashMap::new();
        for id in entries.iter().flat_map(Conditions::predicates) {
            *demand.entry(id).or_default() += 1;
        }
        let mut index = Self::default();
        for (at, conditions) in entries.iter().enumerate() {
            let keys = conditions.predicates().filter_map(|id| {
                let text = &vocabulary.predicate(id).beginning;
                let demand = demand.get(&id).copied().unwrap_or(usize::MAX);
                (!text.is_empty()).then_some((demand, usize::MAX - text.len(), id, text))
            });
            match keys.min() {
                Some((_, _, id, text)) => {
                    let shelf = index.shelves.entry(vocabulary.predicate(id).dimension).or_default();
                    shelf.lengths.insert(text.len());
                    shelf.entries.entry(text.clone()).or_default().push(at);
                }
                None => index.anywhere.push(at),
            }
        }
        index
    }

    /// Entries before `end` that may match a request with these values (those it has), sorted.
    pub(super) fn candidates<'v>(
        &self,
        values: impl Iterator<Item = (DimensionId, &'v [u8])>,
        end: usize,
    ) -> Vec<usize> {
        let mut found: Vec<usize> = before(&self.anywhere, end).to_vec();
        for (dimension, value) in values {
            let Some(shelf) = self.shelves.get(&dimension) else { continue };
            let value = value.to_ascii_lowercase();
            for &length in shelf.lengths.range(..=value.len()) {
                let key = value.get(..length).unwrap_or_default();
                found.extend(before(shelf.entries.get(key).map_or(&[], Vec::as_slice), end));
            }
        }
        found.sort_unstable();
        found
    }
}

/// The part of a sorted list that is below `end`.
fn before(list: &[usize], end: usize) -> &[usize] {
    list.get(..list.partition_point(|at| *at < end)).unwrap_or_default()
}
