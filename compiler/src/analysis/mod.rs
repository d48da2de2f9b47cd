//! The analyses, one file each; this is the table that names them all.
//!
//! An analysis is a pure function from the model to diagnostics. They are independent and run in any order; each is
//! exact or says that it does not know, and each finding carries a witness. The `//!` page of each file has the same
//! sections and is what `weft explain` prints. Some names belong to earlier steps (parsing, resolving), which find the
//! fault while they read; their pages stand here all the same, so that every name has one place.
//!
//! A name states the fault, never changes its meaning, and is retired rather than reused.

mod pages;
pub mod refused_file;
pub mod invalid_yaml;
pub mod template;
pub mod duplicate_key;
pub mod unknown_kind;
pub mod unknown_field;
pub mod missing_field;
pub mod invalid_expression;
pub mod invalid_name;
pub mod invalid_value;
pub mod not_supported;
pub mod duplicate_object;
pub mod missing_mesh;
pub mod unknown_reference;
pub mod conflicting_settings;
pub mod conflicting_routes;
pub mod missing_grant;
pub mod not_admitted;
pub mod ignored_field;
pub mod ignored_hostnames;
pub mod protocol_mismatch;
pub mod http_rule_on_tcp;
pub mod unreachable_route;
mod repeated_headers;
pub mod partially_shadowed_route;
mod scene;
pub mod zero_weight;
pub mod redirect_loop;
pub mod conflicting_hosts;
pub mod host_overlap;
pub mod undeclared_host;
pub mod ambiguous_routes;
pub mod dead_backend;
pub mod unlisted_endpoints;
pub mod denied_by_default;
pub mod dependency_cycle;
pub mod undeclared_call;
mod arrivals;
pub mod forwarding_cycle;
pub mod unreachable_service;
mod levels;
pub mod retry_amplification;
pub mod retry_of_unsafe_method;
pub mod timeout_inversion;
pub mod timeout_below_retries;
pub mod keepalive_mismatch;
mod access_entries;
mod access_conditions;
pub mod access_contradiction;
pub mod ineffective_access;
pub mod uncovered_service;
pub mod identity_without_tls;
pub mod unknown_principal;
pub mod shared_identity;
pub mod widened_by_dialect;
pub mod ejection_cannot_happen;
pub mod breaker_below_replicas;
pub mod fault_left_on;
pub mod unserved_feature;
pub mod unused_object;
pub mod anchor_expires_soon;
pub mod expired_key_set;
pub mod unsafe_transition;
pub mod invalid_waiver;
pub mod expired_waiver;
pub mod unused_waiver;
pub mod stale_baseline;
pub mod failed_case;
pub mod failed_invariant;
pub mod changed_body;

use std::fmt;

use serde::{Deserialize, Serialize};
use time::Date;

pub use self::pages::{DATED, PAGES};
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::Mesh;
use crate::progress::{Progress, Silent, Stage};

/// How a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Fails the check.
    Error,
    /// Shown.
    Warn,
    /// Shown as worth knowing.
    Note,
    /// Not shown.
    Off,
}

impl Level {
    /// The severity of a finding at this level; none if it is not shown.
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Error => Some(Severity::Error),
            Self::Warn => Some(Severity::Warning),
            Self::Note => Some(Severity::Note),
            Self::Off => None,
        }
    }

    /// The level of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Error, Self::Warn, Self::Note, Self::Off].into_iter().find(|level| level.to_string() == text)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Note => "note",
            Self::Off => "off",
        })
    }
}

/// A name that findings carry, and what it stands for.
#[derive(Debug)]
pub struct Page {
    /// In kebab case.
    pub name: &'static str,
    /// What it finds, in a line.
    pub summary: &'static str,
    /// The level it has unless somebody says otherwise.
    pub level: Level,
    /// Whether the level may be changed. What makes a mesh unbuildable stays an error.
    pub adjustable: bool,
    /// The source file, whose `//!` lines are the page.
    pub source: &'static str,
    /// The analysis itself; none where an earlier step finds it.
    pub run: Option<fn(&Mesh) -> Vec<Diagnostic>>,
}

impl Page {
    /// The page of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PAGES.iter().find(|page| page.name == name)
    }

    /// The text that `weft explain` prints, in Markdown.
    pub fn text(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    /// What stands under a heading of the page, without the heading; empty if there is none.
    pub fn section(&self, heading: &str) -> String {
        let text = self.text();
        let lines = text.lines().skip_while(|line| line.strip_prefix("# ") != Some(heading)).skip(1);
        lines.take_while(|line| !line.starts_with("# ")).collect::<Vec<_>>().join("\n").trim().to_owned()
    }
}

/// An analysis that needs the day.
pub type Dated = fn(&Mesh, Date) -> Vec<Diagnostic>;

/// Runs every analysis that needs no date.
pub fn analyse(mesh: &Mesh) -> Vec<Diagnostic> {
    analyse_watched(mesh, None, &Silent)
}

/// Runs every analysis, a step each. Without a day, those that need one find nothing.
pub fn analyse_watched(mesh: &Mesh, today: Option<Date>, progress: &dyn Progress) -> Vec<Diagnostic> {
    let analyses: Vec<_> = PAGES.iter().filter_map(|page| page.run).collect();
    progress.begin(Stage::Analysing, analyses.len());
    let mut found = Vec::new();
    for run in analyses {
        found.extend(run(mesh));
        progress.step();
    }
    let dated = today.into_iter().flat_map(|today| DATED.iter().map(move |(_, run)| run(mesh, today)));
    found.extend(dated.flatten());
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_page_has_all_sections() {
        for page in PAGES {
            let text = page.text();
            for section in ["# What it finds", "# Why it matters", "# Example", "# Fix", "# References"] {
                assert!(text.contains(section), "{}: no section `{section}`", page.name);
            }
        }
    }

    #[test]
    fn everything_that_is_found_has_a_page() {
        // Every name in a `Diagnostic::error("…"` and the like, and every constant that reading uses.
        let mut names: BTreeSet<String> =
            crate::dialect::FINDINGS.iter().map(|(name, _)| (*name).to_owned()).collect();
        for file in sources(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
            let text = std::fs::read_to_string(file).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            for call in text.split("Diagnostic::").skip(1) {
                let made =
                    ["error(", "warning(", "note(", "new("].iter().find_map(|made| call.strip_prefix(*made));
                let name =
                    made.and_then(|arguments| arguments.trim_start().strip_prefix('"')).map(until_quote);
                names.extend(name.map(str::to_owned));
            }
            for call in text.split("not_http(").skip(1) {
                names.extend(call.trim_start().strip_prefix('"').map(until_quote).map(str::to_owned));
            }
        }
        assert!(names.len() > 15, "{names:?}");
        let without: Vec<_> = names.iter().filter(|name| Page::find(name).is_none()).collect();
        assert!(without.is_empty(), "no page: {without:?}");
        let unused: Vec<_> =
            PAGES.iter().map(|page| page.name).filter(|name| !names.contains(*name)).collect();
        assert!(unused.is_empty(), "never found: {unused:?}");
    }

    fn until_quote(text: &str) -> &str {
        text.split('"').next().unwrap_or_default()
    }

    /// All sources of the compiler without tests.
    fn sources(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
                found.extend(sources(&path));
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_name().is_some_and(|name| name != "tests.rs")
            {
                found.push(path);
            }
        }
        found
    }

    #[test]
    fn names_are_unique_and_sorted() {
        let names: Vec<_> = PAGES.iter().map(|page| page.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}
