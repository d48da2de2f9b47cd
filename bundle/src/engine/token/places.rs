//! Where a token is in a request: finding it, and taking it out.
//!
//! What comes before a token in a header is compared without case, as it mostly is a scheme (RFC 9110, section 11.1): a
//! `bearer` that we overlooked could be believed by the application.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Provider;
use crate::body::TokenLocation;
use crate::engine::Request;

/// The tokens of a request, each with the number of a provider that reads its place. As they are: they may not even be text.
pub(super) fn found<'r>(providers: &[Provider], request: &Request<'r>) -> Vec<(usize, &'r [u8])> {
    let mut found = Vec::new();
    for (number, provider) in providers.iter().enumerate() {
        for location in &provider.spec.locations {
            at(location, request, &mut |token| found.push((number, token)));
        }
    }
    found
}

fn at<'r>(location: &TokenLocation, request: &Request<'r>, tell: &mut dyn FnMut(&'r [u8])) {
    match location {
        TokenLocation::Header { name, prefix } => {
            let values = request.headers.get_all(name.as_str()).into_iter();
            values.filter_map(|value| after(prefix, value.as_bytes())).for_each(tell);
        }
        TokenLocation::Query(name) => {
            named(request.query.unwrap_or_default().as_bytes(), b'&', name).for_each(tell);
        }
        TokenLocation::Cookie(name) => {
            let cookies = request.headers.get_all(COOKIE).into_iter();
            cookies.flat_map(|value| named(value.as_bytes(), b';', name)).for_each(tell);
        }
    }
}

/// What follows a prefix.
fn after<'v>(prefix: &str, value: &'v [u8]) -> Option<&'v [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix.as_bytes()).then(|| rest.trim_ascii())
}

/// The values of a name among `name=value` pairs.
fn named<'v>(pairs: &'v [u8], separator: u8, name: &str) -> impl Iterator<Item = &'v [u8]> {
    pairs.split(move |byte| *byte == separator).filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value)
    })
}

/// Takes a token out of a place.
pub(super) fn take_out(
    location: &TokenLocation,
    token: &str,
    headers: &mut HeaderMap,
    query: &mut Option<String>,
) {
    match location {
        TokenLocation::Header { name, prefix } => {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return };
            edit(headers, &name, |value| {
                (after(prefix, value) != Some(token.as_bytes())).then(|| value.to_vec())
            });
        }
        TokenLocation::Query(name) => {
            let kept = query.take().and_then(|query| without(query.as_bytes(), b'&', b"&", (name, token)));
            *query = kept.and_then(|kept| String::from_utf8(kept).ok());
        }
        TokenLocation::Cookie(name) => {
            edit(headers, &COOKIE, |cookies| without(cookies, b';', b"; ", (name, token)));
        }
    }
}

/// Changes or drops each value of a header field; the others stay as they are.
fn edit(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let values: Vec<HeaderValue> = headers.get_all(name).into_iter().cloned().collect();
    headers.remove(name);
    for value in values {
        let changed = change(value.as_bytes()).and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        if let Some(value) = changed {
            headers.append(name, value);
        }
    }
}

/// Pairs without one of them; none if nothing is left.
fn without(pairs: &[u8], separator: u8, joint: &[u8], (name, value): (&str, &str)) -> Option<Vec<u8>> {
    let is_token = |pair: &&[u8]| named(pair, separator, name).any(|other| other == value.as_bytes());
    let kept: Vec<&[u8]> = pairs
        .split(|byte| *byte == separator)
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !is_token(pair))
        .collect();
    (!kept.is_empty()).then(|| kept.join(joint))
}
