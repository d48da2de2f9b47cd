//! The files of a Git tree at a revision: blobs, not the work tree.
//!
//! Only plumbing commands, which run no hooks and no filters. Replacement objects are switched off, `GIT_*` variables
//! are cleared, nothing is fetched, and every path and revision is passed so that it cannot be taken for an option.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use super::directory::blob_id;
use super::{
    MAX_FILE_BYTES, Refusal, Revision, Role, Room, Source, SourceError, SourceFile, Sources, is_hidden, join,
    parent,
};

/// A directory of a Git repository, at a revision.
#[derive(Clone, Debug)]
pub struct GitTree {
    directory: PathBuf,
    revision: String,
}

impl GitTree {
    /// What `directory`, somewhere inside a work tree, held at `revision` (anything `git rev-parse` understands). The
    /// directory need not exist any more.
    pub fn new(directory: impl Into<PathBuf>, revision: impl Into<String>) -> Self {
        Self { directory: directory.into(), revision: revision.into() }
    }
}

impl Source for GitTree {
    fn read(&self) -> Result<Sources, SourceError> {
        self.read_knowing(&Sources::default())
    }
}

impl GitTree {
    /// Reads it. Contents that `known` has, wherever it has them, are taken from there, and `git` is asked for the others
    /// only: most of a repository is the same before and after a change.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_knowing(&self, known: &Sources) -> Result<Sources, SourceError> {
        let (git, prefix) = Git::at(&self.directory)?;
        let commit = git.commit(&self.revision)?;
        let entries = git.tree(&commit)?;
        if !prefix.is_empty() && !entries.iter().any(|entry| is_below(&entry.path, &prefix)) {
            return Err(SourceError::NoSuchDirectory { path: prefix, revision: self.revision.clone() });
        }
        let revision = git.revision(&commit, false)?;
        let mut sources = Sources { revision: Some(revision), ..Sources::default() };
        let mut room = Room::new();
        let mut blobs = Blobs::start(&git, known, commit.len())?;
        let alone = entries.iter().any(|entry| entry.path == prefix && entry.is_ours());
        let visible = |entry: &&TreeEntry| {
            let below = is_below(&entry.path, &prefix) && !is_hidden(&entry.path, &prefix);
            below || (alone && entry.is_beside(&prefix))
        };
        let hidden = |entry: &&TreeEntry| {
            entry.is_ours() && is_below(&entry.path, &prefix) && is_hidden(&entry.path, &prefix)
        };
        entries.iter().filter(hidden).for_each(|entry| sources.hide(&entry.path, &prefix));
        for entry in entries.iter().filter(visible) {
            match entry.read(&entries, &mut blobs)? {
                Content::File(file) => {
                    room.take(&file.path, entry.size)?;
                    sources.push(file);
                }
                Content::Refused(refusal) => sources.refuse(&entry.path, refusal),
                Content::Other => {}
            }
        }
        sources.sort();
        Ok(sources)
    }
}

/// Whether commit `ancestor` is `descendant` or among its ancestors, in the repository around `directory`.
///
/// # Errors
/// When `git` cannot be asked, or does not know one of the two.
pub fn is_ancestor(directory: &Path, ancestor: &str, descendant: &str) -> Result<bool, SourceError> {
    let (git, _) = Git::at(directory)?;
    let (ancestor, descendant) = (git.commit(ancestor)?, git.commit(descendant)?);
    let arguments = ["merge-base", "--is-ancestor", &ancestor, &descendant];
    let output = git.output(&arguments)?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(failure(&arguments, &output)),
    }
}

/// A repository to ask.
pub(super) struct Git {
    directory: PathBuf,
}

impl Git {
    /// The repository around `path`, and where `path` is in it, with `/`, empty for the root.
    pub(super) fn at(path: &Path) -> Result<(Self, String), SourceError> {
        let absolute =
            std::path::absolute(path).map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
        let mut missing = Vec::new();
        let mut directory = absolute.as_path();
        while !directory.is_dir() {
            let name = directory.file_name().and_then(OsStr::to_str).map(str::to_owned);
            let (Some(parent), Some(name)) = (directory.parent(), name) else {
                return Err(SourceError::NotARepository(path.to_owned()));
            };
            missing.push(name);
            directory = parent;
        }
        let git = Self { directory: directory.to_owned() };
        let output = git.output(&["rev-parse", "--show-prefix"])?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            if message.contains("not a git repository") {
                return Err(SourceError::NotARepository(path.to_owned()));
            }
            return Err(failure(&["rev-parse", "--show-prefix"], &output));
        }
        let mut prefix = line(&output.stdout)?.trim_end_matches('/').to_owned();
        for name in missing.iter().rev() {
            prefix = join(&prefix, name).unwrap_or_default();
        }
        Ok((git, prefix))
    }

    /// The id of the commit that a revision names.
    fn commit(&self, revision: &str) -> Result<String, SourceError> {
        let wanted = format!("{revision}^{{commit}}");
        let output = self.output(&["rev-parse", "--verify", "--end-of-options", &wanted])?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(SourceError::UnknownRevision { revision: revision.to_owned(), message });
        }
        line(&output.stdout)
    }

    /// The commit that is checked out; `None` before the first one.
    pub(super) fn head(&self) -> Result<Option<String>, SourceError> {
        match self.commit("HEAD") {
            Ok(commit) => Ok(Some(commit)),
            Err(SourceError::UnknownRevision { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn revision(&self, commit: &str, dirty: bool) -> Result<Revision, SourceError> {
        let tree = self.run(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])?;
        Ok(Revision { repo: self.remote()?, commit: commit.to_owned(), tree: line(&tree)?, dirty })
    }

    /// The address of `origin`, without credentials.
    fn remote(&self) -> Result<String, SourceError> {
        let output = self.output(&["config", "--get", "remote.origin.url"])?;
        Ok(if output.status.success() { without_credentials(&line(&output.stdout)?) } else { String::new() })
    }

    /// What Git ignores below the directory, from the root of the repository: files, and directories as a whole. Empty if
    /// the directory itself is ignored: who asks for it by name means it.
    pub(super) fn ignored(&self) -> Result<BTreeSet<String>, SourceError> {
        if self.output(&["check-ignore", "--quiet", "."])?.status.success() {
            return Ok(BTreeSet::new());
        }
        let others =
            ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "--full-name", "-z"];
        let listing = self.run(&others)?;
        let names = listing.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        Ok(names.map(|name| name.trim_end_matches('/').to_owned()).filter(|name| !name.is_empty()).collect())
    }

    /// Every entry of a commit's tree, directories opened, in Git's order.
    pub(super) fn tree(&self, commit: &str) -> Result<Vec<TreeEntry>, SourceError> {
        let listing = self.run(&["ls-tree", "-r", "-l", "-z", "--full-tree", commit])?;
        listing.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(TreeEntry::parse).collect()
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, SourceError> {
        let output = self.output(arguments)?;
        if output.status.success() { Ok(output.stdout) } else { Err(failure(arguments, &output)) }
    }

    fn output(&self, arguments: &[&str]) -> Result<Output, SourceError> {
        self.command(arguments).stdin(Stdio::null()).output().map_err(SourceError::NoGit)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
            command.env_remove(name);
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .args(["--no-replace-objects", "--literal-pathspecs"])
            .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
            .arg("-C")
            .arg(&self.directory)
            .args(arguments);
        command
    }
}

/// A line of `git ls-tree -l`.
pub(super) struct TreeEntry {
    pub(super) path: String,
    pub(super) id: String,
    mode: Mode,
    size: u64,
    /// Whether the path could not be shown as it is.
    mangled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    File,
    Symlink,
    Submodule,
    Unknown,
}

/// What an entry gives.
enum Content {
    File(SourceFile),
    Refused(Refusal),
    Other,
}

impl TreeEntry {
    /// `<mode> <type> <id> <size>TAB<path>`.
    fn parse(line: &[u8]) -> Result<Self, SourceError> {
        const SHAPE: SourceError = SourceError::Protocol("a line of `ls-tree` has another shape");
        let tab = line.iter().position(|byte| *byte == b'\t').ok_or(SHAPE)?;
        let (facts, path) = line.split_at_checked(tab).ok_or(SHAPE)?;
        let facts = std::str::from_utf8(facts).map_err(|_| SHAPE)?;
        let mut facts = facts.split_ascii_whitespace();
        let (Some(mode), Some(_), Some(id), Some(size)) =
            (facts.next(), facts.next(), facts.next(), facts.next())
        else {
            return Err(SHAPE);
        };
        let path = path.get(1..).unwrap_or_default();
        let text = String::from_utf8_lossy(path);
        Ok(Self {
            mangled: text.as_bytes() != path,
            path: text.into_owned(),
            id: id.to_owned(),
            mode: match mode {
                "100644" | "100755" => Mode::File,
                "120000" => Mode::Symlink,
                "160000" => Mode::Submodule,
                _ => Mode::Unknown,
            },
            size: size.parse().unwrap_or(0),
        })
    }

    /// Whether it is a plain file with a role of ours.
    pub(super) fn is_ours(&self) -> bool {
        self.mode == Mode::File && Role::of(&self.path).is_some()
    }

    /// Whether a document that is read alone may refer to it: a certificate in its directory, or in one directly below.
    fn is_beside(&self, document: &str) -> bool {
        let directory = parent(document);
        let below = self.path.strip_prefix(directory).unwrap_or_default().trim_start_matches('/');
        self.mode == Mode::File
            && Role::of(&self.path) == Some(Role::Attachment)
            && is_inside(&self.path, directory)
            && !is_hidden(&self.path, directory)
            && below.matches('/').count() <= 1
    }

    fn read(&self, entries: &[Self], blobs: &mut Blobs<'_>) -> Result<Content, SourceError> {
        let role = Role::of(&self.path);
        Ok(match self.mode {
            Mode::File | Mode::Unknown if role.is_none() => Content::Other,
            Mode::File | Mode::Unknown if self.mangled => Content::Refused(Refusal::Name),
            Mode::Unknown => Content::Refused(Refusal::NotAFile),
            Mode::File if self.size > MAX_FILE_BYTES => Content::Refused(Refusal::TooLarge),
            Mode::File => {
                let bytes = blobs.read(&self.id)?;
                match Refusal::of_content(&bytes) {
                    Some(refusal) => Content::Refused(refusal),
                    None => Content::File(SourceFile { path: self.path.clone(), bytes }),
                }
            }
            Mode::Submodule => Content::Refused(Refusal::Submodule),
            Mode::Symlink => self.symlink(role, entries, blobs)?,
        })
    }

    /// A link matters if it has the name of a file of ours, leaves the repository, or stands for a directory.
    fn symlink(
        &self,
        role: Option<Role>,
        entries: &[Self],
        blobs: &mut Blobs<'_>,
    ) -> Result<Content, SourceError> {
        let target = String::from_utf8_lossy(&blobs.read(&self.id)?).into_owned();
        let resolved = join(parent(&self.path), &target);
        Ok(match resolved {
            None => Content::Refused(Refusal::LinkOut),
            Some(_) if role.is_some() => Content::Refused(Refusal::Link),
            Some(directory) if entries.iter().any(|entry| is_inside(&entry.path, &directory)) => {
                Content::Refused(Refusal::Link)
            }
            Some(_) => Content::Other,
        })
    }
}

/// A running `git cat-file --batch`.
struct Blobs<'k> {
    /// Contents that need not be asked for, by their name.
    known: BTreeMap<String, &'k [u8]>,
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl<'k> Blobs<'k> {
    /// `hex_digits` is how long names are in this repository.
    fn start(git: &Git, known: &'k Sources, hex_digits: usize) -> Result<Self, SourceError> {
        let mut child = git
            .command(&["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(SourceError::NoGit)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (ask, answers) = pipes.ok_or(SourceError::Protocol("it has no input or output"))?;
        let files = known.files.iter().chain(&known.attachments);
        let known = files.map(|file| (blob_id(&file.bytes, hex_digits), file.bytes.as_slice())).collect();
        Ok(Self { known, child, ask: Some(ask), answers: BufReader::new(answers) })
    }

    fn read(&mut self, id: &str) -> Result<Vec<u8>, SourceError> {
        const ENDED: SourceError = SourceError::Protocol("`cat-file` ended early");
        if let Some(bytes) = self.known.get(id) {
            return Ok(bytes.to_vec());
        }
        let ask = self.ask.as_mut().ok_or(ENDED)?;
        writeln!(ask, "{id}").and_then(|()| ask.flush()).map_err(|_| ENDED)?;
        let mut header = String::new();
        self.answers.read_line(&mut header).map_err(|_| ENDED)?;
        let size = header.trim_end().rsplit(' ').next().and_then(|size| size.parse::<u64>().ok());
        let size =
            size.ok_or(SourceError::Protocol("an object of the commit is missing from the repository"))?;
        let mut bytes = Vec::new();
        let wanted = self.answers.by_ref().take(size + 1).read_to_end(&mut bytes).map_err(|_| ENDED)?;
        if u64::try_from(wanted) != Ok(size + 1) {
            return Err(ENDED);
        }
        bytes.pop();
        Ok(bytes)
    }
}

impl Drop for Blobs<'_> {
    /// Closes its input, upon which it ends, and waits for that.
    fn drop(&mut self) {
        drop(self.ask.take());
        let _ = self.child.wait();
    }
}

/// The ids that `entries` have at paths of ours below `prefix`.
pub(super) fn ids_below(entries: &[TreeEntry], prefix: &str) -> BTreeMap<String, String> {
    let ours = entries
        .iter()
        .filter(|entry| entry.is_ours() && is_below(&entry.path, prefix) && !is_hidden(&entry.path, prefix));
    ours.map(|entry| (entry.path.clone(), entry.id.clone())).collect()
}

fn is_below(path: &str, prefix: &str) -> bool {
    prefix.is_empty() || path == prefix || is_inside(path, prefix)
}

fn is_inside(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn line(bytes: &[u8]) -> Result<String, SourceError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SourceError::Protocol("its answer is not UTF-8"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn failure(arguments: &[&str], output: &Output) -> SourceError {
    SourceError::Git {
        command: arguments.join(" "),
        message: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `https://user:token@host/path` without what is before the `@`. Other forms have no secrets in them.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}/{path}"),
        None => url.to_owned(),
    }
}
