//! A quick reader for the plain part of YAML that nearly all policy is written in.
//!
//! A scanner that knows all of YAML looks at every character several times, and that was most of the time of a check of
//! ten thousand services. This one reads block mappings and sequences, one-line flow collections, one-line plain and
//! quoted scalars, comments and `---`, all in printable ASCII. Whatever else it meets, an anchor, a block scalar, an
//! escape, an empty value, a mistake, it gives up on the *whole file*, and the full reader begins anew. So it never
//! reports anything, and there is nothing that only it accepts: what it makes is what the full reader makes of the same
//! text, node for node and span for span, which tests and the fuzzer of documents hold it to.

use super::Span;
use super::parse::{Builder, Collection, Stream};
use super::tree::Comment;
use crate::source::FileId;

/// Keys are shorter than this; longer ones are for the full reader, which has a limit of its own.
const LONGEST_KEY: usize = 128;

/// The documents of a file; `None` if the full reader has to look.
pub(super) fn parse(file: FileId, text: &str) -> Option<Stream> {
    if !is_printable_ascii(text) || u32::try_from(text.len()).is_err() {
        return None;
    }
    let mut reader = Reader { file, text, at: 0, builder: Builder::new(file), stream: Stream::default() };
    while reader.document()? {}
    Some(reader.stream)
}

/// Looks at many bytes before it decides, which processors do in one step.
fn is_printable_ascii(text: &str) -> bool {
    let is_plain = |byte: u8| (byte == b'\n') | (byte.wrapping_sub(b' ') <= b'~' - b' ');
    text.as_bytes().chunks(64).all(|some| some.iter().fold(true, |all, byte| all & is_plain(*byte)))
}

struct Reader<'t> {
    file: FileId,
    text: &'t str,
    /// The next byte that is not read; between lines, the beginning of one.
    at: usize,
    builder: Builder,
    stream: Stream,
}

/// The next line that holds something; its first byte, and how far that is indented.
#[derive(Clone, Copy)]
struct Line {
    at: usize,
    column: usize,
}

impl Reader<'_> {
    /// Reads one document; false at the end of the file.
    fn document(&mut self) -> Option<bool> {
        let mut line = self.line()?;
        // Comments belong to the document whose beginning they follow; before the first there is none.
        self.builder = Builder::new(self.file);
        if let Some(marker) = line.filter(|line| self.is_marker(*line)) {
            if self.byte(marker.at) != Some(b'-') {
                return None;
            }
            self.at = marker.at + 3;
            self.rest_is_blank()?;
            line = self.line()?;
        }
        let Some(first) = line else { return Some(false) };
        // A document between two markers that holds nothing.
        if self.is_marker(first) {
            self.at = first.at;
            return Some(true);
        }
        let next = self.block(first)?;
        if next.is_some_and(|next| !self.is_marker(next)) {
            return None;
        }
        let builder = std::mem::replace(&mut self.builder, Builder::new(self.file));
        self.stream.documents.extend(builder.finish());
        // The marker is read again, by the document that it begins.
        self.at = next.map_or(self.at, |next| next.at);
        Some(next.is_some())
    }

    /// A block collection that begins here; gives the line after it.
    fn block(&mut self, first: Line) -> Option<Option<Line>> {
        if self.is_item(first.at) { self.sequence(first, first.at) } else { self.mapping(first) }
    }

    fn mapping(&mut self, first: Line) -> Option<Option<Line>> {
        self.builder.start(Collection::Mapping, None, 0, self.span(first.at, first.at)).ok()?;
        let mut line = first;
        loop {
            let end = self.key_end(line.at)?;
            self.scalar(line.at, end)?;
            self.at = end + 1;
            let next = match self.ends_here()? {
                false => {
                    self.value()?;
                    self.line()?
                }
                // The value is on the lines below; a sequence may stand as far left as its key.
                true => match self.line()? {
                    Some(below) if self.is_marker(below) => return None,
                    Some(below) if below.column > line.column => self.block(below)?,
                    Some(below) if below.column == line.column && self.is_item(below.at) => {
                        // The full reader has such a sequence begin with its first item, not with the dash.
                        self.sequence(below, self.after_dash(below))?
                    }
                    Some(_) | None => return None,
                },
            };
            match next {
                Some(next) if !self.is_marker(next) && next.column > first.column => return None,
                Some(next) if !self.is_marker(next) && next.column == first.column => {
                    if self.is_item(next.at) {
                        return None;
                    }
                    line = next;
                }
                other => {
                    self.close()?;
                    return Some(other);
                }
            }
        }
    }

    fn sequence(&mut self, first: Line, start: usize) -> Option<Option<Line>> {
        self.builder.start(Collection::Sequence, None, 0, self.span(start, start)).ok()?;
        let mut line = first;
        loop {
            self.at = line.at + 1;
            if self.ends_here()? {
                return None;
            }
            let item = Line { at: self.at, column: line.column + (self.at - line.at) };
            if self.is_item(item.at) {
                return None;
            }
            let next = match self.key_end(item.at) {
                Some(_) => self.mapping(item)?,
                None => {
                    self.value()?;
                    self.line()?
                }
            };
            match next {
                Some(next) if !self.is_marker(next) && next.column > first.column => return None,
                Some(next) if next.column == first.column && self.is_item(next.at) => line = next,
                other => {
                    self.close()?;
                    return Some(other);
                }
            }
        }
    }

    /// A scalar or flow collection that is all there is on the rest of the line.
    fn value(&mut self) -> Option<()> {
        match self.byte(self.at)? {
            b'[' | b'{' => self.flow()?,
            b'"' | b'\'' => self.quoted()?,
            first if begins_plain(first) || (first == b'-' && self.is_after_dash(self.at + 1)) => {
                let (start, end) = (self.at, self.plain_end()?);
                self.scalar(start, end)?;
                self.at = end;
            }
            _ => return None,
        }
        self.rest_is_blank()
    }

    /// Where a plain scalar in a block ends: before a comment or the end of the line.
    fn plain_end(&self) -> Option<usize> {
        let rest = self.text.as_bytes().get(self.at..)?;
        // The byte before, and where the text ends that is not blank.
        let (mut before, mut length) = (b' ', 0);
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'\n' => break,
                b'#' if before == b' ' => break,
                b' ' if before == b':' => return None,
                b' ' => {}
                _ => length = at + 1,
            }
            before = *byte;
        }
        let ends_with_colon = rest.get(length.checked_sub(1)?) == Some(&b':');
        (!ends_with_colon).then_some(self.at + length)
    }

    /// A scalar in quotes, without escapes, on one line.
    fn quoted(&mut self) -> Option<()> {
        let quote = self.byte(self.at)?;
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..)?;
        let length = rest.iter().position(|byte| *byte == quote || matches!(byte, b'\n' | b'\\'))?;
        let end = start + length;
        if self.byte(end)? != quote
            || self.byte(end + 1).is_some_and(|next| !matches!(next, b' ' | b'\n' | b',' | b']' | b'}'))
        {
            return None;
        }
        let text = self.text.get(start..end)?;
        self.builder.scalar(text, false, None, 0, self.span(start - 1, end + 1)).ok()?;
        self.at = end + 1;
        Some(())
    }

    /// A flow collection on one line.
    fn flow(&mut self) -> Option<()> {
        let (start, open) = (self.at, self.byte(self.at)?);
        let (collection, close) = match open {
            b'[' => (Collection::Sequence, b']'),
            _ => (Collection::Mapping, b'}'),
        };
        self.builder.start(collection, None, 0, self.span(start, start + 1)).ok()?;
        self.at += 1;
        self.blanks();
        if self.byte(self.at)? != close {
            loop {
                if open == b'{' {
                    let end = self.key_end(self.at).filter(|end| self.byte(end + 1) == Some(b' '))?;
                    self.scalar(self.at, end)?;
                    self.at = end + 1;
                    self.blanks();
                }
                self.flow_value()?;
                self.blanks();
                let next = self.byte(self.at)?;
                if next == close {
                    break;
                }
                if next != b',' {
                    return None;
                }
                self.at += 1;
                self.blanks();
            }
        }
        self.builder.end(self.span(self.at, self.at + 1)).ok()?;
        self.at += 1;
        Some(())
    }

    fn flow_value(&mut self) -> Option<()> {
        match self.byte(self.at)? {
            b'[' | b'{' => self.flow(),
            b'"' | b'\'' => self.quoted(),
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_') => {
                let start = self.at;
                let rest = self.text.as_bytes().get(start..)?;
                let length = rest.iter().position(|byte| !is_flow_plain(*byte))?;
                let end = start + length;
                // A colon is part of an address only if something follows it.
                let inner = self.text.get(start..end)?.trim_end_matches(' ');
                if !matches!(self.byte(end)?, b',' | b']' | b'}')
                    || inner.contains(": ")
                    || inner.ends_with(':')
                {
                    return None;
                }
                self.scalar(start, start + inner.len())?;
                self.at = end;
                Some(())
            }
            _ => None,
        }
    }

    // ------------------------------------------------------------------------------------------ small things

    /// The next line that holds something, blank lines and comments passed.
    fn line(&mut self) -> Option<Option<Line>> {
        loop {
            let start = self.at;
            self.blanks();
            match self.byte(self.at) {
                None => return Some(None),
                Some(b'\n') => self.at += 1,
                Some(b'#') => self.comment()?,
                Some(_) => return Some(Some(Line { at: self.at, column: self.at - start })),
            }
        }
    }

    /// Passes the rest of a line, which holds nothing but perhaps a comment.
    fn rest_is_blank(&mut self) -> Option<()> {
        self.ends_here()?.then_some(())
    }

    /// Whether nothing more is on this line but perhaps a comment; passes the line if so, and blanks if not.
    fn ends_here(&mut self) -> Option<bool> {
        let start = self.at;
        self.blanks();
        match self.byte(self.at) {
            None => Some(true),
            Some(b'\n') => {
                self.at += 1;
                Some(true)
            }
            Some(b'#') if self.at > start => self.comment().map(|()| true),
            Some(b'#') => None,
            // What follows a colon, a dash or a scalar is apart from it.
            Some(_) if self.at > start => Some(false),
            Some(_) => None,
        }
    }

    fn comment(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let line = rest.split('\n').next()?;
        let end = self.at + line.len();
        let text = line.get(1..)?.to_owned();
        self.builder.comment(Comment { span: self.span(self.at, end), text });
        self.at = (end + 1).min(self.text.len());
        Some(())
    }

    fn blanks(&mut self) {
        while self.byte(self.at) == Some(b' ') {
            self.at += 1;
        }
    }

    /// Where the plain key that begins here ends, at its colon; none if this is no such key.
    fn key_end(&self, start: usize) -> Option<usize> {
        let rest = self.text.as_bytes().get(start..)?;
        let first = rest.first()?;
        if !first.is_ascii_alphanumeric() && *first != b'_' {
            return None;
        }
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-');
        let length = rest.iter().take(LONGEST_KEY).position(|byte| !inside(byte))?;
        let colon = *rest.get(length)? == b':';
        let apart = rest.get(length + 1).is_none_or(|next| matches!(next, b' ' | b'\n'));
        (colon && apart).then_some(start + length)
    }

    /// Whether an item of a block sequence begins here.
    fn is_item(&self, at: usize) -> bool {
        self.byte(at) == Some(b'-') && matches!(self.byte(at + 1), None | Some(b' ' | b'\n'))
    }

    /// Whether a line is `---`, perhaps with something after it, or `...`.
    fn is_marker(&self, line: Line) -> bool {
        line.column == 0
            && self.text.get(line.at..line.at + 3).is_some_and(|text| text == "---" || text == "...")
    }

    /// Where the item begins whose dash stands here.
    fn after_dash(&self, line: Line) -> usize {
        let rest = self.text.as_bytes().get(line.at + 1..).unwrap_or_default();
        line.at + 1 + rest.iter().take_while(|byte| **byte == b' ').count()
    }

    fn is_after_dash(&self, at: usize) -> bool {
        self.byte(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    }

    fn scalar(&mut self, start: usize, end: usize) -> Option<()> {
        let text = self.text.get(start..end)?;
        self.builder.scalar(text, true, None, 0, self.span(start, end)).ok()
    }

    /// Ends a block collection: where its last child does.
    fn close(&mut self) -> Option<()> {
        self.builder.end(self.span(self.at, self.at)).ok()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let clip = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span::new(self.file, clip(start), clip(end))
    }
}

/// Whether a plain scalar may begin with this byte, and nothing but a plain scalar does.
fn begins_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'/' | b'.' | b'_' | b'(' | b'^' | b'$' | b'+' | b'=' | b'~' | b'<')
}

/// Whether a byte may be inside a plain scalar of a flow collection without a second look.
fn is_flow_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b' ' | b'/' | b'.' | b'_' | b'-' | b':' | b'*' | b'+' | b'=')
}
