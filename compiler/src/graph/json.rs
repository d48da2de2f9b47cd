//! The graph for machines. The shape is a promise; fields are only ever added.
//!
//! ```json
//! { "nodes": [ { "id": "shop/cart", "kind": "service", "namespace": "shop", "name": "cart", "open": false,
//!                "except": [], "in_cycle": false, "file": "services.yaml", "line": 4 } ],
//!   "edges": [ { "from": "shop/web", "to": "shop/cart", "kind": "route", "count": 1, "in_cycle": false,
//!                "object": "HTTPRoute shop/cart", "rule": "canary", "file": "routes.yaml", "line": 8,
//!                "port": 80, "subset": "v2", "weight": 10, "total": 100 } ] }
//! ```
//!
//! `kind` of a node is `service`, `gateway` (with the id `gateway:infra/edge`) or `namespace`; of an edge `call`, `access` or `route`. What does not apply is left
//! out: places in a collapsed graph, and `port`, `subset`, `weight` and `total` of what is not a route. The place of a
//! call is the service that declares it, of an access the service that lets it in, of a route its rule.

use serde::Serialize;

use super::{Edge, Graph, Node};
use crate::model::At;

/// Indented JSON with a line break at the end.
pub fn render(graph: &Graph) -> String {
    let written = Written {
        nodes: graph.nodes.iter().map(WrittenNode::new).collect(),
        edges: graph.edges.iter().map(|edge| WrittenEdge::new(graph, edge)).collect(),
    };
    let mut text = serde_json::to_string_pretty(&written).expect("strings and numbers always serialise");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Written<'g> {
    nodes: Vec<WrittenNode<'g>>,
    edges: Vec<WrittenEdge<'g>>,
}

#[derive(Serialize)]
struct WrittenNode<'g> {
    id: &'g str,
    kind: &'static str,
    namespace: &'g str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'g str>,
    open: bool,
    except: &'g [String],
    in_cycle: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'g str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

#[derive(Serialize)]
struct WrittenEdge<'g> {
    from: &'g str,
    to: &'g str,
    kind: &'static str,
    count: usize,
    in_cycle: bool,
    #[serde(flatten)]
    place: Option<Place<'g>>,
    #[serde(flatten)]
    share: Option<WrittenShare<'g>>,
}

#[derive(Serialize)]
struct Place<'g> {
    object: &'g str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'g str>,
    file: &'g str,
    line: u32,
}

#[derive(Serialize)]
struct WrittenShare<'g> {
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    subset: Option<&'g str>,
    weight: u32,
    total: u64,
}

impl<'g> WrittenNode<'g> {
    fn new(node: &'g Node) -> Self {
        Self {
            id: &node.id,
            kind: node.kind.as_str(),
            namespace: &node.namespace,
            name: node.name.as_deref(),
            open: node.open,
            except: &node.except,
            in_cycle: node.in_cycle,
            file: node.at.as_ref().map(|at| at.origin.file.as_str()),
            line: node.at.as_ref().map(|at| at.origin.line),
        }
    }
}

impl<'g> WrittenEdge<'g> {
    fn new(graph: &'g Graph, edge: &'g Edge) -> Self {
        let id = |place: usize| graph.nodes.get(place).map(|node| node.id.as_str()).unwrap_or_default();
        let place = |at: &'g At| Place {
            object: &at.origin.object,
            rule: at.origin.rule.as_deref(),
            file: &at.origin.file,
            line: at.origin.line,
        };
        let share = edge.share.as_ref().map(|share| WrittenShare {
            port: share.port,
            subset: share.subset.as_deref(),
            weight: share.weight,
            total: share.total,
        });
        Self {
            from: id(edge.from),
            to: id(edge.to),
            kind: edge.kind.as_str(),
            count: edge.count,
            in_cycle: edge.in_cycle,
            place: edge.at.as_ref().map(place),
            share,
        }
    }
}
