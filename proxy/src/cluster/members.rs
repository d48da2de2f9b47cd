//! Who is in a cluster now: endpoints that the bundle lists, and those that a name or a file gives.
//!
//! ```text
//! Members  (one per spec, shared) ── current: Set ── endpoints, their tiers, their hash table; replaced whole
//!     ▲ take, failed                     ▲ seen by workers when the health's version grows
//! Feed  (control half) ── last good answer to one question, followed by all clusters that ask it
//! ```
//! A set is made where the answer comes in, never by a worker. An answer without an endpoint for this cluster is none: what
//! was known last is kept, whatever comes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::Notify;
use weft_bundle::body::{self, Discovery, LoadBalancer, Locality, Outliers};

use super::hash::Table;
use super::outliers::{EndpointState, Health};
use super::place::Here;
use super::tiers::{Stand, Standing, Tiers, Traits, WHOLE, loads};
use crate::discovery::{Fault, Feed, Found, FoundEndpoint};
use crate::telemetry::cluster::{ClusterMetrics, LastKnown};

/// How long a request waits for the first answer where connecting has no limit.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Who says that an endpoint is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The bundle.
    Static,
    /// A file.
    File,
    /// A name.
    Dns,
}

impl Source {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::File => "file",
            Self::Dns => "dns",
        }
    }
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointSpec {
    pub(crate) address: SocketAddr,
    pub(crate) weight: u32,
    source: Source,
    traits: Traits,
}

impl EndpointSpec {
    /// One that is always there, and anywhere.
    pub(crate) fn fixed(address: SocketAddr, weight: u32) -> Self {
        Self { address, weight, source: Source::Static, traits: Traits::default() }
    }
}

impl From<&body::Endpoint> for EndpointSpec {
    fn from(endpoint: &body::Endpoint) -> Self {
        let place = endpoint.locality.as_ref().and_then(|place| place.parse().ok());
        let traits = Traits { priority: 0, place, labels: endpoint.labels.clone() };
        let address = SocketAddr::new(endpoint.address, endpoint.port);
        Self { traits, ..Self::fixed(address, endpoint.weight) }
    }
}

/// The endpoints of a cluster at one time.
#[derive(Debug)]
pub(crate) struct Set {
    /// By address, each once.
    pub(crate) endpoints: Vec<EndpointSpec>,
    /// In the same order.
    pub(super) states: Vec<Arc<EndpointState>>,
    tiers: Tiers,
    /// Which endpoint a hash means, for a balancer that hashes.
    pub(super) table: Option<Table>,
}

impl Set {
    /// Where each endpoint stands.
    pub(super) fn stands(&self) -> impl Iterator<Item = Option<Stand>> {
        self.tiers.stands.iter().copied()
    }

    /// How many tiers there are.
    pub(super) fn tiers(&self) -> usize {
        self.tiers.count
    }

    /// The share of each group in its tier.
    pub(super) fn shares(&self) -> &[u32] {
        &self.tiers.shares
    }
}

/// What a set is made by.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) cluster: String,
    /// What the bundle lists.
    pub(crate) fixed: Vec<EndpointSpec>,
    /// Where others come from, and the service's port, for those that do not say theirs.
    pub(crate) discovery: Option<(Discovery, Arc<Feed>)>,
    pub(crate) port: u16,
    pub(crate) locality: Option<Locality>,
    pub(crate) here: Arc<Here>,
    pub(crate) load_balancer: LoadBalancer,
    /// How large a hash table is.
    pub(crate) table_size: Option<u32>,
    pub(crate) outliers: Option<Outliers>,
    pub(crate) metrics: Arc<ClusterMetrics>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Members {
    recipe: Recipe,
    pub(crate) health: Arc<Health>,
    current: ArcSwap<Set>,
    /// Whether there is no question, or one that was answered, well or not.
    heard: AtomicBool,
    /// Told when it is.
    news: Notify,
    /// Written by the control half only.
    last: Mutex<Last>,
    /// For the metric; there if there is a question.
    last_known: Option<LastKnown>,
}

/// What became of the question.
#[derive(Clone, Debug, Default)]
struct Last {
    answered: Option<Instant>,
    failure: Option<Fault>,
}

impl Members {
    /// What the bundle lists, and what is known already. Endpoints that `previous` has keep their health.
    pub(crate) fn new(recipe: Recipe, previous: Option<&Health>, now: Instant) -> Arc<Self> {
        let found = recipe.discovery.as_ref().and_then(|(_, feed)| feed.last());
        let endpoints = recipe.endpoints(found.iter().flat_map(|found| recipe.own(found)).collect());
        let addresses = endpoints.iter().map(|endpoint| endpoint.address);
        let health = Health::new(recipe.outliers, addresses, previous, Arc::clone(&recipe.metrics), now);
        let states = health.states().iter().map(|(_, state)| Arc::clone(state)).collect();
        let current = ArcSwap::from_pointee(recipe.set(endpoints, states));
        let heard = AtomicBool::new(recipe.discovery.is_none());
        let last_known = recipe.discovery.is_some().then(|| recipe.metrics.last_known());
        let (news, last) = (Notify::new(), Mutex::default());
        let members = Arc::new(Self { recipe, health, current, heard, news, last, last_known });
        if let Some((_, feed)) = &members.recipe.discovery {
            feed.follow(&members);
        }
        members
    }

    /// The endpoints now.
    pub(crate) fn current(&self) -> Arc<Set> {
        self.current.load_full()
    }

    /// Takes an answer; what stays the same keeps its health.
    pub(crate) fn take(&self, found: &Found, at: Instant) {
        let own = self.recipe.own(found);
        if own.is_empty() {
            return self.failed(Fault::Empty);
        }
        let before = std::mem::replace(&mut *self.last(), Last { answered: Some(at), failure: None });
        self.last_known.iter().for_each(LastKnown::now);
        let endpoints = self.recipe.endpoints(own);
        let changes = self.current.load().endpoints != endpoints;
        if changes || before.answered.is_none() {
            self.recipe.metrics.discovered();
        }
        if changes {
            tracing::debug!(cluster = %self.recipe.cluster, endpoints = endpoints.len(), "the endpoints change");
            let addresses = endpoints.iter().map(|endpoint| endpoint.address);
            let states = self.health.replace(addresses, Instant::now());
            self.current.store(Arc::new(self.recipe.set(endpoints, states)));
            self.health.announce();
        }
        self.hear();
    }

    /// Notes that the same was found again.
    pub(crate) fn confirmed(&self, at: Instant) {
        let mut last = self.last();
        if last.failure != Some(Fault::Empty) {
            *last = Last { answered: Some(at), failure: None };
            self.last_known.iter().for_each(LastKnown::now);
        }
    }

    /// Counts what failed beside an answer.
    pub(crate) fn count(&self, fault: Fault) {
        self.recipe.metrics.discovery_failed(fault);
    }

    /// Counts an answer that was none.
    pub(crate) fn failed(&self, fault: Fault) {
        self.count(fault);
        self.last().failure = Some(fault);
        self.hear();
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self) {
        self.heard.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    /// Whether nobody has said yet who is in the cluster.
    pub(crate) fn is_unheard(&self) -> bool {
        !self.heard.load(Ordering::Acquire)
    }

    /// Waits until somebody has said who is in the cluster, or why that is not known, for as long as connecting may take.
    pub(crate) async fn first_word(&self, connect_timeout: Duration) {
        let limit = if connect_timeout.is_zero() { LONGEST_WAIT } else { connect_timeout };
        let heard = async {
            loop {
                // Before looking, so that a word that comes in between is not missed.
                let mut news = pin!(self.news.notified());
                news.as_mut().enable();
                if !self.is_unheard() {
                    return;
                }
                news.await;
            }
        };
        // Who comes too late looks once more, and finds nobody.
        let _ = tokio::time::timeout(limit, heard).await;
    }

    /// Why nobody is in the cluster, if it is not for good.
    pub(crate) fn unknown(&self) -> Option<String> {
        let (_, feed) = self.recipe.discovery.as_ref()?;
        let why = self.last().failure.map_or("no answer yet", Fault::as_str);
        Some(format!("{}: {why}", feed.question()))
    }

    /// The endpoints, for people.
    pub(crate) fn describe(&self) -> Value {
        let set = self.current();
        let endpoints = set.endpoints.iter().zip(&set.states).zip(set.stands());
        endpoints
            .map(|((endpoint, state), stand)| {
                let health = match (state.is_left_out(), state.is_unwell()) {
                    (false, false) => "well",
                    (true, _) => "ejected",
                    (false, true) => "unwell",
                };
                let mut facts = json!({
                    "address": endpoint.address, "weight": endpoint.weight, "health": health,
                    "source": endpoint.source.as_str(), "tier": stand.map(|stand| stand.tier),
                });
                if let (Some(place), Some(facts)) = (&endpoint.traits.place, facts.as_object_mut()) {
                    facts.insert("locality".to_owned(), place.to_string().into());
                }
                facts
            })
            .collect()
    }

    /// The tiers and what each takes now, for people.
    pub(crate) fn describe_tiers(&self) -> Value {
        let set = self.current();
        let mut standings = vec![Standing::default(); set.tiers()];
        for (stand, state) in set.stands().zip(&set.states) {
            if let Some(standing) = stand.and_then(|stand| standings.get_mut(stand.tier)) {
                standing.all += 1;
                standing.well += usize::from(!state.is_out());
            }
        }
        let loads = loads(&standings, self.health.floor());
        let tier = |(standing, load): (&Standing, &super::tiers::Load)| {
            json!({"endpoints": standing.all, "well": standing.well, "percent": load.part * 100 / WHOLE,
                "panic": load.is_panic})
        };
        standings.iter().zip(&loads).map(tier).collect()
    }

    /// Where endpoints come from that the bundle does not list, for people; null if from nowhere.
    pub(crate) fn describe_discovery(&self) -> Value {
        let Some((_, feed)) = &self.recipe.discovery else { return Value::Null };
        let last = self.last().clone();
        json!({
            "of": feed.question().to_string(),
            "age_seconds": last.answered.map(|answered| answered.elapsed().as_secs()),
            "failure": last.failure.map(Fault::as_str),
        })
    }
}

impl Recipe {
    /// What of an answer is for this cluster.
    fn own(&self, found: &Found) -> Vec<EndpointSpec> {
        let nothing = BTreeMap::new();
        let (labels, port) = match &self.discovery {
            Some((Discovery::File { labels, .. }, _)) => (labels, self.port),
            Some((Discovery::Dns { port, .. }, _)) => (&nothing, *port),
            Some((Discovery::DnsService { .. } | Discovery::OriginalDestination, _)) | None => {
                (&nothing, self.port)
            }
        };
        let carries = |endpoint: &&FoundEndpoint| {
            labels.iter().all(|(key, value)| endpoint.traits.labels.get(key) == Some(value))
        };
        let spec = |endpoint: &FoundEndpoint| EndpointSpec {
            address: SocketAddr::new(endpoint.address, endpoint.port.unwrap_or(port)),
            weight: endpoint.weight,
            source: found.source,
            traits: endpoint.traits.clone(),
        };
        found.endpoints.iter().filter(carries).map(spec).collect()
    }

    /// The same with those that are always there, each address once: what the bundle says of it counts, then the better
    /// priority.
    fn endpoints(&self, mut endpoints: Vec<EndpointSpec>) -> Vec<EndpointSpec> {
        endpoints.extend(self.fixed.iter().cloned());
        endpoints.sort_by_key(|endpoint| (endpoint.address, endpoint.source, endpoint.traits.priority));
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        endpoints
    }

    fn set(&self, endpoints: Vec<EndpointSpec>, states: Vec<Arc<EndpointState>>) -> Set {
        let traits: Vec<_> = endpoints.iter().map(|endpoint| endpoint.traits.clone()).collect();
        let tiers = Tiers::new(self.locality.as_ref(), &self.here, &traits);
        let table = Table::new(self.load_balancer, self.table_size, &endpoints);
        Set { endpoints, states, tiers, table }
    }
}
