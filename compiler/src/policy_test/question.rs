//! One port of a service: is there a request that a peer gets through, or one that is refused?
//!
//! Access is an ordered list of rules, so for one peer the question is a reachability question: a request gets through
//! if it matches an allowing rule, or the default allows, and no denying rule before that takes it. Which rules a peer
//! matches at all is asked of the engine, with a rule a port. Peers that match the same rules have the same answer.
//!
//! What a rule asks `when` is decided as far as the peer alone decides it (`condition`). For what is left there are two
//! rounds: first such rules are taken to hold where they are in the way, and not where they lead to the outcome, so that what
//! is found is sure; then the other way round, so that what is not found is not there. A request of the second round
//! counts if the engine confirms it; if not, nobody knows.
//!
//! An address matters only by the networks of rules that hold it, so one address for each way in which networks
//! overlap stands for all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use weft_bundle::body::{
    Access, AccessRule, Body, Effect, InboundPort, OperationMatch, Origin, PathMatch, PeerTls, Protocol,
    Verdict,
};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{BuildError, Engine, Peer};
use weft_bundle::spiffe::SpiffeId;

use super::condition::{self, About, Condition};
use crate::reach::{self, Budget, Entry, PathPattern, Reach, Reachability, StringPattern, path_kind};

/// A port of a service, and the requests to it that are asked about.
pub(super) struct Port {
    engine: Arc<Engine>,
    inbound: InboundPort,
    protocol: Protocol,
    operation: OperationMatch,
    /// Whether a peer matches a rule, whatever the request: a rule is a port of these.
    probes: Vec<Engine>,
    /// What each rule asks `when`.
    conditions: Vec<Condition>,
    addresses: Vec<IpAddr>,
    answers: BTreeMap<(Vec<Matching>, Verdict), Found>,
}

/// A rule that a peer matches, by place, and whether that depends on the request.
type Matching = (usize, bool);

/// A request, none, or why that is not known.
type Found = Result<Option<reach::Request>, String>;

/// A request and what became of it, confirmed by the engine.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    /// None on a port whose requests cannot be seen.
    pub(super) request: Option<reach::Request>,
    /// Where it comes from, if that matters.
    pub(super) address: Option<IpAddr>,
    /// What decided.
    pub(super) origin: Origin,
    /// The port's number where workloads listen.
    pub(super) port: u16,
}

/// More rules than a body has ports for them.
const RULES_PER_PROBE: usize = 60_000;

impl Port {
    /// The port on which workloads listen; none if there is none of that number.
    pub(super) fn new(
        engine: Arc<Engine>,
        target: u16,
        operation: &OperationMatch,
    ) -> Result<Option<Self>, BuildError> {
        let Some(inbound) = engine.inbound(target).map(|inbound| inbound.get().clone()) else {
            return Ok(None);
        };
        let rules = &inbound.access.rules;
        let chunks = rules.chunks(RULES_PER_PROBE).map(|rules| probe(engine.body(), &inbound, rules));
        let probes = chunks.collect::<Result<_, _>>()?;
        // The engine has compiled each of them before.
        let conditions =
            rules.iter().map(|rule| Condition::of(rule).ok()).collect::<Option<_>>().unwrap_or_default();
        let addresses = addresses(rules);
        let protocol = inbound.protocol;
        let answers = BTreeMap::new();
        let operation = operation.clone();
        Ok(Some(Self { engine, inbound, protocol, operation, probes, conditions, addresses, answers }))
    }

    /// What access says.
    pub(super) fn access(&self) -> &Access {
        &self.inbound.access
    }

    /// Whether peers without a certificate can connect.
    pub(super) fn is_open_to_strangers(&self) -> bool {
        self.inbound.tls != PeerTls::Strict
    }

    /// How much one peer costs, in comparisons.
    pub(super) fn cost(&self) -> usize {
        self.addresses.len().saturating_mul(self.inbound.access.rules.len().max(1))
    }

    /// A request of a peer with that outcome, from some address.
    ///
    /// # Errors
    /// Why it is not known whether there is one.
    pub(super) fn witness(
        &mut self,
        identity: Option<&SpiffeId>,
        wanted: Verdict,
        budget: &Budget,
    ) -> Result<Option<Witness>, String> {
        let identity = match (self.inbound.tls, identity) {
            // In clear text nobody has an identity.
            (PeerTls::Off, _) => None,
            // There is no connection, and so no request.
            (PeerTls::Strict, None) => return Ok(None),
            (_, identity) => identity,
        };
        let mut unknown = None;
        for address in self.addresses.clone() {
            let peer = Peer { identity, address };
            let found = match self.protocol.is_http() {
                true => self.ask(&peer, wanted, budget),
                false => Ok(self.connection(&peer, wanted)),
            };
            match found {
                Ok(None) => {}
                Ok(Some(witness)) => return Ok(Some(witness)),
                Err(why) => unknown = Some(why),
            }
        }
        unknown.map_or(Ok(None), Err)
    }

    fn connection(&self, peer: &Peer<'_>, wanted: Verdict) -> Option<Witness> {
        let port = self.engine.inbound(self.inbound.port)?;
        let answer = self.engine.authorize_connection(port, peer);
        let (verdict, origin) = decided(&answer);
        (verdict == wanted).then(|| self.as_witness(None, peer, origin))
    }

    fn ask(&mut self, peer: &Peer<'_>, wanted: Verdict, budget: &Budget) -> Result<Option<Witness>, String> {
        let key = (self.matching(peer), wanted);
        let found = match self.answers.get(&key) {
            Some(found) => found.clone(),
            None => {
                let found = find(&self.inbound.access, &key.0, &self.operation, wanted, budget);
                self.answers.insert(key, found.clone());
                found
            }
        };
        // `OPTIONS *` asks about the server; it is no path that the core knows of.
        let server =
            reach::Request { method: "OPTIONS".to_owned(), path: "*".to_owned(), ..Default::default() };
        let about_server = self.operation.paths.is_empty()
            && (self.operation.methods.is_empty() || self.operation.methods.contains(&server.method));
        let candidates = [found.clone()?, about_server.then_some(server)];
        let confirmed =
            candidates.into_iter().flatten().find_map(|request| self.confirm(peer, request, wanted));
        match (confirmed, found) {
            (None, Ok(Some(request))) => {
                Err(format!("what becomes of `{request}` depends on what rules ask `when`"))
            }
            (confirmed, _) => Ok(confirmed),
        }
    }

    /// The request, if the engine gives it that outcome.
    fn confirm(&self, peer: &Peer<'_>, request: reach::Request, wanted: Verdict) -> Option<Witness> {
        let path = CanonicalPath::parse(&request.path).ok()?;
        let asked = weft_bundle::engine::Request {
            method: &request.method,
            scheme: &request.scheme,
            authority: request.authority.as_deref().unwrap_or_default(),
            path: &path,
            query: None,
            headers: &http::HeaderMap::new(),
        };
        let answer = self.engine.authorize(self.engine.inbound(self.inbound.port)?, peer, &asked);
        let (verdict, origin) = decided(&answer);
        (verdict == wanted).then(|| self.as_witness(Some(request), peer, origin))
    }

    fn as_witness(&self, request: Option<reach::Request>, peer: &Peer<'_>, origin: &Origin) -> Witness {
        let asks = |rule: &AccessRule| {
            rule.from.iter().any(|from| !from.networks.is_empty())
                || rule.when.as_ref().is_some_and(|when| !condition::networks(when).is_empty())
        };
        let matters = self.inbound.access.rules.iter().any(asks);
        Witness {
            request,
            address: matters.then_some(peer.address),
            origin: origin.clone(),
            port: self.inbound.port,
        }
    }

    /// The rules whose callers the peer is among, and that are about it.
    fn matching(&self, peer: &Peer<'_>) -> Vec<Matching> {
        let mut matching = Vec::new();
        for (chunk, probe) in self.probes.iter().enumerate() {
            for (at, inbound) in probe.body().inbound.iter().enumerate() {
                let port = probe.inbound(inbound.port);
                if port.is_some_and(|port| probe.authorize_connection(port, peer).verdict.is_ok()) {
                    let rule = chunk * RULES_PER_PROBE + at;
                    let about = self.conditions.get(rule);
                    match about.map_or(About::Perhaps, |when| when.about(peer, self.inbound.port)) {
                        About::Always => matching.push((rule, false)),
                        About::Perhaps => matching.push((rule, true)),
                        About::Never => {}
                    }
                }
            }
        }
        matching
    }
}

fn decided<'e>(answer: &weft_bundle::engine::Authorization<'e>) -> (Verdict, &'e Origin) {
    match &answer.verdict {
        Ok(permit) => (Verdict::Allow, permit.origin()),
        Err(denial) => (Verdict::Deny, denial.origin),
    }
}

/// A body with a port for each rule, which lets in whom the rule is about.
fn probe(body: &Body, inbound: &InboundPort, rules: &[AccessRule]) -> Result<Engine, BuildError> {
    let port = |(rule, number): (&AccessRule, u16)| {
        let rule = AccessRule { effect: Effect::Allow, to: Vec::new(), when: None, ..rule.clone() };
        let otherwise =
            weft_bundle::body::AccessDefault { effect: Verdict::Deny, ..inbound.access.otherwise.clone() };
        InboundPort { port: number, access: Access { rules: vec![rule], otherwise }, ..inbound.clone() }
    };
    let inbound = rules.iter().zip(1..).map(port).collect();
    let body = Body { inbound, outbound: Vec::new(), clusters: BTreeMap::new(), ..body.clone() };
    Engine::build(Arc::new(body))
}

/// A request in the operation with that outcome, for a peer that matches these rules: a sure one if there is one, else one
/// that may have it.
fn find(
    access: &Access,
    matching: &[Matching],
    operation: &OperationMatch,
    wanted: Verdict,
    budget: &Budget,
) -> Found {
    let rules = || matching.iter().filter_map(|(at, open)| Some((access.rules.get(*at)?, *open)));
    let conditions = rules().flat_map(|(rule, _)| &rule.to).map(pairs).fold(1, usize::saturating_add);
    if conditions.saturating_mul(pairs(operation)) > MOST_PAIRS {
        return Err(format!(
            "methods and paths, of the rules and of the test, make more than {MOST_PAIRS} pairs"
        ));
    }
    let round = |hope: Hope| {
        let considered = rules().filter(move |(rule, open)| !open || hope.counts(rule.effect, wanted));
        search(considered.map(|(rule, _)| rule), access.otherwise.effect, operation, wanted, budget)
    };
    if rules().any(|(_, open)| open)
        && let Ok(Some(sure)) = round(Hope::Nothing)
    {
        return Ok(Some(sure));
    }
    round(Hope::Everything)
}

/// How rules are taken of which nobody knows whether they hold.
#[derive(Clone, Copy)]
enum Hope {
    /// They are in the way, and lead nowhere.
    Nothing,
    /// They lead to the outcome, and are never in the way.
    Everything,
}

impl Hope {
    /// Whether such a rule is looked at.
    fn counts(self, effect: Effect, wanted: Verdict) -> bool {
        let leads =
            matches!((effect, wanted), (Effect::Allow, Verdict::Allow) | (Effect::Deny, Verdict::Deny));
        match self {
            Self::Nothing => !leads,
            Self::Everything => leads,
        }
    }
}

fn search<'r>(
    rules: impl Iterator<Item = &'r AccessRule>,
    otherwise: Verdict,
    operation: &OperationMatch,
    wanted: Verdict,
    budget: &Budget,
) -> Found {
    let mut entries: Vec<Entry> = Vec::new();
    // Conditions that lead to the outcome, each with the number of entries that may take a request before.
    let mut ways: Vec<(Entry, usize)> = Vec::new();
    for rule in rules {
        let conditions = || match rule.to.as_slice() {
            [] => vec![Entry::default()],
            to => to.iter().flat_map(entries_of).collect(),
        };
        match (rule.effect, wanted) {
            (Effect::Audit, _) => {}
            (Effect::Allow, Verdict::Allow) | (Effect::Deny, Verdict::Deny) => {
                ways.extend(conditions().into_iter().map(|way| (way, entries.len())));
            }
            (Effect::Allow, Verdict::Deny) | (Effect::Deny, Verdict::Allow) => entries.extend(conditions()),
        }
    }
    if otherwise == wanted {
        ways.push((Entry::default(), entries.len()));
    }
    let first_way = entries.len();
    entries.extend(ways.iter().map(|(way, _)| way.clone()));
    let first_operation = entries.len();
    entries.extend(entries_of(operation));
    let mut list = Reachability::new(&entries, budget);
    let mut unknown = None;
    for (at, (_, end)) in ways.iter().enumerate() {
        for operation in first_operation..entries.len() {
            match list.reach_all(&[first_way + at, operation], *end) {
                Reach::Reachable { witness } => return Ok(Some(witness)),
                Reach::Unreachable { .. } | Reach::Impossible { .. } => {}
                Reach::Unknown { why } => unknown = Some(why),
            }
        }
    }
    unknown.map_or(Ok(None), Err)
}

/// Conditions of the rules, times those of the question, that are looked at.
const MOST_PAIRS: usize = 100_000;

/// How many pairs of method and path there are.
fn pairs(operation: &OperationMatch) -> usize {
    operation.methods.len().max(1).saturating_mul(operation.paths.len().max(1))
}

/// An entry for each pair of method and path.
fn entries_of(operation: &OperationMatch) -> Vec<Entry> {
    let OperationMatch { methods, paths } = operation;
    let methods: Vec<_> = match methods.as_slice() {
        [] => vec![None],
        methods => methods.iter().map(|method| Some(StringPattern::Exact(method.clone()))).collect(),
    };
    let paths: Vec<_> = match paths.as_slice() {
        [] => vec![None],
        paths => paths.iter().map(|path| Some(pattern(path))).collect(),
    };
    let pair = |method: &Option<StringPattern>, path: &Option<PathPattern>| Entry {
        method: method.clone(),
        path: path.clone(),
        ..Entry::default()
    };
    methods.iter().flat_map(|method| paths.iter().map(move |path| pair(method, path))).collect()
}

fn pattern(path: &PathMatch) -> PathPattern {
    PathPattern { kind: path_kind(path), ignore_case: false }
}

/// An address from every range in which the networks of the rules do not begin or end. IPv4 stands among IPv6 as the
/// mapped addresses do. The plainest comes first.
fn addresses(rules: &[AccessRule]) -> Vec<IpAddr> {
    const MAPPED: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);
    let range = |network: &IpNet| match network {
        IpNet::V4(v4) => {
            let plain = |address: std::net::Ipv4Addr| MAPPED.0 + u128::from(u32::from(address));
            (plain(v4.network()), plain(v4.broadcast()))
        }
        IpNet::V6(v6) => (u128::from(v6.network()), u128::from(v6.broadcast())),
    };
    let asked = rules.iter().filter_map(|rule| rule.when.as_ref()).flat_map(condition::networks);
    let asked: Vec<IpNet> = asked.collect();
    let networks = rules.iter().flat_map(|rule| &rule.from).flat_map(|from| &from.networks);
    let networks = networks.chain(&asked).map(range);
    let mut starts = BTreeSet::new();
    for (first, last) in networks {
        starts.extend([0, MAPPED.0, MAPPED.1 + 1, first]);
        starts.extend(last.checked_add(1));
    }
    let mut addresses = vec![IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)];
    let others = starts.into_iter().map(|start| IpAddr::V6(Ipv6Addr::from(start)).to_canonical());
    addresses.extend(others.filter(|address| *address != IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)));
    addresses
}

#[cfg(test)]
mod tests;
