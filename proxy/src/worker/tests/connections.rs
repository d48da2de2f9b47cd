//! How connections to endpoints are kept.

use http::Method;
use serde_json::{Value, json};

use crate::testing::*;
use crate::worker::DataPlane;

async fn with(speaks: Speaks, settings: &Value) -> DataPlane {
    let mut body = calls(&[upstream(speaks, |_| async { reply("ok") }).await]);
    body["clusters"]["up"]["connection"] = settings.clone();
    plane_with(&body)
}

fn opened(plane: &DataPlane) -> u64 {
    let line = r#"weft_upstream_connections_total{cluster="up"} "#;
    plane.metrics().encode().lines().find_map(|text| text.strip_prefix(line)).unwrap().parse().unwrap()
}

async fn ask(plane: &DataPlane, count: usize) {
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    for _ in 0..count {
        let got = client.get("/").await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "ok"), "{got:?}");
    }
}

#[tokio::test]
async fn a_connection_carries_so_many_requests() {
    for (settings, expected) in [
        (json!({"max_requests": 3}), 4),
        (json!({"max_requests": 1}), 10),
        (json!({"max_requests": 3, "upgrade_to_http2": true}), 4),
        (json!({"max_requests": 100}), 1),
    ] {
        let http2 = settings.get("upgrade_to_http2").is_some();
        let plane = with(if http2 { Speaks::Http2 } else { Speaks::Http1 }, &settings).await;
        ask(&plane, 10).await;
        assert_eq!(opened(&plane), expected, "{settings}");
    }
}

#[tokio::test]
async fn a_connection_is_not_used_past_its_age() {
    for (settings, is_kept) in [(json!({"max_age": "1ms"}), false), (json!({"max_age": "1h"}), true)] {
        let plane = with(Speaks::Http1, &settings).await;
        ask(&plane, 200).await;
        assert_eq!(opened(&plane) == 1, is_kept, "{settings}");
    }
}

#[tokio::test]
async fn requests_of_http1_travel_over_http2_where_policy_says_so() {
    let address =
        upstream(Speaks::Http2, |request| async move { reply(format!("{:?}", request.version())) }).await;
    let mut body = calls(&[address]);
    body["clusters"]["up"]["connection"] = json!({"upgrade_to_http2": true});
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let request = client.request(Method::POST, "/").body(full("body")).unwrap();
    assert_eq!(client.send(request).await.unwrap().text, "HTTP/2.0");
}

#[tokio::test]
async fn so_many_streams_on_a_connection_and_the_limit_of_both() {
    let held = Held::start(Speaks::Http2).await;
    let mut body = calls(&[held.address]);
    body["clusters"]["up"]["protocol"] = json!("http2");
    body["clusters"]["up"]["connection"] = json!({"max_streams": 2});
    body["clusters"]["up"]["limits"] = json!({"connections": 2});
    let plane = plane_of(2);
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    let address = plane.outbound_address().unwrap();
    let requests: Vec<_> = (0..9).map(|_| tokio::spawn(get(address, "/"))).collect();
    until("some wait", || {
        let waiting = plane.describe_clusters()["up"]["pending"].as_u64().unwrap();
        held.seen() as u64 + waiting == 9 && (2..=4).contains(&held.seen()) && opened(&plane) == 2
    })
    .await;
    held.release();
    for request in requests {
        assert_eq!(request.await.unwrap().text, "held");
    }
}

#[tokio::test]
async fn silent_connections_are_probed_where_policy_says_so() {
    // In `/proc/net/tcp` the third field is the other side, the sixth begins with the timer that runs: 02 is keep-alive.
    let timer = |port: u16| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let other = format!(":{port:04X}");
        let line = table.lines().find(|line| {
            line.split_whitespace().nth(2).is_some_and(|address| address.ends_with(&other))
                && line.split_whitespace().nth(3) == Some("01")
        });
        line.and_then(|line| line.split_whitespace().nth(5))
            .map(|timer| timer.chars().take(2).collect::<String>())
    };
    for (settings, expected) in
        [(json!({"keepalive": {"time": "30s", "probes": 3}}), "02"), (json!({}), "00")]
    {
        let address = says("ok").await;
        let mut body = calls(&[address]);
        body["clusters"]["up"]["connection"] = settings.clone();
        let plane = plane_with(&body);
        ask(&plane, 1).await;
        until("the timer is what it should be", || timer(address.port()).as_deref() == Some(expected)).await;
    }
}
