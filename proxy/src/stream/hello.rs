//! What a connection begins with, looked at and not taken.

use std::io;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use rustls::server::Acceptor;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::ALPN;

/// How long a caller that may be waiting to be spoken to may say nothing.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(1);

/// How long a greeting may take that is known to come.
pub(crate) const GREETING_LIMIT: Duration = Duration::from_secs(10);

/// How much is looked at. A TLS greeting with a post-quantum key share and every extension is less than half of it.
const LOOK_BYTES: usize = 8 * 1024;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// A TLS greeting, which perhaps says the name of the server that it wants, in lower case.
    Tls(Option<String>),
    /// Something else, or nothing.
    Other,
}

/// Whether a sidecar greets us: TLS that offers [`ALPN`]. An application's own TLS does not, nor do other protocols. Waits
/// until there is enough to tell, so the caller sets a limit.
pub(crate) async fn is_of_sidecar(stream: &TcpStream) -> io::Result<bool> {
    let offers = |greeting: rustls::server::ClientHello<'_>| {
        greeting.alpn().is_some_and(|mut offers| offers.any(|offer| offer == ALPN))
    };
    Ok(look(&[], stream, offers).await?.unwrap_or(false))
}

/// What a connection begins with, of which some bytes were perhaps read already. Waits as [`is_of_sidecar`].
pub(crate) async fn read(read: &[u8], stream: &TcpStream) -> io::Result<Hello> {
    let name =
        |greeting: rustls::server::ClientHello<'_>| greeting.server_name().map(str::to_ascii_lowercase);
    Ok(look(read, stream, name).await?.map_or(Hello::Other, Hello::Tls))
}

/// What `judge` says of the TLS greeting; none if there is something else.
async fn look<T>(
    read: &[u8],
    stream: &TcpStream,
    judge: impl Fn(rustls::server::ClientHello<'_>) -> T,
) -> io::Result<Option<T>> {
    // What was read already may be enough, and then nothing more may come.
    if let Some(judged) = greeting(read, &judge).filter(|_| !read.is_empty()) {
        return Ok(judged);
    }
    stream
        .async_io(Interest::READABLE, || {
            let mut buffer = [0; LOOK_BYTES];
            let (count, _) = recv(stream, &mut buffer, RecvFlags::PEEK)?;
            let more = buffer.get(..count).unwrap_or_default();
            let judged = if read.is_empty() {
                greeting(more, &judge)
            } else {
                greeting(&[read, more].concat(), &judge)
            };
            match judged {
                Some(judged) => Ok(judged),
                None if count == LOOK_BYTES || count == 0 => Ok(None),
                // Until more comes: what is there does not wake us again.
                None => Err(io::ErrorKind::WouldBlock.into()),
            }
        })
        .await
}

/// What `judge` says of a TLS greeting; none of its two if it is not whole yet, or if it is something else.
fn greeting<T>(bytes: &[u8], judge: &impl Fn(rustls::server::ClientHello<'_>) -> T) -> Option<Option<T>> {
    if bytes.first() != Some(&TLS_HANDSHAKE) {
        return Some(None);
    }
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        match acceptor.read_tls(&mut rest) {
            Ok(read) if read > 0 => {}
            Ok(_) | Err(_) => return Some(None),
        }
    }
    match acceptor.accept() {
        Ok(Some(accepted)) => Some(Some(judge(accepted.client_hello()))),
        Ok(None) => None,
        Err(_) => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn greeting_for(name: &str) -> Vec<u8> {
        let config = rustls::ClientConfig::builder_with_provider(crate::identity::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn name_in(bytes: &[u8]) -> Option<Option<Option<String>>> {
        greeting(bytes, &|hello| hello.server_name().map(str::to_owned))
    }

    #[test]
    fn the_server_name_is_read_once_it_is_all_there() {
        let bytes = greeting_for("db.example");
        assert_eq!(name_in(&bytes), Some(Some(Some("db.example".to_owned()))));
        assert_eq!(name_in(&greeting_for("10.0.0.1")), Some(Some(None)), "addresses are not named");
        for end in 1..bytes.len() {
            assert_eq!(name_in(&bytes[..end]), None, "{end} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn what_is_no_greeting_is_something_else() {
        for bytes in [&b""[..], b"GET / HTTP/1.1", b"\x16\x03\x01\xff\xff\x00", &[0x16; 600]] {
            assert_eq!(name_in(bytes), Some(None), "{bytes:?}");
        }
    }
}
