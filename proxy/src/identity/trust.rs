//! Whom we believe: each trust domain has its own anchors, and a certificate counts only if it leads to an anchor *of the
//! trust domain that it names*.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use weft_bundle::spiffe::{SpiffeId, TrustDomain};

use super::deny::DenyStore;
use super::leaf::{Leaf, LeafError};
use super::provider;

/// The trust anchors of every trust domain whose peers we know.
#[derive(Debug)]
pub(crate) struct Trust(BTreeMap<TrustDomain, Anchors>);

#[derive(Debug)]
struct Anchors {
    roots: Arc<RootCertStore>,
    /// Verifies client certificates against `roots` only; none if there are no anchors, which revokes all.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// Why the anchors of a body cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustError {
    trust_domain: String,
    why: String,
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a trust anchor of `{}` cannot be used: {}", self.trust_domain, self.why)
    }
}

impl std::error::Error for TrustError {}

/// Why a peer is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerError {
    Leaf(LeafError),
    /// No anchors for the trust domain.
    TrustDomain(TrustDomain),
    /// Another identity than expected.
    Unexpected(SpiffeId),
    /// On the denylist.
    Denied(SpiffeId),
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(error) => write!(f, "the peer's certificate is not a workload's: {error}"),
            Self::TrustDomain(domain) => write!(f, "there are no trust anchors for `{domain}`"),
            Self::Unexpected(id) => write!(f, "the peer is `{id}`, who is not expected here"),
            Self::Denied(id) => write!(f, "the peer `{id}` is on the denylist"),
        }
    }
}

impl std::error::Error for PeerError {}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

impl Trust {
    /// Reads the anchors of a body: base64 of one DER certificate each.
    ///
    /// # Errors
    /// The first that is not one.
    pub(crate) fn read(anchors: &BTreeMap<TrustDomain, Vec<String>>) -> Result<Self, TrustError> {
        let mut domains = BTreeMap::new();
        for (domain, certificates) in anchors {
            let fail = |why: String| TrustError { trust_domain: domain.to_string(), why };
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                let der = BASE64.decode(certificate.as_bytes()).map_err(|error| fail(error.to_string()))?;
                roots.add(CertificateDer::from(der)).map_err(|error| fail(error.to_string()))?;
            }
            let roots = Arc::new(roots);
            let clients = if roots.is_empty() {
                None
            } else {
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider());
                Some(builder.build().map_err(|error| fail(error.to_string()))?)
            };
            domains.insert(domain.clone(), Anchors { roots, clients });
        }
        Ok(Self(domains))
    }

    /// Whether a peer that called us is believed, and who it is.
    pub(crate) fn verify_client(
        &self,
        deny: &DenyStore,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<SpiffeId, Error> {
        let (leaf, anchors) = self.anchors(end_entity)?;
        let clients =
            anchors.clients.as_ref().ok_or_else(|| PeerError::TrustDomain(leaf.id.trust_domain().clone()))?;
        clients.verify_client_cert(end_entity, intermediates, now)?;
        deny.check(leaf.id, end_entity, now)
    }

    /// Whether an endpoint that we called is believed, and who it is.
    pub(crate) fn verify_server(
        &self,
        deny: &DenyStore,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<SpiffeId, Error> {
        let (leaf, anchors) = self.anchors(end_entity)?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &anchors.roots,
            intermediates,
            now,
            algorithms,
        )?;
        deny.check(leaf.id, end_entity, now)
    }

    fn anchors(&self, end_entity: &CertificateDer<'_>) -> Result<(Leaf, &Anchors), PeerError> {
        let leaf = Leaf::read(end_entity).map_err(PeerError::Leaf)?;
        match self.0.get(leaf.id.trust_domain()) {
            Some(anchors) => Ok((leaf, anchors)),
            None => Err(PeerError::TrustDomain(leaf.id.trust_domain().clone())),
        }
    }
}

/// Judges the certificates of peers that call us.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    trust: Arc<Trust>,
    deny: Arc<DenyStore>,
    mandatory: bool,
}

impl PeerVerifier {
    pub(super) fn new(trust: Arc<Trust>, deny: Arc<DenyStore>) -> Self {
        Self { trust, deny, mandatory: true }
    }

    /// The same, for callers who may also come without a certificate.
    pub(super) fn optional(self) -> Self {
        Self { mandatory: false, ..self }
    }
}

impl ClientCertVerifier for PeerVerifier {
    /// None: the anchors of every trust domain are nobody's business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust.verify_client(&self.deny, end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Judges the certificates of endpoints that we call: one of the identities that the cluster expects.
#[derive(Debug)]
pub(super) struct UpstreamVerifier {
    trust: Arc<Trust>,
    deny: Arc<DenyStore>,
    expected: Vec<SpiffeId>,
}

impl UpstreamVerifier {
    pub(super) fn new(trust: Arc<Trust>, deny: Arc<DenyStore>, expected: Vec<SpiffeId>) -> Self {
        Self { trust, deny, expected }
    }
}

impl ServerCertVerifier for UpstreamVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let id = self.trust.verify_server(&self.deny, end_entity, intermediates, now)?;
        if !self.expected.contains(&id) {
            return Err(PeerError::Unexpected(id).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
