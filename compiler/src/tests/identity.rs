//! Peers, tokens and telemetry: what documents of Weft and Istio come to.

use weft_bundle::body::{Body, PeerTls, TokenLocation};

use super::{compile_text, findings};
use crate::findings::Checks;
use crate::lower::lower;
use crate::progress::Silent;
use crate::source::Sources;

const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// The body of `namespace/name`, of documents without errors.
fn body_of(text: &str, service: &str) -> Body {
    let (_, compilation) = compile_text(&text.replace("KEYS", KEYS));
    assert!(!compilation.has_errors(), "{:#?}", compilation.diagnostics);
    let (namespace, name) = service.split_once('/').unwrap();
    lower(&compilation.mesh, compilation.mesh.find(namespace, name).unwrap())
}

const PODS: &str = "
apiVersion: v1
kind: Service
metadata: { name: pods, namespace: shop }
spec: { selector: { app: pods }, ports: [ { name: http, port: 80, targetPort: 8080 }, { name: http-alt, port: 81 } ] }
---
";

fn peer_authentication(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
         spec: {{ {spec} }}\n---\n"
    )
}

/// Every level against those above it, and `UNSET` on it.
#[test]
fn the_nearest_peer_authentication_holds() {
    let levels = [
        ("istio-system", "mtls: { mode: MODE }"),
        ("shop", "mtls: { mode: MODE }"),
        ("shop", "selector: { matchLabels: { app: pods } }, mtls: { mode: MODE }"),
    ];
    let port = "selector: { matchLabels: { app: pods } }, portLevelMtls: { 8080: { mode: MODE } }";
    let of = |text: &str| body_of(text, "shop/pods").inbound.iter().map(|port| port.tls).collect::<Vec<_>>();
    let mut text = PODS.to_owned();
    assert_eq!(of(&text), [PeerTls::Strict, PeerTls::Strict]);
    let modes = [("PERMISSIVE", PeerTls::Permissive), ("STRICT", PeerTls::Strict), ("DISABLE", PeerTls::Off)];
    for (place, ((namespace, spec), (mode, tls))) in levels.into_iter().zip(modes).enumerate() {
        let unset = text.clone()
            + &peer_authentication(&format!("p{place}"), namespace, &spec.replace("MODE", "UNSET"));
        assert_eq!(of(&unset), of(&text));
        text += &peer_authentication(&format!("p{place}"), namespace, &spec.replace("MODE", mode));
        assert_eq!(of(&text), [tls, tls]);
    }
    text += &peer_authentication("port", "shop", &port.replace("MODE", "PERMISSIVE"));
    assert_eq!(of(&text), [PeerTls::Permissive, PeerTls::Off]);
}

macro_rules! cases {
    ($($name:ident: $text:expr;)*) => {
        $(#[test] fn $name() { insta::assert_snapshot!(findings($text)); })*
    };
}

cases! {
    peer_authentications_that_clash: "
apiVersion: v1
kind: Service
metadata: { name: pods }
spec: { selector: { app: pods }, ports: [ { name: http, port: 80, targetPort: 8080 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: own, labels: { app: own } }
spec: { ports: [ { name: http, port: 80, protocol: http, peerTLS: strict } ] }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: a }
spec: { mtls: { mode: STRICT } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: b }
spec: { mtls: { mode: PERMISSIVE } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: c }
spec: { selector: { matchLabels: { app: own } }, portLevelMtls: { 80: { mode: DISABLE } } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: d }
spec: { selector: { matchLabels: { app: pods } }, portLevelMtls: { 80: { mode: DISABLE } } }
";
    tokens_that_cannot_be_bound: "
apiVersion: weft.dev/v1alpha1
kind: TokenProvider
metadata: { name: users }
spec: { targetRefs: [ { kind: Service, name: web }, { kind: Gateway, name: edge }, { kind: Mesh, name: tset } ], issuer: https://a, jwks: { file: keys.jwks } }
---
apiVersion: weft.dev/v1alpha1
kind: TokenProvider
metadata: { name: robots }
spec: { targetRefs: [ { kind: Service, name: web } ], issuer: https://b, jwks: { inline: '{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}' } }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: a }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { token: { provider: robots } }, { token: { provider: robot } } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: b }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: deny, rules: [ { when: \"!has(token.subject) || size(token.issuer) > 9\" } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: c }
spec: { targetRefs: [ { kind: Service, name: web } ], action: allow, rules: [ { when: \"'admin' in token.claims.roles && token.claims.level > 1\" } ] }
";
    telemetry_that_clashes: "
apiVersion: weft.dev/v1alpha1
kind: Telemetry
metadata: { name: a }
spec: { targetRefs: [ { kind: Namespace, name: default }, { kind: Service, name: cart } ], accessLog: { off: true }, metricLabels: { m: method } }
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: b }
spec: { accessLogging: [ { disabled: false } ], metrics: [ { overrides: [ { tagOverrides: { m: { value: request.method } } } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Telemetry
metadata: { name: c }
spec: { targetRefs: [ { kind: Service, name: web } ], accessLog: { filter: 'response.cod > 1' } }
";
}

const PROVIDER: &str = "
apiVersion: weft.dev/v1alpha1
kind: TokenProvider
metadata: { name: users }
spec:
  targetRefs: [ { kind: Namespace, name: default } ]
  issuer: https://issuer
  audiences: [ shop, admin ]
  jwks: { inline: 'KEYS' }
  from: [ { header: { name: X-Token } }, { cookie: token } ]
  forward: true
  payloadHeader: X-Payload
  claimHeaders: [ { header: X-User, claim: sub }, { header: X-Roles, claim: [ realm, roles ] } ]
  spaceDelimitedClaims: [ permissions ]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: users }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  jwtRules:
  - issuer: https://other
    jwks: 'KEYS'
    outputClaimToHeaders: [ { header: X-Role, claim: realm.role } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: readers }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules:
  - from: [ { service: web }, { token: { provider: users, subject: ann, claims: [ { claim: [ realm, roles ], values: [ admin, owner ] } ] } } ]
    to: [ { methods: [ GET ] } ]
";

#[test]
fn providers_of_both_dialects() {
    let body = body_of(PROVIDER, "default/cart");
    assert_eq!(body.inbound[0].tokens, ["default/users", "default/users/0"]);
    let own = &body.token_providers["default/users"];
    assert_eq!(own.audiences, ["admin", "shop"]);
    assert_eq!(own.locations[0], TokenLocation::Header { name: "x-token".into(), prefix: String::new() });
    assert_eq!(own.locations[1], TokenLocation::Cookie("token".into()));
    assert_eq!(own.claim_headers["x-roles"], ["realm", "roles"]);
    assert!(own.forward && own.jwks.starts_with(r#"{"keys":[{"crv""#));
    let istio = &body.token_providers["default/users/0"];
    assert_eq!(istio.locations.len(), 2);
    assert_eq!(istio.claim_headers["x-role"], ["realm", "role"]);
    assert!(!istio.forward);
    assert_eq!(body_of(PROVIDER, "default/web").inbound[0].tokens, ["default/users"]);
}

#[test]
fn a_token_is_a_caller_like_another() {
    use weft_bundle::engine::path::CanonicalPath;
    use weft_bundle::engine::{Engine, Facts, Peer, Request, Token};
    let engine = Engine::build(std::sync::Arc::new(body_of(PROVIDER, "default/cart"))).unwrap();
    let path = CanonicalPath::parse("/").unwrap();
    let headers = http::HeaderMap::new();
    let decide = |method, identity: Option<&str>, claims: Option<serde_json::Value>| {
        let request = Request {
            method,
            scheme: "http",
            authority: "cart",
            path: &path,
            query: None,
            headers: &headers,
        };
        let identity = identity.map(|id| id.parse().unwrap());
        let token = claims.map(|claims| Token::new(claims.as_object().unwrap().clone()));
        let peer = Peer { identity: identity.as_ref(), address: "10.0.0.1".parse().unwrap() };
        let facts = Facts { request: Some(&request), token: token.as_ref(), ..Facts::of(peer) };
        engine.decide(engine.inbound(80).unwrap(), &facts).verdict.is_ok()
    };
    let ann = |issuer: &str, subject: &str, roles: &[&str]| {
        Some(serde_json::json!({ "iss": issuer, "sub": subject, "realm": { "roles": roles } }))
    };
    assert!(decide("GET", Some("spiffe://test.example/ns/default/sa/web"), None));
    assert!(decide("GET", None, ann("https://issuer", "ann", &["guest", "owner"])));
    assert!(!decide("GET", None, None));
    assert!(!decide("PUT", None, ann("https://issuer", "ann", &["owner"])));
    assert!(!decide("GET", None, ann("https://issuer", "bob", &["owner"])));
    assert!(!decide("GET", None, ann("https://other", "ann", &["owner"])));
    assert!(!decide("GET", None, ann("https://issuer", "ann", &["guest"])));
}

#[test]
fn telemetry_of_all_levels() {
    let text = "
apiVersion: weft.dev/v1alpha1
kind: Telemetry
metadata: { name: mesh }
spec:
  targetRefs: [ { kind: Mesh, name: test } ]
  accessLog: { fields: [ status, path ] }
  tracing: { samplingPercent: 0.5, endpoint: 'http://collector:4317', attributes: { env: { literal: prod } } }
  metricLabels: { method: method, who: peer-namespace }
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: namespace }
spec:
  tracing: [ { randomSamplingPercentage: 12.5 } ]
  accessLogging: [ { providers: [ { name: envoy } ] } ]
---
apiVersion: telemetry.istio.io/v1alpha1
kind: Telemetry
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  tracing:
  - disableSpanReporting: true
    customTags: { a: { header: { name: X-A, defaultValue: b } }, c: { environment: { name: C } } }
  metrics: [ { overrides: [ { match: { metric: ALL_METRICS }, tagOverrides: { who: { value: request.method } } } ] } ]
";
    insta::assert_snapshot!(serde_yaml::to_string(&body_of(text, "default/cart").telemetry).unwrap());
}

/// The folder of `policy-examples/` compiles as it stands.
#[test]
fn the_example_is_free_of_findings() {
    let files = [
        ("mesh.yaml", include_str!("../../../policy-examples/istio-security/mesh.yaml")),
        ("istio.yaml", include_str!("../../../policy-examples/istio-security/istio.yaml")),
        ("tests.yaml", include_str!("../../../policy-examples/istio-security/tests.yaml")),
        ("ca/root.pem", include_str!("../../../policy-examples/istio-security/ca/root.pem")),
    ];
    let compilation = crate::compile(&Sources::in_memory(files));
    let found: Vec<_> = compilation.diagnostics.iter().map(|finding| finding.analysis).collect();
    assert_eq!(found, [""; 0]);
    let cart = lower(&compilation.mesh, compilation.mesh.find("shop", "cart").unwrap());
    let tls: Vec<_> = cart.inbound.iter().map(|port| (port.port, port.tls)).collect();
    assert_eq!(tls, [(8080, PeerTls::Strict), (9090, PeerTls::Permissive)]);
}

/// A set whose certificate ended, one whose certificate ends soon, and none that says.
#[test]
fn expired_key_set() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.not_after = rcgen::date_time_ymd(2026, 6, 20);
    let certificate = data_encoding::BASE64.encode(parameters.self_signed(&key).unwrap().der());
    let keys = KEYS.replace("\"kty\"", &format!("\"x5c\":[\"{certificate}\"],\"kty\""));
    let text = |keys: &str| format!("{}\n---{}", super::SHOP, PROVIDER.replace("KEYS", keys));
    let names = |keys: &str, month, day| {
        let today = time::Date::from_calendar_date(2026, month, day).ok();
        let checks = Checks { today, ..Checks::default() };
        let found =
            crate::compile_with(&Sources::in_memory([("a.yaml", text(keys))]), &checks, &Silent).diagnostics;
        let found = found.iter().filter(|finding| finding.analysis == "expired-key-set");
        found.map(|finding| format!("{} {}", finding.severity, finding.analysis)).collect::<Vec<_>>()
    };
    assert_eq!(names(&keys, time::Month::June, 21), ["warning expired-key-set"; 2]);
    assert_eq!(names(&keys, time::Month::June, 10), ["note expired-key-set"; 2]);
    assert!(names(&keys, time::Month::May, 1).is_empty());
    assert!(names(KEYS, time::Month::June, 21).is_empty());
}
