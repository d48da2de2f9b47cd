//! # What it finds
//! A token provider whose pinned key set has no key with which a token can be verified: it is empty, or every key says that it
//! is over (`exp`, or the certificate in `x5c`) on the day that is given from outside. Keys that say nothing of an end
//! have none.
//!
//! # Why it matters
//! Every request that carries a token of this issuer is answered with 401. Key sets are pinned in the repository, so nobody
//! fetches new keys unseen, and nobody fetches them at all if not by a change.
//!
//! # Example
//! ```yaml
//! kind: TokenProvider
//! spec: { issuer: https://accounts.example, jwks: { file: keys.json } }     # each key with `"exp": 1700000000`
//! ```
//!
//! # Fix
//! Fetch the issuer's present key set, look at it, and commit it.
//!
//! # References
//! RFC 7517, sections 4.7 and 5; OpenID Federation 1.0, section 8.7.2 (`exp` of a key).

use data_encoding::BASE64;
use serde_json::Value;
use time::{Date, OffsetDateTime};
use x509_parser::parse_x509_certificate;

use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, TokenPolicy};

/// One finding per provider.
pub fn run_on(mesh: &Mesh, today: Date) -> Vec<Diagnostic> {
    let providers =
        mesh.tokens.iter().flat_map(|policy| policy.providers.iter().map(move |(_, p)| (policy, p)));
    providers
        .filter_map(|(policy, provider)| report(policy, &provider.issuer, &provider.jwks, today))
        .collect()
}

fn report(policy: &TokenPolicy, issuer: &str, jwks: &str, today: Date) -> Option<Diagnostic> {
    // A text that is no key set was reported while reading.
    let set: Value = serde_json::from_str(jwks).ok()?;
    let keys = set.get("keys")?.as_array()?;
    let ends: Option<Vec<Date>> = keys.iter().map(last_day).collect();
    let why = match ends?.into_iter().max() {
        None => "it is empty".to_owned(),
        Some(last) if last < today => format!("its last key was over on {last}"),
        Some(_) => return None,
    };
    let finding = Diagnostic::warning(
        "expired-key-set",
        format!("no token of `{issuer}` can be verified with its key set: {why}"),
    )
    .object(policy.at.origin.object.clone())
    .at(policy.at.span)
    .label("every request with such a token gets 401")
    .help("fetch the present key set of the issuer, look at it, and commit it");
    Some(finding)
}

/// The last day of a key; none if it says nothing of one.
fn last_day(key: &Value) -> Option<Date> {
    let own =
        key.get("exp").and_then(Value::as_i64).and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let certified = || {
        let first = key.get("x5c")?.as_array()?.first()?.as_str()?;
        let der = BASE64.decode(first.as_bytes()).ok()?;
        let (_, certificate) = parse_x509_certificate(&der).ok()?;
        Some(certificate.validity().not_after.to_datetime())
    };
    own.or_else(certified).map(OffsetDateTime::date)
}
