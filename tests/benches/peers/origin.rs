//! What stands behind the proxies: 1 KiB for every request, as cheaply as can be.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weft_tests::{Context, Result, runtime};

use crate::contender::Http;

/// How much an answer carries.
const BODY: &[u8] = &[b'x'; 1024];

/// The origin, on a port for each version of HTTP; it lives as long as the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// Speaks HTTP/1.1.
    pub(crate) http1: SocketAddr,
    /// Speaks HTTP/2 with prior knowledge.
    pub(crate) http2: SocketAddr,
}

impl Origin {
    /// The port for a version of HTTP.
    pub(crate) fn of(self, http: Http) -> SocketAddr {
        match http {
            Http::One => self.http1,
            Http::Two => self.http2,
        }
    }

    pub(crate) fn start() -> Result<Self> {
        let bind = || runtime::block_on(TcpListener::bind("127.0.0.1:0")).context("the origin's socket");
        let (one, two) = (bind()?, bind()?);
        let address = |listener: &TcpListener| listener.local_addr().context("the origin's socket");
        let origin = Self { http1: address(&one)?, http2: address(&two)? };
        runtime::handle().spawn(async move {
            while let Ok((stream, _)) = one.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(answer_http1(stream));
            }
        });
        runtime::handle().spawn(async move {
            while let Ok((stream, _)) = two.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(answer_http2(stream));
            }
        });
        Ok(origin)
    }
}

/// Requests have no body, so each ends with an empty line.
async fn answer_http1(mut stream: TcpStream) {
    const END: &[u8] = b"\r\n\r\n";
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", BODY.len());
    let answer = [head.as_bytes(), BODY].concat();
    let mut read = Vec::with_capacity(8192);
    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
        if read.ends_with(END) {
            read.clear();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

async fn answer_http2(stream: TcpStream) {
    let service = service_fn(|_| async {
        let mut response = http::Response::new(Full::new(Bytes::from_static(BODY)));
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
        Ok::<_, Infallible>(response)
    });
    // Its end is the caller's business.
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
