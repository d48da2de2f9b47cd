//! gRPC as its users have it: the real Python `grpcio` on both ends, and both sidecars between them.

use weft_tests::port;

use crate::pair::{Pair, Program, has_python, python, run};

const KINDS: [&str; 7] =
    ["unary", "error", "client_streaming", "server_streaming", "bidirectional", "deadline", "healthy"];

/// Both sidecars, and a server behind a port of that protocol; none, with a message, where Python has no `grpcio`.
fn served(protocol: &str) -> Option<(Pair, Program)> {
    let packages = "grpcio grpcio-health-checking";
    if !has_python("grpc, grpc_health", packages, "gRPC through both sidecars") {
        return None;
    }
    let application = port::free_address().unwrap();
    let mut server = python("grpc_peer.py", &["serve", &application.port().to_string()]);
    let server = Program::start(&mut server, |line| line == "ready");
    Some((Pair::start(protocol, application, ""), server))
}

/// Makes every kind of call.
#[track_caller]
fn call(pair: &Pair, address: std::net::SocketAddr) {
    let finished = run(pair, &mut python("grpc_peer.py", &["call", &address.to_string(), "api:80"]));
    let good: Vec<_> = finished.stdout.lines().filter_map(|line| line.strip_suffix(": good")).collect();
    assert_eq!(good, KINDS, "{finished}");
}

#[test]
fn every_kind_of_call_goes_through() {
    let Some((pair, _server)) = served("grpc") else { return };
    for address in [pair.caller.outbound(), pair.local_port] {
        call(&pair, address);
    }
    let labels = [("direction", "inbound"), ("service", "default/api"), ("code_class", "2xx")];
    assert!(pair.callee.metrics().sum("weft_requests_total", &labels) >= 16.0);
    let open = [("cluster", "application/main")];
    let open = pair.callee.metrics().sum("weft_upstream_connections_open", &open);
    assert!((1.0..=2.0).contains(&open), "streams share connections: {open}");
}

#[test]
fn and_through_a_port_whose_bytes_are_not_looked_at() {
    let Some((pair, _server)) = served("tcp") else { return };
    call(&pair, pair.local_port);
    pair.until(&pair.callee, "weft_streams_total", &[("kind", "tcp"), ("reason", "ok")], 1.0);
}
