//! Ports: where they listen, and what happens to those who connect.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use weft_bundle::body::Body;

use super::{Worker, connection};
use crate::snapshot::ApplyError;
use crate::telemetry::Direction;

/// How many connections may wait to be accepted, per worker.
const BACKLOG: i32 = 1024;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// Our application calls other services.
    Outbound,
    /// The same by the local port of this number in the options.
    LocalPort(u16),
    /// Peers call the port of this number in the bundle.
    Inbound(u16),
    /// Callers outside the mesh call the port of this number, which listeners of the bundle share.
    Listener(u16),
}

impl Key {
    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::Outbound | Self::LocalPort(_) => Direction::Outbound,
            Self::Inbound(_) | Self::Listener(_) => Direction::Inbound,
        }
    }
}

/// An address given on the command line in place of the bundle's, for the port of that name, or for the only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The port's name; none means the only port.
    pub name: Option<String>,
    /// The address.
    pub address: SocketAddr,
}

/// Why a text is not `[NAME=]IP:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideError(String);

impl fmt::Display for OverrideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an address such as `127.0.0.1:9080`, nor `NAME=127.0.0.1:9080`", self.0)
    }
}

impl std::error::Error for OverrideError {}

impl FromStr for Override {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) if !name.is_empty() => (Some(name.to_owned()), address),
            Some(_) => return Err(OverrideError(text.to_owned())),
            None => (None, text),
        };
        let address = address.parse().map_err(|_| OverrideError(text.to_owned()))?;
        Ok(Self { name, address })
    }
}

/// An address given on the command line for the listeners of one port of a gateway, in place of that port on all
/// addresses. One for a port that the bundle does not have means nothing: it may be of a bundle to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerOverride {
    /// The port in the bundle.
    pub port: u16,
    /// The address.
    pub address: SocketAddr,
}

/// Why a text is not `PORT=IP:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOverrideError(String);

impl fmt::Display for ListenerOverrideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a listener's port and an address, such as `443=127.0.0.1:8443`", self.0)
    }
}

impl std::error::Error for ListenerOverrideError {}

impl FromStr for ListenerOverride {
    type Err = ListenerOverrideError;

    fn from_str(text: &str) -> Result<Self, ListenerOverrideError> {
        let parts = text.split_once('=').and_then(|(port, address)| {
            Some(Self { port: port.parse().ok()?, address: address.parse().ok()? })
        });
        parts.ok_or_else(|| ListenerOverrideError(text.to_owned()))
    }
}

/// The address that the command line gives for a port, if it does.
pub(super) fn find_override(
    overrides: &[Override],
    body: &Body,
    name: &str,
) -> Result<Option<SocketAddr>, ApplyError> {
    for given in overrides {
        match &given.name {
            Some(given) if !body.inbound.iter().any(|port| port.name == *given) => {
                let why = format!("the bundle has no inbound port `{given}`");
                return Err(ApplyError::Override(why));
            }
            None if body.inbound.len() > 1 => {
                let why = format!("there are several inbound ports: write `NAME={}`", given.address);
                return Err(ApplyError::Override(why));
            }
            Some(_) | None => {}
        }
    }
    let fits = |given: &&Override| given.name.as_deref().is_none_or(|given| given == name);
    Ok(overrides.iter().find(fits).map(|given| given.address))
}

/// Where the inbound ports and the listeners of a body listen: on all IPv4 addresses, unless the command line says
/// otherwise.
pub(super) fn wanted(
    body: &Body,
    overrides: &[Override],
    listeners: &[ListenerOverride],
) -> Result<BTreeMap<Key, SocketAddr>, ApplyError> {
    let mut wanted = BTreeMap::new();
    for port in &body.inbound {
        let given = find_override(overrides, body, &port.name)?;
        let address = given.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, port.port).into());
        wanted.insert(Key::Inbound(port.port), address);
    }
    for port in body.listeners.iter().map(|listener| listener.frontend.port) {
        let given = listeners.iter().find(|given| given.port == port).map(|given| given.address);
        let address = given.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, port).into());
        wanted.insert(Key::Listener(port), address);
    }
    Ok(wanted)
}

/// Whether an address is ours alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Nobody else may listen on it.
    Alone,
    /// We listen on it already, for a port that is about to go.
    WithOurselves,
}

/// One socket per worker on one address; the kernel spreads connections over them.
///
/// To find out whether we are alone, the address is first bound without `SO_REUSEPORT` for a moment: a port that another
/// process listens on is an error, and not shared with it unnoticed.
pub(super) fn bind(
    address: SocketAddr,
    count: usize,
    sharing: Sharing,
) -> io::Result<Vec<std::net::TcpListener>> {
    let address = match sharing {
        Sharing::Alone => reserve(address)?,
        Sharing::WithOurselves => address,
    };
    (0..count)
        .map(|_| {
            let socket = open(address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        })
        .collect()
}

/// Binds alone, and lets go.
fn reserve(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?;
    Ok(bound.as_socket().unwrap_or(address))
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Accepts until told to stop, then takes what is already waiting, so that nobody who got through is reset.
pub(super) async fn accept(
    worker: Rc<Worker>,
    key: Key,
    listener: TcpListener,
    mut stop: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => take(&worker, key, stream, client),
                // Out of descriptors, most likely: more would come at once.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    while let Some((stream, client)) = waiting(&listener).await {
        take(&worker, key, stream, client);
    }
}

async fn waiting(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    poll_fn(|cx| match listener.poll_accept(cx) {
        Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The connection's task belongs to the worker and ends with it at the latest.
fn take(worker: &Rc<Worker>, key: Key, stream: TcpStream, client: SocketAddr) {
    tokio::task::spawn_local(connection::serve(Rc::clone(worker), key, stream, client));
}
