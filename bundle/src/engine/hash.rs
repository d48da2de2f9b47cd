//! What a consistent hash is of, and the hash itself: the same in every proxy and every version, so that all send one key
//! to one endpoint.

use std::net::IpAddr;

use http::HeaderValue;
use http::header::{COOKIE, HeaderMap};

use super::Request;
use super::matcher::unescape;
use crate::body::{HashKey, HashPolicy};

/// What a request hashes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The hash of its key.
    pub value: u64,
    /// The `Set-Cookie` that its response gets, if the key is a cookie that was made for it.
    pub cookie: Option<HeaderValue>,
}

/// The hash of the first key that a request has; none if it has none of them. `fresh` is an even draw of all `u64`, for a
/// cookie that has to be made.
pub fn hash(policy: &HashPolicy, request: &Request<'_>, source: IpAddr, fresh: u64) -> Option<Hashed> {
    policy.keys.iter().find_map(|key| {
        let value = match key {
            HashKey::Header(name) => {
                let mut values = request.headers.get_all(name).iter().peekable();
                values.peek()?;
                let values: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
                stable_hash(&values)
            }
            HashKey::Query(name) => stable_hash(&[&parameter(request.query?, name)?]),
            HashKey::SourceAddress => of_address(source),
            HashKey::Cookie { name, ttl, path } => match cookie(request.headers, name) {
                Some(value) => stable_hash(&[value]),
                None => {
                    let seconds = (*ttl)?.get().as_secs();
                    let value = format!("{fresh:016x}");
                    let age = if seconds > 0 { format!("; Max-Age={seconds}") } else { String::new() };
                    let path = path.as_ref().map(|path| format!("; Path={path}")).unwrap_or_default();
                    let set = HeaderValue::from_str(&format!("{name}={value}{age}{path}; HttpOnly")).ok()?;
                    return Some(Hashed { value: stable_hash(&[value.as_bytes()]), cookie: Some(set) });
                }
            },
        };
        Some(Hashed { value, cookie: None })
    })
}

/// The hash of the first key that a connection has, whose requests cannot be seen; none if it has none of them.
pub fn hash_connection(policy: &HashPolicy, source: IpAddr) -> Option<u64> {
    let mut has = policy.keys.iter().filter(|key| matches!(key, HashKey::SourceAddress));
    has.next().map(|_| of_address(source))
}

fn of_address(source: IpAddr) -> u64 {
    stable_hash(&[source.to_canonical().to_string().as_bytes()])
}

/// The first value of a query parameter, decoded.
fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut found = pairs.filter(|(key, _)| unescape(key) == name.as_bytes());
    found.next().map(|(_, value)| unescape(value))
}

/// The value of a cookie, the first of that name (RFC 6265 section 5.4).
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let crumbs =
        headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    crumbs.map(<[u8]>::trim_ascii).find_map(|crumb| {
        let value = crumb.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// FNV-1a over all parts, each behind its length, then the finish of SplitMix64, which spreads what FNV leaves in the low
/// bits.
pub fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for part in parts {
        (part.len() as u64).to_le_bytes().into_iter().for_each(&mut take);
        part.iter().copied().for_each(&mut take);
    }
    mix(hash)
}

/// The finish of SplitMix64: another hash for the same key.
pub fn mix(mut hash: u64) -> u64 {
    hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::DurationText;
    use crate::engine::path::CanonicalPath;
    use std::time::Duration;

    fn hashed(keys: &[HashKey], query: Option<&str>, fields: &[(&'static str, &str)]) -> Option<Hashed> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let path = CanonicalPath::parse("/").unwrap();
        let request =
            Request { method: "GET", scheme: "http", authority: "a", path: &path, query, headers: &headers };
        let policy = HashPolicy { keys: keys.to_vec(), size: None };
        hash(&policy, &request, "10.0.0.1".parse().unwrap(), 7)
    }

    fn cookie_key(ttl: Option<u64>) -> HashKey {
        let ttl = ttl.map(|seconds| DurationText::new(Duration::from_secs(seconds)));
        HashKey::Cookie { name: "sid".to_owned(), ttl, path: Some("/shop".to_owned()) }
    }

    #[test]
    fn the_first_key_that_is_there_decides() {
        let header = HashKey::Header("x-user".to_owned());
        let query = HashKey::Query("user".to_owned());
        let of = |text: &str| Some(Hashed { value: stable_hash(&[text.as_bytes()]), cookie: None });
        let keys = [header.clone(), query.clone(), HashKey::SourceAddress];
        assert_eq!(hashed(&keys, Some("user=b"), &[("x-user", "a")]), of("a"));
        assert_eq!(hashed(&keys, Some("x=1&user=b%20c&user=d"), &[]), of("b c"));
        assert_eq!(hashed(&keys, None, &[]), of("10.0.0.1"));
        assert_eq!(hashed(&[header, query], None, &[]), None);
    }

    #[test]
    fn a_connection_has_nothing_but_its_address() {
        let header = HashKey::Header("x-user".to_owned());
        let of = |keys: &[HashKey]| {
            let policy = HashPolicy { keys: keys.to_vec(), size: None };
            hash_connection(&policy, "::ffff:10.0.0.1".parse().unwrap())
        };
        assert_eq!(of(&[header.clone(), HashKey::SourceAddress]), Some(stable_hash(&[b"10.0.0.1"])));
        assert_eq!(of(&[header]), None);
    }

    #[test]
    fn a_cookie_is_read_and_made_where_it_has_a_lifetime() {
        let of = |text: &str| stable_hash(&[text.as_bytes()]);
        for crumbs in [&[("cookie", "a=1; sid=x; b=2")][..], &[("cookie", "xsid=y"), ("cookie", "sid=\"x\"")]]
        {
            assert_eq!(hashed(&[cookie_key(None)], None, crumbs).unwrap().value, of("x"));
        }
        assert_eq!(hashed(&[cookie_key(None)], None, &[("cookie", "xsid=y")]), None);
        let made = |ttl| {
            let made = hashed(&[cookie_key(Some(ttl))], None, &[]).unwrap();
            assert_eq!(made.value, of("0000000000000007"));
            made.cookie.unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(made(60), "sid=0000000000000007; Max-Age=60; Path=/shop; HttpOnly");
        assert_eq!(made(0), "sid=0000000000000007; Path=/shop; HttpOnly");
    }

    /// Other proxies of the mesh must agree, also those of other versions.
    #[test]
    fn the_hash_never_changes() {
        // Worked out by another program.
        assert_eq!(stable_hash(&[]), 0xc381_7c01_6ba4_ff30);
        assert_eq!(stable_hash(&[b"a"]), 0x9c0b_4f54_7ca2_1095);
        assert_eq!(stable_hash(&[b"ab", b"c"]), 0x51ee_0079_4e16_1859);
        assert_ne!(stable_hash(&[b"ab", b"c"]), stable_hash(&[b"a", b"bc"]));
    }
}
