//! Where the calls of services arrive: the graph that follows a call through routes to the workloads behind them.
//!
//! A node is a service; an edge leads from a service that declares a call to each service that the rules of what it calls
//! send requests to, or copies of them. Only declared calls count: who may call whom is not who does. Routes apply once,
//! at the caller's proxy (GAMMA): a backend's own routes are for those who call it by its name. A rule that redirects or
//! answers leads nowhere. Where several rules lead to one place there is one edge, with a weight that is merged.
//!
//! Cost: one plan for each port and audience (also of callers that are told something else of the service), then one edge for each call and place.

use std::collections::{BTreeMap, BTreeSet};

use super::levels::Passage;
use crate::model::routing::{self, Audience};
use crate::model::{Call, Mesh, Port, RuleAction, ServiceIndex, Told, View};
use crate::parallel;
use crate::yaml::Span;

/// How a call gets from the name that is called to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Via {
    /// By no route.
    Itself,
    /// By a rule that sends it there.
    Backend(Span),
    /// As a copy, by a rule that mirrors.
    Mirror(Span),
}

/// Where requests of a service arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<W> {
    /// What was declared.
    pub(super) call: Call,
    /// Where they arrive.
    pub(super) to: ServiceIndex,
    /// How; the first rule that leads there.
    pub(super) via: Via,
    /// The route of that rule.
    pub(super) route: Option<usize>,
    /// What all rules that lead there weigh together.
    pub(super) weight: W,
}

/// For each service, by place: where its calls arrive.
pub(super) fn all<'m, W: Copy + Send + Sync>(
    mesh: &'m Mesh,
    weigh: impl Fn(Passage<'m>) -> W + Sync,
    merge: impl Fn(W, W) -> W + Sync,
) -> Vec<Vec<Arrival<W>>> {
    let fronts = parallel::map(&mesh.services, |place, _| front(mesh, ServiceIndex(place), &weigh, &merge));
    let of = |service: &crate::model::Service| {
        let mut arrivals = Vec::new();
        for call in service.named_calls() {
            let Some(front) = fronts.get(call.service.0) else { continue };
            let seen = front.get(&service.namespace).or_else(|| front.get(""));
            arrivals.extend(seen.into_iter().flatten().map(|reached| Arrival { call: *call, ..*reached }));
        }
        arrivals
    };
    mesh.services.iter().map(of).collect()
}

/// What is behind a name, by the namespace of the caller; `""` for all that are not listed.
type Front<W> = BTreeMap<String, Vec<Arrival<W>>>;

fn front<'m, W: Copy>(
    mesh: &'m Mesh,
    index: ServiceIndex,
    weigh: &impl Fn(Passage<'m>) -> W,
    merge: &impl Fn(W, W) -> W,
) -> Front<W> {
    let service = mesh.service(index);
    let names = service.ports.iter().flat_map(|port| routing::audiences(mesh, index, port));
    let of_views: Vec<Audience> = service.views.iter().map(View::audience).collect();
    let audiences: BTreeSet<&Audience> = names.chain(&of_views).collect();
    let mut front: Front<W> = BTreeMap::new();
    for audience in audiences {
        let arrivals = front.entry(audience.namespace.clone()).or_default();
        let told = Told { index, service, view: service.view(audience) };
        for port in &service.ports {
            for rule in rules(mesh, index, port, audience) {
                let passage = Passage { told, port, rule };
                let mut weight = None;
                for (to, via) in targets(mesh, passage) {
                    let weight = *weight.get_or_insert_with(|| weigh(passage));
                    add(arrivals, passage, to, via, weight, merge);
                }
            }
        }
    }
    front
}

fn add<W: Copy>(
    arrivals: &mut Vec<Arrival<W>>,
    passage: Passage<'_>,
    to: ServiceIndex,
    via: Via,
    weight: W,
    merge: &impl Fn(W, W) -> W,
) {
    let is_copy = |via: Via| matches!(via, Via::Mirror(_));
    match arrivals.iter_mut().find(|known| known.to == to && is_copy(known.via) == is_copy(via)) {
        Some(known) => known.weight = merge(known.weight, weight),
        None => {
            let call = Call { service: passage.told.index, span: mesh_span(via), by_pattern: false };
            arrivals.push(Arrival { call, to, via, route: passage.rule.map(|(route, _)| route), weight });
        }
    }
}

/// A place until the call itself is known.
fn mesh_span(via: Via) -> Span {
    match via {
        Via::Itself => Span::default(),
        Via::Backend(span) | Via::Mirror(span) => span,
    }
}

/// The rules that callers of a namespace ask through; none stands for no route at all.
fn rules(
    mesh: &Mesh,
    service: ServiceIndex,
    port: &Port,
    audience: &Audience,
) -> Vec<Option<(usize, usize)>> {
    if mesh.index.routes(service).is_empty() {
        return vec![None];
    }
    let plan = routing::plan(mesh, service, port, audience);
    if plan.routes.is_empty() {
        return vec![None];
    }
    let mut rules: Vec<_> = plan.entries.iter().map(|p| Some((p.route_index, p.entry.rule))).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn targets(mesh: &Mesh, passage: Passage<'_>) -> Vec<(ServiceIndex, Via)> {
    let Some((route, number)) = passage.rule else { return vec![(passage.told.index, Via::Itself)] };
    let rule = mesh.routes.get(route).and_then(|route| route.rules.get(number));
    let Some((rule, RuleAction::Forward(backends))) = rule.map(|rule| (rule, &rule.action)) else {
        return Vec::new();
    };
    let sent = backends.iter().filter(|backend| backend.weight > 0);
    let sent = sent.filter_map(|b| Some((b.target.as_ref()?.service, Via::Backend(b.span))));
    let copied = rule.mirrors.iter().filter(|mirror| mirror.share.numerator > 0);
    let copied = copied.filter_map(|m| Some((m.target.as_ref()?.service, Via::Mirror(m.span))));
    sent.chain(copied).collect()
}
