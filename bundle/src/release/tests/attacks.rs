//! "Any byte of any object flipped": refused, and the state untouched.

use proptest::prelude::*;

use super::super::delivery::{Expected, check_manifest, check_release};
use super::*;

/// Everything there is: a tree with two roots, its anchor, and a pack.
struct Whole {
    bench: Bench,
    anchor: Vec<u8>,
    names: Vec<ObjectName>,
}

impl Whole {
    fn new() -> Self {
        let mut bench = Bench::new();
        bench.rotate(&[&key(1)], |_| {});
        let pin = bench.publish(1);
        let blob = ObjectName::blob(&Digest::of(&body("shop/cart", "note-1")));
        let names = vec![
            ObjectName::root(1),
            ObjectName::root(2),
            ObjectName::latest(&Channel::stable()),
            ObjectName::release(pin.sequence),
            ObjectName::manifest(pin.sequence),
            ObjectName::service(pin.sequence, &cart()),
            blob,
        ];
        let anchor = get(&bench.store, &ObjectName::root(1));
        Self { bench, anchor, names }
    }

    /// What a proxy without state makes of a store, and then an auditor; and the bytes they believed.
    fn judge(&self, store: &Memory, anchor: &[u8]) -> Result<Vec<Vec<u8>>, UpdateError> {
        let updater = Updater::new(config(), anchor)?;
        let Step::Candidate(candidate) = updater.check(&Memory::default(), store, None, NOW)? else {
            panic!("a proxy without state has something to do")
        };
        let mut believed = vec![candidate.body.clone(), json::to_canonical(&candidate.release).unwrap()];
        if store.files.borrow().contains_key("service.json") {
            return Ok(believed);
        }
        let name = ObjectName::release(1);
        let envelope = trust::decode(&name, &get(store, &name))?;
        let mut trust = trust::Trust::new(anchor, &mesh())?;
        trust.extend(&get(store, &ObjectName::root(2)))?;
        let expected = Expected {
            mesh: &mesh(),
            root: trust.newest(),
            pin: candidate.pin,
            version: ProgramVersion::own(),
        };
        let statement = check_release(name.as_str(), &envelope, expected)?;
        let name = ObjectName::manifest(1);
        let leaves = check_manifest(name.as_str(), &get(store, &name), &statement)?;
        believed.push(json::to_canonical(&leaves).unwrap());
        believed.push(json::to_canonical(trust.newest()).unwrap());
        Ok(believed)
    }

    /// Flips a byte. It must be refused; or, where the byte says nothing that is believed, believed as before.
    fn flip(&self, store: &Memory, name: &ObjectName, place: usize, with: u8) -> Result<bool, TestCaseError> {
        let changed = store.clone();
        let mut bytes = get(store, name);
        bytes[place] ^= with;
        put(&changed, name, &bytes);
        let is_anchor = *name == ObjectName::root(1) || *name == ObjectName::pack_root();
        let anchor = if is_anchor { &bytes } else { &self.anchor };
        match self.judge(&changed, anchor) {
            Err(error) => {
                prop_assert!(UpdateError::reasons().contains(&error.reason()));
                Ok(true)
            }
            Ok(believed) => {
                prop_assert_eq!(
                    &believed,
                    &self.judge(store, &self.anchor).unwrap(),
                    "{} at {}",
                    name,
                    place
                );
                prop_assert!(says_nothing(&get(store, name), place), "{} at {} was not refused", name, place);
                Ok(false)
            }
        }
    }
}

/// The bytes that DSSE leaves open: the key id, which is a hint, and the two alphabets of base64.
fn says_nothing(bytes: &[u8], place: usize) -> bool {
    let text = std::str::from_utf8(bytes).unwrap();
    let in_key_id = text.match_indices("\"keyid\":\"").any(|(start, field)| {
        let end = start + field.len() + 64;
        // The name and the value, not the quotes and the colon around them.
        (start + 1..end).contains(&place)
    });
    in_key_id || matches!(bytes[place], b'+' | b'/')
}

#[test]
fn every_byte_of_every_object_matters() {
    // Exhaustive, with one flip per byte; the property below tries the others.
    let whole = Whole::new();
    assert_eq!(whole.judge(&whole.bench.store, &whole.anchor).unwrap().len(), 4);
    for name in &whole.names {
        let length = get(&whole.bench.store, name).len();
        let refused =
            (0..length).filter(|place| whole.flip(&whole.bench.store, name, *place, 0x01).unwrap()).count();
        // A key id has 64 characters and its field 7 more; root 2 and the anchor have one signature each, as all have.
        assert!(refused + 80 >= length, "{name}: {refused} of {length}");
        if !get(&whole.bench.store, name).windows(7).any(|window| window == b"\"keyid\"") {
            assert_eq!(refused, length, "{name}");
        }
    }
}

#[test]
fn every_byte_of_a_pack_matters() {
    let whole = Whole::new();
    let mut pack = whole.bench.pack(&cart());
    // The pack's anchor is the newest root, its own.
    let whole = Whole { anchor: get(&pack, &ObjectName::pack_root()), ..whole };
    for name in [ObjectName::pack_latest(), ObjectName::pack_service()] {
        for place in 0..get(&pack, &name).len() {
            whole.flip(&pack, &name, place, 0x01).unwrap();
        }
    }
    // Another body of the same length, properly encoded.
    let service = get(&pack, &ObjectName::pack_service());
    put(&pack, &ObjectName::pack_service(), &pack_service(&service, &body("shop/cart", "note-2")).unwrap());
    assert_eq!(whole.judge(&pack, &whole.anchor).unwrap_err().reason(), "digest");
    pack = Memory::default();
    assert_eq!(whole.judge(&pack, &whole.anchor).unwrap_err().reason(), "missing");
}

#[test]
fn a_tampered_release_leaves_the_active_one_untouched() {
    let mut bench = Bench::running();
    let before = bench.resume().unwrap();
    bench.publish(2);
    let name = ObjectName::service(2, &cart());
    let good = get(&bench.store, &name);
    for place in (0..good.len()).step_by(37) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x02;
        put(&bench.store, &name, &bytes);
        if bench.check().is_err() {
            let after = bench.resume().unwrap();
            assert_eq!((after.pin, after.body), (before.pin, before.body.clone()));
        }
    }
}

#[test]
fn proofs_are_exact() {
    let mut bench = Bench::new();
    bench.publish(1);
    let name = ObjectName::service(1, &cart());
    let good = get(&bench.store, &name);
    let file: payload::ServiceFile = json::from_slice(&good).unwrap();
    let node = file.proof.path[0].clone();
    let changes: [&dyn Fn(&mut payload::Proof); 7] = [
        &|proof| proof.index = 3,
        &|proof| proof.index = 0,
        &|proof| proof.size = 4,
        &|proof| proof.size = 0,
        &|proof| proof.path.push(node.clone()),
        &|proof| proof.path.truncate(1),
        &|proof| proof.path[0].0.push(0),
    ];
    for change in changes {
        let mut file = file.clone();
        change(&mut file.proof);
        put(&bench.store, &name, &json::to_canonical(&file).unwrap());
        assert_eq!(bench.reason(), "proof", "{:?}", file.proof);
    }
    // A leaf given as a node, and a leaf that was never in the tree.
    let mut file = file;
    file.leaf = payload::Base64(String::from_utf8(file.leaf.0).unwrap().replace("cart", "card").into_bytes());
    put(&bench.store, &name, &json::to_canonical(&file).unwrap());
    assert_eq!(bench.reason(), "proof");
}

#[test]
fn a_service_is_in_a_release_once() {
    let service: ServiceId = cart();
    let input = ReleaseInput {
        mesh: mesh(),
        epoch: 1,
        sequence: 1,
        previous: None,
        source: Source::default(),
        compiler: String::new(),
        min_proxy: ProgramVersion::own(),
        non_descendant: None,
    };
    let twice = [(service.clone(), b"a".to_vec()), (service.clone(), b"b".to_vec())];
    assert_eq!(sign_release(&input, &twice, &[]).unwrap_err(), sign::SignError::DuplicateService(service));
    assert_eq!(sign_release(&input, &[], &[]).unwrap_err(), sign::SignError::NoServices);
    // Signed by somebody who has the key but not this library: the auditor sees it.
    let leaf = |body: &[u8]| {
        let leaf = payload::Leaf { length: 1, schema: 1, service: cart(), sha256: Digest::of(body) };
        json::to_canonical(&leaf).unwrap()
    };
    let leaves = [leaf(b"a"), leaf(b"b")];
    let manifest = leaves.iter().flat_map(|leaf| leaf.iter().chain(b"\n")).copied().collect::<Vec<u8>>();
    let tree = merkle::Tree::new(leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect());
    let signed = sign_release(&input, &[(cart(), b"a".to_vec())], &[]).unwrap();
    let envelope = Envelope::decode(&signed.release.1).unwrap();
    let mut statement: payload::Statement = json::from_slice(envelope.unverified_payload()).unwrap();
    statement.subject[0].digest.sha256 = Digest::of(&manifest);
    statement.predicate.tree.root = tree.root();
    statement.predicate.tree.size = 2;
    assert_eq!(check_manifest("m", &manifest, &statement).unwrap_err().reason(), "proof");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_byte_flipped_any_way_is_refused(object in 0_usize..7, place in any::<prop::sample::Index>(), with in 1_u8..) {
        let whole = Whole::new();
        let name = &whole.names[object];
        let place = place.index(get(&whole.bench.store, name).len());
        whole.flip(&whole.bench.store, name, place, with)?;
    }

    #[test]
    fn any_object_cut_anywhere_is_refused(object in 0_usize..7, place in any::<prop::sample::Index>()) {
        let whole = Whole::new();
        let name = &whole.names[object];
        let mut bytes = get(&whole.bench.store, name);
        bytes.truncate(place.index(bytes.len()));
        put(&whole.bench.store, name, &bytes);
        let anchor = if object == 0 { &bytes } else { &whole.anchor };
        prop_assert!(whole.judge(&whole.bench.store, anchor).is_err());
    }
}
