//! A mesh in a scratch directory: a Git repository of policy, keys, an authority, a release, and proxies.
//!
//! ```text
//! <root>/policy/       a Git repository
//!        keys/         `weft key new`
//!        ca/           `weft ca init`; its certificate is also policy/ca/root.pem
//!        identities/   `weft ca issue`, one directory per service
//!        release/      `weft build --out`
//!        state/, log/  of the proxies, by replica
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::binaries::{Binaries, workspace};
use crate::command::{self, Finished};
use crate::proxy::Setup;
use crate::{Context, Failure, Result, port};

/// A mesh in a scratch directory.
#[derive(Debug)]
pub struct Mesh {
    root: PathBuf,
    name: String,
    binaries: Binaries,
    observer: Observer,
    /// Removes the directory when the mesh is dropped; `None` if somebody else owns it.
    _scratch: Option<tempfile::TempDir>,
}

/// Is told of each command before it runs.
#[derive(Clone)]
struct Observer(Arc<dyn Fn(&Command) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Mesh {
    /// A mesh with this policy, in a directory of its own: keys, an authority and a first commit are made. Documents
    /// find the authority's certificate at `ca/root.pem`.
    ///
    /// # Errors
    /// A command fails.
    pub fn new(name: &str, policy: &[(&str, &str)]) -> Result<Self> {
        let scratch =
            tempfile::Builder::new().prefix("weft-test-").tempdir().context("a scratch directory")?;
        let mut mesh = Self::at(scratch.path(), name)?;
        mesh._scratch = Some(scratch);
        mesh.make_keys()?;
        mesh.make_authority(&format!("{name}.example"))?;
        mesh.make_repository()?;
        for (path, text) in policy {
            mesh.write(path, text)?;
        }
        mesh.commit("Start")?;
        Ok(mesh)
    }

    /// An empty place for a mesh in a directory that somebody else owns.
    ///
    /// # Errors
    /// The programs cannot be built.
    pub fn at(root: &Path, name: &str) -> Result<Self> {
        let binaries = Binaries::get()?.clone();
        let observer = Observer(Arc::new(|_| {}));
        Ok(Self { root: root.to_path_buf(), name: name.to_owned(), binaries, observer, _scratch: None })
    }

    /// The same, telling `observer` of each command before it runs.
    pub fn observed(mut self, observer: impl Fn(&Command) + Send + Sync + 'static) -> Self {
        self.observer = Observer(Arc::new(observer));
        self
    }

    /// Makes signing keys and the trust root.
    ///
    /// # Errors
    /// The command fails.
    pub fn make_keys(&self) -> Result<Finished> {
        self.weft(&["key", "new", "--out", "keys", "--mesh", &self.name])?.expect_code(0)
    }

    /// Makes the certificate authority of a trust domain.
    ///
    /// # Errors
    /// The command fails.
    pub fn make_authority(&self, trust_domain: &str) -> Result<Finished> {
        self.weft(&["ca", "init", "--trust-domain", trust_domain, "--out", "ca"])?.expect_code(0)
    }

    /// Makes the Git repository, with the authority's certificate in it.
    ///
    /// # Errors
    /// A command fails.
    pub fn make_repository(&self) -> Result<()> {
        let policy = self.policy();
        std::fs::create_dir_all(policy.join("ca")).context(policy.display())?;
        let certificate = self.root.join("ca/root.pem");
        std::fs::copy(&certificate, policy.join("ca/root.pem")).context(certificate.display())?;
        self.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(())
    }

    /// The scratch directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mesh's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The programs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The policy repository.
    pub fn policy(&self) -> PathBuf {
        self.root.join("policy")
    }

    /// The release directory.
    pub fn release(&self) -> PathBuf {
        self.root.join("release")
    }

    /// The trust root.
    pub fn root_json(&self) -> PathBuf {
        self.root.join("keys/root.json")
    }

    /// Writes a document.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.policy().join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).context(parent.display())?;
        }
        std::fs::write(&path, text).context(path.display())
    }

    /// A document as it stands.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &str) -> Result<String> {
        let path = self.policy().join(path);
        std::fs::read_to_string(&path).context(path.display())
    }

    /// Replaces a text in a document.
    ///
    /// # Errors
    /// The text is not there.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let text = self.read(path)?;
        if !text.contains(from) {
            return Err(Failure::new(format!("`{from}` is not in {path}")));
        }
        self.write(path, &text.replace(from, to))
    }

    /// Copies the documents of a folder of `policy-examples/`, each port from 19000 to 19999 replaced by a free one.
    /// Gives the new address by the port that stands in the example.
    ///
    /// # Errors
    /// A file cannot be read or written, or no port is free.
    pub fn copy_example(&self, folder: &str) -> Result<BTreeMap<u16, SocketAddr>> {
        let example = workspace().join("policy-examples").join(folder);
        let mut addresses = BTreeMap::new();
        for entry in std::fs::read_dir(&example).context(example.display())? {
            let path = entry.context(example.display())?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).context(path.display())?;
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            self.write(name, &with_free_ports(&text, &mut addresses)?)?;
        }
        Ok(addresses)
    }

    /// Commits everything.
    ///
    /// # Errors
    /// Git fails, or there is nothing to commit.
    pub fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        Ok(())
    }

    /// Runs `git` in the policy repository, with nothing of the user's own configuration.
    ///
    /// # Errors
    /// It fails.
    pub fn git(&self, arguments: &[&str]) -> Result<Finished> {
        let mut git = Command::new("git");
        git.current_dir(self.policy()).args(arguments);
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_AUTHOR_NAME", "Weft"),
            ("GIT_AUTHOR_EMAIL", "weft@example.com"),
            ("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z"),
            ("GIT_COMMITTER_NAME", "Weft"),
            ("GIT_COMMITTER_EMAIL", "weft@example.com"),
            ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z"),
        ] {
            git.env(name, value);
        }
        for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(inherited);
        }
        self.run(git)?.expect_code(0)
    }

    /// A `weft` command in the scratch directory.
    pub fn weft_command(&self, arguments: &[&str]) -> Command {
        let mut weft = Command::new(&self.binaries.weft);
        weft.current_dir(&self.root).args(arguments);
        weft
    }

    /// Runs `weft` in the scratch directory, whatever it ends with.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn weft(&self, arguments: &[&str]) -> Result<Finished> {
        self.run(self.weft_command(arguments))
    }

    fn run(&self, mut command: Command) -> Result<Finished> {
        (self.observer.0)(&command);
        command::run(&mut command)
    }

    /// Compiles, signs and publishes what is committed.
    ///
    /// # Errors
    /// The command fails.
    pub fn build(&self) -> Result<Finished> {
        self.weft(&["build", "policy", "--out", "release", "--key", "keys"])?.expect_code(0)
    }

    /// The sequence of the newest release in the release directory.
    ///
    /// # Errors
    /// There is none.
    pub fn sequence(&self) -> Result<u64> {
        let releases = self.release().join("releases");
        let entries = std::fs::read_dir(&releases).context(releases.display())?;
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.max().ok_or_else(|| Failure::new("no release was published"))
    }

    /// The certificate and key of a service (or another SPIFFE id); issued on first use.
    ///
    /// # Errors
    /// The command fails.
    pub fn identity(&self, service: &str) -> Result<(PathBuf, PathBuf)> {
        let folder = format!("identities/{}", service.replace("spiffe://", "").replace('/', "."));
        let path = self.root.join(&folder);
        if !path.exists() {
            self.weft(&["ca", "issue", service, "--ca", "ca", "--out", &folder])?.expect_code(0)?;
        }
        Ok((path.join("cert.pem"), path.join("key.pem")))
    }

    /// How to start a proxy of a service, as replica `name`; its identity is the service's own.
    ///
    /// # Errors
    /// No identity can be issued, or no port is free.
    pub fn proxy(&self, service: &str, name: &str) -> Result<Setup> {
        self.proxy_as(service, service, name)
    }

    /// The same for a service whose workloads have the identity of another account, `namespace/account`.
    ///
    /// # Errors
    /// As [`Mesh::proxy`].
    pub fn proxy_as(&self, account: &str, service: &str, name: &str) -> Result<Setup> {
        for folder in ["state", "log"] {
            std::fs::create_dir_all(self.root.join(folder)).context(folder)?;
        }
        Ok(Setup {
            program: self.binaries.proxy.clone(),
            name: name.to_owned(),
            mesh: self.name.clone(),
            service: service.to_owned(),
            source: self.release(),
            root: self.root_json(),
            state: self.root.join("state").join(name),
            identity: Some(self.identity(account)?),
            inbound: Vec::new(),
            application: Vec::new(),
            outbound: port::free_address()?,
            admin: port::free_address()?,
            arguments: Vec::new(),
            app: Vec::new(),
            log: self.root.join("log").join(format!("{name}.log")),
        })
    }
}

/// The text with each `port: 19xxx` on a free port, the same one for the same number.
fn with_free_ports(text: &str, addresses: &mut BTreeMap<u16, SocketAddr>) -> Result<String> {
    const FIELD: &str = "port: ";
    let mut pieces = text.split(FIELD);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        let (digits, rest) = piece.split_at(end);
        let number = match digits.parse() {
            Ok(example @ 19000..=19999) => match addresses.entry(example) {
                Entry::Occupied(known) => known.get().port(),
                Entry::Vacant(new) => new.insert(port::free_address()?).port(),
            }
            .to_string(),
            Ok(_) | Err(_) => digits.to_owned(),
        };
        out.extend([FIELD, &number, rest]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ports_of_examples_are_replaced() {
        let mut addresses = BTreeMap::new();
        let text = "{ port: 19080 }, { port: 9080 }, { port: 19080, port: x }";
        let replaced = with_free_ports(text, &mut addresses).unwrap();
        let new = addresses[&19080].port();
        assert_eq!(replaced, format!("{{ port: {new} }}, {{ port: 9080 }}, {{ port: {new}, port: x }}"));
        assert_eq!(addresses.len(), 1);
    }
}
