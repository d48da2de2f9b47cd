//! Between a connection's bytes and hyper's HTTP/1: lets pass what [`Strict`] has no doubt about, and holds back the rest.
//!
//! A head that arrives whole, as most do, is looked at where it was read, and not copied. One that arrives in pieces is
//! kept until it is whole; it is never larger than a head may be.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::strict::{Looked, REFUSED, Strict};

/// How often bytes that nobody wants are read in a row.
const LINGER_READS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Guard<T> {
    io: T,
    activity: Rc<Activity>,
    /// None where the other side is our own application, whose requests nobody else's stand behind.
    strict: Option<Strict>,
    /// What may pass and has not yet.
    ready: Bytes,
    /// What may not yet.
    held: BytesMut,
    /// Whether nothing more may.
    is_over: bool,
}

impl<T> Guard<T> {
    pub(super) fn new(io: T, activity: Rc<Activity>, is_strict: bool) -> Self {
        let strict = is_strict.then(Strict::default);
        Self { io, activity, strict, ready: Bytes::new(), held: BytesMut::new(), is_over: false }
    }

    /// What it stood before, and the bytes that came over it and that nobody has read: `read` of them have passed already.
    pub(super) fn into_parts(self, read: Bytes) -> (T, Bytes) {
        let Self { io, ready, held, .. } = self;
        let unread = match ready.is_empty() && held.is_empty() {
            true => read,
            false => [read, ready, held.freeze()].concat().into(),
        };
        (io, unread)
    }

    /// Moves what may pass from what is held to what is ready.
    fn look(&mut self) -> io::Result<()> {
        let Some(strict) = &mut self.strict else { return Ok(()) };
        let looked = strict.look(&self.held);
        match looked {
            Looked::Pass(count) => {
                self.ready = self.held.split_to(count).freeze();
                note(&self.activity, strict, &self.held);
            }
            Looked::Refuse(doubt) => {
                self.activity.doubt.set(Some(doubt));
                self.end();
                self.ready = Bytes::from_static(REFUSED);
            }
            Looked::Broken => {
                self.end();
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a body that has not one meaning only",
                ));
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.held.clear();
        self.is_over = true;
        self.activity.is_over.set(true);
    }
}

/// Notes whether the last request has come whole.
fn note(activity: &Activity, strict: &Strict, held: &BytesMut) {
    activity.is_whole.set(strict.is_between() && held.is_empty());
}

impl<T: AsyncRead + Unpin> Guard<T> {
    /// Reads what still comes and drops it, until the other side closes too: a socket that is closed with bytes unread
    /// takes back the answer that is on its way. The limits of the connection end it at the latest.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        for _ in 0..LINGER_READS {
            let mut buf = ReadBuf::new(&mut scratch);
            let read = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        // Others have their turn in between.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // What is held behind something that passed may be refused without anything more.
        if this.ready.is_empty() && !this.held.is_empty() {
            this.look()?;
        }
        loop {
            if !this.ready.is_empty() {
                let count = this.ready.len().min(buf.remaining());
                buf.put_slice(this.ready.get(..count).unwrap_or_default());
                this.ready.advance(count);
                return Poll::Ready(Ok(()));
            }
            if this.is_over {
                // After a head not the end, at which hyper would leave without an answer: it says itself that it closes.
                // After a body the end, as there may be nobody left who would.
                return if this.activity.doubt.get().is_some() { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            let before = buf.filled().len();
            std::task::ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let new = buf.filled().get(before..).unwrap_or_default();
            let Some(strict) = this.strict.as_mut().filter(|_| !new.is_empty()) else {
                return Poll::Ready(Ok(()));
            };
            if this.held.is_empty()
                && let Looked::Pass(passed) = strict.look(new)
            {
                this.held.extend_from_slice(new.get(passed..).unwrap_or_default());
                note(&this.activity, strict, &this.held);
                buf.set_filled(before + passed);
                if passed > 0 {
                    return Poll::Ready(Ok(()));
                }
                // Half a head, which is all looked at.
                continue;
            }
            this.held.extend_from_slice(new);
            buf.set_filled(before);
            this.look()?;
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        if self.is_over { self.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}
