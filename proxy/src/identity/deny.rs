//! Peers that are not believed although their certificates are good: the denylist of the release, in force at once.

use std::sync::Arc;

use super::trust::PeerError;
use arc_swap::ArcSwapOption;
use rustls_pki_types::{CertificateDer, UnixTime};
use weft_bundle::release::payload::Denied;
use weft_bundle::release::{Denylist, Digest};
use weft_bundle::spiffe::SpiffeId;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The denylist in force.
#[derive(Debug, Default)]
pub(crate) struct DenyStore(ArcSwapOption<Denylist>);

impl DenyStore {
    pub(crate) fn replace(&self, denylist: Denylist) {
        self.0.store(Some(Arc::new(denylist)));
    }

    /// The identity again, unless the denylist means its certificate.
    pub(super) fn check(
        &self,
        id: SpiffeId,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<SpiffeId, rustls::Error> {
        if self.denies(&id, certificate, now) { Err(PeerError::Denied(id).into()) } else { Ok(id) }
    }

    /// Whether the denylist means a certificate whose identity is known. One that cannot be read is denied.
    fn denies(&self, id: &SpiffeId, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let Some(denylist) = self.0.load_full() else {
            return false;
        };
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return true;
        };
        denylist.entries.iter().filter(|entry| entry.until.unix() > now.as_secs()).any(|entry| {
            match &entry.subject {
                Denied::Identity(denied) => denied == id,
                Denied::Key(denied) => Digest::of(parsed.public_key().raw) == *denied,
                Denied::Certificate { issuer, serial } => {
                    parsed.issuer().as_raw() == issuer.as_slice() && hex(parsed.raw_serial()) == *serial
                }
            }
        })
    }
}

/// Lower-case hex without leading zeros, as denylists write serial numbers.
fn hex(serial: &[u8]) -> String {
    let text = data_encoding::HEXLOWER.encode(serial);
    text.trim_start_matches('0').to_owned()
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

    fn set(subject: Denied) -> DenyStore {
        let entry = DenylistEntry { subject, until: UtcTime::from_unix(1000) };
        let store = DenyStore::default();
        store.replace(Denylist { mesh: "m".parse().unwrap(), version: 3, entries: vec![entry] });
        store
    }

    #[test]
    fn each_kind_of_entry_means_its_peer_until_it_ends() {
        let ca = Ca::new();
        let (cart, other) = (ca.issue(ID), ca.issue(ID));
        let (cart, other) = (cart.certificate.der(), other.certificate.der());
        let id: SpiffeId = ID.parse().unwrap();
        let (_, parsed) = X509Certificate::from_der(cart).unwrap();
        let key = weft_bundle::release::Digest::of(parsed.tbs_certificate.subject_pki.raw);
        let serial = hex(parsed.raw_serial());
        let issuer = parsed.issuer().as_raw().to_vec();

        let by_identity = set(Denied::Identity(id.clone()));
        assert!(by_identity.denies(&id, cart, at(999)) && by_identity.denies(&id, other, at(999)));
        assert!(!by_identity.denies(&id, cart, at(1000)), "the entry has ended");
        for one in [set(Denied::Key(key)), set(Denied::Certificate { issuer, serial })] {
            assert!(one.denies(&id, cart, at(999)));
            assert!(!one.denies(&id, other, at(999)), "another certificate of the same identity");
        }
        assert!(!DenyStore::default().denies(&id, cart, at(0)));
    }
}
