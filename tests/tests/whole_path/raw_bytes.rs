//! Bytes of HTTP/1 that two readers could take for two things (RFC 9112; security cases, section 1), sent to the running
//! proxy as a sidecar's inbound port and as a gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weft_tests::mesh::Mesh;
use weft_tests::port;
use weft_tests::proxy::Proxy;
use weft_tests::upstream::Upstream;

use crate::small;

/// What may follow is never seen by the application: `400` and so on means that answer and the end of the connection.
const CASES: &[(&str, &str, &str)] = &[
    (
        "length, then chunks",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunks, then length",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "two equal lengths",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi",
    ),
    (
        "two lengths",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi!",
    ),
    ("list of lengths", "400", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2, 2\r\n\r\nhi"),
    ("sign", "400", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: +2\r\n\r\nhi"),
    ("hexadecimal", "400", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 0x2\r\n\r\nhi"),
    ("leading zero", "400", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 02\r\n\r\nhi"),
    ("negative", "400", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: -2\r\n\r\nhi"),
    (
        "too large for a number",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 18446744073709551616\r\n\r\nhi",
    ),
    ("empty length", "400", "POST / HTTP/1.1\r\nhost: web\r\ncontent-length:\r\n\r\nhi"),
    ("unknown coding", "400", "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("identity", "400", "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two codings",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("stray comma", "400", "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked,\r\n\r\n0\r\n\r\n"),
    (
        "gzip after chunked",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "folded coding",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "vertical tab",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    ("NUL", "400", "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\0\r\n\r\n0\r\n\r\n"),
    (
        "space before the colon",
        "400",
        "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    ("underscore", "400", "POST / HTTP/1.1\r\nhost: web\r\ntransfer_encoding: chunked\r\n\r\n0\r\n\r\n"),
    (
        "chunks on HTTP/1.0",
        "400",
        "POST / HTTP/1.0\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("bare LF", "400", "GET / HTTP/1.1\nhost: web\n\n"),
    ("bare CR", "400", "GET / HTTP/1.1\r\nhost: web\r\nx: a\rb\r\n\r\n"),
    ("empty lines", "400", "\r\n\r\nGET / HTTP/1.1\r\nhost: web\r\n\r\n"),
    ("space before the first field", "400", "GET / HTTP/1.1\r\n host: web\r\n\r\n"),
    ("no version", "400", "GET /\r\n"),
    ("HTTP/2.0 in text", "505", "GET / HTTP/2.0\r\nhost: web\r\n\r\n"),
    ("fragment", "400", "GET /#a HTTP/1.1\r\nhost: web\r\n\r\n"),
    ("space in the target", "400", "GET /a b HTTP/1.1\r\nhost: web\r\n\r\n"),
];

/// Sends bytes and a request behind them, and reads to the end.
fn send(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let behind = "GET /smuggled HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
    // The other side may have closed before it has read everything.
    let _ = stream.write_all(format!("{bytes}{behind}").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn all_cases(proxy: &Proxy, application: &Upstream, address: SocketAddr) {
    for (what, status, bytes) in CASES {
        let answer = send(address, bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}");
        assert!(answer.contains("x-weft-reason: malformed"), "{what}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: the connection ends: {answer:?}");
        assert_eq!(application.hits(), 0, "{what}: nothing reaches the application");
    }
    let counted = proxy.metrics().sum("weft_requests_total", &[("reason", "malformed")]);
    assert_eq!(counted, CASES.len() as f64);
    let plain = "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n";
    let answer = send(address, plain);
    assert_eq!(
        answer.matches("HTTP/1.1 200").count(),
        2,
        "what is plain passes, and what is behind it: {answer:?}"
    );
    assert_eq!(application.hits(), 2);
}

#[test]
fn requests_with_two_meanings_do_not_get_past_a_sidecar() {
    let small = small::Small::new();
    let application = Upstream::start("web", "v1").unwrap();
    let inbound = port::free_address().unwrap();
    let mut setup = small.mesh.proxy("default/web", "web").unwrap();
    setup.inbound.push(format!("http={inbound}"));
    setup.application.push(format!("http={}", application.address()));
    let proxy = setup.start().unwrap();
    all_cases(&proxy, &application, inbound);
}

#[test]
fn requests_with_two_meanings_do_not_get_past_a_gateway() {
    let application = Upstream::start("web", "v1").unwrap();
    let address = port::free_address().unwrap();
    let documents = format!(
        "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: web }}
spec:
  ports: [ {{ name: http, port: 80, protocol: http }} ]
  endpoints: {{ static: [ {{ address: 127.0.0.1, port: {} }} ] }}
  calls: []
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: public }}
spec:
  gatewayClassName: weft
  listeners: [ {{ name: http, port: {}, protocol: HTTP }} ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: web }}
spec:
  parentRefs: [ {{ name: public }} ]
  rules: [ {{ backendRefs: [ {{ name: web, port: 80 }} ] }} ]
",
        application.address().port(),
        address.port()
    );
    let mesh = Mesh::new("small", &[("mesh.yaml", small::MESH), ("edge.yaml", &documents)]).unwrap();
    mesh.build().unwrap();
    let proxy = mesh.proxy("default/public", "public").unwrap().start().unwrap();
    all_cases(&proxy, &application, address);
}
