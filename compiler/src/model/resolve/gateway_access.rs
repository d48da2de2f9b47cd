//! Access policies of gateways, against what their listeners see.
//!
//! A listener for connections knows nothing of requests: there an allowance about them would hold for nobody or, turned
//! round by a `not`, for everybody, and a denial would refuse every connection.

use weft_bundle::body::OperationMatch;

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::model::{AccessRule, Mesh};

/// Reports rules about requests on gateways with listeners for connections.
pub(super) fn check(context: &mut Context<'_>, mesh: &Mesh) {
    for policy in &mesh.access {
        let listeners = policy.gateways.iter().flat_map(|index| {
            let gateway = mesh.gateway(*index);
            gateway.listeners.iter().map(move |listener| (gateway, listener))
        });
        let Some((gateway, opaque)) = listeners.clone().find(|(_, listener)| !listener.protocol.is_http())
        else {
            continue;
        };
        for rule in policy.rules.iter().filter(|rule| is_about_requests(rule)) {
            let message = format!(
                "this rule is about requests, but listener `{}` of `{}` speaks {}",
                opaque.name,
                gateway.id(),
                opaque.protocol.as_str()
            );
            context.report(
                Diagnostic::error("http-rule-on-tcp", message)
                    .object(policy.at.origin.object.clone())
                    .at(rule.at.span)
                    .related(opaque.span, "the listener is declared here")
                    .help("make a Gateway of its own for the listeners without requests, or take the condition out"),
            );
        }
    }
}

fn is_about_requests(rule: &AccessRule) -> bool {
    rule.to.iter().any(|operation| operation.condition != OperationMatch::default())
        || rule.when.as_ref().is_some_and(|when| when.needs_request())
}
