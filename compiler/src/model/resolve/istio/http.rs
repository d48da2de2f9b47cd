//! Routes of requests.

use weft_bundle::body::GrpcStatus;
use weft_bundle::body::{
    Abort, Cors, Delay, Fault, Fraction, PathMatch, PathRewrite, Redirect, RequestMatch, RetryOn, Rewrite,
    StringMatch,
};
use weft_bundle::duration::DurationText;

use super::super::{Context, convert};
use super::backends::{Binder, backends, destination, edits};
use super::conditions::{condition, string_match};
use super::delegate::Effective;
use super::gateway::{Asked, Part};
use super::{Ports, Stage};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::virtual_service::{CorsPolicy, DerivePort, HttpFault, UnmatchedPreflights};
use crate::dialect::istio::{self, Destination, HttpRedirect, HttpRetry, HttpRoute};
use crate::dialect::{NOT_SUPPORTED, ParsedDocument};
use crate::model::{Mesh, MirrorRef, RouteEntry, RouteRule, RuleAction, Settings};
use crate::yaml::{Span, Spanned};

/// What Istio does where nobody says anything: no limit on the time of a request, and two retries
/// (istio:pilot/pkg/networking/core/route/retry/retry.go, `defaultPolicy`; 503 is no longer one of its conditions).
pub(super) fn defaults() -> Settings {
    Settings {
        request: Some(DurationText::default()),
        retry_attempts: Some(2),
        retry_on: Some(vec![
            RetryOn::ConnectFailure,
            RetryOn::RefusedStream,
            RetryOn::Grpc(GrpcStatus::Cancelled),
            RetryOn::Grpc(GrpcStatus::Unavailable),
        ]),
        // Istio does not ask whether a request is safe to repeat.
        retry_methods: Some(convert::every_method()),
        ..Settings::default()
    }
}

/// The entries of a route.
pub(super) fn entries(
    context: &mut Context<'_>,
    stage: &Stage<'_, '_>,
    mesh: &Mesh,
    effective: &Effective<'_>,
    rule: usize,
) -> Vec<RouteEntry> {
    let route = &*effective.route;
    // A rewrite replaces the matched prefix; without a condition on the path that prefix is `/`.
    let rewrites = route.rewrite.as_ref().is_some_and(|rewrite| rewrite.uri.is_some());
    let whole = rewrites.then(|| PathMatch::Prefix("/".to_owned()));
    if route.matches.is_empty() {
        let span = route.name.as_ref().map_or(effective.span, |name| name.span);
        let condition = RequestMatch { path: whole, ..RequestMatch::default() };
        return vec![entry(condition, rule, span)];
    }
    let mut entries = Vec::new();
    for written in &route.matches {
        let mut condition = condition(written);
        condition.path = condition.path.or_else(|| whole.clone());
        let asked = Asked {
            gateways: &written.gateways,
            namespace: written.source_namespace.as_ref().map(|namespace| namespace.as_str()),
            labels: &written.source_labels,
            span: written.span,
        };
        entries.push(RouteEntry {
            port: written.port.as_deref().copied(),
            source_namespace: written.source_namespace.as_ref().map(|namespace| namespace.value.clone()),
            source_labels: written.source_labels.clone(),
            only: stage.only(context, mesh, Part::Requests, &asked),
            ..entry(condition, rule, written.span)
        });
    }
    entries
}

/// An entry for every caller.
pub(super) fn entry(condition: RequestMatch, rule: usize, span: Span) -> RouteEntry {
    let source_labels = std::collections::BTreeMap::new();
    RouteEntry { condition, port: None, source_namespace: None, source_labels, only: None, rule, span }
}

/// What a route does. `ports` are those it stands on.
pub(super) fn rule(
    context: &mut Context<'_>,
    effective: &Effective<'_>,
    ports: &Ports,
    binder: &Binder<'_>,
) -> RouteRule {
    let (document, written) = (effective.document, &*effective.route);
    let at = context.at(document, effective.span, Some(effective.name.clone()));
    let action = if let Some(redirect) = &written.redirect {
        let to = self::redirect(context, document, redirect, ports);
        let port = redirect_port(context, effective, redirect, &ports.numbers).or(to.port);
        RuleAction::Redirect(Box::new(Redirect { port, ..to }))
    } else if let Some(response) = &written.direct_response {
        let body = response.body.as_ref().and_then(|body| body.text());
        RuleAction::Respond { status: response.status.value, body }
    } else {
        RuleAction::Forward(backends(context, document, &written.route, binder))
    };
    let headers = edits(context, document, written.headers.as_ref());
    let retries = written.retries.as_ref().map(retry).unwrap_or_default();
    let settings = retries.written(Settings::REQUEST, written.timeout.as_ref());
    RouteRule {
        at,
        action,
        headers,
        rewrite: rewrite(written).map(Box::new),
        mirrors: mirrors(context, effective, binder),
        cors: written.cors_policy.as_deref().map(|policy| Box::new(cors(policy))),
        settings: match &written.fault {
            Some(injected) => settings.with(Settings::FAULT, fault(injected), injected.span).shared(),
            None => settings.shared(),
        },
    }
}

fn rewrite(written: &HttpRoute) -> Option<Rewrite> {
    let own = written.rewrite.as_deref();
    let operations = written.headers.as_ref().and_then(|headers| headers.request.as_ref());
    let host = own.and_then(|rewrite| rewrite.authority.as_ref());
    let host = host.or(operations.and_then(|operations| operations.authority()));
    let path = own.and_then(|rewrite| match (&rewrite.uri, &rewrite.uri_regex_rewrite) {
        (Some(uri), _) => Some(PathRewrite::Matched(uri.value.clone())),
        (None, Some(regex)) => Some(PathRewrite::Regex {
            pattern: regex.pattern.value.clone(),
            substitution: regex.rewrite.value.clone(),
        }),
        (None, None) => None,
    });
    (host.is_some() || path.is_some()).then(|| Rewrite { host: host.map(|host| host.value.clone()), path })
}

/// Envoy drops the request's port where it changes the host; Gateway API, whose rules the engine has, keeps it unless
/// another, or a scheme, is given. So the scheme that requests have is written down there: calls inside the mesh are `http`
/// to the proxy.
fn redirect(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &Spanned<HttpRedirect>,
    ports: &Ports,
) -> Redirect {
    let authority =
        written.authority.as_ref().map(|authority| weft_bundle::engine::split_authority(authority));
    let by_protocol = written.derive_port.as_deref() == Some(&DerivePort::FromProtocolDefault);
    let drops = (authority.is_some() || by_protocol) && written.scheme.is_none();
    let port = written.port.as_deref().copied().or(authority.and_then(|(_, port)| port));
    let scheme = match (drops && port.is_none(), ports.over_tls) {
        (false, _) => None,
        (true, Some(over_tls)) => Some(if over_tls { "https" } else { "http" }),
        (true, None) => {
            let message =
                "requests come by `http` and by `https`, and nothing says which the redirect leads to";
            let finding = Diagnostic::error(NOT_SUPPORTED, message)
                .object(document.object())
                .at(written.span)
                .with_note("without the request's port, one rule cannot keep both schemes");
            context.report(finding.help("add `scheme: https`, or a route for each Gateway"));
            None
        }
    };
    Redirect {
        scheme: written.scheme.as_ref().map(|own| own.value.clone()).or(scheme.map(str::to_owned)),
        host: authority.map(|(host, _)| host.to_owned()),
        port,
        path: match (&written.uri, &written.prefix_rewrite) {
            (Some(uri), _) => Some(PathRewrite::Full(uri.value.clone())),
            (None, Some(prefix)) => Some(PathRewrite::Matched(prefix.value.clone())),
            (None, None) => None,
        },
        status: written.redirect_code.as_deref().copied().unwrap_or(301),
    }
}

/// The port of `FROM_REQUEST_PORT`: Istio writes down the one that the route stands on.
fn redirect_port(
    context: &mut Context<'_>,
    effective: &Effective<'_>,
    redirect: &HttpRedirect,
    ports: &[u16],
) -> Option<u16> {
    let derived =
        redirect.derive_port.as_ref().filter(|derived| derived.value == DerivePort::FromRequestPort)?;
    let named: Vec<u16> = effective.route.matches.iter().filter_map(|m| m.port.as_deref().copied()).collect();
    let all_named = !named.is_empty() && named.len() == effective.route.matches.len();
    let meant = if all_named { named.as_slice() } else { ports };
    match meant {
        [] => None,
        [first, rest @ ..] if rest.iter().all(|other| other == first) => Some(*first),
        [_, ..] => {
            let finding =
                Diagnostic::error(NOT_SUPPORTED, "the hosts have several ports, and one redirect has one")
                    .object(effective.document.object())
                    .at(derived.span)
                    .help("match one `port`, with a route for each");
            context.report(finding);
            None
        }
    }
}

fn mirrors(context: &mut Context<'_>, effective: &Effective<'_>, binder: &Binder<'_>) -> Vec<MirrorRef> {
    let route = &*effective.route;
    let whole = route.mirror_percent.as_ref().map(|percent| percent.value.share());
    let share = route.mirror_percentage.as_ref().map(|percent| percent.value.share()).or(whole);
    let one = route.mirror.as_ref().map(|mirror| (mirror, share));
    let several = route
        .mirrors
        .iter()
        .map(|mirror| (&mirror.destination, mirror.percentage.as_ref().map(|percent| percent.value.share())));
    let mut mirrors = Vec::new();
    for (to, share) in one.into_iter().chain(several) {
        let to: &Spanned<Destination> = to;
        let target = destination(context, effective.document, to, binder);
        let share = share.unwrap_or(Fraction::ALL);
        // Copies of no requests are none.
        if share.numerator > 0 {
            mirrors.push(MirrorRef { target, share, span: to.span });
        }
    }
    mirrors
}

/// Envoy takes an exact `*` for every origin, and forwards preflights of others unless told otherwise.
fn cors(written: &CorsPolicy) -> Cors {
    let origin = |origin: &Spanned<istio::StringMatch>| match string_match(&origin.value) {
        StringMatch::Exact(text) if text == "*" => StringMatch::Present,
        other => other,
    };
    let old = written.allow_origin.iter().map(|origin| match origin.as_str() {
        "*" => StringMatch::Present,
        exact => StringMatch::Exact(exact.to_owned()),
    });
    let lower = |names: &[Spanned<String>]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
    Cors {
        allow_origins: written.allow_origins.iter().map(origin).chain(old).collect(),
        allow_methods: written.allow_methods.iter().map(|method| method.value.clone()).collect(),
        allow_headers: lower(&written.allow_headers),
        expose_headers: lower(&written.expose_headers),
        max_age: written.max_age.as_deref().copied(),
        allow_credentials: written.allow_credentials.is_some_and(|allowed| allowed.value),
        forward_unmatched: written.unmatched_preflights.as_deref() != Some(&UnmatchedPreflights::Ignore),
    }
}

/// A fault with a share of nothing is none.
fn fault(written: &HttpFault) -> Option<Fault> {
    let hit = |share: Option<Fraction>| share.filter(|share| share.numerator > 0);
    let delay = written
        .delay
        .as_ref()
        .and_then(|delay| Some(Delay { fixed: *delay.fixed_delay.as_deref()?, share: hit(delay.share())? }));
    let abort = written.abort.as_ref().and_then(|abort| {
        Some(Abort {
            status: abort.http_status.as_deref().copied().unwrap_or(200),
            grpc_status: abort.grpc_code(),
            share: hit(abort.share())?,
        })
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

fn retry(written: &Spanned<HttpRetry>) -> Settings {
    let longest = |base: DurationText| DurationText::new(base.get().saturating_mul(10));
    // Without a number there are none (istio:pilot/pkg/networking/core/route/retry/retry.go, `ConvertPolicy`).
    let attempts = written.attempts.unwrap_or(Spanned::new(0, written.span));
    let on_place = written.retry_on.as_ref().map_or(written.span, |words| words.span);
    Settings::default()
        .written(Settings::RETRY_ATTEMPTS, Some(&attempts))
        .written(Settings::PER_TRY, written.per_try_timeout.as_ref())
        .with(Settings::RETRY_ON, written.conditions(), on_place)
        .written(Settings::BACKOFF_BASE, written.backoff.as_ref())
        // Envoy's, where only the first pause is given.
        .written(Settings::BACKOFF_MAX, written.backoff.map(|base| base.map(longest)).as_ref())
}
