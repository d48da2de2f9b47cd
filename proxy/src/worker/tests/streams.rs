//! Connections of peers whose bytes are not looked at.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::drain::{self, Deadline};
use crate::telemetry::Direction;
use crate::testing::*;
use crate::worker::DataPlane;

const CART: &str = "spiffe://td/ns/shop/sa/cart";
const PEER: &str = "spiffe://td/ns/shop/sa/upstream";
const ALPN: &[u8] = b"weft-stream";

/// A body with an opaque port.
fn takes_bytes(application: SocketAddr, tls: &str, anchors: &Value) -> Value {
    let mut body = serves(application, tls, anchors);
    body["inbound"][0]["protocol"] = json!("tcp");
    body
}

/// Lets only one identity in.
fn only_for(body: &mut Value, id: &str) {
    body["inbound"][0]["access"] = json!({
        "rules": [{"effect": "allow", "origin": origin(7), "from": [{"identities": [{"exact": id}]}]}],
        "otherwise": {"effect": "deny", "origin": origin(8)},
    });
}

struct Inbound {
    plane: DataPlane,
    body: Value,
    ca: Ca,
}

impl Inbound {
    async fn start(tls: &str) -> Self {
        let ca = Ca::new();
        let body = takes_bytes(echoes().await, tls, &json!({"td": [ca.anchor()]}));
        let plane = plane();
        plane.replace_identity(ca.issue(CART).identity()).unwrap();
        plane.apply(snapshot(&body, 1).unwrap()).unwrap();
        Self { plane, body, ca }
    }

    fn address(&self) -> SocketAddr {
        self.plane.inbound_address("http").unwrap()
    }

    async fn peer(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        tls(self.address(), Some(&self.ca.issue(PEER)), ALPN).await.unwrap()
    }

    /// That a new connection in clear text is broken off, perhaps as soon as it is there.
    async fn refuses(&self) {
        if let Ok(mut stream) = TcpStream::connect(self.address()).await {
            is_cut(&mut stream).await;
        }
    }

    fn apply(&self, sequence: u64, edit: impl FnOnce(&mut Value)) {
        let mut body = self.body.clone();
        edit(&mut body);
        self.plane.apply(snapshot(&body, sequence).unwrap()).unwrap();
    }

    fn counts(&self, line: &str) -> bool {
        self.plane.metrics().encode().contains(line)
    }

    async fn ended(&self, reason: &str, count: usize) {
        let line = format!(
            r#"weft_streams_total{{direction="inbound",service="shop/cart",kind="tcp",reason="{reason}"}} {count}"#
        );
        until(&line, || self.counts(&line)).await;
    }
}

async fn says<T: AsyncRead + AsyncWrite + Unpin>(stream: &mut T, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(String::from_utf8(back).unwrap(), text);
}

/// That nothing comes any more, because it was broken off.
async fn is_cut<T: AsyncRead + Unpin>(stream: &mut T) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(read.unwrap().is_err() && rest.is_empty(), "it ended as if all was said: {rest:?}");
}

#[tokio::test]
async fn bytes_go_both_ways_and_ends_one_way() {
    let inbound = Inbound::start("strict").await;
    let mut peer = inbound.peer().await;
    says(&mut peer, "hello").await;
    assert!(inbound.counts(r#"weft_streams_open{direction="inbound",service="shop/cart",kind="tcp"} 1"#));
    peer.write_all(b"bye").await.unwrap();
    peer.shutdown().await.unwrap();
    let mut rest = String::new();
    peer.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye", "what was under way when our side ended still comes, and then a proper end");
    inbound.ended("ok", 1).await;
    for line in [
        r#"weft_stream_received_bytes_total{direction="inbound",service="shop/cart",kind="tcp"} 8"#,
        r#"weft_stream_sent_bytes_total{direction="inbound",service="shop/cart",kind="tcp"} 8"#,
        r#"weft_streams_open{direction="inbound",service="shop/cart",kind="tcp"} 0"#,
    ] {
        assert!(inbound.counts(line), "{line}\n{}", inbound.plane.metrics().encode());
    }
    assert_eq!(inbound.plane.requests_in_flight(Direction::Inbound), 0);
}

#[tokio::test]
async fn who_may_not_call_reaches_nothing() {
    let inbound = Inbound::start("strict").await;
    inbound.apply(2, |body| only_for(body, "spiffe://td/ns/shop/sa/other"));
    is_cut(&mut inbound.peer().await).await;
    inbound.ended("access-denied", 1).await;
    assert!(!inbound.counts(r#"weft_upstream_connections_total{cluster="application/http"} 1"#));
    let mut stranger = tls(inbound.address(), None, ALPN).await;
    // The client's handshake is over before the server has judged it.
    if let Ok(stream) = &mut stranger {
        assert!(stream.read_to_end(&mut Vec::new()).await.is_err());
    }
    let refused = r#"weft_connections_refused_total{reason="handshake"} 1"#;
    until("the handshake fails", || inbound.counts(refused)).await;
    inbound.apply(3, |body| only_for(body, PEER));
    says(&mut inbound.peer().await, "hello").await;
}

#[tokio::test]
async fn a_permissive_port_tells_sidecars_from_others() {
    let inbound = Inbound::start("permissive").await;
    says(&mut inbound.peer().await, "hello").await;
    let would_deny = |count: usize| {
        let line =
            format!(r#"weft_access_would_deny_total{{direction="inbound",service="shop/cart"}} {count}"#);
        inbound.counts(&line)
    };
    assert!(would_deny(0), "a sidecar proves who it is");
    let mut plain = TcpStream::connect(inbound.address()).await.unwrap();
    says(&mut plain, "in clear text").await;
    assert!(would_deny(1));
    // An application's own TLS is not for us.
    let config = rustls::ClientConfig::builder_with_provider(crate::identity::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "redis.example".try_into().unwrap();
    let mut own = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut greeting = Vec::new();
    own.write_tls(&mut greeting).unwrap();
    let mut tunnelled = TcpStream::connect(inbound.address()).await.unwrap();
    // In two pieces, as a large one may come.
    let (first, rest) = greeting.split_at(100);
    tunnelled.set_nodelay(true).unwrap();
    tunnelled.write_all(first).await.unwrap();
    until("its first piece is there", || inbound.plane.open_connections(Direction::Inbound) == 2).await;
    tunnelled.write_all(rest).await.unwrap();
    let mut back = vec![0; greeting.len()];
    tunnelled.read_exact(&mut back).await.unwrap();
    assert!(back == greeting && would_deny(2));
    assert!(inbound.counts("weft_stream_detection_timeouts_total 0"));
}

#[tokio::test]
async fn a_caller_that_waits_to_be_spoken_to_is_spoken_to() {
    let ca = Ca::new();
    let greets = bytes_server(|mut stream| async move {
        stream.write_all(b"220 ready\r\n").await.unwrap();
    })
    .await;
    let plane = plane();
    plane.replace_identity(ca.issue(CART).identity()).unwrap();
    let body = takes_bytes(greets, "permissive", &json!({"td": [ca.anchor()]}));
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    let mut silent = TcpStream::connect(plane.inbound_address("http").unwrap()).await.unwrap();
    let mut text = String::new();
    silent.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "220 ready\r\n");
    assert!(plane.metrics().encode().contains("weft_stream_detection_timeouts_total 1"));
}

#[tokio::test]
async fn new_policy_cuts_those_it_does_not_let_in_and_nobody_else() {
    let inbound = Inbound::start("strict").await;
    let mut kept = tls(inbound.address(), Some(&inbound.ca.issue(CART)), ALPN).await.unwrap();
    let mut cut = inbound.peer().await;
    says(&mut kept, "one").await;
    says(&mut cut, "one").await;
    inbound.apply(2, |body| body["inbound"][0]["access"]["otherwise"]["origin"] = origin(9));
    says(&mut kept, "two").await;
    says(&mut cut, "two").await;
    inbound.apply(3, |body| only_for(body, CART));
    is_cut(&mut cut).await;
    inbound.ended("access-denied", 1).await;
    says(&mut kept, "three").await;
    // Its application is another now, and it stays with the old one.
    let elsewhere = echoes().await;
    inbound.apply(4, |body| body["inbound"][0]["application"] = json!(elsewhere));
    says(&mut kept, "four").await;
    inbound.apply(5, |body| body["inbound"] = json!([]));
    is_cut(&mut kept).await;
    inbound.ended("no-policy", 1).await;
}

#[tokio::test]
async fn other_trust_cuts_those_who_are_not_believed_any_more() {
    let inbound = Inbound::start("strict").await;
    let mut peer = inbound.peer().await;
    says(&mut peer, "hello").await;
    inbound.apply(2, |body| body["trust_anchors"] = json!({"td": [Ca::new().anchor()]}));
    is_cut(&mut peer).await;
    inbound.ended("identity-required", 1).await;
    assert!(inbound.counts(r#"weft_connections_refused_total{reason="trust-revoked"} 1"#));
}

#[tokio::test]
async fn a_drain_lets_it_finish_and_takes_no_more() {
    let inbound = Inbound::start("strict").await;
    let mut peer = inbound.peer().await;
    says(&mut peer, "hello").await;
    let address = inbound.address();
    let soon = Deadline::after(Duration::from_millis(50));
    assert!(!drain::inbound(&inbound.plane, soon).await, "one is still under way");
    until("nobody is let in", || std::net::TcpStream::connect(address).is_err()).await;
    says(&mut peer, "still there").await;
    peer.shutdown().await.unwrap();
    peer.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(drain::inbound(&inbound.plane, Deadline::after(Duration::from_secs(20))).await);
}

#[tokio::test]
async fn an_application_that_is_not_there_is_told_apart() {
    let inbound = Inbound::start("off").await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    inbound.apply(2, |body| body["inbound"][0]["application"] = json!(nobody));
    inbound.refuses().await;
    inbound.ended("connect-failure", 1).await;
    // And one that breaks off, from one that ends.
    let breaks = bytes_server(|stream| async move {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    inbound.apply(3, |body| body["inbound"][0]["application"] = json!(breaks));
    inbound.refuses().await;
    inbound.ended("upstream-reset", 1).await;
}

#[tokio::test]
async fn a_rate_limit_counts_connections() {
    let inbound = Inbound::start("off").await;
    inbound.apply(2, |body| {
        body["inbound"][0]["rate_limits"] =
            json!([{"requests": 1, "per": "1h", "burst": 2, "by": "identity"}]);
    });
    for _ in 0..2 {
        says(&mut TcpStream::connect(inbound.address()).await.unwrap(), "hello").await;
    }
    inbound.refuses().await;
    inbound.ended("rate-limited", 1).await;
}
