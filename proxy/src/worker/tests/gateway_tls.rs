//! Callers outside the mesh, over TLS: which certificate they see, what is asked of theirs, and what a connection is good
//! for.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http::Method;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::gateway::{gateway, listener, plane_at_edge, respond, tells};
use crate::telemetry::Direction;
use crate::testing::*;
use crate::worker::DataPlane;

/// A TLS caller from outside.
#[derive(Clone, Copy)]
struct Caller<'a> {
    authority: &'a Ca,
    issued: Option<&'a Issued>,
    alpn: &'a [&'a [u8]],
    versions: &'a [&'static SupportedProtocolVersion],
}

impl<'a> Caller<'a> {
    /// One who believes an authority.
    fn of(authority: &'a Ca) -> Self {
        Self { authority, issued: None, alpn: &[b"http/1.1"], versions: rustls::ALL_VERSIONS }
    }

    async fn connect(self, address: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(crate::identity::provider())
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.issued {
            Some(issued) => {
                let chain = vec![CertificateDer::from(issued.certificate.der().to_vec())];
                let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let tcp = TcpStream::connect(address).await?;
        let name = name.to_owned().try_into().unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    /// One GET over a connection of its own; the error if the handshake, or what TLS 1.3 tells right after it, fails.
    async fn get(self, address: SocketAddr, name: &str, host: &str) -> Result<Got, String> {
        let stream = self.connect(address, name).await.map_err(|error| error.to_string())?;
        let mut client = Client::over(stream, Speaks::Http1).await;
        ask(&mut client, host).await
    }
}

async fn ask(client: &mut Client, host: &str) -> Result<Got, String> {
    let request = http::Request::builder().method(Method::GET);
    let request = match client {
        Client::Http1(_) => request.uri("/").header("host", host),
        Client::Http2(_) => request.uri(format!("https://{host}/")),
    };
    client.send(request.body(full("")).unwrap()).await.map_err(|error| format!("{error:?}"))
}

/// Writes a pair as the proxy finds it.
fn put(directory: &Path, name: &str, issued: &Issued) {
    let place = directory.join("edge").join(name);
    std::fs::create_dir_all(&place).unwrap();
    for (file, text) in [("tls.crt", issued.certificate.pem()), ("tls.key", issued.key.serialize_pem())] {
        let new = place.join(format!("{file}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, place.join(file)).unwrap();
    }
}

fn terminates(mut listener: Value, certificates: &[&str], more: Value) -> Value {
    let names: Vec<String> = certificates.iter().map(|name| format!("edge/{name}")).collect();
    let mut tls = json!({"certificates": names});
    tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    listener["tls"] = json!({"terminate": tls});
    listener
}

struct Edge {
    plane: DataPlane,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Edge {
    fn new(ca: &Ca, certificates: &[(&str, &[&str])], body: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, names) in certificates {
            put(directory.path(), name, &ca.sign(web_params(names)));
        }
        let plane = plane_at_edge(Some(directory.path()));
        plane.apply(snapshot(body, 1).unwrap()).unwrap();
        let address = plane.listener_address(443).unwrap();
        Self { plane, address, directory }
    }

    /// Pairs that were not taken.
    fn rejected(&self) -> u64 {
        let text = self.plane.metrics().encode();
        let count = text.lines().find_map(|line| line.strip_prefix("weft_certificate_rejected_total "));
        count.unwrap().parse().unwrap()
    }

    fn refused(&self, reason: &str) -> bool {
        self.plane
            .metrics()
            .encode()
            .contains(&format!(r#"weft_connections_refused_total{{reason="{reason}"}}"#))
    }
}

#[tokio::test]
async fn the_server_name_chooses_the_listener_and_its_certificate() {
    let ca = Ca::new();
    let says = |name: &str, hosts: &[&str], certificates: &[&str]| {
        terminates(listener(name, 443, hosts, &respond(200, name)), certificates, json!({}))
    };
    let listeners =
        [says("exact", &["shop.example"], &["shop"]), says("wild", &["*.shop.example"], &["wild", "one"])];
    let names: [(&str, &[&str]); 3] =
        [("shop", &["shop.example"]), ("wild", &["*.shop.example"]), ("one", &["one.shop.example"])];
    let edge = Edge::new(&ca, &names, &gateway(&listeners, &[]));
    let caller = Caller::of(&ca);
    for (name, says) in [("shop.example", "exact"), ("a.shop.example", "wild"), ("one.shop.example", "wild")]
    {
        let got = caller.get(edge.address, name, name).await.unwrap();
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, says), "{name}");
    }
    let stream = caller.connect(edge.address, "one.shop.example").await.unwrap();
    let presented = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, parsed) = x509_parser::parse_x509_certificate(&presented).unwrap();
    let names = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value);
    assert!(names.contains("one.shop.example") && !names.contains('*'), "the exact name is better: {names}");

    let unknown = caller.get(edge.address, "other.example", "other.example").await.unwrap_err();
    assert!(unknown.contains("UnrecognisedName"), "{unknown}");
    until("it is counted", || edge.refused("server-name")).await;
}

#[tokio::test]
async fn who_names_no_server_is_taken_by_a_listener_for_all_only() {
    let ca = Ca::new();
    let one =
        |hosts: &[&str]| terminates(listener("one", 443, hosts, &respond(200, "in")), &["shop"], json!({}));
    let names: [(&str, &[&str]); 1] = [("shop", &["127.0.0.1"])];
    let edge = Edge::new(&ca, &names, &gateway(&[one(&["shop.example"])], &[]));
    let caller = Caller::of(&ca);
    // Of an address no server name is sent.
    assert!(caller.connect(edge.address, "127.0.0.1").await.is_err());
    edge.plane.apply(snapshot(&gateway(&[one(&["*"])], &[]), 2).unwrap()).unwrap();
    assert_eq!(caller.get(edge.address, "127.0.0.1", "whatever").await.unwrap().text, "in");
}

#[tokio::test]
async fn a_request_for_a_host_of_another_listener_is_misdirected() {
    let ca = Ca::new();
    let says = |name: &str, hosts: &[&str]| {
        terminates(listener(name, 443, hosts, &respond(200, name)), &["all"], json!({}))
    };
    let listeners = [says("shop", &["shop.example"]), says("wild", &["*.shop.example"]), says("any", &["*"])];
    let names: [(&str, &[&str]); 1] = [("all", &["shop.example", "*.shop.example", "other.example"])];
    let edge = Edge::new(&ca, &names, &gateway(&listeners, &[]));
    let alpn: &[&[u8]] = &[b"h2"];
    for (alpn, speaks) in [(&[b"http/1.1" as &[u8]][..], Speaks::Http1), (alpn, Speaks::Http2)] {
        let caller = Caller { alpn, ..Caller::of(&ca) };
        let stream = caller.connect(edge.address, "a.shop.example").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn[0]));
        let mut client = Client::over(stream, speaks).await;
        for (host, status) in [
            ("a.shop.example", 200),
            ("B.shop.example:443", 200),
            ("shop.example", 421),
            ("other.example", 421),
            ("a.shop.example", 200),
        ] {
            let got = ask(&mut client, host).await.unwrap();
            assert_eq!(got.status, status, "{host}");
            assert_eq!(got.reason() == "misdirected", status == 421, "{host}");
        }
    }
}

#[tokio::test]
async fn callers_are_told_of_over_tls_too() {
    let ca = Ca::new();
    let door = terminates(listener("one", 443, &["*"], &forward_to("up")), &["shop"], json!({}));
    let edge = Edge::new(&ca, &[("shop", &["shop.example"])], &gateway(&[door], &[tells().await]));
    let got = Caller::of(&ca).get(edge.address, "shop.example", "shop.example").await.unwrap();
    assert_eq!(got.text, "host: shop.example\nx-forwarded-for: 127.0.0.1\nx-forwarded-proto: https");
}

#[tokio::test]
async fn certificates_are_followed_and_a_wrong_one_is_not_taken() {
    let (first, next) = (Ca::new(), Ca::new());
    let door = terminates(listener("one", 443, &["*"], &respond(200, "in")), &["shop"], json!({}));
    let edge = Edge::new(&first, &[("shop", &["shop.example"])], &gateway(&[door], &[]));
    let ask = |ca| Caller::of(ca).get(edge.address, "shop.example", "shop.example");
    let stream = Caller::of(&first).connect(edge.address, "shop.example").await.unwrap();
    let mut open = Client::over(stream, Speaks::Http1).await;
    put(edge.directory.path(), "shop", &next.sign(web_params(&["shop.example"])));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while ask(&next).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the new certificate is not presented");
    }
    assert!(ask(&first).await.is_err(), "the old one is gone");
    assert_eq!(
        super::gateway_tls::ask(&mut open, "shop.example").await.unwrap().text,
        "in",
        "connections stay"
    );

    // The two files change one after the other, so a look in between counts, too.
    let before = edge.rejected();
    std::fs::write(edge.directory.path().join("edge/shop/tls.key"), "half a k").unwrap();
    until("the broken pair is counted", || edge.rejected() > before).await;
    assert_eq!(ask(&next).await.unwrap().text, "in", "the last good pair stays");
}

#[tokio::test]
async fn without_a_certificate_the_handshake_fails_until_there_is_one() {
    let ca = Ca::new();
    let door = |name: &str, hosts: &[&str], certificate| {
        terminates(listener(name, 443, hosts, &respond(200, name)), &[certificate], json!({}))
    };
    let listeners = [door("late", &["late.example"], "late"), door("shop", &["shop.example"], "shop")];
    let edge = Edge::new(&ca, &[("shop", &["shop.example"])], &gateway(&listeners, &[]));
    let caller = Caller::of(&ca);
    assert!(caller.get(edge.address, "late.example", "late.example").await.is_err());
    until("it is counted", || edge.refused("handshake")).await;
    assert_eq!(caller.get(edge.address, "shop.example", "shop.example").await.unwrap().text, "shop");
    put(edge.directory.path(), "late", &ca.sign(web_params(&["late.example"])));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while caller.get(edge.address, "late.example", "late.example").await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the certificate is not found");
    }
}

#[tokio::test]
async fn versions_are_those_of_the_listener() {
    let ca = Ca::new();
    let door = |name: &str, more| {
        let host = format!("{name}.example");
        terminates(listener(name, 443, &[&host], &respond(200, name)), &["all"], more)
    };
    let listeners = [
        door("both", json!({})),
        door("new", json!({"min_version": "1.3"})),
        door("old", json!({"max_version": "1.2"})),
    ];
    let names: [(&str, &[&str]); 1] = [("all", &["both.example", "new.example", "old.example"])];
    let edge = Edge::new(&ca, &names, &gateway(&listeners, &[]));
    for (name, version, works) in [
        ("both.example", &TLS12, true),
        ("both.example", &TLS13, true),
        ("new.example", &TLS12, false),
        ("new.example", &TLS13, true),
        ("old.example", &TLS12, true),
        ("old.example", &TLS13, false),
    ] {
        let caller = Caller { versions: &[version], ..Caller::of(&ca) };
        assert_eq!(caller.get(edge.address, name, name).await.is_ok(), works, "{name} {version:?}");
    }
    let none = gateway(&[door("none", json!({"min_version": "1.3", "max_version": "1.2"}))], &[]);
    let refused = edge.plane.apply(snapshot(&none, 2).unwrap()).unwrap_err().to_string();
    assert!(refused.starts_with("listener `none`"), "{refused}");
}

#[tokio::test]
async fn callers_bring_certificates_where_they_are_asked_to() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let door = |name: &str, optional| {
        let host = format!("{name}.example");
        let more = json!({"clients": {"optional": optional, "anchors": [clients.anchor()]}});
        terminates(listener(name, 443, &[&host], &forward_to("up")), &["all"], more)
    };
    let listeners = [door("asks", true), door("demands", false)];
    let names: [(&str, &[&str]); 1] = [("all", &["asks.example", "demands.example"])];
    let body = gateway(&listeners, &[tells().await]);
    let edge = Edge::new(&ca, &names, &body);
    // Also a name in the mesh makes nobody a member of it.
    let (good, wrong) =
        (clients.issue("spiffe://td/ns/shop/sa/cart"), ca.issue("spiffe://td/ns/shop/sa/cart"));
    for (name, issued, works) in [
        ("asks.example", None, true),
        ("asks.example", Some(&good), true),
        ("asks.example", Some(&wrong), false),
        ("demands.example", None, false),
        ("demands.example", Some(&good), true),
        ("demands.example", Some(&wrong), false),
    ] {
        for version in [&TLS12, &TLS13] {
            let caller = Caller { issued, versions: &[version], ..Caller::of(&ca) };
            let got = caller.get(edge.address, name, name).await;
            assert_eq!(got.is_ok(), works, "{name} {:?}: {got:?}", issued.map(|_| "some"));
            assert!(got.is_ok_and(|got| got.status == 200 && !got.text.contains("spiffe")) || !works);
        }
    }
}

#[tokio::test]
async fn a_connection_is_judged_anew_when_the_listener_asks_for_other_certificates() {
    let (ca, clients, others) = (Ca::new(), Ca::new(), Ca::new());
    let body = |anchors: &Ca, optional| {
        let more = json!({"clients": {"optional": optional, "anchors": [anchors.anchor()]}});
        gateway(&[terminates(listener("one", 443, &["*"], &respond(200, "in")), &["shop"], more)], &[])
    };
    let edge = Edge::new(&ca, &[("shop", &["shop.example"])], &body(&clients, true));
    let good = clients.issue("spiffe://td/ns/shop/sa/cart");
    let over = async |issued| {
        let caller = Caller { issued, ..Caller::of(&ca) };
        let stream = caller.connect(edge.address, "shop.example").await.unwrap();
        let mut client = Client::over(stream, Speaks::Http1).await;
        assert_eq!(ask(&mut client, "shop.example").await.unwrap().text, "in");
        client
    };
    let (_with, _without) = (over(Some(&good)).await, over(None).await);
    edge.plane.apply(snapshot(&body(&clients, false), 2).unwrap()).unwrap();
    until("who has none is let go", || edge.plane.open_connections(Direction::Inbound) == 1).await;
    assert!(!edge.refused("trust-revoked"));
    edge.plane.apply(snapshot(&body(&others, false), 3).unwrap()).unwrap();
    until("so is who is not believed any more", || edge.plane.open_connections(Direction::Inbound) == 0)
        .await;
    until("it is counted", || edge.refused("trust-revoked")).await;
}

#[tokio::test]
async fn where_the_mesh_vouches_callers_have_identities() {
    let ca = Ca::new();
    let mut door = terminates(
        listener("one", 443, &["*"], &respond(200, "in")),
        &[],
        json!({"clients": {"optional": false}}),
    );
    door["access"]["rules"] = json!([{"effect": "deny", "origin": origin(3),
        "from": [{"identities": [{"exact": "spiffe://td/ns/shop/sa/upstream"}]}]}]);
    let mut body = gateway(&[door], &[]);
    body["trust_anchors"] = json!({"td": [ca.anchor()]});
    let plane = plane_at_edge(None);
    plane.replace_identity(ca.issue("spiffe://td/ns/shop/sa/cart").identity()).unwrap();
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    let address = plane.listener_address(443).unwrap();
    let status = async |id: &str| {
        let stream = tls(address, Some(&ca.issue(id)), b"http/1.1").await.unwrap();
        Client::over(stream, Speaks::Http1).await.get("/").await.status.as_u16()
    };
    assert_eq!(status("spiffe://td/ns/shop/sa/upstream").await, 403);
    assert_eq!(status("spiffe://td/ns/shop/sa/other").await, 200);
    let stranger = Ca::new().issue("spiffe://td/ns/shop/sa/other");
    let stream = tls(address, Some(&stranger), b"http/1.1").await;
    let got = match stream {
        Ok(stream) => ask(&mut Client::over(stream, Speaks::Http1).await, "a").await.map(drop),
        Err(error) => Err(error.to_string()),
    };
    assert!(got.is_err());
}

#[tokio::test]
async fn draining_ends_connections_from_outside_after_what_is_under_way() {
    let ca = Ca::new();
    let held = Held::start(Speaks::Http1).await;
    let door = terminates(listener("one", 443, &["*"], &forward_to("up")), &["shop"], json!({}));
    let edge = Edge::new(&ca, &[("shop", &["shop.example"])], &gateway(&[door], &[held.address]));
    let mut under_way = Vec::new();
    for (alpn, speaks) in [(b"http/1.1" as &[u8], Speaks::Http1), (b"h2", Speaks::Http2)] {
        let caller = Caller { alpn: &[alpn], ..Caller::of(&ca) };
        let stream = caller.connect(edge.address, "shop.example").await.unwrap();
        let mut client = Client::over(stream, speaks).await;
        under_way.push(tokio::spawn(async move { ask(&mut client, "shop.example").await }));
    }
    until("both are under way", || held.seen() == 2).await;
    edge.plane.drain(Direction::Inbound);
    until("nobody is let in", || std::net::TcpStream::connect(edge.address).is_err()).await;
    held.release();
    for one in under_way {
        let got = one.await.unwrap().unwrap();
        assert_eq!(got.text, "held");
        let closes = got.headers.get("connection").is_some_and(|value| value == "close");
        assert!(closes || !got.headers.contains_key("connection"), "{got:?}");
    }
    until("they have ended", || edge.plane.open_connections(Direction::Inbound) == 0).await;
}
