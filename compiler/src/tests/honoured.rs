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

/// Istio's networking kinds, in a mesh of their own.
const ISTIO: &str = r#"
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: test.example, defaults: { access: allow, timeouts: { connect: 6s } } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.1, labels: { app: web } } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: ops, namespace: ops }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.7, labels: { app: ops } } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart }
spec:
  ports: [ { name: http, port: 80, protocol: http }, { name: alt, port: 81, protocol: http }, { name: db, port: 90, protocol: tcp }, { name: tls, port: 443, protocol: tls } ]
  endpoints: { static: [ { address: 10.0.0.2, labels: { version: v1 } }, { address: 10.0.0.3, labels: { version: v2 } } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: a
    match:
    - { uri: { prefix: /a }, sourceLabels: { app: web }, sourceNamespace: default, port: 81 }
    rewrite: { uriRegexRewrite: { match: '/a/([0-9]+)', rewrite: '/b/\1' } }
    fault: { delay: { fixedDelay: 2s, percentage: { value: 0.5 } }, abort: { httpStatus: 503, percentage: { value: 7 } } }
    mirror: { host: web, port: { number: 80 } }
    mirrorPercentage: { value: 5 }
    corsPolicy:
      allowOrigins: [ { exact: 'https://a.example' }, { prefix: 'https://b.' }, { regex: 'https://c[0-9]' } ]
      allowMethods: [ GET, PUT ]
      allowHeaders: [ X-A ]
      exposeHeaders: [ X-B ]
      maxAge: 1h
      allowCredentials: true
      unmatchedPreflights: IGNORE
    retries: { attempts: 3, retryOn: 'unavailable,retriable-4xx,retriable-status-codes,500', backoff: 30ms }
    headers: { request: { set: { host: other.example } } }
    route: [ { destination: { host: cart, subset: v1, port: { number: 80 } } } ]
  - match: [ { uri: { prefix: /m } } ]
    mirrors: [ { destination: { host: web }, percentage: { value: 50 } }, { destination: { host: cart, port: { number: 81 } } } ]
    fault: { abort: { grpcStatus: UNAVAILABLE, percentage: { value: 1 } } }
    route: [ { destination: { host: cart, port: { number: 81 } } } ]
  - match: [ { uri: { prefix: /r }, port: 81 } ]
    redirect: { derivePort: FROM_REQUEST_PORT, prefixRewrite: /s }
  - match: [ { uri: { exact: /t } } ]
    directResponse: { status: 200, body: { bytes: aGVsbG8= } }
  - match: [ { uri: { prefix: /d } } ]
    name: outer
    timeout: 7s
    delegate: { name: lent, namespace: ops }
  tls:
  - match: [ { sniHosts: [ cart.default.svc.cluster.local ], destinationSubnets: [ 10.9.0.0/16 ], port: 443, sourceLabels: { app: web }, sourceNamespace: default } ]
    route: [ { destination: { host: cart, port: { number: 443 } }, weight: 3 }, { destination: { host: cart, port: { number: 443 }, subset: v2 }, weight: 1 } ]
  tcp:
  - match: [ { destinationSubnets: [ 10.8.0.0/16 ], port: 90, sourceLabels: { app: web }, sourceNamespace: default } ]
    route: [ { destination: { host: cart, port: { number: 90 } } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: lent, namespace: ops }
spec:
  exportTo: [ default ]
  http:
  - name: inner
    match: [ { uri: { prefix: /d/e }, method: { exact: GET } } ]
    route: [ { destination: { host: ops } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: everything }
spec:
  hosts: [ '*.default.svc.cluster.local' ]
  http: [ { directResponse: { status: 404 } } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart }
spec:
  host: cart
  trafficPolicy:
    loadBalancer:
      consistentHash: { httpCookie: { name: c, path: /p, ttl: 5s }, ringHash: { minimumRingSize: 99 } }
      localityLbSetting: { distribute: [ { from: eu/*, to: { eu/*: 80, us/*: 20 } } ] }
      warmup: { duration: 1m, minimumPercent: 20, aggression: 1.5 }
    connectionPool:
      tcp: { maxConnections: 9, connectTimeout: 3s, maxConnectionDuration: 1h, idleTimeout: 4m, tcpKeepalive: { probes: 3, time: 30s, interval: 5s } }
      http: { http1MaxPendingRequests: 8, http2MaxRequests: 7, maxRequestsPerConnection: 6, maxRetries: 5, idleTimeout: 40s, h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 4 }
    outlierDetection: { consecutive5xxErrors: 4, consecutiveGatewayErrors: 3, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, interval: 11s, baseEjectionTime: 12s, maxEjectionPercent: 13, minHealthPercent: 14 }
    proxyProtocol: { version: V2 }
    retryBudget: { percent: 30, minRetryConcurrency: 4 }
    portLevelSettings:
    - { port: { number: 81 }, loadBalancer: { consistentHash: { httpHeaderName: X-U, maglev: { tableSize: 101 } } }, connectionPool: { tcp: { maxConnections: 2 } }, outlierDetection: { interval: 9s } }
  subsets:
  - { name: v1, labels: { version: v1 }, trafficPolicy: { loadBalancer: { consistentHash: { httpQueryParameterName: q }, localityLbSetting: { failover: [ { from: eu, to: us } ] } }, outlierDetection: { interval: 8s }, connectionPool: { http: { maxRetries: 1 } } } }
  - { name: v2, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: web }
spec:
  host: web
  trafficPolicy:
    loadBalancer: { consistentHash: { useSourceIp: true }, localityLbSetting: { failoverPriority: [ topology.kubernetes.io/zone ] }, warmupDurationSecs: 5s }
    outlierDetection: { interval: 7s }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: api }
spec:
  hosts: [ api.example.com ]
  ports: [ { number: 443, name: https, protocol: HTTP, targetPort: 8443 } ]
  resolution: DNS
  exportTo: [ default ]
  subjectAltNames: [ san.example.com ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: api }
spec:
  host: api.example.com
  trafficPolicy: { tls: { mode: MUTUAL, sni: sni.example.com, credentialName: key, caCertificates: system } }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: fixed }
spec:
  hosts: [ '*.fixed.example.com', fixed.example.com ]
  addresses: [ 10.7.0.0/16 ]
  location: MESH_EXTERNAL
  ports: [ { number: 80, name: web, protocol: HTTP } ]
  resolution: STATIC
  endpoints: [ { address: 192.0.2.1, ports: { web: 8080 }, weight: 2, locality: eu/a, labels: { version: v1 } }, { address: 192.0.2.2 } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: fixed }
spec:
  host: fixed.example.com
  trafficPolicy: { tls: { mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [ other.example.com ] } }
  subsets: [ { name: v1, labels: { version: v1 } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: fixed }
spec:
  hosts: [ fixed.example.com ]
  http: [ { route: [ { destination: { host: fixed.example.com, subset: v1 } } ] } ]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: machines }
spec:
  hosts: [ machines.example.com ]
  location: MESH_INTERNAL
  ports: [ { number: 80, name: http-web } ]
  resolution: STATIC
  workloadSelector: { labels: { app: machine } }
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: one }
spec: { address: 10.0.0.8, labels: { app: machine }, serviceAccount: robot, locality: eu/a, weight: 3, ports: { http-web: 8081 } }
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: web }
spec:
  workloadSelector: { labels: { app: web } }
  ingress: [ { port: { number: 80, protocol: HTTP }, defaultEndpoint: '127.0.0.1:8080', connectionPool: { http: { http2MaxRequests: 3 } } } ]
  egress: [ { hosts: [ ./*, ops/ops.ops.svc.cluster.local ] } ]
  outboundTrafficPolicy: { mode: REGISTRY_ONLY }
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: all, namespace: ops }
spec:
  inboundConnectionPool: { tcp: { maxConnections: 7 }, http: { http1MaxPendingRequests: 5 } }
  egress: [ { hosts: [ ~/* ] } ]
"#;

/// What Istio has by default is what these fields say, or they are names that nothing refers to.
const ISTIO_SAYS_NOTHING: [&str; 1] = ["VirtualService x"];

/// An endpoint that is not ready is none; that it is not ready must make a difference.
const SAYS_NOTHING: [&str; 2] =
    ["EndpointSlice pay-1 /endpoints/1", "EndpointSlice pay-1 /endpoints/1/addresses/0"];

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

/// What can be left out of documents without a difference.
fn silent(documents: &str, says_nothing: &[&str]) -> Vec<String> {
    let documents: Vec<Value> = documents
        .split("\n---\n")
        .map(|text| serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(text).unwrap()).unwrap())
        .collect();
    let whole = outcome(&documents).expect("the documents are free of errors");
    let mut silent = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let mut found = Vec::new();
        pointers(document, "", &mut found);
        for pointer in found {
            let place =
                format!("{} {} {pointer}", document["kind"], document["metadata"]["name"]).replace('"', "");
            if says_nothing.iter().any(|end| place.ends_with(end)) {
                continue;
            }
            let mut changed = documents.clone();
            changed[at] = without(document, &pointer);
            if outcome(&changed).is_some_and(|outcome| outcome == whole) {
                silent.push(place);
            }
        }
    }
    silent
}

#[test]
fn no_field_can_be_left_out_without_a_difference() {
    let silent = silent(DOCUMENTS, &SAYS_NOTHING);
    assert!(silent.is_empty(), "no difference without:\n{}", silent.join("\n"));
}

#[test]
fn no_field_of_istio_can_be_left_out_without_a_difference() {
    let silent = silent(ISTIO, &ISTIO_SAYS_NOTHING);
    assert!(silent.is_empty(), "no difference without:\n{}", silent.join("\n"));
}
