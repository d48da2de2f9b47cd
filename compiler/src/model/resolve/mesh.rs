//! The Mesh document: trust, defaults, levels.

use std::collections::BTreeMap;

use weft_bundle::body::{Origin, Verdict};
use weft_bundle::spiffe::TrustDomain;

use super::{Context, convert};
use crate::analysis::{Level, PAGES, Page};
use crate::diagnostic::Diagnostic;
use crate::dialect::weft::{self, AccessDefault, AnalysisLevel, TrustAnchor};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{At, Mesh, ROOT_NAMESPACE};
use crate::yaml::INVALID_VALUE;
use crate::yaml::{Span, Spanned};

/// The mesh, still without services, routes and policies.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument]) -> Mesh {
    let mut meshes = documents.iter().filter_map(|document| match &document.spec {
        Kind::Mesh(spec) => Some((*document, spec)),
        _ => None,
    });
    let Some((document, spec)) = meshes.next() else { return missing(context) };
    for (other, _) in meshes {
        let finding =
            Diagnostic::error("duplicate-object", "a repository describes one mesh, and this is the second")
                .object(other.object())
                .at(other.metadata.name.span)
                .related(document.metadata.name.span, "the first is here");
        context.report(finding);
    }
    let defaults = &spec.defaults;
    let settings =
        convert::timeouts(defaults.timeouts.as_deref()).or(&convert::retry(defaults.retry.as_ref()));
    let root_namespace = spec.root_namespace.as_deref().map_or(ROOT_NAMESPACE, String::as_str).to_owned();
    Mesh {
        root_namespace,
        trust_anchors: trust(context, document, spec),
        default_access: match defaults.access.as_deref() {
            Some(AccessDefault::Allow) => Verdict::Allow,
            Some(AccessDefault::Deny) | None => Verdict::Deny,
        },
        default_peer_tls: defaults.peer_tls.as_deref().copied().unwrap_or(weft_bundle::body::PeerTls::Strict),
        defaults: settings,
        levels: levels(context, document, spec),
        ..Mesh::new(document.name(), context.at_document(document), spec.trust_domain.value.clone())
    }
}

/// Stands in for the document that is missing, so that the others are still checked.
fn missing(context: &mut Context<'_>) -> Mesh {
    let example = "add a document such as `{ apiVersion: weft.dev/v1alpha1, kind: Mesh, metadata: { name: prod }, \
                   spec: { trustDomain: prod.example } }`";
    if !context.has_unread("Mesh") {
        let message = "no document of kind `Mesh` describes the mesh";
        context.report(Diagnostic::error("missing-mesh", message).help(example));
    }
    let origin = Origin { object: "Mesh (missing)".to_owned(), rule: None, file: String::new(), line: 0 };
    let trust_domain = "missing.invalid".parse::<TrustDomain>().expect("a literal trust domain");
    Mesh::new("", At { origin, span: Span::default() }, trust_domain)
}

/// Whom to believe about each trust domain, our own and those it is federated with.
fn trust(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &weft::Mesh,
) -> BTreeMap<TrustDomain, Vec<String>> {
    let own = anchors(context, document, &spec.trust_anchors);
    let mut trust = BTreeMap::from([(spec.trust_domain.value.clone(), own)]);
    for domain in &spec.federated {
        let theirs = anchors(context, document, &domain.trust_anchors);
        trust.entry(domain.trust_domain.value.clone()).or_insert(theirs);
    }
    trust
}

/// Base64 DER of every certificate, sorted, each once.
pub(super) fn anchors(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &[Spanned<TrustAnchor>],
) -> Vec<String> {
    let mut anchors = Vec::new();
    for anchor in written {
        let (text, pem): (&Spanned<String>, Vec<u8>) = match &anchor.value {
            TrustAnchor::Pem(text) => (text, text.value.clone().into_bytes()),
            TrustAnchor::File(path) => match context.sources.attachment(document.file, path) {
                Some(file) => (path, file.bytes.clone()),
                None => {
                    let known: Vec<&str> =
                        context.sources.attachments.iter().map(|file| file.path.as_str()).collect();
                    context.unknown(document, path.span, "certificate file", path, &known);
                    continue;
                }
            },
        };
        match convert::certificates(&pem) {
            Some(found) => anchors.extend(found),
            None => context.no_certificate(document, text.span),
        }
    }
    anchors.sort();
    anchors.dedup();
    anchors
}

fn levels(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &weft::Mesh,
) -> BTreeMap<String, Level> {
    let mut levels = BTreeMap::new();
    for (name, level) in &spec.analyses {
        match Page::find(name) {
            None => {
                let known: Vec<&str> = PAGES.iter().map(|page| page.name).collect();
                context.unknown(document, name.span, "analysis", name, &known);
            }
            Some(page) if !page.adjustable => {
                let finding =
                    Diagnostic::error(INVALID_VALUE, format!("the level of `{name}` cannot be changed"))
                        .object(document.object())
                        .at(name.span)
                        .with_note("nothing can be built from what it finds");
                context.report(finding);
            }
            Some(_) => {
                let level = match level.value {
                    AnalysisLevel::Error => Level::Error,
                    AnalysisLevel::Warn => Level::Warn,
                    AnalysisLevel::Note => Level::Note,
                    AnalysisLevel::Off => Level::Off,
                };
                levels.insert(name.value.clone(), level);
            }
        }
    }
    levels
}
