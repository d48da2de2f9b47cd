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
