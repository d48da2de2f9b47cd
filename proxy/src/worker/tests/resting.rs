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
