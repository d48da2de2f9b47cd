//! Which header fields go on to the next hop.
//!
//! Dropped: fields that describe one connection (RFC 9110 section 7.6.1), whatever `Connection` names, and our own
//! `x-weft-` fields where they come from outside. `Connection` cannot name our own fields away: they are set afterwards.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::head::Refused;
use crate::telemetry::Reason;

/// Our own fields begin with it.
const OWN_PREFIX: &str = "x-weft-";

/// Names the caller to the application; set by the inbound side, from the certificate.
pub(crate) const PEER: HeaderName = HeaderName::from_static("x-weft-peer");

/// Says why the proxy answered by itself.
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-weft-reason");

/// Marks a request with the proxy that sent it, so that it knows its own when it comes back.
pub(crate) const HOP: HeaderName = HeaderName::from_static("x-weft-hop");

/// The one protocol that requests may change to, over HTTP/1.1 (RFC 6455).
pub(crate) const WEBSOCKET: &str = "websocket";

/// Whether a request asks to change to WebSocket, in the one way that is passed on: a GET without a body, on HTTP/1.1, that
/// names nothing else. Every other change of protocol is not passed on, `h2c` among them.
///
/// # Errors
/// It does, and its framing leaves a doubt about where the tunnel begins.
pub(crate) fn asks_for_websocket(head: &Parts) -> Result<bool, Refused> {
    if head.method != Method::GET || !is_websocket(&head.headers) {
        return Ok(false);
    }
    let has_body = head.headers.contains_key(TRANSFER_ENCODING)
        || head.headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0");
    let detail = match head.version {
        Version::HTTP_11 if has_body => "a change of protocol with a body",
        Version::HTTP_11 => return Ok(true),
        _ => "a change of protocol on another version than HTTP/1.1",
    };
    Err(Refused { reason: Reason::BadUpgrade, detail: detail.to_owned() })
}

/// Whether the fields of a request or a 101 change to WebSocket, and to nothing else.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let only = protocols.next().filter(|_| protocols.next().is_none());
    only.is_some_and(|protocol| protocol.as_bytes().trim_ascii().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
        && has_token(headers, CONNECTION, b"upgrade")
}

/// Drops what belongs to the hop a request came over. `te: trailers` stays: gRPC asks for trailers with it, and we
/// forward them.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let trailers = accepts_trailers(headers);
    strip_hop(headers);
    headers.remove(http::header::PROXY_AUTHORIZATION);
    strip_own(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Puts the crumbs that HTTP/2 may split a cookie into back together, for HTTP/1.1 (RFC 9113 section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Made of legal values and a legal separator, so always legal itself.
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

/// Drops what belongs to the hop a response came over.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    strip_hop(headers);
}

/// Drops our own fields.
pub(crate) fn strip_own(headers: &mut HeaderMap) {
    remove_all(headers, is_own);
}

/// Drops the fields with such a name. Looking through the names is cheaper than looking for one of them.
fn remove_all(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    if headers.keys().any(&unwanted) {
        let found: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
        for name in found {
            headers.remove(name);
        }
    }
}

/// Drops from a trailer section what must not arrive there: framing, routing, credentials, our own fields.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop(trailers);
    strip_own(trailers);
    for name in [
        http::header::CONTENT_LENGTH,
        http::header::HOST,
        http::header::AUTHORIZATION,
        http::header::COOKIE,
        http::header::CONTENT_TYPE,
        http::header::CONTENT_ENCODING,
        TRAILER,
    ] {
        trailers.remove(name);
    }
}

fn is_own(name: &HeaderName) -> bool {
    begins_as(name, OWN_PREFIX)
}

/// Whether a name begins so for an application that does not tell `_` from `-` (CGI, RFC 3875 section 4.1.18).
pub(crate) fn begins_as(name: &HeaderName, prefix: &str) -> bool {
    let name = name.as_str().as_bytes();
    name.len() >= prefix.len()
        && name
            .iter()
            .zip(prefix.as_bytes())
            .all(|(byte, wanted)| (if *byte == b'_' { b'-' } else { *byte }) == *wanted)
}

fn strip_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        for name in named {
            // Framing and routing fields are no hop's own: naming them must not make them vanish.
            if name != http::header::HOST && name != http::header::CONTENT_LENGTH {
                headers.remove(name);
            }
        }
    }
    remove_all(headers, is_hop_by_hop);
}

/// Whether a name is that of a field of one connection, whatever `Connection` names. The length alone tells most apart.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "te" | "upgrade"
            | "connection"
            | "keep-alive"
            | "http2-settings"
            | "proxy-connection"
            | "transfer-encoding"
            | "proxy-authenticate"
    )
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    has_token(headers, TE, b"trailers")
}

/// Whether one of the values of a list is this, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|value| value.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_belongs_to_one_hop_stays_there() {
        let mut headers = map(&[
            ("connection", "close, x-secret"),
            ("connection", "keep-alive , content-length"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("proxy-authorization", "basic"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("x-weft-peer", "spiffe://td/forged"),
            ("x-weft-anything", "1"),
            ("content-length", "3"),
            ("accept", "a"),
            ("accept", "b"),
        ]);
        strip_request(&mut headers);
        let kept = map(&[("te", "trailers"), ("content-length", "3"), ("accept", "a"), ("accept", "b")]);
        assert_eq!(headers, kept);
    }

    #[test]
    fn cookie_crumbs_become_one_cookie() {
        let mut headers = map(&[("cookie", "a=1"), ("accept", "x"), ("cookie", "b=2")]);
        join_cookies(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2"), ("accept", "x")]));
    }

    #[test]
    fn trailers_carry_nothing_that_decides() {
        let mut trailers =
            map(&[("grpc-status", "0"), ("host", "x"), ("content-length", "1"), ("x-weft-peer", "y")]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("grpc-status", "0")]));
    }
}
