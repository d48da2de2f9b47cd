//! Endpoints by names, in files and at places: what callers get while they come, go and fail.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use weft_tests::client::{Call, Protocol};
use weft_tests::load::burst;
use weft_tests::names::NameServer;
use weft_tests::port;
use weft_tests::upstream::Upstream;

use crate::plain::{Plain, traffic_policy};

/// A name server with these records; none, with a word about it, where there is no dnsmasq.
fn name_server(records: &[String]) -> Option<NameServer> {
    let server = NameServer::start(records).unwrap();
    if server.is_none() {
        eprintln!("skipped: there is no dnsmasq here (Debian: dnsmasq-base)");
    }
    server
}

fn host(name: &str, last: u8) -> String {
    format!("host-record={name},127.0.0.{last},1")
}

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port))
}

/// The service `api`, on a port, found by something.
fn api(port: u16, endpoints: &str) -> String {
    format!(
        "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {{ name: api }}
spec:
  ports: [ {{ name: http, port: {port}, protocol: http }} ]
  endpoints: {{ {endpoints} }}
  calls: []
---
"
    )
}

/// The same, with its endpoints in turn: the default goes to the quicker one as long as it is quicker.
fn in_turn(service: &str) -> String {
    service.to_owned() + &traffic_policy("api", "loadBalancer: { policy: round-robin }")
}

fn failures(plain: &Plain, cluster: &str) -> f64 {
    plain.metric("weft_discovery_failures_total", &[("cluster", cluster)])
}

/// Requests that all succeed, by what answers.
fn answers(plain: &Plain, url: &str) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..40 {
        let answer = plain.ask(&Call::get(url));
        assert_eq!(answer.status, 200, "{answer}");
        *answers.entry(answer.field("version").to_owned()).or_default() += 1;
    }
    answers
}

fn who(plain: &Plain, url: &str) -> Vec<String> {
    answers(plain, url).into_keys().collect()
}

#[test]
fn a_name_is_followed_and_its_last_addresses_outlive_the_name_and_the_server() {
    let Some(mut server) = name_server(&[host("api.test", 2)]) else { return };
    let port = port::free().unwrap();
    let _endpoints =
        [2, 3, 4].map(|last| Upstream::start_at("api", &format!("v{last}"), at(last, port)).unwrap());
    let arguments = ["--dns".to_owned(), server.address().to_string()];
    let plain = Plain::calling(&["api"], &in_turn(&api(port, "dns: { name: api.test }")), &arguments);
    let (url, cluster) = (format!("http://api:{port}/"), format!("default/api:{port}"));
    assert_eq!(who(&plain, &url), ["v2"], "the first request waits for the name");

    server.knows(&[host("api.test", 3), host("api.test", 4)]).unwrap();
    plain.until("both new addresses to be used", || who(&plain, &url) == ["v3", "v4"]);

    let before = failures(&plain, &cluster);
    server.knows(&[]).unwrap();
    plain.until("the name to be missed", || failures(&plain, &cluster) > before);
    assert_eq!(who(&plain, &url), ["v3", "v4"], "no such name");

    server.stop();
    let before = failures(&plain, &cluster);
    plain.until("the server to be missed", || failures(&plain, &cluster) > before);
    assert_eq!(who(&plain, &url), ["v3", "v4"], "no server");
    let shown = plain.proxy.admin("/clusters").unwrap().json()[&cluster].clone();
    assert_eq!(shown["discovery"]["of"], "addresses of api.test");
    assert!(
        shown["discovery"]["failure"].is_string() && shown["discovery"]["age_seconds"].is_u64(),
        "{shown}"
    );
    assert_eq!(shown["endpoints"].as_array().unwrap().len(), 2);

    server.knows(&[host("api.test", 2)]).unwrap();
    plain.until("the name to be followed again", || who(&plain, &url) == ["v2"]);
}

#[test]
fn services_of_a_name_say_ports_weights_and_who_stands_in() {
    let ports: Vec<_> = (0..3).map(|_| port::free().unwrap()).collect();
    let start =
        |number: usize| Upstream::start_at("api", &format!("v{number}"), at(1, ports[number])).unwrap();
    let mut endpoints: Vec<_> = (0..3).map(start).collect();
    let service = |port: u16, priority, weight| {
        format!("srv-host=_http._tcp.api.test,one.test,{port},{priority},{weight}")
    };
    let all =
        [host("one.test", 1), service(ports[0], 10, 3), service(ports[1], 10, 1), service(ports[2], 20, 1)];
    let Some(mut server) = name_server(&all) else { return };
    let documents = api(80, "dns: { name: _http._tcp.api.test, record: SRV }")
        + &traffic_policy(
            "api",
            "
  loadBalancer: { policy: round-robin }
  healthCheck: { tcp: {}, interval: 50ms, timeout: 1s, unhealthyAfter: 1, healthyAfter: 1 }
",
        );
    let plain = Plain::calling(&["api"], &documents, &["--dns".to_owned(), server.address().to_string()]);
    let url = "http://api/";
    let expected = [("v0".to_owned(), 30), ("v1".to_owned(), 10)].into();
    assert_eq!(answers(&plain, url), expected);
    endpoints.drain(..2);
    plain.until("the next priority to stand in", || plain.cluster("api")["tiers"][1]["percent"] == 100);
    assert_eq!(who(&plain, url), ["v2"]);
    endpoints.insert(0, start(0));
    plain.until("the first to be back", || plain.cluster("api")["tiers"][0]["well"] == 1);
    server.knows(&[host("one.test", 1), service(ports[0], 5, 0)]).unwrap();
    plain.until("one to be left", || who(&plain, url) == ["v0"]);
    assert_eq!(plain.metric("weft_upstream_endpoints", &[("cluster", "default/api:80")]), 1.0);
}

#[test]
fn a_file_is_followed_however_it_is_written_and_a_broken_one_is_not() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("endpoints.json");
    let endpoints: Vec<_> =
        ["v1", "v2"].iter().map(|version| Upstream::start("api", version).unwrap()).collect();
    let entry =
        |one: usize| format!(r#"{{ "address": "127.0.0.1", "port": {} }}"#, endpoints[one].address().port());
    let [first, second] = [format!("[ {} ]", entry(0)), format!("[ {} ]", entry(1))];
    let both = format!("[ {},\n  {} ]", entry(0), entry(1));
    std::fs::write(&path, &first).unwrap();
    let documents = in_turn(&api(80, &format!("file: {{ path: {} }}", path.display())));
    let plain = Plain::calling(&["api"], &documents, &[]);
    let url = "http://api/";
    assert_eq!(who(&plain, url), ["v1"]);
    let fresh = scratch.path().join("fresh");
    let mut expected = ["v1"];
    for round in 0..6 {
        let (text, name) = if round % 2 == 0 { (&second, "v2") } else { (&first, "v1") };
        if round < 4 {
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(&fresh, &path).unwrap();
        } else {
            std::fs::write(&path, text).unwrap();
        }
        expected = [name];
        let what = format!("list {round} to be used");
        plain.until(&what, || who(&plain, url) == expected);
    }
    for broken in [&both[..both.len() / 2], "", "[]", "{}", r#"[ { "address": "somewhere" } ]"#] {
        let before = failures(&plain, "default/api:80");
        std::fs::write(&path, broken).unwrap();
        plain.until("the broken list to be refused", || failures(&plain, "default/api:80") > before);
        assert_eq!(who(&plain, url), expected, "{broken}");
    }
    std::fs::remove_file(&path).unwrap();
    plain.until("the list to be missed", || plain.cluster("api")["discovery"]["failure"] == "missing");
    let tally = burst(Protocol::Http1, plain.proxy.outbound(), &Call::get(url), 200).unwrap();
    assert_eq!(tally.failed(), 0, "{tally}");
    std::fs::write(&path, &both).unwrap();
    plain.until("both to be used", || who(&plain, url) == ["v1", "v2"]);
}

#[test]
fn requests_stay_near_and_go_farther_only_while_they_must() {
    let (near, other, far) = (
        port::free().unwrap(),
        Upstream::start("api", "zone").unwrap(),
        Upstream::start("api", "far").unwrap(),
    );
    let start_near = || Upstream::start_at("api", "near", at(1, near)).unwrap();
    let endpoint =
        |port: u16, place: &str| format!("{{ address: 127.0.0.1, port: {port}, locality: {place} }}");
    let list = [
        endpoint(near, "eu/a"),
        endpoint(other.address().port(), "eu/b"),
        endpoint(far.address().port(), "us/a"),
    ];
    let documents = api(80, &format!("static: [ {} ]", list.join(", ")))
        + &traffic_policy(
            "api",
            "
  loadBalancer: { locality: { failover: [ { from: eu, to: us } ] } }
  healthCheck: { tcp: {}, interval: 50ms, timeout: 1s, unhealthyAfter: 1, healthyAfter: 1 }
",
        );
    let one = start_near();
    let arguments = ["--locality".to_owned(), "eu/a".to_owned()];
    let plain = Plain::calling(&["api"], &documents, &arguments);
    let url = "http://api/";
    let tier = |number: usize| plain.cluster("api")["tiers"][number]["percent"].clone();
    plain.until("the near one to be well", || tier(0) == 100);
    assert_eq!(who(&plain, url), ["near"]);
    drop(one);
    plain.until("the next zone to stand in", || tier(1) == 100);
    assert_eq!(who(&plain, url), ["zone"]);
    drop(other);
    plain.until("the other region to stand in", || tier(2) == 100);
    assert_eq!(who(&plain, url), ["far"]);
    let _back = start_near();
    plain.until("the near one to be well again", || tier(0) == 100);
    assert_eq!(who(&plain, url), ["near"]);
}
