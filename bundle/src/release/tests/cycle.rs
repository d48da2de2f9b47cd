//! Each row of the event table, and each refusal by its name.

use super::super::payload::{Denied, DenylistEntry};
use super::super::sign::sign_denylist;
use super::*;

fn latest() -> ObjectName {
    ObjectName::latest(&Channel::stable())
}

#[test]
fn a_release_is_adopted_once() {
    let mut bench = Bench::new();
    let first = bench.publish(1);
    let candidate = bench.candidate();
    assert_eq!((candidate.pin, candidate.freshness), (first, Freshness::Fresh));
    assert_eq!(candidate.body, body("shop/cart", "note-1"));
    assert_eq!(candidate.parse().unwrap().service, "shop/cart");
    assert_eq!(candidate.release.source.commit, "c0ffee");
    // Not accepted yet: the next cycle offers it again.
    assert_eq!(bench.adopt(), first);
    let standing = bench.unchanged();
    assert_eq!((standing.active, standing.previous, standing.seen), (Some(first), None, Some(first)));
    let second = bench.publish(2);
    assert_eq!(bench.adopt(), second);
    let standing = bench.unchanged();
    assert_eq!((standing.active, standing.previous), (Some(second), Some(first)));
}

#[test]
fn a_pack_is_read_as_a_directory_is() {
    let mut bench = Bench::new();
    let pin = bench.publish(1);
    bench.store = bench.pack(&cart());
    assert_eq!(bench.adopt(), pin);
    bench.unchanged();
    // The only root of a pack may be the one we have, or one too far on.
    bench.rotate(&[&key(1)], |_| {});
    let mut tree = Bench::new();
    tree.root = bench.root.clone();
    tree.publish_with(2, |timestamp| timestamp.version = 2);
    put(&tree.store, &ObjectName::root(2), &get(&bench.store, &ObjectName::root(2)));
    bench.store = tree.pack(&cart());
    assert_eq!(bench.adopt().sequence, 2);
    assert_eq!(bench.standing().root_version, 2);
}

#[test]
fn equal_content_keeps_its_body() {
    let mut bench = Bench::running();
    let pin = bench.put_release(2, "note-1").pin;
    bench.put_timestamp(bench.next_timestamp(pin));
    bench.store.files.borrow_mut().retain(|name, _| !name.starts_with("blobs/"));
    let before = bench.resume().unwrap().body_digest;
    assert_eq!(bench.candidate().body_digest, before);
}

#[test]
fn not_modified_re_evaluates_staleness_and_expiry() {
    let mut bench = Bench::running();
    assert_eq!(bench.unchanged().freshness, Freshness::Fresh);
    // The store answers "not modified" from now on; nothing else can be read.
    let only_latest = get(&bench.store, &latest());
    bench.store.files.borrow_mut().clear();
    put(&bench.store, &latest(), &only_latest);
    bench.now = NOW.plus(DAY);
    assert_eq!(bench.unchanged().freshness, Freshness::Stale);
    bench.now = NOW.plus(DAY * 7);
    assert_eq!(bench.reason(), "expired");
    assert_eq!(bench.standing().freshness, Freshness::Expired);
    assert!(bench.resume().is_ok());
}

#[test]
fn a_tag_is_stored_only_when_all_is_done() {
    let tag = |bench: &Bench| {
        let record = bench.state.files.borrow()["record.json"].clone();
        String::from_utf8(record).unwrap().contains("etag")
    };
    let mut bench = Bench::new();
    bench.publish(1);
    let candidate = bench.candidate();
    assert!(!tag(&bench));
    candidate.accept(&bench.state).unwrap();
    bench.running = Some(candidate.pin.sha256);
    assert!(tag(&bench));
    let pin = bench.publish(2);
    bench.candidate().reject(&bench.state).unwrap();
    assert!(!tag(&bench));
    // Rejected is not settled: the timestamp is read again, and the release not tried again.
    assert_eq!(bench.unchanged().rejected, [pin]);
    assert!(!tag(&bench));
    let third = bench.publish(3);
    assert_eq!(bench.adopt(), third);
    assert!(tag(&bench));
}

#[test]
fn stores_without_tags_or_with_stubborn_ones_are_no_trouble() {
    struct Odd<'a>(&'a Memory, bool);
    impl Store for Odd<'_> {
        fn get(&self, name: &ObjectName, cap: u64, etag: Option<&str>) -> Result<Fetched, StoreError> {
            // Either no tags at all, or "not modified" whether asked or not.
            match self.0.get(name, cap, None)? {
                Fetched::Found { .. } if self.1 && etag.is_none() => Ok(Fetched::NotModified),
                Fetched::Found { bytes, .. } => Ok(Fetched::Found { bytes, etag: None }),
                other @ (Fetched::NotModified | Fetched::Absent) => Ok(other),
            }
        }
    }
    let mut bench = Bench::running();
    let check = |bench: &Bench, lies| {
        bench.updater.check(&bench.state, &Odd(&bench.store, lies), bench.running.as_ref(), bench.now)
    };
    assert!(matches!(check(&bench, false), Ok(Step::Unchanged(_))));
    bench.publish(2);
    assert!(matches!(check(&bench, false), Ok(Step::Candidate(_))));
    let fresh = Bench::new();
    put(&fresh.store, &latest(), &get(&bench.store, &latest()));
    assert_eq!(check(&fresh, true).unwrap_err().reason(), "store");
}

#[test]
fn past_stale_after_it_serves_on_and_adopts_still() {
    let mut bench = Bench::running();
    bench.publish(2);
    bench.now = NOW.plus(DAY);
    assert_eq!(bench.candidate().freshness, Freshness::Stale);
}

#[test]
fn past_expires_it_adopts_nothing() {
    let mut bench = Bench::running();
    bench.publish(2);
    bench.now = NOW.plus(DAY * 7);
    assert_eq!(bench.reason(), "expired");
    assert_eq!(bench.resume().unwrap().pin.sequence, 1);
    // Also one that was never seen while it was good, and only without state may that be overridden.
    for (allow_expired, fresh, expected) in [(false, true, None), (true, true, Some(2)), (true, false, None)]
    {
        let updater =
            Updater::new(Config { allow_expired, ..config() }, &get(&bench.store, &ObjectName::root(1)))
                .unwrap();
        let state = Memory::default();
        let running = if fresh { None } else { bench.running };
        let found = match updater.check(&state, &bench.store, running.as_ref(), bench.now) {
            Ok(Step::Candidate(candidate)) => Some(candidate.pin.sequence),
            Ok(Step::Unchanged(_) | Step::Denylist(_)) => panic!("something must happen"),
            Err(error) => {
                assert_eq!(error.reason(), "expired");
                None
            }
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn lower_numbers_are_rollbacks_and_equal_ones_must_be_equal() {
    let mut bench = Bench::running();
    let first = bench.timestamp.clone().unwrap();
    bench.publish(2);
    bench.adopt();
    let good = bench.timestamp.clone().unwrap();
    let reasons: [(&str, Timestamp); 5] = [
        ("rollback", first.clone()),
        ("rollback", Timestamp { version: 9, current: first.current, ..good.clone() }),
        ("equivocation", Timestamp { issued: NOW.plus(HOUR), ..good.clone() }),
        (
            "equivocation",
            Timestamp {
                version: 9,
                current: Pin { sha256: Digest::of(b"other"), ..good.current },
                ..good.clone()
            },
        ),
        ("rollback", Timestamp { version: 0, ..good.clone() }),
    ];
    let before = bench.state.files.borrow().clone();
    bench.now = NOW.plus(HOUR);
    for (reason, timestamp) in reasons {
        bench.put_timestamp(timestamp.clone());
        assert_eq!(bench.reason(), reason, "{timestamp:?}");
    }
    assert_eq!(*bench.state.files.borrow(), before);
    bench.put_timestamp(good);
    bench.unchanged();
}

#[test]
fn equal_payloads_under_other_signatures_are_no_equivocation() {
    let mut bench = Bench::running();
    let old = bench.timestamp.clone().unwrap();
    let bytes = sign_timestamp(&old, &[&key(99), &bench.timestamp_key]).unwrap();
    put(&bench.store, &latest(), &bytes);
    bench.unchanged();
    bench.timestamp_key = key(3);
}

#[test]
fn equal_numbers_are_about_bytes_not_about_meaning() {
    let mut bench = Bench::running();
    let payload = json::to_canonical(bench.timestamp.as_ref().unwrap()).unwrap();
    let payload = String::from_utf8(payload).unwrap();
    // The same to us, and something else to whoever knows the field.
    for other in [payload.replacen('{', r#"{"later":1,"#, 1), payload.replacen('{', "{ ", 1)] {
        let signed = Envelope::sign(envelope::PayloadType::Timestamp, other.into_bytes(), &[&key(3)]);
        put(&bench.store, &latest(), &signed.unwrap().encode());
        assert_eq!(bench.reason(), "equivocation");
    }
    bench.publish(2);
    bench.adopt();
}

#[test]
fn the_only_leaf_of_a_tree_needs_no_path() {
    let body = (cart(), body("shop/cart", "x"));
    let mut bench = Bench::new();
    let mut input = None;
    bench.put_release_with(1, "x", |given| input = Some(given.clone()));
    let signed = sign_release(&input.unwrap(), &[body], &[&key(2)]).unwrap();
    let (name, file) = &signed.services[0];
    assert!(!String::from_utf8(file.clone()).unwrap().contains("\"path\""), "empty fields are left out");
    put(&bench.store, name, file);
    bench.put_timestamp(bench.next_timestamp(signed.pin));
    assert_eq!(bench.adopt(), signed.pin);
}

#[test]
fn the_floor_of_the_root_holds_without_state() {
    let mut bench = Bench::with(Root { release_floor: 5, ..root() }, config());
    bench.publish(4);
    assert_eq!(bench.reason(), "below-floor");
    bench.publish(5);
    assert_eq!(bench.adopt().sequence, 5);
    // Going back is bound by it, too.
    let mut bench = Bench::with(Root { release_floor: 2, ..root() }, config());
    bench.publish(1);
    bench.publish_with(2, |timestamp| timestamp.rollout = Some(stages::held()));
    assert_eq!(bench.reason(), "below-floor");
}

#[test]
fn unknown_keys_and_missed_thresholds_are_told_apart() {
    let mut bench = Bench::running();
    bench.timestamp_key = key(77);
    bench.publish(2);
    let Err(UpdateError::UnknownKey { seen, .. }) = bench.check() else { panic!("{:?}", bench.check()) };
    assert_eq!(seen, [key(77).public().id().to_string()]);
    assert!(bench.check().unwrap_err().to_string().contains(&seen[0]));
    bench.timestamp_key = key(3);
    bench.publish(2);
    edit(&bench.store, &latest(), "\"sig\":\"", "\"sig\":\"AAAA");
    assert_eq!(bench.reason(), "threshold");
    bench.release_key = key(77);
    bench.publish(3);
    assert_eq!(bench.reason(), "unknown-key");
    assert_eq!(bench.resume().unwrap().pin.sequence, 1);
}

#[test]
fn truncated_oversized_and_bad_json_are_told_apart() {
    let mut bench = Bench::running();
    bench.publish(2);
    let service = ObjectName::service(2, &cart());
    let blob = ObjectName::blob(&Digest::of(&body("shop/cart", "note-2")));
    for (name, cap) in [(&latest(), MAX_TIMESTAMP), (&service, MAX_SERVICE_FILE), (&blob, 1 << 10)] {
        let good = get(&bench.store, name);
        put(&bench.store, name, &good[..good.len() - 1]);
        assert_eq!(bench.reason(), "truncated", "{name}");
        put(&bench.store, name, &[good.as_slice(), &vec![b' '; cap as usize]].concat());
        assert_eq!(bench.reason(), "oversized", "{name}");
        put(&bench.store, name, b"");
        assert_eq!(bench.reason(), "truncated", "{name}");
        if *name != blob {
            put(&bench.store, name, &good.repeat(2));
            assert_eq!(bench.reason(), "bad-json", "{name}");
        }
        bench.store.files.borrow_mut().remove(name.as_str());
        assert_eq!(bench.reason(), "missing", "{name}");
        put(&bench.store, name, &good);
    }
    assert_eq!(bench.adopt().sequence, 2);
}

#[test]
fn strict_json_holds_inside_signed_payloads() {
    let mut bench = Bench::new();
    bench.publish(1);
    let payload = json::to_canonical(bench.timestamp.as_ref().unwrap()).unwrap();
    let payload = String::from_utf8(payload).unwrap();
    let cases = [
        ("bad-json", payload.replacen('{', "{\"mesh\":\"prod\",", 1)),
        ("bad-json", payload.replacen("\"version\":1", "\"version\":1.0", 1)),
        ("bad-json", payload.replacen("\"version\":1", "\"version\":9007199254740992", 1)),
        (
            "bad-json",
            payload.replacen(
                "\"version\":1",
                &format!("\"version\":{}1{}", "[".repeat(32), "]".repeat(32)),
                1,
            ),
        ),
        ("bad-json", payload.replacen("\"channel\":\"stable\"", "\"channel\":\"../stable\"", 1)),
        ("truncated", payload.trim_end_matches('}').to_owned()),
    ];
    for (reason, payload) in cases {
        let signed =
            Envelope::sign(envelope::PayloadType::Timestamp, payload.clone().into_bytes(), &[&key(3)]);
        put(&bench.store, &latest(), &signed.unwrap().encode());
        assert_eq!(bench.reason(), reason, "{payload}");
    }
    let wrong = Envelope::sign(envelope::PayloadType::Root, payload.into_bytes(), &[&key(3)]).unwrap();
    put(&bench.store, &latest(), &wrong.encode());
    assert_eq!(bench.reason(), "payload-type");
    let many = vec![&bench.timestamp_key as &dyn Signer; 17];
    put(&bench.store, &latest(), &sign_timestamp(bench.timestamp.as_ref().unwrap(), &many).unwrap());
    assert_eq!(bench.reason(), "too-many-signatures");
    edit(&bench.store, &latest(), "\"payload\":\"", "\"payload\":\"*");
    put(&bench.store, &latest(), br#"{"payload":"*","payloadType":"x","signatures":[]}"#);
    assert_eq!(bench.reason(), "bad-envelope");
}

#[test]
fn another_mesh_channel_or_service_is_a_wrong_target() {
    let mut bench = Bench::new();
    bench.publish_with(1, |timestamp| timestamp.mesh = "test".parse().unwrap());
    assert_eq!(bench.reason(), "wrong-target");
    bench.publish_with(1, |timestamp| timestamp.channel = "dev".parse().unwrap());
    assert_eq!(bench.reason(), "wrong-target");
    let pin = bench.put_release_with(1, "x", |input| input.mesh = "test".parse().unwrap()).pin;
    bench.put_timestamp(bench.next_timestamp(pin));
    assert_eq!(bench.reason(), "wrong-target");
    // The file of another service under our name.
    bench.publish(2);
    let other = get(&bench.store, &ObjectName::service(2, &"shop/api".parse().unwrap()));
    put(&bench.store, &ObjectName::service(2, &cart()), &other);
    assert_eq!(bench.reason(), "wrong-target");
    // A body for somebody else, signed for us: found when it is parsed.
    assert_eq!(
        update::parse_body(&body("shop/api", "x"), &mesh(), &cart()).unwrap_err().reason(),
        "wrong-target"
    );
    let anchor = sign_root(&Root { mesh: "test".parse().unwrap(), ..root() }, &[&key(1)]).unwrap();
    assert_eq!(Updater::new(config(), &anchor).unwrap_err().reason(), "wrong-target");
}

#[test]
fn clocks_may_disagree_by_five_minutes() {
    let mut bench = Bench::running();
    let before = bench.state.files.borrow().clone();
    bench.publish_with(2, |timestamp| timestamp.issued = NOW.plus(CLOCK_SKEW + Duration::from_secs(1)));
    assert_eq!(bench.reason(), "clock-skew");
    assert_eq!(*bench.state.files.borrow(), before);
    bench.publish_with(2, |timestamp| timestamp.issued = NOW.plus(CLOCK_SKEW));
    bench.adopt();
    // From then on time does not run back behind what was issued: a clock a year behind neither refuses the next
    // release nor wakes an expired one.
    bench.now = UtcTime::from_unix(NOW.unix() - 365 * DAY.as_secs());
    assert_eq!(bench.unchanged().freshness, Freshness::Fresh);
    bench.now = NOW;
    bench.publish_with(3, |timestamp| timestamp.expires = NOW.plus(Duration::from_secs(10)));
    bench.now = UtcTime::from_unix(NOW.unix() - 365 * DAY.as_secs());
    assert_eq!(bench.reason(), "expired");
    bench.now = NOW.plus(DAY * 365);
    bench.publish(4);
    bench.now = NOW;
    assert_eq!(bench.reason(), "clock-skew");
}

#[test]
fn a_release_must_be_the_pinned_one() {
    let mut bench = Bench::running();
    let second = bench.put_release(2, "two").pin;
    let third = bench.put_release(3, "three").pin;
    // Mix and match: the proof of one release under the pin of another.
    bench.put_timestamp(bench.next_timestamp(Pin { sha256: second.sha256, ..third }));
    assert_eq!(bench.reason(), "digest");
    // The right payload under another number.
    let file = get(&bench.store, &ObjectName::service(2, &cart()));
    put(&bench.store, &ObjectName::service(4, &cart()), &file);
    let mut fresh = Bench::new();
    fresh.store = bench.store.clone();
    fresh.put_timestamp(fresh.next_timestamp(Pin { sequence: 4, ..second }));
    assert_eq!(fresh.reason(), "wrong-release");
    let pin = fresh.put_release_with(5, "x", |input| input.epoch = 2).pin;
    fresh.put_timestamp(fresh.next_timestamp(pin));
    assert_eq!(fresh.reason(), "wrong-release");
}

#[test]
fn a_newer_proxy_can_be_asked_for() {
    let mut bench = Bench::new();
    let pin = bench.put_release_with(1, "x", |input| input.min_proxy.major += 1).pin;
    bench.put_timestamp(bench.next_timestamp(pin));
    assert_eq!(bench.reason(), "min-proxy");
}

#[test]
fn statements_trees_and_schemas_of_other_kinds_are_refused() {
    let mut bench = Bench::new();
    let signed = bench.put_release(1, "x");
    let name = ObjectName::service(1, &cart());
    let file: payload::ServiceFile = json::from_slice(&get(&bench.store, &name)).unwrap();
    let statement = String::from_utf8(file.release.unverified_payload().to_vec()).unwrap();
    let leaf = String::from_utf8(file.leaf.0).unwrap();
    let put_file = |bench: &mut Bench, statement: &str, leaf: &str| {
        // One leaf only, so that the tree is the leaf.
        let root = merkle::leaf_hash(leaf.as_bytes()).to_string();
        let tree: serde_json::Value = serde_json::from_str(statement).unwrap();
        let old = tree["predicate"]["tree"]["root"].as_str().unwrap();
        let statement = statement.replace(old, &root).replace("\"size\":3", "\"size\":1");
        let release =
            Envelope::sign(envelope::PayloadType::Release, statement.into_bytes(), &[&key(2)]).unwrap();
        let pin = Pin { sequence: 1, sha256: release.payload_digest() };
        let proof = payload::Proof { index: 0, size: 1, path: vec![] };
        let leaf = payload::Base64(leaf.as_bytes().to_vec());
        let file = payload::ServiceFile { release, leaf, proof, body: None };
        put(&bench.store, &name, &json::to_canonical(&file).unwrap());
        bench.timestamp = None;
        bench.put_timestamp(bench.next_timestamp(pin));
        bench.state = Memory::default();
    };
    put_file(&mut bench, &statement, &leaf);
    assert_eq!(bench.candidate().body, body("shop/cart", "x"));
    for (from, to, reason) in [
        ("in-toto.io/Statement/v1", "in-toto.io/Statement/v2", "predicate-type"),
        ("weft.dev/release/v1", "weft.dev/release/v2", "predicate-type"),
        ("rfc6962-sha256", "rfc6962-sha1", "predicate-type"),
    ] {
        put_file(&mut bench, &statement.replace(from, to), &leaf);
        assert_eq!(bench.reason(), reason);
    }
    put_file(&mut bench, &statement, &leaf.replace("\"schema\":1", "\"schema\":2"));
    assert_eq!(bench.reason(), "schema");
    put_file(&mut bench, &statement, &leaf.replacen("\"length\":", "\"length\":99999999", 1));
    assert_eq!(bench.reason(), "oversized");
    put_file(&mut bench, &statement, &leaf.replace("shop/cart", "shop/../cart"));
    assert_eq!(bench.reason(), "bad-json");
    assert_eq!(signed.services.len(), 3);
}

#[test]
fn a_denylist_comes_before_everything_else() {
    let mut bench = Bench::running();
    let list = |version| Denylist {
        mesh: mesh(),
        version,
        entries: vec![
            DenylistEntry {
                subject: Denied::Identity("spiffe://prod.example/bad".parse().unwrap()),
                until: NOW.plus(DAY),
            },
            DenylistEntry { subject: Denied::Key(Digest::of(b"spki")), until: NOW.plus(DAY) },
            DenylistEntry {
                subject: Denied::Certificate { issuer: vec![0x30, 0], serial: "1f".into() },
                until: NOW.plus(DAY),
            },
        ],
    };
    let put_list = |bench: &Bench, list: &Denylist, signer: &SigningKey| {
        let (sha256, bytes) = sign_denylist(list, &[signer]).unwrap();
        put(&bench.store, &ObjectName::denylist(list.version), &bytes);
        Some(DenylistPin { version: list.version, sha256 })
    };
    let pin = put_list(&bench, &list(7), &key(4));
    // A rollout that is on hold does not hold the denylist.
    bench.publish_with(2, |timestamp| {
        timestamp.denylist = pin;
        timestamp.rollout = Some(stages::held());
    });
    let Ok(Step::Denylist(applied)) = bench.check() else { panic!("{:?}", bench.check()) };
    assert_eq!(applied, list(7));
    let standing = bench.unchanged();
    assert_eq!(standing.denylist, Some(list(7)));
    // Once it is there, nobody takes it away or lowers it.
    bench.renew(|timestamp| timestamp.denylist = None);
    assert_eq!(bench.unchanged().denylist, Some(list(7)));
    let lower = put_list(&bench, &list(6), &key(4));
    bench.renew(|timestamp| timestamp.denylist = lower);
    assert_eq!(bench.reason(), "rollback");
    let other = put_list(&bench, &Denylist { entries: vec![], ..list(7) }, &key(4));
    bench.renew(|timestamp| timestamp.denylist = other);
    assert_eq!(bench.reason(), "equivocation");
    let forged = put_list(&bench, &list(8), &key(3));
    bench.renew(|timestamp| timestamp.denylist = forged);
    assert_eq!(bench.reason(), "unknown-key");
    let good = put_list(&bench, &list(8), &key(4));
    bench.renew(|timestamp| timestamp.denylist = good);
    put(&bench.store, &ObjectName::denylist(8), &get(&bench.store, &ObjectName::denylist(6)));
    assert_eq!(bench.reason(), "digest");
    // Signed for one number, pinned as another.
    bench.renew(|timestamp| timestamp.denylist = Some(DenylistPin { version: 9, ..good.unwrap() }));
    put_list(&bench, &list(8), &key(4));
    let eight = get(&bench.store, &ObjectName::denylist(8));
    put(&bench.store, &ObjectName::denylist(9), &eight);
    assert_eq!(bench.reason(), "rollback");
    bench.renew(|timestamp| timestamp.denylist = good);
    assert!(matches!(bench.check(), Ok(Step::Denylist(_))));
    assert_eq!(bench.standing().denylist, Some(list(8)));
}

#[test]
fn entries_of_a_denylist_mean_one_thing() {
    let entry = |text: &str| serde_json::from_str::<DenylistEntry>(text).is_ok();
    let digest = Digest::of(b"x");
    assert!(entry(&format!(r#"{{"spki_sha256":"{digest}","until":"2026-11-21T00:00:00Z"}}"#)));
    assert!(!entry(&format!(r#"{{"spki_sha256":"{digest}"}}"#)));
    assert!(!entry(r#"{"until":"2026-11-21T00:00:00Z"}"#));
    assert!(!entry(r#"{"issuer":"MAA=","until":"2026-11-21T00:00:00Z"}"#));
    for (serial, good) in [("1f", true), ("1F", false), ("01f", false), ("0x1f", false), ("", false)] {
        let text = format!(r#"{{"issuer":"MAA=","serial":"{serial}","until":"2026-11-21T00:00:00Z"}}"#);
        assert_eq!(entry(&text), good, "{serial}");
    }
    assert!(!entry(r#"{"spiffe_id":"spiffe://a/b","also":1,"until":"2026-11-21T00:00:00Z"}"#));
    assert!(!entry(&format!(
        r#"{{"spki_sha256":"{digest}","spiffe_id":"spiffe://a/b","until":"2026-11-21T00:00:00Z"}}"#
    )));
}

#[test]
fn without_a_network_it_starts_from_its_state() {
    let bench = Bench::running();
    let installed = bench.resume().unwrap();
    assert_eq!((installed.pin.sequence, installed.freshness), (1, Freshness::Stale));
    assert_eq!(installed.body, body("shop/cart", "note-1"));
    assert_eq!(installed.release.source.commit, "c0ffee");
    assert!(installed.instead_of.is_none());
    assert_eq!(Bench::new().resume().unwrap_err().reason(), "no-bundle");
    struct Down;
    impl Store for Down {
        fn get(&self, _: &ObjectName, _: u64, _: Option<&str>) -> Result<Fetched, StoreError> {
            Err(StoreError("no route to host".into()))
        }
    }
    let down = bench.updater.check(&bench.state, &Down, bench.running.as_ref(), bench.now);
    assert_eq!(down.unwrap_err().reason(), "store");
}

#[test]
fn damaged_state_falls_back_to_the_release_before() {
    let mut bench = Bench::running();
    bench.publish(2);
    bench.adopt();
    let active = Digest::of(&body("shop/cart", "note-2"));
    let previous = Digest::of(&body("shop/cart", "note-1"));
    let damage = |digest: &Digest| {
        bench.state.files.borrow_mut().get_mut(&format!("objects/{digest}")).unwrap()[5] ^= 1;
    };
    damage(&active);
    let installed = bench.resume().unwrap();
    assert_eq!(installed.pin.sequence, 1);
    assert_eq!(installed.instead_of.as_ref().map(UpdateError::reason), Some("missing"));
    // What runs now is not what the record calls active; the cycle goes by what runs, and mends it.
    bench.running = Some(installed.pin.sha256);
    assert_eq!(bench.candidate().pin.sequence, 2);
    damage(&previous);
    assert_eq!(bench.resume().unwrap_err().reason(), "no-bundle");
    bench.running = None;
    assert_eq!(bench.adopt().sequence, 2);
    assert_eq!(bench.resume().unwrap().pin.sequence, 2);
    bench.state.files.borrow_mut().insert("record.json".into(), b"{".to_vec());
    assert_eq!(bench.resume().unwrap_err().reason(), "state");
    assert_eq!(bench.reason(), "state");
}

#[test]
fn reasons_are_a_closed_list_of_distinct_names() {
    let reasons = UpdateError::reasons();
    let mut sorted = reasons.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), reasons.len());
    let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
    assert!(reasons.iter().all(|reason| reason.chars().all(kebab)));
    for error in [UpdateError::NotEligible, UpdateError::NoBundle { message: String::new() }] {
        assert!(reasons.contains(&error.reason()));
        assert!(!error.to_string().is_empty());
    }
}
