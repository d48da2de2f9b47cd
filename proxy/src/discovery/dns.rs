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

use super::{Fault, Feed, Found, FoundEndpoint, Question};
use crate::cluster::members::Source;
use crate::cluster::tiers::Traits;

/// Bounds of the time for which records hold.
const HOLD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60 * 60));

/// Bounds of the time for which it holds that there are none.
const HOLD_NOTHING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

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

/// The most that a weight is multiplied by to share it among addresses.
const MAX_FACTOR: u32 = 5040;

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

/// What was said to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told<T> {
    /// Records, and for how long.
    These(Vec<T>, Duration),
    /// There are none, and perhaps for how long.
    Nothing(Fault, Option<Duration>),
    /// Nobody knows.
    Unknown(Fault, String),
}

/// What a round of questions gave.
#[derive(Debug)]
struct Round {
    answer: Result<Found, (Fault, String)>,
    /// What failed though there is an answer.
    partly: Option<Fault>,
    /// When to ask again; after a failure it is not known.
    again: Option<Duration>,
}

/// The addresses of names, by family, when they last were known.
type Remembered = BTreeMap<(String, RecordType), Vec<IpAddr>>;

/// Asks for as long as somebody wants to know.
pub(super) async fn keep_asking(feed: Weak<Feed>, dns: Arc<Dns>) {
    let (mut remembered, mut pause) = (Remembered::new(), PAUSE.0);
    loop {
        let Some(question) = feed.upgrade().map(|feed| feed.question().clone()) else { return };
        let asked = tokio::time::timeout(ROUND_TIMEOUT, round(&dns, &question, &mut remembered)).await;
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
    // It is never closed.
    let _turn = dns.asking.acquire().await;
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

/// The name to look up: with the last dot, so that no search list applies.
fn target(record: &SRV) -> String {
    let mut name = record.target.to_ascii().to_ascii_lowercase();
    if !name.ends_with('.') {
        name.push('.');
    }
    name
}

/// Each address of each target. The weights of addresses with one priority are to each other as those of their targets,
/// shared evenly.
fn share_weights(records: &[SRV], addresses: &BTreeMap<String, Vec<IpAddr>>) -> Vec<FoundEndpoint> {
    let of = |record: &SRV| addresses.get(&target(record)).map(Vec::as_slice).unwrap_or_default();
    let counts = records.iter().filter_map(|record| u32::try_from(of(record).len()).ok());
    let factor = counts.filter(|count| *count > 0).fold(1, least_common_multiple);
    let endpoint = |record: &SRV, address: &IpAddr| {
        let count = u32::try_from(of(record).len()).unwrap_or(u32::MAX).max(1);
        let weight = u32::from(record.weight.max(1)).saturating_mul(factor) / count;
        let traits = Traits { priority: record.priority, ..Traits::default() };
        FoundEndpoint { address: *address, port: Some(record.port), weight: weight.max(1), traits }
    };
    let mut endpoints: Vec<_> = records
        .iter()
        .flat_map(|record| of(record).iter().map(move |address| endpoint(record, address)))
        .collect();
    endpoints.sort_by_key(|found| (found.address, found.port, found.traits.priority, found.weight));
    endpoints
}

fn least_common_multiple(a: u32, b: u32) -> u32 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.saturating_mul(b / x.max(1)).min(MAX_FACTOR)
}

/// What is known of a name's addresses after both families were asked for.
#[derive(Debug)]
struct Settled {
    /// Sorted, each once.
    addresses: Vec<IpAddr>,
    hold: Option<Duration>,
    fault: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    fault: Fault,
    why: String,
    /// Whether nobody knows; else it is known that there is nothing.
    is_unknown: bool,
}

impl Settled {
    /// The endpoints of the addresses, if there are any.
    fn round(self, endpoints: impl FnOnce(Vec<IpAddr>) -> Vec<FoundEndpoint>) -> Round {
        let is_unknown = self.fault.as_ref().is_some_and(|failed| failed.is_unknown);
        if self.addresses.is_empty() {
            return match self.fault {
                Some(failed) if failed.is_unknown => {
                    Round { answer: Err((failed.fault, failed.why)), partly: None, again: None }
                }
                Some(failed) => Round::nothing(failed.fault, self.hold),
                None => Round::nothing(Fault::NoRecords, self.hold),
            };
        }
        let found = Found { source: Source::Dns, endpoints: endpoints(self.addresses) };
        Round {
            answer: Ok(found),
            partly: self.fault.filter(|failed| failed.is_unknown).map(|failed| failed.fault),
            again: self.hold.filter(|_| !is_unknown).map(|hold| hold.clamp(HOLD.0, HOLD.1)),
        }
    }
}

impl Round {
    /// It is known that there is nothing, perhaps for how long.
    fn nothing(fault: Fault, hold: Option<Duration>) -> Self {
        let again = hold.map(|hold| hold.clamp(HOLD_NOTHING.0, HOLD_NOTHING.1));
        Self { answer: Err((fault, fault.as_str().to_owned())), partly: None, again }
    }
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    [one, other].into_iter().flatten().min()
}

/// Puts the families together; one that failed is as it was last time.
fn settle(name: &str, told: [Told<IpAddr>; 2], remembered: &mut Remembered) -> Settled {
    let mut settled = Settled { addresses: Vec::new(), hold: None, fault: None };
    let (mut nothing, mut hold_nothing) = (None, None);
    for (family, told) in [RecordType::A, RecordType::AAAA].into_iter().zip(told) {
        let key = (name.to_owned(), family);
        match told {
            Told::These(addresses, hold) => {
                settled.hold = shorter(settled.hold, Some(hold));
                remembered.insert(key.clone(), addresses);
            }
            // Most names have addresses of one family only. That there are none holds for a time too, but not for one
            // that would put off looking for the others.
            Told::Nothing(fault, hold) => {
                let is_worse = nothing.is_none() || fault == Fault::NoName;
                nothing = if is_worse { Some(fault) } else { nothing };
                hold_nothing = shorter(hold_nothing, hold);
                remembered.remove(&key);
            }
            Told::Unknown(fault, why) => {
                settled.fault = Some(Failed { fault, why, is_unknown: true });
            }
        }
        settled.addresses.extend(remembered.get(&key).into_iter().flatten());
    }
    settled.addresses.sort_unstable();
    settled.addresses.dedup();
    if settled.addresses.is_empty() && settled.fault.is_none() {
        settled.hold = hold_nothing;
        settled.fault = nothing.map(|fault| Failed { fault, why: String::new(), is_unknown: false });
    }
    settled
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

/// Leaves out a family to none of whose addresses there is a route, if the other has one.
fn with_routes(told: [Told<IpAddr>; 2], has_route: impl Fn(IpAddr) -> bool) -> [Told<IpAddr>; 2] {
    let reach = |told: &Told<IpAddr>| match told {
        Told::These(addresses, _) => Some(addresses.iter().any(|address| has_route(*address))),
        Told::Nothing(..) | Told::Unknown(..) => None,
    };
    let without = |told: Told<IpAddr>| match told {
        Told::These(_, hold) => Told::Nothing(Fault::NoRecords, Some(hold)),
        other => other,
    };
    match (told.each_ref().map(reach), told) {
        ([Some(true), Some(false)], [four, six]) => [four, without(six)],
        ([Some(false), Some(true)], [four, six]) => [without(four), six],
        (_, told) => told,
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

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn these(addresses: &[&str], seconds: u64) -> Told<IpAddr> {
        Told::These(addresses.iter().map(|text| ip(text)).collect(), Duration::from_secs(seconds))
    }

    fn nothing(fault: Fault, seconds: u64) -> Told<IpAddr> {
        Told::Nothing(fault, Some(Duration::from_secs(seconds)))
    }

    fn unknown() -> Told<IpAddr> {
        Told::Unknown(Fault::Timeout, "late".to_owned())
    }

    /// The addresses or the fault, what failed beside them, and the seconds to the next question.
    fn settled(
        remembered: &mut Remembered,
        told: [Told<IpAddr>; 2],
    ) -> (Result<Vec<String>, Fault>, Option<Fault>, Option<u64>) {
        let endpoint = |address| FoundEndpoint { address, port: None, weight: 1, traits: Traits::default() };
        let round = settle("a", told, remembered).round(|found| found.into_iter().map(endpoint).collect());
        let answer = round.answer.map_err(|(fault, _)| fault);
        let answer = answer.map(|found| found.endpoints.iter().map(|one| one.address.to_string()).collect());
        (answer, round.partly, round.again.map(|again| again.as_secs()))
    }

    fn ok(addresses: &[&str]) -> Result<Vec<String>, Fault> {
        Ok(addresses.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn families_answer_and_fail_one_by_one() {
        let mut memory = Remembered::new();
        let both = settled(&mut memory, [these(&["10.0.0.2", "10.0.0.1"], 30), these(&["fd00::1"], 20)]);
        assert_eq!(both, (ok(&["10.0.0.1", "10.0.0.2", "fd00::1"]), None, Some(20)));
        let partly = settled(&mut memory, [these(&["10.0.0.3"], 30), unknown()]);
        assert_eq!(partly, (ok(&["10.0.0.3", "fd00::1"]), Some(Fault::Timeout), None), "as it was last time");
        let one = settled(&mut memory, [these(&["10.0.0.3"], 30), nothing(Fault::NoRecords, 5)]);
        assert_eq!(one, (ok(&["10.0.0.3"]), None, Some(30)));
        let gone = settled(&mut memory, [these(&["10.0.0.3"], 30), unknown()]);
        assert_eq!(gone.0, ok(&["10.0.0.3"]), "that there was nothing is remembered too");
        let none = settled(&mut memory, [nothing(Fault::NoName, 7), nothing(Fault::NoRecords, 900)]);
        assert_eq!(none, (Err(Fault::NoName), None, Some(7)));
        let late = settled(&mut Remembered::new(), [unknown(), nothing(Fault::NoRecords, 5)]);
        assert_eq!(late, (Err(Fault::Timeout), None, None));
    }

    #[test]
    fn times_have_bounds() {
        let memory = &mut Remembered::new();
        let again = |told| settled(&mut Remembered::new(), told).2;
        assert_eq!(again([these(&["10.0.0.1"], 0), nothing(Fault::NoRecords, 0)]), Some(1));
        assert_eq!(again([these(&["10.0.0.1"], 1 << 31), nothing(Fault::NoRecords, 0)]), Some(3600));
        assert_eq!(again([nothing(Fault::NoName, 0), nothing(Fault::NoName, 0)]), Some(1));
        assert_eq!(again([nothing(Fault::NoName, 86400), nothing(Fault::NoName, 86400)]), Some(60));
        let unsaid = [Told::Nothing(Fault::NoName, None), Told::Nothing(Fault::NoName, None)];
        assert_eq!(settled(memory, unsaid), (Err(Fault::NoName), None, None), "nobody says for how long");
    }

    #[test]
    fn a_family_without_a_route_is_left_out_while_there_is_another() {
        let told = || [these(&["10.0.0.1"], 9), these(&["fd00::1"], 9)];
        assert_eq!(with_routes(told(), |address| address.is_ipv4())[1], nothing(Fault::NoRecords, 9));
        assert_eq!(with_routes(told(), |address| address.is_ipv6())[0], nothing(Fault::NoRecords, 9));
        assert_eq!(with_routes(told(), |_| false), told());
        let alone = || [nothing(Fault::NoRecords, 9), these(&["fd00::1"], 9)];
        assert_eq!(with_routes(alone(), |_| false), alone());
        assert!(has_route(ip("127.0.0.1")));
    }

    #[test]
    fn weights_of_targets_are_shared_by_their_addresses() {
        let record = |priority, weight, port, target: &str| {
            SRV::new(priority, weight, port, Name::from_ascii(target).unwrap())
        };
        let records = [
            record(10, 30, 81, "a.test."),
            record(10, 0, 82, "B.test."),
            record(20, 7, 83, "a.test."),
            record(10, 1, 84, "none.test."),
        ];
        let addresses = BTreeMap::from([
            ("a.test.".to_owned(), vec![ip("10.0.0.1"), ip("10.0.0.2"), ip("fd00::1")]),
            ("b.test.".to_owned(), vec![ip("10.0.0.3"), ip("10.0.0.4")]),
        ]);
        let shown: Vec<_> = share_weights(&records, &addresses)
            .iter()
            .map(|found| {
                format!(
                    "{} {}:{:?} {}",
                    found.traits.priority,
                    found.address,
                    found.port.unwrap(),
                    found.weight
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "10 10.0.0.1:81 60",
                "20 10.0.0.1:83 14",
                "10 10.0.0.2:81 60",
                "20 10.0.0.2:83 14",
                "10 10.0.0.3:82 3",
                "10 10.0.0.4:82 3",
                "10 fd00::1:81 60",
                "20 fd00::1:83 14",
            ]
        );
        assert_eq!(
            [least_common_multiple(1, 3), least_common_multiple(4, 6), least_common_multiple(5039, 5021)],
            [3, 12, MAX_FACTOR]
        );
    }

    #[test]
    fn a_service_that_is_not_there_is_none() {
        let record = |target, port| RData::SRV(SRV::new(0, 0, port, Name::from_ascii(target).unwrap()));
        assert!(service(&record("a.test.", 80)).is_some());
        assert!(service(&record(".", 80)).is_none() && service(&record("a.test.", 0)).is_none());
    }
}
