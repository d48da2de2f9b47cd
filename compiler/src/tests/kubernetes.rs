//! Facts of a cluster: what documents without addresses are told, whose identity a service has, and whose labels policies
//! go by.

use super::{body, compile_text, findings};

macro_rules! finds {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(findings($text)); })*
    };
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident($service:literal): $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(body($text, $service)); })*
    };
}

/// Two services and their workloads, as people write them for `kubectl apply`.
const MANIFESTS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: { name: orders, namespace: shop }
---
apiVersion: v1
kind: Service
metadata: { name: orders, namespace: shop }
spec: { selector: { app: orders }, ports: [ { name: http, port: 80, targetPort: web } ] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: orders, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  template:
    metadata: { labels: { app: orders, tier: back } }
    spec:
      serviceAccountName: orders
      containers: [ { name: app, image: orders, ports: [ { name: web, containerPort: 8080 } ] } ]
---
apiVersion: v1
kind: Service
metadata: { name: stock, namespace: shop }
spec: { selector: { app: stock }, ports: [ { name: http, port: 80, targetPort: 8080 } ] }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: stock, namespace: shop }
spec:
  selector: { matchLabels: { app: stock } }
  template:
    metadata: { labels: { app: stock, version: v1 } }
    spec: { containers: [ { name: app, image: stock, ports: [ { containerPort: 8080 } ] } ] }
";

fn with(more: &str) -> String {
    format!("{MANIFESTS}---{more}")
}

bodies! {
    a_service_has_the_identity_of_its_workloads("shop/stock"): &with("
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: stock, namespace: shop }
spec:
  selector: { matchLabels: { version: v1 } }
  rules: [ { from: [ { source: { principals: [ test.example/ns/shop/sa/orders ] } } ] } ]
");
    callers_expect_the_account_and_the_named_port("shop/stock"): &with("
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: all, namespace: shop }
spec: { targetRefs: [ { kind: Service, name: stock } ], action: deny, rules: [ { from: [ { namespace: other } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: orders, namespace: shop }
spec:
  parentRefs: [ { group: '', kind: Service, name: orders } ]
  rules: [ { backendRefs: [ { name: orders, port: 80 } ] } ]
");
    pods_with_an_address_are_endpoints("default/web"): "
apiVersion: v1
kind: Service
metadata: { name: stock }
spec: { selector: { app: stock }, ports: [ { name: http, port: 80, targetPort: web } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: a, labels: { app: stock, version: v1 } }
spec: { serviceAccountName: stock-keeper, containers: [ { name: app, ports: [ { name: web, containerPort: 8080 } ] } ] }
status: { podIP: 10.1.0.1, phase: Running, conditions: [ { type: Ready, status: 'True' } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: b, labels: { app: stock, version: v2 } }
spec: { serviceAccountName: stock-keeper, containers: [ { name: app, ports: [ { name: web, containerPort: 8080 } ] } ] }
status: { podIP: 10.1.0.2 }
---
apiVersion: v1
kind: Pod
metadata: { name: starting, labels: { app: stock, version: v2 } }
spec: { serviceAccountName: stock-keeper, containers: [ { name: app, ports: [ { name: web, containerPort: 8080 } ] } ] }
status: { podIP: 10.1.0.3, phase: Running, conditions: [ { type: Ready, status: 'False' } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: ending, labels: { app: stock, version: v2 }, deletionTimestamp: '2026-01-01T00:00:00Z' }
spec: { serviceAccountName: stock-keeper, containers: [ { name: app, ports: [ { name: web, containerPort: 8080 } ] } ] }
status: { podIP: 10.1.0.4, phase: Running }
---
apiVersion: v1
kind: Pod
metadata: { name: done, labels: { app: stock } }
spec: { serviceAccountName: migration, containers: [ { name: app } ] }
status: { podIP: 10.1.0.5, phase: Succeeded }
---
apiVersion: v1
kind: Pod
metadata: { name: wanted, labels: { app: stock } }
spec: { serviceAccountName: stock-keeper, containers: [ { name: app, ports: [ { name: web, containerPort: 8080 } ] } ] }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: stock }
spec: { host: stock, subsets: [ { name: v2, labels: { version: v2 } } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: stock }
spec:
  hosts: [ stock ]
  http:
  - { match: [ { uri: { prefix: /new } } ], route: [ { destination: { host: stock, subset: v2 } } ] }
  - { route: [ { destination: { host: stock } } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web-2 }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.9 } ] }, calls: [] }
";
    a_service_entry_selects_pods("default/web"): "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ledger }
spec:
  hosts: [ ledger.internal ]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [ { number: 9000, name: http, protocol: HTTP } ]
  workloadSelector: { labels: { app: ledger } }
---
apiVersion: v1
kind: Pod
metadata: { name: ledger, labels: { app: ledger } }
spec: { serviceAccountName: bookkeeper, containers: [ { name: app } ] }
status: { podIP: 10.1.0.7 }
";
    slices_say_which_pod_an_address_is("default/web"): "
apiVersion: v1
kind: Service
metadata: { name: stock }
spec: { selector: { app: stock }, ports: [ { name: http, port: 80, targetPort: 8080 } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: stock-1, labels: { kubernetes.io/service-name: stock } }
addressType: IPv4
ports: [ { name: http, port: 8080 } ]
endpoints:
- { addresses: [ 10.1.0.1 ], targetRef: { kind: Pod, name: a, namespace: default } }
- { addresses: [ 10.1.0.2 ], targetRef: { kind: Pod, name: b, namespace: default } }
---
apiVersion: v1
kind: Pod
metadata: { name: a, labels: { app: stock, version: v1 } }
spec: { containers: [ { name: app } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: b, labels: { app: stock, version: v2 } }
spec: { containers: [ { name: app } ] }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: stock }
spec: { host: stock, subsets: [ { name: v2, labels: { version: v2 } } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: stock }
spec: { hosts: [ stock ], http: [ { route: [ { destination: { host: stock, subset: v2 } } ] } ] }
";
}

finds! {
    plain_manifests_have_one_note: &with("
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: stock, namespace: shop }
spec:
  parentRefs: [ { group: '', kind: Service, name: stock } ]
  rules: [ { backendRefs: [ { name: stock, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: orders, namespace: shop }
spec:
  parentRefs: [ { group: '', kind: Service, name: orders } ]
  rules: [ { backendRefs: [ { name: orders, port: 80 } ] } ]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: back, namespace: shop }
spec: { selector: { matchLabels: { tier: back } }, mtls: { mode: STRICT } }
");
    /// The second is one that no workload can belong to.
    subsets_are_judged_by_the_labels_of_workloads: &with("
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: stock, namespace: shop }
spec: { host: stock, subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: stock, namespace: shop }
spec:
  hosts: [ stock ]
  http: [ { route: [ { destination: { host: stock, subset: v1 }, weight: 9 }, { destination: { host: stock, subset: v2 }, weight: 1 } ] } ]
");
    workloads_that_differ: "
apiVersion: v1
kind: Service
metadata: { name: stock }
spec: { selector: { app: stock }, ports: [ { name: http, port: 80, targetPort: web } ] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: old }
spec:
  template:
    metadata: { labels: { app: stock, version: v1 } }
    spec: { serviceAccountName: keeper, containers: [ { ports: [ { name: web, containerPort: 8080 } ] } ] }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: new }
spec:
  template:
    metadata: { labels: { app: stock, version: v2 } }
    spec: { containers: [ { ports: [ { name: web, containerPort: 8081 } ] } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: new }
spec: { selector: { matchLabels: { version: v2 } }, action: DENY, rules: [ {} ] }
";
    ports_that_no_container_has: "
apiVersion: v1
kind: Service
metadata: { name: stock }
spec:
  selector: { app: stock }
  ports: [ { name: http, port: 80, targetPort: wbe }, { name: http-admin, port: 81, targetPort: 9000 }, { name: http-sync, port: 82, targetPort: sync } ]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: stock }
spec:
  template:
    metadata: { labels: { app: stock } }
    spec:
      initContainers: [ { restartPolicy: Always, ports: [ { name: proxy, containerPort: 1 } ] }, { ports: [ { name: setup, containerPort: 2 } ] } ]
      containers: [ { ports: [ { name: web, containerPort: 8080 }, { name: sync, containerPort: 7000, protocol: UDP } ] } ]
";
    accounts_that_are_not_there: &with("
apiVersion: v1
kind: Service
metadata: { name: front, namespace: shop }
spec: { selector: { app: front }, ports: [ { name: http, port: 80 } ] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: batch, namespace: shop }
spec: { template: { metadata: { labels: { app: batch } }, spec: { serviceAccountName: order, containers: [] } } }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: stock, namespace: shop }
spec:
  targetRefs: [ { kind: Service, name: stock } ]
  action: allow
  rules:
  - from: [ { identity: spiffe://test.example/ns/shop/sa/orders }, { identity: spiffe://test.example/ns/shop/sa/ordres } ]
  - from: [ { identity: spiffe://test.example/ns/other/sa/orders }, { identity: spiffe://test.example/ns/shop/sa/default } ]
  - from: [ { identity: spiffe://test.example/ns/shop/sa/front } ]
");
    a_policy_for_a_workload_without_a_service: "
apiVersion: apps/v1
kind: Deployment
metadata: { name: batch }
spec: { template: { metadata: { labels: { app: batch } }, spec: { containers: [] } } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: batch }
spec: { selector: { matchLabels: { app: batch } }, mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: nothing }
spec: { selector: { matchLabels: { app: bacth } }, mtls: { mode: STRICT } }
";
    a_weft_service_that_names_another_account: "
apiVersion: v1
kind: Service
metadata: { name: cart }
spec: { selector: { app: cart }, ports: [ { name: http, port: 80 } ] }
---
apiVersion: v1
kind: Service
metadata: { name: stock }
spec: { selector: { app: stock }, ports: [ { name: http, port: 80 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: stock }
spec: { serviceAccount: stock, ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: stock, labels: { app: stock } }
spec: { serviceAccountName: keeper, containers: [] }
";
}

/// A cluster whose EndpointSlices are exported has no others; one of which there are none has them where it runs.
#[test]
fn endpoints_are_later_only_where_none_are_listed() {
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {{ selector: {{ app: {name} }}, \
             ports: [ {{ name: http, port: 80 }} ] }}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: \
             HTTPRoute\nmetadata: {{ name: {name} }}\nspec: {{ parentRefs: [ {{ group: '', kind: Service, name: \
             {name} }} ], rules: [ {{ backendRefs: [ {{ name: {name}, port: 80 }} ] }} ] }}\n---\n"
        )
    };
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: a, labels: { \
                 kubernetes.io/service-name: a } }\naddressType: IPv4\nports: []\nendpoints: [ { addresses: [ \
                 10.1.1.1 ] } ]\n---\n";
    let names = |text: &str| {
        let found = compile_text(text).1.diagnostics;
        found.iter().map(|finding| finding.analysis).collect::<Vec<_>>()
    };
    let both = service("a") + &service("b");
    assert_eq!(names(&both), ["unlisted-endpoints"]);
    assert_eq!(names(&(both + slice)), ["dead-backend"]);
}

mod secrets {
    use super::*;

    const KEY: &str =
        "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUJWZ0lCQURBTkJnCi0tLS0tRU5EIFBSSVZBVEUgS0VZLS0tLS0K";
    const CERTIFICATE: &str =
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";

    fn secret(name: &str, data: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: {name} }}\ntype: kubernetes.io/tls\n{data}\n"
        )
    }

    const POLICY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { group: '', kind: Service, name: cart } ]
  validation: { hostname: cart.internal, caCertificateRefs: [ { group: '', kind: Secret, name: issuer } ] }
";

    #[test]
    fn certificates_come_from_secrets_and_keys_go_nowhere() {
        let rule = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: pay }
spec: { hosts: [ pay.example ], resolution: DNS, ports: [ { number: 443, name: http, protocol: HTTP } ] }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: pay }
spec: { host: pay.example, trafficPolicy: { tls: { mode: MUTUAL, credentialName: pay, sni: pay.example } } }
";
        let issuer = secret(
            "issuer",
            &format!("data: {{ ca.crt: {CERTIFICATE}, tls.crt: {CERTIFICATE}, tls.key: {KEY} }}"),
        );
        let pay = secret(
            "pay-cacert",
            &format!(
                "stringData:\n  cacert: |\n    -----BEGIN CERTIFICATE-----\n    BBBB\n    -----END CERTIFICATE-----\ndata: {{ tls.key: {KEY} }}"
            ),
        );
        let shown = body(&format!("{POLICY}{rule}{issuer}{pay}"), "default/web");
        let (_, made) = shown.split_once("────────").unwrap();
        assert!(!made.contains("LS0t") && made.contains("- AAAA\n") && made.contains("- BBBB\n"), "{made}");
        insta::assert_snapshot!(made);
    }

    #[test]
    fn what_is_wrong_with_secrets_is_shown_without_their_keys() {
        let bad = secret("issuer", &format!("data: {{ ca.crt: '%', tls.key: {KEY} }}"));
        let no_pem = secret("other", &format!("data: {{ tls.key: {KEY}, ca.crt: QUJD, tls.key: {KEY} }}"));
        let pem = "---\napiVersion: v1\nkind: Secret\nmetadata: { name: plain, extra: { ] }\nstringData:\n  tls.key: |\n    \
                   -----BEGIN PRIVATE KEY-----\n    MIIBVgIBADANBg\n    -----END PRIVATE KEY-----\n";
        let more = POLICY
            .replace("name: cart }\nspec", "name: web }\nspec")
            .replace("Service, name: cart", "Service, name: web");
        let missing = POLICY
            .replace("name: cart }\nspec", "name: x }\nspec")
            .replace("Service, name: cart", "Service, name: web, sectionName: http");
        let text = format!(
            "{POLICY}---{}---{}{bad}{no_pem}{pem}",
            more.replace("name: issuer", "name: other"),
            missing.replace("name: issuer", "name: othr")
        );
        let shown = findings(&text);
        let (_, shown) = shown.split_once("────────").unwrap();
        assert!(!shown.contains("LS0t") && !shown.contains("MIIB"), "{shown}");
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_listener_needs_a_certificate_with_its_key() {
        let gateway = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: a, port: 443, protocol: HTTPS, tls: { certificateRefs: [ { name: whole }, { name: half }, { name: elsewhere } ] } }
";
        let whole = secret("whole", &format!("data: {{ tls.crt: {CERTIFICATE}, tls.key: {KEY} }}"));
        let half = secret("half", &format!("data: {{ ca.crt: {CERTIFICATE} }}"));
        insta::assert_snapshot!(findings(&format!("{gateway}{whole}{half}")));
    }
}
