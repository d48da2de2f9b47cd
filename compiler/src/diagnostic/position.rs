//! Lines and columns of byte offsets.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::source::{FileId, Sources};
use crate::yaml::Span;

/// A place as people count: line and column from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
}

/// The first and the last place of a span; the end is the place after the last character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

/// Finds lines and columns; remembers the lines of every file it was asked about.
#[derive(Debug)]
pub struct Positions<'s> {
    sources: &'s Sources,
    files: BTreeMap<FileId, Lines<'s>>,
}

impl<'s> Positions<'s> {
    /// For places in `sources`.
    pub fn new(sources: &'s Sources) -> Self {
        Self { sources, files: BTreeMap::new() }
    }

    /// Line and column of both ends of a span; line 1, column 1 for a file that does not exist.
    pub fn range(&mut self, span: Span) -> Range {
        let lines = self.lines(span.file);
        Range { start: lines.position(span.start), end: lines.position(span.end) }
    }

    /// The line a span begins on, from 1.
    pub fn line(&mut self, span: Span) -> u32 {
        self.lines(span.file).position(span.start).line
    }

    pub(super) fn lines(&mut self, file: FileId) -> &Lines<'s> {
        let sources = self.sources;
        self.files
            .entry(file)
            .or_insert_with(|| Lines::new(sources.file(file).map_or(&[][..], |file| file.bytes.as_slice())))
    }
}

/// A text, and where its lines begin.
#[derive(Debug)]
pub(super) struct Lines<'s> {
    text: Cow<'s, str>,
    /// The first is 0.
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    fn new(bytes: &'s [u8]) -> Self {
        let (text, _) = crate::yaml::parse::decode(bytes);
        let text = super::hidden::hide(text);
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The line that holds a byte, from 0.
    pub(super) fn line_of(&self, offset: u32) -> usize {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// Where a line begins; the end of the text for a line after the last.
    pub(super) fn start_of(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or(self.text.len())
    }

    /// The text from the beginning of line `first` to the end of line `last`, without the last line break.
    pub(super) fn window(&self, first: usize, last: usize) -> &str {
        let window = self.text.get(self.start_of(first)..self.start_of(last + 1)).unwrap_or_default();
        let window = window.strip_suffix('\n').unwrap_or(window);
        window.strip_suffix('\r').unwrap_or(window)
    }

    pub(super) fn position(&self, offset: u32) -> Position {
        let line = self.line_of(offset);
        let start = self.start_of(line);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).clamp(start, self.text.len());
        let before = self.text.get(start..offset).map_or(offset - start, |text| text.chars().count());
        Position { line: count(line) + 1, column: count(before) + 1 }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, start: u32, end: u32) -> (u32, u32, u32, u32) {
        let sources = Sources::in_memory([("a.yaml", text)]);
        let range = Positions::new(&sources).range(Span::new(FileId(0), start, end));
        (range.start.line, range.start.column, range.end.line, range.end.column)
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        assert_eq!(range("a: 1\nb: 2\n", 0, 1), (1, 1, 1, 2));
        assert_eq!(range("a: 1\nb: 2\n", 5, 9), (2, 1, 2, 5));
        assert_eq!(range("é: ü\nb\n", 4, 6), (1, 4, 1, 5));
        assert_eq!(range("a\r\nb\r\n", 3, 4), (2, 1, 2, 2));
    }

    #[test]
    fn places_beyond_the_text_are_at_its_end() {
        assert_eq!(range("ab", 7, 9), (1, 3, 1, 3));
        assert_eq!(range("", 0, 0), (1, 1, 1, 1));
    }
}
