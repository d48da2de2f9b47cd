//! Bytes of a connection, in clear text or not, after what was read to find out which HTTP it is. It notes on the way what
//! the limits look at.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::activity::Activity;
use crate::stream::wire::{Io, Prefixed};

/// What HTTP/2 begins with, before any frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// See the module.
#[derive(Debug)]
pub(super) struct Transport {
    io: Io,
    read: Bytes,
    activity: Rc<Activity>,
}

impl Transport {
    pub(super) fn new(io: Io, activity: Rc<Activity>) -> Self {
        Self { io, read: Bytes::new(), activity }
    }

    /// Whether HTTP/2 was agreed on, or comes unannounced.
    pub(super) async fn is_http2(&mut self) -> io::Result<bool> {
        if self.io.alpn() == Some(b"h2") {
            return Ok(true);
        }
        let mut read = BytesMut::with_capacity(PREFACE.len());
        let is_http2 = loop {
            if self.read_buf(&mut read).await? == 0 {
                break false;
            }
            let seen = read.len().min(PREFACE.len());
            match (read.get(..seen), PREFACE.get(..seen)) {
                (Some(seen), Some(expected)) if seen != expected => break false,
                _ if seen == PREFACE.len() => break true,
                _ => {}
            }
        };
        self.read = read.freeze();
        Ok(is_http2)
    }
}

impl Transport {
    /// Whether something comes before the end.
    pub(super) async fn begins(&mut self) -> bool {
        if !self.read.is_empty() {
            return true;
        }
        let mut first = [0; 64];
        match self.read(&mut first).await {
            Ok(count @ 1..) => {
                self.read = Bytes::copy_from_slice(first.get(..count).unwrap_or_default());
                true
            }
            Ok(0) | Err(_) => false,
        }
    }

    /// The bytes without what HTTP needs of them.
    pub(super) fn into_wire(self) -> Prefixed {
        Prefixed::new(self.io, self.read)
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.read.is_empty() {
            let count = this.read.len().min(buf.remaining());
            buf.put_slice(this.read.get(..count).unwrap_or_default());
            this.read.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if polled.is_ready() && buf.filled().len() > before {
            this.activity.read();
        }
        polled
    }
}

impl Transport {
    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        match (polled.is_ready(), self.activity.blocked_since.get()) {
            (true, Some(_)) => self.activity.blocked_since.set(None),
            (false, None) => self.activity.blocked_since.set(Some(Instant::now())),
            (true, None) | (false, Some(_)) => {}
        }
        polled
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        // In TLS what was written may still be with us. In clear text there is nothing to flush, which says nothing.
        if matches!(self.io, Io::Tls(_)) { self.wrote(polled) } else { polled }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
