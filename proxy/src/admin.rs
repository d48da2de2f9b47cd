//! The admin listener: `/live /ready /metrics /bundle /clusters`, on loopback or a Unix socket only.
//!
//! It has a thread of its own, so that a scrape never delays a request. It only reads.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::worker::DataPlane;

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A Unix socket, for its owner only.
    Unix(PathBuf),
}

/// Why a text is not an address for the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddressError {
    /// Neither `ip:port` nor `unix:PATH`.
    Form(String),
    /// Not on loopback: who may read it could not be told.
    Public(SocketAddr),
}

impl fmt::Display for AdminAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(text) => write!(f, "`{text}` is neither `127.0.0.1:PORT` nor `unix:PATH`"),
            Self::Public(address) => write!(f, "{address} is not on loopback"),
        }
    }
}

impl std::error::Error for AdminAddressError {}

impl FromStr for AdminAddress {
    type Err = AdminAddressError;

    fn from_str(text: &str) -> Result<Self, AdminAddressError> {
        if let Some(path) = text.strip_prefix("unix:")
            && !path.is_empty()
        {
            return Ok(Self::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Ok(address) => Err(AdminAddressError::Public(address)),
            Err(_) => Err(AdminAddressError::Form(text.to_owned())),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What the control half says of itself; `/bundle` shows it as `source`.
pub type Facts = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

#[derive(Clone)]
struct Site {
    plane: Arc<DataPlane>,
    facts: Facts,
}

/// Starts the listener on a thread of its own, which ends with the process. Gives where it really listens.
///
/// # Errors
/// The address cannot be listened on, or the thread not be started.
pub fn start(address: &AdminAddress, plane: Arc<DataPlane>, facts: Facts) -> io::Result<AdminAddress> {
    let (listener, actual) = match address {
        AdminAddress::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let actual = AdminAddress::Tcp(listener.local_addr()?);
            (Listener::Tcp(listener), actual)
        }
        AdminAddress::Unix(path) => (Listener::Unix(bind_unix(path)?), address.clone()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || match runtime.block_on(serve(listener, Site { plane, facts })) {
        Ok(never) => match never {},
        Err(error) => tracing::error!(%error, "the admin listener ended"),
    };
    std::thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
    Ok(actual)
}

enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A socket left behind by a process that is gone is replaced; one that somebody answers on is not.
fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(path).is_err() => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve(listener: Listener, site: Site) -> io::Result<Infallible> {
    match listener {
        Listener::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => answer(stream, &site),
                    Err(error) => pause(&error).await,
                }
            }
        }
        Listener::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => answer(stream, &site),
                    Err(error) => pause(&error).await,
                }
            }
        }
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "an admin connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// The connection's task belongs to the admin thread and ends with the process at the latest.
fn answer<T>(stream: T, site: &Site)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let site = site.clone();
    tokio::spawn(async move {
        let service = service_fn(|request| {
            let response = respond(&request, &site);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an admin connection ended");
        }
    });
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn respond(request: &Request<Incoming>, Site { plane, facts }: &Site) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/live" => page(StatusCode::OK, TEXT, "live\n".to_owned()),
        "/ready" => match plane.not_ready() {
            None => page(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(why) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
        },
        "/metrics" => page(StatusCode::OK, OPENMETRICS, plane.metrics().encode()),
        "/bundle" => {
            let mut facts_of_both = plane.describe();
            if let Some(fields) = facts_of_both.as_object_mut() {
                fields.insert("source".to_owned(), facts());
            }
            page(StatusCode::OK, JSON, format!("{facts_of_both:#}\n"))
        }
        "/clusters" => page(StatusCode::OK, JSON, format!("{:#}\n", plane.describe_clusters())),
        _ => page(StatusCode::NOT_FOUND, TEXT, "/live /ready /metrics /bundle /clusters\n".to_owned()),
    }
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Client, Speaks, calls, get, plane, plane_with, says, until};

    #[test]
    fn only_loopback_and_unix_sockets() {
        assert!("127.0.0.1:15000".parse::<AdminAddress>().is_ok());
        assert!("[::1]:1".parse::<AdminAddress>().is_ok());
        assert_eq!("unix:/run/weft.sock".parse(), Ok(AdminAddress::Unix("/run/weft.sock".into())));
        for text in ["0.0.0.0:15000", "10.0.0.1:1", "[::]:1", "unix:", "localhost:1", ""] {
            assert!(text.parse::<AdminAddress>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn tells_what_runs() {
        let upstream = says("hello").await;
        let plane = Arc::new(plane_with(&calls(&[upstream])));
        let any: AdminAddress = "127.0.0.1:0".parse().unwrap();
        let AdminAddress::Tcp(admin) =
            start(&any, Arc::clone(&plane), Arc::new(|| serde_json::json!({"channel": "stable"}))).unwrap()
        else {
            unreachable!()
        };
        assert_eq!(get(admin, "/live").await.text, "live\n");
        assert_eq!(get(admin, "/ready").await.status, 200);
        get(plane.outbound_address().unwrap(), "/").await;
        let counted = r#"weft_requests_total{direction="outbound",service="shop/upstream",code_class="2xx",reason="ok"} 1"#;
        until("the request is counted", || plane.metrics().encode().contains(counted)).await;
        assert!(get(admin, "/metrics").await.text.contains(counted));
        let bundle: serde_json::Value = serde_json::from_str(&get(admin, "/bundle").await.text).unwrap();
        assert_eq!(bundle["bundle"]["sequence"], 1);
        assert_eq!(bundle["source"]["channel"], "stable");
        assert_eq!(get(admin, "/nothing").await.status, 404);
        plane.begin_drain();
        let not_ready = get(admin, "/ready").await;
        assert_eq!((not_ready.status.as_u16(), not_ready.text.as_str()), (503, "not ready: draining\n"));
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = AdminAddress::Unix(path.clone());
        let nothing: Facts = Arc::new(|| serde_json::Value::Null);
        start(&address, Arc::new(plane()), Arc::clone(&nothing)).unwrap();
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        assert_eq!(Client::over(stream, Speaks::Http1).await.get("/ready").await.status, 503);
        assert!(start(&address, Arc::new(plane()), nothing).is_err(), "somebody answers there");
    }
}
