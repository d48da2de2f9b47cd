//! One mesh with every kind of edge, in every format.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{EdgeKind, Graph, Kinds, dot, json, mermaid};
use crate::compile;
use crate::source::Sources;

const MESH: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: test.example }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: front }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart, namespace: shop } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: batch, namespace: front }
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart, namespace: shop }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.1, labels: { v: a } } ] }
  subsets: [ { name: a, labels: { v: a } } ]
  calls: [ { name: stock } ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: stock, namespace: shop }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: time, namespace: shop }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart, namespace: shop }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { namespace: front } ] }, { from: [ { service: stock } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: time, namespace: shop }
spec: { targetRefs: [ { kind: Service, name: time } ], action: allow, rules: [ { to: [ { methods: [ GET ] } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-batch, namespace: shop }
spec:
  targetRefs: [ { kind: Service, name: time } ]
  action: deny
  rules: [ { from: [ { service: front/batch } ] } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart, namespace: shop }
spec:
  hosts: [ cart ]
  http:
  - name: 'odd \" ] --> <b>'
    match: [ { uri: { prefix: /a } } ]
    route: [ { destination: { host: cart, subset: a }, weight: 90 }, { destination: { host: time }, weight: 10 } ]
  - { name: rest, route: [ { destination: { host: cart } } ] }
";

/// Callers from outside, at a gateway of the same name as a service.
const GATEWAY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: web, namespace: front }
spec:
  gatewayClassName: weft
  listeners: [ { name: web, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: edge, namespace: shop }
spec:
  parentRefs: [ { name: web, namespace: front } ]
  rules:
  - { name: half, backendRefs: [ { name: cart, port: 80, weight: 3 }, { name: time, port: 80 } ] }
";

fn with_gateway() -> Graph {
    Graph::build(&compile(&Sources::in_memory([("mesh.yaml", format!("{MESH}{GATEWAY}"))])).mesh)
}

#[test]
fn gateways_were_missing() {
    let graph = with_gateway();
    let ids: Vec<&str> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
    let expected = ["front/batch", "front/web", "gateway:front/web", "shop/cart", "shop/stock", "shop/time"];
    assert_eq!(ids, expected);
    let routes = edges(&graph.clone().of_kind(Kinds::Routes));
    let from_outside: Vec<&str> =
        routes.iter().map(String::as_str).filter(|edge| edge.starts_with("gateway:")).collect();
    assert_eq!(from_outside, ["gateway:front/web route shop/cart", "gateway:front/web route shop/time"]);
    let shown = graph.focus("gateway:front/web", 1).unwrap();
    assert_eq!(shown.nodes.len(), 3);
    let all = [mermaid::render(&shown), dot::render(&shown), json::render(&shown)];
    insta::assert_snapshot!(all.join("\n────────\n\n"));
}

#[test]
fn a_focus_was_asked_for_by_its_whole_name() {
    let graph = with_gateway();
    assert_eq!(graph.named("cart"), ["shop/cart"]);
    assert_eq!(graph.named("front/web"), ["front/web"]);
    assert_eq!(graph.named("web"), ["front/web", "gateway:front/web"]);
    assert_eq!(graph.named("gateway:front/web"), ["gateway:front/web"]);
    assert!(graph.named("car").is_empty());
}

fn graph() -> Graph {
    Graph::build(&compile(&Sources::in_memory([("mesh.yaml", MESH)])).mesh)
}

/// `from kind to`, for every edge.
fn edges(graph: &Graph) -> Vec<String> {
    let id = |place: usize| graph.nodes[place].id.as_str();
    let edge = |edge: &super::Edge| format!("{} {} {}", id(edge.from), edge.kind.as_str(), id(edge.to));
    graph.edges.iter().map(edge).collect()
}

#[test]
fn every_format_shows_the_same_graph() {
    let graph = graph();
    let all = [mermaid::render(&graph), dot::render(&graph), json::render(&graph)];
    insta::assert_snapshot!(all.join("\n────────\n\n"));
}

#[test]
fn every_format_shows_collapsed_namespaces() {
    let graph = graph().collapse();
    let all = [mermaid::render(&graph), dot::render(&graph), json::render(&graph)];
    insta::assert_snapshot!(all.join("\n────────\n\n"));
}

#[test]
fn declared_calls_are_not_also_allowed_ones() {
    let calls = edges(&graph().of_kind(Kinds::Calls));
    let expected = [
        "front/batch access shop/cart",
        "front/web call shop/cart",
        "shop/cart call shop/stock",
        "shop/stock call shop/cart",
    ];
    assert_eq!(calls, expected);
}

#[test]
fn a_service_that_all_may_call_says_so_itself() {
    let graph = graph();
    let time = graph.nodes.iter().find(|node| node.id == "shop/time").unwrap();
    assert!(time.open);
    assert_eq!(time.except, ["front/batch"]);
    assert!(graph.nodes.iter().filter(|node| node.open).count() == 1);
}

#[test]
fn only_calls_and_routes_close_a_cycle() {
    let graph = graph();
    let cyclic: Vec<&str> = graph.nodes.iter().filter(|n| n.in_cycle).map(|n| n.id.as_str()).collect();
    assert_eq!(cyclic, ["shop/cart", "shop/stock"]);
    let own_subset = graph.edges.iter().find(|edge| edge.from == edge.to).unwrap();
    assert_eq!((own_subset.kind, own_subset.in_cycle), (EdgeKind::Route, false));
    let routes = graph.of_kind(Kinds::Routes);
    assert!(routes.nodes.iter().all(|node| !node.in_cycle), "what is not shown closes no cycle");
}

#[test]
fn a_focus_shows_both_directions() {
    let ids = |graph: Graph| graph.nodes.into_iter().map(|node| node.id).collect::<Vec<_>>();
    assert_eq!(ids(graph().focus("front/web", 1).unwrap()), ["front/web", "shop/cart"]);
    let two = ids(graph().focus("front/web", 2).unwrap());
    assert_eq!(two, ["front/web", "shop/cart", "shop/stock", "shop/time"], "not the other caller of `cart`");
    assert_eq!(ids(graph().focus("shop/time", 1).unwrap()), ["shop/cart", "shop/time"]);
    assert_eq!(ids(graph().focus("shop/time", 0).unwrap()), ["shop/time"]);
    assert!(graph().focus("shop/tim", 1).is_none());
}

#[test]
fn a_namespace_keeps_its_neighbours() {
    let graph = graph().of_namespace("front");
    assert_eq!(edges(&graph), ["front/batch access shop/cart", "front/web call shop/cart"]);
    assert_eq!(graph.nodes.len(), 3);
}

/// Skipped, with a message, where Graphviz is not installed.
#[test]
fn graphviz_reads_what_is_written() {
    for graph in [graph(), graph().collapse()] {
        let dot = Command::new("dot").arg("-Tdot").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut dot) = dot else {
            eprintln!("skipped: there is no `dot`");
            return;
        };
        dot.stdin.take().unwrap().write_all(dot::render(&graph).as_bytes()).unwrap();
        let output = dot.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("digraph mesh"));
    }
}
