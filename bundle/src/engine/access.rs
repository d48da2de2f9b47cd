//! Who may call: an ordered list with an explicit end, evaluated per request.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::Request;
use super::facts::Facts;
use super::matcher::{MatchError, PathMatcher};
use super::predicate::{PredicateMatcher, Truth};
use crate::body::{
    Access, AccessDefault, AccessRule, Effect, IdentityMatch, OperationMatch, Origin, PeerMatch, Verdict,
};
use crate::spiffe::SpiffeId;

/// Who is calling.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The identity that mutual TLS proved; none in clear text.
    pub identity: Option<&'a SpiffeId>,
    /// The address of the connection.
    pub address: IpAddr,
}

/// The proof that access policy let something pass. Only the engine makes one.
#[derive(Clone, Copy, Debug)]
pub struct Permit<'e> {
    origin: &'e Origin,
}

impl<'e> Permit<'e> {
    /// The document that allowed it.
    pub fn origin(&self) -> &'e Origin {
        self.origin
    }
}

/// A refusal, with the document that refused.
#[derive(Clone, Copy, Debug)]
pub struct Denial<'e> {
    /// The document that refused.
    pub origin: &'e Origin,
    /// Whether a rule refused, or only no rule allowed.
    pub by_default: bool,
}

/// The answer of access policy.
#[derive(Debug)]
pub struct Authorization<'e> {
    /// May it pass?
    pub verdict: Result<Permit<'e>, Denial<'e>>,
    /// The audit rules that matched, in order.
    pub audits: Vec<&'e Origin>,
}

#[derive(Debug)]
pub(super) struct AccessMatcher {
    /// Every list of callers that rules have, once: a thousand rules often name the same few.
    callers: Vec<Vec<PeerMatch>>,
    rules: Vec<RuleMatcher>,
    otherwise: AccessDefault,
}

#[derive(Debug)]
struct RuleMatcher {
    effect: Effect,
    origin: Origin,
    /// Which of the lists of callers; none for everybody.
    from: Option<usize>,
    to: Vec<OperationMatcher>,
    when: Option<PredicateMatcher>,
}

/// Whether the peer of one request is in each list of callers, found out at most once for the first 64.
struct Asked<'a> {
    callers: &'a [Vec<PeerMatch>],
    known: u64,
    within: u64,
}

#[derive(Debug)]
struct OperationMatcher {
    methods: Vec<String>,
    paths: Vec<PathMatcher>,
}

impl AccessMatcher {
    pub(super) fn compile(access: &Access) -> Result<Self, MatchError> {
        let mut callers = Vec::new();
        let rules = access.rules.iter().map(|rule| RuleMatcher::compile(rule, &mut callers));
        let rules = rules.collect::<Result<_, _>>()?;
        Ok(Self { callers, rules, otherwise: access.otherwise.clone() })
    }

    /// Where requests cannot be seen, a rule with operations holds for a denial and does not hold for an allowance (fail
    /// closed; the compiler refuses such a rule anyway).
    pub(super) fn decide(&self, facts: &Facts<'_>) -> Authorization<'_> {
        let mut audits = Vec::new();
        let mut asked = Asked { callers: &self.callers, known: 0, within: 0 };
        for rule in self.rules.iter().filter(|rule| rule.matches(facts, &mut asked)) {
            let origin = &rule.origin;
            let verdict = match rule.effect {
                Effect::Audit => {
                    audits.push(origin);
                    continue;
                }
                Effect::Allow => Ok(Permit { origin }),
                Effect::Deny => Err(Denial { origin, by_default: false }),
            };
            return Authorization { verdict, audits };
        }
        let origin = &self.otherwise.origin;
        let verdict = match self.otherwise.effect {
            Verdict::Allow => Ok(Permit { origin }),
            Verdict::Deny => Err(Denial { origin, by_default: true }),
        };
        Authorization { verdict, audits }
    }
}

impl RuleMatcher {
    fn compile(rule: &AccessRule, callers: &mut Vec<Vec<PeerMatch>>) -> Result<Self, MatchError> {
        let to = rule.to.iter().map(OperationMatcher::compile).collect::<Result<_, _>>()?;
        let when = rule.when.as_ref().map(PredicateMatcher::compile).transpose()?;
        let mut from = rule.from.clone();
        for network in from.iter_mut().flat_map(|peer| &mut peer.networks) {
            *network = plain_network(*network);
        }
        let from = (!from.is_empty()).then(|| {
            callers.iter().position(|known| *known == from).unwrap_or_else(|| {
                callers.push(from);
                callers.len() - 1
            })
        });
        Ok(Self { effect: rule.effect, origin: rule.origin.clone(), from, to, when })
    }

    fn matches(&self, facts: &Facts<'_>, asked: &mut Asked<'_>) -> bool {
        self.from.is_none_or(|from| asked.has(from, &facts.peer))
            && (self.to.is_empty()
                || match facts.request {
                    Some(request) => self.to.iter().any(|operation| operation.matches(request)),
                    None => self.effect == Effect::Deny,
                })
            && self.when.as_ref().is_none_or(|when| self.holds(when.evaluate(facts)))
    }

    /// An error is the stricter answer: it allows nothing, it denies, and it is recorded.
    fn holds(&self, when: Truth) -> bool {
        match when {
            Truth::True => true,
            Truth::False => false,
            Truth::Error => self.effect != Effect::Allow,
        }
    }
}

impl Asked<'_> {
    /// Whether the peer is in the list of callers at this place.
    fn has(&mut self, list: usize, peer: &Peer<'_>) -> bool {
        let bit = u32::try_from(list).ok().and_then(|list| 1_u64.checked_shl(list)).unwrap_or(0);
        if self.known & bit != 0 {
            return self.within & bit != 0;
        }
        let within =
            self.callers.get(list).is_some_and(|list| list.iter().any(|from| matches_peer(from, peer)));
        self.known |= bit;
        if within {
            self.within |= bit;
        }
        within
    }
}

/// A network of IPv4-mapped addresses as the IPv4 network it is: addresses of peers are looked at in that form, and a
/// denial must not miss them because it is written in the other.
pub(super) fn plain_network(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let length = mapped.prefix_len().checked_sub(96);
    match (mapped.addr().to_ipv4_mapped(), length) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).map_or(network, IpNet::V4),
        _ => network,
    }
}

fn matches_peer(condition: &PeerMatch, peer: &Peer<'_>) -> bool {
    let identity = |wanted: &IdentityMatch| peer.identity.is_some_and(|id| matches_identity(wanted, id));
    let network = |network: &IpNet| network.contains(&peer.address.to_canonical());
    (condition.identities.is_empty() || condition.identities.iter().any(identity))
        && (condition.networks.is_empty() || condition.networks.iter().any(network))
}

pub(super) fn matches_identity(wanted: &IdentityMatch, id: &SpiffeId) -> bool {
    match wanted {
        IdentityMatch::Exact(exact) => id == exact,
        IdentityMatch::Namespace { trust_domain, namespace } => {
            id.trust_domain() == trust_domain && id.namespace() == Some(namespace)
        }
        IdentityMatch::TrustDomain(trust_domain) => id.trust_domain() == trust_domain,
    }
}

impl OperationMatcher {
    fn compile(operation: &OperationMatch) -> Result<Self, MatchError> {
        let paths =
            operation.paths.iter().map(|path| PathMatcher::compile(path, false)).collect::<Result<_, _>>()?;
        Ok(Self { methods: operation.methods.clone(), paths })
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|method| method == request.method))
            && (self.paths.is_empty() || self.paths.iter().any(|path| path.matches(request.path)))
    }
}
