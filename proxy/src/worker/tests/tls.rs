//! Who may connect, and who may not any more.

use serde_json::{Value, json};

use crate::snapshot::ApplyError;
use crate::testing::*;
use crate::worker::DataPlane;

const CART: &str = "spiffe://td/ns/shop/sa/cart";
const PEER: &str = "spiffe://td/ns/shop/sa/upstream";

/// A plane for `shop/cart` whose application shows the header that names the caller.
async fn inbound(ca: &Ca, mode: &str, anchors: &Value) -> DataPlane {
    let application = upstream(Speaks::Http1, |request| async move {
        let peer = request.headers().get("x-weft-peer").cloned();
        reply(peer.map_or("nobody".to_owned(), |peer| peer.to_str().unwrap().to_owned()))
    })
    .await;
    let plane = plane();
    plane.replace_identity(ca.issue(CART).identity()).unwrap();
    plane.apply(snapshot(&serves(application, mode, anchors), 1).unwrap()).unwrap();
    plane
}

async fn ask(plane: &DataPlane, issued: Option<&Issued>) -> Result<Got, String> {
    let address = plane.inbound_address("http").unwrap();
    let stream = tls(address, issued, b"h2").await.map_err(|error| error.to_string())?;
    let mut client = Client::over(stream, Speaks::Http2).await;
    let request = client.request(http::Method::GET, "/").header("x-weft-peer", "forged");
    client.send(request.body(full("")).unwrap()).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_peer_is_known_by_its_certificate() {
    let ca = Ca::new();
    let plane = inbound(&ca, "strict", &json!({"td": [ca.anchor()]})).await;
    let got = ask(&plane, Some(&ca.issue(PEER))).await.unwrap();
    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, PEER), "and not by what it says of itself");
}

#[tokio::test]
async fn strangers_do_not_get_in() {
    let (ca, other) = (Ca::new(), Ca::new());
    let plane = inbound(&ca, "strict", &json!({"td": [ca.anchor()], "fed": [other.anchor()]})).await;
    assert!(ask(&plane, None).await.is_err(), "no certificate");
    assert!(ask(&plane, Some(&other.issue(PEER))).await.is_err(), "of an anchor of another trust domain");
    assert!(ask(&plane, Some(&ca.issue("spiffe://fed/ns/a/sa/b"))).await.is_err(), "the other way round");
    assert!(
        ask(&plane, Some(&ca.issue("spiffe://td.evil/ns/a/sa/b"))).await.is_err(),
        "unknown trust domain"
    );
    assert!(ask(&plane, Some(&Ca::new().issue(PEER))).await.is_err(), "of an unknown authority");
    for (from, to) in [(2001, 2002), (2090, 2091)] {
        let mut params = leaf_params(PEER);
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        assert!(ask(&plane, Some(&ca.sign(params))).await.is_err(), "valid from {from} to {to}");
    }
    assert!(ask(&plane, Some(&other.issue("spiffe://fed/ns/a/sa/b"))).await.is_ok(), "a federated peer does");
    let refused =
        || plane.metrics().encode().contains(r#"weft_connections_refused_total{reason="handshake"} 7"#);
    until("the refusals are counted", refused).await;
}

#[tokio::test]
async fn clear_text_is_for_permissive_ports_only() {
    let ca = Ca::new();
    let anchors = json!({"td": [ca.anchor()]});
    let strict = inbound(&ca, "strict", &anchors).await;
    let mut client = Client::connect(strict.inbound_address("http").unwrap(), Speaks::Http1).await;
    let request = client.request(http::Method::GET, "/").body(full("")).unwrap();
    assert!(client.send(request).await.is_err());

    let permissive = inbound(&ca, "permissive", &anchors).await;
    let got = get(permissive.inbound_address("http").unwrap(), "/").await;
    assert_eq!(got.text, "nobody", "clear text carries no identity");
    assert_eq!(ask(&permissive, Some(&ca.issue(PEER))).await.unwrap().text, PEER);
    assert!(
        permissive
            .metrics()
            .encode()
            .contains(r#"weft_access_would_deny_total{direction="inbound",service="shop/cart"} 1"#)
    );
}

/// A client that keeps its connection, and asks again after a change.
async fn connected(plane: &DataPlane, issued: &Issued) -> Client {
    let stream = tls(plane.inbound_address("http").unwrap(), Some(issued), b"http/1.1").await.unwrap();
    let mut client = Client::over(stream, Speaks::Http1).await;
    assert_eq!(client.get("/").await.status, 200);
    client
}

async fn is_cut(client: &mut Client) -> bool {
    let request = client.request(http::Method::GET, "/").body(full("")).unwrap();
    match client.send(request).await {
        Ok(got) => got.reason() == "identity-required",
        Err(_) => true,
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_trust_in_it() {
    let (ca, next) = (Ca::new(), Ca::new());
    let plane = inbound(&ca, "strict", &json!({"td": [ca.anchor()]})).await;
    let mut client = connected(&plane, &ca.issue(PEER)).await;
    let mut body = serde_json::to_value(plane.snapshot().unwrap().body()).unwrap();
    body["trust_anchors"] = json!({"td": [ca.anchor(), next.anchor()]});
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    assert_eq!(client.get("/").await.status, 200, "a new anchor changes nothing for it");
    body["trust_anchors"] = json!({"td": [next.anchor()]});
    plane.apply(snapshot(&body, 3).unwrap()).unwrap();
    assert!(is_cut(&mut client).await, "its anchor is gone");
}

#[tokio::test]
async fn a_denylist_closes_connections_at_once() {
    let ca = Ca::new();
    let plane = inbound(&ca, "strict", &json!({"td": [ca.anchor()]})).await;
    let (bad, good) = (ca.issue(PEER), ca.issue("spiffe://td/ns/shop/sa/good"));
    let mut denied = connected(&plane, &bad).await;
    let mut kept = connected(&plane, &good).await;
    let denylist = |id: &str, until: &str| {
        serde_json::from_value(
            json!({"mesh": "test", "version": 1, "entries": [{"spiffe_id": id, "until": until}]}),
        )
        .unwrap()
    };
    plane.deny(denylist(PEER, "2001-01-01T00:00:00Z"));
    assert_eq!(denied.get("/").await.status, 200, "an entry that has run out means nobody");
    plane.deny(denylist(PEER, "2090-01-01T00:00:00Z"));
    assert!(is_cut(&mut denied).await);
    assert!(ask(&plane, Some(&bad)).await.is_err());
    assert_eq!(kept.get("/").await.status, 200);
}

/// A sidecar that calls `upstream`, which must be one of `expected`.
fn outbound(ca: &Ca, endpoint: std::net::SocketAddr, expected: &[&str]) -> DataPlane {
    let mut body = calls(&[endpoint]);
    body["trust_anchors"] = json!({"td": [ca.anchor()]});
    body["clusters"]["up"]["tls"] = json!({"mutual": expected});
    let plane = plane();
    plane.replace_identity(ca.issue(CART).identity()).unwrap();
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    plane
}

#[tokio::test]
async fn sidecars_prove_themselves_to_each_other() {
    let ca = Ca::new();
    let server = inbound(&ca, "strict", &json!({"td": [ca.anchor()]})).await;
    let endpoint = server.inbound_address("http").unwrap();
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let client = outbound(&ca, endpoint, &[CART]);
        let mut app = Client::connect(client.outbound_address().unwrap(), speaks).await;
        for _ in 0..2 {
            assert_eq!(app.get("/").await.text, CART);
        }
        assert!(client.metrics().encode().contains(r#"weft_upstream_connections_total{cluster="up"} 1"#));
    }
    let wrong = outbound(&ca, endpoint, &["spiffe://td/ns/shop/sa/somebody-else"]);
    let got = get(wrong.outbound_address().unwrap(), "/").await;
    assert_eq!((got.status.as_u16(), got.reason()), (503, "tls-failure"), "{got:?}");
    let unknown = outbound(&Ca::new(), endpoint, &[CART]);
    assert_eq!(get(unknown.outbound_address().unwrap(), "/").await.reason(), "tls-failure");
}

#[test]
fn an_identity_must_be_there_and_ours() {
    let ca = Ca::new();
    let body = serves("127.0.0.1:1".parse().unwrap(), "strict", &json!({"td": [ca.anchor()]}));
    let plane = plane();
    let apply = || plane.apply(snapshot(&body, 1).unwrap());
    assert!(matches!(apply(), Err(ApplyError::NoIdentity)));
    plane.replace_identity(ca.issue(PEER).identity()).unwrap();
    assert!(matches!(apply(), Err(ApplyError::IdentityMismatch { .. })));
    plane.replace_identity(ca.issue(CART).identity()).unwrap();
    apply().unwrap();
    let wrong = plane.replace_identity(ca.issue(PEER).identity());
    assert!(matches!(wrong, Err(ApplyError::IdentityMismatch { .. })), "and stays ours");
    let other = Ca::new().issue(CART);
    let mixed = crate::identity::Identity::from_pem(
        ca.issue(CART).certificate.pem().as_bytes(),
        other.key.serialize_pem().as_bytes(),
    );
    assert!(matches!(mixed, Err(crate::identity::IdentityError::Mismatch)));
}
