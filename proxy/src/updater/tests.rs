//! The control half against release and state directories made on the spot, and a runtime that only remembers.

use std::fs;
use std::path::Path;

use serde_json::json;
use weft_bundle::json::to_canonical;
use weft_bundle::release::key::SigningKey;
use weft_bundle::release::payload::{Denied, DenylistEntry, DenylistPin, Roles};
use weft_bundle::release::sign::{
    ReleaseInput, key_list, role_keys, sign_denylist, sign_release, sign_root, sign_timestamp,
};
use weft_bundle::release::{Channel, Config, MeshName, ProgramVersion, Root, ServiceId, Source, Timestamp};

use super::*;
use crate::telemetry::Metrics;

const NOW: u64 = 1_795_000_000;
const DAY: u64 = 24 * 3600;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

fn mesh() -> MeshName {
    "prod".parse().unwrap()
}

fn cart() -> ServiceId {
    "shop/cart".parse().unwrap()
}

/// Applies whatever it is given, unless told otherwise; remembers in which order.
#[derive(Default)]
struct Fake {
    events: Mutex<Vec<String>>,
    fault: Mutex<Option<Fault>>,
}

/// Which release cannot be applied, and why.
type Fault = (u64, fn() -> ApplyError);

impl Fake {
    fn note(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }

    /// What happened since the last call.
    fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    fn fails(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Runtime for Fake {
    fn apply(
        &self,
        _: &[u8],
        generation: Generation,
        persist: &mut dyn FnMut() -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let Generation { sequence, .. } = generation;
        self.note(format!("build {sequence}"));
        if let Some((at, fault)) = *self.fault.lock().unwrap()
            && at == sequence
        {
            return Err(fault());
        }
        persist()?;
        self.note(format!("swap {sequence}"));
        Ok(())
    }

    fn deny(&self, denylist: &Denylist) {
        self.note(format!("deny {}", denylist.version));
    }
}

/// A publisher's directory, and one proxy's.
struct Bench {
    scratch: tempfile::TempDir,
    runtime: Arc<Fake>,
    control: Control,
    /// What was published last.
    timestamp: Option<Timestamp>,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (control, runtime) = control(scratch.path());
        Self { scratch, runtime, control, timestamp: None }
    }

    /// A proxy that runs release 1.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.publish(1);
        bench.control.look();
        assert_eq!(bench.runtime.events(), ["build 1", "swap 1"]);
        bench
    }

    /// The proxy after a restart.
    fn restart(&mut self) {
        (self.control, self.runtime) = control(self.scratch.path());
    }

    fn release(&self) -> PathBuf {
        self.scratch.path().join("release")
    }

    fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) {
        let path = self.release().join(name.as_str());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn publish(&mut self, sequence: u64) -> Vec<u8> {
        self.publish_with(sequence, "shop/cart", |_| {})
    }

    /// Publishes a release whose body says it is for `service`. Gives the service file.
    fn publish_with(&mut self, sequence: u64, service: &str, change: impl FnOnce(&mut Timestamp)) -> Vec<u8> {
        let identity = format!("spiffe://prod.example/ns/shop/sa/cart-{sequence}");
        let body = json!({"mesh": "prod", "service": service, "identity": identity, "trust_anchors": {}});
        let input = ReleaseInput {
            mesh: mesh(),
            epoch: 1,
            sequence,
            previous: None,
            source: Source::default(),
            compiler: "weft/0.1.0".into(),
            min_proxy: ProgramVersion::own(),
            non_descendant: None,
        };
        let signed = sign_release(&input, &[(cart(), to_canonical(&body).unwrap())], &[&key(2)]).unwrap();
        for (name, bytes) in &signed.blobs {
            self.put(name, bytes);
        }
        let [(name, service_file)] = signed.services.as_slice() else { panic!("one service") };
        self.put(name, service_file);
        let old = self.timestamp.as_ref();
        let mut timestamp = Timestamp {
            mesh: mesh(),
            channel: Channel::stable(),
            version: old.map_or(1, |old| old.version + 1),
            issued: UtcTime::from_unix(NOW),
            stale_after: UtcTime::from_unix(NOW + DAY),
            expires: UtcTime::from_unix(NOW + 7 * DAY),
            root_version: 1,
            current: signed.pin,
            previous: old.map(|old| old.current),
            rollout: None,
            denylist: old.and_then(|old| old.denylist),
        };
        change(&mut timestamp);
        let bytes = sign_timestamp(&timestamp, &[&key(3)]).unwrap();
        self.put(&ObjectName::latest(&Channel::stable()), &bytes);
        self.timestamp = Some(timestamp);
        service_file.clone()
    }

    fn running_sequence(&self) -> Option<u64> {
        self.report().running.map(|pin| pin.sequence)
    }

    fn report(&self) -> Report {
        self.control.report().lock().unwrap().clone()
    }

    fn problem(&self) -> Option<&'static str> {
        self.report().problem.map(|(reason, _)| reason)
    }

    fn freshness(&self) -> Freshness {
        self.report().standing.unwrap().freshness
    }
}

fn control(scratch: &Path) -> (Control, Arc<Fake>) {
    let config = Config {
        mesh: mesh(),
        channel: Channel::stable(),
        service: cart(),
        instance_id: "cart-1".into(),
        canary: false,
        version: ProgramVersion::own(),
        allow_expired: false,
    };
    let keys = [key(1), key(2), key(3), key(4)];
    let role = |n: usize| role_keys(1, &[keys[n].public()]);
    let root = Root {
        mesh: mesh(),
        version: 1,
        epoch: 1,
        release_floor: 0,
        expires: UtcTime::from_unix(NOW + 365 * DAY),
        keys: key_list(keys.iter().map(SigningKey::public)),
        roles: Roles { root: role(0), release: role(1), timestamp: role(2), denylist: role(3) },
    };
    let updater = Updater::new(config, &sign_root(&root, &[&keys[0]]).unwrap()).unwrap();
    let state = StateDirectory::open(&scratch.join("state")).unwrap();
    let runtime = Arc::new(Fake::default());
    let source = Directory::new(scratch.join("release"));
    let metrics = Metrics::new().control;
    let runtime_too: Arc<dyn Runtime> = Arc::<Fake>::clone(&runtime);
    let mut control = Control::new(updater, state, source, runtime_too, metrics);
    control.clock = || UtcTime::from_unix(NOW);
    (control, runtime)
}

fn port_taken() -> ApplyError {
    let source = std::io::ErrorKind::AddrInUse.into();
    ApplyError::Listen { address: "127.0.0.1:80".parse().unwrap(), source }
}

fn beyond_us() -> ApplyError {
    ApplyError::Unsupported("`udp` on inbound port `dns`".into())
}

#[test]
fn a_release_is_built_then_persisted_then_swapped_and_once() {
    let mut bench = Bench::running();
    bench.control.look();
    assert_eq!(bench.runtime.events(), [""; 0]);
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(1), None));
    bench.publish(2);
    bench.control.look();
    assert_eq!(bench.runtime.events(), ["build 2", "swap 2"]);
    let standing = bench.report().standing.unwrap();
    let sequence = |pin: Option<Pin>| pin.map(|pin| pin.sequence);
    assert_eq!((sequence(standing.active), sequence(standing.previous)), (Some(2), Some(1)));
}

#[test]
fn a_body_that_cannot_be_served_is_rejected_and_not_tried_again() {
    let mut bench = Bench::running();
    bench.runtime.fails(Some((2, beyond_us)));
    bench.publish(2);
    bench.control.look();
    bench.control.look();
    bench.control.look();
    assert_eq!(bench.runtime.events(), ["build 2"]);
    assert_eq!(bench.running_sequence(), Some(1));
    // The channel is readable, and still something is wrong.
    assert_eq!(bench.problem(), Some("apply"));
    assert_eq!(bench.control.metrics.rejected_count("apply"), 1);
    bench.publish(3);
    bench.control.look();
    assert_eq!(bench.runtime.events(), ["build 3", "swap 3"]);
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(3), None));
}

#[test]
fn a_fault_of_this_machine_is_tried_again() {
    let mut bench = Bench::running();
    bench.runtime.fails(Some((2, port_taken)));
    bench.publish(2);
    bench.control.look();
    bench.control.look();
    assert_eq!(bench.runtime.events(), ["build 2", "build 2"]);
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(1), Some("apply")));
    assert!(bench.report().standing.unwrap().rejected.is_empty());
    bench.runtime.fails(None);
    bench.control.look();
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(2), None));
}

#[test]
fn a_body_for_somebody_else_is_a_wrong_target() {
    let mut bench = Bench::running();
    bench.publish_with(2, "shop/api", |_| {});
    bench.control.look();
    assert_eq!(bench.runtime.events(), [""; 0], "nothing is built from it");
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(1), Some("wrong-target")));
    assert_eq!(bench.report().standing.unwrap().rejected.len(), 1);
}

#[test]
fn what_cannot_be_persisted_is_not_swapped() {
    let mut bench = Bench::running();
    let service_file = bench.publish(2);
    // A directory where the service file belongs: renaming a file over it fails, as on a full disk.
    let place = bench.state().join("objects").join(Digest::of(&service_file).to_string());
    fs::create_dir_all(place.join("in the way")).unwrap();
    bench.control.look();
    assert_eq!(bench.runtime.events(), ["build 2"]);
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(1), Some("state")));
    let standing = bench.report().standing.unwrap();
    assert_eq!(standing.active.unwrap().sequence, 1);
    assert!(standing.rejected.is_empty());
    fs::remove_dir_all(&place).unwrap();
    bench.control.look();
    assert_eq!(bench.runtime.events(), ["build 2", "swap 2"]);
    bench.restart();
    bench.control.resume();
    assert_eq!(bench.running_sequence(), Some(2));
}

#[test]
fn a_start_serves_from_state_and_says_that_it_is_stale() {
    let mut bench = Bench::running();
    fs::remove_dir_all(bench.release()).unwrap();
    bench.restart();
    bench.control.resume();
    assert_eq!(bench.runtime.events(), ["build 1", "swap 1"]);
    bench.control.look();
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(1), Some("missing")));
    let (_, words) = bench.report().problem.unwrap();
    assert!(words.starts_with("there is no directory `") && words.contains("release"), "{words}");
}

#[test]
fn a_start_falls_back_to_the_release_before() {
    let mut bench = Bench::running();
    bench.publish(2);
    bench.control.look();
    bench.restart();
    bench.runtime.fails(Some((2, beyond_us)));
    bench.control.resume();
    assert_eq!(bench.runtime.events(), ["build 2", "build 1", "swap 1"]);
    // It is still what the channel wants, and still not tried again.
    bench.control.look();
    assert_eq!(bench.runtime.events(), [""; 0]);
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(1), Some("apply")));
}

#[test]
fn a_start_that_fails_for_want_of_a_port_is_tried_again_without_a_source() {
    let mut bench = Bench::running();
    fs::remove_dir_all(bench.release()).unwrap();
    bench.restart();
    bench.runtime.fails(Some((1, port_taken)));
    bench.control.resume();
    bench.control.round();
    assert_eq!(bench.runtime.events(), ["build 1", "build 1"]);
    assert_eq!(bench.running_sequence(), None);
    bench.runtime.fails(None);
    bench.control.round();
    assert_eq!(bench.runtime.events(), ["build 1", "swap 1"]);
    bench.control.round();
    assert_eq!(bench.runtime.events(), [""; 0]);
}

#[test]
fn the_denylist_is_in_force_before_anything_is_served() {
    let mut bench = Bench::new();
    let entry =
        DenylistEntry { subject: Denied::Key(Digest::of(b"x")), until: UtcTime::from_unix(NOW + DAY) };
    let list = Denylist { mesh: mesh(), version: 7, entries: vec![entry] };
    let (sha256, bytes) = sign_denylist(&list, &[&key(4)]).unwrap();
    bench.put(&ObjectName::denylist(7), &bytes);
    bench.publish_with(1, "shop/cart", |timestamp| {
        timestamp.denylist = Some(DenylistPin { version: 7, sha256 });
    });
    bench.control.look();
    assert_eq!(bench.runtime.events(), ["deny 7", "build 1", "swap 1"]);
    bench.control.look();
    assert_eq!(bench.runtime.events(), [""; 0], "once");
    fs::remove_dir_all(bench.release()).unwrap();
    bench.restart();
    bench.control.resume();
    assert_eq!(bench.runtime.events(), ["deny 7", "build 1", "swap 1"]);
}

#[test]
fn time_makes_it_stale_then_expired_and_never_stops_it() {
    let mut bench = Bench::running();
    assert_eq!(bench.freshness(), Freshness::Fresh);
    bench.control.clock = || UtcTime::from_unix(NOW + DAY);
    bench.control.look();
    assert_eq!((bench.freshness(), bench.problem()), (Freshness::Stale, None));
    // Stale still adopts; expired does not.
    bench.publish(2);
    bench.control.look();
    assert_eq!(bench.running_sequence(), Some(2));
    bench.control.clock = || UtcTime::from_unix(NOW + 7 * DAY);
    bench.publish(3);
    bench.control.look();
    assert_eq!((bench.freshness(), bench.problem()), (Freshness::Expired, Some("expired")));
    assert_eq!(bench.running_sequence(), Some(2));
    bench.restart();
    bench.control.clock = || UtcTime::from_unix(NOW + 7 * DAY);
    bench.control.resume();
    assert_eq!(bench.running_sequence(), Some(2));
}

#[test]
fn a_clock_that_goes_backwards_changes_nothing() {
    let mut bench = Bench::running();
    bench.control.clock = || UtcTime::from_unix(NOW - 365 * DAY);
    bench.control.look();
    assert_eq!((bench.freshness(), bench.problem()), (Freshness::Fresh, None));
    bench.publish(2);
    bench.control.look();
    assert_eq!(bench.running_sequence(), Some(2));
    // Without a memory of later times the same clock is seen to be wrong.
    fs::remove_dir_all(bench.state()).unwrap();
    bench.restart();
    bench.control.clock = || UtcTime::from_unix(NOW - 365 * DAY);
    bench.control.look();
    assert_eq!((bench.running_sequence(), bench.problem()), (None, Some("clock-skew")));
}

#[test]
fn an_unreadable_record_is_an_error_and_not_an_empty_one() {
    let mut bench = Bench::running();
    let record = bench.state().join("record.json");
    let good = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    bench.restart();
    bench.control.resume();
    bench.control.round();
    assert_eq!(bench.runtime.events(), [""; 0]);
    assert_eq!((bench.running_sequence(), bench.problem()), (None, Some("state")));
    assert_eq!(fs::read(&record).unwrap(), b"{", "what was seen may be in it");
    fs::write(&record, good).unwrap();
    bench.control.round();
    assert_eq!((bench.running_sequence(), bench.problem()), (Some(1), None));
}

#[test]
fn failures_that_may_pass_back_off_up_to_a_minute() {
    let mut bench = Bench::running();
    let within = |pause: Duration, seconds: f64| {
        let share = pause.as_secs_f64() / seconds;
        assert!((0.8..=1.2).contains(&share), "{pause:?} is not about {seconds} s");
    };
    within(bench.control.pause(), 10.0);
    let latest = bench.release().join("channels/stable/latest.json");
    let good = fs::read(&latest).unwrap();
    fs::write(&latest, &good[..good.len() / 2]).unwrap();
    for seconds in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0] {
        bench.control.look();
        within(bench.control.pause(), seconds);
    }
    for _ in 0..40 {
        bench.control.look();
        assert!(bench.control.pause() <= LONGEST_BACKOFF && bench.control.pause().as_secs() >= 48);
    }
    assert_eq!(bench.control.metrics.rejected_count("truncated"), 46);
    bench.control.failures = u32::MAX;
    assert!(bench.control.pause() <= LONGEST_BACKOFF);
    fs::write(&latest, good).unwrap();
    bench.control.look();
    within(bench.control.pause(), 10.0);
    assert_eq!(bench.problem(), None);
}
