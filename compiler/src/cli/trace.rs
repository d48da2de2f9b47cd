//! `weft trace`: what would happen to one request.

use std::net::IpAddr;
use std::process::ExitCode;

use time::OffsetDateTime;

use super::check::{self, Format};
use super::{FINE, Where, fail, findings, refuse, say};
use crate::compile;
use crate::diagnostic::hint;
use crate::dialect::DEFAULT_NAMESPACE;
use crate::model::{Mesh, ServiceIndex};
use crate::trace::{BackendShare, Decision, From, Question, Stranger, Trace, trace};

/// Shows what would happen to one request, and which lines decide it
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "weft trace [OPTIONS] --from <SERVICE> [PATH] <REQUEST>",
    after_help = "Examples:
  weft trace --from bookinfo/productpage 'GET http://reviews:9080/reviews/1'
  weft trace --from gateway:infra/edge 'GET https://shop.example/cart'      a caller from outside the mesh
  weft trace --from web 'tcp://db:5432'                                     a connection; tls:// asks for a name
  weft trace policy --from productpage 'http://reviews:9080/' -H 'end-user: jason' --format json
  weft trace --from gateway:infra/edge 'https://shop.example/me' -H \"authorization: Bearer $TOKEN\"
  weft trace --from spiffe://bookinfo.example/ns/ops/sa/probe 'http://ratings.bookinfo:9080/ratings/1'

The engine that decides is the proxies' own. Tokens are verified with the key sets in the repository, at the time that
it is now. Exit codes: 0 traced, whatever the decision; 1 the documents have errors;
2 could not trace."
)]
pub struct Args {
    /// The directory with the policy documents [default: .], then method and URL, such as
    /// `GET http://reviews:9080/reviews/1`; without a method it is GET
    // One list: as two arguments, the parser takes the path for the request when an option stands between them.
    #[arg(value_name = "PATH|REQUEST", num_args = 1..=2, required = true)]
    place_and_request: Vec<String>,
    /// The calling service, `namespace/name`, or `name` if only one service has it; `gateway:namespace/name` for a caller
    /// from outside who comes to that gateway; or the SPIFFE id of a client that connects to the service in the URL itself
    #[arg(long, value_name = "SERVICE")]
    from: String,
    /// A header of the request, `name: value`; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The address it comes from, for rules about networks
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    address: IpAddr,
    /// Read a Git revision instead of the files as they are
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Traces and prints.
pub fn run(args: &Args) -> ExitCode {
    let (path, request) = match args.place_and_request.as_slice() {
        [place] if std::path::Path::new(place).exists() => {
            return refuse(format_args!(
                "`{place}` is a directory or a file, and no request comes after it; write `weft trace --from {} {place} \
                 'GET http://SERVICE:PORT/PATH'`",
                args.from
            ));
        }
        [request] => (".", request),
        [path, request] => (path.as_str(), request),
        _ => return refuse("a directory and a request are expected, or a request alone"),
    };
    let place = Where { path: path.into(), rev: args.rev.clone() };
    let sources = match place.read() {
        Ok(sources) => sources,
        Err(error) => return fail(&error),
    };
    let compilation = compile(&sources);
    if compilation.has_errors() {
        check::show(&compilation, &sources, Format::Human);
        refuse("documents with errors cannot be traced");
        return findings();
    }
    let from = match find_caller(&compilation.mesh, &args.from) {
        Ok(from) => from,
        Err(message) => return refuse(message),
    };
    let question = match Question::parse(from, args.address, request, &args.headers) {
        Ok(question) => Question { now: Some(OffsetDateTime::now_utc().unix_timestamp()), ..question },
        Err(error) => return fail(&error),
    };
    match trace(&compilation.mesh, &question) {
        Ok(trace) => {
            let text = match args.format {
                Format::Human => human(&trace),
                Format::Json => serde_json::to_string_pretty(&trace).unwrap_or_default(),
            };
            say(text.trim_end());
            FINE
        }
        Err(error) => fail(&error),
    }
}

/// Who a text such as `shop/cart`, `cart`, `gateway:infra/edge` or `spiffe://…` stands for.
fn find_caller(mesh: &Mesh, text: &str) -> Result<From, String> {
    if text.starts_with("spiffe://") {
        let identity = text.parse().map_err(|error| format!("`{text}` is not a SPIFFE id: {error}"))?;
        let namespace = DEFAULT_NAMESPACE.to_owned();
        return Ok(From::Peer(Stranger { identity: Some(identity), namespace }));
    }
    match text.strip_prefix("gateway:") {
        None => find_service(mesh, text).map(From::Service),
        Some(name) => {
            let found = name.split_once('/').map(|(namespace, name)| mesh.gateway_named(namespace, name));
            match found.unwrap_or_else(|| Err(Vec::new())) {
                Ok(gateway) => Ok(From::Gateway(gateway)),
                Err(several) if !several.is_empty() => {
                    let several = several.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
                    Err(format!(
                        "the workloads of several services are the gateway `{name}`: name one of {several}"
                    ))
                }
                Err(_) => Err(no_such_gateway(mesh, name)),
            }
        }
    }
}

fn no_such_gateway(mesh: &Mesh, name: &str) -> String {
    let declared = mesh.gateways.iter().flat_map(|gateway| &gateway.declared_by);
    let declared = declared.map(|(namespace, name)| format!("{namespace}/{name}"));
    let names: Vec<String> = mesh.gateways.iter().map(|gateway| gateway.id()).chain(declared).collect();
    format!("no gateway is called `{name}`{}", hint(name, names.iter().map(String::as_str)))
}

fn find_service(mesh: &Mesh, text: &str) -> Result<ServiceIndex, String> {
    if let Some((namespace, name)) = text.split_once('/')
        && let Some(index) = mesh.find(namespace, name)
    {
        return Ok(index);
    }
    let same: Vec<_> = mesh.indexed().filter(|(_, service)| service.name == text).collect();
    match same.as_slice() {
        [(index, _)] => Ok(*index),
        [] => {
            let names: Vec<String> = mesh.services.iter().map(|service| service.id()).collect();
            let short = mesh.services.iter().map(|service| service.name.as_str());
            let hint = hint(text, names.iter().map(String::as_str).chain(short));
            Err(format!("no service is called `{text}`{hint}"))
        }
        several => {
            let names = several.iter().map(|(_, service)| service.id()).collect::<Vec<_>>().join(", ");
            Err(format!("several services are called `{text}`: {names}"))
        }
    }
}

/// One line a step, with its place, then the outcome.
fn human(trace: &Trace) -> String {
    let mut text = String::new();
    for step in &trace.steps {
        let place = match (&step.file, step.line) {
            (Some(file), Some(line)) if line > 0 => format!("  ({file}:{line})"),
            _ => String::new(),
        };
        text += &format!("{:>9}  {}{place}\n", step.stage, step.text);
    }
    let outcome = match (trace.decision, trace.status) {
        (Decision::Forward, _) => {
            let shares =
                trace.backends.iter().filter(|share| share.weight > 0).map(share).collect::<Vec<_>>();
            format!("forwarded to {}", shares.join(", "))
        }
        (Decision::Redirect, status) => {
            let location = trace.location.as_deref().unwrap_or_default();
            format!("redirected with {} to {location}", status.unwrap_or_default())
        }
        (Decision::Respond, None) => "closed by the mesh".to_owned(),
        (Decision::Deny, None) => "closed, as it is refused".to_owned(),
        (Decision::Respond, status) => format!("answered by the mesh with {}", status.unwrap_or_default()),
        (Decision::Deny, Some(status)) => format!("refused with {status}"),
    };
    text + &format!("{:>9}  {outcome}\n", "outcome")
}

fn share(share: &BackendShare) -> String {
    let subset = share.subset.as_ref().map(|subset| format!("/{subset}")).unwrap_or_default();
    let refused = share.access.as_ref().is_some_and(|access| !access.allowed);
    let verdict = if refused { ", refused" } else { "" };
    match share.status {
        Some(status) => format!("{}{subset} (weight {}, answers {status})", share.service, share.weight),
        None => format!("{}{subset} (weight {}{verdict})", share.service, share.weight),
    }
}
