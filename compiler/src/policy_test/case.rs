//! One request: what happened, against what was expected.

use std::collections::BTreeMap;

use super::coverage::span_of;
use crate::diagnostic::{self, Diagnostic};
use crate::model::Mesh;
use crate::model::policy_test::{Case, Expectation, Expected, ExpectedBackend};
use crate::trace::{self, Access, Arriving, BackendShare, Decision, Question, Trace};

/// What happened instead.
struct Happened {
    /// As a clause.
    text: String,
    /// The verdict that it was about, if it was about one.
    decided: Option<Access>,
}

impl From<String> for Happened {
    fn from(text: String) -> Self {
        Self { text, decided: None }
    }
}

/// What did not hold, a finding for each expectation.
pub(super) fn check(mesh: &Mesh, case: &Case, trace: &Trace) -> Vec<Diagnostic> {
    let failed = |expectation: &Expectation| {
        let happened = verdict(mesh, &expectation.what, trace).err()?;
        Some(report(mesh, case, expectation, trace, &happened))
    };
    let mut failures: Vec<Diagnostic> = case.expectations.iter().filter_map(failed).collect();
    diagnostic::sort(&mut failures);
    failures
}

fn report(
    mesh: &Mesh,
    case: &Case,
    expectation: &Expectation,
    trace: &Trace,
    happened: &Happened,
) -> Diagnostic {
    let origin = &case.at.origin;
    let name = origin.rule.as_deref().unwrap_or_default();
    let finding = Diagnostic::error("failed-case", format!("`{name}` fails: {}", happened.text))
        .object(origin.object.clone())
        .at(expectation.span)
        .label(format!("expected {}", wanted(mesh, &expectation.what)))
        .help(command(mesh, &case.question));
    let rule = trace.rule.as_ref().map(|rule| (&rule.object, rule.name.as_deref(), rule.line));
    let access = |access: &Access| span_of(mesh, &access.policy, access.rule.as_deref(), access.line);
    let decided =
        happened.decided.as_ref().or(trace.access.as_ref().filter(|_| trace.decision == Decision::Deny));
    let place = match decided {
        Some(decided) => access(decided),
        None => rule.and_then(|(object, rule, line)| span_of(mesh, object, rule, line)),
    };
    match place {
        Some(span) => finding.related(span, "this decides"),
        None => finding,
    }
}

/// The command that shows every step.
fn command(mesh: &Mesh, question: &Question) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let Question { method, scheme, authority, path, query, headers, address, .. } = question;
    let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let request = quoted(&format!("{method} {scheme}://{authority}{path}{query}"));
    let from = match &question.from {
        trace::From::Service(caller) => mesh.service(*caller).id(),
        trace::From::Gateway(gateway) => format!("gateway:{}", mesh.gateway(*gateway).id()),
        trace::From::Peer(stranger) => match &stranger.identity {
            Some(identity) => identity.to_string(),
            None => return format!("the request is {request}, from a client without a certificate"),
        },
    };
    let fields = headers.iter().map(|(name, value)| {
        format!(" -H {}", quoted(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))))
    });
    let fields: String = fields.collect();
    let address = if address.is_unspecified() { String::new() } else { format!(" --address {address}") };
    format!("`weft trace --from {from} {request}{fields}{address}` shows every step")
}

/// What an expectation says, after "expected".
fn wanted(mesh: &Mesh, expected: &Expected) -> String {
    match expected {
        Expected::Access { allowed: true } => "every backend to let it in".to_owned(),
        Expected::Access { allowed: false } => "every backend to refuse it".to_owned(),
        Expected::Backends(backends) => {
            let texts = backends.iter().map(|(backend, weight)| {
                let weight = weight.map(|weight| format!(" with weight {weight}")).unwrap_or_default();
                format!("`{}`{weight}", backend.display(mesh))
            });
            listed(texts)
        }
        Expected::Status(status) => format!("the mesh to answer with {status}"),
        Expected::Location(location) => format!("a redirect to `{location}`"),
        Expected::Path(path) => format!("it to arrive with the path `{path}`"),
        Expected::Host(host) => format!("it to arrive with the host `{host}`"),
        Expected::RequestHeader(name, values) => format!("it to arrive with {}", field(name, values)),
        Expected::ResponseHeader(name, values) => format!("the response to have {}", field(name, values)),
        Expected::Rule(rule) => format!("`{rule}` to decide where it goes"),
        Expected::Policy(policy) => format!("{policy} to decide about access"),
        Expected::Mirrors(services) => match services.as_slice() {
            [] => "no copies".to_owned(),
            services => {
                format!(
                    "copies to {}",
                    listed(services.iter().map(|s| format!("`{}`", mesh.service(*s).id())))
                )
            }
        },
    }
}

/// Whether an expectation holds; else what happened, as a clause.
fn verdict(mesh: &Mesh, expected: &Expected, trace: &Trace) -> Result<(), Happened> {
    match expected {
        Expected::Access { allowed } => access(*allowed, trace),
        Expected::Backends(wanted) => backends(mesh, wanted, trace),
        Expected::Status(status) => match trace.status {
            Some(actual) if actual == *status => Ok(()),
            _ => Err(outcome(trace).into()),
        },
        Expected::Location(location) => match &trace.location {
            Some(actual) if actual == location => Ok(()),
            _ => Err(outcome(trace).into()),
        },
        Expected::Path(path) => arriving(trace, |at| match at.path == *path {
            true => Ok(()),
            false => Err(format!("it arrives with the path `{}`", at.path)),
        }),
        Expected::Host(host) => arriving(trace, |at| match at.authority.eq_ignore_ascii_case(host) {
            true => Ok(()),
            false => Err(format!("it arrives with the host `{}`", at.authority)),
        }),
        Expected::RequestHeader(name, values) => arriving(trace, |at| match values_of(&at.headers, name) {
            actual if actual == *values => Ok(()),
            actual => Err(format!("it arrives with {}", field(name, &actual))),
        }),
        Expected::ResponseHeader(name, values) => {
            arriving(trace, |at| match values_of(&at.response_headers, name) {
                actual if actual == *values => Ok(()),
                actual => Err(format!("the response has {}", field(name, &actual))),
            })
        }
        Expected::Rule(wanted) => rule(wanted, trace),
        Expected::Policy(wanted) => policy(wanted, trace),
        Expected::Mirrors(wanted) => {
            let mut actual: Vec<&str> = trace.mirrors.iter().map(|mirror| mirror.service.as_str()).collect();
            actual.sort_unstable();
            let wanted: Vec<String> = wanted.iter().map(|service| mesh.service(*service).id()).collect();
            match actual == wanted {
                true => Ok(()),
                false if actual.is_empty() => Err("nobody gets a copy".to_owned().into()),
                false => {
                    Err(format!("copies go to {}", listed(actual.iter().map(|id| format!("`{id}`")))).into())
                }
            }
        }
    }
}

/// The shares that get any requests.
fn weighted(trace: &Trace) -> impl Iterator<Item = &BackendShare> {
    trace.backends.iter().filter(|share| share.weight > 0)
}

/// Who is asked whether it may come in, and what they say: the backends, unless the gateway has refused it before.
fn asked(trace: &Trace) -> Vec<(String, &Access)> {
    if let Some(refusal) = trace.admission.as_ref().filter(|access| !access.allowed) {
        return vec![("the gateway".to_owned(), refusal)];
    }
    let shares = weighted(trace).filter_map(|share| Some((share, share.access.as_ref()?)));
    shares.map(|(share, access)| (format!("`{}`", share.service), access)).collect()
}

fn access(allowed: bool, trace: &Trace) -> Result<(), Happened> {
    let asked = asked(trace);
    if asked.is_empty() {
        return Err(format!("no backend is asked, because {}", outcome(trace)).into());
    }
    match asked.iter().find(|(_, access)| access.allowed != allowed) {
        None => Ok(()),
        Some((who, access)) => {
            let does = if access.allowed { "lets it in" } else { "refuses it" };
            let text = format!("{who} {does}, {}", reason(access));
            Err(Happened { text, decided: Some((*access).clone()) })
        }
    }
}

fn reason(access: &Access) -> String {
    match &access.rule {
        Some(rule) => format!("by {rule} of {}", access.policy),
        None if access.policy.starts_with("Service ") => "as its peers must have a certificate".to_owned(),
        None => format!("by default of {}", access.policy),
    }
}

fn policy(wanted: &str, trace: &Trace) -> Result<(), Happened> {
    let asked = asked(trace);
    if asked.is_empty() {
        return Err(format!("no policy is asked, because {}", outcome(trace)).into());
    }
    match asked.iter().find(|(_, access)| access.policy != wanted) {
        None => Ok(()),
        Some((who, access)) => {
            let text = format!("for {who} it is {} that decides", access.policy);
            Err(Happened { text, decided: Some((*access).clone()) })
        }
    }
}

fn rule(wanted: &str, trace: &Trace) -> Result<(), Happened> {
    let Some(rule) = &trace.rule else {
        return Err(format!("no rule decides, and {}", outcome(trace)).into());
    };
    let name = rule.name.as_deref().unwrap_or_default();
    let both = format!("{} {name}", rule.object);
    match wanted == name || wanted == rule.object || wanted == both {
        true => Ok(()),
        false if name.is_empty() => Err(format!("{} decides", rule.object).into()),
        false => Err(format!("`{name}` of {} decides", rule.object).into()),
    }
}

fn backends(mesh: &Mesh, wanted: &[(ExpectedBackend, Option<u32>)], trace: &Trace) -> Result<(), Happened> {
    let mut actual: BTreeMap<(&str, Option<u16>, Option<&str>), u64> = BTreeMap::new();
    for share in weighted(trace).filter(|share| !share.service.is_empty()) {
        let key = (share.service.as_str(), share.port, share.subset.as_deref());
        *actual.entry(key).or_default() += u64::from(share.weight);
    }
    let lost = weighted(trace).any(|share| share.service.is_empty());
    let is = |wanted: &ExpectedBackend, (service, port, subset): &(&str, Option<u16>, Option<&str>)| {
        mesh.service(wanted.service).id() == *service
            && (wanted.port.is_none() || wanted.port == *port)
            && wanted.subset.as_deref() == *subset
    };
    let all_there = wanted.iter().all(|(wanted, _)| actual.keys().any(|key| is(wanted, key)));
    let no_others = actual.keys().all(|key| wanted.iter().any(|(wanted, _)| is(wanted, key)));
    // Weights are relative: what counts is a share of the whole, if the whole is known.
    let whole: Option<u64> = wanted.iter().map(|(_, weight)| weight.map(u64::from)).sum();
    let total: u64 = actual.values().sum();
    let weighs = |(backend, weight): &(ExpectedBackend, Option<u32>)| {
        let own: u64 = actual.iter().filter(|(key, _)| is(backend, key)).map(|(_, weight)| weight).sum();
        match (weight.map(u64::from), whole) {
            (None, _) => true,
            (Some(weight), Some(whole)) => {
                u128::from(weight) * u128::from(total) == u128::from(own) * u128::from(whole)
            }
            (Some(weight), None) => weight == own,
        }
    };
    match all_there && no_others && !lost && wanted.iter().all(weighs) {
        true => Ok(()),
        false => Err(outcome(trace).into()),
    }
}

/// What holds of the request at every backend; else the first for which it does not.
fn arriving(trace: &Trace, holds: impl Fn(&Arriving) -> Result<(), String>) -> Result<(), Happened> {
    let mut arrivals = weighted(trace).filter_map(|share| share.arriving.as_ref()).peekable();
    if arrivals.peek().is_none() {
        return Err(format!("it arrives nowhere, because {}", outcome(trace)).into());
    }
    arrivals.try_for_each(holds).map_err(Happened::from)
}

fn values_of(fields: &[(String, String)], name: &str) -> Vec<String> {
    fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect()
}

/// `` `x-env: prod` ``, `no `x-env``.
fn field(name: &str, values: &[String]) -> String {
    match values {
        [] => format!("no `{name}`"),
        values => listed(values.iter().map(|value| format!("`{name}: {value}`"))),
    }
}

/// What happened, as a clause.
fn outcome(trace: &Trace) -> String {
    let status = trace.status.unwrap_or_default();
    match trace.decision {
        Decision::Respond => match trace.steps.last() {
            // Without a rule the last step is the reason.
            Some(step) if trace.rule.is_none() => format!("the mesh answers with {status}: {}", step.text),
            _ => format!("the mesh answers with {status}"),
        },
        Decision::Redirect => {
            format!("it is redirected with {status} to `{}`", trace.location.as_deref().unwrap_or_default())
        }
        Decision::Deny if trace.backends.is_empty() => "it is refused by the gateway".to_owned(),
        Decision::Deny => format!("it is refused by {}", shares(trace)),
        Decision::Forward => format!("it goes to {}", shares(trace)),
    }
}

fn shares(trace: &Trace) -> String {
    let alone = weighted(trace).count() == 1;
    let name = |share: &BackendShare| {
        let subset = share.subset.as_ref().map(|subset| format!("/{subset}")).unwrap_or_default();
        let weight = if alone { String::new() } else { format!(" with weight {}", share.weight) };
        match share.service.is_empty() {
            true => format!("nobody{weight}"),
            false => format!("`{}{subset}`{weight}", share.service),
        }
    };
    listed(weighted(trace).map(name))
}

/// `a`, `a and b`, `a, b and c`.
fn listed(texts: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = texts.collect();
    let last = texts.pop().unwrap_or_default();
    if texts.is_empty() { last } else { format!("{} and {last}", texts.join(", ")) }
}
