//! Who is answered: nobody whom a page in a browser sent.
//!
//! Loopback keeps out other machines, not pages: a name of theirs can be made to lead here (DNS rebinding), and any page can
//! send a form here. So over TCP only names of this machine are answered, and what changes something is refused if a
//! browser says that another site asked. A Unix socket is out of a browser's reach.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Request};
use weft_bundle::engine::split_authority;

/// Why a request is not answered.
pub(super) fn refusal<B>(request: &Request<B>, over_tcp: bool) -> Option<&'static str> {
    let headers = request.headers();
    if over_tcp && !named_by_loopback(request) {
        return Some("ask for 127.0.0.1, [::1] or localhost: other names may be somebody else's");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && from_another_site(headers) {
        return Some("another site sent this");
    }
    None
}

/// Whether every name in a request is this machine's own.
fn named_by_loopback<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    let names = host.to_str().ok().into_iter().chain(target);
    let mut count = 0;
    let own = names.inspect(|_| count += 1).all(is_loopback);
    own && count == 1 + usize::from(target.is_some())
}

fn is_loopback(authority: &str) -> bool {
    let (host, _) = split_authority(authority);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a browser says so: `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin` are out of a page's hands.
fn from_another_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let foreign = text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("?"));
    let same = |origin: &str| {
        let place = origin.strip_prefix("http://");
        place.is_some() && place == text("host")
    };
    foreign || origin.is_some_and(|origin| !same(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str, fields: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        refusal(&request.body(()).unwrap(), true).is_none()
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["127.0.0.1", "127.0.0.1:15000", "127.9.9.9:1", "[::1]:15000", "localhost", "LOCALHOST:8"]
        {
            assert!(ask("GET", "/", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "[::]",
            "0.0.0.0",
            "localhost@evil.example",
            "",
            "x:127.0.0.1",
        ] {
            assert!(!ask("GET", "/", &[("host", host)]), "{host}");
        }
        assert!(!ask("GET", "/", &[]), "none at all");
        assert!(!ask("GET", "/", &[("host", "localhost"), ("host", "evil.example")]));
        assert!(!ask("GET", "http://evil.example/", &[("host", "localhost")]), "the target counts, too");
        assert!(ask("GET", "http://localhost:1/", &[("host", "localhost:1")]));
        let request = Request::builder().uri("/").body(()).unwrap();
        assert_eq!(refusal(&request, false), None, "over a Unix socket names mean nothing");
    }

    #[test]
    fn what_another_site_sends_changes_nothing() {
        let host = ("host", "localhost:1");
        let post = |fields: &[(&str, &str)]| ask("POST", "/drain", &[&[host], fields].concat());
        assert!(post(&[]), "no browser");
        assert!(post(&[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:1")]));
        assert!(post(&[("sec-fetch-site", "none")]));
        for fields in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://localhost:2")],
            &[("origin", "https://localhost:1")],
        ] {
            assert!(!post(fields), "{fields:?}");
            assert!(ask("GET", "/live", &[&[host], fields].concat()), "reading gives a page nothing");
        }
    }
}
