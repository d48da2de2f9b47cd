//! Faults that a review found, each a test named by its symptom.

use super::{compile_text, findings};
use crate::lower::lower;

/// The names of what is found, each once, without what proxies do not do yet.
fn found(text: &str) -> Vec<&'static str> {
    let (_, compilation) = compile_text(text);
    let mut names: Vec<_> = compilation.diagnostics.iter().map(|finding| finding.analysis).collect();
    names.retain(|name| *name != "unserved-feature");
    names.dedup();
    names
}

/// An AuthorizationPolicy with that action and rule.
fn authorization(action: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: p }}
spec: {{ targetRefs: [ {{ kind: Service, name: cart }} ], action: {action}, rules: [ {rule} ] }}
"
    )
}

#[test]
fn a_star_inside_a_principal_took_the_rule_away() {
    for list in ["principals: [ cluster.local/ns/*/sa/a ]", "notPrincipals: [ '*/ns/a*' ]"] {
        let text = authorization("DENY", &format!("{{ from: [ {{ source: {{ {list} }} }} ] }}"));
        assert_eq!(found(&text), ["invalid-value"], "{}", findings(&text));
    }
}

#[test]
fn a_denied_path_that_no_request_has_denied_nothing() {
    let denies = |path: &str| {
        found(&authorization("DENY", &format!("{{ to: [ {{ operation: {{ paths: [ '{path}' ] }} }} ] }}")))
    };
    for odd in ["/a//b*", "/%7Eroot*", "/a//{**}", "/a%2fb*", "*//x"] {
        assert_eq!(denies(odd), ["invalid-value"], "{odd}");
    }
    for plain in ["/a/b*", "/a.*", "*.js", "/a/{*}/c", "/a/{**}", "*"] {
        assert!(!denies(plain).contains(&"invalid-value"), "{plain}");
    }
}

const OUTSIDE: &str = "
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay }
spec: { hosts: [ pay.example ], ports: [ { name: http, port: 80, protocol: http } ], visibleTo: [ s ] }
---
";

#[test]
fn a_policy_about_what_is_outside_was_enforced_nowhere() {
    let policy = "apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: pay }
spec: { targetRefs: [ { kind: Service, name: pay } ], action: deny, rules: [ { to: [ { methods: [ POST ] } ] } ] }
";
    assert!(found(&format!("{OUTSIDE}{policy}")).contains(&"not-supported"));
}

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
fn a_weft_service_made_the_selector_of_its_kubernetes_service_forgotten() {
    let text = "apiVersion: v1
kind: Service
metadata: { name: cart }
spec: { selector: { tier: backend }, ports: [ { name: http, port: 80 } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: p }
spec: { selector: { matchLabels: { tier: backend } }, action: DENY, rules: [ { to: [ { operation: { methods: [ PUT ] } } ] } ] }
";
    let (_, compilation) = compile_text(text);
    let cart = lower(&compilation.mesh, compilation.mesh.find("default", "cart").unwrap());
    assert_eq!(cart.inbound[0].access.rules.len(), 1, "{}", findings(text));
}

#[test]
fn strict_peers_were_asked_of_what_is_outside() {
    let strict = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: all, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
";
    let text = format!("{}{strict}", OUTSIDE.replace(", visibleTo: [ s ]", ""));
    let (_, compilation) = compile_text(&text);
    let web = lower(&compilation.mesh, compilation.mesh.find("default", "web").unwrap());
    assert_eq!(web.clusters["default/pay:80"].tls, weft_bundle::body::UpstreamTls::Off);
}

#[test]
fn the_later_of_two_destination_rules_decided_about_tls() {
    let rule = |name: &str, mode: &str| {
        format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: {name} }}
spec: {{ host: pay.example, trafficPolicy: {{ tls: {{ mode: {mode} }} }} }}
---
"
        )
    };
    let outside = OUTSIDE.replace(", visibleTo: [ s ]", "");
    assert!(
        found(&format!("{outside}{}{}", rule("a", "SIMPLE"), rule("b", "DISABLE")))
            .contains(&"conflicting-settings")
    );
}

const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners: [ { name: web, port: 80, protocol: HTTP }, { name: through, port: 443, protocol: TLS, tls: { mode: Passthrough } } ]
---
";

#[test]
fn a_rule_about_requests_let_everybody_through_a_listener_without_any() {
    let policy = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: p }
spec:
  targetRefs: [ { group: gateway.networking.k8s.io, kind: Gateway, name: edge } ]
  action: ALLOW
  rules: [ { when: [ { key: 'request.headers[x-env]', notValues: [ test ] } ] } ]
";
    assert!(found(&format!("{EDGE}{policy}")).contains(&"http-rule-on-tcp"));
}

#[test]
fn tokens_of_a_gateway_were_lost() {
    let policy = r#"apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: users }
spec:
  targetRefs: [ { group: gateway.networking.k8s.io, kind: Gateway, name: edge } ]
  jwtRules:
  - issuer: https://id.example
    jwks: '{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}'
"#;
    let text = format!("{EDGE}{policy}");
    let (_, compilation) = compile_text(&text);
    let gateway = compilation.mesh.find_gateway("default", "edge").unwrap();
    let body = crate::lower::lower_gateway(&compilation.mesh, gateway);
    assert_eq!(body.listeners[0].tokens.len(), 1, "{}", findings(&text));
    assert_eq!(body.token_providers.len(), 1);
}

#[test]
fn a_policy_with_half_an_api_version_was_skipped_without_a_word() {
    for (version, kind) in [
        ("weft.dev", "AccessPolicy"),
        ("weft/v1alpha1", "AccessPolicy"),
        ("security.istio.io", "AuthorizationPolicy"),
        ("istio.io/v1", "AuthorizationPolicy"),
    ] {
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{ name: a }}\nspec: {{}}\n");
        assert_eq!(found(&text), ["unknown-kind"], "{version}");
    }
    let other = "apiVersion: access.example/v1\nkind: AccessPolicy\nmetadata: { name: a }\n";
    assert!(found(other).is_empty());
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

/// What is found under a name: the object it is about, and the text it points at.
fn pointed(text: &str, analysis: &str) -> Vec<(String, String)> {
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
fn transition(base: &str, head: &str) -> Vec<(String, String)> {
    let compiled = |text: &str| crate::compile(&crate::source::Sources::in_memory([("m.yaml", text)])).mesh;
    let found = crate::analysis::unsafe_transition::between(&compiled(base), &compiled(head));
    found.into_iter().map(|finding| (finding.object.unwrap(), finding.message)).collect()
}

#[test]
fn an_edit_of_the_mesh_was_one_finding_per_service() {
    let strict = super::SHOP.replace("access: allow", "access: allow, peerTLS: strict");
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
    let services = super::SHOP.split_once("---").unwrap().1;
    assert_eq!(transition(services, super::SHOP), []);
    assert_eq!(transition(super::SHOP, services), []);
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
    let strict = super::SHOP.replace("access: allow", "access: allow, peerTLS: strict");
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
