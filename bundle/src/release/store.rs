//! Where releases come from and where a proxy remembers them: two traits for the caller to implement, and one of each
//! in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use super::digest::Digest;
use super::names::ObjectName;

/// A release directory or bucket, to read from.
pub trait Store {
    /// The object with this name. Reads at most `cap + 1` bytes: one more than allowed is enough to refuse it.
    ///
    /// With an `etag` from an earlier answer it may say [`Fetched::NotModified`]; a store without such tags ignores it.
    /// "Forbidden" counts as [`Fetched::Absent`], because stores without the right to list answer so.
    ///
    /// # Errors
    /// If the store cannot be reached, or fails.
    fn get(&self, name: &ObjectName, cap: u64, etag: Option<&str>) -> Result<Fetched, StoreError>;
}

/// What a store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The object is the one with the tag.
    NotModified,
    /// The object.
    Found {
        /// Its first `cap + 1` bytes.
        bytes: Vec<u8>,
        /// Its tag, if the store has such.
        etag: Option<String>,
    },
    /// There is no such object, or we may not see it.
    Absent,
}

/// What a proxy keeps over a restart, by name. Names are relative paths of lower-case letters, digits, `/` and `.`.
pub trait State {
    /// The bytes last saved under this name, whole; nothing if there are none.
    ///
    /// # Errors
    /// If they cannot be read.
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Replaces what is under this name. When it returns, a crash no longer loses it; a crash before leaves the old or
    /// the new, never a mixture: temporary file, fsync, rename, fsync of the directory.
    ///
    /// # Errors
    /// If they cannot be written.
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Removes what is under this name, if there is something. Need not survive a crash.
    ///
    /// # Errors
    /// If it cannot be removed.
    fn remove(&self, name: &str) -> Result<(), StoreError>;
}

/// What went wrong with a store or a state directory, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// Objects or state in memory, for tests and for looking at something without leaving traces. As a store, the tag of an
/// object is its digest.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The bytes, by name.
    pub files: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Store for Memory {
    fn get(&self, name: &ObjectName, cap: u64, etag: Option<&str>) -> Result<Fetched, StoreError> {
        let files = self.files.borrow();
        let Some(bytes) = files.get(name.as_str()) else { return Ok(Fetched::Absent) };
        let own = Digest::of(bytes).to_string();
        if etag == Some(&own) {
            return Ok(Fetched::NotModified);
        }
        let most = usize::try_from(cap).map_or(usize::MAX, |cap| cap.saturating_add(1));
        Ok(Fetched::Found { bytes: bytes.iter().take(most).copied().collect(), etag: Some(own) })
    }
}

impl State for Memory {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.files.borrow().get(name).cloned())
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.files.borrow_mut().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.files.borrow_mut().remove(name);
        Ok(())
    }
}
