//! New policy under load: nothing is lost, and what did not change is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::snapshot::ApplyError;
use crate::telemetry::Direction;
use crate::testing::*;

/// Asks over and over until told to stop; every answer must be whole.
fn load(
    address: std::net::SocketAddr,
    speaks: Speaks,
    stop: &Arc<AtomicBool>,
    done: &Arc<AtomicUsize>,
) -> tokio::task::JoinHandle<()> {
    let (stop, done) = (Arc::clone(stop), Arc::clone(done));
    tokio::spawn(async move {
        let mut client = Client::connect(address, speaks).await;
        while !stop.load(Ordering::SeqCst) {
            let got = client.get("/").await;
            assert!(got.status == 200 && got.text.starts_with("version "), "{got:?}");
            done.fetch_add(1, Ordering::SeqCst);
        }
    })
}

async fn a_hundred_reloads(speaks: Speaks) {
    let ca = Ca::new();
    let anchors = json!({"td": [ca.anchor()]});
    let identity = || ca.issue("spiffe://td/ns/shop/sa/cart").identity();
    let endpoints = [says("version 1").await, says("version 2").await];
    let inbound = plane_of(2);
    inbound.replace_identity(identity()).unwrap();
    let serving = |turn: u64| {
        let mut body = serves(endpoints[usize::from(turn.is_multiple_of(2))], "strict", &anchors);
        body["inbound"][0]["access"]["otherwise"]["origin"]["line"] = json!(turn);
        snapshot(&body, turn).unwrap()
    };
    inbound.apply(serving(1)).unwrap();
    let endpoint = inbound.inbound_address("http").unwrap();
    let outbound = plane_of(2);
    outbound.replace_identity(identity()).unwrap();
    let calling = |turn: u64| {
        let mut body = calls(&[endpoint]);
        body["trust_anchors"] = anchors.clone();
        body["clusters"]["up"]["tls"] = json!({"mutual": ["spiffe://td/ns/shop/sa/cart"]});
        // Every other turn the cluster itself changes, and with it its connections.
        body["clusters"]["up"]["idle_timeout"] = json!(if turn.is_multiple_of(2) { "50s" } else { "40s" });
        snapshot(&body, turn).unwrap()
    };
    outbound.apply(calling(1)).unwrap();

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let address = outbound.outbound_address().unwrap();
    let clients: Vec<_> = (0..4).map(|_| load(address, speaks, &stop, &done)).collect();
    for turn in 2..=101 {
        let seen = done.load(Ordering::SeqCst);
        inbound.apply(serving(turn)).unwrap();
        outbound.apply(calling(turn)).unwrap();
        until("requests pass in between", || done.load(Ordering::SeqCst) > seen + 2).await;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(outbound.generation().unwrap().sequence, 101);
    assert_eq!(outbound.requests_in_flight(Direction::Outbound), 0);
}

#[tokio::test]
async fn a_hundred_reloads_lose_nothing_over_http1() {
    a_hundred_reloads(Speaks::Http1).await;
}

#[tokio::test]
async fn a_hundred_reloads_lose_nothing_over_http2() {
    a_hundred_reloads(Speaks::Http2).await;
}

#[tokio::test]
async fn what_did_not_change_keeps_its_connections() {
    let plane = plane_with(&calls(&[says("hello").await]));
    let mut body: Value = serde_json::to_value(plane.snapshot().unwrap().body()).unwrap();
    let address = plane.outbound_address().unwrap();
    let connections = |count: u32| {
        plane
            .metrics()
            .encode()
            .contains(&format!(r#"weft_upstream_connections_total{{cluster="up"}} {count}"#))
    };
    get(address, "/").await;
    body["outbound"][0]["otherwise"]["origin"]["line"] = json!(7);
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    get(address, "/").await;
    assert!(connections(1), "the cluster is the same");
    body["clusters"]["up"]["idle_timeout"] = json!("49s");
    plane.apply(snapshot(&body, 3).unwrap()).unwrap();
    get(address, "/").await;
    assert!(connections(2), "the cluster is another");
}

#[tokio::test]
async fn other_trust_means_other_connections() {
    let (ca, next) = (Ca::new(), Ca::new());
    let cart = "spiffe://td/ns/shop/sa/cart";
    let server = plane();
    server.replace_identity(ca.issue(cart).identity()).unwrap();
    let both = json!({"td": [ca.anchor(), next.anchor()]});
    server.apply(snapshot(&serves(says("hello").await, "strict", &both), 1).unwrap()).unwrap();
    let mut body = calls(&[server.inbound_address("http").unwrap()]);
    body["trust_anchors"] = json!({"td": [ca.anchor()]});
    body["clusters"]["up"]["tls"] = json!({"mutual": [cart]});
    let client = plane();
    client.replace_identity(ca.issue(cart).identity()).unwrap();
    client.apply(snapshot(&body, 1).unwrap()).unwrap();
    let address = client.outbound_address().unwrap();
    assert_eq!(get(address, "/").await.text, "hello");

    body["trust_anchors"] = json!({"td": [next.anchor()]});
    client.apply(snapshot(&body, 2).unwrap()).unwrap();
    assert_eq!(
        get(address, "/").await.reason(),
        "tls-failure",
        "an open connection is not used for the old trust"
    );
    server.replace_identity(next.issue(cart).identity()).unwrap();
    assert_eq!(get(address, "/").await.text, "hello", "new handshakes use the new certificate");
}

#[tokio::test]
async fn a_port_that_is_taken_keeps_what_runs() {
    let application = says("hello").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = crate::worker::Options {
        workers: 1,
        inbound: vec![
            "http=127.0.0.1:0".parse().unwrap(),
            format!("more={}", taken.local_addr().unwrap()).parse().unwrap(),
        ],
        ..Default::default()
    };
    let plane = crate::worker::DataPlane::start(options, Arc::default()).unwrap();
    let mut body = serves(application, "off", &json!({}));
    let unknown = plane.apply(snapshot(&body, 1).unwrap());
    assert!(matches!(unknown, Err(ApplyError::Override(_))), "an override names a port that is not there");
    let mut more = body["inbound"][0].clone();
    more["name"] = json!("more");
    more["port"] = json!(81);
    body["inbound"].as_array_mut().unwrap().push(more);
    let applied = plane.apply(snapshot(&body, 2).unwrap());
    assert!(matches!(applied, Err(ApplyError::Listen { .. })), "{applied:?}");
    assert!(plane.generation().is_none() && plane.inbound_address("http").is_none(), "nothing has changed");
    drop(taken);
    plane.apply(snapshot(&body, 3).unwrap()).unwrap();
    let [http, more] = ["http", "more"].map(|name| plane.inbound_address(name).unwrap());
    assert_eq!(get(http, "/").await.text, "hello");
    assert_eq!(get(more, "/").await.text, "hello");
}

#[tokio::test]
async fn a_port_that_is_dropped_closes() {
    let application = says("hello").await;
    let plane = plane_with(&serves(application, "off", &json!({})));
    let address = plane.inbound_address("http").unwrap();
    let mut client = Client::connect(address, Speaks::Http1).await;
    assert_eq!(client.get("/").await.text, "hello");
    // The override is for the only port, so the next bundle has none at all.
    let options_fit = calls(&[application]);
    plane.apply(snapshot(&options_fit, 2).unwrap()).unwrap();
    until("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
    until("its connections end", || plane.open_connections(Direction::Inbound) == 0).await;
}
