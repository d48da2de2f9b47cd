//! Documents in, diagnostics and bodies out: each snapshot shows both, so that a review needs one file.

mod analyses;
mod bodies;
mod honoured;
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
    format!("{}\n\n────────\n\n{}", text.trim(), render(&found.body))
}

/// Sharing what two states hold alike changes nothing of what is found in either.
#[test]
fn two_states_compiled_together_are_as_each_alone() {
    let route = |service: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {service} }}
spec:
  parentRefs: [ {{ group: '', kind: Service, name: {service} }} ]
  rules: [ {{ backendRefs: [ {{ name: {service}, port: 81 }} ] }} ]
"
        )
    };
    let shop = ("shop.yaml", SHOP.to_owned());
    let cases = [
        // Nothing changes; one changes; one comes at the front; one goes from the front; all at once.
        (vec![shop.clone()], vec![shop.clone()]),
        (vec![shop.clone(), ("z.yaml", route("web"))], vec![shop.clone(), ("z.yaml", route("cart"))]),
        (vec![shop.clone()], vec![("a.yaml", route("web")), shop.clone()]),
        (vec![("a.yaml", route("crat")), shop.clone()], vec![shop.clone()]),
        (
            vec![("a.yaml", route("web")), ("b.yaml", "kind: [".to_owned()), shop.clone()],
            vec![
                ("b.yaml", route("cart")),
                ("c.yaml", route("cart")),
                shop.clone(),
                ("t.yaml", SHOP.to_owned()),
            ],
        ),
    ];
    for (before, after) in cases {
        let (base, head) = (Sources::in_memory(before), Sources::in_memory(after));
        let (mut shared_base, mut shared_head) = (base.clone(), head.clone());
        let checks = crate::findings::Checks::default();
        let (old, new) =
            crate::compile_both(&mut shared_base, &mut shared_head, &checks, &crate::progress::Silent);
        for (alone, together, compiled) in [(&base, &shared_base, old), (&head, &shared_head, new)] {
            let expected = compile(alone);
            let shown = |found: &[_], sources: &Sources| human::render(found, sources, Style::Plain);
            assert_eq!(shown(&compiled.diagnostics, together), shown(&expected.diagnostics, alone));
            assert_eq!(compiled.summary, expected.summary);
        }
    }
}

/// What two states hold alike is the very same document in both.
#[test]
fn what_two_states_hold_alike_is_read_once() {
    let mut head = Sources::in_memory([("a.yaml", "kind: x\n"), ("shop.yaml", SHOP)]);
    let mut base = Sources::in_memory([("shop.yaml", SHOP), ("z.yaml", SHOP)]);
    base.align(&mut head);
    let paths = |sources: &Sources| sources.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&base), ["a.yaml", "shop.yaml", "z.yaml"]);
    assert_eq!(paths(&head), paths(&base));
    let new = crate::dialect::parse_files(&head, None, &crate::progress::Silent);
    let old = crate::dialect::parse_files(&base, Some((&head, &new)), &crate::progress::Silent).join(&base);
    let new = new.join(&head);
    assert_eq!((new.documents.len(), old.documents.len()), (3, 6));
    for (new, old) in new.documents.iter().zip(&old.documents) {
        assert!(std::sync::Arc::ptr_eq(new, old), "{new}");
    }
}
