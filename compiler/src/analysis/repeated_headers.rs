//! Reachability where a request may repeat a header.
//!
//! [`crate::reach`] knows one value per header. The proxies look at each: a condition holds if *any* value satisfies it,
//! an inverted one if *none* does. So a request with `x: 1` and `x: 2` gets past an earlier entry that wants no `x: 2`
//! and reaches one that wants `x: 1`, which no single value does.
//!
//! An entry that a single value reaches is reached. Otherwise, if an earlier entry has an inverted condition on a
//! header, the question is asked again with that header as several, its *slots*: an inverted condition is then one on
//! every slot, and an entry with a plain condition becomes one entry for each slot. Slots are alike, so the entry in
//! question takes the first. As many are needed as there are values to be had at once: one for the entry itself, and one
//! for each different inverted condition that must fail (an entry has at most one plain condition per header). Without inverted conditions more values never help: whatever
//! fails for all of them fails for the one that the entry wants.

use std::collections::{BTreeMap, BTreeSet};

use crate::reach::{Budget, Entry, FieldCondition, Reach, Reachability, Unknown};

/// Entries that a list may become at most; a larger one is not decided.
const MOST_ENTRIES: usize = 4096;

/// What becomes of those entries of a list that are asked about, of requests that may repeat headers; none for the others.
pub(super) fn analyse(entries: &[Entry], asked: &[bool], budget: &Budget) -> Vec<Option<Reach>> {
    let mut list = Reachability::new(entries, budget);
    let single: Vec<Option<Reach>> =
        asked.iter().enumerate().map(|(at, asked)| asked.then(|| list.reach(at))).collect();
    let again = |(at, reach): (usize, Option<Reach>)| Some(again(entries, at, reach?, budget));
    single.into_iter().enumerate().map(again).collect()
}

/// The same for the last entry alone.
pub(super) fn last(entries: &[Entry], budget: &Budget) -> Option<Reach> {
    let at = entries.len().checked_sub(1)?;
    Some(again(entries, at, Reachability::new(entries, budget).reach(at), budget))
}

fn again(entries: &[Entry], at: usize, single: Reach, budget: &Budget) -> Reach {
    let (earlier, [target, ..]) = entries.split_at(at.min(entries.len())) else { return single };
    let Reach::Unreachable { example, taken_by, .. } = &single else { return single };
    let slots = match slots(earlier, budget) {
        Ok(slots) if slots.is_empty() => return single,
        Ok(slots) => slots,
        Err(unknown) => return Reach::Unknown { why: unknown.why },
    };
    let Some(list) = spread(earlier, target, &slots) else {
        let why = "too many earlier entries ask about headers that a request may repeat".to_owned();
        return Reach::Unknown { why };
    };
    let spread: Vec<Entry> = list.iter().map(|(_, entry)| entry.clone()).collect();
    match Reachability::new(&spread, budget).reach(spread.len().saturating_sub(1)) {
        Reach::Unreachable { covered_by, .. } => {
            let origins: BTreeSet<usize> =
                covered_by.iter().filter_map(|place| list.get(*place)).map(|(origin, _)| *origin).collect();
            Reach::Unreachable {
                covered_by: origins.into_iter().collect(),
                example: example.clone(),
                taken_by: *taken_by,
            }
        }
        other => other,
    }
}

/// How many values each header must be able to have, for those that an entry inverts.
fn slots(earlier: &[Entry], budget: &Budget) -> Result<BTreeMap<String, usize>, Unknown> {
    budget.spend(earlier.len())?;
    let mut inverted: BTreeMap<String, Vec<&FieldCondition>> = BTreeMap::new();
    for condition in earlier.iter().flat_map(|entry| &entry.headers).filter(|condition| condition.invert) {
        let different = inverted.entry(condition.name.to_ascii_lowercase()).or_default();
        budget.spend(different.len())?;
        if different.iter().all(|other| other.value != condition.value) {
            different.push(condition);
        }
    }
    Ok(inverted.into_iter().map(|(name, different)| (name, different.len() + 1)).collect())
}

/// The earlier entries, then the target, on slots, each with its place in the original list; none if they are too many.
fn spread(earlier: &[Entry], target: &Entry, slots: &BTreeMap<String, usize>) -> Option<Vec<(usize, Entry)>> {
    let mut list = Vec::new();
    for (place, entry) in earlier.iter().enumerate() {
        for variant in variants(entry, slots)? {
            list.push((place, variant));
        }
        if list.len() > MOST_ENTRIES {
            return None;
        }
    }
    // All variants of the target are alike, so the first stands for them.
    let target = variants(target, slots)?.into_iter().next()?;
    list.push((earlier.len(), target));
    Some(list)
}

/// One entry for each way to spread its plain conditions over slots.
fn variants(entry: &Entry, slots: &BTreeMap<String, usize>) -> Option<Vec<Entry>> {
    let mut variants = vec![Entry { headers: Vec::new(), ..entry.clone() }];
    for condition in &entry.headers {
        let name = condition.name.to_ascii_lowercase();
        let count = slots.get(&name).copied().unwrap_or(1);
        let on = |slot| FieldCondition { name: slot_name(&name, slot), ..condition.clone() };
        if condition.invert {
            for variant in &mut variants {
                variant.headers.extend((0..count).map(on));
            }
        } else {
            if variants.len().saturating_mul(count) > MOST_ENTRIES {
                return None;
            }
            let with = |variant: &Entry, slot| {
                let mut variant = variant.clone();
                variant.headers.push(on(slot));
                variant
            };
            variants = variants
                .iter()
                .flat_map(|v| (0..count).map(move |slot| (v, slot)))
                .map(|(v, slot)| with(v, slot))
                .collect();
        }
    }
    Some(variants)
}

/// The first slot has the header's own name; no header has a blank in its name.
fn slot_name(name: &str, slot: usize) -> String {
    match slot {
        0 => name.to_owned(),
        slot => format!("{name} {}", slot + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::{FieldPattern, StringPattern};

    /// Conditions on the header `x`: `1` or `!1`.
    fn entry(conditions: &[&str]) -> Entry {
        let headers = conditions.iter().map(|text| FieldCondition {
            name: "x".to_owned(),
            value: FieldPattern::Text(StringPattern::Exact(text.trim_start_matches('!').to_owned())),
            invert: text.starts_with('!'),
        });
        Entry { headers: headers.collect(), ..Entry::default() }
    }

    fn last(entries: &[&[&str]]) -> Reach {
        let entries: Vec<Entry> = entries.iter().map(|conditions| entry(conditions)).collect();
        super::last(&entries, &Budget::default()).unwrap()
    }

    fn covering(entries: &[&[&str]]) -> Vec<usize> {
        match last(entries) {
            Reach::Unreachable { covered_by, .. } => covered_by,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_second_value_gets_past_an_inverted_condition() {
        assert!(matches!(last(&[&["!2"], &["1"]]), Reach::Reachable { .. }));
        assert!(matches!(last(&[&["!1"], &["!2"], &[]]), Reach::Reachable { .. }));
        assert!(matches!(last(&[&["!1"], &["!2"], &["3"]]), Reach::Reachable { .. }));
    }

    #[test]
    fn what_no_repetition_reaches_stays_covered() {
        assert_eq!(covering(&[&["1"], &["!1"], &[]]), [0, 1]);
        assert_eq!(covering(&[&["!2"], &["1"], &["1"]]), [1]);
        assert_eq!(covering(&[&["!2"], &["1", "!2"]]), [0]);
        assert_eq!(covering(&[&["!1"], &["!2"], &["1"], &["3"]]), [0, 2]);
    }
}
