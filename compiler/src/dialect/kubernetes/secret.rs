//! Secrets, of which only certificates are read.
//!
//! A private key is never looked at: its value is not decoded, not kept and not part of any message. That is why a
//! Secret is read by hand, key by key, and not as a struct: a struct's reader would quote a value that it did not expect.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;

use super::CA_KEY;
use crate::diagnostic::Diagnostic;
use crate::yaml::tree::View;
use crate::yaml::{Document, INVALID_VALUE, NodeId, Span, Spanned};

/// The keys whose values are certificates.
const CERTIFICATES: [&str; 3] = [CA_KEY, ISTIO_CA_KEY, CERTIFICATE_KEY];

/// The key of certificates to believe in a Secret that Istio's older documents describe.
pub const ISTIO_CA_KEY: &str = "cacert";
/// The key of the certificate to present, in a Secret of type [`TLS_TYPE`].
pub const CERTIFICATE_KEY: &str = "tls.crt";
/// The key of the private key, which is never read.
pub const PRIVATE_KEY: &str = "tls.key";
/// The type of a Secret with a certificate and its key.
pub const TLS_TYPE: &str = "kubernetes.io/tls";

/// `v1 Secret`, without its secrets.
#[derive(Clone, Debug)]
pub struct Secret {
    /// `Opaque` if not set.
    pub kind: Option<Spanned<String>>,
    /// The certificates, in PEM, by key; the place is that of the key.
    pub certificates: BTreeMap<&'static str, Spanned<String>>,
    /// The names of all its keys.
    pub keys: BTreeSet<String>,
}

impl Secret {
    /// The certificates to believe, in PEM.
    pub fn anchors(&self) -> Option<&Spanned<String>> {
        self.certificates.get(CA_KEY).or_else(|| self.certificates.get(ISTIO_CA_KEY))
    }

    /// Whether it holds a certificate to present, and the key that belongs to it.
    pub fn is_server(&self) -> bool {
        [CERTIFICATE_KEY, PRIVATE_KEY].iter().all(|key| self.keys.contains(*key))
    }
}

/// Whether a Secret is a concern of a mesh: it has a certificate, or is for one. What SOPS has encrypted is not.
pub(in crate::dialect) fn concerns_us(document: &Document, node: NodeId) -> bool {
    let maps = || ["data", "stringData"].into_iter().filter_map(|field| document.get(node, field));
    let named = maps().any(|map| CERTIFICATES.iter().any(|key| document.get(map, key).is_some()));
    let kind = document.get(node, "type").and_then(|kind| document.text(kind));
    (named || kind == Some(TLS_TYPE)) && document.get(node, "sops").is_none()
}

/// The certificates of a Secret. What is not base64 is reported, and left out.
pub(in crate::dialect) fn read(
    document: &Document,
    node: NodeId,
    report: &mut impl FnMut(Diagnostic),
) -> Secret {
    let kind = document.get(node, "type");
    let kind = kind.and_then(|kind| Some(Spanned::new(document.text(kind)?.to_owned(), document.span(kind))));
    let mut secret = Secret { kind, certificates: BTreeMap::new(), keys: BTreeSet::new() };
    // `stringData` comes last, because it overrides.
    for (field, encoded) in [("data", true), ("stringData", false)] {
        let Some(map) = document.get(node, field) else { continue };
        let View::Mapping(entries) = document.view(map) else { continue };
        for (key, value) in entries {
            let Some(name) = document.text(*key) else { continue };
            secret.keys.insert(name.to_owned());
            let Some(name) = CERTIFICATES.into_iter().find(|known| *known == name) else { continue };
            let span = document.span(*key);
            let text = document.text(*value);
            let pem = if encoded { text.and_then(decoded) } else { text.map(str::to_owned) };
            match pem {
                Some(pem) => drop(secret.certificates.insert(name, Spanned::new(pem, span))),
                None => report(not_base64(name, span)),
            }
        }
    }
    secret
}

/// As Kubernetes reads it: line breaks do not count.
fn decoded(text: &str) -> Option<String> {
    let bytes: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    String::from_utf8(BASE64.decode(&bytes).ok()?).ok()
}

fn not_base64(key: &str, span: Span) -> Diagnostic {
    Diagnostic::error(INVALID_VALUE, format!("the value of `{key}` is not base64 of a text"))
        .at(span)
        .help("values of `data` are base64; write a certificate as it is under `stringData`")
}
