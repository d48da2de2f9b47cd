//! `Telemetry`: what proxies tell about requests.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_bundle::body::{self, Fraction};

use super::super::check::Checker;
use super::reference::{TargetKind, TargetRef};
use crate::yaml::de::listed;
use crate::yaml::scalar::Short;
use crate::yaml::{Map, Spanned};

/// What proxies tell about requests. The nearest says, field by field: service or gateway, namespace, mesh.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Telemetry {
    /// What it is for: services, gateways, namespaces, or the whole mesh.
    pub target_refs: Vec<Spanned<TargetRef>>,
    /// The access log; on, with every field, if nothing says otherwise.
    pub access_log: Option<Spanned<AccessLog>>,
    /// Traces; none are begun if nothing says otherwise, and those of callers go on.
    pub tracing: Option<Spanned<Tracing>>,
    /// More labels of request metrics, each with what it holds. Never a text that a caller chooses.
    #[serde(default)]
    pub metric_labels: Map<Spanned<MetricLabel>>,
}

/// The access log.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLog {
    /// Whether nothing is logged.
    pub off: Option<Spanned<bool>>,
    /// The fields, in this order; all of them if not set.
    pub fields: Option<Vec<Spanned<String>>>,
    /// Which requests are logged, in CEL, such as `response.code >= 500`; all of them if not set.
    pub filter: Option<Spanned<String>>,
}

/// Traces.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// How many of a hundred requests without a trace of their own begin one, with up to four decimals.
    pub sampling_percent: Option<Spanned<f64>>,
    /// Where spans go, as OTLP, such as `http://collector:4317`.
    pub endpoint: Option<Spanned<String>>,
    /// Attributes of every span.
    pub attributes: Option<Map<Spanned<SpanAttribute>>>,
}

/// Where the value of an attribute comes from. One key says which.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum SpanAttribute {
    /// This text.
    Literal(Spanned<String>),
    /// A header of the request.
    Header(Spanned<NamedValue>),
    /// A variable in the environment of the proxy.
    Environment(Spanned<NamedValue>),
}

/// A value that is looked up by name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedValue {
    /// The name.
    pub name: Spanned<String>,
    /// The value if there is none.
    pub default: Option<Spanned<String>>,
}

/// What a label holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum MetricLabel {
    /// The method, if it is a standard one.
    Method,
    /// The rule that decided.
    Rule,
    /// The namespace of the peer.
    PeerNamespace,
    /// The service account of the peer.
    PeerServiceAccount,
}

impl Telemetry {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.target_refs.is_empty() {
            checker.invalid(spec.span, "`targetRefs` is empty, so it is for nothing");
        }
        let kinds = [TargetKind::Service, TargetKind::Gateway, TargetKind::Namespace, TargetKind::Mesh];
        for target in &spec.target_refs {
            target.check(checker);
            target.check_kind("telemetry", &kinds, checker);
            for span in [target.port.as_ref().map(|p| p.span), target.subset.as_ref().map(|s| s.span)]
                .into_iter()
                .flatten()
            {
                checker.invalid(span, "a proxy tells the same about all ports and subsets of its service");
            }
        }
        checker.unique(spec.target_refs.iter().map(|t| (t.identity(), t.span)), |_| {
            "the telemetry names this target twice".to_owned()
        });
        if let Some(log) = &spec.access_log {
            log.check(log.span, checker);
        }
        if let Some(tracing) = &spec.tracing {
            tracing.check(checker);
        }
        for (name, _) in &spec.metric_labels {
            if !body::MetricLabel::is_name(name) {
                checker.invalid_because(
                    name.span,
                    format!("`{}` is not the name of a label", Short(name)),
                    "a label has letters, digits and `_`, does not begin with a digit or `__`, and is none that is there anyway",
                );
            }
        }
    }
}

impl AccessLog {
    fn check(&self, span: crate::yaml::Span, checker: &mut Checker<'_>) {
        checker.not_idle(self.fields.as_ref(), span, "fields");
        for field in self.fields.iter().flatten() {
            if !body::AccessLog::FIELDS.contains(&field.as_str()) {
                let message = format!("the access log has no field `{}`", Short(field));
                checker.invalid_because(
                    field.span,
                    message,
                    format!("it has {}", listed(&body::AccessLog::FIELDS)),
                );
            }
        }
        checker.unique(self.fields.iter().flatten().map(|f| (&f.value, f.span)), |field| {
            format!("the field `{field}` is there twice")
        });
        if let Some(off) = self.off.filter(|off| off.value)
            && (self.fields.is_some() || self.filter.is_some())
        {
            checker.invalid(off.span, "nothing is logged, so there is nothing to say about it");
        }
    }
}

impl Tracing {
    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(percent) = &self.sampling_percent {
            check_percent(percent, checker);
        }
        if let Some(endpoint) = &self.endpoint {
            let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
            let authority = rest.map(|rest| rest.split('/').next().unwrap_or_default());
            if !authority.is_some_and(weft_bundle::engine::is_authority) {
                checker.invalid(endpoint.span, format!("`{}` is not a URL of HTTP", Short(endpoint)));
            }
        }
        for (_, attribute) in self.attributes.iter().flatten() {
            match &attribute.value {
                SpanAttribute::Literal(_) => {}
                SpanAttribute::Header(header) => checker.header_name(&header.name),
                SpanAttribute::Environment(variable) if variable.name.is_empty() => {
                    checker.invalid(variable.name.span, "a variable has a name");
                }
                SpanAttribute::Environment(_) => {}
            }
        }
    }
}

/// A share of a hundred with at most four decimals.
pub(in crate::dialect) fn check_percent(percent: &Spanned<f64>, checker: &mut Checker<'_>) {
    if share(percent.value).is_none() {
        let message = format!("`{}` is not a share of a hundred with at most four decimals", percent.value);
        checker.invalid(percent.span, message);
    }
}

/// A share of a hundred, exactly; none if it is none, or has more than four decimals.
pub fn share(percent: f64) -> Option<Fraction> {
    let millionths = percent * 10_000.0;
    let whole = millionths.round();
    let near = (millionths - whole).abs() < 1e-6;
    // From 0 to a million, so the conversion loses nothing.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (near && (0.0..=1_000_000.0).contains(&whole)).then(|| Fraction::millionths(whole as u32))
}
