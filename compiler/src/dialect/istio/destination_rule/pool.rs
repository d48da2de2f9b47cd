//! `ConnectionPoolSettings` and `OutlierDetection`.

use serde::Deserialize;
use weft_bundle::duration::DurationText;

use crate::yaml::{Spanned, Unread};

/// `ConnectionPoolSettings`. Numbers of zero are as if not set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionPoolSettings {
    /// Of connections.
    pub tcp: Option<Spanned<TcpSettings>>,
    /// Of requests.
    pub http: Option<Spanned<HttpSettings>>,
}

/// `ConnectionPoolSettings.TCPSettings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpSettings {
    /// Connections in flight; no limit if not set.
    pub max_connections: Option<Spanned<u32>>,
    /// To open a connection; 10 s if not set.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub connect_timeout: Option<Spanned<DurationText>>,
    /// Probes of idle connections.
    pub tcp_keepalive: Option<Spanned<TcpKeepalive>>,
    /// The age after which a connection is not used again.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub max_connection_duration: Option<Spanned<DurationText>>,
    /// How long a connection may be without traffic; 1 h if not set.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub idle_timeout: Option<Spanned<DurationText>>,
}

/// `TCPSettings.TcpKeepalive`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpKeepalive {
    /// So many without an answer end a connection.
    pub probes: Option<Spanned<u32>>,
    /// After how long without traffic.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub time: Option<Spanned<DurationText>>,
    /// How often.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub interval: Option<Spanned<DurationText>>,
}

/// `ConnectionPoolSettings.HTTPSettings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpSettings {
    /// Requests that wait for a connection; no limit if not set.
    pub http1_max_pending_requests: Option<Spanned<u32>>,
    /// Requests in flight; no limit if not set.
    pub http2_max_requests: Option<Spanned<u32>>,
    /// Requests after which a connection is not used again; no limit if not set.
    pub max_requests_per_connection: Option<Spanned<u32>>,
    /// Retries in flight; no limit if not set.
    pub max_retries: Option<Spanned<u32>>,
    /// How long an unused connection is kept; 1 h if not set.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub idle_timeout: Option<Spanned<DurationText>>,
    /// Whether HTTP/1.1 requests travel over HTTP/2.
    pub h2_upgrade_policy: Option<Spanned<H2UpgradePolicy>>,
    /// Not honoured unless `false`.
    pub use_client_protocol: Option<Spanned<bool>>,
    /// Streams at once on one HTTP/2 connection; no limit if not set.
    pub max_concurrent_streams: Option<Spanned<u32>>,
}

/// `HTTPSettings.H2UpgradePolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    /// As the mesh has it, which is not.
    Default,
    /// No.
    DoNotUpgrade,
    /// Yes.
    Upgrade,
}

/// `OutlierDetection`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Whether failures that are not answers are counted apart.
    pub split_external_local_origin_errors: Option<Spanned<bool>>,
    /// After so many of those in a row; 5 if not set.
    pub consecutive_local_origin_failures: Option<Spanned<u32>>,
    /// After so many 502, 503 or 504 in a row; never if not set.
    pub consecutive_gateway_errors: Option<Spanned<u32>>,
    /// After so many statuses from 500 in a row; 5 if not set.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<Spanned<u32>>,
    /// Removed from Istio; not honoured.
    pub consecutive_errors: Option<Unread>,
    /// How often endpoints are looked at again; 10 s if not set.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub interval: Option<Spanned<DurationText>>,
    /// How long the first time; 30 s if not set.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub base_ejection_time: Option<Spanned<DurationText>>,
    /// Never more than this share at once; 10 % if not set.
    pub max_ejection_percent: Option<Spanned<u32>>,
    /// With fewer well endpoints than this share, all are used; 0 if not set.
    pub min_health_percent: Option<Spanned<u32>>,
}
