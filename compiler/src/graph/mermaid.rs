//! Mermaid flowcharts, which GitHub and GitLab draw inside Markdown.
//!
//! Node ids are numbers of our own, labels are quoted and every character that Mermaid could take for syntax becomes an
//! entity code, so that no name in a document can break out of its label.

use std::fmt::Write as _;

use super::label::{Arrow, arrows};
use super::{EdgeKind, Graph, Node, NodeKind};

/// GitHub draws no flowchart with more arrows than this (Mermaid's `maxEdges`).
pub const MOST_ARROWS: usize = 500;
/// Nor one of more characters (Mermaid's `maxTextSize`).
pub const MOST_CHARACTERS: usize = 50_000;

/// The flowchart, without a fence around it.
pub fn render(graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    for (number, (namespace, members)) in graph.by_namespace().into_iter().enumerate() {
        let nodes = members.iter().filter_map(|place| Some((*place, graph.nodes.get(*place)?)));
        if nodes.clone().all(|(_, node)| node.name.is_none()) {
            nodes.for_each(|(place, node)| text += &format!("  {}\n", self::node(place, node)));
            continue;
        }
        let _ = writeln!(text, "  subgraph ns{number}[\"{}\"]", escape(namespace));
        nodes.for_each(|(place, node)| text += &format!("    {}\n", self::node(place, node)));
        text += "  end\n";
    }
    let arrows = arrows(graph);
    for arrow in &arrows {
        let _ = writeln!(text, "  {}", self::arrow(arrow));
    }
    text + &styles(graph, &arrows)
}

/// Whether GitHub would refuse to draw it.
pub fn is_too_large(graph: &Graph, text: &str) -> bool {
    arrows(graph).len() > MOST_ARROWS || text.chars().count() > MOST_CHARACTERS
}

fn node(place: usize, node: &Node) -> String {
    let label = escape(node.name.as_deref().unwrap_or(&node.id));
    match node.open {
        _ if node.kind == NodeKind::Gateway => format!("n{place}{{{{\"{label}\"}}}}"),
        true => format!("n{place}[\"{label}<br/>{}\"]", escape(&openness(node))),
        false => format!("n{place}[\"{label}\"]"),
    }
}

/// What an open service says of itself.
pub(super) fn openness(node: &Node) -> String {
    match node.except.as_slice() {
        [] => "open to all".to_owned(),
        [one] => format!("open to all but {one}"),
        several => format!("open to all but {} services", several.len()),
    }
}

fn arrow(arrow: &Arrow) -> String {
    let Arrow { from, to, kind, lines, .. } = arrow;
    let label = lines.iter().map(|line| escape(line)).collect::<Vec<_>>().join("<br/>");
    let (plain, before, after) = match kind {
        EdgeKind::Call => ("-->", "--", "-->"),
        EdgeKind::Access => ("-.->", "-.", ".->"),
        EdgeKind::Route => ("==>", "==", "==>"),
    };
    match label.is_empty() {
        true => format!("n{from} {plain} n{to}"),
        false => format!("n{from} {before} \"{label}\" {after} n{to}"),
    }
}

/// Cycles are red, what the picture is drawn around has a thick edge.
fn styles(graph: &Graph, arrows: &[Arrow]) -> String {
    let mut text = String::new();
    let mut class = |name: &str, style: &str, wanted: fn(&Node) -> bool| {
        let nodes = graph.nodes.iter().enumerate().filter(|(_, node)| wanted(node));
        let nodes = nodes.map(|(place, _)| format!("n{place}")).collect::<Vec<_>>().join(",");
        if !nodes.is_empty() {
            let _ = write!(text, "  classDef {name} {style}\n  class {nodes} {name}\n");
        }
    };
    class("focus", "stroke-width:4px", |node| node.in_focus);
    class("cycle", "stroke:#c00,stroke-width:3px", |node| node.in_cycle);
    let cyclic = arrows.iter().enumerate().filter(|(_, arrow)| arrow.in_cycle);
    let cyclic = cyclic.map(|(place, _)| place.to_string()).collect::<Vec<_>>().join(",");
    if !cyclic.is_empty() {
        let _ = writeln!(text, "  linkStyle {cyclic} stroke:#c00,stroke-width:3px");
    }
    text
}

/// Letters, digits and plain punctuation stay; the rest becomes entity codes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " -_./:%+[]()".contains(c) => out.push(c),
            c if c.is_control() => out.push(' '),
            c => drop(write!(out, "#{};", u32::from(c))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_breaks_out_of_a_label() {
        assert_eq!(escape("a\"]; x --> y"), "a#34;]#59; x --#62; y");
        assert_eq!(escape("<b>&#"), "#60;b#62;#38;#35;");
        assert_eq!(escape("é\n`"), "é #96;");
    }
}
