//! Signing keys: Ed25519 from files, ECDSA P-256 from whatever keeps it (a KMS, an HSM, cosign).
//!
//! A key's id is the SHA-256 of its SubjectPublicKeyInfo in DER. Only the one encoding of each key that RFC 8410 and RFC
//! 5480 give (named curve, uncompressed point) is read, so two ids are always two keys.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The id of a public key: SHA-256 of its SubjectPublicKeyInfo in DER.
pub type KeyId = Digest;

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032). Deterministic: the same payload gives the same signature.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// ECDSA on P-256 with SHA-256; signatures in DER.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
}

/// A public key that was read from its one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    algorithm: Algorithm,
    spki: Vec<u8>,
}

/// Why some bytes are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not the SubjectPublicKeyInfo of an Ed25519 or P-256 key, in its plain encoding.
    PublicKey,
    /// Not a PEM file with exactly one `PRIVATE KEY` block.
    Pem,
    /// Not an unencrypted PKCS#8 Ed25519 key.
    PrivateKey,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PublicKey => "not the public key of Ed25519 or ECDSA P-256 in its plain encoding",
            Self::Pem => "not a PEM file with one `PRIVATE KEY` block",
            Self::PrivateKey => "not an unencrypted Ed25519 private key in PKCS#8",
        })
    }
}

impl std::error::Error for KeyError {}

/// Something that signs messages for one public key.
pub trait Signer {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// The signature of `message`, in the encoding of the key's [`Algorithm`].
    ///
    /// # Errors
    /// What the keeper of the key said.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// An Ed25519 private key in memory.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    /// Shows the public half only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id)
    }
}

/// SubjectPublicKeyInfo of RFC 8410 up to the 32 bytes of the key.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// SubjectPublicKeyInfo of RFC 5480 for the named curve P-256, up to and with the tag of an uncompressed point; the 64
/// bytes of the point follow.
const P256_SPKI: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// OneAsymmetricKey of RFC 8410, version 1, up to the 32 bytes of the seed.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] for any other kind of key and any other encoding.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let algorithm = match (spki.strip_prefix(&ED25519_SPKI), spki.strip_prefix(&P256_SPKI)) {
            (Some(key), _) if key.len() == 32 => Algorithm::Ed25519,
            (_, Some(point)) if point.len() == 64 => Algorithm::EcdsaP256Sha256,
            _ => return Err(KeyError::PublicKey),
        };
        Ok(Self { id: Digest::of(spki), algorithm, spki: spki.to_vec() })
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Whether `signature` is this key's signature of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, start): (&dyn aws_lc_rs::signature::VerificationAlgorithm, _) = match self.algorithm {
            Algorithm::Ed25519 => (&ED25519, ED25519_SPKI.len()),
            // The point is what follows the bit string's count of unused bits; its tag 0x04 belongs to it.
            Algorithm::EcdsaP256Sha256 => (&ECDSA_P256_SHA256_ASN1, P256_SPKI.len() - 1),
        };
        let key = self.spki.get(start..).unwrap_or_default();
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
    }
}

impl SigningKey {
    /// The key of a seed of 32 bytes, which must come from a good source of randomness.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] if the cryptographic library refuses it.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::PrivateKey)?;
        let mut spki = ED25519_SPKI.to_vec();
        spki.extend_from_slice(pair.public_key().as_ref());
        Ok(Self { pair, seed: *seed, public: PublicKey::from_spki(&spki)? })
    }

    /// Reads a PEM file with one `PRIVATE KEY` block, as `weft key new` and `openssl genpkey -algorithm ed25519` write it.
    ///
    /// # Errors
    /// * [`KeyError::Pem`] if there is no such block, or more than one.
    /// * [`KeyError::PrivateKey`] if it is not an Ed25519 key in PKCS#8.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (_, rest) = text.split_once("-----BEGIN PRIVATE KEY-----").ok_or(KeyError::Pem)?;
        let (body, after) = rest.split_once("-----END PRIVATE KEY-----").ok_or(KeyError::Pem)?;
        if after.contains("-----BEGIN") {
            return Err(KeyError::Pem);
        }
        let body: String = body.split_ascii_whitespace().collect();
        let der = BASE64.decode(body.as_bytes()).map_err(|_| KeyError::Pem)?;
        let seed = der.strip_prefix(&ED25519_PKCS8).ok_or(KeyError::PrivateKey)?;
        Self::from_seed(seed.try_into().map_err(|_| KeyError::PrivateKey)?)
    }

    /// The private key as a PEM file. Keep it to its owner.
    pub fn to_pem(&self) -> String {
        let der = [ED25519_PKCS8.as_slice(), &self.seed].concat();
        // 48 bytes are one line of 64 characters.
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64.encode(&der))
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl Signer for SigningKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    use super::*;

    #[test]
    fn a_key_file_reads_back() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let pem = key.to_pem();
        assert_eq!(SigningKey::from_pem(&pem).unwrap().public(), key.public());
        assert!(!format!("{key:?}").contains(&BASE64.encode(&[7; 30])));
        assert_eq!(SigningKey::from_pem("").unwrap_err(), KeyError::Pem);
        assert_eq!(SigningKey::from_pem(&pem.repeat(2)).unwrap_err(), KeyError::Pem);
        assert_eq!(SigningKey::from_pem(&pem.replace("MC4", "MC5")).unwrap_err(), KeyError::PrivateKey);
        assert!(Ed25519KeyPair::from_pkcs8(&[ED25519_PKCS8.as_slice(), &[7; 32]].concat()).is_ok());
    }

    #[test]
    fn ed25519_signs_as_in_rfc_8032() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::from_seed(&seed.try_into().unwrap()).unwrap();
        let signature = key.sign(&[0x72]).unwrap();
        assert_eq!(
            signature,
            hex(concat!(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ))
        );
        assert!(key.public().verifies(&[0x72], &signature));
        assert!(!key.public().verifies(&[0x73], &signature));
    }

    #[test]
    fn p256_verifies_der_signatures() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        let key = PublicKey::from_spki(spki.as_ref()).unwrap();
        assert_eq!(key.algorithm(), Algorithm::EcdsaP256Sha256);
        let signature = pair.sign(&SystemRandom::new(), b"text").unwrap();
        assert!(key.verifies(b"text", signature.as_ref()));
        assert!(!key.verifies(b"texts", signature.as_ref()));
        assert!(!key.verifies(b"text", &signature.as_ref()[1..]));
    }

    #[test]
    fn other_encodings_of_a_key_are_refused() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let spki = key.public().spki();
        assert!(PublicKey::from_spki(spki).is_ok());
        for wrong in [&spki[1..], &spki[..43], &[spki, &[0]].concat(), &[0x30, 0x39], &[]] {
            assert_eq!(PublicKey::from_spki(wrong), Err(KeyError::PublicKey));
        }
    }
}
