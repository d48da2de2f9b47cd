//! Analyses of routes and host names.

use super::{findings, names_found};

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
