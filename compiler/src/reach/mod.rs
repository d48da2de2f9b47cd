//! Exact reachability of ordered rules: given a list where the first match wins, which entries can no request ever
//! reach, because the *union* of the entries before them covers all they match?
//!
//! The engine stands alone. It knows nothing of documents, dialects or bundles (but for `condition`, which nothing else
//! here uses), does no IO, reads no clock, and never guesses: what it cannot decide within its [`Budget`] is
//! [`Reach::Unknown`], with the reason. An answer is a proof and carries its evidence: a request that arrives, or the
//! entries that take everything and a request they take.
//!
//! # What a request is here
//! A request is one point in a product of *dimensions*: path, method, scheme, authority, port, and one dimension per
//! header, query parameter and fact that some entry names. Every value is a byte string of a legal shape (see
//! `dimension`); headers, parameters and facts may also be absent. Each has at most one value: a request that
//! repeats a header is outside this model. A condition on an absent field does not hold; an inverted condition holds
//! exactly when the plain one does not, so also for an absent field.
//!
//! # How it decides
//! For entry *i*, a loop of guesses and refutations (CEGAR) over a lazy SAT-modulo-automata query:
//!
//! 1. Find any request that entry *i* matches. If no earlier entry takes it, it is the witness: reachable.
//! 2. Otherwise each entry that took it may cover *i* alone, which is one inclusion of languages per dimension.
//! 3. Otherwise remember the taker as a clause, "avoid at least one of its conditions", and ask the SAT core which
//!    conditions to avoid. For each dimension a product walk of automata looks for a string that is inside all that
//!    *i* demands and outside all that is to be avoided; if there is none, the minimal reason goes back as a clause.
//!    A full set of strings is a new request: back to 1. No model left: unreachable, and the unsat core, made
//!    minimal, names the guilty entries.
//!
//! A condition occurs in earlier entries only as something to *avoid*, and an inverted one is a condition of its own,
//! so the SAT side is monotone and needs no "exactly one value" constraints.
//!
//! The question is coNP-complete, so there are budgets; in practice almost every entry is settled by step 1 or 2.
//! Finding the takers of one request goes through an index on literal beginnings (`index`), so a list of n entries
//! costs about n look-ups instead of n² overlap tests. What is counted against a [`Budget`] is work, not time, and a
//! whole mesh shares one (`ration`): the same documents get the same answers on any machine.
//!
//! Read in this order: `entry` and `request` are what goes in and out, and `condition` makes the one; [`Reachability`]
//! and `question` are the loop above; `vocabulary`, `dimension`, `automaton` and `table` turn conditions into languages,
//! `beginning` those that are too large; `plain`, `walk` and `example` are what needs none of this; `theory` and `search` find
//! strings; `sat` wraps the solver; `limits`, `budget` and `ration` say what all of it may take.

mod entry;
mod condition;
mod request;
mod reachability;
mod question;
mod vocabulary;
mod dimension;
mod automaton;
mod table;
mod beginning;
mod theory;
mod search;
mod index;
mod plain;
mod walk;
mod example;
mod sat;
mod limits;
mod budget;
pub(crate) mod ration;
#[cfg(test)]
mod brute_force;
#[cfg(test)]
mod same_as_engine;

pub use budget::Budget;
pub(crate) use condition::{HOST_FACT, entry_of, network, path_kind};
pub use entry::{Entry, FieldCondition, FieldPattern, PathKind, PathPattern, StringPattern};
pub use limits::{Limits, Unknown};
pub use plain::{Earlier, plain_path, plainly_apart, plainly_reached};
pub use reachability::{Reach, Reachability};
pub use request::Request;

/// Says of every entry whether a request can reach it, in the order of `entries`.
pub fn analyse(entries: &[Entry], budget: &Budget) -> Vec<Reach> {
    let mut list = Reachability::new(entries, budget);
    (0..entries.len()).map(|at| list.reach(at)).collect()
}

/// A request that both entries match, if there is one.
///
/// # Errors
/// [`Unknown`] if a pattern is too large, or the search for a request too long, for `budget`.
pub fn overlaps(a: &Entry, b: &Entry, budget: &Budget) -> Result<Option<Request>, Unknown> {
    Reachability::new(&[a.clone(), b.clone()], budget).overlaps(0, 1)
}

/// Whether `wide` matches every request that `narrow` matches. An entry that matches nothing is covered by all.
///
/// # Errors
/// [`Unknown`] if a pattern is too large, or the search for a request too long, for `budget`.
pub fn covers(wide: &Entry, narrow: &Entry, budget: &Budget) -> Result<bool, Unknown> {
    Reachability::new(&[wide.clone(), narrow.clone()], budget).covers(0, 1)
}
