//! Flip any byte of what a proxy reads of a real release, and it is refused.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use proptest::prelude::*;
use weft_bundle::release::{
    Config, Fetched, Memory, ObjectName, ProgramVersion, Step, Store, StoreError, Updater,
};

use crate::forge::{LATEST, body_digest, files, now};
use crate::small::Small;

/// A real release in memory.
struct Release {
    anchor: Vec<u8>,
    objects: BTreeMap<String, Vec<u8>>,
    /// What a proxy of `web` reads.
    read: [String; 3],
    body: String,
}

/// The release, of which one byte reads otherwise.
struct Flipped<'r> {
    release: &'r Release,
    name: &'r str,
    at: usize,
    mask: u8,
}

impl Store for Flipped<'_> {
    fn get(&self, name: &ObjectName, cap: u64, _: Option<&str>) -> Result<Fetched, StoreError> {
        let Some(bytes) = self.release.objects.get(name.as_str()) else { return Ok(Fetched::Absent) };
        let mut bytes = bytes.clone();
        if name.as_str() == self.name {
            bytes[self.at] ^= self.mask;
        }
        bytes.truncate(usize::try_from(cap).unwrap() + 1);
        Ok(Fetched::Found { bytes, etag: None })
    }
}

/// Built once; the directory it came from is gone.
fn release() -> &'static Release {
    static RELEASE: OnceLock<Release> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let small = Small::new();
        let directory = small.mesh.release();
        let object =
            |name: std::path::PathBuf| (name.display().to_string(), fs::read(directory.join(&name)).unwrap());
        let body = body_digest(&directory, 1, "default/web");
        let service = "releases/1/services/default/web.json".to_owned();
        Release {
            anchor: fs::read(small.mesh.root_json()).unwrap(),
            objects: files(&directory).into_iter().map(object).collect(),
            read: [LATEST.to_owned(), service, format!("blobs/sha256/{body}")],
            body,
        }
    })
}

fn updater(release: &Release) -> Updater {
    let config = Config {
        mesh: "small".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        service: "default/web".parse().unwrap(),
        instance_id: "test".to_owned(),
        canary: false,
        version: ProgramVersion::own(),
        allow_expired: false,
    };
    Updater::new(config, &release.anchor).unwrap()
}

/// Whether the byte belongs to the value of a `keyid`, which is a hint and is signed by nobody (DSSE, section 3).
fn is_hint(bytes: &[u8], at: usize) -> bool {
    let text = std::str::from_utf8(bytes).unwrap();
    text.match_indices("\"keyid\":").any(|(found, field)| (found..found + field.len() + 66).contains(&at))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_can_be_changed(object in 0..3usize, place in 0.0..1.0f64, bit in 0..8u32) {
        let release = release();
        let name = &release.read[object];
        let whole = &release.objects[name];
        // A place as a fraction, as the objects differ in length.
        let at = ((whole.len() as f64 * place) as usize).min(whole.len() - 1);
        let store = Flipped { release, name, at, mask: 1 << bit };
        match updater(release).check(&Memory::default(), &store, None, now()) {
            Err(_) => {}
            Ok(Step::Candidate(candidate)) => {
                prop_assert!(is_hint(whole, at), "byte {at} of {name} can be changed");
                prop_assert_eq!(candidate.body_digest.to_string(), release.body.clone());
            }
            Ok(other) => prop_assert!(false, "{other:?}"),
        }
    }
}

/// The same store with nothing flipped is taken, or the property above would say nothing.
#[test]
fn the_whole_release_is_taken() {
    let release = release();
    let store = Flipped { release, name: "", at: 0, mask: 0 };
    let step = updater(release).check(&Memory::default(), &store, None, now()).unwrap();
    assert!(matches!(step, Step::Candidate(_)), "{step:?}");
}
