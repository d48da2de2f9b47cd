//! The keys of a pinned set (RFC 7517, 7518, 8037), each with the algorithms that it may have signed with.
//!
//! A key of an elliptic curve has one algorithm (RFC 7518, section 3.4), an RSA key those of its `alg`, or of its kind if it
//! names none. Shared secrets verify nothing: whoever reads a body could sign with them. Keys for something else (`use`,
//! `key_ops`) verify nothing either.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use crate::json;

/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    /// `EdDSA`, the old name, and `Ed25519`, that of RFC 9864.
    Ed25519,
}

impl Algorithm {
    const RSA: [Self; 6] = [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512];

    /// The algorithm of that name. Names are compared as they are (RFC 7515, section 4.1.1).
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" | "Ed25519" => Self::Ed25519,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ed25519 => "EdDSA",
        }
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::Es512 | Self::Ed25519 => return None,
        })
    }
}

/// A public key, read once.
#[derive(Debug)]
pub(super) struct PinnedKey {
    id: Option<String>,
    /// What it may have signed with, and how that is verified.
    algorithms: Vec<(Algorithm, ParsedPublicKey)>,
}

impl PinnedKey {
    /// The keys of a set that verify something; none if it is no set. A key that cannot be read verifies nothing.
    pub(super) fn of_set(text: &str) -> Option<Vec<Self>> {
        let set: Value = json::from_slice(text.as_bytes()).ok()?;
        let keys = set.get("keys")?.as_array()?;
        Some(keys.iter().filter_map(Value::as_object).filter_map(Self::read).collect())
    }

    fn read(key: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
        if !verifies(key) {
            return None;
        }
        let algorithms = match (text("kty")?, text("crv")) {
            ("RSA", _) => rsa(&bytes("n")?, &bytes("e")?),
            ("EC", Some(curve)) => {
                let (algorithm, how, length) = elliptic(curve)?;
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != length || y.len() != length {
                    return None;
                }
                let point = [&[4][..], &x, &y].concat();
                vec![(algorithm, ParsedPublicKey::new(how, point).ok()?)]
            }
            ("OKP", Some("Ed25519")) => {
                vec![(Algorithm::Ed25519, ParsedPublicKey::new(&signature::ED25519, bytes("x")?).ok()?)]
            }
            _ => return None,
        };
        let algorithms: Vec<_> = match key.get("alg") {
            None => algorithms,
            Some(pinned) => {
                let pinned = Algorithm::named(pinned.as_str()?)?;
                algorithms.into_iter().filter(|(algorithm, _)| *algorithm == pinned).collect()
            }
        };
        let id = text("kid").map(str::to_owned);
        (!algorithms.is_empty()).then_some(Self { id, algorithms })
    }

    /// Whether it may have signed with that algorithm, and is not another key than the one that is named.
    pub(super) fn fits(&self, algorithm: Algorithm, key_id: Option<&str>) -> bool {
        let same_id = self.id.is_none() || key_id.is_none() || self.id.as_deref() == key_id;
        same_id && self.algorithms.iter().any(|(own, _)| *own == algorithm)
    }

    /// Whether it made a signature.
    pub(super) fn made(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let mut ways = self.algorithms.iter().filter(|(own, _)| *own == algorithm);
        ways.any(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

/// Whether it is for signatures, as far as it says.
fn verifies(key: &Map<String, Value>) -> bool {
    let for_another_use = key.get("use").is_some_and(|usage| usage.as_str() != Some("sig"));
    let operations = key.get("key_ops").map(|list| list.as_array().map(Vec::as_slice).unwrap_or_default());
    let never_verifies = operations.is_some_and(|list| list.iter().all(|operation| operation != "verify"));
    !for_another_use && !never_verifies
}

fn rsa(n: &[u8], e: &[u8]) -> Vec<(Algorithm, ParsedPublicKey)> {
    let plain = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let components = RsaPublicKeyComponents { n: plain(n), e: plain(e) };
    let Ok(der) = components.as_der() else { return Vec::new() };
    let ways = Algorithm::RSA.into_iter().filter_map(|algorithm| {
        Some((algorithm, ParsedPublicKey::new(algorithm.rsa()?, der.as_ref()).ok()?))
    });
    ways.collect()
}

/// The algorithm of a curve, how its signatures are verified, and how long its coordinates are.
fn elliptic(curve: &str) -> Option<(Algorithm, &'static EcdsaVerificationAlgorithm, usize)> {
    Some(match curve {
        "P-256" => (Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, 48),
        "P-521" => (Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED, 66),
        _ => return None,
    })
}
