//! How our application reaches services whose bytes are not looked at: `CONNECT`, local ports, server names, addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testing::*;
use crate::worker::{DataPlane, Options};

/// A body whose application reaches the opaque service `upstream` at the endpoints.
fn calls_bytes(endpoints: &[SocketAddr]) -> Value {
    let mut body = calls(endpoints);
    body["outbound"][0]["protocol"] = json!("tcp");
    body["clusters"]["up"]["protocol"] = json!("tcp");
    body
}

/// A plane with a local port for `upstream`.
fn with_local_port(body: &Value, workers: usize) -> DataPlane {
    let options = Options {
        workers,
        outbound: Some("127.0.0.1:0".parse().unwrap()),
        local_ports: vec!["127.0.0.1:0=upstream:80".parse().unwrap()],
        ..Options::default()
    };
    let plane = DataPlane::start(options, Arc::default()).unwrap();
    plane.apply(snapshot(body, 1).unwrap()).unwrap();
    plane
}

async fn local_port(plane: &DataPlane) -> TcpStream {
    TcpStream::connect(plane.local_addresses()[0]).await.unwrap()
}

/// Asks for a tunnel, with some bytes right behind, and reads the head of the answer.
async fn connect(plane: &DataPlane, target: &str, early: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(plane.outbound_address().unwrap()).await.unwrap();
    let head = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n{early}");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    (String::from_utf8(answer).unwrap(), stream)
}

async fn all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// That a new connection to the local port is broken off, perhaps as soon as it is there.
async fn refuses(plane: &DataPlane) {
    if let Ok(mut stream) = TcpStream::connect(plane.local_addresses()[0]).await {
        is_cut(&mut stream).await;
    }
}

async fn is_cut(stream: &mut TcpStream) {
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
    assert!(read.unwrap().is_err(), "it ended as if all was said");
}

/// A server that says its name and ends.
async fn named(name: &'static str) -> SocketAddr {
    bytes_server(move |mut stream| async move {
        stream.write_all(name.as_bytes()).await.unwrap();
    })
    .await
}

fn ended(plane: &DataPlane, kind: &str, reason: &str, count: usize) -> bool {
    let labels = format!(r#"direction="outbound",service="shop/upstream",kind="{kind}",reason="{reason}""#);
    plane.metrics().encode().contains(&format!("weft_streams_total{{{labels}}} {count}"))
}

#[tokio::test]
async fn connect_is_a_tunnel_once_it_is_agreed_to() {
    let plane = plane_with(&calls_bytes(&[echoes().await]));
    let (answer, mut stream) = connect(&plane, "upstream:80", "early ").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");
    stream.write_all(b"and late").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(all(&mut stream).await, "early and late");
    until("it is counted", || ended(&plane, "connect", "ok", 1)).await;
    let text = plane.metrics().encode();
    for line in [
        r#"weft_requests_total{direction="outbound",service="shop/upstream",code_class="2xx",reason="ok"} 1"#,
        r#"weft_stream_received_bytes_total{direction="outbound",service="shop/upstream",kind="connect"} 14"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn connect_is_refused_where_it_leads_past_policy_or_nowhere() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut body = calls_bytes(&[nobody]);
    let mut http = frontend(&forward_to("up"));
    http["hosts"] = json!(["http"]);
    http["service"] = json!("shop/web");
    body["outbound"].as_array_mut().unwrap().push(http);
    let plane = plane_with(&body);
    for (target, status, reason) in [
        ("other:80", 502, "unknown-host"),
        ("upstream:81", 502, "unknown-host"),
        ("http:80", 501, "unsupported"),
        ("upstream", 400, "bad-host"),
        ("upstream:0", 400, "bad-host"),
        ("u@upstream:80", 400, "bad-host"),
        ("upstream:80", 503, "connect-failure"),
    ] {
        let (answer, _) = connect(&plane, target, "").await;
        let line = format!("HTTP/1.1 {status}");
        // The grammar refuses some before we see them.
        let by_grammar = status == 400 && answer.starts_with("HTTP/1.1 400");
        let by_us = answer.starts_with(&line) && answer.contains(&format!("x-weft-reason: {reason}"));
        assert!(by_us || by_grammar, "{target}: {answer}");
    }
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http2).await;
    let request = http::Request::builder().method("CONNECT").uri("upstream:80").body(full("")).unwrap();
    let got = client.send(request).await.unwrap();
    assert_eq!((got.status.as_u16(), got.reason()), (501, "unsupported"));
}

#[tokio::test]
async fn a_local_port_leads_to_its_service_whatever_that_speaks() {
    let plane = with_local_port(&calls_bytes(&[named("bytes").await]), 1);
    assert_eq!(all(&mut local_port(&plane).await).await, "bytes");
    until("it is counted", || ended(&plane, "tcp", "ok", 1)).await;
    // The same service speaks HTTP from now on, and requests may call it what they like.
    let seen =
        upstream(
            Speaks::Http1,
            |request| async move { reply(request.headers()["host"].as_bytes().to_vec()) },
        )
        .await;
    plane.apply(snapshot(&calls(&[seen]), 2).unwrap()).unwrap();
    let got = get(plane.local_addresses()[0], "/").await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "upstream"));
    let mut client = Client::connect(plane.local_addresses()[0], Speaks::Http1).await;
    let request = http::Request::builder().uri("/").header("host", "127.0.0.1:9").body(full("")).unwrap();
    assert_eq!(client.send(request).await.unwrap().text, "upstream");
    // It is no dependency any more.
    plane.apply(snapshot(&body(&json!({})), 3).unwrap()).unwrap();
    refuses(&plane).await;
    let unknown =
        r#"weft_streams_total{direction="outbound",service="unknown",kind="tcp",reason="unknown-host"} 1"#;
    until("it is counted", || plane.metrics().encode().contains(unknown)).await;
}

#[tokio::test]
async fn weights_and_balancing_hold_for_connections() {
    let (one, two) = (named("one").await, named("two").await);
    let mut body = calls_bytes(&[one]);
    body["clusters"]["more"] = cluster(&[two]);
    body["clusters"]["more"]["protocol"] = json!("tcp");
    body["outbound"][0]["otherwise"]["action"]["forward"] = json!([
        {"target": {"cluster": "up"}, "weight": 1}, {"target": {"cluster": "more"}, "weight": 3},
    ]);
    let plane = with_local_port(&body, 1);
    let mut counts = [0; 2];
    for _ in 0..200 {
        match all(&mut local_port(&plane).await).await.as_str() {
            "one" => counts[0] += 1,
            "two" => counts[1] += 1,
            other => panic!("{other}"),
        }
    }
    assert!((25..=80).contains(&counts[0]), "{counts:?}");
    body["outbound"][0]["otherwise"]["action"]["forward"] = json!([{"target": {"status": 500}, "weight": 1}]);
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    refuses(&plane).await;
    until("it is counted", || ended(&plane, "tcp", "backend-missing", 1)).await;
}

#[tokio::test]
async fn a_connection_that_cannot_be_opened_is_tried_elsewhere_and_its_endpoint_left_out() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut body = calls_bytes(&[nobody, named("here").await]);
    let plane = with_local_port(&body, 1);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut text = String::new();
        answers.push(local_port(&plane).await.read_to_string(&mut text).await.is_ok());
    }
    answers.sort_unstable();
    assert_eq!(answers, [false, true], "without a retry one of two fails");
    body["outbound"][0]["otherwise"]["retry"] = json!({
        "attempts": 1, "on": ["connect-failure"], "methods": [], "backoff_base": "1ms", "backoff_max": "1ms",
    });
    body["clusters"]["up"]["outliers"] = json!({
        "consecutive_errors": 3, "consecutive_gateway_errors": 0, "interval": "10s", "base_ejection": "30s",
        "max_ejected_percent": 50, "min_healthy_percent": 0,
    });
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    for _ in 0..12 {
        assert_eq!(all(&mut local_port(&plane).await).await, "here");
    }
    let text = plane.metrics().encode();
    assert!(text.contains(r#"weft_upstream_ejected{cluster="up"} 1"#), "{text}");
    assert!(text.contains(r#"weft_retries_total{cluster="up"} 3"#), "{text}");
}

#[tokio::test]
async fn a_limit_on_connections_makes_them_wait_for_each_other() {
    let mut body = calls_bytes(&[echoes().await]);
    body["clusters"]["up"]["limits"] = json!({"connections": 1, "pending": 1});
    let plane = with_local_port(&body, 1);
    let mut first = local_port(&plane).await;
    first.write_all(b"x").await.unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'x');
    let mut second = local_port(&plane).await;
    second.write_all(b"y").await.unwrap();
    until("the second waits", || plane.describe_clusters()["up"]["pending"] == 1).await;
    refuses(&plane).await;
    until("the third is refused", || ended(&plane, "tcp", "overflow", 1)).await;
    drop(first);
    assert_eq!(second.read_u8().await.unwrap(), b'y');
}

#[tokio::test]
async fn a_reload_cuts_no_stream_and_faults_are_met() {
    let mut body = calls_bytes(&[echoes().await]);
    let plane = with_local_port(&body, 1);
    let mut kept = local_port(&plane).await;
    kept.write_all(b"x").await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'x');
    let share = json!({"numerator": 100, "denominator": 100});
    body["outbound"][0]["otherwise"]["fault"] = json!({"abort": {"status": 503, "share": share}});
    body["clusters"]["up"]["connect_timeout"] = json!("2s");
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    refuses(&plane).await;
    until("it is counted", || ended(&plane, "tcp", "fault-injected", 1)).await;
    plane.apply(snapshot(&json!({
        "mesh": "test", "service": "shop/cart", "identity": "spiffe://td/ns/shop/sa/cart", "trust_anchors": {},
    }), 3).unwrap()).unwrap();
    kept.write_all(b"y").await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'y', "it began under the old policy");
}

#[tokio::test]
async fn silence_has_a_limit_that_the_rule_sets() {
    let mut body = calls_bytes(&[echoes().await]);
    body["outbound"][0]["otherwise"]["timeouts"] = json!({"idle": "50ms"});
    let plane = with_local_port(&body, 1);
    refuses(&plane).await;
    until("it is counted", || ended(&plane, "tcp", "idle-timeout", 1)).await;
}

/// A TLS greeting that asks for a server name.
fn greeting(name: &str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(crate::identity::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client =
        rustls::ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_server_name_chooses_the_rule_and_the_greeting_goes_on_whole() {
    let mut body = calls_bytes(&[echoes().await]);
    body["outbound"][0]["protocol"] = json!("tls");
    body["outbound"][0]["rules"] = json!([forward_to("up")]);
    body["outbound"][0]["entries"] = json!([{"match": {"server_names": ["*.shop.example"]}, "rule": 0}]);
    body["outbound"][0]["otherwise"] = json!({"origin": origin(2), "action": {"respond": {"status": 404}}});
    let plane = with_local_port(&body, 1);
    let hello = greeting("db.shop.example");
    let mut back = vec![0; hello.len()];
    let mut stream = local_port(&plane).await;
    stream.write_all(&hello).await.unwrap();
    stream.read_exact(&mut back).await.unwrap();
    assert!(back == hello);
    // Through CONNECT the name comes after the answer, in one go with it or later.
    let (answer, mut stream) = connect(&plane, "upstream:80", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (first, rest) = hello.split_at(7);
    stream.write_all(first).await.unwrap();
    stream.write_all(rest).await.unwrap();
    stream.read_exact(&mut back).await.unwrap();
    assert!(back == hello);
    for other in [greeting("db.other.example"), b"not TLS at all".to_vec()] {
        let mut stream = local_port(&plane).await;
        stream.write_all(&other).await.unwrap();
        is_cut(&mut stream).await;
    }
    until("they are counted", || ended(&plane, "tcp", "unknown-host", 2)).await;
}

#[tokio::test]
async fn addresses_and_patterns_of_names_lead_to_services() {
    let mut body = calls_bytes(&[named("bytes").await]);
    body["outbound"][0]["addresses"] = json!(["10.1.0.0/16"]);
    body["outbound"][0]["hosts"] = json!(["*.db.example"]);
    body["clusters"]["web"] = cluster(&[says("hello").await]);
    let mut http = frontend(&forward_to("web"));
    http["service"] = json!("shop/web");
    http["hosts"] = json!(["*.web.example"]);
    http["addresses"] = json!(["10.2.0.0/16"]);
    body["outbound"].as_array_mut().unwrap().push(http);
    let plane = plane_with(&body);
    for target in ["10.1.2.3:80", "one.db.example:80"] {
        let (answer, mut stream) = connect(&plane, target, "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
        assert_eq!(all(&mut stream).await, "bytes");
    }
    for target in ["10.3.0.1:80", "db.example:80"] {
        let (answer, _) = connect(&plane, target, "").await;
        assert!(answer.contains("x-weft-reason: unknown-host"), "{target}: {answer}");
    }
    let address = plane.outbound_address().unwrap();
    for (host, status) in [("a.web.example", 200), ("10.2.0.1", 200), ("web.example", 502), ("10.3.0.1", 502)]
    {
        let mut client = Client::connect(address, Speaks::Http1).await;
        let request = http::Request::builder().uri("/").header("host", host).body(full("")).unwrap();
        assert_eq!(client.send(request).await.unwrap().status, status, "{host}");
    }
}
