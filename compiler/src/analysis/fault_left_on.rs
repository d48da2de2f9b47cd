//! # What it finds
//! A fault that all requests of a rule suffer, where the rule does not limit it to testers: no condition that leads to it asks
//! for a header, a query parameter, or a kind of caller. A fault for a share below all is no finding.
//!
//! # Why it matters
//! Faults are put in for an experiment. This one meets every user.
//!
//! # Example
//! ```yaml
//! http:
//! - fault: { abort: { httpStatus: 500, percentage: { value: 100 } } }
//!   route: [ { destination: { host: ratings } } ]
//! ```
//!
//! # Fix
//! Remove it, or let the rule match a header that only testers send.
//!
//! # References
//! Istio, "Fault injection" (its example matches `end-user: jason`); Principles of Chaos Engineering, "minimise blast radius".

use std::collections::BTreeMap;

use weft_bundle::body::{Fault, Fraction, RequestMatch};

use super::levels::{Levels, Place, passages};
use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, Settings};
use crate::yaml::Span;

/// One finding per place that sets a fault.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    if !asks_for_faults(mesh) {
        return Vec::new();
    }
    for (index, service) in mesh.indexed() {
        for passage in passages(mesh, index) {
            let rule = passage.rule;
            let used = rule.is_some() || mesh.index.routes(index).is_empty();
            let said = Levels::of(mesh, passage).get(Settings::FAULT);
            let what = said.and_then(|said| Some((said.place, for_all(said.value)?)));
            if let Some((place, what)) = what.filter(|_| used && !is_limited(mesh, rule)) {
                let whose = || narrow_rule(mesh, rule).unwrap_or_else(|| format!("to `{}`", service.id()));
                found.entry(place.span).or_insert_with(|| report(place, what, &whose()));
            }
        }
    }
    found.extend(of_gateways(mesh).map(|(place, what, to)| (place.span, report(place, what, &to))));
    found.into_values().collect()
}

/// Faults are rare, and looking at every rule of a mesh is not free.
fn asks_for_faults(mesh: &Mesh) -> bool {
    let rules = mesh.routes.iter().flat_map(|route| &route.rules).any(|rule| rule.settings.fault.is_some());
    rules
        || mesh.traffic.iter().any(|policy| policy.settings.fault.is_some())
        || mesh.defaults.fault.is_some()
        || mesh.parts().any(|part| part.told.settings(part.port.number).fault.is_some())
}

/// Rules that only gateways use.
fn of_gateways(mesh: &Mesh) -> impl Iterator<Item = (Place<'_>, &'static str, String)> {
    let routes = mesh.routes.iter().enumerate();
    let routes = routes.filter(|(_, route)| route.attachments.is_empty() && !route.listeners.is_empty());
    routes.flat_map(move |(place, route)| {
        let rules = route.rules.iter().enumerate();
        rules.filter_map(move |(number, rule)| {
            let what = for_all(rule.settings.fault.as_ref()?)?;
            let rule_place = Some((place, number));
            let of_route = || format!("to `{}`", route.at.origin.object);
            let whose = narrow_rule(mesh, rule_place).unwrap_or_else(of_route);
            (!is_limited(mesh, rule_place))
                .then(|| (Place::from(&rule.at).of(&rule.settings, Settings::FAULT), what, whose))
        })
    })
}

/// What a fault does to all requests, if anything.
fn for_all(fault: &Fault) -> Option<&'static str> {
    let all = |share: Fraction| share.numerator >= share.denominator;
    match fault {
        Fault { abort: Some(abort), .. } if all(abort.share) => Some("is answered with an error"),
        Fault { delay: Some(delay), .. } if all(delay.share) && !delay.fixed.is_zero() => Some("is delayed"),
        _ => None,
    }
}

/// Whether every condition that leads to the rule picks some of the users.
fn is_limited(mesh: &Mesh, rule: Option<(usize, usize)>) -> bool {
    let Some((route, rule)) = rule else { return false };
    let mut entries =
        mesh.routes.get(route).into_iter().flat_map(|route| &route.entries).filter(|e| e.rule == rule);
    entries.all(|entry| {
        !entry.condition.headers.is_empty()
            || !entry.condition.query.is_empty()
            || !entry.source_labels.is_empty()
            || entry.source_namespace.is_some()
    })
}

/// Whose requests are meant, where a rule does not take all of them.
fn narrow_rule(mesh: &Mesh, rule: Option<(usize, usize)>) -> Option<String> {
    let (route, number) = rule?;
    let route = mesh.routes.get(route)?;
    let mut entries = route.entries.iter().filter(|entry| entry.rule == number);
    let name = route.rules.get(number)?.at.origin.rule.as_deref()?;
    let takes_all = entries.any(|entry| entry.condition == RequestMatch::default());
    (!takes_all).then(|| format!("that `{name}` takes"))
}

fn report(place: Place<'_>, what: &str, whose: &str) -> Diagnostic {
    Diagnostic::warning("fault-left-on", format!("every request {whose} {what} on purpose"))
        .object(place.object)
        .at(place.span)
        .label("a fault for everybody")
        .help("remove the fault, or limit it to requests with a header that only testers send")
}
