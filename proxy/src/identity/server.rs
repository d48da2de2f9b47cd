//! TLS to servers outside the mesh, as on the web: a chain to anchors that policy names, or that this machine believes, and
//! a certificate for the name that was asked for, or for one of those that policy lists.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use weft_bundle::body::{Anchors, ServerTls, StringMatch, SubjectName};
use weft_bundle::engine::TextMatcher;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certificates::Certificates;
use super::listener::roots;
use super::{HTTP1, HTTP2, provider};
use crate::cluster::connect::{ClientTls, Naming};

/// TLS to the servers of a cluster outside the mesh; one configuration per protocol.
///
/// # Errors
/// What of it cannot be used, in words.
pub(crate) fn client_tls(tls: &ServerTls, certificates: &Certificates) -> Result<ClientTls, String> {
    let verifier = Arc::new(Verifier::new(tls)?);
    let name = tls.server_name.as_ref().map(|name| {
        ServerName::try_from(name.clone()).map_err(|_| format!("`{name}` is no name of a server"))
    });
    let certificate = tls.certificate.as_ref().map(|name| certificates.slot(name));
    let config = |alpn: Option<&[u8]>| -> Result<Arc<ClientConfig>, String> {
        let verifier: Arc<dyn ServerCertVerifier> = Arc::<Verifier>::clone(&verifier);
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &certificate {
            Some(slot) => {
                let slot: Arc<dyn rustls::client::ResolvesClientCert> = Arc::clone(slot) as _;
                builder.with_client_cert_resolver(slot)
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|alpn| alpn.to_vec()).collect();
        if certificate.is_some() {
            // What was proved with an old certificate is not gone on with.
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    };
    let naming = Naming::Server { name: name.transpose()?, certificate: certificate.clone() };
    Ok(ClientTls { http1: config(Some(HTTP1))?, http2: config(Some(HTTP2))?, stream: config(None)?, naming })
}

/// What this machine believes; read once, as long as the proxy runs.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of this machine's certificates cannot be read");
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::error!("this machine believes no certificates; no server is believed that needs them");
        }
        Arc::new(roots)
    }))
}

/// Judges the certificates of servers.
struct Verifier {
    roots: Arc<RootCertStore>,
    /// One of them, or the name that was asked for if there are none.
    names: Vec<Name>,
    insecure: bool,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("names", &self.names).field("insecure", &self.insecure).finish()
    }
}

/// A name that a certificate may have.
#[derive(Debug)]
struct Name {
    dns: bool,
    uri: bool,
    is: TextMatcher,
    /// A plain DNS name, which a `*` in the certificate may stand for, too.
    exact: Option<ServerName<'static>>,
}

impl Name {
    fn new(name: &SubjectName) -> Result<Self, String> {
        let (dns, uri, is) = match name {
            SubjectName::Dns(is) => (true, false, is),
            SubjectName::Uri(is) => (false, true, is),
            SubjectName::Any(is) => (true, true, is),
        };
        let exact = match is {
            StringMatch::Exact(text) if dns => ServerName::try_from(text.clone()).ok(),
            _ => None,
        };
        let is = TextMatcher::compile(is).map_err(|error| error.to_string())?;
        Ok(Self { dns, uri, is, exact })
    }

    fn fits(&self, certificate: &ParsedCertificate<'_>, names: &[GeneralName<'_>]) -> bool {
        let covered = |name| verify_server_name(certificate, name).is_ok();
        self.exact.as_ref().is_some_and(covered)
            || names.iter().any(|name| match name {
                GeneralName::DNSName(name) => {
                    self.dns && self.is.matches(name.to_ascii_lowercase().as_bytes())
                }
                GeneralName::URI(uri) => self.uri && self.is.matches(uri.as_bytes()),
                _ => false,
            })
    }
}

impl Verifier {
    fn new(tls: &ServerTls) -> Result<Self, String> {
        let roots = match &tls.anchors {
            _ if tls.insecure => Arc::new(RootCertStore::empty()),
            Anchors::System => system(),
            Anchors::Certificates(certificates) => Arc::new(roots(certificates)?),
        };
        let names = tls.names.iter().map(Name::new).collect::<Result<_, _>>()?;
        Ok(Self { roots, names, insecure: tls.insecure })
    }

    /// Whether one of the names of policy is in a certificate.
    fn is_named(&self, certificate: &ParsedCertificate<'_>, der: &CertificateDer<'_>) -> Result<(), Error> {
        let malformed = || Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| malformed())?;
        let extension = parsed.subject_alternative_name().map_err(|_| malformed())?;
        let names = extension.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
        // A NUL in a name ends it for some readers (CVE-2025-66220).
        let odd = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(text) | GeneralName::URI(text) => {
                !text.bytes().all(|byte| byte.is_ascii_graphic())
            }
            _ => false,
        };
        if names.iter().any(odd) {
            return Err(malformed());
        }
        match self.names.iter().any(|name| name.fits(certificate, names)) {
            true => Ok(()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.insecure {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        match self.names.is_empty() {
            true => verify_server_name(&certificate, server_name)?,
            false => self.is_named(&certificate, end_entity)?,
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
