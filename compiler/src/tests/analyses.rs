//! Each analysis: a case that fires, the nearest case that does not, two causes at once.

use super::{compile_text, findings};
use crate::diagnostic::Diagnostic;
use crate::model::Mesh;

/// Snapshots of what is found.
macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(findings($text)); })*
    };
}

/// Texts that nothing is found in.
macro_rules! silent {
    ($($name:ident: $text:expr;)*) => {
        $(#[test] fn $name() {
            let found = findings($text);
            assert!(found.ends_with("nothing found\n"), "{found}");
        })*
    };
}

mod access;
mod gateways;
mod graph;
mod routes;
mod traffic;

/// The names of all that is found.
fn names_found(text: &str) -> Vec<&'static str> {
    compile_text(text).1.diagnostics.iter().map(|finding| finding.analysis).collect()
}

/// The messages of one analysis, of a mesh that documents make and a test then changes: for what no dialect spells, or not
/// this one.
fn found_in(text: &str, edit: impl FnOnce(&mut Mesh), run: fn(&Mesh) -> Vec<Diagnostic>) -> Vec<String> {
    let mut mesh = compile_text(text).1.mesh;
    edit(&mut mesh);
    mesh.reindex();
    run(&mesh).into_iter().map(|finding| finding.message).collect()
}

cases! {
    invalid_expression_points_inside: "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: deny
  rules:
  - when: request.headres['x-env'] == 'test'
  - when: \"request.path == 1 || request.method == 'get'\"
  - when: |
      request.method == 'GET' &&
      request.nope == 'a'
  - when: token.issuer == 'https://issuer'
";
    a_condition_on_requests_of_a_tcp_port: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec:
  ports: [ { name: sql, port: 5432, protocol: tcp }, { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.9 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: db }
spec:
  targetRefs: [ { kind: Service, name: db } ]
  action: allow
  rules:
  - when: source.namespace == 'ops'
  - when: request.method == 'GET'
  - to: [ { ports: [ http ] } ]
    when: request.method == 'GET'
";
    unknown_reference_offers_a_near_name: "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - backendRefs: [ { name: crat, port: 80 }, { name: cart, port: 81 } ]
";
    unknown_reference_in_another_namespace: "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart, namespace: ops }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { service: web } ] } ]
";
    unknown_references_of_a_policy_test: "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { service: web } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: a }
spec:
  cases:
  - { name: one, from: wbe, request: { url: 'http://cart/' }, expect: { access: allow } }
  - name: two
    from: web
    request: { url: 'http://cart/' }
    expect: { backend: cart/v3, policy: crat, mirrors: [ ops/web ] }
  - { name: three, from: web, request: { url: 'cart/' }, expect: { backends: [ { backend: 'cart:81' }, { backend: 'cart:x' } ] } }
  - { name: four, from: web, request: { url: 'http://cart/' }, expect: { backend: a/b/c/d } }
  invariants:
  - { name: five, callers: { of: car, exactly: [ web ] } }
  - { name: six, callers: { of: cart, port: 81, exactly: [ web ] } }
  - { name: seven, denied: { of: cart, port: htp, from: [ { notService: wbe } ] } }
  - { name: eight, allowed: { of: cart, from: [ wbe, { service: ops/web } ] } }
";
    a_policy_test_whose_backend_may_be_two: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: v1, namespace: cart }
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: a }
spec:
  cases:
  - { name: one, from: web, request: { url: 'http://cart/' }, expect: { backend: cart/v1 } }
  - { name: two, from: web, request: { url: 'http://cart/' }, expect: { backend: 'cart:80/v1' } }
  - { name: three, from: web, request: { url: 'http://cart/' }, expect: { backend: 'cart/v1:80' } }
  - { name: four, from: web, request: { url: 'http://cart/' }, expect: { backend: default/cart/v1 } }
";
    a_policy_test_of_requests_on_tcp: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: sql, port: 5432, protocol: tcp } ] }
---
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: a }
spec:
  invariants:
  - { name: one, callers: { of: db, exactly: [] } }
  - { name: two, denied: { of: db, methods: [ GET ] } }
";
    unknown_subset: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - route: [ { destination: { host: cart, subset: v3 } } ]
";
    duplicate_object_across_files: "
=== a.yaml
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { request: 1s } }
=== b.yaml
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart, namespace: default }
spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { request: 2s } }
";
    conflicting_settings_name_both: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: a }
spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { request: 1s }, retry: { attempts: 1 } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: b }
spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { request: 2s, connect: 1s } }
";
    dependency_cycle_of_three_and_of_one: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: b } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web }, { name: c } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: c }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: a } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: self }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: self } ] }
";
    unreachable_route_behind_one_rule: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: api
    match: [ { uri: { prefix: /api } } ]
    route: [ { destination: { host: cart } } ]
  - name: api-v2
    match: [ { uri: { prefix: /api/v2 } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
";
    unreachable_route_behind_a_union: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: reads
    match: [ { method: { regex: 'GET|HEAD' } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - name: beta
    match: [ { headers: { x-beta: { exact: 'yes' } } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
  - name: not-beta
    match: [ { withoutHeaders: { x-beta: { exact: 'yes' } } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - name: get
    match: [ { uri: { prefix: /x }, method: { exact: GET } }, { uri: { regex: '/[a-z]+' } } ]
    route: [ { destination: { host: cart } } ]
";
    unreachable_route_across_documents: "
=== a.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: all }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
=== b.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: numbers }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - matches: [ { path: { type: RegularExpression, value: '/[0-9]+' } } ]
    backendRefs: [ { name: web, port: 80 } ]
";
    ambiguous_routes_of_two_httproutes: "
=== a.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: canary }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - matches: [ { headers: [ { name: x-user, value: ann } ] } ]
    backendRefs: [ { name: cart, port: 80 } ]
=== b.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: stable }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - matches: [ { headers: [ { name: x-env, value: test } ] } ]
    backendRefs: [ { name: web, port: 80 } ]
";
    ambiguous_routes_of_a_virtual_service_and_an_httproute: "
=== a.yaml
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec: { hosts: [ cart ], http: [ { route: [ { destination: { host: cart } } ] } ] }
=== b.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";
    undeclared_call_of_two_callers: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { service: a }, { identity: spiffe://test.example/ns/default/sa/b } ] } ]
";
    /// `a` declares nothing of it, `b` declares one of the two, and `c`, in another namespace, all that it reaches.
    undeclared_call_out_of_the_mesh: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart }, { name: pay } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: c }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart }, { name: pay }, { name: mail }, { name: web } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay }
spec: { hosts: [ pay.example ], ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: mail }
spec: { hosts: [ mail.example ], ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - filters: [ { type: RequestMirror, requestMirror: { backendRef: { name: mail, port: 80 } } } ]
    backendRefs: [ { name: cart, port: 80, weight: 9 }, { name: pay, port: 80, weight: 1 } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web }
spec:
  parentRefs: [ { group: '', kind: Service, name: web } ]
  rules: [ { backendRefs: [ { name: web, port: 80 }, { name: pay, port: 80, weight: 0 } ] } ]
";
    dead_backend_of_a_misspelt_subset: "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart }
spec: { host: cart, subsets: [ { name: canary, labels: { version: v9 } } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - route:
    - { destination: { host: cart, subset: v1 }, weight: 9 }
    - { destination: { host: cart, subset: canary }, weight: 1 }
";
    http_rule_on_tcp: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: sql, port: 5432, protocol: tcp } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: db }
spec:
  targetRefs: [ { kind: Service, name: db } ]
  action: deny
  rules: [ { to: [ { methods: [ DELETE ] } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: db }
spec:
  parentRefs: [ { group: '', kind: Service, name: db } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";
    a_level_of_the_mesh_document_changes_what_counts: "
=== levels.yaml
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: test.example, analyses: { dependency-cycel: warn, ambiguous-routes: off } }
";
    unreachable_route_for_a_port_and_a_namespace_elsewhere: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  exportTo: [ ., team ]
  http:
  - { name: alt, match: [ { port: 81 } ], route: [ { destination: { host: cart } } ] }
  - { name: ops, match: [ { sourceNamespace: ops } ], route: [ { destination: { host: cart } } ] }
  - { name: rest, match: [ { sourceNamespace: team }, { port: 80 } ], route: [ { destination: { host: cart } } ] }
";
    ambiguous_routes_of_an_httproute_with_less_priority_than_none: "
=== a.yaml
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec: { hosts: [ cart ], http: [ { route: [ { destination: { host: cart } } ] } ] }
=== b.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: a }
spec:
  parentRefs: [ { kind: Service, name: cart } ]
  rules: [ { matches: [ { path: { value: /a } } ], backendRefs: [ { name: cart, port: 80 } ] } ]
=== c.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: b }
spec:
  parentRefs: [ { kind: Service, name: cart } ]
  rules: [ { matches: [ { path: { value: /b } } ], backendRefs: [ { name: cart, port: 80 } ] } ]
";
    hostnames_have_one_finding: "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  hostnames: [ cart.example ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";
    what_could_not_be_read_is_not_missing: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: stock }
spec: { ports: [ { name: http, port: 80, protocol: htp } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: stock } ]
  action: allow
  rules: [ { from: [ { service: web }, { service: sock } ] } ]
";
    conflicting_settings_of_two_destination_rules: "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: a }
spec: { host: cart, trafficPolicy: { loadBalancer: { simple: RANDOM } }, subsets: [ { name: v1, labels: { version: v1 } } ] }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: b }
spec: { host: cart, trafficPolicy: { loadBalancer: { simple: ROUND_ROBIN } } }
";
    duplicate_objects_of_a_mesh: "
=== again.yaml
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: other }
spec: { trustDomain: other.example, trustAnchors: [ { file: ca/root.pem }, { pem: nothing } ] }
";
    unknown_references_of_every_kind: "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { kind: Service, name: cart, port: 81 }, { kind: Service, name: cart, sectionName: htp } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: all }
spec: { targetRefs: [ { kind: Mesh, name: tset } ], timeouts: { request: 1s } }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { to: [ { ports: [ htp, 81 ] } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: many }
spec:
  ports: [ { name: a, port: 80, protocol: http }, { name: b, port: 81, protocol: http } ]
  calls: [ { name: crat } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: many, annotations: { weft.dev/priority: high } }
spec: { hosts: [ many, api.example.com ], http: [ { route: [ { destination: { host: many } } ] } ] }
---
apiVersion: v1
kind: Service
metadata: { name: named }
spec: { ports: [ { name: http, port: 80, targetPort: web } ] }
";
    ports_of_kubernetes_that_lead_to_one: "
apiVersion: v1
kind: Service
metadata: { name: two }
spec: { ports: [ { name: http, port: 80, targetPort: 8080 }, { name: sql, port: 81, targetPort: 8080 } ] }
---
apiVersion: v1
kind: Service
metadata: { name: same }
spec: { ports: [ { name: http, port: 80, targetPort: 8080 }, { name: http-alt, port: 81, targetPort: 8080 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: same }
spec:
  targetRefs: [ { kind: Service, name: same, port: 80 } ]
  action: allow
  rules: [ { from: [ { service: web } ] } ]
";
    headers_that_proxies_need: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - headers: { request: { set: { Content-Length: '1' } }, response: { remove: [ Upgrade ] } }
    route: [ { destination: { host: cart } } ]
";
    wrong_regex: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { uri: { regex: '/v[12' } } ]
    route: [ { destination: { host: cart } } ]
";
}

silent! {
    an_expression_that_fits: "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: deny
  rules: [ { when: has(request.headers.debug) && request.headers.debug == 'on' } ]
";
    a_call_through_a_route_is_declared: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: web, port: 80 } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], action: allow, rules: [ { from: [ { service: a } ] } ] }
";
    specific_before_general_is_silence: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { uri: { prefix: /api/v2 } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
  - match: [ { uri: { prefix: /api } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - route: [ { destination: { host: cart } } ]
";
    an_almost_covering_union_is_silence: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { headers: { x-beta: { exact: 'yes' } } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
  - match: [ { withoutHeaders: { x-beta: {} } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - route: [ { destination: { host: cart } } ]
";
    a_chain_of_calls_is_no_cycle: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: b }, { name: web } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web } ] }
";
    equal_rank_for_different_requests_is_no_tie: "
=== a.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: one }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - matches: [ { headers: [ { name: x-user, value: ann } ] } ]
    backendRefs: [ { name: cart, port: 80 } ]
=== b.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: two }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - matches: [ { headers: [ { name: x-user, value: bob } ] } ]
    backendRefs: [ { name: web, port: 80 } ]
";
    priority_breaks_a_tie: "
=== a.yaml
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart, annotations: { weft.dev/priority: '10' } }
spec: { hosts: [ cart ], http: [ { route: [ { destination: { host: cart } } ] } ] }
=== b.yaml
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart-old }
spec: { hosts: [ cart ], http: [ { route: [ { destination: { host: web } } ] } ] }
";
    an_httproute_of_higher_priority_beats_a_virtual_service: "
=== a.yaml
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec: { hosts: [ cart ], http: [ { route: [ { destination: { host: cart } } ] } ] }
=== b.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart, annotations: { weft.dev/priority: '1' } }
spec:
  parentRefs: [ { kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";
    a_repeated_header_gets_past_an_inverted_condition: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { withoutHeaders: { x: { exact: '2' } } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - match: [ { headers: { x: { exact: '1' } } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
";
    one_host_by_two_names_is_one_attachment: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart, cart.default, cart.default.svc.cluster.local ]
  http: [ { route: [ { destination: { host: cart } } ] } ]
";
    policies_for_different_namespaces_do_not_compete: "
=== a.yaml
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: one }
spec: { hosts: [ cart ], exportTo: [ a ], http: [ { route: [ { destination: { host: cart } } ] } ] }
=== b.yaml
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: two }
spec: { hosts: [ cart ], exportTo: [ b ], http: [ { route: [ { destination: { host: web } } ] } ] }
";
    a_weight_of_zero_needs_no_endpoint: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: gone }
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 }, { name: gone, port: 80, weight: 0 } ] } ]
";
    a_method_on_the_http_port_of_a_mixed_service: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: mixed }
spec: { ports: [ { name: sql, port: 5432, protocol: tcp }, { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: mixed }
spec:
  targetRefs: [ { kind: Service, name: mixed } ]
  action: deny
  rules: [ { to: [ { methods: [ DELETE ], ports: [ http ] } ] } ]
";
    policies_on_different_fields_do_not_conflict: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: a }
spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { request: 1s } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: b }
spec: { targetRefs: [ { kind: Service, name: cart } ], loadBalancer: { policy: random } }
";
    a_declared_call_may_be_allowed: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { service: a }, { service: web } ] } ]
";
}
