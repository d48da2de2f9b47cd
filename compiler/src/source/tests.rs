//! Directories and repositories made on the spot.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let full = self.path().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
        self
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example", "-c", "commit.gpgsign=false", "-C"])
            .arg(self.path())
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

fn paths(sources: &Sources) -> Vec<&str> {
    sources.files.iter().map(|file| file.path.as_str()).collect()
}

fn messages(sources: &Sources) -> Vec<&str> {
    sources.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect()
}

#[test]
fn a_directory_outside_git_gives_policy_sorted_by_path() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["b.yaml", "a/z.yml", "a/k.json", "README.md", "ca/root.pem", ".hidden/x.yaml"] {
        let full = directory.path().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, path).unwrap();
    }
    let sources = Directory::new(directory.path()).read().unwrap();
    assert_eq!(paths(&sources), ["a/k.json", "a/z.yml", "b.yaml"]);
    assert_eq!(sources.revision, None);
    assert_eq!(sources.diagnostics, []);
    let anchor = sources.attachment(FileId(2), "./ca/root.pem").unwrap();
    assert_eq!(anchor.bytes, b"ca/root.pem");
    assert_eq!(sources.attachment(FileId(0), "../ca/root.pem"), Some(anchor));
    assert_eq!(sources.attachment(FileId(0), "../../ca/root.pem"), None);
    assert_eq!(sources.attachment(FileId(0), "/ca/root.pem"), None);
}

#[test]
fn a_single_file_is_read_with_the_certificates_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("ca")).unwrap();
    fs::write(directory.path().join("ca/root.pem"), "pem").unwrap();
    fs::write(directory.path().join("mesh.yaml"), "a: 1").unwrap();
    fs::write(directory.path().join("other.yaml"), "b: 1").unwrap();
    let sources = Directory::new(directory.path().join("mesh.yaml")).read().unwrap();
    assert_eq!(paths(&sources), ["mesh.yaml"]);
    assert!(sources.attachment(FileId(0), "ca/root.pem").is_some());
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.txt");
    fs::write(&path, "a: 1").unwrap();
    let sources = Directory::new(path).read().unwrap();
    assert_eq!(messages(&sources), ["`policy.txt` is not a `.yaml`, `.yml` or `.json` file"]);
}

#[test]
fn a_hidden_directory_is_read_if_it_is_asked_for() {
    let repository = Repository::new();
    repository.write(".policy/a.yaml", "a: 1\n").write(".policy/.more/b.yaml", "b: 1\n").write("c.yaml", "");
    repository.commit();
    let directory = repository.path().join(".policy");
    let sources = Directory::new(&directory).read().unwrap();
    assert_eq!(paths(&sources), [".policy/a.yaml"]);
    assert!(!sources.revision.unwrap().dirty);
    assert_eq!(paths(&GitTree::new(&directory, "HEAD").read().unwrap()), [".policy/a.yaml"]);
    assert_eq!(paths(&Directory::new(repository.path()).read().unwrap()), ["c.yaml"]);
    assert_eq!(paths(&GitTree::new(repository.path(), "HEAD").read().unwrap()), ["c.yaml"]);
}

#[test]
fn a_missing_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let error = Directory::new(directory.path().join("nowhere")).read().unwrap_err();
    assert!(matches!(error, SourceError::Io { .. }), "{error}");
}

#[test]
fn a_work_tree_reports_its_commit_and_whether_it_is_dirty() {
    let repository = Repository::new();
    repository.write("policy/a.yaml", "a: 1\n").write("README.md", "x");
    let before = Directory::new(repository.path()).read().unwrap();
    assert_eq!(before.revision, None, "there is no commit yet");

    let commit = repository.commit();
    let sources = Directory::new(repository.path()).read().unwrap();
    let revision = sources.revision.unwrap();
    assert_eq!((revision.commit, revision.dirty), (commit, false));
    assert_eq!(revision.tree, repository.git(&["rev-parse", "HEAD^{tree}"]));

    let dirty = || Directory::new(repository.path()).read().unwrap().revision.unwrap().dirty;
    repository.write("README.md", "y");
    assert!(!dirty(), "a file that is not policy does not count");
    repository.write("policy/a.yaml", "a: 2\n");
    assert!(dirty(), "a change counts");
    repository.write("policy/a.yaml", "a: 1\n").write("policy/b.yaml", "");
    assert!(dirty(), "a new file counts");
    fs::remove_file(repository.path().join("policy/b.yaml")).unwrap();
    assert!(!dirty());
    fs::remove_file(repository.path().join("policy/a.yaml")).unwrap();
    assert!(dirty(), "a missing file counts");
}

#[test]
fn keys_and_releases_that_git_ignores_are_no_policy() {
    let repository = Repository::new();
    repository.write("a.yaml", "a: 1\n").write(".gitignore", "/keys/\n/release/\n*.tmp.yaml\n");
    repository.commit();
    repository.write("keys/ca/root.pem", "x").write("release/latest.json", "{}").write("b.tmp.yaml", "");
    let sources = Directory::new(repository.path()).read().unwrap();
    assert_eq!(paths(&sources), ["a.yaml"]);
    assert!(sources.attachments.is_empty() && !sources.revision.unwrap().dirty);
    let asked_for = Directory::new(repository.path().join("release")).read().unwrap();
    assert_eq!(paths(&asked_for), ["release/latest.json"], "who names it means it");
}

#[test]
fn a_directory_inside_a_repository_has_the_paths_of_the_repository() {
    let repository = Repository::new();
    repository.write("policy/a.yaml", "a: 1\n").write("other/b.yaml", "b: 1\n");
    repository.commit();
    let sources = Directory::new(repository.path().join("policy")).read().unwrap();
    assert_eq!(paths(&sources), ["policy/a.yaml"]);
    assert!(!sources.revision.unwrap().dirty);
}

#[test]
fn a_revision_gives_blobs_and_not_the_work_tree() {
    let repository = Repository::new();
    repository.write("policy/a.yaml", "a: 1\r\n").write("other/b.yaml", "b: 1\n").write("x.pem", "pem");
    let first = repository.commit();
    repository.write("policy/a.yaml", "a: 2\n");
    let second = repository.commit();
    repository.write("policy/a.yaml", "a: 3\n");

    let read = |revision: &str| GitTree::new(repository.path(), revision).read().unwrap();
    let sources = read(&first);
    assert_eq!(paths(&sources), ["other/b.yaml", "policy/a.yaml"]);
    assert_eq!(sources.files[1].bytes, b"a: 1\r\n");
    assert_eq!(sources.attachments[0].path, "x.pem");
    let revision = sources.revision.unwrap();
    assert_eq!((revision.commit.as_str(), revision.dirty), (first.as_str(), false));
    assert_eq!(read("HEAD").files[1].bytes, b"a: 2\n");
    assert_eq!(read("HEAD~1").files[1].bytes, b"a: 1\r\n");

    let policy = GitTree::new(repository.path().join("policy"), "main").read().unwrap();
    assert_eq!(paths(&policy), ["policy/a.yaml"]);
    assert!(is_ancestor(repository.path(), &first, &second).unwrap());
    assert!(!is_ancestor(repository.path(), &second, &first).unwrap());
    assert!(is_ancestor(repository.path(), &second, "HEAD").unwrap());
}

#[test]
fn a_directory_that_is_gone_can_still_be_read_at_its_revision() {
    let repository = Repository::new();
    repository.write("old/deep/a.yaml", "a: 1\n");
    let commit = repository.commit();
    fs::remove_dir_all(repository.path().join("old")).unwrap();
    let sources = GitTree::new(repository.path().join("old/deep"), &commit).read().unwrap();
    assert_eq!(paths(&sources), ["old/deep/a.yaml"]);
    let error = GitTree::new(repository.path().join("never"), &commit).read().unwrap_err();
    assert!(matches!(error, SourceError::NoSuchDirectory { .. }), "{error}");
}

#[test]
fn what_is_not_a_plain_file_is_refused_by_name() {
    let repository = Repository::new();
    repository.write("real/a.yaml", "a: 1\n").write("LICENSE", "x");
    repository.write("big.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    for (target, link) in
        [("real/a.yaml", "link.yaml"), ("real", "linked"), ("LICENSE", "COPYING"), ("/etc", "outside")]
    {
        std::os::unix::fs::symlink(target, repository.path().join(link)).unwrap();
    }
    let inner = Repository::new();
    inner.write("b.yaml", "b: 1\n");
    let inner_commit = inner.commit();
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{inner_commit},module")]);
    let commit = repository.commit();

    let expected = [
        "`big.yaml` is a pointer of Git LFS, not the file",
        "`link.yaml` is a symbolic link",
        "`linked` is a symbolic link",
        "`module` is a repository of its own",
        "`outside` is a symbolic link to a place outside",
    ];
    // `git add --all` above drops a submodule without a work tree, so it is committed by hand.
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{inner_commit},module")]);
    repository.git(&["commit", "--quiet", "--message", "module"]);
    assert_ne!(commit, repository.git(&["rev-parse", "HEAD"]));
    let sources = GitTree::new(repository.path(), "HEAD").read().unwrap();
    assert_eq!(messages(&sources), expected);
    assert_eq!(paths(&sources), ["real/a.yaml"]);

    repository.write("module/.git", "gitdir: elsewhere").write("module/b.yaml", "b: 1\n");
    let sources = Directory::new(repository.path()).read().unwrap();
    assert_eq!(messages(&sources), expected);
    assert_eq!(paths(&sources), ["real/a.yaml"]);
}

#[test]
fn replaced_objects_and_filters_do_not_change_what_is_read() {
    let repository = Repository::new();
    repository.write("a.yaml", "true: policy\n");
    let commit = repository.commit();
    let blob = repository.git(&["rev-parse", "HEAD:a.yaml"]);
    repository.write("evil", "evil: policy\n");
    let evil = repository.git(&["hash-object", "-w", "evil"]);
    repository.git(&["replace", &blob, &evil]);
    repository.git(&["config", "filter.evil.smudge", "echo evil"]);
    repository.write(".gitattributes", "*.yaml filter=evil\n");
    let sources = GitTree::new(repository.path(), &commit).read().unwrap();
    assert_eq!(sources.files[0].bytes, b"true: policy\n");
    assert!(!Directory::new(repository.path()).read().unwrap().revision.unwrap().dirty);
}

#[test]
fn revisions_that_are_none_are_refused() {
    let repository = Repository::new();
    repository.write("a.yaml", "");
    repository.commit();
    for revision in ["nowhere", "--all", "-h", "HEAD:a.yaml", "", "HEAD..HEAD", "HEAD HEAD"] {
        let result = GitTree::new(repository.path(), revision).read();
        assert!(matches!(result, Err(SourceError::UnknownRevision { .. })), "{revision:?}: {result:?}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let error = GitTree::new(elsewhere.path(), "HEAD").read().unwrap_err();
    assert!(matches!(error, SourceError::NotARepository(_)), "{error}");
}

#[test]
fn addresses_lose_their_credentials() {
    let repository = Repository::new();
    repository.write("a.yaml", "").commit();
    for (address, shown) in [
        ("https://user:secret@example.com/policy.git", "https://example.com/policy.git"),
        ("https://example.com/policy.git", "https://example.com/policy.git"),
        ("git@example.com:team/policy.git", "git@example.com:team/policy.git"),
    ] {
        repository.git(&["config", "remote.origin.url", address]);
        let sources = Directory::new(repository.path()).read().unwrap();
        assert_eq!(sources.revision.unwrap().repo, shown);
    }
}

#[test]
fn contents_that_are_known_are_not_asked_for() {
    let repository = Repository::new();
    repository.write("a.yaml", "a: 1").write("b.yaml", "b: 1").write("ca/root.pem", "pem");
    repository.commit();
    repository.write("b.yaml", "b: 2").write("c.yaml", "a: 1");
    let now = Directory::new(repository.path()).read().unwrap();
    let tree = GitTree::new(repository.path(), "HEAD");
    let expected = tree.read().unwrap();
    assert_eq!(tree.read_knowing(&now).unwrap().files, expected.files);
    // They are known by what they hold, never by where they are.
    let mut lying = now;
    lying.files[0].bytes = b"a: 9".to_vec();
    assert_eq!(tree.read_knowing(&lying).unwrap().files, expected.files);
}

#[test]
fn a_single_file_of_a_revision_comes_with_the_certificates_beside_it() {
    let repository = Repository::new();
    for path in ["p/mesh.yaml", "p/other.yaml", "p/ca/root.pem", "p/ca/deep/no.pem", "p/.x/no.pem", "no.pem"]
    {
        repository.write(path, "a: 1");
    }
    repository.commit();
    let file = repository.path().join("p/mesh.yaml");
    let (then, now) = (GitTree::new(&file, "HEAD").read().unwrap(), Directory::new(&file).read().unwrap());
    assert_eq!(paths(&then), ["p/mesh.yaml"]);
    assert_eq!((&then.files, &then.attachments), (&now.files, &now.attachments));
    assert_eq!(then.attachments.len(), 1);
}

#[test]
fn too_much_to_read_is_refused_with_the_file_that_is_too_much() {
    let directory = tempfile::tempdir().unwrap();
    // Holes, which take no room on the disk.
    for number in 0..17 {
        let file = fs::File::create(directory.path().join(format!("{number:02}.yaml"))).unwrap();
        file.set_len(MAX_FILE_BYTES).unwrap();
    }
    let error = Directory::new(directory.path()).read().unwrap_err();
    assert_eq!(
        error.to_string(),
        "with `16.yaml` the files come to more than 256 MiB, which is the most that is read; name a directory in it"
    );
    fs::remove_file(directory.path().join("03.yaml")).unwrap();
    assert_eq!(Directory::new(directory.path()).read().unwrap().files.len(), 16);
}
