//! Bytes both ways between two connections, until both have ended.
//!
//! ```text
//! near ── read → scratch ── write → far      what far does not take at once waits in `left`, and near is not read
//! near ← write ── scratch ← read ── far      the same the other way; an end goes on as the end of one direction
//! ```
//! A connection that says nothing holds no buffer: what is read goes through one scratch buffer per thread, and only what
//! the other side does not take at once is copied, at most [`SCRATCH_BYTES`] each way. An end (FIN, or `close_notify` in
//! TLS) is passed on as it is, so that each direction ends by itself; a connection that breaks is passed on as one that
//! breaks, because many protocols take an end for the end of a message.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// How much is read at once, and how much may wait for a reader that does not read.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Lent to whoever moves bytes; empty meanwhile.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A connection whose bytes are passed on.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// The socket below.
    fn socket(&self) -> &TcpStream;

    /// Makes the end that comes when this is dropped a reset, so that nobody takes it for the end of what was sent.
    fn break_off(&self) {
        // One that is gone already needs no reset.
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// How a relay ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Both sides ended.
    Done,
    /// The near side, which called us, broke.
    Near(io::Error),
    /// The far side broke.
    Far(io::Error),
    /// Nothing moved for too long.
    Idle,
}

/// What is told of bytes as they pass.
pub(crate) trait Meter {
    /// So many came from the near side.
    fn received(&self, bytes: usize);
    /// So many came from the far side.
    fn sent(&self, bytes: usize);
}

/// Moves bytes until both sides have ended, one has broken, or nothing has moved for `idle`. Whatever the end, dropping the
/// two is all that is left to do. May be dropped at any time; then call [`Wire::break_off`] on both.
pub(crate) async fn relay<N: Wire, F: Wire>(
    near: &mut N,
    far: &mut F,
    idle: Duration,
    meter: &impl Meter,
) -> End {
    let end = move_bytes(near, far, idle, meter).await;
    match end {
        End::Done => {}
        End::Near(_) => far.break_off(),
        End::Far(_) => near.break_off(),
        End::Idle => {
            near.break_off();
            far.break_off();
        }
    }
    end
}

async fn move_bytes<N: Wire, F: Wire>(near: &mut N, far: &mut F, idle: Duration, meter: &impl Meter) -> End {
    let (mut forth, mut back) = (Way::default(), Way::default());
    let mut moved_at = Instant::now();
    let mut timer = std::pin::pin!(sleep_until(moved_at + idle));
    poll_fn(|cx| {
        let mut moved = false;
        let mut note = |bytes: usize| moved |= bytes > 0;
        let there = forth.poll(cx, near, far, |bytes| {
            note(bytes);
            meter.received(bytes);
        });
        match there {
            Poll::Ready(Err(Broke::From(error))) => return Poll::Ready(End::Near(error)),
            Poll::Ready(Err(Broke::To(error))) => return Poll::Ready(End::Far(error)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let here = back.poll(cx, far, near, |bytes| {
            note(bytes);
            meter.sent(bytes);
        });
        match here {
            Poll::Ready(Err(Broke::From(error))) => return Poll::Ready(End::Far(error)),
            Poll::Ready(Err(Broke::To(error))) => return Poll::Ready(End::Near(error)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        if there.is_ready() && here.is_ready() {
            return Poll::Ready(End::Done);
        }
        if moved {
            moved_at = Instant::now();
        }
        // Moved only when it fires: most connections move bytes far more often than that.
        while timer.as_mut().poll(cx).is_ready() {
            let until = moved_at + idle;
            if until <= Instant::now() {
                return Poll::Ready(End::Idle);
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    })
    .await
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// What was read and not taken yet, from `at` on.
    left: Vec<u8>,
    at: usize,
    state: State,
    /// Whether something was written and not flushed.
    unflushed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Nothing more will come; the reader is told.
    Ending,
    Ended,
}

/// Which side broke, seen from one direction.
enum Broke {
    From(io::Error),
    To(io::Error),
}

impl Way {
    /// Ready once this direction has ended, or a side has broken. `passed` is told of bytes that the reader took.
    fn poll<S, T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut S,
        to: &mut T,
        mut passed: impl FnMut(usize),
    ) -> Poll<Result<(), Broke>>
    where
        S: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        loop {
            while let Some(rest) = self.left.get(self.at..).filter(|rest| !rest.is_empty()) {
                let taken = ready!(write(cx, to, rest)).map_err(Broke::To)?;
                self.at += taken;
                self.unflushed = true;
                passed(taken);
            }
            // Given back, not kept: it may not be needed again for hours.
            (self.left, self.at) = (Vec::new(), 0);
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Broke::To)?;
                    self.state = State::Ended;
                }
                State::Open => {
                    if self.pass(cx, from, to, &mut passed)?.is_pending() {
                        return self.flush(cx, to);
                    }
                }
            }
        }
    }

    /// Reads once, and writes as much of it as is taken at once.
    fn pass<S, T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut S,
        to: &mut T,
        passed: &mut impl FnMut(usize),
    ) -> Result<Poll<()>, Broke>
    where
        S: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut scratch);
        let outcome = match Pin::new(from).poll_read(cx, &mut buffer) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(error)) => Err(Broke::From(error)),
            Poll::Ready(Ok(())) => self.hand_over(cx, buffer.filled(), to, passed).map(Poll::Ready),
        };
        SCRATCH.set(scratch);
        outcome
    }

    fn hand_over<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: &mut T,
        passed: &mut impl FnMut(usize),
    ) -> Result<(), Broke> {
        if bytes.is_empty() {
            self.state = State::Ending;
            return Ok(());
        }
        let taken = match write(cx, to, bytes) {
            Poll::Ready(taken) => taken.map_err(Broke::To)?,
            Poll::Pending => 0,
        };
        self.unflushed = true;
        passed(taken);
        self.left = bytes.get(taken..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// Sees to it that what was written goes out while nothing more comes.
    fn flush<T: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<Result<(), Broke>> {
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx)).map_err(Broke::To)?;
            self.unflushed = false;
        }
        Poll::Pending
    }
}

fn write<T: AsyncWrite + Unpin>(cx: &mut Context<'_>, to: &mut T, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        taken => Poll::Ready(taken),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[derive(Default)]
    struct Counts(Cell<usize>, Cell<usize>);

    impl Meter for Counts {
        fn received(&self, bytes: usize) {
            self.0.set(self.0.get() + bytes);
        }

        fn sent(&self, bytes: usize) {
            self.1.set(self.1.get() + bytes);
        }
    }

    /// Two connected sockets.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    /// Relays between a client and a server while a script runs on their outer ends.
    async fn with<S: Future>(
        idle: Duration,
        script: impl FnOnce(TcpStream, TcpStream) -> S,
    ) -> (End, [usize; 2], S::Output) {
        let ((client, mut near), (mut far, server)) = (pair().await, pair().await);
        let counts = Counts::default();
        let relayed = async {
            let end = relay(&mut near, &mut far, idle, &counts).await;
            drop((near, far));
            end
        };
        let (end, output) = tokio::join!(relayed, script(client, server));
        (end, [counts.0.get(), counts.1.get()], output)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn an_end_is_the_end_of_one_direction() {
        let (end, counts, ()) = with(LONG, |mut client, mut server| async move {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut text = String::new();
            server.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "question");
            server.write_all(b"and an answer").await.unwrap();
            server.shutdown().await.unwrap();
            text.clear();
            client.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "and an answer");
        })
        .await;
        assert!(matches!(end, End::Done), "{end:?}");
        assert_eq!(counts, [8, 13]);
    }

    #[tokio::test]
    async fn more_than_all_buffers_arrives_whole_and_in_order() {
        let (end, counts, ()) = with(LONG, |client, server| async move {
            let pattern = |place: usize| (place % 251) as u8;
            let bytes: Vec<u8> = (0..8 << 20).map(pattern).collect();
            let (mut client_reads, mut client_writes) = client.into_split();
            let (mut server_reads, mut server_writes) = server.into_split();
            let writing = async {
                client_writes.write_all(&bytes).await.unwrap();
                client_writes.shutdown().await.unwrap();
            };
            // The server answers with what it gets, and so cannot read faster than the client does.
            let echoing = async {
                tokio::io::copy(&mut server_reads, &mut server_writes).await.unwrap();
                server_writes.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let reading = client_reads.read_to_end(&mut got);
            let ((), (), read) = tokio::join!(writing, echoing, reading);
            read.unwrap();
            assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());
        })
        .await;
        assert!(matches!(end, End::Done), "{end:?}");
        assert_eq!(counts, [8 << 20; 2]);
    }

    #[tokio::test]
    async fn a_reset_is_not_taken_for_an_end() {
        let (end, _, read) = with(LONG, |mut client, mut server| async move {
            client.write_all(b"x").await.unwrap();
            server.read_exact(&mut [0]).await.unwrap();
            server.break_off();
            drop(server);
            client.read_to_end(&mut Vec::new()).await
        })
        .await;
        assert!(matches!(end, End::Far(_)), "{end:?}");
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let (end, _, read) = with(LONG, |client, mut server| async move {
            client.break_off();
            drop(client);
            server.read_to_end(&mut Vec::new()).await
        })
        .await;
        assert!(matches!(end, End::Near(_)), "{end:?}");
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn silence_ends_it_and_bytes_put_it_off() {
        let idle = Duration::from_millis(100);
        let begun = Instant::now();
        let (end, [received, sent], busy) = with(idle, |mut client, mut server| async move {
            while begun.elapsed() < 3 * idle {
                client.write_all(b"x").await.unwrap();
                server.read_exact(&mut [0]).await.unwrap();
            }
            let busy = begun.elapsed();
            let broken = server.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
            busy
        })
        .await;
        assert!(matches!(end, End::Idle), "{end:?}");
        assert!(received > 0 && sent == 0);
        // Less than the whole time, as the last byte passed shortly before the script knew.
        assert!(begun.elapsed() > busy + idle / 2, "{:?} after {busy:?}", begun.elapsed());
    }

    /// Gives bytes without end, and counts them.
    struct Endless(usize);

    impl AsyncRead for Endless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = buf.remaining();
            self.0 += count;
            buf.put_slice(&vec![7; count]);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn no_more_is_read_than_is_taken() {
        let (mut slow, mut reader) = tokio::io::duplex(1000);
        let (mut way, mut source, mut passed) = (Way::default(), Endless(0), 0);
        let mut poll = |way: &mut Way, source: &mut Endless| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(way.poll(&mut cx, source, &mut slow, |bytes| passed += bytes).is_pending());
            passed
        };
        for _ in 0..3 {
            assert_eq!(poll(&mut way, &mut source), 1000);
            assert_eq!((source.0, way.left.len() - way.at), (SCRATCH_BYTES, SCRATCH_BYTES - 1000));
        }
        reader.read_exact(&mut [0; 600]).await.unwrap();
        assert_eq!(poll(&mut way, &mut source), 1600);
        assert_eq!(source.0, SCRATCH_BYTES);
    }
}
