//! What rules do: backends, filters, and settings. The same for routes of all kinds.

use weft_bundle::body::{
    Cors, FieldMatch, Fraction, GrpcStatus, HeaderEdits, PathRewrite, Redirect, RetryOn, Rewrite,
    SessionCarrier, SessionPersistence, StringMatch,
};
use weft_bundle::duration::DurationText;
use weft_bundle::engine::literal_regex;

use super::super::{Context, convert};
use super::Scene;
use super::grants::{self, Reference};
use super::parents::mismatch;
use crate::dialect::ParsedDocument;
use crate::dialect::gateway::{
    self, CookieLifetime, Filter, FilterAction, HeaderMatch, HeaderModifier, Origin, PathModifier,
    PathModifierType, RequestMirror, RouteRetry, RouteTimeouts, SessionType, ValueMatchType,
};
use crate::model::{
    BackendRef, BackendTarget, Headers, MirrorRef, RouteKind, RouteRule, RuleAction, Settings,
};
use crate::yaml::{Span, Spanned};

/// A rule as it is written, of a route of any kind.
pub(super) struct Written<'r> {
    pub(super) name: Option<&'r Spanned<String>>,
    pub(super) span: Span,
    pub(super) filters: &'r [Spanned<Filter>],
    pub(super) backends: &'r [Spanned<gateway::BackendRef>],
    pub(super) timeouts: Option<&'r RouteTimeouts>,
    pub(super) retry: Option<&'r Spanned<RouteRetry>>,
    pub(super) session: Option<&'r Spanned<gateway::SessionPersistence>>,
}

/// Turns the rules of one route into those of the model.
pub(super) struct Binder<'b, 's, 'd, 'm> {
    pub(super) context: &'b mut Context<'s>,
    pub(super) scene: &'b Scene<'d, 'm>,
    pub(super) document: &'b ParsedDocument,
    pub(super) kind: RouteKind,
    /// Whether the route is for callers outside the mesh, so that references need grants.
    pub(super) outside: bool,
}

impl Binder<'_, '_, '_, '_> {
    /// The rule at a place of its route.
    pub(super) fn rule(&mut self, written: &Written<'_>, index: usize) -> RouteRule {
        let name = written.name.map_or_else(|| format!("rules[{index}]"), |name| name.value.clone());
        let mut effects = Effects::default();
        for filter in written.filters {
            self.apply(&mut effects, filter);
        }
        let backends: Vec<BackendRef> =
            written.backends.iter().map(|backend| self.backend(backend)).collect();
        let action = match (effects.redirect, backends.is_empty()) {
            (Some(redirect), _) => RuleAction::Redirect(Box::new(redirect)),
            // HTTPRouteRule.backendRefs: without any, and without a filter that answers, the status is 500; for a
            // caller of gRPC UNAVAILABLE, which is what it reads from 503.
            (None, true) if self.kind == RouteKind::Grpc => RuleAction::Respond { status: 503, body: None },
            (None, true) => RuleAction::Respond { status: 500, body: None },
            (None, false) => RuleAction::Forward(backends),
        };
        let session = written.session.map(|session| self.session(session, index));
        RouteRule {
            at: self.context.at(self.document, written.span, Some(name)),
            action,
            headers: Headers::new(effects.request, effects.response),
            rewrite: effects.rewrite.map(Box::new),
            mirrors: effects.mirrors,
            cors: effects.cors.map(Box::new),
            settings: match written.session {
                Some(written_session) => {
                    settings(written).with(Settings::SESSION, session, written_session.span).shared()
                }
                None => settings(written).shared(),
            },
        }
    }

    fn backend(&mut self, written: &Spanned<gateway::BackendRef>) -> BackendRef {
        let target = self.target(written);
        let mut effects = Effects::default();
        for filter in &written.filters {
            self.apply(&mut effects, filter);
        }
        BackendRef {
            target,
            weight: written.weight(),
            headers: Headers::new(effects.request, effects.response),
            span: written.span,
        }
    }

    /// What a reference to a Service means; none if it cannot be bound, which was reported.
    fn target(&mut self, written: &Spanned<gateway::BackendRef>) -> Option<BackendTarget> {
        let (document, mesh) = (self.document, self.scene.mesh);
        let namespace = written.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
        // Other kinds were reported while reading; no bundle is built.
        let service = written
            .is_service()
            .then(|| self.context.service(mesh, document, namespace, &written.name))??;
        self.context.visible(document, mesh.service(service), written.name.span)?;
        if self.outside {
            let reference = Reference { namespace, kind: "Service", name: &written.name };
            grants::check(self.context, &self.scene.facts, document, &reference);
        }
        let number = written.port.as_ref()?;
        let port = self.context.port(document, mesh.service(service), number.value, number.span)?;
        let fits = match self.kind {
            RouteKind::Http | RouteKind::Grpc => port.protocol.is_http(),
            RouteKind::Tls | RouteKind::Tcp => port.protocol != weft_bundle::body::Protocol::Udp,
            RouteKind::Udp => port.protocol == weft_bundle::body::Protocol::Udp,
        };
        if !fits {
            mismatch(self.context, document, number.span, self.kind, mesh.service(service), port);
            return None;
        }
        Some(BackendTarget { service, port: number.value, subset: None })
    }

    fn apply(&mut self, effects: &mut Effects, filter: &Spanned<Filter>) {
        match filter.action() {
            None => {}
            Some(FilterAction::RequestHeaders(modifier)) => {
                modify(&mut effects.request, modifier);
                convert::check_edits(self.context, self.document, filter.span, &effects.request);
            }
            Some(FilterAction::ResponseHeaders(modifier)) => {
                modify(&mut effects.response, modifier);
                convert::check_edits(self.context, self.document, filter.span, &effects.response);
            }
            Some(FilterAction::Redirect(redirect)) => {
                effects.redirect = Some(Redirect {
                    scheme: redirect.scheme.as_ref().map(|scheme| scheme.value.clone()),
                    host: redirect.hostname.as_ref().map(|host| host.value.clone()),
                    port: redirect.port.as_deref().copied(),
                    path: redirect.path.as_deref().and_then(path_rewrite),
                    status: redirect.status_code.as_deref().copied().unwrap_or(302),
                });
            }
            Some(FilterAction::Rewrite(rewrite)) => {
                let host = rewrite.hostname.as_ref().map(|host| host.value.clone());
                effects.rewrite =
                    Some(Rewrite { host, path: rewrite.path.as_deref().and_then(path_rewrite) });
            }
            Some(FilterAction::Mirror(mirror)) => {
                let target = self.target(&mirror.backend_ref);
                effects.mirrors.push(MirrorRef {
                    target,
                    share: share(mirror),
                    span: mirror.backend_ref.span,
                });
            }
            Some(FilterAction::Cors(cors)) => effects.cors = Some(self::cors(cors)),
        }
    }

    fn session(&self, written: &gateway::SessionPersistence, index: usize) -> SessionPersistence {
        let carrier = match (written.kind(), written.lifetime()) {
            (SessionType::Header, _) => SessionCarrier::Header,
            (SessionType::Cookie, CookieLifetime::Session) => SessionCarrier::Cookie,
            (SessionType::Cookie, CookieLifetime::Permanent) => SessionCarrier::PermanentCookie,
        };
        let name = match &written.session_name {
            Some(name) if carrier == SessionCarrier::Header => name.to_ascii_lowercase(),
            Some(name) => name.value.clone(),
            // One for each rule: a session of one says nothing about the backends of another.
            None => format!("weft-{}-{}-{index}", self.document.namespace(), self.document.name()),
        };
        SessionPersistence {
            name,
            carrier,
            absolute_timeout: written.absolute_timeout.as_deref().copied(),
            idle_timeout: written.idle_timeout.as_deref().copied(),
        }
    }
}

/// What the filters of a rule or backend come to.
#[derive(Default)]
struct Effects {
    request: HeaderEdits,
    response: HeaderEdits,
    redirect: Option<Redirect>,
    rewrite: Option<Rewrite>,
    mirrors: Vec<MirrorRef>,
    cors: Option<Cors>,
}

fn modify(edits: &mut HeaderEdits, modifier: &HeaderModifier) {
    let pair = |header: &'_ Spanned<gateway::Header>| (header.name.value.clone(), header.value.value.clone());
    let (set, add): (Vec<_>, Vec<_>) =
        (modifier.set.iter().map(pair).collect(), modifier.add.iter().map(pair).collect());
    convert::edit(
        edits,
        set.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        add.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        modifier.remove.iter().map(|name| name.as_str()),
    );
}

fn path_rewrite(modifier: &PathModifier) -> Option<PathRewrite> {
    match modifier.kind.value {
        PathModifierType::ReplaceFullPath => {
            Some(PathRewrite::Full(modifier.replace_full_path.as_ref()?.value.clone()))
        }
        PathModifierType::ReplacePrefixMatch => {
            Some(PathRewrite::Matched(modifier.replace_prefix_match.as_ref()?.value.clone()))
        }
    }
}

fn share(mirror: &RequestMirror) -> Fraction {
    match (&mirror.percent, &mirror.fraction) {
        (Some(percent), _) => Fraction::percent(percent.value),
        (None, Some(fraction)) => Fraction {
            numerator: fraction.numerator.value,
            denominator: fraction.denominator.as_deref().copied().unwrap_or(100),
        },
        (None, None) => Fraction::ALL,
    }
}

/// How long a browser may keep the answer if nothing is said (`HTTPCORSFilter.maxAge`).
const MAX_AGE_SECONDS: u32 = 5;

fn cors(written: &gateway::Cors) -> Cors {
    let texts = |list: &[Spanned<String>]| list.iter().map(|item| item.value.clone()).collect();
    let lower = |list: &[Spanned<String>]| list.iter().map(|item| item.to_ascii_lowercase()).collect();
    let seconds = written.max_age.as_deref().copied().unwrap_or(MAX_AGE_SECONDS);
    Cors {
        allow_origins: written.allow_origins.iter().filter_map(|origin| self::origin(origin)).collect(),
        allow_methods: texts(&written.allow_methods),
        allow_headers: lower(&written.allow_headers),
        expose_headers: lower(&written.expose_headers),
        max_age: Some(DurationText::new(std::time::Duration::from_secs(u64::from(seconds)))),
        allow_credentials: written.allow_credentials.as_deref().copied().unwrap_or(false),
        forward_unmatched: false,
    }
}

/// The origins that a text stands for, as browsers write them: in lower case, without the scheme's own port.
fn origin(text: &str) -> Option<StringMatch> {
    if text == "*" {
        return Some(StringMatch::Present);
    }
    let Origin { scheme, host, port } = Origin::parse(text)?;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let host = host.to_ascii_lowercase();
    Some(match host.strip_prefix('*') {
        None => StringMatch::Exact(format!("{scheme}://{host}{port}")),
        Some("") => StringMatch::Regex(format!(r"{scheme}://(?:[^/:\[\]]+|\[[0-9a-f:]+\]){port}")),
        Some(suffix) => StringMatch::Regex(format!("{scheme}://[^/:]+{}{port}", literal_regex(suffix))),
    })
}

/// What a rule says of timeouts and retries.
fn settings(written: &Written<'_>) -> Settings {
    written
        .retry
        .map(retry)
        .unwrap_or_default()
        .written(Settings::REQUEST, written.timeouts.and_then(|timeouts| timeouts.request.as_ref()))
        .written(Settings::PER_TRY, written.timeouts.and_then(|timeouts| timeouts.backend_request.as_ref()))
}

/// Tries after the first where `retry` is there and gives no number, which Gateway API leaves open.
const ATTEMPTS: u32 = 1;
/// The longest pause is so many times the first one, which Gateway API leaves open.
const LONGEST_PAUSE: u32 = 10;

/// `HTTPRouteRetry`: the statuses it lists, connections that could not be made, and requests that were certainly not
/// processed.
fn retry(written: &Spanned<RouteRetry>) -> Settings {
    let always = [RetryOn::ConnectFailure, RetryOn::RefusedStream, RetryOn::Grpc(GrpcStatus::Unavailable)];
    let codes = written.codes.iter().map(|code| RetryOn::Status(code.value));
    let longest = |base: DurationText| DurationText::new(base.get().saturating_mul(LONGEST_PAUSE));
    let attempts = written.attempts.unwrap_or(Spanned::new(ATTEMPTS, written.span));
    let codes_place = written.codes.first().zip(written.codes.last());
    let codes_place = codes_place.map_or(written.span, |(first, last)| first.span.to(last.span));
    Settings::default()
        .written(Settings::RETRY_ATTEMPTS, Some(&attempts))
        .with(Settings::RETRY_ON, Some(always.into_iter().chain(codes).collect()), codes_place)
        .with(Settings::RETRY_METHODS, Some(convert::every_method()), written.span)
        .written(Settings::BACKOFF_BASE, written.backoff.as_ref())
        .written(Settings::BACKOFF_MAX, written.backoff.map(|base| base.map(longest)).as_ref())
}

/// Conditions on headers. "Only the first entry with an equivalent name MUST be considered for a match"
/// (HTTPHeaderMatch.name).
pub(super) fn headers(written: &[Spanned<HeaderMatch>]) -> Vec<FieldMatch> {
    let conditions = written.iter().map(|header| {
        let name = header.name.to_ascii_lowercase();
        (name, value(header.kind(), &header.value.value))
    });
    first_of_each_name(conditions)
}

/// Conditions on fields, of which the first of each name counts.
pub(super) fn first_of_each_name(conditions: impl Iterator<Item = (String, StringMatch)>) -> Vec<FieldMatch> {
    let mut fields: Vec<FieldMatch> = Vec::new();
    for (name, value) in conditions {
        if fields.iter().all(|other| other.name != name) {
            fields.push(FieldMatch { name, value, invert: false });
        }
    }
    fields
}

/// A condition on a value.
pub(super) fn value(kind: ValueMatchType, text: &Spanned<String>) -> StringMatch {
    match kind {
        ValueMatchType::Exact => StringMatch::Exact(text.value.clone()),
        ValueMatchType::RegularExpression => StringMatch::Regex(text.value.clone()),
    }
}
