//! Peers that are refused although their certificates are good: the denylist of the release, compiled.
//!
//! An entry means a public key, an identity, or one certificate, until the last certificate it could mean has expired. It
//! holds for handshakes both ways, and for connections that are open when it comes.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use rustls_pki_types::{CertificateDer, UnixTime};
use weft_bundle::release::Digest;
use weft_bundle::release::payload::{Denied, Denylist};
use weft_bundle::spiffe::SpiffeId;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whom no handshake admits, each with the second since the epoch at which the entry ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DenySet {
    version: u64,
    identities: HashMap<SpiffeId, u64>,
    /// SHA-256 of the SubjectPublicKeyInfo.
    keys: HashMap<Digest, u64>,
    /// The issuer's name in DER, and the serial in lower-case hex without leading zeros.
    certificates: HashMap<(Vec<u8>, String), u64>,
}

impl DenySet {
    pub(crate) fn new(denylist: &Denylist) -> Self {
        let mut set = Self { version: denylist.version, ..Self::default() };
        for entry in &denylist.entries {
            let until = entry.until.unix();
            match &entry.subject {
                Denied::Identity(id) => drop(set.identities.insert(id.clone(), until)),
                Denied::Key(key) => drop(set.keys.insert(*key, until)),
                Denied::Certificate { issuer, serial } => {
                    set.certificates.insert((issuer.clone(), serial.clone()), until);
                }
            }
        }
        set
    }

    /// The version of the denylist; zero before there was one.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether a peer with this certificate, which names this identity, is refused.
    pub(crate) fn denies(&self, certificate: &CertificateDer<'_>, id: &SpiffeId, now: UnixTime) -> bool {
        let holds = |until: Option<&u64>| until.is_some_and(|until| now.as_secs() < *until);
        if holds(self.identities.get(id)) {
            return true;
        }
        if self.keys.is_empty() && self.certificates.is_empty() {
            return false;
        }
        // A certificate that cannot be read is refused elsewhere; here it counts as denied.
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return true };
        let key = Digest::of(parsed.tbs_certificate.subject_pki.raw);
        let serial = HEXLOWER.encode(parsed.tbs_certificate.raw_serial());
        let one = (parsed.issuer().as_raw().to_vec(), serial.trim_start_matches('0').to_owned());
        holds(self.keys.get(&key)) || holds(self.certificates.get(&one))
    }
}

#[cfg(test)]
mod tests {
    use weft_bundle::release::UtcTime;
    use weft_bundle::release::payload::DenylistEntry;

    use super::*;
    use crate::testing::Ca;

    const ID: &str = "spiffe://td.example/ns/shop/sa/cart";

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    }

    fn set(subject: Denied) -> DenySet {
        let entry = DenylistEntry { subject, until: UtcTime::from_unix(1000) };
        DenySet::new(&Denylist { mesh: "m".parse().unwrap(), version: 3, entries: vec![entry] })
    }

    #[test]
    fn each_kind_of_entry_means_its_peer_until_it_ends() {
        let ca = Ca::new();
        let (cart, other) = (ca.issue(ID), ca.issue(ID));
        let (cart, other) = (cart.certificate.der(), other.certificate.der());
        let id: SpiffeId = ID.parse().unwrap();
        let (_, parsed) = X509Certificate::from_der(cart).unwrap();
        let key = weft_bundle::release::Digest::of(parsed.tbs_certificate.subject_pki.raw);
        let serial = HEXLOWER.encode(parsed.tbs_certificate.raw_serial()).trim_start_matches('0').to_owned();
        let issuer = parsed.issuer().as_raw().to_vec();

        let by_identity = set(Denied::Identity(id.clone()));
        assert!(by_identity.denies(cart, &id, at(999)) && by_identity.denies(other, &id, at(999)));
        assert!(!by_identity.denies(cart, &id, at(1000)), "the entry has ended");
        for one in [set(Denied::Key(key)), set(Denied::Certificate { issuer, serial })] {
            assert!(one.denies(cart, &id, at(999)));
            assert!(!one.denies(other, &id, at(999)), "another certificate of the same identity");
        }
        assert!(!DenySet::default().denies(cart, &id, at(0)));
    }
}
