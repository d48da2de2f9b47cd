//! What only some callers are told of a service, which findings passed over.

use super::found;
use crate::tests::places::{pointed, transition};
use crate::tests::{SHOP, findings};

/// A DestinationRule of `cart` for the callers of the namespace `team`.
fn rule_of_team(more: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: cart, namespace: team }}
spec: {{ host: cart.default, {more} }}
"
    )
}

/// A VirtualService of `cart` for the callers of a namespace, which sends them to a subset.
fn route_of(namespace: &str, subset: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: cart, namespace: {namespace} }}
spec:
  hosts: [ cart.default.svc.cluster.local ]
  exportTo: [ . ]
  http: [ {{ route: [ {{ destination: {{ host: cart.default.svc.cluster.local, subset: {subset} }} }} ] }} ]
"
    )
}

/// Where findings point in the rule of `team`.
fn in_team(text: &str, analysis: &str) -> Vec<String> {
    let found = pointed(text, analysis).into_iter();
    found.filter(|(object, _)| object == "DestinationRule team/cart").map(|(_, text)| text).collect()
}

#[test]
fn settings_for_the_callers_of_one_namespace_were_not_looked_at() {
    let pool =
        |limit: u32| format!("trafficPolicy: {{ connectionPool: {{ tcp: {{ maxConnections: {limit} }} }} }}");
    let breaker = |limit| in_team(&rule_of_team(&pool(limit)), "breaker-below-replicas");
    assert_eq!(breaker(1), ["1"]);
    assert_eq!(breaker(2), [""; 0]);
    // The rule of most callers and theirs are two causes.
    let own = rule_of_team(&pool(1)).replace("namespace: team", "namespace: default");
    let both = format!("{own}{}", rule_of_team(&pool(1)));
    assert_eq!(pointed(&both, "breaker-below-replicas").len(), 2, "{}", findings(&both));

    for (analysis, policy, field) in [
        ("keepalive-mismatch", "connectionPool: { http: { idleTimeout: 300s } }", "300s"),
        ("ejection-cannot-happen", "outlierDetection: { minHealthPercent: 60 }", "60"),
        (
            "ejection-cannot-happen",
            "portLevelSettings: [ { port: { number: 80 }, outlierDetection: { minHealthPercent: 60 } } ]",
            "60",
        ),
    ] {
        let text = rule_of_team(&format!("trafficPolicy: {{ {policy} }}"));
        assert_eq!(in_team(&text, analysis), [field], "{}", findings(&text));
    }
}

#[test]
fn settings_of_a_subset_that_one_namespace_knows_were_not_looked_at() {
    let text = rule_of_team(
        "subsets: [ { name: all, labels: {}, trafficPolicy: { connectionPool: { http: { http2MaxRequests: 1 } } } } ]",
    );
    let text = format!("{text}{}", route_of("team", "all"));
    assert_eq!(in_team(&text, "breaker-below-replicas"), ["1"], "{}", findings(&text));
}

#[test]
fn a_subset_without_endpoints_that_one_namespace_knows_was_not_dead() {
    let subset = |version: &str| {
        rule_of_team(&format!("subsets: [ {{ name: new, labels: {{ version: {version} }} }} ]"))
    };
    let route = route_of("team", "new");
    let dead = |version: &str| pointed(&format!("{}{route}", subset(version)), "dead-backend").len();
    assert_eq!(dead("v3"), 1);
    assert_eq!(dead("v2"), 0);
    // Others know a subset of that name too, and it is theirs that their route sends to.
    let own = subset("v2").replace("namespace: team", "namespace: default");
    let text = format!("{own}{}{}{route}", route_of("default", "new"), subset("v3"));
    let object = "VirtualService team/cart".to_owned();
    let found: Vec<String> = pointed(&text, "dead-backend").into_iter().map(|(object, _)| object).collect();
    assert_eq!(found, [object], "{}", findings(&text));
}

#[test]
fn settings_of_a_subset_that_no_caller_who_knows_it_is_sent_to_were_used() {
    let rule = rule_of_team(
        "subsets: [ { name: red, labels: { version: v1 }, trafficPolicy: { loadBalancer: { simple: RANDOM } } } ]",
    );
    // Others know a subset of that name too, and are sent to theirs.
    let own = rule_of_team("subsets: [ { name: red, labels: { version: v1 } } ]")
        .replace("namespace: team", "namespace: default");
    let sent = |namespace: &str| format!("{own}{rule}{}", route_of(namespace, "red"));
    assert_eq!(in_team(&sent("default"), "unused-object"), ["red"], "{}", findings(&sent("default")));
    assert_eq!(in_team(&sent("team"), "unused-object"), [""; 0]);
    // A port's settings count, and a rule for several namespaces is used if one of them uses it.
    let of_port = rule
        .replace("{ loadBalancer:", "{ portLevelSettings: [ { port: { number: 80 }, loadBalancer:")
        .replace("RANDOM } }", "RANDOM } } ] }");
    assert_eq!(in_team(&of_port, "unused-object"), ["red"], "{}", findings(&of_port));
    let shared = rule
        .replace("namespace: team", "namespace: default")
        .replace("host:", "exportTo: [ a, team ], host:");
    let unused = |text: &str| found(text).contains(&"unused-object");
    assert!(unused(&shared) && !unused(&format!("{shared}{}", route_of("team", "red"))));
}

#[test]
fn a_subset_was_taken_from_the_callers_of_one_namespace_unnoticed() {
    let shop = SHOP.replace(
        "  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ]\n",
        "",
    );
    let subsets = |names: &[&str]| {
        let subset = |name: &&str| format!("{{ name: {name}, labels: {{ version: {name} }} }}");
        rule_of_team(&format!("subsets: [ {} ]", names.iter().map(subset).collect::<Vec<_>>().join(", ")))
    };
    let of = |rule: &str, sent: &str| format!("{shop}{rule}{}", route_of("team", sent));
    let both = of(&subsets(&["v1", "v2"]), "v1");
    let message = "subset `v1` of `default/cart` is gone for callers of the namespace `team` while their proxies still send \
                   requests to it";
    let of_rule = ("DestinationRule team/cart".to_owned(), message.to_owned());
    assert_eq!(transition(&both, &of(&subsets(&["v2"]), "v2")), [of_rule]);
    let of_service = ("Service default/cart".to_owned(), message.to_owned());
    assert_eq!(transition(&both, &format!("{shop}{}", route_of("team", "v2"))), [of_service]);
    assert_eq!(transition(&both, &of(&subsets(&["v1"]), "v1")), [], "nobody was sent to the other");
    // A rule that is moved to where everybody sees it is nobody's loss.
    let moved = subsets(&["v1", "v2"]).replace("namespace: team", "namespace: default");
    assert_eq!(transition(&both, &of(&moved, "v1")), []);
    // A new rule of their own hides from them what most are told.
    let hidden = of(&format!("{moved}{}", subsets(&["v2"])), "v2");
    assert_eq!(transition(&of(&moved, "v1"), &hidden).len(), 1);
}

/// A rule for some workloads of the namespace of a gateway that sends requests to `cart`.
fn selected(gateway: &str, labels: &str) -> String {
    let rule = rule_of_team(&format!(
        "workloadSelector: {{ matchLabels: {{ {labels} }} }}, trafficPolicy: {{ loadBalancer: {{ simple: RANDOM }} }}"
    ));
    format!("{gateway}{rule}")
}

const GATE_OF_ISTIO: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public, namespace: team }
spec:
  selector: { istio: ingressgateway }
  servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ shop.example ] } ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: team }
spec:
  hosts: [ shop.example ]
  gateways: [ public ]
  http: [ { route: [ { destination: { host: cart.default.svc.cluster.local } } ] } ]
";

const GATE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: team }
spec: { gatewayClassName: weft, listeners: [ { name: web, port: 80, protocol: HTTP } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop, namespace: team }
spec: { parentRefs: [ { name: edge } ], rules: [ { backendRefs: [ { name: cart, namespace: default, port: 80 } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: g }
spec:
  from: [ { group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: team } ]
  to: [ { group: '', kind: Service } ]
";

#[test]
fn a_rule_for_some_workloads_left_a_gateway_out_silently() {
    let unsure = |text: &str| findings(text).contains("nothing says whether the workloads of the gateway");
    let nobody =
        |text: &str| findings(text).contains("no workload in namespace `team` is known to have the labels");
    assert!(unsure(&selected(GATE_OF_ISTIO, "app: front")));
    // It is meant, or it is not.
    for labels in ["istio: ingressgateway", "istio: other, app: front"] {
        let text = selected(GATE_OF_ISTIO, labels);
        assert!(!unsure(&text), "{}", findings(&text));
    }
    assert!(nobody(&selected(GATE_OF_ISTIO, "istio: other")));
    // Others have the labels, and cannot be the gateway's.
    let front = "---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: front, namespace: team }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.5, labels: { app: front } } ] } }
";
    let text = format!("{}{front}", selected(GATE_OF_ISTIO, "app: front"));
    assert!(!unsure(&text) && !nobody(&text), "{}", findings(&text));
    // The pods of a Gateway of the Gateway API have one label.
    let text = selected(GATE, "app: front");
    assert!(!unsure(&text) && nobody(&text), "{}", findings(&text));
}

#[test]
fn a_rule_for_a_gateway_of_the_gateway_api_was_not_for_it() {
    let text = selected(GATE, "gateway.networking.k8s.io/gateway-name: edge");
    let (_, compilation) = crate::tests::compile_text(&text);
    assert!(!compilation.has_errors(), "{}", findings(&text));
    let edge = compilation.mesh.find_gateway("team", "edge").unwrap();
    let body = crate::lower::lower_gateway(&compilation.mesh, edge);
    assert_eq!(body.clusters["default/cart:80"].load_balancer, weft_bundle::body::LoadBalancer::Random);
}
