//! `-- APP`: runs the application behind the proxy.
//!
//! It starts once the proxy is ready, gets the signals that the proxy gets, and its exit status becomes the proxy's.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::drain::Deadline;

/// A running application.
#[derive(Debug)]
pub struct Application(Child);

impl Application {
    /// Starts it, with our standard streams and environment. `command` is the program and its arguments.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &[OsString]) -> io::Result<Self> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
        let child = Command::new(program).args(arguments).kill_on_drop(true).spawn()?;
        Ok(Self(child))
    }

    /// Hands it a signal; nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id
            && let Err(error) = kill_process(id, signal)
        {
            tracing::warn!(%error, ?signal, "the application could not be signalled");
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The system cannot say how it ended.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Waits for its end until the deadline, then kills it.
    ///
    /// # Errors
    /// The system cannot say how it ended.
    pub async fn end_by(&mut self, deadline: Deadline) -> io::Result<ExitStatus> {
        if let Ok(ended) = tokio::time::timeout_at(deadline.at(), self.0.wait()).await {
            return ended;
        }
        tracing::warn!("the application did not end in time and is killed");
        self.0.start_kill()?;
        self.0.wait().await
    }
}

/// The exit code that passes a status on, as shells do: 128 and the signal's number for one that was killed.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code & 0xff).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str) -> Application {
        Application::start(&["sh".into(), "-c".into(), script.into()]).unwrap()
    }

    #[tokio::test]
    async fn its_status_is_passed_on() {
        assert_eq!(exit_code(shell("exit 7").ended().await.unwrap()), 7);
        assert_eq!(exit_code(shell("kill -TERM $$").ended().await.unwrap()), 128 + 15);
        assert!(Application::start(&["/does/not/exist".into()]).is_err());
    }

    #[tokio::test]
    async fn it_gets_signals_and_is_killed_when_it_is_late() {
        let mut polite = shell("sleep 60");
        polite.signal(Signal::TERM);
        assert_eq!(exit_code(polite.ended().await.unwrap()), 128 + 15);
        let mut deaf = shell("exec sleep 60");
        let status = deaf.end_by(Deadline::after(Duration::from_millis(50))).await.unwrap();
        assert_eq!(status.signal(), Some(9));
    }
}
