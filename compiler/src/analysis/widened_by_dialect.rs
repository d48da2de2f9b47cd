//! # What it finds
//! A rule that allows a prefix of paths which, by the rules of its dialect, is a prefix of the *text* and not of whole
//! segments: `/status*` lets in `/status`, `/status/now`, and `/status-of-everything`. The finding shows such a path. A prefix
//! that ends in a slash, and one that is the whole of it (`/*`), are no finding; nor are denials, which are the safer the
//! wider they are, and Weft's own `prefix`, which takes whole segments.
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

use weft_bundle::body::{Effect, PathMatch};

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
    let prefix = prefixes.into_iter().next()?;
    let name = rule.at.origin.rule.as_deref().unwrap_or_default();
    let message =
        format!("`{name}` allows every path that begins with the text `{prefix}`, such as `{prefix}x`");
    let finding = Diagnostic::note("widened-by-dialect", message)
        .object(policy.at.origin.object.clone())
        .at(rule.at.span)
        .label("not whole segments")
        .help(format!("name `{prefix}` and `{prefix}/*` if whole segments are meant"));
    Some(finding)
}
