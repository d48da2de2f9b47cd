//! Copies of requests.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::testing::*;
use crate::worker::DataPlane;

/// What an upstream was sent: method, path, a header field and the body.
type Seen = Arc<Mutex<Vec<String>>>;

async fn notes(answer: &'static str) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    let address = upstream(Speaks::Http1, move |request| {
        let notes = Arc::clone(&notes);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mark = head.headers.get("x-mark").map(|value| value.to_str().unwrap().to_owned());
            let line = format!("{} {} {mark:?} {}", head.method, head.uri, String::from_utf8_lossy(&body));
            notes.lock().unwrap().push(line);
            reply(answer)
        }
    })
    .await;
    (address, seen)
}

fn mirrored(main: SocketAddr, shadows: &[(SocketAddr, u32)]) -> DataPlane {
    let mut body = calls(&[main]);
    let mut mirrors = Vec::new();
    for (number, (shadow, percent)) in shadows.iter().enumerate() {
        let id = format!("shadow{number}");
        body["clusters"][&id] = cluster(&[*shadow]);
        mirrors.push(json!({"cluster": id, "share": {"numerator": percent, "denominator": 100}}));
    }
    body["outbound"][0]["otherwise"]["mirrors"] = Value::from(mirrors);
    body["outbound"][0]["otherwise"]["request_headers"] = json!({"set": [["x-mark", "rule"]]});
    plane_with(&body)
}

fn copies(plane: &DataPlane, cluster: &str, outcome: &str) -> usize {
    let line = format!(r#"weft_mirrored_requests_total{{cluster="{cluster}",outcome="{outcome}"}} "#);
    let text = plane.metrics().encode();
    text.lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn every_mirror_gets_the_whole_request_and_the_caller_the_answer_of_one() {
    let ((main, served), (one, first), (two, second)) =
        (notes("main").await, notes("copy").await, notes("copy").await);
    let plane = mirrored(main, &[(one, 100), (two, 100)]);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    for (method, path, body) in [(Method::POST, "/a?b=c", "some body"), (Method::GET, "/d", "")] {
        let request = client.request(method, path).body(full(body)).unwrap();
        assert_eq!(client.send(request).await.unwrap().text, "main");
    }
    for shadow in ["shadow0", "shadow1"] {
        until("both are answered", || copies(&plane, shadow, "answered") == 2).await;
    }
    let mut expected = served.lock().unwrap().clone();
    assert_eq!(expected, [r#"POST /a?b=c Some("rule") some body"#, r#"GET /d Some("rule") "#]);
    expected.sort();
    for seen in [first, second] {
        let mut seen = seen.lock().unwrap().clone();
        seen.sort();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_mirror_that_is_slow_or_gone_costs_the_caller_nothing() {
    let held = Held::start(Speaks::Http1).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plane = mirrored(says("main").await, &[(held.address, 100), (nobody, 100)]);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    for _ in 0..20 {
        let got = client.get("/").await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "main"), "{got:?}");
    }
    until("all failed there", || copies(&plane, "shadow1", "failed") == 20).await;
    until("all arrived here", || held.seen() == 20).await;
    assert_eq!(copies(&plane, "shadow0", "answered"), 0);
    held.release();
    until("all are answered", || copies(&plane, "shadow0", "answered") == 20).await;
}

#[tokio::test]
async fn so_many_at_once() {
    let held = Held::start(Speaks::Http1).await;
    let plane = mirrored(says("main").await, &[(held.address, 100)]);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    for _ in 0..300 {
        assert_eq!(client.get("/").await.text, "main");
    }
    assert_eq!(copies(&plane, "shadow0", "too-many"), 44);
    until("the others arrived", || held.seen() == 256).await;
    held.release();
    until("they are answered", || copies(&plane, "shadow0", "answered") == 256).await;
}

#[tokio::test]
async fn a_share_of_requests_is_copied() {
    let (shadow, seen) = notes("copy").await;
    let plane = mirrored(says("main").await, &[(shadow, 25)]);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    for _ in 0..400 {
        client.get("/").await;
    }
    // Five standard deviations of a binomial distribution.
    until("some are copied", || copies(&plane, "shadow0", "answered") >= 57).await;
    assert!(seen.lock().unwrap().len() <= 143);
}

/// A body that does not say how long it is.
struct Parts(Vec<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Poll::Ready(self.0.pop().map(|part| Ok(Frame::data(part))))
    }
}

#[tokio::test]
async fn bodies_are_copied_if_they_are_small_whether_they_say_so_or_not() {
    let (shadow, seen) = notes("copy").await;
    let (main, _) = notes("main").await;
    let plane = mirrored(main, &[(shadow, 100)]);
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let mut client = Client::connect(plane.outbound_address().unwrap(), speaks).await;
        for parts in [2, 20] {
            let body = Parts(vec![Bytes::from(vec![b'x'; 4 * 1024]); parts]).boxed();
            let request = client.request(Method::POST, "/").body(body).unwrap();
            assert_eq!(client.send(request).await.unwrap().text, "main");
        }
        let request = client.request(Method::POST, "/").body(full(vec![b'x'; 65 * 1024])).unwrap();
        assert_eq!(client.send(request).await.unwrap().text, "main");
    }
    until("all are decided", || {
        copies(&plane, "shadow0", "answered") == 2 && copies(&plane, "shadow0", "large-body") == 4
    })
    .await;
    let lengths: Vec<_> = seen.lock().unwrap().iter().map(|line| line.matches('x').count()).collect();
    assert_eq!(lengths, [8 * 1024; 2]);
}
