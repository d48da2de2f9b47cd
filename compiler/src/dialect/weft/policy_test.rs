//! `PolicyTest`: what policy must do, as cases and as invariants. `weft test` runs them.

use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use weft_bundle::spiffe::SpiffeId;

use super::super::check::Checker;
use super::access_policy::PathMatch;
use super::endpoints::ip_address;
use super::reference::PortRef;
use super::shapes;
use crate::yaml::scalar::Short;
use crate::yaml::{Map, Span, Spanned, Unread};

/// What policy must do. `weft test` checks it with the engine that proxies run; bundles hold nothing of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyTest {
    /// Single requests, and what must become of them.
    #[serde(default)]
    pub cases: Vec<Spanned<Case>>,
    /// What must hold for every request.
    #[serde(default)]
    pub invariants: Vec<Spanned<Invariant>>,
}

/// One request, and what must become of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What the case shows, unique in the document.
    pub name: Spanned<String>,
    /// Who calls: a service, as `name` in the namespace of this document or `namespace/name`, or the SPIFFE id of a
    /// client that connects to the service in the URL itself; such a client without a certificate if not set.
    pub from: Option<Spanned<String>>,
    /// The address of the connection, for rules about networks; 0.0.0.0 if not set.
    #[serde(default, deserialize_with = "maybe_address")]
    #[schemars(with = "Option<shapes::IpAddress>")]
    pub address: Option<Spanned<IpAddr>>,
    /// What is asked for.
    pub request: Spanned<TestRequest>,
    /// What must become of it; all that is set must hold.
    pub expect: Spanned<Expect>,
}

/// A request.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestRequest {
    /// The method; `GET` if not set.
    pub method: Option<Spanned<String>>,
    /// Where to, such as `http://reviews:9080/reviews/1?page=2`.
    pub url: Spanned<String>,
    /// Header fields: a value, or a list of values, for each name.
    #[serde(default)]
    pub headers: Map<Spanned<Values>>,
    /// The claims of a token. Not supported yet.
    pub token: Option<Unread>,
}

/// What must become of a request. All that is set must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// Whether the backends let it in: all of them, or none.
    pub access: Option<Spanned<Outcome>>,
    /// The only backend that gets any of it: `service`, `service/subset` or `namespace/service/subset`, with `:port` after
    /// the service if that matters.
    pub backend: Option<Spanned<String>>,
    /// All backends that get a share of it.
    pub backends: Option<Vec<Spanned<ExpectedShare>>>,
    /// The status with which the mesh itself answers.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<Spanned<u16>>,
    /// Where a redirect points.
    pub location: Option<Spanned<String>>,
    /// The path with which it arrives, without query.
    pub path: Option<Spanned<String>>,
    /// The host, with its port if it has one, with which it arrives.
    pub host: Option<Spanned<String>>,
    /// Header fields with which it arrives: exactly these values for each name. An empty list says that the field is not
    /// there.
    #[serde(default)]
    pub headers: Map<Spanned<Values>>,
    /// Header fields that policy puts on a response that comes without any: exactly these values for each name.
    #[serde(default)]
    pub response_headers: Map<Spanned<Values>>,
    /// The rule that decides where it goes: its name, its object such as `HTTPRoute bookinfo/reviews`, or both with a
    /// blank between them.
    pub rule: Option<Spanned<String>>,
    /// The policy that decides whether it is let in: its name, as `name` or `namespace/name`, or its object such as
    /// `AccessPolicy bookinfo/ratings`.
    pub policy: Option<Spanned<String>>,
    /// The services that get a copy, and nobody else; an empty list says nobody.
    pub mirrors: Option<Vec<Spanned<String>>>,
}

/// Whether requests pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Outcome {
    /// They pass.
    Allow,
    /// They are refused.
    Deny,
}

/// A backend, and its share.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectedShare {
    /// The backend, as in `backend`.
    pub backend: Spanned<String>,
    /// Its weight; any if not set.
    pub weight: Option<Spanned<u32>>,
}

/// What must hold for every request. One of `callers`, `denied` and `allowed` says what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invariant {
    /// What must hold, in words, unique in the document.
    pub name: Spanned<String>,
    /// Which services get some request through.
    pub callers: Option<Spanned<Callers>>,
    /// Whose requests are all refused.
    pub denied: Option<Spanned<Reach>>,
    /// Whose requests all pass.
    pub allowed: Option<Spanned<Reach>>,
}

/// Which services get some request through to a service. One or more of `exactly`, `only`, `include` and `exclude`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Callers {
    /// The service that is called.
    pub of: Spanned<String>,
    /// One port of it, by name or number; every port if not set.
    pub port: Option<Spanned<PortRef>>,
    /// Only requests with one of these methods.
    pub methods: Option<Vec<Spanned<String>>>,
    /// Only requests for one of these paths.
    pub paths: Option<Vec<Spanned<PathMatch>>>,
    /// These and no others.
    pub exactly: Option<Spanned<Vec<Spanned<Selector>>>>,
    /// No others than these.
    pub only: Option<Spanned<Vec<Spanned<Selector>>>>,
    /// All of these, and perhaps others.
    pub include: Option<Spanned<Vec<Spanned<Selector>>>>,
    /// None of these.
    pub exclude: Option<Spanned<Vec<Spanned<Selector>>>>,
}

/// Requests to a service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reach {
    /// The service that is called.
    pub of: Spanned<String>,
    /// One port of it, by name or number; every port if not set.
    pub port: Option<Spanned<PortRef>>,
    /// Only requests with one of these methods.
    pub methods: Option<Vec<Spanned<String>>>,
    /// Only requests for one of these paths.
    pub paths: Option<Vec<Spanned<PathMatch>>>,
    /// Any of these callers. If not set, everybody, known or not.
    pub from: Option<Vec<Spanned<Selector>>>,
}

/// Callers: a service, as `name` or `namespace/name`, or a mapping with one key.
#[derive(Clone, Debug)]
pub enum Selector {
    /// A service, written as a text.
    Named(String),
    /// Anything else.
    By(SelectorBy),
}

/// Callers. One key says by what they are selected. The negations stand for everybody else, known or not.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SelectorBy {
    /// A service, as `name` or `namespace/name`.
    Service(Spanned<String>),
    /// Every identity of a namespace.
    Namespace(Spanned<String>),
    /// A SPIFFE id.
    Identity(#[schemars(with = "shapes::SpiffeId")] Spanned<SpiffeId>),
    /// Everybody but a service.
    NotService(Spanned<String>),
    /// Everybody but the identities of a namespace.
    NotNamespace(Spanned<String>),
}

/// The values of a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values(pub Vec<String>);

impl PolicyTest {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.cases.is_empty() && spec.invariants.is_empty() {
            checker.invalid(spec.span, "the test has neither `cases` nor `invariants`, so it tests nothing");
        }
        let names = spec.cases.iter().map(|case| &case.name).chain(spec.invariants.iter().map(|i| &i.name));
        checker.unique(names.map(|name| (name.value.as_str(), name.span)), |name| {
            format!("two tests are called `{name}`")
        });
        for case in &spec.cases {
            case.check(checker);
        }
        for invariant in &spec.invariants {
            invariant.check(invariant.span, checker);
        }
    }
}

impl Case {
    fn check(&self, checker: &mut Checker<'_>) {
        match &self.from {
            Some(from) if from.starts_with("gateway:") => {
                checker.not_yet_at(from.span, "gateway:", "gateways at the edge of the mesh");
            }
            Some(from) if from.starts_with("spiffe://") => {
                if let Err(error) = from.parse::<SpiffeId>() {
                    checker.invalid(from.span, error.to_string());
                }
            }
            Some(from) => service_name(from, checker),
            None => {}
        }
        let TestRequest { method, url: _, headers, token } = &self.request.value;
        checker.not_yet(token.as_ref(), "token", "JWT validation in proxies");
        if let Some(method) = method {
            checker.method(method);
        }
        check_fields(headers, checker);
        self.expect.check(self.expect.span, checker);
    }
}

impl Expect {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let Self {
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
        } = self;
        let texts = [backend, location, path, host, rule, policy].iter().any(|text| text.is_some());
        let lists =
            backends.is_some() || mirrors.is_some() || !headers.is_empty() || !response_headers.is_empty();
        if access.is_none() && status.is_none() && !texts && !lists {
            checker.invalid(span, "the case expects nothing");
        }
        if backends.as_ref().is_some_and(Vec::is_empty) {
            checker.invalid_because(
                span,
                "`backends` is an empty list",
                "expect a `status` where there is no backend",
            );
        }
        if let (Some(one), Some(_)) = (backend, backends) {
            checker.invalid_because(one.span, "`backend` and `backends` are both set", "keep one of them");
        }
        check_fields(headers, checker);
        check_fields(response_headers, checker);
    }
}

impl Invariant {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let Self { name: _, callers, denied, allowed } = self;
        let count =
            [callers.is_some(), denied.is_some(), allowed.is_some()].into_iter().filter(|set| *set).count();
        if count != 1 {
            let message = format!("an invariant has one of `callers`, `denied` and `allowed`, not {count}");
            checker.invalid(span, message);
        }
        if let Some(callers) = callers {
            let Callers { of, port: _, methods, paths, exactly, only, include, exclude } = &callers.value;
            operation(of, methods.as_ref(), paths.as_ref(), callers.span, checker);
            let lists: Vec<_> = [exactly, only, include, exclude].into_iter().flatten().collect();
            if lists.is_empty() {
                let message = "`callers` has none of `exactly`, `only`, `include` and `exclude`";
                checker.invalid(callers.span, message);
            }
            lists
                .iter()
                .flat_map(|list| &list.value)
                .for_each(|selector| selector.check(selector.span, checker));
        }
        for reach in [denied, allowed].into_iter().flatten() {
            let Reach { of, port: _, methods, paths, from } = &reach.value;
            operation(of, methods.as_ref(), paths.as_ref(), reach.span, checker);
            checker.not_empty(from.as_ref(), reach.span, "from");
            from.iter().flatten().for_each(|selector| selector.check(selector.span, checker));
        }
    }
}

impl Selector {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        match self {
            Self::Named(name) => service_name(&Spanned::new(name.clone(), span), checker),
            Self::By(SelectorBy::Service(name) | SelectorBy::NotService(name)) => service_name(name, checker),
            Self::By(SelectorBy::Namespace(namespace) | SelectorBy::NotNamespace(namespace)) => {
                checker.label(namespace, "a namespace");
            }
            Self::By(SelectorBy::Identity(_)) => {}
        }
    }
}

fn operation(
    of: &Spanned<String>,
    methods: Option<&Vec<Spanned<String>>>,
    paths: Option<&Vec<Spanned<PathMatch>>>,
    span: Span,
    checker: &mut Checker<'_>,
) {
    service_name(of, checker);
    checker.not_empty(methods, span, "methods");
    checker.not_empty(paths, span, "paths");
    for method in methods.into_iter().flatten() {
        checker.method(method);
    }
    for path in paths.into_iter().flatten() {
        match &path.value {
            PathMatch::Exact(path) | PathMatch::Prefix(path) => checker.path(path),
            PathMatch::Regex(pattern) => checker.regex(pattern),
        }
    }
}

/// `name` or `namespace/name`.
fn service_name(text: &Spanned<String>, checker: &mut Checker<'_>) {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text.as_str()),
    };
    checker.subdomain(&Spanned::new(name.to_owned(), text.span), "a service");
    if let Some(namespace) = namespace {
        checker.label(&Spanned::new(namespace.to_owned(), text.span), "a namespace");
    }
}

fn check_fields(fields: &Map<Spanned<Values>>, checker: &mut Checker<'_>) {
    for (name, values) in fields {
        checker.header_name(name);
        for value in &values.0 {
            checker.header_value(&Spanned::new(value.clone(), values.span));
        }
    }
}

fn maybe_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Spanned<IpAddr>>, D::Error> {
    ip_address(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SelectorVisitor)
    }
}

struct SelectorVisitor;

impl<'de> Visitor<'de> for SelectorVisitor {
    type Value = Selector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a service, or a mapping such as `{ namespace: ops }`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Selector, E> {
        Ok(Selector::Named(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Selector, A::Error> {
        let selector = SelectorBy::deserialize(MapAccessDeserializer::new(&mut map))?;
        // The adapter looks at the first key only.
        match map.next_key::<String>()? {
            None => Ok(Selector::By(selector)),
            Some(key) => Err(A::Error::custom(format_args!(
                "`{}` is a second key, and callers are selected by one; write an entry for each",
                Short(&key)
            ))),
        }
    }
}

impl JsonSchema for Selector {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Selector".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let by = generator.subschema_for::<SelectorBy>();
        json_schema!({
            "description": "Callers: a service, as `name` or `namespace/name`, or a mapping with one key.",
            "anyOf": [{ "type": "string" }, by],
        })
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of texts")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Values, E> {
        Ok(Values(vec![value.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Values(values))
    }
}

impl JsonSchema for Values {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}
