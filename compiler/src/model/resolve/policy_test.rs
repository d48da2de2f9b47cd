//! PolicyTests: callers, services, ports, subsets and requests, bound.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue};
use weft_bundle::body::OperationMatch;

use super::Context;
use super::access::{path_match, port_number};
use crate::diagnostic::Diagnostic;
use crate::dialect::weft::{self, Outcome, SelectorBy, Values};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::policy_test::{
    Case, Claim, Claimed, Expectation, Expected, ExpectedBackend, Invariant, PolicyTest, Requests, Selector,
    Who,
};
use crate::model::{Mesh, ServiceIndex};
use crate::trace::{From, Question, Stranger};
use crate::yaml::{INVALID_VALUE, Map, Span, Spanned};

/// Adds all policy tests.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    for document in documents {
        if let Kind::PolicyTest(spec) = &document.spec {
            let at = context.at_document(document);
            let mut binder = Binder { context, document, mesh };
            let cases = spec.cases.iter().filter_map(|case| binder.case(case)).collect();
            let invariants =
                spec.invariants.iter().filter_map(|invariant| binder.invariant(invariant)).collect();
            mesh.tests.push(PolicyTest { at, cases, invariants });
        }
    }
}

/// What is said of callers.
type MakeClaim = fn(Vec<Selector>) -> Claimed;

/// Binds the names of one document.
struct Binder<'b, 's> {
    context: &'b mut Context<'s>,
    document: &'b ParsedDocument,
    mesh: &'b Mesh,
}

impl Binder<'_, '_> {
    fn case(&mut self, case: &weft::Case) -> Option<Case> {
        let at = self.context.at(self.document, case.name.span, Some(case.name.value.clone()));
        let from = match &case.from {
            // Refused while reading.
            Some(from) if from.starts_with("gateway:") => return None,
            Some(from) if from.starts_with("spiffe://") => self.stranger(Some(from.parse().ok()?)),
            Some(from) => From::Service(self.service(from)?),
            None => self.stranger(None),
        };
        let question = self.question(from, case);
        let expectations = self.expectations(&case.expect);
        Some(Case { at, question: question?, expectations })
    }

    fn stranger(&self, identity: Option<weft_bundle::spiffe::SpiffeId>) -> From {
        From::Peer(Stranger { identity, namespace: self.document.namespace().to_owned() })
    }

    fn question(&mut self, from: From, case: &weft::Case) -> Option<Question> {
        let request = &case.request;
        let address =
            case.address.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.value);
        let method = request.method.as_deref().map_or("GET", String::as_str);
        // The method has its own check; a wrong one must not be reported as a wrong URL.
        match Question::parse(from, address, &format!("GET {}", request.url.value), &[]) {
            Ok(question) => Some(Question {
                method: method.to_owned(),
                headers: header_map(&request.headers),
                ..question
            }),
            Err(error) => {
                let message = error.to_string().replacen("`GET ", "`", 1);
                let finding = Diagnostic::error(INVALID_VALUE, message)
                    .object(self.document.object())
                    .at(request.url.span);
                self.context.report(finding);
                None
            }
        }
    }

    fn expectations(&mut self, expect: &weft::Expect) -> Vec<Expectation> {
        let weft::Expect {
            access,
            backend,
            backends,
            status,
            location,
            path,
            host,
            headers,
            response_headers,
            rule,
            policy,
            mirrors,
        } = expect;
        let mut all = Vec::new();
        let mut add = |span, what| all.push(Expectation { span, what });
        if let Some(access) = access {
            add(access.span, Expected::Access { allowed: access.value == Outcome::Allow });
        }
        if let Some(text) = backend
            && let Some(backend) = self.backend(text)
        {
            add(text.span, Expected::Backends(vec![(backend, None)]));
        }
        if let Some(shares) = backends
            && let Some(first) = shares.first()
            && let Some(last) = shares.last()
        {
            let bound = shares
                .iter()
                .filter_map(|share| Some((self.backend(&share.backend)?, share.weight.as_deref().copied())));
            let bound: Vec<_> = bound.collect();
            if bound.len() == shares.len() {
                add(first.span.to(last.span), Expected::Backends(bound));
            }
        }
        if let Some(status) = status {
            add(status.span, Expected::Status(status.value));
        }
        let texts = [location, path, host, rule];
        let whats = [Expected::Location, Expected::Path, Expected::Host, Expected::Rule];
        for (text, what) in texts.into_iter().zip(whats) {
            if let Some(text) = text {
                add(text.span, what(text.value.clone()));
            }
        }
        for (name, values) in headers {
            add(name.span, Expected::RequestHeader(name.to_ascii_lowercase(), values.0.clone()));
        }
        for (name, values) in response_headers {
            add(name.span, Expected::ResponseHeader(name.to_ascii_lowercase(), values.0.clone()));
        }
        if let Some(text) = policy
            && let Some(policy) = self.policy(text)
        {
            add(text.span, Expected::Policy(policy));
        }
        if let Some(names) = mirrors {
            let mut services: Vec<ServiceIndex> =
                names.iter().filter_map(|name| self.service(name)).collect();
            services.sort();
            let span = match (names.first(), names.last()) {
                (Some(first), Some(last)) => first.span.to(last.span),
                _ => self.document.metadata.name.span,
            };
            add(span, Expected::Mirrors(services));
        }
        all
    }

    /// `service[:port][/subset]` or `namespace/service[:port][/subset]`.
    fn backend(&mut self, text: &Spanned<String>) -> Option<ExpectedBackend> {
        let own = self.document.namespace();
        let parts: Vec<&str> = text.split('/').collect();
        let (namespace, service, subset) = match parts.as_slice() {
            [service] => (own, *service, None),
            [first, second] => match self.is_namespace(text, first, second)? {
                true => (*first, *second, None),
                false => (own, *first, Some(*second)),
            },
            [namespace, service, subset] => (*namespace, *service, Some(*subset)),
            _ => {
                let message = format!("`{}` is not `namespace/service/subset`", text.value);
                self.report(Diagnostic::error(INVALID_VALUE, message).at(text.span));
                return None;
            }
        };
        let (name, port) = match service.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (service, None),
        };
        let placed = |part: &str| Spanned::new(part.to_owned(), text.span);
        let service = self.context.service(self.mesh, self.document, namespace, &placed(name))?;
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(number)) => {
                Some(self.context.port(self.document, self.mesh.service(service), number, text.span)?.number)
            }
            Some(Err(_)) => {
                let message = format!("the port in `{}` is not a number from 1 to 65535", text.value);
                self.report(Diagnostic::error(INVALID_VALUE, message).at(text.span));
                return None;
            }
        };
        if let Some(subset) = subset
            && !self.context.subset(self.document, self.mesh.service(service), &placed(subset))
        {
            return None;
        }
        Some(ExpectedBackend { service, port, subset: subset.map(str::to_owned) })
    }

    /// Whether `first/second` is a namespace and a service, or else a service and its subset; a finding if it may be both.
    fn is_namespace(&mut self, text: &Spanned<String>, first: &str, second: &str) -> Option<bool> {
        // Ports are written after services.
        if first.contains(':') || second.contains(':') {
            return Some(second.contains(':'));
        }
        let as_service = self.mesh.find(first, second).is_some();
        let as_subset = self.mesh.find(self.document.namespace(), first).is_some();
        if as_service && as_subset {
            let message =
                format!("`{}` may be a service and its subset, or a namespace and its service", text.value);
            let own = self.document.namespace();
            let help =
                format!("write `{own}/{text}` for the subset, or the service with its port, `{text}:80`");
            self.report(Diagnostic::error(INVALID_VALUE, message).at(text.span).help(help));
            return None;
        }
        Some(as_service)
    }

    /// The object that a case means by the deciding policy: an access policy, or by its full name anything else, such as
    /// the Mesh whose default decides.
    fn policy(&mut self, text: &Spanned<String>) -> Option<String> {
        if text.contains(' ') {
            return Some(text.value.clone());
        }
        let (namespace, name) = text.split_once('/').unwrap_or((self.document.namespace(), text));
        let objects: Vec<&str> =
            self.mesh.access.iter().map(|policy| policy.at.origin.object.as_str()).collect();
        let wanted = format!("{namespace}/{name}");
        let found = objects.iter().find(|object| object.split(' ').nth(1) == Some(&wanted));
        if found.is_none() && !self.context.has_unread("AccessPolicy") {
            let known: Vec<&str> = objects
                .iter()
                .filter_map(|object| object.split(' ').nth(1)?.strip_prefix(namespace)?.strip_prefix('/'))
                .collect();
            let what = format!("access policy in namespace `{namespace}` called");
            self.context.unknown(self.document, text.span, &what, name, &known);
        }
        found.map(|object| (*object).to_owned())
    }

    fn invariant(&mut self, invariant: &weft::Invariant) -> Option<Invariant> {
        let at = self.context.at(self.document, invariant.name.span, Some(invariant.name.value.clone()));
        let weft::Invariant { name: _, callers, denied, allowed } = invariant;
        if let Some(callers) = callers {
            let weft::Callers { of, port, methods, paths, exactly, only, include, exclude } = &callers.value;
            let requests =
                self.requests(of, port.as_ref(), methods.as_ref(), paths.as_ref(), callers.span)?;
            let mut claims = Vec::new();
            let lists = [
                (exactly, Claimed::Only as MakeClaim),
                (exactly, Claimed::Include),
                (only, Claimed::Only),
                (include, Claimed::Include),
                (exclude, Claimed::Exclude),
            ];
            for (list, claimed) in
                lists.into_iter().filter_map(|(list, claimed)| Some((list.as_ref()?, claimed)))
            {
                claims.push(Claim { span: list.span, what: claimed(self.selectors(list)?) });
            }
            return Some(Invariant { at, requests, claims });
        }
        let (reach, claimed): (_, MakeClaim) = match (denied, allowed) {
            (Some(denied), _) => (denied, Claimed::Denied),
            (None, Some(allowed)) => (allowed, Claimed::Allowed),
            // Refused while reading.
            (None, None) => return None,
        };
        let weft::Reach { of, port, methods, paths, from } = &reach.value;
        let requests = self.requests(of, port.as_ref(), methods.as_ref(), paths.as_ref(), reach.span);
        let selectors = self.selectors(from.as_deref().unwrap_or_default())?;
        let claims = vec![Claim { span: of.span, what: claimed(selectors) }];
        Some(Invariant { at, requests: requests?, claims })
    }

    fn requests(
        &mut self,
        of: &Spanned<String>,
        port: Option<&Spanned<weft::PortRef>>,
        methods: Option<&Vec<Spanned<String>>>,
        paths: Option<&Vec<Spanned<weft::PathMatch>>>,
        span: Span,
    ) -> Option<Requests> {
        let service = self.service(of)?;
        let found = self.mesh.service(service);
        let port = match port {
            Some(port) => Some(port_number(self.context, self.document, port, found)?),
            None => None,
        };
        let operation = OperationMatch {
            methods: methods.into_iter().flatten().map(|method| method.value.clone()).collect(),
            paths: paths.into_iter().flatten().map(|path| path_match(path)).collect(),
        };
        let requests = Requests { of: service, port, operation };
        if requests.operation != OperationMatch::default()
            && let Some(opaque) = found.ports.iter().find(|own| {
                !own.protocol.is_http() && requests.port.is_none_or(|number| number == own.number)
            })
        {
            let what = "this test is about requests";
            self.context.not_http("http-rule-on-tcp", self.document, span, found, opaque, what);
            return None;
        }
        Some(requests)
    }

    /// All of them, or none if one of them could not be bound.
    fn selectors(&mut self, list: &[Spanned<weft::Selector>]) -> Option<Vec<Selector>> {
        let bound: Vec<_> = list.iter().filter_map(|selector| self.selector(selector)).collect();
        (bound.len() == list.len()).then_some(bound)
    }

    fn selector(&mut self, selector: &Spanned<weft::Selector>) -> Option<Selector> {
        let span = selector.span;
        let namespace = |namespace: &Spanned<String>| {
            Who::Namespace(self.mesh.trust_domain.clone(), namespace.value.clone())
        };
        let (who, negated) = match &selector.value {
            weft::Selector::Named(name) => (self.identity(&Spanned::new(name.clone(), span))?, false),
            weft::Selector::By(SelectorBy::Service(name)) => (self.identity(name)?, false),
            weft::Selector::By(SelectorBy::NotService(name)) => (self.identity(name)?, true),
            weft::Selector::By(SelectorBy::Namespace(name)) => (namespace(name), false),
            weft::Selector::By(SelectorBy::NotNamespace(name)) => (namespace(name), true),
            weft::Selector::By(SelectorBy::Identity(id)) => (Who::Identity(id.value.clone()), false),
        };
        Some(Selector { span, who, negated })
    }

    fn identity(&mut self, name: &Spanned<String>) -> Option<Who> {
        let service = self.service(name)?;
        Some(Who::Identity(self.mesh.service(service).identity.clone()))
    }

    fn service(&mut self, name: &Spanned<String>) -> Option<ServiceIndex> {
        let (namespace, short) = name.split_once('/').unwrap_or((self.document.namespace(), name));
        let short = Spanned::new(short.to_owned(), name.span);
        self.context.service(self.mesh, self.document, namespace, &short)
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.context.report(diagnostic.object(self.document.object()));
    }
}

/// What is not legal was reported while reading.
fn header_map(fields: &Map<Spanned<Values>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in fields {
        for value in &values.0 {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                headers.append(name, value);
            }
        }
    }
    headers
}
