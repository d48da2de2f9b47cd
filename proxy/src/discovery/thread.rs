//! The threads that ask: one for names, one for files. Each starts with the first question of its kind and ends with the
//! data plane.

use std::io;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::dns::{self, Dns, DnsOptions};
use super::file::{self, Files};
use super::{Feed, Question};
use crate::source::watch::{DirectoryWatch, Wake};

/// See the module.
#[derive(Debug)]
pub(super) struct Threads {
    options: DnsOptions,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    names: Option<Names>,
    files: Option<FileThread>,
}

#[derive(Debug)]
struct Names {
    dns: Arc<Dns>,
    runtime: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct FileThread {
    files: Arc<Files>,
    waker: Sender<Wake>,
    thread: JoinHandle<()>,
}

impl Threads {
    pub(super) fn new(options: DnsOptions) -> Self {
        Self { options, running: Mutex::default() }
    }

    /// Asks a question from now on. A file is read at once, so that a proxy that starts has what it says.
    pub(super) fn ask(&self, feed: &Arc<Feed>) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match feed.question() {
            Question::File(path) => running.files()?.add(path, feed),
            Question::Addresses(_) | Question::Services(_) => running.names(&self.options)?.add(feed),
        }
        Ok(())
    }

    /// Ends the threads.
    pub(super) fn stop(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = running.names.take() {
            let _ = names.stop.send(());
            // A thread that panicked has said so on standard error.
            let _ = names.thread.join();
        }
        if let Some(files) = running.files.take() {
            let _ = files.waker.send(Wake::Stop);
            let _ = files.thread.join();
        }
    }
}

impl Running {
    fn names(&mut self, options: &DnsOptions) -> io::Result<&Names> {
        if let Some(ref names) = self.names {
            return Ok(names);
        }
        Ok(self.names.insert(Names::start(options)?))
    }

    fn files(&mut self) -> io::Result<&FileThread> {
        if let Some(ref files) = self.files {
            return Ok(files);
        }
        Ok(self.files.insert(FileThread::start()?))
    }
}

impl Names {
    fn start(options: &DnsOptions) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let handle = runtime.handle().clone();
        let run = move || {
            // An error means that the other end is gone, and we are to end too.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name("dns".to_owned()).spawn(run)?;
        Ok(Self { dns: Arc::new(Dns::new(options.clone())), runtime: handle, stop, thread })
    }

    fn add(&self, feed: &Arc<Feed>) {
        let task = self.runtime.spawn(dns::keep_asking(Arc::downgrade(feed), Arc::clone(&self.dns)));
        // Nobody else sets it: the feed is new.
        let _ = feed.task.set(task.abort_handle());
    }
}

impl FileThread {
    fn start() -> io::Result<Self> {
        let watch = DirectoryWatch::new();
        let (files, waker) = (Arc::new(Files::default()), watch.waker());
        let followed = Arc::clone(&files);
        let run = move || file::keep_reading(&followed, watch);
        let thread = std::thread::Builder::new().name("endpoints".to_owned()).spawn(run)?;
        Ok(Self { files, waker, thread })
    }

    fn add(&self, path: &Path, feed: &Arc<Feed>) {
        let feed: Weak<Feed> = Arc::downgrade(feed);
        self.files.add(path, feed);
        // So that its directory is watched.
        let _ = self.waker.send(Wake::Look);
    }
}
