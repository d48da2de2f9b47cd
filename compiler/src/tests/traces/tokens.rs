//! What becomes of tokens: nothing is let in because nobody looked at its token.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;

use super::super::compile_text;
use crate::trace::{Decision, From, Question, Trace, trace};

const NOW: i64 = 1_800_000_000;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

/// A token with these claims, signed with the key that is pinned.
fn token(claims: &str) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let signed = format!("{}.{}", part(r#"{"alg":"EdDSA","kid":"1"}"#), part(claims));
    let signature = BASE64URL_NOPAD.encode(key().sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

/// `cart` and a gateway read tokens; `cart` lets in who has one, and `web` lets everybody in.
fn documents() -> String {
    documents_with("")
}

/// The same, with more fields in what is said of tokens.
fn documents_with(more: &str) -> String {
    let x = BASE64URL_NOPAD.encode(key().public_key().as_ref());
    let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"1","x":"{x}"}}]}}"#);
    let reads = |name: &str, target: &str| {
        format!(
            "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{ name: {name} }}
spec:
  targetRefs: [ {target} ]
  jwtRules: [ {{ issuer: https://id.example, audiences: [ shop ], jwks: '{jwks}'{more} }} ]
---
"
        )
    };
    let services = reads("cart", "{ kind: Service, name: cart }");
    let gateway = reads("edge", "{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }");
    format!(
        "{services}{gateway}apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: cart }}
spec:
  targetRefs: [ {{ kind: Service, name: cart }} ]
  action: ALLOW
  rules:
  - from: [ {{ source: {{ requestPrincipals: [ 'https://id.example/*' ] }} }} ]
    to: [ {{ operation: {{ methods: [ GET ] }} }} ]
  - to: [ {{ operation: {{ methods: [ POST ] }} }} ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge }}
spec: {{ gatewayClassName: weft, listeners: [ {{ name: web, port: 80, protocol: HTTP }} ] }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: edge }}
spec: {{ parentRefs: [ {{ name: edge }} ], rules: [ {{ backendRefs: [ {{ name: web, port: 80 }} ] }} ] }}
"
    )
}

fn ask(gateway: bool, method: &str, headers: &[String], now: Option<i64>) -> Trace {
    ask_of(&documents(), gateway, &format!("{method} /"), headers, now)
}

/// Asks for a method and a path.
fn ask_of(documents: &str, gateway: bool, request: &str, headers: &[String], now: Option<i64>) -> Trace {
    let (_, compilation) = compile_text(documents);
    assert!(!compilation.has_errors(), "{:?}", compilation.diagnostics);
    let mesh = &compilation.mesh;
    let (from, host) = match gateway {
        true => (From::Gateway(mesh.find_gateway("default", "edge").unwrap()), "shop.example"),
        false => (From::Service(mesh.find("default", "web").unwrap()), "cart"),
    };
    let (method, path) = request.split_once(' ').unwrap();
    let text = format!("{method} http://{host}{path}");
    let question = Question::parse(from, "10.0.0.1".parse().unwrap(), &text, headers).unwrap();
    trace(mesh, &Question { now, ..question }).unwrap()
}

fn bearer(token: &str) -> Vec<String> {
    vec![format!("authorization: Bearer {token}")]
}

/// What was decided, with which status, and what was said of the token.
fn outcome(trace: &Trace) -> (Decision, Option<u16>, String) {
    let said = trace.steps.iter().filter(|step| step.stage == "token").map(|step| step.text.as_str());
    (trace.decision, trace.status, said.collect::<Vec<_>>().join("; "))
}

#[test]
fn a_good_token_lets_its_bearer_in() {
    let good = token(r#"{"iss":"https://id.example","sub":"jo","aud":"shop","exp":1800000001}"#);
    let trace = ask(false, "GET", &bearer(&good), Some(NOW));
    let said = "`default/cart` accepts the token of `https://id.example` for `jo`";
    assert_eq!(outcome(&trace), (Decision::Forward, None, said.to_owned()));
    let (decision, _, said) = outcome(&ask(false, "GET", &bearer(&good), None));
    assert_eq!(decision, Decision::Forward);
    assert!(said.ends_with("; its times are not judged here"), "{said}");
}

#[test]
fn without_a_token_the_rules_that_ask_for_one_do_not_hold() {
    let (decision, status, said) = outcome(&ask(false, "GET", &[], Some(NOW)));
    assert_eq!((decision, status), (Decision::Deny, Some(403)));
    assert!(said.starts_with("no token of `https://id.example` came"), "{said}");
    assert_eq!(ask(false, "POST", &[], Some(NOW)).decision, Decision::Forward);
}

#[test]
fn a_bad_token_was_let_in_without_a_word() {
    let good = r#"{"iss":"https://id.example","sub":"jo","aud":"shop","exp":1800000001,"nbf":1800000000}"#;
    let forged = token(good);
    let (signed, signature) = forged.rsplit_once('.').unwrap();
    let forged = match signature.strip_prefix('A') {
        Some(rest) => format!("{signed}.B{rest}"),
        None => format!("{signed}.{}", signature.replacen(|_: char| true, "A", 1)),
    };
    let changed = |from: &str, to: &str| token(&good.replace(from, to));
    let unsigned =
        format!("{}.{}.", BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#), signed.split('.').nth(1).unwrap());
    for (token, why) in [
        (forged, "no key of its issuer made its signature"),
        (unsigned, "nobody believes signatures of the algorithm `none`"),
        (changed("id.example", "other.example"), "nobody here believes the issuer `https://other.example`"),
        (changed("\"shop\"", "\"bank\""), "it is meant for another audience"),
        (changed("1800000001", "1799999940"), "it has expired"),
        (changed("1800000000", "1800000061"), "it is not valid yet"),
        ("abc".to_owned(), "it is not a JSON Web Token"),
        ("..".to_owned(), "it is not a JSON Web Token"),
    ] {
        // Also where a request without any token would be let in, and at a gateway.
        for (gateway, method) in [(false, "GET"), (false, "POST"), (true, "GET")] {
            let trace = ask(gateway, method, &bearer(&token), Some(NOW));
            let (decision, status, said) = outcome(&trace);
            assert_eq!((decision, status), (Decision::Deny, Some(401)), "{token}: {said}");
            assert!(said.contains("refuses the token with 401: ") && said.ends_with(why), "{said}");
            let access = trace.access.unwrap();
            assert!(!access.allowed && access.policy.starts_with("RequestAuthentication"), "{access:?}");
        }
    }
}

#[test]
fn of_two_tokens_neither_counts() {
    let one = token(r#"{"iss":"https://id.example","sub":"jo","aud":"shop"}"#);
    let two = token(r#"{"iss":"https://id.example","sub":"mo","aud":"shop"}"#);
    let headers = [bearer(&one), bearer(&two)].concat();
    assert_eq!(outcome(&ask(false, "GET", &headers, Some(NOW))).1, Some(401));
    assert_eq!(
        ask(false, "GET", &[bearer(&one), bearer(&one)].concat(), Some(NOW)).decision,
        Decision::Forward
    );
}

#[test]
fn a_token_with_a_fraction_of_a_second_was_none() {
    let claims = r#"{"iss":"https://id.example","sub":"jo","aud":"shop","iat":1799999999.5,"exp":1800000000.5,"n":1e3}"#;
    assert_eq!(ask(false, "GET", &bearer(&token(claims)), Some(NOW)).decision, Decision::Forward);
    // Clocks may differ by a minute.
    let late = claims.replace("1800000000.5", "1799999940.1");
    assert_eq!(ask(false, "GET", &bearer(&token(&late)), Some(NOW)).decision, Decision::Forward);
    let late = claims.replace("1800000000.5", "1799999939.9");
    let (_, status, said) = outcome(&ask(false, "GET", &bearer(&token(&late)), Some(NOW)));
    assert_eq!(status, Some(401));
    assert!(said.ends_with("it has expired"), "{said}");
    // A key twice would mean two things (RFC 7519, section 4).
    let twice = claims.replace("\"sub\":\"jo\"", "\"sub\":\"jo\",\"sub\":\"mo\"");
    assert_eq!(outcome(&ask(false, "GET", &bearer(&token(&twice)), Some(NOW))).1, Some(401));
}

/// The header fields that arrive at the one backend.
fn arriving(trace: &Trace) -> Vec<(String, String)> {
    trace.backends[0].arriving.clone().unwrap().headers
}

#[test]
fn a_token_that_is_not_forwarded_arrived_all_the_same() {
    let jo = token(r#"{"iss":"https://id.example","sub":"jo","aud":"shop"}"#);
    let headers = [bearer(&jo), vec!["x-other: 1".to_owned()]].concat();
    let other = ("x-other".to_owned(), "1".to_owned());
    for gateway in [false, true] {
        let kept =
            ask_of(&documents_with(", forwardOriginalToken: true"), gateway, "GET /", &headers, Some(NOW));
        let bearer = ("authorization".to_owned(), format!("Bearer {jo}"));
        assert_eq!(arriving(&kept), [bearer, other.clone()]);
        let taken = ask(gateway, "GET", &headers, Some(NOW));
        assert_eq!(arriving(&taken), std::slice::from_ref(&other));
    }
    // Only the token goes.
    let cookies = ", fromCookies: [ t ]";
    let brought = [format!("cookie: a=1; t={jo}; b=2"), "authorization: Basic x".to_owned()];
    let trace = ask_of(&documents_with(cookies), false, "GET /", &brought, Some(NOW));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(arriving(&trace), [pair("authorization", "Basic x"), pair("cookie", "a=1; b=2")]);
}

#[test]
fn what_the_application_is_told_of_a_token_did_not_arrive() {
    let claims = r#"{"iss":"https://id.example","sub":"jo","aud":"shop","age":1.5,"realm":{"roles":["a"]}}"#;
    let jo = token(claims);
    let more = ", outputPayloadToHeader: x-payload, outputClaimToHeaders: [ { header: x-sub, claim: sub }, { header: x-age, claim: age }, \
                { header: x-roles, claim: realm.roles }, { header: x-none, claim: none } ]";
    let forged = ["x-sub: mo".to_owned(), "x-none: mo".to_owned(), "x-payload: mo".to_owned()];
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let roles = BASE64URL_NOPAD.encode(br#"["a"]"#);
    let told = [
        pair("x-age", "1.5"),
        pair("x-payload", &BASE64URL_NOPAD.encode(claims.as_bytes())),
        pair("x-roles", &roles),
        pair("x-sub", "jo"),
    ];
    for gateway in [false, true] {
        let ask = |headers: &[String]| ask_of(&documents_with(more), gateway, "GET /", headers, Some(NOW));
        assert_eq!(arriving(&ask(&[bearer(&jo), forged.to_vec()].concat())), told);
        assert_eq!(arriving(&ask(&forged)), [], "what callers say of tokens is dropped, also without any");
    }
}

#[test]
fn a_token_that_the_gateway_keeps_was_seen_behind_it() {
    let jo = token(r#"{"iss":"https://id.example","sub":"jo","aud":"shop"}"#);
    let to_cart = |more: &str| documents_with(more).replace("name: web, port", "name: cart, port");
    let request = format!("GET /?a=1&access_token={jo}");
    let decided = |more: &str| outcome(&ask_of(&to_cart(more), true, &request, &[], Some(NOW)));
    let (decision, status, said) = decided("");
    assert_eq!((decision, status), (Decision::Deny, Some(403)), "{said}");
    assert!(said.contains("no token of `https://id.example` came"), "{said}");
    assert_eq!(decided(", forwardOriginalToken: true").0, Decision::Forward);
}
