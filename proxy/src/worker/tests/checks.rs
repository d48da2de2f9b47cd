//! Endpoints that are asked whether they are well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::testing::*;
use crate::worker::DataPlane;

/// Answers everything with its name, and questions about its health by what it is.
async fn asked(speaks: Speaks, name: &'static str, well: &Arc<AtomicBool>) -> SocketAddr {
    let well = Arc::clone(well);
    upstream(speaks, move |request| {
        let is_well = well.load(Ordering::SeqCst);
        async move {
            match request.uri().path() {
                "/healthz" => {
                    let mut response = reply(format!("{:?}", request.headers().get("host")));
                    if !is_well {
                        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    }
                    response
                }
                "/grpc.health.v1.Health/Check" => {
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(asked, &[0, 0, 0, 0, 6, 0x0a, 4, b'c', b'a', b'r', b't'][..]);
                    let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 0x08, 2 - u8::from(is_well)]);
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    let body = Full::new(message).with_trailers(async { Some(Ok(trailers)) });
                    http::Response::new(body.map_err(|never| match never {}).boxed())
                }
                _ => reply(name),
            }
        }
    })
    .await
}

fn checked(endpoints: &[SocketAddr], probe: &Value) -> Value {
    let mut body = calls(endpoints);
    body["clusters"]["up"]["health_check"] = json!({"probe": probe, "interval": "10ms", "timeout": "5s",
        "healthy_after": 1, "unhealthy_after": 2});
    body
}

async fn names(plane: &DataPlane) -> std::collections::BTreeSet<String> {
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..12 {
        names.insert(get(plane.outbound_address().unwrap(), "/").await.text);
    }
    names
}

#[tokio::test]
async fn an_endpoint_that_says_that_it_is_unwell_gets_nothing_until_it_is_well() {
    let http = json!({"http": {"path": "/healthz"}});
    let grpc = json!({"grpc": {"service": "cart"}});
    for (speaks, probe) in [(Speaks::Http1, http.clone()), (Speaks::Http2, http), (Speaks::Http2, grpc)] {
        let wells = [true, true].map(|well| Arc::new(AtomicBool::new(well)));
        let endpoints = [asked(speaks, "a", &wells[0]).await, asked(speaks, "b", &wells[1]).await];
        let mut body = checked(&endpoints, &probe);
        if speaks == Speaks::Http2 {
            body["clusters"]["up"]["protocol"] = json!("http2");
        }
        let plane = plane_of(2);
        plane.apply(snapshot(&body, 1).unwrap()).unwrap();
        assert_eq!(names(&plane).await.len(), 2);
        wells[0].store(false, Ordering::SeqCst);
        let unwell = || plane.describe_clusters()["up"]["unwell"].clone();
        until("one is unwell, though nobody calls it", || unwell() == json!([endpoints[0]])).await;
        assert_eq!(names(&plane).await.into_iter().collect::<Vec<_>>(), ["b"]);
        assert!(plane.metrics().encode().contains(r#"weft_upstream_unwell{cluster="up"} 1"#));
        // A reload that leaves the section alone does not make it well.
        body["outbound"][0]["otherwise"]["origin"]["line"] = json!(7);
        plane.apply(snapshot(&body, 2).unwrap()).unwrap();
        assert_eq!(unwell(), json!([endpoints[0]]));
        wells[1].store(false, Ordering::SeqCst);
        until("both are", || unwell().as_array().unwrap().len() == 2).await;
        let got = get(plane.outbound_address().unwrap(), "/").await;
        assert_eq!((got.status.as_u16(), got.reason()), (503, "no-healthy-endpoint"));
        wells[0].store(true, Ordering::SeqCst);
        until("one is well again", || unwell() == json!([endpoints[1]])).await;
        assert_eq!(names(&plane).await.into_iter().collect::<Vec<_>>(), ["a"]);
        // Nobody asks any more, so nobody is known to be unwell.
        body["clusters"]["up"].as_object_mut().unwrap().remove("health_check");
        plane.apply(snapshot(&body, 3).unwrap()).unwrap();
        assert_eq!(names(&plane).await.len(), 2);
    }
}

#[tokio::test]
async fn an_endpoint_that_takes_no_connection_is_unwell_before_anybody_calls_it() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plane = plane_with(&checked(&[nobody, says("here").await], &json!("tcp")));
    until("it is unwell", || plane.describe_clusters()["up"]["unwell"] == json!([nobody])).await;
    assert_eq!(names(&plane).await.into_iter().collect::<Vec<_>>(), ["here"]);
    assert!(plane.metrics().encode().contains(r#"weft_upstream_connect_failures_total{cluster="up"} 0"#));
}
