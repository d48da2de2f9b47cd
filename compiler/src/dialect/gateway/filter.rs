//! `HTTPRouteFilter`: what happens to a request or a response on the way.

use serde::Deserialize;

use crate::yaml::{Spanned, Unread};

/// `HTTPRouteFilter`: a type, and the field of that type.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Which field counts.
    #[serde(rename = "type")]
    pub kind: Spanned<FilterType>,
    /// Changes to the request's headers.
    pub request_header_modifier: Option<Spanned<HeaderModifier>>,
    /// Changes to the response's headers.
    pub response_header_modifier: Option<Spanned<HeaderModifier>>,
    /// An answer that sends the caller elsewhere.
    pub request_redirect: Option<Spanned<RequestRedirect>>,
    /// Changes to where the request says it goes.
    #[serde(rename = "urlRewrite")]
    pub url_rewrite: Option<Spanned<UrlRewrite>>,
    /// Not honoured.
    pub request_mirror: Option<Unread>,
    /// Not honoured.
    pub cors: Option<Unread>,
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
            FilterType::RequestMirror
            | FilterType::Cors
            | FilterType::ExternalAuth
            | FilterType::ExtensionRef => None,
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
