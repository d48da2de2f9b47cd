//! What a rule does to a request, as pure functions: split, rewrite, redirect, header edits.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use regex::bytes::Regex;

use super::Request;
use super::path::CanonicalPath;
use crate::body::{Backend, HeaderEdits, Mirror, PathMatch, PathRewrite, Redirect};

/// The backend that a draw falls on: each gets `weight / sum of weights` of the 64-bit range. None if all weights are
/// zero. The bias of taking the remainder is below 2^-31, as weights have 32 bits.
pub fn split(backends: &[Backend], draw: u64) -> Option<&Backend> {
    let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let mut point = draw.checked_rem(total)?;
    backends.iter().find(|backend| match point.checked_sub(u64::from(backend.weight)) {
        None => true,
        Some(rest) => {
            point = rest;
            false
        }
    })
}

/// The mirrors that get a copy of a request, each by a draw of its own, evenly drawn from all `u64`.
pub fn copies(mirrors: &[Mirror], mut draw: impl FnMut() -> u64) -> impl Iterator<Item = &Mirror> {
    mirrors.iter().filter(move |mirror| mirror.share.takes(draw()))
}

/// The path after a rewrite; always begins with `/`, except for `*`, which is never rewritten. `matched` is the
/// condition that led to the rule; without one, all of the path counts as matched.
///
/// For a segment prefix the table in Gateway API's `HTTPPathModifier.replacePrefixMatch` holds; a prefix of bytes is
/// exchanged byte for byte, as in Istio's `rewrite.uri` and Envoy's `prefix_rewrite`. `regex` is the compiled pattern of a
/// [`PathRewrite::Regex`]; without it, which [`super::Engine::build`] rules out, the path stays.
pub(super) fn rewrite_path(
    rewrite: &PathRewrite,
    matched: Option<&PathMatch>,
    path: &CanonicalPath,
    regex: Option<&Regex>,
) -> String {
    let path = path.as_str();
    let new = match (rewrite, matched) {
        _ if path == "*" => return path.to_owned(),
        (PathRewrite::Full(new), _) => new.clone(),
        (PathRewrite::Matched(new), Some(PathMatch::SegmentPrefix(prefix))) => {
            let rest = path.get(prefix.trim_end_matches('/').len()..).unwrap_or_default();
            format!("{}{rest}", new.trim_end_matches('/'))
        }
        (PathRewrite::Matched(new), Some(PathMatch::Prefix(prefix))) => {
            format!("{new}{}", path.get(prefix.len()..).unwrap_or_default())
        }
        (PathRewrite::Matched(new), _) => new.clone(),
        (PathRewrite::Regex { substitution, .. }, _) => match regex {
            Some(regex) => {
                let new = regex.replace_all(path.as_bytes(), replacement(substitution).as_bytes());
                String::from_utf8_lossy(&new).into_owned()
            }
            None => path.to_owned(),
        },
    };
    if new.starts_with('/') { new } else { format!("/{new}") }
}

/// An RE2 substitution (`\\1`) as the regex crate writes it (`${1}`).
fn replacement(substitution: &str) -> String {
    let mut out = String::with_capacity(substitution.len());
    let mut characters = substitution.chars();
    while let Some(character) = characters.next() {
        match character {
            '$' => out.push_str("$$"),
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                Some(escaped) => out.push(escaped),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

/// Whether RE2 takes a substitution for an expression: after a backslash only a backslash or the number of one of its
/// groups.
pub fn is_substitution(substitution: &str, regex: &Regex) -> bool {
    let mut characters = substitution.chars();
    while let Some(character) = characters.next() {
        if character == '\\' {
            match characters.next() {
                Some('\\') => {}
                Some(digit)
                    if digit.to_digit(10).is_some_and(|digit| (digit as usize) < regex.captures_len()) => {}
                Some(_) | None => return false,
            }
        }
    }
    true
}

/// The `Location` of a redirect. The query of the request stays. The port is the redirect's, else none where the new
/// scheme is given (its well-known port holds), else the request's (Gateway API `HTTPRequestRedirectFilter.port`).
pub fn redirect_location(redirect: &Redirect, matched: Option<&PathMatch>, request: &Request<'_>) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or(request.scheme);
    let (host, port) = split_authority(request.authority);
    let host = redirect.host.as_deref().unwrap_or(host);
    let port = redirect.port.or(if redirect.scheme.is_some() { None } else { port });
    let port = port.filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)));
    let path = match &redirect.path {
        Some(rewrite) => rewrite_path(rewrite, matched, request.path, None),
        None => request.path.to_string(),
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{path}{query}")
}

/// Host and port of an authority; brackets stay with an IPv6 address. No port if there is none that is a number in its
/// plain spelling: `+80` and `080` would be another authority to a matcher, and the same port to us.
pub fn split_authority(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let plain = !port.starts_with(['+', '0']) || port == "0";
            (host, port.parse().ok().filter(|_| plain))
        }
        _ => (authority, None),
    }
}

/// What in a rewrite or redirect could not stand in a request line or a `Location`: the first such text.
pub(super) fn illegal_place<'t>(
    scheme: Option<&'t str>,
    host: Option<&'t str>,
    path: Option<&'t PathRewrite>,
) -> Option<&'t str> {
    let path = path.and_then(|path| match path {
        PathRewrite::Full(text) | PathRewrite::Matched(text) => Some(text.as_str()),
        // What comes of it is looked at for each request.
        PathRewrite::Regex { .. } => None,
    });
    let scheme = scheme.filter(|scheme| !matches!(*scheme, "http" | "https"));
    scheme.or(host.filter(|host| !is_authority(host))).or(path.filter(|path| !is_path_text(path)))
}

/// Whether a rewrite may name this authority: letters, digits, `-`, `_`, `.`, or an IPv6 address in brackets; then a
/// port from 1 to 65535, perhaps.
pub fn is_authority(authority: &str) -> bool {
    let (host, port) = split_authority(authority);
    let plain = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_name = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && plain(host),
    };
    is_name && (host.len() == authority.len() || port.is_some_and(|port| port > 0))
}

/// Whether a rewrite may put this into a path: it may be empty, or a part of a segment, but not end the path or the line
/// it stands in.
pub fn is_path_text(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte))
}

/// Removes, sets and adds header fields, in this order. Names and values that are not legal in HTTP are left out;
/// [`super::Engine::build`] refuses bodies that have any.
pub fn edit_headers(edits: &HeaderEdits, headers: &mut HeaderMap) {
    let field = |(name, value): &(String, String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    for name in &edits.remove {
        headers.remove(name.as_str());
    }
    for (name, value) in edits.set.iter().filter_map(field) {
        headers.insert(name, value);
    }
    for (name, value) in edits.add.iter().filter_map(field) {
        headers.append(name, value);
    }
}

/// Fields that frame and route messages, which policy cannot edit: two readers of a message would disagree.
pub const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The first name or value that is not legal in HTTP, or that is not for policy to change.
pub(super) fn illegal_edit(edits: &HeaderEdits) -> Option<&str> {
    let bad_name = |name: &str| {
        HeaderName::from_bytes(name.as_bytes()).map_or(true, |name| FRAMING.contains(&name.as_str()))
    };
    let removed = edits.remove.iter().map(String::as_str).find(|name| bad_name(name));
    let changed = || edits.set.iter().chain(&edits.add);
    removed.or_else(|| changed().map(|(name, _)| name.as_str()).find(|name| bad_name(name))).or_else(|| {
        changed().map(|(_, value)| value.as_str()).find(|value| HeaderValue::from_str(value).is_err())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Fraction, Target};

    fn backend(name: &str, weight: u32) -> Backend {
        Backend {
            target: Target::Cluster(name.into()),
            weight,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
        }
    }

    #[test]
    fn each_mirror_has_a_draw_of_its_own() {
        let mirror = |name: &str, percent| Mirror { cluster: name.into(), share: Fraction::percent(percent) };
        let mirrors = [mirror("all", 100), mirror("half", 50), mirror("none", 0), mirror("few", 5)];
        let chosen = |draws: [u64; 4]| {
            let mut draws = draws.into_iter();
            let chosen = copies(&mirrors, || draws.next().unwrap());
            chosen.map(|mirror| mirror.cluster.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(chosen([99, 49, 0, 5]), ["all", "half"]);
        assert_eq!(chosen([0, 50, 0, 4]), ["all", "few"]);
    }

    #[test]
    fn a_split_is_exact_over_one_round() {
        let backends = [backend("a", 90), backend("none", 0), backend("b", 10)];
        let mut counts = std::collections::BTreeMap::new();
        for draw in 0..100 {
            let Target::Cluster(name) = &split(&backends, draw).unwrap().target else { panic!() };
            *counts.entry(name.as_str()).or_insert(0) += 1;
        }
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("a", 90), ("b", 10)]);
        assert!(split(&[backend("a", 0)], 7).is_none() && split(&[], 7).is_none());
        let huge = [backend("a", u32::MAX), backend("b", u32::MAX)];
        assert!(split(&huge, u64::MAX).is_some());
    }

    #[test]
    fn prefixes_are_replaced_as_gateway_api_says() {
        for (path, prefix, new, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
        ] {
            let matched = PathMatch::SegmentPrefix(prefix.into());
            let path = CanonicalPath::parse(path).unwrap();
            let rewritten = rewrite_path(&PathRewrite::Matched(new.into()), Some(&matched), &path, None);
            assert_eq!(rewritten, expected, "{path} {prefix} {new}");
        }
    }

    #[test]
    fn byte_prefixes_are_replaced_as_istio_does() {
        let path = CanonicalPath::parse("/v1x/y").unwrap();
        let rewrite = PathRewrite::Matched("/v2".into());
        assert_eq!(rewrite_path(&rewrite, Some(&PathMatch::Prefix("/v1".into())), &path, None), "/v2x/y");
        assert_eq!(rewrite_path(&rewrite, Some(&PathMatch::Exact("/v1x/y".into())), &path, None), "/v2");
    }

    #[test]
    fn expressions_are_replaced_as_re2_does() {
        let rewrite = |pattern: &str, substitution: &str, path: &str| {
            let regex = Regex::new(pattern).unwrap();
            assert!(is_substitution(substitution, &regex), "{substitution}");
            let rewrite =
                PathRewrite::Regex { pattern: pattern.into(), substitution: substitution.to_owned() };
            rewrite_path(&rewrite, None, &CanonicalPath::parse(path).unwrap(), Some(&regex))
        };
        assert_eq!(rewrite("/api/v([0-9]+)/(.*)", r"/\2/v\1", "/api/v2/users"), "/users/v2");
        assert_eq!(rewrite("a", r"[\0]$1", "/a/b/a"), "/[a]$1/b/[a]$1");
        let regex = Regex::new("(a)").unwrap();
        for odd in [r"\2", r"\", r"\x"] {
            assert!(!is_substitution(odd, &regex), "{odd}");
        }
    }

    #[test]
    fn redirects_keep_what_they_do_not_name() {
        let path = CanonicalPath::parse("/a").unwrap();
        let headers = HeaderMap::new();
        let request = Request {
            method: "GET",
            scheme: "http",
            authority: "shop.example:8080",
            path: &path,
            query: Some("q=1"),
            headers: &headers,
        };
        let none = || Redirect { scheme: None, host: None, port: None, path: None, status: 302 };
        let to = |redirect: Redirect| redirect_location(&redirect, None, &request);
        assert_eq!(to(none()), "http://shop.example:8080/a?q=1");
        assert_eq!(to(Redirect { scheme: Some("https".into()), ..none() }), "https://shop.example/a?q=1");
        assert_eq!(to(Redirect { port: Some(80), host: Some("b".into()), ..none() }), "http://b/a?q=1");
        assert_eq!(
            to(Redirect { path: Some(PathRewrite::Full("/z".into())), ..none() }),
            "http://shop.example:8080/z?q=1"
        );
    }

    #[test]
    fn authorities_are_split_at_the_port() {
        assert_eq!(split_authority("a:80"), ("a", Some(80)));
        assert_eq!(split_authority("[::1]"), ("[::1]", None));
        assert_eq!(split_authority("[::1]:80"), ("[::1]", Some(80)));
        for odd in ["a:99999", "a:", "a:+80", "a:080", "a:00", "a:-1", "a:8 0", "a:\u{666}"] {
            assert_eq!(split_authority(odd), ("a", None), "{odd}");
        }
        assert_eq!(split_authority("a:0"), ("a", Some(0)));
    }

    #[test]
    fn edits_remove_then_set_then_add() {
        let mut headers = HeaderMap::new();
        headers.append("a", "1".parse().unwrap());
        headers.append("b", "1".parse().unwrap());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let edits =
            HeaderEdits { remove: vec!["a".into()], set: vec![pair("b", "2")], add: vec![pair("b", "3")] };
        edit_headers(&edits, &mut headers);
        assert!(headers.get("a").is_none());
        assert_eq!(headers.get_all("b").iter().collect::<Vec<_>>(), ["2", "3"]);
        let bad = HeaderEdits { add: vec![pair("x", "a\r\nb")], ..HeaderEdits::default() };
        assert_eq!(illegal_edit(&bad), Some("a\r\nb"));
        for name in FRAMING.into_iter().chain(["Content-Length", ":authority", "a b", ""]) {
            let remove = HeaderEdits { remove: vec![name.into()], ..HeaderEdits::default() };
            let set = HeaderEdits { set: vec![pair(name, "1")], ..HeaderEdits::default() };
            let add = HeaderEdits { add: vec![pair(name, "1")], ..HeaderEdits::default() };
            assert!([remove, set, add].iter().all(|edits| illegal_edit(edits) == Some(name)), "{name}");
        }
    }
}
