//! A second opinion: `tests/verify.py`, written from the specification alone, agrees with `weft verify`.

use std::fs;
use std::path::Path;
use std::process::Command;

use weft_bundle::release::key::SigningKey;
use weft_tests::binaries::workspace;
use weft_tests::command;

use crate::forge::{Forge, LATEST, ago, ahead, body_digest};
use crate::small::Small;

/// Whether Python and its package are there; says so if not.
fn python_is_there() -> bool {
    let found = Command::new("python3").args(["-c", "import cryptography"]).output();
    let there = found.is_ok_and(|output| output.status.success());
    if !there {
        anstream::eprintln!(
            "SKIPPED: the independent verifier needs python3 with the package `cryptography` (pip install cryptography)"
        );
    }
    there
}

/// What both say of a release: whether it is good.
fn verdicts(small: &Small, release: &Path) -> (bool, bool, String) {
    let root = small.mesh.root_json();
    let mut python = Command::new("python3");
    python.arg(workspace().join("tests/verify.py")).arg(release).arg(&root).args([
        "small",
        "stable",
        "default/web",
    ]);
    let python = command::run(&mut python).unwrap();
    assert!(matches!(python.code, Some(0 | 1)), "{python}");
    assert_eq!(python.stdout.starts_with("ok "), python.code == Some(0), "{python}");
    let mut weft = small.mesh.weft_command(&["verify"]);
    weft.arg(release).arg("--root").arg(&root).args(["--mesh", "small", "--service", "default/web"]);
    let weft = command::run(&mut weft).unwrap();
    assert!(matches!(weft.code, Some(0 | 1)), "{weft}");
    (python.code == Some(0), weft.code == Some(0), format!("{python}\n{weft}"))
}

type Tampering = (&'static str, fn(&Forge));

const SERVICE: &str = "releases/2/services/default/web.json";

fn flip_middle(forge: &Forge, name: &str) {
    let mut bytes = forge.read(name);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    forge.write(name, &bytes);
}

fn body(forge: &Forge) -> String {
    format!("blobs/sha256/{}", body_digest(&forge.release, 2, "default/web"))
}

/// Changes a field of a JSON object that no signature covers as a whole.
fn edit(forge: &Forge, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let mut value = serde_json::from_slice(&forge.read(name)).unwrap();
    change(&mut value);
    forge.write(name, &serde_json::to_vec(&value).unwrap());
}

const TAMPERINGS: [Tampering; 16] = [
    ("a byte of the body", |forge| flip_middle(forge, &body(forge))),
    ("a byte of the service file", |forge| flip_middle(forge, SERVICE)),
    ("a byte of the timestamp", |forge| flip_middle(forge, LATEST)),
    ("half a body", |forge| {
        let bytes = forge.read(&body(forge));
        forge.write(&body(forge), &bytes[..bytes.len() / 2]);
    }),
    ("a longer body", |forge| {
        let mut bytes = forge.read(&body(forge));
        bytes.push(b' ');
        forge.write(&body(forge), &bytes);
    }),
    ("no body", |forge| fs::remove_file(forge.release.join(body(forge))).unwrap()),
    ("another service's file", |forge| {
        forge.write(SERVICE, &forge.read("releases/2/services/default/api.json"));
    }),
    ("an older release's file", |forge| {
        forge.write(SERVICE, &forge.read("releases/1/services/default/web.json"));
    }),
    ("another place in the tree", |forge| {
        edit(forge, SERVICE, |file| file["proof"]["index"] = 0.into());
    }),
    ("a proof against another size", |forge| {
        edit(forge, SERVICE, |file| file["proof"]["size"] = 3.into());
    }),
    ("a key twice in an object", |forge| {
        let text = String::from_utf8(forge.read(LATEST)).unwrap();
        forge.write(LATEST, text.replacen('{', "{\"payload\":\"\",", 1).as_bytes());
    }),
    ("a stranger's timestamp", |forge| {
        forge.sign_latest(&forge.latest(), &[&SigningKey::from_seed(&[1; 32]).unwrap()]);
    }),
    ("a timestamp without a signature", |forge| {
        edit(forge, LATEST, |latest| latest["signatures"] = serde_json::json!([]));
    }),
    ("an expired timestamp", |forge| {
        forge.change_latest(|latest| {
            (latest.issued, latest.stale_after, latest.expires) = (ago(9), ago(8), ago(7));
        });
    }),
    ("a timestamp from the future", |forge| forge.change_latest(|latest| latest.issued = ahead(60))),
    ("another mesh", |forge| forge.change_latest(|latest| latest.mesh = "other".parse().unwrap())),
];

#[test]
fn two_verifiers_agree_on_good_and_on_tampered_releases() {
    if !python_is_there() {
        return;
    }
    let small = Small::new();
    small.publish("two");
    let (python, weft, said) = verdicts(&small, &small.mesh.release());
    assert!(python && weft, "{said}");
    for (number, (what, tamper)) in TAMPERINGS.into_iter().enumerate() {
        let place = small.mesh.root().join(format!("tampered-{number}"));
        let copied = Command::new("cp").arg("-a").arg(small.mesh.release()).arg(&place).status().unwrap();
        assert!(copied.success());
        tamper(&Forge::at(&small.mesh, &format!("tampered-{number}")));
        let (python, weft, said) = verdicts(&small, &place);
        assert!(!python && !weft, "{what}: python said {python}, weft said {weft}\n{said}");
    }
}
