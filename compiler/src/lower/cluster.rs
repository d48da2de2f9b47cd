//! The clusters behind backends: endpoints, how one is chosen, how it proves who it is, and what protects it.

use std::cell::Cell;
use std::collections::BTreeMap;

use weft_bundle::body::{
    Cluster, ConnectionSettings, Discovery, Endpoint, Limits, LoadBalancer, Locality, Outliers, PeerTls,
    RetryBudget, UpstreamTls,
};
use weft_bundle::duration::DurationText;

use crate::model::routing::Viewer;
use crate::model::{BackendTarget, Mesh, Port, Service, Settings, Subset, Told, View, routing};

/// The clusters of one body, as its workloads see the services behind them.
pub(super) struct Clusters<'v> {
    viewer: &'v dyn Viewer,
    /// By id.
    pub(super) made: BTreeMap<String, Cluster>,
    /// Whether a service was looked at of which not all callers are told the same.
    pub(super) personal: Cell<bool>,
}

impl<'v> Clusters<'v> {
    /// None yet.
    pub(super) fn new(viewer: &'v dyn Viewer) -> Self {
        Self { viewer, made: BTreeMap::new(), personal: Cell::new(false) }
    }

    /// What the workloads are told of a service, if not the same as most.
    pub(super) fn view<'s>(&self, service: &'s Service) -> Option<&'s View> {
        if !service.views.is_empty() {
            self.personal.set(true);
        }
        service.view(self.viewer)
    }
}

/// The id of the cluster behind a target; made if it is not there yet. None if the callers know no such subset.
pub(super) fn cluster(mesh: &Mesh, target: &BackendTarget, clusters: &mut Clusters<'_>) -> Option<String> {
    let service = mesh.service(target.service);
    let told = Told { index: target.service, service, view: clusters.view(service) };
    let subset = target.subset.as_deref();
    if subset.is_some_and(|name| !told.subsets().contains_key(name)) {
        return None;
    }
    let id = match subset {
        Some(subset) => format!("{}:{}/{subset}", service.id(), target.port),
        None => format!("{}:{}", service.id(), target.port),
    };
    if let Some(port) = service.port(target.port)
        && !clusters.made.contains_key(&id)
    {
        clusters.made.insert(id.clone(), made(mesh, target, told, port));
    }
    Some(id)
}

fn made(mesh: &Mesh, target: &BackendTarget, told: Told<'_>, port: &Port) -> Cluster {
    let service = told.service;
    let name = target.subset.as_deref();
    let subset = name.and_then(|name| told.subsets().get(name));
    let settings = routing::settings_in(mesh, told.view, (told.index, port.number), name, None);
    Cluster {
        service: service.id(),
        port: target.port,
        subset: target.subset.clone(),
        protocol: port.protocol,
        tls: tls(told, port),
        endpoints: endpoints(service, subset, port, settings.locality.as_ref()),
        load_balancer: settings.load_balancer.unwrap_or(LoadBalancer::PeakEwma),
        connect_timeout: settings.connect.unwrap_or_default(),
        idle_timeout: settings.pool_idle.unwrap_or_default(),
        retry_budget: settings.retry_budget.unwrap_or(RetryBudget { percent: 20, min: 3 }),
        discovery: discovery(service, subset, port),
        hash: settings.hash.clone().filter(|hash| !hash.keys.is_empty()),
        locality: settings.locality.clone(),
        warmup: settings.warmup.filter(|warmup| !warmup.duration.is_zero()),
        limits: limits(&settings),
        outliers: outliers(&settings),
        health_check: settings.health_check.clone(),
        connection: connection(&settings),
        external: service.external,
    }
}

fn tls(told: Told<'_>, port: &Port) -> UpstreamTls {
    match (told.server_tls(port.number), port.peer_tls) {
        (Some(server), _) => UpstreamTls::Server(server.clone()),
        (None, PeerTls::Off) => UpstreamTls::Off,
        (None, PeerTls::Strict | PeerTls::Permissive) => {
            UpstreamTls::Mutual(vec![told.service.identity.clone()])
        }
    }
}

/// Sorted, each once.
fn endpoints(
    service: &Service,
    subset: Option<&Subset>,
    port: &Port,
    locality: Option<&Locality>,
) -> Vec<Endpoint> {
    let compared = |key: &String| locality.is_some_and(|locality| locality.priority.contains(key));
    let labels_of = |labels: &BTreeMap<String, String>| {
        let of = labels.iter().filter(|(key, _)| compared(key));
        of.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let found = service.endpoints_of(subset);
    let mut endpoints: Vec<Endpoint> = found
        .map(|endpoint| Endpoint {
            address: endpoint.address,
            port: endpoint.port_number(port),
            weight: endpoint.weight,
            locality: endpoint.locality.clone(),
            labels: labels_of(&endpoint.labels),
        })
        .collect();
    endpoints.sort();
    endpoints.dedup();
    endpoints
}

/// Where other endpoints come from, for one port and subset of the service.
fn discovery(service: &Service, subset: Option<&Subset>, port: &Port) -> Option<Discovery> {
    Some(match service.discovery.clone()? {
        Discovery::Dns { host, .. } => Discovery::Dns { host, port: port.target },
        Discovery::File { path, .. } => {
            Discovery::File { path, labels: subset.map(|subset| subset.labels.clone()).unwrap_or_default() }
        }
        other @ (Discovery::DnsService { .. } | Discovery::OriginalDestination) => other,
    })
}

/// The largest number is how dialects write that there is no limit.
fn limit(setting: Option<u32>) -> Option<u32> {
    setting.filter(|limit| *limit < u32::MAX)
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        connections: limit(settings.max_connections),
        pending: limit(settings.max_pending),
        requests: limit(settings.max_requests),
        retries: limit(settings.max_retries),
    }
}

/// None unless something says when an endpoint is left out.
fn outliers(settings: &Settings) -> Option<Outliers> {
    let millis = |millis| DurationText::new(std::time::Duration::from_millis(millis));
    let (errors, gateway) = (settings.consecutive_errors, settings.consecutive_gateway_errors);
    let local = settings.consecutive_local_failures;
    if [errors, gateway, local].into_iter().flatten().all(|count| count == 0) {
        return None;
    }
    Some(Outliers {
        consecutive_errors: errors.unwrap_or(0),
        consecutive_gateway_errors: gateway.unwrap_or(0),
        consecutive_local_failures: local.unwrap_or(0),
        interval: settings.ejection_interval.unwrap_or(millis(10_000)),
        base_ejection: settings.base_ejection.unwrap_or(millis(30_000)),
        max_ejected_percent: settings.max_ejected_percent.unwrap_or(50),
        min_healthy_percent: settings.min_healthy_percent.unwrap_or(0),
    })
}

fn connection(settings: &Settings) -> ConnectionSettings {
    ConnectionSettings {
        max_requests: settings.requests_per_connection.filter(|requests| *requests > 0),
        max_age: settings.connection_age.filter(|age| !age.is_zero()),
        max_streams: limit(settings.streams_per_connection),
        keepalive: settings.keepalive.filter(|keepalive| keepalive.probes != Some(0)),
        upgrade_to_http2: settings.upgrade_to_http2.unwrap_or(false),
        proxy_protocol: settings.proxy_protocol,
    }
}
