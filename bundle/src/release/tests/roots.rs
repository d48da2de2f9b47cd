//! The chain of roots: rotation, and every way to forge it.

use super::*;

/// A root whose root role needs two of these keys.
fn two_of(keys: &[&SigningKey]) -> Root {
    let mut root = root();
    root.keys.extend(key_list(keys.iter().map(|key| key.public())));
    let publics: Vec<_> = keys.iter().map(|key| key.public()).collect();
    root.roles.root = role_keys(2, &publics);
    root
}

#[test]
fn keys_rotate_in_two_steps_without_a_restart() {
    let mut bench = Bench::running();
    // Root 2 lists old and new ...
    bench.rotate(&[&key(1)], |root| {
        root.keys.extend(key_list([key(20).public(), key(30).public()]));
        root.roles.release = role_keys(1, &[key(2).public(), key(20).public()]);
        root.roles.timestamp = role_keys(1, &[key(3).public(), key(30).public()]);
    });
    bench.publish(2);
    assert_eq!(bench.adopt().sequence, 2);
    bench.release_key = key(20);
    bench.timestamp_key = key(30);
    bench.publish(3);
    assert_eq!(bench.adopt().sequence, 3);
    // ... root 3 drops the old.
    bench.rotate(&[&key(1)], |root| {
        root.roles.release = role_keys(1, &[key(20).public()]);
        root.roles.timestamp = role_keys(1, &[key(30).public()]);
    });
    bench.publish(4);
    assert_eq!(bench.adopt().sequence, 4);
    assert_eq!(bench.standing().root_version, 3);
    bench.timestamp_key = key(3);
    bench.publish(5);
    assert_eq!(bench.reason(), "unknown-key");
    // What ran under an old root still starts, with no network: both of them, one after the other.
    assert_eq!(bench.resume().unwrap().pin.sequence, 4);
    bench.updater.reject(&bench.state, bench.standing().active.unwrap()).unwrap();
    assert_eq!(bench.resume().unwrap().pin.sequence, 3);
}

#[test]
fn many_roots_are_walked_in_one_cycle() {
    let mut bench = Bench::running();
    for n in 2..=10 {
        bench.rotate(&[&key(n - 1), &key(n)], |root| {
            root.keys.extend(key_list([key(n).public()]));
            root.roles.root = role_keys(1, &[key(n).public()]);
        });
    }
    bench.publish(2);
    assert_eq!(bench.adopt().sequence, 2);
    assert_eq!(bench.standing().root_version, 10);
    // The chain is kept whole, because a start checks it from the anchor on.
    assert!((2..=10).all(|n| bench.state.files.borrow().contains_key(&format!("roots/{n}.json"))));
}

#[test]
fn a_cycle_walks_at_most_64_roots() {
    let mut bench = Bench::running();
    for _ in 0..70 {
        bench.rotate(&[&key(1)], |_| {});
    }
    bench.publish(2);
    assert_eq!(bench.reason(), "root-behind");
    assert_eq!(bench.standing().root_version, 65);
    assert_eq!(bench.adopt().sequence, 2);
}

#[test]
fn a_root_needs_the_threshold_of_the_old_and_of_the_new() {
    let (a, b, c, d) = (key(11), key(12), key(13), key(14));
    let old = two_of(&[&a, &b]);
    let anchor = sign_root(&old, &[&a, &b]).unwrap();
    let new = Root { version: 2, ..two_of(&[&c, &d]) };
    let good: [&dyn Signer; 4] = [&a, &b, &c, &d];
    let cases: [(&str, &[&dyn Signer]); 6] = [
        ("threshold", &[&a, &b]),
        ("unknown-key", &[&c, &d]),
        ("threshold", &[&a, &b, &c]),
        ("threshold", &[&a, &c, &d]),
        ("threshold", &[&a, &a, &c, &d]),
        ("unknown-key", &[]),
    ];
    let mut trust = trust::Trust::new(&anchor, &mesh()).unwrap();
    for (reason, signers) in cases {
        let bytes = sign_root(&new, signers).unwrap();
        let error = trust.extend(&bytes).unwrap_err();
        // Signed by the old only, it is the new threshold that is missed, whatever the key ids say.
        let expected = if signers.len() == 2 && reason == "threshold" { "unknown-key" } else { reason };
        assert_eq!(error.reason(), expected, "{error}");
        assert_eq!(trust.newest().version, 1);
    }
    trust.extend(&sign_root(&new, &good).unwrap()).unwrap();
    assert_eq!(trust.newest().version, 2);
    assert!(trust::Trust::new(&sign_root(&old, &[&a]).unwrap(), &mesh()).is_err());
}

#[test]
fn roots_come_one_by_one_and_for_one_mesh() {
    let anchor = sign_root(&root(), &[&key(1)]).unwrap();
    let mut trust = trust::Trust::new(&anchor, &mesh()).unwrap();
    let mut extend = |change: &dyn Fn(&mut Root)| {
        let mut next = Root { version: 2, ..root() };
        change(&mut next);
        trust.extend(&sign_root(&next, &[&key(1)]).unwrap()).map_err(|error| error.reason())
    };
    assert_eq!(extend(&|root| root.version = 3), Err("root-version"));
    assert_eq!(extend(&|root| root.version = 1), Err("root-version"));
    assert_eq!(extend(&|root| root.mesh = "test".parse().unwrap()), Err("wrong-target"));
    assert_eq!(extend(&|root| root.epoch = 0), Err("rollback"));
    assert_eq!(extend(&|_| {}), Ok(()));
}

#[test]
fn a_forged_root_in_the_store_changes_nothing() {
    let mut bench = Bench::running();
    let before = bench.state.files.borrow().clone();
    bench.rotate(&[&key(66)], |root| {
        root.keys.extend(key_list([key(66).public()]));
        root.roles.root = role_keys(1, &[key(66).public()]);
        root.roles.timestamp = role_keys(1, &[key(66).public()]);
    });
    // Nobody asks for it ...
    bench.unchanged();
    bench.timestamp_key = key(66);
    bench.publish(2);
    // ... and when the timestamp makes us ask, it is refused.
    assert_eq!(bench.reason(), "unknown-key");
    assert_eq!(*bench.state.files.borrow(), before);
}

#[test]
fn nonsense_roots_are_refused() {
    let anchor = sign_root(&root(), &[&key(1)]).unwrap();
    let text = String::from_utf8(Envelope::decode(&anchor).unwrap().unverified_payload().to_vec()).unwrap();
    let id = |n: u8| key(n).public().id().to_string();
    let read = |payload: String| {
        let envelope = Envelope::sign(envelope::PayloadType::Root, payload.into_bytes(), &[&key(1)]).unwrap();
        trust::Trust::new(&envelope.encode(), &mesh()).map(|_| ()).map_err(|error| error.reason())
    };
    assert_eq!(read(text.clone()), Ok(()));
    let role = |keyids: &str, threshold: u64| {
        format!("\"denylist\":{{\"keyids\":[{keyids}],\"threshold\":{threshold}}}")
    };
    let old = role(&format!("\"{}\"", id(4)), 1);
    let swap = |keyids: &str, threshold| text.replace(&old, &role(keyids, threshold));
    let (four, ghost) = (format!("\"{}\"", id(4)), format!("\"{}\"", id(5)));
    assert_eq!(read(swap(&four, 0)), Err("bad-payload"));
    assert_eq!(read(swap(&four, 2)), Err("bad-payload"));
    assert_eq!(read(swap(&format!("{four},{four}"), 2)), Err("bad-payload"));
    assert_eq!(read(swap(&ghost, 1)), Err("bad-payload"));
    assert_eq!(read(text.replace("\"version\":1", "\"version\":0")), Err("bad-payload"));
    // One key under two ids would count as two.
    let spki = |n: u8| data_encoding::BASE64.encode(key(n).public().spki());
    assert_eq!(read(text.replace(&spki(4), &spki(3))), Err("bad-payload"));
    // There are no delegations, and no other roles.
    assert_eq!(
        read(text.replacen("\"roles\":{", "\"roles\":{\"targets\":{\"keyids\":[],\"threshold\":1},", 1)),
        Err("bad-json")
    );
    assert_eq!(read(text.replace("\"alg\":\"ed25519\"", "\"alg\":\"ecdsa-p256-sha256\"")), Err("bad-json"));
}

#[test]
fn a_root_must_be_unexpired_after_the_walk_not_during() {
    let mut bench = Bench::running();
    // Root 2 has expired long ago; root 3 has not.
    bench.rotate(&[&key(1)], |root| root.expires = UtcTime::from_unix(NOW.unix() - 1));
    bench.publish(2);
    assert_eq!(bench.reason(), "root-expired");
    assert_eq!(bench.resume().unwrap().pin.sequence, 1);
    bench.rotate(&[&key(1)], |root| root.expires = NOW.plus(DAY));
    bench.publish(3);
    assert_eq!(bench.adopt().sequence, 3);
    // Also when nothing else would make us look for a new one.
    bench.now = NOW.plus(DAY);
    assert_eq!(bench.reason(), "root-expired");
    bench.rotate(&[&key(1)], |root| root.expires = NOW.plus(DAY * 100));
    assert_eq!(bench.unchanged().root_version, 4);
}

#[test]
fn a_root_that_cannot_be_reached_stops_adoption() {
    let mut bench = Bench::running();
    bench.publish_with(2, |timestamp| timestamp.root_version = 2);
    assert_eq!(bench.reason(), "root-behind");
}

#[test]
fn a_stolen_release_key_is_overtaken_by_an_epoch() {
    let mut bench = Bench::running();
    // The thief signs the highest number there is, and somebody with the timestamp key pins it.
    let highest = (1 << 53) - 1;
    bench.publish(highest);
    assert_eq!(bench.adopt().sequence, highest);
    bench.rotate(&[&key(1)], |root| {
        root.epoch = 2;
        root.release_floor = 2;
        root.keys.extend(key_list([key(20).public(), key(30).public()]));
        root.roles.release = role_keys(1, &[key(20).public()]);
        root.roles.timestamp = role_keys(1, &[key(30).public()]);
    });
    bench.release_key = key(20);
    bench.timestamp_key = key(30);
    bench.timestamp = None;
    bench.publish(2);
    assert_eq!(bench.adopt().sequence, 2);
    // And back is no way.
    bench.publish_with(highest, |_| {});
    let pin = bench.timestamp.clone().unwrap().current;
    let mut old = Bench::with(Root { epoch: 1, ..root() }, config());
    old.publish(highest);
    let file = ObjectName::service(highest, &cart());
    put(&bench.store, &file, &get(&old.store, &file));
    assert_eq!(bench.reason(), "digest");
    assert_eq!(pin.sequence, highest);
}

#[test]
fn new_timestamp_keys_forget_the_stored_version_and_time() {
    let mut bench = Bench::running();
    // The thief of the timestamp key drives version and time as far as they go.
    bench.renew(|timestamp| {
        timestamp.version = (1 << 53) - 1;
        timestamp.issued = NOW.plus(CLOCK_SKEW);
    });
    bench.unchanged();
    let rotated = |bench: &mut Bench| {
        bench.rotate(&[&key(1)], |root| {
            root.keys.extend(key_list([key(30).public()]));
            // Old and new for a while: it is the change that counts, not that the old signature fails.
            root.roles.timestamp = role_keys(1, &[key(3).public(), key(30).public()]);
        });
        bench.timestamp_key = key(30);
        bench.timestamp = None;
        bench.publish_with(2, |timestamp| timestamp.version = 5);
    };
    rotated(&mut bench);
    assert_eq!(bench.adopt().sequence, 2);
    assert_eq!(bench.standing().timestamp.unwrap().version, 5);
    // Within one set of keys nothing is forgotten.
    bench.put_timestamp(Timestamp { version: 4, ..bench.timestamp.clone().unwrap() });
    assert_eq!(bench.reason(), "rollback");
}

#[test]
fn a_newer_anchor_takes_the_place_of_stored_roots() {
    let mut bench = Bench::running();
    bench.rotate(&[&key(1)], |_| {});
    bench.publish(2);
    bench.adopt();
    let anchor = get(&bench.store, &ObjectName::root(2));
    bench.updater = Updater::new(config(), &anchor).unwrap();
    assert_eq!(bench.resume().unwrap().pin.sequence, 2);
    bench.unchanged();
    assert_eq!(bench.standing().root_version, 2);
}

#[test]
fn a_walk_for_the_sake_of_a_release_begins_again_under_the_new_root() {
    // Only the release key is new, and nobody signed the timestamp again: found out at the service file.
    let rotated = |change: &dyn Fn(&mut Root)| {
        let mut bench = Bench::running();
        bench.release_key = key(20);
        bench.publish(2);
        bench.rotate(&[&key(1)], |root| {
            root.keys.extend(key_list([key(20).public(), key(30).public()]));
            root.roles.release = role_keys(1, &[key(20).public()]);
            change(root);
        });
        bench
    };
    assert_eq!(rotated(&|_| {}).adopt().sequence, 2);
    // What else the new root says holds at once.
    assert_eq!(rotated(&|root| root.expires = NOW).reason(), "root-expired");
    assert_eq!(rotated(&|root| root.release_floor = 3).reason(), "below-floor");
    let timestamp = |root: &mut Root| root.roles.timestamp = role_keys(1, &[key(30).public()]);
    assert_eq!(rotated(&timestamp).reason(), "unknown-key");
}
