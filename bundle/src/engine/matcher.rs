//! Conditions, compiled once and then only evaluated.
//!
//! Texts are compared as bytes. A literal never passes through a regular expression, so its dots stay dots; a regular
//! expression always matches the whole text, over bytes, with RE2's ASCII classes, in time linear in the text.

use http::HeaderMap;
use http::header::HeaderName;
use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};

use super::access::plain_network;
use super::action::split_authority;
use super::host::HostPattern;
use super::path::CanonicalPath;
use super::{Connection, Request};
use crate::body::{FieldMatch, PathMatch, RequestMatch, StringMatch};

/// The most memory one compiled expression may take, in bytes.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// The longest expression accepted, in bytes.
const REGEX_LENGTH_LIMIT: usize = 4096;

/// Why a condition cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchError {
    /// The regular expression is wrong, too long or too large.
    Regex {
        /// The expression.
        pattern: String,
        /// What is wrong with it, in one line.
        why: String,
    },
    /// The template of a path is wrong.
    Template {
        /// The template.
        template: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name is not that of a header field.
    HeaderName(String),
    /// The text is not a pattern of host names.
    HostPattern(String),
    /// A predicate is beyond its limits, or has a part that means nothing.
    Predicate(&'static str),
}

impl std::fmt::Display for MatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Regex { pattern, why } => {
                let shown: String = pattern.chars().take(60).collect();
                write!(f, "the regular expression `{shown}` is refused: {why}")
            }
            Self::Template { template, why } => {
                let shown: String = template.chars().take(60).collect();
                write!(f, "the path template `{shown}` is refused: {why}")
            }
            Self::HeaderName(name) => write!(f, "`{name}` is not the name of a header field"),
            Self::HostPattern(pattern) => write!(f, "`{pattern}` is not a pattern of host names"),
            Self::Predicate(why) => write!(f, "the predicate is refused: {why}"),
        }
    }
}

impl std::error::Error for MatchError {}

/// Compiles an expression that must match a whole text.
///
/// # Errors
/// [`MatchError::Regex`] if it is wrong, longer than 4096 bytes, or larger than 1 MiB when compiled.
pub fn whole_regex(pattern: &str) -> Result<Regex, MatchError> {
    compile_whole(pattern, false)
}

/// Compiles an expression that is looked for anywhere in a text, in RE2's language like all others.
pub(super) fn part_regex(pattern: &str) -> Result<Regex, MatchError> {
    // Its limits are those of an expression for the whole text.
    whole_regex(pattern)?;
    build(pattern, false).map_err(|e| MatchError::Regex { pattern: pattern.to_owned(), why: last_line(&e) })
}

/// Case is an option of the builder and not a `(?i:…)` around the text, which a pattern could close.
fn compile_whole(pattern: &str, ignore_case: bool) -> Result<Regex, MatchError> {
    let refuse = |why: String| MatchError::Regex { pattern: pattern.to_owned(), why };
    if pattern.len() > REGEX_LENGTH_LIMIT {
        return Err(refuse(format!("it has {} bytes, the limit is {REGEX_LENGTH_LIMIT}", pattern.len())));
    }
    // On its own first: `a)(?:b` is wrong, though it would fit between our parentheses.
    build(pattern, ignore_case).map_err(|e| refuse(last_line(&e)))?;
    // Under `(?x)` a comment at the end would swallow our parenthesis; there, and only there, a line break is no text.
    build(&format!(r"\A(?:{pattern})\z"), ignore_case)
        .or_else(|_| build(&format!("\\A(?:{pattern}\n)\\z"), ignore_case))
        .map_err(|e| refuse(last_line(&e)))
}

fn build(pattern: &str, ignore_case: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(REGEX_SIZE_LIMIT)
        .nest_limit(64)
        .build()
}

/// A syntax error is several lines with a caret; its last line says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.trim().trim_start_matches("error: ").to_owned()
}

/// A condition on a text, compiled.
#[derive(Debug)]
pub struct TextMatcher(TextKind);

#[derive(Debug)]
enum TextKind {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Regex(Regex),
    Present,
}

impl TextMatcher {
    /// Compiles it.
    ///
    /// # Errors
    /// [`MatchError::Regex`] for an expression that [`whole_regex`] refuses.
    pub fn compile(condition: &StringMatch) -> Result<Self, MatchError> {
        Ok(Self(match condition {
            StringMatch::Exact(text) => TextKind::Exact(text.clone().into_bytes()),
            StringMatch::Prefix(text) => TextKind::Prefix(text.clone().into_bytes()),
            StringMatch::Suffix(text) => TextKind::Suffix(text.clone().into_bytes()),
            StringMatch::Regex(pattern) => TextKind::Regex(whole_regex(pattern)?),
            StringMatch::Present => TextKind::Present,
        }))
    }

    /// Whether it holds for a text.
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.0 {
            TextKind::Exact(exact) => text == exact,
            TextKind::Prefix(prefix) => text.starts_with(prefix),
            TextKind::Suffix(suffix) => text.ends_with(suffix),
            TextKind::Regex(regex) => regex.is_match(text),
            TextKind::Present => true,
        }
    }
}

/// A condition on a canonical path, compiled.
#[derive(Debug)]
pub(super) struct PathMatcher {
    kind: PathKind,
    ignore_case: bool,
}

#[derive(Debug)]
enum PathKind {
    Exact(String),
    SegmentPrefix(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

/// The expression that matches a text and nothing else.
pub fn literal_regex(text: &str) -> String {
    regex::escape(text)
}

/// The expression, over whole paths, that a template stands for.
///
/// # Errors
/// What is wrong with it, in words.
pub fn template_regex(template: &str) -> Result<String, &'static str> {
    if !template.starts_with('/') {
        return Err("it does not begin with `/`");
    }
    let mut out = String::new();
    let mut segments = template.strip_prefix('/').unwrap_or_default().split('/').peekable();
    while let Some(segment) = segments.next() {
        out.push('/');
        match segment {
            "{*}" => out.push_str("[^/]+"),
            "{**}" if segments.peek().is_none() => out.push_str(".*"),
            "{**}" => return Err("`{**}` stands only at the end"),
            text if text.contains(['{', '}', '*']) => {
                return Err("`{*}` and `{**}` are whole segments, and no other segment has `{`, `}` or `*`");
            }
            text => out.push_str(&regex::escape(text)),
        }
    }
    Ok(out)
}

impl PathMatcher {
    pub(super) fn compile(condition: &PathMatch, ignore_case: bool) -> Result<Self, MatchError> {
        let kind = match condition {
            PathMatch::Exact(path) => PathKind::Exact(path.clone()),
            PathMatch::SegmentPrefix(path) => PathKind::SegmentPrefix(path.trim_end_matches('/').to_owned()),
            PathMatch::Prefix(path) => PathKind::Prefix(path.clone()),
            PathMatch::Suffix(path) => PathKind::Suffix(path.clone()),
            PathMatch::Regex(pattern) => PathKind::Regex(compile_whole(pattern, ignore_case)?),
            PathMatch::Template(template) => {
                let pattern = template_regex(template)
                    .map_err(|why| MatchError::Template { template: template.clone(), why })?;
                PathKind::Regex(compile_whole(&pattern, ignore_case)?)
            }
        };
        Ok(Self { kind, ignore_case })
    }

    pub(super) fn matches(&self, path: &CanonicalPath) -> bool {
        let path = path.as_str();
        match &self.kind {
            PathKind::Exact(exact) => path.len() == exact.len() && self.begins(path, exact),
            PathKind::SegmentPrefix(prefix) => {
                self.begins(path, prefix) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
            }
            PathKind::Prefix(prefix) => self.begins(path, prefix),
            PathKind::Suffix(suffix) => {
                let tail = path.len().checked_sub(suffix.len()).and_then(|start| path.get(start..));
                tail.is_some_and(|tail| self.begins(tail, suffix))
            }
            PathKind::Regex(regex) => regex.is_match(path.as_bytes()),
        }
    }

    fn begins(&self, path: &str, prefix: &str) -> bool {
        let head = path.as_bytes().get(..prefix.len());
        head.is_some_and(|head| {
            if self.ignore_case {
                head.eq_ignore_ascii_case(prefix.as_bytes())
            } else {
                head == prefix.as_bytes()
            }
        })
    }
}

/// A condition on a request, compiled.
#[derive(Debug)]
pub(super) struct RequestMatcher {
    path: Option<PathMatcher>,
    method: Option<TextMatcher>,
    scheme: Option<TextMatcher>,
    authority: Option<TextMatcher>,
    headers: Vec<HeaderMatcher>,
    query: Vec<QueryMatcher>,
    hosts: Vec<HostPattern>,
    server_names: Vec<HostPattern>,
    destinations: Vec<IpNet>,
    /// Whether nothing is asked that only a request has.
    connection_only: bool,
}

#[derive(Debug)]
struct HeaderMatcher {
    name: HeaderName,
    value: TextMatcher,
    invert: bool,
}

#[derive(Debug)]
struct QueryMatcher {
    name: String,
    value: TextMatcher,
    invert: bool,
}

impl RequestMatcher {
    pub(super) fn compile(condition: &RequestMatch) -> Result<Self, MatchError> {
        let text = |c: &Option<StringMatch>| c.as_ref().map(TextMatcher::compile).transpose();
        Ok(Self {
            path: condition
                .path
                .as_ref()
                .map(|path| PathMatcher::compile(path, condition.path_ignore_case))
                .transpose()?,
            method: text(&condition.method)?,
            scheme: text(&condition.scheme)?,
            authority: text(&condition.authority)?,
            headers: condition.headers.iter().map(HeaderMatcher::compile).collect::<Result<_, _>>()?,
            query: condition.query.iter().map(QueryMatcher::compile).collect::<Result<_, _>>()?,
            hosts: patterns(&condition.hosts)?,
            server_names: patterns(&condition.server_names)?,
            destinations: condition.destinations.iter().copied().map(plain_network).collect(),
            connection_only: *condition
                == RequestMatch {
                    server_names: condition.server_names.clone(),
                    destinations: condition.destinations.clone(),
                    ..RequestMatch::default()
                },
        })
    }

    /// Whether a connection whose requests cannot be seen satisfies it.
    pub(super) fn matches_connection(&self, connection: &Connection<'_>) -> bool {
        let named = |pattern: &HostPattern| connection.server_name.is_some_and(|name| pattern.matches(name));
        let within = |network: &IpNet| {
            connection.destination.is_some_and(|address| network.contains(&address.to_canonical()))
        };
        self.connection_only
            && (self.server_names.is_empty() || self.server_names.iter().any(named))
            && (self.destinations.is_empty() || self.destinations.iter().any(within))
    }

    /// Whether a request satisfies it. Its connection is not looked at: conditions on that lead nowhere here.
    pub(super) fn matches(&self, request: &Request<'_>) -> bool {
        let text =
            |m: &Option<TextMatcher>, value: &str| m.as_ref().is_none_or(|m| m.matches(value.as_bytes()));
        self.path.as_ref().is_none_or(|path| path.matches(request.path))
            && text(&self.method, request.method)
            && text(&self.scheme, request.scheme)
            && text(&self.authority, request.authority)
            && self.headers.iter().all(|header| header.matches(request.headers))
            && self.query.iter().all(|parameter| parameter.matches(request.query))
            && self.server_names.is_empty()
            && self.destinations.is_empty()
            && (self.hosts.is_empty() || {
                let (host, _) = split_authority(request.authority);
                self.hosts.iter().any(|pattern| pattern.matches(host))
            })
    }
}

fn patterns(texts: &[String]) -> Result<Vec<HostPattern>, MatchError> {
    texts.iter().map(|text| HostPattern::parse(text)).collect()
}

impl HeaderMatcher {
    fn compile(condition: &FieldMatch) -> Result<Self, MatchError> {
        let name = HeaderName::from_bytes(condition.name.as_bytes())
            .map_err(|_| MatchError::HeaderName(condition.name.clone()))?;
        Ok(Self { name, value: TextMatcher::compile(&condition.value)?, invert: condition.invert })
    }

    /// Each value is looked at by itself: values joined by commas would let one hide in another.
    fn matches(&self, headers: &HeaderMap) -> bool {
        headers.get_all(&self.name).iter().any(|value| self.value.matches(value.as_bytes())) != self.invert
    }
}

impl QueryMatcher {
    fn compile(condition: &FieldMatch) -> Result<Self, MatchError> {
        Ok(Self {
            name: condition.name.clone(),
            value: TextMatcher::compile(&condition.value)?,
            invert: condition.invert,
        })
    }

    fn matches(&self, query: Option<&str>) -> bool {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let found = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).any(|(name, value)| {
            unescape(name) == self.name.as_bytes() && self.value.matches(&unescape(value))
        });
        found != self.invert
    }
}

/// Decodes `+` and percent-escapes of a query component; a broken escape stays as it is.
pub(super) fn unescape(component: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(component.len());
    let mut rest = component.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, super::path::escape(tail)) {
            (b'+', _) => out.push(b' '),
            (b'%', Some((value, after))) => {
                out.push(value);
                rest = after;
            }
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(condition: PathMatch, ignore_case: bool, path: &str) -> bool {
        PathMatcher::compile(&condition, ignore_case).unwrap().matches(&CanonicalPath::parse(path).unwrap())
    }

    #[test]
    fn path_kinds_keep_their_meaning() {
        let segment = || PathMatch::SegmentPrefix("/a".into());
        assert!(
            path(segment(), false, "/a") && path(segment(), false, "/a/") && path(segment(), false, "/a/b")
        );
        assert!(!path(segment(), false, "/ab") && !path(segment(), false, "/A/b"));
        assert!(path(segment(), true, "/A/b"));
        assert!(path(PathMatch::SegmentPrefix("/".into()), false, "/anything"));
        assert!(path(PathMatch::SegmentPrefix("/a/".into()), false, "/a"));
        assert!(path(PathMatch::Prefix("/a".into()), false, "/ab"));
        assert!(path(PathMatch::Exact("/a.b".into()), false, "/a.b"));
        assert!(!path(PathMatch::Exact("/a.b".into()), false, "/axb"));
    }

    #[test]
    fn templates_and_suffixes_are_those_of_istio() {
        let template = |template: &str, text| path(PathMatch::Template(template.into()), false, text);
        assert!(template("/a/{*}/c", "/a/b/c") && !template("/a/{*}/c", "/a/b/b/c"));
        assert!(!template("/a/{*}/c", "/a/c") && !template("/a/{*}", "/a/"));
        assert!(template("/a/{**}", "/a/") && template("/a/{**}", "/a/b/c") && !template("/a/{**}", "/a"));
        assert!(template("/a.b", "/a.b") && !template("/a.b", "/axb"));
        for wrong in ["a", "/{**}/a", "/a{*}", "/{a}", "/a*"] {
            let condition = PathMatch::Template(wrong.into());
            assert!(PathMatcher::compile(&condition, false).is_err(), "{wrong}");
        }
        assert!(path(PathMatch::Suffix(".js".into()), false, "/a/b.js"));
        assert!(!path(PathMatch::Suffix("/long/long".into()), false, "/long"));
        assert!(path(PathMatch::Suffix(".JS".into()), true, "/a/b.js"));
    }

    #[test]
    fn a_regex_matches_the_whole_path() {
        let regex = |pattern: &str, text: &str| path(PathMatch::Regex(pattern.into()), false, text);
        assert!(regex("/a|/ab", "/ab") && regex("/a|/ab", "/a"));
        assert!(!regex("/a", "/ab") && !regex("b", "/ab"));
        assert!(regex("/[0-9]+", "/42"));
        assert!(path(PathMatch::Regex("/a".into()), true, "/A"));
    }

    #[test]
    fn a_comment_at_the_end_of_a_regex_cannot_swallow_the_anchor() {
        let regex = whole_regex("(?x) /a # c").unwrap();
        assert!(regex.is_match(b"/a") && !regex.is_match(b"/ab"));
    }

    #[test]
    fn wrong_and_huge_expressions_are_refused() {
        for pattern in ["a)(?:b", "(", "a{1000}{1000}", r"\p{Greek}", r"(?<n>a)\k<n>", &"a".repeat(5000)] {
            assert!(matches!(whole_regex(pattern), Err(MatchError::Regex { .. })), "{pattern}");
        }
        assert!(whole_regex(&format!("{}a{}", "(".repeat(200), ")".repeat(200))).is_err());
    }

    #[test]
    fn an_expression_without_case_is_anchored_like_any_other() {
        let compile = |pattern: &str| PathMatcher::compile(&PathMatch::Regex(pattern.into()), true);
        for pattern in ["a)|(?:.*", "a)(?:b", "(?x) /a # c)"] {
            assert_eq!(compile(pattern).is_ok(), whole_regex(pattern).is_ok(), "{pattern}");
        }
        let commented = compile("(?x) /a # c").unwrap();
        let matches = |path| commented.matches(&CanonicalPath::parse(path).unwrap());
        assert!(matches("/A") && !matches("/ab") && !matches("/b/a"));
    }

    fn field(name: &str, value: StringMatch, invert: bool) -> FieldMatch {
        FieldMatch { name: name.into(), value, invert }
    }

    #[test]
    fn each_header_value_is_matched_by_itself() {
        let mut headers = HeaderMap::new();
        headers.append("x-role", "guest".parse().unwrap());
        headers.append("x-role", "admin".parse().unwrap());
        let check = |value, invert| {
            HeaderMatcher::compile(&field("x-role", value, invert)).unwrap().matches(&headers)
        };
        assert!(check(StringMatch::Exact("admin".into()), false));
        assert!(!check(StringMatch::Exact("guest,admin".into()), false));
        assert!(!check(StringMatch::Exact("admin".into()), true));
        assert!(check(StringMatch::Present, false) && !check(StringMatch::Present, true));
        let absent = HeaderMatcher::compile(&field("x-other", StringMatch::Present, true)).unwrap();
        assert!(absent.matches(&headers));
    }

    #[test]
    fn header_bytes_that_are_not_utf8_are_compared_as_bytes() {
        let mut headers = HeaderMap::new();
        headers.append("x", http::HeaderValue::from_bytes(b"\xffadmin").unwrap());
        let check = |value| HeaderMatcher::compile(&field("x", value, false)).unwrap().matches(&headers);
        assert!(check(StringMatch::Regex(".*admin".into())));
        assert!(check(StringMatch::Suffix("admin".into())));
    }

    #[test]
    fn query_parameters_are_decoded() {
        let check = |name: &str, value: &str, query| {
            let condition = field(name, StringMatch::Exact(value.into()), false);
            QueryMatcher::compile(&condition).unwrap().matches(query)
        };
        assert!(check("a b", "c&d", Some("x=1&a+b=c%26d")));
        assert!(check("flag", "", Some("flag")));
        assert!(!check("a", "1", None));
        // Each value of a repeated parameter by itself, and a parameter without a name is one, too.
        assert!(check("a", "2", Some("a=1&a=2")) && !check("a", "1,2", Some("a=1&a=2")));
        assert!(check("", "x", Some("=x")) && !check("", "", Some("&&")) && check("a", "=1", Some("a==1")));
        // A broken escape is itself, and `;` separates nothing.
        assert!(check("a", "%zz", Some("a=%zz")) && check("a", "1;b=2", Some("a=1;b=2")));
        let absent = QueryMatcher::compile(&field("a", StringMatch::Exact("1".into()), true)).unwrap();
        assert!(absent.matches(None) && !absent.matches(Some("a=2&a=1")));
    }
}
