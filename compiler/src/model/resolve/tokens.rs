//! Issuers of tokens: Weft's TokenProviders, and the RequestAuthentications of Istio.
//!
//! A TokenProvider has the id `namespace/name`; a rule of a RequestAuthentication `namespace/name/number`.

use std::collections::BTreeMap;

use weft_bundle::body::{
    Attribute, ClaimPath, ListAttribute, Predicate, StringMatch, TokenLocation, TokenProvider,
};

use super::Context;
use super::istio_condition::{all, any};
use super::workloads::{Reach, Selected, Workloads};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::RequestAuthentication;
use crate::dialect::istio::request_authentication::JwtRule;
use crate::dialect::jwks::KeySet;
use crate::dialect::weft::{self, KeySource, TargetKind, TargetRef, TokenSource};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{AccessTarget, GatewayIndex, KeyExpiry, Mesh, ServiceIndex, TokenPolicy};
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// Adds all issuers.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    let workloads = Workloads::of(documents);
    for document in documents {
        let policy = match &document.spec {
            Kind::TokenProvider(spec) => Some(provider(context, document, spec, mesh)),
            Kind::RequestAuthentication(spec) => {
                Some(request_authentication(context, document, spec, mesh, &workloads))
            }
            _ => None,
        };
        mesh.tokens.extend(policy);
    }
}

fn provider(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &Spanned<weft::TokenProvider>,
    mesh: &Mesh,
) -> TokenPolicy {
    let mut selected = Selected::default();
    for target in &spec.target_refs {
        bind(context, document, target, mesh, &mut selected);
    }
    let keys = keys(context, document, &spec.jwks);
    let made = keys.as_ref().map(|keys| {
        let claim = |carried: &Spanned<weft::ClaimHeader>| {
            (carried.header.to_ascii_lowercase(), carried.claim.value.0.clone())
        };
        let location = |location: &Spanned<weft::TokenLocation>| match &location.value {
            weft::TokenLocation::Header(header) => TokenLocation::Header {
                name: header.name.to_ascii_lowercase(),
                prefix: header.prefix.as_ref().map(|prefix| prefix.value.clone()).unwrap_or_default(),
            },
            weft::TokenLocation::Query(name) => TokenLocation::Query(name.value.clone()),
            weft::TokenLocation::Cookie(name) => TokenLocation::Cookie(name.value.clone()),
        };
        let made = TokenProvider {
            origin: context.at_document(document).origin,
            issuer: spec.issuer.value.clone(),
            audiences: sorted(spec.audiences.iter().flatten()),
            jwks: keys.text.clone(),
            locations: match &spec.from {
                Some(from) => from.iter().map(location).collect(),
                None => vec![bearer()],
            },
            forward: spec.forward.is_some_and(|forward| forward.value),
            payload_header: spec.payload_header.as_ref().map(|name| name.to_ascii_lowercase()),
            claim_headers: spec.claim_headers.iter().flatten().map(claim).collect(),
            space_delimited_claims: sorted(spec.space_delimited_claims.iter().flatten()),
        };
        (format!("{}/{}", document.namespace(), document.name()), made)
    });
    let expires = keys.and_then(|keys| Some(KeyExpiry { at: keys.expires?, span: spec.jwks.span }));
    policy(context, document, selected, made.into_iter().collect(), expires.into_iter().collect())
}

fn policy(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    selected: Selected,
    providers: Vec<(String, TokenProvider)>,
    expiries: Vec<KeyExpiry>,
) -> TokenPolicy {
    let Selected { services, gateways } = selected;
    TokenPolicy { at: context.at_document(document), services, gateways, providers, expiries }
}

/// Adds what a target is to those that are bound already.
fn bind(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    target: &Spanned<TargetRef>,
    mesh: &Mesh,
    selected: &mut Selected,
) {
    let namespace = target.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    match target.kind.value {
        TargetKind::Service => {
            selected.services.extend(context.service(mesh, document, namespace, &target.name));
        }
        TargetKind::Gateway => {
            selected.gateways.extend(context.whole_gateway(mesh, document, namespace, &target.name));
        }
        TargetKind::Mesh => {
            context.mesh_name(document, mesh, &target.name);
            everything(mesh, None, selected);
        }
        TargetKind::Namespace => {
            everything(mesh, Some(&target.name), selected);
        }
        // Reported while reading.
        TargetKind::HttpRoute | TargetKind::GrpcRoute | TargetKind::VirtualService => {}
    }
    selected.services.sort();
    selected.services.dedup();
    selected.gateways.sort();
    selected.gateways.dedup();
}

/// All services and gateways, or those of a namespace.
fn everything(mesh: &Mesh, namespace: Option<&str>, selected: &mut Selected) {
    let here = |own: &str| namespace.is_none_or(|namespace| namespace == own);
    let services = mesh.indexed().filter(|(_, service)| !service.external && here(&service.namespace));
    selected.services.extend(services.map(|(index, _)| index));
    let gateways = mesh.gateways.iter().enumerate().filter(|(_, gateway)| here(&gateway.namespace));
    selected.gateways.extend(gateways.map(|(place, _)| GatewayIndex(place)));
}

fn keys(context: &mut Context<'_>, document: &ParsedDocument, source: &Spanned<KeySource>) -> Option<KeySet> {
    match &source.value {
        // Reported while reading, if it is none.
        KeySource::Inline(text) => KeySet::parse(text.as_bytes()).ok(),
        KeySource::File(path) => {
            let sources = context.sources;
            let Some(file) = sources.attachment(document.file, path) else {
                let known: Vec<&str> = sources.attachments.iter().map(|file| file.path.as_str()).collect();
                context.unknown(document, path.span, "file of keys", path, &known);
                return None;
            };
            match KeySet::parse(&file.bytes) {
                Ok(keys) => Some(keys),
                Err(error) => {
                    let finding = Diagnostic::error(INVALID_VALUE, format!("`{path}` is refused: {error}"))
                        .object(document.object())
                        .at(path.span);
                    context.report(finding);
                    None
                }
            }
        }
    }
}

fn request_authentication(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &Spanned<RequestAuthentication>,
    mesh: &Mesh,
    workloads: &Workloads<'_>,
) -> TokenPolicy {
    let selected = if spec.target_ref.is_some() || !spec.target_refs.is_empty() {
        let targets = spec.target_ref.iter().chain(&spec.target_refs);
        Workloads::referred(context, document, mesh, targets)
    } else {
        workloads.select(context, document, mesh, Reach::of(mesh, document), spec.selector.as_ref())
    };
    let permission = Spanned::new("permission".to_owned(), spec.span);
    let (mut providers, mut expiries) = (Vec::new(), Vec::new());
    for (number, rule) in spec.jwt_rules.iter().enumerate() {
        // Without keys or issuer it was reported while reading.
        let Some((jwks, issuer)) = rule.jwks.as_ref().zip(rule.issuer.as_ref()) else { continue };
        let Ok(keys) = KeySet::parse(jwks.as_bytes()) else { continue };
        expiries.extend(keys.expires.map(|at| KeyExpiry { at, span: jwks.span }));
        let origin = context.at(document, rule.span, Some(format!("jwtRules[{number}]"))).origin;
        let claims = rule.output_claim_to_headers.iter().map(|carried| {
            (carried.header.to_ascii_lowercase(), carried.claim.split('.').map(str::to_owned).collect())
        });
        let made = TokenProvider {
            origin,
            issuer: issuer.value.clone(),
            audiences: sorted(&rule.audiences),
            jwks: keys.text,
            locations: locations(rule),
            forward: rule.forward_original_token.is_some_and(|forward| forward.value),
            payload_header: rule.output_payload_to_header.as_ref().map(|name| name.to_ascii_lowercase()),
            claim_headers: claims.collect(),
            // Istio always reads these two so (istio/api#3547); `scope` is one everywhere.
            space_delimited_claims: sorted(rule.space_delimited_claims.iter().chain([&permission])),
        };
        providers.push((format!("{}/{}/{number}", document.namespace(), document.name()), made));
    }
    policy(context, document, selected, providers, expiries)
}

/// Without any, Istio looks into `Authorization: Bearer …` and the query parameter `access_token`.
fn locations(rule: &JwtRule) -> Vec<TokenLocation> {
    let headers = rule.from_headers.iter().map(|header| TokenLocation::Header {
        name: header.name.to_ascii_lowercase(),
        prefix: header.prefix.as_ref().map(|prefix| prefix.value.clone()).unwrap_or_default(),
    });
    let params = rule.from_params.iter().map(|name| TokenLocation::Query(name.value.clone()));
    let cookies = rule.from_cookies.iter().map(|name| TokenLocation::Cookie(name.value.clone()));
    let listed: Vec<TokenLocation> = headers.chain(params).chain(cookies).collect();
    if listed.is_empty() { vec![bearer(), TokenLocation::Query("access_token".to_owned())] } else { listed }
}

fn bearer() -> TokenLocation {
    TokenLocation::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() }
}

fn sorted<'t>(texts: impl IntoIterator<Item = &'t Spanned<String>>) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().map(|text| text.value.clone()).collect();
    texts.sort();
    texts.dedup();
    texts
}

/// That a request brings a token of a provider, as an access policy of Weft asks for. None if the provider is not there,
/// or a target does not read it, which is a finding.
pub(super) fn source(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    source: &Spanned<TokenSource>,
    targets: &[AccessTarget],
    mesh: &Mesh,
) -> Option<Predicate> {
    let name = &source.provider;
    let id = match name.split_once('/') {
        Some(_) => name.value.clone(),
        None => format!("{}/{}", document.namespace(), name.value),
    };
    let by_id: BTreeMap<&str, (&TokenPolicy, &TokenProvider)> = mesh
        .tokens
        .iter()
        .flat_map(|policy| {
            policy.providers.iter().map(move |(id, provider)| (id.as_str(), (policy, provider)))
        })
        .collect();
    let Some((policy, provider)) = by_id.get(id.as_str()) else {
        let (namespace, own) = id.split_once('/').unwrap_or_default();
        if !context.is_unread("TokenProvider", namespace, own) {
            let known: Vec<&str> = by_id.keys().copied().collect();
            context.unknown(document, name.span, "token provider", &id, &known);
        }
        return None;
    };
    let deaf = targets.iter().find(|target| !policy.services.contains(&target.service));
    if let Some(target) = deaf {
        not_read(context, document, name, policy, mesh, target.service);
        return None;
    }
    let text = |of, exact: &str| Predicate::Text { of, is: StringMatch::Exact(exact.to_owned()) };
    let mut parts =
        vec![Predicate::Has(Attribute::TokenIssuer), text(Attribute::TokenIssuer, &provider.issuer)];
    if let Some(subject) = &source.subject {
        parts.push(Predicate::Has(Attribute::TokenSubject));
        parts.push(text(Attribute::TokenSubject, subject));
    }
    for condition in source.claims.iter().flatten() {
        let path = ClaimPath(condition.claim.value.0.clone());
        let is = |value: &Spanned<String>| Predicate::Contains {
            of: ListAttribute::Claim(path.clone()),
            is: StringMatch::Exact(value.value.clone()),
        };
        parts.push(Predicate::Has(Attribute::Claim(path.clone())));
        parts.push(any(condition.values.iter().map(is).collect()));
    }
    Some(all(parts))
}

/// Reports an expression about tokens where a target reads none.
pub(super) fn check_read(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    span: Span,
    targets: &[AccessTarget],
    mesh: &Mesh,
) {
    let reads = |target: &&AccessTarget| {
        mesh.tokens
            .iter()
            .any(|policy| !policy.providers.is_empty() && policy.services.contains(&target.service))
    };
    if let Some(target) = targets.iter().find(|target| !reads(target)) {
        let service = mesh.service(target.service);
        let message = format!("`{}` reads no tokens, so nothing is known of any", service.id());
        let finding = Diagnostic::error("unknown-reference", message)
            .object(document.object())
            .at(span)
            .help(format!("add `{}` to the `targetRefs` of a TokenProvider", service.id()));
        context.report(finding);
    }
}

fn not_read(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    name: &Spanned<String>,
    policy: &TokenPolicy,
    mesh: &Mesh,
    service: ServiceIndex,
) {
    let service = mesh.service(service);
    let message = format!("`{}` does not read tokens of `{name}`, so nobody could bring one", service.id());
    let finding = Diagnostic::error("unknown-reference", message)
        .object(document.object())
        .at(name.span)
        .related(policy.at.span, "the provider names its targets here")
        .help(format!("add `{}` to the provider's `targetRefs`", service.id()));
    context.report(finding);
}
