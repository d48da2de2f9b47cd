//! The admin listener, on loopback or a Unix socket only.
//!
//! | page | what it says |
//! |---|---|
//! | `/live`, `/ready` | whether the process runs, and whether traffic should come |
//! | `/metrics` | OpenMetrics |
//! | `/bundle`, `/config` | which bundle runs, and the policy in it as it was verified |
//! | `/clusters` | endpoints and how they do |
//! | `/certs` | our certificate and the trust anchors; never a key |
//! | `/clear-text` | who comes in clear text to ports that take both |
//! | `/drain` | what is under way; `POST` begins the end, as SIGTERM does |
//!
//! It has a thread of its own, so that a scrape never delays a request. Only [`guard`] says who is answered.

mod guard;
mod pages;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::drain::DrainRequest;
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
            Self::Public(address) => write!(
                f,
                "{address} is not on loopback: whoever reaches it could read policy and end the proxy; take 127.0.0.1, \
                 [::1] or `unix:PATH`"
            ),
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
    drain: DrainRequest,
    over_tcp: bool,
}

/// Starts the listener on a thread of its own, which ends with the process. Gives where it really listens.
///
/// # Errors
/// The address cannot be listened on, or the thread not be started.
pub fn start(
    address: &AdminAddress,
    plane: Arc<DataPlane>,
    facts: Facts,
    drain: DrainRequest,
) -> io::Result<AdminAddress> {
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
    let over_tcp = matches!(listener, Listener::Tcp(_));
    let site = Site { plane, facts, drain, over_tcp };
    let serve = move || match runtime.block_on(serve(listener, site)) {
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
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = std::fs::symlink_metadata(path)?.file_type().is_socket();
            let is_left = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            if !is_socket || !UnixStream::connect(path).is_err_and(is_left) {
                return Err(error);
            }
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
        let service = service_fn(|request: Request<Incoming>| {
            let response = pages::respond(&request, &site);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        Ca, Client, Got, Speaks, calls, full, plane, plane_with, says, serves, snapshot, until,
    };
    use http::Method;
    use serde_json::{Value, json};

    /// One request over a connection of its own.
    async fn ask(address: SocketAddr, method: Method, path: &str, fields: &[(&str, &str)]) -> Got {
        let mut client = Client::connect(address, Speaks::Http1).await;
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        client.send(request.body(full("")).unwrap()).await.unwrap()
    }

    async fn get(address: SocketAddr, path: &str) -> Got {
        ask(address, Method::GET, path, &[("host", &address.to_string())]).await
    }

    fn json(got: &Got) -> Value {
        assert_eq!(got.status, 200, "{got:?}");
        serde_json::from_str(&got.text).unwrap()
    }

    fn start_any(plane: &Arc<DataPlane>, drain: &DrainRequest) -> SocketAddr {
        let any: AdminAddress = "127.0.0.1:0".parse().unwrap();
        let facts: Facts = Arc::new(|| json!({"channel": "stable"}));
        match start(&any, Arc::clone(plane), facts, drain.clone()).unwrap() {
            AdminAddress::Tcp(admin) => admin,
            AdminAddress::Unix(_) => unreachable!(),
        }
    }

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
        let admin = start_any(&plane, &DrainRequest::default());
        assert_eq!(get(admin, "/live").await.text, "live\n");
        assert_eq!(get(admin, "/ready").await.status, 200);
        crate::testing::get(plane.outbound_address().unwrap(), "/").await;
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
    async fn shows_certificates_and_policy_and_no_key() {
        let ca = Ca::new();
        let issued = ca.issue("spiffe://td/ns/shop/sa/cart");
        let plane = Arc::new(plane());
        let admin = start_any(&plane, &DrainRequest::default());
        assert_eq!(json(&get(admin, "/certs").await), json!({"identity": null, "trust_anchors": {}}));
        assert_eq!(json(&get(admin, "/config").await), json!({"body": null}));
        plane.replace_identity(issued.identity()).unwrap();
        let application = says("hello").await;
        let body = serves(application, "permissive", &json!({"td": [ca.anchor()]}));
        plane.apply(snapshot(&body, 3).unwrap()).unwrap();

        let certs = get(admin, "/certs").await;
        let shown = json(&certs);
        let chain = shown["identity"]["chain"].as_array().unwrap();
        assert_eq!((chain.len(), &chain[0]["spiffe_id"]), (1, &json!("spiffe://td/ns/shop/sa/cart")));
        assert_eq!(chain[0]["not_after"], shown["identity"]["not_after"]);
        assert_eq!(chain[0]["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(shown["trust_anchors"]["td"].as_array().unwrap().len(), 1);
        let key = issued.key.serialize_pem();
        let secret = key.lines().nth(1).unwrap();
        assert!(!certs.text.contains(secret) && !certs.text.contains("PRIVATE"), "{}", certs.text);

        let config = json(&get(admin, "/config").await);
        assert_eq!((&config["sequence"], config["digest"].as_str().unwrap().len()), (&json!(3), 64));
        let shown: weft_bundle::body::Body = serde_json::from_value(config["body"].clone()).unwrap();
        assert_eq!(&shown, plane.snapshot().unwrap().body());

        crate::testing::get(plane.inbound_address("http").unwrap(), "/").await;
        let clear = json(&get(admin, "/clear-text").await);
        let caller = json!({"port": 80, "address": "127.0.0.1", "connections": 1});
        assert_eq!(clear, json!({"callers": [caller], "others": 0}));
    }

    #[tokio::test]
    async fn a_post_begins_the_end_and_nothing_else_does() {
        let plane = Arc::new(plane_with(&calls(&[])));
        let drain = DrainRequest::default();
        let admin = start_any(&plane, &drain);
        let host = admin.to_string();
        let state = json(&get(admin, "/drain").await);
        assert_eq!((&state["draining"], &state["inbound"]["requests"]), (&json!(false), &json!(0)));
        for (method, path, field, status) in [
            (Method::POST, "/drain", ("sec-fetch-site", "cross-site"), 403),
            (Method::POST, "/drain", ("origin", "http://evil.example"), 403),
            (Method::POST, "/live", ("accept", "*/*"), 405),
            (Method::DELETE, "/drain", ("accept", "*/*"), 405),
        ] {
            let got = ask(admin, method, path, &[("host", &host), field]).await;
            assert_eq!(got.status, status, "{path} {field:?}");
        }
        let rebound = ask(admin, Method::GET, "/config", &[("host", "evil.example")]).await;
        assert_eq!(rebound.status, 403, "{}", rebound.text);
        assert!(!drain.is_asked());
        assert_eq!(ask(admin, Method::POST, "/drain", &[("host", &host)]).await.status, 202);
        assert!(drain.is_asked());
        drain.asked().await;
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = AdminAddress::Unix(path.clone());
        let nothing: Facts = Arc::new(|| serde_json::Value::Null);
        start(&address, Arc::new(plane()), Arc::clone(&nothing), DrainRequest::default()).unwrap();
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        assert_eq!(Client::over(stream, Speaks::Http1).await.get("/ready").await.status, 503);
        let second = start(&address, Arc::new(plane()), nothing, DrainRequest::default());
        assert!(second.is_err(), "somebody answers there");
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.json");
        std::fs::write(&path, "kept").unwrap();
        assert!(bind_unix(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    }
}
