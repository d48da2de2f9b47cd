//! The update cycle against releases made on the spot, in memory.

mod attacks;
mod crashes;
mod cycle;
mod roots;
mod stages;

use std::time::Duration;

use super::envelope::Envelope;
use super::key::{Signer, SigningKey};
use super::payload::{DenylistPin, Roles};
use super::rollout::Rollout;
use super::sign::{
    ReleaseInput, SignedRelease, key_list, pack_service, role_keys, sign_release, sign_root, sign_timestamp,
};
use super::*;
use crate::json;

/// The time of the tests.
const NOW: UtcTime = UtcTime::from_unix(1_795_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

fn mesh() -> MeshName {
    "prod".parse().unwrap()
}

fn cart() -> ServiceId {
    "shop/cart".parse().unwrap()
}

fn config() -> Config {
    Config {
        mesh: mesh(),
        channel: Channel::stable(),
        service: cart(),
        instance_id: "cart-1".into(),
        canary: false,
        version: ProgramVersion::own(),
        allow_expired: false,
    }
}

/// A root with one key per role; tests change what they are about.
fn root() -> Root {
    let keys = [key(1), key(2), key(3), key(4)];
    let role = |n: usize| role_keys(1, &[keys[n].public()]);
    Root {
        mesh: mesh(),
        version: 1,
        epoch: 1,
        release_floor: 0,
        expires: NOW.plus(DAY * 365),
        keys: key_list(keys.iter().map(SigningKey::public)),
        roles: Roles { root: role(0), release: role(1), timestamp: role(2), denylist: role(3) },
    }
}

/// A body for a service of these tests; the note makes bodies differ.
fn body(service: &str, note: &str) -> Vec<u8> {
    let identity = format!("spiffe://prod.example/{service}/{note}");
    let body = serde_json::json!({
        "mesh": "prod", "service": service, "identity": identity, "trust_anchors": {},
    });
    json::to_canonical(&body).unwrap()
}

/// A publisher, its store, and one proxy with its state.
struct Bench {
    store: Memory,
    state: Memory,
    updater: Updater,
    /// What the proxy runs.
    running: Option<Digest>,
    root: Root,
    release_key: SigningKey,
    timestamp_key: SigningKey,
    /// The timestamp that was published last.
    timestamp: Option<Timestamp>,
    now: UtcTime,
}

impl Bench {
    /// Root 1, and nothing else.
    fn new() -> Self {
        Self::with(root(), config())
    }

    fn with(root: Root, config: Config) -> Self {
        let anchor = sign_root(&root, &[&key(1)]).unwrap();
        let store = Memory::default();
        put(&store, &ObjectName::root(root.version), &anchor);
        Self {
            store,
            state: Memory::default(),
            updater: Updater::new(config, &anchor).unwrap(),
            running: None,
            root,
            release_key: key(2),
            timestamp_key: key(3),
            timestamp: None,
            now: NOW,
        }
    }

    /// Root 1, release 1, and a proxy that runs it.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.publish(1);
        bench.adopt();
        bench
    }

    /// Puts the objects of a release into the store, but not its timestamp.
    fn put_release(&self, sequence: u64, note: &str) -> SignedRelease {
        self.put_release_with(sequence, note, |_| {})
    }

    fn put_release_with(
        &self,
        sequence: u64,
        note: &str,
        change: impl FnOnce(&mut ReleaseInput),
    ) -> SignedRelease {
        let mut input = ReleaseInput {
            mesh: mesh(),
            epoch: self.root.epoch,
            sequence,
            previous: self.timestamp.as_ref().map(|timestamp| timestamp.current.sha256),
            source: Source { commit: "c0ffee".into(), ..Source::default() },
            compiler: "weft/0.1.0".into(),
            min_proxy: ProgramVersion::own(),
            non_descendant: None,
        };
        change(&mut input);
        let bodies = ["shop/api", "shop/cart", "shop/web"].map(|service| {
            (service.parse().unwrap(), body(service, if service == "shop/cart" { note } else { "x" }))
        });
        let signed = sign_release(&input, &bodies, &[&self.release_key]).unwrap();
        for (name, bytes) in
            signed.blobs.iter().chain(signed.services.iter().map(|(name, bytes)| (name, bytes)))
        {
            put(&self.store, name, bytes);
        }
        put(&self.store, &signed.manifest.0, &signed.manifest.1);
        put(&self.store, &signed.release.0, &signed.release.1);
        signed
    }

    /// The timestamp that an honest publisher would sign next.
    fn next_timestamp(&self, current: Pin) -> Timestamp {
        let old = self.timestamp.as_ref();
        Timestamp {
            mesh: mesh(),
            channel: Channel::stable(),
            version: old.map_or(1, |old| old.version + 1),
            issued: self.now,
            stale_after: self.now.plus(DAY),
            expires: self.now.plus(DAY * 7),
            root_version: self.root.version,
            current,
            previous: old.map(|old| old.current),
            rollout: None,
            denylist: old.and_then(|old| old.denylist),
        }
    }

    fn put_timestamp(&mut self, timestamp: Timestamp) {
        let bytes = sign_timestamp(&timestamp, &[&self.timestamp_key]).unwrap();
        put(&self.store, &ObjectName::latest(&Channel::stable()), &bytes);
        self.timestamp = Some(timestamp);
    }

    /// Publishes a release whole.
    fn publish(&mut self, sequence: u64) -> Pin {
        self.publish_with(sequence, |_| {})
    }

    /// Publishes a release under a timestamp that is changed before it is signed.
    fn publish_with(&mut self, sequence: u64, change: impl FnOnce(&mut Timestamp)) -> Pin {
        let pin = self.put_release(sequence, &format!("note-{sequence}")).pin;
        let mut timestamp = self.next_timestamp(pin);
        change(&mut timestamp);
        self.put_timestamp(timestamp);
        pin
    }

    /// Signs the last timestamp again, as the next version, with a change.
    fn renew(&mut self, change: impl FnOnce(&mut Timestamp)) {
        let old = self.timestamp.clone().unwrap();
        let mut timestamp = Timestamp { previous: old.previous, ..self.next_timestamp(old.current) };
        timestamp.rollout = old.rollout;
        change(&mut timestamp);
        self.put_timestamp(timestamp);
    }

    /// Publishes a root: version + 1 after a change, signed by the old root's key and by these.
    fn rotate(&mut self, signers: &[&dyn Signer], change: impl FnOnce(&mut Root)) {
        self.root.version += 1;
        change(&mut self.root);
        let bytes = sign_root(&self.root, signers).unwrap();
        put(&self.store, &ObjectName::root(self.root.version), &bytes);
    }

    fn check(&self) -> Result<Step, UpdateError> {
        self.updater.check(&self.state, &self.store, self.running.as_ref(), self.now)
    }

    fn reason(&self) -> &'static str {
        match self.check() {
            Err(error) => error.reason(),
            Ok(step) => panic!("not refused: {step:?}"),
        }
    }

    fn candidate(&self) -> Box<Candidate> {
        match self.check().unwrap() {
            Step::Candidate(candidate) => candidate,
            step @ (Step::Unchanged(_) | Step::Denylist(_)) => panic!("no candidate: {step:?}"),
        }
    }

    fn unchanged(&self) -> Box<Standing> {
        match self.check().unwrap() {
            Step::Unchanged(standing) => standing,
            step @ (Step::Candidate(_) | Step::Denylist(_)) => panic!("changed: {step:?}"),
        }
    }

    /// Runs what the cycle finds.
    fn adopt(&mut self) -> Pin {
        let candidate = self.candidate();
        candidate.parse().unwrap();
        candidate.accept(&self.state).unwrap();
        self.running = Some(candidate.pin.sha256);
        candidate.pin
    }

    fn standing(&self) -> Standing {
        self.updater.standing(&self.state, self.now).unwrap()
    }

    fn resume(&self) -> Result<Installed, UpdateError> {
        self.updater.resume(&self.state, self.now)
    }

    /// The store as a pack for one service.
    fn pack(&self, service: &ServiceId) -> Memory {
        let timestamp = self.timestamp.as_ref().unwrap();
        let file = get(&self.store, &ObjectName::service(timestamp.current.sequence, service));
        let leaf = delivery_leaf(&file);
        let body = get(&self.store, &ObjectName::blob(&leaf.sha256));
        let pack = Memory::default();
        put(&pack, &ObjectName::pack_root(), &get(&self.store, &ObjectName::root(self.root.version)));
        put(&pack, &ObjectName::pack_latest(), &get(&self.store, &ObjectName::latest(&Channel::stable())));
        put(&pack, &ObjectName::pack_service(), &pack_service(&file, &body).unwrap());
        pack
    }
}

fn delivery_leaf(service_file: &[u8]) -> payload::Leaf {
    let file: payload::ServiceFile = json::from_slice(service_file).unwrap();
    json::from_slice(&file.leaf.0).unwrap()
}

fn put(store: &Memory, name: &ObjectName, bytes: &[u8]) {
    store.files.borrow_mut().insert(name.to_string(), bytes.to_vec());
}

fn get(store: &Memory, name: &ObjectName) -> Vec<u8> {
    store.files.borrow()[name.as_str()].clone()
}

/// Changes a text object in place.
fn edit(store: &Memory, name: &ObjectName, from: &str, to: &str) {
    let text = String::from_utf8(get(store, name)).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    put(store, name, text.replacen(from, to, 1).as_bytes());
}
