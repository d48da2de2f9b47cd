//! # What it finds
//! A rule that allows what denials of the same targets refuse all of: on every port that it is for, the rules of its
//! deny policies together cover it, over identities, networks, methods and paths. The finding names them and shows a
//! request. Conditions on who calls and from where count on both sides, also negated ones (`notPrincipals`,
//! `notNamespaces`, `notServiceAccounts`, `notIpBlocks`). A denial with any other further condition (`when`) covers nothing
//! here, as it may not hold; rules that are too large to compare are passed over.
//!
//! # Why it matters
//! Denials are looked at first, so the rule allows nobody anything. Whoever wrote it believes that it does.
//!
//! # Example
//! ```yaml
//! kind: AccessPolicy
//! spec: { action: deny, targetRefs: [ … cart ], rules: [ { to: [ { paths: [ { prefix: /admin } ] } ] } ] }
//! ---
//! kind: AccessPolicy
//! spec:
//!   action: allow
//!   targetRefs: [ … cart ]
//!   rules: [ { from: [ { service: ops } ], to: [ { paths: [ { prefix: /admin/users } ] } ] } ]   # never
//! ```
//!
//! # Fix
//! Make the denial narrower, such as by naming who is refused, or remove the rule.
//!
//! # References
//! Istio, AuthorizationPolicy ("if there are any DENY policies that match the request, deny"); E. S. Al-Shaer and H. H. Hamed
//! (2004), *shadowing* with contrary action. The method is that of `unreachable-route`.

use std::collections::BTreeMap;

use weft_bundle::body::Effect;

use super::access_conditions::{at_least, exactly};
use super::access_entries::{entries, is_for, narrowed};
use crate::diagnostic::Diagnostic;
use crate::model::callers::policies_on;
use crate::model::{AccessPolicy, AccessRule, Mesh, Port, ServiceIndex};
use crate::reach::{self, Budget, Earlier, Entry, Reach, Reachability, ration};
use crate::yaml::Span;

/// One finding per rule that allows.
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

/// What each port says of each rule that allows: one port where it lets somebody in is enough.
fn of_service(mesh: &Mesh, index: ServiceIndex, budget: &Budget) -> Vec<(Span, Option<Diagnostic>)> {
    let mut verdicts = Vec::new();
    for port in &mesh.service(index).ports {
        let allowing = policies_on(mesh, index, port).filter(|policy| policy.effect == Effect::Allow);
        let rules = allowing.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
        let rules = rules.filter(|(_, rule)| is_for(rule, index, port.number));
        let denials = denials(mesh, index, port);
        if denials.is_empty() {
            verdicts.extend(rules.map(|(_, rule)| (rule.at.span, None)));
            continue;
        }
        let allowed: Vec<Allowed<'_>> =
            rules.map(|placed| Allowed::new(mesh, (index, port), placed)).collect();
        // Most rules plainly allow something, and the others are a question for the engine.
        let mut earlier = Earlier::default();
        denials.iter().for_each(|(.., entry)| earlier.add(entry));
        let (plain, open): (Vec<_>, Vec<_>) =
            allowed.into_iter().partition(|allowed| allowed.is_plainly_let_through(&earlier, budget));
        verdicts.extend(plain.iter().map(|allowed| (allowed.rule.at.span, None)));
        if open.is_empty() {
            continue;
        }
        let mut list = List::new(&denials, &open, budget);
        for Allowed { policy, rule, entries } in &open {
            let by = entries.as_ref().and_then(|entries| list.covered(entries.len()));
            verdicts.push((rule.at.span, by.map(|(by, example)| report(policy, rule, &by, &example))));
        }
    }
    verdicts
}

/// A rule that allows, and its entries; none if they are too many.
struct Allowed<'m> {
    policy: &'m AccessPolicy,
    rule: &'m AccessRule,
    entries: Option<Vec<Entry>>,
}

impl<'m> Allowed<'m> {
    fn new(
        mesh: &Mesh,
        (index, port): (ServiceIndex, &Port),
        (policy, rule): (&'m AccessPolicy, &'m AccessRule),
    ) -> Self {
        let known = rule.when.as_ref().map(at_least).unwrap_or_default();
        let entries = entries(mesh, rule, index, port.number).map(|entries| narrowed(entries, &known));
        Self { policy, rule, entries }
    }

    /// Whether denials plainly leave something of it.
    fn is_plainly_let_through(&self, denials: &Earlier<'_>, budget: &Budget) -> bool {
        self.entries.iter().flatten().any(|entry| denials.plainly_lets_through(entry, budget))
    }
}

/// A rule that denies, and one of its entries.
type Denial<'m> = (&'m AccessPolicy, &'m AccessRule, Entry);

fn denials<'m>(mesh: &'m Mesh, index: ServiceIndex, port: &'m Port) -> Vec<Denial<'m>> {
    let denying = policies_on(mesh, index, port).filter(|policy| policy.effect == Effect::Deny);
    let rules = denying.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
    let sure = rules.filter_map(|(policy, rule)| {
        let known = match &rule.when {
            Some(when) => exactly(when)?,
            None => Vec::new(),
        };
        let entries = narrowed(entries(mesh, rule, index, port.number)?, &known);
        Some(entries.into_iter().map(move |entry| (policy, rule, entry)))
    });
    sure.flatten().collect()
}

/// The denials of a port, then what its rules allow, one rule after the other.
struct List<'d, 'm, 'b> {
    denials: &'d [Denial<'m>],
    reachability: Reachability<'b>,
    /// The first entry of the rule that is asked about next.
    next: usize,
}

impl<'d, 'm, 'b> List<'d, 'm, 'b> {
    fn new(denials: &'d [Denial<'m>], allowed: &[Allowed<'_>], budget: &'b Budget) -> Self {
        let allowed = allowed.iter().filter_map(|allowed| allowed.entries.as_ref()).flatten();
        let list: Vec<Entry> = denials.iter().map(|(.., entry)| entry).chain(allowed).cloned().collect();
        Self { denials, reachability: Reachability::new(&list, budget), next: denials.len() }
    }

    /// The denials that cover all entries of the next rule, which has so many, and a request that they refuse.
    fn covered(&mut self, entries: usize) -> Option<(Vec<&'d Denial<'m>>, reach::Request)> {
        let own = self.next..self.next.saturating_add(entries);
        self.next = own.end;
        let mut guilty: Vec<usize> = Vec::new();
        let mut shown = None;
        for place in own {
            match self.reachability.reach_all(&[place], self.denials.len()) {
                Reach::Unreachable { covered_by, example, .. } => {
                    guilty.extend(covered_by);
                    shown.get_or_insert(example);
                }
                // A condition that nothing satisfies allows nothing either way.
                Reach::Impossible { .. } => {}
                Reach::Reachable { .. } | Reach::Unknown { .. } => return None,
            }
        }
        guilty.sort_unstable();
        guilty.dedup();
        Some((guilty.into_iter().filter_map(|place| self.denials.get(place)).collect(), shown?))
    }
}

fn report(
    policy: &AccessPolicy,
    rule: &AccessRule,
    by: &[&Denial<'_>],
    example: &reach::Request,
) -> Diagnostic {
    let name = rule.at.origin.rule.as_deref().unwrap_or_default();
    let message = format!("`{name}` allows nothing: denials refuse everything that it allows");
    let mut finding = Diagnostic::warning("access-contradiction", message)
        .object(policy.at.origin.object.clone())
        .at(rule.at.span)
        .label("never decides")
        .with_note(format!("for example, {example} is refused"));
    let mut seen = Vec::new();
    for (denying, denial, _) in by {
        if !seen.contains(&denial.at.span) {
            seen.push(denial.at.span);
            finding = finding.related(denial.at.span, format!("{} refuses it", denying.at.origin.object));
        }
    }
    finding.help("make the denial narrower, or remove this rule")
}
