//! `weft ca`: an offline authority for workload certificates, for a start and for tests.
//!
//! Certificates are X.509-SVIDs (SPIFFE): P-256, exactly one URI name, digital signature only, both server and client
//! authentication. The authority has no name constraints: rustls-webpki refuses URI constraints altogether.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};
use weft_bundle::duration::DurationText;
use weft_bundle::spiffe::{SpiffeId, TrustDomain};

use super::{FINE, refuse, say};

/// Issues workload certificates from an authority kept in a directory
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft ca init --trust-domain prod.example --out ca
  weft ca issue shop/cart --ca ca --out identity/cart
  weft ca issue spiffe://prod.example/ns/shop/sa/cart --ca ca --out identity/cart --ttl 1h

`ca/root.pem` goes into the policy repository, as a trust anchor of the Mesh; `ca/key.pem` never does.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Makes an authority: its key and its certificate
    Init {
        /// The trust domain it speaks for, such as `prod.example`
        #[arg(long, value_name = "DOMAIN")]
        trust_domain: TrustDomain,
        /// Where to put `key.pem` and `root.pem`; nothing is overwritten
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How many days the authority is valid
        #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(i64).range(1..=36500))]
        days: i64,
    },
    /// Issues a certificate for a workload
    Issue {
        /// `namespace/name` of a service, or a whole SPIFFE id
        workload: String,
        /// The directory of the authority
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Where to put `cert.pem` and `key.pem`; a certificate that is there is replaced
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How long it is valid, such as `24h`
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        ttl: DurationText,
    },
}

/// How much earlier than now certificates begin, for clocks that are behind.
const SKEW: Duration = Duration::minutes(5);

/// Runs the subcommand.
pub fn run(args: Args) -> ExitCode {
    let now = OffsetDateTime::now_utc();
    let done = match args.command {
        Command::Init { trust_domain, out, days } => make_at(&out, &trust_domain, now, days).map(|()| {
            format!(
                "made an authority for `{trust_domain}` in {}; root.pem is its certificate",
                out.display()
            )
        }),
        Command::Issue { workload, ca, out, ttl } => issue(&workload, &ca, &out, ttl, now),
    };
    match done {
        Ok(message) => {
            say(message);
            FINE
        }
        Err(message) => refuse(message),
    }
}

/// Makes an authority of ten years in a new directory.
///
/// # Errors
/// What went wrong, in words.
pub fn make(out: &Path, trust_domain: &str) -> Result<(), String> {
    let trust_domain: TrustDomain =
        trust_domain.parse().map_err(|error| format!("`{trust_domain}`: {error}"))?;
    make_at(out, &trust_domain, OffsetDateTime::now_utc(), 3650)
}

fn make_at(out: &Path, trust_domain: &TrustDomain, now: OffsetDateTime, days: i64) -> Result<(), String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("Weft CA of {trust_domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // The id of a signing certificate has no path (X509-SVID section 2).
    params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))?];
    params.not_before = now - SKEW;
    params.not_after = now + Duration::days(days);
    let key = KeyPair::generate().map_err(|error| format!("cannot make a key: {error}"))?;
    let certificate =
        params.self_signed(&key).map_err(|error| format!("cannot make a certificate: {error}"))?;
    fs::create_dir_all(out).map_err(|error| failed(out, &error))?;
    let mode = Mode::New;
    put(&out.join("key.pem"), &key.serialize_pem(), 0o600, mode)?;
    put(&out.join("root.pem"), &certificate.pem(), 0o644, mode)
}

fn issue(
    workload: &str,
    ca: &Path,
    out: &Path,
    ttl: DurationText,
    now: OffsetDateTime,
) -> Result<String, String> {
    if ttl.is_zero() {
        return Err("a certificate that is valid for `0s` is valid never".to_owned());
    }
    let read = |name: &str| fs::read_to_string(ca.join(name)).map_err(|error| failed(&ca.join(name), &error));
    let (root, key) = (read("root.pem")?, read("key.pem")?);
    let id = identity(workload, &root)?;
    let key =
        KeyPair::from_pem(&key).map_err(|error| format!("`{}`: {error}", ca.join("key.pem").display()))?;
    let issuer = Issuer::from_ca_cert_pem(&root, key)
        .map_err(|error| format!("`{}`: {error}", ca.join("root.pem").display()))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&id.to_string().chars().take(64).collect::<String>());
    params.subject_alt_names = vec![uri(&id.to_string())?];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - SKEW;
    let life = Duration::try_from(ttl.get()).map_err(|_| "the life is too long".to_owned())?;
    params.not_after = now.checked_add(life).ok_or("the life is too long")?;
    let own = KeyPair::generate().map_err(|error| format!("cannot make a key: {error}"))?;
    let certificate =
        params.signed_by(&own, &issuer).map_err(|error| format!("cannot make a certificate: {error}"))?;
    fs::create_dir_all(out).map_err(|error| failed(out, &error))?;
    // The key first: a proxy that sees the old certificate with the new key keeps its old pair until both are there.
    put(&out.join("key.pem"), &own.serialize_pem(), 0o600, Mode::Replace)?;
    put(&out.join("cert.pem"), &certificate.pem(), 0o644, Mode::Replace)?;
    Ok(format!("issued `{id}` for {ttl} in {}", out.display()))
}

/// A whole id, or a service's id in the authority's own trust domain.
fn identity(workload: &str, root: &str) -> Result<SpiffeId, String> {
    let domain = trust_domain_of(root)?;
    if workload.starts_with("spiffe:") {
        let id: SpiffeId = workload.parse().map_err(|error| format!("`{workload}`: {error}"))?;
        return match *id.trust_domain() == domain {
            true => Ok(id),
            false => {
                Err(format!("`{id}` is not of the trust domain `{domain}` that this authority speaks for"))
            }
        };
    }
    let wrong = || format!("`{workload}` is neither `namespace/name` nor a SPIFFE id");
    let (namespace, name) = workload.split_once('/').ok_or_else(wrong)?;
    SpiffeId::for_service_account(&domain, namespace, name).map_err(|_| wrong())
}

fn trust_domain_of(root: &str) -> Result<TrustDomain, String> {
    let wrong =
        || "the authority's certificate names no trust domain; `weft ca init` makes one that does".to_owned();
    let (_, pem) = x509_parser::pem::parse_x509_pem(root.as_bytes()).map_err(|_| wrong())?;
    let certificate = pem.parse_x509().map_err(|_| wrong())?;
    let names = certificate.subject_alternative_name().ok().flatten().ok_or_else(wrong)?;
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        x509_parser::extensions::GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
        _ => None,
    });
    uris.filter_map(|domain| domain.parse().ok()).next().ok_or_else(wrong)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn uri(text: &str) -> Result<SanType, String> {
    text.try_into().map(SanType::URI).map_err(|_| format!("`{text}` cannot stand in a certificate"))
}

/// Whether a file may be there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    New,
    Replace,
}

/// Writes a file with these permissions from its first byte on; a replacement is whole or not there.
fn put(path: &Path, text: &str, permissions: u32, mode: Mode) -> Result<(), String> {
    let target = match mode {
        Mode::New => path.to_path_buf(),
        Mode::Replace => path.with_extension("new"),
    };
    if mode == Mode::Replace {
        drop(fs::remove_file(&target));
    }
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(permissions).open(&target)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if target == path { Ok(()) } else { fs::rename(&target, path) }
    };
    write().map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("`{}`: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issued_certificate_is_a_svid() {
        let scratch = tempfile::tempdir().unwrap();
        let (ca, out) = (scratch.path().join("ca"), scratch.path().join("id"));
        make(&ca, "td.example").unwrap();
        let ttl = "1h".parse().unwrap();
        issue("shop/cart", &ca, &out, ttl, OffsetDateTime::now_utc()).unwrap();
        let text = fs::read(out.join("cert.pem")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&text).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        let names: Vec<String> = names.value.general_names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["URI(spiffe://td.example/ns/shop/sa/cart)"]);
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
        assert!(!certificate.is_ca());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(out.join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
        issue("shop/cart", &ca, &out, ttl, OffsetDateTime::now_utc()).expect("a certificate is replaced");
    }

    #[test]
    fn an_authority_is_never_overwritten() {
        let scratch = tempfile::tempdir().unwrap();
        make(scratch.path(), "td.example").unwrap();
        let before = fs::read(scratch.path().join("key.pem")).unwrap();
        assert!(make(scratch.path(), "td.example").is_err());
        assert_eq!(fs::read(scratch.path().join("key.pem")).unwrap(), before);
    }

    #[test]
    fn ids_of_another_trust_domain_are_not_issued() {
        let scratch = tempfile::tempdir().unwrap();
        make(scratch.path(), "td.example").unwrap();
        let ttl = "1h".parse().unwrap();
        for workload in ["spiffe://other.example/ns/a/sa/b", "cart", "a/b/c", "spiffe://td.example"] {
            let refused = issue(workload, scratch.path(), scratch.path(), ttl, OffsetDateTime::now_utc());
            assert!(refused.is_err(), "{workload}");
        }
    }
}
