//! Conditions on requests.

use weft_bundle::body::{FieldMatch, PathMatch, RequestMatch, StringMatch};

use crate::dialect::istio::{self, HttpMatchRequest};
use crate::yaml::{Map, Spanned};

/// What must hold of a request.
pub(super) fn condition(written: &HttpMatchRequest) -> RequestMatch {
    let text = |written: &Option<Spanned<istio::StringMatch>>| written.as_deref().map(string_match);
    let (method, scheme, authority) =
        (text(&written.method), text(&written.scheme), text(&written.authority));
    let path = written.uri.as_ref().map(|uri| match &uri.value {
        istio::StringMatch::Exact(path) => PathMatch::Exact(path.value.clone()),
        istio::StringMatch::Prefix(path) => PathMatch::Prefix(path.value.clone()),
        istio::StringMatch::Regex(pattern) => PathMatch::Regex(pattern.value.clone()),
    });
    let lower = |mut field: FieldMatch| {
        field.name.make_ascii_lowercase();
        field
    };
    let inverted = fields(&written.without_headers).map(|field| FieldMatch { invert: true, ..field });
    let headers = fields(&written.headers).chain(inverted).map(lower).collect();
    RequestMatch {
        path,
        path_ignore_case: written.ignore_uri_case.as_deref().copied().unwrap_or(false),
        method,
        scheme,
        authority,
        headers,
        query: fields(&written.query_params).collect(),
        ..RequestMatch::default()
    }
}

/// The same condition in the bundle's words.
pub(super) fn string_match(written: &istio::StringMatch) -> StringMatch {
    match written {
        istio::StringMatch::Exact(text) => StringMatch::Exact(text.value.clone()),
        istio::StringMatch::Prefix(text) => StringMatch::Prefix(text.value.clone()),
        istio::StringMatch::Regex(pattern) => StringMatch::Regex(pattern.value.clone()),
    }
}

fn fields(written: &Map<Spanned<istio::ValueMatch>>) -> impl Iterator<Item = FieldMatch> {
    written.into_iter().map(|(name, condition)| {
        let value = match &condition.value {
            istio::ValueMatch::Like(condition) => string_match(condition),
            istio::ValueMatch::Present => StringMatch::Present,
        };
        FieldMatch { name: name.value.clone(), value, invert: false }
    })
}
