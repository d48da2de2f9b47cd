//! The stage: Bookinfo in a temporary directory, its sidecars and the upstreams behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use weft_tests::binaries::Binaries;
use weft_tests::client::Call;
use weft_tests::load::{Load, Plan};
use weft_tests::mesh::Mesh;
use weft_tests::proxy::{Proxy, Setup};
use weft_tests::upstream::Upstream;
use weft_tests::{Context, Failure, Result, client::Protocol, wait};

use crate::show::Show;

/// A replica: its name, the port it has in the example, and what its answers say.
struct Role {
    name: &'static str,
    example_port: u16,
    service: &'static str,
    version: &'static str,
    /// Where its application sends a request for each that it gets.
    calls: Option<&'static str>,
}

const RATINGS: Option<&str> = Some("http://ratings:9080/ratings/7");

/// Every replica of Bookinfo.
const ROLES: [Role; 6] = [
    Role { name: "productpage", example_port: 19080, service: "productpage", version: "v1", calls: None },
    Role { name: "details", example_port: 19081, service: "details", version: "v1", calls: None },
    Role { name: "reviews-v1", example_port: 19082, service: "reviews", version: "v1", calls: None },
    Role { name: "reviews-v2", example_port: 19083, service: "reviews", version: "v2", calls: RATINGS },
    Role { name: "reviews-v3", example_port: 19084, service: "reviews", version: "v3", calls: RATINGS },
    Role { name: "ratings", example_port: 19085, service: "ratings", version: "v1", calls: None },
];

/// What has to be cleared away if the demo does not get to its end by itself.
#[derive(Default)]
pub(crate) struct Leftovers(Mutex<Inventory>);

#[derive(Default)]
struct Inventory {
    /// Process ids by replica.
    proxies: BTreeMap<String, u32>,
    directory: Option<PathBuf>,
    /// Nothing may be added any more.
    closed: bool,
}

impl Leftovers {
    /// Ends the proxies and removes the directory; whatever is started from now on is ended at once.
    pub(crate) fn clear(&self) {
        let (proxies, directory) = {
            let mut inventory = self.inventory();
            inventory.closed = true;
            (std::mem::take(&mut inventory.proxies), inventory.directory.take())
        };
        proxies.into_values().for_each(kill);
        if let Some(directory) = directory {
            // A command that is just ending may still write.
            let gone = || (std::fs::remove_dir_all(&directory).is_ok() || !directory.exists()).then_some(());
            drop(wait::within(Duration::from_secs(5), "the directory to be removed", gone));
        }
    }

    fn directory(&self, path: &Path) {
        self.inventory().directory = Some(path.to_path_buf());
    }

    fn started(&self, proxy: &Proxy) {
        let mut inventory = self.inventory();
        match inventory.closed {
            true => kill(proxy.id()),
            false => drop(inventory.proxies.insert(proxy.setup().name.clone(), proxy.id())),
        }
    }

    fn ended(&self, name: &str) {
        self.inventory().proxies.remove(name);
    }

    fn inventory(&self) -> MutexGuard<'_, Inventory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kill(process: u32) {
    if let Some(id) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // Gone already is as good.
        let _ = kill_process(id, Signal::KILL);
    }
}

/// Bookinfo, up and running.
pub(crate) struct Stage {
    pub(crate) mesh: Mesh,
    proxies: BTreeMap<&'static str, Proxy>,
    upstreams: Vec<Upstream>,
    /// Where replicas listen for peers, by their port in the example.
    inbound: BTreeMap<u16, SocketAddr>,
    leftovers: Arc<Leftovers>,
    /// Last, so that it outlives the proxies.
    _directory: tempfile::TempDir,
}

impl Stage {
    /// Builds the programs, and makes keys, certificates and the repository.
    pub(crate) fn prepare(show: &Arc<Show>, leftovers: &Arc<Leftovers>) -> Result<Self> {
        show.talkative_step("programs", || {
            show.command(Command::new("cargo").args(["build", "--workspace", "--bins"]));
            Binaries::get().map(|_| "weft and weft-proxy are built")
        })?;
        let directory = tempfile::Builder::new().prefix("weft-demo-").tempdir().context("a directory")?;
        leftovers.directory(directory.path());
        show.enter(directory.path());
        let observer = Arc::clone(show);
        let mesh = Mesh::at(directory.path(), "bookinfo")?.observed(move |command| observer.command(command));
        let mut stage = Self {
            mesh,
            proxies: BTreeMap::new(),
            upstreams: Vec::new(),
            inbound: BTreeMap::new(),
            leftovers: Arc::clone(leftovers),
            _directory: directory,
        };
        show.step("keys and authority", || {
            stage.mesh.make_keys()?;
            stage.mesh.make_authority("bookinfo.example")?;
            Ok("throw-away, one key per role")
        })?;
        show.step("policy repository", || {
            stage.mesh.make_repository()?;
            stage.inbound = stage.mesh.copy_example("bookinfo")?;
            stage.mesh.commit("Bookinfo, with ten per cent of reviews from version three")?;
            Ok("policy-examples/bookinfo, on free ports")
        })?;
        Ok(stage)
    }

    /// Checks and publishes the policy, and starts a sidecar and an upstream for each replica.
    pub(crate) fn start(&mut self, show: &Show) -> Result<()> {
        show.step("checked", || {
            let finished = self.mesh.weft(&["check", "policy"])?.expect_code(0)?;
            let said = finished.stderr.lines().chain(finished.stdout.lines());
            Ok(said.last().unwrap_or_default().to_owned())
        })?;
        show.step("signed release", || {
            let finished = self.mesh.build()?;
            let said = finished.stdout.lines().next().unwrap_or_default().to_owned();
            self.mesh.sequence().map(|_| said)
        })?;
        show.step("sidecars", || {
            for role in &ROLES {
                self.start_role(show, role)?;
            }
            for proxy in self.proxies.values_mut() {
                proxy.wait_ready()?;
            }
            Ok(format!("{} weft-proxy processes ready, an upstream behind each", self.proxies.len()))
        })?;
        Ok(())
    }

    fn start_role(&mut self, show: &Show, role: &Role) -> Result<()> {
        let inbound = self.inbound.get(&role.example_port);
        let inbound =
            inbound.ok_or_else(|| Failure::new(format!("{} has no port in the example", role.name)))?;
        let account = format!("bookinfo/{}", role.service);
        let mut setup = self.mesh.proxy_as(&account, &format!("bookinfo/{}", role.name), role.name)?;
        let upstream = match role.calls {
            None => Upstream::start(role.service, role.version)?,
            Some(url) => Upstream::calls(role.service, role.version, setup.outbound, Call::get(url))?,
        };
        setup.inbound.push(format!("http={inbound}"));
        setup.application.push(format!("http={}", upstream.address()));
        if self.proxies.is_empty() {
            show.long_command(&setup.command());
        } else {
            show.remark(&format!("and the same for {}", role.name));
        }
        let proxy = setup.spawn()?;
        self.leftovers.started(&proxy);
        self.proxies.insert(role.name, proxy);
        self.upstreams.push(upstream);
        Ok(())
    }

    /// The sidecar of the page, which all traffic of the demo goes through.
    pub(crate) fn page(&self) -> Result<&Proxy> {
        self.proxies.get("productpage").ok_or_else(|| Failure::new("productpage is not running"))
    }

    /// Every sidecar.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.values()
    }

    /// Stops the page's sidecar, and starts it again as it was.
    pub(crate) fn restart_page(&mut self, show: &Show) -> Result<()> {
        let name = "productpage";
        let mut old = self.proxies.remove(name).ok_or_else(|| Failure::new("productpage is not running"))?;
        let setup: Setup = old.setup().clone();
        let status = old.terminate()?;
        self.leftovers.ended(name);
        if !status.success() {
            return Err(Failure::new(format!(
                "productpage's sidecar ended with {status}\n{}",
                old.log_tail()
            )));
        }
        show.remark("productpage's weft-proxy stopped with SIGTERM, and started again with the same command");
        let mut new = setup.spawn()?;
        self.leftovers.started(&new);
        new.wait_ready()?;
        self.proxies.insert(name, new);
        Ok(())
    }

    /// Steady load through the page's sidecar, on HTTP/1.1 and on HTTP/2.
    pub(crate) fn load(&self) -> Result<[Load; 2]> {
        let address = self.page()?.outbound();
        let plan = |protocol| Plan {
            protocol,
            address,
            call: Call::get("http://reviews:9080/reviews/7"),
            clients: 2,
            rate: 60,
        };
        Ok([Protocol::Http1, Protocol::Http2].map(|protocol| Load::start(&plan(protocol))))
    }

    /// What to try by hand.
    pub(crate) fn print_addresses(&self) {
        let Ok(page) = self.page() else { return };
        let (outbound, admin) = (page.outbound(), page.setup().admin);
        let root = self.mesh.root().display();
        anstream::println!(
            "
Everything is still running. Through productpage's sidecar:
  curl -x http://{outbound} http://reviews:9080/reviews/7
  curl -x http://{outbound} http://reviews:9080/reviews/7 -H 'end-user: jason'
  curl -x http://{outbound} http://details:9080/details/7 -X DELETE
What it runs, and what it counts:
  curl http://{admin}/bundle
  curl http://{admin}/metrics
Change the policy:
  cd {root} && $EDITOR policy/routes.yaml && git -C policy commit -am Change
  {weft} build policy --out release --key keys
Logs are in {root}/log. Ctrl-C ends it all and removes {root}.",
            weft = self.mesh.binaries().weft.display(),
        );
    }
}
