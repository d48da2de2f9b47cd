//! Callers that stay with one endpoint: reading what they carry, and telling them what to carry. What it means is the
//! engine's decision; the clock is ours.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use weft_bundle::body::{Backend, SessionPersistence};
use weft_bundle::engine::Session;

/// A rule's sessions, for one request.
pub(super) struct Visit<'r> {
    policy: &'r SessionPersistence,
    carried: Option<Session>,
}

impl<'r> Visit<'r> {
    /// What the request carries; none if the rule has no sessions.
    pub(super) fn of(policy: Option<&'r SessionPersistence>, headers: &HeaderMap) -> Option<Self> {
        let policy = policy?;
        Some(Self { policy, carried: Session::read(policy, headers, now()) })
    }

    /// The backend that it should go to.
    pub(super) fn backend<'b>(&self, backends: &'b [Backend]) -> Option<&'b Backend> {
        self.carried?.backend(backends)
    }

    /// The endpoint that it should go to.
    pub(super) fn endpoint(&self) -> Option<u64> {
        Some(self.carried?.endpoint())
    }

    /// The field that the response gets, after this endpoint of the backend answered.
    pub(super) fn answered(&self, backend: &Backend, endpoint: u64) -> Option<(HeaderName, HeaderValue)> {
        Session::write(self.policy, self.carried, backend, endpoint, now())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
