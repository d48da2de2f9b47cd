//! What is found of gateways: their redirects, what they forward to, rules that take requests from each other, and listeners
//! that cannot be told apart.

use super::super::findings;
use super::names_found;

cases! {
    /// The whole site goes to one page, which is part of it; and clear text is sent to TLS, which sends it back.
    redirect_loops_of_one_listener_and_of_two: "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: maintenance, port: 8080, protocol: HTTP }
  - { name: plain, port: 80, protocol: HTTP, hostname: '*.shop.example' }
  - { name: tls, port: 443, protocol: HTTPS, hostname: '*.shop.example', tls: { certificateRefs: [ { name: shop } ] } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: closed }
spec:
  parentRefs: [ { name: edge, sectionName: maintenance } ]
  rules: [ { name: sorry, filters: [ { type: RequestRedirect, requestRedirect: { path: { type: ReplaceFullPath, replaceFullPath: /sorry } } } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: up }
spec:
  parentRefs: [ { name: edge, sectionName: plain } ]
  rules: [ { name: up, filters: [ { type: RequestRedirect, requestRedirect: { scheme: https } } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: down }
spec:
  parentRefs: [ { name: edge, sectionName: tls } ]
  rules:
  - name: down
    matches: [ { path: { value: /old } } ]
    filters: [ { type: RequestRedirect, requestRedirect: { scheme: http } } ]
  - backendRefs: [ { name: cart, port: 80 } ]
";
    /// One forwards to itself, two to each other, the first by a copy.
    gateways_that_forward_to_gateways: "
apiVersion: v1
kind: Service
metadata: { name: edge }
spec: { ports: [ { name: http, port: 80, targetPort: 8080 } ], selector: { app: edge } }
---
apiVersion: v1
kind: Service
metadata: { name: inner }
spec: { ports: [ { name: http, port: 80, targetPort: 8080 } ], selector: { app: inner } }
---
apiVersion: v1
kind: Service
metadata: { name: outer }
spec: { ports: [ { name: http, port: 80, targetPort: 8080 } ], selector: { app: outer } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec: { gatewayClassName: weft, listeners: [ { name: http, port: 8080, protocol: HTTP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: inner }
spec: { gatewayClassName: weft, listeners: [ { name: http, port: 8080, protocol: HTTP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: outer }
spec: { gatewayClassName: weft, listeners: [ { name: http, port: 8080, protocol: HTTP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: itself }
spec: { parentRefs: [ { name: edge } ], rules: [ { backendRefs: [ { name: edge, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: inward }
spec:
  parentRefs: [ { name: outer } ]
  rules:
  - filters: [ { type: RequestMirror, requestMirror: { backendRef: { name: inner, port: 80 } } } ]
    backendRefs: [ { name: cart, port: 80 } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: outward }
spec: { parentRefs: [ { name: inner } ], rules: [ { backendRefs: [ { name: outer, port: 80 } ] } ] }
";
    /// On one listener: a crossing of two rules for one name, and, for another name, of two routes.
    rules_of_a_listener_that_take_from_each_other: "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec: { gatewayClassName: weft, listeners: [ { name: http, port: 80, protocol: HTTP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: one }
spec:
  hostnames: [ one.example ]
  parentRefs: [ { name: edge } ]
  rules:
  - name: api
    matches: [ { path: { value: /api } } ]
    backendRefs: [ { name: cart, port: 80 } ]
  - name: health
    matches: [ { path: { type: RegularExpression, value: '/[a-z]+/health' } } ]
    backendRefs: [ { name: web, port: 80 } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: two-api }
spec:
  hostnames: [ two.example ]
  parentRefs: [ { name: edge } ]
  rules: [ { name: api, matches: [ { path: { value: /api } } ], backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: two-health }
spec:
  hostnames: [ two.example ]
  parentRefs: [ { name: edge } ]
  rules: [ { name: health, matches: [ { path: { type: RegularExpression, value: '/.*/health' } } ], backendRefs: [ { name: web, port: 80 } ] } ]
";
    listeners_that_cannot_be_told_apart: "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  allowedListeners: { namespaces: { from: Same } }
  listeners:
  - { name: a, port: 80, protocol: HTTP, hostname: shop.example }
  - { name: b, port: 80, protocol: HTTP, hostname: shop.example }
  - { name: c, port: 80, protocol: TCP }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: more }
spec:
  parentRef: { name: edge }
  listeners:
  - { name: a, port: 80, protocol: HTTP, hostname: shop.example }
  - { name: d, port: 81, protocol: HTTP, hostname: shop.example }
";
}

const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: plain, port: 80, protocol: HTTP }
  - { name: tls, port: 443, protocol: HTTPS, tls: { certificateRefs: [ { name: shop } ] } }
  - { name: other, port: 8080, protocol: HTTP }
---
apiVersion: v1
kind: Service
metadata: { name: edge }
spec: { ports: [ { name: http, port: 9000, targetPort: 9000 } ], selector: { app: edge } }
---
";

fn nothing_of(analysis: &str, text: &str) {
    let found = names_found(&format!("{EDGE}{text}"));
    assert!(!found.contains(&analysis), "{found:?}");
}

/// To TLS on the other listener, to a page that another rule serves, and to a name that is not here.
#[test]
fn redirects_of_a_listener_that_end() {
    nothing_of(
        "redirect-loop",
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: up }
spec:
  parentRefs: [ { name: edge, sectionName: plain } ]
  rules: [ { filters: [ { type: RequestRedirect, requestRedirect: { scheme: https } } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: closed }
spec:
  parentRefs: [ { name: edge, sectionName: tls } ]
  rules:
  - matches: [ { path: { type: Exact, value: /sorry } } ]
    backendRefs: [ { name: cart, port: 80 } ]
  - filters: [ { type: RequestRedirect, requestRedirect: { path: { type: ReplaceFullPath, replaceFullPath: /sorry } } } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: away }
spec:
  parentRefs: [ { name: edge, sectionName: other } ]
  rules: [ { filters: [ { type: RequestRedirect, requestRedirect: { hostname: elsewhere.example, port: 8443 } } ] } ]
",
    );
}

/// The gateway's own service, on a port that no listener has.
#[test]
fn a_gateway_may_forward_to_another_port_of_itself() {
    nothing_of(
        "forwarding-cycle",
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: metrics }
spec: { parentRefs: [ { name: edge, sectionName: plain } ], rules: [ { backendRefs: [ { name: edge, port: 9000 } ] } ] }
",
    );
}

/// A rule for one name before rules for all of them, and an exact path before a prefix.
#[test]
fn a_listener_whose_rules_are_as_they_read() {
    nothing_of(
        "partially-shadowed-route",
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: one }
spec:
  hostnames: [ one.example ]
  parentRefs: [ { name: edge, sectionName: plain } ]
  rules: [ { matches: [ { path: { value: /api }, method: GET } ], backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: all }
spec:
  parentRefs: [ { name: edge, sectionName: plain } ]
  rules:
  - matches: [ { path: { type: Exact, value: /api/health } } ]
    backendRefs: [ { name: web, port: 80 } ]
  - matches: [ { path: { value: /api } } ]
    backendRefs: [ { name: cart, port: 80 } ]
",
    );
}
