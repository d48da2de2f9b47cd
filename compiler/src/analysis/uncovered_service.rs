//! # What it finds
//! In a mesh that allows by default: a port of a service with workloads for which no policy says who may call it. It is off
//! unless the Mesh document asks for it: an open mesh is open on purpose until its policies are written.
//!
//! # Why it matters
//! Everybody in the mesh may call it, with any request. While a mesh is being closed, this is the list of what is left.
//!
//! # Example
//! ```yaml
//! kind: Mesh
//! spec: { defaults: { access: allow }, analyses: { uncovered-service: warn } }
//! ```
//!
//! # Fix
//! Write an AccessPolicy that allows its callers. When nothing is left, set `defaults: { access: deny }`.
//!
//! # References
//! Kiali KIA1301 (workload covered by no AuthorizationPolicy); NIST SP 800-207, section 2.1 (no implicit trust).

use weft_bundle::body::{Effect, Verdict};

use crate::diagnostic::Diagnostic;
use crate::model::callers::policies_on;
use crate::model::{Mesh, ServiceIndex};

/// One finding per service.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    if mesh.default_access == Verdict::Deny {
        return Vec::new();
    }
    let ours = mesh.indexed().filter(|(_, service)| !service.external && service.is_served());
    ours.filter_map(|(index, _)| report(mesh, index)).collect()
}

fn report(mesh: &Mesh, index: ServiceIndex) -> Option<Diagnostic> {
    let service = mesh.service(index);
    let allows = |port| policies_on(mesh, index, port).any(|policy| policy.effect == Effect::Allow);
    let open: Vec<_> = service.ports.iter().filter(|port| !allows(port)).collect();
    let first = open.first()?;
    let ports = open.iter().map(|port| format!("`{}`", port.number)).collect::<Vec<_>>().join(", ");
    let message = match open.len() {
        1 => format!("everybody may call port {ports} of `{}`", service.id()),
        _ => format!("everybody may call ports {ports} of `{}`", service.id()),
    };
    let finding = Diagnostic::note("uncovered-service", message)
        .object(service.at.origin.object.clone())
        .at(first.span)
        .label("no policy says who may call it")
        .related(mesh.at.span, "the mesh allows by default")
        .help("write an AccessPolicy that allows its callers");
    Some(finding)
}
