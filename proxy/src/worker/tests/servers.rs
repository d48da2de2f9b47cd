//! TLS to servers outside the mesh: whom we ask for, whom we believe, and what we show of ourselves.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::testing::*;
use crate::worker::{DataPlane, Options};

/// A server of the web that says what it was asked for: the server name, whether there was a certificate, the host.
async fn server(issued: &Issued, clients: Option<&Ca>, alpn: &[&[u8]]) -> SocketAddr {
    let builder = rustls::ServerConfig::builder_with_provider(crate::identity::provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap();
    let builder = match clients {
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca.der()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crate::identity::provider());
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from(issued.certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let session = stream.get_ref().1;
                let name = session.server_name().unwrap_or("none").to_owned();
                let certificate = session.peer_certificates().is_some();
                let speaks_http2 = session.alpn_protocol() == Some(b"h2");
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
                    let host = host.or_else(|| request.uri().authority().map(ToString::to_string));
                    let ours = request.headers().keys().any(|name| name.as_str().starts_with("x-weft-"));
                    let text = format!("{name} {certificate} {} {ours}", host.unwrap());
                    async move { Ok::<_, std::convert::Infallible>(reply(text)) }
                });
                let io = TokioIo::new(stream);
                let _ = match speaks_http2 {
                    true => {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .timer(TokioTimer::new())
                            .serve_connection(io, service)
                            .await
                    }
                    false => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
                };
            });
        }
    });
    address
}

/// A body whose application reaches `upstream` and `other` at a server outside the mesh.
fn calls_server(address: SocketAddr, tls: &Value) -> Value {
    let mut body = calls(&[address]);
    body["clusters"]["up"]["tls"] = json!({"server": tls});
    body["clusters"]["up"]["external"] = json!(true);
    body["outbound"][0]["hosts"] = json!(["other", "upstream"]);
    body
}

fn believes(ca: &Ca, more: Value) -> Value {
    let mut tls = json!({"anchors": {"certificates": [ca.anchor()]}});
    tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    tls
}

async fn asked(body: &Value) -> (u16, String) {
    let got = get(plane_with(body).outbound_address().unwrap(), "/").await;
    let says =
        if got.status == 200 { got.text } else { got.headers["x-weft-reason"].to_str().unwrap().to_owned() };
    (got.status.as_u16(), says)
}

const HTTP1: &[&[u8]] = &[b"http/1.1"];

fn failure() -> (u16, String) {
    (503, "tls-failure".to_owned())
}

#[tokio::test]
async fn a_server_is_asked_for_by_name_and_must_have_it() {
    let ca = Ca::new();
    let address =
        server(&ca.sign(web_params(&["api.example", "*.wild.example", "upstream"])), None, HTTP1).await;
    for (name, says) in [
        (Some("api.example"), Some("api.example false upstream false")),
        (Some("a.wild.example"), Some("a.wild.example false upstream false")),
        (Some("wild.example"), None),
        (Some("other.example"), None),
        (None, Some("upstream false upstream false")),
    ] {
        let name = name.map_or(json!({}), |name| json!({"server_name": name}));
        let got = asked(&calls_server(address, &believes(&ca, name.clone()))).await;
        assert_eq!(got, says.map_or_else(failure, |says| (200, says.to_owned())), "{name}");
    }
    let stranger =
        asked(&calls_server(address, &believes(&Ca::new(), json!({"server_name": "api.example"})))).await;
    assert_eq!(stranger, failure(), "of an authority that is not believed");
    let any = asked(&calls_server(address, &believes(&Ca::new(), json!({"insecure": true})))).await;
    assert_eq!(any.0, 200, "where policy says so in so many words");
}

#[tokio::test]
async fn policy_may_list_the_names_of_a_server() {
    let ca = Ca::new();
    let mut params = web_params(&["api.example", "*.wild.example"]);
    params.subject_alt_names.push(rcgen::SanType::URI("spiffe://other/ns/a/sa/b".try_into().unwrap()));
    let address = server(&ca.sign(params), None, HTTP1).await;
    for (names, works) in [
        (json!([{"dns": {"exact": "api.example"}}]), true),
        (json!([{"dns": {"exact": "a.wild.example"}}]), true),
        (json!([{"dns": {"exact": "wild.example"}}]), false),
        (json!([{"dns": {"suffix": ".example"}}]), true),
        (json!([{"dns": {"prefix": "spiffe://"}}]), false),
        (json!([{"uri": {"exact": "spiffe://other/ns/a/sa/b"}}]), true),
        (json!([{"uri": {"exact": "spiffe://other/ns/a/sa"}}]), false),
        (json!([{"uri": {"exact": "api.example"}}]), false),
        (json!([{"any": {"exact": "spiffe://other/ns/a/sa/b"}}]), true),
        (json!([{"any": {"exact": "nobody"}}, {"any": {"exact": "api.example"}}]), true),
    ] {
        let tls = believes(&ca, json!({"server_name": "whatever.example", "names": names}));
        assert_eq!(asked(&calls_server(address, &tls)).await.0 == 200, works, "{names}");
    }
}

#[tokio::test]
async fn a_connection_is_not_used_for_another_name() {
    let ca = Ca::new();
    let address = server(&ca.sign(web_params(&["other", "upstream"])), None, &[b"h2", b"http/1.1"]).await;
    for protocol in ["http", "http2"] {
        let mut body = calls_server(address, &believes(&ca, json!({})));
        body["clusters"]["up"]["protocol"] = json!(protocol);
        let plane = plane_with(&body);
        let mut app = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
        for host in ["upstream", "other", "upstream", "other"] {
            let request = http::Request::builder().method(Method::GET).uri("/").header("host", host);
            let got = app.send(request.body(full("")).unwrap()).await.unwrap();
            assert_eq!(got.text, format!("{host} false {host} false"), "{protocol}");
        }
        let opened = r#"weft_upstream_connections_total{cluster="up"} 2"#;
        assert!(plane.metrics().encode().contains(opened), "{protocol}: each is used twice");
    }
}

#[tokio::test]
async fn http2_is_agreed_on_or_not_spoken() {
    let ca = Ca::new();
    let issued = ca.sign(web_params(&["upstream"]));
    for (alpn, works) in [(&[b"h2" as &[u8], b"http/1.1"][..], true), (HTTP1, false), (&[], false)] {
        let mut body = calls_server(server(&issued, None, alpn).await, &believes(&ca, json!({})));
        body["clusters"]["up"]["protocol"] = json!("http2");
        let got = asked(&body).await;
        assert_eq!(got.0 == 200, works, "{alpn:?}: {got:?}");
        assert!(works || got == failure());
    }
    // What comes as HTTP/2 need not go on so: the port does not declare it.
    let plane = plane_with(&calls_server(server(&issued, None, HTTP1).await, &believes(&ca, json!({}))));
    let mut app = Client::connect(plane.outbound_address().unwrap(), Speaks::Http2).await;
    assert_eq!(app.get("/").await.text, "upstream false upstream false");
}

#[tokio::test]
async fn a_certificate_is_shown_where_policy_says_so_and_nothing_is_sent_without() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let address = server(&ca.sign(web_params(&["upstream"])), Some(&clients), HTTP1).await;
    let body = calls_server(address, &believes(&ca, json!({"certificate": "edge/out"})));
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        workers: 1,
        outbound: Some("127.0.0.1:0".parse().unwrap()),
        certificates: Some(directory.path().to_owned()),
        ..Options::default()
    };
    let plane = DataPlane::start(options, Arc::default()).unwrap();
    plane.apply(snapshot(&body, 1).unwrap()).unwrap();
    let address = plane.outbound_address().unwrap();
    assert_eq!(get(address, "/").await.reason(), "tls-failure");
    let mut params = web_params(&["edge.example"]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let issued = clients.sign(params);
    std::fs::create_dir_all(directory.path().join("edge/out")).unwrap();
    std::fs::write(directory.path().join("edge/out/tls.crt"), issued.certificate.pem()).unwrap();
    std::fs::write(directory.path().join("edge/out/tls.key"), issued.key.serialize_pem()).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let got = loop {
        let got = get(address, "/").await;
        if got.status == 200 {
            break got;
        }
        assert!(std::time::Instant::now() < deadline, "the certificate is not found: {got:?}");
    };
    assert_eq!(got.text, "upstream true upstream false");
}

#[tokio::test]
async fn servers_are_asked_over_tls_whether_they_are_well() {
    let ca = Ca::new();
    let address = server(&ca.sign(web_params(&["api.example"])), None, HTTP1).await;
    for (name, well) in [("api.example", true), ("other.example", false)] {
        for probe in [json!("tcp"), json!({"http": {"path": "/healthz"}})] {
            let mut body = calls_server(address, &believes(&ca, json!({"server_name": name})));
            body["clusters"]["up"]["health_check"] = json!({"probe": probe, "interval": "10ms", "timeout": "5s",
                "healthy_after": 1, "unhealthy_after": 1});
            let plane = plane_with(&body);
            let unwell = || plane.describe_clusters()["up"]["unwell"].as_array().unwrap().len();
            let result = if well { "good" } else { "bad" };
            let count = || {
                let text = plane.metrics().encode();
                text.lines()
                    .any(|line| line.contains("health") && line.contains(result) && !line.ends_with(" 0"))
            };
            until("it is asked", || if well { count() } else { unwell() == 1 }).await;
            assert_eq!(unwell() == 0, well, "{name} {probe}");
        }
    }
}

#[test]
fn names_that_are_none_are_refused_with_the_bundle() {
    let ca = Ca::new();
    for tls in
        [believes(&ca, json!({"server_name": "no name"})), json!({"anchors": {"certificates": ["AAAA"]}})]
    {
        let refused =
            plane().apply(snapshot(&calls_server("127.0.0.1:1".parse().unwrap(), &tls), 1).unwrap());
        assert!(refused.unwrap_err().to_string().starts_with("cluster up: "), "{tls}");
    }
}
