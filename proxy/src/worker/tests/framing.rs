//! Bytes on the wire that must not be misunderstood (security cases, sections 1 and 2).

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testing::*;

/// What came of some bytes: the statuses answered, what the upstream saw, and whether the connection was still good for
/// the request behind them.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    statuses: Vec<String>,
    upstream: Vec<String>,
    went_on: bool,
}

/// What is sent behind the bytes under test.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// Sends bytes and one more request, and reads to the end.
async fn send(bytes: &[u8]) -> Outcome {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let application = upstream(Speaks::Http1, move |request| {
        let log = Arc::clone(&log);
        async move {
            use http_body_util::BodyExt;
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let line = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
            log.lock().unwrap().push(line.trim_end().to_owned());
            reply("")
        }
    })
    .await;
    let plane = plane_with(&serves(application, "off", &json!({})));
    let mut stream = TcpStream::connect(plane.inbound_address("http").unwrap()).await.unwrap();
    // The other side may have closed before it has read everything.
    let _ = stream.write_all(&[bytes, LAST].concat()).await;
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let statuses = answer.split("HTTP/1.1 ").skip(1).map(|rest| rest.chars().take(3).collect());
    let mut statuses: Vec<String> = statuses.collect();
    let mut upstream = seen.lock().unwrap().clone();
    let went_on = upstream.pop_if(|line| line == "GET /last").is_some();
    if went_on {
        statuses.pop();
    }
    Outcome { statuses, upstream, went_on }
}

/// Bytes that must be answered with 400 (or 431, 501, 505), or with nothing, and of which the upstream sees nothing.
/// Whether the connection was good for more.
async fn refused(what: &str, bytes: &[u8]) -> bool {
    let Outcome { statuses, upstream, went_on } = send(bytes).await;
    assert!(upstream.is_empty(), "{what}: the upstream saw {upstream:?}");
    let fine = |status: &String| ["400", "431", "501", "505"].contains(&status.as_str());
    assert!(statuses.iter().all(fine) && statuses.len() <= 1, "{what}: {statuses:?}");
    went_on
}

#[tokio::test]
async fn what_is_plain_passes() {
    let got =
        send(b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nhost: a\r\n\r\n")
            .await;
    assert_eq!(got.statuses, ["200", "200"]);
    assert_eq!(got.upstream, ["POST /a hi", "GET /b"]);
    let chunked =
        send(b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2;x=1\r\nhi\r\n0\r\n\r\n")
            .await;
    assert_eq!(chunked.upstream, ["POST /a hi"]);
}

#[tokio::test]
async fn lengths_that_are_not_plain_are_refused() {
    for length in ["+2", "2_", "0x2", "-2", "2, 3", "18446744073709551616", "", "2 2"] {
        let bytes = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nhi");
        assert!(
            !refused(&format!("content-length `{length}`"), bytes.as_bytes()).await,
            "{length}: must close"
        );
    }
    let two = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi!";
    assert!(!refused("two lengths", two).await, "must close");
}

#[tokio::test]
async fn codings_that_are_not_plain_are_refused() {
    for coding in ["xchunked", "identity", "chunked, gzip", "gzip"] {
        let bytes = format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n");
        assert!(
            !refused(&format!("transfer-encoding `{coding}`"), bytes.as_bytes()).await,
            "{coding}: must close"
        );
    }
    let old = b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(!refused("chunked on HTTP/1.0", old).await, "must close");
    for chunk in ["+2", "0x2", "-2", "2_", "fffffffffffffffff"] {
        let bytes = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}\r\nhi\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let got = send(bytes.as_bytes()).await;
        assert!(
            !got.upstream.iter().any(|line| line.contains("smuggled") || line.contains("hi")),
            "{chunk}: {got:?}"
        );
    }
}

/// hyper alone would read chunks and drop the length, and so not show that there was any doubt.
#[tokio::test]
async fn a_length_beside_chunks_is_refused() {
    for fields in
        ["content-length: 5\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 5"]
    {
        let bytes = format!(
            "POST /a HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let got = send(bytes.as_bytes()).await;
        assert_eq!(got, Outcome { statuses: vec!["400".to_owned()], upstream: Vec::new(), went_on: false });
    }
}

#[tokio::test]
async fn heads_that_are_not_plain_are_refused() {
    for (what, bytes) in [
        ("space before the colon", &b"GET / HTTP/1.1\r\nhost : a\r\n\r\n"[..]),
        ("folded line", b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n"),
        ("NUL in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n"),
        ("bare CR in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n"),
        ("no host", b"GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n"),
        ("user in the host", b"GET / HTTP/1.1\r\nhost: u@a\r\n\r\n"),
        ("port 0", b"GET / HTTP/1.1\r\nhost: a:0\r\n\r\n"),
        ("HTTP/2.0 in text", b"GET / HTTP/2.0\r\nhost: a\r\n\r\n"),
        ("HTTP/0.9", b"GET /\r\n"),
        ("HTTP/1.2", b"GET / HTTP/1.2\r\nhost: a\r\n\r\n"),
        ("bare LF", b"GET / HTTP/1.1\nhost: a\n\n"),
        ("bare LF in the fields", b"GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n"),
        ("empty lines", b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("fragment", b"GET /#x HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("underscore in a length", b"GET / HTTP/1.1\r\nhost: a\r\ncontent_length: 5\r\n\r\n"),
        ("asterisk", b"GET * HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n"),
        ("escaped NUL", b"GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("escaped line end", b"GET /%0d%0a HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("escaped slash", b"GET /a%2fb HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("backslash", b"GET /a\\b HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("hidden dot segment", b"GET /a/..;/b HTTP/1.1\r\nhost: a\r\n\r\n"),
    ] {
        refused(what, bytes).await;
    }
}

#[tokio::test]
async fn heads_have_limits() {
    let fields = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", fields(100));
    assert_eq!(send(many.as_bytes()).await.statuses, ["431"]);
    let enough = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", fields(99));
    assert_eq!(send(enough.as_bytes()).await.statuses, ["200"]);
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(61 * 1024));
    assert_eq!(send(long.as_bytes()).await.statuses, ["431"]);
}

#[tokio::test]
async fn bytes_after_an_upgrade_are_not_a_tunnel() {
    let got = send(b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(got.upstream.first().is_some_and(|line| line == "GET /a"), "{got:?}");
    assert!(got.upstream.len() <= 2 && !got.statuses.contains(&"101".to_owned()), "{got:?}");
}
