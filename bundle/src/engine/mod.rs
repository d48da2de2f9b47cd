//! The decision engine: given a body and a request, which rule, which backend, and may it pass.
//!
//! ```text
//! outbound: authority → Frontend → first matching Entry → Rule → other origins, faults → split → Backend, mirrors
//! gateway:  port and host → Listener → its Frontend, as above; its access
//! inbound:  port → token → audits, first deny or allow → Permit or Denial → rate limits
//! ```
//!
//! Pure functions over precompiled matchers: no IO, no clock, no randomness (a split takes its draw as an argument).
//! `weft trace` and `weft-proxy` both call exactly these functions, so that what is tested is what runs.
//!
//! Routing reads paths in one canonical form ([`path`]); whoever forwards a request must forward that form.

pub mod path;
mod host;
mod matcher;
mod facts;
mod directory;
mod predicate;
mod access;
mod action;
mod cors;
mod fault;
mod hash;
mod session;
mod rate;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use regex::bytes::Regex;

use self::access::AccessMatcher;
pub use self::access::{Authorization, Denial, Peer, Permit};
pub use self::action::{
    FRAMING, copies, edit_headers, is_authority, is_path_text, is_substitution, redirect_location, split,
    split_authority,
};
use self::cors::CorsMatcher;
pub use self::cors::{CrossOrigin, Grant};
use self::directory::Directory;
pub use self::facts::{Facts, ResponseFacts, Token};
pub use self::fault::{Injected, inject};
pub use self::hash::{Hashed, cookie, hash, hash_connection, mix, stable_hash};
pub use self::host::HostPattern;
use self::matcher::RequestMatcher;
pub use self::matcher::{MatchError, TextMatcher, literal_regex, template_regex, whole_regex};
use self::path::CanonicalPath;
pub use self::predicate::{PredicateMatcher, Truth};
pub use self::rate::{admit, rate_key};
pub use self::session::Session;
pub use self::token::{
    Bearer, Judged, MAX_TOKEN_BYTES, NoMemory, RefusedToken, TOKEN_LEEWAY_SECONDS, TokenFault, TokenMemory,
    TokenReader, VerifiedToken, is_told_field,
};
use crate::body::{
    Action, Body, Entry, Fraction, Frontend, InboundPort, Listener, PathRewrite, Rule, Target,
};

/// What is looked at of a request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, as received.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The authority in lower case, with its port if it has one.
    pub authority: &'a str,
    /// The path in canonical form.
    pub path: &'a CanonicalPath,
    /// What follows `?`, as received.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// What is looked at of a connection whose requests cannot be seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection<'a> {
    /// The server name that its TLS client asks for, in lower case.
    pub server_name: Option<&'a str>,
    /// The address it was made to, before any redirection.
    pub destination: Option<IpAddr>,
}

/// A body, ready to decide.
#[derive(Debug)]
pub struct Engine {
    body: Arc<Body>,
    /// Outbound frontends by what callers name.
    directory: Directory,
    /// What was compiled of each frontend: outbound ones, then listeners, in the body's order.
    frontends: Vec<Compiled>,
    /// The access list of each inbound port, then of each listener, in the body's order.
    access: Vec<AccessMatcher>,
    /// What reads tokens, in the same order.
    tokens: Vec<Option<TokenReader>>,
    /// The host patterns of each listener, in the body's order.
    listeners: Vec<Vec<HostPattern>>,
    /// The expressions of rewrites, by their text.
    rewrites: HashMap<String, Regex>,
}

/// A frontend, compiled.
#[derive(Debug)]
struct Compiled {
    /// The conditions of its entries.
    entries: Vec<RequestMatcher>,
    /// What its rules say to other origins, by their number; `otherwise` comes last. Empty if none says anything.
    cors: Vec<Option<CorsMatcher>>,
}

/// Why a body cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// A condition does not compile.
    Match {
        /// The frontend or port it belongs to.
        place: String,
        /// What is wrong with it.
        source: MatchError,
    },
    /// An entry points at a rule that is not there.
    MissingRule {
        /// The frontend.
        place: String,
    },
    /// A backend names a cluster that is not there.
    MissingCluster {
        /// The frontend.
        place: String,
        /// The cluster.
        cluster: String,
    },
    /// A port or listener names a token provider that is not there.
    MissingProvider {
        /// The port or listener.
        place: String,
        /// The provider.
        provider: String,
    },
    /// The keys of a token provider are no key set.
    KeySet {
        /// The provider.
        provider: String,
    },
    /// A header name, header value, host, path or status that HTTP does not allow there.
    IllegalText {
        /// The frontend.
        place: String,
        /// The text.
        text: String,
    },
    /// Two frontends answer to one host and port, or two inbound ports have one number.
    Duplicate {
        /// Which.
        place: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match { place, source } => write!(f, "{place}: {source}"),
            Self::MissingRule { place } => write!(f, "{place}: an entry points at a rule that is not there"),
            Self::MissingCluster { place, cluster } => write!(f, "{place}: there is no cluster `{cluster}`"),
            Self::MissingProvider { place, provider } => {
                write!(f, "{place}: there is no token provider `{provider}`")
            }
            Self::KeySet { provider } => write!(f, "the keys of token provider `{provider}` cannot be read"),
            Self::IllegalText { place, text } => {
                write!(f, "{place}: `{}` is not legal in HTTP", text.escape_debug())
            }
            Self::Duplicate { place } => write!(f, "{place} is there twice"),
        }
    }
}

impl std::error::Error for BuildError {}

/// A frontend of an engine.
#[derive(Clone, Copy, Debug)]
pub struct FrontendRef<'e> {
    index: usize,
    frontend: &'e Frontend,
}

impl<'e> FrontendRef<'e> {
    /// What the body says of it.
    pub fn get(self) -> &'e Frontend {
        self.frontend
    }

    /// Its place in [`Body::outbound`]; behind them all for a listener's.
    pub fn index(self) -> usize {
        self.index
    }
}

/// An inbound port of an engine.
#[derive(Clone, Copy, Debug)]
pub struct InboundRef<'e> {
    index: usize,
    port: &'e InboundPort,
}

impl<'e> InboundRef<'e> {
    /// What the body says of it.
    pub fn get(self) -> &'e InboundPort {
        self.port
    }
}

/// A listener of an engine.
#[derive(Clone, Copy, Debug)]
pub struct ListenerRef<'e> {
    index: usize,
    listener: &'e Listener,
    outbound: usize,
}

impl<'e> ListenerRef<'e> {
    /// What the body says of it.
    pub fn get(self) -> &'e Listener {
        self.listener
    }

    /// Its decisions.
    pub fn frontend(self) -> FrontendRef<'e> {
        FrontendRef { index: self.outbound + self.index, frontend: &self.listener.frontend }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'e> {
    /// The entry that matched, with its place in the list; none if `otherwise` decided.
    pub entry: Option<(usize, &'e Entry)>,
    /// What to do.
    pub rule: &'e Rule,
    /// The compiled expression of the rule's rewrite, if it has one.
    rewrite: Option<&'e Regex>,
    /// What the rule says to other origins, if it does.
    cors: Option<&'e CorsMatcher>,
}

impl<'e> Routed<'e> {
    /// The path condition that led here, which rewrites of the matched part need.
    pub fn matched_path(&self) -> Option<&'e crate::body::PathMatch> {
        self.entry.and_then(|(_, entry)| entry.condition.path.as_ref())
    }

    /// The path that the rule's rewrite makes of a request's; none if it rewrites none. It may not be canonical, and then
    /// must be refused.
    pub fn rewritten_path(&self, path: &CanonicalPath) -> Option<String> {
        let rewrite = self.rule.rewrite.as_ref()?.path.as_ref()?;
        Some(action::rewrite_path(rewrite, self.matched_path(), path, self.rewrite))
    }

    /// What the rule says to the origin of a request, before all else that it does; none if it says nothing to any.
    pub fn cross_origin(&self, request: &Request<'_>) -> Option<CrossOrigin<'e>> {
        self.cors.map(|cors| cors.decide(request))
    }
}

impl Engine {
    /// Compiles a body.
    ///
    /// # Errors
    /// The first thing that makes it unusable. A proxy keeps what it has; the compiler never emits such a body.
    pub fn build(body: Arc<Body>) -> Result<Self, BuildError> {
        let directory = Directory::of(&body.outbound)?;
        let outbound = body.outbound.iter().map(|frontend| compile_frontend(&body, frontend));
        let mut frontends = outbound.collect::<Result<Vec<_>, _>>()?;
        let mut access = compile_inbound(&body)?;
        let mut tokens = Vec::with_capacity(body.inbound.len() + body.listeners.len());
        for port in &body.inbound {
            tokens
                .push(TokenReader::compile(&body, &port.tokens, &|| format!("inbound port {}", port.port))?);
        }
        let mut listeners = Vec::with_capacity(body.listeners.len());
        for listener in &body.listeners {
            let place = || format!("listener `{}`", listener.name);
            let refuse = |source| BuildError::Match { place: place(), source };
            let hosts = listener.frontend.hosts.iter().map(|host| HostPattern::parse(host));
            listeners.push(hosts.collect::<Result<Vec<_>, _>>().map_err(refuse)?);
            frontends.push(compile_frontend(&body, &listener.frontend)?);
            access.push(AccessMatcher::compile(&listener.access).map_err(refuse)?);
            tokens.push(TokenReader::compile(&body, &listener.tokens, &place)?);
        }
        let rewrites = compile_rewrites(&body)?;
        Ok(Self { body, directory, frontends, access, tokens, listeners, rewrites })
    }

    /// The body it was built from.
    pub fn body(&self) -> &Arc<Body> {
        &self.body
    }

    /// The frontend that answers to a lower-case host, without port, on a port: one of that name, else the one with the most
    /// specific pattern of names; for an address, as [`Engine::frontend_at`].
    pub fn frontend(&self, host: &str, port: u16) -> Option<FrontendRef<'_>> {
        self.outbound(self.directory.named(host, port)?)
    }

    /// The frontend that answers at an address, on a port: the one with the smallest network around it, and the first of
    /// several in the body's order.
    pub fn frontend_at(&self, address: IpAddr, port: u16) -> Option<FrontendRef<'_>> {
        self.outbound(self.directory.at(address, port)?)
    }

    /// The frontend of a service, `namespace/name`, on a port.
    pub fn frontend_of(&self, service: &str, port: u16) -> Option<FrontendRef<'_>> {
        let fits = |frontend: &Frontend| frontend.service == service && frontend.port == port;
        self.outbound(self.body.outbound.iter().position(fits)?)
    }

    /// Whether any frontend takes TLS that is not ended on its way, on a port, so that a server name can lead to it.
    pub fn takes_server_names(&self, port: u16) -> bool {
        self.directory.takes_server_names(port)
    }

    /// Whether it can matter which address a caller connected to before it was redirected.
    pub fn looks_at_destinations(&self) -> bool {
        self.directory.looks_at_destinations()
    }

    fn outbound(&self, index: usize) -> Option<FrontendRef<'_>> {
        Some(FrontendRef { index, frontend: self.body.outbound.get(index)? })
    }

    /// The listener that takes a request for a lower-case host, or a connection for a server name, on a port: the one with
    /// the most specific host pattern. What names none is taken only by a listener for every host.
    pub fn listener(&self, port: u16, host: Option<&str>) -> Option<ListenerRef<'_>> {
        let here = self.body.listeners.iter().zip(&self.listeners).enumerate();
        let here = here.filter(|(_, (listener, _))| listener.frontend.port == port);
        let patterns = here
            .flat_map(|(index, (listener, hosts))| hosts.iter().map(move |host| ((index, listener), host)));
        let (index, listener) = match host {
            Some(host) => host::most_specific(patterns, host),
            None => patterns.filter(|(_, pattern)| **pattern == HostPattern::Any).map(|(key, _)| key).next(),
        }?;
        Some(ListenerRef { index, listener, outbound: self.body.outbound.len() })
    }

    /// What happens to a request: the first entry whose condition holds, else `otherwise`.
    pub fn route<'e>(&'e self, frontend: FrontendRef<'e>, request: &Request<'_>) -> Routed<'e> {
        self.first(frontend, |matcher| matcher.matches(request))
    }

    /// What happens to a connection whose requests cannot be seen.
    pub fn route_connection<'e>(
        &'e self,
        frontend: FrontendRef<'e>,
        connection: &Connection<'_>,
    ) -> Routed<'e> {
        self.first(frontend, |matcher| matcher.matches_connection(connection))
    }

    fn first<'e>(
        &'e self,
        FrontendRef { index, frontend }: FrontendRef<'e>,
        holds: impl Fn(&RequestMatcher) -> bool,
    ) -> Routed<'e> {
        let compiled = self.frontends.get(index);
        let matchers = compiled.map(|compiled| compiled.entries.as_slice()).unwrap_or_default();
        let hit = matchers.iter().zip(&frontend.entries).enumerate().find(|(_, (matcher, _))| holds(matcher));
        let found =
            hit.and_then(|(place, (_, entry))| Some(((place, entry), frontend.rules.get(entry.rule)?)));
        let (entry, rule, number) = match found {
            Some((entry, rule)) => (Some(entry), rule, entry.1.rule),
            None => (None, &frontend.otherwise, frontend.rules.len()),
        };
        let cors = compiled.and_then(|compiled| compiled.cors.get(number)?.as_ref());
        let rewrite = match rule.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref()) {
            Some(PathRewrite::Regex { pattern, .. }) => self.rewrites.get(pattern),
            Some(PathRewrite::Full(_) | PathRewrite::Matched(_)) | None => None,
        };
        Routed { entry, rule, rewrite, cors }
    }

    /// The inbound port of that number.
    pub fn inbound(&self, port: u16) -> Option<InboundRef<'_>> {
        let (index, port) = self.body.inbound.iter().enumerate().find(|(_, inbound)| inbound.port == port)?;
        Some(InboundRef { index, port })
    }

    /// What reads the tokens of requests to an inbound port; none if nothing does.
    pub fn tokens(&self, port: InboundRef<'_>) -> Option<&TokenReader> {
        self.tokens.get(port.index)?.as_ref()
    }

    /// What reads the tokens of requests to a listener; none if nothing does.
    pub fn listener_tokens(&self, listener: ListenerRef<'_>) -> Option<&TokenReader> {
        self.tokens.get(self.body.inbound.len() + listener.index)?.as_ref()
    }

    /// Whether a request may reach the application, knowing nothing but peer and request.
    ///
    /// # Panics
    /// Never for a port of this engine; a port of another engine may not be passed.
    pub fn authorize(
        &self,
        port: InboundRef<'_>,
        peer: &Peer<'_>,
        request: &Request<'_>,
    ) -> Authorization<'_> {
        self.decide(port, &Facts { request: Some(request), ..Facts::of(*peer) })
    }

    /// Whether a connection whose requests cannot be seen may reach the application, knowing nothing but the peer.
    ///
    /// # Panics
    /// Never for a port of this engine; a port of another engine may not be passed.
    pub fn authorize_connection(&self, port: InboundRef<'_>, peer: &Peer<'_>) -> Authorization<'_> {
        self.decide(port, &Facts::of(*peer))
    }

    /// Whether a request, or a connection whose requests cannot be seen, may reach the application.
    ///
    /// # Panics
    /// Never for a port of this engine; a port of another engine may not be passed.
    pub fn decide(&self, port: InboundRef<'_>, facts: &Facts<'_>) -> Authorization<'_> {
        let destination_port = facts.destination_port.or(Some(port.get().port));
        self.access(port).decide(&Facts { destination_port, ..*facts })
    }

    /// Whether a caller from outside, or its connection, may use a listener.
    ///
    /// # Panics
    /// Never for a listener of this engine; one of another engine may not be passed.
    pub fn decide_listener(&self, listener: ListenerRef<'_>, facts: &Facts<'_>) -> Authorization<'_> {
        let index = self.body.inbound.len() + listener.index;
        let access = self.access.get(index).expect("a listener is used with the engine that it came from");
        let destination_port = facts.destination_port.or(Some(listener.get().frontend.port));
        access.decide(&Facts { destination_port, ..*facts })
    }

    fn access(&self, port: InboundRef<'_>) -> &AccessMatcher {
        self.access.get(port.index).expect("an inbound port is used with the engine that it came from")
    }
}

fn compile_frontend(body: &Body, frontend: &Frontend) -> Result<Compiled, BuildError> {
    let place = || format!("{}:{}", frontend.service, frontend.port);
    for rule in frontend.rules.iter().chain([&frontend.otherwise]) {
        check_rule(body, rule, &place)?;
    }
    if frontend.entries.iter().any(|entry| entry.rule >= frontend.rules.len()) {
        return Err(BuildError::MissingRule { place: place() });
    }
    let compile = |entry: &Entry| RequestMatcher::compile(&entry.condition);
    let refuse = |source| BuildError::Match { place: place(), source };
    let entries = frontend.entries.iter().map(compile).collect::<Result<_, _>>().map_err(refuse)?;
    let rules = || frontend.rules.iter().chain([&frontend.otherwise]);
    let compile = |rule: &Rule| rule.cors.as_ref().map(CorsMatcher::compile).transpose();
    let cors = match rules().any(|rule| rule.cors.is_some()) {
        true => rules().map(compile).collect::<Result<_, _>>().map_err(refuse)?,
        false => Vec::new(),
    };
    Ok(Compiled { entries, cors })
}

fn compile_inbound(body: &Body) -> Result<Vec<AccessMatcher>, BuildError> {
    let mut numbers = std::collections::BTreeSet::new();
    let compile = |port: &InboundPort| {
        let place = format!("inbound port {}", port.port);
        if !numbers.insert(port.port) {
            return Err(BuildError::Duplicate { place });
        }
        AccessMatcher::compile(&port.access).map_err(|source| BuildError::Match { place, source })
    };
    body.inbound.iter().map(compile).collect()
}

/// The expressions of all rewrites. They are not anchored, and bounded like all others.
fn compile_rewrites(body: &Body) -> Result<HashMap<String, Regex>, BuildError> {
    let mut compiled = HashMap::new();
    let listeners = body.listeners.iter().map(|listener| &listener.frontend);
    for frontend in body.outbound.iter().chain(listeners) {
        for rule in frontend.rules.iter().chain([&frontend.otherwise]) {
            let path = rule.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref());
            let Some(PathRewrite::Regex { pattern, substitution }) = path else { continue };
            let place = || format!("{}:{}", frontend.service, frontend.port);
            let regex = matcher::part_regex(pattern)
                .map_err(|source| BuildError::Match { place: place(), source })?;
            if !is_substitution(substitution, &regex) {
                return Err(BuildError::IllegalText { place: place(), text: substitution.clone() });
            }
            compiled.insert(pattern.clone(), regex);
        }
    }
    Ok(compiled)
}

/// What every cluster that a rule names must be: there.
fn check_cluster(body: &Body, cluster: &str, place: &dyn Fn() -> String) -> Result<(), BuildError> {
    match body.clusters.contains_key(cluster) {
        true => Ok(()),
        false => Err(BuildError::MissingCluster { place: place(), cluster: cluster.to_owned() }),
    }
}

fn check_rule(body: &Body, rule: &Rule, place: &dyn Fn() -> String) -> Result<(), BuildError> {
    let illegal = |text: &str| Err(BuildError::IllegalText { place: place(), text: text.to_owned() });
    let edits = |edits: &_| action::illegal_edit(edits).map_or(Ok(()), illegal);
    let status = |status: u16| {
        if (200..=599).contains(&status) { Ok(()) } else { illegal(&status.to_string()) }
    };
    let place_of = |scheme, host, path| action::illegal_place(scheme, host, path).map_or(Ok(()), illegal);
    if let Some(rewrite) = &rule.rewrite {
        place_of(None, rewrite.host.as_deref(), rewrite.path.as_ref())?;
    }
    edits(&rule.request_headers)?;
    edits(&rule.response_headers)?;
    let share = |share: Fraction| match share.is_valid() {
        true => Ok(()),
        false => illegal(&format!("{} of {}", share.numerator, share.denominator)),
    };
    for mirror in &rule.mirrors {
        check_cluster(body, &mirror.cluster, place)?;
        share(mirror.share)?;
    }
    if let Some(session) = rule.session.as_ref().filter(|session| !session::is_legal(session)) {
        return illegal(&session.name);
    }
    let fault = rule.fault.as_ref();
    if let Some(delay) = fault.and_then(|fault| fault.delay.as_ref()) {
        share(delay.share)?;
    }
    if let Some(abort) = fault.and_then(|fault| fault.abort.as_ref()) {
        share(abort.share)?;
        status(abort.status)?;
    }
    match &rule.action {
        Action::Forward(backends) => {
            for backend in backends {
                edits(&backend.request_headers)?;
                edits(&backend.response_headers)?;
                match &backend.target {
                    Target::Status(code) => status(*code)?,
                    Target::Cluster(cluster) => check_cluster(body, cluster, place)?,
                }
            }
            Ok(())
        }
        Action::Redirect(redirect) => {
            place_of(redirect.scheme.as_deref(), redirect.host.as_deref(), redirect.path.as_ref())?;
            if let Some(host) = redirect.host.as_deref().filter(|host| split_authority(host).0 != *host) {
                return illegal(host);
            }
            if let Some(PathRewrite::Regex { pattern, .. }) = &redirect.path {
                return illegal(pattern);
            }
            let known = matches!(redirect.status, 301 | 302 | 303 | 307 | 308);
            if known { Ok(()) } else { illegal(&redirect.status.to_string()) }
        }
        // RFC 9110: these three never have a body, and a client would read one as the next response.
        Action::Respond { status: code @ (204 | 205 | 304), body: Some(_) } => illegal(&code.to_string()),
        Action::Respond { status: code, .. } => status(*code),
    }
}

#[cfg(test)]
mod tests;
