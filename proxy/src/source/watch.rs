//! Wakes the control thread when a directory may have changed (BUNDLE, section 4).
//!
//! An event is only a hint to read again: its kind, its path and even its absence mean nothing. Watches are on
//! *directories*, never on files, because a watch on a file is dead after the first rename over it. Each round arms a
//! fresh set of watches before it reads, so that nothing between reading and waiting is missed, and so that a directory
//! that was replaced, mounted anew or created is watched under its new inode. A jittered timer backs all this up for
//! file systems that send no events at all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::AccessKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// What wakes the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something may have changed, or it is time to look anyway.
    Look,
    /// The proxy is shutting down.
    Stop,
}

/// How long to wait for more events once one has come: writers touch several files in a row.
const QUIET: Duration = Duration::from_millis(40);

/// How long a steady stream of events can put off a look.
const LONGEST_QUIET: Duration = Duration::from_millis(400);

/// Watches a set of directories, over and over.
pub struct DirectoryWatch {
    sender: Sender<Wake>,
    receiver: Receiver<Wake>,
    /// Kept alive only for its effect.
    armed: Option<RecommendedWatcher>,
}

impl Default for DirectoryWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl DirectoryWatch {
    /// A watch that is not armed yet.
    pub fn new() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        Self { sender, receiver, armed: None }
    }

    /// A handle that can wake or stop the waiting thread.
    pub fn waker(&self) -> Sender<Wake> {
        self.sender.clone()
    }

    /// Watches these directories and, for each, its real parent. What does not exist is covered by the parent, or by
    /// the timer. Call before reading.
    pub fn arm(&mut self, directories: &[PathBuf]) {
        let sender = self.sender.clone();
        let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| is_opening(event.kind)) {
                // The receiver is gone only when the proxy is.
                let _ = sender.send(Wake::Look);
            }
        });
        let mut watcher = match made {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(%error, "cannot watch directories; looking by timer only");
                self.armed = None;
                return;
            }
        };
        for directory in with_parents(directories) {
            if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
                tracing::debug!(directory = %directory.display(), %error, "cannot watch; the timer will do");
            }
        }
        // Only now: events between the two sets would be lost the other way round.
        self.armed = Some(watcher);
    }

    /// Waits until something may have changed, at most `timeout`. Events that come in a burst are one wake.
    pub fn wait(&self, timeout: Duration) -> Wake {
        match self.receiver.recv_timeout(timeout) {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => Wake::Stop,
            Err(RecvTimeoutError::Timeout) => Wake::Look,
            Ok(Wake::Look) => self.settle(),
        }
    }

    fn settle(&self) -> Wake {
        let deadline = Instant::now() + LONGEST_QUIET;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(QUIET.min(left)) {
                Ok(Wake::Look) if !left.is_zero() => {}
                Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => return Wake::Look,
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return Wake::Stop,
            }
        }
    }
}

/// Whether somebody only opened a file. We do so ourselves whenever we look, and would wake ourselves for ever.
fn is_opening(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(AccessKind::Open(_)))
}

/// Each directory as named and as resolved, and the parents of both: a replaced directory shows only in its parent, a
/// swapped link only beside the link.
fn with_parents(directories: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for directory in directories {
        let named = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
        for path in [Some(named.clone()), named.canonicalize().ok()].into_iter().flatten() {
            all.extend(path.parent().map(Path::to_path_buf));
            all.insert(path);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for a wake that an event caused, not the timer.
    fn woken(watch: &DirectoryWatch) -> bool {
        let begin = Instant::now();
        watch.wait(Duration::from_secs(10)) == Wake::Look && begin.elapsed() < Duration::from_secs(9)
    }

    fn rearm(watch: &mut DirectoryWatch, directory: &Path) {
        watch.arm(&[directory.to_path_buf()]);
        while watch.receiver.try_recv().is_ok() {}
    }

    #[test]
    fn reading_does_not_wake() {
        // One level down: the parent is watched too, and in the temporary directory others come and go.
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("release");
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("latest.json");
        std::fs::write(&file, "1").unwrap();
        let mut watch = DirectoryWatch::new();
        rearm(&mut watch, &directory);
        std::fs::read(&file).unwrap();
        std::fs::read_dir(&directory).unwrap().count();
        let begin = Instant::now();
        watch.wait(Duration::from_millis(300));
        assert!(begin.elapsed() >= Duration::from_millis(300), "only the timer woke us");
    }

    #[test]
    fn a_file_renamed_into_place_wakes_every_time() {
        let scratch = tempfile::tempdir().unwrap();
        let mut watch = DirectoryWatch::new();
        for round in 0..3 {
            rearm(&mut watch, scratch.path());
            std::fs::write(scratch.path().join("tmp"), round.to_string()).unwrap();
            std::fs::rename(scratch.path().join("tmp"), scratch.path().join("latest.json")).unwrap();
            assert!(woken(&watch), "round {round}");
        }
    }

    #[test]
    fn a_replaced_directory_is_watched_again() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("release");
        std::fs::create_dir(&directory).unwrap();
        let mut watch = DirectoryWatch::new();
        rearm(&mut watch, &directory);
        std::fs::rename(&directory, scratch.path().join("old")).unwrap();
        std::fs::create_dir(&directory).unwrap();
        assert!(woken(&watch), "the parent shows the change");
        rearm(&mut watch, &directory);
        std::fs::write(directory.join("latest.json"), "x").unwrap();
        assert!(woken(&watch), "the new directory is watched");
    }

    #[test]
    fn a_swapped_link_wakes_three_times_in_a_row() {
        let scratch = tempfile::tempdir().unwrap();
        let volume = scratch.path().join("volume");
        std::fs::create_dir(&volume).unwrap();
        let mut watch = DirectoryWatch::new();
        for round in 0..3 {
            rearm(&mut watch, &volume);
            let fresh = volume.join(format!("..{round}"));
            std::fs::create_dir(&fresh).unwrap();
            std::os::unix::fs::symlink(&fresh, volume.join("..data_tmp")).unwrap();
            std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
            assert!(woken(&watch), "round {round}");
        }
    }

    #[test]
    fn stop_ends_a_wait_at_once() {
        let watch = DirectoryWatch::new();
        watch.waker().send(Wake::Stop).unwrap();
        assert_eq!(watch.wait(Duration::from_secs(10)), Wake::Stop);
    }
}
