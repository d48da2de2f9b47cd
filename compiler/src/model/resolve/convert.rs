//! Small conversions that several front ends share.

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use weft_bundle::body::{HeaderEdits, RetryBudget};
use weft_bundle::engine::FRAMING;

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::dialect::ParsedDocument;
use crate::dialect::weft::{Retry, Timeouts};
use crate::model::Settings;
use crate::yaml::INVALID_VALUE;
use crate::yaml::{Span, Spanned};

/// The settings that a Weft `timeouts` makes.
pub(super) fn timeouts(timeouts: Option<&Timeouts>) -> Settings {
    let Some(timeouts) = timeouts else { return Settings::default() };
    Settings::default()
        .written(Settings::REQUEST, timeouts.request.as_ref())
        .written(Settings::PER_TRY, timeouts.per_try.as_ref())
        .written(Settings::IDLE, timeouts.idle.as_ref())
        .written(Settings::CONNECT, timeouts.connect.as_ref())
        .written(Settings::POOL_IDLE, timeouts.pool_idle.as_ref())
}

/// The settings that a Weft `retry` makes.
pub(super) fn retry(retry: Option<&Spanned<Retry>>) -> Settings {
    let Some(retry) = retry else { return Settings::default() };
    let backoff = retry.backoff.as_deref();
    let budget = retry.budget.as_ref().map(|budget| {
        budget.as_ref().map(|budget| RetryBudget {
            percent: budget.percent.as_deref().copied().unwrap_or(20),
            min: budget.min.as_deref().copied().unwrap_or(3),
        })
    });
    Settings::default()
        .written(Settings::PER_TRY, retry.per_try.as_ref())
        .written(Settings::RETRY_ATTEMPTS, retry.attempts.as_ref())
        .written(Settings::RETRY_ON, list(retry.on.as_deref(), retry.span).as_ref())
        .written(Settings::RETRY_METHODS, list(retry.methods.as_deref(), retry.span).as_ref())
        .written(Settings::RETRY_BUDGET, budget.as_ref())
        .written(Settings::BACKOFF_BASE, backoff.and_then(|backoff| backoff.base.as_ref()))
        .written(Settings::BACKOFF_MAX, backoff.and_then(|backoff| backoff.max.as_ref()))
}

/// A list that may be left out, with the place of its items; with that of its block if there are none.
pub(super) fn list<T: Clone>(written: Option<&[Spanned<T>]>, block: Span) -> Option<Spanned<Vec<T>>> {
    let written = written?;
    let span = match (written.first(), written.last()) {
        (Some(first), Some(last)) => first.span.to(last.span),
        _ => block,
    };
    Some(Spanned::new(written.iter().map(|item| item.value.clone()).collect(), span))
}

/// Every method that is sent again where a dialect does not ask which are safe to repeat.
pub(super) fn every_method() -> Vec<String> {
    ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"].map(str::to_owned).to_vec()
}

/// Adds header edits; names become lower case.
pub(super) fn edit<'a>(
    edits: &mut HeaderEdits,
    set: impl Iterator<Item = (&'a str, &'a str)>,
    add: impl Iterator<Item = (&'a str, &'a str)>,
    remove: impl Iterator<Item = &'a str>,
) {
    let pair = |(name, value): (&str, &str)| (name.to_ascii_lowercase(), value.to_owned());
    edits.set.extend(set.map(pair));
    edits.add.extend(add.map(pair));
    edits.remove.extend(remove.map(str::to_ascii_lowercase));
}

/// Reports edits of headers that the proxies themselves need. Whether names and values are legal was checked while
/// reading.
pub(super) fn check_edits(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    span: Span,
    edits: &HeaderEdits,
) {
    let names = edits.set.iter().chain(&edits.add).map(|(name, _)| name).chain(&edits.remove);
    for name in names.filter(|name| FRAMING.contains(&name.as_str())) {
        let message = format!("`{name}` belongs to the framing of messages and cannot be edited");
        context.report(Diagnostic::error(INVALID_VALUE, message).object(document.object()).at(span));
    }
}

/// The certificates in a text in PEM: base64 of one DER certificate each, sorted, each once. None if there is none, or one is
/// broken.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<String>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.ok().filter(|found| !found.is_empty())?;
    let mut encoded: Vec<String> = found.iter().map(|der| BASE64.encode(der)).collect();
    encoded.sort();
    encoded.dedup();
    Some(encoded)
}

/// The annotation `weft.dev/priority`, which breaks ties between routes.
pub(super) fn priority(context: &mut Context<'_>, document: &ParsedDocument) -> Option<i64> {
    let text: &Spanned<String> = document.metadata.annotation("weft.dev/priority")?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let finding = Diagnostic::error(INVALID_VALUE, format!("`{text}` is not a whole number"))
            .object(document.object())
            .at(text.span)
            .help("write a number in quotes, such as `weft.dev/priority: \"10\"`; higher wins");
        context.report(finding);
    }
    parsed
}
