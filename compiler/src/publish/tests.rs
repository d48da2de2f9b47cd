use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Barrier;

use weft_bundle::release::{Config, Memory, MeshName, Step, Updater};

use super::*;

const NOW: UtcTime = UtcTime::from_unix(1_795_000_000);

fn always(_: &str, _: &str) -> Result<bool, String> {
    Ok(true)
}

fn never(_: &str, _: &str) -> Result<bool, String> {
    Ok(false)
}

struct Bench {
    dir: tempfile::TempDir,
    keys: KeyDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        new_keys(1).write(&keys).unwrap();
        Self { keys: KeyDir::open(&keys).unwrap(), dir }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn publish_with(
        &self,
        body: &str,
        commit: &str,
        change: impl FnOnce(&mut Options<'_>),
    ) -> Result<Published, PublishError> {
        let mut options = Options::new(NOW, &always);
        change(&mut options);
        let source = Source { commit: commit.into(), ..Source::default() };
        publish(&self.out(), &self.keys, &bodies(body), &source, &options)
    }

    fn publish(&self, body: &str) -> Published {
        self.publish_with(body, "c0ffee", |_| {}).unwrap()
    }

    /// What a proxy of `shop/cart` without state finds.
    fn fetch(&self) -> Result<Box<weft_bundle::release::Candidate>, UpdateError> {
        let config = Config {
            mesh: mesh(),
            channel: Channel::stable(),
            service: "shop/cart".parse().unwrap(),
            instance_id: "a".into(),
            canary: false,
            version: ProgramVersion::own(),
            allow_expired: false,
        };
        let updater = Updater::new(config, &self.keys.anchor).unwrap();
        match updater.check(&Memory::default(), &Directory::new(&self.out()), None, NOW)? {
            Step::Candidate(candidate) => Ok(candidate),
            Step::Unchanged(_) | Step::Denylist(_) => panic!("a proxy without state has something to do"),
        }
    }
}

fn mesh() -> MeshName {
    "prod".parse().unwrap()
}

fn new_keys(first: u8) -> NewKeys {
    let mut next = first;
    let seed = |seed: &mut [u8; 32]| {
        *seed = [next; 32];
        next += 1;
        Ok(())
    };
    NewKeys::generate(&mesh(), UtcTime::from_unix(1_900_000_000), seed).unwrap()
}

fn bodies(body: &str) -> Vec<(ServiceId, Vec<u8>)> {
    let service = |text: &str| text.parse::<ServiceId>().unwrap();
    vec![(service("shop/cart"), body.as_bytes().to_vec()), (service("shop/api"), b"the same".to_vec())]
}

fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_published_release_is_what_a_proxy_finds() {
    let bench = Bench::new();
    let first = bench.publish("one");
    assert_eq!((first.sequence, first.timestamp_version, first.services), (1, 1, 2));
    assert_eq!((first.blobs_written, first.blobs_unchanged), (2, 0));
    let found = bench.fetch().unwrap();
    assert_eq!(
        (found.pin.sequence, found.pin.sha256, found.body.as_slice()),
        (1, first.digest, b"one".as_slice())
    );

    let second = bench.publish("two");
    assert_eq!((second.sequence, second.timestamp_version), (2, 2));
    assert_eq!((second.blobs_written, second.blobs_unchanged), (1, 1));
    assert_eq!(bench.fetch().unwrap().body, b"two");
    let leftovers = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains("tmp");
    assert!(!tree(&bench.out()).keys().any(leftovers));
}

#[test]
fn the_same_input_gives_the_same_bytes_anywhere() {
    let (a, b) = (Bench::new(), Bench::new());
    for bench in [&a, &b] {
        bench.publish("one");
        bench.publish("two");
    }
    let relative = |bench: &Bench| -> BTreeMap<PathBuf, Vec<u8>> {
        let out = bench.out();
        tree(&out)
            .into_iter()
            .map(|(path, bytes)| (path.strip_prefix(&out).unwrap().to_owned(), bytes))
            .collect()
    };
    assert_eq!(relative(&a), relative(&b));
    // The order in which bodies come does not matter either.
    let c = Bench::new();
    for body in ["one", "two"] {
        let mut bodies = bodies(body);
        bodies.reverse();
        let source = Source { commit: "c0ffee".into(), ..Source::default() };
        publish(&c.out(), &c.keys, &bodies, &source, &Options::new(NOW, &always)).unwrap();
    }
    assert_eq!(relative(&a), relative(&c));
}

#[test]
fn unchanged_blobs_are_not_written_again_and_damaged_ones_are() {
    let bench = Bench::new();
    bench.publish("one");
    let blob = bench.out().join(ObjectName::blob(&Digest::of(b"the same")).as_str());
    let inode = || fs::metadata(&blob).unwrap().ino();
    let before = inode();
    bench.publish("two");
    assert_eq!(inode(), before);
    fs::write(&blob, b"the sane").unwrap();
    assert_eq!(bench.publish("two").blobs_written, 1);
    assert_eq!(fs::read(&blob).unwrap(), b"the same");
}

#[test]
fn files_are_for_everyone_and_keys_for_their_owner() {
    let bench = Bench::new();
    bench.publish("one");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let blob = bench.out().join(ObjectName::blob(&Digest::of(b"one")).as_str());
    // Whatever the umask takes away, it takes away from both.
    assert_eq!(mode(bench.out().join("channels/stable/latest.json")), mode(blob));
    assert_ne!(mode(bench.out().join("releases/1")) & 0o055, 0);
    for role in ["root", "release", "timestamp", "denylist"] {
        assert_eq!(mode(bench.dir.path().join(format!("keys/{role}.pem"))), 0o600);
    }
    assert!(matches!(new_keys(9).write(&bench.dir.path().join("keys")), Err(KeyDirError::Exists { .. })));
}

#[test]
fn one_key_file_signs_where_the_root_allows_it() {
    let bench = Bench::new();
    // The root names this key for releases only, so the timestamp is what fails, before it is written.
    let keys = KeyDir::open(&bench.dir.path().join("keys/release.pem")).unwrap();
    let source = Source { commit: "c0ffee".into(), ..Source::default() };
    let published = publish(&bench.out(), &keys, &bodies("one"), &source, &Options::new(NOW, &always));
    assert!(matches!(published, Err(PublishError::WrongKey { .. })), "{published:?}");
    assert!(!bench.out().join("channels").exists());
    assert!(!bench.out().join("releases").exists(), "no number is used up");
}

#[test]
fn dirty_files_are_signed_for_dev_only() {
    let bench = Bench::new();
    let dirty = Source { commit: "c0ffee".into(), dirty: true, ..Source::default() };
    for source in [dirty, Source::default()] {
        let mut options = Options::new(NOW, &always);
        let publish =
            |options: &Options<'_>| publish(&bench.out(), &bench.keys, &bodies("one"), &source, options);
        assert!(matches!(publish(&options), Err(PublishError::Dirty { .. })));
        options.channel = "dev".parse().unwrap();
        publish(&options).unwrap();
    }
}

#[test]
fn another_line_of_history_needs_a_reason() {
    let bench = Bench::new();
    bench.publish_with("one", "aaaa", |options| options.descends = &never).unwrap();
    let refused = bench.publish_with("two", "bbbb", |options| options.descends = &never);
    assert!(matches!(refused, Err(PublishError::NotDescendant { .. })));
    let forced = bench.publish_with("two", "bbbb", |options| {
        options.descends = &never;
        options.allow_non_descendant = Some("history was rewritten".into());
    });
    let release = bench.out().join(ObjectName::release(forced.unwrap().sequence).as_str());
    let envelope = Envelope::decode(&fs::read(release).unwrap()).unwrap();
    assert!(String::from_utf8_lossy(envelope.unverified_payload()).contains("history was rewritten"));
}

#[test]
fn nothing_is_built_on_what_does_not_verify() {
    let bench = Bench::new();
    bench.publish("one");
    let latest = bench.out().join("channels/stable/latest.json");
    let good = fs::read_to_string(&latest).unwrap();
    fs::write(&latest, good.replace("\"sig\":\"", "\"sig\":\"AAAA")).unwrap();
    let refused = bench.publish_with("two", "c0ffee", |_| {});
    assert!(matches!(refused, Err(PublishError::Current(_))), "{refused:?}");
    fs::write(&latest, good).unwrap();
    let root = bench.out().join("root/1.json");
    fs::write(&root, new_keys(9).root_for_tests()).unwrap();
    let refused = bench.publish_with("two", "c0ffee", |_| {});
    assert!(matches!(refused, Err(PublishError::OtherRoot { version: 1 })), "{refused:?}");
}

#[test]
fn a_number_is_claimed_once() {
    let bench = Bench::new();
    bench.publish("one");
    // Another publisher got further than `latest.json` says, or stopped before writing it.
    let other =
        bench.publish_with("two", "c0ffee", |options| options.channel = "dev".parse().unwrap()).unwrap();
    assert_eq!(other.sequence, 2);
    let release = fs::read(bench.out().join("releases/2/release.json")).unwrap();
    assert_eq!(bench.publish("three").sequence, 3);
    assert_eq!(fs::read(bench.out().join("releases/2/release.json")).unwrap(), release);
    for taken in [1, 2, 3] {
        let refused = bench.publish_with("four", "c0ffee", |options| options.sequence = Some(taken));
        assert!(matches!(refused, Err(PublishError::Sequence { .. })), "{taken}: {refused:?}");
    }
    assert_eq!(
        bench.publish_with("four", "c0ffee", |options| options.sequence = Some(9)).unwrap().sequence,
        9
    );
}

#[test]
fn the_rename_decides_who_gets_a_number() {
    // Without the lock: eight claims of one number at the same moment.
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new(dir.path());
    let barrier = Barrier::new(8);
    let claim = |n: usize| {
        let file = (ObjectName::release(7), vec![b'0' + n as u8]);
        let place = dir.path().join("releases/7");
        barrier.wait();
        directory.claim(&place, std::iter::once(&file)).unwrap()
    };
    let winners: Vec<bool> = std::thread::scope(|scope| {
        let claim = &claim;
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || claim(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(winners.iter().filter(|won| **won).count(), 1);
    assert_eq!(tree(dir.path()).len(), 1, "{:?}", tree(dir.path()));
}

#[test]
fn publishers_at_the_same_time_take_turns() {
    let bench = Bench::new();
    let bench = &bench;
    let mut sequences: Vec<u64> = std::thread::scope(|scope| {
        let publish = |n: usize| scope.spawn(move || bench.publish(&format!("body {n}")).sequence);
        let threads: Vec<_> = (0..4).map(publish).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2, 3, 4]);
    assert_eq!(bench.fetch().unwrap().pin.sequence, 4);
}
