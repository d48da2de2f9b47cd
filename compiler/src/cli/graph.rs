//! `weft graph`: who calls whom, as a picture.

use std::process::ExitCode;

use super::check::{self, Format as Findings};
use super::{FINE, Where, fail, findings, refuse, remark, say};
use crate::compile;
use crate::diagnostic::hint;
use crate::graph::{Graph, Kinds, dot, json, mermaid};

/// Draws who calls whom, and where routes send requests
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft graph                                     Mermaid, to paste into Markdown between ```mermaid and ```
  weft graph policy --format dot | dot -Tsvg > mesh.svg
  weft graph --focus reviews --depth 2           what it reaches in two steps, and what reaches it
  weft graph --focus gateway:infra/edge --depth 3  what callers from outside reach
  weft graph --kind calls --collapse namespace   a large mesh, a node for each namespace
  weft graph --format json --rev v1.4            for machines

Thin arrows are declared calls, dotted ones calls that access policy allows and nobody declares, thick ones routes with
the rule and its share. Gateways are hexagons. Cycles are red.
Exit codes: 0 drawn, 1 the documents have errors, 2 could not draw.")]
pub struct Args {
    #[command(flatten)]
    place: Where,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
    /// Which arrows
    #[arg(long, value_enum, default_value_t = Kind::All)]
    kind: Kind,
    /// Only what this service reaches, and what reaches it: `namespace/name`, `gateway:namespace/name`, or `name` if only
    /// one has it
    #[arg(long, value_name = "SERVICE")]
    focus: Option<String>,
    /// In at most this many steps
    #[arg(long, value_name = "N", default_value_t = 1, requires = "focus")]
    depth: usize,
    /// Only this namespace, and its neighbours
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
    /// One node for all services of a namespace
    #[arg(long, value_enum, value_name = "BY")]
    collapse: Option<Collapse>,
}

/// How the graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For Markdown on GitHub and GitLab
    Mermaid,
    /// For Graphviz
    Dot,
    /// For machines
    Json,
}

/// Which arrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Who calls whom, declared or only allowed
    Calls,
    /// Where routes send requests
    Routes,
    /// Both
    All,
}

/// What becomes one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Collapse {
    /// All services of a namespace
    Namespace,
}

/// Draws, and gives the exit code.
pub fn run(args: &Args) -> ExitCode {
    let sources = match args.place.read() {
        Ok(sources) => sources,
        Err(error) => return fail(&error),
    };
    let compilation = compile(&sources);
    // A picture of a cycle is what one wants when the check has found it.
    let fatal = |name: &str| name != "dependency-cycle";
    if compilation
        .diagnostics
        .iter()
        .any(|finding| finding.severity == crate::diagnostic::Severity::Error && fatal(finding.analysis))
    {
        check::show(&compilation, &sources, Findings::Human);
        refuse("documents with errors cannot be drawn");
        return findings();
    }
    let graph = match select(Graph::build(&compilation.mesh), args) {
        Ok(graph) => graph,
        Err(message) => return refuse(message),
    };
    let text = match args.format {
        Format::Mermaid => mermaid::render(&graph),
        Format::Dot => dot::render(&graph),
        Format::Json => json::render(&graph),
    };
    if args.format == Format::Mermaid && mermaid::is_too_large(&graph, &text) {
        remark(
            "GitHub does not draw flowcharts this large; `--focus`, `--namespace` or `--collapse` make it smaller",
        );
    }
    say(text.trim_end());
    FINE
}

fn select(graph: Graph, args: &Args) -> Result<Graph, String> {
    let mut graph = graph.of_kind(match args.kind {
        Kind::Calls => Kinds::Calls,
        Kind::Routes => Kinds::Routes,
        Kind::All => Kinds::All,
    });
    if let Some(namespace) = &args.namespace {
        let known: Vec<&str> = graph.nodes.iter().map(|node| node.namespace.as_str()).collect();
        if !known.contains(&namespace.as_str()) {
            return Err(format!("no service is in namespace `{namespace}`{}", hint(namespace, known)));
        }
        graph = graph.of_namespace(namespace);
    }
    if let Some(service) = &args.focus {
        let id = match graph.named(service).as_slice() {
            [id] => (*id).to_owned(),
            [] => return Err(unknown(&graph, service)),
            several => return Err(format!("several are called `{service}`: {}", several.join(", "))),
        };
        graph = graph.focus(&id, args.depth).ok_or_else(|| format!("no service is called `{service}`"))?;
    }
    Ok(match args.collapse {
        Some(Collapse::Namespace) => graph.collapse(),
        None => graph,
    })
}

fn unknown(graph: &Graph, service: &str) -> String {
    let names =
        graph.nodes.iter().flat_map(|node| node.name.as_deref().into_iter().chain([node.id.as_str()]));
    format!("no service is called `{service}`{}", hint(service, names))
}
