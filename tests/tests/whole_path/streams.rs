//! Bytes that are not looked at, through both sidecars with mutual TLS: a real database, WebSockets, and connections that
//! outlive what happens around them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use weft_tests::{command, port, wait};

use crate::pair::{Pair, Program, has_python, python, run};

/// Whether Debian's Redis is there; says so if not.
fn has_redis() -> bool {
    let is_there = ["redis-server", "redis-cli"].iter().all(|program| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    if !is_there {
        anstream::eprintln!(
            "SKIPPED: a real database through sidecars needs redis-server and redis-cli (apt install redis)"
        );
    }
    is_there
}

fn redis() -> (Program, SocketAddr) {
    let address = port::free_address().unwrap();
    let mut server = Command::new("redis-server");
    server.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
    server.args(["--appendonly", "no", "--daemonize", "no"]);
    (Program::start(&mut server, |line| line.contains("Ready to accept connections")), address)
}

fn cli(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "--no-raw"]).args(arguments);
    command
}

/// A connection of a client to Redis, by hand.
struct Session(TcpStream);

impl Session {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        Self(stream)
    }

    fn ping(&mut self) -> std::io::Result<()> {
        self.0.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        self.0.read_exact(&mut answer)?;
        assert_eq!(&answer, b"+PONG\r\n");
        Ok(())
    }
}

#[test]
fn a_real_database_is_reached_by_those_who_may() {
    if !has_redis() {
        return;
    }
    let (_server, application) = redis();
    let pair = Pair::start("tcp", application, "");
    let ask = |arguments: &[&str]| run(&pair, &mut cli(pair.local_port, arguments)).stdout;
    assert_eq!(ask(&["SET", "k", "v"]), "OK\n");
    assert_eq!(ask(&["GET", "k"]), "\"v\"\n");
    let script =
        "local s = string.rep('x', 3000000) redis.call('SET', 'large', s) return #redis.call('GET', 'large')";
    assert_eq!(ask(&["EVAL", script, "0"]), "(integer) 3000000\n");
    let large = ask(&["GET", "large"]);
    assert_eq!(large.len(), 3_000_000 + "\"\"\n".len());
    // Many commands on one connection, thousands at once, and as many answers.
    let many: String = (0..20_000).map(|number| format!("INCRBY sum {number}\r\n")).collect();
    let mut session = Session::open(pair.local_port);
    let mut writes = session.0.try_clone().unwrap();
    let writer = std::thread::spawn(move || writes.write_all(many.as_bytes()).unwrap());
    let mut answers = std::io::BufReader::new(&session.0);
    let mut last = String::new();
    for _ in 0..20_000 {
        last.clear();
        std::io::BufRead::read_line(&mut answers, &mut last).unwrap();
    }
    writer.join().unwrap();
    assert_eq!(last, format!(":{}\r\n", (0..20_000u64).sum::<u64>()));
    session.ping().unwrap();
    drop(session);

    let streams = |service| [("service", service), ("kind", "tcp"), ("reason", "ok")];
    pair.until(&pair.caller, "weft_streams_total", &streams("default/api"), 5.0);
    pair.until(&pair.callee, "weft_streams_total", &streams("default/api"), 5.0);
    let metrics = pair.callee.metrics();
    let both = |metrics: &weft_tests::proxy::Metrics, name| metrics.sum(name, &[("service", "default/api")]);
    for name in ["weft_stream_received_bytes_total", "weft_stream_sent_bytes_total"] {
        assert_eq!(both(&metrics, name), both(&pair.caller.metrics(), name), "{name}");
    }
    let log = pair.callee.log();
    let line = log.lines().find(|line| line.contains("kind=\"tcp\"")).expect(&log);
    assert!(
        line.contains("spiffe://pair.example/ns/default/sa/web") && line.contains("AccessPolicy"),
        "{line}"
    );

    let (stranger, local_port) = Pair::caller_of(&pair.mesh, "stranger");
    let refused = command::run(&mut cli(local_port, &["GET", "k"])).unwrap();
    assert!(refused.code != Some(0) && !refused.stdout.contains("\"v\""), "{refused}");
    let denied = [("kind", "tcp"), ("reason", "access-denied")];
    wait::until("the refusal to be counted", || {
        (pair.callee.metrics().sum("weft_streams_total", &denied) >= 1.0).then_some(())
    })
    .unwrap();
    drop(stranger);
}

#[test]
fn connections_outlive_releases_and_end_with_the_right_to_them() {
    if !has_redis() {
        return;
    }
    let (_server, application) = redis();
    let pair = Pair::start("tcp", application, "");
    let mut session = Session::open(pair.local_port);
    session.ping().unwrap();
    let more = "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: api }
spec: { targetRefs: [ { kind: Service, name: api } ], limits: { connections: 7 } }
";
    pair.mesh.write("more.yaml", more).unwrap();
    pair.mesh.commit("Limit connections").unwrap();
    pair.mesh.build().unwrap();
    for proxy in [&pair.caller, &pair.callee] {
        proxy.wait_sequence(2).unwrap();
    }
    session.ping().unwrap();
    pair.mesh.edit("policy.yaml", "from: [ { service: web } ]", "from: [ { service: stranger } ]").unwrap();
    pair.mesh.commit("Let another in").unwrap();
    pair.mesh.build().unwrap();
    pair.callee.wait_sequence(3).unwrap();
    pair.until(&pair.callee, "weft_streams_total", &[("reason", "access-denied")], 1.0);
    assert!(session.ping().is_err(), "it may not any more");
}

#[test]
fn a_drain_waits_for_connections_and_no_longer() {
    if !has_redis() {
        return;
    }
    let (_server, application) = redis();
    let mut pair = Pair::start("tcp", application, "");
    let mut session = Session::open(pair.local_port);
    session.ping().unwrap();
    pair.callee.signal(Signal::TERM).unwrap();
    wait::until("the proxy to say that it drains", || (!pair.callee.is_ready()).then_some(())).unwrap();
    session.ping().unwrap();
    assert!(pair.callee.has_ended().is_none(), "a connection is under way");
    drop(session);
    assert!(pair.callee.wait_end().unwrap().success());
    assert!(pair.callee.log().contains("everything under way has ended"));
}

#[test]
fn websockets_pass_through_both_sidecars() {
    if !has_python("websockets", "websockets", "WebSockets through both sidecars") {
        return;
    }
    let application = port::free_address().unwrap();
    let mut server = python("websocket_peer.py", &["serve", &application.port().to_string()]);
    let _server = Program::start(&mut server, |line| line == "ready");
    let short = "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: api }
spec: { targetRefs: [ { kind: Service, name: api } ], timeouts: { request: 5s } }
";
    let pair = Pair::start("http", application, short);
    for address in [pair.caller.outbound(), pair.local_port] {
        run(&pair, &mut python("websocket_peer.py", &["call", &address.to_string(), "ws://api/chat"]));
    }
    for proxy in [&pair.caller, &pair.callee] {
        pair.until(proxy, "weft_streams_total", &[("kind", "upgrade"), ("reason", "ok")], 2.0);
        pair.until(proxy, "weft_requests_total", &[("service", "default/api"), ("code_class", "1xx")], 2.0);
    }
    // The same server, asked without the right to it.
    let (stranger, local_port) = Pair::caller_of(&pair.mesh, "stranger");
    let address = local_port.to_string();
    let refused =
        command::run(&mut python("websocket_peer.py", &["call", &address, "ws://api/chat"])).unwrap();
    assert!(refused.code == Some(1) && refused.stderr.contains("HTTP 403"), "{refused}");
    drop(stranger);
}

#[test]
fn a_tunnel_by_connect_reaches_what_it_names_and_nothing_else() {
    if !has_redis() {
        return;
    }
    let (_server, application) = redis();
    let pair = Pair::start("tcp", application, "");
    let connect = |target: &str| {
        let mut stream = TcpStream::connect(pair.caller.outbound()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        (String::from_utf8(head).unwrap(), Session(stream))
    };
    let (answer, mut session) = connect("api.default:80");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    session.ping().unwrap();
    for target in [format!("127.0.0.1:{}", application.port()), "api:81".to_owned()] {
        let (answer, _) = connect(&target);
        assert!(
            answer.starts_with("HTTP/1.1 502") && answer.contains("x-weft-reason: unknown-host"),
            "{answer}"
        );
    }
}
