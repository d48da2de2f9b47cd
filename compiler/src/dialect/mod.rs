//! Documents of each dialect, in the dialect's own words, with spans.
//!
//! One module per kind. A document is dispatched by `apiVersion` and `kind`, read into its own struct, and checked for
//! what can be seen inside it alone: shape, names, limits, and constructs that we cannot honour exactly. Nothing here
//! looks at other documents; names stay names.
//!
//! | group | kinds |
//! |---|---|
//! | `weft.dev` | [`weft`] |
//! | `gateway.networking.k8s.io` | [`gateway`] |
//! | `networking.istio.io`, `security.istio.io`, `telemetry.istio.io` | [`istio`] |
//! | `v1`, `apps`, `batch`, `discovery.k8s.io` | [`kubernetes`] |
//!
//! Documents of other groups are skipped and counted. Unknown kinds of a group in the table are errors.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::source::FileId;
use crate::yaml::{self, Span, Spanned};

pub mod parse;
mod kinds;
pub mod metadata;
mod check;
mod broken;
mod kustomize;
pub mod jwks;
#[cfg(test)]
mod tests;
pub mod weft;
pub mod gateway;
pub mod istio;
pub mod kubernetes;

pub use metadata::{DEFAULT_NAMESPACE, Metadata};
pub use parse::{Known, parse, parse_watched, parse_with};

/// A kind, or a version of one, that is not read.
pub const UNKNOWN_KIND: &str = "unknown-kind";
/// A field or value that is accepted and changes nothing.
pub const NO_EFFECT: &str = "no-effect";
/// A field or value that cannot be honoured exactly.
pub const NOT_SUPPORTED: &str = "not-supported";
/// A name that is not one.
pub const INVALID_NAME: &str = "invalid-name";

/// What reading files and documents can find, each with what it means in a sentence.
pub const FINDINGS: [(&str, &str); 11] = [
    (
        crate::source::REFUSED_FILE,
        "a file is a link, a submodule, a Git LFS pointer or too large, and is not read",
    ),
    (
        yaml::INVALID_YAML,
        "the text is not YAML, not UTF-8, or beyond the limits on nesting, aliases and size",
    ),
    (yaml::TEMPLATE, "the document is a template that was not rendered"),
    (yaml::DUPLICATE_KEY, "a key is given twice in one mapping; readers differ in which of the two counts"),
    (yaml::UNKNOWN_FIELD, "a field that the kind does not have, so nothing would come of it"),
    (yaml::MISSING_FIELD, "a field that the kind must have is not there"),
    (yaml::INVALID_VALUE, "a value of another type, or one that the field cannot have"),
    (UNKNOWN_KIND, "a kind, or a version of one, that is not read although its group is"),
    (NO_EFFECT, "a part of a document that is accepted and changes nothing"),
    (NOT_SUPPORTED, "a construct that cannot be honoured exactly, and is never dropped silently"),
    (INVALID_NAME, "a name that breaks Kubernetes' rules for names"),
];

/// A document that was read.
#[derive(Clone, Debug)]
pub struct ParsedDocument {
    /// The file it is in.
    pub file: FileId,
    /// All of it.
    pub span: Span,
    /// Group and version, as written.
    pub api_version: Spanned<String>,
    /// The kind, as written.
    pub kind: Spanned<String>,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// The rest, by kind.
    pub spec: Kind,
    /// Whether nothing at error level was found in it. What is built from one that is not sound may lack what its author
    /// asked for.
    pub sound: bool,
}

/// What a document says, by kind. Boxed, as heads outlive what they say (see [`crate::model::resolve`]).
#[derive(Clone, Debug)]
pub enum Kind {
    /// `weft.dev/v1alpha1 Mesh`.
    Mesh(Box<Spanned<weft::Mesh>>),
    /// `weft.dev/v1alpha1 Service`.
    Service(Box<Spanned<weft::Service>>),
    /// `weft.dev/v1alpha1 ExternalService`.
    ExternalService(Box<Spanned<weft::ExternalService>>),
    /// `weft.dev/v1alpha1 AccessPolicy`.
    AccessPolicy(Box<Spanned<weft::AccessPolicy>>),
    /// `weft.dev/v1alpha1 TrafficPolicy`.
    TrafficPolicy(Box<Spanned<weft::TrafficPolicy>>),
    /// `weft.dev/v1alpha1 PolicyTest`.
    PolicyTest(Box<Spanned<weft::PolicyTest>>),
    /// `gateway.networking.k8s.io/v1 HTTPRoute`.
    HttpRoute(Box<Spanned<gateway::HttpRoute>>),
    /// `gateway.networking.k8s.io/v1 GRPCRoute`.
    GrpcRoute(Box<Spanned<gateway::GrpcRoute>>),
    /// `gateway.networking.k8s.io/v1 TLSRoute`.
    TlsRoute(Box<Spanned<gateway::TlsRoute>>),
    /// `gateway.networking.k8s.io/v1 TCPRoute`.
    TcpRoute(Box<Spanned<gateway::TcpRoute>>),
    /// `gateway.networking.k8s.io/v1 UDPRoute`.
    UdpRoute(Box<Spanned<gateway::UdpRoute>>),
    /// `gateway.networking.k8s.io/v1 GatewayClass`.
    GatewayClass(Box<Spanned<gateway::GatewayClass>>),
    /// `gateway.networking.k8s.io/v1 Gateway`.
    Gateway(Box<Spanned<gateway::Gateway>>),
    /// `gateway.networking.k8s.io/v1 ListenerSet`.
    ListenerSet(Box<Spanned<gateway::ListenerSet>>),
    /// `gateway.networking.k8s.io/v1 ReferenceGrant`.
    ReferenceGrant(Box<Spanned<gateway::ReferenceGrant>>),
    /// `gateway.networking.k8s.io/v1 BackendTLSPolicy`.
    BackendTlsPolicy(Box<Spanned<gateway::BackendTlsPolicy>>),
    /// `networking.istio.io/v1 VirtualService`.
    VirtualService(Box<Spanned<istio::VirtualService>>),
    /// `networking.istio.io/v1 DestinationRule`.
    DestinationRule(Box<Spanned<istio::DestinationRule>>),
    /// `networking.istio.io/v1 ServiceEntry`.
    ServiceEntry(Box<Spanned<istio::ServiceEntry>>),
    /// `networking.istio.io/v1 WorkloadEntry`.
    WorkloadEntry(Box<Spanned<istio::WorkloadEntry>>),
    /// `networking.istio.io/v1 WorkloadGroup`.
    WorkloadGroup(Box<Spanned<istio::WorkloadGroup>>),
    /// `networking.istio.io/v1 Sidecar`.
    Sidecar(Box<Spanned<istio::Sidecar>>),
    /// `networking.istio.io/v1 Gateway`.
    IstioGateway(Box<Spanned<istio::Gateway>>),
    /// `security.istio.io/v1 AuthorizationPolicy`.
    AuthorizationPolicy(Box<Spanned<istio::AuthorizationPolicy>>),
    /// `security.istio.io/v1 PeerAuthentication`.
    PeerAuthentication(Box<Spanned<istio::PeerAuthentication>>),
    /// `security.istio.io/v1 RequestAuthentication`.
    RequestAuthentication(Box<Spanned<istio::RequestAuthentication>>),
    /// `weft.dev/v1alpha1 TokenProvider`.
    TokenProvider(Box<Spanned<weft::TokenProvider>>),
    /// `weft.dev/v1alpha1 Telemetry`.
    Telemetry(Box<Spanned<weft::Telemetry>>),
    /// `telemetry.istio.io/v1 Telemetry`.
    IstioTelemetry(Box<Spanned<istio::Telemetry>>),
    /// `v1 Service`.
    KubeService(Box<Spanned<kubernetes::Service>>),
    /// `discovery.k8s.io/v1 EndpointSlice`.
    EndpointSlice(Box<Spanned<kubernetes::EndpointSlice>>),
    /// `v1 Namespace`, of which only the labels are needed.
    Namespace,
    /// `v1 ConfigMap` with certificates.
    ConfigMap(Box<Spanned<kubernetes::ConfigMap>>),
    /// What makes pods: one of [`kubernetes::workload::KINDS`].
    Workload(Box<Spanned<kubernetes::Workload>>),
    /// `v1 Pod`.
    Pod(Box<Spanned<kubernetes::Pod>>),
    /// `v1 ServiceAccount`, of which only the name is needed.
    ServiceAccount,
    /// `v1 Secret` with certificates.
    Secret(Box<Spanned<kubernetes::Secret>>),
}

impl Kind {
    /// Whether it is a route of the Gateway API.
    fn is_route(&self) -> bool {
        use Kind::{GrpcRoute, HttpRoute, TcpRoute, TlsRoute, UdpRoute};
        matches!(self, HttpRoute(_) | GrpcRoute(_) | TlsRoute(_) | TcpRoute(_) | UdpRoute(_))
    }
}

impl ParsedDocument {
    /// Kind, namespace and name, as messages have it: `HTTPRoute bookinfo/reviews`, `Mesh bookinfo`.
    pub fn object(&self) -> String {
        object_name(&self.kind, &self.metadata)
    }

    /// The namespace; `default` if the document names none.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }
}

impl fmt::Display for ParsedDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object())
    }
}

/// A document of another program, or one that is for it to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Its kind and version; none if it has none.
    pub kind: Option<String>,
    /// The file that it stands in.
    pub file: FileId,
    /// Whether it is a patch of Kustomize, which says how another document is to be changed.
    pub is_patch: bool,
}

/// Everything that was read, and what was wrong.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// In the order of the sources: by file, then position. Shared with whatever is read after it and has the same file.
    pub documents: Vec<Arc<ParsedDocument>>,
    /// In the same order.
    pub diagnostics: Vec<Diagnostic>,
    /// Documents of other programs, left alone.
    pub skipped: Vec<Skipped>,
    /// The objects of kinds that we read that are there and could not be read, as [`ParsedDocument::object`] has them.
    /// Each has its findings; that something refers to one is not another.
    pub unread: BTreeSet<String>,
    /// Kind and name of objects that seem to be in texts that are no YAML, such as `Service cart`. Each such text has its
    /// finding.
    pub guessed: BTreeSet<String>,
    /// What a file that says so lists as patches: that file, and the paths as it has them.
    patches: Vec<(FileId, Vec<String>)>,
}

impl Parsed {
    /// Takes what routes of the Gateway API say, which is most of what a large mesh says, out of the documents that nobody
    /// else holds, by the places of these. UDPRoutes, which are few, also say which Services have ports for datagrams, and
    /// that is asked before routes are bound.
    pub(crate) fn take_routes(&mut self) -> Vec<Option<Kind>> {
        let early = |spec: &Kind| matches!(spec, Kind::UdpRoute(_));
        let take = |document: &mut Arc<ParsedDocument>| {
            let document = Arc::get_mut(document).filter(|own| own.spec.is_route() && !early(&own.spec))?;
            Some(std::mem::replace(&mut document.spec, Kind::Namespace))
        };
        self.documents.iter_mut().map(take).collect()
    }

    /// Leaves of the documents that nobody else holds only their heads.
    pub(crate) fn forget_specs(&mut self) {
        for document in self.documents.iter_mut().filter_map(Arc::get_mut) {
            document.spec = Kind::Namespace;
        }
    }

    /// With what another file gave.
    fn add(&mut self, other: &Self) {
        self.documents.extend(other.documents.iter().cloned());
        self.diagnostics.extend(other.diagnostics.iter().cloned());
        self.skipped.extend(other.skipped.iter().cloned());
        self.unread.extend(other.unread.iter().cloned());
        self.guessed.extend(other.guessed.iter().cloned());
    }

    /// With what another file gave that only says how others are to be changed.
    fn leave(&mut self, file: FileId, other: &Self) {
        let broken = |finding: &&Diagnostic| finding.analysis == yaml::INVALID_YAML;
        self.diagnostics.extend(other.diagnostics.iter().filter(broken).cloned());
        let read = other.documents.iter().map(|own| format!("{} {}", own.api_version.value, own.kind.value));
        let unread = other.unread.iter().filter_map(|object| object.split(' ').next()).map(str::to_owned);
        let kinds = read.chain(unread).map(Some);
        self.skipped.extend(kinds.map(|kind| Skipped { kind, file, is_patch: true }));
        self.skipped.extend(other.skipped.iter().map(|left| Skipped { is_patch: true, ..left.clone() }));
    }
}

/// The one Mesh has no namespace, nor have a cluster's own objects; everything else does.
fn object_name(kind: &str, metadata: &Metadata) -> String {
    match kind {
        "Mesh" | "Namespace" | "GatewayClass" => format!("{kind} {}", metadata.name),
        kind => format!("{kind} {}/{}", metadata.namespace(), metadata.name),
    }
}
