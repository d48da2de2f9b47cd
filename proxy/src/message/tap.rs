//! A request's body, remembered while it passes, so that copies of the request can be sent when it has passed whole.
//!
//! It only listens: it never asks for a frame, and never holds one up. What is larger than a bound is forgotten at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;

/// The largest body that is remembered.
pub(crate) const TAP_BYTES: usize = 64 * 1024;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap(Rc<State>);

#[derive(Debug, Default)]
struct State {
    frames: RefCell<VecDeque<Bytes>>,
    bytes: Cell<usize>,
    trailers: RefCell<Option<HeaderMap>>,
    stage: Cell<Stage>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Passing,
    Whole,
    Missed(Missed),
}

/// Why there is no body to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It is larger than [`TAP_BYTES`].
    TooLarge,
    /// It did not pass to its end.
    Incomplete,
}

impl Tap {
    /// Of a body that is over already.
    pub(super) fn empty() -> Self {
        let tap = Self::default();
        tap.ended();
        tap
    }

    /// Notes a frame that passes.
    pub(super) fn passed(&self, frame: &Frame<Bytes>) {
        if self.0.stage.get() != Stage::Passing {
            return;
        }
        if let Some(bytes) = frame.data_ref() {
            let total = self.0.bytes.get().saturating_add(bytes.len());
            if total > TAP_BYTES {
                self.missed(Missed::TooLarge);
                return;
            }
            self.0.bytes.set(total);
            self.0.frames.borrow_mut().push_back(bytes.clone());
        } else if let Some(trailers) = frame.trailers_ref() {
            *self.0.trailers.borrow_mut() = Some(trailers.clone());
        }
    }

    /// Notes that all has passed.
    pub(super) fn ended(&self) {
        self.settle(Stage::Whole);
    }

    /// Notes that not all has passed, or can be remembered.
    pub(super) fn missed(&self, missed: Missed) {
        if self.0.stage.get() == Stage::Passing {
            self.0.frames.borrow_mut().clear();
        }
        self.settle(Stage::Missed(missed));
    }

    fn settle(&self, stage: Stage) {
        if self.0.stage.get() == Stage::Passing {
            self.0.stage.set(stage);
            self.0.changed.notify_waiters();
        }
    }

    /// The body, once it has passed. Ends at the latest with the request that it is of.
    pub(crate) async fn whole(self) -> Result<Copied, Missed> {
        loop {
            // Before looking, so that an end in between is not missed.
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            match self.0.stage.get() {
                Stage::Passing => changed.await,
                Stage::Missed(missed) => return Err(missed),
                Stage::Whole => {
                    let frames = self.0.frames.borrow().clone();
                    return Ok(Copied { frames, trailers: self.0.trailers.borrow().clone() });
                }
            }
        }
    }
}

/// A body that was remembered.
#[derive(Debug)]
pub(crate) struct Copied {
    frames: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Copied {
    /// A body of our own.
    pub(crate) fn of(bytes: Bytes) -> Self {
        Self { frames: VecDeque::from([bytes]), trailers: None }
    }

    pub(super) fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        match self.frames.pop_front() {
            Some(bytes) => Some(Frame::data(bytes)),
            None => self.trailers.take().map(Frame::trailers),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.frames.is_empty() && self.trailers.is_none()
    }

    /// With trailers the length is not said beforehand: HTTP/1.1 has them only behind chunks.
    pub(super) fn size_hint(&self) -> SizeHint {
        let bytes: usize = self.frames.iter().map(Bytes::len).sum();
        match self.trailers {
            None => SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX)),
            Some(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: usize) -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn what_passed_whole_and_is_small_can_be_copied_more_than_once() {
        let tap = Tap::default();
        tap.passed(&data(3));
        tap.passed(&data(TAP_BYTES - 3));
        tap.ended();
        for _ in 0..2 {
            let mut copy = tap.clone().whole().await.unwrap();
            assert_eq!(copy.size_hint().exact(), Some(TAP_BYTES as u64));
            assert_eq!(copy.next_frame().unwrap().data_ref().unwrap().len(), 3);
            assert!(copy.next_frame().is_some() && copy.is_over());
        }
    }

    #[tokio::test]
    async fn what_is_larger_or_broke_off_cannot() {
        let large = Tap::default();
        large.passed(&data(TAP_BYTES));
        large.passed(&data(1));
        large.ended();
        assert_eq!(large.clone().whole().await.err(), Some(Missed::TooLarge));
        assert!(large.0.frames.borrow().is_empty(), "nothing is kept");
        let broken = Tap::default();
        broken.passed(&data(1));
        broken.missed(Missed::Incomplete);
        broken.ended();
        assert_eq!(broken.whole().await.err(), Some(Missed::Incomplete));
    }

    #[tokio::test]
    async fn a_copy_waits_for_the_end() {
        let tap = Tap::default();
        let passing = async {
            tap.passed(&data(1));
            tokio::task::yield_now().await;
            tap.ended();
        };
        let (copy, ()) = tokio::join!(tap.clone().whole(), passing);
        assert_eq!(copy.unwrap().size_hint().exact(), Some(1));
    }
}
