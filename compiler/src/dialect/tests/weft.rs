use super::{parse, sources};
use crate::dialect::Kind;
use crate::dialect::weft::{EndpointPort, TrustAnchor};

const BOOKINFO: &str = r#"
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: bookinfo }
spec:
  trustDomain: bookinfo.example
  trustAnchors: [ { file: ca/root.pem }, { pem: "-----BEGIN" } ]
  defaults: { access: deny, peerTLS: strict, timeouts: { request: 15s }, retry: { attempts: 1 } }
  analyses: { dependency-cycle: warn }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: reviews, namespace: bookinfo }
spec:
  ports: [ { name: http, port: 9080, protocol: http, application: "127.0.0.1:9081" } ]
  endpoints:
    static:
    - { address: 10.0.0.4, labels: { version: v1 } }
    - { address: "fd00::5", port: 1234, labels: { version: v2 }, weight: 2, locality: eu-west-1/a }
    - { address: 10.0.0.6, port: { http: 5 } }
  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ]
  calls: [ { name: ratings } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ratings-readers, namespace: bookinfo }
spec:
  targetRefs: [ { kind: Service, name: ratings, port: http } ]
  action: allow
  rules:
  - from:
    - service: reviews
    - service: other/reviews
    - identity: spiffe://bookinfo.example/ns/a/sa/b
    - namespace: ops
    - network: 10.0.0.0/8
    to: [ { methods: [GET], paths: [ { prefix: /ratings }, { exact: / }, { regex: "/v[0-9]" } ], ports: [9080, http] } ]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: reviews, namespace: bookinfo }
spec:
  targetRefs: [ { kind: Service, name: reviews }, { kind: Mesh, name: bookinfo } ]
  timeouts: { request: 1m30s, idle: 0s, connect: 1s }
  loadBalancer: { policy: peak-ewma }
  retry:
    attempts: 2
    perTry: 1s
    on: [ connect-failure, "503" ]
    methods: [POST]
    budget: { percent: 20, min: 3 }
    backoff: { base: 25ms, max: 250ms }
"#;

#[test]
fn everything_that_is_honoured() {
    let parsed = parse(&sources(BOOKINFO));
    assert_eq!(parsed.diagnostics, []);
    let [mesh, service, _, _] = parsed.documents.as_slice() else { panic!("four documents") };
    assert_eq!(mesh.object(), "Mesh bookinfo");
    assert_eq!(service.object(), "Service bookinfo/reviews");
    let Kind::Mesh(mesh) = &mesh.spec else { panic!("a Mesh") };
    assert!(matches!(&mesh.trust_anchors[0].value, TrustAnchor::File(path) if path.value == "ca/root.pem"));
    let Kind::Service(service) = &service.spec else { panic!("a Service") };
    let endpoints = &service.endpoints.as_ref().unwrap().fixed;
    assert_eq!(endpoints[1].port.as_ref().unwrap().value, EndpointPort::Number(1234));
    let Some(EndpointPort::ByName(ports)) = endpoints[2].port.as_ref().map(|p| &p.value) else {
        panic!("by name")
    };
    assert_eq!(ports.get("http").unwrap().value, 5);
}

#[test]
fn spans_are_the_bytes_of_the_value() {
    let sources = sources(BOOKINFO);
    let parsed = parse(&sources);
    let text = |span: crate::yaml::Span| BOOKINFO.get(span.range()).unwrap();
    let Kind::Mesh(mesh) = &parsed.documents[0].spec else { panic!("a Mesh") };
    assert_eq!(text(mesh.trust_domain.span), "bookinfo.example");
    assert_eq!(text(mesh.trust_anchors[0].span), "{ file: ca/root.pem }");
    let TrustAnchor::Pem(pem) = &mesh.trust_anchors[1].value else { panic!("a PEM") };
    assert_eq!(text(pem.span), "\"-----BEGIN\"");
    let (key, level) = mesh.analyses.iter().next().unwrap();
    assert_eq!((text(key.span), text(level.span)), ("dependency-cycle", "warn"));
    let Kind::Service(service) = &parsed.documents[1].spec else { panic!("a Service") };
    let spec = text(service.span);
    assert!(spec.starts_with("ports:") && spec.ends_with("calls: [ { name: ratings } ]"), "{spec}");
    let document = text(parsed.documents[1].span);
    assert!(document.starts_with("apiVersion") && document.ends_with("{ name: ratings } ]"), "{document}");
}

#[test]
fn fields_that_are_not_honoured_yet() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: a }
spec:
  targetRefs:
  - { kind: HTTPRoute, name: a, rule: b }
  - { kind: Service, name: a, subset: v1 }
  action: allow
  rules:
  - from: [ { token: { issuer: x } } ]
    when: "true"
"#
    );
}

#[test]
fn a_traffic_policy_with_faults() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: a }
spec:
  targetRefs: [ { kind: Service, name: a } ]
  loadBalancer:
    policy: maglev
    locality: { distribute: [ { from: eu, to: { eu: 60, us: 50 } } ], failover: [ { from: eu, to: eu } ] }
    warmup: { duration: 0s, minimumPercent: 101 }
  connection: { maxRequests: 0, keepalive: { probes: 0 }, proxyProtocol: 3 }
  outliers: { maxEjectedPercent: 200, interval: 0s }
  healthCheck: { http: { path: well }, tcp: {} }
  rateLimits: [ { requests: 0, per: 0s, by: { identity: true, header: x } }, { requests: 1, per: 1s, by: {} } ]
  fault: { delay: { fixed: 0s, percent: 101 }, abort: { status: 99 } }
  affinity: { absoluteTimeout: 1m, idleTimeout: 2m }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: b }
spec:
  targetRefs: [ { kind: Service, name: a, port: http, subset: v1 }, { kind: Mesh, name: m, rule: r, subset: v1 } ]
  loadBalancer: { policy: random, hash: { on: [], size: 0 } }
  fault: {}
  rateLimits: []
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: no-effect }
spec:
  targetRefs: [ { kind: HTTPRoute, name: a, rule: r }, { kind: Service, name: a, subset: v1 } ]
  timeouts: { request: 1s, connect: 1s }
  rateLimits: [ { requests: 1, per: 1s } ]
"#
    );
}

#[test]
fn external_services_and_endpoints_with_faults() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: a }
spec:
  hosts: [ Api.example, 192.0.2.1, '*', a.example, a.example ]
  addresses: [ 192.0.2.0/33 ]
  ports: []
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: b }
spec:
  hosts: [ Api.example, 192.0.2.1, '*', a.example, a.example ]
  ports:
  - { name: tls, port: 443, protocol: tls, tls: { serverName: 'A b', trustAnchors: [ { file: /etc/ca.pem } ] } }
  - { name: tls, port: 443, protocol: http, target: 0 }
  endpoints: { dns: { name: 'a b' }, file: { path: relative.json } }
  visibleTo: []
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: c }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { dns: { name: x, record: TXT } }
"#
    );
}

#[test]
fn policy_tests_that_ask_for_what_is_not_there() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: a }
spec:
  cases:
  - { name: a, from: "gateway:edge/public", request: { url: "http://a/", token: { sub: x } }, expect: { status: 200 } }
"#
    );
}

#[test]
fn policy_tests_with_faults() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: nothing }
spec: {}
---
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: a }
spec:
  cases:
  - { name: one, from: A_b, request: { url: "http://a/" }, expect: {} }
  - { name: one, from: "spiffe://x", request: { method: get, url: "http://a/" }, expect: { access: allow } }
  - name: three
    request: { url: "http://a/", headers: { ":path": x, a: [ "1", "" ] } }
    expect: { backend: a, backends: [], responseHeaders: { "a b": [] } }
  invariants:
  - { name: four }
  - { name: five, callers: { of: a }, denied: { of: a, paths: [ { prefix: a/../b } ], methods: [] } }
  - { name: six, allowed: { of: a/b/c, from: [ { notNamespace: A }, b_ ] } }
---
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: shapes }
spec:
  cases:
  - { name: a, request: { url: "http://a/", headers: { a: [ "1", 2 ] } }, expect: { acces: allow } }
  - { name: a, address: here, request: { url: "http://a/" }, expect: { access: maybe } }
---
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: selectors }
spec:
  invariants:
  - { name: a, callers: { of: a, only: [ 1 ] } }
  - { name: b, callers: { of: a, include: [ { namespace: a, service: b } ] } }
  - { name: c, callers: { of: a, exclude: [ { nobody: a } ] } }
  - { name: d, callers: { of: a, exactly: b } }
"#
    );
}

#[test]
fn a_mesh_with_faults() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: a }
spec:
  trustDomain: Upper.Example
  trustAnchor: []
  trustAnchors: [ { file: a, pem: b }, { url: x } ]
  defaults: { acess: deny, peerTLS: mutual, retry: { attempts: many } }
  analyses: { dependency-cycle: fatal }
---
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: b }
spec: { trustDomain: a, trustAnchors: [ { file: /etc/ca.pem } ], defaults: { retry: { attempts: 11 } } }
---
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: c }
spec: {}
"#
    );
}

#[test]
fn a_service_with_faults() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: A_service, namespace: a.b }
spec:
  ports:
  - { name: http, port: 80, protocol: http, application: "127.0.0.1:0" }
  - { name: http, port: 80, protocol: tcp }
  - { name: Grpc, port: 0, protocol: grpc }
  endpoints:
    static:
    - { address: 10.0.0.1, port: 5, weight: 0, locality: a//b }
    - { address: 10.0.0.1, port: { htp: 5, http: 0 } }
  subsets: [ { name: v1, labels: {} }, { name: v1, labels: {} } ]
  calls: [ { name: x_y } ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec:
  ports: []
  endpoints: { static: [ { address: host.example } ] }
  subsets: [ { name: v1, labels: { version: 1.10 } } ]
  identity: spiffe://td
"#
    );
}

#[test]
fn policies_with_faults() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: a }
spec:
  targetRefs: [ { kind: Mesh, name: m, port: 80 }, { kind: Service, name: a }, { kind: Service, name: a } ]
  action: permit
  rules: []
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: b }
spec:
  targetRefs: []
  action: allow
  rules:
  - from: []
    to: [ {}, { methods: [] }, { methods: [get, "G T"], paths: [ { prefix: x }, { exact: /a/../b }, { regex: "[" } ] } ]
  - from: [ { service: a/b/c }, { namespace: X } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: c }
spec:
  targetRefs: [ { kind: Service, name: a } ]
  action: allow
  rules: [ { from: [ { network: 10.0.0.0/33 } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: e }
spec:
  targetRefs: [ { kind: Service, name: a } ]
  action: allow
  rules: [ { from: [ { network: 10.0.0.5/8 }, { network: 10.0.0.5 } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: d }
spec:
  targetRefs: [ { kind: Service, name: a } ]
  action: allow
  rules:
  - from:
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: a }
spec:
  targetRefs: [ { kind: Service, name: a, port: 80 } ]
  timeouts: { request: 15 }
  loadBalancer: { policy: round-robbin }
  retry: { on: [ "600" ] }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: b }
spec:
  targetRefs: [ { kind: Service, name: a } ]
  retry: { budget: { percent: 101 }, backoff: { base: 2s, max: 1s } }
"#
    );
}
