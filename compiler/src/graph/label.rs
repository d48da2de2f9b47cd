//! What pictures write beside an arrow. Edges between two nodes of one kind are drawn as one arrow.

use super::{Edge, EdgeKind, Graph};

/// How many lines an arrow may carry; what is beyond is counted.
const MOST_LINES: usize = 4;

/// One arrow of a picture.
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: EdgeKind,
    pub(super) in_cycle: bool,
    /// The lines beside it, raw.
    pub(super) lines: Vec<String>,
}

/// The arrows of a graph, in its order.
pub(super) fn arrows(graph: &Graph) -> Vec<Arrow> {
    let mut arrows: Vec<Arrow> = Vec::new();
    for edge in &graph.edges {
        let same = arrows
            .last_mut()
            .filter(|last| (last.from, last.to, last.kind) == (edge.from, edge.to, edge.kind));
        match same {
            Some(arrow) => arrow.lines.extend(line(edge)),
            None => arrows.push(Arrow {
                from: edge.from,
                to: edge.to,
                kind: edge.kind,
                in_cycle: edge.in_cycle,
                lines: line(edge).into_iter().collect(),
            }),
        }
    }
    for arrow in &mut arrows {
        let more = arrow.lines.len().saturating_sub(MOST_LINES);
        if more > 1 {
            arrow.lines.truncate(MOST_LINES);
            arrow.lines.push(format!("and {more} more"));
        }
    }
    arrows
}

/// `canary 90 % v2`, `3 calls`; none where the arrow itself says all.
fn line(edge: &Edge) -> Option<String> {
    if edge.at.is_none() {
        let (one, many) = match edge.kind {
            EdgeKind::Call => ("call", "calls"),
            EdgeKind::Access => ("may call", "may call"),
            EdgeKind::Route => ("route", "routes"),
        };
        return Some(format!("{} {}", edge.count, if edge.count == 1 { one } else { many }));
    }
    let share = edge.share.as_ref()?;
    let rule = edge.at.as_ref().and_then(|at| at.origin.rule.clone());
    let per_cent = (share.total != u64::from(share.weight) || share.weight == 0)
        .then(|| format!("{} %", crate::trace::per_cent(share.weight, share.total)));
    let to = share.subset.as_ref().map(|subset| format!("to {subset}"));
    Some([rule, per_cent, to].into_iter().flatten().collect::<Vec<_>>().join(" "))
}
