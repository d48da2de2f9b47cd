//! The kinds of Gateway API beside HTTPRoute: the rules of their CRDs.

#[test]
fn everything_that_is_honoured() {
    snapshot!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: a }
spec:
  parentRefs: [{ name: edge }, { kind: ListenerSet, name: more, sectionName: a }]
  hostnames: [a.example]
  rules:
  - name: one
    matches: [{ method: { service: a.B, method: C }, headers: [{ name: x, value: y }] }, { method: { type: RegularExpression, service: "a+" } }]
    filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [a] } }]
    backendRefs: [{ name: a, port: 80, filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { remove: [a] } }] }]
    sessionPersistence: { sessionName: s, absoluteTimeout: 1h, idleTimeout: 1m, type: Header }
---
apiVersion: gateway.networking.k8s.io/v1alpha3
kind: TLSRoute
metadata: { name: a }
spec: { parentRefs: [{ name: edge }], hostnames: ["*.example"], rules: [{ name: a, backendRefs: [{ name: a, port: 1, weight: 0 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: { name: a }
spec: { parentRefs: [{ name: edge }], rules: [{ backendRefs: [{ name: a, port: 1 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: UDPRoute
metadata: { name: a }
spec: { parentRefs: [{ name: edge }], rules: [{ backendRefs: [{ name: a, port: 1 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1alpha3
kind: BackendTLSPolicy
metadata: { name: a }
spec:
  targetRefs: [{ group: "", kind: Service, name: a, sectionName: b }, { group: "", kind: Service, name: a, sectionName: c }]
  validation: { hostname: a.example, wellKnownCACertificates: System, subjectAltNames: [{ type: Hostname, hostname: "*.b" }, { type: URI, uri: "spiffe://a/b" }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: a, port: 443, protocol: HTTPS, hostname: "", tls: { certificateRefs: [{ name: a }] } }
  - { name: b, port: 443, protocol: tls, hostname: b.example, tls: { mode: Passthrough } }
  allowedListeners: { namespaces: { from: None } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { a: b }
"#
    );
}

#[test]
fn the_rules_of_the_crd_for_grpc_routes() {
    snapshot!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: a }
spec:
  hostnames: [192.0.2.1, a.*.b, A.example]
  rules:
  - name: same
    matches:
    - method: { type: Exact }
    - method: { service: a/b, method: 1a }
    - method: { type: RegularExpression, method: "(" }
    - headers: [{ name: a, value: "" }, { name: A, value: b }]
    filters:
    - { type: URLRewrite, urlRewrite: { hostname: x } }
    - { type: RequestMirror, requestMirror: { backendRef: { name: a, port: 80, weight: 2 }, percent: 101, fraction: { numerator: 3, denominator: 2 } } }
    - { type: RequestMirror, requestMirror: { backendRef: { name: a }, fraction: { numerator: 3, denominator: 0 } } }
    - { type: ExtensionRef, extensionRef: { group: g, kind: k, name: n } }
  - name: same
    sessionPersistence: { sessionName: "a b", type: Header, cookieConfig: { lifetimeType: Permanent } }
"#
    );
}

#[test]
fn the_rules_of_the_crd_for_cors_and_retries() {
    snapshot!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: a }
spec:
  parentRefs: [{ name: edge }, { name: edge, sectionName: a }]
  rules:
  - filters:
    - { type: CORS, cors: { allowOrigins: ["*", "https://a.example"], allowMethods: ["*", GET, FETCH], allowHeaders: ["a b"], maxAge: 0 } }
    backendRefs: [{ name: a, port: 80, filters: [{ type: CORS, cors: { allowOrigins: ["https://a", "ftp://a", "https://a.*", "https://a:0", a, "https://a/"] } }] }]
    retry: { codes: [200, 503, 503], backoff: 0s }
  - filters: [{ type: CORS, cors: {} }]
  - filters: [{ type: ExternalAuth, externalAuth: { protocol: HTTP } }]
    backendRefs: [{ name: a, port: 80, filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: b, port: 80 } } }, { type: RequestRedirect, requestRedirect: {} }] }]
"#
    );
}

#[test]
fn the_rules_of_the_crd_for_routes_of_connections() {
    snapshot!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: a }
spec: { parentRefs: [{ name: edge }], rules: [{ backendRefs: [] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: { name: b }
spec:
  parentRefs: [{ name: edge }]
  hostnames: [a.example]
  rules:
  - backendRefs: [{ name: a, port: 1, filters: [{ type: RequestHeaderModifier, requestHeaderModifier: {} }] }]
  - backendRefs: [{ name: a, port: 2 }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: { name: c }
spec: { parentRefs: [{ kind: Mesh, name: edge }] }
"#
    );
}

#[test]
fn the_rules_of_the_crd_for_gateways() {
    snapshot!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  defaultScope: All
  addresses: [{ value: nonsense }, { type: Hostname, value: "a b" }, { value: 192.0.2.1 }, { value: 192.0.2.1 }]
  listeners:
  - { name: a, port: 80, protocol: HTTP, tls: { mode: Terminate } }
  - { name: a, port: 80, protocol: HTTP }
  - { name: c, port: 80, protocol: TCP, hostname: c.example }
  - { name: d, port: 81, protocol: HTTPS }
  - { name: e, port: 82, protocol: HTTPS, tls: { mode: Passthrough } }
  - { name: f, port: 83, protocol: TLS, tls: { certificateRefs: [{ name: a }] } }
  - { name: g, port: 84, protocol: TLS, tls: { mode: Terminate, options: { a.example/b: c } } }
  - { name: h, port: 0, protocol: HTPP }
  - { name: i, port: 85, protocol: UDP, allowedRoutes: { kinds: [{ kind: HTTPRoute }], namespaces: { from: Selector } } }
  - { name: j, port: 85, protocol: TCP, allowedRoutes: { namespaces: { from: None, selector: { matchExpressions: [{ key: a, operator: In }, { key: b, operator: Exists, values: [c] }] } } } }
  - { name: k, port: 86, protocol: HTTPS, hostname: "*", tls: { certificateRefs: [{ kind: Certificate, group: x.example, name: a }] } }
  tls:
    frontend:
      default: { validation: { caCertificateRefs: [], mode: AllowInsecureFallback } }
      perPort: [{ port: 1, tls: {} }, { port: 1, tls: { validation: { caCertificateRefs: [{ kind: Secret, group: "", name: a }] } } }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: more }
spec: { parentRef: { kind: Service, group: "", name: a }, listeners: [] }
"#
    );
}

#[test]
fn the_rules_of_the_crd_for_policies() {
    snapshot!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: a }
spec: { from: [], to: [{ group: "", kind: Secret, name: A_b }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: a }
spec:
  targetRefs: [{ group: "", kind: Service, name: a }, { group: "", kind: Service, name: a, sectionName: b }, { group: g, kind: Bucket, name: c }]
  validation:
    hostname: "*.example"
    wellKnownCACertificates: System
    caCertificateRefs: [{ group: "", kind: ConfigMap, name: a, namespace: b }]
    subjectAltNames: [{ type: Hostname, uri: "a:b" }, { type: URI, uri: b }]
  options: { a.example/b: c }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: b }
spec: { targetRefs: [], validation: { hostname: a.example } }
"#
    );
}
