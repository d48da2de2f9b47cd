//! What AuthorizationPolicies decide, asked of the engine that proxies run.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{Engine, Facts, Peer, Request, Token};
use weft_bundle::spiffe::SpiffeId;

use super::{body, compile_text, findings};
use crate::lower::lower;

/// Who asks for what: `GET /a cart.example` and what differs, such as `by=spiffe://…`, `from=10.0.0.1`, `x-env: prod`.
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    authority: &'a str,
    identity: Option<&'a str>,
    address: &'a str,
    remote: &'a str,
    headers: &'a [(&'static str, &'static str)],
    claims: Option<serde_json::Value>,
    sni: Option<&'a str>,
    port: u16,
}

const WEB: &str = "spiffe://test.example/ns/default/sa/web";

impl Default for Ask<'_> {
    fn default() -> Self {
        Self {
            method: "GET",
            path: "/a",
            authority: "cart.example",
            identity: Some(WEB),
            address: "10.1.2.3",
            remote: "198.51.100.1",
            headers: &[],
            claims: None,
            sni: None,
            port: 80,
        }
    }
}

/// Whether a policy with these rules on `default/cart` lets it in, with the number of audits.
fn decide(spec: &str, ask: &Ask<'_>) -> (bool, usize) {
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: p }}\nspec: {{ targetRefs: [ {{ \
         kind: Service, name: cart }} ], {spec} }}\n"
    );
    let (_, compilation) = compile_text(&text);
    assert!(!compilation.has_errors(), "{:#?}", compilation.diagnostics);
    let cart = compilation.mesh.find("default", "cart").unwrap();
    let engine = Engine::build(Arc::new(lower(&compilation.mesh, cart))).unwrap();
    let path = CanonicalPath::parse(ask.path).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in ask.headers {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let request = Request {
        method: ask.method,
        scheme: "http",
        authority: ask.authority,
        path: &path,
        query: None,
        headers: &headers,
    };
    let identity: Option<SpiffeId> = ask.identity.map(|id| id.parse().unwrap());
    let token = ask.claims.as_ref().map(|claims| Token::new(claims.as_object().unwrap().clone()));
    let facts = Facts {
        request: Some(&request),
        token: token.as_ref(),
        remote_address: Some(ask.remote.parse().unwrap()),
        destination_address: Some("10.0.0.2".parse().unwrap()),
        sni: ask.sni,
        ..Facts::of(Peer { identity: identity.as_ref(), address: ask.address.parse().unwrap() })
    };
    let answer = engine.decide(engine.inbound(ask.port).unwrap(), &facts);
    (answer.verdict.is_ok(), answer.audits.len())
}

/// Every row: a list of a source, and callers with whether it holds for them. The contrary list must say the contrary,
/// and a denial must refuse exactly what an allowance lets in.
fn check(name: &str, contrary: &str, values: &str, rule: impl Fn(&str) -> String, asked: &[(bool, Ask<'_>)]) {
    for (holds, ask) in asked {
        let of = |list: &str| rule(&format!("{list}: {values}"));
        let allowed = |list: &str| decide(&format!("action: ALLOW, rules: [ {} ]", of(list)), ask).0;
        let denied = |list: &str| !decide(&format!("action: DENY, rules: [ {} ]", of(list)), ask).0;
        assert_eq!((allowed(name), denied(name)), (*holds, *holds), "{name}: {values}");
        assert_eq!((allowed(contrary), denied(contrary)), (!*holds, !*holds), "{contrary}: {values}");
    }
}

fn source(list: &str) -> String {
    format!("{{ from: [ {{ source: {{ {list} }} }} ] }}")
}

fn operation(list: &str) -> String {
    format!("{{ to: [ {{ operation: {{ {list} }} }} ] }}")
}

fn by(identity: &str) -> Ask<'_> {
    Ask { identity: Some(identity), ..Ask::default() }
}

fn nobody() -> Ask<'static> {
    Ask { identity: None, ..Ask::default() }
}

#[test]
fn principals() {
    let check = |values, asked: &[_]| check("principals", "notPrincipals", values, source, asked);
    let other = "spiffe://test.example/ns/default/sa/webb";
    for exact in ["[ test.example/ns/default/sa/web ]", "[ x/y, cluster.local/ns/default/sa/web ]"] {
        check(exact, &[(true, Ask::default()), (false, by(other)), (false, nobody())]);
    }
    check("[ '*' ]", &[(true, Ask::default()), (false, nobody())]);
    check("[ test.example/ns/default/sa/web* ]", &[(true, by(other)), (true, by(WEB)), (false, nobody())]);
    check(
        "[ cluster.local/ns/default/* ]",
        &[(true, by(WEB)), (false, by("spiffe://test.example/ns/defaults/sa/a"))],
    );
    check("[ '*/sa/web' ]", &[(true, by(WEB)), (false, by(other)), (false, nobody())]);
}

#[test]
fn namespaces_accounts_and_trust_domains() {
    let namespaces = |values, asked: &[_]| check("namespaces", "notNamespaces", values, source, asked);
    namespaces(
        "[ default ]",
        &[(true, by(WEB)), (false, by("spiffe://test.example/ns/ops/sa/web")), (false, nobody())],
    );
    namespaces(
        "[ 'def*' ]",
        &[(true, by(WEB)), (false, by("spiffe://test.example/ns/ops/sa/web")), (false, nobody())],
    );
    namespaces("[ 'd*t' ]", &[(true, by(WEB)), (false, by("spiffe://test.example/ns/dt2/sa/web"))]);
    let accounts =
        |values, asked: &[_]| check("serviceAccounts", "notServiceAccounts", values, source, asked);
    accounts("[ web, ops/robot ]", &[(true, by(WEB)), (true, by("spiffe://test.example/ns/ops/sa/robot"))]);
    accounts("[ web, ops/robot ]", &[(false, by("spiffe://test.example/ns/ops/sa/web")), (false, nobody())]);
    let domains = |values, asked: &[_]| check("trustDomains", "notTrustDomains", values, source, asked);
    domains(
        "[ cluster.local ]",
        &[(true, by(WEB)), (false, by("spiffe://other/ns/default/sa/web")), (false, nobody())],
    );
    domains("[ 'test.*' ]", &[(true, by(WEB)), (false, by("spiffe://other/a")), (false, nobody())]);
}

#[test]
fn addresses() {
    let from = |address| Ask { address, ..Ask::default() };
    let remote = |remote| Ask { remote, ..Ask::default() };
    let blocks = |values, asked: &[_]| check("ipBlocks", "notIpBlocks", values, source, asked);
    blocks(
        "[ 10.1.0.0/16 ]",
        &[(true, from("10.1.9.9")), (true, from("::ffff:10.1.9.9")), (false, from("10.2.0.1"))],
    );
    blocks("[ 10.1.2.3 ]", &[(true, from("10.1.2.3")), (false, from("10.1.2.4"))]);
    let blocks = |values, asked: &[_]| check("remoteIpBlocks", "notRemoteIpBlocks", values, source, asked);
    blocks("[ 198.51.100.0/24 ]", &[(true, remote("198.51.100.9")), (false, remote("203.0.113.1"))]);
}

#[test]
fn tokens() {
    let with = |claims| Ask { claims: Some(claims), ..Ask::default() };
    let ann = || with(serde_json::json!({ "iss": "https://a/b", "sub": "ann" }));
    let check =
        |values, asked: &[_]| check("requestPrincipals", "notRequestPrincipals", values, source, asked);
    check(
        "[ '*' ]",
        &[(true, ann()), (false, Ask::default()), (false, with(serde_json::json!({ "iss": "x" })))],
    );
    check("[ https://a/b/ann ]", &[(true, ann()), (false, Ask::default())]);
    check(
        "[ https://a/b/* ]",
        &[(true, ann()), (false, with(serde_json::json!({ "iss": "https://a", "sub": "b/ann" })))],
    );
    check(
        "[ '*/ann' ]",
        &[(true, ann()), (false, with(serde_json::json!({ "iss": "https://a/b", "sub": "joann" })))],
    );
    check("[ 'https://a*' ]", &[(false, ann())]);
    check("[ 'https*' ]", &[(true, ann())]);
    check("[ 'myissuer*' ]", &[(true, with(serde_json::json!({ "iss": "myissuer-1", "sub": "x" })))]);
}

#[test]
fn operations() {
    let hosts = |values, asked: &[_]| check("hosts", "notHosts", values, operation, asked);
    let at = |authority| Ask { authority, ..Ask::default() };
    hosts(
        "[ Cart.example ]",
        &[(true, at("cart.example")), (false, at("cart.example:8080")), (false, at("a.cart.example"))],
    );
    hosts(
        "[ '*.example', 'cart.example:*' ]",
        &[(true, at("x.example")), (true, at("cart.example:80")), (false, at("x"))],
    );
    let methods = |values, asked: &[_]| check("methods", "notMethods", values, operation, asked);
    let via = |method| Ask { method, ..Ask::default() };
    methods("[ GET, HEAD ]", &[(true, via("HEAD")), (false, via("POST"))]);
    methods("[ 'P*' ]", &[(true, via("PUT")), (false, via("GET"))]);
    methods("[ '*' ]", &[(true, via("ANY"))]);
    let paths = |values, asked: &[_]| check("paths", "notPaths", values, operation, asked);
    let to = |path| Ask { path, ..Ask::default() };
    paths("[ /a ]", &[(true, to("/a")), (false, to("/a/b"))]);
    paths("[ '/a*' ]", &[(true, to("/ab")), (false, to("/b"))]);
    paths(
        "[ '*.js', '/x/{*}/y', '/z/{**}/end' ]",
        &[(true, to("/q.js")), (true, to("/x/1/y")), (false, to("/x/1/2/y"))],
    );
    paths("[ '*.js', '/x/{*}/y', '/z/{**}/end' ]", &[(true, to("/z/1/2/end")), (false, to("/z/1/2"))]);
    paths("[ '*' ]", &[(true, to("/anything"))]);
    let ports = |values, asked: &[_]| check("ports", "notPorts", values, operation, asked);
    ports("[ '80' ]", &[(true, Ask::default())]);
}

/// The `when` keys that no list of a source or an operation says.
#[test]
fn conditions() {
    let when = |key: &'static str| move |list: &str| format!("{{ when: [ {{ key: '{key}', {list} }} ] }}");
    let check = |key, values, asked: &[_]| check("values", "notValues", values, when(key), asked);
    let headed = |headers| Ask { headers, ..Ask::default() };
    check(
        "request.headers[X-Env]",
        "[ prod ]",
        &[(true, headed(&[("x-env", "prod")])), (false, headed(&[("x-env", "test")])), (false, headed(&[]))],
    );
    check("request.headers[x-env]", "[ '*' ]", &[(true, headed(&[("x-env", "")])), (false, headed(&[]))]);
    let with = |claims| Ask { claims: Some(claims), ..Ask::default() };
    let token = || {
        with(
            serde_json::json!({ "aud": ["a", "b"], "azp": "app", "realm": { "roles": ["x", "y"] }, "one": "x" }),
        )
    };
    check("request.auth.audiences", "[ b, c ]", &[(true, token()), (false, Ask::default())]);
    check("request.auth.presenter", "[ app ]", &[(true, token()), (false, Ask::default())]);
    check("request.auth.claims[realm][roles]", "[ y ]", &[(true, token()), (false, Ask::default())]);
    check(
        "request.auth.claims[one]",
        "[ 'x*' ]",
        &[(true, token()), (false, with(serde_json::json!({ "one": "y" })))],
    );
    check(
        "connection.sni",
        "[ '*.example' ]",
        &[(true, Ask { sni: Some("a.example"), ..Ask::default() }), (false, Ask::default())],
    );
    check("destination.ip", "[ 10.0.0.0/24 ]", &[(true, Ask::default())]);
    check("destination.ip", "[ 10.9.0.0/24 ]", &[(false, Ask::default())]);
    check("destination.port", "[ '80' ]", &[(true, Ask::default())]);
    check("destination.port", "[ '81' ]", &[(false, Ask::default())]);
    check("source.serviceAccount", "[ default/web ]", &[(true, Ask::default()), (false, nobody())]);
}

/// Where Envoy would join several values of a header, and the parts disagree, the stricter answer holds.
#[test]
fn a_header_that_disagrees_with_itself_helps_nobody() {
    let twice = Ask { headers: &[("x-env", "prod"), ("x-env", "test")], ..Ask::default() };
    for list in ["values", "notValues"] {
        let rules =
            format!("rules: [ {{ when: [ {{ key: 'request.headers[x-env]', {list}: [ prod ] }} ] }} ]");
        assert!(!decide(&format!("action: ALLOW, {rules}"), &twice).0, "{list}");
        assert!(!decide(&format!("action: DENY, {rules}"), &twice).0, "{list}");
    }
}

#[test]
fn empty_rules_and_actions() {
    let ask = Ask::default();
    assert!(!decide("action: ALLOW", &ask).0);
    assert!(!decide("rules: [ ]", &ask).0);
    assert!(decide("rules: [ { } ]", &ask).0);
    assert!(!decide("action: DENY, rules: [ { } ]", &ask).0);
    assert_eq!(decide("action: AUDIT, rules: [ { } ]", &ask), (true, 1));
    assert_eq!(
        decide("action: AUDIT, rules: [ { to: [ { operation: { methods: [ PUT ] } } ] } ]", &ask),
        (true, 0)
    );
}

/// Any source, any operation, all conditions; and the parts of one source or operation all hold.
#[test]
fn sources_and_operations_combine() {
    let rules = "rules: [ { from: [ { source: { namespaces: [ default ], ipBlocks: [ 10.0.0.0/8 ] } }, { source: { principals: \
                 [ test.example/ns/ops/sa/robot ] } } ], to: [ { operation: { methods: [ GET ], paths: [ /a* ], notPaths: \
                 [ /a/secret ] } }, { operation: { methods: [ POST ], paths: [ /b ] } } ], when: [ { key: \
                 'request.headers[x-ok]', values: [ '*' ] } ] } ]";
    let ok: &[_] = &[("x-ok", "1")];
    let base = || Ask { headers: ok, ..Ask::default() };
    let robot = Some("spiffe://test.example/ns/ops/sa/robot");
    for (allowed, ask) in [
        (true, base()),
        (true, Ask { method: "POST", path: "/b", ..base() }),
        (true, Ask { identity: robot, address: "192.0.2.1", ..base() }),
        (false, Ask { address: "192.0.2.1", ..base() }),
        (false, Ask { path: "/a/secret", ..base() }),
        (false, Ask { method: "POST", ..base() }),
        (false, Ask { headers: &[], ..base() }),
        (false, Ask { identity: robot, path: "/b", ..base() }),
    ] {
        assert_eq!(decide(rules, &ask).0, allowed, "{} {} {:?}", ask.method, ask.path, ask.identity);
    }
}

#[test]
fn istio_access_as_a_body() {
    insta::assert_snapshot!(body(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: everywhere, namespace: istio-system }
spec: { action: AUDIT, rules: [ { to: [ { operation: { notMethods: [ GET ] } } ] } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-admin }
spec:
  selector: { matchLabels: { app: cart } }
  action: DENY
  rules:
  - from: [ { source: { notNamespaces: [ ops ] } } ]
    to: [ { operation: { paths: [ /admin* ], ports: [ '80' ] } } ]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: readers }
spec:
  targetRef: { kind: Service, name: shop }
  rules:
  - from: [ { source: { principals: [ cluster.local/ns/default/sa/web ] } }, { source: { namespaces: [ ops ] } } ]
    to: [ { operation: { methods: [ GET ] } }, { operation: { paths: [ '/items/{*}' ], hosts: [ shop.example ] } } ]
    when: [ { key: 'request.auth.claims[groups]', values: [ buyers ] } ]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: rehearsal, annotations: { istio.io/dry-run: 'true' } }
spec: { selector: { matchLabels: { app: cart } }, action: DENY, rules: [ { } ] }
---
apiVersion: v1
kind: Service
metadata: { name: shop }
spec: { selector: { app: cart }, ports: [ { name: http, port: 8080, targetPort: 80 } ] }
",
        "default/shop"
    ));
}

macro_rules! cases {
    ($($name:ident: $text:expr;)*) => {
        $(#[test] fn $name() { insta::assert_snapshot!(findings($text)); })*
    };
}

cases! {
    istio_access_finds_what_it_cannot_bind: "
apiVersion: v1
kind: Service
metadata: { name: pods }
spec: { selector: { app: pods }, ports: [ { name: http, port: 8080, targetPort: 80 }, { name: tcp, port: 5432 } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: part }
spec: { selector: { matchLabels: { version: v1 } }, rules: [ { } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: nothing }
spec: { selector: { matchLabels: { app: gone } }, rules: [ { } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: references, annotations: { istio.io/dry-run: maybe } }
spec: { targetRefs: [ { kind: Service, name: catr }, { kind: Gateway, group: gateway.networking.k8s.io, name: edge } ], rules: [ { } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: service-port }
spec: { targetRefs: [ { kind: Service, name: pods } ], action: DENY, rules: [ { to: [ { operation: { ports: [ '8080' ] } } ] } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: requests }
spec:
  selector: { matchLabels: { app: pods } }
  rules:
  - to: [ { operation: { methods: [ '*' ] } } ]
  - to: [ { operation: { methods: [ GET ], ports: [ '80' ] } } ]
  - from: [ { source: { requestPrincipals: [ '*' ] } } ]
    to: [ { operation: { notPorts: [ '80' ] } } ]
  - when: [ { key: remote.ip, values: [ 10.0.0.0/8 ] } ]
";
}

#[test]
fn denied_by_default_is_about_meshes_that_deny_and_services_that_nothing_opens() {
    let mesh = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: { name: m }\nspec: { trustDomain: td }\n---\n\
                apiVersion: v1\nkind: Service\nmetadata: { name: a }\nspec: { ports: [ { name: http, port: 80 } ] }\n---\n\
                apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: deny }\n\
                spec: { action: DENY, rules: [ { to: [ { operation: { paths: [ /x ] } } ] } ] }\n";
    let allow = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: allow }\nspec: { }\n";
    let names = |text: &str| {
        let found = crate::compile(&crate::source::Sources::in_memory([("mesh.yaml", text)])).diagnostics;
        found.iter().map(|finding| finding.analysis).collect::<Vec<_>>()
    };
    assert_eq!(names(mesh), ["denied-by-default"]);
    assert!(names(&format!("{mesh}{allow}")).is_empty());
    assert!(
        names(&mesh.replace("trustDomain: td", "trustDomain: td, defaults: { access: allow }")).is_empty()
    );
}
