//! What is counted about finding endpoints: answers that brought some, answers that did not and why, and how old the last good
//! one is. The labels are clusters of the bundle and a closed list of faults.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::control::now;
use super::metrics::lock;
use crate::discovery::Fault;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    cluster: String,
    reason: &'static str,
}

/// The families, and when each cluster's endpoints were last known.
#[derive(Clone, Debug, Default)]
pub(super) struct DiscoveryFamilies {
    updates: Family<ClusterLabels, Counter>,
    failures: Family<FaultLabels, Counter>,
    known: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
}

/// What is counted about one cluster.
#[derive(Debug)]
pub(super) struct Discoveries {
    cluster: String,
    families: DiscoveryFamilies,
}

impl DiscoveryFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "weft_discovery_updates",
            "Answers of names and files that brought endpoints, where they changed",
            self.updates.clone(),
        );
        registry.register(
            "weft_discovery_failures",
            "Answers of names and files that brought no endpoints, by why; what was known last is kept",
            self.failures.clone(),
        );
        registry.register_collector(Box::new(Ages(Arc::clone(&self.known))));
    }

    pub(super) fn of(&self, cluster: &str) -> Discoveries {
        Discoveries { cluster: cluster.to_owned(), families: self.clone() }
    }
}

impl Discoveries {
    pub(super) fn updated(&self) {
        let labels = ClusterLabels { cluster: self.cluster.clone() };
        self.families.updates.get_or_create_owned(&labels).inc();
        self.confirmed();
    }

    pub(super) fn confirmed(&self) {
        let mut known = lock(&self.families.known);
        known.entry(self.cluster.clone()).or_default().store(now(), Ordering::Relaxed);
    }

    pub(super) fn failed(&self, fault: Fault) {
        let labels = FaultLabels { cluster: self.cluster.clone(), reason: fault.as_str() };
        self.families.failures.get_or_create_owned(&labels).inc();
    }
}

/// Ages, worked out when somebody asks.
#[derive(Debug)]
struct Ages(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Collector for Ages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let known = lock(&self.0);
        if known.is_empty() {
            return Ok(());
        }
        let help = "Time since names and files last said where the endpoints are";
        let mut metric =
            encoder.encode_descriptor("weft_discovery_age_seconds", help, None, MetricType::Gauge)?;
        for (cluster, at) in known.iter() {
            let age = now().saturating_sub(at.load(Ordering::Relaxed));
            let labels = ClusterLabels { cluster: cluster.clone() };
            let age = ConstGauge::new(i64::try_from(age).unwrap_or(i64::MAX));
            age.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
