//! Tokens that callers bring, at inbound ports and at listeners: judged by the engine before access policy, which then knows
//! their claims.
//!
//! [`admit`] is the one way in: it reads the token, refuses with 401 (RFC 6750), and gives an [`Admitted`], which writes what
//! is passed on. What was verified is remembered by each worker for itself ([`TokenCache`]), so no lock is taken.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::request::Parts;
use weft_bundle::engine::{
    Bearer, Denial, Judged, RefusedToken, Token, TokenMemory, TokenReader, VerifiedToken,
};
use weft_bundle::release::Digest;

use crate::answer::Refusal;
use crate::message::head::Target;
use crate::telemetry::Reason;
use crate::telemetry::metrics::{ServiceMetrics, TokenOutcome};
use crate::telemetry::record::Record;

/// How many tokens a worker remembers at most.
const MAX_TOKENS: usize = 1024;

/// How long they may be together, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// What reading its token makes of a request that may go on to access policy.
#[derive(Debug, Default)]
pub(crate) struct Admitted<'r> {
    /// None where nobody reads tokens.
    reader: Option<&'r TokenReader>,
    /// None where none came.
    bearer: Option<Bearer<'r>>,
}

/// Reads the token of a request. `realm` names what the caller asks for, in the answer to one without a good token.
///
/// # Errors
/// The refusal, where it brings a token that does not hold.
pub(crate) fn admit<'r>(
    reader: Option<&'r TokenReader>,
    cache: &TokenCache,
    (head, target): (&Parts, &Target),
    realm: &str,
    metrics: &ServiceMetrics,
    record: &mut Record,
) -> Result<Admitted<'r>, Refusal> {
    let Some(reader) = reader else { return Ok(Admitted::default()) };
    match judge(reader, cache, (head, target)) {
        Judged::Missing => {
            metrics.token(TokenOutcome::Missing);
            Ok(Admitted { reader: Some(reader), bearer: None })
        }
        Judged::Valid(bearer) => {
            metrics.token(TokenOutcome::Accepted);
            Ok(Admitted { reader: Some(reader), bearer: Some(bearer) })
        }
        Judged::Refused(RefusedToken { origin, fault }) => {
            metrics.token(TokenOutcome::Refused(fault.place()));
            record.decided_by(origin);
            let challenge = challenge(realm, Some((fault.error_code(), &fault.to_string())));
            let detail = format!("the token is refused by {origin}: {fault}");
            Err(Refusal { challenge: Some(challenge), ..Refusal::new(Reason::TokenRefused, detail) })
        }
    }
}

/// Reads the token of a request that was let in before, when policy has changed since. Its time does not count: it began
/// while the token held.
///
/// # Errors
/// The document that refuses it now.
pub(crate) fn admit_again<'r>(
    reader: Option<&'r TokenReader>,
    cache: &TokenCache,
    (head, target): (&Parts, &Target),
) -> Result<Admitted<'r>, RefusedToken<'r>> {
    let Some(reader) = reader else { return Ok(Admitted::default()) };
    let remembering = Remembering { cache, now: now() };
    match reader.judge(&target.request(head), None, &remembering) {
        Judged::Missing => Ok(Admitted { reader: Some(reader), bearer: None }),
        Judged::Valid(bearer) => Ok(Admitted { reader: Some(reader), bearer: Some(bearer) }),
        Judged::Refused(refused) => Err(refused),
    }
}

fn judge<'r>(reader: &'r TokenReader, cache: &TokenCache, (head, target): (&Parts, &Target)) -> Judged<'r> {
    let now = now();
    reader.judge(&target.request(head), Some(now), &Remembering { cache, now })
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}

impl Admitted<'_> {
    /// What the token claims, for access policy and the access log.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.bearer.as_ref().map(Bearer::token)
    }

    /// The same, to be kept.
    pub(crate) fn verified(&self) -> Option<Arc<VerifiedToken>> {
        self.bearer.as_ref().map(|bearer| Arc::clone(bearer.verified()))
    }

    /// Makes a request what is passed on of it. Once before it is judged, and again after the fields of a single hop were
    /// dropped, as a caller may name any field in `Connection`.
    pub(crate) fn pass_on(&self, headers: &mut HeaderMap, target: &mut Target) {
        if let Some(reader) = self.reader {
            reader.pass_on(self.bearer.as_ref(), headers, &mut target.query);
        }
    }

    /// The fields that a caller's trailers may not have either.
    pub(crate) fn told(&self) -> &[http::HeaderName] {
        self.reader.map(TokenReader::told).unwrap_or_default()
    }

    /// What a caller that access policy refuses is told of tokens: that another one may help.
    pub(crate) fn denied(&self, denial: &Denial<'_>, realm: &str) -> Refusal {
        let refusal = Refusal::new(Reason::AccessDenied, format!("denied by {}", denial.origin));
        let challenge = match (self.reader, &self.bearer) {
            (None, _) => None,
            (Some(_), None) => Some(challenge(realm, None)),
            (Some(_), Some(_)) => {
                Some(challenge(realm, Some(("insufficient_scope", "the token does not allow this"))))
            }
        };
        Refusal { challenge, ..refusal }
    }
}

/// `WWW-Authenticate`, as RFC 6750 section 3 has it.
fn challenge(realm: &str, error: Option<(&str, &str)>) -> String {
    let mut text = format!("Bearer realm=\"{}\"", quotable(realm));
    if let Some((code, description)) = error {
        text.push_str(&format!(", error=\"{code}\", error_description=\"{}\"", quotable(description)));
    }
    text
}

/// The characters that RFC 6750 allows in a description; an apostrophe for every other.
fn quotable(text: &str) -> String {
    let allowed = |letter: char| matches!(letter, ' ' | '!' | '#'..='[' | ']'..='~');
    text.chars().map(|letter| if allowed(letter) { letter } else { '\'' }).collect()
}

// ------------------------------------------------------------------------------------------------------- memory

/// The tokens that a worker verified, by their digest: a clock, in which what was used since the hand passed stays.
#[derive(Debug, Default)]
pub(crate) struct TokenCache(RefCell<Clock>);

#[derive(Debug, Default)]
struct Clock {
    tokens: HashMap<[u8; 32], Remembered>,
    /// In the order in which the hand meets them; some may be gone.
    order: VecDeque<[u8; 32]>,
    bytes: usize,
}

#[derive(Debug)]
struct Remembered {
    verified: Arc<VerifiedToken>,
    /// Whether it was used since the hand passed.
    used: Cell<bool>,
}

struct Remembering<'c> {
    cache: &'c TokenCache,
    now: i64,
}

impl TokenMemory for Remembering<'_> {
    fn recall(&self, digest: &Digest) -> Option<Arc<VerifiedToken>> {
        self.cache.0.borrow_mut().recall(digest.as_bytes(), self.now)
    }

    fn keep(&self, digest: Digest, verified: &Arc<VerifiedToken>) {
        if verified.ends().is_none_or(|ends| ends > self.now) {
            self.cache.0.borrow_mut().keep(*digest.as_bytes(), Arc::clone(verified));
        }
    }
}

impl Clock {
    /// A token is remembered for as long as it is believed, and no longer.
    fn recall(&mut self, digest: &[u8; 32], now: i64) -> Option<Arc<VerifiedToken>> {
        let found = self.tokens.get(digest)?;
        if found.verified.ends().is_some_and(|ends| ends <= now) {
            self.forget(digest);
            return None;
        }
        found.used.set(true);
        Some(Arc::clone(&found.verified))
    }

    fn keep(&mut self, digest: [u8; 32], verified: Arc<VerifiedToken>) {
        let bytes = verified.bytes();
        while self.order.len() >= MAX_TOKENS || self.bytes + bytes > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            match self.tokens.get(&oldest) {
                Some(token) if token.used.replace(false) => self.order.push_back(oldest),
                Some(_) => self.forget(&oldest),
                None => {}
            }
        }
        self.bytes += bytes;
        let remembered = Remembered { verified, used: Cell::new(false) };
        match self.tokens.insert(digest, remembered) {
            Some(before) => self.bytes -= before.verified.bytes(),
            None => self.order.push_back(digest),
        }
    }

    fn forget(&mut self, digest: &[u8; 32]) {
        if let Some(token) = self.tokens.remove(digest) {
            self.bytes -= token.verified.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use data_encoding::BASE64URL_NOPAD;
    use http::HeaderMap;
    use serde_json::json;
    use weft_bundle::body::Body;
    use weft_bundle::engine::path::CanonicalPath;
    use weft_bundle::engine::{Engine, Request};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    /// Tokens that were verified, of subjects of so many bytes.
    fn verified(subjects: std::ops::Range<usize>, bytes: usize, exp: i64) -> Vec<Arc<VerifiedToken>> {
        struct Last(RefCell<Vec<Arc<VerifiedToken>>>);
        impl TokenMemory for Last {
            fn recall(&self, _: &Digest) -> Option<Arc<VerifiedToken>> {
                None
            }
            fn keep(&self, _: Digest, verified: &Arc<VerifiedToken>) {
                self.0.borrow_mut().push(Arc::clone(verified));
            }
        }
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": part(key.public_key().as_ref())}]});
        let mut body = crate::testing::serves("127.0.0.1:1".parse().unwrap(), "off", &json!({}));
        body["inbound"][0]["tokens"] = json!(["shop/users"]);
        body["token_providers"] = json!({"shop/users": {"origin": crate::testing::origin(1), "issuer": "me",
            "jwks": set.to_string(), "locations": [{"header": {"name": "x-token"}}]}});
        let body: Body = serde_json::from_value(body).unwrap();
        let engine = Engine::build(Arc::new(body)).unwrap();
        let reader = engine.tokens(engine.inbound(80).unwrap()).unwrap();
        let memory = Last(RefCell::default());
        for subject in subjects {
            let claims = json!({"iss": "me", "sub": format!("{subject:0bytes$}"), "exp": exp}).to_string();
            let message = format!("{}.{}", part(br#"{"alg":"EdDSA"}"#), part(claims.as_bytes()));
            let token = format!("{message}.{}", part(key.sign(message.as_bytes()).as_ref()));
            let headers = HeaderMap::from_iter([("x-token".parse().unwrap(), token.parse().unwrap())]);
            let path = CanonicalPath::parse("/").unwrap();
            let request = Request {
                method: "GET",
                scheme: "http",
                authority: "a",
                path: &path,
                query: None,
                headers: &headers,
            };
            assert!(matches!(reader.judge(&request, Some(NOW), &memory), Judged::Valid(_)));
        }
        memory.0.into_inner()
    }

    fn digest(number: usize) -> [u8; 32] {
        *Digest::of(&number.to_be_bytes()).as_bytes()
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut clock = Clock::default();
        let token = verified(0..1, 1, NOW + 60).remove(0);
        for number in 0..MAX_TOKENS {
            clock.keep(digest(number), Arc::clone(&token));
        }
        assert!(clock.recall(&digest(0), NOW).is_some());
        for number in MAX_TOKENS..MAX_TOKENS + 100 {
            clock.keep(digest(number), Arc::clone(&token));
            assert!(clock.recall(&digest(0), NOW).is_some(), "{number}");
        }
        assert_eq!((clock.tokens.len(), clock.order.len()), (MAX_TOKENS, MAX_TOKENS));
        assert!(clock.recall(&digest(1), NOW).is_none());
        assert!(clock.recall(&digest(MAX_TOKENS + 99), NOW).is_some());
        assert_eq!(clock.bytes, MAX_TOKENS * token.bytes());
    }

    #[test]
    fn long_tokens_take_the_room_of_many() {
        let mut clock = Clock::default();
        let long = verified(0..200, 9_000, NOW + 60);
        for (number, token) in long.iter().enumerate() {
            clock.keep(digest(number), Arc::clone(token));
            assert!(clock.bytes <= MAX_BYTES);
        }
        assert!(clock.tokens.len() > 50 && clock.tokens.len() < 100, "{}", clock.tokens.len());
        assert!(clock.recall(&digest(199), NOW).is_some());
    }

    #[test]
    fn nothing_is_remembered_past_its_life() {
        let mut clock = Clock::default();
        let token = verified(0..1, 1, NOW + 1).remove(0);
        let ends = token.ends().unwrap();
        clock.keep(digest(0), Arc::clone(&token));
        assert!(clock.recall(&digest(0), ends - 1).is_some());
        assert!(clock.recall(&digest(0), ends).is_none());
        assert_eq!((clock.tokens.len(), clock.bytes), (0, 0));
        // And it can come again without taking room twice.
        clock.keep(digest(0), Arc::clone(&token));
        clock.keep(digest(0), token);
        assert_eq!(clock.tokens.len(), 1);
        assert_eq!(clock.bytes, clock.tokens.values().map(|token| token.verified.bytes()).sum::<usize>());
    }

    #[test]
    fn a_challenge_cannot_be_broken_out_of() {
        let text = challenge("a\"b\\", Some(("invalid_token", "nobody believes `x\", y=\"\r\nz: é`")));
        let description = "nobody believes `x', y='''z: '`";
        assert_eq!(
            text,
            format!("Bearer realm=\"a'b'\", error=\"invalid_token\", error_description=\"{description}\"")
        );
    }
}
