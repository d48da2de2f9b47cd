//! DestinationRules: which of them rule which callers of a service.
//!
//! A caller is ruled by the DestinationRules of one namespace (istio:pilot/pkg/model/push_context.go, `destinationRule`): its
//! own, if there are any; else the service's; else the root namespace's, where `exportTo` shows them to it. A rule in any
//! other namespace says nothing. One with a `workloadSelector` is only for workloads of its own namespace, and for those that
//! carry the labels it stands for all others.
//!
//! What most callers are told is the service's own settings; callers that are told something else have a view of it
//! ([`View`]). What rules of one scope say is united in [`terms`].

mod check;
mod terms;

use std::collections::{BTreeMap, BTreeSet};

pub(in crate::model::resolve) use self::check::check;
use self::terms::applied;
use super::super::{Context, convert};
use super::hosts::{Hosts, namespaces};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::DestinationRule;
use crate::dialect::{Kind, NO_EFFECT, ParsedDocument};
use crate::model::{Mesh, Service, ServiceIndex, View};
use crate::yaml::Spanned;

/// A rule for a service.
#[derive(Clone, Copy)]
struct Rule<'d> {
    document: &'d ParsedDocument,
    spec: &'d Spanned<DestinationRule>,
    /// Higher decides where two set one field.
    priority: i64,
}

type Labels = BTreeMap<String, String>;

impl<'d> Rule<'d> {
    fn labels(&self) -> Option<&'d Labels> {
        self.spec.workload_selector.as_ref().map(|selector| &selector.match_labels)
    }

    fn namespace(&self) -> &'d str {
        self.document.namespace()
    }

    /// Whether callers of a namespace may be ruled by it; none stands for those of a namespace that nothing names.
    fn is_shown_to(&self, caller: Option<&str>) -> bool {
        match (namespaces(self.document, &self.spec.export_to), caller) {
            (None, _) => true,
            (Some(shown), Some(caller)) => shown.iter().any(|own| own == caller),
            (Some(_), None) => false,
        }
    }

    /// Whether only its own namespace sees it.
    fn is_private(&self) -> bool {
        let shown = namespaces(self.document, &self.spec.export_to);
        self.labels().is_some() || shown.is_some_and(|shown| shown.iter().all(|own| own == self.namespace()))
    }
}

/// Adds the subsets and settings of all DestinationRules to their services.
pub(in crate::model::resolve) fn bind(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    mesh: &mut Mesh,
) {
    let hosts = Hosts::of(mesh);
    let mut by_service: BTreeMap<ServiceIndex, Vec<Rule<'_>>> = BTreeMap::new();
    for document in documents {
        let Kind::DestinationRule(spec) = &document.spec else { continue };
        let Some(index) = hosts.service(context, mesh, document, &spec.host) else { continue };
        let priority = convert::priority(context, document).unwrap_or(0);
        by_service.entry(index).or_default().push(Rule { document, spec, priority });
    }
    for (index, mut rules) in by_service {
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        let before = context.found.len();
        let mut used = BTreeSet::new();
        scoped(context, mesh, index, &rules, &mut used);
        unused(context, mesh.service(index), &rules, &used);
        once(context, before);
    }
}

/// Gives a service what its rules say, and each namespace that is told something else a view of it.
fn scoped(
    context: &mut Context<'_>,
    mesh: &mut Mesh,
    index: ServiceIndex,
    rules: &[Rule<'_>],
    used: &mut BTreeSet<usize>,
) {
    let bare = mesh.service(index).clone();
    let root = mesh.root_namespace.clone();
    let mut named: BTreeSet<String> = BTreeSet::from([bare.namespace.clone(), root.clone()]);
    for rule in rules {
        named.insert(rule.namespace().to_owned());
        named.extend(namespaces(rule.document, &rule.spec.export_to).into_iter().flatten());
    }
    let general = tier(rules, &bare.namespace, &root, None);
    let service = applied(context, bare.clone(), &pick(rules, &general, None), used);
    let mut views = Vec::new();
    for namespace in named {
        let own = tier(rules, &bare.namespace, &root, Some(&namespace));
        let mut labels: Vec<&Labels> = Vec::new();
        for rule in own.iter().filter_map(|place| rules.get(*place)) {
            if let Some(own) = rule.labels().filter(|own| !labels.contains(own)) {
                labels.push(own);
            }
        }
        if labels.is_empty() && pick_places(rules, &own, None) == pick_places(rules, &general, None) {
            continue;
        }
        for labels in labels.into_iter().map(Some).chain([None]) {
            let told = applied(context, bare.clone(), &pick(rules, &own, labels), used);
            let selected = own.iter().filter_map(|place| rules.get(*place));
            let mut selected = selected.filter(|rule| rule.labels() == labels);
            let place = |rule: &Rule<'_>| match &rule.spec.workload_selector {
                Some(selector) => selector.span,
                None => rule.spec.host.span,
            };
            let at = selected.next().map(|rule| context.at(rule.document, place(rule), None));
            let view = View::of(told, &namespace, labels.cloned().unwrap_or_default());
            views.push(View { at, ..view });
        }
    }
    if let Some(place) = mesh.services.get_mut(index.0) {
        *place = Service { views, ..service };
    }
}

/// The rules that callers of a namespace are ruled by, by place.
fn tier(rules: &[Rule<'_>], service: &str, root: &str, caller: Option<&str>) -> Vec<usize> {
    let found = |fits: &dyn Fn(&Rule<'_>) -> bool| -> Vec<usize> {
        rules.iter().enumerate().filter(|(_, rule)| fits(rule)).map(|(place, _)| place).collect()
    };
    let own = match caller {
        // What the root namespace says to all is no more its own than anybody's.
        Some(caller) if caller == root => found(&|rule| rule.namespace() == root && rule.is_private()),
        Some(caller) => found(&|rule| {
            rule.namespace() == caller && (rule.labels().is_some() || rule.is_shown_to(Some(caller)))
        }),
        None => Vec::new(),
    };
    if !own.is_empty() {
        return own;
    }
    let shown = |namespace: &str| {
        found(&|rule| rule.namespace() == namespace && !rule.is_private() && rule.is_shown_to(caller))
    };
    let of_service = shown(service);
    if of_service.is_empty() { shown(root) } else { of_service }
}

/// Of some rules, those for workloads with just these labels, or without a selector.
fn pick<'r, 'd>(
    rules: &'r [Rule<'d>],
    places: &[usize],
    labels: Option<&Labels>,
) -> Vec<(usize, &'r Rule<'d>)> {
    let rules = places.iter().filter_map(|place| Some((*place, rules.get(*place)?)));
    rules.filter(|(_, rule)| rule.labels() == labels).collect()
}

fn pick_places(rules: &[Rule<'_>], places: &[usize], labels: Option<&Labels>) -> Vec<usize> {
    pick(rules, places, labels).into_iter().map(|(place, _)| place).collect()
}

/// Says which rules nobody is ruled by.
fn unused(context: &mut Context<'_>, service: &Service, rules: &[Rule<'_>], used: &BTreeSet<usize>) {
    for (place, rule) in rules.iter().enumerate().filter(|(place, _)| !used.contains(place)) {
        let first = rules.iter().enumerate().find(|(other, _)| *other != place && used.contains(other));
        let message = format!("nobody who calls `{}` is ruled by this", service.id());
        let mut finding = Diagnostic::warning(NO_EFFECT, message)
            .object(rule.document.object())
            .at(rule.spec.host.span)
            .with_note(
                "callers are ruled by what their own namespace says of a host, else by what the service's says, else by the \
                 root namespace's",
            )
            .help("move it to the namespace of the callers or of the service, or remove it");
        if let Some((_, other)) = first {
            finding = finding.related(other.document.metadata.name.span, "this one rules them");
        }
        context.report(finding);
    }
}

/// Leaves one of equal findings: a rule is looked at for each of its scopes.
fn once(context: &mut Context<'_>, before: usize) {
    let mut seen = BTreeSet::new();
    let found = context.found.split_off(before);
    context.found.extend(found.into_iter().filter(|finding| seen.insert(format!("{finding:?}"))));
}
