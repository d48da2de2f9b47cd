//! Istio's Gateways, and the VirtualServices that are bound to them: what they are lowered to, what is found in them, and
//! what becomes of requests from outside.

use super::{body, compile_text, findings};
use crate::trace::{Question, trace};

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident($service:literal): $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(body($text, $service)); })*
    };
}

macro_rules! found {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(findings($text)); })*
    };
}

/// Workloads that are a gateway, and a service with TLS of its own.
const INGRESS: &str = "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: ingress, namespace: istio-system }
spec:
  ports: [ { name: status, port: 15021, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.9, labels: { istio: ingressgateway } } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec:
  ports: [ { name: tls, port: 443, protocol: tls }, { name: sql, port: 5432, protocol: tcp } ]
  endpoints: { static: [ { address: 10.0.0.8 } ] }
";

const PUBLIC: &str = "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 80, name: http, protocol: HTTP }
    hosts: [ '*' ]
  - port: { number: 8080, name: old, protocol: HTTP }
    hosts: [ '*' ]
    tls: { httpsRedirect: true }
  - port: { number: 443, name: https, protocol: HTTPS }
    hosts: [ shop.example, 'default/*.shop.example' ]
    tls: { mode: SIMPLE, credentialName: shop }
  - port: { number: 443, name: api, protocol: HTTPS }
    hosts: [ api.shop.example ]
    tls: { mode: ISTIO_MUTUAL }
  - port: { number: 443, name: through, protocol: TLS }
    hosts: [ '*.db.example' ]
    tls: { mode: PASSTHROUGH }
  - port: { number: 5432, name: sql, protocol: TCP }
    hosts: [ '*' ]
";

/// What VirtualServices say of the servers above.
const SHOP_ROUTES: &str = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop }
spec:
  hosts: [ shop.example, www.shop.example, api.shop.example ]
  gateways: [ public ]
  http:
  - match: [ { uri: { prefix: /cart } } ]
    route: [ { destination: { host: cart, subset: v2 }, weight: 10 }, { destination: { host: cart, subset: v1 }, weight: 90 } ]
  - match: [ { uri: { prefix: /old }, port: 443 }, { uri: { prefix: /older }, sourceNamespace: istio-system } ]
    redirect: { uri: /cart, authority: shop.example, scheme: https }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: others }
spec:
  hosts: [ '*.shop.example', web ]
  gateways: [ mesh, public ]
  http:
  - match: [ { uri: { prefix: /inside }, gateways: [ mesh ] }, { uri: { prefix: /outside }, gateways: [ public ] } ]
    route: [ { destination: { host: web } } ]
  - match: [ { uri: { prefix: /both } } ]
    route: [ { destination: { host: web } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: db }
spec:
  hosts: [ '*.db.example' ]
  gateways: [ public ]
  tls:
  - match: [ { sniHosts: [ one.db.example, two.db.example ], port: 443 } ]
    route: [ { destination: { host: db, port: { number: 443 } } } ]
  - match: [ { sniHosts: [ '*.db.example' ] } ]
    route: [ { destination: { host: db, port: { number: 5432 } } } ]
  tcp:
  - match: [ { port: 5432 } ]
    route: [ { destination: { host: db, port: { number: 5432 } } } ]
";

fn shop(more: &str) -> String {
    format!("{INGRESS}{PUBLIC}{more}")
}

#[test]
fn a_gateway_with_all_kinds_of_servers() {
    insta::assert_snapshot!(body(&shop(SHOP_ROUTES), "istio-system/ingress"));
}

/// What becomes of requests and connections of a caller from outside, a line for each decision.
fn stories(text: &str, gateway: &str, requests: &[&str]) -> String {
    let (_, compilation) = compile_text(text);
    assert!(!compilation.has_errors(), "{}", findings(text));
    let mesh = &compilation.mesh;
    let (namespace, name) = gateway.split_once('/').unwrap();
    let gateway = mesh.gateway_named(namespace, name).unwrap();
    let story = |request: &&str| {
        let question = Question::parse(gateway, "0.0.0.0".parse().unwrap(), request, &[]).unwrap();
        let trace = trace(mesh, &question).unwrap();
        let steps = trace.steps.iter().filter(|step| ["listener", "route", "split"].contains(&step.stage));
        let steps = steps.map(|step| {
            let line = step.line.map(|line| format!(" ({line})")).unwrap_or_default();
            format!("  {}{line}\n", step.text)
        });
        let location = trace.location.map(|location| format!(" {location}")).unwrap_or_default();
        format!(
            "{request}\n{}  = {:?} {:?}{location}\n",
            steps.collect::<String>(),
            trace.decision,
            trace.status
        )
    };
    requests.iter().map(story).collect()
}

#[test]
fn requests_and_connections_from_outside() {
    let requests = [
        "GET https://shop.example/cart/1",
        "GET https://www.shop.example/cart",
        "GET https://www.shop.example/outside",
        "GET https://img.shop.example/outside",
        "GET https://img.shop.example/inside",
        "GET https://img.shop.example/both",
        "GET https://api.shop.example/cart",
        "GET https://api.shop.example/outside",
        "GET https://shop.example/old",
        "GET http://shop.example/old",
        "GET https://shop.example/older",
        "GET http://shop.example/cart",
        "GET http://img.shop.example/cart",
        "GET http://elsewhere.example/cart",
        "GET http://shop.example:8080/cart",
        "GET http://elsewhere.example:8080/a?b=c",
        "tls://one.db.example:443",
        "tls://three.db.example:443",
        "tls://else.example:443",
        "tcp://anything:5432",
    ];
    insta::assert_snapshot!(stories(&shop(SHOP_ROUTES), "default/public", &requests));
}

/// Two Gateways on one workload: names of clear text are told apart together, those of TLS by server.
const TWO: &str = "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: other, namespace: ops }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 80, name: http, protocol: HTTP2 }
    hosts: [ '*.ops.example', '*' ]
  - port: { number: 443, name: https, protocol: HTTPS }
    hosts: [ deep.shop.example ]
    tls: { mode: SIMPLE, credentialName: ops }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ops, namespace: ops, annotations: { weft.dev/priority: '5' } }
spec:
  hosts: [ www.shop.example, deep.shop.example, x.ops.example ]
  gateways: [ other, default/public ]
  http:
  - { match: [ { uri: { prefix: /cart } } ], route: [ { destination: { host: web.default } } ] }
  - { match: [ { uri: { prefix: /only }, gateways: [ other ] } ], directResponse: { status: 204 } }
  - directResponse: { status: 503 }
";

#[test]
fn gateways_that_share_their_workloads() {
    let text = shop(&format!("{SHOP_ROUTES}{TWO}"));
    let requests = [
        "GET http://www.shop.example/cart",
        "GET http://www.shop.example/old",
        "GET http://www.shop.example/only",
        "GET http://www.shop.example/older",
        "GET http://x.ops.example/cart",
        "GET http://y.ops.example/cart",
        "GET https://deep.shop.example/cart",
        "GET https://deep.shop.example/only",
        "GET https://www.shop.example/cart",
        "GET https://www.shop.example/only",
    ];
    insta::assert_snapshot!(stories(&text, "ops/other", &requests));
}

#[test]
fn one_of_two_gateways_has_no_policies_of_its_own() {
    let policy = "
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: a }
spec: { targetRefs: [ { kind: Gateway, name: public } ], action: deny, rules: [ { from: [ { network: 10.0.0.0/8 } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: b, namespace: istio-system }
spec: { targetRefs: [ { kind: Gateway, name: ingress } ], action: deny, rules: [ { from: [ { network: 10.0.0.0/8 } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: c }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { gateway: public } ] } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: d }
spec: { targetRefs: [ { group: gateway.networking.k8s.io, kind: Gateway, name: public } ], action: DENY, rules: [ {} ] }
";
    insta::assert_snapshot!(findings(&shop(&format!("{SHOP_ROUTES}{TWO}{policy}"))));
}

#[test]
fn policies_of_istio_find_a_gateway_by_its_labels() {
    let policy = "
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: d, namespace: istio-system }
spec: { selector: { matchLabels: { istio: ingressgateway } }, action: DENY, rules: [ { from: [ { source: { ipBlocks: [ 10.0.0.0/8 ] } } ] } ] }
";
    let alone = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: alone }
spec: { selector: { istio: ingressgateway }, servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ '*' ] } ] }
";
    for (text, name) in [(shop(policy), "public"), (format!("{alone}{policy}"), "alone")] {
        let (_, compilation) = compile_text(&text);
        let mesh = &compilation.mesh;
        let gateway = mesh.gateway_named("default", name).unwrap();
        assert_eq!(mesh.access[0].gateways, [gateway], "{}", findings(&text));
        let body = crate::lower::lower_gateway(mesh, gateway);
        assert!(body.listeners.iter().all(|listener| listener.access.rules.len() == 1), "{name}");
    }
}

bodies! {
    /// What no document knows runs somewhere, and has the Gateway's own name and account.
    a_gateway_whose_workloads_nobody_knows("default/edge"): "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge, annotations: { weft.dev/service-account: robot } }
spec:
  servers:
  - port: { number: 443, name: https, protocol: HTTPS }
    hosts: [ a.example ]
    tls: { mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_3 }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [ a.example ]
  gateways: [ edge ]
  http:
  - match: [ { uri: { prefix: /moved } } ]
    redirect: { authority: b.example }
  - route: [ { destination: { host: cart } } ]
";
}

found! {
    gateways_that_are_not_there: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public }
spec: { servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ a.example ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec: { gatewayClassName: weft, listeners: [ { name: web, port: 80, protocol: HTTP } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: one }
spec: { hosts: [ a.example ], gateways: [ pubic, edge, other/public, 'default/public' ], http: [ { match: [ { gateways: [ mesh, elsewhere ] } ], route: [ { destination: { host: cart } } ] } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: two, namespace: other }
spec: { hosts: [ a.example ], gateways: [ public, nothing ], http: [ { route: [ { destination: { host: cart.default } } ] } ] }
";
    hosts_and_routes_that_no_server_takes: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public }
spec:
  servers:
  - { port: { number: 80, name: http, protocol: HTTP }, hosts: [ 'other/a.example', '*.b.example', cart ] }
  - { port: { number: 443, name: tls, protocol: TLS }, hosts: [ c.b.example ], tls: { mode: PASSTHROUGH } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: hosts }
spec: { hosts: [ a.example, d.b.example, cart ], gateways: [ mesh, public ], http: [ { route: [ { destination: { host: cart } } ] } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: kinds }
spec:
  hosts: [ '*.b.example' ]
  gateways: [ public ]
  tls: [ { match: [ { sniHosts: [ d.b.example ] }, { sniHosts: [ c.b.example ], port: 80 } ], route: [ { destination: { host: cart } } ] } ]
  tcp: [ { route: [ { destination: { host: cart } } ] } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: hidden }
spec: { hosts: [ e.b.example ], exportTo: [ other ], gateways: [ public ], http: [ { route: [ { destination: { host: cart } } ] } ] }
";
    servers_that_clash_and_selectors_that_find_nothing: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: one }
spec:
  selector: { app: web }
  servers:
  - { port: { number: 443, name: https, protocol: HTTPS }, hosts: [ a.example, '*.example' ], tls: { mode: SIMPLE, credentialName: a } }
  - { port: { number: 443, name: https2, protocol: HTTPS }, hosts: [ a.example, b.example ], tls: { mode: SIMPLE, credentialName: b } }
  - { port: { number: 443, name: http, protocol: HTTP }, hosts: [ '*' ] }
  - { port: { number: 90, name: tcp, protocol: TCP }, hosts: [ '*' ] }
  - { port: { number: 90, name: tcp2, protocol: TCP }, hosts: [ '*' ] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: web }
spec: { selector: { app: wbe }, servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ '*' ] } ] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: cart }
spec: { servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ '*' ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: cart }
spec: { gatewayClassName: weft, listeners: [ { name: web, port: 80, protocol: HTTP } ] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: part }
spec:
  selector: { version: v1 }
  servers: [ { port: { number: 443, name: mutual, protocol: HTTPS }, hosts: [ '*' ], tls: { mode: MUTUAL, credentialName: a, caCertificates: nothing.pem } } ]
";
    /// Two documents for one name, without priority; and what one leaves to nobody.
    routes_that_meet_on_one_name: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public }
spec: { servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ '*.example' ] } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: one }
spec:
  hosts: [ a.example ]
  gateways: [ public ]
  http:
  - match: [ { uri: { prefix: /a } } ]
    route: [ { destination: { host: cart } } ]
  - match: [ { uri: { prefix: /a/b }, gateways: [ public ] }, { uri: { prefix: /c }, port: 81 }, { uri: { prefix: /d }, sourceNamespace: other }, { uri: { prefix: /e }, sourceLabels: { app: x } } ]
    route: [ { destination: { host: cart } } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: two }
spec:
  hosts: [ a.example ]
  gateways: [ public ]
  http: [ { match: [ { uri: { prefix: /a/c } } ], route: [ { destination: { host: web } } ] } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: three }
spec:
  hosts: [ a.example ]
  gateways: [ public ]
  http: [ { route: [ { destination: { host: web } } ] } ]
";
    a_redirect_without_scheme_on_servers_with_and_without_tls: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public }
spec:
  servers:
  - { port: { number: 80, name: http, protocol: HTTP }, hosts: [ a.example ] }
  - { port: { number: 443, name: https, protocol: HTTPS }, hosts: [ a.example ], tls: { mode: SIMPLE, credentialName: a } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: one }
spec: { hosts: [ a.example ], gateways: [ public ], http: [ { redirect: { authority: b.example } } ] }
";
}

#[test]
fn clients_of_mutual_servers_are_believed_by_the_certificates_beside_the_document() {
    use weft_bundle::body::{ClientCertificates, ListenerTls};

    const ROOT: &str = include_str!("../../../policy-examples/istio-security/ca/root.pem");
    let server = |number: u16, mode: &str, authority: &str| {
        format!(
            "- {{ port: {{ number: {number}, name: p{number}, protocol: HTTPS }}, hosts: [ '*' ], tls: {{ mode: {mode}, credentialName: shop{authority} }} }}"
        )
    };
    let servers = [
        server(443, "MUTUAL", ", caCertificates: ca/root.pem"),
        server(444, "OPTIONAL_MUTUAL", ", caCertificates: ca/root.pem"),
        server(445, "ISTIO_MUTUAL", "").replace(", credentialName: shop", ""),
        server(446, "SIMPLE", ""),
    ];
    let gateway = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{ name: public }}\nspec:\n  selector: {{ istio: ingressgateway }}\n  servers:\n  {}\n",
        servers.join("\n  ")
    );
    let documents = format!("{}{INGRESS}---\n{gateway}", crate::tests::SHOP.to_owned() + "---");
    let sources = crate::source::Sources::in_memory([
        ("shop/gateway.yaml", documents.as_str()),
        ("shop/ca/root.pem", ROOT),
    ]);
    let compilation = crate::compile(&sources);
    assert!(!compilation.has_errors(), "{:?}", compilation.diagnostics);
    let ingress = compilation.mesh.find("istio-system", "ingress").unwrap();
    let body = crate::lower::lower(&compilation.mesh, ingress);
    let clients: Vec<_> = body
        .listeners
        .iter()
        .map(|listener| match listener.tls.as_ref().unwrap() {
            ListenerTls::Terminate(tls) => tls.clients.clone(),
            ListenerTls::Passthrough => panic!("TLS ends here"),
        })
        .collect();
    let lines = ROOT.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("-----END"));
    let root = vec![lines.collect::<String>()];
    assert!(root[0].starts_with("MII"));
    assert_eq!(
        clients,
        [
            Some(ClientCertificates { optional: false, anchors: root.clone() }),
            Some(ClientCertificates { optional: true, anchors: root }),
            // Those of the mesh, which every body carries.
            Some(ClientCertificates { optional: false, anchors: Vec::new() }),
            None,
        ]
    );
}
