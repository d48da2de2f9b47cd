//! A proxy's life: start, drain, the application behind `--`, restart without a source.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use weft_tests::client::{Call, Client, Protocol};
use weft_tests::load::{Load, Plan};
use weft_tests::mesh::Mesh;
use weft_tests::proxy::{Proxy, Setup};
use weft_tests::upstream::Upstream;
use weft_tests::{port, runtime, wait};

use crate::small::{Small, require_mark, wait_mark};

const TWO_REPLICAS: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: drain }
spec:
  trustDomain: drain.example
  trustAnchors: [ { file: ca/root.pem } ]
  defaults: { timeouts: { request: 60s, connect: 30s } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: api } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: api }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 127.0.0.1, port: ONE }, { address: 127.0.0.1, port: TWO } ] }
  calls: []
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: api }
spec: { targetRefs: [ { kind: Service, name: api } ], action: allow, rules: [ { from: [ { service: web } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: api }
spec:
  targetRefs: [ { kind: Service, name: api } ]
  retry: { attempts: 2, on: [ connect-failure, refused-stream ], budget: { percent: 100, min: 20 } }
";

#[test]
fn sigterm_drains_without_a_failed_request() {
    let inbound = [port::free_address().unwrap(), port::free_address().unwrap()];
    let policy = TWO_REPLICAS
        .replace("ONE", &inbound[0].port().to_string())
        .replace("TWO", &inbound[1].port().to_string());
    let mesh = Mesh::new("drain", &[("policy.yaml", &policy)]).unwrap();
    mesh.build().unwrap();
    let applications = ["v1", "v2"].map(|version| Upstream::start("api", version).unwrap());
    let mut replicas: Vec<Proxy> = Vec::new();
    for ((name, inbound), application) in ["api-1", "api-2"].into_iter().zip(inbound).zip(&applications) {
        let mut setup = mesh.proxy("default/api", name).unwrap();
        setup.inbound.push(format!("http={inbound}"));
        setup.application.push(format!("http={}", application.address()));
        replicas.push(setup.start().unwrap());
    }
    let mut web = mesh.proxy("default/web", "web").unwrap();
    web.inbound.push(format!("http={}", port::free_address().unwrap()));
    let mut web = web.start().unwrap();

    let plan = |protocol| Plan {
        protocol,
        address: web.outbound(),
        call: Call::get("http://api/items"),
        clients: 3,
        rate: 60,
    };
    let loads = [Protocol::Http1, Protocol::Http2].map(|protocol| Load::start(&plan(protocol)));
    loads.iter().for_each(|load| load.wait_for_more(60).unwrap());
    assert!(applications.iter().all(|application| application.hits() > 0));
    // A replica goes while it is busy; requests go on to the other.
    let status = replicas[0].terminate().unwrap();
    assert_eq!(status.code(), Some(0), "{}", replicas[0].log_tail());
    loads.iter().for_each(|load| load.wait_for_more(60).unwrap());
    for load in loads {
        let tally = load.stop().unwrap();
        assert_eq!(tally.failed(), 0, "{tally}\n{}", web.log_tail());
    }

    // The caller's own proxy is told to go with a request under way: the request ends well first.
    let slow = Call::get("http://api/items").header("x-bench-delay-ms", "400");
    let address = web.outbound();
    let hits = applications[1].hits();
    let answer =
        runtime::handle().spawn(async move { Client::new(Protocol::Http1, address).send(&slow).await });
    wait::until("the request to arrive", || (applications[1].hits() > hits).then_some(())).unwrap();
    let status = web.terminate().unwrap();
    let answer = runtime::block_on(answer).unwrap().unwrap();
    assert_eq!((answer.status, status.code()), (200, Some(0)), "{answer}\n{}", web.log_tail());
}

/// An application that leaves word of its start and of the signal it gets, and ends with 7.
fn app(small: &Small) -> Vec<String> {
    let place = small.mesh.root().display();
    let script = format!(
        "trap 'echo term > {place}/app-signal; exit 7' TERM\necho started > {place}/app-start\n\
         while :; do sleep 0.02; done"
    );
    ["sh", "-c", &script].map(str::to_owned).into()
}

#[test]
fn the_application_starts_after_ready_gets_signals_and_gives_its_exit_status() {
    let small = Small::new();
    let marker = |name: &str| small.mesh.root().join(name).exists();
    let mut setup = small.setup();
    setup.app = app(&small);
    // Nothing to serve yet: no release, no application.
    let hidden = small.mesh.root().join("hidden");
    fs::rename(small.mesh.release(), &hidden).unwrap();
    let mut proxy = setup.spawn().unwrap();
    wait::until("its admin port", || proxy.admin("/live").ok()).unwrap();
    proxy.wait_rejected("missing", 0.0).unwrap();
    assert!(!proxy.is_ready() && !marker("app-start"));
    fs::rename(&hidden, small.mesh.release()).unwrap();
    proxy.wait_ready().unwrap();
    wait::until("the application", || marker("app-start").then_some(())).unwrap();
    require_mark(&proxy, "one");
    let status = proxy.terminate().unwrap();
    assert!(marker("app-signal"), "{}", proxy.log_tail());
    assert_eq!(status.code(), Some(7), "{}", proxy.log_tail());
}

#[test]
fn an_application_that_ends_by_itself_ends_the_proxy_with_its_status() {
    let small = Small::new();
    let mut setup: Setup = small.setup();
    setup.app = ["sh", "-c", "exit 42"].map(str::to_owned).into();
    let mut proxy = setup.spawn().unwrap();
    let status = proxy.wait_end().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(42), None), "{}", proxy.log_tail());
}

#[test]
fn with_the_source_gone_a_proxy_restarts_from_its_state_and_is_stale() {
    let small = Small::new();
    let mut proxy = small.start();
    small.publish("two");
    wait_mark(&proxy, "two");
    let setup = proxy.setup().clone();
    // A crash, not a shutdown: what counts was on disk before it was served.
    proxy.kill().unwrap();
    let away = small.mesh.root().join("away");
    fs::rename(small.mesh.release(), &away).unwrap();
    let proxy = setup.start().unwrap_or_else(|failure| panic!("{failure}"));
    require_mark(&proxy, "two");
    assert_eq!(proxy.metrics().sum("weft_bundle_stale", &[]), 1.0);
    // The source comes back with something newer.
    fs::rename(&away, small.mesh.release()).unwrap();
    small.publish("three");
    wait_mark(&proxy, "three");
    wait::until("fresh again", || (proxy.metrics().sum("weft_bundle_stale", &[]) == 0.0).then_some(()))
        .unwrap();
}

#[test]
fn damaged_state_is_not_believed() {
    let small = Small::new();
    let mut proxy = small.start();
    let setup = proxy.setup().clone();
    proxy.kill().unwrap();
    fs::rename(small.mesh.release(), small.mesh.root().join("away")).unwrap();
    for name in crate::forge::files(&setup.state) {
        let path = setup.state.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(path, bytes).unwrap();
    }
    let mut proxy = setup.spawn().unwrap();
    wait::until("a word about it", || {
        let counted = proxy.metrics().sum("weft_bundle_rejected_total", &[]) > 0.0;
        (counted || proxy.has_ended().is_some()).then_some(())
    })
    .unwrap();
    assert!(!proxy.is_ready());
}
