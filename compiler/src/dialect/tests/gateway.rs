use std::fmt::Write;

/// A route attached to a Service, with these rules.
fn route(rules: &str) -> String {
    let mut text = String::from(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: reviews, namespace: bookinfo }\n\
         spec:\n  parentRefs: [{ group: \"\", kind: Service, name: reviews, port: 9080 }]\n  rules:\n",
    );
    for line in rules.trim_matches('\n').lines() {
        writeln!(text, "  {line}").unwrap();
    }
    text
}

#[test]
fn everything_that_is_honoured() {
    snapshot!(&route(
        r#"
- name: jason
  matches:
  - path: { type: PathPrefix, value: /reviews }
    headers: [{ name: end-user, value: jason }, { name: x, type: RegularExpression, value: "[a-z]+" }]
    queryParams: [{ name: debug, value: "1" }]
    method: GET
  filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: { set: [{ name: a, value: b }], add: [{ name: c, value: d }], remove: [e] }
  - type: ResponseHeaderModifier
    responseHeaderModifier: { remove: [server] }
  - type: URLRewrite
    urlRewrite: { hostname: other.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: / } }
  backendRefs:
  - { name: reviews-v1, port: 9080, weight: 90 }
  - group: ""
    kind: Service
    name: reviews-v2
    namespace: other
    port: 9080
    weight: 10
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: { set: [{ name: x-canary, value: "true" }] }
  timeouts: { request: 10s, backendRequest: 2s }
- matches: [{ path: { type: Exact, value: /old } }]
  filters:
  - type: RequestRedirect
    requestRedirect: { scheme: https, hostname: new.example, port: 443, statusCode: 301, path: { type: ReplaceFullPath, replaceFullPath: /new } }
"#
    ));
}

#[test]
fn what_cannot_be_honoured_is_an_error_at_its_line() {
    snapshot!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: edge }
spec:
  parentRefs: [{ name: gateway }, { kind: Gateway, group: gateway.networking.k8s.io, name: other }]
  hostnames: [shop.example, "*.shop.example"]
  rules:
  - filters:
    - type: RequestMirror
      requestMirror: { backendRef: { name: a, port: 80 } }
    - type: CORS
      cors: {}
    - type: ExtensionRef
      extensionRef: { group: g, kind: k, name: n }
    retry: { attempts: 3 }
    sessionPersistence: {}
    backendRefs:
    - { group: example.com, kind: Bucket, name: b, port: 80 }
    - name: c
      port: 80
      filters:
      - type: URLRewrite
        urlRewrite: { hostname: x }
"#
    );
}

#[test]
fn the_rules_of_the_crd_for_matches() {
    snapshot!(&route(
        r#"
- matches:
  - path: { value: no-slash }
  - path: { value: /a//b }
  - path: { type: Exact, value: /a/./b }
  - path: { value: /a%2fb }
  - path: { value: "/a b" }
  - path: { type: RegularExpression, value: "(" }
  - method: get
  - method: FETCH
- name: a
  matches:
  - headers: [{ name: End-User, value: a }, { name: end-user, value: b }, { name: "bad name", value: c }]
  - headers: [{ name: x, value: "" }]
  - queryParams: [{ name: q, value: a }, { name: q, value: b }, { name: "", value: c }]
- name: a
"#
    ));
}

#[test]
fn the_rules_of_the_crd_for_filters() {
    snapshot!(&route(
        r#"
- filters:
  - type: RequestRedirect
    requestRedirect: { scheme: ftp, statusCode: 200, port: 0, hostname: "*.example" }
  - type: URLRewrite
    urlRewrite: {}
  - type: URLRewrite
    urlRewrite: { path: { type: ReplaceFullPath, replacePrefixMatch: /a } }
  backendRefs: [{ name: a, port: 80 }]
- matches: [{ path: { value: /a } }, { path: { value: /b } }]
  filters:
  - type: URLRewrite
    urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /c } }
  - type: RequestHeaderModifier
  - type: ResponseHeaderModifier
    requestHeaderModifier: {}
- filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: { set: [{ name: A, value: x }, { name: a, value: y }], add: [{ name: "", value: x }], remove: [b, B, ":path"] }
"#
    ));
}

#[test]
fn the_rules_of_the_crd_for_backends_and_timeouts() {
    snapshot!(&route(
        r#"
- backendRefs:
  - { name: a }
  - { name: A_b, port: 80 }
  - { name: a, port: 80, weight: 1000001 }
  - { name: a, port: 0 }
  timeouts: { request: 1s, backendRequest: 2s }
- timeouts: { request: 0s, backendRequest: 2s }
- timeouts: { request: 1s, backendRequest: 0s }
"#
    ));
}

#[test]
fn a_route_is_attached_to_something_and_once() {
    snapshot!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: a }
spec: {}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: { name: b }
spec:
  parentRefs:
  - { kind: Service, name: x }
  - { kind: Service, group: core, name: x }
  - { kind: Service, name: x, port: 80 }
"#
    );
}

#[test]
fn values_that_the_crd_does_not_have() {
    snapshot!(&route(
        r#"
- matches: [{ path: { type: Prefix, value: / } }]
  timeouts: { request: 1.5s }
- filters: [{ type: Rewrite }]
"#
    ));
}

#[test]
fn limits_on_counts() {
    let matches: String = (0..65).map(|i| format!("  - path: {{ value: /{i} }}\n")).collect();
    let rules: String = (0..2).map(|_| format!("- matches:\n{matches}")).collect();
    let parsed = super::parse(&super::sources(&route(&rules)));
    let messages: Vec<&str> = parsed.diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "65 matches are more than the 64 that are allowed",
            "130 matches are more than the 128 that a route may have",
            "65 matches are more than the 64 that are allowed",
        ]
    );
}
