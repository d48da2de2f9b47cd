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
