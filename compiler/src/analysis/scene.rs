//! Conditions and requests as the decision engine takes them: what an analysis says of a request is what proxies do.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use weft_bundle::body::{Action, Body, Frontend, Origin, Protocol, Rule};
use weft_bundle::body::{Entry, RequestMatch};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{self, Engine};
use weft_bundle::spiffe::{SpiffeId, TrustDomain};

use crate::{lower, reach};

/// The name that a lone frontend answers to, on port 80.
pub(super) const HOST: &str = "scene";

/// An engine with one frontend; none if the proxies would refuse it, which other findings say.
pub(super) fn engine(entries: Vec<(RequestMatch, Action)>) -> Option<Engine> {
    let (conditions, actions): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let frontend = Frontend {
        service: "scene/scene".to_owned(),
        port: 80,
        protocol: Protocol::Http,
        hosts: vec![HOST.to_owned()],
        addresses: Vec::new(),
        entries: conditions
            .into_iter()
            .enumerate()
            .map(|(rule, condition)| Entry { condition, rule })
            .collect(),
        rules: actions.into_iter().map(rule).collect(),
        otherwise: rule(respond()),
    };
    let trust_domain = "scene".parse::<TrustDomain>().ok()?;
    let identity = SpiffeId::for_service_account(&trust_domain, "scene", "scene").ok()?;
    let mut body = Body::new("scene", frontend.service.clone(), identity);
    body.outbound.push(frontend);
    Engine::build(Arc::new(body)).ok()
}

/// What stands for everything that is no redirect.
pub(super) fn respond() -> Action {
    Action::Respond { status: 200, body: None }
}

fn rule(action: Action) -> Rule {
    let origin = Origin { object: String::new(), rule: None, file: String::new(), line: 0 };
    lower::plain_rule(origin, action)
}

/// A request, owned.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) scheme: String,
    pub(super) authority: String,
    pub(super) path: CanonicalPath,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
}

impl Sent {
    /// A request of the reachability core, sent to an authority unless it names one; none if it cannot be sent.
    pub(super) fn of(request: &reach::Request, authority: &str) -> Option<Self> {
        let encoded = |text: &[u8]| text.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let pair =
            |(name, value): &(String, Vec<u8>)| format!("{}={}", encoded(name.as_bytes()), encoded(value));
        let query = request.query.iter().map(pair).collect::<Vec<_>>().join("&");
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        Some(Self {
            method: request.method.clone(),
            scheme: request.scheme.clone(),
            authority: request.authority.clone().unwrap_or_else(|| authority.to_owned()),
            path: CanonicalPath::parse(&request.path).ok()?,
            query: (!query.is_empty()).then_some(query),
            headers,
        })
    }

    /// As the engine takes it.
    pub(super) fn as_request(&self) -> engine::Request<'_> {
        engine::Request {
            method: &self.method,
            scheme: &self.scheme,
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }
}
