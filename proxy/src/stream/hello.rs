//! What a connection begins with, looked at and not taken.

use std::io;

use rustix::net::{RecvFlags, recv};
use rustls::server::Acceptor;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::ALPN;

/// How much is looked at. A TLS greeting with a post-quantum key share and every extension is less than half of it.
const LOOK_BYTES: usize = 8 * 1024;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Whether a sidecar greets us: TLS that offers [`ALPN`]. An application's own TLS does not, nor do other protocols. Waits
/// until there is enough to tell, so the caller sets a limit.
pub(crate) async fn is_of_sidecar(stream: &TcpStream) -> io::Result<bool> {
    look(stream, |bytes| match bytes.first() {
        Some(&TLS_HANDSHAKE) => offers_stream(bytes),
        // Nothing at all: it has ended, and it is not TLS.
        Some(_) | None => Some(false),
    })
    .await
}

/// Whether a TLS greeting offers [`ALPN`]; none while it is not whole.
fn offers_stream(bytes: &[u8]) -> Option<bool> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        match acceptor.read_tls(&mut rest) {
            Ok(read) if read > 0 => {}
            Ok(_) | Err(_) => return Some(false),
        }
    }
    match acceptor.accept() {
        Ok(Some(accepted)) => {
            let hello = accepted.client_hello();
            Some(hello.alpn().is_some_and(|mut offers| offers.any(|offer| offer == ALPN)))
        }
        Ok(None) => None,
        Err(_) => Some(false),
    }
}

/// Waits until `judge` can say something of the first bytes. More than [`LOOK_BYTES`] without a word means that it is not
/// what is looked for, which is [`io::ErrorKind::InvalidData`].
async fn look<T>(stream: &TcpStream, judge: impl Fn(&[u8]) -> Option<T>) -> io::Result<T> {
    stream
        .async_io(Interest::READABLE, || {
            let mut buffer = [0; LOOK_BYTES];
            let (count, _) = recv(stream, &mut buffer, RecvFlags::PEEK)?;
            match judge(buffer.get(..count).unwrap_or_default()) {
                Some(judged) => Ok(judged),
                None if count == LOOK_BYTES => Err(io::ErrorKind::InvalidData.into()),
                // Until more comes: what is there does not wake us again.
                None => Err(io::ErrorKind::WouldBlock.into()),
            }
        })
        .await
}
