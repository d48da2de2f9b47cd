//! `SessionPersistence` and `HTTPRouteRetry`: what a rule says beside where requests go.

use serde::Deserialize;
use weft_bundle::duration::DurationText;

use crate::yaml::Spanned;

/// `HTTPRouteRetry`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRetry {
    /// Statuses that make a try count as failed, beside failures to connect.
    #[serde(default)]
    pub codes: Vec<Spanned<u16>>,
    /// Tries after the first; 1 if not set, none if zero.
    pub attempts: Option<Spanned<u32>>,
    /// The first pause.
    pub backoff: Option<Spanned<DurationText>>,
}

/// `SessionPersistence`: a caller stays with one endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// The name of the cookie or header; made of the route's name if not set.
    pub session_name: Option<Spanned<String>>,
    /// When it ends at the latest.
    pub absolute_timeout: Option<Spanned<DurationText>>,
    /// When it ends without use.
    pub idle_timeout: Option<Spanned<DurationText>>,
    /// What carries it; a cookie if not set.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<SessionType>>,
    /// What is special to cookies.
    pub cookie_config: Option<Spanned<CookieConfig>>,
}

impl SessionPersistence {
    /// What carries it.
    pub fn kind(&self) -> SessionType {
        self.kind.as_ref().map_or(SessionType::Cookie, |kind| kind.value)
    }

    /// How long a cookie lives.
    pub fn lifetime(&self) -> CookieLifetime {
        let written = self.cookie_config.as_ref().and_then(|config| config.lifetime_type.as_deref());
        written.copied().unwrap_or(CookieLifetime::Session)
    }
}

/// `SessionPersistenceType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum SessionType {
    /// A cookie.
    Cookie,
    /// A header field.
    Header,
}

/// `CookieConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// How long the cookie lives; `Session` if not set.
    pub lifetime_type: Option<Spanned<CookieLifetime>>,
}

/// `CookieLifetimeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum CookieLifetime {
    /// Until the absolute timeout.
    Permanent,
    /// Until the browser ends.
    Session,
}
