//! `HTTPRoute`, and what it is made of.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::Deserialize;
use weft_bundle::body::RetryOn;
use weft_bundle::duration::DurationText;

use super::extras::{CorsPolicy, HttpFault, IntegerPercent, MirrorPolicy, Percent, RegexRewrite};
use crate::dialect::istio::string_match::{StringMatch, ValueMatch};
use crate::yaml::{Map, Spanned, Unread};

/// `HTTPRoute`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// The rule's name.
    pub name: Option<Spanned<String>>,
    /// Any of these; every request if empty.
    #[serde(rename = "match", default)]
    pub matches: Vec<Spanned<HttpMatchRequest>>,
    /// Where requests go, by weight.
    #[serde(default)]
    pub route: Vec<Spanned<HttpRouteDestination>>,
    /// An answer that sends the caller elsewhere.
    pub redirect: Option<Spanned<HttpRedirect>>,
    /// An answer.
    pub direct_response: Option<Spanned<DirectResponse>>,
    /// Changes to where the request says it goes.
    pub rewrite: Option<Spanned<HttpRewrite>>,
    /// How long a request may take, all tries together; without limit if not set or zero.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub timeout: Option<Spanned<DurationText>>,
    /// Whether and when a request is tried again.
    pub retries: Option<Spanned<HttpRetry>>,
    /// Changes to headers.
    pub headers: Option<Spanned<Headers>>,
    /// Another VirtualService, without hosts, whose routes stand here.
    pub delegate: Option<Spanned<Delegate>>,
    /// Faults to inject.
    pub fault: Option<Spanned<HttpFault>>,
    /// Where copies go.
    pub mirror: Option<Spanned<Destination>>,
    /// Where copies go, each with its own share.
    #[serde(default)]
    pub mirrors: Vec<Spanned<MirrorPolicy>>,
    /// Deprecated name of `mirrorPercentage`, in whole per cent.
    pub mirror_percent: Option<Spanned<IntegerPercent>>,
    /// The share that is copied; everything if not set.
    pub mirror_percentage: Option<Spanned<Percent>>,
    /// What browsers of other origins may do.
    pub cors_policy: Option<Spanned<CorsPolicy>>,
}

/// `HTTPMatchRequest`: every field that is set must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatchRequest {
    /// The match's name.
    pub name: Option<Spanned<String>>,
    /// A condition on the path, without query.
    pub uri: Option<Spanned<StringMatch>>,
    /// A condition on the scheme.
    pub scheme: Option<Spanned<StringMatch>>,
    /// A condition on the method.
    pub method: Option<Spanned<StringMatch>>,
    /// A condition on the authority.
    pub authority: Option<Spanned<StringMatch>>,
    /// Conditions on header fields; all must hold.
    #[serde(default)]
    pub headers: Map<Spanned<ValueMatch>>,
    /// Conditions on header fields; none may hold.
    #[serde(default)]
    pub without_headers: Map<Spanned<ValueMatch>>,
    /// Conditions on query parameters; all must hold.
    #[serde(default)]
    pub query_params: Map<Spanned<ValueMatch>>,
    /// One port of the host.
    pub port: Option<Spanned<u16>>,
    /// Whether the letters of `uri` are compared without case.
    pub ignore_uri_case: Option<Spanned<bool>>,
    /// Callers of this namespace.
    pub source_namespace: Option<Spanned<String>>,
    /// Only there; instead of the VirtualService's own `gateways`.
    #[serde(default)]
    pub gateways: Vec<Spanned<String>>,
    /// Callers whose workloads carry these labels.
    #[serde(default)]
    pub source_labels: BTreeMap<String, String>,
    /// A prefix for Envoy's metrics; proxies here have none that are named by routes.
    pub stat_prefix: Option<Unread>,
}

/// `HTTPRouteDestination`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteDestination {
    /// Where.
    pub destination: Spanned<Destination>,
    /// Its share, relative to its neighbours; a single destination gets everything, among several 0 if not set.
    pub weight: Option<Spanned<u32>>,
    /// Changes to headers, for this destination.
    pub headers: Option<Spanned<Headers>>,
}

/// `Destination`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The service.
    pub host: Spanned<String>,
    /// A named part of it.
    pub subset: Option<Spanned<String>>,
    /// Its port; may be left out if it has only one.
    pub port: Option<Spanned<PortSelector>>,
}

/// `PortSelector`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortSelector {
    /// The port.
    pub number: Spanned<u16>,
}

/// `HTTPRedirect`. What is not set stays as in the request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRedirect {
    /// The path.
    pub uri: Option<Spanned<String>>,
    /// Host, and port if it has one.
    pub authority: Option<Spanned<String>>,
    /// The port.
    pub port: Option<Spanned<u16>>,
    /// `http` or `https` once checked.
    pub scheme: Option<Spanned<String>>,
    /// 301, 302, 303, 307 or 308 once checked; 301 if not set.
    pub redirect_code: Option<Spanned<u16>>,
    /// Where the port comes from, instead of `port`.
    pub derive_port: Option<Spanned<DerivePort>>,
    /// What the matched prefix becomes, instead of `uri`.
    pub prefix_rewrite: Option<Spanned<String>>,
}

/// `HTTPRedirect.RedirectPortSelection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DerivePort {
    /// 80 for `http`, 443 for `https`.
    FromProtocolDefault,
    /// The port that the request came to.
    FromRequestPort,
}

/// `Delegate`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegate {
    /// The VirtualService's name.
    pub name: Spanned<String>,
    /// Its namespace; the root's own if not set.
    pub namespace: Option<Spanned<String>>,
}

/// `HTTPDirectResponse`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectResponse {
    /// 200 to 599 once checked.
    pub status: Spanned<u16>,
    /// The body.
    pub body: Option<Spanned<ResponseBody>>,
}

/// `HTTPBody`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseBody {
    /// As text.
    pub string: Option<Spanned<String>>,
    /// In base64; of UTF-8 text once checked.
    pub bytes: Option<Spanned<String>>,
}

impl ResponseBody {
    /// The body, if it is text.
    pub fn text(&self) -> Option<String> {
        match (&self.string, &self.bytes) {
            (Some(text), _) => Some(text.value.clone()),
            (None, Some(bytes)) => String::from_utf8(BASE64.decode(bytes.as_bytes()).ok()?).ok(),
            (None, None) => None,
        }
    }
}

/// `HTTPRewrite`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRewrite {
    /// What the matched prefix, or the whole path for other matches, becomes.
    pub uri: Option<Spanned<String>>,
    /// The new authority.
    pub authority: Option<Spanned<String>>,
    /// What the parts of the path that an expression matches become, instead of `uri`.
    pub uri_regex_rewrite: Option<Spanned<RegexRewrite>>,
}

/// `HTTPRetry`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRetry {
    /// Tries after the first.
    pub attempts: Option<Spanned<u32>>,
    /// How long one try may take.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub per_try_timeout: Option<Spanned<DurationText>>,
    /// What makes a try count as failed, separated by commas.
    pub retry_on: Option<Spanned<String>>,
    /// The first pause.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub backoff: Option<Spanned<DurationText>>,
    /// Whether a retry may leave the locality; only `false` once checked.
    pub retry_remote_localities: Option<Spanned<bool>>,
    /// Whether a retry avoids endpoints already tried; only `true` once checked.
    pub retry_ignore_previous_hosts: Option<Spanned<bool>>,
}

/// `Headers`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Headers {
    /// Of the request.
    pub request: Option<Spanned<HeaderOperations>>,
    /// Of the response.
    pub response: Option<Spanned<HeaderOperations>>,
}

/// `HeaderOperations`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderOperations {
    /// Fields that replace any of the same name.
    #[serde(default)]
    pub set: Map<Spanned<String>>,
    /// Fields that join any of the same name.
    #[serde(default)]
    pub add: Map<Spanned<String>>,
    /// Fields to drop.
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
}

impl HttpRetry {
    /// What makes a try count as failed, sorted, each once; `None` if the document leaves that to Istio.
    ///
    /// Words that cannot be honoured are left out here and reported when the document is checked.
    pub fn conditions(&self) -> Option<Vec<RetryOn>> {
        let words = self.retry_on.as_ref().filter(|words| !words.trim().is_empty())?;
        let mut conditions: Vec<RetryOn> = words.split(',').filter_map(condition).flatten().collect();
        conditions.sort_unstable();
        conditions.dedup();
        Some(conditions)
    }
}

/// What a word of `retryOn` stands for, in Envoy's reading: `5xx` and `gateway-error` also hold for a try that got no
/// response at all (envoy:source/common/router/retry_state_impl.cc, `wouldRetryFromReset`).
pub(in crate::dialect::istio) fn condition(word: &str) -> Option<Vec<RetryOn>> {
    use RetryOn::{ConnectFailure, GatewayError, Grpc, RefusedStream, Reset, ServerError, Status};
    Some(match word.trim() {
        "connect-failure" => vec![ConnectFailure],
        "refused-stream" => vec![RefusedStream],
        "reset" => vec![ConnectFailure, RefusedStream, Reset],
        "gateway-error" => vec![ConnectFailure, RefusedStream, Reset, GatewayError],
        "5xx" => vec![ConnectFailure, RefusedStream, Reset, ServerError],
        // Envoy knows one status of that kind.
        "retriable-4xx" => vec![Status(409)],
        // The word that makes the numbers beside it count.
        "retriable-status-codes" => Vec::new(),
        word => match word.parse() {
            Ok(condition @ (Status(_) | Grpc(_))) => vec![condition],
            _ => return None,
        },
    })
}
