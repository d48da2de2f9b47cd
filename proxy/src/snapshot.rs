//! One generation of policy, built whole before anything of it is used.
//!
//! [`Snapshot::build`] takes bytes that were verified and gives decisions and trust anchors, or says why not. It touches no
//! socket: [`crate::worker::DataPlane::apply`] adds what needs the machine (listeners, our certificate) and swaps one pointer.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use weft_bundle::body::{Body, Listener, ListenerTls, PeerTls, Protocol, UpstreamTls};
use weft_bundle::engine::{BuildError, Engine};
use weft_bundle::feature;
use weft_bundle::json;
use weft_bundle::spiffe::SpiffeId;

use crate::identity::trust::Trust;
pub use crate::identity::trust::TrustError;
use crate::telemetry::settings::Settings;

/// Which bundle this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The release's sequence.
    pub sequence: u64,
    /// SHA-256 of the body, in hexadecimal.
    pub digest: String,
    /// Whether it was past its `stale_after` when it was loaded.
    pub stale: bool,
}

/// A bundle, ready to decide.
#[derive(Debug)]
pub struct Snapshot {
    /// Decides.
    pub engine: Engine,
    /// Which bundle it came from.
    pub generation: Generation,
    pub(crate) trust: Arc<Trust>,
    /// What it says of telling; none if nothing.
    pub(crate) telemetry: Option<Arc<Settings>>,
}

/// Why a bundle cannot be used. What runs keeps running.
#[derive(Debug)]
pub enum ApplyError {
    /// The body is not JSON of a form we know.
    Json(String),
    /// A rule, a condition or a reference is wrong.
    Engine(BuildError),
    /// What is said of telling is wrong.
    Telemetry(String),
    /// A trust anchor is wrong.
    Trust(TrustError),
    /// The address of the application is not `ip:port`.
    Application {
        /// The inbound port.
        port: String,
        /// What stands there.
        address: String,
    },
    /// The application's address is one that we listen on ourselves.
    ApplicationLoop {
        /// The inbound port.
        port: String,
        /// The address.
        address: SocketAddr,
    },
    /// TLS of a listener cannot be set up.
    Listener {
        /// The listener.
        listener: String,
        /// Why not.
        why: String,
    },
    /// TLS to a cluster cannot be set up.
    Cluster {
        /// The cluster.
        cluster: String,
        /// Why not.
        why: String,
    },
    /// Something that this version of the proxy does not do.
    Unsupported(String),
    /// Policy wants mutual TLS, and there is no certificate.
    NoIdentity,
    /// The certificate is for another identity than the bundle.
    IdentityMismatch {
        /// What the bundle says.
        bundle: Box<SpiffeId>,
        /// What the certificate says.
        certificate: Box<SpiffeId>,
    },
    /// An `--inbound` or `--application` does not fit the bundle's ports.
    Override(String),
    /// A port cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Endpoints are to be found by names or files, and nobody can look.
    Discovery(std::io::Error),
    /// It could be used, and could not be kept on disk first.
    NotPersisted(String),
    /// The workers are gone: the proxy is shutting down.
    Stopped,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(why) => write!(f, "the body is not understood: {why}"),
            Self::Engine(error) => error.fmt(f),
            Self::Trust(error) => error.fmt(f),
            Self::Telemetry(why) => write!(f, "telemetry: {why}"),
            Self::Application { port, address } => {
                write!(f, "inbound port `{port}`: the application's address `{address}` is not `ip:port`")
            }
            Self::ApplicationLoop { port, address } => {
                write!(f, "inbound port `{port}`: the application's address {address} is the proxy's own")
            }
            Self::Listener { listener, why } => write!(f, "listener `{listener}`: {why}"),
            Self::Cluster { cluster, why } => write!(f, "cluster {cluster}: {why}"),
            Self::Unsupported(what) => write!(f, "{what} is not supported by this version of the proxy"),
            Self::NoIdentity => {
                f.write_str("policy asks for mutual TLS, and no certificate is configured (--identity-cert)")
            }
            Self::IdentityMismatch { bundle, certificate } => {
                write!(f, "the bundle is for `{bundle}`, the certificate for `{certificate}`")
            }
            Self::Override(why) | Self::NotPersisted(why) => f.write_str(why),
            Self::Discovery(error) => write!(f, "endpoints cannot be looked for: {error}"),
            Self::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Stopped => f.write_str("the proxy is shutting down"),
        }
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Engine(error) => Some(error),
            Self::Trust(error) => Some(error),
            Self::Listen { source, .. } | Self::Discovery(source) => Some(source),
            Self::Json(_)
            | Self::Telemetry(_)
            | Self::Application { .. }
            | Self::ApplicationLoop { .. }
            | Self::Listener { .. }
            | Self::Cluster { .. }
            | Self::Unsupported(_)
            | Self::NoIdentity
            | Self::IdentityMismatch { .. }
            | Self::Override(_)
            | Self::NotPersisted(_)
            | Self::Stopped => None,
        }
    }
}

impl Snapshot {
    /// Builds everything that verified bytes ask for.
    ///
    /// # Errors
    /// The first thing that makes the body unusable.
    pub fn build(body: &[u8], generation: Generation) -> Result<Self, ApplyError> {
        let body: Body = json::from_slice(body).map_err(|error| ApplyError::Json(error.to_string()))?;
        let trust = Trust::read(&body.trust_anchors).map_err(ApplyError::Trust)?;
        for port in &body.inbound {
            if port.application.parse::<SocketAddr>().is_err() {
                let (port, address) = (port.name.clone(), port.application.clone());
                return Err(ApplyError::Application { port, address });
            }
        }
        if let Some((feature, place)) = feature::uses(&body).into_iter().find(|(one, _)| !one.is_served()) {
            return Err(ApplyError::Unsupported(format!("{feature} ({place})")));
        }
        let telemetry = (!body.telemetry.is_empty()).then(|| Settings::build(&body.telemetry));
        let telemetry = telemetry.transpose().map_err(ApplyError::Telemetry)?.map(Arc::new);
        let engine = Engine::build(Arc::new(body)).map_err(ApplyError::Engine)?;
        Ok(Self { engine, generation, trust: Arc::new(trust), telemetry })
    }

    /// The body.
    pub fn body(&self) -> &Body {
        self.engine.body()
    }

    /// Whether anything in it needs our identity: mutual TLS, or a listener that presents it.
    pub fn needs_identity(&self) -> bool {
        let body = self.body();
        let presents = |listener: &Listener| match &listener.tls {
            Some(ListenerTls::Terminate(tls)) => tls.certificates.is_empty(),
            Some(ListenerTls::Passthrough) | None => false,
        };
        body.inbound.iter().any(|port| port.tls != PeerTls::Off)
            || body.listeners.iter().any(presents)
            || body.clusters.values().any(|cluster| matches!(cluster.tls, UpstreamTls::Mutual(_)))
    }
}

/// Whether requests to a port of that protocol go as HTTP/2, whatever they came as.
pub(crate) fn wants_http2(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Http2 | Protocol::Grpc)
}
