//! Bodies on their way through. They stream; nothing is collected, except that a small request body of known length is
//! remembered while it passes, so that it can be sent again ([`RequestBody::replayable`]).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::fields::strip_trailers;
use super::tap::{Copied, Missed, TAP_BYTES, Tap};
use crate::cluster::Lease;
use crate::telemetry::Reason;
use crate::telemetry::record::Record;

/// The largest request body that is remembered for another try.
const REPLAY_BYTES: u64 = 64 * 1024;

/// How long a body may stand still where no rule says otherwise.
pub(crate) const DEFAULT_IDLE: Duration = Duration::from_secs(300);

/// Why a body broke off.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The side that sends it failed.
    Source(hyper::Error),
    /// It stood still for too long.
    Idle,
    /// Another try took it over.
    Superseded,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source(_) => "the sender broke off",
            Self::Idle => "the body stood still for too long",
            Self::Superseded => "another try took over",
        })
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::Idle | Self::Superseded => None,
        }
    }
}

/// A body from the network with a limit on standing still. The timer exists only once the body makes us wait.
#[derive(Debug)]
struct Watched {
    incoming: Incoming,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    end: BodyEnd,
    /// Who remembers it for copies.
    tap: Option<Tap>,
    /// Fields that its trailers may not have, beside those that none may.
    withheld: Box<[HeaderName]>,
    /// Counts its bytes.
    counter: Option<Counter>,
}

/// Tells when a body has arrived whole, or will not: the time that a request may take begins there, so that long uploads
/// and streams are not cut off.
#[derive(Clone, Debug)]
pub(crate) struct BodyEnd(
    /// None if it was there from the beginning.
    Option<Rc<(Cell<bool>, Notify)>>,
);

impl BodyEnd {
    /// Of a body that is still to come.
    fn ahead() -> Self {
        Self(Some(Rc::default()))
    }

    fn reached(&self) {
        if let Some(end) = &self.0
            && !end.0.replace(true)
        {
            end.1.notify_waiters();
        }
    }

    async fn wait(&self) {
        let Some(end) = &self.0 else { return };
        // Before looking, so that an end in between is not missed.
        let mut notified = pin!(end.1.notified());
        notified.as_mut().enable();
        if !end.0.get() {
            notified.await;
        }
    }

    /// Runs a future, for as long as it takes before the end and for at most `limit` after it. None if that was too short.
    /// The future stays where it is: those of requests are large.
    pub(crate) async fn and_then_within<T>(
        &self,
        limit: Duration,
        future: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let late = async {
            self.wait().await;
            tokio::time::sleep(limit).await;
        };
        tokio::select! {
            biased;
            output = future => Some(output),
            () = late => None,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end.reached();
        if let Some(tap) = &self.tap {
            tap.missed(Missed::Incomplete);
        }
    }
}

impl Watched {
    fn new(incoming: Incoming, idle: Duration) -> Self {
        Self {
            incoming,
            idle,
            timer: None,
            end: BodyEnd::ahead(),
            tap: None,
            withheld: Box::default(),
            counter: None,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer = None;
                if !matches!(frame, Some(Ok(ref frame)) if frame.is_data()) || self.incoming.is_end_stream() {
                    self.end.reached();
                }
                let frame =
                    frame.map(|frame| frame.map(|frame| self.clean(frame)).map_err(BodyError::Source));
                self.tell_tap(frame.as_ref());
                if let (Some(counter), Some(Ok(frame))) = (&self.counter, &frame) {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    counter.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let idle = self.idle;
                let timer = self
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + idle)));
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(BodyError::Idle)))
            }
        }
    }
}

impl Watched {
    fn tell_tap(&self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        let Some(tap) = &self.tap else { return };
        match frame {
            None => tap.ended(),
            Some(Err(_)) => tap.missed(Missed::Incomplete),
            Some(Ok(frame)) => {
                tap.passed(frame);
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    tap.ended();
                }
            }
        }
    }

    fn clean(&self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(trailers) = frame.trailers_mut() {
            strip_trailers(trailers);
            for name in &self.withheld {
                trailers.remove(name);
            }
        }
        frame
    }

    fn tap(&mut self) -> Tap {
        let tap = self.tap.get_or_insert_default().clone();
        let bound = u64::try_from(TAP_BYTES).unwrap_or(u64::MAX);
        if self.incoming.size_hint().lower() > bound {
            tap.missed(Missed::TooLarge);
        }
        tap
    }
}

// ----------------------------------------------------------------------------------------------------- requests

/// The body of a request that we send.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Nothing.
    Empty,
    /// Passes once.
    Stream(Streamed),
    /// Passes, and can pass again.
    Replay(Replay),
    /// Was remembered while it passed elsewhere.
    Copied(Copied),
}

/// See [`RequestBody::Stream`].
#[derive(Debug)]
pub(crate) struct Streamed(Watched);

/// See [`RequestBody::Replay`]. Of all that share one memory only the youngest may read.
#[derive(Debug)]
pub(crate) struct Replay {
    memory: Rc<RefCell<Memory>>,
    try_number: u32,
    /// How many remembered frames were given out.
    given: usize,
}

#[derive(Debug)]
pub(crate) struct Memory {
    source: Watched,
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// The youngest reader.
    try_number: u32,
}

impl RequestBody {
    /// A body that passes once, or nothing if it is empty.
    pub(crate) fn stream(incoming: Incoming, idle: Duration) -> Self {
        if incoming.is_end_stream() {
            Self::Empty
        } else {
            Self::Stream(Streamed(Watched::new(incoming, idle)))
        }
    }

    /// A body that can pass again, if its length is known and small; else one that passes once.
    pub(crate) fn replayable(incoming: Incoming, idle: Duration) -> Self {
        let small = incoming.size_hint().exact().is_some_and(|bytes| bytes <= REPLAY_BYTES);
        if incoming.is_end_stream() || !small {
            return Self::stream(incoming, idle);
        }
        let source = Watched::new(incoming, idle);
        let memory = Memory { source, frames: Vec::new(), trailers: None, ended: false, try_number: 0 };
        Self::Replay(Replay { memory: Rc::new(RefCell::new(memory)), try_number: 0, given: 0 })
    }

    /// The same, whose trailers do not have these fields. Before it is sent.
    pub(crate) fn without_trailers(mut self, names: &[HeaderName]) -> Self {
        match &mut self {
            Self::Empty | Self::Copied(_) => {}
            Self::Stream(stream) => stream.0.withheld = names.into(),
            Self::Replay(replay) => replay.memory.borrow_mut().source.withheld = names.into(),
        }
        self
    }

    /// The same, whose bytes are counted as they come. Before it is sent.
    pub(crate) fn counted(mut self, counter: &Counter) -> Self {
        match &mut self {
            Self::Empty | Self::Copied(_) => {}
            Self::Stream(stream) => stream.0.counter = Some(counter.clone()),
            Self::Replay(replay) => replay.memory.borrow_mut().source.counter = Some(counter.clone()),
        }
        self
    }

    /// When it will have arrived whole.
    pub(crate) fn end(&self) -> BodyEnd {
        match self {
            Self::Empty | Self::Copied(_) => BodyEnd(None),
            Self::Stream(stream) => stream.0.end.clone(),
            Self::Replay(replay) => replay.memory.borrow().source.end.clone(),
        }
    }

    /// Remembers it for copies, while it passes. Before it is sent.
    pub(crate) fn tap(&mut self) -> Tap {
        match self {
            Self::Empty | Self::Copied(_) => Tap::empty(),
            Self::Stream(stream) => stream.0.tap(),
            Self::Replay(replay) => replay.memory.borrow_mut().source.tap(),
        }
    }

    /// A hold on the body, to send it again. None if it passes once only.
    pub(crate) fn remembered(&self) -> Option<Remembered> {
        match self {
            Self::Empty => Some(Remembered(None)),
            Self::Stream(_) | Self::Copied(_) => None,
            Self::Replay(replay) => Some(Remembered(Some(Rc::clone(&replay.memory)))),
        }
    }
}

/// A hold on a body that can pass again.
#[derive(Debug)]
pub(crate) struct Remembered(Option<Rc<RefCell<Memory>>>);

impl Remembered {
    /// The body from its beginning. Whoever had it before may not read any more.
    pub(crate) fn again(self) -> RequestBody {
        let Some(memory) = self.0 else {
            return RequestBody::Empty;
        };
        memory.borrow_mut().try_number += 1;
        let try_number = memory.borrow().try_number;
        RequestBody::Replay(Replay { memory, try_number, given: 0 })
    }
}

impl Replay {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let memory = &mut *self.memory.borrow_mut();
        if memory.try_number != self.try_number {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if let Some(bytes) = memory.frames.get(self.given) {
            self.given += 1;
            return Poll::Ready(Some(Ok(Frame::data(bytes.clone()))));
        }
        if memory.ended {
            let trailers = if self.given == memory.frames.len() { memory.trailers.clone() } else { None };
            self.given = memory.frames.len() + 1;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = match ready!(memory.source.poll_frame(cx)) {
            None => {
                memory.ended = true;
                self.given = memory.frames.len() + 1;
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => frame,
        };
        if let Some(bytes) = frame.data_ref() {
            memory.frames.push(bytes.clone());
            memory.ended = memory.source.incoming.is_end_stream();
            self.given += 1;
        } else if let Some(trailers) = frame.trailers_ref() {
            memory.trailers = Some(trailers.clone());
            memory.ended = true;
            self.given = memory.frames.len() + 1;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let memory = self.memory.borrow();
        memory.ended
            && (self.given > memory.frames.len()
                || (self.given == memory.frames.len() && memory.trailers.is_none()))
    }

    fn size_hint(&self) -> SizeHint {
        let memory = self.memory.borrow();
        let kept: usize = memory.frames.iter().skip(self.given).map(Bytes::len).sum();
        let kept = u64::try_from(kept).unwrap_or(u64::MAX);
        match memory.source.incoming.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(kept.saturating_add(rest)),
            None => SizeHint::default(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream(stream) => stream.0.poll_frame(cx),
            Self::Replay(replay) => replay.poll_frame(cx),
            Self::Copied(copied) => Poll::Ready(copied.next_frame().map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream(stream) => stream.0.incoming.is_end_stream(),
            Self::Replay(replay) => replay.is_end_stream(),
            Self::Copied(copied) => copied.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream(stream) => stream.0.incoming.size_hint(),
            Self::Replay(replay) => replay.size_hint(),
            Self::Copied(copied) => copied.size_hint(),
        }
    }
}

// ---------------------------------------------------------------------------------------------------- responses

/// The body of a response that we send. It carries the request's [`Record`], whose end is the body's end.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    source: Source,
    record: Option<Record>,
}

#[derive(Debug)]
enum Source {
    Done,
    Text(Bytes),
    Upstream {
        body: Watched,
        /// The connection it comes over; given back when the body is over.
        lease: Lease,
        /// Why the request ends, if the body arrives whole.
        reason: Reason,
    },
}

impl ResponseBody {
    /// An answer of our own.
    pub(crate) fn text(text: impl Into<Bytes>, mut record: Record) -> Self {
        let text = text.into();
        record.sent = u64::try_from(text.len()).unwrap_or(u64::MAX);
        Self { source: Source::Text(text), record: Some(record) }
    }

    /// Nothing, of a response whose request goes on as a tunnel.
    pub(crate) fn none() -> Self {
        Self { source: Source::Done, record: None }
    }

    /// The body of an upstream's response. The record still says that the caller went away; only the end of the body
    /// says otherwise.
    pub(crate) fn upstream(incoming: Incoming, idle: Duration, lease: Lease, record: Record) -> Self {
        let source = Source::Upstream { body: Watched::new(incoming, idle), lease, reason: Reason::Ok };
        let mut body = Self { source, record: Some(record) };
        body.settle();
        body
    }

    /// Ends the request if nothing more will come: hyper does not ask again after that.
    fn settle(&mut self) {
        if let Source::Upstream { body, .. } = &self.source
            && body.incoming.is_end_stream()
        {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Source::Upstream { lease, reason, .. } = std::mem::replace(&mut self.source, Source::Done) {
            lease.give_back();
            if let Some(mut record) = self.record.take() {
                record.because(reason);
            }
        }
    }

    fn fail(&mut self, reason: Reason) {
        self.source = Source::Done;
        if let Some(mut record) = self.record.take() {
            record.because(reason);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match &mut this.source {
            Source::Done => Poll::Ready(None),
            Source::Text(text) => {
                let text = std::mem::take(text);
                this.source = Source::Done;
                this.record = None;
                Poll::Ready((!text.is_empty()).then_some(Ok(Frame::data(text))))
            }
            Source::Upstream { body, .. } => match ready!(body.poll_frame(cx)) {
                None => {
                    this.finish();
                    Poll::Ready(None)
                }
                Some(Ok(frame)) => {
                    if let (Some(data), Some(record)) = (frame.data_ref(), &mut this.record) {
                        record.sent += u64::try_from(data.len()).unwrap_or(u64::MAX);
                    }
                    if frame.is_trailers() {
                        this.finish();
                    } else {
                        this.settle();
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Some(Err(error)) => {
                    this.fail(match error {
                        BodyError::Idle => Reason::IdleTimeout,
                        BodyError::Source(_) | BodyError::Superseded => Reason::UpstreamReset,
                    });
                    Poll::Ready(Some(Err(error)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Done => true,
            Source::Text(text) => text.is_empty(),
            Source::Upstream { body, .. } => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Done => SizeHint::with_exact(0),
            Source::Text(text) => SizeHint::with_exact(u64::try_from(text.len()).unwrap_or(u64::MAX)),
            Source::Upstream { body, .. } => body.incoming.size_hint(),
        }
    }
}
