//! The certificates that an endpoint proved itself with, kept as long as a stream lives: trust may end before it does.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::wire::Io;
use crate::identity::deny::DenyStore;
use crate::identity::leaf::Leaf;
use crate::identity::trust::Trust;

/// See the module.
#[derive(Debug)]
pub(crate) struct Proof {
    chain: Vec<CertificateDer<'static>>,
    /// Seconds since the epoch.
    not_after: i64,
}

impl Proof {
    /// Of a workload; none in clear text, and of servers outside the mesh, whose names are no identities.
    pub(crate) fn of(io: &Io) -> Option<Self> {
        let Io::Tls(stream) = io else { return None };
        let chain = stream.get_ref().1.peer_certificates()?;
        let chain: Vec<_> = chain.iter().map(|der| der.clone().into_owned()).collect();
        let Leaf { not_after, .. } = Leaf::read(chain.first()?).ok()?;
        Some(Self { chain, not_after })
    }

    /// Whether it still leads to an anchor of its trust domain, and nobody denies it.
    pub(crate) fn is_trusted(&self, trust: &Trust, deny: &DenyStore) -> bool {
        self.chain.split_first().is_some_and(|(leaf, intermediates)| {
            trust.verify_server(deny, leaf, intermediates, UnixTime::now()).is_ok()
        })
    }

    /// How long it is still good.
    pub(crate) fn lasts(&self) -> Duration {
        let end = u64::try_from(self.not_after).unwrap_or(0);
        Duration::from_secs(end.saturating_sub(UnixTime::now().as_secs()))
    }
}
