//! What is outside the mesh: an authority of the web and its certificates, `curl`, and servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority that browsers, or servers, believe.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and key in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name = called("an authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, for servers and clients.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        // Another name than the authority's: OpenSSL takes a certificate with its issuer's name for self-signed.
        params.distinguished_name = called("somebody");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }
}

fn called(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

impl Pair {
    /// Puts it where a proxy finds the certificate of that name, as one change.
    pub(crate) fn put(&self, certificates: &Path, name: &str) {
        let place = certificates.join(name);
        let new = place.with_extension("new");
        std::fs::create_dir_all(&new).unwrap();
        self.write(&new);
        let _ = std::fs::remove_dir_all(&place);
        std::fs::rename(new, place).unwrap();
    }

    /// Writes `tls.crt` and `tls.key` into a directory.
    pub(crate) fn write(&self, directory: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        std::fs::write(&certificate, self.certificate.pem()).unwrap();
        std::fs::write(&key, self.key.serialize_pem()).unwrap();
        (certificate, key)
    }
}

/// What `curl` got.
#[derive(Debug)]
pub(crate) struct Curled {
    /// Its exit status; zero if there was an answer.
    pub(crate) exit: i32,
    pub(crate) status: u16,
    /// `1.1` or `2`.
    pub(crate) version: String,
    /// Head and body.
    pub(crate) text: String,
}

impl Curled {
    /// The JSON of the body.
    pub(crate) fn json(&self) -> serde_json::Value {
        let body = self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A field of the head; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let found =
            head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// Asks with `curl`, every name being on loopback.
pub(crate) fn curl(url: &str, arguments: &[&str]) -> Curled {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--include",
        "--max-time",
        "30",
        "--noproxy",
        "*",
        "--path-as-is",
    ]);
    command.args(["--connect-to", "::127.0.0.1:", "--write-out", "\n%{http_code} %{http_version}"]);
    let output = command.args(arguments).arg(url).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, last) = out.rsplit_once('\n').unwrap_or(("", ""));
    let (status, version) = last.split_once(' ').unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    Curled {
        exit: output.status.code().unwrap_or(-1),
        status: status.parse().unwrap_or(0),
        version: version.to_owned(),
        text: format!("{text}{errors}"),
    }
}

/// A server in clear text that keeps the first line of each connection, and answers each request with its head.
pub(crate) fn raw_server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                reader.read_line(&mut line)?;
                log.lock().unwrap().push(line);
                answer_heads(&mut reader, "raw")
            });
        }
    });
    (address, seen)
}

/// A server with TLS that answers each request with the server name that it was asked for, and the head.
pub(crate) fn tls_server(pair: &Pair) -> SocketAddr {
    let chain = vec![CertificateDer::from(pair.certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(pair.key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || {
                let mut stream = rustls::StreamOwned::new(session, stream);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                let name = stream.conn.server_name().unwrap_or("none").to_owned();
                answer_heads(&mut BufReader::new(stream), &name)
            });
        }
    });
    address
}

/// Answers each request with a first word and its head, until the other side closes.
fn answer_heads<S: Read + Write>(stream: &mut BufReader<S>, first: &str) -> std::io::Result<()> {
    let mut head = String::new();
    while stream.read_line(&mut head)? > 0 {
        if head.ends_with("\r\n\r\n") {
            let text = format!("{first}\n{head}");
            let length = text.len();
            write!(stream.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}")?;
            stream.get_mut().flush()?;
            head.clear();
        }
    }
    Ok(())
}
