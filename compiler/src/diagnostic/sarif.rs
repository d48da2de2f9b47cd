//! Diagnostics in SARIF 2.1.0 (OASIS), for code scanning and editors.
//!
//! Only the objects that we fill, as our own structs. Every analysis is a rule, with its page as help. Paths are
//! percent-encoded and relative to `%SRCROOT%`, the root of the repository; columns count characters (`columnKind`).
//! A fingerprint stands for analysis, object and message, so that a finding is known again when lines move.
//!
//! With a base every result says whether it is `new` or `unchanged`. What was fixed is not listed as `absent`: consumers
//! that do not read `baselineState`, GitHub among them, would show it as found.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::human::harmless;
use super::position::Positions;
use super::report::{Report, at_length};
use super::{Diagnostic, Fix, Severity};
use crate::analysis::{Level, PAGES, Page};
use crate::findings::Fingerprint;
use crate::source::Sources;
use crate::yaml::Span;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
const ROOT: &str = "%SRCROOT%";

/// The log, as indented JSON with a line break at the end.
pub fn render(report: &Report<'_>) -> String {
    let mut writer =
        Writer { sources: report.sources, positions: Positions::new(report.sources), seen: BTreeMap::new() };
    let state = |state| report.change.map(|_| state);
    let unchanged = report.change.map(|change| change.unchanged).unwrap_or_default();
    let mut all: Vec<_> = report.diagnostics.iter().map(|finding| (finding, state("new"))).collect();
    all.extend(unchanged.iter().map(|finding| (finding, state("unchanged"))));
    all.sort_by_key(|(finding, _)| finding.span);
    let log = Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            tool: Tool { driver: Driver::new() },
            column_kind: "unicodeCodePoints",
            original_uri_base_ids: BTreeMap::from([(
                ROOT,
                Base { description: Text { text: "The root of the repository.".to_owned() } },
            )]),
            results: all.into_iter().map(|(finding, state)| writer.result(finding, state)).collect(),
        }],
    };
    let mut text = serde_json::to_string_pretty(&log).expect("strings and numbers always serialise");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: &'static str,
    original_uri_base_ids: BTreeMap<&'static str, Base>,
    results: Vec<SarifResult>,
}

#[derive(Serialize)]
struct Base {
    description: Text,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    short_description: Text,
    full_description: Text,
    help: Help,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
struct Help {
    text: String,
    markdown: String,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'static str,
    message: Text,
    locations: Vec<Location>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Location>,
    partial_fingerprints: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fixes: Vec<SarifFix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_state: Option<&'static str>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    physical_location: Option<Physical>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<Logical>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    uri: String,
    uri_base_id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
    end_line: u32,
    end_column: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logical {
    fully_qualified_name: String,
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifFix {
    description: Text,
    artifact_changes: Vec<ArtifactChange>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactChange {
    artifact_location: Artifact,
    replacements: Vec<Replacement>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replacement {
    deleted_region: Region,
    inserted_content: Text,
}

impl Driver {
    fn new() -> Self {
        Self {
            name: "weft",
            semantic_version: env!("CARGO_PKG_VERSION"),
            rules: PAGES.iter().map(Rule::new).collect(),
        }
    }
}

impl Rule {
    fn new(page: &'static Page) -> Self {
        Self {
            id: page.name,
            short_description: message(page.summary),
            full_description: message(&page.section("What it finds")),
            help: Help { text: page.text(), markdown: page.text() },
            default_configuration: Configuration {
                level: match page.level {
                    Level::Error => "error",
                    Level::Warn => "warning",
                    Level::Note => "note",
                    Level::Off => "none",
                },
            },
        }
    }
}

struct Writer<'a> {
    sources: &'a Sources,
    positions: Positions<'a>,
    /// How often each fingerprint was written.
    seen: BTreeMap<String, usize>,
}

impl Writer<'_> {
    fn result(&mut self, diagnostic: &Diagnostic, baseline_state: Option<&'static str>) -> SarifResult {
        let related = diagnostic.related.iter().zip(1..).map(|(related, id)| Location {
            id: Some(id),
            physical_location: Some(self.physical(related.span)),
            message: Some(message(&related.message)),
            ..Location::default()
        });
        SarifResult {
            rule_id: diagnostic.analysis,
            rule_index: PAGES.iter().position(|page| page.name == diagnostic.analysis),
            level: match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            },
            message: message(&at_length(diagnostic)),
            related_locations: related.collect(),
            locations: self.location(diagnostic).into_iter().collect(),
            partial_fingerprints: BTreeMap::from([("weftFinding/v1", self.fingerprint(diagnostic))]),
            fixes: diagnostic.fix.iter().map(|fix| self.fix(fix)).collect(),
            baseline_state,
        }
    }

    /// Where it is. Code scanning takes no result without a file, so one without a place is at the first.
    fn location(&mut self, diagnostic: &Diagnostic) -> Option<Location> {
        let first = || {
            // An empty one may stand for a file that only the base has.
            let file = self.sources.files.iter().find(|file| !file.bytes.is_empty())?;
            Some(Physical { artifact_location: artifact(&file.path), region: None })
        };
        let physical = match diagnostic.span {
            Some(span) => Some(self.physical(span)),
            None => first(),
        };
        let object = diagnostic
            .object
            .iter()
            .map(|object| Logical { fully_qualified_name: harmless(object).into_owned(), kind: "object" });
        let location = Location {
            physical_location: physical,
            logical_locations: object.collect(),
            ..Location::default()
        };
        (location.physical_location.is_some() || !location.logical_locations.is_empty()).then_some(location)
    }

    /// Unique within the log: the second of its kind is told apart by its number.
    fn fingerprint(&mut self, diagnostic: &Diagnostic) -> String {
        let digest = Fingerprint::of(diagnostic, self.sources).digest();
        let number = self.seen.entry(digest.clone()).or_default();
        *number += 1;
        format!("{digest}:{number}")
    }

    fn physical(&mut self, span: Span) -> Physical {
        Physical {
            artifact_location: artifact(self.sources.path(span.file)),
            region: Some(self.region(span)),
        }
    }

    fn region(&mut self, span: Span) -> Region {
        let range = self.positions.range(span);
        Region {
            start_line: range.start.line,
            start_column: range.start.column,
            end_line: range.end.line,
            end_column: range.end.column,
        }
    }

    fn fix(&mut self, fix: &Fix) -> SarifFix {
        let mut changes: BTreeMap<&str, Vec<Replacement>> = BTreeMap::new();
        for edit in &fix.edits {
            let replacement = Replacement {
                deleted_region: self.region(edit.span),
                inserted_content: Text { text: edit.replacement.clone() },
            };
            changes.entry(self.sources.path(edit.span.file)).or_default().push(replacement);
        }
        let change = |(path, replacements): (&str, _)| ArtifactChange {
            artifact_location: artifact(path),
            replacements,
        };
        SarifFix {
            description: message(&fix.message),
            artifact_changes: changes.into_iter().map(change).collect(),
        }
    }
}

/// A text that cannot be taken for a link of SARIF's, `[text](place)`.
fn message(text: &str) -> Text {
    Text { text: harmless(text).replace("](", "] (") }
}

fn artifact(path: &str) -> Artifact {
    Artifact { uri: encoded(path), uri_base_id: ROOT }
}

/// A path as a relative reference (RFC 3986): everything but unreserved characters, and `/`, is percent-encoded.
fn encoded(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            byte => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_references() {
        assert_eq!(encoded("shop/routes.yaml"), "shop/routes.yaml");
        assert_eq!(encoded("a b/é:c#%?.yaml"), "a%20b/%C3%A9%3Ac%23%25%3F.yaml");
    }

    #[test]
    fn messages_hold_no_links() {
        assert_eq!(message("see `[x](y)` and `rules[2]`").text, "see `[x] (y)` and `rules[2]`");
    }
}
