//! CEL expressions, compiled to the predicates that proxies evaluate.
//!
//! ```text
//! text → limits → parse → Node (with places) → lower → Predicate
//!                                  ▲
//!                             environment: which attributes there are
//! ```
//!
//! Proxies never see CEL. The syntax is read by the `cel` crate, which has no types and no bounds; both are ours. An
//! expression is refused before it is parsed if it is long, deep or a long chain, types are checked against the
//! [`Environment`], and what cannot be said as a [`Predicate`] is refused with the reason. Nothing is approximated: for
//! every request the predicate says what the expression says (`tests/cel_oracle.rs` asks the interpreter).
//!
//! Where the two differ on purpose:
//! * A header with several lines has no single value. Each is looked at by itself, and if they disagree, that part of the
//!   expression is an error; [`weft_bundle::body::Predicate`] says what that means.
//! * A claim that is of another kind than what it is compared with is an error, and not merely unequal. A claim that is
//!   one text counts as a list of one for `in`.
//! * Regular expressions are RE2's over bytes with ASCII classes, as everywhere in Weft.

mod environment;
mod functions;
mod limits;
mod literals;
mod lower;
mod operators;
mod parse;
mod place;
mod term;
#[cfg(test)]
mod tests;

use std::ops::Range;

use weft_bundle::body::Predicate;

pub use self::environment::{Environment, Known};
pub use self::place::Placed;

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whether it is wrong, or only more than can be honoured.
    pub kind: FaultKind,
    /// The bytes of the expression that it is about. Never beyond its end; may be empty, and then is where something is
    /// missing.
    pub range: Range<usize>,
    /// What is wrong: lower case, one sentence, no final stop.
    pub message: String,
    /// The remedy.
    pub help: Option<String>,
    /// The reason.
    pub note: Option<String>,
}

/// Whether an expression is wrong, or only more than can be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It is not CEL, does not fit the types of the attributes, or could never hold.
    Invalid,
    /// It is good CEL that has no predicate.
    NotSupported,
}

impl Fault {
    fn new(kind: FaultKind, range: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind, range, message: message.into(), help: None, note: None }
    }

    fn invalid(range: &Range<usize>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, range.clone(), message)
    }

    fn not_supported(range: &Range<usize>, message: impl Into<String>) -> Self {
        Self::new(FaultKind::NotSupported, range.clone(), message)
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// The stack of the thread that parses, in bytes: what the parser of the `cel` crate wants for the deepest expression
/// that `limits` lets pass, several times over. It is reserved, not used.
const STACK: usize = 32 << 20;

/// The predicate that an expression means.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text; never empty.
pub fn compile(text: &str, environment: Environment) -> Result<Predicate, Vec<Fault>> {
    limits::check(text)?;
    let whole = 0..text.len();
    let lost =
        |why: &str| vec![Fault::not_supported(&whole, format!("the expression cannot be read: {why}"))];
    std::thread::scope(|scope| {
        let work = move || lower::lower(&parse::parse(text)?, environment);
        match std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(lost("its parser gave up"))),
            Err(error) => Err(lost(&error.to_string())),
        }
    })
}
