//! Where requests go, by which names and through which gateways.

use super::{EDGE, INGRESS, OUTSIDE, found};
use crate::lower::lower;
use crate::tests::places::pointed;
use crate::tests::{compile_text, findings};

#[test]
fn a_route_led_around_whom_an_external_service_is_for() {
    let route = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: out }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: pay, port: 80 } ] } ]
";
    assert!(found(&format!("{OUTSIDE}{route}")).contains(&"unknown-reference"));
    assert!(
        !found(&format!("{}{route}", OUTSIDE.replace(", visibleTo: [ s ]", "")))
            .contains(&"unknown-reference")
    );
}

#[test]
fn the_stock_sidecar_was_a_circle_of_calls() {
    let text = "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: default }
spec: { egress: [ { hosts: [ './*' ] } ] }
";
    assert!(!found(text).contains(&"dependency-cycle"), "{}", findings(text));
    let (_, compilation) = compile_text(text);
    let web = lower(&compilation.mesh, compilation.mesh.find("default", "web").unwrap());
    assert_eq!(web.outbound.len(), 1, "it still says what the caller sees");
}

const ROUTE_OF_EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec:
  parentRefs: [ { name: edge, sectionName: web } ]
  hostnames: [ shop.example, shop.elsewhere ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";

#[test]
fn a_host_name_that_no_listener_takes_was_left_out_without_a_word() {
    let edge = |hosts: &str| EDGE.replace("name: web, ", &format!("name: web, hostname: '{hosts}', "));
    let text = format!("{}{ROUTE_OF_EDGE}", edge("*.example"));
    let object = "HTTPRoute default/shop".to_owned();
    assert_eq!(pointed(&text, "ignored-hostnames"), [(object, "shop.elsewhere".to_owned())]);
    assert_eq!(pointed(&format!("{EDGE}{ROUTE_OF_EDGE}"), "ignored-hostnames"), []);
    let neither = format!("{}{ROUTE_OF_EDGE}", edge("*.test"));
    let shown = findings(&neither);
    assert!(
        shown.contains("it is for `*.test`, and the route only for `shop.example`, `shop.elsewhere`"),
        "{shown}"
    );
}

#[test]
fn a_grant_that_nearly_fits_was_not_shown() {
    let route = "
apiVersion: v1
kind: Service
metadata: { name: pay, namespace: bank }
spec: { ports: [ { name: http, port: 80 } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec: { parentRefs: [ { name: edge, sectionName: web } ], rules: [ { backendRefs: [ { name: pay, namespace: bank, port: 80 } ] } ] }
";
    let grant = |namespace: &str, from: &str, to: &str| {
        format!(
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {{ name: g, namespace: {namespace} }}
spec:
  from: [ {{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {from} }} ]
  to: [ {{ group: '', kind: Service, name: {to} }} ]
"
        )
    };
    for (grant, said) in [
        (grant("bank", "other", "pay"), Some("this grant is for HTTPRoute of namespace `other`")),
        (grant("bank", "default", "lend"), Some("this grant is to refer to Service `lend`")),
        (
            grant("default", "default", "pay"),
            Some("this grant would do, but is in namespace `default`, not in `bank`"),
        ),
        (grant("bank", "other", "lend"), None),
        (String::new(), None),
    ] {
        let shown = findings(&format!("{EDGE}{route}{grant}"));
        assert!(shown.contains("error[missing-grant]"), "{shown}");
        assert_eq!(shown.matches("this grant").count(), usize::from(said.is_some()), "{shown}");
        assert!(said.is_none_or(|said| shown.contains(said)), "{shown}");
    }
    assert_eq!(pointed(&format!("{EDGE}{route}{}", grant("bank", "default", "pay")), "missing-grant"), []);
}

fn entry(name: &str, namespace: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{ name: {name}, namespace: {namespace} }}
spec: {{ hosts: [ api.pay.example ], ports: [ {{ number: 443, name: tls, protocol: TLS }} ], resolution: DNS }}
"
    )
}

#[test]
fn one_host_of_two_service_entries_was_two_findings() {
    let text = format!("{}{}", entry("pay", "default"), entry("payments", "default"));
    let shown = findings(&text);
    assert_eq!(shown.matches("api.pay.example` on").count(), 1, "{shown}");
    assert_eq!(pointed(&text, "duplicate-object").len(), 1);
    assert_eq!(pointed(&text, "conflicting-hosts"), []);
}

#[test]
fn two_spellings_of_one_prefix_were_to_be_moved() {
    let text = |second: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: cart }}
spec:
  parentRefs: [ {{ group: '', kind: Service, name: cart }} ]
  rules:
  - {{ matches: [ {{ path: {{ value: /api }} }} ], backendRefs: [ {{ name: cart, port: 80 }} ] }}
  - {{ matches: [ {{ path: {{ value: {second} }} }} ], backendRefs: [ {{ name: web, port: 80 }} ] }}
"
        )
    };
    let shown = findings(&text("/api/"));
    assert!(
        shown.contains("the prefixes `/api` and `/api/` match the same paths: keep one of the rules"),
        "{shown}"
    );
    assert!(findings(&text("/api")).contains("help: move it before the rules that cover it"));
}

#[test]
fn a_connection_to_a_listener_for_requests_found_no_listener() {
    let edge = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners: [ { name: web, port: 80, protocol: HTTP, hostname: shop.example } ]
";
    let (_, compilation) = compile_text(edge);
    let gateway = compilation.mesh.find_gateway("default", "edge").unwrap();
    let ask = |request: &str| {
        let address = "10.0.0.1".parse().unwrap();
        let question = crate::trace::Question::parse(gateway, address, request, &[]).unwrap();
        crate::trace::trace(&compilation.mesh, &question).unwrap().steps.pop().unwrap().text
    };
    assert_eq!(ask("tcp://shop.example:80"), "listener `web` takes requests; ask with `http://`");
    assert!(ask("tcp://other.example:80").starts_with("no listener of `default/edge` takes"));
}

#[test]
fn a_test_could_not_expect_a_gateway_to_refuse() {
    let text = format!(
        "{EDGE}
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: closed }}
spec: {{ targetRefs: [ {{ kind: Gateway, name: edge }} ], action: deny, rules: [ {{ from: [ {{ network: 10.0.0.0/8 }} ] }} ] }}
---
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: {{ name: t }}
spec:
  cases:
  - name: refused
    from: gateway:edge
    address: 10.0.0.1
    request: {{ url: 'http://shop.example/' }}
    expect: {{ access: deny, status: 403, policy: closed }}
  - name: let in
    from: gateway:edge
    address: 10.0.0.1
    request: {{ url: 'http://shop.example/' }}
    expect: {{ access: allow }}
"
    );
    let (_, compilation) = compile_text(&text);
    let report = crate::policy_test::run(&compilation.mesh, "").unwrap();
    let passed: Vec<bool> = report.outcomes.iter().map(crate::policy_test::Outcome::passed).collect();
    assert_eq!(passed, [true, false], "{}", findings(&text));
    let failure = &report.outcomes[1].failures[0];
    assert!(
        failure.message.contains("the gateway refuses it, by rules[0] of AccessPolicy default/closed"),
        "{failure:?}"
    );
    assert_eq!(report.coverage.unreached().count(), 0);
}

#[test]
fn a_source_with_a_label_of_the_gateway_and_another_was_dropped_from_it() {
    let route = |labels: &str| {
        let route = format!(
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: web }}
spec:
  hosts: [ shop.example ]
  gateways: [ public ]
  http:
  - match: [ {{ sourceLabels: {{ {labels} }} }} ]
    route: [ {{ destination: {{ host: cart }} }} ]
"
        );
        findings(&format!("{INGRESS}{route}")).contains("nothing says whether the workloads of")
    };
    assert!(route("istio: ingressgateway, version: v2"));
    assert!(!route("istio: ingressgateway"));
    assert!(!route("istio: other, version: v2"));
}

#[test]
fn a_fault_of_one_path_was_said_to_meet_every_request() {
    let text = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - name: broken
    match: [ { uri: { prefix: /broken } } ]
    fault: { abort: { httpStatus: 503, percentage: { value: 100 } } }
    route: [ { destination: { host: cart } } ]
  - fault: { delay: { fixedDelay: 2s, percentage: { value: 100 } } }
    route: [ { destination: { host: cart } } ]
";
    let found = compile_text(text).1.diagnostics;
    let faults: Vec<&str> =
        found.iter().filter(|f| f.analysis == "fault-left-on").map(|f| f.message.as_str()).collect();
    assert_eq!(
        faults,
        [
            "every request that `broken` takes is answered with an error on purpose",
            "every request to `default/cart` is delayed on purpose",
        ]
    );
}
