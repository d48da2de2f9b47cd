//! What the control half counts: what bundles came, which one runs, and until when the certificate holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};

use super::metrics::{CertificateLabels, RefusalLabels};

/// Counters and gauges of the control half: what bundles came, and which one runs.
#[derive(Clone, Debug, Default)]
pub struct ControlMetrics {
    pub(super) rejected: Family<RefusalLabels, Counter>,
    pub(super) sequence: Gauge,
    pub(super) stale: Gauge,
    pub(super) applied: Counter,
    pub(super) identity_rejected: Counter,
    pub(super) identity_expiry: Gauge,
    pub(super) certificate_rejected: Counter,
    pub(super) certificate_expiry: Family<CertificateLabels, Gauge>,
    /// Seconds since the epoch at which the running bundle was applied; zero before.
    applied_at: Arc<AtomicU64>,
    /// The same for the last check of the source that reached its end.
    checked_at: Arc<AtomicU64>,
}

impl ControlMetrics {
    /// Counts a bundle that was refused, under the stable name of its fault.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create_owned(&RefusalLabels { reason }).inc();
    }

    /// How often that fault was counted.
    pub fn rejected_count(&self, reason: &'static str) -> u64 {
        self.rejected.get_or_create_owned(&RefusalLabels { reason }).get()
    }

    /// Notes the bundle that runs now.
    pub fn applied(&self, sequence: u64, stale: bool) {
        self.applied.inc();
        self.sequence.set(i64::try_from(sequence).unwrap_or(i64::MAX));
        self.stale(stale);
        self.applied_at.store(now(), Ordering::Relaxed);
    }

    /// Notes whether the running bundle is past its `stale_after`.
    pub fn stale(&self, stale: bool) {
        self.stale.set(i64::from(stale));
    }

    /// Notes that the source was read to the end, whatever was found.
    pub fn checked(&self) {
        self.checked_at.store(now(), Ordering::Relaxed);
    }

    /// Counts a certificate that policy names and that was not taken.
    pub(crate) fn certificate_rejected(&self) {
        self.certificate_rejected.inc();
    }

    /// Notes when a certificate that policy names ends, in seconds since the epoch.
    pub(crate) fn certificate_expires(&self, name: &str, not_after: i64) {
        let labels = CertificateLabels { certificate: name.to_owned() };
        self.certificate_expiry.get_or_create_owned(&labels).set(not_after);
    }

    /// Notes that policy does not name a certificate any more.
    pub(crate) fn certificate_gone(&self, name: &str) {
        self.certificate_expiry.remove(&CertificateLabels { certificate: name.to_owned() });
    }

    /// Counts a certificate and key that were not taken.
    pub fn identity_rejected(&self) {
        self.identity_rejected.inc();
    }

    /// Notes when the certificate in use ends, in seconds since the epoch.
    pub fn identity_expires(&self, at: i64) {
        self.identity_expiry.set(at);
    }
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Ages, worked out when somebody asks.
#[derive(Debug)]
pub(super) struct Ages(pub(super) ControlMetrics);

impl Collector for Ages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let ages = [
            ("weft_bundle_age_seconds", "Time since the running bundle was applied", &self.0.applied_at),
            ("weft_bundle_check_age_seconds", "Time since the source was last read", &self.0.checked_at),
        ];
        for (name, help, at) in ages {
            let at = at.load(Ordering::Relaxed);
            if at == 0 {
                continue;
            }
            let age = ConstGauge::new(i64::try_from(now().saturating_sub(at)).unwrap_or(i64::MAX));
            age.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
