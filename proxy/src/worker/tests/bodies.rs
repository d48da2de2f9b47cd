//! Bodies stream both ways, trailers included, over every HTTP.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use serde_json::json;
use tokio::sync::mpsc;

use crate::testing::*;
use crate::worker::DataPlane;

/// A body that gives what is sent to it, and ends with its sender.
struct Channel(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Channel {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

fn channel() -> (mpsc::UnboundedSender<Frame<Bytes>>, BoxBody<Bytes, hyper::Error>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Channel(receiver).boxed())
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// Answers with the request's body, frame by frame.
async fn echo(speaks: Speaks) -> SocketAddr {
    upstream(speaks, |request| async move {
        let (head, body) = request.into_parts();
        let mut response = Response::new(body.boxed());
        if let Some(names) = head.headers.get("trailer") {
            response.headers_mut().insert("trailer", names.clone());
        }
        response
    })
    .await
}

/// Two planes one after the other, in front of an upstream.
fn hop(endpoint: SocketAddr, protocol: &str) -> (DataPlane, DataPlane) {
    let mut serves = serves(endpoint, "off", &json!({}));
    serves["inbound"][0]["protocol"] = json!(protocol);
    let inbound = plane_with(&serves);
    let mut calls = calls(&[inbound.inbound_address("http").unwrap()]);
    calls["clusters"]["up"]["protocol"] = json!(protocol);
    (plane_with(&calls), inbound)
}

async fn streams(speaks: Speaks, protocol: &str) {
    let upstream_speaks = if protocol == "http" { Speaks::Http1 } else { Speaks::Http2 };
    let (outbound, _inbound) = hop(echo(upstream_speaks).await, protocol);
    let mut client = Client::connect(outbound.outbound_address().unwrap(), speaks).await;
    let (sender, body) = channel();
    let request = client.request(Method::POST, "/").body(body).unwrap();
    // Each part comes back before the next is sent: nothing waits for an end.
    sender.send(Frame::data("0".into())).unwrap();
    let mut response = client.begin(request).await.unwrap().into_body();
    for part in ["0", "1", "2", "3"] {
        let frame = response.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
        let next = part.parse::<u32>().unwrap() + 1;
        sender.send(Frame::data(next.to_string().into())).unwrap();
    }
    drop(sender);
    let rest = response.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "4");
}

#[tokio::test]
async fn http1_streams() {
    streams(Speaks::Http1, "http").await;
}

#[tokio::test]
async fn http2_streams() {
    streams(Speaks::Http2, "http2").await;
}

#[tokio::test]
async fn http2_over_http1_streams() {
    streams(Speaks::Http2, "http").await;
}

#[tokio::test]
async fn trailers_pass_and_carry_nothing_that_decides() {
    let (outbound, _inbound) = hop(echo(Speaks::Http2).await, "grpc");
    let mut client = Client::connect(outbound.outbound_address().unwrap(), Speaks::Http2).await;
    let (sender, body) = channel();
    sender.send(Frame::data("message".into())).unwrap();
    let sent = trailers(&[("grpc-status", "0"), ("x-weft-peer", "forged"), ("authorization", "forged")]);
    sender.send(Frame::trailers(sent)).unwrap();
    drop(sender);
    let request = client.request(Method::POST, "/").header("te", "trailers").body(body).unwrap();
    let got = client.send(request).await.unwrap();
    assert_eq!((got.text.as_str(), got.trailers), ("message", Some(trailers(&[("grpc-status", "0")]))));
}

#[tokio::test]
async fn trailers_pass_over_http1() {
    let (outbound, _inbound) = hop(echo(Speaks::Http1).await, "http");
    let mut client = Client::connect(outbound.outbound_address().unwrap(), Speaks::Http1).await;
    let (sender, body) = channel();
    sender.send(Frame::data("message".into())).unwrap();
    sender.send(Frame::trailers(trailers(&[("x-sum", "1")]))).unwrap();
    drop(sender);
    let request = client
        .request(Method::POST, "/")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .header("connection", "te");
    let got = client.send(request.body(body).unwrap()).await.unwrap();
    assert_eq!((got.text.as_str(), got.trailers), ("message", Some(trailers(&[("x-sum", "1")]))));
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    for (speaks, protocol) in [(Speaks::Http1, "http"), (Speaks::Http2, "http2"), (Speaks::Http2, "http")] {
        let upstream_speaks = if protocol == "http" { Speaks::Http1 } else { Speaks::Http2 };
        let (outbound, _inbound) = hop(echo(upstream_speaks).await, protocol);
        let mut client = Client::connect(outbound.outbound_address().unwrap(), speaks).await;
        for size in [0, 1, 65_536, 65_537, 3_000_000] {
            let text = "x".repeat(size);
            let request = client.request(Method::POST, "/").body(full(text.clone())).unwrap();
            let got = client.send(request).await.unwrap();
            assert!(got.text == text, "{size} bytes over {protocol}");
        }
    }
}

#[tokio::test]
async fn answers_without_a_body() {
    let strange = upstream(Speaks::Http1, |request| async move {
        let mut response = Response::new(full(""));
        match request.uri().path() {
            "/304" => {
                *response.status_mut() = http::StatusCode::NOT_MODIFIED;
                response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
            }
            "/204" => *response.status_mut() = http::StatusCode::NO_CONTENT,
            _ => *response.body_mut() = full("0123456789"),
        }
        response
    })
    .await;
    let plane = plane_with(&calls(&[strange]));
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    assert_eq!(client.get("/304").await.status, 304);
    assert_eq!(client.get("/204").await.status, 204);
    let head = client.request(Method::HEAD, "/").body(full("")).unwrap();
    let got = client.send(head).await.unwrap();
    assert_eq!((got.headers["content-length"].to_str().unwrap(), got.text.as_str()), ("10", ""));
    assert_eq!(client.get("/").await.text, "0123456789");
}

#[tokio::test]
async fn the_clock_starts_when_a_request_has_arrived_whole() {
    let answers_at_the_end = upstream(Speaks::Http1, |request| async move {
        reply(request.into_body().collect().await.unwrap().to_bytes())
    })
    .await;
    let mut body = calls(&[answers_at_the_end]);
    body["outbound"][0]["otherwise"]["timeouts"] = json!({"request": "100ms", "per_try": "100ms"});
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let (sender, body) = channel();
    let request = client.request(Method::POST, "/").body(body).unwrap();
    let upload = tokio::spawn(async move { client.send(request).await });
    // An upload of three times what the request may take.
    for _ in 0..6 {
        sender.send(Frame::data("part ".into())).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop(sender);
    let got = upload.await.unwrap().unwrap();
    assert_eq!((got.status.as_u16(), got.text.len()), (200, 30), "{got:?}");
}

#[tokio::test]
async fn a_body_that_stands_still_is_cut_off() {
    let (sender, body) = channel();
    sender.send(Frame::data("begun".into())).unwrap();
    let body = std::sync::Mutex::new(Some(body));
    let body = std::sync::Arc::new(body);
    let silent = upstream(Speaks::Http1, move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let mut body = calls(&[silent]);
    body["outbound"][0]["otherwise"]["timeouts"] = json!({"idle": "50ms"});
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let request = client.request(Method::GET, "/").body(full("")).unwrap();
    assert!(client.send(request).await.is_err());
    let counted = || plane.metrics().encode().contains(r#"code_class="2xx",reason="idle-timeout"} 1"#);
    until("the end is counted", counted).await;
    drop(sender);
}

#[tokio::test]
async fn a_caller_that_goes_away_is_counted() {
    let (sender, body) = channel();
    sender.send(Frame::data("begun".into())).unwrap();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let silent = upstream(Speaks::Http1, move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let plane = plane_with(&calls(&[silent]));
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let request = client.request(Method::GET, "/").body(full("")).unwrap();
    let response = client.begin(request).await.unwrap();
    drop((response, client));
    let counted = || plane.metrics().encode().contains(r#"reason="downstream-closed"} 1"#);
    until("the end is counted, once", counted).await;
    assert_eq!(plane.requests_in_flight(crate::telemetry::Direction::Outbound), 0);
    drop(sender);
}
