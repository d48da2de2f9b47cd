//! What the compiler has to say, as data; and its renderers.
//!
//! A [`Diagnostic`] is data until it is printed: [`human`] shows it as rustc would; [`json`], [`sarif`], [`github`] and
//! [`junit`] write it for machines, from a [`Report`]. Renderers get the [`Sources`](crate::source::Sources) that spans point into; a diagnostic itself holds no text of a document
//! beyond what its message quotes.

use std::fmt;

use crate::yaml::Span;

mod hidden;
pub mod position;
pub mod human;
pub mod report;
pub mod json;
pub mod sarif;
pub mod github;
pub mod junit;
#[cfg(test)]
mod tests;

pub use report::{Change, Report};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable name of what found it, in kebab case, such as `unknown-field`.
    pub analysis: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in the user's words: lower case, one sentence, no final stop.
    pub message: String,
    /// The object it is about, such as `HTTPRoute bookinfo/reviews`.
    pub object: Option<String>,
    /// The place to look at first.
    pub span: Option<Span>,
    /// A few words at that place.
    pub label: Option<String>,
    /// Other places that matter.
    pub related: Vec<Related>,
    /// Reasons.
    pub notes: Vec<String>,
    /// Remedies.
    pub help: Vec<String>,
    /// An edit that would mend it.
    pub fix: Option<Fix>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is built from it.
    Error,
    /// It builds, and is probably not what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Another place that matters to a finding, possibly in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Where.
    pub span: Span,
    /// What is there.
    pub message: String,
}

/// An edit that mends a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What the edit does, as an imperative.
    pub message: String,
    /// Whether it may be applied without a look.
    pub safety: Safety,
    /// The replacements; they do not overlap.
    pub edits: Vec<Edit>,
}

/// Whether a fix may be applied without a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// It cannot change what a correct document means. Never an edit that widens access.
    Safe,
    /// A person decides.
    Unsafe,
}

/// A replacement of a range of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub span: Span,
    /// By what.
    pub replacement: String,
}

impl Diagnostic {
    /// A finding at error level.
    pub fn error(analysis: &'static str, message: impl Into<String>) -> Self {
        Self::new(analysis, Severity::Error, message)
    }

    /// A finding at warning level.
    pub fn warning(analysis: &'static str, message: impl Into<String>) -> Self {
        Self::new(analysis, Severity::Warning, message)
    }

    /// A finding at note level.
    pub fn note(analysis: &'static str, message: impl Into<String>) -> Self {
        Self::new(analysis, Severity::Note, message)
    }

    /// A finding.
    pub fn new(analysis: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            analysis,
            severity,
            message: message.into(),
            object: None,
            span: None,
            label: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            fix: None,
        }
    }

    /// About this object.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// At this place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// With these words at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With another place.
    #[must_use]
    pub fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related.push(Related { span, message: message.into() });
        self
    }

    /// With a reason.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// With a remedy, if there is one.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help.extend(help);
        self
    }

    /// With an edit.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }
}

/// Sorts by file, then position, then severity, name and message: the order of every output. Those without a place
/// come first. Exact duplicates are dropped.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        (a.span, a.severity, a.analysis, &a.message).cmp(&(b.span, b.severity, b.analysis, &b.message))
    });
    diagnostics.dedup();
}

/// What was looked at, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Documents of a dialect we read.
    pub documents: usize,
    /// Services of the mesh.
    pub services: usize,
    /// Findings at error level.
    pub errors: usize,
    /// Findings at warning level.
    pub warnings: usize,
    /// Findings at note level.
    pub notes: usize,
    /// Documents of other programs, left alone.
    pub skipped: usize,
    /// Findings that a waiver in a document silences.
    pub waived: usize,
    /// Findings that a baseline hides.
    pub baselined: usize,
}

impl Summary {
    /// The counts of `diagnostics`, with what only the caller knows.
    pub fn new(documents: usize, services: usize, skipped: usize, diagnostics: &[Diagnostic]) -> Self {
        let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
        Self {
            documents,
            services,
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            notes: count(Severity::Note),
            skipped,
            ..Self::default()
        }
    }

    /// The same work, with other findings to show.
    #[must_use]
    pub fn of(self, diagnostics: &[Diagnostic]) -> Self {
        let Self { documents, services, skipped, waived, baselined, .. } = self;
        Self { waived, baselined, ..Self::new(documents, services, skipped, diagnostics) }
    }
}

/// The candidate nearest to `name`, if it is near enough to be what was meant.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_lowercase();
    let length = folded.chars().count();
    let allowed = match length {
        0..=2 => 1,
        3..=5 => 2,
        length => length / 3,
    };
    // Each letter that one has more than the other is a difference.
    let as_long = |candidate: &&str| candidate.chars().count().abs_diff(length) <= allowed;
    candidates
        .into_iter()
        .filter(as_long)
        .map(|candidate| (strsim::osa_distance(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// What asks whether the nearest candidate was meant, to go behind a message: "; did you mean …?". Empty if none is near.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    did_you_mean(name, candidates).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}
