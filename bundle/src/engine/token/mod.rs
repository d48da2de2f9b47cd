//! Tokens that a request brings, judged as [`TokenProvider`] says: one that is there must be valid, or the request is answered
//! with 401; that there is none is for access rules to judge.
//!
//! ```text
//! the places that providers name → one token → read strictly → a provider of its issuer → a pinned key made its signature
//!                                → audience, times → Bearer ─┬→ access policy, as a fact
//!                                                            └→ what the application is told; the token taken out
//! ```
//! A token is a signed JSON Web Token (RFC 7515, 7519, 8725) whose key is pinned in the repository, so nothing is asked of
//! the network, and what the token says of keys (`jwk`, `jku`, `x5u`, `x5c`) is never looked at. The key says which algorithms
//! may have made a signature; the token's `alg` only chooses among them.
//!
//! Pure, as all of the engine: the clock is an argument, and what was verified before is remembered by whoever asks
//! ([`TokenMemory`]).

mod keys;
mod places;
mod read;
mod told;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use self::keys::PinnedKey;
use self::read::Signed;
pub use self::told::is_told_field;
use super::facts::Token;
use super::{BuildError, Request};
use crate::body::{Body, Origin, TokenProvider};
use crate::json;
use crate::release::Digest;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How far the clocks of an issuer and of us may be apart: a token is believed so long after `exp` and before `nbf`, in
/// seconds. It is what Envoy, and so Istio, allows unless told otherwise (`clock_skew_seconds`).
pub const TOKEN_LEEWAY_SECONDS: i64 = 60;

/// Reads the tokens of requests to one port or listener.
#[derive(Debug)]
pub struct TokenReader {
    providers: Vec<Provider>,
    /// Fields that only we may set, sorted.
    told: Vec<HeaderName>,
    /// Of all that decides whether a token is believed.
    fingerprint: Digest,
}

#[derive(Debug)]
struct Provider {
    spec: TokenProvider,
    keys: Vec<PinnedKey>,
}

/// What is said of the tokens of a request.
#[derive(Clone, Debug)]
pub enum Judged<'r> {
    /// None came.
    Missing,
    /// One came that is what it says.
    Valid(Bearer<'r>),
    /// One came that is refused: the request is answered with 401.
    Refused(RefusedToken<'r>),
}

/// Who brought a token that is what it says.
#[derive(Clone, Debug)]
pub struct Bearer<'r> {
    provider: &'r TokenProvider,
    verified: Arc<VerifiedToken>,
}

impl<'r> Bearer<'r> {
    /// Who issued it.
    pub fn provider(&self) -> &'r TokenProvider {
        self.provider
    }

    /// What it claims.
    pub fn token(&self) -> &Token {
        &self.verified.token
    }

    /// What was verified, to be kept for as long as the request.
    pub fn verified(&self) -> &Arc<VerifiedToken> {
        &self.verified
    }
}

/// A token whose signature and audience were verified. Its times are looked at each time it is brought.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    provider: usize,
    /// As it came.
    text: String,
    token: Token,
    /// `nbf` and `exp`.
    times: [Option<f64>; 2],
}

impl VerifiedToken {
    /// What it claims.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// How long it is as it came, in bytes.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// From when on it is not believed any more, in seconds since 1970; none if it does not end.
    pub fn ends(&self) -> Option<i64> {
        let [_, end] = self.times;
        // As of Rust a conversion that does not fit gives the nearest that does.
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        end.map(|end| (end.ceil() as i64).saturating_add(TOKEN_LEEWAY_SECONDS))
    }

    fn holds_at(&self, now: i64) -> Result<(), TokenFault> {
        let [begin, end] = self.times;
        #[expect(clippy::cast_precision_loss, reason = "the times of our age are far below 2^53")]
        let (now, leeway) = (now as f64, TOKEN_LEEWAY_SECONDS as f64);
        if end.is_some_and(|end| end + leeway <= now) {
            return Err(TokenFault::Expired);
        }
        if begin.is_some_and(|begin| begin - leeway > now) {
            return Err(TokenFault::Early);
        }
        Ok(())
    }
}

/// A token that is refused.
#[derive(Clone, Debug)]
pub struct RefusedToken<'r> {
    /// The document that refuses it.
    pub origin: &'r Origin,
    /// Why.
    pub fault: TokenFault,
}

/// Why a token is refused. What it shows of the token is short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// There is another one, too.
    Several,
    /// It is longer than [`MAX_TOKEN_BYTES`].
    TooLong,
    /// It is not a signed JSON Web Token, or means two things.
    Malformed,
    /// Its header names no algorithm.
    NoAlgorithm,
    /// It asks for extensions that a reader must know (`crit`).
    Critical,
    /// Nobody signs with that algorithm, such as `none` and those with a shared secret.
    Algorithm(String),
    /// A time is not a number.
    Time(&'static str),
    /// It names no issuer, or one that is not believed here, or not at this place.
    Issuer(String),
    /// The issuer has no key for its algorithm and key id.
    NoKey {
        /// The issuer.
        issuer: String,
        /// The algorithm.
        algorithm: String,
        /// The id of the key.
        key_id: Option<String>,
    },
    /// No key of the issuer made its signature.
    Signature,
    /// It is not meant for us.
    Audience,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    Early,
}

impl TokenFault {
    /// Every name of a fault, in order of declaration.
    pub const NAMES: [&'static str; 13] = [
        "several",
        "too-long",
        "malformed",
        "no-algorithm",
        "critical",
        "algorithm",
        "time",
        "issuer",
        "no-key",
        "signature",
        "audience",
        "expired",
        "early",
    ];

    /// Its place in [`TokenFault::NAMES`].
    pub fn place(&self) -> usize {
        match self {
            Self::Several => 0,
            Self::TooLong => 1,
            Self::Malformed => 2,
            Self::NoAlgorithm => 3,
            Self::Critical => 4,
            Self::Algorithm(_) => 5,
            Self::Time(_) => 6,
            Self::Issuer(_) => 7,
            Self::NoKey { .. } => 8,
            Self::Signature => 9,
            Self::Audience => 10,
            Self::Expired => 11,
            Self::Early => 12,
        }
    }

    /// The error code of RFC 6750, section 3.1.
    pub fn error_code(&self) -> &'static str {
        match self {
            Self::Several => "invalid_request",
            _ => "invalid_token",
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Several => f.write_str("it brings several tokens, and nothing says which one counts"),
            Self::TooLong => write!(f, "it is longer than {MAX_TOKEN_BYTES} bytes"),
            Self::Malformed => f.write_str("it is not a JSON Web Token"),
            Self::NoAlgorithm => f.write_str("it names no algorithm"),
            Self::Critical => f.write_str("it asks for extensions (`crit`), of which there are none"),
            Self::Algorithm(name) => {
                write!(f, "nobody believes signatures of the algorithm `{}`", Brief(name))
            }
            Self::Time(name) => write!(f, "its `{name}` is not a number"),
            Self::Issuer(name) if name.is_empty() => f.write_str("it names no issuer"),
            Self::Issuer(name) => write!(f, "nobody here believes the issuer `{}`", Brief(name)),
            Self::NoKey { issuer, algorithm, key_id } => {
                write!(f, "`{issuer}` has no key for algorithm `{}`", Brief(algorithm))?;
                match key_id {
                    Some(id) => write!(f, " and id `{}`", Brief(id)),
                    None => Ok(()),
                }
            }
            Self::Signature => f.write_str("no key of its issuer made its signature"),
            Self::Audience => f.write_str("it is meant for another audience"),
            Self::Expired => f.write_str("it has expired"),
            Self::Early => f.write_str("it is not valid yet"),
        }
    }
}

/// The beginning of a text of somebody else's, without control characters.
struct Brief<'t>(&'t str);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX: usize = 80;
        write!(f, "{}", self.0.chars().take(MAX).collect::<String>().escape_debug())?;
        f.write_str(if self.0.chars().nth(MAX).is_some() { "…" } else { "" })
    }
}

/// What whoever asks remembers of tokens that were verified, by a digest of the token and of all that decides whether it is
/// believed: what is found is as good as what would be verified anew.
pub trait TokenMemory {
    /// What was kept under that digest.
    fn recall(&self, digest: &Digest) -> Option<Arc<VerifiedToken>>;

    /// Keeps it, or not.
    fn keep(&self, digest: Digest, verified: &Arc<VerifiedToken>);
}

/// Remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

impl TokenMemory for NoMemory {
    fn recall(&self, _: &Digest) -> Option<Arc<VerifiedToken>> {
        None
    }

    fn keep(&self, _: Digest, _: &Arc<VerifiedToken>) {}
}

impl TokenReader {
    /// A reader for providers of a body, by their ids; none if there are no ids.
    pub(super) fn compile(
        body: &Body,
        ids: &[String],
        place: &dyn Fn() -> String,
    ) -> Result<Option<Self>, BuildError> {
        if ids.is_empty() {
            return Ok(None);
        }
        let (mut providers, mut told) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            let spec = body
                .token_providers
                .get(id)
                .ok_or_else(|| BuildError::MissingProvider { place: place(), provider: id.clone() })?;
            for name in spec.claim_headers.keys().chain(&spec.payload_header) {
                let illegal = || BuildError::IllegalText { place: id.clone(), text: name.clone() };
                let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| illegal())?;
                if !is_told_field(header.as_str()) {
                    return Err(illegal());
                }
                told.push(header);
            }
            let keys =
                PinnedKey::of_set(&spec.jwks).ok_or_else(|| BuildError::KeySet { provider: id.clone() })?;
            providers.push(Provider { spec: spec.clone(), keys });
        }
        told.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        told.dedup();
        let specs: Vec<&TokenProvider> = providers.iter().map(|provider| &provider.spec).collect();
        let canonical = json::to_canonical(&specs)
            .map_err(|_| BuildError::KeySet { provider: ids.first().cloned().unwrap_or_default() })?;
        Ok(Some(Self { providers, told, fingerprint: Digest::of(&canonical) }))
    }

    /// Whom it believes, in the body's order. Never empty.
    pub fn providers(&self) -> impl Iterator<Item = &TokenProvider> {
        self.providers.iter().map(|provider| &provider.spec)
    }

    /// The header fields that only [`TokenReader::pass_on`] may set: they are dropped from every request, its trailers
    /// included.
    pub fn told(&self) -> &[HeaderName] {
        &self.told
    }

    /// Judges the token of a request. `now` is in seconds since 1970; without it times are not judged.
    pub fn judge(&self, request: &Request<'_>, now: Option<i64>, memory: &impl TokenMemory) -> Judged<'_> {
        let found = places::found(&self.providers, request);
        let Some((_, token)) = found.first().copied() else { return Judged::Missing };
        let mut readers: Vec<usize> = found.iter().map(|(provider, _)| *provider).collect();
        readers.sort_unstable();
        readers.dedup();
        if found.iter().any(|(_, other)| *other != token) {
            return self.refused(readers.first(), TokenFault::Several);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return self.refused(readers.first(), TokenFault::TooLong);
        }
        // With those who may read it where it is: another place may have another first among them.
        let places: Vec<u8> = readers.iter().flat_map(|reader| reader.to_be_bytes()).collect();
        let digest = Digest::of_parts(&[self.fingerprint.as_bytes(), &places, token]);
        let known = memory.recall(&digest).filter(|known| readers.contains(&known.provider));
        let (provider, verified) = match known {
            Some(known) => (known.provider, known),
            None => match self.verify(token, &readers) {
                Ok(verified) => {
                    let verified = Arc::new(verified);
                    memory.keep(digest, &verified);
                    (verified.provider, verified)
                }
                Err((provider, fault)) => {
                    return self.refused(provider.or(readers.first().copied()).as_ref(), fault);
                }
            },
        };
        match now.map_or(Ok(()), |now| verified.holds_at(now)) {
            Ok(()) => match self.providers.get(provider) {
                Some(provider) => Judged::Valid(Bearer { provider: &provider.spec, verified }),
                None => Judged::Missing,
            },
            Err(fault) => self.refused(Some(&provider), fault),
        }
    }

    /// Verifies a token for those who read the place where it was: the first of its issuer whose key made it. Otherwise gives
    /// who refuses it, if it names an issuer of ours.
    fn verify(&self, token: &[u8], readers: &[usize]) -> Result<VerifiedToken, (Option<usize>, TokenFault)> {
        let signed = Signed::read(token).map_err(|fault| (None, fault))?;
        let mut refusal = (None, TokenFault::Issuer(signed.issuer().to_owned()));
        for (number, provider) in self.providers.iter().enumerate() {
            let reads = readers.contains(&number) && provider.spec.issuer == signed.issuer();
            if !reads || signed.issuer().is_empty() {
                continue;
            }
            match provider.believes(&signed) {
                Ok(()) => return Ok(signed.verified(number, &provider.spec)),
                Err(fault) if refusal.0.is_none() => refusal = (Some(number), fault),
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    fn refused(&self, provider: Option<&usize>, fault: TokenFault) -> Judged<'_> {
        let provider = provider.and_then(|number| self.providers.get(*number)).or(self.providers.first());
        match provider {
            Some(provider) => Judged::Refused(RefusedToken { origin: &provider.spec.origin, fault }),
            // There always is one.
            None => Judged::Missing,
        }
    }
}

impl Provider {
    /// Whether a key of ours made the signature, and the token is meant for us.
    fn believes(&self, signed: &Signed<'_>) -> Result<(), TokenFault> {
        let mut fitting =
            self.keys.iter().filter(|key| key.fits(signed.algorithm, signed.key_id())).peekable();
        if fitting.peek().is_none() {
            return Err(TokenFault::NoKey {
                issuer: self.spec.issuer.clone(),
                algorithm: signed.algorithm.name().to_owned(),
                key_id: signed.key_id().map(str::to_owned),
            });
        }
        if !fitting.any(|key| key.made(signed.algorithm, signed.message, &signed.signature)) {
            return Err(TokenFault::Signature);
        }
        let meant = |audience: &str| self.spec.audiences.iter().any(|own| own == audience);
        match self.spec.audiences.is_empty() || signed.audiences().any(meant) {
            true => Ok(()),
            false => Err(TokenFault::Audience),
        }
    }
}
