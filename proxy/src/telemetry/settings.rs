//! What policy says of telling ([`weft_bundle::body::Telemetry`]), compiled once with the snapshot that it belongs to.

use http::Method;
use weft_bundle::body::{AccessLog, Fraction, MetricLabel, Telemetry};
use weft_bundle::engine::PredicateMatcher;

use super::access::Field;

/// See the module.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Whether there is an access log.
    pub(super) logs: bool,
    /// Its fields, in order.
    pub(super) fields: Vec<Field>,
    /// Which requests it has.
    pub(super) filter: Option<PredicateMatcher>,
    /// How many of the requests without a trace begin one; none if nothing is said of traces.
    pub(super) sampling: Option<Fraction>,
    /// More labels of request metrics.
    pub(super) labels: Vec<(String, MetricLabel)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { logs: true, fields: Field::all(), filter: None, sampling: None, labels: Vec::new() }
    }
}

impl Settings {
    /// Compiles what a body says.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(crate) fn build(telemetry: &Telemetry) -> Result<Self, String> {
        let mut settings = Self::default();
        if let Some(AccessLog { off, fields, filter }) = &telemetry.access_log {
            settings.logs = !off;
            if !fields.is_empty() {
                let field =
                    |name: &String| Field::named(name).ok_or_else(|| format!("there is no field `{name}`"));
                settings.fields = fields.iter().map(field).collect::<Result<_, _>>()?;
            }
            let filter = filter.as_ref().map(PredicateMatcher::compile).transpose();
            settings.filter = filter.map_err(|error| format!("the filter of the access log: {error}"))?;
        }
        if let Some(tracing) = &telemetry.tracing {
            if !tracing.sampling.is_valid() {
                return Err("the share of traces is more than all".to_owned());
            }
            settings.sampling = Some(tracing.sampling);
        }
        for (name, label) in &telemetry.metric_labels {
            if !MetricLabel::is_name(name) {
                return Err(format!("`{name}` is not the name of a label that may be added"));
            }
            settings.labels.push((name.clone(), *label));
        }
        Ok(settings)
    }
}

/// The method as a label: a standard one (RFC 9110 section 9, RFC 5789), or `other`.
pub(super) fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
