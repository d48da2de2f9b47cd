//! Steady load: the same request over and over, at an even pace, until stopped; every answer counted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Answer, Call, Client, Protocol};
use crate::{Context, Result, runtime, wait};

/// What to send, where and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the clients speak.
    pub protocol: Protocol,
    /// Where they connect.
    pub address: SocketAddr,
    /// What they send.
    pub call: Call,
    /// How many there are, each on a connection of its own.
    pub clients: usize,
    /// How many requests each sends a second, as far as answers come in time; a client waits for its answer.
    pub rate: u32,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent.
    pub sent: u64,
    /// Good answers by the `version` that the upstream says.
    pub versions: BTreeMap<String, u64>,
    /// Everything else by what it was.
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    /// How many requests failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The share of good answers that came from a version, in per cent.
    pub fn percent(&self, version: &str) -> f64 {
        let good: u64 = self.versions.values().sum();
        let of = self.versions.get(version).copied().unwrap_or_default();
        // Counts of requests are far below 2^52.
        100.0 * of as f64 / good.max(1) as f64
    }

    fn add(&mut self, outcome: Result<Answer>) {
        self.sent += 1;
        let count = match outcome {
            Ok(answer) if answer.status == 200 => self.versions.entry(answer.field("version")).or_default(),
            Ok(answer) => self.failures.entry(answer.to_string()).or_default(),
            Err(failure) => self.failures.entry(failure.to_string()).or_default(),
        };
        *count += 1;
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        for (into, from) in [(&mut self.versions, other.versions), (&mut self.failures, other.failures)] {
            for (what, count) in from {
                *into.entry(what).or_default() += count;
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} failed", self.sent, self.failed())?;
        for (what, count) in &self.failures {
            write!(f, "\n  {count} × {what}")?;
        }
        Ok(())
    }
}

/// Load that goes on until it is stopped or dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Tally>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Load {
    /// Starts the clients.
    pub fn start(plan: &Plan) -> Self {
        let shared = Arc::new(Shared::default());
        let client = || runtime::handle().spawn(steady(plan.clone(), shared.clone()));
        let clients = (0..plan.clients).map(|_| client()).collect();
        Self { shared, clients }
    }

    /// How many requests have been answered, one way or the other.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Waits until this many more requests have been answered.
    ///
    /// # Errors
    /// They are not in time.
    pub fn wait_for_more(&self, count: u64) -> Result<()> {
        let goal = self.sent() + count;
        wait::until(&format!("{count} more requests"), || (self.sent() >= goal).then_some(()))
    }

    /// Lets every client finish its request, and adds up.
    ///
    /// # Errors
    /// A client panicked.
    pub fn stop(mut self) -> Result<Tally> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut total = Tally::default();
        for client in std::mem::take(&mut self.clients) {
            total.merge(runtime::block_on(client).context("a load client")?);
        }
        Ok(total)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.clients.iter().for_each(JoinHandle::abort);
    }
}

async fn steady(plan: Plan, shared: Arc<Shared>) -> Tally {
    let mut client = Client::new(plan.protocol, plan.address);
    let mut tally = Tally::default();
    let mut pace = interval(Duration::from_secs(1) / plan.rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.stop.load(Ordering::Relaxed) {
        pace.tick().await;
        tally.add(client.send(&plan.call).await);
        shared.sent.fetch_add(1, Ordering::Relaxed);
    }
    tally
}

/// Sends a request this many times, as fast as answers come, over a few connections.
///
/// # Errors
/// A client panicked.
pub fn burst(protocol: Protocol, address: SocketAddr, call: &Call, count: u64) -> Result<Tally> {
    const CLIENTS: u64 = 8;
    let client = |share: u64| {
        let call = call.clone();
        runtime::handle().spawn(async move {
            let mut client = Client::new(protocol, address);
            let mut tally = Tally::default();
            for _ in 0..share {
                tally.add(client.send(&call).await);
            }
            tally
        })
    };
    let shares = (0..CLIENTS).map(|n| count / CLIENTS + u64::from(n < count % CLIENTS));
    let clients: Vec<_> = shares.map(client).collect();
    let mut total = Tally::default();
    for client in clients {
        total.merge(runtime::block_on(client).context("a client")?);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Upstream;

    #[test]
    fn load_counts_answers_and_failures_until_stopped() {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let upstream = Upstream::start("reviews", "v1").unwrap();
            let plan = |call| Plan { protocol, address: upstream.address(), call, clients: 2, rate: 500 };
            let load = Load::start(&plan(Call::get("http://reviews/x")));
            load.wait_for_more(20).unwrap();
            let tally = load.stop().unwrap();
            assert!(tally.sent >= 20 && tally.failed() == 0, "{tally}");
            assert_eq!(tally.versions.get("v1"), Some(&tally.sent));

            let load = Load::start(&plan(Call::get("http://reviews/x").header("x-bench-status", "503")));
            load.wait_for_more(5).unwrap();
            let tally = load.stop().unwrap();
            assert_eq!(tally.failed(), tally.sent, "{tally}");
            assert!(tally.to_string().contains("× 503"), "{tally}");
        }
    }

    #[test]
    fn a_refused_connection_is_a_failure_with_its_reason() {
        let nobody = crate::port::free_address().unwrap();
        let tally = burst(Protocol::Http1, nobody, &Call::get("http://x/"), 3).unwrap();
        assert_eq!((tally.sent, tally.failed()), (3, 3));
        assert!(tally.to_string().contains("onnect"), "{tally}");
    }

    #[test]
    fn a_burst_sends_exactly_what_was_asked_for() {
        let upstream = Upstream::start("reviews", "v1").unwrap();
        let tally = burst(Protocol::Http1, upstream.address(), &Call::get("http://reviews/"), 203).unwrap();
        assert_eq!((tally.sent, upstream.hits()), (203, 203));
        assert!((tally.percent("v1") - 100.0).abs() < 1e-9);
    }
}
