//! What proxies tell, as the policies of one level say it: whatever is not set is said by the next level.

use std::collections::BTreeMap;

use weft_bundle::body::{self, Fraction, MetricLabel, Predicate, SpanAttribute};

/// What is said about logs, traces and labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Whether nothing is logged.
    pub log_off: Option<bool>,
    /// The fields of the log, in order.
    pub log_fields: Option<Vec<String>>,
    /// The requests that are logged.
    pub log_filter: Option<Predicate>,
    /// The share of requests that begin a trace.
    pub sampling: Option<Fraction>,
    /// Where spans go.
    pub endpoint: Option<String>,
    /// Whether spans are kept to oneself, wherever they would go.
    pub unreported: Option<bool>,
    /// Attributes of every span.
    pub attributes: Option<BTreeMap<String, SpanAttribute>>,
    /// More labels of metrics.
    pub metric_labels: BTreeMap<String, MetricLabel>,
}

impl TelemetrySettings {
    /// What is set here, and else in the next level.
    pub fn or(self, next: &Self) -> Self {
        let mut metric_labels = next.metric_labels.clone();
        metric_labels.extend(self.metric_labels);
        Self {
            log_off: self.log_off.or(next.log_off),
            log_fields: self.log_fields.or_else(|| next.log_fields.clone()),
            log_filter: self.log_filter.or_else(|| next.log_filter.clone()),
            sampling: self.sampling.or(next.sampling),
            endpoint: self.endpoint.or_else(|| next.endpoint.clone()),
            unreported: self.unreported.or(next.unreported),
            attributes: self.attributes.or_else(|| next.attributes.clone()),
            metric_labels,
        }
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of what both set.
    pub fn clashes(&self, other: &Self) -> Vec<String> {
        let fields = [
            ("accessLog.off", self.log_off.is_some() && other.log_off.is_some()),
            ("accessLog.fields", self.log_fields.is_some() && other.log_fields.is_some()),
            ("accessLog.filter", self.log_filter.is_some() && other.log_filter.is_some()),
            ("tracing.samplingPercent", self.sampling.is_some() && other.sampling.is_some()),
            ("tracing.endpoint", self.endpoint.is_some() && other.endpoint.is_some()),
            ("tracing.disableSpanReporting", self.unreported.is_some() && other.unreported.is_some()),
            ("tracing.attributes", self.attributes.is_some() && other.attributes.is_some()),
        ];
        let labels = self.metric_labels.keys().filter(|name| other.metric_labels.contains_key(*name));
        let set = fields.into_iter().filter(|(_, both)| *both).map(|(name, _)| name.to_owned());
        set.chain(labels.map(|name| format!("metricLabels.{name}"))).collect()
    }

    /// As proxies have it.
    pub fn into_body(self) -> body::Telemetry {
        let logs = self.log_off.is_some() || self.log_fields.is_some() || self.log_filter.is_some();
        let traces = self.sampling.is_some() || self.endpoint.is_some() || self.attributes.is_some();
        let endpoint = self.endpoint.filter(|_| self.unreported != Some(true));
        body::Telemetry {
            access_log: logs.then(|| body::AccessLog {
                off: self.log_off.unwrap_or(false),
                fields: self.log_fields.unwrap_or_default(),
                filter: self.log_filter,
            }),
            tracing: traces.then(|| body::Tracing {
                sampling: self.sampling.unwrap_or(Fraction::percent(0)),
                endpoint,
                attributes: self.attributes.unwrap_or_default(),
            }),
            metric_labels: self.metric_labels,
        }
    }
}
