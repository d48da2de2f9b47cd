//! # What it finds
//! A service outside the mesh for a pattern of host names, such as `*.example.com`, and another one, of another namespace, for
//! a name or a narrower pattern within it, on one port and for the same callers. Two services of one namespace are taken to
//! know of each other. Equal names are `conflicting-hosts`.
//!
//! # Why it matters
//! The more specific one has the requests: whoever wrote the pattern gets neither them nor their settings.
//!
//! # Example
//! ```yaml
//! kind: ServiceEntry
//! metadata: { name: partners, namespace: egress }
//! spec: { hosts: [ "*.partner.example" ], … }
//! ---
//! kind: ServiceEntry
//! metadata: { name: pay, namespace: billing }
//! spec: { hosts: [ pay.partner.example ], … }
//! ```
//!
//! # Fix
//! Nothing, if it is meant. Otherwise narrow the pattern, or limit each to the namespaces that it is for.
//!
//! # References
//! Istio, ServiceEntry.hosts; istioctl IST0130 and following on hosts that overlap; Gateway API v1, on specificity of host
//! names.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, Service};

/// One finding per pair of services.
///
/// Cost: a look-up per label of each name that a document gives a service.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut patterns: BTreeMap<&str, Vec<&Service>> = BTreeMap::new();
    for service in &mesh.services {
        for suffix in service.hosts.iter().filter_map(|host| host.strip_prefix('*')) {
            patterns.entry(suffix).or_default().push(service);
        }
    }
    let mut found = Vec::new();
    if patterns.is_empty() {
        return found;
    }
    for service in &mesh.services {
        for host in &service.hosts {
            let name = host.strip_prefix('*').unwrap_or(host);
            let wider = suffixes(name).filter(|suffix| *suffix != name).find_map(|suffix| {
                let owners = patterns.get(suffix)?.iter();
                let other = owners.copied().find(|other| rivals(other, service))?;
                Some((format!("*{suffix}"), other))
            });
            if let Some((pattern, other)) = wider {
                found.push(report(service, host, other, &pattern));
            }
        }
    }
    found
}

/// The suffixes of a name that begin with a dot, longest first, then the empty one.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.char_indices().filter(|(_, c)| *c == '.').filter_map(|(at, _)| name.get(at..));
    dots.chain([""])
}

fn rivals(wide: &Service, narrow: &Service) -> bool {
    let together = match (&wide.visible_to, &narrow.visible_to) {
        (Some(a), Some(b)) => a.iter().any(|namespace| b.contains(namespace)),
        _ => true,
    };
    together
        && wide.namespace != narrow.namespace
        && wide.ports.iter().any(|port| narrow.port(port.number).is_some())
}

fn report(narrow: &Service, host: &str, wide: &Service, pattern: &str) -> Diagnostic {
    let (a, b) = (narrow.id(), wide.id());
    Diagnostic::note(
        "host-overlap",
        format!("requests for `{host}` go to `{a}`, although `{pattern}` of `{b}` fits them too"),
    )
    .object(narrow.at.origin.object.clone())
    .at(narrow.at.span)
    .label(format!("`{host}`, the more specific one"))
    .related(wide.at.span, format!("`{pattern}`"))
    .help("nothing, if it is meant; otherwise narrow the pattern, or limit each to its namespaces")
}
