//! `Telemetry` (iapi:telemetry/v1alpha1/telemetry.proto).
//!
//! Providers are named in Istio's MeshConfig, which is no document of a repository; only those that Istio always has,
//! `envoy` for logs and `prometheus` for metrics, are what proxies here do anyway.

use serde::Deserialize;
use weft_bundle::body::MetricLabel;

use super::selector::{self, TargetReference, WorkloadSelector};
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::dialect::weft::telemetry::check_percent;
use crate::yaml::scalar::Short;
use crate::yaml::{Map, Span, Spanned, Unread};

/// `Telemetry.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Telemetry {
    /// The workloads that it is for.
    pub selector: Option<Spanned<WorkloadSelector>>,
    /// The older form of `targetRefs`, for one target.
    pub target_ref: Option<Spanned<TargetReference>>,
    /// The objects that it is for.
    #[serde(default)]
    pub target_refs: Vec<Spanned<TargetReference>>,
    /// Traces; one at most once checked.
    #[serde(default)]
    pub tracing: Vec<Spanned<Tracing>>,
    /// Labels of metrics.
    #[serde(default)]
    pub metrics: Vec<Spanned<Metrics>>,
    /// The access log; one at most once checked.
    #[serde(default)]
    pub access_logging: Vec<Spanned<AccessLogging>>,
}

/// `Tracing`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// Only both directions.
    #[serde(rename = "match")]
    pub selector: Option<Spanned<ModeSelector>>,
    /// Not honoured.
    #[serde(default)]
    pub providers: Vec<Spanned<Provider>>,
    /// The share of a hundred that begins a trace.
    pub random_sampling_percentage: Option<Spanned<f64>>,
    /// Whether spans are kept to oneself.
    pub disable_span_reporting: Option<Spanned<bool>>,
    /// Attributes of every span.
    pub custom_tags: Option<Map<Spanned<CustomTag>>>,
    /// Not honoured.
    pub use_request_id_for_trace_sampling: Option<Unread>,
    /// Only `false`: proxies here add no tags of Istio.
    pub enable_istio_tags: Option<Spanned<bool>>,
    /// Only `false`: a trace of a caller always goes on.
    pub disable_context_propagation: Option<Spanned<bool>>,
}

/// `Tracing.TracingSelector` and `AccessLogging.LogSelector`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModeSelector {
    /// `CLIENT_AND_SERVER` if not set.
    pub mode: Option<Spanned<WorkloadMode>>,
}

/// `WorkloadMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadMode {
    /// Both directions.
    ClientAndServer,
    /// Requests that the workload sends.
    Client,
    /// Requests that it gets.
    Server,
}

/// `ProviderRef`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// The name in MeshConfig.
    pub name: Spanned<String>,
}

/// `Tracing.CustomTag`; exactly one field once checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomTag {
    /// This text.
    pub literal: Option<Spanned<Literal>>,
    /// A variable in the environment of the proxy.
    pub environment: Option<Spanned<Named>>,
    /// A header field of the request.
    pub header: Option<Spanned<Named>>,
    /// Not honoured.
    pub formatter: Option<Unread>,
}

/// `Tracing.Literal`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Literal {
    /// The text.
    pub value: Spanned<String>,
}

/// `Tracing.Environment` and `Tracing.RequestHeader`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// The name.
    pub name: Spanned<String>,
    /// The value if there is none.
    pub default_value: Option<Spanned<String>>,
}

/// `Metrics`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Only `prometheus`.
    #[serde(default)]
    pub providers: Vec<Spanned<Provider>>,
    /// What differs.
    #[serde(default)]
    pub overrides: Vec<Spanned<MetricsOverride>>,
    /// Not honoured.
    pub reporting_interval: Option<Unread>,
}

/// `MetricsOverrides`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsOverride {
    /// Only all metrics in both directions.
    #[serde(rename = "match")]
    pub selector: Option<Spanned<MetricSelector>>,
    /// Only `false`.
    pub disabled: Option<Spanned<bool>>,
    /// Labels.
    #[serde(default)]
    pub tag_overrides: Map<Spanned<TagOverride>>,
}

/// `MetricSelector`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricSelector {
    /// Only `ALL_METRICS`.
    pub metric: Option<Spanned<String>>,
    /// Not honoured.
    pub custom_metric: Option<Unread>,
    /// Only both directions.
    pub mode: Option<Spanned<WorkloadMode>>,
}

/// `MetricsOverrides.TagOverride`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagOverride {
    /// Only `UPSERT`, which is meant if not set.
    pub operation: Option<Spanned<Operation>>,
    /// Only `request.method`.
    pub value: Option<Spanned<String>>,
}

/// `MetricsOverrides.TagOverride.Operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operation {
    /// The label is there.
    Upsert,
    /// It is not.
    Remove,
}

/// `AccessLogging`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessLogging {
    /// Only both directions.
    #[serde(rename = "match")]
    pub selector: Option<Spanned<ModeSelector>>,
    /// Only `envoy`.
    #[serde(default)]
    pub providers: Vec<Spanned<Provider>>,
    /// Whether nothing is logged.
    pub disabled: Option<Spanned<bool>>,
    /// Which requests are logged.
    pub filter: Option<Spanned<Filter>>,
}

/// `AccessLogging.Filter`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// An expression in CEL.
    pub expression: Spanned<String>,
}

impl Telemetry {
    /// Istio's own validation (istio:pkg/config/validation, `ValidateTelemetry`), and what cannot be honoured exactly.
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        selector::check(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, checker);
        one(spec.tracing.iter().map(|tracing| tracing.span), "tracing", checker);
        one(spec.access_logging.iter().map(|log| log.span), "accessLogging", checker);
        for tracing in &spec.tracing {
            tracing.check(checker);
        }
        for log in &spec.access_logging {
            providers(&log.providers, &["envoy"], checker);
            mode(log.selector.as_ref().and_then(|selector| selector.mode), checker);
        }
        for metrics in &spec.metrics {
            providers(&metrics.providers, &["prometheus"], checker);
            if let Some(interval) = &metrics.reporting_interval {
                refuse(
                    interval.span,
                    "`reportingInterval`",
                    "metrics are read from proxies, which report nothing",
                    checker,
                );
            }
            for changed in &metrics.overrides {
                changed.check(checker);
            }
        }
    }
}

impl Tracing {
    fn check(&self, checker: &mut Checker<'_>) {
        mode(self.selector.as_ref().and_then(|selector| selector.mode), checker);
        providers(&self.providers, &[], checker);
        if let Some(percent) = &self.random_sampling_percentage {
            check_percent(percent, checker);
        }
        if let Some(field) = &self.use_request_id_for_trace_sampling {
            refuse(
                field.span,
                "`useRequestIdForTraceSampling`",
                "whether a trace begins is drawn anew for each request",
                checker,
            );
        }
        if let Some(field) = self.enable_istio_tags.filter(|on| on.value) {
            refuse(field.span, "`enableIstioTags: true`", "proxies here add no tags of Istio's", checker);
        }
        if let Some(field) = self.disable_context_propagation.filter(|on| on.value) {
            refuse(
                field.span,
                "`disableContextPropagation: true`",
                "a trace of a caller always goes on",
                checker,
            );
        }
        for (name, tag) in self.custom_tags.iter().flatten() {
            tag.check(name, checker);
        }
    }
}

impl CustomTag {
    fn check(&self, name: &Spanned<String>, checker: &mut Checker<'_>) {
        if name.is_empty() {
            checker.invalid(name.span, "a tag has a name");
        }
        if let Some(formatter) = &self.formatter {
            refuse(formatter.span, "`formatter`", "it is a format of Envoy's access log", checker);
        }
        let given = [
            self.literal.is_some(),
            self.environment.is_some(),
            self.header.is_some(),
            self.formatter.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            checker.invalid(name.span, format!("the tag `{}` comes from one place", Short(name)));
        }
        if let Some(header) = &self.header {
            checker.header_name(&header.name);
        }
        if let Some(variable) = self.environment.as_ref().filter(|variable| variable.name.is_empty()) {
            checker.invalid(variable.name.span, "a variable has a name");
        }
        if let Some(literal) = self.literal.as_ref().filter(|literal| literal.value.value.is_empty()) {
            checker.invalid(literal.span, format!("the tag `{}` is empty", Short(name)));
        }
    }
}

impl MetricsOverride {
    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(selector) = &self.selector {
            mode(selector.mode, checker);
            if let Some(metric) = selector.metric.as_ref().filter(|metric| metric.value != "ALL_METRICS") {
                refuse(
                    metric.span,
                    &format!("`{}`", Short(metric)),
                    "labels are those of all request metrics",
                    checker,
                );
            }
            if let Some(metric) = &selector.custom_metric {
                refuse(metric.span, "`customMetric`", "there are no metrics but those of proxies", checker);
            }
        }
        if let Some(disabled) = self.disabled.filter(|disabled| disabled.value) {
            refuse(disabled.span, "`disabled: true`", "metrics are always there to be read", checker);
        }
        for (name, tag) in &self.tag_overrides {
            if !MetricLabel::is_name(name) {
                checker.invalid(name.span, format!("`{}` is not the name of a label", Short(name)));
            }
            tag.check(tag.span, checker);
        }
    }
}

impl TagOverride {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        match (self.operation.map(|operation| operation.value), &self.value) {
            (Some(Operation::Remove), _) => {
                refuse(span, "`operation: REMOVE`", "the labels that metrics have are always there", checker);
            }
            (_, None) => checker.invalid(span, "a label that is added has a `value`"),
            (_, Some(value)) if value.value == "request.method" => {}
            (_, Some(value)) => refuse(
                value.span,
                &format!("`{}`", Short(value)),
                "a label never holds a text that a caller chooses; `request.method` is one of Istio's that is closed",
                checker,
            ),
        }
    }
}

/// Several entries are there for several providers, and there is one.
fn one(mut spans: impl Iterator<Item = Span>, name: &str, checker: &mut Checker<'_>) {
    if let Some(second) = spans.nth(1) {
        refuse(
            second,
            &format!("a second entry of `{name}`"),
            "there is one kind of provider to set up",
            checker,
        );
    }
}

fn mode(mode: Option<Spanned<WorkloadMode>>, checker: &mut Checker<'_>) {
    if let Some(mode) = mode.filter(|mode| mode.value != WorkloadMode::ClientAndServer) {
        refuse(mode.span, "a single direction", "what is said holds for both directions", checker);
    }
}

fn providers(providers: &[Spanned<Provider>], known: &[&str], checker: &mut Checker<'_>) {
    for provider in providers {
        if provider.name.is_empty() {
            checker.invalid(provider.name.span, "a provider has a name");
        } else if !known.contains(&provider.name.as_str()) {
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, format!("the provider `{}` is not supported", Short(&provider.name)))
                    .at(provider.name.span)
                    .with_note("providers are set up in Istio's MeshConfig, which is no document of this repository")
                    .help("leave `providers` out, and set `tracing.endpoint` in a Weft Telemetry to send spans as OTLP"),
            );
        }
    }
}

fn refuse(span: Span, what: &str, why: &str, checker: &mut Checker<'_>) {
    checker.report(
        Diagnostic::error(NOT_SUPPORTED, format!("{what} is not supported"))
            .at(span)
            .with_note(why)
            .help("remove it"),
    );
}
