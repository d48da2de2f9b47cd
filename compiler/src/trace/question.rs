//! The request to trace, and who sends it.

use std::fmt;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{self, Request};
use weft_bundle::spiffe::SpiffeId;

use crate::model::{GatewayIndex, ServiceIndex};

/// The request to trace.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who calls.
    pub from: From,
    /// The address it calls from, for rules about networks.
    pub address: IpAddr,
    /// The method.
    pub method: String,
    /// `http` or `https`; `tcp` or `tls` for a connection whose requests are not looked at.
    pub scheme: String,
    /// Host and port.
    pub authority: String,
    /// The path as sent. Of a TLS connection: the server name, after a `/`, if it is not the host.
    pub path: String,
    /// What follows `?`.
    pub query: Option<String>,
    /// Header fields.
    pub headers: HeaderMap,
    /// The time, in seconds since 1970, for tokens that expire; where nobody says, their times are not judged.
    pub now: Option<i64>,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// A workload of a service, through its proxy, which routes the request.
    Service(ServiceIndex),
    /// Someone outside the mesh, at a gateway.
    Gateway(GatewayIndex),
    /// A client of its own, which connects to the workloads of the service that the URL names. Nothing routes its
    /// requests; the callee decides whether it may come in.
    Peer(Stranger),
}

/// A client without a proxy of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// What its certificate says; none if it has none.
    pub identity: Option<SpiffeId>,
    /// The namespace in which short host names are looked up.
    pub namespace: String,
}

impl std::convert::From<ServiceIndex> for From {
    fn from(service: ServiceIndex) -> Self {
        Self::Service(service)
    }
}

impl std::convert::From<GatewayIndex> for From {
    fn from(gateway: GatewayIndex) -> Self {
        Self::Gateway(gateway)
    }
}

/// Why a text is not a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionError(String);

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for QuestionError {}

impl Question {
    /// The request as the engine reads it.
    pub(super) fn request<'q>(&'q self, path: &'q CanonicalPath) -> Request<'q> {
        Request {
            method: &self.method,
            scheme: &self.scheme,
            authority: &self.authority,
            path,
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }

    /// The request that a text such as `GET http://reviews:9080/reviews/1?x=y` and headers such as `end-user: jason`
    /// describe. Without a method it is `GET`. `tcp://db:5432` and `tls://db:443` are connections.
    ///
    /// # Errors
    /// What is wrong with the text or a header.
    pub fn parse(
        from: impl Into<From>,
        address: IpAddr,
        text: &str,
        headers: &[String],
    ) -> Result<Self, QuestionError> {
        let (method, url) = text.trim().split_once(' ').unwrap_or(("GET", text.trim()));
        let wrong = |why: &str| {
            QuestionError(format!("`{text}` is not a request: {why}; write `GET http://reviews:9080/path`"))
        };
        let method = http::Method::from_bytes(method.as_bytes())
            .map_err(|_| wrong("the method has odd characters"))?;
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(|| wrong("it has no `http://host`"))?;
        let connection = matches!(scheme, "tcp" | "tls");
        if !connection && scheme != "http" && scheme != "https" {
            return Err(wrong("the scheme is not `http` or `https`"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let (host, port) = engine::split_authority(authority);
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        if authority.contains('@') {
            return Err(wrong("a user name is no part of it"));
        }
        if authority.len() > host.len() && port.is_none_or(|port| port == 0) {
            return Err(wrong("the port is not a number from 1 to 65535"));
        }
        if connection && port.is_none() {
            return Err(wrong("a connection is to a port"));
        }
        if target.contains('#') {
            return Err(wrong("what follows `#` is never sent"));
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let headers = headers.iter().map(|line| header(line)).collect::<Result<HeaderMap, _>>()?;
        Ok(Self {
            from: from.into(),
            address,
            method: method.to_string(),
            scheme: scheme.to_owned(),
            authority: authority.to_ascii_lowercase(),
            path: path.to_owned(),
            query,
            headers,
            now: None,
        })
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), QuestionError> {
    let wrong = || QuestionError(format!("`{line}` is not a header; write `name: value`"));
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?))
}
