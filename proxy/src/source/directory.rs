//! A release in a directory: a mount, a synchronised folder, an unpacked archive, a ConfigMap.
//!
//! A file is opened by its path for every read, so that renames, swapped links and replaced directories are followed; it
//! is read fully under the caller's cap. Links may lead elsewhere *inside* the directory, as ConfigMaps do; a link that
//! leads out of it is refused, because whoever may write the directory should not choose what else is read.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What a read of an object gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// All of its bytes.
    Bytes(Vec<u8>),
    /// There is none.
    Absent,
    /// There is one, and it has more bytes than asked for: the first of them, one more than that.
    TooLarge(Vec<u8>),
}

/// A directory with a release.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory at that path; it need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path as configured.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads an object of at most `cap` bytes.
    ///
    /// # Errors
    /// Whatever the file system says, and a link that leads out of the directory.
    pub fn read(&self, name: &str, cap: usize) -> io::Result<Object> {
        match self.open(name) {
            Ok(file) => read_capped(file, cap),
            Err(error) if is_absent(&error) => Ok(Object::Absent),
            Err(error) => Err(error),
        }
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let root = self.root.canonicalize()?;
        let path = root.join(name).canonicalize()?;
        if !path.starts_with(&root) {
            let message = format!("`{name}` is a link that leads out of `{}`", self.root.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        // Opening a pipe would wait for a writer, and hold up the control thread for as long as somebody pleases.
        if !path.metadata()?.is_file() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        File::open(path)
    }
}

/// A directory or a pipe in the place of a file, or a file in the place of a directory, holds no object either.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

fn read_capped(file: File, cap: usize) -> io::Result<Object> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    match file.take(limit).read_to_end(&mut bytes) {
        Ok(read) if read > cap => Ok(Object::TooLarge(bytes)),
        Ok(_) => Ok(Object::Bytes(bytes)),
        Err(error) if is_absent(&error) => Ok(Object::Absent),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_under_a_cap() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::new(scratch.path());
        std::fs::create_dir(scratch.path().join("root")).unwrap();
        std::fs::write(scratch.path().join("root/1.json"), "12345").unwrap();
        assert_eq!(directory.read("root/1.json", 5).unwrap(), Object::Bytes(b"12345".to_vec()));
        assert_eq!(directory.read("root/1.json", 4).unwrap(), Object::TooLarge(b"12345".to_vec()));
        assert_eq!(directory.read("root/2.json", 4).unwrap(), Object::Absent);
        assert_eq!(directory.read("root", 4).unwrap(), Object::Absent);
        assert_eq!(directory.read("root/1.json/x", 4).unwrap(), Object::Absent);
        assert_eq!(Directory::new(scratch.path().join("none")).read("x", 4).unwrap(), Object::Absent);
    }

    #[test]
    fn a_pipe_is_no_object_and_holds_nobody_up() {
        let scratch = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(scratch.path().join("latest.json")).status();
        assert!(made.unwrap().success());
        assert_eq!(Directory::new(scratch.path()).read("latest.json", 4).unwrap(), Object::Absent);
    }

    #[test]
    fn a_symlink_out_of_the_directory_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let inside = scratch.path().join("release");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(scratch.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("latest.json")).unwrap();
        assert!(Directory::new(&inside).read("latest.json", 10).is_err());
    }

    #[test]
    fn a_config_map_is_read_through_its_links() {
        let scratch = tempfile::tempdir().unwrap();
        let (volume, fresh) = (scratch.path(), scratch.path().join("..2026"));
        std::fs::create_dir(&fresh).unwrap();
        std::fs::write(fresh.join("latest.json"), "x").unwrap();
        std::os::unix::fs::symlink("..2026", volume.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/latest.json", volume.join("latest.json")).unwrap();
        assert_eq!(Directory::new(volume).read("latest.json", 10).unwrap(), Object::Bytes(b"x".to_vec()));
    }
}
