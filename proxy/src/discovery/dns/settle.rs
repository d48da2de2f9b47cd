//! What answers to questions about a name come to: addresses of both families, services and their weights, and when to ask
//! again. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::proto::rr::rdata::SRV;

use crate::cluster::members::Source;
use crate::cluster::tiers::Traits;
use crate::discovery::{Fault, Found, FoundEndpoint};

/// Bounds of the time for which records hold.
pub(super) const HOLD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60 * 60));

/// Bounds of the time for which it holds that there are none.
const HOLD_NOTHING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The most that a weight is multiplied by to share it among addresses.
const MAX_FACTOR: u32 = 5040;

/// What was said to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told<T> {
    /// Records, and for how long.
    These(Vec<T>, Duration),
    /// There are none, and perhaps for how long.
    Nothing(Fault, Option<Duration>),
    /// Nobody knows.
    Unknown(Fault, String),
}

/// What a round of questions gave.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) answer: Result<Found, (Fault, String)>,
    /// What failed though there is an answer.
    pub(super) partly: Option<Fault>,
    /// When to ask again; after a failure it is not known.
    pub(super) again: Option<Duration>,
}

/// The addresses of names, by family, when they last were known.
pub(super) type Remembered = BTreeMap<(String, RecordType), Vec<IpAddr>>;

/// The name to look up: with the last dot, so that no search list applies.
pub(super) fn target(record: &SRV) -> String {
    let mut name = record.target.to_ascii().to_ascii_lowercase();
    if !name.ends_with('.') {
        name.push('.');
    }
    name
}

/// Each address of each target. The weights of addresses with one priority are to each other as those of their targets,
/// shared evenly.
pub(super) fn share_weights(
    records: &[SRV],
    addresses: &BTreeMap<String, Vec<IpAddr>>,
) -> Vec<FoundEndpoint> {
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
pub(super) struct Settled {
    /// Sorted, each once.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) hold: Option<Duration>,
    pub(super) fault: Option<Failed>,
}

#[derive(Debug)]
pub(super) struct Failed {
    pub(super) fault: Fault,
    pub(super) why: String,
    /// Whether nobody knows; else it is known that there is nothing.
    pub(super) is_unknown: bool,
}

impl Settled {
    /// The endpoints of the addresses, if there are any.
    pub(super) fn round(self, endpoints: impl FnOnce(Vec<IpAddr>) -> Vec<FoundEndpoint>) -> Round {
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
    pub(super) fn nothing(fault: Fault, hold: Option<Duration>) -> Self {
        let again = hold.map(|hold| hold.clamp(HOLD_NOTHING.0, HOLD_NOTHING.1));
        Self { answer: Err((fault, fault.as_str().to_owned())), partly: None, again }
    }
}

pub(super) fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    [one, other].into_iter().flatten().min()
}

/// Puts the families together; one that failed is as it was last time.
pub(super) fn settle(name: &str, told: [Told<IpAddr>; 2], remembered: &mut Remembered) -> Settled {
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

/// Leaves out a family to none of whose addresses there is a route, if the other has one.
pub(super) fn with_routes(told: [Told<IpAddr>; 2], has_route: impl Fn(IpAddr) -> bool) -> [Told<IpAddr>; 2] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::Name;

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
}
