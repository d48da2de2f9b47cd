//! Reading a token (RFC 7515, section 7.1): three parts in base64url without padding, the first two strict JSON objects.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::keys::Algorithm;
use super::{TokenFault, VerifiedToken};
use crate::body::TokenProvider;
use crate::engine::facts::{Token, texts};
use crate::json;

/// A token that could be read, and is not verified.
pub(super) struct Signed<'t> {
    pub(super) algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
    /// As it came.
    text: &'t str,
    /// What was signed.
    pub(super) message: &'t [u8],
    pub(super) signature: Vec<u8>,
    /// `nbf` and `exp`.
    times: [Option<f64>; 2],
}

impl<'t> Signed<'t> {
    /// Reads it. Nothing of what it says is believed.
    pub(super) fn read(token: &'t [u8]) -> Result<Self, TokenFault> {
        let text = std::str::from_utf8(token).map_err(|_| TokenFault::Malformed)?;
        let (message, signature) = text.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenFault::Malformed)?;
        let header = object(header)?;
        if header.contains_key("crit") {
            return Err(TokenFault::Critical);
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(TokenFault::Malformed),
        };
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(TokenFault::NoAlgorithm)?;
        let algorithm =
            Algorithm::named(algorithm).ok_or_else(|| TokenFault::Algorithm(algorithm.to_owned()))?;
        let claims = object(payload)?;
        let times = [time(&claims, "nbf")?, time(&claims, "exp")?];
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| TokenFault::Malformed)?;
        Ok(Self { algorithm, key_id, claims, text, message: message.as_bytes(), signature, times })
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `iss`; empty if it names none.
    pub(super) fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// `aud`.
    pub(super) fn audiences(&self) -> impl Iterator<Item = &str> {
        self.claims.get("aud").and_then(texts).into_iter().flatten()
    }

    /// The same, once a provider's key verified it.
    pub(super) fn verified(self, number: usize, provider: &TokenProvider) -> VerifiedToken {
        VerifiedToken {
            provider: number,
            text: self.text.to_owned(),
            token: Token::with_lists(self.claims, provider.space_delimited_claims.clone()),
            times: self.times,
        }
    }
}

fn object(part: &str) -> Result<Map<String, Value>, TokenFault> {
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenFault::Malformed)?;
    json::foreign_object(&bytes).map_err(|_| TokenFault::Malformed)
}

fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(TokenFault::Time(name)),
    }
}
