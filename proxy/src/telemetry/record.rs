//! The end of a request, recorded once, in one place, whether it was answered, refused or broken off.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, Method, Version};
use time::OffsetDateTime;
use weft_bundle::body::{MetricLabel, Origin};
use weft_bundle::engine::{Facts, Peer, Request, ResponseFacts, Truth, VerifiedToken};
use weft_bundle::spiffe::SpiffeId;

use super::access::{self, Field, Value};
use super::labels::Pairs;
use super::log::{self, LogFormat};
use super::metrics::{Direction, InjectedFault, ServiceMetrics};
use super::reason::Reason;
use super::settings::{Settings, method_label};
use super::trace;
use crate::message::head::Target;
use crate::worker::activity::Busy;

/// Requests in flight, for draining.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    inbound: AtomicUsize,
    outbound: AtomicUsize,
}

impl InFlight {
    pub(super) fn of(&self, direction: Direction) -> &AtomicUsize {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// How many requests have begun and not ended.
    pub(crate) fn count(&self, direction: Direction) -> usize {
        self.of(direction).load(Ordering::Acquire)
    }
}

/// What is known of a request so far. Dropping it is the end of the request.
#[derive(Debug)]
pub(crate) struct Record {
    direction: Direction,
    started: Instant,
    in_flight: Arc<InFlight>,
    /// Tells the connection that it has a request.
    _busy: Busy,
    service: Option<Arc<ServiceMetrics>>,
    /// The status sent downstream; zero before.
    pub(crate) status: u16,
    /// Why it ended. Until somebody says otherwise, the caller went away.
    reason: Reason,
    /// Tries upstream.
    pub(crate) tries: u32,
    /// Bytes of the response's body.
    pub(crate) sent: u64,
    /// How long it took until it became a tunnel.
    tunnelled: Option<Duration>,
    log: Option<Box<LogFields>>,
    /// What policy says of telling; none if nothing, or there is none.
    settings: Option<Arc<Settings>>,
    /// Only where policy asks for more labels.
    labelled: Option<Box<Labelled>>,
}

/// What more labels may hold.
#[derive(Debug)]
struct Labelled {
    method: &'static str,
    rule: String,
    namespace: String,
    service_account: String,
}

/// A request, kept until it is known how it ended, where a filter of the access log asks about it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: Option<SpiffeId>,
    pub(crate) token: Option<Arc<VerifiedToken>>,
    /// The port that was connected to.
    pub(crate) port: u16,
}

/// What only the access log needs; absent when nobody reads it.
#[derive(Debug, Default)]
pub(crate) struct LogFields {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) peer: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) sequence: u64,
    pub(crate) detail: Option<String>,
    /// What policy made it wait.
    pub(crate) delay: Option<Duration>,
    trace: Option<String>,
    kept: Option<Kept>,
}

impl LogFields {
    /// What the caller asked for, as it was received.
    pub(crate) fn head(&mut self, head: &Parts) {
        self.method = head.method.clone();
        self.version = head.version;
        let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
        let host = || head.headers.get(http::header::HOST)?.to_str().ok().map(str::to_owned);
        self.authority = authority.or_else(host).unwrap_or_default();
        self.path = head.uri.path().to_owned();
    }
}

impl Record {
    pub(crate) fn start(direction: Direction, in_flight: Arc<InFlight>, busy: Busy) -> Self {
        in_flight.of(direction).fetch_add(1, Ordering::AcqRel);
        let log = tracing::enabled!(target: "access", tracing::Level::INFO).then(Box::default);
        Self {
            direction,
            started: Instant::now(),
            in_flight,
            _busy: busy,
            service: None,
            status: 0,
            reason: Reason::DownstreamClosed,
            tries: 0,
            sent: 0,
            tunnelled: None,
            log,
            settings: None,
            labelled: None,
        }
    }

    /// Tells what policy says of telling.
    pub(crate) fn follow(&mut self, settings: Option<&Arc<Settings>>, method: &Method) {
        let Some(settings) = settings else { return };
        if !settings.logs {
            self.log = None;
        }
        if !settings.labels.is_empty() {
            self.labelled = Some(Box::new(Labelled {
                method: method_label(method),
                rule: String::new(),
                namespace: String::new(),
                service_account: String::new(),
            }));
        }
        self.settings = Some(Arc::clone(settings));
    }

    /// Notes who calls.
    pub(crate) fn caller(&mut self, peer: Option<&SpiffeId>) {
        self.log(|log| log.peer = peer.map(ToString::to_string));
        if let (Some(labelled), Some(peer)) = (self.labelled.as_deref_mut(), peer) {
            labelled.namespace = peer.namespace().unwrap_or_default().to_owned();
            labelled.service_account = peer.service_account().unwrap_or_default().to_owned();
        }
    }

    /// Notes the document that decided.
    pub(crate) fn decided_by(&mut self, origin: &Origin) {
        self.log(|log| log.rule = Some(origin.to_string()));
        if let Some(labelled) = self.labelled.as_deref_mut() {
            labelled.rule = match &origin.rule {
                Some(rule) => format!("{} {rule}", origin.object),
                None => origin.object.clone(),
            };
        }
    }

    /// Keeps the request, if a filter asks about it; the closure does not run otherwise.
    pub(crate) fn keep(&mut self, kept: impl FnOnce() -> Kept) {
        if self.settings.as_ref().is_some_and(|settings| settings.filter.is_some()) {
            self.log(|log| log.kept = Some(kept()));
        }
    }

    /// Goes on with the trace of a request, or begins one, as policy says.
    pub(crate) fn trace(&mut self, headers: &mut HeaderMap) {
        let sampling = self.settings.as_ref().and_then(|settings| settings.sampling);
        trace::carry(headers, sampling, || fastrand::u64(..));
        self.log(|log| log.trace = trace::trace_id(headers).map(str::to_owned));
    }

    /// Names the service whose requests this one counts among.
    pub(crate) fn service(&mut self, service: &Arc<ServiceMetrics>) {
        self.service = Some(Arc::clone(service));
    }

    /// The service whose requests this one counts among.
    pub(crate) fn counts(&self) -> Option<&Arc<ServiceMetrics>> {
        self.service.as_ref()
    }

    /// Notes that its answer is a tunnel, which may last much longer than requests do.
    pub(crate) fn tunnelled(&mut self, status: u16) {
        self.status = status;
        self.tunnelled = Some(self.started.elapsed());
    }

    /// Fills in what the access log shows; the closure does not run when nobody reads it.
    pub(crate) fn log(&mut self, fill: impl FnOnce(&mut LogFields)) {
        if let Some(fields) = self.log.as_deref_mut() {
            fill(fields);
        }
    }

    /// Notes that policy makes it wait.
    pub(crate) fn delayed(&mut self, delay: Duration) {
        if let Some(service) = &self.service {
            service.fault(InjectedFault::Delay);
        }
        self.log(|log| log.delay = Some(delay));
    }

    /// Notes that policy answers it with an error.
    pub(crate) fn aborted(&self) {
        if let Some(service) = &self.service {
            service.fault(InjectedFault::Abort);
        }
    }

    /// Says why it ended, or will end.
    pub(crate) fn because(&mut self, reason: Reason) {
        self.reason = reason;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        if let Some(service) = &self.service {
            let took = self.tunnelled.unwrap_or(elapsed);
            service.sent.inc_by(self.sent);
            match (&self.labelled, &self.settings) {
                (Some(labelled), Some(settings)) => {
                    let pairs = labelled.pairs(&settings.labels);
                    service.ended_with(pairs, self.status, self.reason, took);
                }
                _ => service.ended(self.status, self.reason, took),
            }
        }
        self.in_flight.of(self.direction).fetch_sub(1, Ordering::AcqRel);
        if let Some(log) = self.log.as_deref().filter(|log| self.is_logged(log, elapsed)) {
            access::write(self.line(log, log::format(), OffsetDateTime::now_utc(), elapsed));
        }
    }
}

impl Record {
    /// Whether the filter wants it. Where the filter asks about something that is not there, it does.
    fn is_logged(&self, log: &LogFields, elapsed: Duration) -> bool {
        let Some(filter) = self.settings.as_ref().and_then(|settings| settings.filter.as_ref()) else {
            return true;
        };
        let response = (self.status > 0).then_some(ResponseFacts { code: self.status, duration: elapsed });
        let address = log.client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.ip());
        let Some(kept) = &log.kept else {
            let peer = Peer { identity: None, address };
            return filter.evaluate(&Facts { response, ..Facts::of(peer) }) != Truth::False;
        };
        let request = kept.request();
        let facts = Facts {
            request: Some(&request),
            token: kept.token.as_ref().map(|token| token.token()),
            destination_port: Some(kept.port),
            response,
            ..Facts::of(Peer { identity: kept.peer.as_ref(), address })
        };
        filter.evaluate(&facts) != Truth::False
    }

    /// Its line in the access log.
    fn line(&self, log: &LogFields, format: LogFormat, now: OffsetDateTime, elapsed: Duration) -> String {
        let all = [
            Some(Value::Text(self.direction.as_str())),
            self.service.as_ref().map(|service| Value::Text(service.service())),
            Some(Value::Text(log.method.as_str())),
            Some(Value::Text(&log.authority)),
            Some(Value::Text(&log.path)),
            Some(Value::Plain(version(log.version))),
            Some(Value::Number(self.status.into())),
            Some(Value::Text(self.reason.as_str())),
            log.detail.as_deref().map(Value::Text),
            log.delay.map(Value::Time),
            Some(Value::Time(elapsed)),
            Some(Value::Number(self.sent)),
            log.client.as_ref().map(|client| Value::Plain(client)),
            log.peer.as_deref().map(Value::Text),
            log.rule.as_deref().map(Value::Text),
            log.cluster.as_deref().map(Value::Text),
            log.endpoint.as_ref().map(|endpoint| Value::Plain(endpoint)),
            Some(Value::Number(self.tries.into())),
            Some(Value::Number(log.sequence)),
            log.trace.as_deref().map(Value::Text),
        ];
        let pair = |field: &Field| Some((field.name(), field.of(&all)?));
        match &self.settings {
            Some(settings) => access::line(format, now, settings.fields.iter().filter_map(pair)),
            None => access::line(format, now, Field::all().iter().filter_map(pair)),
        }
    }
}

impl Kept {
    fn request(&self) -> Request<'_> {
        Request {
            method: self.method.as_str(),
            scheme: self.target.scheme,
            authority: &self.target.authority,
            path: &self.target.path,
            query: self.target.query.as_deref(),
            headers: &self.headers,
        }
    }
}

impl Labelled {
    fn pairs(&self, labels: &[(String, MetricLabel)]) -> Pairs {
        let value = |label: &MetricLabel| match label {
            MetricLabel::Method => self.method,
            MetricLabel::Rule => &self.rule,
            MetricLabel::PeerNamespace => &self.namespace,
            MetricLabel::PeerServiceAccount => &self.service_account,
        };
        labels.iter().map(|(name, label)| (name.clone(), value(label).to_owned())).collect()
    }
}

fn version(version: Version) -> &'static &'static str {
    match version {
        Version::HTTP_09 => &"HTTP/0.9",
        Version::HTTP_10 => &"HTTP/1.0",
        Version::HTTP_2 => &"HTTP/2.0",
        Version::HTTP_3 => &"HTTP/3.0",
        _ => &"HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field once, under its own name.
    #[test]
    fn a_line_has_the_fields_that_policy_names_in_its_order() {
        let connection = crate::worker::activity::Busy::of_nobody();
        let mut record = Record::start(Direction::Inbound, Arc::default(), connection);
        (record.status, record.tries, record.sent) = (200, 2, 5);
        record.because(Reason::Ok);
        let some = |text: &str| Some(text.to_owned());
        let log = LogFields {
            method: Method::PUT,
            version: Version::HTTP_2,
            authority: "a:80".to_owned(),
            path: "/p".to_owned(),
            client: Some("10.0.0.1:5".parse().unwrap()),
            peer: some("spiffe://td/p"),
            rule: some("rule"),
            cluster: some("cluster"),
            endpoint: Some("10.0.0.2:6".parse().unwrap()),
            sequence: 9,
            detail: some("detail"),
            delay: Some(Duration::from_millis(3)),
            trace: some("0af7"),
            kept: None,
        };
        let line = |record: &Record| {
            record.line(&log, LogFormat::Text, OffsetDateTime::UNIX_EPOCH, Duration::from_micros(1500))
        };
        assert_eq!(
            line(&record),
            "1970-01-01T00:00:00.000000Z  INFO access: direction=\"inbound\" method=\"PUT\" authority=\"a:80\" \
             path=\"/p\" version=HTTP/2.0 status=200 reason=\"ok\" detail=\"detail\" injected_delay_ms=3 \
             duration_ms=1.5 bytes=5 client=10.0.0.1:5 peer=\"spiffe://td/p\" rule=\"rule\" cluster=\"cluster\" \
             endpoint=10.0.0.2:6 tries=2 sequence=9 trace_id=\"0af7\""
        );
        let named = weft_bundle::body::Telemetry {
            access_log: Some(weft_bundle::body::AccessLog {
                fields: ["status", "method", "service"].map(str::to_owned).into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        record.settings = Some(Arc::new(Settings::build(&named).unwrap()));
        assert!(line(&record).ends_with("access: status=200 method=\"PUT\""), "{}", line(&record));
    }
}
