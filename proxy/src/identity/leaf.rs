//! The SPIFFE id in a certificate, read by the rules of X509-SVID sections 2 to 5, stricter where noted.
//!
//! A path to a trust anchor is not checked here ([`super::trust`] does), and nothing here is enough without one.

use std::fmt;

use rustls_pki_types::CertificateDer;
use weft_bundle::spiffe::{SpiffeError, SpiffeId};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, SubjectAlternativeName, X509Certificate};

/// What a workload's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The identity.
    pub id: SpiffeId,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
}

/// Why a certificate is not a workload's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafError {
    /// It is not a certificate, or has bytes behind it.
    Malformed,
    /// It has no URI name, or several.
    UriNames(usize),
    /// Its URI name has bytes that are not visible ASCII.
    UriBytes,
    /// Its URI name is not a SPIFFE id.
    Id(SpiffeError),
    /// Its subject is empty, and the name extension not critical.
    SanNotCritical,
    /// It may sign certificates.
    Authority,
    /// Its key usage is missing, not critical, or lacks digital signatures.
    KeyUsage,
    /// It may sign certificates or revocation lists.
    SigningUsage,
    /// It lists extended usages without both server and client authentication.
    ExtendedUsage,
}

impl fmt::Display for LeafError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is not one DER certificate"),
            Self::UriNames(count) => write!(f, "it has {count} URI names instead of one"),
            Self::UriBytes => f.write_str("its URI name has bytes that are not visible ASCII"),
            Self::Id(error) => write!(f, "its URI name is not a SPIFFE id: {error}"),
            Self::SanNotCritical => f.write_str("its subject is empty and its name extension not critical"),
            Self::Authority => f.write_str("it is an authority's certificate"),
            Self::KeyUsage => f.write_str("its key usage is not critical with digital signatures"),
            Self::SigningUsage => f.write_str("its key may sign certificates or revocation lists"),
            Self::ExtendedUsage => {
                f.write_str("its extended key usage lacks server or client authentication")
            }
        }
    }
}

impl std::error::Error for LeafError {}

impl Leaf {
    /// Reads a workload's certificate.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, LeafError> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| LeafError::Malformed)?;
        if !rest.is_empty() {
            return Err(LeafError::Malformed);
        }
        let id = identity(&parsed)?;
        check_constraints(&parsed)?;
        check_usage(&parsed)?;
        let validity = parsed.validity();
        Ok(Self {
            id,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// Whether a time, in seconds since the epoch, lies within its life.
    pub fn is_valid_at(&self, at: i64) -> bool {
        (self.not_before..=self.not_after).contains(&at)
    }
}

/// X509-SVID section 2: exactly one URI name. Other kinds of names may stand beside it and mean nothing.
fn identity(certificate: &X509Certificate<'_>) -> Result<SpiffeId, LeafError> {
    // A second name extension, which `subject_alternative_name` reports as an error, could hide a second URI.
    let extension = certificate.subject_alternative_name().map_err(|_| LeafError::Malformed)?;
    let Some(extension) = extension else {
        return Err(LeafError::UriNames(0));
    };
    let SubjectAlternativeName { general_names } = extension.value;
    let uris: Vec<&str> = general_names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    if general_names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(LeafError::UriBytes);
    }
    let [uri] = uris.as_slice() else {
        return Err(LeafError::UriNames(uris.len()));
    };
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(LeafError::UriBytes);
    }
    // RFC 5280 section 4.2.1.6.
    if certificate.subject().iter().next().is_none() && !extension.critical {
        return Err(LeafError::SanNotCritical);
    }
    uri.parse().map_err(LeafError::Id)
}

/// X509-SVID section 4.1: a leaf is no authority.
fn check_constraints(certificate: &X509Certificate<'_>) -> Result<(), LeafError> {
    match certificate.basic_constraints().map_err(|_| LeafError::Malformed)? {
        Some(constraints) if constraints.value.ca => Err(LeafError::Authority),
        _ => Ok(()),
    }
}

/// X509-SVID sections 4.2 and 4.3.
fn check_usage(certificate: &X509Certificate<'_>) -> Result<(), LeafError> {
    let usage = certificate.key_usage().map_err(|_| LeafError::Malformed)?.ok_or(LeafError::KeyUsage)?;
    if !usage.critical || !usage.value.digital_signature() {
        return Err(LeafError::KeyUsage);
    }
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(LeafError::SigningUsage);
    }
    match certificate.extended_key_usage().map_err(|_| LeafError::Malformed)? {
        Some(extended) if !(extended.value.server_auth && extended.value.client_auth) => {
            Err(LeafError::ExtendedUsage)
        }
        _ => Ok(()),
    }?;
    // An extension that is critical and not understood must not be passed over (RFC 5280 section 4.2).
    let unknown = |parsed: &ParsedExtension<'_>| {
        matches!(parsed, ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. })
    };
    if certificate.extensions().iter().any(|e| e.critical && unknown(e.parsed_extension())) {
        return Err(LeafError::Malformed);
    }
    Ok(())
}
