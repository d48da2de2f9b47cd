//! Analyses of routes and host names.

use super::{findings, names_found};

cases! {
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
}

silent! {
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
}

cases! {
    partially_shadowed_routes_of_two_kinds: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: reads
    match: [ { uri: { prefix: /api }, method: { exact: GET } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - name: health
    match: [ { uri: { exact: /api/health } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
  - name: images
    match: [ { uri: { regex: '/.*[.]png' } } ]
    route: [ { destination: { host: cart } } ]
  - name: statics
    match: [ { uri: { prefix: /static } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
";
    zero_weight_of_one_and_of_all: "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - name: one
    matches: [ { path: { value: /one } } ]
    backendRefs: [ { name: cart, port: 80, weight: 0 } ]
  - name: two
    matches: [ { path: { value: /two } } ]
    backendRefs: [ { name: cart, port: 80, weight: 0 }, { name: web, port: 80, weight: 0 } ]
";
    redirect_loop_of_one_rule_and_of_two_services: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: home
    match: [ { uri: { prefix: /shop } } ]
    redirect: { uri: /shop/home }
  - name: away
    match: [ { uri: { exact: /away } } ]
    redirect: { authority: web.default, uri: /back }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [ web ]
  http:
  - name: back
    match: [ { uri: { exact: /back } } ]
    redirect: { authority: cart.default, uri: /away }
  - name: deeper
    match: [ { uri: { prefix: /deep } } ]
    redirect: { uri: /end }
  - name: rest
    route: [ { destination: { host: web } } ]
";
    /// The first three have an expression that is too large; the last ranks as they do, and begins otherwise.
    ties_that_cannot_be_excluded: "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: one }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { matches: [ { path: { type: RegularExpression, value: '/x.*[ab]c.{60}' } } ], backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: two }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { matches: [ { path: { type: RegularExpression, value: '/x.*[ab]c.{60}' } } ], backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: three }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { matches: [ { path: { type: RegularExpression, value: '/x.*[ab]c.{60}' } } ], backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: apart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { matches: [ { path: { type: RegularExpression, value: '/health-[0-9]x' } } ], backendRefs: [ { name: cart, port: 80 } ] } ]
";
    /// What one caller's labels lead to, and what everybody's do.
    redirect_loop_of_some_callers_and_of_all: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: phone, namespace: apps }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.9, labels: { app: phone } } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: phones
    match: [ { uri: { prefix: /m }, sourceLabels: { app: phone } } ]
    redirect: { uri: /m/start }
  - name: team
    match: [ { uri: { exact: /team }, sourceNamespace: apps, sourceLabels: { app: phone } } ]
    redirect: { uri: /team }
  - name: all
    match: [ { uri: { exact: /old } } ]
    redirect: { uri: /old }
  - name: rest
    route: [ { destination: { host: cart } } ]
";
    conflicting_hosts_of_two_pairs: "
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay }
spec: { hosts: [ pay.example, '*.mail.example' ], ports: [ { name: tls, port: 443, protocol: tls } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: payments, namespace: billing }
spec: { hosts: [ pay.example ], ports: [ { name: tls, port: 443, protocol: tls } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: mail, namespace: ops }
spec: { hosts: [ '*.mail.example' ], ports: [ { name: tls, port: 443, protocol: tls } ] }
";
    host_overlap_of_two_names: "
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: partners, namespace: egress }
spec: { hosts: [ '*.partner.example' ], ports: [ { name: tls, port: 443, protocol: tls } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay, namespace: billing }
spec: { hosts: [ '*.eu.partner.example', pay.partner.example ], ports: [ { name: tls, port: 443, protocol: tls } ] }
";
    undeclared_hosts: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: docs
    match: [ { uri: { prefix: /docs } } ]
    redirect: { authority: docs.example.com }
  - name: help
    match: [ { uri: { prefix: /help } } ]
    redirect: { authority: help.example.com }
  - name: web
    match: [ { uri: { prefix: /web } } ]
    redirect: { authority: web.default.svc.cluster.local }
  - name: rest
    route: [ { destination: { host: cart } } ]
";
}

/// Texts in which an analysis finds nothing, whatever others find.
macro_rules! quiet {
    ($($(#[$doc:meta])* $name:ident, $analysis:literal: $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() {
            let names = names_found($text);
            assert!(!names.contains(&$analysis), "{}", findings($text));
        })*
    };
}

quiet! {
    specific_before_general_is_whole, "partially-shadowed-route": "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: beta
    match: [ { headers: { x-beta: { exact: 'yes' } } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
  - name: health
    match: [ { uri: { exact: /api/health } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - name: reads
    match: [ { uri: { prefix: /api }, method: { exact: GET } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
  - name: api
    match: [ { uri: { prefix: /api } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
";
    rules_that_do_the_same_are_one, "partially-shadowed-route": "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { uri: { prefix: /api }, method: { exact: GET } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - match: [ { uri: { exact: /api/health } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
";
    one_backend_of_weight_zero_is_out, "zero-weight": "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80, weight: 0 }, { name: web, port: 80, weight: 1 } ] } ]
";
    a_redirect_to_what_another_rule_takes_ends, "redirect-loop": "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { uri: { exact: /shop/home } } ]
    route: [ { destination: { host: cart } } ]
  - match: [ { uri: { prefix: /shop } } ]
    redirect: { uri: /shop/home }
";
    /// Where some callers are sent, a rule for the same callers answers.
    a_redirect_to_what_some_callers_get_ends, "redirect-loop": "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: phone }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.9, labels: { app: phone } } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { uri: { exact: /m/start }, sourceLabels: { app: phone } } ]
    route: [ { destination: { host: cart } } ]
  - match: [ { uri: { prefix: /m }, sourceLabels: { app: phone } } ]
    redirect: { uri: /m/start }
  - match: [ { uri: { exact: /old } } ]
    redirect: { uri: /new }
  - route: [ { destination: { host: cart } } ]
";
    other_ports_and_other_callers_share_a_host, "conflicting-hosts": "
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: a }
spec: { hosts: [ pay.example ], ports: [ { name: tls, port: 443, protocol: tls } ], visibleTo: [ default ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: b }
spec: { hosts: [ pay.example ], ports: [ { name: tls, port: 8443, protocol: tls } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: c, namespace: ops }
spec: { hosts: [ pay.example ], ports: [ { name: tls, port: 443, protocol: tls } ], visibleTo: [ ops ] }
";
    one_namespace_knows_its_own_hosts, "host-overlap": "
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: partners }
spec: { hosts: [ '*.partner.example' ], ports: [ { name: tls, port: 443, protocol: tls } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay }
spec: { hosts: [ pay.partner.example ], ports: [ { name: tls, port: 443, protocol: tls } ] }
";
    a_declared_host_may_be_redirected_to, "undeclared-host": "
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: docs }
spec: { hosts: [ '*.example.com' ], ports: [ { name: tls, port: 443, protocol: tls } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http: [ { redirect: { authority: docs.example.com } } ]
";
}
