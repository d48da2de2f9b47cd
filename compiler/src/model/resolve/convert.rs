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
    Settings {
        request: timeouts.request.as_deref().copied(),
        per_try: timeouts.per_try.as_deref().copied(),
        idle: timeouts.idle.as_deref().copied(),
        connect: timeouts.connect.as_deref().copied(),
        pool_idle: timeouts.pool_idle.as_deref().copied(),
        ..Settings::default()
    }
}

/// The settings that a Weft `retry` makes.
pub(super) fn retry(retry: Option<&Retry>) -> Settings {
    let Some(retry) = retry else { return Settings::default() };
    let backoff = retry.backoff.as_deref();
    Settings {
        per_try: retry.per_try.as_deref().copied(),
        retry_attempts: retry.attempts.as_deref().copied(),
        retry_on: retry.on.as_ref().map(|on| on.iter().map(|on| on.value).collect()),
        retry_methods: retry
            .methods
            .as_ref()
            .map(|methods| methods.iter().map(|m| m.value.clone()).collect()),
        retry_budget: retry.budget.as_deref().map(|budget| RetryBudget {
            percent: budget.percent.as_deref().copied().unwrap_or(20),
            min: budget.min.as_deref().copied().unwrap_or(3),
        }),
        backoff_base: backoff.and_then(|backoff| backoff.base.as_deref().copied()),
        backoff_max: backoff.and_then(|backoff| backoff.max.as_deref().copied()),
        ..Settings::default()
    }
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
