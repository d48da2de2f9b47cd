//! References, settings and what else is bound while reading.

use super::findings;

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
  - when: connection.sni == 'shop.example'
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
    a_level_of_the_mesh_document_changes_what_counts: "
=== levels.yaml
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: test.example, analyses: { dependency-cycel: warn, ambiguous-routes: off } }
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
}
