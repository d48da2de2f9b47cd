//! What one connection is doing, for the limits: requests under way, a head that has begun, a reader that does not read. It
//! is noted by whoever sees it, and looked at when the connection's timer is due; no request arms a timer of its own here.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::strict::Doubt;
use crate::message::body::DEFAULT_IDLE;

/// How long a handshake, or a request's head from its first byte, may take.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection of HTTP/1.1 is without requests before it is only waited for.
pub(super) const REST_AFTER: Duration = Duration::from_secs(2);

/// How requests are told apart on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Http1,
    Http2,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Activity {
    requests: Cell<usize>,
    /// Since when there is no request.
    pub(super) idle_since: Cell<Instant>,
    /// When the first byte came since then.
    head_since: Cell<Option<Instant>>,
    /// Since when the peer does not take what we send.
    pub(super) blocked_since: Cell<Option<Instant>>,
    /// Whether it is known that the last request has come whole. An answer may be over before its request is, and then what
    /// comes next is not the beginning of another one.
    pub(super) is_whole: Cell<bool>,
    /// Why a request on it was refused before it was read.
    pub(super) doubt: Cell<Option<Doubt>>,
    /// Whether nothing more of it is read, as it may have two meanings.
    pub(super) is_over: Cell<bool>,
}

/// One request of a connection.
#[derive(Debug)]
pub(crate) struct Busy(Rc<Activity>);

#[cfg(test)]
impl Busy {
    /// A request of no connection.
    pub(crate) fn of_nobody() -> Self {
        Self(Rc::new(Activity::new(Instant::now())))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let requests = self.0.requests.get().saturating_sub(1);
        self.0.requests.set(requests);
        if requests == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// What is due on a connection.
pub(super) enum Due {
    /// Nothing before this.
    Wait(Instant),
    /// It was idle for long enough.
    Idle,
    /// Half a request, or a reader that does not read.
    Stalled,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            requests: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(None),
            blocked_since: Cell::new(None),
            is_whole: Cell::new(true),
            doubt: Cell::new(None),
            is_over: Cell::new(false),
        }
    }

    /// Notes that a request begins; it ends when the guard is dropped.
    pub(super) fn begin(this: &Rc<Self>) -> Busy {
        this.requests.set(this.requests.get() + 1);
        this.head_since.set(None);
        Busy(Rc::clone(this))
    }

    /// Notes that bytes came.
    pub(super) fn read(&self) {
        if self.requests.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// Whether nothing has been going on for a while, and nothing is left of what did.
    pub(super) fn is_at_rest(&self, now: Instant) -> bool {
        self.requests.get() == 0
            && self.is_whole.get()
            && !self.is_over.get()
            && self.head_since.get().is_none()
            && self.blocked_since.get().is_none()
            && now >= self.idle_since.get() + REST_AFTER
    }

    /// On HTTP/2 bytes without a request are often pings and settings, and heads are bounded by frames: only silence
    /// counts there.
    pub(super) fn due(&self, now: Instant, framing: Framing, idle_limit: Duration) -> Due {
        let counts_heads = framing == Framing::Http1;
        if let Some(blocked) = self.blocked_since.get()
            && now >= blocked + DEFAULT_IDLE
        {
            return Due::Stalled;
        }
        if self.requests.get() > 0 {
            return Due::Wait(now + HEAD_LIMIT);
        }
        match self.head_since.get() {
            Some(since) if counts_heads && now >= since + HEAD_LIMIT => Due::Stalled,
            Some(since) if counts_heads => Due::Wait(since + HEAD_LIMIT),
            Some(_) | None if now >= self.idle_since.get() + idle_limit => Due::Idle,
            // A head may begin at any time.
            Some(_) | None => Due::Wait((self.idle_since.get() + idle_limit).min(now + HEAD_LIMIT)),
        }
    }
}
