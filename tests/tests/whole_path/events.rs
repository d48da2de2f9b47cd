//! Every row of the event table (BUNDLE, section 3) that is about one release: what a proxy does, and that it goes on
//! serving meanwhile. `keys` has the rows about keys, `lifecycle` the one about a start without a source.

use weft_bundle::release::key::SigningKey;
use weft_tests::proxy::Proxy;
use weft_tests::wait;

use crate::forge::{Forge, LATEST, ago, ahead, body_digest, copy_all_but_latest, now};
use crate::small::{Small, require_mark, wait_mark};

/// The proxy refuses what it finds for this reason, and serves on by the release with this mark.
#[track_caller]
fn refuses(proxy: &Proxy, reason: &str, cause: impl FnOnce(), mark: &str) {
    let before = proxy.rejected(reason);
    cause();
    proxy.wait_rejected(reason, before).unwrap_or_else(|failure| panic!("{failure}"));
    require_mark(proxy, mark);
    assert!(proxy.is_ready());
}

fn stale(proxy: &Proxy) -> bool {
    proxy.metrics().sum("weft_bundle_stale", &[]) == 1.0
}

#[test]
fn past_stale_after_it_serves_on_and_says_so() {
    let small = Small::new();
    let proxy = small.start();
    assert!(!stale(&proxy));
    Forge::of(&small.mesh).change_latest(|latest| {
        (latest.issued, latest.stale_after) = (ago(120), ago(60));
    });
    wait::until("the metric", || stale(&proxy).then_some(())).unwrap();
    require_mark(&proxy, "one");
    assert!(proxy.is_ready());
    // A fresh release ends it.
    small.publish("two");
    wait_mark(&proxy, "two");
    wait::until("the metric", || (!stale(&proxy)).then_some(())).unwrap();
}

#[test]
fn past_expires_it_serves_on_adopts_nothing_and_a_fresh_start_refuses() {
    let small = Small::new();
    let proxy = small.start();
    let forge = Forge::of(&small.mesh);
    small.publish_aside("two", "aside");
    let aside = Forge::at(&small.mesh, "aside");
    let mut latest = aside.latest();
    (latest.issued, latest.stale_after, latest.expires) = (ago(180), ago(120), ago(60));
    copy_all_but_latest(&aside.release, &forge.release);
    let publish = || forge.sign_latest(&latest, &[&forge.key("timestamp")]);
    refuses(&proxy, "expired", publish, "one");

    let mut fresh = small.setup();
    (fresh.name, fresh.state) = ("fresh".to_owned(), small.mesh.root().join("state/fresh"));
    let mut refusing = fresh.spawn().unwrap();
    wait::until("its admin port", || refusing.admin("/live").ok()).unwrap();
    refusing.wait_rejected("expired", 0.0).unwrap();
    assert!(!refusing.is_ready());
    refusing.kill().unwrap();

    // Unless an operator knows better.
    fresh.arguments.push("--bootstrap-allow-expired".to_owned());
    let bootstrapped = fresh.start().unwrap_or_else(|failure| panic!("{failure}"));
    require_mark(&bootstrapped, "two");
    assert!(stale(&bootstrapped));
}

#[test]
fn an_older_timestamp_or_release_is_a_rollback() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let (first, first_pin) = (forge.read(LATEST), forge.latest().current);
    let proxy = small.start();
    small.publish("two");
    wait_mark(&proxy, "two");
    let second = forge.read(LATEST);
    refuses(&proxy, "rollback", || forge.write(LATEST, &first), "two");
    forge.write(LATEST, &second);
    // A newer timestamp, well signed, that points back.
    refuses(&proxy, "rollback", || forge.change_latest(|latest| latest.current = first_pin), "two");
}

#[test]
fn two_things_under_one_number_are_equivocation() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let proxy = small.start();
    // The same version of the timestamp, saying something else.
    let again =
        || forge.change_latest(|latest| (latest.version, latest.expires) = (latest.version - 1, ahead(60)));
    refuses(&proxy, "equivocation", again, "one");
    // The same number of a release, under a newer timestamp, with another digest: a second release 2.
    forge.change_latest(|latest| latest.version += 1);
    small.publish_aside("other", "aside");
    small.publish("two");
    wait_mark(&proxy, "two");
    let other = Forge::at(&small.mesh, "aside").latest().current;
    assert_eq!(other.sequence, forge.latest().current.sequence);
    refuses(&proxy, "equivocation", || forge.change_latest(|latest| latest.current = other), "two");
}

#[test]
fn a_stranger_s_key_and_a_broken_signature_are_refused_and_the_key_ids_reported() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let proxy = small.start();
    let good = forge.read(LATEST);
    let stranger = SigningKey::from_seed(&[7; 32]).unwrap();
    let mut latest = forge.latest();
    latest.version += 1;
    refuses(&proxy, "unknown-key", || forge.sign_latest(&latest, &[&stranger]), "one");
    assert!(proxy.log().contains(&stranger.public().id().to_string()), "{}", proxy.log_tail());
    // The right key id over other bytes.
    let mut envelope: serde_json::Value = serde_json::from_slice(&good).unwrap();
    let forged: serde_json::Value = serde_json::from_slice(&forge.read(LATEST)).unwrap();
    envelope["payload"] = forged["payload"].clone();
    let bytes = serde_json::to_vec(&envelope).unwrap();
    refuses(&proxy, "threshold", || forge.write(LATEST, &bytes), "one");
    // The real thing is taken afterwards.
    forge.write(LATEST, &good);
    small.publish("two");
    wait_mark(&proxy, "two");
}

#[test]
fn truncated_oversized_and_broken_files_are_refused_until_they_are_whole() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let proxy = small.start();
    small.publish_aside("two", "aside");
    let aside = Forge::at(&small.mesh, "aside");
    copy_all_but_latest(&aside.release, &forge.release);
    let latest = aside.read(LATEST);
    let half = &latest[..latest.len() / 2];
    refuses(&proxy, "truncated", || forge.write(LATEST, half), "one");
    refuses(&proxy, "bad-json", || forge.write(LATEST, b"<html>502 Bad Gateway</html>"), "one");
    let mut padded = latest.clone();
    padded.resize(17 << 10, b' ');
    refuses(&proxy, "oversized", || forge.write(LATEST, &padded), "one");

    // The same for what it points to. The timestamp is touched each time, as a proxy watches that.
    let service = "releases/2/services/default/web.json";
    let body = format!("blobs/sha256/{}", body_digest(&forge.release, 2, "default/web"));
    for name in [service, &body] {
        let whole = forge.read(name);
        let publish = |bytes: &[u8]| {
            forge.write(name, bytes);
            forge.write(LATEST, &latest);
        };
        refuses(&proxy, "truncated", || publish(&whole[..whole.len() / 2]), "one");
        let mut longer = whole.clone();
        longer.resize(whole.len().max(64 << 10) + 1, b' ');
        refuses(&proxy, "oversized", || publish(&longer), "one");
        forge.write(name, &whole);
    }
    let mut other = forge.read(&body);
    let at = other.len() / 2;
    other[at] ^= 1;
    let whole = forge.read(&body);
    let publish = |bytes: &[u8]| {
        forge.write(&body, bytes);
        forge.write(LATEST, &latest);
    };
    refuses(&proxy, "digest", || publish(&other), "one");
    publish(&whole);
    wait_mark(&proxy, "two");
}

#[test]
fn what_is_for_another_service_mesh_or_channel_is_refused() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let proxy = small.start();
    refuses(
        &proxy,
        "wrong-target",
        || forge.change_latest(|latest| latest.mesh = "other".parse().unwrap()),
        "one",
    );
    refuses(
        &proxy,
        "wrong-target",
        || {
            forge.change_latest(|latest| {
                (latest.mesh, latest.channel) = ("small".parse().unwrap(), "dev".parse().unwrap());
            });
        },
        "one",
    );

    // Another service's bundle in the place of ours: well signed, in the same release, and not for us.
    small.publish_aside("two", "aside");
    let aside = Forge::at(&small.mesh, "aside");
    copy_all_but_latest(&aside.release, &forge.release);
    let mut latest = aside.latest();
    latest.version = forge.latest().version + 1;
    (latest.mesh, latest.channel) = ("small".parse().unwrap(), "stable".parse().unwrap());
    let ours = forge.read("releases/2/services/default/web.json");
    forge.write("releases/2/services/default/web.json", &forge.read("releases/2/services/default/api.json"));
    refuses(&proxy, "wrong-target", || forge.sign_latest(&latest, &[&forge.key("timestamp")]), "one");
    forge.write("releases/2/services/default/web.json", &ours);
    forge.write(LATEST, &forge.read(LATEST));
    wait_mark(&proxy, "two");
}

#[test]
fn a_proxy_of_another_mesh_does_not_start_on_this_root() {
    let small = Small::new();
    let mut setup = small.setup();
    setup.mesh = "other".to_owned();
    let mut proxy = setup.spawn().unwrap();
    let status = proxy.wait_end().unwrap();
    assert!(!status.success());
    assert!(proxy.log().contains("small"), "{}", proxy.log());
}

#[test]
fn issued_in_the_future_is_clock_skew_and_issued_is_a_floor_for_a_clock_behind() {
    let small = Small::new();
    let forge = Forge::of(&small.mesh);
    let proxy = small.start();
    let good = forge.read(LATEST);
    refuses(&proxy, "clock-skew", || forge.change_latest(|latest| latest.issued = ahead(60)), "one");
    forge.write(LATEST, &good);
    // Four minutes ahead is within the limit, and from then on it is at least that late: what expires in two minutes by
    // our clock has expired.
    forge.change_latest(|latest| latest.issued = ahead(4));
    let version = forge.latest().version;
    wait::until("that timestamp", || {
        (proxy.bundle()["source"]["standing"]["timestamp"]["version"] == version).then_some(())
    })
    .unwrap();
    let later = || forge.change_latest(|latest| (latest.issued, latest.expires) = (now(), ahead(2)));
    refuses(&proxy, "expired", later, "one");
}

#[test]
fn a_git_revert_is_a_newer_release_with_the_older_bodies() {
    let small = Small::new();
    let proxy = small.start();
    small.publish("two");
    wait_mark(&proxy, "two");
    small.mesh.git(&["revert", "--no-edit", "HEAD"]).unwrap();
    small.mesh.build().unwrap();
    wait_mark(&proxy, "one");
    let digest = |sequence| body_digest(&small.mesh.release(), sequence, "default/web");
    assert_eq!(proxy.sequence(), Some(3));
    assert_eq!(digest(1), digest(3));
    assert_ne!(digest(1), digest(2));
}
