//! Releases that nobody should make: real ones, changed and signed again, or not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use weft_bundle::json;
use weft_bundle::release::envelope::Envelope;
use weft_bundle::release::key::{Signer, SigningKey};
use weft_bundle::release::sign::{pack_service, sign_root, sign_timestamp};
use weft_bundle::release::{Root, Timestamp, UtcTime};
use weft_tests::mesh::Mesh;

pub(crate) const LATEST: &str = "channels/stable/latest.json";

/// Somebody who can write to a release directory, and may hold keys.
pub(crate) struct Forge {
    pub(crate) release: PathBuf,
    keys: PathBuf,
}

impl Forge {
    pub(crate) fn of(mesh: &Mesh) -> Self {
        Self { release: mesh.release(), keys: mesh.root().join("keys") }
    }

    /// The same for another release directory beside it, with the same keys.
    pub(crate) fn at(mesh: &Mesh, directory: &str) -> Self {
        Self { release: mesh.root().join(directory), ..Self::of(mesh) }
    }

    /// A key of the mesh, by its role.
    pub(crate) fn key(&self, role: &str) -> SigningKey {
        SigningKey::from_pem(&fs::read_to_string(self.keys.join(format!("{role}.pem"))).unwrap()).unwrap()
    }

    /// What `latest.json` says now.
    pub(crate) fn latest(&self) -> Timestamp {
        let envelope = Envelope::decode(&self.read(LATEST)).unwrap();
        json::from_slice(envelope.unverified_payload()).unwrap()
    }

    /// The first root, as proxies have it.
    pub(crate) fn root(&self) -> Root {
        let envelope = Envelope::decode(&fs::read(self.keys.join("root.json")).unwrap()).unwrap();
        json::from_slice(envelope.unverified_payload()).unwrap()
    }

    /// Changes what `latest.json` says, under the next version, signs it properly, and publishes it.
    pub(crate) fn change_latest(&self, change: impl FnOnce(&mut Timestamp)) {
        let mut timestamp = self.latest();
        timestamp.version += 1;
        change(&mut timestamp);
        self.sign_latest(&timestamp, &[&self.key("timestamp")]);
    }

    /// Publishes a timestamp signed by these keys.
    pub(crate) fn sign_latest(&self, timestamp: &Timestamp, signers: &[&dyn Signer]) {
        self.write(LATEST, &sign_timestamp(timestamp, signers).unwrap());
    }

    /// Publishes a root signed by these keys.
    pub(crate) fn sign_root(&self, root: &Root, signers: &[&dyn Signer]) {
        self.write(&format!("root/{}.json", root.version), &sign_root(root, signers).unwrap());
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.release.join(name)).unwrap()
    }

    /// Publishes bytes under a name, by renaming over what is there.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        write(&self.release.join(name), bytes);
    }
}

/// Now, give or take.
pub(crate) fn now() -> UtcTime {
    UtcTime::from(SystemTime::now())
}

/// So many minutes ago.
pub(crate) fn ago(minutes: u64) -> UtcTime {
    UtcTime::from(SystemTime::now() - Duration::from_secs(60 * minutes))
}

/// In so many minutes.
pub(crate) fn ahead(minutes: u64) -> UtcTime {
    now().plus(Duration::from_secs(60 * minutes))
}

/// The newest release of a mesh for one service as a packed directory.
pub(crate) fn pack(mesh: &Mesh, service: &str, out: &Path) {
    let forge = Forge::of(mesh);
    let sequence = forge.latest().current.sequence;
    let file = forge.read(&format!("releases/{sequence}/services/{service}.json"));
    let body = forge.read(&format!("blobs/sha256/{}", body_digest(&forge.release, sequence, service)));
    fs::write(out.join("root.json"), forge.read("root/1.json")).unwrap();
    fs::write(out.join("latest.json"), forge.read(LATEST)).unwrap();
    fs::write(out.join("service.json"), pack_service(&file, &body).unwrap()).unwrap();
}

/// The digest of a service's body, as the manifest of a release has it.
pub(crate) fn body_digest(release: &Path, sequence: u64, service: &str) -> String {
    let manifest = release.join(format!("releases/{sequence}/manifest.jsonl"));
    let text = fs::read_to_string(manifest).unwrap();
    let leaves = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let leaf = leaves.into_iter().find(|leaf| leaf["service"] == service).unwrap();
    leaf["sha256"].as_str().unwrap().to_owned()
}

/// Everything of a release directory but what says which release is current.
pub(crate) fn copy_all_but_latest(from: &Path, to: &Path) {
    for name in files(from) {
        if name != Path::new(LATEST) {
            write(&to.join(&name), &fs::read(from.join(&name)).unwrap());
        }
    }
}

/// The files below a directory, relative to it, sorted.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    fn walk(root: &Path, directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(root, &path, found),
                false => found.push(path.strip_prefix(root).unwrap().to_path_buf()),
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, directory, &mut found);
    found.sort();
    found
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let temporary = path.with_extension("forged");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(&temporary, path).unwrap();
}
