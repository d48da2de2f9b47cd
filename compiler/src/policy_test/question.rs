//! One port of a service: is there a request that a peer gets through, or one that is refused?
//!
//! Access is an ordered list of rules, so for one peer the question is a reachability question: a request gets through
//! if it matches an allowing rule, or the default allows, and no denying rule before that takes it. Which rules a peer
//! matches at all is asked of the engine, with a rule a port. Peers that match the same rules have the same answer.
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

use crate::analysis::unreachable_route::path_kind;
use crate::reach::{self, Entry, Limits, PathPattern, Reach, Reachability, StringPattern};

/// A port of a service, and the requests to it that are asked about.
pub(super) struct Port {
    engine: Arc<Engine>,
    inbound: InboundPort,
    protocol: Protocol,
    operation: OperationMatch,
    /// Whether a peer matches a rule, whatever the request: a rule is a port of these.
    probes: Vec<Engine>,
    addresses: Vec<IpAddr>,
    answers: BTreeMap<(Vec<usize>, Verdict), Found>,
}

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
        let addresses = addresses(rules);
        let protocol = inbound.protocol;
        let answers = BTreeMap::new();
        let operation = operation.clone();
        Ok(Some(Self { engine, inbound, protocol, operation, probes, addresses, answers }))
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
                true => self.ask(&peer, wanted),
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

    fn ask(&mut self, peer: &Peer<'_>, wanted: Verdict) -> Result<Option<Witness>, String> {
        let key = (self.matching(peer), wanted);
        let found = match self.answers.get(&key) {
            Some(found) => found.clone(),
            None => {
                let found = find(&self.inbound.access, &key.0, &self.operation, wanted);
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
                Err(format!("the engine does not confirm what was found for {request}"))
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
        let matters =
            self.inbound.access.rules.iter().flat_map(|rule| &rule.from).any(|f| !f.networks.is_empty());
        Witness {
            request,
            address: matters.then_some(peer.address),
            origin: origin.clone(),
            port: self.inbound.port,
        }
    }

    /// The rules whose callers the peer is among.
    fn matching(&self, peer: &Peer<'_>) -> Vec<usize> {
        let mut matching = Vec::new();
        for (chunk, probe) in self.probes.iter().enumerate() {
            for (at, inbound) in probe.body().inbound.iter().enumerate() {
                let port = probe.inbound(inbound.port);
                if port.is_some_and(|port| probe.authorize_connection(port, peer).verdict.is_ok()) {
                    matching.push(chunk * RULES_PER_PROBE + at);
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

/// A request in the operation with that outcome, for a peer that matches these rules.
fn find(access: &Access, matching: &[usize], operation: &OperationMatch, wanted: Verdict) -> Found {
    let conditions =
        matching.iter().filter_map(|at| access.rules.get(*at)).flat_map(|rule| &rule.to).map(pairs);
    let conditions = conditions.fold(1, usize::saturating_add);
    if conditions.saturating_mul(pairs(operation)) > MOST_PAIRS {
        return Err(format!(
            "methods and paths, of the rules and of the test, make more than {MOST_PAIRS} pairs"
        ));
    }
    let mut entries: Vec<Entry> = Vec::new();
    // Conditions that lead to the outcome, each with the number of entries that may take a request before.
    let mut ways: Vec<(Entry, usize)> = Vec::new();
    for rule in matching.iter().filter_map(|at| access.rules.get(*at)) {
        let AccessRule { effect, origin: _, from: _, to, when } = rule;
        let conditions = || match to.as_slice() {
            [] => vec![Entry::default()],
            to => to.iter().flat_map(entries_of).collect(),
        };
        match (effect, wanted) {
            (Effect::Audit, _) => {}
            // Its expression may turn out either way: it can be what leads there, and never surely stands before. What
            // is found with it must still be confirmed by the engine.
            (Effect::Allow, Verdict::Deny) | (Effect::Deny, Verdict::Allow) if when.is_some() => {}
            (Effect::Allow, Verdict::Allow) | (Effect::Deny, Verdict::Deny) => {
                ways.extend(conditions().into_iter().map(|way| (way, entries.len())));
            }
            (Effect::Allow, Verdict::Deny) | (Effect::Deny, Verdict::Allow) => entries.extend(conditions()),
        }
    }
    if access.otherwise.effect == wanted {
        ways.push((Entry::default(), entries.len()));
    }
    let first_way = entries.len();
    entries.extend(ways.iter().map(|(way, _)| way.clone()));
    let first_operation = entries.len();
    entries.extend(entries_of(operation));
    let mut list = Reachability::new(&entries, &Limits::default());
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
    let networks = rules.iter().flat_map(|rule| &rule.from).flat_map(|from| &from.networks).map(range);
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
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const IDS: [&str; 3] = ["spiffe://t/ns/a/sa/x", "spiffe://t/ns/b/sa/x", "spiffe://t/ns/b/sa/y"];
    const METHODS: [&str; 3] = ["GET", "POST", "OPTIONS"];
    const ADDRESSES: [&str; 5] = ["0.0.0.0", "10.0.0.1", "10.1.0.1", "fd00::1", "::"];

    fn engine(rules: &[Value], otherwise: &str, tls: &str) -> Arc<Engine> {
        let origin = json!({ "object": "Test a/b", "file": "a.yaml", "line": 1 });
        let rules: Vec<Value> = rules
            .iter()
            .map(|rule| {
                let mut rule = rule.clone();
                rule["origin"] = origin.clone();
                rule
            })
            .collect();
        let access = json!({ "rules": rules, "otherwise": { "effect": otherwise, "origin": origin } });
        let port = json!({ "name": "http", "port": 80, "protocol": "http", "application": "127.0.0.1:80",
                           "tls": tls, "access": access });
        let body = json!({ "mesh": "m", "service": "a/b", "identity": IDS[0], "trust_anchors": {}, "inbound": [port] });
        Arc::new(Engine::build(Arc::new(serde_json::from_value(body).unwrap())).unwrap())
    }

    fn operation() -> impl Strategy<Value = Value> {
        let path = prop_oneof![
            "/[ab]{0,2}".prop_map(|path| json!({ "exact": path })),
            "/[ab]{0,1}".prop_map(|path| json!({ "segment_prefix": path })),
            "/[ab/]{0,1}".prop_map(|path| json!({ "prefix": path })),
            prop::sample::select(vec!["/a.*", "/[^a]*", "/(a|b)", ".*b"])
                .prop_map(|regex| json!({ "regex": regex })),
        ];
        let methods = prop::collection::vec(prop::sample::select(METHODS.to_vec()), 0..3);
        (methods, prop::collection::vec(path, 0..3)).prop_map(|(methods, paths)| {
            let mut operation = json!({});
            if !methods.is_empty() {
                operation["methods"] = json!(methods);
            }
            if !paths.is_empty() {
                operation["paths"] = json!(paths);
            }
            operation
        })
    }

    fn rule() -> impl Strategy<Value = Value> {
        let peer = prop_oneof![
            prop::sample::select(IDS.to_vec()).prop_map(|id| json!({ "identities": [{ "exact": id }] })),
            Just(json!({ "identities": [{ "namespace": { "trust_domain": "t", "namespace": "b" } }] })),
            prop::sample::select(vec![
                "10.0.0.0/8",
                "10.1.0.0/16",
                "::/0",
                "fd00::/8",
                "::ffff:10.0.0.0/104"
            ])
            .prop_map(|network| json!({ "networks": [network] })),
        ];
        let effect = prop::sample::select(vec!["audit", "deny", "allow"]);
        (effect, prop::collection::vec(peer, 0..3), prop::collection::vec(operation(), 0..3))
            .prop_map(|(effect, from, to)| json!({ "effect": effect, "from": from, "to": to }))
    }

    /// Whether a request of a small world has that outcome.
    fn brute_force(
        engine: &Engine,
        id: Option<&SpiffeId>,
        wanted: &OperationMatch,
        verdict: Verdict,
    ) -> Option<String> {
        // Who may do what with the requests that are asked about, written as a rule of its own.
        let operation = json!({ "effect": "allow", "to": [serde_json::to_value(wanted).unwrap()] });
        let about = self::engine(&[operation], "deny", "strict");
        let mut paths = vec!["/".to_owned(), "*".to_owned()];
        for first in ["a", "b", "c", "%20"] {
            paths.extend(["", "/", "/a", "/b/", "a", "b"].map(|second| format!("/{first}{second}")));
        }
        let headers = http::HeaderMap::new();
        for (path, method) in paths.iter().flat_map(|path| METHODS.map(|method| (path, method))) {
            // No request but `OPTIONS *` has that path.
            if path == "*" && method != "OPTIONS" {
                continue;
            }
            let path = CanonicalPath::parse(path).unwrap();
            let request = weft_bundle::engine::Request {
                method,
                scheme: "http",
                authority: "",
                path: &path,
                query: None,
                headers: &headers,
            };
            let anybody = Peer { identity: None, address: ADDRESSES[0].parse().unwrap() };
            if about.authorize(about.inbound(80).unwrap(), &anybody, &request).verdict.is_err() {
                continue;
            }
            for address in ADDRESSES {
                let peer = Peer { identity: id, address: address.parse().unwrap() };
                let answer = engine.authorize(engine.inbound(80).unwrap(), &peer, &request);
                if decided(&answer).0 == verdict {
                    return Some(format!("{method} {path} from {address}"));
                }
            }
        }
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_request_is_overlooked(
            rules in prop::collection::vec(rule(), 0..5),
            otherwise in prop::sample::select(vec!["allow", "deny"]),
            wanted in operation(),
        ) {
            let engine = engine(&rules, otherwise, "strict");
            let wanted: OperationMatch = serde_json::from_value(wanted).unwrap();
            let mut port = Port::new(Arc::clone(&engine), 80, &wanted).unwrap().unwrap();
            for id in IDS {
                let id: SpiffeId = id.parse().unwrap();
                for verdict in [Verdict::Allow, Verdict::Deny] {
                    // What is found was confirmed by the engine; what is not found must not be there.
                    let found = port.witness(Some(&id), verdict).unwrap();
                    if found.is_none() {
                        prop_assert_eq!(brute_force(&engine, Some(&id), &wanted, verdict), None, "{} {:?}", id, verdict);
                    }
                }
            }
        }
    }

    #[test]
    fn options_of_the_server_slip_past_paths() {
        let deny = json!({ "effect": "deny", "to": [{ "paths": [{ "prefix": "/" }] }] });
        let everything = OperationMatch::default();
        let mut port = Port::new(engine(&[deny], "allow", "strict"), 80, &everything).unwrap().unwrap();
        let id: SpiffeId = IDS[0].parse().unwrap();
        let witness = port.witness(Some(&id), Verdict::Allow).unwrap().unwrap();
        assert_eq!(witness.request.unwrap().to_string(), "OPTIONS *");
    }

    #[test]
    fn a_list_beyond_all_measure_is_not_decided() {
        let many = |prefix: &str| (0..1000).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
        let paths: Vec<Value> = many("/").into_iter().map(|path| json!({ "exact": path })).collect();
        let rule = json!({ "effect": "deny", "to": [{ "methods": many("M"), "paths": paths }] });
        let mut port =
            Port::new(engine(&[rule], "allow", "strict"), 80, &OperationMatch::default()).unwrap().unwrap();
        let id: SpiffeId = IDS[0].parse().unwrap();
        let why = port.witness(Some(&id), Verdict::Allow).unwrap_err();
        assert_eq!(why, "methods and paths, of the rules and of the test, make more than 100000 pairs");
    }

    #[test]
    fn identities_count_where_peers_can_prove_them() {
        let allow = json!({ "effect": "allow", "from": [{ "identities": [{ "exact": IDS[0] }] }] });
        let id: SpiffeId = IDS[0].parse().unwrap();
        let anybody = json!({ "effect": "allow" });
        for (rule, tls, known, unknown) in [
            (&allow, "strict", true, false),
            (&allow, "permissive", true, false),
            (&allow, "off", false, false),
            (&anybody, "strict", true, false),
            (&anybody, "permissive", true, true),
            (&anybody, "off", true, true),
        ] {
            let engine = engine(std::slice::from_ref(rule), "deny", tls);
            let mut port = Port::new(engine, 80, &OperationMatch::default()).unwrap().unwrap();
            let mut passes = |id| port.witness(id, Verdict::Allow).unwrap().is_some();
            assert_eq!((passes(Some(&id)), passes(None)), (known, unknown), "{rule} {tls}");
        }
    }
}
