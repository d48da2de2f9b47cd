//! Where a request wants to go: one authority, one canonical path. Whatever is doubtful is refused.

use http::header::HOST;
use http::request::Parts;
use http::{Method, Version};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{Request, split_authority};

use crate::telemetry::Reason;

/// The most header fields a request may have; HTTP/2 cookie crumbs count one each.
pub(crate) const MAX_FIELDS: usize = 100;

/// The most bytes that the head of a request may have.
pub(crate) const MAX_HEAD_BYTES: u16 = 60 * 1024;

/// The head of a request, checked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Lower case, with its port if it has one.
    pub(crate) authority: String,
    /// Lower case, without port.
    host_bytes: usize,
    /// The port named, else the scheme's.
    pub(crate) port: u16,
    /// `http` or `https`, as the caller sees it.
    pub(crate) scheme: &'static str,
    /// The path that is matched, judged and forwarded.
    pub(crate) path: CanonicalPath,
    /// What followed `?`.
    pub(crate) query: Option<String>,
}

/// A head that is not forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    /// One line for the caller.
    pub(crate) detail: String,
}

fn refuse<T>(reason: Reason, detail: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { reason, detail: detail.into() })
}

impl Target {
    /// Reads it from a request's head. `scheme` is that of the connection; an absolute form may say otherwise.
    ///
    /// # Errors
    /// The answer to give instead of forwarding.
    pub(crate) fn read(head: &Parts, scheme: &'static str) -> Result<Self, Refused> {
        if head.headers.len() > MAX_FIELDS {
            return refuse(Reason::HeaderLimit, format!("more than {MAX_FIELDS} header fields"));
        }
        if head.method == Method::CONNECT {
            return refuse(Reason::Unsupported, "CONNECT is not supported here");
        }
        let raw_path = head.uri.path();
        if raw_path == "*" && head.method != Method::OPTIONS {
            return refuse(Reason::BadPath, "`*` is a target for OPTIONS only");
        }
        let path = CanonicalPath::parse(raw_path)
            .or_else(|refusal| refuse(Reason::BadPath, format!("{}: {refusal}", refusal.as_str())))?;
        let authority = authority(head)?;
        let (host, named_port) = split_authority(&authority);
        if host.is_empty() || !plain_host(host) {
            return refuse(Reason::BadHost, "the host is not a host name or address");
        }
        if host.len() < authority.len() && named_port.is_none_or(|port| port == 0) {
            return refuse(Reason::BadHost, "the port is not a port");
        }
        let scheme = match head.uri.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            Some(_) => return refuse(Reason::Unsupported, "the scheme is not http or https"),
            None => scheme,
        };
        let port = named_port.unwrap_or(if scheme == "https" { 443 } else { 80 });
        let host_bytes = host.len();
        let query = head.uri.query().map(str::to_owned);
        Ok(Self { authority, host_bytes, port, scheme, path, query })
    }

    /// Reads the target of a `CONNECT`, which is a host and a port and nothing else (RFC 9110 section 9.3.6).
    ///
    /// # Errors
    /// The answer to give instead of a tunnel.
    pub(crate) fn of_connect(head: &Parts) -> Result<Self, Refused> {
        let path = CanonicalPath::parse("/")
            .or_else(|refusal| refuse(Reason::BadPath, format!("{}: {refusal}", refusal.as_str())))?;
        let authority = authority(head)?;
        let (host, port) = split_authority(&authority);
        if head.headers.len() > MAX_FIELDS {
            return refuse(Reason::HeaderLimit, format!("more than {MAX_FIELDS} header fields"));
        }
        match port.filter(|port| *port > 0 && !host.is_empty() && plain_host(host)) {
            Some(port) if head.uri.authority().is_some() => {
                let host_bytes = host.len();
                Ok(Self { host_bytes, port, scheme: "http", path, query: None, authority })
            }
            Some(_) | None => refuse(Reason::BadHost, "the target is not a host and a port"),
        }
    }

    /// The same request to another host and port, which is not the scheme's own.
    #[must_use]
    pub(crate) fn at(self, host: &str, port: u16) -> Self {
        let authority = if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
        Self { authority, host_bytes: host.len(), port, ..self }
    }

    /// The host, without port.
    pub(crate) fn host(&self) -> &str {
        self.authority.get(..self.host_bytes).unwrap_or_default()
    }

    /// What the engine looks at.
    pub(crate) fn request<'a>(&'a self, head: &'a Parts) -> Request<'a> {
        Request {
            method: head.method.as_str(),
            scheme: self.scheme,
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &head.headers,
        }
    }
}

/// The one authority of a request: that of an absolute target, which RFC 9112 section 3.2.2 puts before `Host`; on
/// HTTP/2 the two must agree.
fn authority(head: &Parts) -> Result<String, Refused> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse(Reason::BadHost, "several Host fields");
    }
    let Ok(host) = host.map(|value| value.to_str()).transpose() else {
        return refuse(Reason::BadHost, "Host is not text");
    };
    let text = match (head.uri.authority(), host) {
        (Some(target), Some(host))
            if head.version == Version::HTTP_2 && !target.as_str().eq_ignore_ascii_case(host) =>
        {
            return refuse(Reason::BadHost, ":authority and host differ");
        }
        (Some(target), _) => target.as_str(),
        (None, Some(host)) => host,
        (None, None) => return refuse(Reason::BadHost, "no Host"),
    };
    if text.contains('@') {
        return refuse(Reason::BadHost, "user information in the host");
    }
    Ok(text.to_ascii_lowercase())
}

/// Letters, digits, `-`, `_`, `.`; or an IPv6 address in brackets.
fn plain_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(version: Version, uri: &str, hosts: &[&str]) -> Result<Target, Reason> {
        let mut request = http::Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Target::read(&head, "http").map_err(|refused| refused.reason)
    }

    #[test]
    fn one_authority() {
        let h1 = |uri, hosts| read(Version::HTTP_11, uri, hosts).map(|t| (t.host().to_owned(), t.port));
        assert_eq!(h1("/", &["Cart:8080"]), Ok(("cart".to_owned(), 8080)));
        assert_eq!(h1("/", &["cart"]), Ok(("cart".to_owned(), 80)));
        assert_eq!(h1("https://cart/", &["other"]), Ok(("cart".to_owned(), 443)));
        assert_eq!(h1("/", &["[::1]:81"]), Ok(("[::1]".to_owned(), 81)));
        for hosts in [
            &[][..],
            &["a", "a"],
            &[""],
            &["a,b"],
            &["a b"],
            &["u@a"],
            &["a:0"],
            &["a:65536"],
            &["a:"],
            &["[::g]"],
        ] {
            assert_eq!(h1("/", hosts), Err(Reason::BadHost), "{hosts:?}");
        }
        let h2 = |host: &[&str]| read(Version::HTTP_2, "http://cart:80/", host).map(|t| t.port);
        assert_eq!(h2(&["cart:80"]), Ok(80));
        assert_eq!(h2(&[]), Ok(80));
        assert_eq!(h2(&["evil"]), Err(Reason::BadHost));
    }

    #[test]
    fn one_path() {
        let path = |uri| read(Version::HTTP_11, uri, &["a"]).map(|t| t.path.to_string());
        assert_eq!(path("/a//b/%2e%2e/c?x"), Ok("/a/c".to_owned()));
        assert_eq!(path("/a%2fb"), Err(Reason::BadPath));
        assert_eq!(path("*"), Err(Reason::BadPath));
    }

    #[test]
    fn too_many_fields() {
        let mut request = http::Request::builder().uri("/").header(HOST, "a");
        for _ in 0..MAX_FIELDS {
            request = request.header("cookie", "crumb");
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(Target::read(&head, "http").unwrap_err().reason, Reason::HeaderLimit);
    }
}
