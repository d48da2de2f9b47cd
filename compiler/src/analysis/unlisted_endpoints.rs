//! # What it finds
//! Services of Kubernetes whose endpoints no document lists: they have a `selector`, and neither an EndpointSlice nor a Pod
//! with an address. One finding stands for all of them, at the first.
//!
//! # Why it matters
//! Everything else about such services can be checked, traced and tested. But a bundle carries the addresses that a proxy
//! calls, so bundles that are built from these documents alone answer their callers with 503.
//!
//! # Example
//! ```yaml
//! kind: Service
//! metadata: { name: cart }
//! spec: { selector: { app: cart }, ports: [ { name: http, port: 80 } ] }     # and no EndpointSlice of `cart`
//! ```
//!
//! # Fix
//! Add what the cluster says before `weft build`:
//! `kubectl get endpointslices --all-namespaces --output yaml > endpoints.yaml`. A repository that is only checked needs
//! nothing, and can say so with `analyses: { unlisted-endpoints: off }` in the Mesh document.
//!
//! # References
//! Kubernetes, EndpointSlice (`discovery.k8s.io/v1`).

use crate::diagnostic::Diagnostic;
use crate::model::Mesh;

/// One finding at most.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut services = mesh.services.iter().filter(|service| service.endpoints_later);
    let Some(first) = services.next() else { return Vec::new() };
    let others = match services.count() {
        0 => String::new(),
        1 => " and of one more service".to_owned(),
        count => format!(" and of {count} more services"),
    };
    let finding = Diagnostic::note(
        "unlisted-endpoints",
        format!("no document lists the endpoints of `{}`{others}", first.id()),
    );
    vec![
        finding
            .object(first.at.origin.object.clone())
            .at(first.at.span)
            .with_note("what is built from these documents alone answers their callers with 503")
            .help(
                "add them before `weft build`: `kubectl get endpointslices --all-namespaces --output yaml`",
            ),
    ]
}
