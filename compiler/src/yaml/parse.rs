//! Bytes into documents. The only module that knows the scanner's crate.
//!
//! A syntax error ends its document, not the file: reading goes on at the next `---`. What is not UTF-8 spoils only
//! the documents it is in.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};

use super::scalar::Scalar;
use super::tree::{Comment, Data, Document, Node, NodeId, Part, Tag};
use super::{INVALID_YAML, Span, TEMPLATE, plain};
use crate::diagnostic::Diagnostic;
use crate::source::FileId;

/// How deep collections may nest.
const MAX_NESTING: usize = 64;
/// How many nodes a document may have: fifty times the largest document met in practice.
const MAX_NODES: usize = 500_000;

/// What a file held.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The documents that could be read, in order, empty ones left out.
    pub documents: Vec<Document>,
    /// What was wrong with the others, at most one finding each.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads every document of a file.
pub fn parse(file: FileId, bytes: &[u8]) -> Stream {
    if let Some(stream) = std::str::from_utf8(bytes).ok().and_then(|text| plain::parse(file, text)) {
        return stream;
    }
    parse_fully(file, bytes)
}

/// The same by the scanner that knows all of YAML, which is asked for whatever is not plain.
pub fn parse_fully(file: FileId, bytes: &[u8]) -> Stream {
    if let Some(diagnostic) = utf_16(file, bytes) {
        return Stream { documents: Vec::new(), diagnostics: vec![diagnostic] };
    }
    let (text, invalid) = decode(bytes);
    let mut reader = Reader::new(file, &text, &invalid);
    reader.read();
    reader.stream
}

/// UTF-16 is legal YAML, and what an editor on Windows may save; nobody else in the pipeline reads it.
fn utf_16(file: FileId, bytes: &[u8]) -> Option<Diagnostic> {
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    marked.then(|| {
        Diagnostic::error(INVALID_YAML, "this file is UTF-16, not UTF-8")
            .at(Span::new(file, 0, 2))
            .help("save it as UTF-8")
    })
}

/// The text with every byte that is not UTF-8 replaced by `?`, so that offsets stay, and where those bytes are.
pub(crate) fn decode(bytes: &[u8]) -> (Cow<'_, str>, Vec<usize>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (Cow::Borrowed(text), Vec::new());
    }
    let mut text = String::with_capacity(bytes.len());
    let mut invalid = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for _ in chunk.invalid() {
            invalid.push(text.len());
            text.push('?');
        }
    }
    (Cow::Owned(text), invalid)
}

struct Reader<'t> {
    file: FileId,
    text: &'t str,
    /// Offsets of bytes that are not UTF-8, ascending.
    invalid: &'t [usize],
    /// Where the current document begins.
    start: usize,
    builder: Builder,
    stream: Stream,
}

impl<'t> Reader<'t> {
    fn new(file: FileId, text: &'t str, invalid: &'t [usize]) -> Self {
        Self { file, text, invalid, start: 0, builder: Builder::new(file), stream: Stream::default() }
    }

    fn read(&mut self) {
        let mut parser = Parser::new_from_str_with_options(self.text, options());
        while let Some(event) = parser.next_event() {
            let result = match event {
                Ok((event, span)) => {
                    let span = self.span(span.byte_range());
                    self.event(&event, span).map_err(|problem| self.refused(problem, span))
                }
                Err(error) => Err(self.broken(&error)),
            };
            if let Err(diagnostic) = result
                && !self.skip_document(&mut parser, diagnostic)
            {
                break;
            }
        }
    }

    fn event(&mut self, event: &Event<'_>, span: Span) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(..) => {
                self.start = offset(span.start);
                self.builder = Builder::new(self.file);
                Ok(())
            }
            Event::DocumentEnd => {
                self.finish(offset(span.end));
                Ok(())
            }
            event => self.builder.event(event, span),
        }
    }

    fn finish(&mut self, end: usize) {
        let builder = std::mem::replace(&mut self.builder, Builder::new(self.file));
        if let Some(diagnostic) = self.not_utf_8(end) {
            self.stream.diagnostics.push(diagnostic);
        } else if let Some(document) = builder.finish() {
            self.stream.documents.push(document);
        }
        self.start = end;
    }

    /// Reports, and moves to the next document; whether there is one.
    fn skip_document(&mut self, parser: &mut Parser<'t, StrInput<'t>>, diagnostic: Diagnostic) -> bool {
        let end = self.next_marker(self.start);
        let diagnostic = self.not_utf_8(end).or_else(|| self.template(end)).unwrap_or(diagnostic);
        self.stream.diagnostics.push(diagnostic);
        self.builder = Builder::new(self.file);
        self.start = end;
        matches!(parser.proceed_next_document(), Ok(true))
    }

    fn broken(&self, error: &ScanError) -> Diagnostic {
        let start = error.marker().byte_offset().unwrap_or(0).min(self.text.len());
        let width = self.text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let message = match error.kind() {
            granit_parser::ErrorKind::RecursionLimitExceeded => too_deep(),
            kind => restyled(&kind.to_string()),
        };
        Diagnostic::error(INVALID_YAML, message).at(self.span(Some(start..start + width)))
    }

    fn refused(&self, problem: Problem, span: Span) -> Diagnostic {
        match problem {
            Problem::Cycle => {
                Diagnostic::error(INVALID_YAML, "an alias stands for a collection that contains it").at(span)
            }
            Problem::TooManyNodes => {
                Diagnostic::error(INVALID_YAML, format!("a document has more than {MAX_NODES} values"))
                    .at(span)
            }
            Problem::TooDeep => Diagnostic::error(INVALID_YAML, too_deep()).at(span),
            Problem::KeyIsCollection => {
                Diagnostic::error(INVALID_YAML, "a key is text, not a list or a mapping").at(span)
            }
        }
    }

    fn not_utf_8(&self, end: usize) -> Option<Diagnostic> {
        let first = self.invalid.partition_point(|at| *at < self.start);
        let at = *self.invalid.get(first).filter(|at| **at < end)?;
        let span = self.span(Some(at..at + 1));
        Some(
            Diagnostic::error(INVALID_YAML, "this is not UTF-8")
                .at(span)
                .label("this byte")
                .help("save the file as UTF-8"),
        )
    }

    /// A document that cannot be read and holds `{{ … }}` is a template that nobody rendered.
    fn template(&self, end: usize) -> Option<Diagnostic> {
        let text = self.text.get(self.start..end)?;
        let mut line_start = self.start;
        for line in text.split_inclusive('\n') {
            if let Some(range) = action(line) {
                return Some(unrendered(self.span(Some(line_start + range.start..line_start + range.end))));
            }
            line_start += line.len();
        }
        None
    }

    /// Where the next document after `from` begins; the end of the text if there is none.
    fn next_marker(&self, from: usize) -> usize {
        let Some(rest) = self.text.get(from..) else { return self.text.len() };
        let first_line = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let tail = rest.get(first_line..).unwrap_or_default();
        if tail.starts_with("---") {
            return from + first_line;
        }
        tail.find("\n---").map_or(self.text.len(), |at| from + first_line + at + 1)
    }

    fn span(&self, range: Option<std::ops::Range<usize>>) -> Span {
        let range = range.unwrap_or(0..0);
        let clip = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span::new(self.file, clip(range.start), clip(range.end))
    }
}

fn options() -> granit_parser::Options {
    granit_parser::options! {
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
        disallow_directives: true,
        emit_comments: true,
        max_buffered_comment_events: 100_000,
    }
}

fn offset(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn too_deep() -> String {
    format!("collections nest deeper than {MAX_NESTING} levels")
}

/// In our own manner: lower case unless it begins with a name such as `YAML`, backticks, no final stop.
fn restyled(message: &str) -> String {
    let message = message.trim_end_matches('.').replace('\'', "`");
    let mut chars = message.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain([second]).chain(chars).collect()
        }
        _ => message,
    }
}

/// The first template action of a line, unless the line is a comment.
pub(crate) fn action(line: &str) -> Option<std::ops::Range<usize>> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let start = line.find("{{")?;
    let length = line.get(start..)?.find("}}").map_or_else(|| line.len() - start, |at| at + 2);
    Some(start..start + line.get(start..start + length)?.trim_end().len())
}

/// The kind word about a template.
pub(crate) fn unrendered(span: Span) -> Diagnostic {
    Diagnostic::error(TEMPLATE, "this is a template, not a document")
        .at(span)
        .label("to be filled in by a tool such as Helm")
        .help("render it first, for example with `helm template CHART --output-dir rendered`, and check the result")
}

/// Why a well-formed document is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Problem {
    Cycle,
    TooManyNodes,
    TooDeep,
    KeyIsCollection,
}

/// Builds one document from events.
pub(super) struct Builder {
    document: Document,
    open: Vec<Open>,
    /// The items of open sequences, those of inner ones behind.
    items: Vec<NodeId>,
    /// The entries of open mappings, those of inner ones behind.
    entries: Vec<(NodeId, NodeId)>,
    anchors: HashMap<usize, NodeId>,
    file: FileId,
}

/// What may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collection {
    Sequence,
    Mapping,
}

/// A collection that has not ended.
struct Open {
    node: NodeId,
    collection: Collection,
    /// Where its own items or entries begin.
    first: usize,
    /// In a mapping: the key whose value comes next.
    key: Option<NodeId>,
}

impl Builder {
    pub(super) fn new(file: FileId) -> Self {
        Self {
            document: Document::default(),
            open: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            anchors: HashMap::new(),
            file,
        }
    }

    fn event(&mut self, event: &Event<'_>, span: Span) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = matches!(style, ScalarStyle::Plain);
                self.scalar(text.as_ref(), plain, tag_of(tag.as_deref()), *anchor, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(Collection::Sequence, tag_of(tag.as_deref()), *anchor, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.start(Collection::Mapping, tag_of(tag.as_deref()), *anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => {
                let target = *self.anchors.get(anchor).ok_or(Problem::Cycle)?;
                if self.open.iter().any(|open| open.node == target) {
                    return Err(Problem::Cycle);
                }
                self.add(Data::Alias(target), None, 0, span).map(|_| ())
            }
            Event::Comment(text, _) => {
                self.comment(Comment { span, text: text.as_ref().into() });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn comment(&mut self, comment: Comment) {
        self.document.comments.push(comment);
    }

    pub(super) fn scalar(
        &mut self,
        text: &str,
        plain: bool,
        tag: Option<Tag>,
        anchor: usize,
        span: Span,
    ) -> Result<(), Problem> {
        let start = place(self.document.texts.len())?;
        self.document.texts.push_str(text);
        let text = Part { start, end: place(self.document.texts.len())? };
        self.add(Data::Scalar { text, plain }, tag, anchor, span).map(|_| ())
    }

    pub(super) fn start(
        &mut self,
        collection: Collection,
        tag: Option<Tag>,
        anchor: usize,
        span: Span,
    ) -> Result<(), Problem> {
        if self.open.len() >= MAX_NESTING {
            return Err(Problem::TooDeep);
        }
        // Of what, is known when it ends.
        let data = match collection {
            Collection::Sequence => Data::Sequence(Part::default()),
            Collection::Mapping => Data::Mapping(Part::default()),
        };
        // That puts it into the collection around it, whose part is in front of its own.
        let node = self.add(data, tag, anchor, span)?;
        let first = match collection {
            Collection::Sequence => self.items.len(),
            Collection::Mapping => self.entries.len(),
        };
        self.open.push(Open { node, collection, first, key: None });
        Ok(())
    }

    /// Block collections end where the next token begins, so their last child says where they really end.
    pub(super) fn end(&mut self, span: Span) -> Result<(), Problem> {
        let Some(Open { node, collection, first, .. }) = self.open.pop() else { return Ok(()) };
        let (data, last) = match collection {
            Collection::Sequence => {
                let last = self.items.get(first..).and_then(<[_]>::last).copied();
                (Data::Sequence(moved(&mut self.items, first, &mut self.document.items)?), last)
            }
            Collection::Mapping => {
                let last = self.entries.get(first..).and_then(<[_]>::last).map(|(_, value)| *value);
                (Data::Mapping(moved(&mut self.entries, first, &mut self.document.entries)?), last)
            }
        };
        let last_end = last.and_then(|last| self.document.node(last)).map_or(0, |node| node.span.end);
        let Some(node) = self.document.nodes.get_mut(offset(node.0)) else { return Ok(()) };
        // The end token of a flow collection is its bracket; that of a block collection has no width.
        let end = if span.end > span.start { span.end } else { last_end };
        node.span.end = node.span.end.max(end);
        node.data = data;
        Ok(())
    }

    fn add(&mut self, data: Data, tag: Option<Tag>, anchor: usize, span: Span) -> Result<NodeId, Problem> {
        if self.document.nodes.len() >= MAX_NODES {
            return Err(Problem::TooManyNodes);
        }
        let id = NodeId(place(self.document.nodes.len())?);
        let collection = matches!(data, Data::Sequence(_) | Data::Mapping(_));
        let parent = self.attach(id, collection)?;
        self.document.nodes.push(Node { span: Span { file: self.file, ..span }, parent, tag, data });
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        Ok(id)
    }

    /// Puts a node into the innermost open collection, and gives that.
    fn attach(&mut self, id: NodeId, collection: bool) -> Result<Option<NodeId>, Problem> {
        let Some(open) = self.open.last_mut() else { return Ok(None) };
        match (open.collection, open.key.take()) {
            (Collection::Sequence, _) => self.items.push(id),
            (Collection::Mapping, Some(key)) => self.entries.push((key, id)),
            (Collection::Mapping, None) if collection => return Err(Problem::KeyIsCollection),
            (Collection::Mapping, None) => open.key = Some(id),
        }
        Ok(Some(open.node))
    }

    /// `None` for a document that holds nothing.
    pub(super) fn finish(mut self) -> Option<Document> {
        let root = self.document.nodes.first()?;
        let nothing = match root.data {
            Data::Scalar { text, plain } => {
                super::scalar::resolve(self.document.text_of(text), plain, root.tag) == Scalar::Null
            }
            Data::Sequence(_) | Data::Mapping(_) | Data::Alias(_) => false,
        };
        self.document.span = root.span;
        (!nothing).then_some(self.document)
    }
}

/// The place of what comes next in a list. A list that no place counts is longer than any document may be.
fn place(length: usize) -> Result<u32, Problem> {
    u32::try_from(length).map_err(|_| Problem::TooManyNodes)
}

/// Moves the end of a list, from `first`, to where it stays.
fn moved<T>(from: &mut Vec<T>, first: usize, to: &mut Vec<T>) -> Result<Part, Problem> {
    let start = place(to.len())?;
    to.extend(from.drain(first.min(from.len())..));
    Ok(Part { start, end: place(to.len())? })
}

fn tag_of(tag: Option<&granit_parser::Tag>) -> Option<Tag> {
    let tag = tag?;
    Some(match tag.core_suffix() {
        Some("str") => Tag::Str,
        Some("int") => Tag::Int,
        Some("float") => Tag::Float,
        Some("bool") => Tag::Bool,
        Some("null") => Tag::Null,
        Some("seq") => Tag::Seq,
        Some("map") => Tag::Map,
        // The non-specific tag `!` makes a plain scalar a text.
        None if tag.handle().is_empty() && tag.suffix() == "!" => Tag::Str,
        _ => Tag::Custom,
    })
}
