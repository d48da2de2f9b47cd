//! What a connection was opened for besides its endpoint. A request only goes over a connection of the very same terms: a
//! server that was asked for under one name may not answer for another one, and one that was told of a client by the PROXY
//! protocol would take the next client for it.

use std::net::SocketAddr;

use http::Request;
use weft_bundle::engine::split_authority;

use super::ClusterSpec;

/// See the module. Most clusters have no terms, and then all are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms(Option<Box<Bound>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Bound {
    /// The host of the request, where that is the name of the server.
    server_name: Option<Box<str>>,
    /// For whom, where the server is told; none for ourselves.
    source: Option<Source>,
}

/// A client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) client: SocketAddr,
    /// Where it connected to.
    pub(crate) local: SocketAddr,
}

impl Terms {
    /// Those of a request, which carries its [`Source`] among its extensions.
    pub(crate) fn of<B>(spec: &ClusterSpec, request: &Request<B>) -> Self {
        let host = || {
            let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
            request.uri().authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default()
        };
        Self::new(spec, request.extensions().get().copied(), host)
    }

    /// Those of bytes that are not looked at, for a client that perhaps said which server it wants.
    pub(crate) fn of_stream(spec: &ClusterSpec, source: Option<Source>, server_name: Option<&str>) -> Self {
        Self::new(spec, source.filter(|_| spec.proxy_protocol.is_some()), || server_name.unwrap_or_default())
    }

    /// Those of a question of our own to a host.
    pub(super) fn for_host(spec: &ClusterSpec, host: &str) -> Self {
        Self::new(spec, None, || host)
    }

    fn new<'h>(spec: &ClusterSpec, source: Option<Source>, host: impl FnOnce() -> &'h str) -> Self {
        let named = spec.tls.as_ref().is_some_and(super::connect::ClientTls::is_named_by_request);
        if !named && source.is_none() {
            return Self::default();
        }
        let server_name = named.then(|| split_authority(host()).0.to_ascii_lowercase().into());
        Self(Some(Box::new(Bound { server_name, source })))
    }

    /// The name of the server, where the request says it.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.0.as_ref()?.server_name.as_deref()
    }

    /// For whom the connection is, where the server is told.
    pub(super) fn source(&self) -> Option<Source> {
        self.0.as_ref()?.source
    }

    /// Whether any request of the cluster may use the connection.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}
