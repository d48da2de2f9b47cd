//! JSON Web Key Sets (RFC 7517) that verify tokens, as they are pinned in the repository.
//!
//! A set holds public keys only: whoever reads a bundle reads them. Of a key for something else than signatures
//! (`use: enc`) nothing is asked, as nothing is verified with it.

use std::collections::BTreeSet;
use std::fmt;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use weft_bundle::json;

/// What may be wrong with a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksError {
    /// It is not JSON, or not of the form `{"keys": [...]}`.
    Shape(String),
    /// It has no key that verifies anything.
    Empty,
    /// Two keys of one id.
    KeyId(String),
    /// A key by its place, and what is wrong with it.
    Key(usize, &'static str),
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(why) => write!(f, "it is not a JSON Web Key Set: {why}"),
            Self::Empty => {
                f.write_str("it has no key that verifies signatures, so it would refuse every token")
            }
            Self::KeyId(id) => write!(f, "two keys have the id `{id}`"),
            Self::Key(place, why) => write!(f, "keys[{place}] {why}"),
        }
    }
}

/// A key set that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// As canonical JSON.
    pub text: String,
    /// When the last certificate of its keys ends, in seconds since 1970; none if a key has none, and so no end.
    pub expires: Option<i64>,
}

impl KeySet {
    /// Reads and checks a key set.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, JwksError> {
        let value: Value = json::from_slice(text).map_err(|error| JwksError::Shape(error.to_string()))?;
        let keys = value.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| JwksError::Shape("it has no list `keys`".to_owned()))?;
        let mut ids = BTreeSet::new();
        let mut ends = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let wrong = |why| JwksError::Key(place, why);
            let key = key.as_object().ok_or_else(|| wrong("is not an object"))?;
            if PRIVATE.iter().any(|name| key.contains_key(*name)) {
                return Err(wrong("holds a private key, which must not be in a repository"));
            }
            if let Some(id) = key.get("kid") {
                let id = id.as_str().ok_or_else(|| wrong("has a `kid` that is not a text"))?;
                if !ids.insert(id) {
                    return Err(JwksError::KeyId(id.to_owned()));
                }
            }
            if verifies(key) {
                check_key(key).map_err(wrong)?;
                ends.push(certificate_end(key).map_err(wrong)?);
            }
        }
        if ends.is_empty() {
            return Err(JwksError::Empty);
        }
        let expires = ends.into_iter().collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max());
        let text = json::to_canonical(&value).map_err(|error| JwksError::Shape(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|_| JwksError::Shape("it is not UTF-8".to_owned()))?;
        Ok(Self { text, expires })
    }
}

/// Members that only private keys have (RFC 7518, sections 6.2.2 and 6.3.2), and that of shared secrets.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fn text<'k>(key: &'k Map<String, Value>, name: &str) -> Option<&'k str> {
    key.get(name).and_then(Value::as_str)
}

/// Whether it is for signatures, as far as it says.
fn verifies(key: &Map<String, Value>) -> bool {
    let for_another_use = text(key, "use").is_some_and(|usage| usage != "sig");
    let operations = key.get("key_ops").and_then(Value::as_array);
    let never_verifies = operations.is_some_and(|list| list.iter().all(|operation| operation != "verify"));
    !for_another_use && !never_verifies
}

fn check_key(key: &Map<String, Value>) -> Result<(), &'static str> {
    let kind = text(key, "kty").ok_or("has no `kty`")?;
    let bytes = |name| text(key, name).and_then(|value| BASE64URL_NOPAD.decode(value.as_bytes()).ok());
    let algorithms: &[&str] = match (kind, text(key, "crv")) {
        ("RSA", _) => {
            let modulus = bytes("n").ok_or("has no `n` in base64url")?;
            bytes("e").filter(|exponent| !exponent.is_empty()).ok_or("has no `e` in base64url")?;
            let bits = modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
            if !(2048..=8192).contains(&bits) {
                return Err("has a modulus that is not between 2048 and 8192 bits");
            }
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
        }
        ("EC", Some(curve)) => {
            let (length, algorithms): (usize, &[&str]) = match curve {
                "P-256" => (32, &["ES256"]),
                "P-384" => (48, &["ES384"]),
                "P-521" => (66, &["ES512"]),
                _ => return Err("has a curve other than P-256, P-384 and P-521"),
            };
            let fits = |name| bytes(name).is_some_and(|coordinate| coordinate.len() == length);
            if !fits("x") || !fits("y") {
                return Err("has no point of its curve in `x` and `y`");
            }
            algorithms
        }
        ("OKP", Some("Ed25519")) => {
            if bytes("x").is_none_or(|point| point.len() != 32) {
                return Err("has no point of its curve in `x`");
            }
            &["EdDSA", "Ed25519"]
        }
        ("OKP", _) => return Err("has a curve other than Ed25519"),
        ("EC", None) => return Err("has no `crv`"),
        ("oct", _) => return Err("is a shared secret, which anyone who verifies could sign with"),
        _ => return Err("has a `kty` other than RSA, EC and OKP"),
    };
    match key.get("alg") {
        None => Ok(()),
        Some(Value::String(algorithm)) if algorithms.contains(&algorithm.as_str()) => Ok(()),
        Some(_) => Err("has an `alg` that does not fit it"),
    }
}

/// When the key's own certificate ends; none if it has none.
fn certificate_end(key: &Map<String, Value>) -> Result<Option<i64>, &'static str> {
    let Some(chain) = key.get("x5c") else { return Ok(None) };
    let leaf = chain.as_array().and_then(|chain| chain.first()).and_then(Value::as_str);
    let der = leaf
        .and_then(|leaf| BASE64.decode(leaf.as_bytes()).ok())
        .ok_or("has an `x5c` without certificate")?;
    let (_, certificate) =
        x509_parser::parse_x509_certificate(&der).map_err(|_| "has an `x5c` without certificate")?;
    let end: OffsetDateTime = certificate.validity().not_after.to_datetime();
    Ok(Some(end.unix_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn parse(keys: &str) -> Result<KeySet, String> {
        KeySet::parse(format!("{{\"keys\":[{keys}]}}").as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn public_keys_are_taken_in_canonical_form() {
        let set = KeySet::parse(format!("{{ \"keys\" : [ {EC} ] }}").as_bytes()).unwrap();
        assert!(set.text.starts_with(r#"{"keys":[{"crv":"P-256","kty":"EC","x":"#), "{}", set.text);
        assert_eq!(set.expires, None);
        let rsa = format!(
            r#"{{"kty":"RSA","alg":"RS256","n":"{}","e":"AQAB","kid":"a"}}"#,
            BASE64URL_NOPAD.encode(&[255; 256])
        );
        let edwards = format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{}","kid":"b"}}"#,
            BASE64URL_NOPAD.encode(&[1; 32])
        );
        let encryption = r#"{"kty":"RSA","use":"enc","n":"x","e":"x"}"#;
        assert!(parse(&[EC, &rsa, &edwards, encryption].join(",")).is_ok());
    }

    #[test]
    fn what_must_not_be_in_a_key_set() {
        let changed = |from: &str, to: &str| parse(&EC.replace(from, to)).unwrap_err();
        assert_eq!(
            changed("\"crv\"", "\"d\":\"x\",\"crv\""),
            "keys[0] holds a private key, which must not be in a repository"
        );
        assert_eq!(changed("P-256", "secp256k1"), "keys[0] has a curve other than P-256, P-384 and P-521");
        assert_eq!(changed("f83OJ3D2", "f83OJ3D"), "keys[0] has no point of its curve in `x` and `y`");
        assert_eq!(
            changed("\"crv\"", "\"alg\":\"HS256\",\"crv\""),
            "keys[0] has an `alg` that does not fit it"
        );
        assert_eq!(changed("EC", "EK"), "keys[0] has a `kty` other than RSA, EC and OKP");
        let short = format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, BASE64URL_NOPAD.encode(&[255; 128]));
        assert_eq!(
            parse(&short).unwrap_err(),
            "keys[0] has a modulus that is not between 2048 and 8192 bits"
        );
        let named = EC.replace("\"crv\"", "\"kid\":\"a\",\"crv\"");
        assert_eq!(parse(&format!("{named},{named}")).unwrap_err(), "two keys have the id `a`");
        assert!(parse("").unwrap_err().contains("no key that verifies"));
        assert!(parse(r#"{"kty":"oct","k":"x"}"#).unwrap_err().contains("private key"));
        assert!(KeySet::parse(b"[]").is_err() && KeySet::parse(b"{\"keys\":[],\"keys\":[]}").is_err());
    }
}
