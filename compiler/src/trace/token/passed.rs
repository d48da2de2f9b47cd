//! What a proxy passes on of a request whose tokens it read: without the token, unless that is to stay, and with what the
//! application is told of it. What a caller says in the place of that is dropped, also without a token.

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use weft_bundle::body::{Body, TokenLocation, TokenProvider};
use weft_bundle::engine::Request;

use super::{Bearer, Judged, text_of};

/// The parts of a request that reading its tokens changes.
#[derive(Clone, Debug)]
pub(in crate::trace) struct Passed {
    headers: HeaderMap,
    query: Option<String>,
}

impl Passed {
    /// What is passed on of a request that was judged by some providers of a body.
    pub(in crate::trace) fn of(
        body: &Body,
        ids: &[String],
        request: &Request<'_>,
        judged: &Judged<'_>,
    ) -> Self {
        let mut passed = Self { headers: request.headers.clone(), query: request.query.map(str::to_owned) };
        for provider in ids.iter().filter_map(|id| body.token_providers.get(id)) {
            for name in provider.claim_headers.keys().chain(&provider.payload_header) {
                passed.headers.remove(name.as_str());
            }
        }
        if let Judged::Valid(provider, bearer) = judged {
            if !provider.forward {
                provider.locations.iter().for_each(|location| passed.take_out(location, &bearer.text));
            }
            passed.tell(provider, bearer);
        }
        passed
    }

    /// The request as it goes on.
    pub(in crate::trace) fn request<'p>(&'p self, request: &Request<'p>) -> Request<'p> {
        Request { headers: &self.headers, query: self.query.as_deref(), ..*request }
    }

    fn take_out(&mut self, location: &TokenLocation, token: &str) {
        match location {
            TokenLocation::Header { name, prefix } => {
                self.edit(name, |value| (text_of(value, prefix) != Some(token)).then(|| value.to_owned()));
            }
            TokenLocation::Query(name) => {
                self.query = self.query.take().and_then(|query| without(&query, '&', "&", (name, token)));
            }
            TokenLocation::Cookie(name) => {
                self.edit("cookie", |cookies| without(cookies, ';', "; ", (name, token)));
            }
        }
    }

    /// Changes or drops each value of a header field that is text.
    fn edit(&mut self, name: &str, change: impl Fn(&str) -> Option<String>) {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return };
        let values: Vec<HeaderValue> = self.headers.get_all(&name).into_iter().cloned().collect();
        self.headers.remove(&name);
        for value in values {
            let changed = match value.to_str() {
                Ok(text) => change(text).and_then(|text| HeaderValue::from_str(&text).ok()),
                Err(_) => Some(value),
            };
            if let Some(value) = changed {
                self.headers.append(&name, value);
            }
        }
    }

    fn tell(&mut self, provider: &TokenProvider, bearer: &Bearer) {
        let payload = bearer.text.split('.').nth(1).map(str::to_owned);
        let payload = provider.payload_header.iter().map(|name| (name, payload.clone()));
        let claims = provider.claim_headers.iter();
        let claims = claims.map(|(name, path)| (name, bearer.claims.claim(path).map(spelled)));
        for (name, text) in payload.chain(claims) {
            let name = HeaderName::from_bytes(name.as_bytes()).ok();
            let value = text.and_then(|text| HeaderValue::from_str(&text).ok());
            if let (Some(name), Some(value)) = (name, value) {
                self.headers.insert(name, value);
            }
        }
    }
}

/// A claim as a header carries it.
fn spelled(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => claim.to_string(),
        Value::Array(_) | Value::Object(_) => BASE64URL_NOPAD.encode(claim.to_string().as_bytes()),
    }
}

/// Pairs without one of them; none if nothing is left.
fn without(pairs: &str, separator: char, joint: &str, (name, value): (&str, &str)) -> Option<String> {
    let other = |pair: &&str| pair.split_once('=') != Some((name, value));
    let kept: Vec<&str> = pairs.split(separator).map(str::trim).filter(other).collect();
    (!kept.is_empty()).then(|| kept.join(joint))
}
