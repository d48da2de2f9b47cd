//! Fifty releases under steady load: every proxy on the path takes each of them, and not one request fails.

use weft_tests::client::{Call, Protocol};
use weft_tests::load::{Load, Plan, Tally};
use weft_tests::mesh::Mesh;
use weft_tests::port;
use weft_tests::proxy::Proxy;
use weft_tests::upstream::Upstream;

const RELOADS: u64 = 50;

/// Strict mutual TLS, no retries that could hide a lost request, and in every round another split and another access
/// rule, so that the bundles of caller and callee both change.
fn documents(ports: [u16; 2], round: u64) -> String {
    let [v1, v2] = ports;
    let weight = 1 + round % 9;
    format!(
        "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{ name: reload }}
spec: {{ trustDomain: reload.example, trustAnchors: [ {{ file: ca/root.pem }} ], defaults: {{ retry: {{ attempts: 0 }}, timeouts: {{ request: 60s, connect: 30s }} }} }}
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: web }}
spec: {{ ports: [ {{ name: http, port: 80, protocol: http }} ], calls: [ {{ name: api }} ] }}
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: api }}
spec:
  ports: [ {{ name: http, port: 80, protocol: http }} ]
  endpoints:
    static:
    - {{ address: 127.0.0.1, port: {v1}, labels: {{ version: v1 }} }}
    - {{ address: 127.0.0.1, port: {v2}, labels: {{ version: v2 }} }}
  calls: []
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: api }}
spec:
  host: api
  subsets: [ {{ name: v1, labels: {{ version: v1 }} }}, {{ name: v2, labels: {{ version: v2 }} }} ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: api }}
spec:
  hosts: [ api ]
  http:
  - route:
    - {{ destination: {{ host: api, subset: v1 }}, weight: {weight} }}
    - {{ destination: {{ host: api, subset: v2 }}, weight: 10 }}
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: api }}
spec:
  targetRefs: [ {{ kind: Service, name: api }} ]
  action: allow
  rules:
  - from: [ {{ service: web }} ]
    to: [ {{ paths: [ {{ prefix: /items }}, {{ exact: /round-{round} }} ] }} ]
"
    )
}

#[test]
fn fifty_reloads_under_load_lose_no_request_on_either_protocol() {
    let addresses = [port::free_address().unwrap(), port::free_address().unwrap()];
    let ports = addresses.map(|address| address.port());
    let mesh = Mesh::new("reload", &[("policy.yaml", &documents(ports, 0))]).unwrap();
    mesh.build().unwrap();
    let applications = ["v1", "v2"].map(|version| Upstream::start("api", version).unwrap());
    let mut proxies: Vec<Proxy> = Vec::new();
    for ((name, inbound), application) in ["api-v1", "api-v2"].into_iter().zip(addresses).zip(&applications) {
        let mut setup = mesh.proxy("default/api", name).unwrap();
        setup.inbound.push(format!("http={inbound}"));
        setup.application.push(format!("http={}", application.address()));
        proxies.push(setup.start().unwrap());
    }
    let mut web = mesh.proxy("default/web", "web").unwrap();
    web.inbound.push(format!("http={}", port::free_address().unwrap()));
    proxies.push(web.start().unwrap());
    let outbound = proxies[2].outbound();

    let plan = |protocol| Plan {
        protocol,
        address: outbound,
        call: Call::get("http://api/items/7").body("something to replay"),
        clients: 2,
        rate: 50,
    };
    let loads = [Protocol::Http1, Protocol::Http2].map(|protocol| Load::start(&plan(protocol)));
    for round in 1..=RELOADS {
        mesh.write("policy.yaml", &documents(ports, round)).unwrap();
        mesh.commit(&format!("Round {round}")).unwrap();
        mesh.build().unwrap();
        for proxy in &proxies {
            proxy.wait_sequence(round + 1).unwrap();
        }
    }
    // The last release has been at work as well, before the load ends.
    loads.iter().for_each(|load| load.wait_for_more(20).unwrap());
    for load in loads {
        let tally: Tally = load.stop().unwrap();
        assert_eq!(tally.failed(), 0, "{tally}\n{}", proxies[2].log_tail());
        assert!(tally.sent > RELOADS * 4, "too little load to say anything: {tally}");
        assert_eq!(tally.versions.len(), 2, "{tally:?}");
    }
    for proxy in &proxies {
        assert_eq!(proxy.metrics().sum("weft_bundle_rejected_total", &[]), 0.0, "{}", proxy.log_tail());
    }
}
