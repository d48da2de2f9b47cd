//! Endpoints by names and in files, and which of them are preferred.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::telemetry::Metrics;
use crate::testing::*;
use crate::worker::{DataPlane, DnsOptions, Here, Options};

/// A body whose application reaches `upstream` where something says.
fn found_by(discovery: &Value) -> Value {
    let mut body = calls(&[]);
    body["clusters"]["up"]["discovery"] = discovery.clone();
    body
}

fn list(endpoints: &[SocketAddr]) -> String {
    let entries: Vec<_> =
        endpoints.iter().map(|address| json!({"address": address.ip(), "port": address.port()})).collect();
    json!(entries).to_string()
}

fn rename_over(path: &Path, text: &str) {
    std::fs::write(path.with_extension("new"), text).unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
}

/// What answers some requests.
async fn names(plane: &DataPlane) -> BTreeSet<String> {
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let mut names = BTreeSet::new();
    for _ in 0..12 {
        let got = client.get("/").await;
        assert_eq!(got.status, 200, "{got:?}");
        names.insert(got.text);
    }
    names
}

fn addresses(plane: &DataPlane) -> Vec<Value> {
    let clusters = plane.describe_clusters();
    clusters["up"]["endpoints"].as_array().unwrap().iter().map(|one| one["address"].clone()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn count(plane: &DataPlane, metric: &str) -> u64 {
    let text = plane.metrics().encode();
    let values =
        text.lines().filter_map(|line| line.strip_prefix(metric)?.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

#[tokio::test]
async fn a_file_is_followed_and_what_stays_keeps_its_connections() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("endpoints.json");
    let [a, b, c] = [says("a").await, says("b").await, says("c").await];
    std::fs::write(&path, list(&[a, b])).unwrap();
    let plane = plane_with(&found_by(&json!({"file": {"path": path}})));
    assert_eq!(names(&plane).await, set(&["a", "b"]), "there from the start");
    let opened = r#"weft_upstream_connections_total{cluster="up"}"#;
    assert_eq!(count(&plane, opened), 2);
    rename_over(&path, &list(&[b, c]));
    until("the new list is read", || addresses(&plane).contains(&json!(c))).await;
    assert_eq!(names(&plane).await, set(&["b", "c"]));
    assert_eq!(count(&plane, opened), 3, "the connection to `b` is kept");
    std::fs::write(&path, list(&[a])).unwrap();
    until("a list written in place is read", || addresses(&plane) == [json!(a)]).await;
    assert_eq!(names(&plane).await, set(&["a"]));
    let open = r#"weft_upstream_connections_open{cluster="up"}"#;
    until("connections to those that are gone are closed", || count(&plane, open) == 1).await;
    assert_eq!(count(&plane, r#"weft_discovery_updates_total{cluster="up"}"#), 3);
    assert_eq!(count(&plane, r#"weft_upstream_endpoints{cluster="up"}"#), 1);
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("endpoints.json");
    let [a, b] = [says("a").await, says("b").await];
    std::fs::write(&path, list(&[a])).unwrap();
    let plane = plane_with(&found_by(&json!({"file": {"path": path}})));
    let whole = list(&[a, b]);
    for (text, reason) in [
        ("", "malformed"),
        (whole.strip_suffix(']').unwrap(), "malformed"),
        ("[]", "empty"),
        (r#"[{"address": "127.0.0.1", "port": 1, "wieght": 2}]"#, "malformed"),
        ("nothing at all", "malformed"),
    ] {
        let metric = format!(r#"weft_discovery_failures_total{{cluster="up",reason="{reason}"}}"#);
        let before = count(&plane, &metric);
        std::fs::write(&path, text).unwrap();
        until(text, || count(&plane, &metric) > before).await;
        assert_eq!(addresses(&plane), [json!(a)], "{text}");
        assert_eq!(names(&plane).await, set(&["a"]), "{text}");
        assert_eq!(plane.describe_clusters()["up"]["discovery"]["failure"], reason);
    }
    std::fs::remove_file(&path).unwrap();
    let missing = r#"weft_discovery_failures_total{cluster="up",reason="missing"}"#;
    until("it is missed", || count(&plane, missing) > 0).await;
    assert_eq!(names(&plane).await, set(&["a"]));
    std::fs::write(&path, &whole).unwrap();
    until("it is there again", || addresses(&plane).len() == 2).await;
    assert_eq!(names(&plane).await, set(&["a", "b"]));
    assert_eq!(plane.describe_clusters()["up"]["discovery"]["failure"], Value::Null);
}

#[tokio::test]
async fn a_subset_takes_the_endpoints_that_carry_its_labels_beside_those_of_the_bundle() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("endpoints.json");
    let [a, b, c] = [says("a").await, says("b").await, says("c").await];
    let entry = |address: SocketAddr, version: &str| json!({"address": address.ip(), "port": address.port(), "labels": {"version": version}});
    std::fs::write(&path, json!([entry(a, "1"), entry(b, "2")]).to_string()).unwrap();
    let mut body = found_by(&json!({"file": {"path": path, "labels": {"version": "2"}}}));
    body["clusters"]["up"]["endpoints"] = json!([{"address": c.ip(), "port": c.port(), "weight": 1}]);
    let plane = plane_with(&body);
    assert_eq!(names(&plane).await, set(&["b", "c"]));
    rename_over(&path, &json!([entry(a, "1")]).to_string());
    let empty = r#"weft_discovery_failures_total{cluster="up",reason="empty"}"#;
    until("there is none of the subset", || count(&plane, empty) > 0).await;
    assert_eq!(names(&plane).await, set(&["b", "c"]), "what was known last is kept");
    let shown = plane.describe_clusters();
    let sources: BTreeSet<_> = shown["up"]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["source"].as_str().unwrap())
        .collect();
    assert_eq!(sources, BTreeSet::from(["file", "static"]));
}

// --------------------------------------------------------------------------------------------------------- names

/// What a name server does with questions.
#[derive(Clone)]
enum Does {
    /// Answers with records that hold so many seconds; without any for a name, it does not exist.
    Knows(Vec<(&'static str, RData)>, u32),
    Fails,
    /// Says nothing.
    IsSilent,
}

/// A name server on loopback.
struct NameServer {
    address: SocketAddr,
    does: Arc<Mutex<Does>>,
    asked: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
}

impl NameServer {
    /// Answers once it is open.
    async fn start(does: Does, is_open: bool) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let (does, asked) = (Arc::new(Mutex::new(does)), Arc::new(AtomicUsize::new(0)));
        let (open, opened) = watch::channel(is_open);
        let server = (Arc::clone(&does), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
                server.1.fetch_add(1, Ordering::SeqCst);
                let question = Message::from_vec(&bytes[..length]).unwrap();
                let (does, socket, mut opened) = (Arc::clone(&server.0), Arc::clone(&socket), opened.clone());
                tokio::spawn(async move {
                    opened.wait_for(|open| *open).await.unwrap();
                    let answer = answer(&question, &does.lock().unwrap());
                    if let Some(answer) = answer {
                        socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                    }
                });
            }
        });
        Self { address, does, asked, open }
    }

    fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// A data plane that asks it.
    fn plane(&self, body: &Value) -> DataPlane {
        let options = Options {
            workers: 1,
            outbound: Some("127.0.0.1:0".parse().unwrap()),
            dns: DnsOptions { servers: vec![self.address] },
            ..Options::default()
        };
        let plane = DataPlane::start(options, Arc::new(Metrics::new())).unwrap();
        plane.apply(snapshot(body, 1).unwrap()).unwrap();
        plane
    }
}

fn answer(question: &Message, does: &Does) -> Option<Message> {
    let query = question.queries[0].clone();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    match does {
        Does::IsSilent => return None,
        Does::Fails => answer.metadata.response_code = ResponseCode::ServFail,
        Does::Knows(records, ttl) => {
            let known = |name: &str| query.name().to_ascii().eq_ignore_ascii_case(name);
            let of_name: Vec<_> = records.iter().filter(|(name, _)| known(name)).collect();
            if of_name.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            for (_, data) in of_name.iter().filter(|(_, data)| data.record_type() == query.query_type()) {
                answer.add_answer(Record::from_rdata(query.name().clone(), *ttl, data.clone()));
            }
        }
    }
    answer.add_query(query);
    Some(answer)
}

fn a(address: [u8; 4]) -> RData {
    RData::A(A(address.into()))
}

fn srv(priority: u16, weight: u16, port: u16) -> RData {
    RData::SRV(SRV::new(priority, weight, port, Name::from_ascii("host.test.").unwrap()))
}

const HOST: (&str, [u8; 4]) = ("host.test.", [127, 0, 0, 1]);

fn services(records: &[(u16, u16, u16)]) -> Does {
    let mut all = vec![(HOST.0, a(HOST.1))];
    all.extend(
        records.iter().map(|(priority, weight, port)| ("_http._tcp.test.", srv(*priority, *weight, *port))),
    );
    Does::Knows(all, 0)
}

#[tokio::test]
async fn a_name_is_followed_and_its_last_addresses_outlive_every_failure() {
    let here = says("here").await;
    let server = NameServer::start(Does::Knows(vec![(HOST.0, a(HOST.1))], 0), true).await;
    let plane = server.plane(&found_by(&json!({"dns": {"host": "host.test.", "port": here.port()}})));
    assert_eq!(names(&plane).await, set(&["here"]));
    let gone = Does::Knows(vec![], 0);
    for (does, reason) in
        [(gone, "no-such-name"), (Does::Fails, "server-failure"), (Does::IsSilent, "timeout")]
    {
        server.now(does);
        let metric = format!(r#"weft_discovery_failures_total{{cluster="up",reason="{reason}"}}"#);
        until(reason, || count(&plane, &metric) > 0).await;
        assert_eq!(names(&plane).await, set(&["here"]), "{reason}");
    }
    // All addresses are used.
    server.now(Does::Knows(vec![(HOST.0, a([127, 0, 0, 1])), (HOST.0, a([127, 0, 0, 3]))], 0));
    until("the other address is known", || addresses(&plane).len() == 2).await;
    let shown = plane.describe_clusters();
    assert_eq!(shown["up"]["discovery"]["of"], "addresses of host.test.");
    assert_eq!(
        (&shown["up"]["discovery"]["failure"], &shown["up"]["endpoints"][0]["source"]),
        (&Value::Null, &json!("dns"))
    );
}

#[tokio::test]
async fn services_say_ports_weights_and_who_stands_in() {
    let [heavy, light, spare] = [says("heavy").await, says("light").await, says("spare").await];
    let both = [(10, 3, heavy.port()), (10, 1, light.port()), (20, 0, spare.port())];
    let server = NameServer::start(services(&both), true).await;
    let mut body = found_by(&json!({"dns_service": {"name": "_http._tcp.test."}}));
    body["clusters"]["up"]["load_balancer"] = json!("round-robin");
    let plane = server.plane(&body);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..40 {
        *counts.entry(client.get("/").await.text).or_default() += 1;
    }
    assert_eq!(counts, [("heavy".to_owned(), 30), ("light".to_owned(), 10)].into());
    server.now(services(&[(20, 0, spare.port())]));
    until("one is left", || addresses(&plane) == [json!(spare)]).await;
    assert_eq!(names(&plane).await, set(&["spare"]));
}

#[tokio::test]
async fn requests_wait_for_the_first_answer_for_as_long_as_connecting_may_take() {
    let here = says("here").await;
    let server = NameServer::start(Does::Knows(vec![(HOST.0, a(HOST.1))], 60), false).await;
    let mut body = found_by(&json!({"dns": {"host": "host.test.", "port": here.port()}}));
    body["clusters"]["up"]["connect_timeout"] = json!("10ms");
    let plane = server.plane(&body);
    let got = get(plane.outbound_address().unwrap(), "/").await;
    assert_eq!((got.status, got.reason()), (StatusCode::SERVICE_UNAVAILABLE, "endpoints-unknown"));
    body["clusters"]["up"]["connect_timeout"] = json!("30s");
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    let address = plane.outbound_address().unwrap();
    let waiting = tokio::spawn(async move { get(address, "/").await });
    until("it waits", || plane.describe_clusters()["up"]["requests"] == 1).await;
    server.open.send(true).unwrap();
    assert_eq!(waiting.await.unwrap().text, "here");
}

#[tokio::test]
async fn a_name_that_is_known_not_to_exist_is_not_waited_for() {
    let server = NameServer::start(Does::Knows(vec![], 0), true).await;
    let mut body = found_by(&json!({"dns": {"host": "host.test.", "port": 1}}));
    body["clusters"]["up"]["connect_timeout"] = json!("300s");
    let plane = server.plane(&body);
    let got = get(plane.outbound_address().unwrap(), "/").await;
    assert_eq!((got.status.as_u16(), got.reason()), (503, "endpoints-unknown"));
}

#[tokio::test]
async fn a_reload_neither_forgets_endpoints_nor_asks_anew() {
    let here = says("here").await;
    let server = NameServer::start(Does::Knows(vec![(HOST.0, a(HOST.1))], 600), true).await;
    let mut body = found_by(&json!({"dns": {"host": "host.test.", "port": here.port()}}));
    let plane = server.plane(&body);
    assert_eq!(names(&plane).await, set(&["here"]));
    let asked = server.asked.load(Ordering::SeqCst);
    server.now(Does::Fails);
    for turn in 2..10 {
        body["clusters"]["up"]["idle_timeout"] = json!(format!("{turn}s"));
        plane.apply(snapshot(&body, turn).unwrap()).unwrap();
        assert_eq!(names(&plane).await, set(&["here"]));
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), asked);
}

// -------------------------------------------------------------------------------------------------------- places

/// Answers with its name while it is well.
async fn well_or_not(name: &'static str, is_well: &Arc<AtomicBool>) -> SocketAddr {
    let is_well = Arc::clone(is_well);
    upstream(Speaks::Http1, move |_| {
        let mut response = reply(name);
        if !is_well.load(Ordering::SeqCst) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        async move { response }
    })
    .await
}

#[tokio::test]
async fn requests_go_farther_when_the_nearest_fail_and_come_back() {
    let is_well = Arc::new(AtomicBool::new(true));
    let (near, far) = (well_or_not("near", &is_well).await, says("far").await);
    let mut body = calls(&[]);
    let endpoint = |address: SocketAddr, place: &str| json!({"address": address.ip(), "port": address.port(), "weight": 1, "locality": place});
    let mut endpoints = vec![endpoint(near, "eu/a"), endpoint(far, "us/a")];
    endpoints.sort_by_key(|endpoint| endpoint["port"].as_u64());
    body["clusters"]["up"]["endpoints"] = json!(endpoints);
    body["clusters"]["up"]["locality"] = json!({});
    body["clusters"]["up"]["outliers"] = json!({"consecutive_errors": 1, "consecutive_gateway_errors": 0,
        "interval": "10ms", "base_ejection": "100ms", "max_ejected_percent": 50, "min_healthy_percent": 0});
    let options = Options {
        workers: 1,
        outbound: Some("127.0.0.1:0".parse().unwrap()),
        here: Here { place: "eu/a/7".parse().ok(), ..Here::default() },
        ..Options::default()
    };
    let plane = DataPlane::start(options, Arc::new(Metrics::new())).unwrap();
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    assert_eq!(names(&plane).await, set(&["near"]));
    let tiers = |plane: &DataPlane| plane.describe_clusters()["up"]["tiers"].clone();
    let tier =
        |well: u64, percent: u64| json!({"endpoints": 1, "well": well, "percent": percent, "panic": false});
    assert_eq!(tiers(&plane), json!([tier(1, 100), tier(1, 0)]));
    is_well.store(false, Ordering::SeqCst);
    let address = plane.outbound_address().unwrap();
    assert_eq!(get(address, "/").await.status, 503);
    assert_eq!(tiers(&plane), json!([tier(0, 0), tier(1, 100)]));
    assert_eq!(get(address, "/").await.text, "far");
    is_well.store(true, Ordering::SeqCst);
    until("it may come back", || tiers(&plane) == json!([tier(1, 100), tier(1, 0)])).await;
    assert_eq!(names(&plane).await, set(&["near"]));
}
