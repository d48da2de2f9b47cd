//! Which DestinationRules rule which callers: their own namespace's, else the service's, else the root namespace's.

use weft_bundle::body::{Action, Target, UpstreamTls};

use super::{compile_text, findings};
use crate::lower::{Subject, lower_subject};

/// Callers in three namespaces, one of them the root, and what they call.
const CALLERS: &str = "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: quick, namespace: team }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.5, labels: { track: quick } } ] } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: slow, namespace: team }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.6, labels: { track: slow } } ] } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: other, namespace: other }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.7 } ] } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: ops, namespace: istio-system }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.8 } ] } }
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: api }
spec: { hosts: [ api.example ], ports: [ { number: 80, name: http, protocol: HTTP } ], resolution: DNS }
---
";

/// A DestinationRule that limits connections, so that one sees which holds.
fn rule(name: &str, host: &str, limit: u32, more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: {name} }}
spec: {{ host: {host}, trafficPolicy: {{ connectionPool: {{ tcp: {{ maxConnections: {limit} }} }} }}{more} }}
---
"
    )
}

/// How many connections each caller makes to `cart` at most, 0 for no limit.
fn limits(rules: &str) -> Vec<(String, u32)> {
    let text = format!("{CALLERS}{rules}");
    let (_, compilation) = compile_text(&text);
    assert!(!compilation.has_errors(), "{}", findings(&text));
    let mesh = &compilation.mesh;
    let callers = [
        ("default", "web"),
        ("istio-system", "ops"),
        ("other", "other"),
        ("team", "quick"),
        ("team", "slow"),
    ];
    let limit = |(namespace, name): (&str, &str)| {
        let caller = mesh.find(namespace, name).unwrap();
        let body = lower_subject(mesh, Subject::Service(caller));
        let limit = body.clusters["default/cart:80"].limits.connections.unwrap_or(0);
        (format!("{namespace}/{name}"), limit)
    };
    callers.map(limit).to_vec()
}

fn told(rules: &str) -> [u32; 5] {
    limits(rules).into_iter().map(|(_, limit)| limit).collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_caller_is_ruled_by_its_namespace_then_the_services_then_the_root() {
    let host = "cart.default.svc.cluster.local";
    let own = rule("a, namespace: default", "cart", 1, "");
    let root = rule("b, namespace: istio-system", host, 2, "");
    let team = rule("c, namespace: team", host, 3, "");
    //            web, the root namespace's, other, two of the team
    assert_eq!(told(&own), [1, 1, 1, 1, 1]);
    assert_eq!(told(&root), [2, 2, 2, 2, 2]);
    assert_eq!(told(&team), [0, 0, 0, 3, 3], "a rule of a third namespace is for its own callers");
    assert_eq!(told(&[own.as_str(), &root, &team].concat()), [1, 1, 1, 3, 3]);
    assert_eq!(told(&[root.as_str(), &team].concat()), [2, 2, 2, 3, 3]);
}

#[test]
fn export_to_shows_a_rule_to_some() {
    let host = "cart.default.svc.cluster.local";
    let root = rule("b, namespace: istio-system", host, 2, "");
    let own = |scopes: &str| rule("a, namespace: default", "cart", 1, &format!(", exportTo: [ {scopes} ]"));
    assert_eq!(told(&own(".")), [1, 0, 0, 0, 0]);
    assert_eq!(told(&own("'*'")), [1, 1, 1, 1, 1]);
    assert_eq!(told(&format!("{}{root}", own("other"))), [2, 2, 1, 2, 2], "not even its own namespace");
    assert_eq!(told(&format!("{}{root}", own("., team"))), [1, 2, 2, 1, 1]);
    let hidden = rule("b, namespace: istio-system", host, 2, ", exportTo: [ . ]");
    assert_eq!(told(&hidden), [0, 2, 0, 0, 0]);
    assert_eq!(told(&format!("{}{hidden}", own("'*'"))), [1, 2, 1, 1, 1]);
}

#[test]
fn a_selector_means_some_workloads_of_its_namespace() {
    let host = "cart.default.svc.cluster.local";
    let selected = |labels: &str| {
        rule("s, namespace: team", host, 4, &format!(", workloadSelector: {{ matchLabels: {{ {labels} }} }}"))
    };
    let own = rule("a, namespace: default", "cart", 1, "");
    let team = rule("c, namespace: team", host, 3, "");
    assert_eq!(told(&selected("track: quick")), [0, 0, 0, 4, 0]);
    assert_eq!(told(&format!("{}{team}", selected("track: quick"))), [0, 0, 0, 4, 3]);
    // As in Istio, the namespace has a rule, and it is not for these workloads.
    assert_eq!(told(&format!("{}{own}", selected("track: quick"))), [1, 1, 1, 4, 0]);
}

#[test]
fn priority_decides_between_two_rules() {
    let first = rule("a, annotations: { weft.dev/priority: '1' }", "cart", 1, "");
    let second = rule("b", "cart", 2, "");
    assert_eq!(told(&format!("{second}{first}")), [1, 1, 1, 1, 1]);
}

#[test]
fn callers_who_do_not_know_a_subset_get_no_answer_of_it() {
    let text = format!(
        "{CALLERS}{}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: cart }}
spec: {{ hosts: [ cart ], http: [ {{ route: [ {{ destination: {{ host: cart, subset: new }} }} ] }} ] }}
",
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: cart, namespace: team }
spec: { host: cart.default, subsets: [ { name: new, labels: { version: v2 } } ] }
---
"
    );
    assert!(
        findings(&text).contains("is sent to the subset `new` of `default/cart`, which it does not know")
    );
    let (_, compilation) = compile_text(&text);
    let mesh = &compilation.mesh;
    let target = |namespace: &str, name: &str| {
        let body = lower_subject(mesh, Subject::Service(mesh.find(namespace, name).unwrap()));
        let frontend = body.outbound.iter().find(|frontend| frontend.service == "default/cart").unwrap();
        let Action::Forward(backends) = &frontend.rules[0].action else { panic!("it forwards") };
        backends[0].target.clone()
    };
    assert_eq!(target("team", "slow"), Target::Cluster("default/cart:80/new".to_owned()));
    assert_eq!(target("default", "web"), Target::Status(503));
}

#[test]
fn tls_to_the_outside_is_each_namespaces_own() {
    let text = format!(
        "{CALLERS}apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: api, namespace: team }}
spec: {{ host: api.example, trafficPolicy: {{ tls: {{ mode: SIMPLE, sni: api.example }} }} }}
"
    );
    let (_, compilation) = compile_text(&text);
    assert!(!compilation.has_errors(), "{}", findings(&text));
    let tls = |namespace: &str, name: &str| {
        let mesh = &compilation.mesh;
        let body = lower_subject(mesh, Subject::Service(mesh.find(namespace, name).unwrap()));
        body.clusters["default/api:80"].tls.clone()
    };
    assert!(matches!(tls("team", "quick"), UpstreamTls::Server(_)));
    assert_eq!(tls("default", "web"), UpstreamTls::Off);
}

#[test]
fn rules_that_say_two_things_or_nothing() {
    let text = format!(
        "{CALLERS}{}{}{}",
        rule("one", "cart", 1, ""),
        rule("two", "cart", 2, ""),
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: off }
spec: { host: api.example, trafficPolicy: { tls: { mode: DISABLE } } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: on }
spec: { host: api.example, trafficPolicy: { tls: { mode: SIMPLE } } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: never, namespace: istio-system }
spec: { host: cart.default, trafficPolicy: { loadBalancer: { simple: RANDOM } } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: port-a, namespace: other }
spec: { host: cart.default, workloadSelector: { matchLabels: { app: x } }, exportTo: [ '*' ], trafficPolicy: { portLevelSettings: [ { port: { number: 80 }, loadBalancer: { simple: RANDOM } } ] } }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: port-b, namespace: other }
spec: { host: cart.default, workloadSelector: { matchLabels: { app: x } }, trafficPolicy: { portLevelSettings: [ { port: { number: 80 }, loadBalancer: { simple: RANDOM } } ] } }
"
    );
    insta::assert_snapshot!(findings(&text));
}

#[test]
fn a_sidecar_shows_some_ports() {
    let text = |egress: &str| {
        format!(
            "{CALLERS}apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: both }}
spec: {{ ports: [ {{ name: http, port: 80, protocol: http }}, {{ name: alt, port: 81, protocol: http }} ], endpoints: {{ static: [ {{ address: 10.0.0.9 }} ] }} }}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{ name: all, namespace: team }}
spec: {{ egress: [ {egress} ] }}
"
        )
    };
    let seen = |egress: &str| {
        let (_, compilation) = compile_text(&text(egress));
        assert!(!compilation.has_errors(), "{}", findings(&text(egress)));
        let mesh = &compilation.mesh;
        let body = lower_subject(mesh, Subject::Service(mesh.find("team", "slow").unwrap()));
        let mut seen: Vec<String> = body.outbound.iter().map(|frontend| frontend.service.clone()).collect();
        seen.dedup();
        seen
    };
    let cart = "default/cart.default.svc.cluster.local";
    assert_eq!(
        seen(&format!("{{ port: {{ number: 80, protocol: HTTP }}, hosts: [ {cart} ] }}")),
        ["default/cart"]
    );
    assert_eq!(seen(&format!("{{ port: {{ number: 81 }}, hosts: [ {cart} ] }}")), Vec::<String>::new());
    // What a listener of its own has is no other's.
    let two = format!("{{ port: {{ number: 80 }}, hosts: [ {cart} ] }}, {{ hosts: [ '*/*' ] }}");
    assert!(
        findings(&text(&two)).contains("shows only a part of `default/both`"),
        "{}",
        findings(&text(&two))
    );
    let both =
        "{ port: { number: 80 }, hosts: [ default/* ] }, { port: { number: 81 }, hosts: [ default/* ] }";
    assert_eq!(seen(both), ["default/api", "default/both", "default/cart", "default/web"]);
    let part = format!(
        "{{ port: {{ number: 80, protocol: TCP }}, hosts: [ {cart}, default/both.default.svc.cluster.local ] }}"
    );
    insta::assert_snapshot!(findings(&text(&part)));
}
