//! Graphviz's DOT language.
//!
//! Every id and label is a quoted string, in which only `"` and `\` mean anything.

use std::fmt::Write as _;

use super::label::arrows;
use super::mermaid::openness;
use super::{EdgeKind, Graph, Node, NodeKind};

/// The digraph.
pub fn render(graph: &Graph) -> String {
    let mut text = String::from(
        "digraph mesh {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  \
         edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    for (number, (namespace, members)) in graph.by_namespace().into_iter().enumerate() {
        let nodes = members.iter().filter_map(|place| graph.nodes.get(*place));
        if nodes.clone().all(|node| node.name.is_none()) {
            nodes.for_each(|node| text += &format!("  {}\n", self::node(node)));
            continue;
        }
        let _ = write!(text, "  subgraph cluster_{number} {{\n    label={};\n", quote(namespace));
        nodes.for_each(|node| text += &format!("    {}\n", self::node(node)));
        text += "  }\n";
    }
    for arrow in arrows(graph) {
        let (Some(from), Some(to)) = (graph.nodes.get(arrow.from), graph.nodes.get(arrow.to)) else {
            continue;
        };
        let style = match arrow.kind {
            EdgeKind::Call => "",
            EdgeKind::Access => "style=dashed",
            EdgeKind::Route => "style=bold",
        };
        let label = match arrow.lines.is_empty() {
            true => String::new(),
            false => format!("label={}", lines(&arrow.lines)),
        };
        let cycle = if arrow.in_cycle { "color=red" } else { "" };
        let attributes = [style, &label, cycle].into_iter().filter(|text| !text.is_empty());
        let attributes = attributes.collect::<Vec<_>>().join(", ");
        let attributes = if attributes.is_empty() { attributes } else { format!(" [{attributes}]") };
        let _ = writeln!(text, "  {} -> {}{attributes};", quote(&from.id), quote(&to.id));
    }
    text + "}\n"
}

fn node(node: &Node) -> String {
    let name = node.name.clone().unwrap_or_else(|| node.id.clone());
    let open = node.open.then(|| openness(node));
    let label = lines(&[name].into_iter().chain(open).collect::<Vec<_>>());
    let focus = if node.in_focus { ", penwidth=3" } else { "" };
    let cycle = if node.in_cycle { ", color=red" } else { "" };
    let shape = if node.kind == NodeKind::Gateway { ", shape=hexagon" } else { "" };
    format!("{} [label={label}{shape}{focus}{cycle}];", quote(&node.id))
}

fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// Several lines in one label.
fn lines(lines: &[String]) -> String {
    format!("\"{}\"", lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("\\n"))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            // Graphviz reads HTML entities inside strings.
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    out
}
