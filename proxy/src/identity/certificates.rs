//! Certificates that policy names, for callers and servers outside the mesh: `namespace/name` in a bundle is
//! `DIR/namespace/name/tls.crt` and `tls.key` on this machine, as Kubernetes mounts a Secret. Keys never travel in bundles.
//!
//! A pair is read when policy first names it and whenever its files change, in the manner of [`super::files`]. One that is
//! not there, or wrong, is reported and counted; an older one stays in use, and without one handshakes that need it fail.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::files::{BACKSTOP, FilesError, IdentityFiles};
use super::{IdentityError, read_pair};
use crate::source::watch::{DirectoryWatch, Wake};
use crate::telemetry::Metrics;

/// A certificate and key for names of the web.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// DNS names in lower case; the first label may be `*`.
    names: Vec<String>,
    not_after: i64,
}

impl Certificate {
    pub(crate) fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let key = read_pair(certificates, key)?;
        let malformed = || IdentityError::Certificate("the first is not one DER certificate".to_owned());
        let first = key.end_entity_cert().map_err(|_| malformed())?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|_| malformed())?;
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let validity = parsed.validity();
        if !(validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now) {
            return Err(IdentityError::NotValidNow);
        }
        let extension = parsed.subject_alternative_name().map_err(|_| malformed())?;
        let general = extension.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
        let dns = general.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let (names, not_after) = (dns.collect(), validity.not_after.timestamp());
        Ok(Self { names, not_after, key: Arc::new(key) })
    }

    /// How well it fits a server name: 2 if it has the name, 1 if a `*` stands for its first label, else 0.
    fn fits(&self, name: &str) -> u8 {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let wild = |known: &String| parent.is_some() && known.strip_prefix("*.") == parent;
        match self.names.iter().any(|known| known == name) {
            true => 2,
            false => u8::from(self.names.iter().any(wild)),
        }
    }
}

/// The place of one certificate that policy names.
#[derive(Debug)]
pub(crate) struct Slot {
    name: String,
    current: ArcSwapOption<Certificate>,
    /// What was in the files when they were last looked at.
    seen: Mutex<Vec<u8>>,
}

impl Slot {
    /// What policy calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The pair in use.
    pub(crate) fn current(&self) -> Option<Arc<Certificate>> {
        self.current.load_full()
    }
}

impl rustls::client::ResolvesClientCert for Slot {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current()?.key))
    }

    fn has_certs(&self) -> bool {
        self.current.load().is_some()
    }
}

/// The certificates of one listener.
#[derive(Debug)]
pub(super) struct Presented(pub(super) Vec<Arc<Slot>>);

impl ResolvesServerCert for Presented {
    /// Of those with a key that the client can verify, the one that fits the server name best; the first among equals.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default().to_ascii_lowercase();
        let there = self.0.iter().filter_map(|slot| slot.current());
        let usable = there.filter(|one| one.key.key.choose_scheme(hello.signature_schemes()).is_some());
        let best = usable.min_by_key(|one| std::cmp::Reverse(one.fits(&name)))?;
        Some(Arc::clone(&best.key))
    }
}

/// Where certificates come from.
#[derive(Debug)]
enum Place {
    /// Nowhere, and nobody is told: only the policy is looked at.
    Unread,
    /// Nowhere: none was configured.
    Unknown,
    Directory(PathBuf),
}

/// Every certificate that policy names now.
#[derive(Debug)]
pub(crate) struct Certificates {
    place: Place,
    metrics: Arc<Metrics>,
    /// Those that are gone are dropped when the files are looked at.
    slots: Mutex<BTreeMap<String, Weak<Slot>>>,
    /// Wakes the thread that looks.
    waker: OnceLock<Sender<Wake>>,
}

/// Why a certificate was not taken.
#[derive(Debug)]
enum Fault {
    Name,
    Unknown,
    Files(FilesError),
    Pair(IdentityError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("its name is not `namespace/name`"),
            Self::Unknown => f.write_str("no directory of certificates is configured (--certificates)"),
            Self::Files(error) => error.fmt(f),
            Self::Pair(error) => error.fmt(f),
        }
    }
}

impl Certificates {
    /// None yet, from a directory.
    pub(crate) fn new(directory: Option<PathBuf>, metrics: Arc<Metrics>) -> Self {
        Self::at(directory.map_or(Place::Unknown, Place::Directory), metrics)
    }

    /// Reads nothing.
    pub(crate) fn unread(metrics: Arc<Metrics>) -> Self {
        Self::at(Place::Unread, metrics)
    }

    fn at(place: Place, metrics: Arc<Metrics>) -> Self {
        Self { place, metrics, slots: Mutex::default(), waker: OnceLock::new() }
    }

    /// The place of a certificate, which is read now if it was not named before.
    pub(crate) fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(name).and_then(Weak::upgrade) {
            return slot;
        }
        let slot =
            Arc::new(Slot { name: name.to_owned(), current: ArcSwapOption::empty(), seen: Mutex::default() });
        slots.insert(name.to_owned(), Arc::downgrade(&slot));
        drop(slots);
        self.look(&slot);
        if let Some(waker) = self.waker.get() {
            // Gone only when the proxy is.
            let _ = waker.send(Wake::Look);
        }
        slot
    }

    /// Starts a thread that keeps certificates up to date for as long as they are used.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let Place::Directory(root) = &self.place else { return Ok(()) };
        let (root, store) = (root.clone(), Arc::downgrade(self));
        let mut watch = DirectoryWatch::new();
        let _ = self.waker.set(watch.waker());
        let run = move || {
            loop {
                let Some(now) = store.upgrade() else { return };
                let slots = now.live();
                let files = slots.iter().filter_map(|slot| now.files(&slot.name).ok());
                let directories = files.flat_map(|files| files.directories()).chain([root.clone()]);
                watch.arm(&directories.collect::<Vec<_>>());
                slots.iter().for_each(|slot| now.look(slot));
                drop((now, slots));
                if watch.wait(BACKSTOP) == Wake::Stop {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("certificates".to_owned()).spawn(run)?;
        Ok(())
    }

    /// Those that policy still names.
    fn live(&self) -> Vec<Arc<Slot>> {
        let mut live = Vec::new();
        self.slots().retain(|name, slot| match slot.upgrade() {
            Some(slot) => {
                live.push(slot);
                true
            }
            None => {
                self.metrics.control.certificate_gone(name);
                false
            }
        });
        live
    }

    /// Reads a certificate's files if they are not what they were.
    fn look(&self, slot: &Slot) {
        if matches!(self.place, Place::Unread) {
            return;
        }
        let files = self.files(&slot.name);
        let fingerprint =
            files.as_ref().map_or_else(|fault| fault.to_string().into_bytes(), IdentityFiles::fingerprint);
        {
            let mut seen = slot.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == fingerprint {
                return;
            }
            *seen = fingerprint;
        }
        let name = &slot.name;
        match files.and_then(|files| load(&files)) {
            Ok(certificate) => {
                tracing::info!(certificate = name, names = ?certificate.names, "a certificate is in use");
                self.metrics.control.certificate_expires(name, certificate.not_after);
                slot.current.store(Some(Arc::new(certificate)));
            }
            Err(fault) => {
                self.metrics.control.certificate_rejected();
                let meanwhile = match slot.current() {
                    Some(_) => "the old one stays in use",
                    None => "handshakes that need it fail",
                };
                tracing::error!(certificate = name, error = %fault, "a certificate was not taken; {meanwhile}");
            }
        }
    }

    fn files(&self, name: &str) -> Result<IdentityFiles, Fault> {
        let Place::Directory(root) = &self.place else { return Err(Fault::Unknown) };
        let (namespace, last) = name.split_once('/').ok_or(Fault::Name)?;
        // Nothing in a name may lead out of the directory.
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !plain(namespace) || !plain(last) {
            return Err(Fault::Name);
        }
        let directory = root.join(namespace).join(last);
        Ok(IdentityFiles { certificates: directory.join("tls.crt"), key: directory.join("tls.key") })
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(files: &IdentityFiles) -> Result<Certificate, Fault> {
    let (certificates, key) = files.read().map_err(Fault::Files)?;
    Certificate::from_pem(&certificates, &key).map_err(Fault::Pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ca, web_params};

    fn certificate(names: &[&str]) -> Certificate {
        let issued = Ca::new().sign(web_params(names));
        Certificate::from_pem(issued.certificate.pem().as_bytes(), issued.key.serialize_pem().as_bytes())
            .unwrap()
    }

    #[test]
    fn a_star_stands_for_one_label_and_the_name_itself_is_better() {
        let both = certificate(&["*.shop.example", "a.shop.example"]);
        assert_eq!(both.fits("a.shop.example"), 2);
        assert_eq!(both.fits("b.shop.example"), 1);
        for other in ["shop.example", "a.b.shop.example", "", "example", ".shop.example.evil"] {
            assert_eq!(both.fits(other), 0, "{other}");
        }
    }

    #[test]
    fn names_stay_in_their_directory() {
        let store = Certificates::new(Some("/certificates".into()), Arc::new(Metrics::new()));
        let files = store.files("edge/shop.example").unwrap();
        assert_eq!(files.key.to_str(), Some("/certificates/edge/shop.example/tls.key"));
        for name in
            ["shop", "../shop", "edge/..", "edge/a/b", "/shop", "edge/", "edge/a\0", "edge/a b", "./a"]
        {
            assert!(matches!(store.files(name), Err(Fault::Name)), "{name:?}");
        }
        let nowhere = Certificates::new(None, Arc::new(Metrics::new()));
        assert!(matches!(nowhere.files("edge/shop"), Err(Fault::Unknown)));
    }

    #[test]
    fn what_cannot_be_presented_is_not_taken() {
        let ca = Ca::new();
        let (one, other) = (ca.sign(web_params(&["a"])), ca.sign(web_params(&["a"])));
        let take =
            |certificate: &str, key: &str| Certificate::from_pem(certificate.as_bytes(), key.as_bytes());
        let mixed = take(&one.certificate.pem(), &other.key.serialize_pem());
        assert!(matches!(mixed, Err(IdentityError::Mismatch)), "{mixed:?}");
        let mut old = web_params(&["a"]);
        (old.not_before, old.not_after) =
            (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
        let old = ca.sign(old);
        let expired = take(&old.certificate.pem(), &old.key.serialize_pem());
        assert!(matches!(expired, Err(IdentityError::NotValidNow)), "{expired:?}");
        assert!(matches!(take("", ""), Err(IdentityError::Certificate(_))));
    }
}
