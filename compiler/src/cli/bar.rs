//! The progress bar: one line on standard error, on a terminal only, and only once work takes longer than half a second.
//!
//! A thread redraws it, so that a stage without steps is seen too. It hides no cursor and changes no mode of the
//! terminal: after Ctrl-C there is nothing to put right, and the shell's prompt comes behind the line.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::progress::{Progress, Stage};

/// How long work may take before it is worth a bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is drawn.
const INTERVAL: Duration = Duration::from_millis(100);
/// How many characters the bar itself has.
const WIDTH: usize = 30;

/// A bar that is there until it is dropped.
#[derive(Debug)]
pub(super) struct Bar {
    shared: Arc<Shared>,
    drawer: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
    done: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    stage: Option<Stage>,
    steps: usize,
    over: bool,
}

impl Bar {
    /// A bar on standard error; one that nobody sees if that is no terminal.
    pub(super) fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let shared = Arc::new(Shared::default());
        let seen = std::io::stderr().is_terminal() && !dumb;
        let drawer = seen.then(|| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || draw(&shared, &mut std::io::stderr()))
        });
        Self { shared, drawer }
    }
}

impl Progress for Bar {
    fn begin(&self, stage: Stage, steps: usize) {
        let mut state = self.shared.lock();
        (state.stage, state.steps) = (Some(stage), steps);
        self.shared.done.store(0, Ordering::Relaxed);
    }

    fn step(&self) {
        self.shared.done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Bar {
    /// Wipes the line.
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.ended.notify_all();
        if let Some(drawer) = self.drawer.take() {
            // A bar that could not be drawn is no reason to fail.
            let _ = drawer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Draws until it is over, then wipes what it drew. Nothing can be done about a terminal that is gone.
fn draw(shared: &Shared, terminal: &mut dyn Write) {
    let mut patience = PATIENCE;
    let mut drawn = false;
    let mut state = shared.lock();
    while !state.over {
        let waited = shared.ended.wait_timeout_while(state, patience, |state| !state.over);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(stage) = state.stage.filter(|_| !state.over) {
            let line = line(stage, shared.done.load(Ordering::Relaxed), state.steps);
            let _ = write!(terminal, "\r{line}\u{1b}[K").and_then(|()| terminal.flush());
            drawn = true;
        }
        patience = INTERVAL;
    }
    if drawn {
        let _ = write!(terminal, "\r\u{1b}[K").and_then(|()| terminal.flush());
    }
}

fn line(stage: Stage, done: usize, steps: usize) -> String {
    if steps == 0 {
        return format!("{:>10}", stage.as_str());
    }
    let done = done.min(steps);
    let full = done.saturating_mul(WIDTH) / steps;
    let head = if full < WIDTH { ">" } else { "" };
    let empty = WIDTH.saturating_sub(full + head.len());
    format!("{:>10} [{}{head}{}] {done}/{steps}", stage.as_str(), "=".repeat(full), " ".repeat(empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_done_and_how_much() {
        assert_eq!(line(Stage::Resolving, 7, 0), " resolving");
        assert_eq!(line(Stage::Parsing, 0, 4), "   parsing [>                             ] 0/4");
        assert_eq!(line(Stage::Parsing, 2, 4), "   parsing [===============>              ] 2/4");
        assert_eq!(line(Stage::Parsing, 9, 4), "   parsing [==============================] 4/4");
    }

    #[test]
    fn short_work_draws_nothing() {
        let shared = Shared::default();
        *shared.lock() = State { stage: Some(Stage::Parsing), steps: 3, over: true };
        let mut terminal = Vec::new();
        draw(&shared, &mut terminal);
        assert_eq!(terminal, b"");
    }

    /// A terminal that says when something is written to it.
    struct Watcher<'s> {
        text: Vec<u8>,
        seen: &'s Mutex<bool>,
    }

    impl Write for Watcher<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.text.extend_from_slice(bytes);
            *self.seen.lock().unwrap() = true;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn long_work_is_drawn_and_wiped() {
        let shared = Shared::default();
        *shared.lock() = State { stage: Some(Stage::Analysing), steps: 2, over: false };
        shared.done.store(1, Ordering::Relaxed);
        let seen = Mutex::new(false);
        let drawn = std::thread::scope(|scope| {
            let drawer = scope.spawn(|| {
                let mut terminal = Watcher { text: Vec::new(), seen: &seen };
                draw(&shared, &mut terminal);
                terminal.text
            });
            while !*seen.lock().unwrap() {
                std::thread::yield_now();
            }
            shared.lock().over = true;
            shared.ended.notify_all();
            drawer.join().unwrap()
        });
        let text = String::from_utf8(drawn).unwrap();
        assert!(text.starts_with("\r analysing [===============>              ] 1/2\u{1b}[K"), "{text:?}");
        assert!(text.ends_with("\r\u{1b}[K"), "{text:?}");
    }
}
