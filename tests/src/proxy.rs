//! One `weft-proxy` process, from its start to its end.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{self, Answer, Call, Protocol};
use crate::{Context, Failure, Result, wait};

/// How to start a proxy. What is `None` or empty is left to the program's own defaults.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program.
    pub program: PathBuf,
    /// A name for messages and files, such as `reviews-v1`.
    pub name: String,
    /// The mesh.
    pub mesh: String,
    /// The service, `namespace/name`.
    pub service: String,
    /// The release directory.
    pub source: PathBuf,
    /// The trust root.
    pub root: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// The certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Where to listen for peers, as `[NAME=]ADDR`.
    pub inbound: Vec<String>,
    /// Where the application is, as `[NAME=]ADDR`.
    pub application: Vec<String>,
    /// Where to listen for the application's own calls.
    pub outbound: SocketAddr,
    /// Where to answer operators.
    pub admin: SocketAddr,
    /// More arguments, before `--`.
    pub arguments: Vec<String>,
    /// The application to start, after `--`.
    pub app: Vec<String>,
    /// Where its log goes.
    pub log: PathBuf,
}

impl Setup {
    /// The command, with every argument in its place.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["run", "--mesh", &self.mesh, "--service", &self.service]);
        command.arg("--source").arg(&self.source);
        command.arg("--root").arg(&self.root);
        command.arg("--state").arg(&self.state);
        if let Some((certificate, key)) = &self.identity {
            command.arg("--identity-cert").arg(certificate).arg("--identity-key").arg(key);
        }
        for address in &self.inbound {
            command.args(["--inbound", address]);
        }
        for address in &self.application {
            command.args(["--application", address]);
        }
        command.args(["--outbound", &self.outbound.to_string(), "--admin", &self.admin.to_string()]);
        // One thread each: many proxies share few cores here, and nothing measured depends on more.
        command.args(["--workers", "1"]);
        command.args(&self.arguments);
        if !self.app.is_empty() {
            command.arg("--").args(&self.app);
        }
        command
    }

    /// Starts it, and does not wait for anything.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn spawn(&self) -> Result<Proxy> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.context(self.log.display())?;
        let errors = log.try_clone().context(self.log.display())?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().context(self.program.display())?;
        Ok(Proxy { setup: self.clone(), child, ended: None })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time; the failure holds its log.
    pub fn start(&self) -> Result<Proxy> {
        let mut proxy = self.spawn()?;
        proxy.wait_ready()?;
        Ok(proxy)
    }
}

/// A running proxy; killed when dropped. Its log is printed if a test fails meanwhile.
#[derive(Debug)]
pub struct Proxy {
    setup: Setup,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Proxy {
    /// How it was started.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Where its application sends its calls.
    pub fn outbound(&self) -> SocketAddr {
        self.setup.outbound
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.admin("/ready").is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time; the failure holds its log.
    pub fn wait_ready(&mut self) -> Result<()> {
        let what = format!("{} to be ready", self.setup.name);
        let outcome = wait::until(&what, || match self.has_ended() {
            Some(status) => Some(Err(status)),
            None => self.is_ready().then_some(Ok(())),
        });
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => {
                Err(Failure::new(format!("{} ended with {status}\n{}", self.setup.name, self.log_tail())))
            }
            Err(failure) => Err(Failure::new(format!("{failure}\n{}", self.log_tail()))),
        }
    }

    /// What its admin port answers.
    ///
    /// # Errors
    /// There is no answer.
    pub fn admin(&self, path: &str) -> Result<Answer> {
        let url = format!("http://{}{path}", self.setup.admin);
        client::call(Protocol::Http1, self.setup.admin, &Call::get(&url))
    }

    /// What `/bundle` says; null if nothing.
    pub fn bundle(&self) -> serde_json::Value {
        self.admin("/bundle").map(|answer| answer.json()).unwrap_or_default()
    }

    /// The sequence of the release that it serves; `None` before the first.
    pub fn sequence(&self) -> Option<u64> {
        let metrics = self.metrics();
        let sequence = metrics.sum("weft_bundle_sequence", &[]);
        // A gauge of whole numbers far below 2^53; absent or 0 before the first release.
        (sequence > 0.0).then_some(sequence as u64)
    }

    /// Waits until it serves this release.
    ///
    /// # Errors
    /// It does not in time; the failure holds its log.
    pub fn wait_sequence(&self, sequence: u64) -> Result<()> {
        let what = format!("{} to serve release {sequence}", self.setup.name);
        wait::until(&what, || (self.sequence() == Some(sequence)).then_some(()))
            .map_err(|failure| Failure::new(format!("{failure}\n{}", self.log_tail())))
    }

    /// Its metrics now; none if it does not answer.
    pub fn metrics(&self) -> Metrics {
        Metrics(self.admin("/metrics").map(|answer| answer.text()).unwrap_or_default())
    }

    /// How often a release was refused for this reason.
    pub fn rejected(&self, reason: &str) -> f64 {
        self.metrics().sum("weft_bundle_rejected_total", &[("reason", reason)])
    }

    /// Waits until a release has been refused for this reason more often than `before`.
    ///
    /// # Errors
    /// None is in time; the failure holds the log.
    pub fn wait_rejected(&self, reason: &str, before: f64) -> Result<()> {
        let what = format!("{} to refuse with `{reason}`", self.setup.name);
        wait::until(&what, || (self.rejected(reason) > before).then_some(()))
            .map_err(|failure| Failure::new(format!("{failure}\n{}", self.log_tail())))
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        read(&self.setup.log)
    }

    /// The end of its log, for messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
        format!("--- log of {} ---\n{}\n---", self.setup.name, tail.join("\n"))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| Failure::new("a process id that is none"))?;
        kill_process(id, signal).context(&self.setup.name)
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// It does not in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_end()
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.wait_end()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It does not in time; the failure holds its log.
    pub fn wait_end(&mut self) -> Result<ExitStatus> {
        let what = format!("{} to end", self.setup.name);
        let tail = |proxy: &Self, failure| Failure::new(format!("{failure}\n{}", proxy.log_tail()));
        wait::until(&what, || self.has_ended()).map_err(|failure| tail(self, failure))
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.has_ended().is_none() {
            // Already gone is as good.
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            anstream::eprintln!("{}", self.log_tail());
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Metrics as text in the OpenMetrics format.
#[derive(Debug, Clone)]
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of a metric's samples that carry all these labels; 0 if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |sample: &str| {
            labels.iter().all(|(key, value)| {
                let wanted = format!("{key}=\"{value}\"");
                sample.split(['{', ',', '}']).any(|part| part == wanted)
            })
        };
        self.samples(name).filter(|(sample, _)| carries(sample)).map(|(_, value)| value).sum()
    }

    /// Whether there is any sample of that metric.
    pub fn has(&self, name: &str) -> bool {
        self.samples(name).next().is_some()
    }

    fn samples<'m>(&'m self, name: &'m str) -> impl Iterator<Item = (&'m str, f64)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            Some((sample, value.parse::<f64>().ok()?))
        });
        samples.filter(move |(sample, _)| sample.split('{').next() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_label() {
        let text = "# TYPE weft_x counter\nweft_x_total{reason=\"rollback\",a=\"b\"} 2\n\
                    weft_x_total{reason=\"expired\"} 3\nweft_x_total_other 9\nweft_y 1\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!(metrics.sum("weft_x_total", &[("reason", "rollback")]), 2.0);
        assert_eq!(metrics.sum("weft_x_total", &[]), 5.0);
        assert_eq!(metrics.sum("weft_x_total", &[("reason", "roll")]), 0.0);
        assert!(metrics.has("weft_y") && !metrics.has("weft_z"));
    }

    #[test]
    fn a_process_that_ends_early_is_reported_with_its_log() {
        let scratch = tempfile::tempdir().unwrap();
        let program = scratch.path().join("false-proxy");
        std::fs::write(&program, "#!/bin/sh\necho no bundle for you\nexit 7\n").unwrap();
        let mut permissions = std::fs::metadata(&program).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&program, permissions).unwrap();
        let setup = Setup {
            program,
            name: "web".to_owned(),
            mesh: "test".to_owned(),
            service: "default/web".to_owned(),
            source: scratch.path().to_path_buf(),
            root: scratch.path().join("root.json"),
            state: scratch.path().join("state"),
            identity: None,
            inbound: Vec::new(),
            application: Vec::new(),
            outbound: crate::port::free_address().unwrap(),
            admin: crate::port::free_address().unwrap(),
            arguments: Vec::new(),
            app: Vec::new(),
            log: scratch.path().join("web.log"),
        };
        let failure = setup.start().unwrap_err().to_string();
        assert!(failure.contains("exit status: 7") && failure.contains("no bundle for you"), "{failure}");
    }
}
