//! Who is measured, and what each of them has to do.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use weft_tests::{Context, Failure, Result, wait};

use crate::origin::Origin;
use crate::{envoy, haproxy, measure, nginx, weft};

/// What stands between load and origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One proxy, clear text on both sides; what it speaks to the origin.
    Plain(Http),
    /// Two proxies with mutual TLS between them, each in clear text to its side.
    Hop(Http),
    /// One proxy that ends mutual TLS.
    Terminate,
    /// [`Shape::Plain`] of HTTP/1.1 with this many routes, of which requests match one in the middle.
    Routes(usize),
    /// [`Shape::Hop`] of HTTP/1.1 with this many access rules, of which requests match one in the middle.
    Access(usize),
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Two,
}

/// How long a start is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until it listens.
    Listening,
    /// Not at all.
    Spawned,
}

impl Shape {
    /// What it speaks to the origin.
    pub(crate) fn http(self) -> Http {
        match self {
            Self::Plain(http) | Self::Hop(http) => http,
            Self::Terminate | Self::Routes(_) | Self::Access(_) => Http::One,
        }
    }
}

/// Who is measured.
pub(crate) trait Contender {
    /// A short name.
    fn name(&self) -> &'static str;

    /// What it says that it is.
    ///
    /// # Errors
    /// It is not there, and how to get it.
    fn version(&self) -> Result<String>;

    /// Starts what a shape needs; `None` if it cannot do that.
    ///
    /// # Errors
    /// It does not start; the failure holds what it said.
    fn start(&self, shape: Shape, place: &Place, until: Until) -> Result<Option<Running>>;
}

/// Everybody.
pub(crate) fn all(place: &Place) -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(weft::Weft::default()),
        Box::new(envoy::Envoy::new(place)),
        Box::new(nginx::Nginx),
        Box::new(haproxy::HaProxy),
    ]
}

/// One contender, running.
pub(crate) struct Running {
    /// Where load connects.
    pub(crate) address: SocketAddr,
    /// When its last process was started.
    pub(crate) started: Instant,
    processes: Vec<u32>,
    /// Ends them when dropped.
    _held: Box<dyn std::any::Any>,
}

impl Running {
    pub(crate) fn new(
        address: SocketAddr,
        started: Instant,
        processes: Vec<u32>,
        held: impl std::any::Any,
    ) -> Self {
        Self { address, started, processes, _held: Box::new(held) }
    }

    /// Its processes, with what they started.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.processes.iter().flat_map(|id| measure::with_children(*id)).collect()
    }
}

/// A program that is ended when this is dropped.
pub(crate) struct Program {
    child: Child,
    started: Instant,
    log: PathBuf,
}

impl Program {
    /// Starts a command, and waits until something listens if asked to.
    pub(crate) fn start(mut command: Command, log: &Path, listens: SocketAddr, until: Until) -> Result<Self> {
        let file = fs::File::create(log).context(log.display())?;
        let errors = file.try_clone().context(log.display())?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let shown = weft_tests::command::shown(&command);
        let started = Instant::now();
        let mut program = Self { child: command.spawn().context(&shown)?, started, log: log.to_owned() };
        if until == Until::Spawned {
            return Ok(program);
        }
        let started = wait::until(&format!("`{shown}` to listen"), || match program.child.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            Ok(None) | Err(_) => std::net::TcpStream::connect(listens).is_ok().then_some(Ok(())),
        });
        match started {
            Ok(Ok(())) => Ok(program),
            Ok(Err(status)) => Err(Failure::new(format!("`{shown}` ended, {status}\n{}", program.said()))),
            Err(failure) => Err(Failure::new(format!("{failure}\n{}", program.said()))),
        }
    }

    /// What these programs are to a scenario.
    pub(crate) fn running(programs: Vec<Self>, address: SocketAddr) -> Option<Running> {
        let started = programs.last()?.started;
        let processes = programs.iter().map(|program| program.child.id()).collect();
        Some(Running::new(address, started, processes, programs))
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A master is asked, so that it ends its workers.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        }
        let _ = self.child.wait();
    }
}

/// What all contenders share: the origin, a directory, certificates.
pub(crate) struct Place {
    pub(crate) origin: Origin,
    pub(crate) mesh: weft_tests::mesh::Mesh,
}

impl Place {
    /// Starts the origin and makes the certificates of `web` and `api`.
    pub(crate) fn new() -> Result<Self> {
        let mesh = weft_tests::mesh::Mesh::new("peers", &[("README.md", "The benchmark's mesh.\n")])?;
        mesh.identity("default/web")?;
        mesh.identity("default/api")?;
        Ok(Self { origin: Origin::start()?, mesh })
    }

    /// The certificate and the key of a service.
    pub(crate) fn identity(&self, service: &str) -> Result<(PathBuf, PathBuf)> {
        self.mesh.identity(service)
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.mesh.root().join("ca/root.pem")
    }

    /// A file of a contender.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.mesh.root().join(name)
    }

    /// Writes a file of a contender.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.file(name);
        fs::write(&path, text).context(path.display())?;
        Ok(path)
    }
}

/// The first line that a command says, on either output.
pub(crate) fn first_line(command: &mut Command, hint: &str) -> Result<String> {
    let output = command.output().context(hint)?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
}
