//! Gateways: listeners with the decisions for callers outside the mesh, and who of them may come in.
//!
//! A Gateway document says that there is a way in, so without policies for it everyone may use it; what is behind it is
//! protected by its own policies, which see the gateway's identity. With an allow policy for the gateway, everyone else
//! stays outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_bundle::body::{
    Access, AccessDefault, Action, Cluster, Frontend, Listener, Target, TokenProvider, UpstreamTls, Verdict,
};
use weft_bundle::engine::HostPattern;

use super::cluster::Clusters;
use super::inbound::{access_list, providers};
use super::outbound::{list, respond};
use crate::model::routing::{listener_plan, listener_settings};
use crate::model::{AccessPolicy, GatewayIndex, GatewayListener, Mesh};

/// The listeners of a gateway, sorted by port, then name. Adds the clusters behind them.
pub(super) fn listeners(mesh: &Mesh, index: GatewayIndex, clusters: &mut Clusters<'_>) -> Vec<Listener> {
    let gateway = mesh.gateway(index);
    let access = access(mesh, index);
    let tokens: Vec<String> = token_providers(mesh, index).map(|(id, _)| id.clone()).collect();
    let listeners = gateway.listeners.iter().enumerate().map(|(place, listener)| Listener {
        name: listener.name.clone(),
        tls: listener.tls.clone(),
        frontend: frontend(mesh, index, place, listener, clusters),
        access: access.clone(),
        tokens: tokens.clone(),
    });
    let listeners = listeners.collect();
    if let Some(certificate) = &gateway.client_certificate {
        for cluster in clusters.made.values_mut() {
            if let UpstreamTls::Server(tls) = &mut cluster.tls {
                tls.certificate.get_or_insert_with(|| certificate.clone());
            }
        }
    }
    listeners
}

/// Adds the clusters behind listeners to those that the same workloads call for themselves. One that the gateway reaches in
/// another way, by a certificate of its own, is a cluster of its own.
pub(super) fn join(
    clusters: &mut BTreeMap<String, Cluster>,
    behind: BTreeMap<String, Cluster>,
    listeners: &mut [Listener],
) {
    let mut apart = BTreeMap::new();
    for (id, cluster) in behind {
        match clusters.get(&id) {
            Some(own) if *own != cluster => {
                let other = format!("{id}@gateway");
                apart.insert(id, other.clone());
                clusters.insert(other, cluster);
            }
            Some(_) => {}
            None => drop(clusters.insert(id, cluster)),
        }
    }
    let rename = |id: &mut String| {
        if let Some(other) = apart.get(id) {
            id.clone_from(other);
        }
    };
    for rule in listeners.iter_mut().flat_map(|listener| &mut listener.frontend.rules) {
        if let Action::Forward(backends) = &mut rule.action {
            for backend in backends {
                if let Target::Cluster(id) = &mut backend.target {
                    rename(id);
                }
            }
        }
        rule.mirrors.iter_mut().for_each(|mirror| rename(&mut mirror.cluster));
    }
}

/// The issuers whose tokens a gateway reads, by id.
pub(super) fn token_providers(
    mesh: &Mesh,
    gateway: GatewayIndex,
) -> impl Iterator<Item = &(String, TokenProvider)> {
    providers(mesh.tokens.iter().filter(move |policy| policy.gateways.contains(&gateway)))
}

fn frontend(
    mesh: &Mesh,
    index: GatewayIndex,
    place: usize,
    listener: &GatewayListener,
    clusters: &mut Clusters<'_>,
) -> Frontend {
    let plan = listener_plan(mesh, index, place);
    let (entries, rules) = list(mesh, &plan, |rule| Arc::new(listener_settings(mesh, rule)), clusters);
    let mut hosts: Vec<String> = listener.hosts.iter().map(HostPattern::to_string).collect();
    hosts.sort();
    Frontend {
        service: mesh.gateway(index).id(),
        port: listener.port,
        protocol: listener.protocol,
        hosts,
        addresses: Vec::new(),
        entries,
        rules,
        otherwise: respond(listener.at.origin.clone(), 404),
    }
}

fn access(mesh: &Mesh, index: GatewayIndex) -> Access {
    let policies: Vec<&AccessPolicy> =
        mesh.access.iter().filter(|policy| policy.gateways.contains(&index)).collect();
    let origin = mesh.gateway(index).at.origin.clone();
    let default = AccessDefault { effect: Verdict::Allow, origin };
    access_list(mesh, &policies, |operation| operation.ports.is_none(), default)
}
