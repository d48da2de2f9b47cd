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

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, ExtendedKeyUsagePurpose,
        IsCa, KeyUsagePurpose, SanType,
    };

    use super::*;
    use crate::testing::{Ca, leaf_params};

    const CART: &str = "spiffe://td/ns/shop/sa/cart";

    fn read(change: impl FnOnce(&mut CertificateParams)) -> Result<Leaf, LeafError> {
        let mut params = leaf_params(CART);
        change(&mut params);
        Leaf::read(Ca::new().sign(params).certificate.der())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn a_workloads_certificate_is_read() {
        let leaf = read(|_| {}).unwrap();
        assert_eq!(leaf.id.to_string(), CART);
        assert!(leaf.is_valid_at(leaf.not_before) && leaf.is_valid_at(leaf.not_after));
        assert!(!leaf.is_valid_at(leaf.not_before - 1) && !leaf.is_valid_at(leaf.not_after + 1));
        read(|params| params.extended_key_usages.clear()).unwrap();
        read(|params| params.subject_alt_names.push(SanType::DnsName("cart".try_into().unwrap()))).unwrap();
        read(|params| params.distinguished_name = DistinguishedName::new()).unwrap();
    }

    #[test]
    fn exactly_one_uri_name() {
        assert_eq!(read(|params| params.subject_alt_names.clear()), Err(LeafError::UriNames(0)));
        let dns = |params: &mut CertificateParams| {
            params.subject_alt_names = vec![SanType::DnsName("cart".try_into().unwrap())];
        };
        assert_eq!(read(dns), Err(LeafError::UriNames(0)));
        let two = |params: &mut CertificateParams| params.subject_alt_names.push(uri("spiffe://td/other"));
        assert_eq!(read(two), Err(LeafError::UriNames(2)));
        let twice = |params: &mut CertificateParams| params.subject_alt_names.push(uri(CART));
        assert_eq!(read(twice), Err(LeafError::UriNames(2)), "also the same one twice");
        let web = |params: &mut CertificateParams| params.subject_alt_names.push(uri("https://td/x"));
        assert_eq!(read(web), Err(LeafError::UriNames(2)), "also of another scheme");
    }

    #[test]
    fn the_name_is_a_spiffe_id() {
        for (text, error) in [
            ("https://td/a", LeafError::Id(SpiffeError::Scheme)),
            ("Spiffe://td/a", LeafError::Id(SpiffeError::Scheme)),
            ("spiffe:/td/a", LeafError::Id(SpiffeError::Scheme)),
            ("spiffe://td", LeafError::Id(SpiffeError::Path)),
            ("spiffe://td/", LeafError::Id(SpiffeError::Path)),
            ("spiffe://td//a", LeafError::Id(SpiffeError::Path)),
            ("spiffe://td/../a", LeafError::Id(SpiffeError::Path)),
            ("spiffe://td/a/", LeafError::Id(SpiffeError::Path)),
            ("spiffe://td/a?b", LeafError::Id(SpiffeError::Path)),
            ("spiffe://td/%61", LeafError::Id(SpiffeError::Path)),
            ("spiffe://TD/a", LeafError::Id(SpiffeError::TrustDomain)),
            ("spiffe://td:1/a", LeafError::Id(SpiffeError::TrustDomain)),
            ("spiffe://u@td/a", LeafError::Id(SpiffeError::TrustDomain)),
            ("spiffe://td/a\0.evil", LeafError::UriBytes),
            ("spiffe://td/a b", LeafError::UriBytes),
        ] {
            assert_eq!(read(|params| params.subject_alt_names = vec![uri(text)]), Err(error), "{text:?}");
        }
        let long = format!("spiffe://td/{}", "a".repeat(2048));
        let long = read(|params| params.subject_alt_names = vec![uri(&long)]);
        assert_eq!(long, Err(LeafError::Id(SpiffeError::TooLong)));
    }

    #[test]
    fn a_name_that_is_not_ascii_is_refused() {
        let der = b"\x30\x0e\x86\x0cspiffe://t\xff/";
        let san = CustomExtension::from_oid_content(&[2, 5, 29, 17], der.to_vec());
        let odd = read(|params| {
            params.subject_alt_names.clear();
            params.custom_extensions = vec![san];
        });
        assert!(matches!(odd, Err(LeafError::UriBytes | LeafError::Malformed)), "{odd:?}");
    }

    #[test]
    fn an_empty_subject_needs_a_critical_name() {
        let name = CART.as_bytes();
        let length = u8::try_from(name.len()).unwrap();
        let der = [&[0x30, length + 2, 0x86, length], name].concat();
        let san = |critical| {
            let mut san = CustomExtension::from_oid_content(&[2, 5, 29, 17], der.clone());
            san.set_criticality(critical);
            move |params: &mut CertificateParams| {
                params.subject_alt_names.clear();
                params.distinguished_name = DistinguishedName::new();
                params.custom_extensions = vec![san];
            }
        };
        assert_eq!(read(san(false)), Err(LeafError::SanNotCritical));
        assert_eq!(read(san(true)).unwrap().id.to_string(), CART);
    }

    #[test]
    fn an_authority_is_no_workload() {
        let ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert_eq!(read(ca), Err(LeafError::Authority));
    }

    #[test]
    fn key_usage() {
        let usages = |usages: &[KeyUsagePurpose]| read(|params| params.key_usages = usages.to_vec());
        assert_eq!(usages(&[]), Err(LeafError::KeyUsage));
        assert_eq!(usages(&[KeyUsagePurpose::KeyAgreement]), Err(LeafError::KeyUsage));
        let signs = [KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        assert_eq!(usages(&signs), Err(LeafError::SigningUsage));
        let revokes = [KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        assert_eq!(usages(&revokes), Err(LeafError::SigningUsage));
        // Key usage, digital signature, but not critical.
        let loose = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![0x03, 0x02, 0x07, 0x80]);
        let loose = read(|params| {
            params.key_usages.clear();
            params.custom_extensions = vec![loose];
        });
        assert_eq!(loose, Err(LeafError::KeyUsage));
    }

    #[test]
    fn extended_key_usage() {
        for one in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
            let only = read(|params| params.extended_key_usages = vec![one]);
            assert_eq!(only, Err(LeafError::ExtendedUsage));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        assert_eq!(read(|params| params.custom_extensions = vec![unknown]), Err(LeafError::Malformed));
        let mut der = Ca::new().issue(CART).certificate.der().to_vec();
        der.push(0);
        assert_eq!(Leaf::read(&CertificateDer::from(der)), Err(LeafError::Malformed));
        assert_eq!(Leaf::read(&CertificateDer::from(vec![0x30, 0x82])), Err(LeafError::Malformed));
    }
}
