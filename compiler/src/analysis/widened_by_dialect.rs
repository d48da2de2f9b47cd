//! # What it finds
//! A rule that allows a prefix of paths which, by the rules of its dialect, is a prefix of the *text* and not of whole
//! segments: `/status*` lets in `/status`, `/status/now`, and `/status-of-everything`. The finding shows such a path, one that
//! the rule's `notPaths` leave in. A prefix that ends in a slash, and one that is the whole of it (`/*`), are no finding; nor
//! are denials, which are the safer the wider they are, and Weft's own `prefix`, which takes whole segments. Whether another
//! policy denies that path is not asked.
//!
//! # Why it matters
//! Dialects write prefixes alike and mean different things. What was copied from Gateway API's `PathPrefix` is wider here than
//! it was there.
//!
//! # Example
//! ```yaml
//! kind: AuthorizationPolicy
//! spec:
//!   action: ALLOW
//!   rules: [ { to: [ { operation: { paths: [ "/status*" ] } } ] } ]
//! ```
//!
//! # Fix
//! Name both the path and what is below it: `/status` and `/status/*`.
//!
//! # References
//! Istio, AuthorizationPolicy ("Prefix match: `abc*` will match on value `abc` and `abcd`"); Gateway API v1, PathPrefix ("split by
//! the `/` separator"). GHSA-7774-7vr3-cc8j and its kin came of paths that two parties read differently.

use std::net::{IpAddr, Ipv4Addr};

use weft_bundle::body::{Attribute, Effect, PathMatch, Predicate};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{self, Facts, Peer, PredicateMatcher, Truth};

use crate::diagnostic::Diagnostic;
use crate::model::{AccessPolicy, AccessRule, Mesh};

/// One finding per rule, for its first such prefix.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let allowing = mesh.access.iter().filter(|policy| policy.effect == Effect::Allow);
    let rules = allowing.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
    rules.filter_map(|(policy, rule)| report(policy, rule)).collect()
}

fn report(policy: &AccessPolicy, rule: &AccessRule) -> Option<Diagnostic> {
    let paths = || rule.to.iter().flat_map(|operation| &operation.condition.paths);
    let prefixes = paths().filter_map(|path| match path {
        PathMatch::Prefix(prefix) if !prefix.is_empty() && !prefix.ends_with('/') => Some(prefix),
        _ => None,
    });
    let (prefix, example) = prefixes.into_iter().find_map(|prefix| Some((prefix, example(rule, prefix)?)))?;
    let name = rule.at.origin.rule.as_deref().unwrap_or_default();
    let message = format!("`{name}` allows paths that begin with the text `{prefix}`, such as `{example}`");
    let finding = Diagnostic::note("widened-by-dialect", message)
        .object(policy.at.origin.object.clone())
        .at(rule.at.span)
        .label("not whole segments")
        .help(format!("name `{prefix}` and `{prefix}/*` if whole segments are meant"));
    Some(finding)
}

/// What may follow the text, in the order in which it is tried.
const ENDINGS: [&str; 6] = ["x", "-x", ".x", "0", "x/y", "-x/y"];

/// A path that begins with the text and not with the segment, and that the rule's further conditions leave in.
fn example(rule: &AccessRule, prefix: &str) -> Option<String> {
    let mut paths = ENDINGS.iter().map(|ending| format!("{prefix}{ending}"));
    paths.find(|path| rule.when.as_ref().is_none_or(|when| leaves_in(when, path)))
}

/// Whether what a predicate asks of the path holds; what it asks of anything else is taken to hold.
fn leaves_in(when: &Predicate, path: &str) -> bool {
    let parts = match when {
        Predicate::All(parts) => parts.as_slice(),
        part => std::slice::from_ref(part),
    };
    let Ok(path) = CanonicalPath::parse(path) else { return false };
    let headers = http::HeaderMap::new();
    let request = engine::Request {
        method: "GET",
        scheme: "https",
        authority: "",
        path: &path,
        query: None,
        headers: &headers,
    };
    let peer = Peer { identity: None, address: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let facts = Facts { request: Some(&request), ..Facts::of(peer) };
    let holds = |part: &Predicate| {
        PredicateMatcher::compile(part).is_ok_and(|part| part.evaluate(&facts) == Truth::True)
    };
    parts.iter().filter(|part| is_of_paths(part)).all(holds)
}

fn is_of_paths(part: &Predicate) -> bool {
    match part {
        Predicate::All(parts) | Predicate::Any(parts) => !parts.is_empty() && parts.iter().all(is_of_paths),
        Predicate::Not(part) => is_of_paths(part),
        Predicate::Path { .. } => true,
        Predicate::Text { of, .. } | Predicate::Has(of) => *of == Attribute::Path,
        _ => false,
    }
}
