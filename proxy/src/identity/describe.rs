//! Certificates for people: whose they are, by whom, and for how long. Never a key.

use data_encoding::{BASE64, HEXLOWER};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weft_bundle::release::Digest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Identity;
use super::leaf::Leaf;

/// Our certificate, and those that prove it.
pub(crate) fn identity(identity: &Identity) -> Value {
    let chain: Vec<Value> = identity.key.cert.iter().map(certificate).collect();
    json!({"spiffe_id": identity.id, "not_after": moment(identity.not_after), "chain": chain})
}

/// Trust anchors, base64 of one DER certificate each.
pub(crate) fn anchors(anchors: &[String]) -> Value {
    let decode =
        |text: &String| Some(certificate(&CertificateDer::from(BASE64.decode(text.as_bytes()).ok()?)));
    anchors.iter().filter_map(decode).collect()
}

fn certificate(der: &CertificateDer<'_>) -> Value {
    let digest = HEXLOWER.encode(Digest::of(der).as_bytes());
    // What runs was read before, so that this never fails.
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return json!({"sha256": digest}) };
    let validity = parsed.validity();
    let mut shown = json!({
        "subject": parsed.subject().to_string(),
        "issuer": parsed.issuer().to_string(),
        "serial": parsed.raw_serial_as_string(),
        "not_before": moment(validity.not_before.timestamp()),
        "not_after": moment(validity.not_after.timestamp()),
        "sha256": digest,
    });
    if let (Ok(leaf), Some(fields)) = (Leaf::read(der), shown.as_object_mut()) {
        fields.insert("spiffe_id".to_owned(), json!(leaf.id));
    }
    shown
}

/// A time in seconds since the epoch, as people read it.
fn moment(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}
