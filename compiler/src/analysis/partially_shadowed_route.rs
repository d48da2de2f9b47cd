//! # What it finds
//! A rule that does not get all it seems to ask for, because an earlier rule takes part of it, where that is probably not
//! meant. Two entries of one list *cross*: each matches requests that the other does not match. It is a finding if the
//! later one is at least as specific where it counts, so that a reader expects it to decide:
//! * both ask about the same part of the request, their patterns overlap and neither contains the other (`/api/*` and
//!   `*/health`), and the earlier one asks nothing else that the later one does not ask too; or
//! * the later one's path is part of the earlier one's (`/api/health` and prefix `/api`), and the earlier one comes first
//!   only because it asks about something else, such as a method.
//!
//! The finding shows a smallest request that both match and the earlier one takes. Listeners of gateways are looked at like
//! ports of services, among rules for names of one rank. Silent: a specific rule before a general one; a rule without a path before rules with one (a canary by header); two rules that do the same; a rule
//! that gets nothing at all, which is `unreachable-route`. Silent too, as it does not know: patterns that are too large
//! to compare, and lists of more than two thousand entries.
//!
//! # Why it matters
//! The first match decides, and a list is read rule by rule: "health checks go to `health`" holds for every request but
//! those that a rule further up has taken.
//!
//! # Example
//! ```yaml
//! http:
//! - match: [ { uri: { prefix: /api }, method: { exact: GET } } ]
//!   route: [ { destination: { host: cache } } ]
//! - match: [ { uri: { exact: /api/health } } ]      # GET /api/health goes to the cache
//!   route: [ { destination: { host: health } } ]
//! ```
//!
//! # Fix
//! Put the rule whose decision is meant first, or let one condition exclude what the other takes. In HTTPRoutes order does
//! not depend on the document: prefixes rank before regular expressions, so give the more specific rule a prefix or an
//! exact path.
//!
//! # References
//! Istio, VirtualService.http ("the first rule matching is used"); Gateway API v1, HTTPRouteRule.matches. E. S. Al-Shaer and
//! H. H. Hamed, Discovery of policy anomalies in distributed firewalls (2004): *correlation*, in their words.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{FieldMatch, PathMatch, RequestMatch, StringMatch};

use super::unreachable_route::rule_name;
use crate::diagnostic::Diagnostic;
use crate::model::routing::{self, FrontendPlan, PlannedEntry};
use crate::model::{BackendRef, GatewayIndex, Mesh, Order, RouteRule, RuleAction, ServiceIndex};
use crate::reach::{self, Budget, Entry, Reach, Reachability, Unknown, entry_of, ration};
use crate::yaml::Span;

/// Longer lists are not looked at: the pairs of a list are as many as its square.
const MOST_ENTRIES: usize = 2_000;

/// One finding per later entry, with the first that takes part of it.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let lists = ration::map(&mesh.services, |place, _, budget| judge_all(mesh, ServiceIndex(place), budget));
    let gateways =
        ration::map(&mesh.gateways, |place, _, budget| judge_gateway(mesh, GatewayIndex(place), budget));
    let mut found: BTreeMap<(usize, Span), Diagnostic> = BTreeMap::new();
    for (key, finding) in lists.into_iter().chain(gateways).flatten() {
        found.entry(key).or_insert(finding);
    }
    found.into_values().collect()
}

fn judge_all(mesh: &Mesh, index: ServiceIndex, budget: &Budget) -> Vec<((usize, Span), Diagnostic)> {
    let mut found = Vec::new();
    for port in &mesh.service(index).ports {
        for namespace in routing::audiences(mesh, index, port) {
            let plan = routing::plan(mesh, index, port, namespace);
            found.extend(judge(&plan, budget));
        }
    }
    found
}

fn judge_gateway(mesh: &Mesh, index: GatewayIndex, budget: &Budget) -> Vec<((usize, Span), Diagnostic)> {
    let listeners = 0..mesh.gateway(index).listeners.len();
    listeners.flat_map(|listener| judge(&routing::listener_plan(mesh, index, listener), budget)).collect()
}

fn judge(plan: &FrontendPlan<'_>, budget: &Budget) -> Vec<((usize, Span), Diagnostic)> {
    let conditions: Vec<RequestMatch> = plan.entries.iter().map(PlannedEntry::condition).collect();
    let conditions: Vec<&RequestMatch> = conditions.iter().collect();
    let entry = |at: usize| plan.entries.get(at);
    let differ = |first, second| entry(first).zip(entry(second)).is_some_and(|(a, b)| differ(a, b));
    let entries = || plan.entries.iter().map(|planned| entry_of(&planned.condition())).collect();
    let found =
        crossings(&conditions, entries, differ, budget).into_iter().filter_map(|(first, second, example)| {
            let (earlier, later) = entry(first).zip(entry(second))?;
            Some(((later.route_index, later.entry.span), report(earlier, later, &example)))
        });
    found.collect()
}

/// The places of an earlier and a later condition, and a request that the first takes from the second; one for each later
/// one at most. `entries` makes what the core reads of them, if it is needed; `differ` says whether it matters which of two decides.
fn crossings(
    conditions: &[&RequestMatch],
    entries: impl Fn() -> Vec<Entry>,
    differ: impl Fn(usize, usize) -> bool,
    budget: &Budget,
) -> Vec<(usize, usize, reach::Request)> {
    if conditions.len() < 2 || conditions.len() > MOST_ENTRIES {
        return Vec::new();
    }
    let sketches: Vec<Sketch> = conditions.iter().map(|condition| Sketch::of(condition)).collect();
    let mut lists: Option<Lists<'_>> = None;
    let mut found = Vec::new();
    for (second, later) in sketches.iter().enumerate() {
        if budget.spend(second).is_err() {
            break;
        }
        let before = sketches.iter().take(second).enumerate();
        for (first, _) in before.filter(|(first, earlier)| earlier.may_cross(later) && differ(*first, second))
        {
            let lists = lists.get_or_insert_with(|| Lists { entries: entries(), budget, reachability: None });
            if let Ok(Some(example)) = lists.taken(first, second) {
                found.push((first, second, example));
                break;
            }
        }
    }
    found
}

/// A list as the core reads it.
struct Lists<'b> {
    entries: Vec<Entry>,
    budget: &'b Budget,
    /// Made when first asked for: most pairs are settled by the two alone.
    reachability: Option<Reachability<'b>>,
}

impl Lists<'_> {
    /// A request that the first entry takes from the second, if that is probably not meant and the second gets others.
    fn taken(&mut self, first: usize, second: usize) -> Result<Option<reach::Request>, Unknown> {
        let Some((a, b)) = self.entries.get(first).zip(self.entries.get(second)) else { return Ok(None) };
        if reach::plainly_apart(a, b, self.budget) || !is_surprising(a, b, self.budget)? {
            return Ok(None);
        }
        let make = || Reachability::new(&self.entries, self.budget);
        let list = self.reachability.get_or_insert_with(make);
        if matches!(list.reach(second), Reach::Unreachable { .. }) {
            return Ok(None);
        }
        match list.reach_all(&[first, second], first) {
            Reach::Reachable { witness } => Ok(Some(witness)),
            Reach::Unreachable { .. } | Reach::Impossible { .. } | Reach::Unknown { .. } => Ok(None),
        }
    }
}

/// What is cheap to know of a condition.
struct Sketch {
    /// How every path that it matches begins; empty without a path.
    beginning: String,
    /// Whether it asks about the path, and then whether the pattern is more than a text and its rest.
    path: Option<bool>,
    /// Whether it asks about something else with more than a whole text.
    patterns: bool,
}

impl Sketch {
    fn of(condition: &RequestMatch) -> Self {
        let (beginning, free) = match &condition.path {
            Some(PathMatch::Exact(path) | PathMatch::Prefix(path)) => (path.clone(), false),
            Some(PathMatch::SegmentPrefix(path)) => (path.trim_end_matches('/').to_owned(), false),
            Some(PathMatch::Regex(pattern)) => (literal_beginning(pattern), true),
            Some(PathMatch::Template(pattern)) => {
                (pattern.split('{').next().unwrap_or_default().to_owned(), true)
            }
            Some(PathMatch::Suffix(_)) | None => (String::new(), true),
        };
        let ignore_case = condition.path_ignore_case;
        let open = |text: &StringMatch| !matches!(text, StringMatch::Exact(_));
        let field = |field: &FieldMatch| field.invert || open(&field.value);
        let texts = [&condition.method, &condition.scheme, &condition.authority];
        Self {
            beginning: if ignore_case { String::new() } else { beginning },
            path: condition.path.as_ref().map(|_| free || ignore_case),
            patterns: texts.into_iter().flatten().any(open)
                || condition.headers.iter().chain(&condition.query).any(field)
                || !(condition.hosts.is_empty() && condition.destinations.is_empty()),
        }
    }

    /// Whether an earlier entry may take part of a later one in a way that is looked for.
    fn may_cross(&self, later: &Self) -> bool {
        let shared =
            later.beginning.starts_with(&self.beginning) || self.beginning.starts_with(&later.beginning);
        let paths = match (self.path, later.path) {
            (Some(earlier_free), Some(later_free)) => {
                earlier_free || later_free || later.beginning.len() >= self.beginning.len()
            }
            _ => false,
        };
        shared && (paths || (self.patterns && later.patterns))
    }
}

/// The literal text that every match of an expression begins with, or less of it.
fn literal_beginning(pattern: &str) -> String {
    if pattern.contains('|') {
        return String::new();
    }
    let literal: String = pattern.chars().take_while(|c| !r"\.+*?()[]{}^$".contains(*c)).collect();
    match pattern.chars().nth(literal.chars().count()) {
        // What is repeated or optional may be missing.
        Some('*' | '?' | '{') => {
            let mut shorter = literal;
            shorter.pop();
            shorter
        }
        _ => literal,
    }
}

/// How two entries stand to each other in one part of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// The earlier asks no more than the later.
    Wider {
        /// And less: it matches values that the later does not.
        strictly: bool,
    },
    /// The earlier asks more.
    Narrower,
    /// They overlap, and neither contains the other.
    Crossing,
}

fn is_surprising(earlier: &Entry, later: &Entry, budget: &Budget) -> Result<bool, Unknown> {
    let mut relations = BTreeMap::new();
    for part in parts(earlier).into_iter().chain(parts(later)) {
        if relations.contains_key(&part) {
            continue;
        }
        let Some(relation) = relation(&only(earlier, &part), &only(later, &part), budget)? else {
            return Ok(false);
        };
        relations.insert(part, relation);
    }
    let is = |wanted: Relation| relations.values().any(|relation| *relation == wanted);
    let crossing = is(Relation::Crossing) && !is(Relation::Narrower);
    let more = is(Relation::Crossing) || is(Relation::Narrower);
    let path = relations.get(&Part::Path) == Some(&Relation::Wider { strictly: true });
    let has_path = || {
        let path = only(earlier, &Part::Path);
        Ok(!reach::covers(&path, &Entry::default(), budget)?)
    };
    Ok(crossing || (path && more && has_path()?))
}

/// None if no value satisfies both.
fn relation(earlier: &Entry, later: &Entry, budget: &Budget) -> Result<Option<Relation>, Unknown> {
    if earlier == later {
        return Ok(Some(Relation::Wider { strictly: false }));
    }
    let mut both = Reachability::new(&[earlier.clone(), later.clone()], budget);
    Ok(match (both.covers(0, 1)?, both.covers(1, 0)?) {
        (true, back) => Some(Relation::Wider { strictly: !back }),
        (false, true) => Some(Relation::Narrower),
        (false, false) => both.overlaps(0, 1)?.map(|_| Relation::Crossing),
    })
}

/// A part of the request that a condition may ask about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Path,
    Method,
    Scheme,
    Authority,
    Header(String),
    Query(String),
    Fact(String),
}

fn parts(entry: &Entry) -> BTreeSet<Part> {
    let set = [
        (entry.path.is_some(), Part::Path),
        (entry.method.is_some(), Part::Method),
        (entry.scheme.is_some(), Part::Scheme),
        (entry.authority.is_some(), Part::Authority),
    ];
    let headers = entry.headers.iter().map(|field| Part::Header(field.name.to_ascii_lowercase()));
    let query = entry.query.iter().map(|field| Part::Query(field.name.clone()));
    let facts = entry.facts.iter().map(|field| Part::Fact(field.name.clone()));
    let plain = set.into_iter().filter(|(asked, _)| *asked).map(|(_, part)| part);
    plain.chain(headers).chain(query).chain(facts).collect()
}

/// What an entry asks about one part.
fn only(entry: &Entry, part: &Part) -> Entry {
    let nothing = Entry::default();
    match part {
        Part::Path => Entry { path: entry.path.clone(), ..nothing },
        Part::Method => Entry { method: entry.method.clone(), ..nothing },
        Part::Scheme => Entry { scheme: entry.scheme.clone(), ..nothing },
        Part::Authority => Entry { authority: entry.authority.clone(), ..nothing },
        Part::Header(name) => {
            let own = entry.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            Entry { headers: own.cloned().collect(), ..nothing }
        }
        Part::Query(name) => {
            let own = entry.query.iter().filter(|field| field.name == *name);
            Entry { query: own.cloned().collect(), ..nothing }
        }
        Part::Fact(name) => {
            let own = entry.facts.iter().filter(|field| field.name == *name);
            Entry { facts: own.cloned().collect(), ..nothing }
        }
    }
}

/// Whether it matters which of two entries decides.
fn differ(a: &PlannedEntry<'_>, b: &PlannedEntry<'_>) -> bool {
    let same_rule = a.route_index == b.route_index && a.entry.rule == b.entry.rule;
    // On a listener the more specific name decides, which is what everybody expects.
    a.has_names_like(b) && !same_rule && !does_the_same(a.rule(), b.rule())
}

fn does_the_same(a: &RouteRule, b: &RouteRule) -> bool {
    let backend = |backend: &BackendRef| {
        let BackendRef { target, weight, headers, span: _ } = backend.clone();
        (target, weight, headers)
    };
    let action = match (&a.action, &b.action) {
        (RuleAction::Forward(a), RuleAction::Forward(b)) => a.iter().map(backend).eq(b.iter().map(backend)),
        (RuleAction::Redirect(a), RuleAction::Redirect(b)) => a == b,
        (
            RuleAction::Respond { status, body },
            RuleAction::Respond { status: other_status, body: other_body },
        ) => status == other_status && body == other_body,
        _ => false,
    };
    let mirrors =
        |rule: &RouteRule| rule.mirrors.iter().map(|m| (m.target.clone(), m.share)).collect::<Vec<_>>();
    action
        && a.headers == b.headers
        && a.rewrite == b.rewrite
        && a.cors == b.cors
        && a.settings == b.settings
        && mirrors(a) == mirrors(b)
}

fn report(earlier: &PlannedEntry<'_>, later: &PlannedEntry<'_>, example: &reach::Request) -> Diagnostic {
    let (taker, loser) = (rule_name(earlier), rule_name(later));
    let help = match later.route.order {
        Order::Listed => format!(
            "move `{loser}` before `{taker}` if it should decide, or let one condition exclude the other"
        ),
        Order::Specificity => format!(
            "give `{loser}` an exact path or a longer prefix if it should decide, or let one condition exclude the other"
        ),
    };
    let place = match earlier.route_index == later.route_index {
        true => "this one takes them".to_owned(),
        false => format!("this one of {} takes them", earlier.route.at.origin.object),
    };
    Diagnostic::note(
        "partially-shadowed-route",
        format!("`{taker}` takes some of the requests that `{loser}` matches"),
    )
    .object(later.route.at.origin.object.clone())
    .at(later.entry.span)
    .label("gets only the rest")
    .related(earlier.entry.span, place)
    .with_note(format!("for example, `{taker}` takes {example}"))
    .help(help)
}

#[cfg(test)]
mod tests;
