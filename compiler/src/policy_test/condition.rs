//! What a rule asks `when`, as far as a caller alone decides it: what is asked of identity, address and port is known of a
//! peer, and what is asked of the request is not.
//!
//! A list of parts that must all hold is taken apart: one that is false settles it, whatever the others turn out to be.
//! An error is the stricter answer, as in the engine: it allows nothing, and it denies.

use weft_bundle::body::{AccessRule, AddressAttribute, Attribute, Effect, NumberAttribute, Predicate};
use weft_bundle::engine::{Facts, MatchError, Peer, PredicateMatcher, Truth};

/// Whether a rule is about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// For every request.
    Always,
    /// Never.
    Never,
    /// It depends on the request.
    Perhaps,
}

/// The condition of a rule, ready to be asked.
pub(super) struct Condition {
    effect: Effect,
    /// Parts that a peer decides.
    decided: Vec<PredicateMatcher>,
    /// Whether there are others.
    open: bool,
}

impl Condition {
    /// The condition of a rule.
    ///
    /// # Errors
    /// As the engine's, which has compiled the whole before.
    pub(super) fn of(rule: &AccessRule) -> Result<Self, MatchError> {
        let parts = match &rule.when {
            None => &[][..],
            Some(Predicate::All(parts)) => parts.as_slice(),
            Some(part) => std::slice::from_ref(part),
        };
        let decided = parts.iter().filter(|part| is_of_peers(part)).map(PredicateMatcher::compile);
        let decided = decided.collect::<Result<_, _>>()?;
        Ok(Self { effect: rule.effect, decided, open: parts.iter().any(|part| !is_of_peers(part)) })
    }

    /// What it says of a peer on a port.
    pub(super) fn about(&self, peer: &Peer<'_>, port: u16) -> About {
        let facts = Facts { destination_port: Some(port), ..Facts::of(*peer) };
        let truths: Vec<Truth> = self.decided.iter().map(|part| part.evaluate(&facts)).collect();
        if truths.contains(&Truth::False) {
            return About::Never;
        }
        match (truths.contains(&Truth::Error), self.effect) {
            // What the request adds makes it false or leaves it an error.
            (true, Effect::Allow) => About::Never,
            _ if self.open => About::Perhaps,
            (_, _) => About::Always,
        }
    }
}

/// The networks of source addresses that a predicate asks for.
pub(super) fn networks(when: &Predicate) -> Vec<ipnet::IpNet> {
    match when {
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().flat_map(networks).collect(),
        Predicate::Not(part) => networks(part),
        Predicate::Address { of: AddressAttribute::Source, any } => any.clone(),
        _ => Vec::new(),
    }
}

/// Whether nothing but a peer and the port decides it.
fn is_of_peers(part: &Predicate) -> bool {
    let named = |of: &Attribute| {
        matches!(
            of,
            Attribute::Identity | Attribute::TrustDomain | Attribute::Namespace | Attribute::ServiceAccount
        )
    };
    match part {
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().all(is_of_peers),
        Predicate::Not(part) => is_of_peers(part),
        Predicate::Identity(_)
        | Predicate::Address { of: AddressAttribute::Source, .. }
        | Predicate::Number { of: NumberAttribute::DestinationPort, .. } => true,
        Predicate::Text { of, .. } | Predicate::Has(of) => named(of),
        Predicate::Path { .. }
        | Predicate::Number { .. }
        | Predicate::Address { .. }
        | Predicate::Flag(_)
        | Predicate::Contains { .. } => false,
    }
}
