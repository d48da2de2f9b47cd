//! A baseline: findings that are known and left for later, in a file that people can read and review.
//!
//! ```json
//! { "format": "weft-baseline/1",
//!   "findings": [ { "analysis": "unreachable-route", "object": "HTTPRoute shop/cart", "message": "…", "count": 1 } ] }
//! ```
//!
//! Sorted, so that a diff shows what changed. The format changes by its number; fields it does not know are refused.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::fingerprint::{Fingerprint, count, take};
use super::levels::{Levels, anything_broken};
use crate::diagnostic::{self, Diagnostic};
use crate::source::Sources;

const FORMAT: &str = "weft-baseline/1";

/// Findings that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// How often each is there.
    counts: BTreeMap<Fingerprint, usize>,
}

/// Why a text is not a baseline.
#[derive(Debug)]
pub enum BaselineError {
    /// It is not JSON, or has other fields.
    Shape(serde_json::Error),
    /// It says that it is something else.
    Format(String),
}

impl fmt::Display for BaselineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(_) => f.write_str("it is not a baseline"),
            Self::Format(format) => write!(f, "its format is `{format}`, and only `{FORMAT}` is read"),
        }
    }
}

impl std::error::Error for BaselineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Shape(source) => Some(source),
            Self::Format(_) => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    findings: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    analysis: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    message: String,
    count: usize,
}

/// What a baseline leaves.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// What it does not list, and a `stale-baseline` for each entry that is found less often than it says.
    pub diagnostics: Vec<Diagnostic>,
    /// How many findings it hides.
    pub hidden: usize,
}

impl Baseline {
    /// The baseline that hides these findings.
    pub fn of(diagnostics: &[Diagnostic], sources: &Sources) -> Self {
        Self { counts: count(diagnostics, sources) }
    }

    /// How many findings it lists.
    pub fn len(&self) -> usize {
        self.counts.values().sum()
    }

    /// Whether it lists none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The text is not a baseline, or one of another format.
    pub fn parse(text: &str) -> Result<Self, BaselineError> {
        let file: File = serde_json::from_str(text).map_err(BaselineError::Shape)?;
        if file.format != FORMAT {
            return Err(BaselineError::Format(file.format.chars().take(40).collect()));
        }
        let mut counts = BTreeMap::new();
        for Entry { analysis, object, file, message, count } in file.findings {
            let known: &mut usize =
                counts.entry(Fingerprint { analysis, object, file, message }).or_default();
            *known = known.saturating_add(count);
        }
        Ok(Self { counts })
    }

    /// The file, with a line break at the end.
    pub fn render(&self) -> String {
        let entries = self.counts.iter().map(|(fingerprint, count)| {
            let Fingerprint { analysis, object, file, message } = fingerprint.clone();
            Entry { analysis, object, file, message, count: *count }
        });
        let file = File { format: FORMAT.to_owned(), findings: entries.collect() };
        let mut text = serde_json::to_string_pretty(&file).expect("strings and numbers always serialise");
        text.push('\n');
        text
    }

    /// Hides what is listed. That something is listed and not found is a finding, unless documents are broken: then it
    /// may only not have been looked for.
    pub fn apply(&self, diagnostics: Vec<Diagnostic>, sources: &Sources, levels: &Levels) -> Left {
        let mut counts = self.counts.clone();
        let listed = |finding: &Diagnostic| take(&mut counts, &Fingerprint::of(finding, sources));
        let (hidden, mut left): (Vec<_>, Vec<_>) = diagnostics.into_iter().partition(listed);
        if !anything_broken(&left) {
            let stale =
                counts.iter().filter(|(_, count)| **count > 0).map(|(known, count)| stale(known, *count));
            left.extend(stale.filter_map(|finding| levels.apply(finding)));
            diagnostic::sort(&mut left);
        }
        Left { diagnostics: left, hidden: hidden.len() }
    }
}

fn stale(known: &Fingerprint, count: usize) -> Diagnostic {
    let about = known.about().map(|about| format!(" of {about}")).unwrap_or_default();
    let times = if count == 1 { String::new() } else { format!(" {count} times") };
    let message =
        format!("the baseline lists `{}`{about}{times}, and it is not found any more", known.analysis);
    Diagnostic::warning("stale-baseline", message)
        .with_note(format!("listed is: {}", known.message))
        .help("write the baseline again with `--write-baseline`, so that it cannot come back unseen")
}
