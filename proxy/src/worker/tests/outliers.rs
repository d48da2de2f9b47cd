//! Endpoints that fail are left out for a while, and new ones are eased in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;
use serde_json::{Value, json};

use crate::testing::*;
use crate::worker::DataPlane;

/// An upstream that answers 500 while it is ill, and counts.
struct Ill {
    address: SocketAddr,
    is_ill: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
}

impl Ill {
    async fn start() -> Self {
        let (is_ill, seen) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (ill, count) = (Arc::clone(&is_ill), Arc::clone(&seen));
        let address = upstream(Speaks::Http1, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            let mut response = reply("from the ill one");
            if ill.load(Ordering::SeqCst) {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            async move { response }
        })
        .await;
        Self { address, is_ill, seen }
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

fn outliers(base: &str, max: u32, min: u32) -> Value {
    json!({"consecutive_errors": 3, "consecutive_gateway_errors": 0, "interval": "10ms", "base_ejection": base,
        "max_ejected_percent": max, "min_healthy_percent": min})
}

fn with(endpoints: &[SocketAddr], outliers: &Value) -> Value {
    let mut body = calls(endpoints);
    body["clusters"]["up"]["outliers"] = outliers.clone();
    body
}

fn plane_of_two(body: &Value) -> DataPlane {
    let plane = plane_of(2);
    plane.apply(snapshot(body, 1).unwrap()).unwrap();
    plane
}

/// The statuses of so many requests, each over a connection of its own, so that both workers get some.
async fn ask(plane: &DataPlane, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(get(plane.outbound_address().unwrap(), "/").await.status.as_u16());
    }
    statuses
}

fn failures(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status != 200).count()
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_out_on_all_workers() {
    let (ill, well) = (Ill::start().await, says("well").await);
    let plane = plane_of_two(&with(&[ill.address, well], &outliers("1h", 50, 0)));
    let statuses = ask(&plane, 60).await;
    assert_eq!((failures(&statuses), ill.seen()), (3, 3), "{statuses:?}");
    let metrics = plane.metrics().encode();
    for line in ["ejections_total", "ejected"] {
        let line = format!(r#"weft_upstream_{line}{{cluster="up"}} 1"#);
        assert!(metrics.contains(&line), "{line}");
    }
    assert_eq!(plane.describe_clusters()["up"]["ejected"], json!([ill.address]));
}

#[tokio::test]
async fn it_comes_back_and_is_used_again() {
    let (ill, well) = (Ill::start().await, says("well").await);
    let plane = plane_of_two(&with(&[ill.address, well], &outliers("50ms", 50, 0)));
    assert_eq!(failures(&ask(&plane, 12).await), 3);
    ill.is_ill.store(false, Ordering::SeqCst);
    let address = plane.outbound_address().unwrap();
    let mut back = false;
    for _ in 0..10_000 {
        let got = get(address, "/").await;
        assert_eq!(got.status, 200);
        back |= got.text == "from the ill one";
        if back {
            break;
        }
    }
    assert!(back);
    assert!(plane.metrics().encode().contains(r#"weft_upstream_ejected{cluster="up"} 0"#));
}

#[tokio::test]
async fn no_answer_in_time_and_no_connection_are_failures() {
    let silent = upstream(Speaks::Http1, |_| std::future::pending()).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (bad, timeouts) in
        [(silent, json!({"per_try": "30ms"})), (silent, json!({"request": "30ms"})), (nobody, json!({}))]
    {
        let mut body = with(&[bad, says("well").await], &outliers("1h", 50, 0));
        body["outbound"][0]["otherwise"]["timeouts"] = timeouts.clone();
        let plane = plane_with(&body);
        assert_eq!(failures(&ask(&plane, 20).await), 3, "{timeouts}");
    }
}

#[tokio::test]
async fn a_grpc_status_counts_like_the_http_status_that_it_stands_for() {
    let bad = upstream(Speaks::Http1, |_| async {
        let mut response = reply("");
        response.headers_mut().insert("grpc-status", "14".parse().unwrap());
        response
    })
    .await;
    let plane = plane_with(&with(&[bad, says("well").await], &outliers("1h", 50, 0)));
    ask(&plane, 20).await;
    assert_eq!(plane.describe_clusters()["up"]["ejected"], json!([bad]));
}

#[tokio::test]
async fn the_last_ones_stay_or_all_are_used() {
    // A lone endpoint is never left out.
    let alone = Ill::start().await;
    let plane = plane_with(&with(&[alone.address], &outliers("1h", 100, 0)));
    assert_eq!(failures(&ask(&plane, 10).await), 10);
    assert_eq!(alone.seen(), 10);
    // Two may both be left out, and then there is none.
    let two = [Ill::start().await, Ill::start().await];
    let addresses = [two[0].address, two[1].address];
    let plane = plane_with(&with(&addresses, &outliers("1h", 100, 0)));
    ask(&plane, 10).await;
    assert_eq!((two[0].seen(), two[1].seen()), (3, 3));
    assert_eq!(get(plane.outbound_address().unwrap(), "/").await.reason(), "no-healthy-endpoint");
    // Under the floor, all are used.
    let two = [Ill::start().await, Ill::start().await];
    let addresses = [two[0].address, two[1].address];
    let plane = plane_with(&with(&addresses, &outliers("1h", 100, 50)));
    assert_eq!(ask(&plane, 40).await, vec![500; 40]);
    assert!(two[0].seen() > 10 && two[1].seen() > 10);
}

#[tokio::test]
async fn a_change_of_endpoints_does_not_make_one_well() {
    let (ill, well) = (Ill::start().await, says("well").await);
    let plane = plane_of_two(&with(&[ill.address, well], &outliers("1h", 50, 0)));
    assert_eq!(failures(&ask(&plane, 20).await), 3);
    let body = with(&[ill.address, well, says("new").await], &outliers("1h", 50, 0));
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    assert_eq!(failures(&ask(&plane, 30).await), 0);
    assert_eq!(ill.seen(), 3);
}

#[tokio::test]
async fn a_new_endpoint_is_eased_in_and_an_old_one_is_not() {
    for balancer in ["round-robin", "random", "least-request"] {
        let old = says("old").await;
        let warmup = json!({"duration": "1h", "minimum_percent": 10, "aggression_thousandths": 1000});
        let body = |endpoints: &[SocketAddr]| {
            let mut body = calls(endpoints);
            body["clusters"]["up"]["warmup"] = warmup.clone();
            body["clusters"]["up"]["load_balancer"] = json!(balancer);
            body
        };
        let plane = plane_with(&body(&[old]));
        plane.apply(snapshot(&body(&[old, says("new").await]), 2).unwrap()).unwrap();
        let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
        let mut new = 0;
        for _ in 0..600 {
            new += usize::from(client.get("/").await.text == "new");
        }
        // A tenth against one is one of eleven, 55 of 600; of two draws the better is the old one.
        let expected = if balancer == "least-request" { 0..=120 } else { 25..=90 };
        assert!(expected.contains(&new), "{balancer}: {new} of 600");
    }
}
