//! Places in an expression as places in the document it stands in.

use std::ops::Range;

use super::{Fault, FaultKind};
use crate::diagnostic::Diagnostic;
use crate::yaml::{Span, Spanned};

/// An expression in a document, with the document's bytes at hand.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'d> {
    /// The expression.
    pub text: &'d Spanned<String>,
    /// All of the file.
    pub file: &'d [u8],
}

impl Placed<'_> {
    /// A finding. It points into the expression if the scalar is written as it reads, which plain ones, quoted ones
    /// without escapes, and blocks of one line are; else at the whole of it, and the place is named in words.
    pub fn diagnostic(&self, fault: &Fault) -> Diagnostic {
        let message = fault.message.as_str();
        let finding = match fault.kind {
            FaultKind::Invalid => Diagnostic::error("invalid-expression", message),
            FaultKind::NotSupported => Diagnostic::error("not-supported", message),
        };
        let finding = match self.span(&fault.range) {
            Some(span) => finding.at(span),
            None => finding
                .at(self.text.span)
                .with_note(format!("at {} of the expression", position(&self.text.value, fault.range.start))),
        };
        let finding = match &fault.note {
            Some(note) => finding.with_note(note),
            None => finding,
        };
        finding.maybe_help(fault.help.clone())
    }

    fn span(&self, range: &Range<usize>) -> Option<Span> {
        let (text, span) = (&self.text.value, self.text.span);
        let written = std::str::from_utf8(self.file.get(span.range())?).ok()?;
        let mut places = written.match_indices(text.as_str());
        let (offset, _) = places.next().filter(|_| !text.is_empty())?;
        if places.next().is_some() {
            return None;
        }
        let place = |at: usize| u32::try_from(offset + at).ok()?.checked_add(span.start);
        // What is missing at the end is shown at the last character, which is there to be shown.
        let start = if range.start >= text.len() {
            text.char_indices().next_back().map_or(0, |(at, _)| at)
        } else {
            range.start
        };
        Some(Span::new(span.file, place(start)?, place(range.end.max(start + 1).min(text.len()))?))
    }
}

/// `column 5`, or `line 2, column 5`, in characters from 1.
fn position(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    if text.trim_end().contains('\n') {
        format!("line {}, column {column}", line + 1)
    } else {
        format!("column {column}")
    }
}
