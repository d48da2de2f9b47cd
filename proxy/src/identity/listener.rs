//! TLS for callers outside the mesh: one configuration per listener, kept while what it is made from stays equal.
//!
//! A caller whose certificate must lead to anchors of the listener's own has no identity in the mesh, whatever its
//! certificate says; one that must lead to the mesh's own anchors has. Sessions are resumed only where no certificate is
//! asked for, and never across listeners: each configuration has ticket keys of its own (NGINX CVE-2025-23419).

use std::sync::Arc;

use data_encoding::BASE64;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};
use weft_bundle::body::{ClientCertificates, TerminatedTls};

use super::certificates::{Certificates, Presented};
use super::deny::DenyStore;
use super::trust::{PeerVerifier, Trust};
use super::{HTTP1, HTTP2, IdentityStore, provider};

/// What is needed to make the configuration of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    pub(crate) trust: &'a Arc<Trust>,
    pub(crate) deny: &'a Arc<DenyStore>,
    pub(crate) identity: &'a Arc<IdentityStore>,
    pub(crate) certificates: &'a Certificates,
}

/// How TLS ends at a listener.
#[derive(Debug)]
pub(crate) struct ListenerTls {
    pub(crate) config: Arc<ServerConfig>,
    clients: Option<Clients>,
}

#[derive(Debug)]
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    are_peers: bool,
}

impl ListenerTls {
    /// Makes it.
    ///
    /// # Errors
    /// What of it cannot be used, in words.
    pub(crate) fn new(tls: &TerminatedTls, means: Means<'_>) -> Result<Self, String> {
        let clients = tls.clients.as_ref().map(|clients| Clients::new(clients, means)).transpose()?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(tls)?)
            .map_err(|error| error.to_string())?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
            None => builder.with_no_client_auth(),
        };
        let resolver: Arc<dyn ResolvesServerCert> = match tls.certificates.as_slice() {
            [] => Arc::<IdentityStore>::clone(means.identity),
            names => Arc::new(Presented(names.iter().map(|name| means.certificates.slot(name)).collect())),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if clients.is_none() {
            config.ticketer =
                rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
            config.send_tls13_tickets = 2;
        }
        Ok(Self { config: Arc::new(config), clients })
    }

    /// Whether callers' certificates are judged by the mesh's own anchors, and so prove an identity.
    pub(crate) fn proves_identities(&self) -> bool {
        self.clients.as_ref().is_some_and(|clients| clients.are_peers)
    }

    /// Whether a caller may come in with these certificates, or with none.
    pub(crate) fn admits(&self, chain: Option<&[CertificateDer<'static>]>) -> bool {
        let Some(Clients { verifier, .. }) = &self.clients else { return true };
        match chain.and_then(<[_]>::split_first) {
            None => !verifier.client_auth_mandatory(),
            Some((leaf, rest)) => verifier.verify_client_cert(leaf, rest, UnixTime::now()).is_ok(),
        }
    }
}

impl Clients {
    fn new(asked: &ClientCertificates, Means { trust, deny, .. }: Means<'_>) -> Result<Self, String> {
        if asked.anchors.is_empty() {
            let verifier = PeerVerifier::new(Arc::clone(trust), Arc::clone(deny));
            let verifier = Arc::new(if asked.optional { verifier.optional() } else { verifier });
            return Ok(Self { verifier, are_peers: true });
        }
        let roots = Arc::new(roots(&asked.anchors)?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
        if asked.optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { verifier, are_peers: false })
    }
}

/// The certificates of a body: base64 of one DER certificate each.
pub(super) fn roots(anchors: &[String]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        let der = BASE64.decode(anchor.as_bytes()).map_err(|error| error.to_string())?;
        roots.add(CertificateDer::from(der)).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// The versions from the lowest to the highest that policy lets pass.
fn versions(tls: &TerminatedTls) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let (lowest, highest) = (tls.min_version.as_deref(), tls.max_version.as_deref());
    let known = [("1.2", &rustls::version::TLS12), ("1.3", &rustls::version::TLS13)];
    let place = |version: &str| match version {
        // Older ones are never spoken: as a floor they mean the lowest that is.
        "1.0" | "1.1" => Ok(0),
        "1.2" => Ok(1),
        "1.3" => Ok(2),
        other => Err(format!("`{other}` is not a version of TLS")),
    };
    let (lowest, highest) = (place(lowest.unwrap_or("1.2"))?, place(highest.unwrap_or("1.3"))?);
    let within = |(name, version): &(&str, &'static SupportedProtocolVersion)| {
        place(name).is_ok_and(|place| (lowest..=highest).contains(&place)).then_some(*version)
    };
    let versions: Vec<_> = known.iter().filter_map(within).collect();
    match versions.is_empty() {
        true => {
            Err("no version of TLS that is still spoken lies between the lowest and the highest".to_owned())
        }
        false => Ok(versions),
    }
}
