//! Tokens that a request brings, judged as [`weft_bundle::body::TokenProvider`] says: one that is there must be valid, or the
//! request is answered with 401; that there is none is for access rules to judge.
//!
//! A token is a signed JSON Web Token (RFC 7515, 7519) whose key is pinned in the repository, so nothing is asked of the
//! network. Its times are judged where the question says what time it is. Of a key set, every key is tried that fits the
//! token's `alg` and, where both name one, its `kid`.

mod passed;

use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};
use weft_bundle::body::{Body, Origin, TokenLocation, TokenProvider};
use weft_bundle::engine::{Request, Token};
use weft_bundle::json;

pub(super) use self::passed::Passed;

/// What is said of the tokens of a request.
#[derive(Clone, Debug)]
pub(super) enum Judged<'b> {
    /// Nobody here reads tokens.
    Unread,
    /// None came, and these issuers would be believed.
    Missing(Vec<&'b TokenProvider>),
    /// One came that is what it says.
    Valid(&'b TokenProvider, Bearer),
    /// One came that is refused, and why.
    Refused(&'b Origin, String),
}

/// A token that is what it says.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    /// What it claims.
    pub(super) claims: Token,
    /// As it came.
    text: String,
}

/// Judges the tokens of a request by some providers of a body. `now` is in seconds since 1970.
pub(super) fn judge<'b>(
    body: &'b Body,
    ids: &[String],
    request: &Request<'_>,
    now: Option<i64>,
) -> Judged<'b> {
    let providers: Vec<&TokenProvider> = ids.iter().filter_map(|id| body.token_providers.get(id)).collect();
    let Some(first) = providers.first() else { return Judged::Unread };
    let mut tokens: Vec<String> = Vec::new();
    for location in providers.iter().flat_map(|provider| &provider.locations) {
        for token in found(location, request) {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
    }
    let token = match tokens.as_slice() {
        [] => return Judged::Missing(providers),
        [token] => token,
        [_, _, ..] => {
            let why = "it brings several tokens, and nothing says which one counts";
            return Judged::Refused(&first.origin, why.to_owned());
        }
    };
    let parsed = match Parsed::of(token) {
        Ok(parsed) => parsed,
        Err(why) => return Judged::Refused(&first.origin, why.to_owned()),
    };
    let issuer = parsed.claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let reads = |provider: &&&TokenProvider| {
        provider.issuer == issuer
            && provider.locations.iter().flat_map(|location| found(location, request)).any(|t| t == *token)
    };
    let Some(provider) = providers.iter().find(reads) else {
        return Judged::Refused(&first.origin, format!("nobody here believes the issuer `{issuer}`"));
    };
    match parsed.verify(provider).and_then(|()| parsed.holds(provider, now)) {
        Ok(()) => {
            Judged::Valid(provider, Bearer { claims: Token::new(parsed.claims), text: token.to_owned() })
        }
        Err(why) => Judged::Refused(&provider.origin, why),
    }
}

/// The tokens at one place of a request.
fn found(location: &TokenLocation, request: &Request<'_>) -> Vec<String> {
    let values = |name: &str| {
        let values = request.headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect::<Vec<_>>()
    };
    let named = |text: &str, separator: char, name: &str| {
        let pairs = text.split(separator).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    match location {
        TokenLocation::Header { name, prefix } => {
            values(name).iter().filter_map(|value| text_of(value, prefix)).map(str::to_owned).collect()
        }
        TokenLocation::Query(name) => named(request.query.unwrap_or_default(), '&', name),
        TokenLocation::Cookie(name) => {
            values("cookie").iter().flat_map(|cookies| named(cookies, ';', name)).collect()
        }
    }
}

/// The token in a header field, after its prefix.
fn text_of<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    value.strip_prefix(prefix).map(str::trim)
}

/// A token that could be read, and is not verified.
struct Parsed<'t> {
    algorithm: String,
    key_id: Option<String>,
    claims: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

impl<'t> Parsed<'t> {
    fn of(token: &'t str) -> Result<Self, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or(NO_TOKEN)?;
        let (header, payload) = signed.split_once('.').ok_or(NO_TOKEN)?;
        let object = |part: &str| {
            let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
            json::foreign_object(&bytes).ok()
        };
        let header = object(header).ok_or(NO_TOKEN)?;
        if header.contains_key("crit") {
            return Err("it asks for extensions (`crit`), of which there are none");
        }
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            algorithm: text("alg").ok_or("it names no algorithm")?,
            key_id: text("kid"),
            claims: object(payload).ok_or(NO_TOKEN)?,
            signed,
            signature: BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| NO_TOKEN)?,
        })
    }

    /// Whether a key of the provider made the signature.
    fn verify(&self, provider: &TokenProvider) -> Result<(), String> {
        let edwards = EDWARDS.contains(&self.algorithm.as_str());
        if rsa(&self.algorithm).is_none() && elliptic(&self.algorithm).is_none() && !edwards {
            return Err(format!("nobody believes signatures of the algorithm `{}`", self.algorithm));
        }
        let set: Value = json::from_slice(provider.jwks.as_bytes()).unwrap_or_default();
        let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
        let fits = |key: &&Value| {
            let id = text(key, "kid");
            let same_id = id.is_none() || self.key_id.is_none() || id == self.key_id;
            same_id && text(key, "alg").is_none_or(|algorithm| algorithm == self.algorithm)
        };
        let mut fitting = keys.iter().filter(fits).peekable();
        if fitting.peek().is_none() {
            let id = self.key_id.as_ref().map(|id| format!(" and id `{id}`")).unwrap_or_default();
            return Err(format!("`{}` has no key for algorithm `{}`{id}", provider.issuer, self.algorithm));
        }
        match fitting.any(|key| self.made_by(key)) {
            true => Ok(()),
            false => Err("no key of its issuer made its signature".to_owned()),
        }
    }

    fn made_by(&self, key: &Value) -> bool {
        let bytes = |name: &str| {
            let text = key.get(name).and_then(Value::as_str).unwrap_or_default();
            BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default()
        };
        let is = |name: &str, wanted: &str| key.get(name).and_then(Value::as_str) == Some(wanted);
        let message = self.signed.as_bytes();
        if let Some(parameters) = rsa(&self.algorithm).filter(|_| is("kty", "RSA")) {
            let key = RsaPublicKeyComponents { n: bytes("n"), e: bytes("e") };
            return key.verify(parameters, message, &self.signature).is_ok();
        }
        if let Some((_, algorithm)) = elliptic(&self.algorithm).filter(|(curve, _)| is("crv", curve)) {
            let point = [&[4][..], &bytes("x"), &bytes("y")].concat();
            let key = UnparsedPublicKey::new(algorithm, point);
            return is("kty", "EC") && key.verify(message, &self.signature).is_ok();
        }
        let edwards = EDWARDS.contains(&self.algorithm.as_str()) && is("crv", "Ed25519");
        let key = UnparsedPublicKey::new(&signature::ED25519, bytes("x"));
        edwards && key.verify(message, &self.signature).is_ok()
    }

    /// Whether the claims hold: for whom it is, and when.
    fn holds(&self, provider: &TokenProvider, now: Option<i64>) -> Result<(), String> {
        let token = Token::new(self.claims.clone());
        let meant = |audience: &str| provider.audiences.iter().any(|own| own == audience);
        if !provider.audiences.is_empty() && !token.audiences().any(meant) {
            return Err("it is meant for another audience".to_owned());
        }
        let Some(now) = now else { return Ok(()) };
        let time = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(format!("its `{name}` is not a number")),
        };
        let now = now as f64;
        if time("exp")?.is_some_and(|end| end <= now) {
            return Err("it has expired".to_owned());
        }
        match time("nbf")?.is_some_and(|begin| begin > now) {
            true => Err("it is not valid yet".to_owned()),
            false => Ok(()),
        }
    }
}

/// The algorithms of Ed25519: the old name, and that of RFC 9864.
const EDWARDS: [&str; 2] = ["EdDSA", "Ed25519"];

const NO_TOKEN: &str = "it is not a JSON Web Token";

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// The curve of an algorithm, and how its signatures are verified: each algorithm has one curve (RFC 7518, section 3.4).
fn elliptic(algorithm: &str) -> Option<(&'static str, &'static EcdsaVerificationAlgorithm)> {
    Some(match algorithm {
        "ES256" => ("P-256", &signature::ECDSA_P256_SHA256_FIXED),
        "ES384" => ("P-384", &signature::ECDSA_P384_SHA384_FIXED),
        "ES512" => ("P-521", &signature::ECDSA_P521_SHA512_FIXED),
        _ => return None,
    })
}
