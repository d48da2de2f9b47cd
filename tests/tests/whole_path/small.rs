//! The smallest mesh with something to say: `web` calls `api`, in clear text, so that one proxy is enough.

use std::process::Command;

use weft_tests::client::{Answer, Call, Client, Protocol};
use weft_tests::mesh::Mesh;
use weft_tests::proxy::{Proxy, Setup};
use weft_tests::upstream::Upstream;

pub(crate) const MESH: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: small }
spec:
  trustDomain: small.example
  trustAnchors: [ { file: ca/root.pem } ]
  defaults: { access: allow, peerTLS: off, timeouts: { request: 60s, connect: 30s } }
";

/// `web` and `api`, and a route that adds a header, by which a release can be told from another.
pub(crate) fn services(api_port: u16, mark: &str) -> String {
    format!(
        "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: web }}
spec:
  ports: [ {{ name: http, port: 80, protocol: http }} ]
  calls: [ {{ name: api }} ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: api }}
spec:
  ports: [ {{ name: http, port: 80, protocol: http }} ]
  endpoints: {{ static: [ {{ address: 127.0.0.1, port: {api_port} }} ] }}
  calls: []
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: api }}
spec:
  parentRefs: [ {{ group: '', kind: Service, name: api, port: 80 }} ]
  rules:
  - filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {{ set: [ {{ name: x-mark, value: {mark} }} ] }}
    backendRefs: [ {{ name: api, port: 80 }} ]
"
    )
}

/// The mesh, with its first release published.
pub(crate) struct Small {
    pub(crate) mesh: Mesh,
    upstream: Upstream,
}

impl Small {
    pub(crate) fn new() -> Self {
        let upstream = Upstream::start("api", "v1").unwrap();
        let documents = services(upstream.address().port(), "one");
        let mesh = Mesh::new("small", &[("mesh.yaml", MESH), ("services.yaml", &documents)]).unwrap();
        mesh.build().unwrap();
        Self { mesh, upstream }
    }

    /// The proxy of `web`, not started yet.
    pub(crate) fn setup(&self) -> Setup {
        let mut setup = self.mesh.proxy("default/web", "web").unwrap();
        let inbound = weft_tests::port::free_address().unwrap();
        setup.inbound.push(format!("http={inbound}"));
        setup
    }

    /// The proxy of `web`, serving the first release.
    pub(crate) fn start(&self) -> Proxy {
        let proxy = self.setup().start().unwrap();
        require_mark(&proxy, "one");
        proxy
    }

    /// Writes and commits another mark, and does not build.
    pub(crate) fn mark(&self, mark: &str) {
        self.mesh.write("services.yaml", &services(self.upstream.address().port(), mark)).unwrap();
        self.mesh.commit(mark).unwrap();
    }

    /// Publishes a release with another mark.
    pub(crate) fn publish(&self, mark: &str) {
        self.mark(mark);
        self.mesh.build().unwrap();
    }

    /// Publishes a release with another mark into a copy of the release directory, and leaves that where it is.
    pub(crate) fn publish_aside(&self, mark: &str, directory: &str) {
        let aside = self.mesh.root().join(directory);
        let copy = Command::new("cp").arg("-a").arg(self.mesh.release()).arg(&aside).status().unwrap();
        assert!(copy.success());
        self.mark(mark);
        let arguments = ["build", "policy", "--out", directory, "--key", "keys"];
        self.mesh.weft(&arguments).unwrap().expect_code(0).unwrap();
    }
}

/// A request of `web` to `api`.
pub(crate) fn ask(proxy: &Proxy) -> Answer {
    Client::new(Protocol::Http1, proxy.outbound()).send_blocking(&Call::get("http://api/")).unwrap()
}

/// The mark of the release that the proxy decides by.
pub(crate) fn mark_of(proxy: &Proxy) -> String {
    let answer = ask(proxy);
    assert_eq!(answer.status, 200, "{answer}\n{}", proxy.log_tail());
    answer.json()["headers"]["x-mark"].as_str().unwrap_or_default().to_owned()
}

/// The proxy serves, and decides by the release with this mark.
#[track_caller]
pub(crate) fn require_mark(proxy: &Proxy, mark: &str) {
    assert_eq!(mark_of(proxy), mark, "{}", proxy.log_tail());
}

/// Waits until the proxy decides by the release with this mark.
#[track_caller]
pub(crate) fn wait_mark(proxy: &Proxy, mark: &str) {
    let what = format!("the release marked `{mark}`");
    weft_tests::wait::until(&what, || (mark_of(proxy) == mark).then_some(()))
        .unwrap_or_else(|failure| panic!("{failure}\n{}", proxy.log_tail()));
}
