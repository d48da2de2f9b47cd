//! What is found in Gateways and the routes on their listeners.

use crate::tests::findings;

macro_rules! finds {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(findings($text)); })*
    };
}

finds! {
    missing_grants: "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: infra }
spec:
  gatewayClassName: weft
  listeners:
  - { name: web, port: 443, protocol: HTTPS, tls: { certificateRefs: [ { name: shop, namespace: default } ] }, allowedRoutes: { namespaces: { from: All } } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: front }
spec:
  parentRefs: [ { name: edge, namespace: infra } ]
  rules:
  - filters: [ { type: RequestMirror, requestMirror: { backendRef: { name: web, namespace: default, port: 80 } } } ]
    backendRefs: [ { name: cart, namespace: default, port: 80 } ]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: other }
spec:
  from: [ { group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: other }, { group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: front } ]
  to: [ { group: '', kind: Service } ]
";
    /// One grant for all, and a route of a Service, which needs none.
    nearest_to_missing_grants: "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: front }
spec: { gatewayClassName: weft, listeners: [ { name: web, port: 80, protocol: HTTP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: front }
spec: { parentRefs: [ { name: edge } ], rules: [ { backendRefs: [ { name: cart, namespace: default, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: consumer, namespace: front }
spec: { parentRefs: [ { kind: Service, name: web, namespace: default } ], rules: [ { backendRefs: [ { name: web, namespace: default, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: front }
spec:
  from: [ { group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: front } ]
  to: [ { group: '', kind: Service, name: cart } ]
";
    routes_that_no_listener_takes: "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: web, port: 80, protocol: HTTP, hostname: '*.example', allowedRoutes: { kinds: [ { kind: HTTPRoute } ] } }
  - { name: some, port: 81, protocol: HTTP, allowedRoutes: { namespaces: { from: Selector, selector: { matchExpressions: [ { key: edge, operator: In, values: [ 'yes' ] } ] } } } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: host }
spec: { parentRefs: [ { name: edge, sectionName: web } ], hostnames: [ example, a.test ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: namespace, namespace: other }
spec: { parentRefs: [ { name: edge, namespace: default } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: kind }
spec: { parentRefs: [ { name: edge, port: 80 }, { name: egde }, { name: edge, sectionName: wbe }, { name: edge, port: 82 } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: { name: protocol }
spec: { parentRefs: [ { name: edge, sectionName: web } ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: uninvited }
spec: { parentRef: { name: edge }, listeners: [ { name: a, port: 90, protocol: HTTP } ] }
";
    routes_of_two_kinds_in_one_place: "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web }
spec: { parentRefs: [ { kind: Service, name: cart } ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: calls }
spec: { parentRefs: [ { kind: Service, name: cart } ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec: { gatewayClassName: weft, listeners: [ { name: web, port: 80, protocol: HTTP }, { name: more, port: 81, protocol: HTTP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: a }
spec: { parentRefs: [ { name: edge, sectionName: web } ], hostnames: [ a.example, b.example ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: b }
spec: { parentRefs: [ { name: edge, sectionName: web } ], hostnames: [ '*.example' ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: c }
spec: { parentRefs: [ { name: edge, sectionName: more } ], hostnames: [ a.example ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: d, annotations: { weft.dev/priority: '1' } }
spec: { parentRefs: [ { name: edge, sectionName: more } ], hostnames: [ a.example ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: apart }
spec: { parentRefs: [ { name: edge, sectionName: more } ], hostnames: [ z.example ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
";
    unreachable_on_listeners: "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: web, port: 80, protocol: HTTP }
  - { name: shop, port: 80, protocol: HTTP, hostname: shop.example }
  - { name: tls, port: 443, protocol: TLS, tls: { mode: Passthrough } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: isolated }
spec:
  parentRefs: [ { name: edge, sectionName: web } ]
  hostnames: [ shop.example ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: twice }
spec:
  parentRefs: [ { name: edge, sectionName: shop } ]
  rules:
  - { name: all, matches: [ { path: { value: / } } ], backendRefs: [ { name: cart, port: 80 } ] }
  - { name: same, matches: [ { path: { value: / } } ], backendRefs: [ { name: web, port: 80 } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: a }
spec: { parentRefs: [ { name: edge, sectionName: tls } ], hostnames: [ a.example ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: b }
spec: { parentRefs: [ { name: edge, sectionName: tls } ], hostnames: [ b.example, a.example ], rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ] }
";
    protocols_that_do_not_go_together: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: sql, port: 5432, protocol: tcp }, { name: tls, port: 443, protocol: tls } ], endpoints: { static: [ { address: 10.0.0.9 } ] } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: a }
spec: { parentRefs: [ { kind: Service, name: db, port: 5432 } ], hostnames: [ a.example ], rules: [ { backendRefs: [ { name: db, port: 5432 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: { name: b }
spec: { parentRefs: [ { kind: Service, name: db, port: 5432 } ], rules: [ { backendRefs: [ { name: db, port: 5432 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: c }
spec: { parentRefs: [ { kind: Service, name: cart } ], rules: [ { backendRefs: [ { name: db, port: 5432 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: db }
spec: { targetRefs: [ { group: '', kind: Service, name: db, sectionName: tls } ], validation: { hostname: db.example, wellKnownCACertificates: System } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: again }
spec: { targetRefs: [ { group: '', kind: Service, name: db, sectionName: tls } ], validation: { hostname: db.example, caCertificateRefs: [ { group: '', kind: ConfigMap, name: none } ] } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: third }
spec: { targetRefs: [ { group: '', kind: Service, name: db, sectionName: tls } ], validation: { hostname: db.example, wellKnownCACertificates: System } }
";
    what_has_no_effect_on_a_gateway: "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: weft }
spec: { controllerName: weft.dev/gateway }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  addresses: [ { value: 192.0.2.1 } ]
  infrastructure: { labels: { a: b } }
  listeners: [ { name: web, port: 80, protocol: HTTP } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ports }
spec: { targetRefs: [ { kind: Gateway, name: edge }, { kind: Gateway, name: egde } ], action: allow, rules: [ { to: [ { ports: [ 80 ] } ], from: [ { gateway: egde } ] } ] }
";
}
