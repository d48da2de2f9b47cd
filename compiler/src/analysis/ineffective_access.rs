//! # What it finds
//! A rule of an access policy that changes nothing, on any port that it is for:
//! * other rules of the same action, together, already say all that it says;
//! * it allows everybody everything in a mesh that does so by default, and nothing else allows there.
//!
//! Of two equal rules the later one is found. Rules with a further condition (`when`) cover nothing here, and rules that
//! audit are never found, as each record names its own. What is too large to compare is passed over.
//!
//! # Why it matters
//! A rule that does nothing is read as if it did: when the other one is narrowed, access stays open.
//!
//! # Example
//! ```yaml
//! rules:
//! - from: [ { namespace: shop } ]
//! - from: [ { service: shop/web } ]      # is in namespace shop
//! ```
//!
//! # Fix
//! Remove it, or narrow the rule that covers it.
//!
//! # References
//! E. S. Al-Shaer and H. H. Hamed, Discovery of policy anomalies in distributed firewalls (2004), *redundancy*.

use std::collections::BTreeMap;

use weft_bundle::body::{Effect, OperationMatch, Verdict};

use super::access_entries::{entries, is_for, meet};
use crate::diagnostic::Diagnostic;
use crate::model::callers::policies_on;
use crate::model::{AccessPolicy, AccessRule, Mesh, Port, ServiceIndex};
use crate::reach::{Budget, Entry, Reach, Reachability, ration};
use crate::yaml::Span;

/// More rules than this on one port are not compared with each other.
const MOST_RULES: usize = 200;

/// One finding per rule.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let judged =
        ration::map(&mesh.services, |place, _, budget| of_service(mesh, ServiceIndex(place), budget));
    let mut verdicts: BTreeMap<Span, Option<Diagnostic>> = BTreeMap::new();
    for (span, verdict) in judged.into_iter().flatten() {
        let known = verdicts.entry(span).or_insert_with(|| verdict.clone());
        if verdict.is_none() {
            *known = None;
        }
    }
    verdicts.into_values().flatten().collect()
}

type Placed<'m> = (&'m AccessPolicy, &'m AccessRule);

/// What each port says of each rule: one port where it matters is enough.
fn of_service(mesh: &Mesh, index: ServiceIndex, budget: &Budget) -> Vec<(Span, Option<Diagnostic>)> {
    let mut verdicts = Vec::new();
    for port in &mesh.service(index).ports {
        let policies: Vec<_> = policies_on(mesh, index, port).collect();
        let of = |effect| {
            let here = policies.iter().filter(move |policy| policy.effect == effect);
            let rules = here.flat_map(|policy| policy.rules.iter().map(|rule| (*policy, rule)));
            rules.filter(|(_, rule)| is_for(rule, index, port.number)).collect::<Vec<Placed<'_>>>()
        };
        let (allowing, denying) = (of(Effect::Allow), of(Effect::Deny));
        verdicts.extend(redundant(mesh, (index, port), &denying, budget));
        match allowing.as_slice() {
            [(policy, rule)] if mesh.default_access == Verdict::Allow && is_everything(rule) => {
                verdicts.push((rule.at.span, Some(as_by_default(mesh, policy, rule))));
            }
            rules => verdicts.extend(redundant(mesh, (index, port), rules, budget)),
        }
    }
    verdicts
}

fn is_everything(rule: &AccessRule) -> bool {
    let all = |operation: &crate::model::Operation| {
        operation.ports.is_none() && operation.condition == OperationMatch::default()
    };
    rule.from.is_empty() && rule.when.is_none() && (rule.to.is_empty() || rule.to.iter().any(all))
}

/// From the last rule to the first: what is left of the others when one goes must cover what goes after it.
fn redundant(
    mesh: &Mesh,
    (index, port): (ServiceIndex, &Port),
    rules: &[Placed<'_>],
    budget: &Budget,
) -> Vec<(Span, Option<Diagnostic>)> {
    if rules.len() > MOST_RULES {
        return Vec::new();
    }
    if let [(_, rule)] = rules {
        return vec![(rule.at.span, None)];
    }
    let own = |(_, rule): &Placed<'_>| entries(mesh, rule, index, port.number);
    let entries: Vec<Option<Vec<Entry>>> = rules.iter().map(own).collect();
    let mut gone = vec![false; rules.len()];
    let mut verdicts = Vec::new();
    for (place, (policy, rule)) in rules.iter().enumerate().rev() {
        let others = rules.iter().enumerate().filter(|(other, (_, candidate))| {
            *other != place && gone.get(*other) == Some(&false) && may_cover(mesh, candidate, rule)
        });
        let others: Vec<usize> = others.map(|(other, _)| other).collect();
        let by = covering(&entries, place, &others, budget);
        if let (Some(_), Some(gone)) = (&by, gone.get_mut(place)) {
            *gone = true;
        }
        let by =
            by.map(|by| by.into_iter().filter_map(|other| rules.get(other).copied()).collect::<Vec<_>>());
        verdicts.push((rule.at.span, by.map(|by| covered(policy, rule, &by))));
    }
    verdicts
}

/// Whether a rule can be one of those that cover another: it holds without further conditions, and for its first caller.
fn may_cover(mesh: &Mesh, wide: &AccessRule, narrow: &AccessRule) -> bool {
    let meets = |caller| wide.from.iter().any(|other| meet(mesh, caller, other));
    wide.when.is_none() && (wide.from.is_empty() || narrow.from.first().is_some_and(meets))
}

/// Which of the others say all that the rule at a place says, if they do; rules are known by their entries.
fn covering(
    entries: &[Option<Vec<Entry>>],
    place: usize,
    others: &[usize],
    budget: &Budget,
) -> Option<Vec<usize>> {
    if others.is_empty() {
        return None;
    }
    let mut list: Vec<(usize, &Entry)> = Vec::new();
    for other in others {
        list.extend(entries.get(*other)?.as_ref()?.iter().map(|entry| (*other, entry)));
    }
    let own = entries.get(place)?.as_ref()?;
    let asked: Vec<Entry> = list.iter().map(|(_, entry)| *entry).chain(own).cloned().collect();
    let mut reachability = Reachability::new(&asked, budget);
    let mut by = Vec::new();
    for own in list.len()..asked.len() {
        match reachability.reach_all(&[own], list.len()) {
            Reach::Unreachable { covered_by, .. } => {
                by.extend(
                    covered_by.into_iter().filter_map(|entry| list.get(entry)).map(|(other, _)| *other),
                );
            }
            Reach::Impossible { .. } => {}
            Reach::Reachable { .. } | Reach::Unknown { .. } => return None,
        }
    }
    by.sort_unstable();
    by.dedup();
    (!by.is_empty()).then_some(by)
}

fn finding(policy: &AccessPolicy, rule: &AccessRule, why: &str) -> Diagnostic {
    let name = rule.at.origin.rule.as_deref().unwrap_or_default();
    Diagnostic::note("ineffective-access", format!("`{name}` changes nothing: {why}"))
        .object(policy.at.origin.object.clone())
        .at(rule.at.span)
}

fn covered(policy: &AccessPolicy, rule: &AccessRule, by: &[Placed<'_>]) -> Diagnostic {
    let (one, several) = match policy.effect {
        Effect::Deny => ("denies", "deny"),
        Effect::Allow | Effect::Audit => ("allows", "allow"),
    };
    let why = match by {
        [_] => format!("another rule {one} all of it"),
        _ => format!("other rules together {several} all of it"),
    };
    let found = finding(policy, rule, &why).label("said already");
    by.iter()
        .fold(found, |found, (other, covering)| {
            found.related(covering.at.span, format!("in {}", other.at.origin.object))
        })
        .help("remove it, or narrow what covers it")
}

fn as_by_default(mesh: &Mesh, policy: &AccessPolicy, rule: &AccessRule) -> Diagnostic {
    finding(policy, rule, "it allows everybody everything, as the mesh does by default")
        .related(mesh.at.span, "the default is set here")
        .help("remove it, or say whom it is to allow")
}
