//! `HTTPRouteFilter`: what happens to a request or a response on the way.

use serde::Deserialize;

use super::route::BackendRef;
use crate::yaml::{Spanned, Unread};

/// `HTTPRouteFilter`: a type, and the field of that type.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Which field counts.
    #[serde(rename = "type")]
    pub kind: Spanned<FilterType>,
    /// Changes to the request's headers.
    pub request_header_modifier: Option<Box<Spanned<HeaderModifier>>>,
    /// Changes to the response's headers.
    pub response_header_modifier: Option<Box<Spanned<HeaderModifier>>>,
    /// An answer that sends the caller elsewhere.
    pub request_redirect: Option<Box<Spanned<RequestRedirect>>>,
    /// Changes to where the request says it goes.
    #[serde(rename = "urlRewrite")]
    pub url_rewrite: Option<Box<Spanned<UrlRewrite>>>,
    /// A copy to another backend.
    pub request_mirror: Option<Box<Spanned<RequestMirror>>>,
    /// Cross-origin answers.
    pub cors: Option<Box<Spanned<Cors>>>,
    /// Not honoured.
    pub external_auth: Option<Unread>,
    /// Not honoured.
    pub extension_ref: Option<Unread>,
}

/// `HTTPRouteFilterType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum FilterType {
    /// Changes to the request's headers.
    RequestHeaderModifier,
    /// Changes to the response's headers.
    ResponseHeaderModifier,
    /// An answer that sends the caller elsewhere.
    RequestRedirect,
    /// Changes to where the request says it goes.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// A copy to another backend.
    RequestMirror,
    /// Cross-origin answers.
    #[serde(rename = "CORS")]
    Cors,
    /// A question to another service.
    ExternalAuth,
    /// An implementation's own.
    ExtensionRef,
}

/// What a checked filter does.
#[derive(Clone, Copy, Debug)]
pub enum FilterAction<'a> {
    /// Changes to the request's headers.
    RequestHeaders(&'a HeaderModifier),
    /// Changes to the response's headers.
    ResponseHeaders(&'a HeaderModifier),
    /// An answer that sends the caller elsewhere.
    Redirect(&'a RequestRedirect),
    /// Changes to where the request says it goes.
    Rewrite(&'a UrlRewrite),
    /// A copy to another backend.
    Mirror(&'a Spanned<RequestMirror>),
    /// Cross-origin answers.
    Cors(&'a Cors),
}

impl Filter {
    /// What it does; `None` for a filter that is not honoured or lacks its field, both of which were reported.
    pub fn action(&self) -> Option<FilterAction<'_>> {
        match self.kind.value {
            FilterType::RequestHeaderModifier => {
                self.request_header_modifier.as_ref().map(|f| FilterAction::RequestHeaders(f))
            }
            FilterType::ResponseHeaderModifier => {
                self.response_header_modifier.as_ref().map(|f| FilterAction::ResponseHeaders(f))
            }
            FilterType::RequestRedirect => self.request_redirect.as_ref().map(|f| FilterAction::Redirect(f)),
            FilterType::UrlRewrite => self.url_rewrite.as_ref().map(|f| FilterAction::Rewrite(f)),
            FilterType::RequestMirror => self.request_mirror.as_deref().map(FilterAction::Mirror),
            FilterType::Cors => self.cors.as_ref().map(|f| FilterAction::Cors(f)),
            FilterType::ExternalAuth | FilterType::ExtensionRef => None,
        }
    }
}

/// `HTTPHeaderFilter`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderModifier {
    /// Fields that replace any of the same name.
    #[serde(default)]
    pub set: Vec<Spanned<Header>>,
    /// Fields that join any of the same name.
    #[serde(default)]
    pub add: Vec<Spanned<Header>>,
    /// Fields to drop.
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
}

/// `HTTPHeader`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The name, in any case.
    pub name: Spanned<String>,
    /// The value.
    pub value: Spanned<String>,
}

/// `HTTPRequestRedirectFilter`. What is not set stays as in the request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRedirect {
    /// `http` or `https` once checked.
    pub scheme: Option<Spanned<String>>,
    /// The host.
    pub hostname: Option<Spanned<String>>,
    /// The path.
    pub path: Option<Spanned<PathModifier>>,
    /// The port.
    pub port: Option<Spanned<u16>>,
    /// 301, 302, 303, 307 or 308 once checked; 302 if not set.
    pub status_code: Option<Spanned<u16>>,
}

/// `HTTPURLRewriteFilter`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlRewrite {
    /// The new host.
    pub hostname: Option<Spanned<String>>,
    /// The new path.
    pub path: Option<Spanned<PathModifier>>,
}

/// `HTTPPathModifier`: a type, and the field of that type.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathModifier {
    /// Which field counts.
    #[serde(rename = "type")]
    pub kind: Spanned<PathModifierType>,
    /// The whole path becomes this.
    pub replace_full_path: Option<Spanned<String>>,
    /// The matched prefix becomes this.
    pub replace_prefix_match: Option<Spanned<String>>,
}

/// `HTTPPathModifierType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum PathModifierType {
    /// The whole path changes.
    ReplaceFullPath,
    /// The matched prefix changes.
    ReplacePrefixMatch,
}

/// `HTTPRequestMirrorFilter`. Of percent and fraction there is at most one once checked; without, everything is copied.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestMirror {
    /// Where copies go; it has neither weight nor filters once checked.
    pub backend_ref: Spanned<BackendRef>,
    /// The share that is copied, of a hundred.
    pub percent: Option<Spanned<u32>>,
    /// The share that is copied.
    pub fraction: Option<Spanned<Fraction>>,
}

/// `Fraction`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fraction {
    /// How many.
    pub numerator: Spanned<u32>,
    /// Of how many; 100 if not set.
    pub denominator: Option<Spanned<u32>>,
}

/// `HTTPCORSFilter`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins that may ask: `*`, or `https://host:port` in which the host may be or begin with a wildcard.
    #[serde(default)]
    pub allow_origins: Vec<Spanned<String>>,
    /// Whether cookies and authorization may come along.
    pub allow_credentials: Option<Spanned<bool>>,
    /// Methods that may be used; `*` for any.
    #[serde(default)]
    pub allow_methods: Vec<Spanned<String>>,
    /// Request headers that may be sent; `*` for any.
    #[serde(default)]
    pub allow_headers: Vec<Spanned<String>>,
    /// Response headers that may be read; `*` for any.
    #[serde(default)]
    pub expose_headers: Vec<Spanned<String>>,
    /// How long a browser may keep the answer, in seconds; 5 if not set.
    pub max_age: Option<Spanned<u32>>,
}

/// An origin in parts, as [`Cors::allow_origins`] writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host: a name, `*.` and a name, or `*`.
    pub host: &'a str,
    /// The port, unless it is the scheme's own.
    pub port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// The parts of an origin that is not `*`; none if it is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let own = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port: &u16| *port > 0)?)),
            None => (rest, None),
        };
        let legal = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let named = host.strip_prefix("*.").unwrap_or(host);
        let known = text.len() <= 253 && (host == "*" || named.split('.').all(legal));
        known.then_some(Self { scheme, host, port: port.filter(|port| *port != own) })
    }
}
