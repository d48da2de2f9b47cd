//! The test bench: what the whole-path tests and the demo are made of.
//!
//! Everything it starts is real: the `weft` and `weft-proxy` binaries as processes, Git repositories, sockets on
//! loopback. Nothing here knows how policy works inside; it writes documents, runs commands, sends requests and reads
//! what the programs say on their admin ports. It never sleeps for a while: it waits for conditions, each with a
//! deadline, and a wait that fails says what it waited for.
//!
//! Tests read like a script: plain blocking calls. Upstreams and clients live on one background thread.

pub mod wait;
pub mod runtime;
pub mod port;
pub mod binaries;
pub mod command;
pub mod mesh;
pub mod proxy;
pub mod client;
pub mod any_server;
pub mod load;
pub mod upstream;
pub mod names;

use std::fmt;

/// What went wrong on the bench, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// What the bench gives, or why it cannot.
pub type Result<T> = std::result::Result<T, Failure>;

/// Puts words before an error of any kind.
pub trait Context<T> {
    /// `what` names the thing that was tried.
    ///
    /// # Errors
    /// The same error, with `what` before it.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}
