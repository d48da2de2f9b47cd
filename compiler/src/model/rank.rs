//! Which of two conditions is the more specific one: what orders the entries of routes that rank.

use weft_bundle::body::{PathMatch, RequestMatch};
use weft_bundle::engine::HostPattern;

use super::RouteKind;

/// How much a condition says, greater first: the name, then the criteria of Gateway API v1, `HTTPRouteRule.matches` or
/// `GRPCRouteRule.matches`, in their order.
///
/// The standard leaves the rank of regular expressions open; here they come after prefixes, as in Istio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Names are equal in rank if no name fits both or they are the same: all exact ones, and suffixes of one length.
    pub(super) host: (u8, usize),
    /// Of requests: kind and length of the path, whether there is a method, headers, query parameters. Of calls: length of
    /// the service, length of the method, headers.
    criteria: [usize; 5],
}

impl Rank {
    /// The rank of a condition of a route of some kind, for names of one rank.
    pub fn of(kind: RouteKind, condition: &RequestMatch, hosts: &[HostPattern]) -> Self {
        let criteria = match kind {
            RouteKind::Grpc => {
                let (service, method) = call_lengths(condition.path.as_ref());
                [service, method, condition.headers.len(), 0, 0]
            }
            RouteKind::Http | RouteKind::Tls | RouteKind::Tcp | RouteKind::Udp => {
                let (path_kind, path_length) = path_rank(condition.path.as_ref());
                let method = usize::from(condition.method.is_some());
                [path_kind, path_length, method, condition.headers.len(), condition.query.len()]
            }
        };
        let written = condition.server_names.first().and_then(|name| HostPattern::parse(name).ok());
        let host = hosts.first().or(written.as_ref()).map_or((0, 0), host_rank);
        Self { host, criteria }
    }

    /// The rank of an entry of a listed route beside others.
    pub(super) fn listed(is_last: bool) -> Self {
        Self { host: (0, 0), criteria: [usize::from(!is_last), 0, 0, 0, 0] }
    }
}

fn path_rank(path: Option<&PathMatch>) -> (usize, usize) {
    match path {
        Some(PathMatch::Exact(path)) => (3, path.len()),
        Some(PathMatch::SegmentPrefix(path) | PathMatch::Prefix(path)) => (2, path.len()),
        Some(PathMatch::Regex(pattern)) => (1, pattern.len()),
        // No dialect that ranks has these; they stand with expressions.
        Some(PathMatch::Suffix(text) | PathMatch::Template(text)) => (1, text.len()),
        None => (2, 1), // as the prefix `/`, which is the default
    }
}

/// The lengths of service and method in the path of a call, in the forms that GRPCRoutes are lowered to; what stands for
/// every service or method has none.
fn call_lengths(path: Option<&PathMatch>) -> (usize, usize) {
    let (text, separator) = match path {
        Some(PathMatch::Exact(text) | PathMatch::Prefix(text)) => (text, "/"),
        Some(PathMatch::Regex(text)) if text.starts_with("/(?:") => (text, ")/"),
        Some(PathMatch::Regex(text)) => (text, "]+/"),
        Some(PathMatch::SegmentPrefix(_) | PathMatch::Suffix(_) | PathMatch::Template(_)) | None => {
            return (0, 0);
        }
    };
    let text = text.strip_prefix('/').unwrap_or(text);
    let (service, method) = text.split_once(separator).unwrap_or((text, ""));
    let length = |part: &str| match part.strip_prefix("(?:") {
        _ if part.starts_with("[^/") => 0,
        Some(pattern) => pattern.strip_suffix(')').unwrap_or(pattern).len(),
        None => part.len(),
    };
    (length(service), length(method))
}

fn host_rank(pattern: &HostPattern) -> (u8, usize) {
    match pattern.specificity() {
        (2, _) => (2, 0),
        rank => rank,
    }
}

/// Names that are sorted with the most specific first, in groups of one rank each.
pub fn tiers(hosts: &[HostPattern]) -> impl Iterator<Item = &[HostPattern]> {
    hosts.chunk_by(|a, b| host_rank(a) == host_rank(b))
}
