//! Nothing is dropped in silence: whatever field is taken out of these documents, a body changes or something is found.

use serde_json::Value;

use crate::compile;
use crate::emit::emit;
use crate::source::Sources;

/// One document of each kind, with every field that is honoured set to something else than its default.
const DOCUMENTS: &str = r#"
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec:
  trustDomain: test.example
  defaults:
    access: allow
    peerTLS: permissive
    timeouts: { request: 9s, perTry: 8s, idle: 7s, connect: 6s }
    retry:
      attempts: 2
      on: [ '503' ]
      methods: [ PUT ]
      budget: { percent: 10, min: 1 }
      backoff: { base: 10ms, max: 20ms }
  analyses: { dependency-cycle: note }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web }
spec:
  serviceAccount: robot
  ports: [ { name: http, port: 80, protocol: http2, application: '127.0.0.1:8080', peerTLS: strict }, { name: alt, port: 82, protocol: http } ]
  endpoints:
    static:
    - { address: 10.0.0.1, port: { http: 81 }, labels: { version: v1 }, weight: 2, locality: a/b }
    - { address: 10.0.0.9 }
  subsets: [ { name: v1, labels: { version: v1 } } ]
  calls: [ { name: web }, { name: cart, namespace: shop }, { name: pay, namespace: shop }, { name: plain } ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart, namespace: shop }
spec:
  identity: spiffe://test.example/ns/other/sa/cart
  ports: [ { name: http, port: 80, protocol: http }, { name: alt, port: 81, protocol: http } ]
  endpoints:
    static:
    - { address: 10.0.0.2, port: { http: 90 } }
    - { address: 10.0.0.3, labels: { version: v2 } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: robot, namespace: ops }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web, namespace: default } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: plain }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.4 } ] } }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: web }
spec:
  targetRefs: [ { kind: Service, name: cart, namespace: shop, port: http }, { kind: Service, name: web } ]
  action: deny
  rules:
  - from: [ { network: 10.0.0.0/8 }, { namespace: ops }, { service: web }, { identity: spiffe://test.example/a } ]
    to: [ { methods: [ GET ], paths: [ { prefix: /a }, { exact: /b }, { regex: /c+ } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: alt }
spec:
  targetRefs: [ { kind: Service, name: cart, namespace: shop } ]
  action: audit
  rules: [ { to: [ { ports: [ alt ] } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web }
spec:
  targetRefs: [ { kind: Service, name: web }, { kind: Service, name: cart, namespace: shop } ]
  timeouts: { request: 5s, idle: 4s, connect: 3s }
  retry:
    attempts: 3
    perTry: 1s
    on: [ '502' ]
    methods: [ POST ]
    budget: { percent: 30, min: 5 }
    backoff: { base: 30ms, max: 40ms }
  loadBalancer: { policy: random }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart, namespace: shop, annotations: { weft.dev/priority: '1' } }
spec:
  parentRefs: [ { kind: Service, name: cart, port: 80 } ]
  hostnames: [ cart.example ]
  rules:
  - name: first
    matches:
    - path: { type: Exact, value: /a }
      headers: [ { type: RegularExpression, name: x, value: a+ } ]
      queryParams: [ { type: RegularExpression, name: q, value: b+ } ]
      method: GET
    filters:
    - { type: RequestHeaderModifier, requestHeaderModifier: { set: [ { name: a, value: b } ], add: [ { name: c, value: d } ], remove: [ e ] } }
    - { type: ResponseHeaderModifier, responseHeaderModifier: { set: [ { name: a, value: b } ] } }
    - { type: URLRewrite, urlRewrite: { hostname: x, path: { type: ReplaceFullPath, replaceFullPath: /z } } }
    backendRefs:
    - name: cart
      port: 80
      weight: 3
      filters: [ { type: RequestHeaderModifier, requestHeaderModifier: { remove: [ f ] } } ]
    - { name: web, namespace: default, port: 80 }
    timeouts: { request: 2s, backendRequest: 1500ms }
  - filters:
    - type: RequestRedirect
      requestRedirect: { scheme: https, hostname: y, port: 8443, statusCode: 301, path: { type: ReplacePrefixMatch, replacePrefixMatch: /n } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: rival, namespace: shop }
spec:
  parentRefs: [ { kind: Service, name: cart, sectionName: http } ]
  rules:
  - matches: [ { path: { type: Exact, value: /a }, headers: [ { name: y, value: a } ], queryParams: [ { name: r, value: b } ], method: GET } ]
    backendRefs: [ { name: cart, port: 80 } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [ web ]
  exportTo: [ ., shop ]
  http:
  - name: first
    match:
    - uri: { prefix: /a }
      scheme: { exact: http }
      method: { regex: 'GET|PUT' }
      authority: { prefix: w }
      headers: { x: { exact: a } }
      withoutHeaders: { y: {} }
      queryParams: { q: { regex: b+ } }
      ignoreUriCase: true
    rewrite: { uri: /b, authority: v }
    timeout: 2s
    retries: { attempts: 4, perTryTimeout: 900ms, retryOn: '503', backoff: 50ms }
    headers: { request: { set: { a: b }, add: { c: d }, remove: [ e ] }, response: { remove: [ f ] } }
    route:
    - { destination: { host: web, subset: v1, port: { number: 80 } }, weight: 90, headers: { request: { remove: [ g ] } } }
    - { destination: { host: cart.shop, port: { number: 81 }, subset: v2 }, weight: 10 }
  - match: [ { uri: { exact: /c }, port: 80 } ]
    redirect: { uri: /d, authority: u, port: 8443, scheme: https, redirectCode: 308 }
  - directResponse: { status: 503, body: { string: closed } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart }
spec:
  host: cart.shop
  subsets: [ { name: v2, labels: { version: v2 }, trafficPolicy: { loadBalancer: { simple: ROUND_ROBIN } } } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: plain }
spec: { host: plain, trafficPolicy: { loadBalancer: { simple: LEAST_REQUEST } } }
---
apiVersion: v1
kind: Service
metadata: { name: pay, namespace: shop }
spec: { ports: [ { name: http-web, port: 80, targetPort: web, appProtocol: grpc } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: pay-1, namespace: shop, labels: { kubernetes.io/service-name: pay } }
addressType: IPv4
ports: [ { name: http-web, port: 8080 } ]
endpoints: [ { addresses: [ 10.2.0.1 ], zone: eu-1a }, { addresses: [ 10.2.0.2 ], conditions: { ready: false } } ]
"#;

/// The same for gateways and what is attached to them.
const GATEWAYS: &str = r#"
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: test.example, defaults: { access: allow } }
---
apiVersion: v1
kind: Namespace
metadata: { name: open, labels: { open: 'yes' } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: inner, namespace: open }
spec: { ports: [ { name: http, port: 80, protocol: http }, { name: alt, port: 81, protocol: http } ], endpoints: { static: [ { address: 10.0.0.7 } ] } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart, namespace: shop }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.8 } ] } }
---
apiVersion: v1
kind: Service
metadata: { name: dns, namespace: edge }
spec: { ports: [ { name: dns, port: 53, protocol: UDP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: edge, annotations: { weft.dev/service-account: robot } }
spec:
  gatewayClassName: weft
  listeners:
  - { name: web, port: 80, protocol: HTTP, hostname: '*.example', allowedRoutes: { namespaces: { from: All }, kinds: [ { kind: HTTPRoute } ] } }
  - { name: calls, port: 81, protocol: HTTP, allowedRoutes: { namespaces: { from: Selector, selector: { matchLabels: { open: 'yes' } } } } }
  - { name: secure, port: 443, protocol: HTTPS, tls: { certificateRefs: [ { name: cert } ] } }
  - { name: tls, port: 444, protocol: TLS, tls: { mode: Passthrough } }
  - { name: tcp, port: 445, protocol: TCP, allowedRoutes: { namespaces: { from: All } } }
  - { name: udp, port: 446, protocol: UDP }
  allowedListeners: { namespaces: { from: All } }
  tls:
    backend: { clientCertificateRef: { name: client } }
    frontend: { default: { validation: { caCertificateRefs: [ { kind: ConfigMap, group: '', name: issuers } ] } } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: issuers, namespace: edge }
data: { ca.crt: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: more, namespace: shop }
spec:
  parentRef: { name: edge, namespace: edge }
  listeners: [ { name: one, port: 90, protocol: HTTP }, { name: two, port: 91, protocol: HTTP } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: edge, namespace: shop }
spec:
  parentRefs: [ { name: edge, namespace: edge }, { kind: ListenerSet, name: more, sectionName: one } ]
  hostnames: [ a.example, '*.b.example' ]
  rules:
  - name: one
    filters:
    - { type: RequestMirror, requestMirror: { backendRef: { name: cart, port: 80 }, percent: 5 } }
    - { type: RequestMirror, requestMirror: { backendRef: { name: inner, namespace: open, port: 81 }, fraction: { numerator: 1, denominator: 3 } } }
    - { type: CORS, cors: { allowOrigins: [ 'https://a' ], allowCredentials: true, allowMethods: [ GET ], allowHeaders: [ a ], exposeHeaders: [ b ], maxAge: 7 } }
    retry: { codes: [ 500 ], attempts: 4, backoff: 5ms }
    sessionPersistence: { sessionName: s, absoluteTimeout: 1h, idleTimeout: 1m, cookieConfig: { lifetimeType: Permanent } }
    backendRefs: [ { name: cart, port: 80 }, { name: inner, namespace: open, port: 80 } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: inner, namespace: open }
spec:
  from: [ { group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop } ]
  to: [ { group: '', kind: Service } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: calls, namespace: open }
spec:
  parentRefs: [ { name: edge, namespace: edge } ]
  hostnames: [ c.example ]
  rules:
  - name: call
    matches:
    - { method: { service: a.B, method: C }, headers: [ { name: x, value: y } ] }
    - { method: { type: RegularExpression, service: a+ } }
    filters: [ { type: RequestHeaderModifier, requestHeaderModifier: { remove: [ z ] } } ]
    sessionPersistence: { sessionName: s, type: Header }
    backendRefs: [ { name: inner, port: 80, weight: 2 }, { name: inner, port: 81 } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: names, namespace: edge }
spec: { parentRefs: [ { name: edge } ], hostnames: [ t.example, '*.t.example' ], rules: [ { name: t, backendRefs: [ { name: none, port: 80, weight: 0 } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: none, namespace: edge }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.6 } ] } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: { name: bytes, namespace: open }
spec: { parentRefs: [ { name: edge, namespace: edge } ], rules: [ { name: b, backendRefs: [ { name: inner, port: 80, weight: 3 }, { name: inner, port: 81 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: { name: datagrams, namespace: edge }
spec: { parentRefs: [ { name: edge } ], rules: [ { name: d, backendRefs: [ { name: dns, port: 53 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: plain, namespace: open }
spec:
  targetRefs: [ { group: '', kind: Service, name: inner, sectionName: http } ]
  validation: { hostname: plain.example, wellKnownCACertificates: System, subjectAltNames: [ { type: Hostname, hostname: p.example }, { type: URI, uri: 'a:b' } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: edge, namespace: edge }
spec:
  targetRefs: [ { kind: Gateway, name: edge }, { kind: Service, name: none } ]
  action: audit
  rules: [ { from: [ { gateway: edge }, { network: 10.9.0.0/16 } ] } ]
"#;

/// An endpoint that is not ready is none; that it is not ready must make a difference.
const SAYS_NOTHING: [&str; 2] = ["/endpoints/1", "/endpoints/1/addresses/0"];

/// Everything that comes of documents, each on one line, so that no line number changes; none if anything is wrong.
fn outcome(documents: &[Value]) -> Option<Vec<String>> {
    let files =
        documents.iter().enumerate().map(|(at, document)| (format!("{at:02}.yaml"), document.to_string()));
    let compilation = compile(&Sources::in_memory(files));
    if compilation.has_errors() {
        return None;
    }
    let mut outcome: Vec<String> = emit(&compilation.mesh)
        .unwrap()
        .iter()
        .map(|emitted| String::from_utf8(emitted.bytes.clone()).unwrap())
        .collect();
    outcome.extend(
        compilation.diagnostics.iter().map(|finding| format!("{} {}", finding.analysis, finding.message)),
    );
    Some(outcome)
}

/// The pointers of every key and list item below a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let pointer = format!("{at}/{key}");
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

fn without(document: &Value, pointer: &str) -> Value {
    let mut document = document.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => unreachable!("only these have children"),
    }
    document
}

#[test]
fn no_field_can_be_left_out_without_a_difference() {
    no_field_of_these(DOCUMENTS);
}

#[test]
fn no_field_of_a_gateway_can_be_left_out_without_a_difference() {
    no_field_of_these(GATEWAYS);
}

fn no_field_of_these(documents: &str) {
    let documents: Vec<Value> = documents
        .split("\n---\n")
        .map(|text| serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(text).unwrap()).unwrap())
        .collect();
    let whole = outcome(&documents).expect("the documents are free of errors");
    let mut silent = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let mut found = Vec::new();
        pointers(document, "", &mut found);
        for pointer in found.iter().filter(|pointer| !SAYS_NOTHING.contains(&pointer.as_str())) {
            let mut changed = documents.clone();
            changed[at] = without(document, pointer);
            if outcome(&changed).is_some_and(|outcome| outcome == whole) {
                silent.push(format!("{} {} {pointer}", document["kind"], document["metadata"]["name"]));
            }
        }
    }
    assert!(silent.is_empty(), "no difference without:\n{}", silent.join("\n"));
}
