//! The values of an AuthorizationPolicy as conditions (istio:pilot/pkg/security/authz/matcher,
//! istio:pilot/pkg/security/authz/model/generator.go).
//!
//! A `*` at the beginning or the end of a value stands for any text, and alone for any text that is not empty. Where
//! both ends have one, the first counts and the other is a letter like any; Envoy is given the same.

use weft_bundle::body::{PathMatch, StringMatch};

/// A value as a condition on a text.
pub fn text(value: &str) -> StringMatch {
    if value == "*" {
        StringMatch::Regex("(?s).+".to_owned())
    } else if let Some(suffix) = value.strip_prefix('*') {
        StringMatch::Suffix(suffix.to_owned())
    } else if let Some(prefix) = value.strip_suffix('*') {
        StringMatch::Prefix(prefix.to_owned())
    } else {
        StringMatch::Exact(value.to_owned())
    }
}

/// A value as a condition on a path; none if every path meets it.
///
/// # Errors
/// What is wrong with a template.
pub fn path(value: &str) -> Result<Option<PathMatch>, &'static str> {
    if value.contains("{*}") || value.contains("{**}") {
        return template(value).map(Some);
    }
    Ok(match text(value) {
        StringMatch::Exact(path) => Some(PathMatch::Exact(path)),
        StringMatch::Prefix(path) => Some(PathMatch::Prefix(path)),
        StringMatch::Suffix(path) => Some(PathMatch::Suffix(path)),
        StringMatch::Regex(_) | StringMatch::Present => None,
    })
}

/// A template: `{*}` is one segment that is not empty, `{**}` is any rest. Text may follow `{**}`, as long as no other
/// operator does, which only an expression can say.
fn template(value: &str) -> Result<PathMatch, &'static str> {
    let Some((head, tail)) = value.split_once("{**}") else { return check(value).map(PathMatch::Template) };
    let head = check(head)?;
    if tail.contains(['{', '}', '*']) {
        return Err("an operator follows `{**}`");
    }
    if !head.ends_with('/') {
        return Err("`{**}` does not begin a segment");
    }
    if tail.is_empty() {
        return Ok(PathMatch::Template(value.to_owned()));
    }
    if !tail.starts_with('/') {
        return Err("text follows `{**}` in its segment");
    }
    let segments = head.split('/').map(|segment| match segment {
        "{*}" => "[^/]+".to_owned(),
        text => escape(text),
    });
    let head = segments.collect::<Vec<_>>().join("/");
    Ok(PathMatch::Regex(format!("{head}.*{}", escape(tail))))
}

/// A template without `{**}`, as it is.
fn check(template: &str) -> Result<String, &'static str> {
    if !template.starts_with('/') {
        return Err("it does not begin with `/`");
    }
    let odd = |segment: &str| segment != "{*}" && segment.contains(['{', '}', '*']);
    if template.split('/').any(odd) {
        return Err("a segment has more than `{*}`");
    }
    Ok(template.to_owned())
}

/// A value with `*` anywhere, as Istio has it for namespaces; none if there is none.
pub fn namespace(value: &str) -> Option<StringMatch> {
    let inner = value.strip_prefix('*').unwrap_or(value);
    let inner = inner.strip_suffix('*').unwrap_or(inner);
    let both = value.len() > 1 && value.starts_with('*') && value.ends_with('*');
    match value {
        value if !value.contains('*') => None,
        "*" => Some(StringMatch::Present),
        value if both || inner.contains('*') => {
            let parts: Vec<String> = value.split('*').map(escape).collect();
            Some(StringMatch::Regex(parts.join(".*")))
        }
        value => Some(text(value)),
    }
}

/// `account` or `namespace/account`; none if it is neither.
pub fn service_account(value: &str) -> Option<(Option<&str>, &str)> {
    let plain = |part: &str| !part.is_empty() && !part.contains(['*', '/']);
    match value.split_once('/') {
        Some((namespace, account)) => {
            (plain(namespace) && plain(account)).then_some((Some(namespace), account))
        }
        None => plain(value).then_some((None, value)),
    }
}

/// A text that an expression takes as it stands.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() && !letter.is_ascii_alphanumeric() && letter != '_' && letter != '/' {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_an_end() {
        assert_eq!(text("a"), StringMatch::Exact("a".into()));
        assert_eq!(text("a*"), StringMatch::Prefix("a".into()));
        assert_eq!(text("*a"), StringMatch::Suffix("a".into()));
        assert_eq!(text("*a*"), StringMatch::Suffix("a*".into()));
        assert_eq!(text("*"), StringMatch::Regex("(?s).+".into()));
    }

    #[test]
    fn templates_are_templates_until_text_follows_the_rest() {
        assert_eq!(path("/a/{*}"), Ok(Some(PathMatch::Template("/a/{*}".into()))));
        assert_eq!(path("/a/{*}/{**}"), Ok(Some(PathMatch::Template("/a/{*}/{**}".into()))));
        assert_eq!(path("/a.b/{*}/{**}/c"), Ok(Some(PathMatch::Regex("/a\\.b/[^/]+/.*/c".into()))));
        assert_eq!(path("*"), Ok(None));
        for wrong in
            ["{*}", "/{**}/{*}", "/a{*}", "/{*}.txt", "/*/{*}", "/{a}/{*}", "/{**}.txt", "/a{**}", "/{*}*"]
        {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn namespaces_take_a_star_anywhere() {
        assert_eq!(namespace("a"), None);
        assert_eq!(namespace("*"), Some(StringMatch::Present));
        assert_eq!(namespace("a*"), Some(StringMatch::Prefix("a".into())));
        assert_eq!(namespace("*a"), Some(StringMatch::Suffix("a".into())));
        assert_eq!(namespace("a*b"), Some(StringMatch::Regex("a.*b".into())));
        assert_eq!(namespace("*a-b*"), Some(StringMatch::Regex(".*a\\-b.*".into())));
    }

    #[test]
    fn service_accounts_have_no_wildcards() {
        assert_eq!(service_account("a"), Some((None, "a")));
        assert_eq!(service_account("n/a"), Some((Some("n"), "a")));
        for wrong in ["", "/", "n/", "/a", "a/b/c", "a*", "*/a"] {
            assert_eq!(service_account(wrong), None, "{wrong}");
        }
    }
}
