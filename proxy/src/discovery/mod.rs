//! Where endpoints come from that the bundle does not list: names and files, asked on the control half.
//!
//! ```text
//! Feeds ── one Feed per question ── last good answer ──► Members* of the clusters that follow it ──► workers
//!   ├─ thread `dns`: a task per name ([`dns`])
//!   └─ thread `endpoints`: all files, watched ([`file`])
//! ```
//! The threads start with the first question of their kind. A question is asked for as long as a cluster wants to know; one
//! that a reload keeps is not asked anew. Answers that fail are counted and logged, and change nothing.

pub(crate) mod dns;
mod file;
mod thread;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use tokio::task::AbortHandle;
use weft_bundle::body::Discovery;

pub use self::dns::{DnsOptions, NameServer, NameServerError};
use self::thread::Threads;
use crate::cluster::members::{Members, Source};
use crate::cluster::tiers::Traits;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    /// The addresses of a name.
    Addresses(String),
    /// The services of a name.
    Services(String),
    /// The content of a file.
    File(PathBuf),
}

impl Question {
    /// None where nothing is to be asked.
    fn of(discovery: &Discovery) -> Option<Self> {
        match discovery {
            Discovery::Dns { host, .. } => Some(Self::Addresses(host.clone())),
            Discovery::DnsService { name } => Some(Self::Services(name.clone())),
            Discovery::File { path, .. } => Some(Self::File(path.into())),
            Discovery::OriginalDestination => None,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(name) => write!(f, "addresses of {name}"),
            Self::Services(name) => write!(f, "services of {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why an answer is none: a closed list, for metrics and logs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// The stable name.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

faults! {
    /// The name does not exist.
    NoName = "no-such-name";
    /// The name exists, and has no records of that kind.
    NoRecords = "no-records";
    /// The name servers say that they cannot tell.
    ServerFailure = "server-failure";
    /// The name servers say nothing in time.
    Timeout = "timeout";
    /// No name server is known or can be reached.
    Unreachable = "unreachable";
    /// It is not a name that can be looked up.
    BadName = "bad-name";
    /// The file is not there, or cannot be read.
    Missing = "missing";
    /// The file is larger than is read.
    TooLarge = "too-large";
    /// The file is not of the form that is read.
    Malformed = "malformed";
    /// There is no endpoint in it, or none of the subset.
    Empty = "empty";
}

/// A good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) source: Source,
    /// Sorted. Never empty.
    pub(crate) endpoints: Vec<FoundEndpoint>,
}

/// One endpoint of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundEndpoint {
    pub(crate) address: IpAddr,
    /// The service's port if not set.
    pub(crate) port: Option<u16>,
    pub(crate) weight: u32,
    pub(crate) traits: Traits,
}

/// One question, its last good answer, and who wants to know.
#[derive(Debug)]
pub(crate) struct Feed {
    question: Question,
    state: Mutex<State>,
    /// Asks a name; ends with this.
    task: OnceLock<AbortHandle>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Arc<Found>>,
    answered: Option<Instant>,
    failure: Option<Fault>,
    followers: Vec<Weak<Members>>,
}

impl Feed {
    fn new(question: Question) -> Self {
        Self { question, state: Mutex::default(), task: OnceLock::new() }
    }

    pub(crate) fn question(&self) -> &Question {
        &self.question
    }

    /// The last good answer.
    pub(crate) fn last(&self) -> Option<Arc<Found>> {
        self.state().last.clone()
    }

    /// Tells a cluster what is known, and what will be.
    pub(crate) fn follow(&self, members: &Arc<Members>) {
        let mut state = self.state();
        match (&state.last, state.answered, state.failure) {
            (Some(found), Some(answered), _) => members.take(found, answered),
            (_, _, Some(fault)) => members.failed(fault),
            _ => {}
        }
        state.followers.push(Arc::downgrade(members));
    }

    /// Passes an answer on to those who want to know.
    fn publish(&self, answer: Result<Found, (Fault, String)>) {
        let now = Instant::now();
        let mut state = self.state();
        state.followers.retain(|follower| follower.strong_count() > 0);
        let followers: Vec<_> = state.followers.iter().filter_map(Weak::upgrade).collect();
        match answer {
            Ok(found) => {
                let had_failed = state.failure.take().is_some();
                if had_failed {
                    tracing::info!(of = %self.question, "endpoints are found again");
                }
                state.answered = Some(now);
                if state.last.as_deref() == Some(&found) && !had_failed {
                    return followers.iter().for_each(|follower| follower.confirmed(now));
                }
                let found = state.last.insert(Arc::new(found));
                followers.iter().for_each(|follower| follower.take(found, now));
            }
            Err((fault, why)) => {
                let kept = state.last.as_ref().map_or(0, |found| found.endpoints.len());
                if state.failure.replace(fault) != Some(fault) {
                    tracing::warn!(of = %self.question, fault = fault.as_str(), kept, "no endpoints are found: {why}");
                }
                followers.iter().for_each(|follower| follower.failed(fault));
            }
        }
    }

    /// Counts what failed beside a good answer.
    fn count(&self, fault: Fault) {
        self.state().followers.iter().filter_map(Weak::upgrade).for_each(|follower| follower.count(fault));
    }

    /// Notes that the last good answer still holds.
    fn confirm(&self) {
        let now = Instant::now();
        let mut state = self.state();
        state.answered = Some(now);
        state.followers.iter().filter_map(Weak::upgrade).for_each(|follower| follower.confirmed(now));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// All questions of a proxy.
#[derive(Debug)]
pub(crate) struct Feeds {
    asked: Mutex<BTreeMap<Question, Weak<Feed>>>,
    /// Absent where nothing is really asked.
    threads: Option<Threads>,
}

impl Feeds {
    /// Nothing is asked yet.
    pub(crate) fn new(options: DnsOptions) -> Self {
        Self { asked: Mutex::default(), threads: Some(Threads::new(options)) }
    }

    /// Nothing ever is: for a look at what a bundle needs.
    pub(crate) fn idle() -> Self {
        Self { asked: Mutex::default(), threads: None }
    }

    /// The feed for a question; asked from now on, if it was not.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn of(&self, discovery: &Discovery) -> std::io::Result<Option<Arc<Feed>>> {
        let Some(question) = Question::of(discovery) else { return Ok(None) };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, feed| feed.strong_count() > 0);
        if let Some(feed) = asked.get(&question).and_then(Weak::upgrade) {
            return Ok(Some(feed));
        }
        let feed = Arc::new(Feed::new(question.clone()));
        if let Some(threads) = &self.threads {
            threads.ask(&feed)?;
        }
        asked.insert(question, Arc::downgrade(&feed));
        Ok(Some(feed))
    }

    /// Asks nothing any more.
    pub(crate) fn stop(&self) {
        if let Some(threads) = &self.threads {
            threads.stop();
        }
    }
}
