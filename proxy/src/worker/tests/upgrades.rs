//! Requests to change the protocol (security cases, section 2).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::drain::{self, Deadline};
use crate::telemetry::Direction;
use crate::testing::*;
use crate::worker::DataPlane;

const CART: &str = "spiffe://td/ns/shop/sa/cart";

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: upstream\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-key: k\r\n\r\n";

const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: a\r\n\r\n";

type Heads = Arc<Mutex<Vec<String>>>;

/// Reads to the end of a head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A server that answers one request as told, and then sends back what it gets. Gives the heads it saw.
async fn answers(answer: &'static str) -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    let address = bytes_server(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let asked = head(&mut stream).await;
            seen.lock().unwrap().push(asked.to_ascii_lowercase());
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut reads, mut writes) = stream.split();
            // A caller that breaks off ends it, too.
            if tokio::io::copy(&mut reads, &mut writes).await.is_ok() {
                let _ = writes.shutdown().await;
            }
        }
    })
    .await;
    (address, heads)
}

/// Sends a request, perhaps with more right behind it, and reads the head of the answer.
async fn ask(address: SocketAddr, request: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    (answer, stream)
}

async fn says(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(String::from_utf8(back).unwrap(), text);
}

async fn is_cut(stream: &mut TcpStream) {
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
    assert!(read.unwrap().is_err(), "it ended as if all was said");
}

fn counted(plane: &DataPlane, line: &str) -> bool {
    plane.metrics().encode().contains(line)
}

/// Two sidecars with mutual TLS between them.
struct Pair {
    outbound: DataPlane,
    inbound: DataPlane,
    serving: Value,
    calling: Value,
}

impl Pair {
    async fn start(application: SocketAddr) -> Self {
        let ca = Ca::new();
        let anchors = json!({"td": [ca.anchor()]});
        let inbound = plane();
        inbound.replace_identity(ca.issue(CART).identity()).unwrap();
        let serving = serves(application, "strict", &anchors);
        inbound.apply(snapshot(&serving, 1).unwrap()).unwrap();
        let mut calling = calls(&[inbound.inbound_address("http").unwrap()]);
        calling["trust_anchors"] = anchors;
        calling["clusters"]["up"]["tls"] = json!({"mutual": [CART]});
        // Between the two HTTP/1.1 requests travel over HTTP/2, and changes of protocol cannot.
        calling["clusters"]["up"]["connection"] = json!({"upgrade_to_http2": true});
        calling["outbound"][0]["otherwise"]["timeouts"] = json!({"request": "1s"});
        let outbound = plane();
        outbound.replace_identity(ca.issue(CART).identity()).unwrap();
        outbound.apply(snapshot(&calling, 1).unwrap()).unwrap();
        Self { outbound, inbound, serving, calling }
    }

    fn address(&self) -> SocketAddr {
        self.outbound.outbound_address().unwrap()
    }
}

#[tokio::test]
async fn a_websocket_passes_through_both_sidecars_once_it_is_agreed_to() {
    let (application, heads) = answers(AGREE).await;
    let pair = Pair::start(application).await;
    let (answer, mut socket) = ask(pair.address(), &format!("{ASK}early ")).await;
    let answer = answer.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    for field in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: a"] {
        assert_eq!(answer.matches(field).count(), 1, "{field}\n{answer}");
    }
    assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");
    let mut early = [0; 6];
    socket.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early ");
    let seen = heads.lock().unwrap()[0].clone();
    for field in
        ["connection: upgrade", "upgrade: websocket", "sec-websocket-key: k", &format!("x-weft-peer: {CART}")]
    {
        assert_eq!(seen.matches(field).count(), 1, "{field}\n{seen}");
    }
    for plane in [&pair.outbound, &pair.inbound] {
        assert!(plane.metrics().encode().contains(r#"kind="upgrade"} 1"#), "it is open");
    }
    // Longer than the request may take, and through a reload that changes everything else.
    let begun = std::time::Instant::now();
    let mut turn = 1;
    while begun.elapsed() < Duration::from_millis(1200) {
        says(&mut socket, "ping").await;
        turn += 1;
        let mut serving = pair.serving.clone();
        serving["inbound"][0]["access"]["otherwise"]["origin"]["line"] = json!(turn);
        pair.inbound.apply(snapshot(&serving, turn).unwrap()).unwrap();
        let mut calling = pair.calling.clone();
        calling["clusters"]["up"]["idle_timeout"] = json!(format!("{turn}s"));
        pair.outbound.apply(snapshot(&calling, turn).unwrap()).unwrap();
    }
    socket.shutdown().await.unwrap();
    assert_eq!(socket.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    let line = |direction: &str, service: &str| {
        format!(
            r#"weft_streams_total{{direction="{direction}",service="{service}",kind="upgrade",reason="ok"}} 1"#
        )
    };
    until("both count it", || {
        counted(&pair.outbound, &line("outbound", "shop/upstream"))
            && counted(&pair.inbound, &line("inbound", "shop/cart"))
    })
    .await;
    let class =
        r#"weft_requests_total{direction="outbound",service="shop/upstream",code_class="1xx",reason="ok"} 1"#;
    assert!(counted(&pair.outbound, class));
    // How long it lasted is not how long the request took.
    assert!(counted(
        &pair.outbound,
        r#"weft_request_duration_seconds_bucket{le="1.0",direction="outbound",service="shop/upstream"} 1"#
    ));
}

#[tokio::test]
async fn an_upstream_that_does_not_agree_answers_as_to_any_request() {
    let (application, _) = answers("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    let pair = Pair::start(application).await;
    let (answer, mut stream) =
        ask(pair.address(), &format!("{ASK}GET /b HTTP/1.1\r\nhost: nowhere\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("content-length: 2"), "{answer}");
    let mut body = [0; 2];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"no");
    // What came behind is the next request, or nothing at all; it is never tunnelled.
    let next = head(&mut stream).await;
    assert!(next.is_empty() || next.contains("x-weft-reason: unknown-host"), "{next}");
}

#[tokio::test]
async fn other_changes_are_not_passed_on() {
    let (application, heads) =
        answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let pair = Pair::start(application).await;
    for fields in [
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
        "connection: upgrade\r\nupgrade: websocket, h2c",
        "connection: upgrade\r\nupgrade: h2c\r\nupgrade: websocket",
        "connection: upgrade\r\nupgrade: SPDY/3.1",
        "connection: keep-alive\r\nupgrade: websocket",
    ] {
        let (answer, _) =
            ask(pair.address(), &format!("GET / HTTP/1.1\r\nhost: upstream\r\n{fields}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{fields}: {answer}");
        let seen = heads.lock().unwrap().pop().unwrap();
        assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{fields}: {seen}");
    }
}

#[tokio::test]
async fn a_change_whose_framing_is_in_doubt_is_refused_and_the_connection_closed() {
    let (application, heads) = answers(AGREE).await;
    let pair = Pair::start(application).await;
    let fields = "host: upstream\r\nconnection: upgrade\r\nupgrade: websocket";
    for request in [
        format!("GET / HTTP/1.1\r\n{fields}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{fields}\r\ncontent-length: 2\r\n\r\nhi"),
        format!("GET / HTTP/1.0\r\n{fields}\r\n\r\n"),
    ] {
        let behind = "GET /smuggled HTTP/1.1\r\nhost: upstream\r\n\r\n";
        let (answer, mut stream) = ask(pair.address(), &format!("{request}{behind}")).await;
        assert!(
            answer.contains(" 400 ") && answer.contains("x-weft-reason: bad-upgrade"),
            "{request}: {answer}"
        );
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1 "), "it goes on after {request}");
    }
    assert!(heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_change_that_was_not_asked_for_is_an_error() {
    for answer in [AGREE, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"] {
        let (application, _) = answers(answer).await;
        let plane = plane_with(&calls(&[application]));
        let request = if answer == AGREE { "GET / HTTP/1.1\r\nhost: upstream\r\n\r\n" } else { ASK };
        let (got, mut stream) = ask(plane.outbound_address().unwrap(), request).await;
        assert!(got.starts_with("HTTP/1.1 502") && got.contains("x-weft-reason: upstream-protocol"), "{got}");
        let second = "GET / HTTP/1.1\r\nhost: upstream\r\nconnection: close\r\n\r\n";
        stream.write_all(second.as_bytes()).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.matches("HTTP/1.1 502").count() == 1, "the connection to it is not used again: {rest}");
    }
}

#[tokio::test]
async fn a_tunnel_ends_with_the_right_to_it() {
    let (application, _) = answers(AGREE).await;
    let pair = Pair::start(application).await;
    let (_, mut socket) = ask(pair.address(), ASK).await;
    says(&mut socket, "ping").await;
    let mut serving = pair.serving.clone();
    let to = json!([{"paths": [{"prefix": "/chat"}]}]);
    serving["inbound"][0]["access"]["rules"] = json!([{"effect": "deny", "origin": origin(7), "to": to}]);
    pair.inbound.apply(snapshot(&serving, 2).unwrap()).unwrap();
    is_cut(&mut socket).await;
    let line = r#"weft_streams_total{direction="inbound",service="shop/cart",kind="upgrade",reason="access-denied"} 1"#;
    until("it is counted", || counted(&pair.inbound, line)).await;
    let (answer, _) = ask(pair.address(), ASK).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn an_endpoint_that_is_not_believed_any_more_loses_its_tunnels() {
    let (application, _) = answers(AGREE).await;
    let pair = Pair::start(application).await;
    let (_, mut socket) = ask(pair.address(), ASK).await;
    says(&mut socket, "ping").await;
    let mut calling = pair.calling.clone();
    calling["trust_anchors"] = json!({"td": [Ca::new().anchor()]});
    pair.outbound.apply(snapshot(&calling, 2).unwrap()).unwrap();
    is_cut(&mut socket).await;
    let line = r#"weft_streams_total{direction="outbound",service="shop/upstream",kind="upgrade",reason="tls-failure"} 1"#;
    until("it is counted", || counted(&pair.outbound, line)).await;
}

#[tokio::test]
async fn a_drain_lets_a_tunnel_finish() {
    let (application, _) = answers(AGREE).await;
    let pair = Pair::start(application).await;
    let (_, mut socket) = ask(pair.address(), ASK).await;
    says(&mut socket, "ping").await;
    let soon = || Deadline::after(Duration::from_millis(50));
    assert!(!drain::inbound(&pair.inbound, soon()).await, "the tunnel is still there");
    assert!(!drain::outbound(&pair.outbound, soon()).await, "on this side, too");
    says(&mut socket, "pong").await;
    socket.shutdown().await.unwrap();
    socket.read_to_end(&mut Vec::new()).await.unwrap();
    let enough = || Deadline::after(Duration::from_secs(20));
    assert!(drain::inbound(&pair.inbound, enough()).await);
    assert!(drain::outbound(&pair.outbound, enough()).await);
    assert_eq!(pair.inbound.requests_in_flight(Direction::Inbound), 0);
}
