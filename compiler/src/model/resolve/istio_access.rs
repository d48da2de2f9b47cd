//! AuthorizationPolicies of Istio, as access policies of the model.
//!
//! | Istio | here |
//! |---|---|
//! | no selector | every workload of the namespace, or of the mesh in its root namespace (`rootNamespace`) |
//! | `ALLOW` without rules | nothing is allowed |
//! | a rule without `from`, `to` and `when` | every request |
//! | `ports` | ports of workloads, not of Services |
//! | `hosts` | the authority, with its port if the client sent one |
//! | `cluster.local/…` | the mesh's own trust domain |
//! | `namespaces`, `serviceAccounts` | of identities of the form `/ns/…/sa/…` |
//! | annotation `istio.io/dry-run: "true"` | the rules only record |
//! | no policy | `defaults.access` of the Mesh, which is `deny` unless it says `allow`; Istio would allow |
//!
//! What a rule says plainly becomes callers and operations, which people and analyses read; the rest becomes its
//! predicate ([`super::istio_condition`]). A rule is any source and any operation; where sources or operations have
//! conditions of their own it becomes several, one for each pair, with one origin.

use std::collections::BTreeSet;

use weft_bundle::body::{Effect, IdentityMatch, OperationMatch, Predicate, Verdict};

use super::Context;
use super::istio_condition::{Meaning, all};
use super::workloads::{Reach, Selected, Workloads};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::authorization_policy::{self as istio, Action, Rule, Subject};
use crate::dialect::istio::{AuthorizationPolicy, network, pattern, port};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{
    AccessPolicy, AccessRule, AccessTarget, At, Caller, CallerKind, Mesh, Operation, ServiceIndex,
};
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// The annotation that makes a policy only record.
const DRY_RUN: &str = "istio.io/dry-run";

/// The most rules that one rule of a document may become.
const MOST_RULES: usize = 256;

/// Adds all AuthorizationPolicies.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    let workloads = Workloads::of(documents);
    let first = mesh.access.len();
    for document in documents {
        if let Kind::AuthorizationPolicy(spec) = &document.spec {
            let policy = policy(context, document, spec, mesh, &workloads);
            mesh.access.extend(policy);
        }
    }
    other_default(context, mesh, first);
}

fn policy(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &Spanned<AuthorizationPolicy>,
    mesh: &Mesh,
    workloads: &Workloads<'_>,
) -> Option<AccessPolicy> {
    let dry_run = dry_run(context, document);
    let effect = match spec.action.map_or(Action::Allow, |action| action.value) {
        // Reported while reading.
        Action::Custom => return None,
        _ if dry_run => Effect::Audit,
        Action::Allow => Effect::Allow,
        Action::Deny => Effect::Deny,
        Action::Audit => Effect::Audit,
    };
    let selected = selected(context, document, spec, mesh, workloads);
    let meaning = Meaning { mesh, namespace: document.namespace() };
    let mut rules = Vec::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let at = context.at(document, rule.span, Some(format!("rules[{index}]")));
        let made = Lowering { context, document, meaning, selected: &selected }.rule(rule, &at);
        rules.extend(made.unwrap_or_default());
        requests_only_on_http(context, document, rule, mesh, &selected);
    }
    let span = spec.selector.as_ref().map_or(document.metadata.name.span, |selector| selector.span);
    let target = |service: &ServiceIndex| AccessTarget { service: *service, port: None, span };
    Some(AccessPolicy {
        at: context.at_document(document),
        targets: selected.services.iter().map(target).collect(),
        gateways: selected.gateways,
        effect,
        rules,
    })
}

fn selected(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &AuthorizationPolicy,
    mesh: &Mesh,
    workloads: &Workloads<'_>,
) -> Selected {
    if spec.target_ref.is_some() || !spec.target_refs.is_empty() {
        let targets = spec.target_ref.iter().chain(&spec.target_refs);
        return Workloads::referred(context, document, mesh, targets);
    }
    workloads.select(context, document, mesh, Reach::of(mesh, document), spec.selector.as_ref())
}

fn dry_run(context: &mut Context<'_>, document: &ParsedDocument) -> bool {
    match document.metadata.annotation(DRY_RUN) {
        None => false,
        Some(value) if value.value == "true" => true,
        Some(value) if value.value == "false" => false,
        Some(value) => {
            let finding =
                Diagnostic::error(INVALID_VALUE, format!("`{DRY_RUN}` is neither `true` nor `false`"))
                    .object(document.object())
                    .at(value.span);
            context.report(finding);
            true
        }
    }
}

/// What one rule becomes.
struct Lowering<'l, 's> {
    context: &'l mut Context<'s>,
    document: &'l ParsedDocument,
    meaning: Meaning<'l>,
    selected: &'l Selected,
}

/// Part of a rule: what can be said plainly, and what else must hold.
struct Part<T> {
    plain: Vec<T>,
    when: Option<Predicate>,
}

impl Lowering<'_, '_> {
    /// None if a part of it means nothing, which was reported.
    fn rule(&mut self, rule: &Spanned<Rule>, at: &At) -> Option<Vec<AccessRule>> {
        let sources = match &rule.from {
            None => vec![Part { plain: Vec::new(), when: None }],
            Some(list) => {
                grouped(list.iter().map(|from| self.source(&from.source)).collect::<Option<Vec<_>>>()?)
            }
        };
        let operations = match &rule.to {
            None => vec![Part { plain: Vec::new(), when: None }],
            Some(list) => {
                grouped(list.iter().map(|to| self.operation(&to.operation)).collect::<Option<Vec<_>>>()?)
            }
        };
        let conditions = self.conditions(rule)?;
        if sources.len() * operations.len() > MOST_RULES {
            self.too_large(rule.span);
            return None;
        }
        let mut rules = Vec::new();
        for source in &sources {
            for operation in &operations {
                let own = source.when.iter().chain(&operation.when);
                let parts: Vec<Predicate> = own.chain(&conditions).cloned().collect();
                let when = (!parts.is_empty()).then(|| all(parts));
                if when.as_ref().is_some_and(|when| when.size() > Predicate::MAX_SIZE) {
                    self.too_large(rule.span);
                    return None;
                }
                rules.push(AccessRule {
                    at: at.clone(),
                    from: source.plain.clone(),
                    to: operation.plain.clone(),
                    when,
                });
            }
        }
        Some(rules)
    }

    fn too_large(&mut self, span: Span) {
        let finding = Diagnostic::error(NOT_SUPPORTED, "the rule is too large for one request to be asked")
            .object(self.document.object())
            .at(span)
            .with_note(format!(
                "a rule becomes one for each pair of a source and an operation with conditions of their own, at most \
                 {MOST_RULES}, each of at most {} conditions",
                Predicate::MAX_SIZE
            ))
            .help("make several rules of it");
        self.context.report(finding);
    }

    fn conditions(&self, rule: &Rule) -> Option<Vec<Predicate>> {
        let mut parts = Vec::new();
        for condition in &rule.when {
            let subject = Subject::of_key(&condition.key).ok()?;
            for (values, negated) in [(&condition.values, false), (&condition.not_values, true)] {
                if !values.is_empty() {
                    parts.push(self.meaning.list(&subject, values, negated)?);
                }
            }
        }
        Some(parts)
    }

    /// One list at most becomes callers: that which says most about who they are.
    fn source(&self, source: &istio::Source) -> Option<Part<Caller>> {
        let lists = source.lists();
        let callers = lists
            .iter()
            .filter(|(_, _, values, negated)| !values.is_empty() && !negated)
            .find_map(|(subject, _, values, _)| Some((subject.clone(), self.callers(subject, values)?)));
        let mut parts = Vec::new();
        for (subject, _, values, negated) in &lists {
            let is_plain = !negated && callers.as_ref().is_some_and(|(plain, _)| plain == subject);
            if !values.is_empty() && !is_plain {
                parts.push(self.meaning.list(subject, values, *negated)?);
            }
        }
        let when = (!parts.is_empty()).then(|| all(parts));
        Some(Part { plain: callers.map(|(_, callers)| callers).unwrap_or_default(), when })
    }

    /// The values as callers; none if one of them is no plain identity or network.
    fn callers(&self, subject: &Subject, values: &[Spanned<String>]) -> Option<Vec<Caller>> {
        let meaning = self.meaning;
        let everyone = || meaning.trust_domains().cloned().map(IdentityMatch::TrustDomain).collect();
        let identities = |value: &str| -> Option<Vec<IdentityMatch>> {
            match (subject, value) {
                (Subject::Principal | Subject::TrustDomain, "*") => Some(everyone()),
                (Subject::Principal, value) => Some(vec![IdentityMatch::Exact(meaning.identity(value)?)]),
                (Subject::Namespace, value) if !value.contains('*') => {
                    let of = |td: &_| IdentityMatch::Namespace {
                        trust_domain: Clone::clone(td),
                        namespace: value.to_owned(),
                    };
                    Some(meaning.trust_domains().map(of).collect())
                }
                (Subject::ServiceAccount, value) => {
                    Some(meaning.accounts(value)?.into_iter().map(IdentityMatch::Exact).collect())
                }
                (Subject::TrustDomain, value) => {
                    Some(vec![IdentityMatch::TrustDomain(meaning.trust_domain(value)?)])
                }
                _ => None,
            }
        };
        let mut callers = Vec::new();
        for value in values {
            let span = value.span;
            match subject {
                Subject::SourceIp => callers.push(Caller { who: CallerKind::Network(network(value)?), span }),
                _ => {
                    let found = identities(value)?.into_iter();
                    callers.extend(found.map(|id| Caller { who: CallerKind::Identity(id), span }));
                }
            }
        }
        Some(callers)
    }

    fn operation(&mut self, operation: &istio::Operation) -> Option<Part<Operation>> {
        let mut condition = OperationMatch::default();
        let mut parts = Vec::new();
        for (subject, _, values, negated) in operation.lists() {
            let exact = |values: &[Spanned<String>]| values.iter().all(|value| !value.contains('*'));
            match (&subject, negated) {
                _ if values.is_empty() => {}
                (Subject::DestinationPort, _) => {}
                (Subject::Method, false) if exact(values) => {
                    condition.methods = values.iter().map(|value| value.value.clone()).collect();
                }
                (Subject::Method, false) if values.iter().any(|value| value.value == "*") => {}
                (Subject::Path, false) => {
                    let paths =
                        values.iter().map(|value| pattern::path(value).ok()).collect::<Option<Vec<_>>>()?;
                    // One that every path meets makes the others idle.
                    condition.paths = paths.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default();
                }
                _ => parts.push(self.meaning.list(&subject, values, negated)?),
            }
        }
        let ports = self.ports(operation, &mut parts)?;
        let when = (!parts.is_empty()).then(|| all(parts));
        Some(Part { plain: vec![Operation { condition, ports }], when })
    }

    /// The ports of services that lead to the named ports of workloads, and to none of the others. That a port is none
    /// of theirs is a finding. Gateways have ports of their own, so there it is a condition.
    fn ports(
        &mut self,
        operation: &istio::Operation,
        parts: &mut Vec<Predicate>,
    ) -> Option<Option<Vec<(ServiceIndex, u16)>>> {
        let (wanted, unwanted) = (&operation.ports, &operation.not_ports);
        if wanted.is_empty() && unwanted.is_empty() {
            return Some(None);
        }
        for value in wanted.iter().chain(unwanted) {
            port(value)?;
            self.is_a_port(value);
        }
        if !self.selected.gateways.is_empty() {
            for (values, negated) in [(wanted, false), (unwanted, true)] {
                if !values.is_empty() {
                    parts.push(self.meaning.list(&Subject::DestinationPort, values, negated)?);
                }
            }
            return Some(None);
        }
        let mesh = self.meaning.mesh;
        let services = self.selected.services.iter();
        let all = services.flat_map(|index| mesh.service(*index).ports.iter().map(|port| (*index, port)));
        let chosen = all.filter(|(_, port)| on_port(operation, port.target));
        Some(Some(chosen.map(|(index, port)| (index, port.number)).collect()))
    }

    fn is_a_port(&mut self, value: &Spanned<String>) {
        let Some(wanted) = port(value) else { return };
        let mesh = self.meaning.mesh;
        let services = &self.selected.services;
        let known =
            services.iter().any(|index| mesh.service(*index).ports.iter().any(|p| p.target == wanted));
        if self.selected.gateways.is_empty() && !services.is_empty() && !known {
            self.context.no_such_port(self.document, mesh, services, value, wanted);
        }
    }
}

/// Parts without conditions of their own are one.
fn grouped<T>(parts: Vec<Part<T>>) -> Vec<Part<T>> {
    let (simple, mut rest): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.when.is_none());
    let plain: Vec<T> = simple.into_iter().flat_map(|part| part.plain).collect();
    if !plain.is_empty() {
        rest.insert(0, Part { plain, when: None });
    }
    rest
}

/// Whether an operation is about a port of workloads.
fn on_port(operation: &istio::Operation, target: u16) -> bool {
    let names = |values: &[Spanned<String>]| values.iter().any(|value| port(value) == Some(target));
    (operation.ports.is_empty() || names(&operation.ports)) && !names(&operation.not_ports)
}

/// What is known of requests only is not known on other ports: there Istio leaves an `ALLOW` rule out and a `DENY` rule
/// without the condition, so that it means less or more than is written.
fn requests_only_on_http(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    rule: &Spanned<Rule>,
    mesh: &Mesh,
    selected: &Selected,
) {
    let sources = rule.from.iter().flatten().flat_map(|from| from.source.lists());
    let mut asked = sources.filter(|(_, _, values, _)| !values.is_empty()).map(|(subject, ..)| subject);
    let conditions = rule.when.iter().filter_map(|condition| Subject::of_key(&condition.key).ok());
    let always = asked.any(|subject| subject.is_of_request())
        || conditions.into_iter().any(|subject| subject.is_of_request());
    let is_of_request = |operation: &istio::Operation| {
        let lists = operation.lists();
        always || lists.iter().any(|(subject, _, values, _)| subject.is_of_request() && !values.is_empty())
    };
    let concerns = |target: u16| match &rule.to {
        None => always,
        Some(list) => list.iter().any(|to| on_port(&to.operation, target) && is_of_request(&to.operation)),
    };
    let services = selected.services.iter().map(|index| mesh.service(*index));
    let ports = services.flat_map(|service| service.ports.iter().map(move |port| (service, port)));
    let mut opaque = ports.filter(|(_, port)| !port.protocol.is_http() && concerns(port.target));
    let Some((service, port)) = opaque.next() else { return };
    let more = match opaque.count() {
        0 => String::new(),
        1 => ", and there is one more such port".to_owned(),
        count => format!(", and there are {count} more such ports"),
    };
    let (id, number, speaks) = (service.id(), port.number, port.protocol.as_str());
    let message = format!("this rule is about requests, but port {number} of `{id}` speaks {speaks}{more}");
    let finding = Diagnostic::error("http-rule-on-tcp", message)
        .object(document.object())
        .at(rule.span)
        .related(port.span, "the port is declared here")
        .help("limit the rule to the HTTP ports with `ports`, or declare the port's real protocol");
    context.report(finding);
}

/// Where no policy allows anything, Istio lets in what is not denied, and this mesh does not unless its default says so.
fn other_default(context: &mut Context<'_>, mesh: &Mesh, first: usize) {
    if mesh.default_access == Verdict::Allow {
        return;
    }
    let allowing = mesh.access.iter().filter(|policy| policy.effect == Effect::Allow);
    let opened: BTreeSet<ServiceIndex> =
        allowing.flat_map(|policy| &policy.targets).map(|target| target.service).collect();
    let own = mesh.access.get(first..).unwrap_or_default();
    for policy in own.iter().filter(|policy| policy.effect == Effect::Deny) {
        let closed = policy.targets.iter().find(|target| !opened.contains(&target.service));
        let Some(target) = closed else { continue };
        let id = mesh.service(target.service).id();
        let message = format!("`{id}` refuses all other requests too, because no policy allows any");
        let finding = Diagnostic::note("denied-by-default", message)
            .object(policy.at.origin.object.clone())
            .at(policy.at.span)
            .related(mesh.at.span, "what no policy allows is refused by the default of the mesh")
            .with_note("Istio lets in what no policy denies, where there is no `ALLOW` policy")
            .help(
                "add an `ALLOW` policy that says who may call, or set `defaults.access: allow` in the Mesh",
            );
        context.report(finding);
    }
}
