//! `Mesh`: what holds for everything, unless a nearer policy says otherwise.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_bundle::body::PeerTls;
use weft_bundle::spiffe::TrustDomain;

use super::super::check::Checker;
use super::shapes;
use super::timing::{Retry, Timeouts};
use crate::diagnostic::Diagnostic;
use crate::yaml::{INVALID_VALUE, Map, Spanned};

/// What holds for the whole mesh. There is one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mesh {
    /// The trust domain of every identity in the mesh, such as `prod.example`.
    #[schemars(with = "shapes::TrustDomain")]
    pub trust_domain: Spanned<TrustDomain>,
    /// The certificate authorities whose certificates are believed.
    #[serde(default)]
    pub trust_anchors: Vec<Spanned<TrustAnchor>>,
    /// Other trust domains whose identities policies may name, with whom to believe about them.
    #[serde(default)]
    pub federated: Vec<Spanned<FederatedDomain>>,
    /// What holds unless a nearer policy says otherwise.
    #[serde(default)]
    pub defaults: MeshDefaults,
    /// The namespace whose Istio policies are for the whole mesh; `istio-system` if not set.
    pub root_namespace: Option<Spanned<String>>,
    /// How seriously each analysis is taken, by its name.
    #[serde(default)]
    pub analyses: Map<Spanned<AnalysisLevel>>,
}

impl Mesh {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        let federated = spec.federated.iter().flat_map(|domain| &domain.trust_anchors);
        for anchor in spec.trust_anchors.iter().chain(federated) {
            anchor.check(checker);
        }
        for domain in &spec.federated {
            checker.not_idle(Some(&domain.trust_anchors), domain.span, "trustAnchors");
            if domain.trust_domain.value == spec.trust_domain.value {
                checker.report(
                    Diagnostic::error(INVALID_VALUE, "a mesh is not federated with itself")
                        .at(domain.trust_domain.span)
                        .related(spec.trust_domain.span, "this is its own trust domain"),
                );
            }
        }
        if let Some(namespace) = &spec.root_namespace {
            checker.label(namespace, "a namespace");
        }
        let domains = spec.federated.iter().map(|d| (d.trust_domain.to_string(), d.trust_domain.span));
        checker.unique(domains, |domain| format!("the trust domain `{domain}` is there twice"));
        if let Some(retry) = &spec.defaults.retry {
            retry.check(spec.defaults.timeouts.as_deref(), checker);
        }
    }
}

/// Another trust domain.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FederatedDomain {
    /// Its name.
    #[schemars(with = "shapes::TrustDomain")]
    pub trust_domain: Spanned<TrustDomain>,
    /// The certificate authorities that are believed about its identities.
    pub trust_anchors: Vec<Spanned<TrustAnchor>>,
}

impl TrustAnchor {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        if let Self::File(path) = self
            && path.starts_with('/')
        {
            checker.invalid_because(
                path.span,
                format!("`{}` is outside the repository", path.value),
                "name a file relative to this document",
            );
        }
    }
}

/// The certificates of one authority, in PEM.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum TrustAnchor {
    /// A file in the repository, relative to this document.
    File(Spanned<String>),
    /// The text itself.
    Pem(Spanned<String>),
}

/// What holds unless a nearer policy says otherwise.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshDefaults {
    /// What happens to calls of a service that no access policy covers; `deny` if not set.
    pub access: Option<Spanned<AccessDefault>>,
    /// Whether peers must prove who they are; `strict` if not set.
    #[serde(rename = "peerTLS")]
    #[schemars(with = "Option<shapes::PeerTls>")]
    pub peer_tls: Option<Spanned<PeerTls>>,
    /// How long things may take.
    pub timeouts: Option<Spanned<Timeouts>>,
    /// Whether and when requests are tried again.
    pub retry: Option<Spanned<Retry>>,
}

/// What happens to a call that no policy covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum AccessDefault {
    /// It passes.
    Allow,
    /// It is refused.
    Deny,
}

/// How seriously an analysis is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum AnalysisLevel {
    /// Nothing is built.
    Error,
    /// It is reported.
    Warn,
    /// It is mentioned.
    Note,
    /// It is not looked for.
    Off,
}
