//! Analyses of who may call whom.

use super::{findings, found_in, names_found};
use crate::analysis::identity_without_tls;

cases! {
    a_condition_on_requests_of_a_tcp_port: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec:
  ports: [ { name: sql, port: 5432, protocol: tcp }, { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.9 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: db }
spec:
  targetRefs: [ { kind: Service, name: db } ]
  action: allow
  rules:
  - when: source.namespace == 'ops'
  - when: request.method == 'GET'
  - to: [ { ports: [ http ] } ]
    when: request.method == 'GET'
";
    http_rule_on_tcp: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: sql, port: 5432, protocol: tcp } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: db }
spec:
  targetRefs: [ { kind: Service, name: db } ]
  action: deny
  rules: [ { to: [ { methods: [ DELETE ] } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: db }
spec:
  parentRefs: [ { group: '', kind: Service, name: db } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";
}

silent! {
    a_method_on_the_http_port_of_a_mixed_service: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: mixed }
spec: { ports: [ { name: sql, port: 5432, protocol: tcp }, { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: mixed }
spec:
  targetRefs: [ { kind: Service, name: mixed } ]
  action: deny
  rules: [ { to: [ { methods: [ DELETE ], ports: [ http ] } ] } ]
";
}

cases! {
    access_contradictions_by_one_and_by_two: "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: deny
  rules:
  - to: [ { paths: [ { prefix: /admin } ] } ]
  - from: [ { service: web } ]
    to: [ { methods: [ POST, PUT ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: yes }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules:
  - from: [ { service: web } ]
    to: [ { methods: [ GET ], paths: [ { exact: /admin }, { prefix: /admin/users } ] } ]
  - from: [ { service: web } ]
    to: [ { methods: [ PUT ] }, { methods: [ GET ], paths: [ { exact: /admin/x } ] } ]
  - from: [ { service: web } ]
    to: [ { methods: [ GET ] } ]
";
    /// `web` runs as the account that its neighbours have too; in the second policy one of them is named as well.
    identities_that_services_share: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: batch }
spec: { serviceAccount: web, ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: crawler }
spec: { serviceAccount: web, ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: one }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { service: web } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: two }
spec: { targetRefs: [ { kind: Service, name: crawler } ], action: allow, rules: [ { from: [ { service: web }, { service: batch } ] } ] }
";
    ineffective_rules_of_each_kind: "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: yes }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules:
  - from: [ { namespace: default } ]
    to: [ { methods: [ GET ] } ]
  - from: [ { service: web } ]
    to: [ { methods: [ GET ], paths: [ { prefix: /x } ] } ]
  - from: [ { service: web } ]
    to: [ { methods: [ PUT ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: everybody }
spec: { targetRefs: [ { kind: Service, name: web } ], action: allow, rules: [ {} ] }
";
    identities_where_none_is_shown: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: soft }
spec:
  ports:
  - { name: http, port: 80, protocol: http, peerTLS: permissive }
  - { name: off, port: 81, protocol: http, peerTLS: off }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no }
spec: { targetRefs: [ { kind: Service, name: soft } ], action: deny, rules: [ { from: [ { service: web } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: yes }
spec: { targetRefs: [ { kind: Service, name: soft } ], action: allow, rules: [ { from: [ { service: cart } ] } ] }
";
    unknown_principals: "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules:
  - from:
    - identity: spiffe://test.example/ns/default/sa/wbe
    - namespace: defualt
    - identity: spiffe://elsewhere.example/ns/default/sa/wbe
";
}

macro_rules! quiet {
    ($($name:ident, $analysis:literal: $text:expr;)*) => {
        $(#[test] fn $name() {
            let names = names_found($text);
            assert!(!names.contains(&$analysis), "{}", findings($text));
        })*
    };
}

quiet! {
    what_denials_leave_is_allowed, "access-contradiction": "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: deny
  rules: [ { to: [ { paths: [ { prefix: /admin } ] } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: yes }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { service: web } ], to: [ { paths: [ { exact: /administration } ] } ] } ]
";
    who_has_no_identity_is_not_denied_by_one, "access-contradiction": "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: deny
  rules: [ { from: [ { namespace: default } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: yes }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { to: [ { methods: [ GET ] } ] } ] }
";
    rules_for_different_callers_both_count, "ineffective-access": "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: yes }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules:
  - from: [ { service: web } ]
    to: [ { methods: [ GET ] } ]
  - from: [ { service: cart } ]
    to: [ { methods: [ GET ] } ]
";
    an_open_mesh_is_open_on_purpose, "uncovered-service": "";
    an_identity_may_be_allowed_where_some_show_none, "identity-without-tls": "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: soft }
spec: { ports: [ { name: http, port: 80, protocol: http, peerTLS: permissive } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: yes }
spec: { targetRefs: [ { kind: Service, name: soft } ], action: allow, rules: [ { from: [ { service: web } ] } ] }
";
    all_services_of_an_identity_are_named, "shared-identity": "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: batch }
spec: { serviceAccount: web, ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: both }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { service: web }, { service: batch } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: named }
spec: { targetRefs: [ { kind: Service, name: batch } ], action: allow, rules: [ { from: [ { identity: spiffe://test.example/ns/default/sa/web } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: none }
spec: { targetRefs: [ { kind: Service, name: web } ], action: deny, rules: [ { from: [ { service: web } ] } ] }
";
    an_identity_that_a_service_has, "unknown-principal": "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { identity: spiffe://test.example/ns/default/sa/web } ] } ]
";
    whole_segments_are_what_they_read_like, "widened-by-dialect": "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { to: [ { paths: [ { prefix: /status } ] } ] } ]
";
}

/// Istio's DENY for everybody but one caller, against two rules that allow: the one for that caller is as it reads, and so is
/// one under a condition that nothing is known of.
#[test]
fn denials_of_everybody_else_count() {
    let contradicted = |deny: &str| {
        let text = format!(
            "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: deny }}
spec: {{ targetRefs: [ {{ group: '', kind: Service, name: cart }} ], action: DENY, rules: [ {deny} ] }}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: allow }}
spec:
  targetRefs: [ {{ group: '', kind: Service, name: cart }} ]
  rules:
  - from: [ {{ source: {{ principals: [ test.example/ns/default/sa/web ] }} }} ]
  - from: [ {{ source: {{ principals: [ test.example/ns/ops/sa/batch ] }} }} ]
  - from: [ {{ source: {{ namespaces: [ ops ], notServiceAccounts: [ ops/batch ] }} }} ]
"
        );
        let found = super::super::compile_text(&text).1.diagnostics;
        let about = found.into_iter().filter(|finding| finding.analysis == "access-contradiction");
        about.map(|finding| finding.message.split('`').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let source = |source: &str| contradicted(&format!("{{ from: [ {{ source: {{ {source} }} }} ] }}"));
    assert_eq!(source("notPrincipals: [ test.example/ns/default/sa/web ]"), ["rules[1]", "rules[2]"]);
    assert_eq!(source("notNamespaces: [ default ]"), ["rules[1]", "rules[2]"]);
    assert_eq!(source("notNamespaces: [ ops ]"), ["rules[0]"]);
    assert_eq!(source("notServiceAccounts: [ ops/batch ]"), ["rules[0]", "rules[2]"]);
    assert_eq!(source("namespaces: [ ops ], notPrincipals: [ test.example/ns/ops/sa/batch ]"), ["rules[2]"]);
    assert_eq!(source("notPrincipals: [ 'test.example/ns/ops/*' ]"), ["rules[0]"]);
    assert!(source("notIpBlocks: [ 10.0.0.0/8 ]").is_empty());
    assert_eq!(
        source("notIpBlocks: [ 10.0.0.0/8 ]"),
        contradicted("{ from: [ { source: { notRemoteIpBlocks: [ 10.0.0.0/8 ] } } ] }")
    );
    assert!(contradicted("{ from: [ { source: { notPrincipals: [ test.example/ns/default/sa/web ] } } ], when: [ { key: 'request.headers[x]', values: [ y ] } ] }").is_empty());
}

/// What `from` does not say may still be asked `when`.
#[test]
fn a_condition_may_ask_for_an_identity_that_nobody_has() {
    use weft_bundle::body::{Attribute, PeerTls, Predicate};
    let text = "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { to: [ { methods: [ GET ] } ] } ] }
";
    let asks = |tls| {
        let edit = move |mesh: &mut crate::model::Mesh| {
            mesh.access[0].rules[0].when = Some(Predicate::Has(Attribute::Namespace));
            let cart = mesh.find("default", "cart").unwrap();
            mesh.services[cart.0].ports[0].peer_tls = tls;
        };
        found_in(text, edit, identity_without_tls::run).len()
    };
    assert_eq!([PeerTls::Strict, PeerTls::Permissive, PeerTls::Off].map(asks), [0, 0, 1]);
}

/// Prefixes of the text, as Istio has them, put into the model.
#[test]
fn a_prefix_of_the_text_is_wider_than_it_reads() {
    use weft_bundle::body::PathMatch;
    let text = "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { to: [ { paths: [ { prefix: /a } ] } ] }, { to: [ { paths: [ { prefix: /b } ] } ] } ]
";
    let widened = |prefixes: [&'static str; 2]| {
        let edit = move |mesh: &mut crate::model::Mesh| {
            for (rule, prefix) in mesh.access[0].rules.iter_mut().zip(prefixes) {
                rule.to[0].condition.paths = vec![PathMatch::Prefix(prefix.to_owned())];
            }
        };
        found_in(text, edit, crate::analysis::widened_by_dialect::run)
    };
    assert_eq!(
        widened(["/status", "/admin/"]),
        ["`rules[0]` allows paths that begin with the text `/status`, such as `/statusx`"]
    );
    assert_eq!(widened(["/status", "/a"]).len(), 2);
    assert!(widened(["/", "/admin/"]).is_empty());
}

/// In Istio's own spelling: the example is a path that `notPaths` leave in, and there may be none.
#[test]
fn what_a_rule_leaves_out_is_no_example_of_what_it_lets_in() {
    let widened = |operation: &str| {
        let text = format!(
            "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: cart }}
spec:
  targetRefs: [ {{ group: '', kind: Service, name: cart }} ]
  rules: [ {{ to: [ {{ operation: {{ {operation} }} }} ] }} ]
"
        );
        let found = super::super::compile_text(&text).1.diagnostics;
        let about = found.into_iter().filter(|finding| finding.analysis == "widened-by-dialect");
        about.map(|finding| finding.message.split('`').nth(5).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(widened("paths: [ '/status*' ]"), ["/statusx"]);
    assert_eq!(widened("paths: [ '/status*' ], notPaths: [ '/statusx*' ], methods: [ GET ]"), ["/status-x"]);
    assert_eq!(widened("paths: [ '/ok/*', '/a*', '/b*' ], notPaths: [ '/a*' ]"), ["/bx"]);
    assert!(widened("paths: [ '/status*' ], notPaths: [ '/status*' ]").is_empty());
    assert!(widened("paths: [ '/status/*', /status, '*' ]").is_empty());
}

/// The Mesh document has to ask for it.
#[test]
fn uncovered_services_are_listed_on_demand() {
    let open = super::super::SHOP;
    let asking = open.replace(
        "trustDomain: test.example,",
        "trustDomain: test.example, analyses: { uncovered-service: warn },",
    );
    let covered = "---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { service: web } ] } ] }
";
    let messages = |text: String| {
        let found = crate::compile(&crate::source::Sources::in_memory([("shop.yaml", text)])).diagnostics;
        found.into_iter().map(|finding| (finding.severity.as_str(), finding.message)).collect::<Vec<_>>()
    };
    assert_eq!(messages(open.to_owned()), []);
    let both =
        ["cart", "web"].map(|name| ("warning", format!("everybody may call port `80` of `default/{name}`")));
    let mut found = messages(asking.clone());
    found.sort();
    assert_eq!(found, both);
    assert_eq!(messages(asking + covered), both[1..]);
}
