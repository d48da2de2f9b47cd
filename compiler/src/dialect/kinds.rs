//! The kinds that are read, each with how; and what is said of those that are not.

use super::parse::Reader;
use super::{Kind, gateway, istio, kubernetes, weft};
use crate::yaml::{NodeId, Spanned};

/// The groups that we read, with all their kinds. Other groups are left alone.
pub(super) const GROUPS: [&str; 6] = [
    "weft.dev",
    "gateway.networking.k8s.io",
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "extensions.istio.io",
];

/// Real groups that are so near to one of ours that they would be taken for a slip.
pub(super) const NEIGHBOURS: [&str; 1] = ["gateway.networking.x-k8s.io"];

/// A kind that we read.
pub(super) struct Entry {
    pub(super) group: &'static str,
    pub(super) versions: &'static [&'static str],
    pub(super) kind: &'static str,
    pub(super) read: fn(&mut Reader<'_>, NodeId),
}

const ISTIO_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];

/// Every kind that we read.
pub(super) const KINDS: &[Entry] = &[
    Entry {
        group: "weft.dev",
        versions: &["v1alpha1"],
        kind: "Mesh",
        read: |r, n| r.weft(n, Kind::Mesh, weft::Mesh::check),
    },
    Entry {
        group: "weft.dev",
        versions: &["v1alpha1"],
        kind: "Service",
        read: |r, n| r.weft(n, Kind::Service, weft::Service::check),
    },
    Entry {
        group: "weft.dev",
        versions: &["v1alpha1"],
        kind: "ExternalService",
        read: |r, n| r.weft(n, Kind::ExternalService, weft::ExternalService::check),
    },
    Entry {
        group: "weft.dev",
        versions: &["v1alpha1"],
        kind: "AccessPolicy",
        read: |r, n| r.weft(n, Kind::AccessPolicy, weft::AccessPolicy::check),
    },
    Entry {
        group: "weft.dev",
        versions: &["v1alpha1"],
        kind: "TrafficPolicy",
        read: |r, n| r.weft(n, Kind::TrafficPolicy, weft::TrafficPolicy::check),
    },
    Entry {
        group: "weft.dev",
        versions: &["v1alpha1"],
        kind: "PolicyTest",
        read: |r, n| r.weft(n, Kind::PolicyTest, weft::PolicyTest::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1beta1"],
        kind: "HTTPRoute",
        read: |r, n| r.custom(n, Kind::HttpRoute, gateway::HttpRoute::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1alpha2"],
        kind: "GRPCRoute",
        read: |r, n| r.custom(n, Kind::GrpcRoute, gateway::GrpcRoute::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1alpha3", "v1alpha2"],
        kind: "TLSRoute",
        read: |r, n| r.custom(n, Kind::TlsRoute, gateway::TlsRoute::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1alpha2"],
        kind: "TCPRoute",
        read: |r, n| r.custom(n, Kind::TcpRoute, gateway::TcpRoute::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1alpha2"],
        kind: "UDPRoute",
        read: |r, n| r.custom(n, Kind::UdpRoute, gateway::UdpRoute::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1beta1"],
        kind: "GatewayClass",
        read: |r, n| r.custom(n, Kind::GatewayClass, gateway::GatewayClass::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1beta1"],
        kind: "Gateway",
        read: |r, n| r.custom(n, Kind::Gateway, gateway::Gateway::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1"],
        kind: "ListenerSet",
        read: |r, n| r.custom(n, Kind::ListenerSet, gateway::ListenerSet::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1beta1", "v1alpha2"],
        kind: "ReferenceGrant",
        read: |r, n| r.custom(n, Kind::ReferenceGrant, gateway::ReferenceGrant::check),
    },
    Entry {
        group: gateway::GROUP,
        versions: &["v1", "v1alpha3"],
        kind: "BackendTLSPolicy",
        read: |r, n| r.custom(n, Kind::BackendTlsPolicy, gateway::BackendTlsPolicy::check),
    },
    Entry {
        group: istio::GROUP,
        versions: ISTIO_VERSIONS,
        kind: "VirtualService",
        read: |r, n| r.custom(n, Kind::VirtualService, istio::VirtualService::check),
    },
    Entry {
        group: istio::GROUP,
        versions: ISTIO_VERSIONS,
        kind: "DestinationRule",
        read: |r, n| r.custom(n, Kind::DestinationRule, istio::DestinationRule::check),
    },
    Entry {
        group: istio::GROUP,
        versions: ISTIO_VERSIONS,
        kind: "ServiceEntry",
        read: |r, n| r.custom(n, Kind::ServiceEntry, istio::ServiceEntry::check),
    },
    Entry {
        group: istio::GROUP,
        versions: ISTIO_VERSIONS,
        kind: "WorkloadEntry",
        read: |r, n| r.custom(n, Kind::WorkloadEntry, istio::WorkloadEntry::check),
    },
    Entry {
        group: istio::GROUP,
        versions: ISTIO_VERSIONS,
        kind: "WorkloadGroup",
        read: |r, n| r.custom(n, Kind::WorkloadGroup, istio::WorkloadGroup::check),
    },
    Entry {
        group: istio::GROUP,
        versions: ISTIO_VERSIONS,
        kind: "Sidecar",
        read: |r, n| r.custom(n, Kind::Sidecar, istio::Sidecar::check),
    },
    Entry {
        group: istio::GROUP,
        versions: ISTIO_VERSIONS,
        kind: "Gateway",
        read: |r, n| r.custom(n, Kind::IstioGateway, istio::Gateway::check),
    },
    Entry {
        group: istio::SECURITY_GROUP,
        versions: SECURITY_VERSIONS,
        kind: "AuthorizationPolicy",
        read: |r, n| r.custom(n, Kind::AuthorizationPolicy, istio::AuthorizationPolicy::check),
    },
    Entry {
        group: istio::SECURITY_GROUP,
        versions: SECURITY_VERSIONS,
        kind: "PeerAuthentication",
        read: |r, n| r.custom(n, Kind::PeerAuthentication, istio::PeerAuthentication::check),
    },
    Entry {
        group: istio::SECURITY_GROUP,
        versions: SECURITY_VERSIONS,
        kind: "RequestAuthentication",
        read: |r, n| r.custom(n, Kind::RequestAuthentication, istio::RequestAuthentication::check),
    },
    Entry {
        group: "weft.dev",
        versions: &["v1alpha1"],
        kind: "TokenProvider",
        read: |r, n| r.weft(n, Kind::TokenProvider, weft::TokenProvider::check),
    },
    Entry {
        group: "weft.dev",
        versions: &["v1alpha1"],
        kind: "Telemetry",
        read: |r, n| r.weft(n, Kind::Telemetry, weft::Telemetry::check),
    },
    Entry {
        group: istio::TELEMETRY_GROUP,
        versions: &["v1", "v1alpha1"],
        kind: "Telemetry",
        read: |r, n| r.custom(n, Kind::IstioTelemetry, istio::Telemetry::check),
    },
    Entry { group: "", versions: &["v1"], kind: "Service", read: |r, n| r.fact(n, Kind::KubeService) },
    Entry {
        group: kubernetes::DISCOVERY_GROUP,
        versions: &["v1"],
        kind: "EndpointSlice",
        read: |r, n| r.beside_metadata(n, Kind::EndpointSlice),
    },
    Entry {
        group: "",
        versions: &["v1"],
        kind: "Namespace",
        read: |r, n| r.header_only(n, |_| Kind::Namespace),
    },
    Entry {
        group: "",
        versions: &["v1"],
        kind: "ConfigMap",
        read: |r, n| r.beside_metadata(n, Kind::ConfigMap),
    },
    Entry { group: "", versions: &["v1"], kind: "Secret", read: |r, n| r.secret(n) },
    Entry {
        group: "",
        versions: &["v1"],
        kind: "ServiceAccount",
        read: |r, n| r.header_only(n, |_| Kind::ServiceAccount),
    },
    Entry { group: "", versions: &["v1"], kind: "Pod", read: |r, n| r.beside_metadata(n, Kind::Pod) },
    Entry {
        group: kubernetes::workload::APPS_GROUP,
        versions: &["v1"],
        kind: "Deployment",
        read: |r, n| r.fact(n, Kind::Workload),
    },
    Entry {
        group: kubernetes::workload::APPS_GROUP,
        versions: &["v1"],
        kind: "StatefulSet",
        read: |r, n| r.fact(n, Kind::Workload),
    },
    Entry {
        group: kubernetes::workload::APPS_GROUP,
        versions: &["v1"],
        kind: "DaemonSet",
        read: |r, n| r.fact(n, Kind::Workload),
    },
    Entry {
        group: kubernetes::workload::APPS_GROUP,
        versions: &["v1"],
        kind: "ReplicaSet",
        read: |r, n| r.fact(n, workload::<kubernetes::workload::ReplicaSet>),
    },
    Entry {
        group: kubernetes::workload::BATCH_GROUP,
        versions: &["v1"],
        kind: "Job",
        read: |r, n| r.beside_metadata(n, workload::<kubernetes::workload::Job>),
    },
    Entry {
        group: kubernetes::workload::BATCH_GROUP,
        versions: &["v1"],
        kind: "CronJob",
        read: |r, n| r.fact(n, workload::<kubernetes::workload::CronJob>),
    },
];

/// What makes pods in a way of its own.
#[expect(clippy::boxed_local, reason = "it stands where a variant of `Kind` does, and those take boxes")]
fn workload<W: Into<kubernetes::Workload>>(written: Box<Spanned<W>>) -> Kind {
    let Spanned { value, span } = *written;
    Kind::Workload(Box::new(Spanned::new(value.into(), span)))
}

/// Kinds that exist and are not read, each with what it needs.
const LATER: &[(&str, &[&str], &str)] = &[
    (
        istio::GROUP,
        &["ProxyConfig"],
        "it sets how Istio starts Envoy, and proxies here are not Envoy; their own command line says how they start",
    ),
    (
        istio::GROUP,
        &["EnvoyFilter"],
        "an EnvoyFilter patches the configuration of Envoy, and proxies here are not Envoy: there is nothing to patch",
    ),
    (
        "extensions.istio.io",
        &["WasmPlugin", "TrafficExtension"],
        "proxies here run no plugins: every decision is made by the engine that the compiler has checked",
    ),
];

/// What it would take to read a kind that exists; none for others.
pub(super) fn reason(group: &str, kind: &str) -> Option<&'static str> {
    LATER.iter().find(|(of, kinds, _)| *of == group && kinds.contains(&kind)).map(|(_, _, reason)| *reason)
}
