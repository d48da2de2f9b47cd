//! Diagnostics for people, in rustc's layout: excerpt, underline, related places, notes, help.
//!
//! Whether there are colours is the caller's choice; nothing here looks at the terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level, Origin, Patch, Renderer, Snippet,
};

use super::position::{Lines, Positions};
use super::report::{Change, Report};
use super::{Diagnostic, Fix, Severity, Summary};
use crate::source::Sources;
use crate::yaml::Span;

/// How many lines may lie between two places that share an excerpt.
const GAP: usize = 40;
/// Lines longer than this many bytes are not shown, only named.
const LONG_LINE: usize = 1000;

/// Whether output carries terminal escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Plain text.
    Plain,
    /// Colours and weights.
    Styled,
}

/// All of `diagnostics`, in their order, an empty line after each; empty if there are none.
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Styled => Renderer::styled(),
    }
    .decor_style(DecorStyle::Ascii);
    let mut positions = Positions::new(sources);
    let mut output = String::new();
    for diagnostic in diagnostics {
        for place in places(diagnostic) {
            positions.lines(place.span.file);
        }
        output.push_str(&renderer.render(&report(diagnostic, sources, &mut positions)));
        output.push_str("\n\n");
    }
    output
}

/// One line that counts what was looked at and found.
pub fn summary(summary: &Summary) -> String {
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let mut parts = vec![plural(summary.documents, "document"), plural(summary.services, "service")];
    for (count, word) in [(summary.errors, "error"), (summary.warnings, "warning"), (summary.notes, "note")] {
        if count > 0 || word == "error" {
            parts.push(plural(count, word));
        }
    }
    if summary.skipped > 0 {
        parts.push(format!("{} of other programs skipped", plural(summary.skipped, "document")));
    }
    if summary.waived > 0 {
        parts.push(format!("{} waived", summary.waived));
    }
    if summary.baselined > 0 {
        parts.push(format!("{} hidden by the baseline", summary.baselined));
    }
    parts.join(", ")
}

/// What stands below the findings: with a base a line for each that the change mends and one that compares; then the
/// counts. Without a line break at the end.
pub fn conclusion(report: &Report<'_>) -> String {
    let mut output = String::new();
    if let Some(change) = &report.change {
        mended(&mut output, change);
        let base = change.base.get(..12).unwrap_or(change.base);
        let (introduced, fixed) = (report.diagnostics.len(), change.fixed.len());
        let unchanged = change.unchanged.len();
        let _ =
            writeln!(output, "since {base}: {introduced} introduced, {fixed} fixed, {unchanged} unchanged");
    }
    output + &summary(report.summary)
}

fn mended(output: &mut String, change: &Change<'_>) {
    let mut positions = Positions::new(change.base_sources);
    for fixed in change.fixed {
        let _ = write!(output, "fixed: {}[{}]: {}", fixed.severity, fixed.analysis, harmless(&fixed.message));
        if let Some(span) = fixed.span {
            let path = harmless(change.base_sources.path(span.file));
            let _ = write!(output, " ({path}:{} before)", positions.line(span));
        }
        output.push('\n');
    }
}

/// A place to show, with its words.
struct Place<'d> {
    span: Span,
    label: Option<Cow<'d, str>>,
    kind: AnnotationKind,
}

/// The primary place first.
fn places(diagnostic: &Diagnostic) -> Vec<Place<'_>> {
    let primary = diagnostic.span.map(|span| Place {
        span,
        label: diagnostic.label.as_deref().map(harmless),
        kind: AnnotationKind::Primary,
    });
    let related = diagnostic.related.iter().map(|related| Place {
        span: related.span,
        label: Some(harmless(&related.message)),
        kind: AnnotationKind::Context,
    });
    primary.into_iter().chain(related).collect()
}

fn report<'a>(
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
    positions: &mut Positions<'a>,
) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(harmless(&diagnostic.message)).id(diagnostic.analysis);
    let mut group = Group::with_title(title);
    for excerpt in excerpts(places(diagnostic), positions) {
        group = group.element(excerpt.element(sources, positions));
    }
    if let Some(object) = &diagnostic.object
        && !diagnostic.message.contains(object.as_str())
    {
        group = group.element(Level::NOTE.message(harmless(&format!("in {object}")).into_owned()));
    }
    let notes = diagnostic.notes.iter().map(|note| Level::NOTE.message(harmless(note)));
    let help = diagnostic.help.iter().map(|help| Level::HELP.message(harmless(help)));
    let mut groups = vec![group.elements(notes).elements(help)];
    if let Some(fix) = &diagnostic.fix
        && !already_said(diagnostic, fix)
    {
        groups.extend(suggestion(fix, sources, positions));
    }
    groups
}

/// A text in which nothing speaks to the reader's terminal or turns the direction of writing round.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if is_harmful(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Excerpts keep their bytes in place. Their renderer knows the control characters of ASCII and those that turn the
/// direction of writing round, but not the second set of controls, which have two bytes each, as this dot has.
fn shown(excerpt: &str) -> String {
    excerpt.replace(|c| matches!(c, '\u{80}'..='\u{9f}'), "\u{b7}")
}

/// Whether label or help already spell the replacement out.
fn already_said(diagnostic: &Diagnostic, fix: &Fix) -> bool {
    let mut texts = diagnostic.label.iter().chain(&diagnostic.help);
    fix.edits.iter().all(|edit| texts.any(|text| text.contains(&format!("`{}`", edit.replacement))))
}

/// Places of one file that are near enough to share an excerpt.
struct Excerpt<'d> {
    places: Vec<Place<'d>>,
    /// Lines, from 0, both ends shown.
    lines: Range<usize>,
}

fn excerpts<'d>(places: Vec<Place<'d>>, positions: &mut Positions<'_>) -> Vec<Excerpt<'d>> {
    let mut excerpts: Vec<Excerpt<'d>> = Vec::new();
    for place in places {
        let line = positions.lines(place.span.file).line_of(place.span.start);
        let near = excerpts.iter_mut().find(|excerpt| {
            excerpt.places.iter().any(|other| other.span.file == place.span.file)
                && line + GAP >= excerpt.lines.start
                && line <= excerpt.lines.end + GAP
        });
        match near {
            Some(excerpt) => {
                excerpt.lines.start = excerpt.lines.start.min(line);
                excerpt.lines.end = excerpt.lines.end.max(line);
                excerpt.places.push(place);
            }
            None => excerpts.push(Excerpt { places: vec![place], lines: line..line }),
        }
    }
    excerpts
}

impl<'d> Excerpt<'d> {
    fn element<'a>(self, sources: &'a Sources, positions: &mut Positions<'a>) -> Element<'a>
    where
        'd: 'a,
    {
        let Some(first) = self.places.first() else { return Level::NOTE.message("nothing to show").into() };
        let path = harmless(sources.path(first.span.file));
        let lines = positions.lines(first.span.file);
        let window = lines.window(self.lines.start, self.lines.end);
        if window.lines().any(|line| line.len() > LONG_LINE) {
            let position = lines.position(first.span.start);
            let line = usize::try_from(position.line).unwrap_or(1);
            let column = usize::try_from(position.column).unwrap_or(1);
            return Origin::path(path).line(line).char_column(column).into();
        }
        let base = lines.start_of(self.lines.start);
        let annotations: Vec<Annotation<'a>> = self
            .places
            .into_iter()
            .map(|place| place.kind.span(underline(lines, place.span, base, window)).label(place.label))
            .collect();
        Snippet::source(shown(window))
            .line_start(self.lines.start + 1)
            .path(path)
            .annotations(annotations)
            .into()
    }
}

/// What to underline, from the beginning of the window: never more than the span's first line.
fn underline(lines: &Lines<'_>, span: Span, base: usize, window: &str) -> Range<usize> {
    let clip =
        |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX).saturating_sub(base).min(window.len());
    let start = floor(window, clip(span.start));
    let line_end = lines.start_of(lines.line_of(span.start) + 1).saturating_sub(base).min(window.len());
    let end = ceil(window, clip(span.end)).min(line_end).max(start);
    let text = window.get(start..end).unwrap_or_default();
    start..start + text.trim_end().len()
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn ceil(text: &str, at: usize) -> usize {
    (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// The edit, as added and removed text; nothing if it touches several files or distant lines.
fn suggestion<'a>(fix: &'a Fix, sources: &'a Sources, positions: &mut Positions<'a>) -> Option<Group<'a>> {
    let first = fix.edits.first()?.span;
    let lines = positions.lines(first.file);
    let from = fix.edits.iter().map(|edit| lines.line_of(edit.span.start)).min()?;
    let to = fix.edits.iter().map(|edit| lines.line_of(edit.span.end)).max()?;
    let window = lines.window(from, to);
    if fix.edits.iter().any(|edit| edit.span.file != first.file)
        || to - from > GAP
        || window.len() > 20 * LONG_LINE
    {
        return None;
    }
    let base = lines.start_of(from);
    let clip =
        |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX).saturating_sub(base).min(window.len());
    let patches = fix.edits.iter().map(|edit| {
        let range = floor(window, clip(edit.span.start))..ceil(window, clip(edit.span.end));
        Patch::new(range, shown(&edit.replacement))
    });
    let snippet = Snippet::source(shown(window))
        .line_start(from + 1)
        .path(harmless(sources.path(first.file)))
        .patches(patches);
    Some(Level::HELP.secondary_title(harmless(&fix.message)).element(snippet))
}
