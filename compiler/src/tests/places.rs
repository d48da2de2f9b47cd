//! Where findings point, and how often one thing is said: each test is named by the symptom that a review found.

use super::{SHOP, compile_text, findings};

/// What is found under a name: the object it is about, and the text it points at.
pub(super) fn pointed(text: &str, analysis: &str) -> Vec<(String, String)> {
    let (sources, compilation) = compile_text(text);
    let found = compilation.diagnostics.iter().filter(|finding| finding.analysis == analysis);
    let shown = found.map(|finding| {
        let span = finding.span.unwrap();
        let file = sources.file(span.file).unwrap();
        (
            finding.object.clone().unwrap_or_default(),
            String::from_utf8(file.bytes[span.range()].to_vec()).unwrap(),
        )
    });
    shown.collect()
}

/// A DestinationRule of `cart` with a traffic policy, and a Service that calls it.
fn destination_rule(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: rule, annotations: {{ weft.dev/waive: 'unserved-feature reason=later' }} }}
spec: {{ host: cart, trafficPolicy: {{ {policy} }} }}
"
    )
}

#[test]
fn findings_about_a_destination_rule_pointed_at_the_service() {
    let rule = || "DestinationRule default/rule".to_owned();
    for (analysis, policy, field) in [
        ("breaker-below-replicas", "connectionPool: { tcp: { maxConnections: 1 } }", "1"),
        ("keepalive-mismatch", "connectionPool: { http: { idleTimeout: 300s } }", "300s"),
        ("ejection-cannot-happen", "outlierDetection: { minHealthPercent: 60 }", "60"),
        (
            "breaker-below-replicas",
            "portLevelSettings: [ { port: { number: 80 }, connectionPool: { tcp: { maxConnections: 1 } } } ]",
            "1",
        ),
    ] {
        let text = destination_rule(policy);
        assert_eq!(pointed(&text, analysis), [(rule(), field.to_owned())], "{}", findings(&text));
        let waived = text.replace("unserved-feature", analysis);
        assert_eq!(pointed(&waived, analysis), [], "a waiver in the DestinationRule fits");
        assert_eq!(pointed(&waived, "unused-waiver"), []);
    }
    let text = destination_rule("loadBalancer: { simple: ROUND_ROBIN }, retryBudget: { percent: 30 }");
    assert_eq!(pointed(&text, "unserved-feature"), []);
}

#[test]
fn findings_about_a_subsets_port_were_those_of_the_subset() {
    let text = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: rule }
spec:
  host: cart
  subsets:
  - name: one
    labels: { version: v1 }
    trafficPolicy:
      connectionPool: { http: { idleTimeout: 20s } }
      portLevelSettings: [ { port: { number: 80 }, connectionPool: { http: { idleTimeout: 301s } } } ]
";
    assert_eq!(
        pointed(text, "keepalive-mismatch"),
        [("DestinationRule default/rule".to_owned(), "301s".to_owned())]
    );
}

#[test]
fn two_destination_rules_that_clash_named_neither_field() {
    let one = destination_rule("connectionPool: { tcp: { maxConnections: 7 } }");
    let text = format!("{one}---\n{}", one.replace("name: rule", "name: second").replace('7', "8"));
    let object = "DestinationRule default/second".to_owned();
    assert_eq!(pointed(&text, "conflicting-settings"), [(object, "8".to_owned())]);
}

#[test]
fn findings_about_a_policy_pointed_at_its_name() {
    let policy = |settings: &str| {
        format!(
            "apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {{ name: cart }}
spec: {{ targetRefs: [ {{ kind: Service, name: cart }} ], {settings} }}
"
        )
    };
    for (analysis, settings, field) in [
        ("keepalive-mismatch", "timeouts: { poolIdle: 5m }", "5m"),
        ("timeout-below-retries", "timeouts: { request: 1s }, retry: { attempts: 3, perTry: 2s }", "2s"),
        (
            "retry-of-unsafe-method",
            "retry: { attempts: 2, on: [ 5xx ], methods: [ GET, POST ] }",
            "GET, POST",
        ),
        ("breaker-below-replicas", "limits: { requests: 1 }", "1"),
        ("fault-left-on", "fault: { abort: { status: 500 } }", "{ abort: { status: 500 } }"),
    ] {
        let text = policy(settings);
        let expected = [("TrafficPolicy default/cart".to_owned(), field.to_owned())];
        assert_eq!(pointed(&text, analysis), expected, "{}", findings(&text));
    }
}

/// What is wrong with the change from one text to another: objects and messages.
pub(super) fn transition(base: &str, head: &str) -> Vec<(String, String)> {
    let compiled = |text: &str| crate::compile(&crate::source::Sources::in_memory([("m.yaml", text)])).mesh;
    let found = crate::analysis::unsafe_transition::between(&compiled(base), &compiled(head));
    found.into_iter().map(|finding| (finding.object.unwrap(), finding.message)).collect()
}

#[test]
fn an_edit_of_the_mesh_was_one_finding_per_service() {
    let strict = SHOP.replace("access: allow", "access: allow, peerTLS: strict");
    let off = strict.replace("peerTLS: strict", "peerTLS: off");
    let found = transition(&strict, &off);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "Mesh test");
    let elsewhere = strict.replace("test.example", "other.example");
    assert_eq!(transition(&strict, &elsewhere).len(), 1);
    // Both at once are two, and a service that has a change of its own is named.
    assert_eq!(transition(&strict, &off.replace("test.example", "other.example")).len(), 2);
    let one = strict.replacen("ports: [ {", "ports: [ { peerTLS: off,", 1);
    let found = transition(&strict, &one);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "Service default/web");
}

#[test]
fn a_base_without_a_mesh_had_the_trust_domain_missing_invalid() {
    let services = SHOP.split_once("---").unwrap().1;
    assert_eq!(transition(services, SHOP), []);
    assert_eq!(transition(SHOP, services), []);
}

#[test]
fn an_unsafe_transition_could_not_be_waived() {
    let waived = |object: &str, name: &str| {
        object.replace(
            &format!("metadata: {{ name: {name} }}"),
            &format!(
                "metadata: {{ name: {name}, annotations: {{ weft.dev/waive: 'unsafe-transition reason=a maintenance window' }} }}"
            ),
        )
    };
    let strict = SHOP.replace("access: allow", "access: allow, peerTLS: strict");
    let off = strict.replace("peerTLS: strict", "peerTLS: off");
    let one = strict.replacen("ports: [ {", "ports: [ { peerTLS: off,", 1);
    for (base, head) in [(&strict, waived(&off, "test")), (&strict, waived(&one, "web"))] {
        let compiled = |text: &str| crate::compile(&crate::source::Sources::in_memory([("m.yaml", text)]));
        let (base, head) = (compiled(base), compiled(&head));
        assert!(head.diagnostics.iter().all(|finding| finding.analysis != "unused-waiver"));
        let found = crate::analysis::unsafe_transition::between(&base.mesh, &head.mesh);
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|finding| head.waivers.silence(finding)), "{found:?}");
    }
}
