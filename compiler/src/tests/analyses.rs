//! Each analysis: a case that fires, the nearest case that does not, two causes at once.

use super::findings;

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

cases! {
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
