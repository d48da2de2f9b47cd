//! Readable bodies, compared with those kept from last time: what a change of policy does to each proxy, as a diff.
//!
//! Reading and writing files is the caller's business; [`file_name`] says where a body is kept.

use similar::{ChangeTag, TextDiff};
use weft_bundle::body::Origin;

use super::{Outcome, TestKind};
use crate::diagnostic::Diagnostic;

/// The file of a service below the directory of snapshots. Not a `.yaml` file, which would be read as policy.
pub fn file_name(service: &str) -> String {
    format!("{service}.yaml.snap")
}

/// What became of the body of a service: `kept` is none where nothing was kept, `rendered` where the service is gone.
pub fn compare(service: &str, file: &str, kept: Option<&str>, rendered: Option<&str>) -> Outcome {
    let finding = |message: String| {
        Diagnostic::error("changed-body", message).help("if that is meant, run `weft test --update`")
    };
    let failure = match (kept, rendered) {
        (Some(kept), Some(rendered)) if kept == rendered => None,
        (Some(kept), Some(rendered)) => Some(
            finding(format!("the body of `{service}` is not the one in `{file}`"))
                .with_note(diff(kept, rendered)),
        ),
        (None, Some(_)) => {
            Some(finding(format!("the body of `{service}` is not kept: there is no `{file}`")))
        }
        (Some(_), None) => {
            Some(finding(format!("there is no service `{service}`, whose body is kept in `{file}`")))
        }
        (None, None) => None,
    };
    let object = format!("Service {service}");
    let origin = Origin { object, rule: Some(format!("body of {service}")), file: file.to_owned(), line: 1 };
    Outcome { kind: TestKind::Body, origin, failures: failure.into_iter().collect() }
}

/// Lines that a note may have; what is beyond is counted.
const MOST_LINES: usize = 60;

/// Changed lines with three around them, `-` as kept, `+` as it is now.
fn diff(kept: &str, rendered: &str) -> String {
    // A deadline would make the output depend on the machine; the algorithm is quadratic at worst, and bodies of one
    // service are small.
    let diff = TextDiff::configure().diff_lines(kept, rendered);
    let mut lines = Vec::new();
    for (place, group) in diff.grouped_ops(3).iter().enumerate() {
        if place > 0 {
            lines.push("  …".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(format!("{sign} {}", change.value().trim_end_matches('\n')));
        }
    }
    let more = lines.len().saturating_sub(MOST_LINES);
    if more > 1 {
        lines.truncate(MOST_LINES);
        lines.push(format!("… and {more} more lines"));
    }
    format!("from what is kept (-) to what is compiled now (+)\n{}", lines.join("\n"))
}
