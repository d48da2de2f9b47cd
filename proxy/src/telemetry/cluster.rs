//! What is counted about clusters: endpoints, retries, connections, limits, ejections and copies. Every label comes from the bundle or
//! from a closed list.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::discovery::{Discoveries, DiscoveryFamilies};
use super::metrics::lock;
use crate::cluster::limits::Limit;
use crate::discovery::Fault;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    cluster: String,
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    cluster: String,
    outcome: &'static str,
}

/// What became of a copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyOutcome {
    Answered,
    Failed,
    LargeBody,
    IncompleteBody,
    TooMany,
}

impl CopyOutcome {
    const ALL: [Self; 5] =
        [Self::Answered, Self::Failed, Self::LargeBody, Self::IncompleteBody, Self::TooMany];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::LargeBody => "large-body",
            Self::IncompleteBody => "incomplete-body",
            Self::TooMany => "too-many",
        }
    }
}

/// What is counted about one cluster.
#[derive(Debug)]
pub(crate) struct ClusterMetrics {
    pub(crate) retries: Counter,
    pub(crate) retry_overflow: Counter,
    pub(crate) connections: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) open: Gauge,
    /// Endpoints left out, times that the share did not allow it, and how many are out now.
    pub(crate) ejections: Counter,
    pub(crate) ejections_refused: Counter,
    pub(crate) ejected: Gauge,
    /// Endpoints that are known now, and those that requests may go to.
    pub(crate) endpoints: Gauge,
    pub(crate) usable: Gauge,
    /// What names and files said about them; made at first use, as few clusters ask.
    discovery: Discoveries,
    /// Endpoints that are unwell now, and what those that were asked said.
    pub(crate) unwell: Gauge,
    checks: [Counter; 2],
    /// By [`Limit`], in order of declaration.
    overflow: [Counter; Limit::ALL.len()],
    cluster: String,
    copies: Family<OutcomeLabels, Counter>,
    /// By [`CopyOutcome`], in order of declaration; made at first use, as few clusters get copies.
    copied: [OnceLock<Counter>; CopyOutcome::ALL.len()],
}

impl ClusterMetrics {
    /// Counts an answer of an endpoint that was asked whether it is well.
    pub(crate) fn checked(&self, is_good: bool) {
        let [good, bad] = &self.checks;
        if is_good { good } else { bad }.inc();
    }

    /// Counts an answer of a name or file that brought endpoints.
    pub(crate) fn discovered(&self) {
        self.discovery.updated();
    }

    /// Notes that such an answer still holds.
    pub(crate) fn confirmed(&self) {
        self.discovery.confirmed();
    }

    /// Counts an answer that brought none.
    pub(crate) fn discovery_failed(&self, fault: Fault) {
        self.discovery.failed(fault);
    }

    /// Counts a copy of a request.
    pub(crate) fn copied(&self, copy: CopyOutcome) {
        if let Some(cell) = self.copied.get(copy as usize) {
            cell.get_or_init(|| {
                let labels = OutcomeLabels { cluster: self.cluster.clone(), outcome: copy.as_str() };
                self.copies.get_or_create_owned(&labels)
            })
            .inc();
        }
    }

    /// Requests that a limit held up or refused.
    pub(crate) fn overflow(&self, limit: Limit) -> &Counter {
        let [connections, pending, requests, retries] = &self.overflow;
        match limit {
            Limit::Connections => connections,
            Limit::Pending => pending,
            Limit::Requests => requests,
            Limit::Retries => retries,
        }
    }
}

/// The families behind [`ClusterMetrics`], and the handles that were made.
#[derive(Debug, Default)]
pub(super) struct ClusterFamilies {
    retries: Family<ClusterLabels, Counter>,
    retry_overflow: Family<ClusterLabels, Counter>,
    upstream_connections: Family<ClusterLabels, Counter>,
    upstream_open: Family<ClusterLabels, Gauge>,
    endpoints: Family<ClusterLabels, Gauge>,
    usable: Family<ClusterLabels, Gauge>,
    discovery: DiscoveryFamilies,
    connect_failures: Family<ClusterLabels, Counter>,
    overflow: Family<LimitLabels, Counter>,
    ejections: Family<ClusterLabels, Counter>,
    ejections_refused: Family<ClusterLabels, Counter>,
    ejected: Family<ClusterLabels, Gauge>,
    unwell: Family<ClusterLabels, Gauge>,
    checks: Family<OutcomeLabels, Counter>,
    copies: Family<OutcomeLabels, Counter>,
    made: Mutex<HashMap<String, Arc<ClusterMetrics>>>,
}

impl ClusterFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("weft_upstream_endpoints", "Endpoints that are known, now", self.endpoints.clone());
        registry.register(
            "weft_upstream_endpoints_usable",
            "Endpoints that are neither left out nor unwell, now",
            self.usable.clone(),
        );
        self.discovery.register(registry);
        registry.register("weft_retries", "Tries after the first", self.retries.clone());
        registry.register(
            "weft_retry_budget_overflow",
            "Retries that the budget did not allow",
            self.retry_overflow.clone(),
        );
        registry.register(
            "weft_upstream_connections",
            "Connections opened to endpoints",
            self.upstream_connections.clone(),
        );
        registry.register(
            "weft_upstream_connections_open",
            "Connections to endpoints, now",
            self.upstream_open.clone(),
        );
        registry.register(
            "weft_upstream_connect_failures",
            "Connections to endpoints that could not be opened",
            self.connect_failures.clone(),
        );
        registry.register(
            "weft_upstream_overflow",
            "Requests that a limit held up (connections) or refused (pending, requests), and retries that one did not allow",
            self.overflow.clone(),
        );
        registry.register(
            "weft_mirrored_requests",
            "Copies of requests, by what became of them",
            self.copies.clone(),
        );
        registry.register(
            "weft_upstream_ejections",
            "Endpoints left out because they failed",
            self.ejections.clone(),
        );
        registry.register(
            "weft_upstream_ejections_refused",
            "Endpoints that failed and were kept, because as many are left out as may be",
            self.ejections_refused.clone(),
        );
        registry.register(
            "weft_upstream_unwell",
            "Endpoints that are not well, as they said",
            self.unwell.clone(),
        );
        registry.register(
            "weft_upstream_health_checks",
            "Questions to endpoints whether they are well, by how they answered",
            self.checks.clone(),
        );
        registry.register("weft_upstream_ejected", "Endpoints left out now", self.ejected.clone());
    }

    /// The handles of a cluster.
    pub(super) fn cluster(&self, cluster: &str) -> Arc<ClusterMetrics> {
        let mut made = lock(&self.made);
        let entry = made.entry(cluster.to_owned()).or_insert_with(|| {
            let labels = ClusterLabels { cluster: cluster.to_owned() };
            Arc::new(ClusterMetrics {
                retries: self.retries.get_or_create_owned(&labels),
                retry_overflow: self.retry_overflow.get_or_create_owned(&labels),
                connections: self.upstream_connections.get_or_create_owned(&labels),
                connect_failures: self.connect_failures.get_or_create_owned(&labels),
                open: self.upstream_open.get_or_create_owned(&labels),
                endpoints: self.endpoints.get_or_create_owned(&labels),
                usable: self.usable.get_or_create_owned(&labels),
                discovery: self.discovery.of(cluster),
                ejections: self.ejections.get_or_create_owned(&labels),
                ejections_refused: self.ejections_refused.get_or_create_owned(&labels),
                ejected: self.ejected.get_or_create_owned(&labels),
                unwell: self.unwell.get_or_create_owned(&labels),
                checks: ["good", "bad"].map(|outcome| {
                    let labels = OutcomeLabels { cluster: cluster.to_owned(), outcome };
                    self.checks.get_or_create_owned(&labels)
                }),
                cluster: cluster.to_owned(),
                copies: self.copies.clone(),
                copied: Default::default(),
                overflow: Limit::ALL.map(|limit| {
                    let labels = LimitLabels { cluster: cluster.to_owned(), limit: limit.as_str() };
                    self.overflow.get_or_create_owned(&labels)
                }),
            })
        });
        Arc::clone(entry)
    }
}
