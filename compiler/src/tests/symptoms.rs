//! Faults that a review found, each a test named by its symptom.

use super::places::pointed;
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

#[test]
fn an_empty_list_of_rate_limits_was_said_to_match_everything() {
    let text = "apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], rateLimits: [] }
";
    let shown = findings(text);
    assert!(shown.contains("`rateLimits` is an empty list, which asks for nothing"), "{shown}");
    assert!(!shown.contains("match"), "{shown}");
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
fn denied_by_default_was_said_while_the_policy_that_allows_was_broken() {
    let closed = super::SHOP.replace("access: allow", "access: deny");
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
fn an_attribute_that_proxies_do_not_know_was_refused_without_a_way_out() {
    for (attribute, instead) in [
        ("token.issuer", "write `from: [ { token:"),
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

/// A Kubernetes Service of pods with the label `app`, and a Gateway of Istio for workloads that nothing describes.
const INGRESS: &str = "
apiVersion: v1
kind: Service
metadata: { name: istio-gw }
spec: { selector: { app: gw }, ports: [ { name: http, port: 80 } ] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public }
spec:
  selector: { istio: ingressgateway }
  servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ shop.example ] } ]
---
";

#[test]
fn a_denial_that_might_be_for_a_gateway_missed_it_silently() {
    let deny = |labels: &str| {
        let policy = format!(
            "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: p }}
spec: {{ selector: {{ matchLabels: {{ {labels} }} }}, action: DENY, rules: [ {{}} ] }}
"
        );
        findings(&format!("{INGRESS}{policy}")).contains("nothing says whether this is also for the gateway")
    };
    assert!(deny("app: gw"));
    // It is, or it is not.
    assert!(!deny("istio: ingressgateway"));
    assert!(!deny("istio: other, app: gw"));
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
fn one_slice_written_by_hand_made_all_other_services_dead() {
    let text = "apiVersion: v1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: tcp, port: 5432 } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: db-1, labels: { kubernetes.io/service-name: db } }
addressType: IPv4
ports: [ { name: tcp, port: 5432 } ]
endpoints: [ { addresses: [ 10.0.0.9 ] } ]
---
apiVersion: v1
kind: Service
metadata: { name: api }
spec: { selector: { app: api }, ports: [ { name: http, port: 80 } ] }
";
    let names = found(text);
    assert!(names.contains(&"unlisted-endpoints") && !names.contains(&"dead-backend"), "{}", findings(text));
}

#[test]
fn a_patch_of_the_number_of_copies_was_an_error() {
    let patch = "apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec: { replicas: 3 }
";
    assert!(
        !found(patch).iter().any(|name| ["missing-field", "invalid-value"].contains(name)),
        "{}",
        findings(patch)
    );
}

#[test]
fn of_two_idle_times_of_a_connection_the_lower_priority_won() {
    let rule = |name: &str, priority: i64, pool: &str| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: {name}, annotations: {{ weft.dev/priority: '{priority}' }} }}
spec: {{ host: db.default.svc.cluster.local, trafficPolicy: {{ connectionPool: {{ tcp: {{ {pool} }} }} }} }}
"
        )
    };
    let service = "apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec:
  ports: [ { name: tcp, port: 5432, protocol: tcp } ]
  endpoints: { static: [ { address: 10.0.0.9 } ] }
";
    let idle = |text: &str| {
        let (_, compilation) = compile_text(text);
        let db = compilation.mesh.find("default", "db").unwrap();
        let settings = crate::model::routing::settings(&compilation.mesh, db, 5432, None, None);
        (settings.idle.unwrap().to_string(), settings.connect.unwrap().to_string())
    };
    let (first, second) = (rule("a", 1, "idleTimeout: 10s"), rule("b", 0, "idleTimeout: 20s"));
    assert_eq!(idle(&format!("{service}{first}{second}")).0, "10s");
    let other = rule("b", 0, "connectTimeout: 200ms");
    assert_eq!(idle(&format!("{service}{first}{other}")), ("10s".to_owned(), "200ms".to_owned()));
}
