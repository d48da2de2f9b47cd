//! Each analysis: a case that fires, the nearest case that does not, two causes at once.

use super::{compile_text, findings};
use crate::diagnostic::Diagnostic;
use crate::model::Mesh;

/// Snapshots of what is found.
macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(findings($text)); })*
    };
}

/// Texts that nothing is found in.
macro_rules! silent {
    ($($name:ident: $text:expr;)*) => {
        $(#[test] fn $name() {
            let found = findings($text);
            assert!(found.ends_with("nothing found\n"), "{found}");
        })*
    };
}

mod access;
mod gateways;
mod graph;
mod references;
mod routes;
mod traffic;

/// The names of all that is found.
fn names_found(text: &str) -> Vec<&'static str> {
    compile_text(text).1.diagnostics.iter().map(|finding| finding.analysis).collect()
}

/// The messages of one analysis, of a mesh that documents make and a test then changes: for what no dialect spells, or not
/// this one.
fn found_in(text: &str, edit: impl FnOnce(&mut Mesh), run: fn(&Mesh) -> Vec<Diagnostic>) -> Vec<String> {
    let mut mesh = compile_text(text).1.mesh;
    edit(&mut mesh);
    mesh.reindex();
    run(&mesh).into_iter().map(|finding| finding.message).collect()
}
