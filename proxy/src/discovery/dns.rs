//! Endpoints by name: A and AAAA records, all of them, and SRV records with the addresses of their targets.
//!
//! `/etc/resolv.conf` and `/etc/hosts` are honoured, the first also when it changes; other name servers can be given. Answers
//! are asked for again when their time is over, a little later by chance, so that the proxies of a mesh do not ask all at
//! once:
//!
//! | answer | next question |
//! |---|---|
//! | records | after the shortest of their times, from a second to an hour |
//! | none, by a server that knows | after the time it says, or as below, from a second to a minute |
//! | none in time, or an error | after a second, and twice as long each time, to half a minute |
//!
//! The two families are asked for one by one: where one answers and the other fails, the addresses of the other are those of
//! last time. A name without any address is a failure too, and changes nothing. Addresses to which this machine has no route,
//! as on a machine without IPv6, are left out while there are others.
//!
//! SRV priorities become tiers, the smallest first. The weight of a target is shared by its addresses; zero counts as one.

mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{TokioResolver, system_conf};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use self::settle::{
    HOLD, Remembered, Round, Settled, Told, settle, share_weights, shorter, target, with_routes,
};
use super::{Fault, Feed, FoundEndpoint, Question};
use crate::cluster::tiers::Traits;

/// Bounds of the pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a server may take to answer, where `resolv.conf` allows more.
const SERVER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long all questions of a round may take together.
const ROUND_TIMEOUT: Duration = Duration::from_secs(20);

/// How many names are asked for at once.
const AT_ONCE: usize = 64;

/// The most targets of one name.
const MAX_TARGETS: usize = 256;

/// Where names are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsOptions {
    /// Name servers, instead of those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
}

/// A name server, as on the command line: `IP` or `IP:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer(pub SocketAddr);

/// Why a text is not a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServerError(String);

impl fmt::Display for NameServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an IP address nor `IP:PORT`", self.0.escape_default())
    }
}

impl std::error::Error for NameServerError {}

impl FromStr for NameServer {
    type Err = NameServerError;

    fn from_str(text: &str) -> Result<Self, NameServerError> {
        let with_port = || text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53));
        let address = text.parse().ok().or_else(with_port);
        address.map(Self).ok_or_else(|| NameServerError(text.to_owned()))
    }
}

/// The resolver of all workers.
#[derive(Debug)]
pub(super) struct Dns {
    options: DnsOptions,
    made: Mutex<Option<Made>>,
    asking: Semaphore,
}

/// A resolver, and the configuration that it was made from.
#[derive(Debug)]
struct Made {
    configuration: Option<Vec<u8>>,
    resolver: Arc<TokioResolver>,
}

/// Asks for as long as somebody wants to know.
pub(super) async fn keep_asking(feed: Weak<Feed>, dns: Arc<Dns>) {
    let (mut remembered, mut pause) = (Remembered::new(), PAUSE.0);
    loop {
        let Some(question) = feed.upgrade().map(|feed| feed.question().clone()) else { return };
        // It is never closed.
        let turn = dns.asking.acquire().await;
        let asked = tokio::time::timeout(ROUND_TIMEOUT, round(&dns, &question, &mut remembered)).await;
        drop(turn);
        let round = asked.unwrap_or_else(|_| Round {
            answer: Err((Fault::Timeout, "no answer in time".to_owned())),
            partly: None,
            again: None,
        });
        let Some(feed) = feed.upgrade() else { return };
        if let Some(fault) = round.partly {
            feed.count(fault);
        }
        feed.publish(round.answer);
        drop(feed);
        let wait = match round.again {
            Some(again) => {
                pause = PAUSE.0;
                again
            }
            None => {
                let wait = pause;
                pause = (pause * 2).min(PAUSE.1);
                wait
            }
        };
        tokio::time::sleep(wait.mul_f64(1.0 + 0.1 * fastrand::f64())).await;
    }
}

async fn round(dns: &Arc<Dns>, question: &Question, remembered: &mut Remembered) -> Round {
    match question {
        Question::Services(name) => services(dns, name, remembered).await,
        Question::Addresses(name) => addresses(dns, name, remembered).await,
        // Another thread's.
        Question::File(_) => {
            Round { answer: Err((Fault::BadName, String::new())), partly: None, again: None }
        }
    }
}

async fn addresses(dns: &Dns, name: &str, remembered: &mut Remembered) -> Round {
    let settled = settle(name, dns.addresses(name).await, remembered);
    let endpoint = |address| FoundEndpoint { address, port: None, weight: 1, traits: Traits::default() };
    settled.round(|addresses| addresses.into_iter().map(endpoint).collect())
}

async fn services(dns: &Arc<Dns>, name: &str, remembered: &mut Remembered) -> Round {
    let (records, hold) = match dns.ask(name, RecordType::SRV, service).await {
        Told::These(records, hold) => (records, hold),
        Told::Nothing(fault, hold) => return Round::nothing(fault, hold),
        Told::Unknown(fault, why) => return Round { answer: Err((fault, why)), partly: None, again: None },
    };
    let mut asked = JoinSet::new();
    for target in records.iter().map(target).collect::<BTreeSet<_>>().into_iter().take(MAX_TARGETS) {
        let dns = Arc::clone(dns);
        asked.spawn(async move {
            let told = dns.addresses(&target).await;
            (target, told)
        });
    }
    let mut all = Settled { addresses: Vec::new(), hold: Some(hold), fault: None };
    let mut of_targets = BTreeMap::new();
    while let Some(answered) = asked.join_next().await {
        // A task that panicked has said so on standard error.
        let Ok((target, told)) = answered else { continue };
        let settled = settle(&target, told, remembered);
        all.hold = shorter(all.hold, settled.hold);
        // One target without addresses is no failure of the whole.
        all.fault = all.fault.or(settled.fault.filter(|fault| fault.is_unknown));
        of_targets.insert(target, settled.addresses);
    }
    remembered.retain(|(name, _), _| of_targets.contains_key(name));
    let endpoints = share_weights(&records, &of_targets);
    all.addresses = endpoints.iter().map(|endpoint| endpoint.address).collect();
    all.round(|_| endpoints)
}

impl Dns {
    pub(super) fn new(options: DnsOptions) -> Self {
        Self { options, made: Mutex::default(), asking: Semaphore::new(AT_ONCE) }
    }

    /// Both families of a name's addresses.
    async fn addresses(&self, name: &str) -> [Told<IpAddr>; 2] {
        if let Ok(address) = name.parse() {
            return [Told::These(vec![address], HOLD.1), Told::Nothing(Fault::NoRecords, None)];
        }
        let (four, six) =
            tokio::join!(self.ask(name, RecordType::A, address), self.ask(name, RecordType::AAAA, address),);
        with_routes([four, six], has_route)
    }

    async fn ask<T>(&self, name: &str, kind: RecordType, read: impl Fn(&RData) -> Option<T>) -> Told<T> {
        let Ok(name) = Name::from_str_relaxed(name) else {
            return Told::Unknown(Fault::BadName, "not a name".to_owned());
        };
        let resolver = match self.resolver().await {
            Ok(resolver) => resolver,
            Err(why) => return Told::Unknown(Fault::Unreachable, why),
        };
        match resolver.lookup(name, kind).await {
            Ok(found) => {
                let records: Vec<T> =
                    found.answers().iter().filter_map(|record| read(&record.data)).collect();
                let hold = found.valid_until().saturating_duration_since(Instant::now());
                match records.is_empty() {
                    true => Told::Nothing(Fault::NoRecords, Some(hold)),
                    false => Told::These(records, hold),
                }
            }
            Err(error) => failed(&error),
        }
    }

    /// The resolver; a new one if `/etc/resolv.conf` has changed.
    async fn resolver(&self) -> Result<Arc<TokioResolver>, String> {
        let mut made = self.made.lock().await;
        let configuration = std::fs::read("/etc/resolv.conf").ok();
        if let Some(made) = made.as_ref().filter(|made| made.configuration == configuration) {
            return Ok(Arc::clone(&made.resolver));
        }
        let resolver = Arc::new(make(&self.options)?);
        *made = Some(Made { configuration, resolver: Arc::clone(&resolver) });
        Ok(resolver)
    }
}

fn make(options: &DnsOptions) -> Result<TokioResolver, String> {
    let system = system_conf::read_system_conf();
    let (config, mut settings) = match (system, options.servers.is_empty()) {
        (Ok((config, settings)), true) => (config, settings),
        (Err(error), true) => return Err(format!("/etc/resolv.conf: {error}")),
        (system, false) => {
            let (domain, search, settings) = match system {
                Ok((config, settings)) => (config.domain().cloned(), config.search().to_vec(), settings),
                Err(_) => (None, Vec::new(), ResolverOpts::default()),
            };
            let servers = options.servers.iter().map(|server| name_server(*server)).collect();
            (ResolverConfig::from_parts(domain, search, servers), settings)
        }
    };
    // Answers are kept where they are asked for.
    settings.cache_size = 0;
    settings.use_hosts_file = ResolveHosts::Always;
    settings.timeout = settings.timeout.min(SERVER_TIMEOUT);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = settings;
    builder.build().map_err(|error| error.to_string())
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

fn failed<T>(error: &NetError) -> Told<T> {
    let unknown = |fault| Told::Unknown(fault, error.to_string());
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let hold = none.negative_ttl.map(|seconds| Duration::from_secs(u64::from(seconds)));
            match none.response_code {
                ResponseCode::NXDomain => Told::Nothing(Fault::NoName, hold),
                ResponseCode::NoError => Told::Nothing(Fault::NoRecords, hold),
                _ => unknown(Fault::ServerFailure),
            }
        }
        NetError::Dns(_) => unknown(Fault::ServerFailure),
        NetError::Timeout => unknown(Fault::Timeout),
        _ => unknown(Fault::Unreachable),
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    let address = match data {
        RData::A(address) => IpAddr::V4(address.0),
        RData::AAAA(address) => IpAddr::V6(address.0),
        _ => return None,
    };
    // Filters answer with these for names that are not to be reached.
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

/// None for the target `.`, by which a domain says that it does not have the service.
fn service(data: &RData) -> Option<SRV> {
    match data {
        RData::SRV(record) if !record.target.is_root() && record.port > 0 => Some(record.clone()),
        _ => None,
    }
}

/// Whether this machine knows where to send what goes to an address. Nothing is sent.
fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 53))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_not_there_is_none() {
        let record = |target, port| RData::SRV(SRV::new(0, 0, port, Name::from_ascii(target).unwrap()));
        assert!(service(&record("a.test.", 80)).is_some());
        assert!(service(&record(".", 80)).is_none() && service(&record("a.test.", 0)).is_none());
    }

    #[test]
    fn there_is_a_way_to_oneself() {
        assert!(has_route("127.0.0.1".parse().unwrap()));
    }
}
