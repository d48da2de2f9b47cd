//! `policy-examples/bookinfo` on free ports, with as many replicas as a test needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use weft_tests::client::Call;
use weft_tests::mesh::Mesh;
use weft_tests::proxy::Proxy;
use weft_tests::upstream::Upstream;

/// Bookinfo with its first release published.
pub(crate) struct Bookinfo {
    pub(crate) mesh: Mesh,
    pub(crate) inbound: BTreeMap<u16, SocketAddr>,
}

/// A replica and its application.
pub(crate) struct Replica {
    pub(crate) proxy: Proxy,
    pub(crate) application: Upstream,
}

impl Bookinfo {
    pub(crate) fn new() -> Self {
        let mesh = Mesh::new("bookinfo", &[]).unwrap_or_else(|failure| panic!("{failure}"));
        let inbound = mesh.copy_example("bookinfo").unwrap();
        mesh.commit("Bookinfo").unwrap();
        mesh.build().unwrap();
        Self { mesh, inbound }
    }

    /// A replica, ready. `port` is the one that stands in the example. With `calls`, its application asks there.
    pub(crate) fn replica(&self, name: &str, port: u16, calls: Option<&str>) -> Replica {
        let (service, version) = name.rsplit_once('-').unwrap_or((name, "v1"));
        let account = format!("bookinfo/{service}");
        let mut setup = self.mesh.proxy_as(&account, &format!("bookinfo/{name}"), name).unwrap();
        let application = match calls {
            None => Upstream::start(service, version).unwrap(),
            Some(url) => Upstream::calls(service, version, setup.outbound, Call::get(url)).unwrap(),
        };
        setup.inbound.push(format!("http={}", self.inbound[&port]));
        setup.application.push(format!("http={}", application.address()));
        let proxy = setup.start().unwrap_or_else(|failure| panic!("{failure}"));
        Replica { proxy, application }
    }

    /// The page's sidecar, ready.
    pub(crate) fn page(&self) -> Replica {
        self.replica("productpage", 19080, None)
    }
}
