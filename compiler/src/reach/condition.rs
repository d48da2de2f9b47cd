//! Conditions of the bundle as entries: the one place here that knows them. What they mean is what the engine does with them,
//! which `same_as_engine` holds against each other.

use weft_bundle::body::{FieldMatch, PathMatch, RequestMatch, StringMatch};
use weft_bundle::engine::{literal_regex, template_regex};

use super::{Entry, FieldCondition, FieldPattern, PathKind, PathPattern, StringPattern};

/// A condition as the reachability core reads it.
pub(crate) fn entry_of(condition: &RequestMatch) -> Entry {
    Entry {
        path: condition
            .path
            .as_ref()
            .map(|path| PathPattern { kind: path_kind(path), ignore_case: condition.path_ignore_case }),
        method: condition.method.as_ref().and_then(text),
        scheme: condition.scheme.as_ref().and_then(text),
        authority: condition.authority.as_ref().and_then(text),
        port: None,
        headers: condition.headers.iter().map(field).collect(),
        query: condition.query.iter().map(field).collect(),
        facts: facts(condition),
    }
}

/// The fact that stands for the name a request is for.
pub(crate) const HOST_FACT: &str = "host";

/// Names and addresses, which are no part of a request's head. An address is written in bits, so that a network is a
/// prefix.
fn facts(condition: &RequestMatch) -> Vec<FieldCondition> {
    let name = |name: &str, patterns: &[String]| any_of(name, patterns.iter().map(|text| host(text)));
    let networks = condition.destinations.iter().map(network);
    // Every request has a host, so one that may be any asks nothing.
    let any_host = condition.hosts.iter().any(|host| host == "*");
    [
        name(HOST_FACT, &condition.hosts).filter(|_| !any_host),
        name("server name", &condition.server_names),
        any_of("destination", networks),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn any_of(name: &str, patterns: impl Iterator<Item = String>) -> Option<FieldCondition> {
    let patterns: Vec<String> = patterns.collect();
    let value = FieldPattern::Text(StringPattern::Regex(format!("(?:{})", patterns.join("|"))));
    (!patterns.is_empty()).then(|| FieldCondition { name: name.to_owned(), value, invert: false })
}

/// The expression for a pattern of host names; as in the engine, `*` stands for anything.
fn host(pattern: &str) -> String {
    match pattern.strip_prefix('*') {
        Some(suffix) => format!(".+{}", literal_regex(suffix)),
        None => literal_regex(pattern),
    }
}

/// The expression for the addresses of a network: a letter for the family, then all bits.
pub(crate) fn network(network: &ipnet::IpNet) -> String {
    let (family, bits) = match network {
        ipnet::IpNet::V4(network) => ('4', format!("{:032b}", network.network().to_bits())),
        ipnet::IpNet::V6(network) => ('6', format!("{:0128b}", network.network().to_bits())),
    };
    let length = usize::from(network.prefix_len());
    let fixed: String = bits.chars().take(length).collect();
    format!("{family}{fixed}[01]{{{}}}", bits.len().saturating_sub(length))
}

/// The kind of path condition, as the reachability core reads it.
pub(crate) fn path_kind(path: &PathMatch) -> PathKind {
    match path.clone() {
        PathMatch::Exact(path) => PathKind::Exact(path),
        PathMatch::SegmentPrefix(path) => PathKind::SegmentPrefix(path),
        PathMatch::Prefix(path) => PathKind::Prefix(path),
        PathMatch::Regex(pattern) => PathKind::Regex(pattern),
        PathMatch::Suffix(text) => PathKind::Regex(format!(".*{}", literal_regex(&text))),
        // A template that is none was reported while reading, and matches nothing.
        PathMatch::Template(template) => {
            PathKind::Regex(template_regex(&template).unwrap_or_else(|_| "[^\\x00-\\xff]".to_owned()))
        }
    }
}

/// None for a condition that always holds: a method, a scheme and an authority are always there.
fn text(condition: &StringMatch) -> Option<StringPattern> {
    match condition.clone() {
        StringMatch::Exact(text) => Some(StringPattern::Exact(text)),
        StringMatch::Prefix(text) => Some(StringPattern::Prefix(text)),
        StringMatch::Suffix(text) => Some(StringPattern::Suffix(text)),
        StringMatch::Regex(pattern) => Some(StringPattern::Regex(pattern)),
        StringMatch::Present => None,
    }
}

fn field(condition: &FieldMatch) -> FieldCondition {
    let value = text(&condition.value).map_or(FieldPattern::Present, FieldPattern::Text);
    FieldCondition { name: condition.name.clone(), value, invert: condition.invert }
}
