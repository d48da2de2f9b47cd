//! Waivers: a document says which findings about it are accepted, why, and until when.
//!
//! ```yaml
//! metadata:
//!   annotations:
//!     weft.dev/waive: "unreachable-route until=2027-03-01 reason=kept for the spring campaign"
//! ```
//!
//! Several are separated by `;` or line breaks. A waiver silences the findings of one analysis about the object that it
//! stands in. It must give a reason; one without `until` never expires. What nothing can be built from cannot be waived,
//! nor can findings about waivers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use time::{Date, Month};

use super::levels::{Levels, anything_broken};
use crate::analysis::{Level, PAGES, Page};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::dialect::ParsedDocument;
use crate::source::Sources;
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned};

/// The annotation that holds waivers.
pub const ANNOTATION: &str = "weft.dev/waive";

/// Findings about waivers themselves.
const ABOUT_WAIVERS: [&str; 4] = ["expired-waiver", "invalid-waiver", "unused-waiver", "stale-baseline"];

/// Findings about what changed since a base: without one, nothing says whether their waivers are used.
const OF_CHANGES: [&str; 1] = ["unsafe-transition"];

/// Findings, sorted out.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Those that no waiver silences, and those about waivers.
    pub(super) kept: Vec<Diagnostic>,
    /// Those that one silences.
    pub(super) waived: Vec<Diagnostic>,
    /// The waivers that hold.
    pub(super) waivers: Waivers,
}

/// The waivers that hold, for findings that are made after all others.
#[derive(Clone, Debug, Default)]
pub struct Waivers(BTreeSet<(String, &'static str)>);

impl Waivers {
    /// Whether one silences a finding.
    pub fn silence(&self, finding: &Diagnostic) -> bool {
        let object = finding.object.clone().unwrap_or_default();
        self.0.contains(&(object, finding.analysis))
    }
}

/// Sorts out which findings are waived, and says what is wrong with the waivers.
pub(super) fn apply(
    found: Vec<Diagnostic>,
    documents: &[Arc<ParsedDocument>],
    sources: &Sources,
    levels: &Levels,
    today: Option<Date>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut waivers = read(documents, sources, &mut outcome.kept);
    let mut silences: BTreeMap<(String, &str), Vec<usize>> = BTreeMap::new();
    for (at, waiver) in waivers.iter_mut().enumerate() {
        waiver.expired = waiver.until.zip(today).is_some_and(|(until, today)| today > until);
        if !waiver.expired {
            silences.entry((waiver.object.clone(), waiver.page.name)).or_default().push(at);
        }
    }
    let broken = anything_broken(&found);
    for finding in found {
        let object = finding.object.clone().unwrap_or_default();
        match silences.get(&(object, finding.analysis)) {
            Some(by) => {
                for at in by {
                    if let Some(waiver) = waivers.get_mut(*at) {
                        waiver.used = true;
                    }
                }
                outcome.waived.push(finding);
            }
            None => outcome.kept.push(finding),
        }
    }
    outcome.waivers = Waivers(silences.into_keys().collect());
    let is_off = |waiver: &Waiver| levels.of(waiver.page.name) == Level::Off;
    outcome.kept.extend(waivers.iter().filter(|waiver| waiver.expired).map(Waiver::expired));
    if !broken {
        let idle =
            |waiver: &&Waiver| !waiver.used && !waiver.expired && !OF_CHANGES.contains(&waiver.page.name);
        let unused = waivers.iter().filter(idle).filter(|waiver| !is_off(waiver));
        outcome.kept.extend(unused.map(Waiver::unused));
    }
    outcome
}

/// A waiver that is well formed.
struct Waiver {
    page: &'static Page,
    until: Option<Date>,
    /// The object whose findings it is about.
    object: String,
    span: Span,
    expired: bool,
    used: bool,
}

impl Waiver {
    fn expired(&self) -> Diagnostic {
        let until = self.until.map(|until| until.to_string()).unwrap_or_default();
        let message = format!("the waiver of `{}` ended with {until}", self.page.name);
        Diagnostic::warning("expired-waiver", message)
            .object(self.object.clone())
            .at(self.span)
            .label("silences nothing any more")
            .help("mend what it was for and remove it, or give it a later day and a reason that still holds")
    }

    fn unused(&self) -> Diagnostic {
        let message = format!("the waiver of `{}` silences nothing", self.page.name);
        Diagnostic::warning("unused-waiver", message)
            .object(self.object.clone())
            .at(self.span)
            .label(format!("no `{}` is found about this object", self.page.name))
            .help("remove it, so that the next such finding is seen")
    }
}

/// The waivers of all documents that are well formed; the others are findings.
fn read(documents: &[Arc<ParsedDocument>], sources: &Sources, found: &mut Vec<Diagnostic>) -> Vec<Waiver> {
    let mut waivers = Vec::new();
    for document in documents {
        let Some(annotation) = document.metadata.annotation(ANNOTATION) else { continue };
        let object = document.object();
        let mut entries =
            annotation.split([';', '\n']).map(str::trim).filter(|entry| !entry.is_empty()).peekable();
        if entries.peek().is_none() {
            let fault = Fault::new("the waiver names no analysis", SHAPE);
            found.push(fault.diagnostic(&object, annotation.span));
        }
        for entry in entries {
            let span = place(sources, annotation, entry);
            match parse(entry) {
                Ok((page, until)) => {
                    let object = object.clone();
                    waivers.push(Waiver { page, until, object, span, expired: false, used: false });
                }
                Err(fault) => found.push(fault.diagnostic(&object, span)),
            }
        }
    }
    waivers
}

/// Where an entry of an annotation is, if it is spelt in the file as it is in the value; else the whole annotation.
fn place(sources: &Sources, annotation: &Spanned<String>, entry: &str) -> Span {
    let whole = annotation.span;
    let text = sources.file(whole.file).and_then(|file| file.bytes.get(whole.range()));
    let text = text.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let found = text.and_then(|text| text.find(entry)).and_then(|at| u32::try_from(at).ok());
    match (found, u32::try_from(entry.len())) {
        (Some(at), Ok(length)) => {
            let start = whole.start.saturating_add(at);
            Span::new(whole.file, start, start.saturating_add(length))
        }
        _ => whole,
    }
}

const SHAPE: &str = "a waiver reads `unreachable-route until=2027-03-01 reason=why it is accepted`";

/// What is wrong with a waiver, and the remedy.
struct Fault {
    message: String,
    help: String,
}

impl Fault {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    fn diagnostic(self, object: &str, span: Span) -> Diagnostic {
        let help = Some(self.help).filter(|help| !help.is_empty());
        Diagnostic::error("invalid-waiver", self.message)
            .object(object)
            .at(span)
            .label("silences nothing")
            .maybe_help(help)
    }
}

/// The analysis that an entry waives, and its last day.
fn parse(entry: &str) -> Result<(&'static Page, Option<Date>), Fault> {
    let mut words = entry.split_whitespace();
    let name = words.next().unwrap_or_default();
    let page = waivable(name)?;
    let (mut until, mut in_reason, mut reasoned) = (None, false, false);
    for word in words {
        // Also behind the reason: taken as part of it, the waiver would silently never expire.
        if let Some(day) = word.strip_prefix("until=") {
            if until.replace(parse_day(day)?).is_some() {
                return Err(Fault::new(
                    format!("the waiver of `{name}` has two last days"),
                    "keep one `until`",
                ));
            }
        } else if let Some(text) = word.strip_prefix("reason=").filter(|_| !in_reason) {
            in_reason = true;
            reasoned = !text.is_empty();
        } else if in_reason {
            reasoned = true;
        } else {
            return Err(Fault::new(format!("`{}` is not part of a waiver", Short(word)), SHAPE));
        }
    }
    match reasoned {
        true => Ok((page, until)),
        false => Err(Fault::new(
            format!("the waiver of `{name}` gives no reason"),
            "add `reason=` and why it is accepted",
        )),
    }
}

fn waivable(name: &str) -> Result<&'static Page, Fault> {
    let Some(page) = Page::find(name) else {
        let waivable = PAGES.iter().filter(|page| page.adjustable && !ABOUT_WAIVERS.contains(&page.name));
        let near = did_you_mean(name, waivable.map(|page| page.name));
        let help = near.map_or_else(
            || "`weft explain` lists them all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Fault::new(format!("there is no analysis `{}`", Short(name)), help));
    };
    if ABOUT_WAIVERS.contains(&page.name) {
        return Err(Fault::new(format!("`{name}` is about waivers and cannot be waived itself"), ""));
    }
    match page.adjustable {
        true => Ok(page),
        false => Err(Fault::new(
            format!("`{name}` cannot be waived: nothing can be built from what it finds"),
            "mend what it finds",
        )),
    }
}

/// `2027-03-01`.
fn parse_day(text: &str) -> Result<Date, Fault> {
    let fault = || {
        let message = format!("`{}` is not a day", Short(text));
        Fault::new(message, "write it as `until=2027-03-01`: the year, the month, the last day that it holds")
    };
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(fault());
    };
    if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
        return Err(fault());
    }
    let (year, month, day) = (year.parse::<i32>(), month.parse::<u8>(), day.parse::<u8>());
    let (Ok(year), Ok(month), Ok(day)) = (year, month, day) else { return Err(fault()) };
    let month = Month::try_from(month).map_err(|_| fault())?;
    Date::from_calendar_date(year, month, day).map_err(|_| fault())
}
