//! What a finding is known by when lines move.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{self, SHA256};
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::source::Sources;

/// Analysis, object and message of a finding. What is about no object is told apart by its file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// The analysis.
    pub analysis: String,
    /// The object, such as `HTTPRoute bookinfo/reviews`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The file, where there is no object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The message.
    pub message: String,
}

impl Fingerprint {
    /// The fingerprint of a finding in `sources`.
    pub fn of(diagnostic: &Diagnostic, sources: &Sources) -> Self {
        let file = diagnostic.span.map(|span| sources.path(span.file).to_owned());
        Self {
            analysis: diagnostic.analysis.to_owned(),
            object: diagnostic.object.clone(),
            file: file.filter(|_| diagnostic.object.is_none()),
            message: diagnostic.message.clone(),
        }
    }

    /// 32 hex digits that stand for it.
    pub fn digest(&self) -> String {
        let parts = [
            Some(self.analysis.as_str()),
            self.object.as_deref(),
            self.file.as_deref(),
            Some(self.message.as_str()),
        ];
        let mut context = digest::Context::new(&SHA256);
        for part in parts {
            // Lengths keep parts apart.
            let part = part.unwrap_or_default();
            context.update(format!("{}:", part.len()).as_bytes());
            context.update(part.as_bytes());
        }
        let digest = context.finish();
        data_encoding::HEXLOWER.encode(digest.as_ref().get(..16).unwrap_or_default())
    }

    /// What the finding is about: its object, or its file.
    pub fn about(&self) -> Option<&str> {
        self.object.as_deref().or(self.file.as_deref())
    }
}

/// How often each fingerprint is there.
pub(super) fn count<'d>(
    diagnostics: impl IntoIterator<Item = &'d Diagnostic>,
    sources: &Sources,
) -> BTreeMap<Fingerprint, usize> {
    let mut counts = BTreeMap::new();
    for diagnostic in diagnostics {
        *counts.entry(Fingerprint::of(diagnostic, sources)).or_default() += 1;
    }
    counts
}

/// Takes one of `counts`, if there is one left.
pub(super) fn take(counts: &mut BTreeMap<Fingerprint, usize>, fingerprint: &Fingerprint) -> bool {
    match counts.get_mut(fingerprint) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        Some(_) | None => false,
    }
}
