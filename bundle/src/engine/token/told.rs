//! What is passed on of a request whose token was read: without the token, unless that is to stay, and with what the
//! application is told of it. What a caller says in the place of that is dropped, also without a token.

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Bearer, TokenReader, places};
use crate::engine::FRAMING;

/// Whether a field, in lower case, may carry what a token says: it belongs neither to the framing of messages nor to the
/// proxies themselves (`x-weft-…`).
pub fn is_told_field(name: &str) -> bool {
    !FRAMING.contains(&name) && !name.starts_with("x-weft-")
}

impl TokenReader {
    /// Makes a request what is passed on of it: what access policy, limits and routes look at from then on. Fields of a
    /// single hop must have been dropped before, as a caller may name any field in `Connection`.
    pub fn pass_on(&self, bearer: Option<&Bearer<'_>>, headers: &mut HeaderMap, query: &mut Option<String>) {
        for name in &self.told {
            headers.remove(name);
        }
        self.drop_twins(headers);
        let Some(bearer) = bearer else { return };
        if !bearer.provider.forward {
            // Also where others would have looked for theirs: it is this one, and it is not to arrive.
            for location in self.providers().flat_map(|provider| &provider.locations) {
                places::take_out(location, &bearer.verified.text, headers, query);
            }
        }
        tell(bearer, headers);
    }
}

impl TokenReader {
    /// Drops fields that an application which does not tell `_` from `-` takes for those that only we set (CGI, RFC 3875
    /// section 4.1.18).
    fn drop_twins(&self, headers: &mut HeaderMap) {
        if !headers.keys().any(|name| name.as_str().contains('_')) {
            return;
        }
        let is_twin = |name: &&HeaderName| {
            let name = name.as_str();
            name.contains('_')
                && self.told.iter().any(|told| told.as_str().replace('_', "-") == name.replace('_', "-"))
        };
        let twins: Vec<_> = headers.keys().filter(is_twin).cloned().collect();
        for name in twins {
            headers.remove(name);
        }
    }
}

fn tell(bearer: &Bearer<'_>, headers: &mut HeaderMap) {
    let Bearer { provider, verified } = bearer;
    let payload = verified.text.split('.').nth(1).map(str::to_owned);
    let payload = provider.payload_header.iter().map(|name| (name, payload.clone()));
    let claims = provider.claim_headers.iter();
    let claims = claims.map(|(name, path)| (name, verified.token.claim(path).map(spelled)));
    for (name, text) in payload.chain(claims) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        // A text with control characters cannot be told, and nothing is told instead.
        let value = text.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.insert(name, value);
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
