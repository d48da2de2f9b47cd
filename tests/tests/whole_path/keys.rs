//! The rows of the event table about keys: rotation without a restart, thresholds, a stolen release key.

use weft_bundle::json;
use weft_bundle::release::envelope::Envelope;
use weft_bundle::release::key::SigningKey;
use weft_bundle::release::payload::Statement;
use weft_bundle::release::sign::{ReleaseInput, SignedRelease, key_list, role_keys, sign_release};
use weft_bundle::release::{Root, ServiceId};

use crate::forge::{Forge, LATEST, body_digest};
use crate::small::{Small, require_mark, wait_mark};

/// The next root: with these keys for releases and timestamps, and this threshold for timestamps.
fn next_root(
    old: &Root,
    root_key: &SigningKey,
    release: &[&SigningKey],
    timestamp: &[&SigningKey],
    threshold: u64,
) -> Root {
    let mut next = old.clone();
    next.version += 1;
    let public = |keys: &[&SigningKey]| keys.iter().map(|key| key.public().clone()).collect::<Vec<_>>();
    let (release, timestamp) = (public(release), public(timestamp));
    let all = [root_key.public()].into_iter().chain(&release).chain(&timestamp);
    next.keys = key_list(all);
    next.roles.root = role_keys(1, &[root_key.public()]);
    next.roles.denylist = role_keys(1, &[root_key.public()]);
    next.roles.release = role_keys(1, &release.iter().collect::<Vec<_>>());
    next.roles.timestamp = role_keys(threshold, &timestamp.iter().collect::<Vec<_>>());
    next
}

/// A release of the bodies that release `like` has, made by hand.
fn release_of(forge: &Forge, like: u64, epoch: u64, sequence: u64, signer: &SigningKey) -> SignedRelease {
    let envelope = Envelope::decode(&forge.read(&format!("releases/{like}/release.json"))).unwrap();
    let statement: Statement = json::from_slice(envelope.unverified_payload()).unwrap();
    let old = statement.predicate;
    let bodies: Vec<(ServiceId, Vec<u8>)> = ["default/api", "default/web"]
        .map(|service| {
            let digest = body_digest(&forge.release, like, service);
            (service.parse().unwrap(), forge.read(&format!("blobs/sha256/{digest}")))
        })
        .into();
    let input = ReleaseInput {
        mesh: old.mesh,
        epoch,
        sequence,
        previous: None,
        source: old.source,
        compiler: old.compiler,
        min_proxy: old.min_proxy,
        non_descendant: None,
    };
    sign_release(&input, &bodies, &[signer]).unwrap()
}

fn publish(forge: &Forge, release: &SignedRelease) {
    for (name, bytes) in release.services.iter().chain([&release.manifest, &release.release]) {
        forge.write(name.as_str(), bytes);
    }
}

#[test]
fn keys_rotate_without_a_restart() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let proxy = small.start();
    let (root_key, release_key) = (forge.key("root"), forge.key("release"));
    let (old_key, new_key) = (forge.key("timestamp"), SigningKey::from_seed(&[9; 32]).unwrap());
    small.publish("two");
    wait_mark(&proxy, "two");

    // Root 2 lists old and new; the new key may sign at once.
    let second = next_root(&forge.root(), &root_key, &[&release_key], &[&old_key, &new_key], 1);
    forge.sign_root(&second, &[&root_key]);
    let mut latest = forge.latest();
    (latest.version, latest.root_version) = (latest.version + 1, 2);
    forge.sign_latest(&latest, &[&new_key]);
    let version =
        |proxy: &weft_tests::proxy::Proxy| proxy.bundle()["source"]["standing"]["root_version"].as_u64();
    weft_tests::wait::until("root 2", || (version(&proxy) == Some(2)).then_some(())).unwrap();

    // Root 3 drops the old one, which then counts for nothing.
    let third = next_root(&second, &root_key, &[&release_key], &[&new_key], 1);
    forge.sign_root(&third, &[&root_key]);
    (latest.version, latest.root_version) = (latest.version + 1, 3);
    forge.sign_latest(&latest, &[&new_key]);
    weft_tests::wait::until("root 3", || (version(&proxy) == Some(3)).then_some(())).unwrap();
    let before = proxy.rejected("unknown-key");
    latest.version += 1;
    forge.sign_latest(&latest, &[&old_key]);
    proxy.wait_rejected("unknown-key", before).unwrap();
    require_mark(&proxy, "two");
}

#[test]
fn a_threshold_of_two_needs_two_distinct_keys() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let proxy = small.start();
    let (root_key, release_key, first) = (forge.key("root"), forge.key("release"), forge.key("timestamp"));
    let second = SigningKey::from_seed(&[5; 32]).unwrap();
    small.publish_aside("two", "aside");
    let aside = Forge::at(&small.mesh, "aside");
    crate::forge::copy_all_but_latest(&aside.release, &forge.release);
    forge.sign_root(
        &next_root(&forge.root(), &root_key, &[&release_key], &[&first, &second], 2),
        &[&root_key],
    );
    let mut latest = aside.latest();
    latest.root_version = 2;
    for too_few in [vec![&first as &dyn weft_bundle::release::key::Signer], vec![&first, &first]] {
        let before = proxy.rejected("threshold");
        forge.sign_latest(&latest, &too_few);
        proxy.wait_rejected("threshold", before).unwrap();
        require_mark(&proxy, "one");
    }
    forge.sign_latest(&latest, &[&first, &second]);
    wait_mark(&proxy, "two");
}

#[test]
fn a_stolen_release_key_is_outlived_by_a_new_epoch() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let proxy = small.start();
    let (root_key, stolen) = (forge.key("root"), forge.key("release"));
    let (timestamp_key, fresh) = (forge.key("timestamp"), SigningKey::from_seed(&[3; 32]).unwrap());
    small.publish("two");
    wait_mark(&proxy, "two");

    // The thief signs the last number there is, so that nothing could ever follow it.
    let last = (1 << 53) - 1;
    let stolen_release = release_of(&forge, 1, 1, last, &stolen);
    publish(&forge, &stolen_release);
    forge.change_latest(|latest| latest.current = stolen_release.pin);
    wait_mark(&proxy, "one");

    // Root 2 begins a new epoch with a new key. Release 3 of it counts for more than any number of the old one.
    let mut second = next_root(&forge.root(), &root_key, &[&fresh], &[&timestamp_key], 1);
    (second.epoch, second.release_floor) = (2, 3);
    forge.sign_root(&second, &[&root_key]);
    let rescue = release_of(&forge, 2, 2, 3, &fresh);
    publish(&forge, &rescue);
    forge.change_latest(|latest| (latest.root_version, latest.current) = (2, rescue.pin));
    wait_mark(&proxy, "two");

    // What the thief signs from now on is refused.
    let again = release_of(&forge, 1, 2, 4, &stolen);
    publish(&forge, &again);
    let before = proxy.metrics().sum("weft_bundle_rejected_total", &[]);
    forge.change_latest(|latest| latest.current = again.pin);
    weft_tests::wait::until("the refusal", || {
        (proxy.metrics().sum("weft_bundle_rejected_total", &[]) > before).then_some(())
    })
    .unwrap();
    require_mark(&proxy, "two");
    assert!(proxy.rejected("unknown-key") > 0.0, "{}", proxy.log_tail());
    assert!(!forge.read(LATEST).is_empty());
}
