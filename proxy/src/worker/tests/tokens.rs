//! Tokens of callers, over sockets: what is refused, what arrives, and what is remembered.

use std::net::SocketAddr;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{gateway, upgrades};
use crate::testing::{
    Client, Got, Reply, Speaks, forward_to, full, origin, plane_with, reply, serves, snapshot, until,
    upstream,
};
use crate::worker::DataPlane;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn token(claims: &Value) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let message = format!("{}.{}", part(r#"{"alg":"EdDSA","kid":"1"}"#), part(&claims.to_string()));
    let signature = BASE64URL_NOPAD.encode(key().sign(message.as_bytes()).as_ref());
    format!("{message}.{signature}")
}

/// One of `jo`, who may read.
pub(super) fn good() -> String {
    token(&json!({"iss": "https://id.example", "sub": "jo", "scope": "read write", "exp": 4_000_000_000_u64}))
}

/// Says what arrived: the target, fields that matter, and trailers.
async fn echo(request: Request<Incoming>) -> Reply {
    let fields = |headers: &HeaderMap| {
        let shown =
            headers.iter().filter(|(name, _)| name.as_str().starts_with("x-") || *name == "authorization");
        let mut shown: Vec<_> =
            shown.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        shown.sort();
        shown.join(", ")
    };
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().map(&fields).unwrap_or_default();
    reply(format!("{} [{}] [{trailers}]", head.uri, fields(&head.headers)))
}

/// A body whose port reads tokens, and lets in who may read, or asks for `/open`.
fn reads(application: SocketAddr) -> Value {
    let mut body = serves(application, "off", &json!({}));
    body["inbound"][0]["tokens"] = json!(["shop/users"]);
    body["inbound"][0]["access"] = json!({
        "rules": [
            {"effect": "allow", "origin": origin(3), "to": [{"paths": [{"exact": "/open"}]}]},
            {"effect": "allow", "origin": origin(4), "when": {"all": [
                {"contains": {"of": {"claim": ["scope"]}, "is": {"exact": "read"}}},
                {"text": {"of": {"header": "x-user"}, "is": {"exact": "jo"}}}]}},
        ],
        "otherwise": {"effect": "deny", "origin": origin(5)},
    });
    body["token_providers"] = provider();
    body
}

/// Tells the subject of its tokens as `x-user`.
pub(super) fn provider() -> Value {
    let x = BASE64URL_NOPAD.encode(key().public_key().as_ref());
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x}]});
    json!({"shop/users": {
        "origin": {"object": "TokenProvider shop/users", "file": "tokens.yaml", "line": 9},
        "issuer": "https://id.example", "jwks": set.to_string(),
        "locations": [{"header": {"name": "authorization", "prefix": "Bearer "}}, {"query": "access_token"}],
        "claim_headers": {"x-user": ["sub"]},
    }})
}

async fn plane() -> DataPlane {
    plane_with(&reads(upstream(Speaks::Http1, echo).await))
}

async fn ask(plane: &DataPlane, path: &str, fields: &[(&str, &str)]) -> Got {
    let mut client = Client::connect(plane.inbound_address("http").unwrap(), Speaks::Http1).await;
    let mut request = client.request(Method::GET, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(full("")).unwrap()).await.unwrap()
}

fn challenge(got: &Got) -> &str {
    got.headers.get("www-authenticate").map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_good_token_lets_in_and_the_application_is_told_of_it() {
    let plane = plane().await;
    let bearer = format!("Bearer {}", good());
    let got = ask(&plane, "/a", &[("authorization", &bearer), ("x-user", "mo"), ("x-user", "root")]).await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "/a [x-user: jo] []"));
    let query = format!("/a?q=1&access_token={}&r", good());
    assert_eq!(ask(&plane, &query, &[]).await.text, "/a?q=1&r [x-user: jo] []");
    // Naming a field in `Connection` does not make it vanish, nor a spelled one stay.
    let fields =
        [("authorization", bearer.as_str()), ("connection", "x-user, authorization"), ("x-user", "mo")];
    assert_eq!(ask(&plane, "/a", &fields).await.text, "/a [x-user: jo] []");
}

#[tokio::test]
async fn who_brings_none_is_judged_without_and_says_nothing_for_himself() {
    let plane = plane().await;
    let got = ask(&plane, "/open", &[("x-user", "jo"), ("authorization", "Basic am86")]).await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "/open [authorization: Basic am86] []"));
    let got = ask(&plane, "/a", &[("x-user", "jo")]).await;
    assert_eq!((got.status.as_u16(), got.reason()), (403, "access-denied"));
    assert_eq!(challenge(&got), r#"Bearer realm="shop/cart""#);
    let weak = token(&json!({"iss": "https://id.example", "sub": "jo", "scope": "readonly write"}));
    let got = ask(&plane, "/a", &[("authorization", &format!("Bearer {weak}"))]).await;
    assert_eq!((got.status.as_u16(), got.reason()), (403, "access-denied"));
    assert!(challenge(&got).contains(r#"error="insufficient_scope""#), "{}", challenge(&got));
}

#[tokio::test]
async fn a_bad_token_is_refused_also_where_none_is_asked_for() {
    let plane = plane().await;
    let late = token(&json!({"iss": "https://id.example", "exp": 1}));
    let mut forged = good();
    let last = forged.pop().unwrap();
    forged.insert(forged.rfind('.').unwrap() + 1, last);
    for (brought, why) in [
        (late, "it has expired"),
        (forged, ""),
        ("abc".to_owned(), "it is not a JSON Web Token"),
        ("a".repeat(20_000), "it is longer than 16384 bytes"),
        (token(&json!({"iss": "evil"})), "nobody here believes the issuer `evil`"),
    ] {
        let got = ask(&plane, "/open", &[("authorization", &format!("bearer {brought}"))]).await;
        assert_eq!((got.status.as_u16(), got.reason()), (401, "token-refused"), "{got:?}");
        let said = "the token is refused by TokenProvider shop/users (tokens.yaml:9): ";
        assert!(got.text.starts_with(said) && got.text.trim_end().ends_with(why), "{}", got.text);
        let (start, _) = challenge(&got).split_once(", error_description=").unwrap();
        assert_eq!(start, r#"Bearer realm="shop/cart", error="invalid_token""#);
    }
    let two = format!("/open?access_token={}", good());
    let got = ask(&plane, &two, &[("authorization", "Bearer x")]).await;
    assert!(got.status == 401 && challenge(&got).contains(r#"error="invalid_request""#), "{got:?}");
    let counted = |outcome: &str, times: u32| {
        let line = format!(r#"weft_tokens_total{{service="shop/cart",outcome="{outcome}"}} {times}"#);
        assert!(plane.metrics().encode().contains(&line), "{line}\n{}", plane.metrics().encode());
    };
    counted("expired", 1);
    counted("several", 1);
    counted("too-long", 1);
    let ended = r#"code_class="4xx",reason="token-refused"} 6"#;
    until("all are counted", || plane.metrics().encode().contains(ended)).await;
}

#[tokio::test]
async fn trailers_say_nothing_that_only_a_token_may() {
    let application = upstream(Speaks::Http2, echo).await;
    let mut body = reads(application);
    body["inbound"][0]["protocol"] = json!("http2");
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.inbound_address("http").unwrap(), Speaks::Http2).await;
    let mut trailers = HeaderMap::new();
    for name in ["x-user", "x-weft-peer", "x-other"] {
        trailers.append(name, "root".parse().unwrap());
    }
    let sent = full("body").with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
    let request = client.request(Method::POST, "/open").body(sent).unwrap();
    assert_eq!(client.send(request).await.unwrap().text, "http://upstream/open [] [x-other: root]");
}

#[tokio::test]
async fn what_was_verified_counts_for_nothing_under_another_policy() {
    let application = upstream(Speaks::Http1, echo).await;
    let mut body = reads(application);
    let plane = plane_with(&body);
    let bearer = format!("Bearer {}", good());
    let mut client = Client::connect(plane.inbound_address("http").unwrap(), Speaks::Http1).await;
    let mut status = async || {
        let request = client.request(Method::GET, "/a").header("authorization", &bearer);
        client.send(request.body(full("")).unwrap()).await.unwrap().status.as_u16()
    };
    assert_eq!((status().await, status().await), (200, 200));
    let stale = BASE64URL_NOPAD.encode(&[9; 32]);
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": stale}]});
    body["token_providers"]["shop/users"]["jwks"] = json!(set.to_string());
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    assert_eq!(status().await, 401, "its key was taken back");
}

/// A gateway does the same, and says less: of what is inside its callers learn nothing.
#[tokio::test]
async fn a_gateway_reads_tokens_before_it_routes() {
    let application = upstream(Speaks::Http1, echo).await;
    let mut public = gateway::listener("public", 80, &["*"], &gateway::respond(404, "nobody"));
    public["tokens"] = json!(["shop/users"]);
    public["access"] = json!({
        "rules": [{"effect": "allow", "origin": origin(4), "when": {"has": "token_subject"}}],
        "otherwise": {"effect": "deny", "origin": origin(5)},
    });
    // Routed by what the token says, which no caller can.
    let jo = json!({"headers": [{"name": "x-user", "value": {"exact": "jo"}}]});
    public["frontend"]["entries"] = json!([{"match": jo, "rule": 0}]);
    public["frontend"]["rules"] = json!([forward_to("up")]);
    let mut body = gateway::gateway(&[public], &[application]);
    body["token_providers"] = provider();
    let plane = gateway::plane_at_edge(None);
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    let mut client = Client::connect(plane.listener_address(80).unwrap(), Speaks::Http1).await;
    let mut ask = async |token: Option<&str>, user: &str| {
        let request = client.request(Method::GET, "/a?q").header("x-user", user);
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        client.send(request.body(full("")).unwrap()).await.unwrap()
    };
    let got = ask(Some(&good()), "mo").await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(got.text.starts_with("/a?q [") && got.text.contains("x-user: jo"), "{}", got.text);
    assert!(!got.text.contains("authorization"), "{}", got.text);
    let other = token(&json!({"iss": "https://id.example", "sub": "mo"}));
    assert_eq!(ask(Some(&other), "jo").await.text, "nobody");
    let got = ask(None, "jo").await;
    assert_eq!(
        (got.status.as_u16(), got.reason(), challenge(&got)),
        (403, "access-denied", r#"Bearer realm="upstream""#)
    );
    let got = ask(Some("x"), "jo").await;
    assert_eq!(
        (got.status.as_u16(), got.reason(), got.text.as_str()),
        (401, "token-refused", "Unauthorized\n")
    );
    assert!(
        challenge(&got).ends_with(r#"error_description="it is not a JSON Web Token""#),
        "{}",
        challenge(&got)
    );
}

/// What a tunnel began with is judged again when policy changes, its token too.
#[tokio::test]
async fn a_tunnel_ends_when_the_key_of_its_token_is_taken_back() {
    let (application, heads) = upgrades::answers(upgrades::AGREE).await;
    let mut body = reads(application);
    let plane = plane_with(&body);
    let asks = format!(
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade, x-user\r\nupgrade: websocket\r\nx-user: root\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nauthorization: Bearer {}\r\n\r\n",
        good()
    );
    let address = plane.inbound_address("http").unwrap();
    let (answer, mut socket) = upgrades::ask(address, &asks).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let arrived = heads.lock().unwrap().join("\n").to_ascii_lowercase();
    assert!(arrived.contains("x-user: jo") && !arrived.contains("bearer"), "{arrived}");
    upgrades::says(&mut socket, "ping").await;
    // A change that leaves its right to it alone.
    body["inbound"][0]["access"]["otherwise"]["origin"]["line"] = json!(6);
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    upgrades::says(&mut socket, "ping").await;
    let stale = BASE64URL_NOPAD.encode(&[9; 32]);
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": stale}]});
    body["token_providers"]["shop/users"]["jwks"] = json!(set.to_string());
    plane.apply(snapshot(&body, 3).unwrap()).unwrap();
    upgrades::is_cut(&mut socket).await;
    let line = r#"weft_streams_total{direction="inbound",service="shop/cart",kind="upgrade",reason="token-refused"} 1"#;
    until("it is counted", || plane.metrics().encode().contains(line)).await;
}
