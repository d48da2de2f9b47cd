//! What policy does to requests on purpose, and what browsers of other origins are told.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::testing::*;
use crate::worker::DataPlane;

async fn with(rule: &str, value: Value) -> DataPlane {
    let mut body = calls(&[says("hello").await]);
    body["outbound"][0]["otherwise"][rule] = value;
    plane_with(&body)
}

fn share(numerator: u32, denominator: u32) -> Value {
    json!({"numerator": numerator, "denominator": denominator})
}

#[tokio::test]
async fn a_share_of_requests_is_answered_with_an_error() {
    let plane = with("fault", json!({"abort": {"status": 418, "share": share(1, 4)}})).await;
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let mut aborted = 0;
    for _ in 0..400 {
        let got = client.get("/").await;
        match got.status.as_u16() {
            418 => {
                assert_eq!(
                    (got.reason(), got.text.as_str()),
                    ("fault-injected", "fault injected by policy\n")
                );
                aborted += 1;
            }
            200 => assert_eq!(got.text, "hello"),
            other => panic!("{other}"),
        }
    }
    // Five standard deviations of a binomial distribution.
    assert!((57..=143).contains(&aborted), "{aborted} of 400");
    let counted = format!(r#"weft_faults_injected_total{{service="shop/upstream",fault="abort"}} {aborted}"#);
    assert!(plane.metrics().encode().contains(&counted));
    let reason = r#"code_class="4xx",reason="fault-injected"}"#;
    assert!(plane.metrics().encode().contains(reason));
}

#[tokio::test]
async fn a_grpc_error_is_a_response_without_messages() {
    let fault = json!({"abort": {"status": 200, "grpc_status": 14, "share": share(1, 1)}});
    let plane = with("fault", fault).await;
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let mut client = Client::connect(plane.outbound_address().unwrap(), speaks).await;
        let got = client.get("/").await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, ""));
        assert_eq!(
            (&got.headers["grpc-status"], &got.headers["content-type"]),
            (&"14".parse().unwrap(), &"application/grpc".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn an_error_without_a_body_leaves_the_connection_usable() {
    let plane = with("fault", json!({"abort": {"status": 204, "share": share(1, 2)}})).await;
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    for _ in 0..50 {
        let got = client.get("/").await;
        assert!(matches!((got.status.as_u16(), got.text.as_str()), (204, "") | (200, "hello")), "{got:?}");
    }
}

#[tokio::test]
async fn a_delay_comes_first_and_ends_with_the_time_for_the_request() {
    let fault = json!({"delay": {"fixed": "80ms", "share": share(1, 1)}});
    let plane = with("fault", fault.clone()).await;
    let begun = Instant::now();
    assert_eq!(get(plane.outbound_address().unwrap(), "/").await.text, "hello");
    assert!(begun.elapsed() >= Duration::from_millis(80));
    let counted = r#"weft_faults_injected_total{service="shop/upstream",fault="delay"} 1"#;
    assert!(plane.metrics().encode().contains(counted));

    let mut body = calls(&[says("hello").await]);
    body["outbound"][0]["otherwise"]["fault"] = json!({"delay": {"fixed": "1h", "share": share(1, 1)}});
    body["outbound"][0]["otherwise"]["timeouts"] = json!({"request": "50ms"});
    let plane = plane_with(&body);
    let got = get(plane.outbound_address().unwrap(), "/").await;
    assert_eq!((got.status.as_u16(), got.reason()), (504, "request-timeout"));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_wait() {
    let plane = with("fault", json!({"delay": {"fixed": "1h", "share": share(1, 1)}})).await;
    let outbound = crate::telemetry::Direction::Outbound;
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let mut client = Client::connect(plane.outbound_address().unwrap(), speaks).await;
        let request = tokio::spawn(async move { client.get("/").await });
        until("it waits", || plane.requests_in_flight(outbound) == 1).await;
        request.abort();
        until("nobody waits", || plane.requests_in_flight(outbound) == 0).await;
    }
}

#[tokio::test]
async fn a_bundle_whose_share_is_more_than_all_is_refused() {
    let mut body = calls(&[says("hello").await]);
    body["outbound"][0]["otherwise"]["fault"] = json!({"abort": {"status": 500, "share": share(2, 1)}});
    assert!(snapshot(&body, 1).is_err());
}

#[tokio::test]
async fn browsers_are_answered_and_told() {
    let cors = json!({"allow_origins": [{"exact": "https://shop.example"}], "allow_methods": ["GET"],
        "expose_headers": ["x-total"], "max_age": "60s"});
    let plane = with("cors", cors).await;
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let mut ask = async |method: Method, origin: &str, path: &str| {
        let request = client
            .request(method, path)
            .header("origin", origin)
            .header("access-control-request-method", "GET");
        client.send(request.body(full("")).unwrap()).await.unwrap()
    };
    let told = |got: &Got, name: &str| {
        got.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let preflight = ask(Method::OPTIONS, "https://shop.example", "/").await;
    assert_eq!((preflight.status.as_u16(), preflight.text.as_str()), (204, ""));
    assert_eq!(told(&preflight, "access-control-allow-methods"), "GET");
    assert_eq!(told(&preflight, "access-control-allow-origin"), "https://shop.example");
    let refused = ask(Method::OPTIONS, "https://evil.example", "/").await;
    assert_eq!((refused.status.as_u16(), refused.reason()), (403, "origin-refused"));
    assert_eq!(told(&refused, "access-control-allow-origin"), "");
    let actual = ask(Method::GET, "https://shop.example", "/").await;
    assert_eq!((actual.status.as_u16(), actual.text.as_str()), (200, "hello"));
    assert_eq!(told(&actual, "access-control-expose-headers"), "x-total");
    let foreign = ask(Method::GET, "https://evil.example", "/").await;
    assert_eq!(
        (foreign.status.as_u16(), told(&foreign, "access-control-allow-origin")),
        (200, String::new())
    );
}

#[tokio::test]
async fn browsers_can_read_our_own_errors() {
    let mut body = calls(&[]);
    body["outbound"][0]["otherwise"]["cors"] = json!({"allow_origins": ["present"]});
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let request = client.request(Method::GET, "/").header("origin", "https://a.example");
    let got = client.send(request.body(full("")).unwrap()).await.unwrap();
    assert_eq!(got.reason(), "no-endpoint");
    assert_eq!(got.headers["access-control-allow-origin"], "*");
}
