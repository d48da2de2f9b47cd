//! Who may call whom, and with which tokens.

use super::{EDGE, INGRESS, OUTSIDE, authorization, found};
use crate::lower::lower;
use crate::tests::places::pointed;
use crate::tests::{SHOP, compile_text, findings};

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
fn denied_by_default_was_said_while_the_policy_that_allows_was_broken() {
    let closed = SHOP.replace("access: allow", "access: deny");
    let deny = authorization("DENY", "{ to: [ { operation: { methods: [ PUT ] } } ] }");
    let allow = authorization("ALLOW", "{ form: [] }").replace("name: p", "name: q");
    let names = |text: String| {
        let compilation = crate::compile(&crate::source::Sources::in_memory([("m.yaml", text)]));
        compilation.diagnostics.iter().map(|finding| finding.analysis).collect::<Vec<_>>()
    };
    assert_eq!(names(format!("{closed}---\n{deny}")), ["denied-by-default"]);
    let broken = names(format!("{closed}---\n{deny}---\n{allow}"));
    assert!(!broken.contains(&"denied-by-default"), "{broken:?}");
}

#[test]
fn an_attribute_that_proxies_do_not_know_was_refused_without_a_way_out() {
    for (attribute, instead) in [
        ("connection.sni", "`hostnames` of a TLSRoute"),
        ("source.remote_address", "`source.address`"),
        ("destination.address", "`destination.port`"),
    ] {
        let test = match attribute.ends_with("address") {
            true => format!("inNetwork({attribute}, '10.0.0.0/8')"),
            false => format!("{attribute} == 'a'"),
        };
        let text = format!(
            "apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: p }}
spec: {{ targetRefs: [ {{ kind: Service, name: cart }} ], action: allow, rules: [ {{ when: \"request.path == '/' && {test}\" }} ] }}
"
        );
        let shown = findings(&text);
        let object = "AccessPolicy default/p".to_owned();
        assert_eq!(pointed(&text, "not-supported"), [(object, attribute.to_owned())], "{shown}");
        assert!(shown.contains(instead), "{shown}");
    }
}

/// A policy that denies everything to the workloads with some labels.
fn deny(labels: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: p }}
spec: {{ selector: {{ matchLabels: {{ {labels} }} }}, action: DENY, rules: [ {{}} ] }}
"
    )
}

#[test]
fn a_denial_that_might_be_for_a_gateway_missed_it_silently() {
    let text = |labels: &str| format!("{INGRESS}{}", deny(labels));
    let unsure = |labels: &str| {
        let shown = findings(&text(labels));
        assert!(!shown.contains("warning[not-supported]"), "{shown}");
        shown.contains("nothing says whether this is also for the gateway `default/public`")
    };
    assert!(unsure("app: gw"));
    assert_eq!(pointed(&text("app: gw"), "not-supported").len(), 1);
    // It is, or it is not.
    assert!(!unsure("istio: ingressgateway"));
    assert!(!unsure("istio: other, app: gw"));
}

#[test]
fn every_policy_for_some_workloads_was_doubted_beside_a_gateway_of_istio() {
    let pods = "apiVersion: apps/v1
kind: Deployment
metadata: { name: gw }
spec: { template: { metadata: { labels: { app: gw } }, spec: { containers: [ { ports: [ { containerPort: 80 } ] } ] } } }
---
";
    // Those of the Service are described, so the gateway's are others.
    let shown = findings(&format!("{INGRESS}{pods}{}", deny("app: gw")));
    assert!(!shown.contains("nothing says whether"), "{shown}");
    assert!(shown.contains("policies for workloads with other labels are not for it"), "{shown}");
    // Nobody else has the labels, so the gateway may be meant.
    let nobody = format!("{INGRESS}{pods}{}", deny("app: other"));
    let shown = findings(&nobody);
    assert!(
        shown.contains("nothing says whether the workloads of the gateway `default/public` have them"),
        "{shown}"
    );
    assert_eq!(pointed(&nobody, "unknown-reference").len(), 1, "{shown}");
}

#[test]
fn a_label_that_injection_adds_counted_as_absent() {
    let text = |label: &str| {
        let text = format!(
            "apiVersion: v1
kind: Service
metadata: {{ name: web }}
spec: {{ selector: {{ app: web }}, ports: [ {{ name: http, port: 80 }} ] }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: web }}
spec: {{ template: {{ metadata: {{ labels: {{ app: web }} }}, spec: {{ containers: [ {{ ports: [ {{ containerPort: 80 }} ] }} ] }} }} }}
---
apiVersion: v1
kind: Pod
metadata: {{ name: other, labels: {{ app: other, {label}: x }} }}
spec: {{ containers: [ {{ ports: [ {{ containerPort: 80 }} ] }} ] }}
---
apiVersion: v1
kind: Service
metadata: {{ name: other }}
spec: {{ selector: {{ app: other }}, ports: [ {{ name: http, port: 80 }} ] }}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: p }}
spec: {{ selector: {{ matchLabels: {{ {label}: x }} }}, action: DENY, rules: [ {{}} ] }}
"
        );
        findings(&text).contains("nobody knows whether the workloads of `default/web` have the label")
    };
    assert!(text("service.istio.io/canonical-name"));
    assert!(text("pod-template-hash"));
    assert!(!text("team"));
}
