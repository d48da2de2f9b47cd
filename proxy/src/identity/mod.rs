//! Who we are and whom we believe: our certificate and key, the trust anchors of each trust domain, and the TLS
//! configurations made of both.
//!
//! [`leaf`] reads the SPIFFE id out of a certificate, strictly. [`trust`] verifies peers against the anchors *of their own
//! trust domain*, [`deny`] holds those who are refused all the same. [`files`] keeps our pair up to date. TLS is 1.3 only, X25519MLKEM768 first, and never resumed: the
//! identity is proved on every connection.
//!
//! Outside the mesh other rules hold: [`certificates`] are those that policy names, [`listener`] is TLS for callers from
//! there, [`server`] TLS to servers there.

pub mod leaf;
pub(crate) mod trust;
pub(crate) mod deny;
pub mod files;
pub(crate) mod certificates;
pub(crate) mod listener;
pub(crate) mod server;
pub(crate) mod describe;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use weft_bundle::spiffe::SpiffeId;

use self::deny::DenyStore;
use self::leaf::Leaf;
pub use self::leaf::LeafError;
use self::trust::{PeerVerifier, Trust, UpstreamVerifier};

/// A workload's certificate and key.
#[derive(Debug)]
pub struct Identity {
    id: SpiffeId,
    not_after: i64,
    key: Arc<CertifiedKey>,
}

/// Why a certificate and key are not an identity.
#[derive(Debug)]
pub enum IdentityError {
    /// The certificates are not PEM, or there are none.
    Certificate(String),
    /// The key is not PEM, or of a kind that is not known.
    Key(String),
    /// The first certificate is not a workload's.
    Leaf(LeafError),
    /// The key belongs to another certificate.
    Mismatch,
    /// The certificate is past its end, or before its beginning.
    NotValidNow,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(why) => write!(f, "the certificate cannot be read: {why}"),
            Self::Key(why) => write!(f, "the key cannot be read: {why}"),
            Self::Leaf(error) => write!(f, "the certificate is not a workload's: {error}"),
            Self::Mismatch => f.write_str("the key does not belong to the certificate"),
            Self::NotValidNow => f.write_str("the certificate has expired or is not valid yet"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// Reads a chain, leaf first, and its key.
    ///
    /// # Errors
    /// Anything that would make a peer refuse it.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let leaf = Leaf::read(&chain(certificates)?.0).map_err(IdentityError::Leaf)?;
        if !leaf.is_valid_at(time::OffsetDateTime::now_utc().unix_timestamp()) {
            return Err(IdentityError::NotValidNow);
        }
        let key = read_pair(certificates, key)?;
        Ok(Self { id: leaf.id, not_after: leaf.not_after, key: Arc::new(key) })
    }

    /// The SPIFFE id.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// When it ends, in seconds since the epoch.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

/// Certificates in PEM, with the first once more.
fn chain(
    certificates: &[u8],
) -> Result<(CertificateDer<'static>, Vec<CertificateDer<'static>>), IdentityError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(|error| IdentityError::Certificate(error.to_string()))?;
    let first = chain.first().ok_or_else(|| IdentityError::Certificate("there is none".to_owned()))?;
    Ok((first.clone(), chain))
}

/// Reads a chain, leaf first, and its key, which must belong to it.
fn read_pair(certificates: &[u8], key: &[u8]) -> Result<CertifiedKey, IdentityError> {
    let (_, chain) = chain(certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| IdentityError::Key(error.to_string()))?;
    let signer = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| IdentityError::Key(error.to_string()))?;
    let key = CertifiedKey::new(chain, signer);
    key.keys_match().map_err(|_| IdentityError::Mismatch)?;
    Ok(key)
}

/// The identity in use. Handshakes that begin after a change use the new one.
#[derive(Debug, Default)]
pub(crate) struct IdentityStore(ArcSwapOption<Identity>);

impl IdentityStore {
    pub(crate) fn current(&self) -> Option<Arc<Identity>> {
        self.0.load_full()
    }

    pub(crate) fn replace(&self, identity: Identity) {
        self.0.store(Some(Arc::new(identity)));
    }

    fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|identity| Arc::clone(&identity.key))
    }
}

impl ResolvesServerCert for IdentityStore {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key()
    }
}

impl rustls::client::ResolvesClientCert for IdentityStore {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key()
    }

    fn has_certs(&self) -> bool {
        self.0.load().is_some()
    }
}

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// What is offered on HTTP ports, in TLS.
pub(crate) const HTTP: [&[u8]; 2] = [HTTP2, HTTP1];

/// The one crypto stack.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// TLS for peers that call us, and speak one of these protocols (ALPN).
pub(crate) fn server_config(
    trust: &Arc<Trust>,
    deny: &Arc<DenyStore>,
    identity: &Arc<IdentityStore>,
    protocols: &[&[u8]],
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs has TLS 1.3");
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<IdentityStore>::clone(identity);
    let mut config = builder
        .with_client_cert_verifier(Arc::new(PeerVerifier::new(Arc::clone(trust), Arc::clone(deny))))
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// TLS towards peers, of whom we expect one of `ids`; one configuration per protocol.
pub(crate) fn client_tls(
    trust: &Arc<Trust>,
    deny: &Arc<DenyStore>,
    identity: &Arc<IdentityStore>,
    ids: &[SpiffeId],
) -> crate::cluster::connect::ClientTls {
    let verifier = Arc::new(UpstreamVerifier::new(Arc::clone(trust), Arc::clone(deny), ids.to_vec()));
    let config = |alpn: &[u8]| {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("aws-lc-rs has TLS 1.3");
        let resolver: Arc<dyn rustls::client::ResolvesClientCert> = Arc::<IdentityStore>::clone(identity);
        let verifier: Arc<dyn rustls::client::danger::ServerCertVerifier> =
            Arc::<UpstreamVerifier>::clone(&verifier);
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(resolver);
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        Arc::new(config)
    };
    crate::cluster::connect::ClientTls {
        http1: config(HTTP1),
        http2: config(HTTP2),
        stream: config(crate::stream::ALPN),
        naming: crate::cluster::connect::Naming::Workload,
    }
}
