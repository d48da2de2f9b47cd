//! What a policy repository comes to, as texts for snapshot tests in Rust.
//!
//! [`of`] compiles documents and gives the findings as people read them, then the readable body of each service. The
//! texts hold no time, no path of the machine and no order of a hash map, so that equal documents give equal texts. Any
//! snapshot library will do; with [insta](https://insta.rs), the whole test of a policy repository is
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use weft::source::{Directory, Source};
//!
//! let sources = Directory::new("policy").read()?;
//! for part in weft::snapshot::of(&sources)? {
//!     insta::assert_snapshot!(part.name, part.text);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The first run keeps a file for each part; a later run fails where one differs, and `cargo insta review` shows how.
//! Without Rust, `weft test --update` and `weft test` do the same with the bodies.

use crate::diagnostic::human::{self, Style};
use crate::emit::{EmitError, emit, render};
use crate::source::Sources;
use crate::{Compilation, compile};

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `findings`, or the service as `namespace/name`.
    pub name: String,
    /// What to keep.
    pub text: String,
}

/// The findings, then the bodies, sorted by service. Documents with errors come to no bodies.
///
/// ```
/// use weft::source::Sources;
///
/// let sources = Sources::in_memory([(
///     "mesh.yaml",
///     "apiVersion: weft.dev/v1alpha1
/// kind: Mesh
/// metadata: { name: shop }
/// spec: { trustDomain: shop.example }
/// ---
/// apiVersion: weft.dev/v1alpha1
/// kind: Service
/// metadata: { name: web }
/// spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [] }
/// ",
/// )]);
/// let parts = weft::snapshot::of(&sources)?;
/// let [findings, web] = parts.as_slice() else { panic!("one service has two parts") };
/// insta::assert_snapshot!(findings.text, @"2 documents, 1 service, 0 errors");
/// assert_eq!(web.name, "default/web");
/// assert!(web.text.contains("identity: spiffe://shop.example/ns/default/sa/web"));
/// # Ok::<(), weft::emit::EmitError>(())
/// ```
///
/// # Errors
/// A body that a proxy would refuse, which is a fault of the compiler.
pub fn of(sources: &Sources) -> Result<Vec<Part>, EmitError> {
    let compilation = compile(sources);
    let mut parts = vec![Part { name: "findings".to_owned(), text: findings(&compilation, sources) }];
    if !compilation.has_errors() {
        let bodies = emit(&compilation.mesh)?;
        parts.extend(bodies.into_iter().map(|body| Part { text: render(&body.bytes), name: body.service }));
    }
    Ok(parts)
}

fn findings(compilation: &Compilation, sources: &Sources) -> String {
    let found = human::render(&compilation.diagnostics, sources, Style::Plain);
    format!("{found}{}\n", human::summary(&compilation.summary))
}
