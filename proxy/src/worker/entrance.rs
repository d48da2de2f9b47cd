//! The way in for callers outside the mesh: the server name chooses the listener before anything is proved, and the
//! listener says which certificate is presented, which versions are spoken, and what is asked of the caller.

use std::net::SocketAddr;

use rustls::server::Acceptor;
use rustls_pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Plane;
use super::connection::Proven;
use crate::cluster::connect::chain;
use crate::identity::leaf::Leaf;
use crate::telemetry::metrics::Refusal;

/// A fatal alert, `unrecognized_name` (RFC 6066 section 3), in a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 112];

/// How a caller came in over TLS.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// The name of the listener that its server name chose.
    pub(crate) listener: String,
    /// In lower case.
    pub(crate) server_name: Option<String>,
}

/// What came in.
pub(super) enum Entered {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>, Entrance, Option<Proven>),
}

/// Ends the handshake of a caller at a port of listeners, if they take TLS.
pub(super) async fn enter(
    plane: &Plane,
    port: u16,
    stream: TcpStream,
    client: SocketAddr,
) -> Result<Entered, Refusal> {
    match plane.speaks(port) {
        None => return Err(Refusal::NoPolicy),
        Some(Speaks::Clear) => return Ok(Entered::Clear(stream)),
        Some(Speaks::Tls) => {}
    }
    let failed = |error: std::io::Error| {
        tracing::info!(%client, port, error = %chain(&error), "a TLS handshake failed");
        Refusal::Handshake
    };
    let mut hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(failed)?;
    let server_name = hello.client_hello().server_name().map(str::to_ascii_lowercase);
    let listener = plane.snapshot.engine.listener(port, server_name.as_deref());
    let found = listener.and_then(|listener| Some((listener, plane.listener(&listener.get().name)?)));
    let Some((listener, tls)) = found else {
        tracing::info!(%client, port, server_name, "no listener takes this server name");
        // It closes anyway: a caller that does not read the alert knows no less.
        let _ = hello.io.write_all(&UNRECOGNIZED_NAME).await;
        let _ = hello.io.shutdown().await;
        return Err(Refusal::ServerName);
    };
    let stream = hello.into_stream(std::sync::Arc::clone(&tls.config)).await.map_err(failed)?;
    let presented = stream.get_ref().1.peer_certificates();
    let peer = presented.map(|chain| prove(chain, tls.proves_identities())).transpose()?;
    let entrance = Entrance { listener: listener.get().name.clone(), server_name };
    Ok(Entered::Tls(Box::new(stream), entrance, peer))
}

/// What a port of listeners speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Clear,
    Tls,
}

/// Whom certificates that were verified mean.
fn prove(chain: &[CertificateDer<'_>], is_peer: bool) -> Result<Proven, Refusal> {
    let chain: Vec<CertificateDer<'static>> = chain.iter().map(|der| der.clone().into_owned()).collect();
    let first = chain.first().ok_or(Refusal::Handshake)?;
    let (id, not_after) = if is_peer {
        let leaf = Leaf::read(first).map_err(|_| Refusal::Handshake)?;
        (Some(leaf.id), leaf.not_after)
    } else {
        let (_, parsed) = X509Certificate::from_der(first).map_err(|_| Refusal::Handshake)?;
        (None, parsed.validity().not_after.timestamp())
    };
    Ok(Proven::new(id, chain, not_after))
}
