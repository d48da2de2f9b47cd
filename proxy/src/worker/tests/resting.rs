//! Connections without requests: what they are after two seconds, and that nobody sees it.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::telemetry::Direction;
use crate::testing::*;
use crate::worker::DataPlane;

/// How many connections rest.
fn resting(plane: &DataPlane) -> Option<u64> {
    let text = plane.metrics().encode();
    let line =
        text.lines().find_map(|line| line.strip_prefix(r#"weft_connections_resting{direction="inbound"} "#));
    line.and_then(|count| count.parse().ok())
}

/// Sends bytes, and reads one answer, whose body is `here`.
async fn ask(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_connection_that_rests_goes_on_where_it_was() {
    let plane = plane_with(&serves(says("here").await, "off", &json!({})));
    let mut stream = TcpStream::connect(plane.inbound_address("http").unwrap()).await.unwrap();
    for _ in 0..2 {
        ask(&mut stream, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        until("it rests", || resting(&plane) == Some(1)).await;
    }
    // A request that comes in pieces, of which the first wakes it.
    stream.write_all(b"G").await.unwrap();
    until("it is awake", || resting(&plane) == Some(0)).await;
    ask(&mut stream, b"ET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
}

#[tokio::test]
async fn a_connection_that_rests_ends_with_its_peer_and_when_we_drain() {
    let plane = plane_with(&serves(says("here").await, "off", &json!({})));
    let address = plane.inbound_address("http").unwrap();
    let (mut first, mut second) =
        (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
    for stream in [&mut first, &mut second] {
        ask(stream, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    }
    until("both rest", || resting(&plane) == Some(2)).await;
    drop(first);
    until("one has gone", || resting(&plane) == Some(1)).await;
    plane.drain(Direction::Inbound);
    assert_eq!(second.read(&mut [0; 16]).await.unwrap(), 0, "the other is closed");
    until("nobody rests", || resting(&plane) == Some(0)).await;
}

/// An upstream that answers before it has read the request.
async fn hasty() -> std::net::SocketAddr {
    bytes_server(|mut stream| async move {
        let mut read = [0; 4096];
        let _ = stream.read(&mut read).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere").await;
        // Open until the other side has enough.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

#[tokio::test]
async fn the_rest_of_a_request_that_was_answered_early_is_not_the_beginning_of_another() {
    let plane = plane_with(&serves(hasty().await, "off", &json!({})));
    let mut stream = TcpStream::connect(plane.inbound_address("http").unwrap()).await.unwrap();
    ask(&mut stream, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60\r\n\r\nhalf").await;
    // Closed at once, or after we have waited for the body: never at rest, and never answered twice.
    let _ = stream.write_all(b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut more = Vec::new();
    let _ = stream.read_to_end(&mut more).await;
    assert!(!String::from_utf8_lossy(&more).contains("HTTP/1.1 2"), "{}", String::from_utf8_lossy(&more));
    assert_eq!(resting(&plane).unwrap_or(0), 0);
}

#[tokio::test]
async fn a_connection_whose_last_request_came_whole_rests() {
    let plane = plane_with(&serves(says("here").await, "off", &json!({})));
    let mut stream = TcpStream::connect(plane.inbound_address("http").unwrap()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n").await.unwrap();
    ask(&mut stream, b"body").await;
    until("it rests", || resting(&plane) == Some(1)).await;
}
