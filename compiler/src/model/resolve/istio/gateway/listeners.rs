//! The listeners of gateways: one for each set of names that have the same routes.
//!
//! In Istio the names of a port are told apart by the most specific one, whichever server or VirtualService it is from; a
//! request that none of *its* routes matches is answered with 404, and never falls to those of a wider name
//! (istio:pilot/pkg/networking/core/gateway.go, `buildGatewayHTTPRouteConfig`). The names are
//! * of requests in clear text, and of TLS that goes through: those of all servers of the port together;
//! * of requests over TLS: those of the one server whose own host is the most specific for the server name, as server name
//!   and host are one to a client that means no harm.
//!
//! A listener of the model takes a request by the most specific name too, and only its own routes count.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{ListenerTls, Protocol};
use weft_bundle::engine::HostPattern;

use super::super::super::Context;
use super::{Gates, Name};
use crate::dialect::istio::gateway::Speaks;
use crate::model::{GatewayListener, Mesh};
use crate::yaml::Span;

/// What of a VirtualService decides on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::model::resolve::istio) enum Part {
    /// Its `http`.
    Requests,
    /// Its `tcp`.
    Connections,
    /// A condition of its `tls`, by the places of the route and of the condition.
    ServerName(usize, usize),
}

/// A name on a server for which a VirtualService decides.
pub(super) struct Claim<'d> {
    /// The server, by place in [`Gates`].
    pub(super) server: usize,
    /// The host of the server.
    pub(super) own: HostPattern,
    /// The names that both are for.
    pub(super) names: HostPattern,
    /// The VirtualService, by place.
    pub(super) by: usize,
    /// What of it decides.
    pub(super) part: Part,
    /// The Gateway that it names.
    pub(super) through: Name<'d>,
    /// Where it does.
    pub(super) span: Span,
}

/// Who decides for some names, each by which Gateways it came, and where it names the first of them.
pub(super) type Takers<'d> = BTreeMap<(usize, Part), (BTreeSet<Name<'d>>, Span)>;

/// A listener with what decides on it.
pub(super) struct Made<'d> {
    pub(super) listener: GatewayListener,
    pub(super) takers: Takers<'d>,
    /// The server that sends all of its requests to `https`.
    pub(super) redirect: Option<usize>,
}

/// Names that are told apart among each other: of one port of a gateway, and of one server where TLS ends at it.
type Pool<'g> = (&'g (String, String), u16, Option<usize>);

/// Some names of a pool.
struct Names<'d> {
    names: HostPattern,
    /// The most specific host of a server that they are within.
    own: HostPattern,
    servers: BTreeSet<usize>,
    takers: Takers<'d>,
    redirect: Option<usize>,
}

/// The listeners of every gateway, sorted by port, then name.
pub(super) fn make<'d>(
    context: &mut Context<'_>,
    mesh: &Mesh,
    gates: &Gates<'d>,
    claims: Vec<Claim<'d>>,
) -> BTreeMap<(String, String), Vec<Made<'d>>> {
    let mut pools = filled(gates, claims);
    let rivals = rivals(gates, &pools);
    let mut made: BTreeMap<(String, String), Vec<Made<'d>>> = BTreeMap::new();
    for (pool, names) in &mut pools {
        keep_apart(gates, *pool, names, &rivals);
        let several = mesh
            .find_gateway(&pool.0.0, &pool.0.1)
            .is_some_and(|index| mesh.gateway(index).declared_by.len() > 1);
        let listeners = grouped(context, gates, std::mem::take(names).into_values(), several);
        made.entry(pool.0.clone()).or_default().extend(listeners);
    }
    for listeners in made.values_mut() {
        listeners
            .sort_by(|a, b| (a.listener.port, &a.listener.name).cmp(&(b.listener.port, &b.listener.name)));
    }
    made
}

type Filled<'g, 'd> = BTreeMap<Pool<'g>, BTreeMap<String, Names<'d>>>;

/// Every name that a server or a VirtualService has, in its pool.
fn filled<'g, 'd>(gates: &'g Gates<'d>, claims: Vec<Claim<'d>>) -> Filled<'g, 'd> {
    let mut pools = Filled::new();
    for (place, server) in gates.servers.iter().enumerate() {
        for (_, host) in server.written.names(server.document.namespace()) {
            add(gates, &mut pools, place, &host, &host);
        }
    }
    for claim in claims {
        let Some(names) = add(gates, &mut pools, claim.server, &claim.own, &claim.names) else { continue };
        let taker = names.takers.entry((claim.by, claim.part));
        taker.or_insert_with(|| (BTreeSet::new(), claim.span)).0.insert(claim.through);
    }
    // What sends everything elsewhere leaves nothing to decide.
    for names in pools.values_mut().flat_map(|pool| pool.values_mut()) {
        if names.redirect.is_some() {
            names.takers.clear();
        }
    }
    pools
}

fn add<'g, 'd, 'p>(
    gates: &'g Gates<'d>,
    pools: &'p mut Filled<'g, 'd>,
    place: usize,
    own: &HostPattern,
    names: &HostPattern,
) -> Option<&'p mut Names<'d>> {
    let server = gates.servers.get(place)?;
    let ends_here = matches!(server.tls, Some(ListenerTls::Terminate(_)));
    // Connections in clear text say no name.
    let nameless = !server.is_tls() && server.written.speaks() != Speaks::Http;
    let (own, names) = if nameless { (&HostPattern::Any, &HostPattern::Any) } else { (own, names) };
    let pool = pools.entry((&server.gateway, server.port(), ends_here.then_some(place))).or_default();
    let found = pool.entry(names.to_string()).or_insert_with(|| Names {
        names: names.clone(),
        own: own.clone(),
        servers: BTreeSet::new(),
        takers: Takers::new(),
        redirect: None,
    });
    if own.specificity() > found.own.specificity() {
        found.own = own.clone();
    }
    found.servers.insert(place);
    if server.written.redirects().is_some() {
        found.redirect = Some(found.redirect.map_or(place, |other| other.min(place)));
    }
    Some(found)
}

/// The server names by which servers that end TLS are told apart from each other and from what goes through: by gateway and
/// port, the servers that have each.
type Rivals<'g> = BTreeMap<(&'g (String, String), u16), BTreeMap<String, BTreeSet<usize>>>;

fn rivals<'g>(gates: &Gates<'_>, pools: &Filled<'g, '_>) -> Rivals<'g> {
    let mut rivals = Rivals::new();
    for ((gateway, port, one), pool) in pools {
        let here = rivals.entry((*gateway, *port)).or_default();
        match one.map(|place| (place, gates.servers.get(place))) {
            Some((place, server)) => {
                let hosts = server.into_iter().flat_map(|s| s.written.names(s.document.namespace()));
                hosts.for_each(|(_, host)| here.entry(host.to_string()).or_default().extend([place]));
            }
            None => {
                for (text, names) in pool.iter().filter(|(_, names)| !names.takers.is_empty()) {
                    here.entry(text.clone()).or_default().extend(&names.servers);
                }
            }
        }
    }
    rivals
}

/// Leaves out names that never come here: those that another server has by a nearer name of its own, and those of which
/// nothing is said and a wider name takes care.
fn keep_apart(
    gates: &Gates<'_>,
    (gateway, port, one): Pool<'_>,
    pool: &mut BTreeMap<String, Names<'_>>,
    rivals: &Rivals<'_>,
) {
    if let Some(place) = one
        && let Some(rivals) = rivals.get(&(gateway, port))
    {
        let elsewhere = |names: &Names<'_>| {
            let nearer = wider(&names.names).into_iter().take_while(|host| *host != names.own);
            nearer.filter_map(|host| rivals.get(&host.to_string())).flatten().any(|other| *other != place)
        };
        pool.retain(|_, names| !elsewhere(names));
    }
    let decided = |names: &Names<'_>| !names.takers.is_empty() || names.redirect.is_some();
    let wide: BTreeSet<String> =
        pool.iter().filter(|(_, names)| decided(names)).map(|(text, _)| text.clone()).collect();
    let covered = |names: &HostPattern| wider(names).iter().any(|host| wide.contains(&host.to_string()));
    pool.retain(|_, names| decided(names) || !covered(&names.names));
    let clear_text = one.is_none()
        && !gates.servers.iter().any(|s| s.gateway == *gateway && s.port() == port && s.is_tls());
    let same = |narrow: &Names<'_>, wide: &Names<'_>| {
        (clear_text || (one.is_some() && narrow.own == wide.own)) && narrow.is_like(wide)
    };
    // The next wider name would do the same.
    let idle = |names: &Names<'_>| {
        let next = wider(&names.names).into_iter().skip(1).find_map(|host| pool.get(&host.to_string()));
        next.is_some_and(|next| same(names, next))
    };
    let idle: Vec<String> =
        pool.iter().filter(|(_, names)| idle(names)).map(|(text, _)| text.clone()).collect();
    idle.iter().for_each(|text| drop(pool.remove(text)));
}

impl Names<'_> {
    /// Whether the same decides for both.
    fn is_like(&self, other: &Self) -> bool {
        let mut pairs = self.takers.iter().zip(&other.takers);
        self.servers == other.servers
            && self.redirect == other.redirect
            && self.takers.len() == other.takers.len()
            && pairs.all(|((a, (of_a, _)), (b, (of_b, _)))| a == b && of_a == of_b)
    }
}

/// The patterns that hold all of some names: themselves first, then ever wider ones.
pub(super) fn wider(names: &HostPattern) -> Vec<HostPattern> {
    let mut found = vec![names.clone()];
    let mut rest = match names {
        HostPattern::Exact(name) => name.as_str(),
        HostPattern::Suffix(suffix) => suffix.strip_prefix('.').unwrap_or(suffix),
        HostPattern::Any => return found,
    };
    while let Some((_, after)) = rest.split_once('.') {
        found.push(HostPattern::Suffix(format!(".{after}")));
        rest = after;
    }
    found.push(HostPattern::Any);
    found
}

/// One listener for all names with the same servers and the same routes.
fn grouped<'d>(
    context: &mut Context<'_>,
    gates: &Gates<'d>,
    pool: impl Iterator<Item = Names<'d>>,
    several: bool,
) -> Vec<Made<'d>> {
    type Key<'d> = (BTreeSet<usize>, Vec<((usize, Part), BTreeSet<Name<'d>>)>, Option<usize>);
    let mut groups: BTreeMap<Key<'d>, (Vec<HostPattern>, Takers<'d>)> = BTreeMap::new();
    for names in pool {
        let takers = names.takers.iter().map(|(taker, (through, _))| (*taker, through.clone()));
        let key = (names.servers, takers.collect(), names.redirect);
        let (hosts, takers) = groups.entry(key).or_default();
        hosts.push(names.names);
        for (taker, (through, span)) in names.takers {
            takers.entry(taker).or_insert((through, span));
        }
    }
    let first = |servers: &BTreeSet<usize>| gates.servers.get(servers.first().copied()?);
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for server in groups.keys().filter_map(|(servers, ..)| first(servers)) {
        *uses.entry(name_of(server, several)).or_default() += 1;
    }
    let mut made = Vec::new();
    for ((servers, _, redirect), (mut hosts, takers)) in groups {
        let Some(server) = first(&servers) else { continue };
        hosts.sort_by(|a, b| (b.specificity(), a.to_string()).cmp(&(a.specificity(), b.to_string())));
        let base = name_of(server, several);
        let name = match (uses.get(&base), hosts.first()) {
            (Some(2..), Some(host)) => format!("{base}:{host}"),
            _ => base,
        };
        let span = server.written.span;
        let at = context.at(server.document, span, Some(server.written.name().value.clone()));
        let protocol = match (server.written.speaks(), server.is_tls()) {
            (Speaks::Http, _) => Protocol::Http,
            (Speaks::ServerNames, _) | (Speaks::Bytes, true) => Protocol::Tls,
            (Speaks::Bytes, false) => Protocol::Tcp,
        };
        let listener =
            GatewayListener { name, port: server.port(), protocol, hosts, tls: server.tls.clone(), at, span };
        made.push(Made { listener, takers, redirect });
    }
    made
}

/// The name of a server's listeners: two Gateways may each have a server of one name.
fn name_of(server: &super::Server<'_>, several: bool) -> String {
    let name = server.written.name();
    match several {
        false => name.value.clone(),
        true => format!("{}/{}/{name}", server.document.namespace(), server.document.name()),
    }
}
