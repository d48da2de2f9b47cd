//! Callers outside the mesh, in clear text: which listener takes them, what they may, and what they cannot forge.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::snapshot::ApplyError;
use crate::telemetry::Direction;
use crate::testing::*;
use crate::worker::{DataPlane, ListenerOverride, Options};

/// A listener on a port for some hosts, which does one thing with everything.
pub(super) fn listener(name: &str, port: u16, hosts: &[&str], rule: &Value) -> Value {
    json!({
        "name": name,
        "frontend": {"service": "edge/public", "port": port, "protocol": "http", "hosts": hosts, "otherwise": rule},
        "access": {"otherwise": {"effect": "allow", "origin": origin(7)}},
    })
}

pub(super) fn respond(status: u16, text: &str) -> Value {
    json!({"origin": origin(1), "action": {"respond": {"status": status, "body": text}}})
}

/// A gateway's body with these listeners and the cluster `up`.
pub(super) fn gateway(listeners: &[Value], up: &[std::net::SocketAddr]) -> Value {
    let mut body = body(&json!({}));
    body["clusters"]["up"] = cluster(up);
    body["listeners"] = json!(listeners);
    body
}

/// A plane whose ports 80, 81 and 443 are on loopback.
pub(super) fn plane_at_edge(certificates: Option<&std::path::Path>) -> DataPlane {
    let address = "127.0.0.1:0".parse().unwrap();
    let listeners = [80, 81, 443].map(|port| ListenerOverride { port, address }).to_vec();
    let certificates = certificates.map(std::path::Path::to_owned);
    let options = Options { workers: 1, listeners, certificates, ..Options::default() };
    DataPlane::start(options, Arc::default()).unwrap()
}

fn plane_with_gateway(body: &Value) -> DataPlane {
    let plane = plane_at_edge(None);
    plane.apply(snapshot(body, 1).unwrap()).unwrap();
    plane
}

/// GET of a host and path in clear text, with more fields.
async fn ask(plane: &DataPlane, port: u16, host: &str, path: &str, fields: &[(&str, &str)]) -> Got {
    let mut client = Client::connect(plane.listener_address(port).unwrap(), Speaks::Http1).await;
    let mut request = http::Request::builder().method(Method::GET).uri(path).header("host", host);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(full("")).unwrap()).await.unwrap()
}

/// An upstream that says what it was told about the caller.
pub(super) async fn tells() -> std::net::SocketAddr {
    upstream(Speaks::Http1, |request| async move {
        let headers = request.headers();
        let mut told: Vec<String> = headers
            .iter()
            .filter(|(name, _)| name.as_str() != "x-weft-hop")
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        told.sort();
        let mut reply = reply(told.join("\n"));
        reply.headers_mut().insert("x-weft-anything", "inside".parse().unwrap());
        reply
    })
    .await
}

#[tokio::test]
async fn the_most_specific_listener_takes_a_request_and_only_its_routes_count() {
    let listeners = [
        listener("any", 80, &["*"], &respond(200, "any")),
        listener("wild", 80, &["*.shop.example"], &respond(200, "wild")),
        listener("exact", 80, &["a.shop.example"], &respond(200, "exact")),
        listener("other", 81, &["only.example"], &respond(200, "other")),
    ];
    let plane = plane_with_gateway(&gateway(&listeners, &[]));
    for (host, listener) in [
        ("a.shop.example", "exact"),
        ("A.Shop.Example:8080", "exact"),
        ("b.shop.example", "wild"),
        ("shop.example", "any"),
        ("127.0.0.1", "any"),
    ] {
        assert_eq!(ask(&plane, 80, host, "/", &[]).await.text, listener, "{host}");
    }
    assert_eq!(ask(&plane, 81, "only.example", "/", &[]).await.text, "other");
    let nobodys = ask(&plane, 81, "a.shop.example", "/", &[]).await;
    assert_eq!(
        (nobodys.status.as_u16(), nobodys.reason(), nobodys.text.as_str()),
        (404, "unknown-host", "Not Found\n")
    );
    let metrics = plane.metrics().encode();
    let counted = r#"weft_requests_total{direction="inbound",service="edge/public",code_class="2xx",reason="direct-response"} 6"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn what_a_caller_says_of_itself_does_not_get_in() {
    let plane =
        plane_with_gateway(&gateway(&[listener("any", 80, &["*"], &forward_to("up"))], &[tells().await]));
    let forged = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-client-cert", "URI=spiffe://td/ns/ops/sa/admin"),
        ("x-forwarded-host", "inside"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("x-weft-peer", "spiffe://td/ns/ops/sa/admin"),
        ("connection", "x-forwarded-for, x-plain"),
        ("x-plain", "1"),
        ("x-kept", "2"),
    ];
    let got = ask(&plane, 80, "shop.example", "/", &forged).await;
    assert_eq!(
        got.text,
        "host: shop.example\nx-forwarded-for: 127.0.0.1\nx-forwarded-proto: http\nx-kept: 2"
    );
    assert!(!got.headers.contains_key("x-weft-anything"), "nor does what is inside get out: {got:?}");
}

#[tokio::test]
async fn refusals_tell_nothing_of_what_is_inside() {
    let mut door = listener("any", 80, &["*"], &forward_to("up"));
    door["access"]["rules"] = json!([{"effect": "deny", "origin": origin(3),
        "to": [{"paths": [{"exact": "/admin"}]}]}]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plane = plane_with_gateway(&gateway(&[door], &[nobody]));
    let denied = ask(&plane, 80, "a", "/admin", &[]).await;
    assert_eq!(
        (denied.status.as_u16(), denied.reason(), denied.text.as_str()),
        (403, "access-denied", "Forbidden\n")
    );
    let down = ask(&plane, 80, "a", "/", &[]).await;
    assert_eq!((down.status.as_u16(), down.text.as_str()), (503, "Service Unavailable\n"), "and no address");
    assert_eq!(down.reason(), "connect-failure");
}

#[tokio::test]
async fn one_scheme_per_connection() {
    let plane = plane_with_gateway(&gateway(&[listener("any", 80, &["*"], &respond(200, "in"))], &[]));
    assert_eq!(ask(&plane, 80, "a", "http://a/", &[]).await.text, "in");
    let mixed = ask(&plane, 80, "a", "https://a/", &[]).await;
    assert_eq!((mixed.status.as_u16(), mixed.reason()), (400, "bad-host"), "{mixed:?}");
}

#[tokio::test]
async fn rules_do_at_the_edge_what_they_do_inside() {
    let mut door = listener("any", 80, &["*"], &respond(404, "none"));
    let to_https =
        json!({"origin": origin(2), "action": {"redirect": {"scheme": "https", "port": 443, "status": 301}}});
    let mut cors = forward_to("up");
    cors["cors"] = json!({"allow_origins": [{"suffix": ".shop.example"}], "allow_methods": ["GET"],
        "allow_headers": [], "expose_headers": [], "allow_credentials": false, "max_age": "600s"});
    let mut rewrite = forward_to("up");
    rewrite["rewrite"] = json!({"host": "inside", "path": {"matched": "/b"}});
    rewrite["request_headers"] = json!({"set": [["x-forwarded-proto", "by-rule"]]});
    door["frontend"]["rules"] = json!([to_https, cors, rewrite]);
    door["frontend"]["entries"] = json!([
        {"match": {"path": {"exact": "/old"}}, "rule": 0},
        {"match": {"path": {"exact": "/cors"}}, "rule": 1},
        {"match": {"path": {"segment_prefix": "/a"}}, "rule": 2},
    ]);
    let plane = plane_with_gateway(&gateway(&[door], &[tells().await]));
    let moved = ask(&plane, 80, "shop.example:8080", "/old?q=1", &[]).await;
    assert_eq!(
        (moved.status.as_u16(), moved.headers["location"].to_str().unwrap()),
        (301, "https://shop.example/old?q=1")
    );
    let cors = ask(&plane, 80, "a", "/cors", &[("origin", "https://www.shop.example")]).await;
    assert_eq!(cors.headers["access-control-allow-origin"], "https://www.shop.example");
    let foreign = ask(&plane, 80, "a", "/cors", &[("origin", "https://evil.example")]).await;
    assert!(!foreign.headers.contains_key("access-control-allow-origin"), "{foreign:?}");
    let rewritten = ask(&plane, 80, "a", "/a/x", &[]).await;
    assert!(
        rewritten.text.contains("host: inside") && rewritten.text.contains("x-forwarded-proto: by-rule"),
        "{rewritten:?}"
    );
    assert_eq!(ask(&plane, 80, "a", "/ab", &[]).await.status, 404);
}

#[tokio::test]
async fn listeners_come_and_go_and_the_others_do_not_notice() {
    let held = Held::start(Speaks::Http1).await;
    let first = listener("first", 80, &["*"], &forward_to("up"));
    let second = listener("second", 81, &["*"], &respond(200, "second"));
    let body = |listeners: &[&Value]| {
        let listeners: Vec<Value> = listeners.iter().map(|one| (*one).clone()).collect();
        gateway(&listeners, &[held.address])
    };
    let plane = plane_with_gateway(&body(&[&first]));
    let address = plane.listener_address(80).unwrap();
    let mut client = Client::connect(address, Speaks::Http1).await;
    let request = client.request(Method::GET, "/").body(full("")).unwrap();
    let slow = tokio::spawn(async move { (client.send(request).await, client) });
    until("it is under way", || held.seen() == 1).await;

    plane.apply(snapshot(&body(&[&first, &second]), 2).unwrap()).unwrap();
    assert_eq!(ask(&plane, 81, "a", "/", &[]).await.text, "second");
    let there = plane.listener_address(81).unwrap();
    let mut kept = Client::connect(there, Speaks::Http1).await;
    assert_eq!(kept.get("/").await.text, "second");
    plane.apply(snapshot(&body(&[&first]), 3).unwrap()).unwrap();
    until("nobody is let in", || std::net::TcpStream::connect(there).is_err()).await;
    assert_eq!(plane.listener_address(80), Some(address), "it is not bound anew");
    held.release();
    let (got, mut client) = slow.await.unwrap();
    assert_eq!(got.unwrap().text, "held");
    assert_eq!(client.get("/").await.text, "held", "over the same connection");
    until("the connection to the port that is gone ends", || plane.open_connections(Direction::Inbound) == 1)
        .await;
}

#[tokio::test]
async fn a_listener_that_cannot_be_bound_keeps_what_runs() {
    let one = listener("one", 80, &["*"], &respond(200, "one"));
    let plane = plane_with_gateway(&gateway(std::slice::from_ref(&one), &[]));
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let more = gateway(
        &[
            listener("one", 80, &["*"], &respond(200, "changed")),
            listener("two", port, &["*"], &respond(200, "two")),
        ],
        &[],
    );
    let applied = plane.apply(snapshot(&more, 2).unwrap());
    assert!(matches!(applied, Err(ApplyError::Listen { .. })), "{applied:?}");
    assert_eq!(ask(&plane, 80, "a", "/", &[]).await.text, "one");
}

#[tokio::test]
async fn listeners_for_connections_are_refused_by_name() {
    for (protocol, tls) in [("tcp", Value::Null), ("tls", json!("passthrough"))] {
        let mut door = listener("database", 80, &["*"], &respond(404, ""));
        door["frontend"]["protocol"] = json!(protocol);
        if !tls.is_null() {
            door["tls"] = tls;
        }
        let refused = snapshot(&gateway(&[door], &[]), 1).map(drop).unwrap_err().to_string();
        assert!(refused.contains("listener `database`"), "{refused}");
    }
}

#[tokio::test]
async fn tokens_are_read_at_the_edge_and_what_is_told_of_them_cannot_be_forged() {
    use super::tokens::{good, provider};
    let mut door = listener("any", 80, &["*"], &forward_to("up"));
    door["tokens"] = json!(["shop/users"]);
    door["access"] = json!({
        "rules": [{"effect": "allow", "origin": origin(3),
            "when": {"contains": {"of": {"claim": ["scope"]}, "is": {"exact": "read"}}}}],
        "otherwise": {"effect": "deny", "origin": origin(5)},
    });
    let mut body = gateway(&[door], &[tells().await]);
    body["token_providers"] = provider();
    let plane = plane_with_gateway(&body);
    let bearer = format!("Bearer {}", good());
    let got = ask(&plane, 80, "a", "/", &[("authorization", &bearer), ("x-user", "root")]).await;
    assert_eq!(got.text, "host: a\nx-forwarded-for: 127.0.0.1\nx-forwarded-proto: http\nx-user: jo");
    let none = ask(&plane, 80, "a", "/", &[("x-user", "jo")]).await;
    assert_eq!(
        (none.status.as_u16(), none.reason(), none.text.as_str()),
        (403, "access-denied", "Forbidden\n")
    );
    let wrong = ask(&plane, 80, "a", "/", &[("authorization", &format!("{bearer}x"))]).await;
    assert_eq!((wrong.status.as_u16(), wrong.reason()), (401, "token-refused"));
    assert!(wrong.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn names_that_some_applications_read_as_ours_do_not_get_in() {
    let mut door = listener("any", 80, &["*"], &forward_to("up"));
    door["tokens"] = json!(["shop/users"]);
    let mut body = gateway(&[door], &[tells().await]);
    body["token_providers"] = super::tokens::provider();
    let plane = plane_with_gateway(&body);
    let mut client = Client::connect(plane.listener_address(80).unwrap(), Speaks::Http2).await;
    let mut request = client.request(Method::GET, "/");
    for name in ["x_weft_peer", "x_forwarded_for", "x-forwarded_host", "x_real_ip", "x_user", "x_kept"] {
        request = request.header(name, "forged");
    }
    let got = client.send(request.body(full("")).unwrap()).await.unwrap();
    let forged: Vec<_> = got.text.lines().filter(|line| line.ends_with("forged")).collect();
    assert_eq!(forged, ["x_kept: forged"], "{}", got.text);
}

#[tokio::test]
async fn a_tunnel_through_a_gateway_ends_with_the_right_to_it() {
    use super::upgrades::{AGREE, answers, ask, is_cut, says};
    let (application, _) = answers(AGREE).await;
    let open = listener("any", 80, &["*"], &forward_to("up"));
    let plane = plane_with_gateway(&gateway(std::slice::from_ref(&open), &[application]));
    let request = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    let (answer, mut socket) = ask(plane.listener_address(80).unwrap(), request).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    says(&mut socket, "ping").await;
    let mut other = open.clone();
    other["access"]["rules"] =
        json!([{"effect": "deny", "origin": origin(8), "to": [{"paths": [{"prefix": "/other"}]}]}]);
    plane.apply(snapshot(&gateway(&[other], &[application]), 2).unwrap()).unwrap();
    says(&mut socket, "still").await;
    let mut closed = open;
    closed["access"]["rules"] =
        json!([{"effect": "deny", "origin": origin(9), "to": [{"paths": [{"prefix": "/chat"}]}]}]);
    plane.apply(snapshot(&gateway(&[closed], &[application]), 3).unwrap()).unwrap();
    is_cut(&mut socket).await;
}

#[tokio::test]
async fn policy_does_not_believe_what_a_caller_says_of_itself() {
    let mut door = listener("any", 80, &["*"], &forward_to("up"));
    let says = |name: &str, value: &str| json!({"text": {"of": {"header": name}, "is": {"exact": value}}});
    door["access"] = json!({
        "rules": [
            {"effect": "allow", "origin": origin(3), "when": says("x-forwarded-for", "10.0.0.1")},
            {"effect": "allow", "origin": origin(4), "when": says("x-weft-peer", "spiffe://td/ns/ops/sa/admin")},
        ],
        "otherwise": {"effect": "deny", "origin": origin(5)},
    });
    let plane = plane_with_gateway(&gateway(&[door], &[tells().await]));
    for (name, value) in [("x-forwarded-for", "10.0.0.1"), ("x-weft-peer", "spiffe://td/ns/ops/sa/admin")] {
        let got = ask(&plane, 80, "a", "/", &[(name, value)]).await;
        assert_eq!((got.status.as_u16(), got.reason()), (403, "access-denied"), "{name}");
    }
}
