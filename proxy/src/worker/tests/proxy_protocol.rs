//! Servers that are told for whom a connection is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::gateway::{gateway, listener, plane_at_edge};
use crate::testing::*;

/// A server that notes the first line of each connection, or so many bytes, and then answers every request.
async fn reader(bytes: Option<usize>) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, bytes, Arc::clone(&log)));
        }
    });
    (address, seen)
}

async fn answer(
    stream: TcpStream,
    bytes: Option<usize>,
    log: Arc<Mutex<Vec<Vec<u8>>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut header = Vec::new();
    match bytes {
        None => drop(stream.read_until(b'\n', &mut header).await?),
        Some(count) => {
            header.resize(count, 0);
            stream.read_exact(&mut header).await?;
        }
    }
    log.lock().unwrap().push(header);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        if line == "\r\n" {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await?;
        }
        line.clear();
    }
    Ok(())
}

/// A plane at the edge that forwards to a server, and a caller's connection to it with its address.
async fn edge(server: SocketAddr, version: u8) -> (crate::worker::DataPlane, SocketAddr) {
    let mut body = gateway(&[listener("any", 80, &["*"], &forward_to("up"))], &[server]);
    body["clusters"]["up"]["connection"] = json!({"proxy_protocol": version});
    let plane = plane_at_edge(None);
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    let address = plane.listener_address(80).unwrap();
    (plane, address)
}

async fn caller(address: SocketAddr) -> (Client, SocketAddr) {
    let stream = TcpStream::connect(address).await.unwrap();
    let local = stream.local_addr().unwrap();
    (Client::over(stream, Speaks::Http1).await, local)
}

#[tokio::test]
async fn each_caller_has_connections_of_its_own() {
    let (server, seen) = reader(None).await;
    let (_plane, address) = edge(server, 1).await;
    let (mut first, from) = caller(address).await;
    let (mut second, other) = caller(address).await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.get("/").await.text, "hi");
    }
    for client in [&mut first, &mut second] {
        assert_eq!(client.get("/").await.text, "hi");
    }
    let line = |client: SocketAddr| {
        let (from, to) = (client.port(), address.port());
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes()
    };
    assert_eq!(*seen.lock().unwrap(), [line(from), line(other)], "and uses them again");
}

#[tokio::test]
async fn version_two_is_written_too() {
    let (server, seen) = reader(Some(28)).await;
    let (_plane, address) = edge(server, 2).await;
    let (mut client, from) = caller(address).await;
    assert_eq!(client.get("/").await.text, "hi");
    let ports = [from.port().to_be_bytes(), address.port().to_be_bytes()].concat();
    let rest = [&[0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1][..], &ports].concat();
    assert_eq!(*seen.lock().unwrap(), [[&b"\r\n\r\n\0\r\nQUIT\n"[..], &rest].concat()]);
}

#[tokio::test]
async fn questions_of_our_own_are_for_nobody() {
    let (server, seen) = reader(None).await;
    let mut body = calls(&[server]);
    body["clusters"]["up"]["connection"] = json!({"proxy_protocol": 1});
    body["clusters"]["up"]["health_check"] = json!({"probe": {"http": {"path": "/"}}, "interval": "10ms",
        "timeout": "5s", "healthy_after": 1, "unhealthy_after": 1});
    let _plane = plane_with(&body);
    until("it is asked", || !seen.lock().unwrap().is_empty()).await;
    assert_eq!(seen.lock().unwrap()[0], b"PROXY UNKNOWN\r\n");
}
