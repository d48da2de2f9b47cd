use super::{parse, sources};
use crate::dialect::Kind;

#[test]
fn the_canary_of_the_istio_documentation_reads_as_it_stands() {
    let parsed = parse(&sources(include_str!("../../../../fixtures/istio-canary/policy.yaml")));
    assert_eq!(parsed.diagnostics, []);
    let [virtual_service, destination_rule] = parsed.documents.as_slice() else { panic!("two documents") };
    let Kind::VirtualService(spec) = &virtual_service.spec else { panic!("a VirtualService") };
    let weights: Vec<_> = spec.http[0].route.iter().map(|d| d.weight.unwrap().value).collect();
    assert_eq!(weights, [90, 10]);
    let Kind::DestinationRule(spec) = &destination_rule.spec else { panic!("a DestinationRule") };
    assert_eq!(spec.subsets[1].labels["version"], "v2");
    assert_eq!(destination_rule.namespace(), "default");
}

#[test]
fn everything_that_is_honoured() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: bookinfo, creationTimestamp: null }
spec:
  hosts: [reviews, reviews.bookinfo.svc.cluster.local]
  gateways: [mesh]
  exportTo: ["."]
  http:
  - name: jason
    match:
    - uri: { prefix: /reviews }
      ignoreUriCase: true
      method: { exact: GET }
      scheme: { exact: http }
      authority: { regex: "reviews(:[0-9]+)?" }
      headers: { end-user: { exact: jason }, x-any: {} }
      withoutHeaders: { x-internal: {} }
      queryParams: { debug: { exact: "" } }
      port: 9080
      sourceNamespace: bookinfo
    rewrite: { uri: /v2, authority: reviews.internal }
    route:
    - destination: { host: reviews, subset: v2, port: { number: 9080 } }
      headers: { response: { set: { x-version: v2 }, remove: [server] } }
    timeout: 2.5s
    retries: { attempts: 3, perTryTimeout: 800ms, retryOn: "5xx,connect-failure,503", backoff: 25ms }
    headers: { request: { add: { x-a: b } } }
  - match: [{ uri: { exact: /old } }]
    redirect: { uri: /new, authority: "example.com:8080", redirectCode: 308, scheme: https }
  - match: [{ uri: { regex: "/v[0-9]+/.*" } }]
    directResponse: { status: 410, body: { string: gone } }
  - route:
    - { destination: { host: reviews, subset: v1 }, weight: 90 }
    - { destination: { host: reviews, subset: v2 }, weight: 10 }
---
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: { name: reviews, namespace: bookinfo }
spec:
  host: reviews
  trafficPolicy: { loadBalancer: { simple: LEAST_REQUEST }, tls: { mode: ISTIO_MUTUAL } }
  subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }]
status: {}
"#
    );
}

#[test]
fn retry_words_in_envoys_reading() {
    let input = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  \
                 http: [{route: [{destination: {host: a}}], retries: {retryOn: 'gateway-error, 404'}}]\n";
    let parsed = parse(&sources(input));
    let Kind::VirtualService(spec) = &parsed.documents[0].spec else { panic!("a VirtualService") };
    let conditions = spec.http[0].retries.as_ref().unwrap().conditions().unwrap();
    let words: Vec<String> = conditions.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["connect-failure", "refused-stream", "reset", "gateway-error", "404"]);
}

#[test]
fn what_cannot_be_honoured_is_an_error_at_its_line() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews }
spec:
  hosts: [reviews, "*.example.com"]
  gateways: [mesh, ingress]
  tls: []
  tcp: []
  http:
  - match: [{ sourceLabels: { app: a }, gateways: [ingress] }]
    delegate: { name: x }
  - fault: { abort: { percentage: { value: 10 }, httpStatus: 500 } }
    mirror: { host: reviews }
    mirrorPercentage: { value: 5 }
    corsPolicy: {}
    retries: { attempts: 2, retryOn: "unavailable,5xx,cancelled" }
    headers: { request: { set: { Host: a, x-b: "%REQ(a)%" } } }
    route: [{ destination: { host: reviews } }]
  - redirect: { derivePort: FROM_REQUEST_PORT }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews }
spec:
  host: reviews
  exportTo: [other]
  workloadSelector: {}
  trafficPolicy:
    connectionPool: { tcp: { maxConnections: 1 } }
    outlierDetection: { consecutive5xxErrors: 1 }
    loadBalancer: { consistentHash: { useSourceIp: true } }
    portLevelSettings: []
    tls: { mode: SIMPLE, sni: x }
  subsets:
  - { name: v1, trafficPolicy: { loadBalancer: { simple: PASSTHROUGH } } }
"#
    );
}

#[test]
fn istios_own_validation() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: []
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: b }
spec:
  hosts: [b, b, B_]
  exportTo: ["a/b"]
  http:
  - name: x
  - name: x
    route: [{ destination: { host: b } }]
    redirect: { redirectCode: 200, scheme: ftp }
    rewrite: { uri: / }
  - route: [{ destination: { host: b } }, { destination: { host: c }, weight: 0 }]
  - match:
    - uri: { prefix: "" }
      headers: { "bad name": { exact: x }, ":path": { exact: x } }
      method: { exact: get }
    - uri: { regex: "a(?=b)" }
      port: 0
    - uri: { exact: no-slash }
    - uri: { exact: "/a%2Fb" }
    directResponse: { status: 99 }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: c }
spec:
  host: c
  trafficPolicy: { loadBalancer: {} }
  subsets: [{ name: v1 }, { name: v1 }, { name: V_1 }]
"#
    );
}

#[test]
fn rewrites_and_answers_that_no_message_can_hold() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [a]
  http:
  - match: [{ uri: { exact: /ok } }]
    rewrite: { uri: /new, authority: "b.example:8080" }
    route: [{ destination: { host: a } }]
  - match: [{ uri: { exact: /1 } }]
    rewrite: { uri: "/x?y=1", authority: "a b" }
    route: [{ destination: { host: a } }]
  - match: [{ uri: { exact: /2 } }]
    redirect: { uri: "/x y", authority: "a:99999" }
  - directResponse: { status: 204, body: { string: x } }
"#
    );
}

#[test]
fn values_that_istio_does_not_have() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [a]
  http: [{ match: [{ uri: { prefix: /b, exact: /a } }], route: [{ destination: { host: a } }] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: b }
spec:
  hosts: [b]
  http: [{ match: [{ queryParams: { q: { exact: x, regex: y } }, uri: /b }], route: [{ destination: { host: a } }] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: c }
spec:
  hosts: [c]
  http:
  - route: [{ destination: { host: a } }]
    match: [{ uri: /c, headers: { x: { suffix: y } } }]
    timeout: 1.2345s
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: c }
spec: { host: c, trafficPolicy: { loadBalancer: { simple: RING_HASH } } }
"#
    );
}

#[test]
fn istios_own_validation_of_faults_copies_and_origins() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: ["*", "*bad.example", a]
  gateways: ["x/y/z", mesh, mesh]
  exportTo: ["*", "."]
  http:
  - fault: { delay: { fixedDelay: 0s, percentage: { value: 101 } }, abort: { httpStatus: 100, grpcStatus: UNAVAILABE, percentage: { value: 0.00001 } } }
    route: [{ destination: { host: a } }]
  - fault: {}
    mirror: { host: "*.a" }
    mirrors: [{ destination: { host: a }, percentage: { value: -1 } }]
    mirrorPercent: 101
    route: [{ destination: { host: a } }]
  - fault: { delay: { fixedDelay: 1s } }
    mirrorPercentage: { value: 5 }
    corsPolicy: { allowOrigin: [x], allowOrigins: [{ exact: "*" }], allowMethods: [get], allowHeaders: ["a b"], maxAge: 1500ms, allowCredentials: true }
    retries: { attempts: 1, retryOn: "envoy-ratelimited,nonsense,retriable-status-codes", retryRemoteLocalities: true, retryIgnorePreviousHosts: false }
    route: [{ destination: { host: a } }]
  - match: [{ statPrefix: x, sourceLabels: { "a*": b }, headers: { "@request.auth.claims.group": { exact: x } } }]
    rewrite: { uri: /a, uriRegexRewrite: { match: "/(a)", rewrite: "/\\2" }, authority: x }
    headers: { request: { set: { host: y } } }
    route: [{ destination: { host: a }, headers: { request: { set: { Host: z } } } }]
  - rewrite: {}
    delegate: { name: other }
    match: [{ uri: { regex: a+ } }]
  - redirect: { uri: /a, prefixRewrite: /b, port: 80, derivePort: FROM_REQUEST_PORT }
    fault: { abort: { httpStatus: 500, percentage: { value: 1 } } }
  - directResponse: { status: 200, body: { string: a, bytes: b } }
    fault: { abort: { httpStatus: 500, percentage: { value: 1 } } }
  - directResponse: { status: 200, body: { bytes: "/w==" } }
  tls:
  - route: []
  - match: [{ sniHosts: [] }, { sniHosts: [other.example], port: 0 }]
    route: [{ destination: { host: a } }, { destination: { host: b } }]
  tcp:
  - match: [{ sourceSubnet: 10.0.0.0/8, destinationSubnets: [10.0.0.1] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: lent }
spec:
  gateways: [mesh]
  http: [{ delegate: { name: third }, match: [{ sourceNamespace: x }] }]
  tcp: [{ route: [{ destination: { host: a } }] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: subnet }
spec: { hosts: [a], tcp: [{ match: [{ destinationSubnets: [nowhere] }], route: [{ destination: { host: a } }] }] }
"#
    );
}

#[test]
fn istios_own_validation_of_traffic_policies() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: a }
spec:
  host: "*.a"
  trafficPolicy:
    loadBalancer:
      simple: PASSTHROUGH
      consistentHash: { httpHeaderName: "a b", useSourceIp: true, maglev: { tableSize: 100 }, ringHash: {} }
      localityLbSetting:
        distribute: [{ from: "*/x", to: { eu: 50 } }]
        failover: [{ from: eu, to: eu }]
        failoverPriority: ["a=b"]
      warmup: { minimumPercent: 101, aggression: 0.5 }
      warmupDurationSecs: 5s
    connectionPool: { http: { useClientProtocol: true, h2UpgradePolicy: UPGRADE } }
    outlierDetection: { consecutiveErrors: 5, consecutiveLocalOriginFailures: 3, interval: 0s, maxEjectionPercent: 101 }
    tls: { mode: ISTIO_MUTUAL, sni: x, clientCertificate: /etc/x }
    tunnel: { protocol: CONNECT }
    retryBudget: { percent: 1.5 }
    portLevelSettings: [{ port: { number: 80 } }, { port: { number: 80 }, loadBalancer: {} }, { tls: { mode: MUTUAL } }]
  subsets:
  - { name: v1, labels: { "v*": x }, trafficPolicy: {} }
  - { name: v2, trafficPolicy: { connectionPool: {}, loadBalancer: { consistentHash: { httpCookie: { name: "", attributes: [] } } }, tls: { mode: SIMPLE, credentialName: x, caCrl: y } } }
"#
    );
}

#[test]
fn istios_own_validation_of_entries_and_sidecars() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: a }
spec: { hosts: ["*"], ports: [], resolution: STATIC, location: MESH_INTERNAL, subjectAltNames: [a] }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: b }
spec:
  hosts: ["*.b.example", "*.b.example"]
  ports: [{ number: 80, name: x, protocol: SPDY }, { number: 80, name: x, protocol: TCP, targetPort: 0 }]
  resolution: NONE
  endpoints: [{ address: "unix:///a" }, { network: n, weight: 0, ports: { P: 0 } }]
  workloadSelector: { labels: { a: "*" } }
  exportTo: ["~", "."]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: c }
spec:
  hosts: ["*.c.example"]
  ports: [{ number: 80, name: http }]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: d }
spec:
  hosts: [d.example]
  ports: [{ number: 80, name: http }]
  resolution: DNS
  endpoints: [{ address: e.example, labels: { a: b } }, { address: 192.0.2.1 }]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: e }
spec: { hosts: [e.example], ports: [{ number: 80, name: http }], resolution: DNS_ROUND_ROBIN, endpoints: [{ address: x_ }] }
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: f }
spec: { serviceAccount: A_ }
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: { name: g }
spec: { metadata: { labels: { a: b } }, template: { address: 10.0.0.1 }, probe: {} }
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: h }
spec: {}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: i }
spec:
  workloadSelector: { labels: { "": x } }
  ingress:
  - { port: { number: 80, protocol: HTTP, name: http }, bind: 0.0.0.0, defaultEndpoint: "10.0.0.1:80", tls: {}, captureMode: NONE }
  - { port: { number: 80, protocol: HTTP, name: http }, defaultEndpoint: "unix:///a", connectionPool: { tcp: { connectTimeout: 1s } } }
  egress: [{ hosts: [reviews, A/b, "./*", "./*"], port: { number: 80 } }, {}]
  outboundTrafficPolicy: { mode: ALLOW_ANY, egressProxy: {} }
"#
    );
}
