//! `web`, with a sidecar, and services that it calls in clear text: what a sidecar does for its application's calls.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use serde_json::Value;
use weft_tests::client::{self, Answer, Call, Protocol};
use weft_tests::mesh::Mesh;
use weft_tests::proxy::Proxy;
use weft_tests::upstream::Upstream;
use weft_tests::{port, wait};

use crate::small;

/// The mesh, the applications behind its services, and the sidecar of `web`.
pub(crate) struct Plain {
    pub(crate) proxy: Proxy,
    /// Its directory is gone when this is dropped.
    pub(crate) mesh: Mesh,
    /// Where peers call `web`, and the application that answers them.
    pub(crate) inbound: SocketAddr,
    pub(crate) application: Upstream,
    upstreams: Vec<(String, Vec<Upstream>)>,
}

impl Plain {
    /// Services by name, each with so many endpoints, and documents about them. Endpoints say `v1`, `v2` and so on.
    pub(crate) fn new(services: &[(&str, usize)], documents: &str) -> Self {
        let start = |name: &str, count| {
            let one = |number| Upstream::start(name, &format!("v{number}")).unwrap();
            (name.to_owned(), (1..=count).map(one).collect::<Vec<_>>())
        };
        let upstreams: Vec<_> = services.iter().map(|(name, count)| start(name, *count)).collect();
        let mut text = String::new();
        for (name, endpoints) in &upstreams {
            text.push_str(&service(name, endpoints));
        }
        text.push_str(documents);
        let called: Vec<_> = services.iter().map(|(name, _)| *name).collect();
        Self { upstreams, ..Self::calling(&called, &text, &[]) }
    }

    /// Calls services that the documents declare; the sidecar gets these arguments too.
    pub(crate) fn calling(services: &[&str], documents: &str, arguments: &[String]) -> Self {
        let text = format!("{}{documents}", web(services.iter().copied()));
        let mesh = Mesh::new("small", &[("mesh.yaml", small::MESH), ("services.yaml", &text)]).unwrap();
        mesh.build().unwrap();
        let mut setup = mesh.proxy("default/web", "web").unwrap();
        let (inbound, application) = (port::free_address().unwrap(), Upstream::start("web", "v1").unwrap());
        setup.inbound.push(format!("http={inbound}"));
        setup.application.push(format!("http={}", application.address()));
        setup.arguments.extend_from_slice(arguments);
        let proxy = setup.start().unwrap_or_else(|failure| panic!("{failure}"));
        Self { proxy, mesh, inbound, application, upstreams: Vec::new() }
    }

    /// The endpoints of a service.
    pub(crate) fn endpoints(&self, service: &str) -> &[Upstream] {
        self.upstreams.iter().find(|(name, _)| name == service).map(|(_, all)| all.as_slice()).unwrap()
    }

    /// Ends the first endpoint of a service.
    pub(crate) fn end_one(&mut self, service: &str) {
        let all = self.upstreams.iter_mut().find(|(name, _)| name == service);
        drop(all.unwrap().1.remove(0));
    }

    /// One request of `web` over a connection of its own.
    pub(crate) fn ask(&self, call: &Call) -> Answer {
        client::call(Protocol::Http1, self.proxy.outbound(), call).unwrap()
    }

    /// The same, while the test goes on.
    pub(crate) fn ask_aside(&self, call: &Call) -> JoinHandle<Answer> {
        let (address, call) = (self.proxy.outbound(), call.clone());
        std::thread::spawn(move || client::call(Protocol::Http1, address, &call).unwrap())
    }

    /// What `/clusters` says of a service's cluster on port 80.
    pub(crate) fn cluster(&self, service: &str) -> Value {
        self.proxy.admin("/clusters").unwrap().json()[format!("default/{service}:80")].clone()
    }

    /// The sum of a metric's samples that carry these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.proxy.metrics().sum(name, labels)
    }

    /// Waits for a condition.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        wait::until(what, || condition().then_some(()))
            .unwrap_or_else(|failure| panic!("{failure}\n{}", self.proxy.log_tail()));
    }
}

fn web<'n>(calls: impl Iterator<Item = &'n str>) -> String {
    let calls: Vec<_> = calls.map(|name| format!("{{ name: {name} }}")).collect();
    format!(
        "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: web }}
spec: {{ ports: [ {{ name: http, port: 80, protocol: http }} ], calls: [ {} ] }}
---
",
        calls.join(", ")
    )
}

fn service(name: &str, endpoints: &[Upstream]) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|endpoint| format!("{{ address: 127.0.0.1, port: {} }}", endpoint.address().port()))
        .collect();
    format!(
        "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: {name} }}
spec:
  ports: [ {{ name: http, port: 80, protocol: http }} ]
  endpoints: {{ static: [ {} ] }}
  calls: []
---
",
        endpoints.join(", ")
    )
}

/// A TrafficPolicy for a service, which says these things.
pub(crate) fn traffic_policy(service: &str, says: &str) -> String {
    let says = says.trim_matches('\n');
    let indent = if says.starts_with(' ') { "" } else { "  " };
    format!(
        "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {{ name: {service} }}
spec:
  targetRefs: [ {{ kind: Service, name: {service} }} ]
{indent}{says}
"
    )
}
