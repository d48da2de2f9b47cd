//! `web` calls `api` through both their sidecars with mutual TLS, and `stranger` may not. The application of `api`, and the
//! client of it, are programs that are not ours.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use weft_tests::binaries::workspace;
use weft_tests::command::{self, Finished};
use weft_tests::mesh::Mesh;
use weft_tests::proxy::{Proxy, Setup};
use weft_tests::{port, wait};

const POLICY: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: pair }
spec: { trustDomain: pair.example, trustAnchors: [ { file: ca/root.pem } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: api } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: stranger }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: api } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: api }
spec:
  ports: [ { name: main, port: 80, protocol: PROTOCOL } ]
  endpoints: { static: [ { address: 127.0.0.1, port: PORT } ] }
  calls: []
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: api }
spec: { targetRefs: [ { kind: Service, name: api } ], action: allow, rules: [ { from: [ { service: web } ] } ] }
";

/// The mesh and the two sidecars.
pub(crate) struct Pair {
    /// That of `api`.
    pub(crate) callee: Proxy,
    /// That of `web`.
    pub(crate) caller: Proxy,
    /// The local port of `web` that leads to `api`.
    pub(crate) local_port: SocketAddr,
    /// Its directory is gone when this is dropped.
    pub(crate) mesh: Mesh,
}

impl Pair {
    /// With an application of `api` that speaks `protocol`, and more documents.
    pub(crate) fn start(protocol: &str, application: SocketAddr, documents: &str) -> Self {
        let inbound = port::free_address().unwrap();
        let policy = POLICY.replace("PROTOCOL", protocol).replace("PORT", &inbound.port().to_string());
        let mesh = Mesh::new("pair", &[("policy.yaml", &policy), ("more.yaml", documents)]).unwrap();
        mesh.build().unwrap();
        let mut setup = mesh.proxy("default/api", "api").unwrap();
        setup.inbound.push(format!("main={inbound}"));
        setup.application.push(format!("main={application}"));
        let callee = start(&setup);
        let (caller, local_port) = Self::caller_of(&mesh, "web");
        Self { callee, caller, local_port, mesh }
    }

    /// The sidecar of a service that calls `api`, and its local port for that.
    pub(crate) fn caller_of(mesh: &Mesh, service: &str) -> (Proxy, SocketAddr) {
        let mut setup = mesh.proxy(&format!("default/{service}"), service).unwrap();
        let (inbound, local_port) = (port::free_address().unwrap(), port::free_address().unwrap());
        setup.inbound.push(format!("http={inbound}"));
        setup.arguments = vec!["--forward".to_owned(), format!("{local_port}=default/api:80")];
        (start(&setup), local_port)
    }

    /// Waits until either sidecar's metric has a value.
    #[track_caller]
    pub(crate) fn until(&self, proxy: &Proxy, metric: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{metric} {labels:?} to be {value}");
        wait::until(&what, || (proxy.metrics().sum(metric, labels) == value).then_some(()))
            .unwrap_or_else(|failure| panic!("{failure}\n{}\n{}", proxy.metrics().0, proxy.log_tail()));
    }
}

fn start(setup: &Setup) -> Proxy {
    setup.start().unwrap_or_else(|failure| panic!("{failure}"))
}

/// A program that runs beside a test; killed when dropped.
pub(crate) struct Program(Child);

impl Program {
    /// Starts it, and waits for a line that says it is ready.
    pub(crate) fn start(command: &mut Command, is_ready: impl Fn(&str) -> bool) -> Self {
        let line = command::shown(command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| is_ready(&line));
        let program = Self(child);
        assert!(ready, "it ended before it was ready: {line}");
        // Read on, so that it can write on.
        std::thread::spawn(move || lines.count());
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// One of the Python programs beside the tests.
pub(crate) fn python(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg(workspace().join("tests").join(script)).args(arguments);
    // What the environment says of proxies is not for these.
    for name in ["http_proxy", "https_proxy", "grpc_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// Whether Python and these modules are there; says so if not.
pub(crate) fn has_python(modules: &str, packages: &str, what: &str) -> bool {
    let found = Command::new("python3").args(["-c", &format!("import {modules}")]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        anstream::eprintln!("SKIPPED: {what} needs python3 with {packages} (pip install {packages})");
    }
    is_there
}

/// Runs a command that must end well.
#[track_caller]
pub(crate) fn run(pair: &Pair, command: &mut Command) -> Finished {
    let finished = command::run(command).unwrap();
    finished
        .expect_code(0)
        .unwrap_or_else(|failure| panic!("{failure}\n{}\n{}", pair.caller.log_tail(), pair.callee.log_tail()))
}
