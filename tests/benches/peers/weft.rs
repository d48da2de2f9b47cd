//! Ourselves: documents, compiled and signed by `weft`, served by `weft-proxy`; routing, access and metrics as always, the
//! access log off as with the others.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use weft_tests::binaries::Binaries;
use weft_tests::proxy::Proxy;
use weft_tests::{Result, port};

use crate::contender::{Contender, Http, Place, Running, Shape, Until, first_line};
use crate::measure;
use crate::scenario::AUTHORITY;

/// weft-proxy.
#[derive(Debug, Default)]
pub(crate) struct Weft {
    /// How often something was started, for names.
    started: Cell<u32>,
}

impl Contender for Weft {
    fn name(&self) -> &'static str {
        "weft"
    }

    fn version(&self) -> Result<String> {
        first_line(std::process::Command::new(&Binaries::get()?.proxy).arg("--version"), "weft-proxy")
    }

    fn start(&self, shape: Shape, place: &Place, until: Until) -> Result<Option<Running>> {
        let number = self.started.get() + 1;
        self.started.set(number);
        let inbound = port::free_address()?;
        publish(shape, place, inbound)?;
        let start = |service: &str| -> Result<(Proxy, Instant)> {
            let mut setup =
                place.mesh.proxy(&format!("default/{service}"), &format!("{service}-{number}"))?;
            setup.arguments.extend(["--log", "warn,access=off"].map(str::to_owned));
            if service == "api" {
                setup.inbound.push(format!("http={inbound}"));
                setup.application.push(format!("http={}", place.origin.of(shape.http())));
            } else {
                setup.inbound.push(format!("http={}", port::free_address()?));
            }
            let started = Instant::now();
            let mut proxy = setup.spawn()?;
            measure::pin(proxy.id())?;
            if until == Until::Listening {
                proxy.wait_ready()?;
            }
            Ok((proxy, started))
        };
        let (address, proxies) = match shape {
            Shape::Plain(_) | Shape::Routes(_) => {
                let web = start("web")?;
                (web.0.outbound(), vec![web])
            }
            Shape::Hop(_) | Shape::Access(_) => {
                let (api, web) = (start("api")?, start("web")?);
                (web.0.outbound(), vec![api, web])
            }
            Shape::Terminate => (inbound, vec![start("api")?]),
        };
        let processes = proxies.iter().map(|(proxy, _)| proxy.id()).collect();
        let started = proxies.last().map(|(_, started)| *started);
        Ok(started.map(|started| Running::new(address, started, processes, proxies)))
    }
}

/// Writes what a shape needs, commits, builds.
fn publish(shape: Shape, place: &Place, inbound: SocketAddr) -> Result<()> {
    let hop = matches!(shape, Shape::Hop(_) | Shape::Access(_) | Shape::Terminate);
    let endpoint = if hop { inbound } else { place.origin.of(shape.http()) };
    let (tls, protocol) = (
        if hop { "strict" } else { "off" },
        match shape.http() {
            Http::One => "http",
            Http::Two => "http2",
        },
    );
    let mut text = format!(
        "apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{ name: peers }}
spec:
  trustDomain: peers.example
  trustAnchors: [ {{ file: ca/root.pem }} ]
  defaults: {{ access: deny, peerTLS: {tls} }}
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
  ports: [ {{ name: http, port: 80, protocol: {protocol} }} ]
  endpoints: {{ static: [ {{ address: 127.0.0.1, port: {} }} ] }}
  calls: []
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: api }}
spec:
  targetRefs: [ {{ kind: Service, name: api }} ]
  action: allow
  rules:
",
        endpoint.port()
    );
    match shape {
        Shape::Access(rules) => {
            for rule in 0..rules {
                let _ = writeln!(
                    text,
                    "  - {{ from: [ {{ service: web }} ], to: [ {{ methods: [ GET ], paths: [ {{ prefix: /part{rule} }} ] }} ] }}"
                );
            }
        }
        Shape::Plain(_) | Shape::Hop(_) | Shape::Terminate | Shape::Routes(_) => {
            text.push_str("  - from: [ { service: web } ]\n    to: [ { methods: [ GET ], paths: [ { prefix: / } ] } ]\n");
        }
    }
    if let Shape::Routes(routes) = shape {
        text.push_str(
            "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: api }
spec:
  hosts: [ api ]
  http:
",
        );
        for route in 0..routes {
            let _ = writeln!(
                text,
                "  - match: [ {{ uri: {{ prefix: /part{route}/ }} }} ]\n    route: [ {{ destination: {{ host: api }} }} ]"
            );
        }
    } else {
        let _ = write!(
            text,
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: api }}
spec:
  parentRefs: [ {{ group: '', kind: Service, name: api, port: 80 }} ]
  hostnames: [ {AUTHORITY} ]
  rules:
  - filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {{ set: [ {{ name: x-route, value: all }} ] }}
    backendRefs: [ {{ name: api, port: 80 }} ]
"
        );
    }
    // A start is measured again and again with the same documents.
    if place.mesh.read("policy.yaml").is_ok_and(|before| before == text) {
        return Ok(());
    }
    place.mesh.write("policy.yaml", &text)?;
    place.mesh.commit("Another scenario")?;
    place.mesh.build()?;
    Ok(())
}
