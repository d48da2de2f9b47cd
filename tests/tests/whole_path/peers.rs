//! Who may connect: certificates of our trust domain and authority, and nobody else.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use weft_bundle::release::Denylist;
use weft_bundle::release::payload::{Denied, DenylistEntry, DenylistPin};
use weft_bundle::release::sign::sign_denylist;
use weft_tests::any_server::AnyServer;
use weft_tests::client::{self, Call, Protocol};
use weft_tests::load::{Load, Plan};
use weft_tests::mesh::Mesh;
use weft_tests::proxy::Proxy;
use weft_tests::upstream::Upstream;
use weft_tests::{Context, Result, port, runtime, wait};

use crate::forge::{Forge, ahead};

const POLICY: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: peers }
spec: { trustDomain: peers.example, trustAnchors: [ { file: ca/root.pem } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: api } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: stranger }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: api }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 127.0.0.1, port: PORT } ] }
  calls: []
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: api }
spec:
  targetRefs: [ { kind: Service, name: api } ]
  action: allow
  rules: [ { from: [ { service: web } ] } ]
";

type Identity = (PathBuf, PathBuf);

/// The proxy of `api` behind strict mutual TLS.
struct Api {
    mesh: Mesh,
    inbound: SocketAddr,
    application: Upstream,
    proxy: Proxy,
}

impl Api {
    fn start() -> Self {
        let inbound = port::free_address().unwrap();
        let policy = POLICY.replace("PORT", &inbound.port().to_string());
        let mesh = Mesh::new("peers", &[("policy.yaml", &policy)]).unwrap();
        mesh.build().unwrap();
        let application = Upstream::start("api", "v1").unwrap();
        let mut setup = mesh.proxy("default/api", "api").unwrap();
        setup.inbound.push(format!("http={inbound}"));
        setup.application.push(format!("http={}", application.address()));
        let proxy = setup.start().unwrap_or_else(|failure| panic!("{failure}"));
        Self { mesh, inbound, application, proxy }
    }

    /// An identity from an authority of its own, which nobody here believes.
    fn foreign(&self, trust_domain: &str, id: &str) -> Identity {
        let weft = |arguments: &[&str]| self.mesh.weft(arguments).unwrap().expect_code(0).unwrap();
        let (authority, out) = (format!("ca-of-{trust_domain}"), format!("foreign-{trust_domain}"));
        weft(&["ca", "init", "--trust-domain", trust_domain, "--out", &authority]);
        weft(&["ca", "issue", id, "--ca", &authority, "--out", &out]);
        (self.mesh.root().join(&out).join("cert.pem"), self.mesh.root().join(&out).join("key.pem"))
    }

    /// Asks the way a peer's proxy would, with this certificate or none. The whole answer as text.
    fn ask(&self, identity: Option<&Identity>) -> Result<String> {
        runtime::block_on(ask(self.inbound, client_config(identity)))
    }

    #[track_caller]
    fn refuses_handshake(&self, identity: Option<&Identity>) {
        let refused =
            |proxy: &Proxy| proxy.metrics().sum("weft_connections_refused_total", &[("reason", "handshake")]);
        let before = refused(&self.proxy);
        let answer = self.ask(identity);
        assert!(answer.as_ref().map_or(true, String::is_empty), "{answer:?}");
        wait::until("the refusal to be counted", || (refused(&self.proxy) > before).then_some(())).unwrap();
        assert_eq!(self.application.hits(), 0);
    }
}

fn client_config(identity: Option<&Identity>) -> ClientConfig {
    let builder = ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(AnyServer));
    match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain =
                CertificateDer::pem_slice_iter(&fs::read(certificate).unwrap()).map(|c| c.unwrap()).collect();
            let key = PrivateKeyDer::from_pem_slice(&fs::read(key).unwrap()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

/// In TLS 1.3 a client learns that its certificate was refused only when it reads.
async fn ask(address: SocketAddr, config: ClientConfig) -> Result<String> {
    let tcp = tokio::net::TcpStream::connect(address).await.context("connecting")?;
    let name = ServerName::try_from("api.invalid").context("a name")?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.context("handshake")?;
    let request = b"GET /items HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.context("writing")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        // A peer that leaves without `close_notify` after an answer has still answered.
        Err(error) if answer.is_empty() => Err(weft_tests::Failure::new(format!("reading: {error}"))),
        Ok(_) | Err(_) => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

#[test]
fn only_certificates_of_our_authority_and_trust_domain_get_in() {
    let api = Api::start();
    // Another trust domain, by its own authority.
    api.refuses_handshake(Some(&api.foreign("other.example", "spiffe://other.example/ns/default/sa/web")));
    // Our trust domain, by an authority that only says so.
    api.refuses_handshake(Some(&api.foreign("peers.example", "spiffe://peers.example/ns/default/sa/web")));
    // No certificate.
    api.refuses_handshake(None);
    // One of ours that policy does not name: heard, and refused with words.
    let stranger = api.mesh.identity("default/stranger").unwrap();
    let answer = api.ask(Some(&stranger)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("AccessPolicy default/api"), "{answer}");
    assert_eq!(api.application.hits(), 0);
    // One of ours that it does name.
    let web = api.mesh.identity("default/web").unwrap();
    let answer = api.ask(Some(&web)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(api.application.hits(), 1);
}

#[test]
fn clear_text_on_a_strict_port_is_not_answered() {
    let api = Api::start();
    let call = Call::get("http://api/items");
    let answer = client::call(Protocol::Http1, api.inbound, &call);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(api.application.hits(), 0);
}

/// The other direction: whoever answers in the place of `api` without its certificate gets no request.
#[test]
fn a_caller_does_not_talk_to_an_impostor() {
    let api = Api::start();
    let mut web = api.mesh.proxy("default/web", "web").unwrap();
    web.inbound.push(format!("http={}", port::free_address().unwrap()));
    let web = web.start().unwrap();
    let call = Call::get("http://api/items");
    let ask = || client::call(Protocol::Http1, web.outbound(), &call).unwrap();
    assert_eq!(ask().status, 200);
    // The same address, now a proxy of `stranger`, whose certificate is as good as any.
    let Api { mesh, inbound, application, mut proxy } = api;
    proxy.kill().unwrap();
    let mut impostor = mesh.proxy("default/stranger", "impostor").unwrap();
    impostor.inbound.push(format!("http={inbound}"));
    impostor.application.push(format!("http={}", application.address()));
    let _impostor = impostor.start().unwrap();
    let answer = ask();
    assert!(answer.status >= 500, "{answer}");
    assert_eq!(application.hits(), 1);
}

#[test]
fn a_proxy_with_another_service_s_certificate_does_not_become_ready() {
    let api = Api::start();
    let mut setup = api.mesh.proxy_as("default/stranger", "default/web", "confused").unwrap();
    setup.inbound.push(format!("http={}", port::free_address().unwrap()));
    let mut proxy = setup.spawn().unwrap();
    wait::until("a word about the identity", || {
        (proxy.has_ended().is_some() || proxy.log().contains("sa/stranger")).then_some(())
    })
    .unwrap();
    wait::until("the refusal", || {
        (proxy.has_ended().is_some_and(|status| !status.success()) || proxy.rejected("apply") > 0.0)
            .then_some(())
    })
    .unwrap();
    assert!(!proxy.is_ready());
}

/// A denylist is never staged: it closes what is open, and lets nobody of those in again.
#[test]
fn a_denied_identity_loses_its_connections_at_once() {
    let api = Api::start();
    let mut web = api.mesh.proxy("default/web", "web").unwrap();
    web.inbound.push(format!("http={}", port::free_address().unwrap()));
    let web = web.start().unwrap();
    let ask = || client::call(Protocol::Http1, web.outbound(), &Call::get("http://api/items")).unwrap();
    assert_eq!(ask().status, 200);

    let forge = Forge::of(&api.mesh);
    let subject = Denied::Identity("spiffe://peers.example/ns/default/sa/web".parse().unwrap());
    let entries = vec![DenylistEntry { subject, until: ahead(60 * 24) }];
    let denylist = Denylist { mesh: "peers".parse().unwrap(), version: 1, entries };
    let (sha256, bytes) = sign_denylist(&denylist, &[&forge.key("denylist")]).unwrap();
    forge.write("denylist/1.json", &bytes);
    forge.change_latest(|latest| latest.denylist = Some(DenylistPin { version: 1, sha256 }));
    let in_force = || api.proxy.bundle()["source"]["standing"]["denylist_version"] == 1;
    wait::until("the denylist", || in_force().then_some(())).unwrap();

    let hits = api.application.hits();
    let answer = ask();
    assert!(answer.status >= 500, "{answer}\n{}", api.proxy.log_tail());
    assert_eq!(api.application.hits(), hits);
    assert!(api.proxy.is_ready());
}

/// A certificate is replaced in its place: the next connections use it, requests under way notice nothing, and a pair that
/// does not fit together is not taken.
#[test]
fn certificates_rotate_under_load() {
    let mut api = Api::start();
    let mut web = api.mesh.proxy("default/web", "web").unwrap();
    web.inbound.push(format!("http={}", port::free_address().unwrap()));
    let web = web.start().unwrap();
    let expiry = |proxy: &Proxy| proxy.metrics().sum("weft_identity_expiry_timestamp_seconds", &[]);
    let load = Load::start(&Plan {
        protocol: Protocol::Http1,
        address: web.outbound(),
        call: Call::get("http://api/items"),
        clients: 2,
        rate: 60,
    });
    load.wait_for_more(20).unwrap();
    for (service, proxy) in [("default/api", &api.proxy), ("default/web", &web)] {
        let before = expiry(proxy);
        let out = format!("identities/{}", service.replace('/', "."));
        let issue = ["ca", "issue", service, "--ca", "ca", "--out", &out, "--ttl", "48h"];
        api.mesh.weft(&issue).unwrap().expect_code(0).unwrap();
        wait::until("the new certificate", || (expiry(proxy) > before).then_some(())).unwrap();
        load.wait_for_more(20).unwrap();
    }
    // Another service's key beside our certificate.
    let (_, stranger_key) = api.mesh.identity("default/stranger").unwrap();
    let (_, key) = api.mesh.identity("default/web").unwrap();
    let rejected = || web.metrics().sum("weft_identity_rejected_total", &[]);
    let before = rejected();
    fs::copy(stranger_key, key).unwrap();
    wait::until("the refusal", || (rejected() > before).then_some(())).unwrap();
    load.wait_for_more(20).unwrap();
    // The callee starts again, so that connections have to be made anew with what is held.
    let tally = load.stop().unwrap();
    assert_eq!(tally.failed(), 0, "{tally}\n{}", web.log_tail());
    let setup = api.proxy.setup().clone();
    api.proxy.terminate().unwrap();
    let _again = setup.start().unwrap();
    let answer = client::call(Protocol::Http1, web.outbound(), &Call::get("http://api/items")).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
}
