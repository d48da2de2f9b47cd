//! # What it finds
//! A route that no listener of its parent takes, or a ListenerSet that its Gateway does not take: because of its namespace
//! (`allowedRoutes`, `allowedListeners`), its kind, or its `hostnames`, none of which a listener is for. So is a VirtualService
//! with a host that no server of the Gateways that it names takes, or that it does not export to where their workloads are.
//!
//! # Why it matters
//! The document looks like policy and does nothing: callers get 404, and nobody is told.
//!
//! # Example
//! ```yaml
//! kind: Gateway
//! metadata: { name: edge, namespace: infra }
//! spec: { listeners: [ { name: web, port: 80, protocol: HTTP, hostname: '*.example' } ] }     # only for its own namespace
//! ---
//! kind: HTTPRoute
//! metadata: { name: shop, namespace: shop }
//! spec: { parentRefs: [ { name: edge, namespace: infra } ] }
//! ```
//!
//! # Fix
//! Let a server's `hosts` hold the host, or correct it. Let the listener's `allowedRoutes` name the namespace and kind, and its `hostname` hold a name of the route; or attach the
//! route elsewhere. A namespace's labels are read from its document of kind Namespace.
//!
//! # References
//! Gateway API v1, Listener.allowedRoutes, AllowedListeners, HTTPRouteSpec.hostnames; Istio, Server.hosts; istioctl IST0132
//! (host not in Gateway).
