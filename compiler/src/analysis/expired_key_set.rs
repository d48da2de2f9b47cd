//! # What it finds
//! A set of keys for tokens whose keys have all ended: every one of them has a certificate (`x5c`), and the last of these
//! ended before today. Fourteen days before, it is a note. Keys without certificate have no end.
//!
//! # Why it matters
//! Keys are pinned in the repository, so nobody fetches newer ones. Issuers replace their keys long before the old ones
//! end, so tokens are then signed with keys that the set does not hold, and every caller that brings one is answered with
//! 401.
//!
//! # Example
//! ```yaml
//! kind: TokenProvider
//! spec:
//!   targetRefs: [ { kind: Service, name: cart } ]
//!   issuer: https://issuer.example
//!   jwks: { file: keys/users.jwks }                 # all of its certificates ended last month
//! ```
//!
//! # Fix
//! Replace the keys by those that the issuer publishes now, and keep the ones that still sign tokens.
//!
//! # References
//! RFC 7517, section 4.7 (`x5c`).

use time::{Date, Duration, OffsetDateTime};

use crate::diagnostic::Diagnostic;
use crate::model::Mesh;

/// How long before the end it is mentioned.
const SOON: Duration = Duration::days(14);

/// One finding for each set.
pub fn run_on(mesh: &Mesh, today: Date) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for policy in &mesh.tokens {
        for expiry in &policy.expiries {
            let Ok(end) = OffsetDateTime::from_unix_timestamp(expiry.at) else { continue };
            let end = end.date();
            let finding = if end < today {
                Diagnostic::warning("expired-key-set", format!("the last of these keys ended on {end}"))
            } else if end - today <= SOON {
                Diagnostic::note("expired-key-set", format!("the last of these keys ends on {end}"))
            } else {
                continue;
            };
            let object = policy.at.origin.object.clone();
            let help = "replace them by the keys that the issuer publishes now";
            found.push(finding.object(object).at(expiry.span).help(help));
        }
    }
    found
}
