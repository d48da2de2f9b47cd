//! What is tried again, and what is not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::testing::*;
use crate::worker::DataPlane;

/// A policy that tries often and soon.
fn retry(attempts: u32, on: &[&str]) -> Value {
    json!({"attempts": attempts, "on": on, "methods": ["GET", "HEAD"], "backoff_base": "1ms", "backoff_max": "2ms"})
}

fn calls_with(endpoints: &[SocketAddr], retry: Value) -> DataPlane {
    let mut body = calls(endpoints);
    body["outbound"][0]["otherwise"]["retry"] = retry;
    plane_with(&body)
}

/// Answers 503 so many times, then with the request's body. Counts the requests.
async fn flaky(failures: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let address = upstream(Speaks::Http1, move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = reply(body);
            if number < failures {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await;
    (address, seen)
}

async fn send(plane: &DataPlane, method: Method, body: &str) -> Got {
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let request = client.request(method, "/").body(full(body.to_owned())).unwrap();
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn a_flaky_upstream_is_tried_again_with_the_whole_body() {
    let (address, seen) = flaky(2).await;
    let plane = calls_with(&[address], retry(2, &["503"]));
    let got = send(&plane, Method::GET, "body").await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "body"));
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    assert!(plane.metrics().encode().contains(r#"weft_retries_total{cluster="up"} 2"#));
}

#[tokio::test]
async fn the_last_answer_is_delivered() {
    let (address, seen) = flaky(9).await;
    let plane = calls_with(&[address], retry(2, &["gateway-error"]));
    assert_eq!(send(&plane, Method::GET, "").await.status, 503);
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn methods_statuses_and_bodies_that_are_not_listed_are_not_tried_again() {
    for (method, on, body) in [
        (Method::POST, "503", "small".to_owned()),
        (Method::GET, "500", String::new()),
        (Method::GET, "503", "x".repeat(65_537)),
    ] {
        let (address, seen) = flaky(1).await;
        let plane = calls_with(&[address], retry(3, &[on]));
        assert_eq!(send(&plane, method.clone(), &body).await.status, 503, "{method} {on}");
        assert_eq!(seen.load(Ordering::SeqCst), 1, "{method} {on}");
    }
}

#[tokio::test]
async fn the_budget_bounds_what_is_tried_again() {
    let (open, opened) = watch::channel(false);
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let failing = upstream(Speaks::Http1, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let mut opened = opened.clone();
        async move {
            opened.wait_for(|open| *open).await.unwrap();
            let mut response = reply("");
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    })
    .await;
    // Pauses that do not end before the test does: who retries holds its place.
    let mut policy = retry(1, &["503"]);
    policy["backoff_base"] = json!("1h");
    policy["backoff_max"] = json!("1h");
    let plane = calls_with(&[failing], policy);
    let address = plane.outbound_address().unwrap();
    let requests: Vec<_> = (0..20).map(|_| tokio::spawn(get(address, "/"))).collect();
    until("all are there", || seen.load(Ordering::SeqCst) == 20).await;
    open.send(true).unwrap();
    let refused = || requests.iter().filter(|request| request.is_finished()).count();
    // 20 % of those in flight, which become fewer, and never under 3.
    until("the budget is used up", || refused() >= 16).await;
    assert!(refused() <= 17, "{}", refused());
    let overflow = format!(r#"weft_retry_budget_overflow_total{{cluster="up"}} {}"#, refused());
    assert!(plane.metrics().encode().contains(&overflow));
    requests.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn where_nobody_listens_another_endpoint_is_tried() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = says("good").await;
    let plane = calls_with(&[nobody, good], retry(1, &["connect-failure"]));
    for _ in 0..4 {
        let got = send(&plane, Method::POST, "even a POST: nothing was sent").await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "good"));
    }
    let alone = plane_with(&calls(&[nobody]));
    let got = send(&alone, Method::GET, "").await;
    assert_eq!((got.status.as_u16(), got.reason()), (503, "connect-failure"));
}

#[tokio::test]
async fn no_endpoints() {
    let plane = plane_with(&calls(&[]));
    assert_eq!(send(&plane, Method::GET, "").await.reason(), "no-endpoint");
}

/// Answers one request per connection and says that it stays open, then closes it without a word.
async fn closes_after_one() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                // The next request is read, and answered with the end of the connection.
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_pooled_connection_that_was_closing_costs_nobody_a_request() {
    let (address, seen) = closes_after_one().await;
    let plane = plane_with(&calls(&[address]));
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    for _ in 0..10 {
        let got = client.get("/").await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "ok"), "{got:?}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 10, "none was answered twice");
    // What is not safe may have been processed: it is not sent again.
    let request = client.request(Method::POST, "/").body(full("")).unwrap();
    let got = client.send(request).await.unwrap();
    assert_eq!((got.status.as_u16(), got.reason()), (502, "upstream-reset"), "{got:?}");
}

#[tokio::test]
async fn nor_do_many_that_close_at_once() {
    let (address, _) = closes_after_one().await;
    let plane = plane_with(&calls(&[address]));
    let outbound = plane.outbound_address().unwrap();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(outbound, Speaks::Http1).await;
                for _ in 0..20 {
                    let got = client.get("/").await;
                    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "ok"), "{got:?}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let plane = plane_with(&calls(&[address]));
    assert_eq!(send(&plane, Method::GET, "").await.status, 502);
}

/// Never answers.
async fn silent() -> SocketAddr {
    upstream(Speaks::Http1, |_| std::future::pending()).await
}

#[tokio::test]
async fn time_runs_out() {
    let limited = async |timeouts: Value, policy: Option<Value>| {
        let mut body = calls(&[silent().await]);
        body["outbound"][0]["otherwise"]["timeouts"] = timeouts;
        if let Some(policy) = policy {
            body["outbound"][0]["otherwise"]["retry"] = policy;
        }
        let plane = plane_with(&body);
        let begun = Instant::now();
        let got = send(&plane, Method::GET, "").await;
        (got.status.as_u16(), got.reason().to_owned(), begun.elapsed())
    };
    let (status, reason, _) = limited(json!({"request": "50ms"}), None).await;
    assert_eq!((status, reason.as_str()), (504, "request-timeout"));
    let (status, reason, _) = limited(json!({"per_try": "50ms"}), None).await;
    assert_eq!((status, reason.as_str()), (504, "try-timeout"));
    let (status, reason, elapsed) =
        limited(json!({"per_try": "50ms"}), Some(retry(2, &["gateway-error"]))).await;
    assert_eq!((status, reason.as_str()), (504, "try-timeout"));
    assert!(elapsed >= Duration::from_millis(150), "three tries: {elapsed:?}");
    let (_, reason, _) =
        limited(json!({"per_try": "50ms", "request": "80ms"}), Some(retry(9, &["gateway-error"]))).await;
    assert_eq!(reason, "request-timeout", "all tries together");
}

#[tokio::test]
async fn an_upstream_that_goes_away_gracefully_costs_nobody_a_request() {
    // Ends each HTTP/2 connection with GOAWAY after a few requests.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let served = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&served);
                let service = hyper::service::service_fn(move |_| {
                    count.fetch_add(1, Ordering::SeqCst);
                    async { Ok::<_, std::convert::Infallible>(reply("ok")) }
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let executor = hyper_util::rt::TokioExecutor::new();
                let mut connection = std::pin::pin!(
                    hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service)
                );
                std::future::poll_fn(|cx| {
                    if served.load(Ordering::SeqCst) >= 5 {
                        connection.as_mut().graceful_shutdown();
                    }
                    connection.as_mut().poll(cx)
                })
                .await
                .ok();
            });
        }
    });
    let mut body = calls(&[address]);
    body["clusters"]["up"]["protocol"] = json!("http2");
    let plane = plane_with(&body);
    let outbound = plane.outbound_address().unwrap();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(outbound, Speaks::Http2).await;
                for _ in 0..50 {
                    let request = client.request(Method::POST, "/").body(full("body")).unwrap();
                    let got = client.send(request).await.unwrap();
                    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "ok"), "{got:?}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}
