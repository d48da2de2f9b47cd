//! The state directory: the raw bytes of what was verified, so that a proxy starts with nothing but its own disk.
//!
//! Bytes are kept exactly as they came and are verified again at every start; nothing is re-serialised. Each write goes to
//! a temporary file in the same directory, is flushed, renamed over the old one, and the directory is flushed: after a
//! crash there is the old object or the new one, never a mixture. Names come from the release format's own closed set and
//! are checked again here, so no text from outside becomes a path.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The largest object that is read back, in bytes: a body and its envelope fit many times.
const LARGEST: u64 = 256 << 20;

/// How the names of unfinished files begin. No object's name begins with a dot.
const TEMPORARY: &str = ".unfinished-";

/// A state directory that this process alone writes.
#[derive(Debug)]
pub struct StateDirectory {
    root: PathBuf,
}

impl StateDirectory {
    /// Opens a directory, making it if it is not there, and checks that it can be written. One that cannot, because its
    /// disk is full or read-only, will do if there is something in it: a proxy that can serve must not refuse to start.
    ///
    /// # Errors
    /// Whatever the file system says; an empty read-only directory is found here and not when the first release arrives.
    pub fn open(root: &Path) -> io::Result<Self> {
        if root.exists() && !root.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        fs::create_dir_all(root)?;
        let state = Self { root: root.to_path_buf() };
        match state.sweep().and_then(|()| state.probe()) {
            Err(error) if state.holds_something() => {
                let state = root.display();
                tracing::warn!(%state, %error, "the state directory cannot be written; nothing new will be adopted");
            }
            tried => tried?,
        }
        Ok(state)
    }

    fn probe(&self) -> io::Result<()> {
        self.write("probe", b"written at start to see that this directory can be written\n")?;
        self.delete("probe")
    }

    fn holds_something(&self) -> bool {
        fs::read_dir(self.root.join("objects")).is_ok_and(|mut objects| objects.next().is_some())
    }

    /// Removes the temporary files that a process left which was killed while it wrote.
    fn sweep(&self) -> io::Result<()> {
        let inner = ["", "objects", "roots"].map(|name| self.root.join(name));
        for directory in inner.iter().filter(|directory| directory.is_dir()) {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// The bytes under a name; none if there are none.
    ///
    /// # Errors
    /// If they are there and cannot be read.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(name)?) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Replaces the bytes under a name.
    ///
    /// # Errors
    /// If any step fails; the old bytes are then still there.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name)?;
        let parent = path.parent().unwrap_or(&self.root);
        if !parent.is_dir() {
            fs::create_dir_all(parent)?;
            // Else a crash could take the new directory with all that was synced in it.
            File::open(&self.root)?.sync_all()?;
        }
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|failed| failed.error)?;
        File::open(parent)?.sync_all()
    }

    /// Removes what is under a name, if anything is.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The path of a name; refuses names that are not plain.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let plain = |segment: &str| {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(legal)
        };
        if name.split('/').all(plain) {
            return Ok(self.root.join(name));
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` is not the name of a state object"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_leaves_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&scratch.path().join("new")).unwrap();
        assert_eq!(state.read("active").unwrap(), None);
        state.write("active", b"one").unwrap();
        state.write("active", b"two").unwrap();
        state.write("bodies/ab", b"three").unwrap();
        assert_eq!(state.read("active").unwrap().as_deref(), Some(&b"two"[..]));
        let mut names: Vec<_> =
            fs::read_dir(scratch.path().join("new")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["active", "bodies"]);
        state.delete("active").unwrap();
        state.delete("active").unwrap();
        assert_eq!(state.read("active").unwrap(), None);
    }

    #[test]
    fn unfinished_files_of_a_killed_process_are_removed() {
        let scratch = tempfile::tempdir().unwrap();
        StateDirectory::open(scratch.path()).unwrap().write("objects/ab", b"kept").unwrap();
        for name in [".unfinished-1", "objects/.unfinished-2"] {
            fs::write(scratch.path().join(name), "half").unwrap();
        }
        let state = StateDirectory::open(scratch.path()).unwrap();
        assert_eq!(state.read("objects/ab").unwrap().as_deref(), Some(&b"kept"[..]));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(scratch.path().join("objects")).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_written_will_do_if_there_is_something_in_it() {
        let scratch = tempfile::tempdir().unwrap();
        // Works for the superuser too, whom no permission stops: a directory where the probe belongs.
        fs::create_dir_all(scratch.path().join("probe/in the way")).unwrap();
        assert!(StateDirectory::open(scratch.path()).is_err());
        fs::create_dir(scratch.path().join("objects")).unwrap();
        fs::write(scratch.path().join("objects/ab"), "kept").unwrap();
        let state = StateDirectory::open(scratch.path()).unwrap();
        assert_eq!(state.read("objects/ab").unwrap().as_deref(), Some(&b"kept"[..]));
    }

    #[test]
    fn names_never_leave_the_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(scratch.path()).unwrap();
        for name in ["../x", "/etc/x", "a//b", "", "a/../b", ".hidden", "a\0b"] {
            assert!(state.write(name, b"x").is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_found_at_start() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(StateDirectory::open(&file.join("state")).is_err());
        assert_eq!(StateDirectory::open(&file).unwrap_err().to_string(), "not a directory");
    }
}
