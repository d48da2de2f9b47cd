//! One document as an arena of nodes, each with its byte range.
//!
//! ```text
//! nodes: [0] mapping (1→2, 3→4)   [1] "kind"  [2] "Mesh"   [3] "spec"  [4] mapping …
//! ```
//!
//! Texts, items and entries stand in one list each, of which a node names a part: a document is a handful of
//! allocations, however many nodes it has.
//!
//! Aliases stay references, so a document is never larger than its text. Parents come before children; there are no
//! cycles, because an alias to an open collection is refused when the tree is built.

use std::collections::HashMap;

use super::de::MAX_FINDINGS;
use super::scalar::{self, Scalar};
use super::{DUPLICATE_KEY, Span};
use crate::diagnostic::Diagnostic;

/// Comparing each key with each is quicker than a table up to this many.
const FEW_KEYS: usize = 16;

/// A node of a [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

/// One document.
#[derive(Clone, Debug, Default)]
pub struct Document {
    pub(super) nodes: Vec<Node>,
    /// The texts of all scalars.
    pub(super) texts: String,
    /// The items of all sequences.
    pub(super) items: Vec<NodeId>,
    /// The entries of all mappings.
    pub(super) entries: Vec<(NodeId, NodeId)>,
    /// The comments, in order.
    pub comments: Vec<Comment>,
    /// Where the document begins and ends; ends with its last node.
    pub span: Span,
}

/// A comment, `#` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Where it is.
    pub span: Span,
    /// What follows the `#`.
    pub text: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) parent: Option<NodeId>,
    pub(super) tag: Option<Tag>,
    pub(super) data: Data,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    Scalar { text: Part, plain: bool },
    Sequence(Part),
    Mapping(Part),
    Alias(NodeId),
}

/// A part of a list of the document, by the places of its first and of the one behind its last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Part {
    fn range(self) -> std::ops::Range<usize> {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        place(self.start)..place(self.end)
    }
}

/// A tag, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Str,
    Int,
    Float,
    Bool,
    Null,
    Seq,
    Map,
    Custom,
}

/// What a node is, aliases followed.
#[derive(Clone, Copy, Debug)]
pub enum View<'d> {
    /// A text, number, truth value or nothing.
    Scalar(Scalar<'d>),
    /// A list.
    Sequence(&'d [NodeId]),
    /// A mapping, in the order of the document; keys may repeat.
    Mapping(&'d [(NodeId, NodeId)]),
    /// Something with a tag of its own, which we do not read.
    Tagged,
}

impl Document {
    /// The outermost node.
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// Where a node is written.
    pub fn span(&self, node: NodeId) -> Span {
        self.node(node).map_or(self.span, |node| node.span)
    }

    /// What a node is, aliases followed.
    pub fn view(&self, node: NodeId) -> View<'_> {
        let Some(found) = self.node(self.resolve(node)) else { return View::Tagged };
        match (&found.data, found.tag) {
            (_, Some(Tag::Custom)) | (Data::Alias(_), _) => View::Tagged,
            (Data::Scalar { text, plain }, tag) => {
                View::Scalar(scalar::resolve(self.text_of(*text), *plain, tag))
            }
            (Data::Sequence(items), _) => View::Sequence(self.items_of(*items)),
            (Data::Mapping(entries), _) => View::Mapping(self.entries_of(*entries)),
        }
    }

    pub(super) fn text_of(&self, text: Part) -> &str {
        self.texts.get(text.range()).unwrap_or_default()
    }

    fn items_of(&self, items: Part) -> &[NodeId] {
        self.items.get(items.range()).unwrap_or_default()
    }

    fn entries_of(&self, entries: Part) -> &[(NodeId, NodeId)] {
        self.entries.get(entries.range()).unwrap_or_default()
    }

    /// The text of a scalar as it is written, quotes and escapes resolved; `None` for anything else.
    pub fn text(&self, node: NodeId) -> Option<&str> {
        match &self.node(self.resolve(node))?.data {
            Data::Scalar { text, .. } => Some(self.text_of(*text)),
            Data::Sequence(_) | Data::Mapping(_) | Data::Alias(_) => None,
        }
    }

    /// The value under `key` of a mapping; the first, if there are several.
    pub fn get(&self, mapping: NodeId, key: &str) -> Option<NodeId> {
        let View::Mapping(entries) = self.view(mapping) else { return None };
        entries.iter().find(|(name, _)| self.text(*name) == Some(key)).map(|(_, value)| *value)
    }

    /// The node at a path such as `spec.rules[2].matches[0].path`. A key that contains `.` or `[` is written
    /// `["weft.dev/waive"]`.
    pub fn find(&self, path: &str) -> Option<NodeId> {
        let mut node = self.root();
        let mut rest = path;
        while !rest.is_empty() {
            let (step, tail) = Step::next(rest)?;
            node = match step {
                Step::Key(key) => self.get(node, key)?,
                Step::Index(index) => match self.view(node) {
                    View::Sequence(items) => *items.get(index)?,
                    View::Scalar(_) | View::Mapping(_) | View::Tagged => return None,
                },
            };
            rest = tail;
        }
        Some(node)
    }

    /// Where the node at a path is written.
    pub fn find_span(&self, path: &str) -> Option<Span> {
        self.find(path).map(|node| self.span(node))
    }

    /// The path of a node from `top`, as [`Document::find`] reads it; empty for `top` itself.
    pub fn path(&self, top: NodeId, node: NodeId) -> String {
        let mut steps = Vec::new();
        let mut child = node;
        while child != top
            && let Some(parent) = self.node(child).and_then(|node| node.parent)
        {
            steps.extend(self.step(parent, child));
            child = parent;
        }
        let mut path: String = steps.into_iter().rev().collect();
        if path.starts_with('.') {
            path.remove(0);
        }
        path
    }

    fn step(&self, parent: NodeId, child: NodeId) -> Option<String> {
        match &self.node(parent)?.data {
            Data::Sequence(items) => {
                let place = self.items_of(*items).iter().position(|item| *item == child);
                place.map(|place| format!("[{place}]"))
            }
            Data::Mapping(entries) => {
                let mut entries = self.entries_of(*entries).iter();
                let (key, _) = entries.find(|(key, value)| *key == child || *value == child)?;
                let key = self.text(*key)?;
                Some(if key.contains(['.', '[', '"']) { format!("[{key:?}]") } else { format!(".{key}") })
            }
            Data::Scalar { .. } | Data::Alias(_) => None,
        }
    }

    /// Reports every key that repeats an earlier one of its mapping, below `top`.
    pub fn duplicate_keys(&self, top: NodeId) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut pending = vec![top];
        while let Some(node) = pending.pop()
            && found.len() < MAX_FINDINGS
        {
            match self.node(node).map(|node| &node.data) {
                Some(Data::Sequence(items)) => pending.extend(self.items_of(*items)),
                Some(Data::Mapping(entries)) => {
                    let entries = self.entries_of(*entries);
                    self.duplicates_of(entries, &mut found);
                    pending.extend(entries.iter().map(|(_, value)| *value));
                }
                Some(Data::Scalar { .. } | Data::Alias(_)) | None => {}
            }
        }
        found
    }

    /// Whether a mapping is small, and each of its keys is there once; larger ones are for a table.
    pub(super) fn has_few_keys_once(&self, entries: &[(NodeId, NodeId)]) -> bool {
        let mut texts = [None; FEW_KEYS];
        let Some(texts) = texts.get_mut(..entries.len()) else { return false };
        texts.iter_mut().zip(entries).for_each(|(text, (key, _))| *text = self.text(*key));
        let repeats = |(at, text): (usize, &Option<&str>)| texts.iter().take(at).any(|other| other == text);
        !texts.iter().enumerate().any(repeats)
    }

    fn duplicates_of(&self, entries: &[(NodeId, NodeId)], found: &mut Vec<Diagnostic>) {
        if self.has_few_keys_once(entries) {
            return;
        }
        let texts = entries.iter().enumerate().filter_map(|(at, (key, _))| Some((at, self.text(*key)?)));
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (at, text) in texts {
            let first = *seen.entry(text).or_insert(at);
            // Two merges are an accepted way to write a list of them.
            let first = entries.get(first).filter(|_| first < at && text != "<<");
            if let (Some((first, _)), Some((key, _))) = (first, entries.get(at)) {
                found.push(
                    Diagnostic::error(DUPLICATE_KEY, format!("`{text}` is given twice"))
                        .at(self.span(*key))
                        .label("again here")
                        .related(self.span(*first), "first given here")
                        .help("keep one of the two; some YAML readers take the first, others the last"),
                );
            }
        }
    }

    /// The node itself, or what an alias stands for.
    pub(super) fn resolve(&self, node: NodeId) -> NodeId {
        match self.node(node).map(|node| &node.data) {
            Some(Data::Alias(target)) => *target,
            _ => node,
        }
    }

    pub(super) fn is_alias(&self, node: NodeId) -> bool {
        matches!(self.node(node).map(|node| &node.data), Some(Data::Alias(_)))
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.0).ok()?)
    }
}

/// One step of a path.
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl<'p> Step<'p> {
    /// The first step of a path, and what follows it.
    fn next(path: &'p str) -> Option<(Self, &'p str)> {
        if let Some(quoted) = path.strip_prefix("[\"") {
            let (key, tail) = quoted.split_once("\"]")?;
            return Some((Self::Key(key), tail));
        }
        if let Some(index) = path.strip_prefix('[') {
            let (index, tail) = index.split_once(']')?;
            return Some((Self::Index(index.parse().ok()?), tail));
        }
        let path = path.strip_prefix('.').unwrap_or(path);
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (key, tail) = path.split_at_checked(end)?;
        (!key.is_empty()).then_some((Self::Key(key), tail))
    }
}
