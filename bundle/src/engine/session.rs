//! Callers that stay with the backend and the endpoint that first answered them (Gateway API, `SessionPersistence`).
//!
//! The caller carries a token, in a cookie or a header field: hashes of the backend and of the endpoint's address, when the
//! session began and when it was last used, in seconds. It names no address, and whoever forges one chooses only among the
//! endpoints that the rule leads to anyway. A token that is not understood, or whose time is over, is none.

use http::header::{HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::hash::{cookie, stable_hash};
use crate::body::{Backend, SessionCarrier, SessionPersistence, Target};

/// A session that a caller carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    backend: u64,
    endpoint: u64,
    began: u64,
    used: u64,
}

impl Session {
    /// The session that a request carries, if it goes on at that time, in seconds since the epoch.
    pub fn read(policy: &SessionPersistence, headers: &HeaderMap, now: u64) -> Option<Self> {
        let token = match policy.carrier {
            SessionCarrier::Cookie | SessionCarrier::PermanentCookie => cookie(headers, &policy.name)?,
            SessionCarrier::Header => headers.get(&policy.name)?.as_bytes(),
        };
        let token = std::str::from_utf8(token).ok()?;
        let mut parts = token.split('.').map(|part| match part.len() {
            1..=16 => u64::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+')),
            _ => None,
        });
        let mut next = || parts.next().flatten();
        let session = Self { backend: next()?, endpoint: next()?, began: next()?, used: next()? };
        let over = |since: u64, limit: Option<crate::duration::DurationText>| {
            // A time in the future is no time of ours.
            since > now
                || limit.is_some_and(|limit| !limit.is_zero() && now - since >= limit.get().as_secs().max(1))
        };
        let goes_on = parts.next().is_none()
            && !over(session.began, policy.absolute_timeout)
            && !over(session.used, policy.idle_timeout);
        goes_on.then_some(session)
    }

    /// The backend that it is with, if the rule still has it and sends anything there.
    pub fn backend<'b>(&self, backends: &'b [Backend]) -> Option<&'b Backend> {
        backends.iter().find(|backend| backend.weight > 0 && of_backend(backend) == self.backend)
    }

    /// The hash of the address of the endpoint that it is with.
    pub fn endpoint(&self) -> u64 {
        self.endpoint
    }

    /// The field that a response gets after an endpoint, by the hash of its address, has answered; none if the caller
    /// carries what it should already.
    pub fn write(
        policy: &SessionPersistence,
        carried: Option<Self>,
        backend: &Backend,
        endpoint: u64,
        now: u64,
    ) -> Option<(HeaderName, HeaderValue)> {
        let backend = of_backend(backend);
        let stays = carried.filter(|carried| carried.backend == backend && carried.endpoint == endpoint);
        if stays.is_some_and(|stays| policy.idle_timeout.is_none() || stays.used == now) {
            return None;
        }
        let began = stays.map_or(now, |stays| stays.began);
        let token = format!("{backend:x}.{endpoint:x}.{began:x}.{now:x}");
        let name = &policy.name;
        let (name, value) = match (policy.carrier, policy.absolute_timeout) {
            (SessionCarrier::Header, _) => (HeaderName::from_bytes(name.as_bytes()).ok()?, token),
            (SessionCarrier::PermanentCookie, Some(limit)) => {
                let left = limit.get().as_secs().saturating_sub(now.saturating_sub(began));
                (SET_COOKIE, format!("{name}={token}; Max-Age={left}; Path=/; HttpOnly"))
            }
            (SessionCarrier::Cookie | SessionCarrier::PermanentCookie, _) => {
                (SET_COOKIE, format!("{name}={token}; Path=/; HttpOnly"))
            }
        };
        Some((name, HeaderValue::from_str(&value).ok()?))
    }
}

fn of_backend(backend: &Backend) -> u64 {
    match &backend.target {
        Target::Cluster(id) => stable_hash(&[id.as_bytes()]),
        Target::Status(status) => stable_hash(&[b"status", &status.to_le_bytes()]),
    }
}

/// Whether a session can be carried under that name. Cookie names are tokens, like those of header fields, but may have
/// capitals.
pub(super) fn is_legal(policy: &SessionPersistence) -> bool {
    HeaderName::from_bytes(policy.name.as_bytes()).is_ok()
        && (policy.carrier != SessionCarrier::Header || !super::FRAMING.contains(&policy.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::HeaderEdits;
    use crate::duration::DurationText;
    use std::time::Duration;

    fn policy(carrier: SessionCarrier, absolute: Option<u64>, idle: Option<u64>) -> SessionPersistence {
        let text =
            |seconds: Option<u64>| seconds.map(|seconds| DurationText::new(Duration::from_secs(seconds)));
        let (absolute_timeout, idle_timeout) = (text(absolute), text(idle));
        SessionPersistence { name: "sid".to_owned(), carrier, absolute_timeout, idle_timeout }
    }

    fn backend(name: &str, weight: u32) -> Backend {
        let edits = HeaderEdits::default();
        Backend {
            target: Target::Cluster(name.to_owned()),
            weight,
            request_headers: edits.clone(),
            response_headers: edits,
        }
    }

    /// What a caller carries after an answer with this field.
    fn carry((name, value): (HeaderName, HeaderValue)) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let text = value.to_str().unwrap();
        match name {
            SET_COOKIE => headers.insert("cookie", text.split(';').next().unwrap().parse().unwrap()),
            name => headers.insert(name, value),
        };
        headers
    }

    #[test]
    fn a_session_leads_back_until_its_time_is_over() {
        let backends = [backend("a", 1), backend("b", 1), backend("c", 0)];
        for carrier in [SessionCarrier::Cookie, SessionCarrier::PermanentCookie, SessionCarrier::Header] {
            let policy = policy(carrier, Some(100), Some(30));
            let first = Session::write(&policy, None, &backends[1], 7, 1000).unwrap();
            let carried = carry(first);
            let session = Session::read(&policy, &carried, 1029).unwrap();
            assert_eq!(session.endpoint(), 7);
            assert_eq!(session.backend(&backends), Some(&backends[1]));
            assert_eq!(session.backend(&[backend("b", 0)]), None, "nothing goes there any more");
            assert_eq!(Session::read(&policy, &carried, 1030), None, "not used for too long");
            assert_eq!(Session::read(&policy, &carried, 999), None, "from the future");
            // Each use makes it last, but not past the end.
            let mut carried = carried;
            let mut now = 1000;
            while let Some(session) = Session::read(&policy, &carried, now) {
                now += 10;
                if let Some(next) = Session::write(&policy, Some(session), &backends[1], 7, now) {
                    carried = carry(next);
                }
            }
            assert_eq!(now, 1100);
        }
    }

    #[test]
    fn a_response_says_only_what_is_new() {
        let backends = [backend("a", 1), backend("b", 1)];
        let policy = policy(SessionCarrier::PermanentCookie, Some(60), None);
        let (name, value) = Session::write(&policy, None, &backends[0], 7, 1000).unwrap();
        assert!(value.to_str().unwrap().ends_with("; Max-Age=60; Path=/; HttpOnly"));
        let session = Session::read(&policy, &carry((name, value)), 1020);
        assert_eq!(Session::write(&policy, session, &backends[0], 7, 1020), None);
        let moved = Session::write(&policy, session, &backends[0], 8, 1020).unwrap();
        assert_eq!(Session::read(&policy, &carry(moved), 1020).unwrap().endpoint(), 8);
        assert!(Session::write(&policy, session, &backends[1], 7, 1020).is_some());
    }

    #[test]
    fn what_is_no_token_is_no_session() {
        let policy = policy(SessionCarrier::Header, None, None);
        for text in ["", "1.2.3", "1.2.3.4.5", "+1.2.3.4", "1.2.3.g", "11111111111111111.2.3.4", "1..3.4"] {
            let mut headers = HeaderMap::new();
            headers.insert("sid", text.parse().unwrap());
            assert_eq!(Session::read(&policy, &headers, 10), None, "{text}");
        }
        for name in ["host", "a b", "a;b", ""] {
            assert!(!is_legal(&SessionPersistence { name: name.to_owned(), ..policy.clone() }), "{name}");
        }
    }
}
