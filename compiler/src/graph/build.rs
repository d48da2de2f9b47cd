//! From the model to the graph.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::IdentityMatch;
use weft_bundle::spiffe::SpiffeId;

use super::{Edge, EdgeKind, Graph, Node, NodeKind, Share};
use crate::model::callers::may_call;
use crate::model::{At, CallerKind, Gateway, Mesh, Route, RouteRule, RuleAction, Service, ServiceIndex};

impl Graph {
    /// The whole mesh, a node for each service and gateway.
    pub fn build(mesh: &Mesh) -> Self {
        // Places of services are their indices until the nodes are sorted; gateways follow them.
        let nodes = mesh.services.iter().map(node).chain(mesh.gateways.iter().map(gateway));
        let mut graph = Self { nodes: nodes.collect(), edges: Vec::new() };
        let declared = declared(mesh, &mut graph.edges);
        let names = Names::of(mesh);
        for (target, _) in mesh.indexed() {
            allowed(mesh, &names, target, &declared, &mut graph);
        }
        for route in &mesh.routes {
            routed(mesh, route, &mut graph.edges);
        }
        graph.sort_nodes();
        graph.sort_edges();
        graph.mark_cycles();
        graph
    }

    fn sort_nodes(&mut self) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|place| self.nodes.get(*place).map(|node| (&node.namespace, &node.id)));
        let places: BTreeMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let moved = |place: usize| places.get(&place).copied().unwrap_or(place);
        for edge in &mut self.edges {
            (edge.from, edge.to) = (moved(edge.from), moved(edge.to));
        }
        self.nodes = order.iter().filter_map(|place| self.nodes.get(*place)).cloned().collect();
    }

    pub(super) fn sort_edges(&mut self) {
        self.edges.sort_by_key(|edge| {
            let place = edge.at.as_ref().map(|at| (at.span, at.origin.rule.clone()));
            let subset = edge.share.as_ref().map(|share| (share.port, share.subset.clone()));
            (edge.from, edge.to, edge.kind, place, subset)
        });
    }
}

fn node(service: &Service) -> Node {
    Node {
        id: service.id(),
        kind: NodeKind::Service,
        namespace: service.namespace.clone(),
        name: Some(service.name.clone()),
        open: false,
        except: Vec::new(),
        in_cycle: false,
        in_focus: false,
        at: Some(service.at.clone()),
    }
}

fn gateway(gateway: &Gateway) -> Node {
    Node {
        id: format!("gateway:{}", gateway.id()),
        kind: NodeKind::Gateway,
        namespace: gateway.namespace.clone(),
        name: Some(gateway.name.clone()),
        open: false,
        except: Vec::new(),
        in_cycle: false,
        in_focus: false,
        at: Some(gateway.at.clone()),
    }
}

fn edge(from: usize, to: ServiceIndex, kind: EdgeKind, at: At) -> Edge {
    Edge { from, to: to.0, kind, count: 1, share: None, in_cycle: false, at: Some(at) }
}

/// Adds what services declare; gives the pairs.
fn declared(mesh: &Mesh, edges: &mut Vec<Edge>) -> BTreeSet<(ServiceIndex, ServiceIndex)> {
    let mut pairs = BTreeSet::new();
    for (from, service) in mesh.indexed() {
        for call in service.calls.iter().flatten() {
            if pairs.insert((from, call.service)) {
                // The line is that of the object, whose `calls` say so; the span is the call's own.
                let at = At { origin: service.at.origin.clone(), span: call.span };
                edges.push(edge(from.0, call.service, EdgeKind::Call, at));
            }
        }
    }
    pairs
}

/// Which services policies can mean by an identity or a namespace.
struct Names<'m> {
    by_identity: BTreeMap<&'m SpiffeId, Vec<ServiceIndex>>,
    by_namespace: BTreeMap<&'m str, Vec<ServiceIndex>>,
    /// Services whose identity is of another trust domain than the mesh.
    foreign: Vec<ServiceIndex>,
}

impl<'m> Names<'m> {
    fn of(mesh: &'m Mesh) -> Self {
        let mut names =
            Self { by_identity: BTreeMap::new(), by_namespace: BTreeMap::new(), foreign: Vec::new() };
        for (index, service) in mesh.indexed() {
            names.by_identity.entry(&service.identity).or_default().push(index);
            if let Some(namespace) = service.identity.namespace() {
                names.by_namespace.entry(namespace).or_default().push(index);
            }
            if *service.identity.trust_domain() != mesh.trust_domain {
                names.foreign.push(index);
            }
        }
        names
    }

    /// The services that a policy of the target tells apart from the rest of the mesh.
    fn told_apart(&self, mesh: &Mesh, target: ServiceIndex) -> BTreeSet<ServiceIndex> {
        let policies = mesh.index.access(target).iter().filter_map(|place| mesh.access.get(*place));
        let callers = policies.flat_map(|policy| &policy.rules).flat_map(|rule| &rule.from);
        let mut named: BTreeSet<ServiceIndex> = self.foreign.iter().copied().collect();
        for caller in callers {
            let found = match &caller.who {
                CallerKind::Service(service) => self.by_identity.get(&mesh.service(*service).identity),
                CallerKind::Identity(IdentityMatch::Exact(id)) => self.by_identity.get(id),
                CallerKind::Identity(IdentityMatch::Namespace { namespace, .. }) => {
                    self.by_namespace.get(namespace.as_str())
                }
                CallerKind::Identity(IdentityMatch::TrustDomain(_)) | CallerKind::Network(_) => None,
            };
            named.extend(found.into_iter().flatten());
        }
        named
    }
}

/// Adds who may call a service without declaring it. Services that no policy of it tells apart are all alike, so one of
/// them is asked for all.
fn allowed(
    mesh: &Mesh,
    names: &Names<'_>,
    target: ServiceIndex,
    declared: &BTreeSet<(ServiceIndex, ServiceIndex)>,
    graph: &mut Graph,
) {
    let named = names.told_apart(mesh, target);
    let other =
        mesh.indexed().map(|(index, _)| index).find(|index| *index != target && !named.contains(index));
    let open = other.is_some_and(|other| may_call(mesh, other, target));
    let callers = named.iter().copied().filter(|caller| *caller != target);
    let (may, may_not): (Vec<_>, Vec<_>) = callers.partition(|caller| may_call(mesh, *caller, target));
    if open {
        let except = may_not.iter().map(|caller| mesh.service(*caller).id()).collect();
        if let Some(node) = graph.nodes.get_mut(target.0) {
            (node.open, node.except) = (true, except);
        }
        return;
    }
    let at = &mesh.service(target).at;
    let undeclared = may.into_iter().filter(|caller| !declared.contains(&(*caller, target)));
    graph.edges.extend(undeclared.map(|caller| edge(caller.0, target, EdgeKind::Access, at.clone())));
}

/// Adds where a route sends requests.
fn routed(mesh: &Mesh, route: &Route, edges: &mut Vec<Edge>) {
    let services = route.attachments.iter().map(|a| a.service.0);
    let gateways = route.listeners.iter().map(|l| l.gateway.0.saturating_add(mesh.services.len()));
    let frontends: BTreeSet<usize> = services.chain(gateways).collect();
    for frontend in frontends {
        for rule in &route.rules {
            edges.extend(shares(frontend, rule));
        }
    }
}

/// The shares of a rule, from the node at a place.
fn shares(frontend: usize, rule: &RouteRule) -> Vec<Edge> {
    let RuleAction::Forward(backends) = &rule.action else { return Vec::new() };
    let total = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let share = |backend: &crate::model::BackendRef| {
        let target = backend.target.as_ref()?;
        let subset = target.subset.clone();
        let share = Share { port: target.port, subset, weight: backend.weight, total };
        let edge = edge(frontend, target.service, EdgeKind::Route, rule.at.clone());
        Some(Edge { share: Some(share), ..edge })
    };
    backends.iter().filter_map(share).collect()
}
