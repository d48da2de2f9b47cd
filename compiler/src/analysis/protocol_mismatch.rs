//! # What it finds
//! Routes on a service, or to a backend, whose ports speak something else than the route routes: requests (HTTPRoute,
//! GRPCRoute, VirtualService `http`) need HTTP, a TLSRoute needs `tls`, a UDPRoute datagrams; and a BackendTLSPolicy for a port
//! to which callers speak TLS themselves.
//!
//! # Why it matters
//! Protocols are declared, never guessed. On an opaque port there are no requests to route, so the route would do nothing.
//!
//! # Example
//! ```yaml
//! kind: Service                       # Kubernetes
//! spec: { ports: [ { port: 80 } ] }   # neither `appProtocol` nor a name such as `http-web`: opaque
//! ```
//!
//! # Fix
//! In a Weft Service set `protocol: http`; in a Kubernetes Service set `appProtocol: http` or name the port `http-…`.
//!
//! # References
//! KEP-1422 (appProtocol); GEP-1911 (backend protocol selection).
