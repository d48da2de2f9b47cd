//! Tokens of callers, from documents to answers: keys and tokens of another implementation, what each is good for, and what
//! arrives behind the sidecar.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use weft_tests::binaries::workspace;
use weft_tests::client::{self, Answer, Call, Protocol};

use crate::plain::Plain;

/// What `tests/issuer.py` made of some claims; none, with a word, if Python or its packages are not there.
fn issued(claims: &Value) -> Option<Value> {
    let found = Command::new("python3").args(["-c", "import jwt, cryptography"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        anstream::eprintln!(
            "SKIPPED: tokens of another implementation need python3 with `pyjwt` and `cryptography` (pip install pyjwt cryptography)"
        );
        return None;
    }
    let mut python = Command::new("python3")
        .arg(workspace().join("tests/issuer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(python.stdin.take().unwrap(), claims).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn claims() -> Value {
    let whole = |more: Value| {
        let mut claims = json!({"iss": "https://id.example", "sub": "jo", "aud": ["shop", "bank"],
            "exp": 4_000_000_000_u64, "scope": "orders:read profile", "realm": {"roles": ["clerk"]}});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    json!({
        "good": whole(json!({})),
        "late": whole(json!({"exp": 1_000_000_000})),
        "early": whole(json!({"nbf": 3_999_999_999_u64})),
        "other": whole(json!({"aud": "bank"})),
        "stranger": whole(json!({"iss": "https://evil.example"})),
        "narrow": whole(json!({"scope": "profile"})),
    })
}

/// Asks `web`, as a peer does.
fn ask(plain: &Plain, call: &Call) -> Answer {
    client::call(Protocol::Http1, plain.inbound, call).unwrap()
}

fn with(token: &Value) -> Call {
    Call::get("http://web/orders").header("authorization", &format!("Bearer {}", token.as_str().unwrap()))
}

/// What the simulator says of the same request: the status, or 200 if it goes on.
fn traced(plain: &Plain, token: Option<&Value>) -> u64 {
    let caller = "spiffe://small.example/ns/default/sa/anyone";
    let mut arguments =
        vec!["trace", "policy", "--from", caller, "GET http://web/orders", "--format", "json"];
    let field = token.map(|token| format!("authorization: Bearer {}", token.as_str().unwrap()));
    if let Some(field) = &field {
        arguments.extend(["-H", field]);
    }
    let traced = plain.mesh.weft(&arguments).unwrap();
    let json: Value = serde_json::from_str(&traced.stdout).unwrap_or_else(|_| panic!("{traced}"));
    match json["decision"].as_str() {
        Some("forward") => 200,
        _ => json["status"].as_u64().unwrap_or_else(|| panic!("{traced}")),
    }
}

fn provider(issued: &Value) -> String {
    format!(
        "
apiVersion: weft.dev/v1alpha1
kind: TokenProvider
metadata: {{ name: users }}
spec:
  targetRefs: [ {{ kind: Service, name: web }} ]
  issuer: https://id.example
  audiences: [ shop ]
  jwks: {{ inline: '{}' }}
  claimHeaders:
  - {{ header: x-user, claim: sub }}
  - {{ header: x-roles, claim: [ realm, roles ] }}
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: readers }}
spec:
  targetRefs: [ {{ kind: Service, name: web }} ]
  action: allow
  rules:
  - from: [ {{ token: {{ provider: users, claims: [ {{ claim: scope, values: [ 'orders:read' ] }} ] }} }} ]
    when: \"token.subject == 'jo' && 'clerk' in token.claims.realm.roles\"
  - to: [ {{ paths: [ {{ exact: /open }} ] }} ]
",
        issued["jwks"].as_str().unwrap()
    )
}

#[test]
fn tokens_of_another_implementation_are_believed_and_the_simulator_says_the_same() {
    let Some(issued) = issued(&claims()) else { return };
    let plain = Plain::new(&[], &provider(&issued));
    let tokens = &issued["tokens"];
    for algorithm in
        ["ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
    {
        let of = &tokens[algorithm];
        // Twice: the second is remembered.
        for _ in 0..2 {
            let answer = ask(&plain, &with(&of["good"]).header("x-user", "root").header("x-roles", "admin"));
            assert_eq!(answer.status, 200, "{algorithm}: {answer}");
            let headers = &answer.json()["headers"];
            assert_eq!(headers["x-user"], "jo", "{algorithm}");
            // `["clerk"]` in base64url.
            assert_eq!(headers["x-roles"], "WyJjbGVyayJd", "{algorithm}");
            assert_eq!(headers.get("authorization"), None, "it stays with the sidecar: {headers}");
        }
        assert_eq!(traced(&plain, Some(&of["good"])), 200, "{algorithm}");
        for (case, status) in
            [("late", 401), ("early", 401), ("other", 401), ("stranger", 401), ("narrow", 403)]
        {
            let answer = ask(&plain, &with(&of[case]));
            assert_eq!(u64::from(answer.status), status, "{algorithm} {case}: {answer}");
            assert_eq!(traced(&plain, Some(&of[case])), status, "{algorithm} {case}");
            assert!(answer.header("www-authenticate").starts_with("Bearer realm=\"default/web\", error="));
        }
    }
    for algorithm in ["none", "HS256"] {
        let answer = ask(&plain, &with(&tokens[algorithm]["good"]));
        assert_eq!((answer.status, answer.header("x-weft-reason")), (401, "token-refused"), "{answer}");
        let place = "the token is refused by TokenProvider default/users (services.yaml:";
        assert!(answer.text().starts_with(place), "{answer}");
        assert_eq!(traced(&plain, Some(&tokens[algorithm]["good"])), 401);
    }
    let without = ask(&plain, &Call::get("http://web/orders").header("x-user", "jo"));
    assert_eq!((without.status, traced(&plain, None)), (403, 403), "{without}");
    let open = ask(&plain, &Call::get("http://web/open").header("x-user", "root"));
    assert_eq!((open.status, open.json()["headers"].get("x-user")), (200, None), "{open}");
    let accepted = [("outcome", "accepted")];
    assert!(plain.metric("weft_tokens_total", &accepted) >= 20.0, "{}", plain.proxy.metrics().0);
}

#[test]
fn documents_of_istio_mean_the_same() {
    let Some(issued) = issued(&claims()) else { return };
    let documents = format!(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{ name: users }}
spec:
  targetRefs: [ {{ kind: Service, name: web }} ]
  jwtRules:
  - issuer: https://id.example
    audiences: [ shop ]
    jwks: '{}'
    fromHeaders: [ {{ name: x-jwt }} ]
    fromParams: [ access_token ]
    fromCookies: [ session ]
    outputPayloadToHeader: x-payload
    forwardOriginalToken: true
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: users }}
spec:
  targetRefs: [ {{ kind: Service, name: web }} ]
  action: ALLOW
  rules:
  - from: [ {{ source: {{ requestPrincipals: [ 'https://id.example/*' ] }} }} ]
    when: [ {{ key: 'request.auth.claims[scope]', values: [ 'orders:read' ] }} ]
",
        issued["jwks"].as_str().unwrap()
    );
    let plain = Plain::new(&[], &documents);
    let of = |case: &str| issued["tokens"]["ES256"][case].as_str().unwrap().to_owned();
    let good = of("good");
    let payload = good.split('.').nth(1).unwrap();
    let url = |token: &str| format!("http://web/?a=1&access_token={token}");
    for call in [
        Call::get("http://web/").header("x-jwt", &good),
        Call::get(&url(&good)),
        Call::get("http://web/").header("cookie", &format!("a=b; session={good}")),
    ] {
        let answer = ask(&plain, &call.header("x-payload", "forged"));
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.json()["headers"]["x-payload"], payload);
    }
    let kept = ask(&plain, &Call::get(&url(&good)));
    assert_eq!(kept.json()["path"], format!("/?a=1&access_token={good}"), "it is passed on");
    assert_eq!(ask(&plain, &Call::get("http://web/")).status, 403);
    assert_eq!(ask(&plain, &Call::get(&url(&of("narrow")))).status, 403);
    assert_eq!(ask(&plain, &Call::get(&url(&of("late")))).status, 401);
    // The header that nobody reads here.
    assert_eq!(ask(&plain, &Call::get("http://web/").header("authorization", "Bearer x")).status, 403);
    let two = Call::get(&url(&good)).header("x-jwt", &of("narrow"));
    assert_eq!(ask(&plain, &two).status, 401, "of two neither counts");
}

/// A key that is taken back is believed by no request after the release that says so.
#[test]
fn a_key_is_rotated_without_a_restart() {
    let (Some(old), Some(new)) = (issued(&claims()), issued(&claims())) else { return };
    let plain = Plain::new(&[], &provider(&old));
    let good = |issued: &Value| ask(&plain, &with(&issued["tokens"]["RS256"]["good"])).status;
    assert_eq!((good(&old), good(&new)), (200, 401));
    plain.mesh.edit("services.yaml", old["jwks"].as_str().unwrap(), new["jwks"].as_str().unwrap()).unwrap();
    plain.mesh.commit("Other keys").unwrap();
    plain.mesh.build().unwrap();
    plain.proxy.wait_sequence(2).unwrap();
    assert_eq!((good(&old), good(&new)), (401, 200));
}
