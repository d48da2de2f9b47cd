//! What keeps an upstream from too much, and callers from upstreams that are ill.

use weft_tests::client::{Call, Client, Protocol};
use weft_tests::load::burst;
use weft_tests::upstream::Upstream;

use crate::plain::{Plain, traffic_policy};

const API: &str = "http://api/";

/// A request that is answered when the test says so.
fn held() -> Call {
    Call::get(API).header("x-bench-hold", "yes")
}

#[test]
fn requests_over_the_limits_wait_or_are_refused_and_the_rest_is_served() {
    let plain = Plain::new(
        &[("api", 1)],
        &traffic_policy("api", "limits: { connections: 1, pending: 1, requests: 8 }"),
    );
    let api = &plain.endpoints("api")[0];
    let first = plain.ask_aside(&held());
    plain.until("the first to be there", || api.holds() == 1);
    let second = plain.ask_aside(&held());
    plain.until("the second to wait", || plain.cluster("api")["pending"] == 1);
    let refused = plain.ask(&Call::get(API));
    assert_eq!((refused.status, refused.header("x-weft-reason")), (503, "overflow"), "{refused}");
    assert_eq!(api.hits(), 1, "what waits or is refused does not reach it");
    api.release();
    for answer in [first, second] {
        assert_eq!(answer.join().unwrap().status, 200);
    }
    let labels = |limit| [("cluster", "default/api:80"), ("limit", limit)];
    assert_eq!(plain.metric("weft_upstream_overflow_total", &labels("pending")), 1.0);
    assert_eq!(plain.metric("weft_upstream_overflow_total", &labels("connections")), 1.0);
    assert_eq!(plain.metric("weft_upstream_connections_total", &[("cluster", "default/api:80")]), 1.0);
    assert_eq!(plain.ask(&Call::get(API)).status, 200);
}

#[test]
fn an_endpoint_that_fails_is_left_out_and_its_caller_does_not_notice_any_more() {
    let plain = Plain::new(
        &[("api", 3)],
        &traffic_policy(
            "api",
            "
  loadBalancer: { policy: round-robin }
  outliers: { consecutiveGatewayErrors: 2, baseEjection: 1h, maxEjectedPercent: 40 }
  retry: { attempts: 0 }
",
        ),
    );
    // The upstreams answer as they are told, so every endpoint fails, one after the other, and one may be left out.
    let ill = Call::get(API).header("x-bench-status", "503");
    plain.until("one is left out", || {
        assert_eq!(plain.ask(&ill).status, 503);
        plain.cluster("api")["ejected"].as_array().is_some_and(|out| !out.is_empty())
    });
    let out = plain.cluster("api")["ejected"][0].as_str().unwrap().to_owned();
    let hits = || -> Vec<u64> { plain.endpoints("api").iter().map(Upstream::hits).collect() };
    let before = hits();
    for _ in 0..30 {
        assert_eq!(plain.ask(&Call::get(API)).status, 200);
    }
    for (endpoint, (before, after)) in plain.endpoints("api").iter().zip(before.into_iter().zip(hits())) {
        let used = after - before;
        assert_eq!(
            used == 0,
            endpoint.address().to_string() == out,
            "{used} requests to {}",
            endpoint.address()
        );
    }
    let cluster = [("cluster", "default/api:80")];
    assert_eq!(plain.metric("weft_upstream_ejected", &cluster), 1.0);
    for _ in 0..10 {
        plain.ask(&ill);
    }
    assert_eq!(plain.metric("weft_upstream_ejections_total", &cluster), 1.0, "no more than the share");
    assert!(plain.metric("weft_upstream_ejections_refused_total", &cluster) > 0.0);
}

#[test]
fn an_endpoint_that_a_release_adds_is_eased_in() {
    let plain = Plain::new(
        &[("api", 1)],
        &traffic_policy(
            "api",
            "loadBalancer: { policy: random, warmup: { duration: 1h, minimumPercent: 10 } }",
        ),
    );
    assert_eq!(plain.ask(&Call::get(API)).field("version"), "v1", "what was there at the start is not new");
    let new = Upstream::start("api", "v2").unwrap();
    let more = format!("endpoints: {{ static: [ {{ address: 127.0.0.1, port: {} }}, ", new.address().port());
    plain.mesh.edit("services.yaml", "endpoints: { static: [ ", &more).unwrap();
    plain.mesh.commit("One more").unwrap();
    plain.mesh.build().unwrap();
    plain.proxy.wait_sequence(2).unwrap();
    let tally = burst(Protocol::Http1, plain.proxy.outbound(), &Call::get(API), 600).unwrap();
    assert_eq!(tally.failed(), 0, "{tally}");
    // One of eleven; without warm-up it would be half.
    assert!((3.0..=18.0).contains(&tally.percent("v2")), "{tally:?}");
}

#[test]
fn a_connection_carries_as_many_requests_as_policy_says() {
    let plain = Plain::new(
        &[("api", 1)],
        "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: api }
spec:
  host: api
  trafficPolicy:
    connectionPool:
      tcp: { tcpKeepalive: { time: 30s } }
      http: { maxRequestsPerConnection: 2, h2UpgradePolicy: UPGRADE }
",
    );
    for _ in 0..6 {
        assert_eq!(plain.ask(&Call::get(API)).status, 200);
    }
    let opened = plain.metric("weft_upstream_connections_total", &[("cluster", "default/api:80")]);
    assert_eq!(opened, 3.0);
}

#[test]
fn a_service_takes_so_many_requests_and_says_when_it_takes_more() {
    let plain = Plain::new(
        &[("api", 1)],
        &traffic_policy(
            "web",
            "
  rateLimits:
  - { requests: 120, per: 1h, burst: 3, by: { header: x-user } }
  - { requests: 1000, per: 1h }
",
        ),
    );
    let mut client = Client::new(Protocol::Http2, plain.inbound);
    for user in ["jason", "anna"] {
        let call = Call::get("http://web/").header("x-user", user);
        for _ in 0..3 {
            assert_eq!(client.send_blocking(&call).unwrap().status, 200);
        }
        let refused = client.send_blocking(&call).unwrap();
        assert_eq!((refused.status, refused.header("x-weft-reason")), (429, "rate-limited"), "{refused}");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((20..=30).contains(&wait), "{wait}");
    }
    assert_eq!(plain.application.hits(), 6, "what is refused does not reach it");
    let refused =
        plain.metric("weft_requests_total", &[("direction", "inbound"), ("reason", "rate-limited")]);
    assert_eq!(refused, 2.0);
}

#[test]
fn an_endpoint_that_does_not_answer_when_it_is_asked_gets_no_requests() {
    let mut plain = Plain::new(
        &[("api", 2)],
        &traffic_policy(
            "api",
            "
  loadBalancer: { policy: round-robin }
  healthCheck: { http: { path: /healthz }, interval: 20ms, unhealthyAfter: 2 }
  retry: { attempts: 0 }
",
        ),
    );
    plain.until("both are asked", || plain.endpoints("api").iter().all(|endpoint| endpoint.hits() > 2));
    assert_eq!(plain.cluster("api")["unwell"], serde_json::json!([]));
    let gone = plain.endpoints("api")[0].address().to_string();
    plain.end_one("api");
    plain.until("it is found out", || plain.cluster("api")["unwell"] == serde_json::json!([gone]));
    for _ in 0..20 {
        let answer = plain.ask(&Call::get(API));
        assert_eq!((answer.status, answer.field("version").as_str()), (200, "v2"), "{answer}");
    }
}
