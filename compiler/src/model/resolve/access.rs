//! AccessPolicies: targets, callers and operations, bound.

use weft_bundle::body::{Effect, IdentityMatch, OperationMatch, PathMatch, Predicate};

use super::istio_condition::all;
use super::{Context, tokens};
use crate::cel;
use crate::diagnostic::Diagnostic;
use crate::dialect::weft::{self, AccessAction, PortRef, Source, TargetKind, TargetRef};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{
    AccessPolicy, AccessRule, AccessTarget, At, Caller, CallerKind, GatewayIndex, Mesh, Operation, Service,
    ServiceIndex,
};
use crate::yaml::{Span, Spanned};

/// Adds all access policies.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    for document in documents {
        if let Kind::AccessPolicy(spec) = &document.spec {
            let policy = policy(context, document, spec, mesh);
            mesh.access.push(policy);
        }
    }
}

fn policy(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &weft::AccessPolicy,
    mesh: &Mesh,
) -> AccessPolicy {
    let targets: Vec<AccessTarget> =
        spec.target_refs.iter().filter_map(|target| self::target(context, document, target, mesh)).collect();
    let gateways = gateways(context, document, spec, mesh);
    let mut rules = Vec::new();
    for (index, written) in spec.rules.iter().enumerate() {
        let at = context.at(document, written.span, Some(format!("rules[{index}]")));
        rules.extend(self::rules(context, document, written, &at, &targets, mesh).unwrap_or_default());
    }
    for target in &targets {
        one_access_per_target(context, document, target, &targets, &rules, mesh);
    }
    AccessPolicy {
        gateways,
        at: context.at_document(document),
        effect: match spec.action.value {
            AccessAction::Allow => Effect::Allow,
            AccessAction::Deny => Effect::Deny,
            AccessAction::Audit => Effect::Audit,
        },
        targets,
        rules,
    }
}

/// What a rule becomes: one rule for the callers that are known by who or where they are, and one for each kind of token.
/// None if a condition is none, which must not become "always"; the build fails anyway.
fn rules(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &Spanned<weft::AccessRule>,
    at: &At,
    targets: &[AccessTarget],
    mesh: &Mesh,
) -> Option<Vec<AccessRule>> {
    let operations = written.to.iter().flatten();
    let to: Vec<Operation> =
        operations.map(|written| operation(context, document, written, targets, mesh)).collect();
    let when = match &written.when {
        Some(text) => Some(condition(context, document, text, targets, &to, mesh)?),
        None => None,
    };
    let rule = |from, when| AccessRule { at: at.clone(), from, to: to.clone(), when };
    let Some(sources) = &written.from else { return Some(vec![rule(Vec::new(), when)]) };
    let (mut callers, mut rules) = (Vec::new(), Vec::new());
    for source in sources {
        match &source.value {
            Source::Token(token) => {
                let Some(brought) = tokens::source(context, document, token, targets, mesh) else { continue };
                let concerns = |service, port| {
                    to.is_empty() || to.iter().any(|operation| operation.is_for(service, port))
                };
                check_http(context, document, token.span, targets, &concerns, mesh);
                rules.push(rule(Vec::new(), Some(all([brought].into_iter().chain(when.clone()).collect()))));
            }
            _ => callers.extend(caller(context, document, source, mesh)),
        }
    }
    // A list of callers of which none could be bound must not become "everyone".
    if !callers.is_empty() {
        rules.insert(0, rule(callers, when));
    }
    Some(rules)
}

/// Access is decided where the workload listens. If two ports lead there, a rule for one of them holds for both or
/// cannot be honoured.
fn one_access_per_target(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    target: &AccessTarget,
    targets: &[AccessTarget],
    rules: &[AccessRule],
    mesh: &Mesh,
) {
    let service = mesh.service(target.service);
    let same = |number: u16| {
        let targeted = targets
            .iter()
            .any(|other| other.service == target.service && other.port.is_none_or(|port| port == number));
        let operations = rules.iter().flat_map(|rule| &rule.to);
        (targeted, operations.map(|operation| operation.is_for(target.service, number)).collect::<Vec<_>>())
    };
    for (place, port) in service.ports.iter().enumerate() {
        let twins = service.ports.iter().skip(place + 1).filter(|other| other.target == port.target);
        for twin in twins.filter(|twin| same(twin.number) != same(port.number)) {
            let message = format!(
                "ports {} and {} of `{}` lead to one port of its workloads, which cannot tell them apart",
                port.number,
                twin.number,
                service.id()
            );
            let finding = Diagnostic::error(NOT_SUPPORTED, message)
                .object(document.object())
                .at(target.span)
                .related(twin.span, "this port leads to the same place")
                .help("let the policy be for both ports");
            context.report(finding);
        }
    }
}

fn target(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    target: &Spanned<TargetRef>,
    mesh: &Mesh,
) -> Option<AccessTarget> {
    // Other targets were reported while reading.
    if target.kind.value != TargetKind::Service {
        return None;
    }
    let namespace = target.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    let service = context.service(mesh, document, namespace, &target.name)?;
    if mesh.service(service).external {
        context.outside(document, target.name.span, mesh.service(service));
        return None;
    }
    let port = match &target.port {
        Some(port) => Some(port_number(context, document, port, mesh.service(service))?),
        None => None,
    };
    Some(AccessTarget { service, port, span: target.span })
}

/// The gateways that the policy is for. Their ports belong to listeners, which no rule can name.
fn gateways(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &weft::AccessPolicy,
    mesh: &Mesh,
) -> Vec<GatewayIndex> {
    let targets = spec.target_refs.iter().filter(|target| target.kind.value == TargetKind::Gateway);
    let found: Vec<GatewayIndex> = targets
        .filter_map(|target| {
            let namespace = target.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
            context.whole_gateway(mesh, document, namespace, &target.name)
        })
        .collect();
    let operations = spec.rules.iter().flat_map(|rule| rule.to.iter().flatten());
    for ports in operations.filter_map(|operation| operation.ports.as_ref()).filter(|_| !found.is_empty()) {
        let Some(port) = ports.first() else { continue };
        let finding = Diagnostic::error(NOT_SUPPORTED, "a rule for a Gateway cannot be limited to ports")
            .object(document.object())
            .at(port.span)
            .help("write a policy of its own for the Gateway, without `ports`");
        context.report(finding);
    }
    found
}

pub(super) fn port_number(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    port: &Spanned<PortRef>,
    service: &Service,
) -> Option<u16> {
    match &port.value {
        PortRef::Number(number) => {
            context.port(document, service, *number, port.span).map(|port| port.number)
        }
        PortRef::Name(name) => {
            let found = service.ports.iter().find(|port| port.name == *name);
            if found.is_none() {
                let known: Vec<&str> = service.ports.iter().map(|port| port.name.as_str()).collect();
                context.unknown(
                    document,
                    port.span,
                    &format!("port of `{}` called", service.id()),
                    name,
                    &known,
                );
            }
            found.map(|port| port.number)
        }
    }
}

fn caller(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    source: &Spanned<Source>,
    mesh: &Mesh,
) -> Option<Caller> {
    let who = match &source.value {
        Source::Identity(id) => CallerKind::Identity(IdentityMatch::Exact(id.value.clone())),
        Source::Namespace(namespace) => CallerKind::Identity(IdentityMatch::Namespace {
            trust_domain: mesh.trust_domain.clone(),
            namespace: namespace.value.clone(),
        }),
        Source::Network(network) => CallerKind::Network(network.value),
        Source::Service(name) => {
            let (namespace, short) = name.split_once('/').unwrap_or((document.namespace(), name));
            let short = Spanned::new(short.to_owned(), name.span);
            CallerKind::Service(context.service(mesh, document, namespace, &short)?)
        }
        Source::Gateway(name) => {
            let (namespace, short) = name.split_once('/').unwrap_or((document.namespace(), name));
            let short = Spanned::new(short.to_owned(), name.span);
            let gateway = context.gateway(mesh, document, namespace, &short)?;
            CallerKind::Identity(IdentityMatch::Exact(mesh.gateway(gateway).identity.clone()))
        }
        // A rule of its own.
        Source::Token(_) => return None,
    };
    Some(Caller { who, span: source.span })
}

fn operation(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &Spanned<weft::Operation>,
    targets: &[AccessTarget],
    mesh: &Mesh,
) -> Operation {
    let methods = written.methods.iter().flatten().map(|method| method.value.clone()).collect();
    let paths = written.paths.iter().flatten().map(|path| path_match(path)).collect();
    let ports = written.ports.as_ref().map(|ports| {
        let pairs = ports.iter().flat_map(|port| targets.iter().map(move |target| (port, target.service)));
        let number = |(port, service)| {
            port_number(context, document, port, mesh.service(service)).map(|number| (service, number))
        };
        pairs.filter_map(number).collect()
    });
    let operation = Operation { condition: OperationMatch { methods, paths }, ports };
    if operation.condition != OperationMatch::default() {
        let concerns = |service, port| operation.is_for(service, port);
        check_http(context, document, written.span, targets, &concerns, mesh);
    }
    operation
}

/// A rule's CEL expression as a predicate, or what is wrong with it.
fn condition(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    text: &Spanned<String>,
    targets: &[AccessTarget],
    to: &[Operation],
    mesh: &Mesh,
) -> Option<Predicate> {
    let predicate = match cel::compile(text, cel::Environment::Access) {
        Ok(predicate) => predicate,
        Err(faults) => {
            let file = context.sources.file(text.span.file).map(|file| file.bytes.as_slice());
            let placed = cel::Placed { text, file: file.unwrap_or_default() };
            for fault in faults {
                context.report(placed.diagnostic(&fault).object(document.object()));
            }
            return None;
        }
    };
    if predicate.needs_request() {
        let concerns =
            |service, port| to.is_empty() || to.iter().any(|operation| operation.is_for(service, port));
        check_http(context, document, text.span, targets, &concerns, mesh);
    }
    if predicate.asks_of_tokens() {
        tokens::check_read(context, document, text.span, targets, mesh);
    }
    Some(predicate)
}

pub(super) fn path_match(path: &weft::PathMatch) -> PathMatch {
    match path {
        weft::PathMatch::Exact(path) => PathMatch::Exact(path.value.clone()),
        weft::PathMatch::Prefix(path) => PathMatch::SegmentPrefix(path.value.clone()),
        weft::PathMatch::Regex(pattern) => PathMatch::Regex(pattern.value.clone()),
    }
}

/// A condition on requests is meaningless where requests cannot be seen, and other meshes then silently allow or deny
/// more than is written.
fn check_http(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    span: Span,
    targets: &[AccessTarget],
    concerns: &dyn Fn(ServiceIndex, u16) -> bool,
    mesh: &Mesh,
) {
    for target in targets {
        let service = mesh.service(target.service);
        let opaque = service.ports.iter().find(|port| {
            !port.protocol.is_http()
                && target.port.is_none_or(|number| number == port.number)
                && concerns(target.service, port.number)
        });
        if let Some(port) = opaque {
            context.not_http(
                "http-rule-on-tcp",
                document,
                span,
                service,
                port,
                "this rule is about requests",
            );
        }
    }
}
