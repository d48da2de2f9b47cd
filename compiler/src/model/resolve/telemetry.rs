//! What proxies tell: Weft's Telemetry, and Istio's.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{self, Predicate};

use super::Context;
use super::workloads::{Reach, Selected, Workloads};
use crate::cel;
use crate::dialect::istio;
use crate::dialect::istio::telemetry::CustomTag;
use crate::dialect::weft::{self, TargetKind, TargetRef};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Mesh, TelemetryPolicy, TelemetrySettings, TelemetryTarget};
use crate::yaml::Spanned;

/// Adds all of them.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    let workloads = Workloads::of(documents);
    for document in documents {
        let policy = match &document.spec {
            Kind::Telemetry(spec) => Some(own(context, document, spec, mesh)),
            Kind::IstioTelemetry(spec) => Some(of_istio(context, document, spec, mesh, &workloads)),
            _ => None,
        };
        mesh.telemetry.extend(policy);
    }
    clashes(context, mesh);
}

fn own(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &weft::Telemetry,
    mesh: &Mesh,
) -> TelemetryPolicy {
    let targets = spec.target_refs.iter().filter_map(|target| self::target(context, document, target, mesh));
    let targets = targets.collect();
    let log = spec.access_log.as_deref();
    let tracing = spec.tracing.as_deref();
    let filter = log.and_then(|log| log.filter.as_ref());
    let attributes = tracing.and_then(|tracing| tracing.attributes.as_ref());
    let settings = TelemetrySettings {
        log_off: log.and_then(|log| log.off.as_deref().copied()),
        log_fields: log
            .and_then(|log| log.fields.as_ref())
            .map(|fields| fields.iter().map(|f| f.value.clone()).collect()),
        log_filter: filter.and_then(|text| self::filter(context, document, text)),
        sampling: tracing.and_then(|tracing| weft::telemetry::share(tracing.sampling_percent?.value)),
        endpoint: tracing.and_then(|tracing| Some(tracing.endpoint.as_ref()?.value.clone())),
        unreported: None,
        attributes: attributes
            .map(|map| map.iter().map(|(name, from)| (name.value.clone(), attribute(from))).collect()),
        metric_labels: spec
            .metric_labels
            .iter()
            .map(|(name, label)| (name.value.clone(), self::label(**label)))
            .collect(),
    };
    TelemetryPolicy { at: context.at_document(document), targets, settings }
}

fn target(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    target: &Spanned<TargetRef>,
    mesh: &Mesh,
) -> Option<TelemetryTarget> {
    let namespace = target.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    match target.kind.value {
        TargetKind::Mesh => {
            context.mesh_name(document, mesh, &target.name);
            Some(TelemetryTarget::Mesh)
        }
        TargetKind::Namespace => Some(TelemetryTarget::Namespace(target.name.value.clone())),
        TargetKind::Service => {
            context.service(mesh, document, namespace, &target.name).map(TelemetryTarget::Service)
        }
        TargetKind::Gateway => {
            context.whole_gateway(mesh, document, namespace, &target.name).map(TelemetryTarget::Gateway)
        }
        // Reported while reading.
        TargetKind::HttpRoute | TargetKind::GrpcRoute | TargetKind::VirtualService => None,
    }
}

/// A filter of the access log; none if it is no expression, which is a finding.
fn filter(context: &mut Context<'_>, document: &ParsedDocument, text: &Spanned<String>) -> Option<Predicate> {
    match cel::compile(text, cel::Environment::AccessLog) {
        Ok(predicate) => Some(predicate),
        Err(faults) => {
            let file = context.sources.file(text.span.file).map(|file| file.bytes.as_slice());
            let placed = cel::Placed { text, file: file.unwrap_or_default() };
            for fault in faults {
                context.report(placed.diagnostic(&fault).object(document.object()));
            }
            None
        }
    }
}

fn attribute(from: &weft::SpanAttribute) -> body::SpanAttribute {
    let default = |named: &weft::telemetry::NamedValue| {
        named.default.as_ref().map(|default| default.value.clone()).unwrap_or_default()
    };
    match from {
        weft::SpanAttribute::Literal(text) => body::SpanAttribute::Literal(text.value.clone()),
        weft::SpanAttribute::Header(named) => {
            body::SpanAttribute::Header { name: named.name.to_ascii_lowercase(), default: default(named) }
        }
        weft::SpanAttribute::Environment(named) => {
            body::SpanAttribute::Environment { name: named.name.value.clone(), default: default(named) }
        }
    }
}

fn label(label: weft::telemetry::MetricLabel) -> body::MetricLabel {
    use weft::telemetry::MetricLabel as Written;
    match label {
        Written::Method => body::MetricLabel::Method,
        Written::Rule => body::MetricLabel::Rule,
        Written::PeerNamespace => body::MetricLabel::PeerNamespace,
        Written::PeerServiceAccount => body::MetricLabel::PeerServiceAccount,
    }
}

fn of_istio(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &istio::Telemetry,
    mesh: &Mesh,
    workloads: &Workloads<'_>,
) -> TelemetryPolicy {
    let reach = Reach::of(mesh, document);
    let selector = spec.selector.as_ref().filter(|selector| !selector.match_labels.is_empty());
    let refers = spec.target_ref.is_some() || !spec.target_refs.is_empty();
    let targets = match (selector, reach) {
        _ if refers => {
            let listed = spec.target_ref.iter().chain(&spec.target_refs);
            targets(Workloads::referred(context, document, mesh, listed))
        }
        // A selector reaches the namespace of its document only, also in the root namespace.
        (Some(selector), _) => {
            let reach = Reach::Namespace(document.namespace());
            targets(workloads.select(context, document, mesh, reach, Some(selector)))
        }
        (None, Reach::Mesh) => vec![TelemetryTarget::Mesh],
        (None, Reach::Namespace(namespace)) => vec![TelemetryTarget::Namespace(namespace.to_owned())],
    };
    let log = spec.access_logging.first();
    let tracing = spec.tracing.first();
    let tags = tracing.and_then(|tracing| tracing.custom_tags.as_ref());
    let filter = log.and_then(|log| log.filter.as_ref());
    let labels = spec.metrics.iter().flat_map(|metrics| &metrics.overrides).flat_map(|o| &o.tag_overrides);
    let settings = TelemetrySettings {
        // That a log is asked for at all turns it on.
        log_off: log.map(|log| log.disabled.is_some_and(|disabled| disabled.value)),
        log_fields: None,
        log_filter: filter.and_then(|filter| self::filter(context, document, &filter.expression)),
        sampling: tracing.and_then(|t| weft::telemetry::share(t.random_sampling_percentage?.value)),
        endpoint: None,
        unreported: tracing.and_then(|tracing| Some(tracing.disable_span_reporting?.value)),
        attributes: tags.map(|tags| {
            tags.iter().filter_map(|(name, tag)| Some((name.value.clone(), custom(tag)?))).collect()
        }),
        // Anything else was reported while reading.
        metric_labels: labels.map(|(name, _)| (name.value.clone(), body::MetricLabel::Method)).collect(),
    };
    TelemetryPolicy { at: context.at_document(document), targets, settings }
}

fn targets(selected: Selected) -> Vec<TelemetryTarget> {
    let services = selected.services.into_iter().map(TelemetryTarget::Service);
    services.chain(selected.gateways.into_iter().map(TelemetryTarget::Gateway)).collect()
}

fn custom(tag: &CustomTag) -> Option<body::SpanAttribute> {
    let text =
        |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.value.clone()).unwrap_or_default();
    if let Some(literal) = &tag.literal {
        return Some(body::SpanAttribute::Literal(literal.value.value.value.clone()));
    }
    if let Some(header) = &tag.header {
        let name = header.name.to_ascii_lowercase();
        return Some(body::SpanAttribute::Header { name, default: text(&header.default_value) });
    }
    let variable = tag.environment.as_ref()?;
    Some(body::SpanAttribute::Environment {
        name: variable.name.value.clone(),
        default: text(&variable.default_value),
    })
}

/// Two that set one field of one target: neither is nearer, so neither wins.
fn clashes(context: &mut Context<'_>, mesh: &Mesh) {
    let mut by_target: BTreeMap<&TelemetryTarget, Vec<&TelemetryPolicy>> = BTreeMap::new();
    for policy in &mesh.telemetry {
        for target in policy.targets.iter().collect::<BTreeSet<_>>() {
            by_target.entry(target).or_default().push(policy);
        }
    }
    let mut told = BTreeSet::new();
    for policies in by_target.values() {
        for (place, policy) in policies.iter().enumerate() {
            for earlier in policies.iter().take(place) {
                let fields = policy.settings.clashes(&earlier.settings);
                let (a, b) = (&earlier.at.origin.object, &policy.at.origin.object);
                if fields.is_empty() || !told.insert((a, b)) {
                    continue;
                }
                context.clash(
                    &fields,
                    (&earlier.at.origin, earlier.at.span),
                    (&policy.at.origin, policy.at.span),
                );
            }
        }
    }
}
