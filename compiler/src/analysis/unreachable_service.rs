//! # What it finds
//! A service that others declare in `calls`, or that a route sends requests to, while nobody at all may call it: on each of
//! its ports either no rule of any allow policy matches anybody and the default denies, or a denial without conditions
//! refuses everybody. A service that nobody asks for is no finding, nor is one without endpoints, which only carries
//! routes. While documents are broken, nothing is said: the policy may be in them.
//!
//! # Why it matters
//! Every call is answered with 403. The declaration and the policies disagree, and the proxies follow the policies.
//!
//! # Example
//! ```yaml
//! kind: Service
//! metadata: { name: web }
//! spec: { calls: [ { name: cart } ] }        # in a mesh that denies by default, without a policy for `cart`
//! ```
//!
//! # Fix
//! Add an AccessPolicy that allows the callers, or take the service out of their `calls`.
//!
//! # References
//! NIST SP 800-204B, section 4.2 (deny by default needs a policy for each call that is meant); np-guard, `--exposure`.

use weft_bundle::body::{Effect, OperationMatch, Verdict};

use crate::diagnostic::Diagnostic;
use crate::model::callers::policies_on;
use crate::model::{AccessRule, Mesh, Port, Service, ServiceIndex};
use crate::yaml::Span;

/// How many callers are shown.
const SHOWN: usize = 3;

/// One finding per service.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut wanted: Vec<Vec<(ServiceIndex, Span)>> = vec![Vec::new(); mesh.services.len()];
    for (caller, service) in mesh.indexed() {
        for call in service.named_calls() {
            if let Some(callers) = wanted.get_mut(call.service.0) {
                callers.push((caller, call.span));
            }
        }
    }
    let unreached = mesh.indexed().filter(|(index, service)| is_closed(mesh, *index, service));
    unreached
        .filter_map(|(index, service)| {
            let callers = wanted.get(index.0).map(Vec::as_slice).unwrap_or_default();
            let sender = mesh.index.senders(index).iter().find_map(|place| sent_by(mesh, *place, index));
            (!callers.is_empty() || sender.is_some()).then(|| report(mesh, service, callers, sender))
        })
        .collect()
}

/// Whether it has workloads and none of its ports lets anybody in.
fn is_closed(mesh: &Mesh, index: ServiceIndex, service: &Service) -> bool {
    let works = !service.external && service.is_served();
    works && !service.ports.is_empty() && service.ports.iter().all(|port| !lets_anybody_in(mesh, index, port))
}

fn lets_anybody_in(mesh: &Mesh, index: ServiceIndex, port: &Port) -> bool {
    let here = |rule: &AccessRule| rule.to.is_empty() || rule.to.iter().any(|o| o.is_for(index, port.number));
    let everything = |rule: &AccessRule| {
        let all = |o: &crate::model::Operation| {
            o.is_for(index, port.number) && o.condition == OperationMatch::default()
        };
        rule.from.is_empty() && rule.when.is_none() && (rule.to.is_empty() || rule.to.iter().any(all))
    };
    let (mut has_allow, mut allowed) = (false, false);
    for policy in policies_on(mesh, index, port) {
        match policy.effect {
            Effect::Allow => {
                has_allow = true;
                allowed |= policy.rules.iter().any(here);
            }
            Effect::Deny if policy.rules.iter().any(everything) => return false,
            Effect::Deny | Effect::Audit => {}
        }
    }
    if has_allow { allowed } else { mesh.default_access == Verdict::Allow }
}

/// The place where a route sends requests to the service.
fn sent_by(mesh: &Mesh, route: usize, index: ServiceIndex) -> Option<(String, Span)> {
    let route = mesh.routes.get(route)?;
    let backends = route.rules.iter().flat_map(|rule| rule.action.backends());
    let to = |backend: &&crate::model::BackendRef| {
        backend.weight > 0 && backend.target.as_ref().is_some_and(|target| target.service == index)
    };
    let backend = backends.into_iter().find(to)?;
    Some((route.at.origin.object.clone(), backend.span))
}

fn report(
    mesh: &Mesh,
    service: &Service,
    callers: &[(ServiceIndex, Span)],
    sender: Option<(String, Span)>,
) -> Diagnostic {
    let why = match mesh.default_access {
        Verdict::Deny => "no policy lets anybody in, and the mesh denies by default",
        Verdict::Allow => "its policies let nobody in",
    };
    let mut finding =
        Diagnostic::warning("unreachable-service", format!("nobody may call `{}`", service.id()))
            .object(service.at.origin.object.clone())
            .at(service.at.span)
            .label("every request is refused")
            .with_note(why);
    for (caller, span) in callers.iter().take(SHOWN) {
        finding =
            finding.related(*span, format!("`{}` declares that it calls it", mesh.service(*caller).id()));
    }
    if let Some((object, span)) = sender {
        finding = finding.related(span, format!("{object} sends requests to it"));
    }
    finding.help("add an AccessPolicy that allows its callers, or remove it from their `calls`")
}
