//! Documents in, diagnostics and bodies out: each snapshot shows both, so that a review needs one file.

mod analyses;
mod bodies;
mod gateways;
mod honoured;
mod identity;
mod istio;
mod istio_access;
mod istio_gateways;
mod istio_scopes;
mod kubernetes;
mod hosts;
mod places;
mod symptoms;
mod traces;

use crate::diagnostic::human::{self, Style};
use crate::emit::{emit, render};
use crate::source::Sources;
use crate::{Compilation, compile};

/// A mesh and its services, which most cases begin with.
const SHOP: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: test.example, defaults: { access: allow } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.1 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints:
    static:
    - { address: 10.0.0.2, labels: { version: v1 } }
    - { address: 10.0.0.3, labels: { version: v2 } }
  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ]
";

/// Compiles one text of several documents, or several files each headed `=== path`.
fn compile_text(text: &str) -> (Sources, Compilation) {
    let mut files: Vec<(String, String)> = vec![("shop.yaml".to_owned(), SHOP.to_owned())];
    for part in text.split("=== ").filter(|part| !part.trim().is_empty()) {
        match part.split_once('\n') {
            Some((path, rest)) if path.ends_with(".yaml") => files.push((path.to_owned(), rest.to_owned())),
            _ => files.push(("case.yaml".to_owned(), part.to_owned())),
        }
    }
    let sources = Sources::in_memory(files);
    let compilation = compile(&sources);
    (sources, compilation)
}

#[test]
fn a_mesh_that_cannot_be_read_is_not_missing() {
    let text =
        "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: { name: a }\nspec: { trustDomain: 'a b' }\n";
    let names = |text: &str| {
        let found = compile(&Sources::in_memory([("mesh.yaml", text)])).diagnostics;
        found.iter().map(|finding| finding.analysis).collect::<Vec<_>>()
    };
    assert_eq!(names(text), ["invalid-value"]);
    assert_eq!(names(""), ["missing-mesh"]);
}

#[test]
fn a_revision_compiles_alike_after_another() {
    let route = |path: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: cart }}\nspec:\n  hosts: [ cart ]\n  \
             http: [ {{ match: [ {{ uri: {{ prefix: {path} }} }} ], route: [ {{ destination: {{ host: cart }} }} ] }} ]\n"
        )
    };
    let mut base = Sources::in_memory([
        ("mesh.yaml", SHOP.to_owned()),
        ("route.yaml", route("/a")),
        ("z.yaml", "a: [".to_owned()),
    ]);
    let mut head = Sources::in_memory([
        ("a.yaml", "kind: X".to_owned()),
        ("mesh.yaml", SHOP.to_owned()),
        ("route.yaml", route("nothing")),
    ]);
    head.align(&mut base);
    let paths = |sources: &Sources| sources.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&head), ["a.yaml", "mesh.yaml", "route.yaml", "z.yaml"]);
    assert_eq!(paths(&base), paths(&head));
    let mut known = crate::Known::default();
    for sources in [&head, &base, &head] {
        let parsed = crate::dialect::parse_with(sources, &mut known, &crate::progress::Silent);
        let after = crate::compile_parsed(
            sources,
            parsed,
            &crate::findings::Checks::default(),
            &crate::progress::Silent,
        );
        let alone = compile(sources);
        assert_eq!((after.diagnostics, after.summary), (alone.diagnostics, alone.summary));
        assert_eq!(format!("{:?}", after.mesh), format!("{:?}", alone.mesh));
    }
}

#[test]
fn one_fault_has_one_finding() {
    let text = "apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: a }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { service: Ca_rt } ] } ]
";
    let (_, compilation) = compile_text(text);
    let names: Vec<_> = compilation.diagnostics.iter().map(|finding| finding.analysis).collect();
    assert_eq!(names, ["invalid-name"]);
    let mut sources = Sources::in_memory([("mesh.yaml", SHOP)]);
    sources.diagnostics.push(crate::diagnostic::Diagnostic::error("refused-file", "x"));
    assert_eq!(compile(&sources).diagnostics.len(), 1);
}

/// What `weft check` would print, below what it was given.
fn findings(text: &str) -> String {
    let (sources, compilation) = compile_text(text);
    let rendered = human::render(&compilation.diagnostics, &sources, Style::Plain);
    let shown = if rendered.is_empty() { "nothing found\n" } else { &rendered };
    format!("{}\n\n────────\n\n{shown}", text.trim())
}

/// The body of a service as `--render` writes it, below what it was made from.
fn body(text: &str, service: &str) -> String {
    let (sources, compilation) = compile_text(text);
    let rendered = human::render(&compilation.diagnostics, &sources, Style::Plain);
    assert!(!compilation.has_errors(), "{rendered}");
    let emitted = emit(&compilation.mesh).unwrap();
    let found = emitted.iter().find(|emitted| emitted.service == service).unwrap();
    format!("{}\n\n────────\n\n{}", text.trim(), render(&found.bytes))
}
