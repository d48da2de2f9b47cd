//! # What it finds
//! A rule that no request can reach, because the rules before it, *together*, take every request it could match. Path
//! (exact, prefix, segment prefix, regular expression, letter case), method, scheme, authority, headers and query
//! parameters are all taken into account, within one document and across the documents that are merged for a service.
//! The finding names the covering rules and shows a request that the rule means and does not get.
//!
//! It is exact: specific rules before general ones are never reported, and no covered rule is missed; requests that
//! repeat a header are taken into account. Authority and host are looked at as if one did not follow from the other. A rule that is limited to a port or a namespace where its document does not
//! hold is found too. Where expressions or lists are too large to decide, it says so in a note instead of guessing: one for
//! each document, for the first twenty. That depends on the documents alone, as work is counted and not time; lists that
//! are hard to decide share what a mesh may take.
//!
//! # Why it matters
//! A rule that never runs looks like policy and is none: a canary that gets no traffic, a deny that denies nobody.
//!
//! # Example
//! ```yaml
//! http:
//! - match: [ { uri: { prefix: /api } } ]          # takes /api, /api/v2, /apiv2 …
//!   route: [ { destination: { host: api } } ]
//! - match: [ { uri: { prefix: /api/v2 } } ]       # never reached
//!   route: [ { destination: { host: api-v2 } } ]
//! ```
//!
//! # Fix
//! Move the rule before those that cover it, make those more specific, or remove it. In HTTPRoutes the order of documents
//! does not matter, only how specific a match is: path kind (exact, prefix, regular expression) and length, then method,
//! headers, query parameters.
//!
//! # References
//! Gateway API v1, HTTPRouteRule.matches; Istio, VirtualService.http ("the first rule matching is used"). The method is
//! SAT modulo automata, see `compiler/src/reach`.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{PathMatch, RequestMatch};
use weft_bundle::engine::{HostPattern, whole_regex};

use super::repeated_headers;
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::routing::{self, FrontendPlan, PlannedEntry};
use crate::model::{GatewayIndex, GatewayListener, Mesh, Route, RouteEntry, ServiceIndex};
use crate::reach::{
    self, Budget, Entry, FieldCondition, FieldPattern, Limits, PathKind, Reach, StringPattern, entry_of,
    ration,
};
use crate::yaml::Span;

/// One finding per condition, or per document for what is not known.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    run_within(mesh, &Limits::default())
}

fn run_within(mesh: &Mesh, limits: &Limits) -> Vec<Diagnostic> {
    let mut verdicts: BTreeMap<Key, Verdict> = BTreeMap::new();
    let mut used = BTreeSet::new();
    let of_service = |place, _: &_, budget: &_| judge_all(mesh, ServiceIndex(place), budget);
    let mut found = ration::map_within(limits, &mesh.services, of_service);
    let of_gateway = |place, _: &_, budget: &_| judge_gateway(mesh, GatewayIndex(place), budget);
    found.extend(ration::map_within(limits, &mesh.gateways, of_gateway));
    for lists in found {
        used.extend(lists.used);
        for (key, verdict) in lists.verdicts {
            let merged = match verdicts.remove(&key) {
                Some(before) => before.and(verdict),
                None => verdict,
            };
            verdicts.insert(key, merged);
        }
    }
    let nowhere = nowhere(mesh, &used, &verdicts);
    let mut findings = Vec::new();
    let mut undecided: BTreeMap<usize, Vec<Diagnostic>> = BTreeMap::new();
    for ((route, _), verdict) in verdicts {
        match verdict {
            Verdict::Reached => {}
            Verdict::Covered(finding) => findings.push(*finding),
            Verdict::Unknown(finding) => undecided.entry(route).or_default().push(*finding),
        }
    }
    findings.extend(nowhere);
    findings.extend(summary(undecided.into_values().collect()));
    findings
}

/// So many documents get a finding of their own about what is not known of them.
const MOST_UNDECIDED: usize = 20;

/// One finding for each document of which something is not known; the last that is shown counts the others.
fn summary(undecided: Vec<Vec<Diagnostic>>) -> Vec<Diagnostic> {
    let beyond = undecided.len().saturating_sub(MOST_UNDECIDED);
    let one = |(place, of_document): (usize, Vec<Diagnostic>)| {
        let others = of_document.len().saturating_sub(1);
        let mut finding = of_document.into_iter().next()?;
        if others > 0 {
            let plural = if others == 1 { "condition" } else { "conditions" };
            finding =
                finding.with_note(format!("nor is it known of {others} more {plural} of this document"));
        }
        if beyond > 0 && place + 1 == MOST_UNDECIDED {
            let plural = if beyond == 1 { "document" } else { "documents" };
            finding = finding.with_note(format!("nor is it known of conditions of {beyond} more {plural}"));
        }
        Some(finding)
    };
    undecided.into_iter().take(MOST_UNDECIDED).enumerate().filter_map(one).collect()
}

/// Entries that no list has, although their routes have lists: limited to a port or namespace that these are not for.
fn nowhere(mesh: &Mesh, used: &BTreeSet<usize>, verdicts: &BTreeMap<Key, Verdict>) -> Vec<Diagnostic> {
    let routes = used.iter().filter_map(|index| Some((*index, mesh.routes.get(*index)?)));
    let entries = routes.flat_map(|(index, route)| route.entries.iter().map(move |e| (index, route, e)));
    let limited = entries.filter(|(.., entry)| entry.port.is_some() || entry.source_namespace.is_some());
    let left_out = limited.filter(|(index, _, entry)| !verdicts.contains_key(&(*index, entry.span)));
    left_out.map(|(_, route, entry)| outside(route, entry)).collect()
}

/// An entry, wherever it is used: route, then place in the route.
type Key = (usize, Span);

/// What the lists that an entry is part of say of it together: one list where it is reached is enough.
enum Verdict {
    Reached,
    Covered(Box<Diagnostic>),
    Unknown(Box<Diagnostic>),
}

impl Verdict {
    /// Reached anywhere beats unknown, which beats covered.
    fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Reached, _) => self,
            (_, Self::Reached) => other,
            (Self::Unknown(_), _) => self,
            (Self::Covered(_), _) => other,
        }
    }
}

/// What the lists of one service say, in their order.
#[derive(Default)]
struct Lists {
    used: BTreeSet<usize>,
    verdicts: Vec<(Key, Verdict)>,
}

fn judge_all(mesh: &Mesh, index: ServiceIndex, budget: &Budget) -> Lists {
    let mut lists = Lists::default();
    for port in &mesh.service(index).ports {
        for namespace in routing::audiences(mesh, index, port) {
            let plan = routing::plan(mesh, index, port, namespace);
            lists.used.extend(plan.routes.iter().copied());
            judge(&plan, std::iter::empty(), budget, &mut lists.verdicts);
        }
    }
    lists
}

fn judge_gateway(mesh: &Mesh, index: GatewayIndex, budget: &Budget) -> Lists {
    let mut lists = Lists::default();
    let listeners = &mesh.gateway(index).listeners;
    for (place, listener) in listeners.iter().enumerate() {
        let plan = routing::listener_plan(mesh, index, place);
        lists.used.extend(plan.routes.iter().copied());
        let others = listeners.iter().enumerate().filter(|(other, _)| *other != place);
        let nearer = others.map(|(_, other)| other).filter(|other| is_nearer(other, listener));
        judge(&plan, nearer, budget, &mut lists.verdicts);
    }
    lists
}

/// Whether a listener takes some of the names of another one, whose routes these never reach (listener isolation).
fn is_nearer(other: &GatewayListener, listener: &GatewayListener) -> bool {
    let mut pairs = other.hosts.iter().flat_map(|a| listener.hosts.iter().map(move |b| (a, b)));
    other.port == listener.port
        && pairs.any(|(a, b)| a.specificity() > b.specificity() && a.intersection(b).is_some())
}

/// Something that may take a request before an entry does.
struct Taker<'m> {
    span: Span,
    /// Its name, and that of its document.
    name: String,
    object: &'m str,
    /// The paths that it takes; none for a listener, and where any will do.
    path: Option<&'m PathMatch>,
}

fn judge<'m>(
    plan: &FrontendPlan<'m>,
    nearer: impl Iterator<Item = &'m GatewayListener>,
    budget: &Budget,
    verdicts: &mut Vec<(Key, Verdict)>,
) {
    if plan.entries.is_empty() {
        return;
    }
    let mut takers = Vec::new();
    let mut entries = Vec::new();
    for listener in nearer {
        entries.push(entry_of(&names_of(listener)));
        let name = format!("listener {}", listener.name);
        let object = &listener.at.origin.object;
        takers.push(Taker { span: listener.span, name, object, path: None });
    }
    let before = entries.len();
    for planned in &plan.entries {
        entries.push(entry_of(&planned.condition()));
        let name = rule_name(planned).to_owned();
        let (object, path) = (&planned.route.at.origin.object, planned.entry.condition.path.as_ref());
        takers.push(Taker { span: planned.entry.span, name, object, path });
    }
    let reached = reached(&entries, budget);
    for ((place, planned), reach) in plan.entries.iter().enumerate().zip(reached.into_iter().skip(before)) {
        let verdict = match reach {
            None | Some(Reach::Reachable { .. }) => Verdict::Reached,
            Some(Reach::Unreachable { covered_by, example, taken_by }) => {
                let by: Vec<_> = covered_by.iter().filter_map(|at| takers.get(*at)).collect();
                let taker = takers.get(taken_by).or_else(|| takers.get(before + place));
                let taker = taker.map(|taker| taker.name.as_str()).unwrap_or_default();
                Verdict::Covered(Box::new(covered(planned, &by, &example, taker)))
            }
            Some(Reach::Impossible { what }) => Verdict::Covered(Box::new(impossible(planned, &what))),
            // An expression that does not compile has its own finding.
            Some(Reach::Unknown { .. }) if !compiles(&planned.entry.condition) => Verdict::Reached,
            Some(Reach::Unknown { why }) => Verdict::Unknown(Box::new(unknown(planned, &why))),
        };
        verdicts.push(((planned.route_index, planned.entry.span), verdict));
    }
}

/// How many questions about one list are asked one by one, each with the entries that matter to it. With more, the
/// engine had better see the whole list once.
const FEW: usize = 8;

/// What becomes of each entry; none if it is plainly reached, as most are.
fn reached(entries: &[Entry], budget: &Budget) -> Vec<Option<Reach>> {
    let plainly = reach::plainly_reached(entries, budget);
    let open: Vec<bool> = plainly.into_iter().map(|plainly| !plainly).collect();
    if open.iter().filter(|open| **open).count() > FEW {
        return repeated_headers::analyse(entries, &open, budget);
    }
    open.into_iter()
        .enumerate()
        .map(|(at, open)| if open { ask(entries, at, budget) } else { None })
        .collect()
}

/// What becomes of one entry. Earlier ones that plainly share no request with it are left out.
fn ask(entries: &[Entry], at: usize, budget: &Budget) -> Option<Reach> {
    let target = entries.get(at)?;
    let apart = |other| reach::plainly_apart(other, target, budget);
    let near = entries.iter().take(at).enumerate().filter(|(_, other)| !apart(other));
    let near: Vec<usize> = near.map(|(place, _)| place).chain([at]).collect();
    let list: Vec<Entry> = near.iter().filter_map(|place| entries.get(*place)).cloned().collect();
    let there = |place: usize| near.get(place).copied().unwrap_or(at);
    Some(match repeated_headers::last(&list, budget)? {
        Reach::Unreachable { covered_by, example, taken_by } => Reach::Unreachable {
            covered_by: covered_by.into_iter().map(there).collect(),
            example,
            taken_by: there(taken_by),
        },
        other => other,
    })
}

fn covered(
    planned: &PlannedEntry<'_>,
    by: &[&Taker<'_>],
    example: &reach::Request,
    taker: &str,
) -> Diagnostic {
    let takes = match by.len() {
        1 => "the rule before it takes",
        _ => "the rules before it together take",
    };
    let message = format!("no request reaches `{}`: {takes} everything that it matches", rule_name(planned));
    let mut finding = Diagnostic::error("unreachable-route", message)
        .object(planned.route.at.origin.object.clone())
        .at(planned.entry.span)
        .label("never reached")
        .with_note(format!("for example, `{taker}` takes {example}"))
        .help(remedy(planned, by));
    let mut seen = BTreeSet::new();
    for other in by.iter().filter(|other| seen.insert(other.span)) {
        let text = match other.object == planned.route.at.origin.object {
            true => format!("`{}` comes first", other.name),
            false => format!("`{}` of {} comes first", other.name, other.object),
        };
        finding = finding.related(other.span, text);
    }
    finding
}

/// What to do about it. Where two prefixes differ in a slash at their end only, moving one of them would do nothing.
fn remedy(planned: &PlannedEntry<'_>, by: &[&Taker<'_>]) -> String {
    let own = planned.entry.condition.path.as_ref();
    let others = by.iter().filter_map(|taker| taker.path);
    let mut same = others.filter_map(|other| match (own?, other) {
        (PathMatch::SegmentPrefix(own), PathMatch::SegmentPrefix(other))
            if own != other && own.trim_end_matches('/') == other.trim_end_matches('/') =>
        {
            Some(format!("the prefixes `{own}` and `{other}` match the same paths: keep one of the rules"))
        }
        _ => None,
    });
    let otherwise =
        || "move it before the rules that cover it, make those more specific, or remove it".to_owned();
    same.next().unwrap_or_else(otherwise)
}

fn impossible(planned: &PlannedEntry<'_>, what: &str) -> Diagnostic {
    let message =
        format!("no request reaches `{}`: its conditions on {what} cannot hold", rule_name(planned));
    Diagnostic::error("unreachable-route", message)
        .object(planned.route.at.origin.object.clone())
        .at(planned.entry.span)
        .label("never matches")
}

fn outside(route: &Route, entry: &RouteEntry) -> Diagnostic {
    let rule =
        route.rules.get(entry.rule).and_then(|rule| rule.at.origin.rule.as_deref()).unwrap_or_default();
    let limits = [
        entry.port.map(|port| format!("port {port}")),
        entry.source_namespace.as_ref().map(|namespace| format!("callers in namespace `{namespace}`")),
    ];
    let limits = limits.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let message = format!("no request reaches `{rule}`: it is for {limits}, which its document is not for");
    Diagnostic::error("unreachable-route", message)
        .object(route.at.origin.object.clone())
        .at(entry.span)
        .label("never used")
        .help("correct the port or namespace, or remove it")
}

/// What a listener takes before those that are for more names.
fn names_of(listener: &GatewayListener) -> RequestMatch {
    let names = listener.hosts.iter().map(HostPattern::to_string).collect();
    match listener.protocol.is_http() {
        true => RequestMatch { hosts: names, ..RequestMatch::default() },
        false => RequestMatch { server_names: names, ..RequestMatch::default() },
    }
}

pub(super) fn rule_name<'m>(planned: &PlannedEntry<'m>) -> &'m str {
    planned.rule().at.origin.rule.as_deref().unwrap_or_default()
}

fn unknown(planned: &PlannedEntry<'_>, why: &str) -> Diagnostic {
    let message = format!("cannot tell whether a request reaches `{}`: {why}", rule_name(planned));
    Diagnostic::new("unreachable-route", Severity::Note, message)
        .object(planned.route.at.origin.object.clone())
        .at(planned.entry.span)
}

/// Whether the proxies could run its regular expressions.
fn compiles(condition: &RequestMatch) -> bool {
    let entry = entry_of(condition);
    let text = |pattern: &StringPattern| match pattern {
        StringPattern::Regex(pattern) => whole_regex(pattern).is_ok(),
        StringPattern::Exact(_) | StringPattern::Prefix(_) | StringPattern::Suffix(_) => true,
    };
    let field = |field: &FieldCondition| match &field.value {
        FieldPattern::Text(pattern) => text(pattern),
        FieldPattern::Present | FieldPattern::Absent => true,
    };
    let path = match entry.path.map(|path| path.kind) {
        Some(PathKind::Regex(pattern)) => whole_regex(&pattern).is_ok(),
        _ => true,
    };
    path && [&entry.method, &entry.scheme, &entry.authority].into_iter().flatten().all(text)
        && entry.headers.iter().chain(&entry.query).all(field)
}

#[cfg(test)]
mod tests;
