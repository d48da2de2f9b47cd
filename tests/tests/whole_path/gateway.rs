//! A gateway: callers outside the mesh, and servers outside it, with everything between them that is real.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use weft_tests::mesh::Mesh;
use weft_tests::proxy::Proxy;
use weft_tests::upstream::Upstream;
use weft_tests::{port, wait};

use crate::web::{Authority, Curled, Pair, curl, raw_server, tls_server};

const POLICY: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: edge }
spec: { trustDomain: edge.example, trustAnchors: [ { file: ca/root.pem } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart }
spec:
  ports: [ { name: http, port: 8080, protocol: http } ]
  endpoints: { static: [ { address: 127.0.0.1, port: @CART } ] }
  calls: []
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: from-the-edge }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { gateway: default/public } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: not-the-admin }
spec:
  targetRefs: [ { kind: Gateway, name: public } ]
  action: deny
  rules: [ { to: [ { paths: [ { prefix: /admin } ] } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay }
spec:
  hosts: [ pay.example ]
  ports: [ { name: http, port: 80, protocol: http, target: @PAY, tls: {} } ]
  endpoints: { static: [ { address: 127.0.0.1 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: raw }
spec:
  hosts: [ raw.example ]
  ports: [ { name: http, port: 80, protocol: http, target: @RAW } ]
  endpoints: { static: [ { address: 127.0.0.1 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: raw }
spec: { targetRefs: [ { kind: Service, name: raw } ], connection: { proxyProtocol: 1 } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public }
spec:
  gatewayClassName: weft
  listeners:
  - { name: http, port: @HTTP, protocol: HTTP }
  - { name: shop, port: @TLS, protocol: HTTPS, hostname: shop.example, tls: { certificateRefs: [ { name: shop } ] } }
  - { name: wild, port: @TLS, protocol: HTTPS, hostname: '*.shop.example', tls: { certificateRefs: [ { name: wild } ] } }
  - { name: mutual, port: @MUTUAL, protocol: HTTPS, hostname: shop.example, tls: { certificateRefs: [ { name: shop } ] } }
  tls:
    frontend:
      default: {}
      perPort:
      - port: @MUTUAL
        tls: { validation: { caCertificateRefs: [ { group: '', kind: ConfigMap, name: issuers } ] } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: issuers }
data:
  ca.crt: |
@ISSUERS---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: to-https }
spec:
  parentRefs: [ { name: public, sectionName: http } ]
  rules:
  - filters: [ { type: RequestRedirect, requestRedirect: { scheme: https, port: @TLS, statusCode: 301 } } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec:
  parentRefs: [ { name: public, sectionName: shop }, { name: public, sectionName: wild }, { name: public, sectionName: mutual } ]
  rules:
  - matches: [ { path: { type: PathPrefix, value: /cart } } ]
    filters: [ { type: CORS, cors: { allowOrigins: [ 'https://www.shop.example' ], allowMethods: [ GET ] } } ]
    backendRefs: [ { name: cart, port: 8080 } ]
  - matches: [ { path: { type: PathPrefix, value: /pay } } ]
    filters: [ { type: URLRewrite, urlRewrite: { hostname: pay.example } } ]
    backendRefs: [ { name: pay, port: 80 } ]
  - matches: [ { path: { type: PathPrefix, value: /raw } } ]
    backendRefs: [ { name: raw, port: 80 } ]
";

/// The gateway, and everything around it.
struct Edge {
    mesh: Mesh,
    gateway: Proxy,
    /// The sidecar of `cart`, and its application.
    _sidecar: Proxy,
    cart: Upstream,
    web: Authority,
    /// Issues what callers present.
    issuers: Authority,
    /// First lines of connections to the server that is told of its clients.
    raw: Arc<Mutex<Vec<String>>>,
    http: u16,
    tls: u16,
    mutual: u16,
}

impl Edge {
    fn start() -> Self {
        let (web, issuers) = (Authority::new(), Authority::new());
        let pay = tls_server(&web.issue(&["pay.example"]));
        let (raw_address, raw) = raw_server();
        let inbound = port::free_address().unwrap();
        let [http, tls, mutual] = [(); 3].map(|()| port::free().unwrap());
        let issuers_pem: String = issuers.pem().lines().map(|line| format!("    {line}\n")).collect();
        let ports = [
            ("@CART", inbound.port()),
            ("@PAY", pay.port()),
            ("@RAW", raw_address.port()),
            ("@HTTP", http),
            ("@TLS", tls),
            ("@MUTUAL", mutual),
        ];
        let numbered = |policy: String, (name, port): (&str, u16)| policy.replace(name, &port.to_string());
        let policy = ports.into_iter().fold(POLICY.replace("@ISSUERS", &issuers_pem), numbered);
        let mesh = Mesh::new("edge", &[("policy.yaml", &policy)]).unwrap();
        mesh.build().unwrap();

        let cart = Upstream::start("cart", "v1").unwrap();
        let mut sidecar = mesh.proxy("default/cart", "cart").unwrap();
        sidecar.inbound.push(format!("http={inbound}"));
        sidecar.application.push(format!("http={}", cart.address()));
        let sidecar = sidecar.start().unwrap_or_else(|failure| panic!("{failure}"));

        let certificates = mesh.root().join("certificates");
        web.issue(&["shop.example"]).put(&certificates, "default/shop");
        web.issue(&["*.shop.example"]).put(&certificates, "default/wild");
        let mut setup = mesh.proxy("default/public", "public").unwrap();
        setup.program = believing(&mesh, &web);
        setup.arguments.extend(["--certificates".to_owned(), certificates.display().to_string()]);
        for port in [http, tls, mutual] {
            setup.arguments.extend(["--listener".to_owned(), format!("{port}=127.0.0.1:{port}")]);
        }
        let gateway = setup.start().unwrap_or_else(|failure| panic!("{failure}"));
        Self { mesh, gateway, _sidecar: sidecar, cart, web, issuers, raw, http, tls, mutual }
    }

    fn certificates(&self) -> PathBuf {
        self.mesh.root().join("certificates")
    }

    /// Asks over TLS, believing the authority of the web.
    fn https(&self, host: &str, path: &str, arguments: &[&str]) -> Curled {
        self.https_on(self.tls, host, path, arguments)
    }

    fn https_on(&self, port: u16, host: &str, path: &str, arguments: &[&str]) -> Curled {
        let anchors = self.mesh.root().join("web.pem").display().to_string();
        let arguments = [&["--cacert", &anchors], arguments].concat();
        curl(&format!("https://{host}:{port}{path}"), &arguments)
    }
}

/// The proxy on a machine that believes an authority.
fn believing(mesh: &Mesh, web: &Authority) -> PathBuf {
    let (anchors, script) = (mesh.root().join("web.pem"), mesh.root().join("believing"));
    std::fs::write(&anchors, web.pem()).unwrap();
    let program = mesh.binaries().proxy.display().to_string();
    let text = format!("#!/bin/sh\nSSL_CERT_FILE='{}' exec '{program}' \"$@\"\n", anchors.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn callers_outside_reach_what_is_behind_the_gateway_and_nothing_else() {
    let edge = Edge::start();
    for (host, version) in [("shop.example", "1.1"), ("shop.example", "2"), ("a.shop.example", "2")] {
        let flag = format!("--http{version}");
        let got = edge.https(
            host,
            "/cart/1?q=1",
            &[&flag, "--header", "x-forwarded-for: 10.0.0.1", "--header", "x-weft-peer: forged"],
        );
        assert_eq!((got.status, got.version.as_str()), (200, version), "{got:?}");
        let seen = got.json();
        assert_eq!(seen["path"], "/cart/1?q=1");
        assert_eq!(seen["headers"]["x-forwarded-for"], "127.0.0.1");
        assert_eq!(seen["headers"]["x-forwarded-proto"], "https");
        assert_eq!(seen["headers"]["x-weft-peer"], "spiffe://edge.example/ns/default/sa/public");
    }
    assert_eq!(edge.https("shop.example", "/", &[]).status, 404, "no route");
    let denied = edge.https("shop.example", "/admin/x", &[]);
    assert_eq!((denied.status, denied.header("x-weft-reason")), (403, "access-denied"), "{denied:?}");
    assert!(!denied.text.contains("AccessPolicy") && !denied.text.contains(".yaml"), "{denied:?}");
    assert_eq!(edge.cart.hits(), 3, "what is refused does not reach it");

    let moved = curl(&format!("http://shop.example:{}/cart?all", edge.http), &[]);
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, &*format!("https://shop.example:{}/cart?all", edge.tls))
    );
    let allowed = edge.https("shop.example", "/cart", &["--header", "origin: https://www.shop.example"]);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://www.shop.example");
    let foreign = edge.https("shop.example", "/cart", &["--header", "origin: https://evil.example"]);
    assert_eq!(foreign.header("access-control-allow-origin"), "");
    let metrics = edge.gateway.metrics();
    let ended = metrics.sum("weft_requests_total", &[("service", "default/public"), ("reason", "ok")]);
    assert_eq!(ended, 5.0);
}

#[test]
fn a_connection_is_for_the_listener_of_its_server_name() {
    let edge = Edge::start();
    for version in ["--http1.1", "--http2"] {
        let other = edge.https("shop.example", "/cart", &[version, "--header", "host: a.shop.example"]);
        assert_eq!((other.status, other.header("x-weft-reason")), (421, "misdirected"), "{other:?}");
        let same = edge.https("b.shop.example", "/cart", &[version, "--header", "host: a.shop.example"]);
        assert_eq!(same.status, 200, "{same:?}");
    }
    let unknown = edge.https("other.example", "/cart", &[]);
    assert_eq!(unknown.exit, 35, "no listener has that name: {unknown:?}");
    let deep = edge.https("a.b.shop.example", "/cart", &[]);
    assert_eq!(deep.exit, 60, "a star in a certificate is one label: {deep:?}");
    assert_eq!(edge.cart.hits(), 2);
}

#[test]
fn new_certificates_are_presented_without_a_restart() {
    let edge = Edge::start();
    assert_eq!(edge.https("shop.example", "/cart", &[]).status, 200);
    let next = Authority::new();
    let anchors = edge.mesh.root().join("next.pem");
    std::fs::write(&anchors, next.pem()).unwrap();
    let anchors = anchors.display().to_string();
    let by_next = || edge.https("shop.example", "/cart", &["--cacert", &anchors]);
    assert_ne!(by_next().exit, 0, "nobody believes it yet");
    next.issue(&["shop.example"]).put(&edge.certificates(), "default/shop");
    wait::until("the new certificate", || (by_next().status == 200).then_some(())).unwrap();
    assert_eq!(edge.https("a.shop.example", "/cart", &[]).status, 200, "the other one is as it was");
    std::fs::write(edge.certificates().join("default/shop/tls.key"), "half a k").unwrap();
    let rejected = || edge.gateway.metrics().sum("weft_certificate_rejected_total", &[]) > 0.0;
    wait::until("the broken pair to be counted", || rejected().then_some(())).unwrap();
    assert_eq!(by_next().status, 200, "the last good pair stays");
}

#[test]
fn callers_show_certificates_where_the_gateway_asks() {
    let edge = Edge::start();
    let write = |pair: Pair, name: &str| {
        let directory = edge.mesh.root().join(name);
        std::fs::create_dir(&directory).unwrap();
        let (certificate, key) = pair.write(&directory);
        [certificate, key].map(|path| path.display().to_string())
    };
    let good = write(edge.issuers.issue(&["caller.example"]), "good");
    let wrong = write(edge.web.issue(&["caller.example"]), "wrong");
    let ask = |pair: Option<&[String; 2]>| {
        let pair = pair.map(|[certificate, key]| ["--cert", certificate.as_str(), "--key", key.as_str()]);
        edge.https_on(edge.mutual, "shop.example", "/cart", pair.as_ref().map_or(&[], |pair| &pair[..]))
    };
    assert_eq!(ask(Some(&good)).status, 200);
    for refused in [ask(None), ask(Some(&wrong))] {
        assert!(refused.exit != 0 && refused.status == 0, "{refused:?}");
    }
    assert_eq!(edge.https("shop.example", "/cart", &[]).status, 200, "the other port asks for none");
    assert_eq!(edge.cart.hits(), 2);
}

#[test]
fn servers_outside_are_reached_over_tls_and_told_of_clients() {
    let edge = Edge::start();
    let paid = edge.https("shop.example", "/pay/1", &[]);
    assert_eq!(paid.status, 200, "{paid:?}\n{}", edge.gateway.log_tail());
    let text = paid.text.to_ascii_lowercase();
    assert!(
        text.contains("pay.example\nget /pay/1 http/1.1"),
        "asked for by the name it was rewritten to: {text}"
    );
    assert!(text.contains("host: pay.example") && !text.contains("x-weft-"), "{text}");

    let told = edge.https("shop.example", "/raw", &[]);
    let lines = edge.raw.lock().unwrap().clone();
    let [line] = lines.as_slice() else { panic!("{lines:?} {told:?}") };
    assert!(line.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{line}");
    assert!(line.ends_with(&format!(" {}\r\n", edge.tls)), "{line}");
}

#[test]
fn a_release_adds_and_removes_listeners_and_a_drain_ends_them() {
    let mut edge = Edge::start();
    let more = port::free_address().unwrap();
    let line = format!("  - {{ name: more, port: {}, protocol: HTTP }}\n  tls:\n", more.port());
    edge.mesh.edit("policy.yaml", "  tls:\n    frontend:", &format!("{line}    frontend:")).unwrap();
    edge.mesh.commit("One more").unwrap();
    edge.mesh.build().unwrap();
    edge.gateway.wait_sequence(2).unwrap();
    let ask = |address: SocketAddr| curl(&format!("http://shop.example:{}/", address.port()), &[]);
    assert_eq!(ask(more).status, 404, "it is there, without routes");
    edge.mesh.edit("policy.yaml", &line, "  tls:\n").unwrap();
    edge.mesh.commit("One less").unwrap();
    edge.mesh.build().unwrap();
    edge.gateway.wait_sequence(3).unwrap();
    wait::until("the listener to go", || (ask(more).exit == 7).then_some(())).unwrap();
    assert_eq!(edge.https("shop.example", "/cart", &[]).status, 200);
    assert!(edge.gateway.terminate().unwrap().success());
}
