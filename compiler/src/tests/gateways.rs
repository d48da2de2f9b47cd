//! Gateways: what documents are lowered to, and what is found in them.

mod found;

use super::body;

macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident($service:literal): $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(body($text, $service)); })*
    };
}

cases! {
    a_gateway_with_http_and_https("default/edge"): "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: web, port: 80, protocol: HTTP }
  - name: shop
    port: 443
    protocol: HTTPS
    hostname: '*.shop.example'
    tls: { certificateRefs: [ { name: shop-cert } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: to-https }
spec:
  parentRefs: [ { name: edge, sectionName: web } ]
  rules: [ { filters: [ { type: RequestRedirect, requestRedirect: { scheme: https, statusCode: 301 } } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec:
  parentRefs: [ { name: edge, port: 443 } ]
  hostnames: [ '*.example', a.shop.example, b.shop.example, elsewhere.test ]
  rules:
  - name: cart
    matches: [ { path: { value: /cart } } ]
    filters:
    - { type: RequestMirror, requestMirror: { backendRef: { name: web, port: 80 }, percent: 5 } }
    - { type: RequestMirror, requestMirror: { backendRef: { name: cart, port: 80 }, fraction: { numerator: 1, denominator: 200 } } }
    - type: CORS
      cors:
        allowOrigins: [ 'https://Shop.example:443', 'https://*.shop.example', 'http://*:8080' ]
        allowMethods: [ GET, PUT ]
        allowHeaders: [ X-Cart ]
        exposeHeaders: [ X-Total ]
        allowCredentials: true
        maxAge: 60
    retry: { codes: [ 503, 500 ], attempts: 3, backoff: 100ms }
    sessionPersistence: { type: Cookie, absoluteTimeout: 1h, cookieConfig: { lifetimeType: Permanent } }
    timeouts: { request: 4s, backendRequest: 1s }
    backendRefs: [ { name: cart, port: 80 } ]
  - backendRefs: [ { name: web, port: 80 } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: office }
spec:
  targetRefs: [ { kind: Gateway, name: edge } ]
  action: deny
  rules: [ { from: [ { network: 198.51.100.0/24 } ], to: [ { paths: [ { prefix: /admin } ] } ] } ]
";
    /// The most specific host of any route comes first, then the criteria of its kind.
    hosts_come_before_paths("default/edge"): "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, annotations: { weft.dev/service-account: edge-robot } }
spec: { gatewayClassName: weft, listeners: [ { name: web, port: 80, protocol: HTTP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: general }
spec:
  parentRefs: [ { name: edge } ]
  rules: [ { matches: [ { path: { type: Exact, value: /exact } } ], backendRefs: [ { name: web, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: wild }
spec:
  parentRefs: [ { name: edge } ]
  hostnames: [ '*.example', '*.a.example' ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: exact }
spec:
  parentRefs: [ { name: edge } ]
  hostnames: [ x.a.example, longer.example ]
  rules: [ { backendRefs: [ { name: web, port: 80 } ] } ]
";
    /// A gateway whose name is a service's is that service, and one bundle holds both.
    a_gateway_that_is_a_service("default/web"): "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: web }
spec: { gatewayClassName: weft, listeners: [ { name: calls, port: 8080, protocol: HTTP, hostname: api.example } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: calls }
spec:
  parentRefs: [ { name: web } ]
  rules:
  - name: get
    matches:
    - { method: { service: shop.Cart, method: Get } }
    - { method: { service: shop.Cart }, headers: [ { name: X-Env, value: test } ] }
    - { method: { method: List } }
    - { method: { type: RegularExpression, service: 'shop\\..*', method: 'G.*' } }
    sessionPersistence: { type: Header, sessionName: X-Cart }
    backendRefs: [ { name: cart, port: 80 } ]
  - name: nowhere
    matches: [ { method: { service: old.Cart } } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: closed }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { gateway: web } ] } ] }
";
    connections_by_server_name("default/edge"): "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: tls, port: 443, protocol: TLS, tls: { mode: Passthrough } }
  - { name: ended, port: 8443, protocol: TLS, hostname: db.example, tls: { mode: Terminate, certificateRefs: [ { name: db } ] } }
  - { name: tcp, port: 5432, protocol: TCP }
  - { name: udp, port: 53, protocol: UDP }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: sql, port: 5432, protocol: tcp }, { name: tls, port: 443, protocol: tls } ], endpoints: { static: [ { address: 10.0.0.9 } ] } }
---
apiVersion: v1
kind: Service
metadata: { name: dns }
spec: { ports: [ { name: dns, port: 53, protocol: UDP } ] }
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: { name: through }
spec:
  parentRefs: [ { name: edge, sectionName: tls }, { name: edge, sectionName: ended } ]
  hostnames: [ '*.example', db.example ]
  rules: [ { name: db, backendRefs: [ { name: db, port: 443, weight: 3 }, { name: db, port: 5432 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: { name: sql }
spec: { parentRefs: [ { name: edge, sectionName: tcp } ], rules: [ { backendRefs: [ { name: db, port: 5432 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: { name: names }
spec: { parentRefs: [ { name: edge, sectionName: udp } ], rules: [ { backendRefs: [ { name: dns, port: 53 } ] } ] }
";
    routes_of_connections_on_services("default/web"): "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: tls, port: 443, protocol: tls } ], endpoints: { static: [ { address: 10.0.0.9 } ] } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: wide }
spec:
  parentRefs: [ { kind: Service, group: '', name: db } ]
  hostnames: [ '*.example', a.example ]
  rules: [ { backendRefs: [ { name: db, port: 443 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: narrow }
spec:
  parentRefs: [ { kind: Service, group: '', name: db } ]
  hostnames: [ '*.b.example', b.example ]
  rules: [ { backendRefs: [ { name: db, port: 443 } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: closed }
spec: { targetRefs: [ { kind: Service, name: cart }, { kind: Service, name: web } ], action: allow, rules: [ ] }
";
    /// The gateway shows its certificate, and the same workloads show none where they call for themselves.
    a_certificate_of_the_gateway_is_not_that_of_its_workloads("default/web"): "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { group: '', kind: Service, name: cart } ]
  validation: { hostname: cart.internal, wellKnownCACertificates: System }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: web }
spec:
  gatewayClassName: weft
  listeners: [ { name: http, port: 8080, protocol: HTTP } ]
  tls: { backend: { clientCertificateRef: { name: client } } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { name: web } ]
  rules:
  - filters: [ { type: RequestMirror, requestMirror: { backendRef: { name: cart, port: 80 } } } ]
    backendRefs: [ { name: cart, port: 80 } ]
";
    listener_sets_and_backends_with_certificates("infra/edge"): "
apiVersion: v1
kind: Namespace
metadata: { name: default, labels: { edge: open } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: issuers }
data:
  ca.crt: |
    -----BEGIN CERTIFICATE-----
    AAAA
    -----END CERTIFICATE-----
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { group: '', kind: Service, name: cart } ]
  validation:
    hostname: cart.internal
    caCertificateRefs: [ { group: '', kind: ConfigMap, name: issuers } ]
    subjectAltNames: [ { type: URI, uri: 'spiffe://other/cart' }, { type: Hostname, hostname: '*.internal' } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: web }
spec:
  targetRefs: [ { group: '', kind: Service, name: web, sectionName: http } ]
  validation: { hostname: web.internal, wellKnownCACertificates: System }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: infra }
spec:
  gatewayClassName: weft
  listeners:
  - { name: web, port: 80, protocol: http, hostname: infra.example }
  allowedListeners: { namespaces: { from: Selector, selector: { matchLabels: { edge: open } } } }
  tls:
    backend: { clientCertificateRef: { name: client } }
    frontend:
      default: {}
      perPort:
      - port: 443
        tls: { validation: { caCertificateRefs: [ { group: '', kind: ConfigMap, name: issuers, namespace: default } ] } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: issuers }
spec:
  from: [ { group: gateway.networking.k8s.io, kind: Gateway, namespace: infra } ]
  to: [ { group: '', kind: ConfigMap, name: issuers } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: shop }
spec:
  parentRef: { name: edge, namespace: infra }
  listeners:
  - { name: web, port: 443, protocol: HTTPS, hostname: shop.example, tls: { certificateRefs: [ { name: shop } ] } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec:
  parentRefs: [ { kind: ListenerSet, name: shop } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 }, { name: web, port: 80 } ] } ]
";
}
