//! Why a request ended the way it did: one closed list for log, metric label and the `x-weft-reason` header.

use std::fmt;

use http::StatusCode;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident;)*) => {
        /// Why a request ended the way it did.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name used in logs, metrics and headers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The status that answers a request which ends for this reason before a response began.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }
        }
    };
}

reasons! {
    /// The response of the upstream was delivered whole.
    Ok = "ok", OK;
    /// A rule answered by itself.
    DirectResponse = "direct-response", OK;
    /// A rule sent the caller elsewhere.
    Redirect = "redirect", FOUND;
    /// A browser asked whether it may ask, and was told.
    Preflight = "preflight", NO_CONTENT;
    /// A browser asked whether it may ask, for an origin that may not.
    OriginRefused = "origin-refused", FORBIDDEN;
    /// Policy injected an error.
    FaultInjected = "fault-injected", SERVICE_UNAVAILABLE;
    /// Access policy refused.
    AccessDenied = "access-denied", FORBIDDEN;
    /// The caller brought a token that does not hold.
    TokenRefused = "token-refused", UNAUTHORIZED;
    /// The port takes no more requests now.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS;
    /// The port wants mutual TLS, and this connection has none.
    IdentityRequired = "identity-required", FORBIDDEN;
    /// There is no policy yet, or none for this port any more.
    NoPolicy = "no-policy", SERVICE_UNAVAILABLE;
    /// The request is not one that has one meaning only.
    Malformed = "malformed", BAD_REQUEST;
    /// The request names no host, several, or one that is not a host.
    BadHost = "bad-host", BAD_REQUEST;
    /// The path has no canonical form.
    BadPath = "bad-path", BAD_REQUEST;
    /// A change of protocol that cannot be asked for like this: with a body, or on HTTP/1.0.
    BadUpgrade = "bad-upgrade", BAD_REQUEST;
    /// Too many header fields, or too large.
    HeaderLimit = "header-limit", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// `CONNECT` to an HTTP port, and other things that this proxy does not do.
    Unsupported = "unsupported", NOT_IMPLEMENTED;
    /// The host of the request is of another listener than the server name of its connection.
    Misdirected = "misdirected", MISDIRECTED_REQUEST;
    /// The request came back to the proxy that sent it.
    Loop = "loop", LOOP_DETECTED;
    /// No service that we may call answers to this host and port.
    UnknownHost = "unknown-host", BAD_GATEWAY;
    /// The rule's backends all have weight zero.
    NoBackend = "no-backend", SERVICE_UNAVAILABLE;
    /// The backend that was drawn does not exist.
    BackendMissing = "backend-missing", INTERNAL_SERVER_ERROR;
    /// The cluster has no endpoints.
    NoEndpoint = "no-endpoint", SERVICE_UNAVAILABLE;
    /// Neither a name nor a file has said yet where the cluster's endpoints are.
    EndpointsUnknown = "endpoints-unknown", SERVICE_UNAVAILABLE;
    /// All endpoints of the cluster are left out because they fail.
    NoHealthyEndpoint = "no-healthy-endpoint", SERVICE_UNAVAILABLE;
    /// As much is in flight to the upstream as its limits allow.
    Overflow = "overflow", SERVICE_UNAVAILABLE;
    /// No connection to the upstream.
    ConnectFailure = "connect-failure", SERVICE_UNAVAILABLE;
    /// The upstream is not who it should be, or the handshake failed.
    TlsFailure = "tls-failure", SERVICE_UNAVAILABLE;
    /// The upstream refused the stream before processing it.
    RefusedStream = "refused-stream", SERVICE_UNAVAILABLE;
    /// The upstream ended the connection before or during its response.
    UpstreamReset = "upstream-reset", BAD_GATEWAY;
    /// The upstream's answer is not HTTP.
    UpstreamProtocol = "upstream-protocol", BAD_GATEWAY;
    /// The rule's time for the whole request ran out.
    RequestTimeout = "request-timeout", GATEWAY_TIMEOUT;
    /// The rule's time for one try ran out.
    TryTimeout = "try-timeout", GATEWAY_TIMEOUT;
    /// Nothing moved for too long inside a body.
    IdleTimeout = "idle-timeout", GATEWAY_TIMEOUT;
    /// The caller went away, or broke off its request.
    DownstreamClosed = "downstream-closed", BAD_REQUEST;
}

impl Reason {
    /// Whether the request failed through no fault of the caller or of policy.
    pub const fn is_upstream_fault(self) -> bool {
        matches!(
            self,
            Self::NoEndpoint
                | Self::EndpointsUnknown
                | Self::NoHealthyEndpoint
                | Self::ConnectFailure
                | Self::TlsFailure
                | Self::RefusedStream
                | Self::UpstreamReset
                | Self::UpstreamProtocol
                | Self::RequestTimeout
                | Self::TryTimeout
                | Self::IdleTimeout
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_places_are_their_order() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
            assert_eq!(Reason::ALL.iter().filter(|other| other.as_str() == reason.as_str()).count(), 1);
        }
    }
}
