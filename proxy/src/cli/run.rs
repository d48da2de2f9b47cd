//! `weft-proxy run`: the life of a proxy, from its arguments to its exit status.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use weft_bundle::duration::DurationText;
use weft_bundle::release::{Channel, MeshName, ServiceId};

use super::control;
use crate::admin::{self, AdminAddress};
use crate::app::{Application, exit_code};
use crate::drain::{self, Deadline, DrainRequest};
use crate::identity::files::{self, IdentityFiles};
use crate::telemetry::log::{self, LogFormat};
use crate::telemetry::{Direction, Metrics};
use crate::worker::{
    DataPlane, DnsOptions, Here, Label, ListenerOverride, LocalPort, NameServer, NotReady, Options, Override,
    Place,
};

/// Serve, and follow a source of bundles
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Every option can also be given as an environment variable, as shown beside it.

Examples:
  weft-proxy run --mesh prod --service shop/cart --source /var/lib/weft/release \\
      --root /etc/weft/root.json --state /var/lib/weft/state \\
      --identity-cert /run/weft/cert.pem --identity-key /run/weft/key.pem
  weft-proxy run ... --inbound 127.0.0.1:19080 --outbound 127.0.0.1:19001 --admin 127.0.0.1:19000
  weft-proxy run ... --forward 127.0.0.1:5432=db.shop:5432 --forward 127.0.0.1:6379=shop/cache:6379
  weft-proxy run --service edge/public ... --listener 443=0.0.0.0:8443 --certificates /run/weft/certificates
  weft-proxy run ... --locality eu-west-1/a --labels cell=3,rack=12
  weft-proxy run ... --dns 10.0.0.2,10.0.0.3:5353
  weft-proxy run ... -- ./cart --listen 127.0.0.1:9081

Files of endpoints, which policy names, are JSON lists, read again when they change; replace them by a rename:
  [ { \"address\": \"10.0.0.4\", \"port\": 8080, \"weight\": 2, \"locality\": \"eu-west-1/a\", \"labels\": { \"version\": \"v2\" } } ]
Only the address must be there. What is wrong, empty or missing changes nothing.")]
pub struct Args {
    /// The mesh we belong to
    #[arg(long, env = "WEFT_MESH", value_name = "NAME")]
    pub mesh: MeshName,
    /// The service we run
    #[arg(long, env = "WEFT_SERVICE", value_name = "NS/NAME")]
    pub service: ServiceId,
    /// The directory that releases are published to
    #[arg(long, env = "WEFT_SOURCE", value_name = "DIR")]
    pub source: PathBuf,
    /// The trust root; it comes with us, never from the source
    #[arg(long, env = "WEFT_ROOT", value_name = "FILE")]
    pub root: PathBuf,
    /// Where what was verified is kept, for starts without the source
    #[arg(long, env = "WEFT_STATE", value_name = "DIR")]
    pub state: PathBuf,
    /// The channel to follow
    #[arg(long, env = "WEFT_CHANNEL", value_name = "NAME", default_value = "stable")]
    pub channel: Channel,
    /// Which instance of the service this is, for staged rollouts [default: kept in the state directory]
    #[arg(long, env = "WEFT_INSTANCE_ID", value_name = "ID")]
    pub instance_id: Option<String>,
    /// Go first in every staged rollout
    #[arg(long, env = "WEFT_CANARY")]
    pub canary: bool,
    /// Adopt a release that has expired if there is no state yet
    #[arg(long, env = "WEFT_BOOTSTRAP_ALLOW_EXPIRED")]
    pub bootstrap_allow_expired: bool,
    /// Our certificate, PEM, leaf first; followed when it changes
    #[arg(long, env = "WEFT_IDENTITY_CERT", value_name = "FILE", requires = "identity_key")]
    pub identity_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, env = "WEFT_IDENTITY_KEY", value_name = "FILE", requires = "identity_cert")]
    pub identity_key: Option<PathBuf>,
    /// Where the certificates that policy names are, for callers and servers outside the mesh: NS/NAME/tls.crt and
    /// NS/NAME/tls.key in it, PEM; followed when they change
    #[arg(long, env = "WEFT_CERTIFICATES", value_name = "DIR")]
    pub certificates: Option<PathBuf>,
    /// Where an inbound port listens, instead of its number on all addresses; may be repeated
    #[arg(long, env = "WEFT_INBOUND", value_name = "[NAME=]ADDR", value_delimiter = ',')]
    pub inbound: Vec<Override>,
    /// Where a gateway's port listens, instead of its number on all addresses; may be repeated
    #[arg(long, env = "WEFT_LISTENER", value_name = "PORT=ADDR", value_delimiter = ',')]
    pub listener: Vec<ListenerOverride>,
    /// Where the application listens, instead of where the bundle says; may be repeated
    #[arg(long, env = "WEFT_APPLICATION", value_name = "[NAME=]ADDR", value_delimiter = ',')]
    pub application: Vec<Override>,
    /// Where the application finds other services, or `off`
    #[arg(long, env = "WEFT_OUTBOUND", value_name = "ADDR", default_value = "127.0.0.1:15001")]
    pub outbound: OrOff<SocketAddr>,
    /// A local port of one service, whatever it speaks, such as `127.0.0.1:5432=db.shop:5432`; may be repeated
    #[arg(long, env = "WEFT_FORWARD", value_name = "ADDR=SERVICE:PORT", value_delimiter = ',')]
    pub forward: Vec<LocalPort>,
    /// Where operators look: a loopback address, `unix:PATH`, or `off`
    #[arg(long, env = "WEFT_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub admin: OrOff<AdminAddress>,
    /// Where we are, as `region/zone/subzone`, for policy that prefers near endpoints
    #[arg(long, env = "WEFT_LOCALITY", value_name = "PLACE")]
    pub locality: Option<Place>,
    /// What endpoints are compared with, where policy prefers those with equal labels; may be repeated
    #[arg(long, env = "WEFT_LABELS", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub labels: Vec<Label>,
    /// A name server for names of endpoints, instead of those in /etc/resolv.conf; may be repeated
    #[arg(long, env = "WEFT_DNS", value_name = "IP[:PORT]", value_delimiter = ',')]
    pub dns: Vec<NameServer>,
    /// Threads that serve [default: one per core]
    #[arg(long, env = "WEFT_WORKERS", value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    /// How long requests under way may take to end when we are told to
    #[arg(long, env = "WEFT_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub drain_timeout: DurationText,
    /// What is logged, such as `info,access=off` or `weft_proxy=debug`
    #[arg(long, env = "WEFT_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// How it is written
    #[arg(long, env = "WEFT_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// An application to start once we are ready; it gets our signals, and its exit status becomes ours
    #[arg(last = true, value_name = "APP")]
    pub app: Vec<OsString>,
}

/// A value, or nothing, written `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrOff<T> {
    /// The value.
    On(T),
    /// Nothing.
    Off,
}

impl<T: std::str::FromStr> std::str::FromStr for OrOff<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::On) }
    }
}

impl<T> OrOff<T> {
    fn get(&self) -> Option<&T> {
        match self {
            Self::On(value) => Some(value),
            Self::Off => None,
        }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    if let Err(error) = log::start(&args.log, args.log_format) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    match live(args) {
        Ok(code) => code,
        Err(why) => {
            tracing::error!("{why}");
            ExitCode::from(2)
        }
    }
}

/// The life of a proxy: workers, identity, admin, bundles, application, until a signal or the application's end.
fn live(args: &Args) -> Result<ExitCode, String> {
    let plane = Arc::new(start_plane(args)?);
    start_identity(args, &plane)?;
    let control = control::prepare(args, &plane)?;
    let drain = DrainRequest::default();
    if let Some(address) = args.admin.get() {
        let admin = admin::start(address, Arc::clone(&plane), control.facts(), drain.clone())
            .map_err(|error| format!("admin {address}: {error}"))?;
        tracing::info!(%admin, "operators find us");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    // Before anything can take long: a signal from now on is heard.
    let signals =
        runtime.block_on(async { Signals::listen(drain) }).map_err(|error| format!("signals: {error}"))?;
    let control = control.start().map_err(|error| format!("the control thread: {error}"))?;
    let code = runtime.block_on(supervise(args, &plane, signals));
    control.stop();
    plane.stop();
    code
}

fn start_plane(args: &Args) -> Result<DataPlane, String> {
    let workers = args.workers.or_else(|| std::thread::available_parallelism().ok());
    let options = Options {
        workers: workers.map_or(1, NonZeroUsize::get),
        inbound: args.inbound.clone(),
        listeners: args.listener.clone(),
        application: args.application.clone(),
        outbound: args.outbound.get().copied(),
        certificates: args.certificates.clone(),
        here: Here {
            place: args.locality.clone(),
            labels: args.labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect(),
        },
        dns: DnsOptions { servers: args.dns.iter().map(|server| server.0).collect() },
        local_ports: args.forward.clone(),
    };
    let plane = DataPlane::start(options, Arc::new(Metrics::new())).map_err(|error| error.to_string())?;
    if let Some(outbound) = plane.outbound_address() {
        tracing::info!(%outbound, "the application finds other services");
    }
    for port in &args.forward {
        tracing::info!("the application finds one service by --forward {port}");
    }
    Ok(plane)
}

/// A pair that is wrong at the start ends us: there is no older one to keep.
fn start_identity(args: &Args, plane: &Arc<DataPlane>) -> Result<(), String> {
    let (Some(certificates), Some(key)) = (args.identity_cert.clone(), args.identity_key.clone()) else {
        return Ok(());
    };
    let files = IdentityFiles { certificates, key };
    let identity = files.load().map_err(|error| error.to_string())?;
    tracing::info!(id = %identity.id(), "our certificate");
    plane.replace_identity(identity).map_err(|error| error.to_string())?;
    files::watch(files, plane).map_err(|error| format!("identity: {error}"))
}

// -------------------------------------------------------------------------------------------------- supervision

/// Signals that mean something to us or to the application.
struct Signals {
    kinds: Vec<(Signal, tokio::signal::unix::Signal)>,
    /// Counts as SIGTERM.
    drain: DrainRequest,
}

impl Signals {
    fn listen(drain: DrainRequest) -> std::io::Result<Self> {
        let kinds = [
            (Signal::TERM, SignalKind::terminate()),
            (Signal::INT, SignalKind::interrupt()),
            (Signal::QUIT, SignalKind::quit()),
            (Signal::HUP, SignalKind::hangup()),
            (Signal::USR1, SignalKind::user_defined1()),
            (Signal::USR2, SignalKind::user_defined2()),
        ];
        let kinds = kinds.into_iter().map(|(name, kind)| Ok((name, signal(kind)?)));
        Ok(Self { kinds: kinds.collect::<std::io::Result<_>>()?, drain })
    }

    async fn next(&mut self) -> Signal {
        let Self { kinds, drain } = self;
        let sent = std::future::poll_fn(|cx| {
            for (name, stream) in kinds.iter_mut() {
                if stream.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        });
        tokio::select! {
            signal = sent => signal,
            () = drain.asked() => Signal::TERM,
        }
    }
}

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::TERM => "SIGTERM",
        Signal::INT => "SIGINT",
        Signal::QUIT => "SIGQUIT",
        _ => "a signal",
    }
}

fn ends_us(signal: Signal) -> bool {
    signal == Signal::TERM || signal == Signal::INT || signal == Signal::QUIT
}

async fn supervise(args: &Args, plane: &DataPlane, mut signals: Signals) -> Result<ExitCode, String> {
    let ready = tokio::select! {
        () = ready(plane) => true,
        () = end_signal(&mut signals) => false,
    };
    if ready {
        tracing::info!("ready");
    }
    if !ready || args.app.is_empty() {
        if ready {
            end_signal(&mut signals).await;
        }
        return Ok(end_alone(args, plane, signals).await);
    }
    let app = Application::start(&args.app).map_err(|error| {
        format!("the application `{}` cannot be started: {error}", args.app.join(" ".as_ref()).display())
    })?;
    with_application(args, plane, signals, app).await
}

async fn ready(plane: &DataPlane) {
    let mut said = None;
    while let Some(why) = plane.not_ready() {
        if said != Some(why) {
            tracing::info!("not ready: {why}");
            said = Some(why);
        }
        if why == NotReady::Draining {
            return std::future::pending().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn end_signal(signals: &mut Signals) {
    loop {
        let signal = signals.next().await;
        if ends_us(signal) {
            tracing::info!(signal = name(signal), "told to end");
            return;
        }
    }
}

/// Drains both directions. Another signal to end means: at once.
async fn end_alone(args: &Args, plane: &DataPlane, mut signals: Signals) -> ExitCode {
    let deadline = Deadline::after(args.drain_timeout.get());
    let drain = async {
        let inbound = drain::inbound(plane, deadline).await;
        drain::outbound(plane, deadline).await && inbound
    };
    let drained = tokio::select! {
        drained = drain => drained,
        () = end_signal(&mut signals) => false,
    };
    say_end(plane, drained);
    ExitCode::SUCCESS
}

fn say_end(plane: &DataPlane, drained: bool) {
    if drained {
        tracing::info!("everything under way has ended");
    } else {
        let inbound = plane.requests_in_flight(Direction::Inbound);
        let outbound = plane.requests_in_flight(Direction::Outbound);
        tracing::warn!(inbound, outbound, "requests are cut off");
    }
}

/// Passes signals on until the application has ended, then drains.
async fn with_application(
    args: &Args,
    plane: &DataPlane,
    mut signals: Signals,
    mut app: Application,
) -> Result<ExitCode, String> {
    let fail = |error: std::io::Error| format!("the application: {error}");
    let status = loop {
        let signal = tokio::select! {
            ended = app.ended() => break ended.map_err(fail)?,
            signal = signals.next() => signal,
        };
        if ends_us(signal) {
            tracing::info!(signal = name(signal), "told to end");
            let deadline = Deadline::after(args.drain_timeout.get());
            drain::inbound_for_application(plane, deadline).await;
            app.signal(signal);
            break end_by(&mut app, &mut signals, deadline).await.map_err(fail)?;
        }
        app.signal(signal);
    };
    tracing::info!(%status, "the application has ended");
    let deadline = Deadline::after(args.drain_timeout.get());
    let inbound = drain::inbound(plane, deadline).await;
    say_end(plane, drain::outbound(plane, deadline).await && inbound);
    Ok(ExitCode::from(exit_code(status)))
}

/// Waits for the application, still passing signals on.
async fn end_by(
    app: &mut Application,
    signals: &mut Signals,
    deadline: Deadline,
) -> std::io::Result<std::process::ExitStatus> {
    loop {
        let signal = tokio::select! {
            ended = app.end_by(deadline) => return ended,
            signal = signals.next() => signal,
        };
        app.signal(signal);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(more: &[&str]) -> Result<Args, clap::Error> {
        let needed = [
            "weft-proxy",
            "run",
            "--mesh",
            "m",
            "--service",
            "a/b",
            "--source",
            "s",
            "--root",
            "r",
            "--state",
            "t",
        ];
        let cli = Cli::try_parse_from(needed.iter().chain(more))?;
        match cli.command {
            Command::Run(args) => Ok(*args),
            Command::Check(_) => unreachable!(),
        }
    }

    #[test]
    fn defaults_and_overrides() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.outbound, OrOff::On("127.0.0.1:15001".parse().unwrap()));
        assert_eq!(args.channel.as_str(), "stable");
        let args =
            parse(&["--locality", "eu/a", "--labels", "a=b,c=", "--dns", "10.0.0.2,[fd00::1]:53"]).unwrap();
        assert_eq!(args.locality.unwrap().to_string(), "eu/a");
        assert_eq!(args.labels.iter().map(|label| label.value.as_str()).collect::<Vec<_>>(), ["b", ""]);
        let servers: Vec<_> = args.dns.iter().map(|server| server.0.to_string()).collect();
        assert_eq!(servers, ["10.0.0.2:53", "[fd00::1]:53"]);
        let args = parse(&["--inbound", "http=127.0.0.1:1", "--outbound", "off", "--", "app", "-x"]).unwrap();
        assert_eq!(args.inbound[0].name.as_deref(), Some("http"));
        assert_eq!((args.outbound, args.app.len()), (OrOff::Off, 2));
        for wrong in [
            &["--admin", "0.0.0.0:1"][..],
            &["--identity-cert", "f"],
            &["--workers", "0"],
            &["--inbound", "localhost:1"],
            &["--forward", "127.0.0.1:5432=db"],
            &["--drain-timeout", "soon"],
            &["--locality", "eu//x"],
            &["--labels", "x"],
            &["--dns", "dns.example"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
