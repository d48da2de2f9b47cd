//! How much is in flight at once, and what happens to the rest.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::testing::*;
use crate::worker::DataPlane;

/// A plane of two workers, so that what is counted must be counted over both.
fn limited(endpoints: &[SocketAddr], limits: &Value) -> DataPlane {
    let plane = plane_of(2);
    let mut body = calls(endpoints);
    body["clusters"]["up"]["limits"] = limits.clone();
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    plane
}

fn send(address: SocketAddr, count: usize) -> Vec<JoinHandle<Got>> {
    (0..count).map(|_| tokio::spawn(get(address, "/"))).collect()
}

fn overflow(plane: &DataPlane, limit: &str) -> String {
    let line = format!(r#"weft_upstream_overflow_total{{cluster="up",limit="{limit}"}} "#);
    let text = plane.metrics().encode();
    let count = text.lines().find_map(|text| text.strip_prefix(&line)).unwrap_or_default();
    count.to_owned()
}

async fn answers(requests: Vec<JoinHandle<Got>>) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    for request in requests {
        let got = request.await.unwrap();
        answers.push((got.status.as_u16(), got.reason().to_owned()));
    }
    answers.sort();
    answers
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn refused() -> (u16, String) {
    (503, "overflow".to_owned())
}

#[tokio::test]
async fn requests_over_the_limit_are_refused_and_places_come_back() {
    let held = Held::start(Speaks::Http1).await;
    let plane = limited(&[held.address], &json!({"requests": 3}));
    let requests = send(plane.outbound_address().unwrap(), 8);
    let refusals = || requests.iter().filter(|request| request.is_finished()).count();
    until("five are refused", || refusals() == 5 && held.seen() == 3).await;
    assert_eq!(overflow(&plane, "requests"), "5");
    held.release();
    let mut expected = vec![ok(); 3];
    expected.extend(vec![refused(); 5]);
    assert_eq!(answers(requests).await, expected);
    for _ in 0..4 {
        assert_eq!(get(plane.outbound_address().unwrap(), "/").await.status, 200);
    }
    assert_eq!(plane.describe_clusters()["up"]["requests"], 0);
}

#[tokio::test]
async fn callers_that_go_away_give_their_places_back() {
    let held = Held::start(Speaks::Http1).await;
    let plane = limited(&[held.address], &json!({"requests": 2, "connections": 1}));
    let requests = send(plane.outbound_address().unwrap(), 2);
    until("one waits", || plane.describe_clusters()["up"]["pending"] == 1 && held.seen() == 1).await;
    for request in requests {
        request.abort();
    }
    until("nothing is in flight", || plane.describe_clusters()["up"]["requests"] == 0).await;
    assert_eq!(plane.describe_clusters()["up"]["pending"], 0);
    held.release();
    assert_eq!(get(plane.outbound_address().unwrap(), "/").await.text, "held");
}

#[tokio::test]
async fn over_the_limit_of_connections_some_wait_and_the_rest_is_refused() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let held = Held::start(speaks).await;
        let mut body = calls(&[held.address]);
        body["clusters"]["up"]["limits"] = json!({"connections": 1, "pending": 2});
        let plane = plane_of(2);
        let http2 = speaks == Speaks::Http2;
        if http2 {
            body["clusters"]["up"]["protocol"] = json!("http2");
        }
        plane.apply(snapshot(&body, 1).unwrap()).unwrap();
        let address = plane.outbound_address().unwrap();
        // The first has the connection before the others come.
        let first = send(address, 1);
        until("the first is there", || held.seen() == 1).await;
        let second = send(address, 1);
        if http2 {
            // It shares the connection, or waits on the other worker.
            until("the second is somewhere", || {
                held.seen() == 2 || plane.describe_clusters()["up"]["pending"] == 1
            })
            .await;
        } else {
            until("the second waits", || plane.describe_clusters()["up"]["pending"] == 1).await;
            let rest = send(address, 3);
            let refusals = || rest.iter().filter(|request| request.is_finished()).count();
            until("two are refused", || refusals() == 2).await;
            assert_eq!(overflow(&plane, "pending"), "2");
            assert_eq!(overflow(&plane, "connections"), "2", "two waited");
            held.release();
            assert_eq!(answers(rest).await, [ok(), refused(), refused()]);
        }
        held.release();
        assert_eq!(answers(first).await, [ok()]);
        assert_eq!(answers(second).await, [ok()]);
    }
}

#[tokio::test]
async fn one_connection_is_enough_for_two_workers_and_two_endpoints() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let say = |text: &'static str| upstream(speaks, move |_| async move { reply(text) });
        let plane = plane_of(2);
        let mut body = calls(&[say("one").await, say("two").await]);
        body["clusters"]["up"]["limits"] = json!({"connections": 1});
        if speaks == Speaks::Http2 {
            body["clusters"]["up"]["protocol"] = json!("http2");
        }
        plane.apply(snapshot(&body, 1).unwrap()).unwrap();
        let address = plane.outbound_address().unwrap();
        let clients: Vec<_> = (0..6)
            .map(|_| {
                tokio::spawn(async move {
                    let mut client = Client::connect(address, Speaks::Http1).await;
                    for _ in 0..20 {
                        let got = client.get("/").await;
                        assert_eq!(got.status, 200, "{got:?}");
                    }
                })
            })
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            let open = plane.describe_clusters()["up"]["open_connections"].as_u64().unwrap();
            assert!(open <= 1, "{open} connections are open");
            tokio::task::yield_now().await;
        }
        for client in clients {
            client.await.unwrap();
        }
    }
}

#[tokio::test]
async fn without_a_queue_nobody_waits() {
    let held = Held::start(Speaks::Http1).await;
    let plane = limited(&[held.address], &json!({"connections": 1, "pending": 0}));
    let address = plane.outbound_address().unwrap();
    let first = send(address, 1);
    until("the first is there", || held.seen() == 1).await;
    assert_eq!(answers(send(address, 2)).await, [refused(), refused()]);
    held.release();
    assert_eq!(answers(first).await, [ok()]);
}

#[tokio::test]
async fn retries_have_a_limit_of_their_own() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut body = calls(&[nobody]);
    body["clusters"]["up"]["limits"] = json!({"retries": 2});
    body["outbound"][0]["otherwise"]["retry"] = json!({"attempts": 1, "on": ["connect-failure"], "methods": ["GET"],
        "backoff_base": "1h", "backoff_max": "1h"});
    let plane = plane_with(&body);
    let requests = send(plane.outbound_address().unwrap(), 5);
    let ended = || requests.iter().filter(|request| request.is_finished()).count();
    until("three are not tried again", || ended() == 3).await;
    assert_eq!(overflow(&plane, "retries"), "3");
    assert!(plane.metrics().encode().contains(r#"weft_retry_budget_overflow_total{cluster="up"} 0"#));
    requests.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn more_requests_than_a_port_takes_are_refused_until_later() {
    let mut body = serves(says("hello").await, "off", &json!({}));
    body["inbound"][0]["rate_limits"] =
        json!([{"requests": 60, "per": "1h", "burst": 5, "by": {"header": "x-user"}}]);
    let plane = plane_of(2);
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    let address = plane.inbound_address("http").unwrap();
    let ask = async |user: &str| {
        let mut client = Client::connect(address, Speaks::Http1).await;
        let request = client.request(http::Method::GET, "/").header("x-user", user);
        client.send(request.body(full("")).unwrap()).await.unwrap()
    };
    for user in ["jason", "anna"] {
        for _ in 0..5 {
            assert_eq!(ask(user).await.text, "hello");
        }
        let refused = ask(user).await;
        assert_eq!((refused.status.as_u16(), refused.reason()), (429, "rate-limited"));
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((50..=60).contains(&wait), "{wait}");
    }
    // A reload that leaves the limits alone gives nobody more.
    body["inbound"][0]["access"]["otherwise"]["origin"]["line"] = json!(7);
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    assert_eq!(ask("jason").await.status, 429);
    let counted = r#"weft_requests_total{direction="inbound",service="shop/cart",code_class="4xx",reason="rate-limited"} 3"#;
    until("they are counted", || plane.metrics().encode().contains(counted)).await;
}

#[tokio::test]
async fn what_is_denied_takes_nothing_from_the_rate() {
    let mut body = serves(says("hello").await, "off", &json!({}));
    body["inbound"][0]["rate_limits"] = json!([{"requests": 1, "per": "1h", "burst": 1, "by": "all"}]);
    body["inbound"][0]["access"] = json!({
        "rules": [{"effect": "allow", "origin": origin(1), "to": [{"paths": [{"segment_prefix": "/open"}]}]}],
        "otherwise": {"effect": "deny", "origin": origin(2)}});
    let plane = plane_with(&body);
    let address = plane.inbound_address("http").unwrap();
    assert_eq!(get(address, "/closed").await.status, 403);
    assert_eq!(get(address, "/open").await.text, "hello");
    assert_eq!(get(address, "/open").await.status, 429);
}

#[tokio::test]
async fn what_our_application_takes_is_limited_too() {
    let held = Held::start(Speaks::Http1).await;
    let mut body = serves(held.address, "off", &json!({}));
    body["inbound"][0]["limits"] = json!({"requests": 1});
    let plane = plane_with(&body);
    let address = plane.inbound_address("http").unwrap();
    let first = send(address, 1);
    until("the first is there", || held.seen() == 1).await;
    assert_eq!(answers(send(address, 1)).await, [refused()]);
    let counted = r#"weft_upstream_overflow_total{cluster="application/http",limit="requests"} 1"#;
    assert!(plane.metrics().encode().contains(counted));
    held.release();
    assert_eq!(answers(first).await, [ok()]);
}
