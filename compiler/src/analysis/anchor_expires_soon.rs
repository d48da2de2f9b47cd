//! # What it finds
//! A trust anchor of the mesh, or of a domain that it trusts, whose certificate is over within thirty days, or already. The day
//! is given from outside; without one, nothing is said.
//!
//! # Why it matters
//! From that day on no peer of its trust domain is believed: every call between services fails at once. A new anchor must
//! be in every proxy's bundle *before* certificates are issued under it, so there is less time than it seems.
//!
//! # Example
//! ```yaml
//! kind: Mesh
//! spec: { trustAnchors: [ { file: ca/root.pem } ] }      # not after 2026-12-12
//! ```
//!
//! # Fix
//! Add the new anchor beside the old one and publish; then issue certificates under it; then remove the old one.
//!
//! # References
//! RFC 5280, section 4.1.2.5 (validity); SPIFFE Trust Domain and Bundle, section 4 (rotation).

use data_encoding::BASE64;
use time::Date;
use x509_parser::parse_x509_certificate;

use crate::diagnostic::Diagnostic;
use crate::model::Mesh;

/// How many days before its end an anchor is named.
const DAYS: i64 = 30;

/// One finding per anchor.
pub fn run_on(mesh: &Mesh, today: Date) -> Vec<Diagnostic> {
    let anchors =
        mesh.trust_anchors.iter().flat_map(|(domain, own)| own.iter().map(move |anchor| (domain, anchor)));
    let ending = anchors.filter_map(|(domain, anchor)| Some((domain.to_string(), last_day(anchor)?)));
    ending.filter_map(|(domain, last)| report(mesh, &domain, last, today)).collect()
}

/// The last day on which a certificate holds; none if it cannot be read, which was reported while reading it.
fn last_day(anchor: &str) -> Option<Date> {
    let der = BASE64.decode(anchor.as_bytes()).ok()?;
    let (_, certificate) = parse_x509_certificate(&der).ok()?;
    Some(certificate.validity().not_after.to_datetime().date())
}

fn report(mesh: &Mesh, domain: &str, last: Date, today: Date) -> Option<Diagnostic> {
    let left = (last - today).whole_days();
    let when = match left {
        days if days > DAYS => return None,
        days if days < 0 => format!("expired on {last}"),
        0 => "expires today".to_owned(),
        1 => format!("expires tomorrow, on {last}"),
        days => format!("expires in {days} days, on {last}"),
    };
    let finding = Diagnostic::warning("anchor-expires-soon", format!("a trust anchor of `{domain}` {when}"))
        .object(mesh.at.origin.object.clone())
        .at(mesh.at.span)
        .with_note("from then on nobody of that trust domain is believed")
        .help("add the new anchor beside it and publish, before any certificate is issued under the new one");
    Some(finding)
}
