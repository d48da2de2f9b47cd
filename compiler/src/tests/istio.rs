//! Istio's networking kinds in a mesh: what is found between documents, and what bodies come of them.

use super::{body, findings};

macro_rules! found {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(findings($text)); })*
    };
}

macro_rules! silent {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() {
            let found = findings($text);
            assert!(found.ends_with("nothing found\n"), "{found}");
        })*
    };
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident($service:literal): $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(body($text, $service)); })*
    };
}

/// A VirtualService of `cart`, a condition on its callers, and the callers.
fn labelled(endpoints: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: cart }}
spec:
  hosts: [ cart ]
  http:
  - match: [ {{ sourceLabels: {{ app: canary }}, sourceNamespace: team }} ]
    route: [ {{ destination: {{ host: cart, subset: v2 }} }} ]
  - route: [ {{ destination: {{ host: cart, subset: v1 }} }} ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: caller, namespace: team }}
spec:
  ports: [ {{ name: http, port: 80, protocol: http }} ]
  endpoints: {{ static: [ {endpoints} ] }}
  calls: [ {{ name: cart, namespace: default }} ]
"
    )
}

const CANARY: &str = "{ address: 10.0.0.8, labels: { app: canary } }";

#[test]
fn callers_whose_workloads_differ_are_an_error() {
    let differ = format!("{CANARY}, {{ address: 10.0.0.9, labels: {{ app: other }} }}");
    insta::assert_snapshot!(findings(&labelled(&differ)));
}

#[test]
fn callers_without_labels_are_an_error() {
    insta::assert_snapshot!(findings(&labelled("{ address: 10.0.0.9 }")));
}

#[test]
fn callers_that_agree_see_the_entry_or_do_not() {
    let first = |text: &str| {
        let body = body(text, "team/caller");
        let rules = body.split("outbound:").nth(1).unwrap().to_owned();
        (rules.contains("default/cart:80/v2"), rules.contains("default/cart:80/v1"))
    };
    assert_eq!(first(&labelled(CANARY)), (true, true));
    assert_eq!(first(&labelled("{ address: 10.0.0.9, labels: { app: other } }")), (false, true));
}

found! {
    delegates_that_conflict_or_are_not_there: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: root }
spec:
  hosts: [ cart ]
  http:
  - match: [ { uri: { prefix: /a }, headers: { x: { exact: a } } } ]
    delegate: { name: lent }
  - delegate: { name: lnet }
  - delegate: { name: hidden, namespace: ops }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: lent }
spec:
  http:
  - match: [ { uri: { prefix: /b } } ]
    route: [ { destination: { host: cart } } ]
  - match: [ { headers: { x: { prefix: a } } } ]
    route: [ { destination: { host: cart } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: hidden, namespace: ops }
spec: { exportTo: [ . ], http: [ { route: [ { destination: { host: cart.default } } ] } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: unused }
spec: { http: [ { route: [ { destination: { host: cart } } ] } ] }
";
    layers_that_do_not_fit_and_redirects_of_several_ports: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart, two ]
  http: [ { redirect: { derivePort: FROM_REQUEST_PORT, uri: /a } } ]
  tls: [ { match: [ { sniHosts: [ cart ] } ], route: [ { destination: { host: cart } } ] } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec: { hosts: [ web ], tcp: [ { route: [ { destination: { host: web } } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: two }
spec: { ports: [ { name: http, port: 81, protocol: http } ], endpoints: { static: [ { address: 10.0.0.4 } ] } }
";
    tls_that_the_mesh_or_the_repository_does_not_have: "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart }
spec:
  host: cart
  trafficPolicy: { tls: { mode: SIMPLE } }
  subsets: [ { name: v3, labels: { version: v1 }, trafficPolicy: { tls: { mode: DISABLE } } } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: web }
spec: { host: web, trafficPolicy: { tls: { mode: DISABLE } } }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: api }
spec: { hosts: [ api.example.com ], ports: [ { number: 80, name: http } ], resolution: DNS }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: api }
spec: { host: api.example.com, trafficPolicy: { tls: { mode: SIMPLE, caCertificates: /etc/ca.pem } } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: api-too }
spec:
  host: api.example.com
  trafficPolicy: { portLevelSettings: [ { port: { number: 80 }, tls: { mode: MUTUAL, credentialName: key } }, { port: { number: 81 }, tls: { mode: SIMPLE } } ] }
";
    parts_that_take_something_back: "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart }
spec:
  host: cart
  trafficPolicy:
    loadBalancer: { localityLbSetting: { distribute: [ { from: eu/*, to: { eu/*: 100 } } ] } }
  subsets: [ { name: v3, labels: { version: v1 }, trafficPolicy: { loadBalancer: { simple: RANDOM } } } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart-too }
spec: { host: cart, trafficPolicy: { loadBalancer: { simple: RANDOM } } }
";
    entries_of_one_host_one_name_and_several_identities: "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: cart }
spec: { hosts: [ a.example ], ports: [ { number: 80, name: http } ] }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: one }
spec: { hosts: [ b.example ], ports: [ { number: 80, name: http } ] }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: two }
spec: { hosts: [ b.example ], ports: [ { number: 80, name: http } ] }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: machines }
spec:
  hosts: [ c.example ]
  location: MESH_INTERNAL
  ports: [ { number: 80, name: http } ]
  resolution: STATIC
  endpoints: [ { address: 10.0.0.8, serviceAccount: a }, { address: 10.0.0.9, serviceAccount: b } ]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: nobody }
spec: { hosts: [ d.example ], ports: [ { number: 80, name: http } ], resolution: STATIC, workloadSelector: { labels: { a: b } } }
";
    sidecars_that_overlap_or_leave_something_open: "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: one }
spec:
  egress: [ { hosts: [ ./cart.default.svc.cluster.local, ./gone.default.svc.cluster.local ] } ]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: two }
spec: { egress: [ { hosts: [ ./* ] } ] }
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: some }
spec:
  workloadSelector: { labels: { version: v1 } }
  egress: [ { hosts: [ ~/* ] } ]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: listens, namespace: team }
spec:
  ingress: [ { port: { number: 81, protocol: TCP } }, { port: { number: 90, protocol: HTTP } } ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: caller, namespace: team }
spec:
  ports: [ { name: http, port: 80, protocol: http }, { name: alt, port: 81, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.8 } ] }
";
}

silent! {
    /// The nearest to a rival: a pattern leaves a service to the VirtualService that names it.
    a_pattern_leaves_services_to_those_that_name_them: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: all }
spec: { hosts: [ '*.default.svc.cluster.local' ], http: [ { directResponse: { status: 404 } } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec: { hosts: [ cart ], http: [ { route: [ { destination: { host: cart } } ] } ] }
";
    /// The nearest to an unreachable route: those before it are for other callers.
    routes_of_other_callers_cover_nothing: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { sourceLabels: { app: web } } ]
    route: [ { destination: { host: cart, subset: v1 } } ]
  - match: [ { sourceLabels: { app: third } }, { sourceLabels: { app: other } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
  - route: [ { destination: { host: cart } } ]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: all }
spec: { egress: [ { hosts: [ ~/* ] } ] }
";
}

bodies! {
    faults_copies_origins_and_delegates("default/web"): "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: api
    match: [ { uri: { prefix: /api } } ]
    timeout: 3s
    delegate: { name: lent }
  - match: [ { uri: { prefix: /old } } ]
    redirect: { prefixRewrite: /new, derivePort: FROM_PROTOCOL_DEFAULT, scheme: https }
  - fault: { delay: { fixedDelay: 5s, percentage: { value: 0.1 } }, abort: { grpcStatus: UNAVAILABLE, percentage: { value: 50 } } }
    mirrors: [ { destination: { host: cart, subset: v2 }, percentage: { value: 12.5 } } ]
    corsPolicy: { allowOrigins: [ { exact: '*' } ], allowMethods: [ GET ], allowHeaders: [ X-A ], maxAge: 24h }
    rewrite: { uriRegexRewrite: { match: '/v[0-9]+/(.*)', rewrite: '/\\1' } }
    headers: { request: { set: { Host: new.example, x-a: b } } }
    route: [ { destination: { host: cart, subset: v1 } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: lent }
spec:
  http:
  - name: items
    match: [ { uri: { exact: /api/items } } ]
    route: [ { destination: { host: cart, subset: v2 } } ]
  - route: [ { destination: { host: cart } } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], action: allow, rules: [] }
";
    connections_by_server_name_and_address("team/caller"): "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: db }
spec:
  hosts: [ db ]
  tls:
  - match: [ { sniHosts: [ db.default.svc.cluster.local ], destinationSubnets: [ 10.9.0.0/16, 10.1.1.1 ] } ]
    route: [ { destination: { host: db, port: { number: 443 } } } ]
  tcp:
  - match: [ { port: 5432 } ]
    route: [ { destination: { host: db, port: { number: 5432 } }, weight: 3 }, { destination: { host: db, port: { number: 443 } }, weight: 1 } ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec:
  ports: [ { name: sql, port: 5432, protocol: tcp }, { name: tls, port: 443, protocol: tls } ]
  endpoints: { static: [ { address: 10.0.0.5 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: caller, namespace: team }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: db, namespace: default } ] }
";
    a_subset_replaces_parts_of_its_service("team/caller"): "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - match: [ { uri: { prefix: /hashed } } ]
    route: [ { destination: { host: cart, subset: hashed } } ]
  - route: [ { destination: { host: cart, subset: random } } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart }
spec:
  host: cart
  trafficPolicy:
    loadBalancer: { consistentHash: { httpHeaderName: X-User }, warmup: { duration: 30s } }
    connectionPool: { tcp: { maxConnections: 10, tcpKeepalive: { time: 10s } }, http: { http2MaxRequests: 20, maxConcurrentStreams: 5 } }
    outlierDetection: { consecutive5xxErrors: 9 }
  subsets:
  - { name: hashed, labels: { version: v1 } }
  - { name: random, labels: { version: v2 }, trafficPolicy: { loadBalancer: { simple: RANDOM }, connectionPool: { tcp: { maxConnections: 1 } }, outlierDetection: {} } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: caller, namespace: team }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart, namespace: default } ] }
";
    services_outside_and_what_a_sidecar_lets_call("default/web"): "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: api }
spec:
  hosts: [ api.example.com ]
  ports: [ { number: 80, name: http-api, protocol: HTTP, targetPort: 443 } ]
  resolution: DNS
  subjectAltNames: [ api.example.com ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: api }
spec: { host: api.example.com, trafficPolicy: { tls: { mode: SIMPLE, sni: api.example.com } } }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: wild }
spec:
  hosts: [ '*.example.org' ]
  ports: [ { number: 443, name: tls, protocol: TLS } ]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: hidden, namespace: ops }
spec: { hosts: [ hidden.example ], ports: [ { number: 80, name: http } ], exportTo: [ . ] }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: machines }
spec:
  hosts: [ machines.example.com ]
  location: MESH_INTERNAL
  addresses: [ 10.20.0.1 ]
  ports: [ { number: 80, name: http } ]
  resolution: STATIC
  workloadSelector: { labels: { app: machine } }
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: one }
spec: { address: 10.0.0.8, labels: { app: machine }, serviceAccount: robot, ports: { http: 8080 } }
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: all }
spec:
  egress: [ { hosts: [ ./api.example.com, '*/*.example.org', ./machines.example.com, ops/* ] } ]
  inboundConnectionPool: { http: { http2MaxRequests: 100 } }
";
}
