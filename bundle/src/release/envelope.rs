//! DSSE envelopes (secure-systems-lab/dsse, protocol 1.0.2): a payload, its type, and signatures over both.
//!
//! The payload can only be had from [`Envelope::verify`], once enough keys have signed it; and it is decoded once, so the
//! bytes that were checked are the bytes that are used. Key ids are hints: a missing or wrong one changes nothing.

use std::collections::BTreeSet;
use std::fmt;

use data_encoding::{BASE64, BASE64URL};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::key::{KeyId, PublicKey, Signer};
use crate::json::{self, JsonError};

/// The most signatures that are looked at.
pub const MAX_SIGNATURES: usize = 16;

/// What a payload claims to be. The exact text is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadType {
    /// Keys and thresholds.
    Root,
    /// What is current in a channel.
    Timestamp,
    /// A release, as an in-toto Statement.
    Release,
    /// Identities no longer trusted.
    Denylist,
}

impl PayloadType {
    /// The media type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "application/vnd.weft.root.v1+json",
            Self::Timestamp => "application/vnd.weft.timestamp.v1+json",
            Self::Release => "application/vnd.in-toto+json",
            Self::Denylist => "application/vnd.weft.denylist.v1+json",
        }
    }

    /// The type with this media type.
    pub fn from_media_type(text: &str) -> Option<Self> {
        [Self::Root, Self::Timestamp, Self::Release, Self::Denylist].into_iter().find(|t| t.as_str() == text)
    }
}

/// A payload with signatures that have not been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    key_id: String,
    bytes: Vec<u8>,
}

/// Why bytes are not an envelope that we look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Not the JSON of an envelope.
    Json(JsonError),
    /// The payload or a signature is not base64.
    Base64,
    /// More signatures than [`MAX_SIGNATURES`].
    TooManySignatures,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Base64 => f.write_str("the payload or a signature is not base64"),
            Self::TooManySignatures => write!(f, "more than {MAX_SIGNATURES} signatures"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

/// Why an envelope does not speak for a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// Another payload type than the one that belongs here.
    PayloadType {
        /// The type it names.
        found: String,
    },
    /// Fewer of the role's keys signed it than must.
    Threshold {
        /// How many must.
        needed: usize,
        /// How many did: distinct keys, not signatures.
        valid: usize,
        /// The key ids that the signatures name, in their order. Not to be believed.
        seen: Vec<String>,
    },
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    /// Every [`EnvelopeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        json::from_slice::<Wire>(bytes).map_err(EnvelopeError::Json)?.try_into()
    }

    /// The envelope in canonical form.
    pub fn encode(&self) -> Vec<u8> {
        json::to_canonical(&Wire::from(self.clone())).expect("texts and lists have a canonical form")
    }

    /// Signs a payload with each of the signers, in their order.
    ///
    /// # Errors
    /// What a signer said.
    pub fn sign(
        payload_type: PayloadType,
        payload: Vec<u8>,
        signers: &[&dyn Signer],
    ) -> Result<Self, String> {
        let mut envelope =
            Self { payload_type: payload_type.as_str().to_owned(), payload, signatures: Vec::new() };
        for signer in signers {
            envelope.add_signature(*signer)?;
        }
        Ok(envelope)
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// What the signer said.
    pub fn add_signature(&mut self, signer: &dyn Signer) -> Result<(), String> {
        let bytes = signer.sign(&pae(&self.payload_type, &self.payload))?;
        self.signatures.push(Signature { key_id: signer.public_key().id().to_string(), bytes });
        Ok(())
    }

    /// The payload, if it is of this type and at least `threshold` of `keys` signed it.
    ///
    /// # Errors
    /// Every [`VerifyError`].
    pub fn verify<'k>(
        &self,
        payload_type: PayloadType,
        keys: impl IntoIterator<Item = &'k PublicKey>,
        threshold: usize,
    ) -> Result<&[u8], VerifyError> {
        if self.payload_type != payload_type.as_str() {
            return Err(VerifyError::PayloadType { found: self.payload_type.clone() });
        }
        let message = pae(&self.payload_type, &self.payload);
        let keys: Vec<&PublicKey> = keys.into_iter().collect();
        let mut signed_by: BTreeSet<KeyId> = BTreeSet::new();
        for signature in &self.signatures {
            let hinted = signature.key_id.parse::<KeyId>().ok();
            // The hinted key first; then the others, because a hint may be missing or wrong.
            let (first, others): (Vec<&PublicKey>, Vec<&PublicKey>) =
                keys.iter().copied().partition(|key| Some(key.id()) == hinted);
            let signer = first.into_iter().chain(others).find(|key| key.verifies(&message, &signature.bytes));
            // A set, so that two signatures by one key count once (CVE-2026-6966).
            signed_by.extend(signer.map(|key| key.id()));
        }
        // A threshold of nought would trust anyone; roots that hold one are refused, and so is a caller's mistake.
        if threshold == 0 || signed_by.len() < threshold {
            let seen = self.key_ids().map(str::to_owned).collect();
            return Err(VerifyError::Threshold { needed: threshold, valid: signed_by.len(), seen });
        }
        Ok(&self.payload)
    }

    /// The digest of the payload. Says nothing about who signed it.
    pub fn payload_digest(&self) -> Digest {
        Digest::of(&self.payload)
    }

    /// The payload as it came, for showing to people. Nothing may be decided by it.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload type as it came.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The key ids that the signatures name, in their order; empty where one names none.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.key_id.as_str())
    }
}

/// Pre-authentication encoding: what is signed.
/// `"DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload`, lengths in decimal.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// The envelope as it stands in JSON. Unknown fields are allowed, as DSSE asks.
#[derive(Serialize, Deserialize)]
struct Wire {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyid: String,
    sig: String,
}

impl TryFrom<Wire> for Envelope {
    type Error = EnvelopeError;

    fn try_from(wire: Wire) -> Result<Self, EnvelopeError> {
        if wire.signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeError::TooManySignatures);
        }
        let signature = |s: WireSignature| Ok(Signature { key_id: s.keyid, bytes: decode_base64(&s.sig)? });
        Ok(Self {
            payload: decode_base64(&wire.payload)?,
            payload_type: wire.payload_type,
            signatures: wire.signatures.into_iter().map(signature).collect::<Result<_, _>>()?,
        })
    }
}

impl From<Envelope> for Wire {
    fn from(envelope: Envelope) -> Self {
        let signature = |s: Signature| WireSignature { keyid: s.key_id, sig: BASE64.encode(&s.bytes) };
        Self {
            payload: BASE64.encode(&envelope.payload),
            payload_type: envelope.payload_type,
            signatures: envelope.signatures.into_iter().map(signature).collect(),
        }
    }
}

/// DSSE: "either standard or URL-safe encoding is allowed"; never both in one text.
fn decode_base64(text: &str) -> Result<Vec<u8>, EnvelopeError> {
    BASE64
        .decode(text.as_bytes())
        .or_else(|_| BASE64URL.decode(text.as_bytes()))
        .map_err(|_| EnvelopeError::Base64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::key::SigningKey;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32]).unwrap()
    }

    fn sign(keys: &[&dyn Signer]) -> Envelope {
        Envelope::sign(PayloadType::Root, b"{\"a\":\"\xc3\xbf>?\"}".to_vec(), keys).unwrap()
    }

    #[test]
    fn pae_is_exact() {
        // The example of the DSSE specification.
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        // Lengths are of bytes, not of characters.
        assert_eq!(pae("é", "é€".as_bytes()), "DSSEv1 2 é 5 é€".as_bytes());
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    }

    #[test]
    fn an_envelope_reads_back_in_both_base64_alphabets() {
        let envelope = sign(&[&key(1)]);
        let bytes = envelope.encode();
        assert_eq!(Envelope::decode(&bytes).unwrap(), envelope);
        let text = String::from_utf8(bytes).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["payload"] = value["payload"].as_str().unwrap().replace('+', "-").replace('/', "_").into();
        value["extra"] = 1.into();
        let sig = value["signatures"][0]["sig"].as_str().unwrap().replace('+', "-").replace('/', "_");
        value["signatures"][0]["sig"] = sig.into();
        let url_safe = Envelope::decode(value.to_string().as_bytes()).unwrap();
        assert_eq!(url_safe, envelope);
        assert!(url_safe.verify(PayloadType::Root, [key(1).public()], 1).is_ok());
    }

    #[test]
    fn distinct_keys_are_counted_not_signatures() {
        let (a, b) = (key(1), key(2));
        let keys = [a.public(), b.public()];
        let mut twice = sign(&[&a, &a]);
        twice.signatures[1].key_id = b.public().id().to_string();
        assert_eq!(
            twice.verify(PayloadType::Root, keys, 2),
            Err(VerifyError::Threshold {
                needed: 2,
                valid: 1,
                seen: vec![a.public().id().to_string(), b.public().id().to_string()]
            })
        );
        assert!(sign(&[&a, &b]).verify(PayloadType::Root, keys, 2).is_ok());
        assert!(sign(&[&a]).verify(PayloadType::Root, keys, 0).is_err());
    }

    #[test]
    fn key_ids_are_only_hints() {
        let (a, b) = (key(1), key(2));
        for hint in ["", "nonsense", &b.public().id().to_string()] {
            let mut envelope = sign(&[&a]);
            envelope.signatures[0].key_id = hint.to_owned();
            let decoded = Envelope::decode(&envelope.encode()).unwrap();
            assert!(decoded.verify(PayloadType::Root, [a.public(), b.public()], 1).is_ok(), "{hint}");
            assert!(decoded.verify(PayloadType::Root, [b.public()], 1).is_err(), "{hint}");
        }
    }

    #[test]
    fn another_type_of_payload_is_refused() {
        let a = key(1);
        assert_eq!(
            sign(&[&a]).verify(PayloadType::Timestamp, [a.public()], 1),
            Err(VerifyError::PayloadType { found: PayloadType::Root.as_str().to_owned() })
        );
        // Renaming the type does not help: it is part of what is signed.
        let mut renamed = sign(&[&a]);
        renamed.payload_type = PayloadType::Timestamp.as_str().to_owned();
        assert!(matches!(
            renamed.verify(PayloadType::Timestamp, [a.public()], 1),
            Err(VerifyError::Threshold { valid: 0, .. })
        ));
    }

    #[test]
    fn envelopes_have_at_most_16_signatures() {
        let a = key(1);
        let many = |n: usize| sign(&vec![&a as &dyn Signer; n]).encode();
        assert!(Envelope::decode(&many(16)).is_ok());
        assert_eq!(Envelope::decode(&many(17)), Err(EnvelopeError::TooManySignatures));
    }

    #[test]
    fn sloppy_base64_is_refused() {
        for text in ["YQ", "YR==", "YQ==\n", "Y Q==", "+-AA", "YQ===", "Y*=="] {
            let json =
                format!(r#"{{"payload":"{}","payloadType":"t","signatures":[]}}"#, text.escape_default());
            assert_eq!(Envelope::decode(json.as_bytes()), Err(EnvelopeError::Base64), "{text}");
        }
    }
}
