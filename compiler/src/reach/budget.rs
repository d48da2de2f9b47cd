//! What is left of the limits, and the automata that are made already.
//!
//! The lists of one thing, such as the ports of a service, share a [`Budget`]. It counts steps and never time, and only
//! one thread has it, so that the same questions get the same answers wherever and whenever they are asked.

use super::{
    automaton::{Automaton, Pattern, TooLarge},
    dimension::Kind,
    limits::{Limits, Unknown},
    table::{Allowance, Problem},
    walk::Walk,
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::Arc,
};

/// What the questions about one thing may still take.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    /// Whether it is less than `limits` allow.
    is_share: bool,
    steps: Cell<u64>,
    /// Steps for one pattern, so that one that is too large leaves something for the others.
    steps_per_pattern: u64,
    pattern_bytes: Cell<usize>,
    fell_short: Cell<bool>,
    tables: RefCell<HashMap<(Kind, Pattern), Compiled>>,
    /// Expressions, and none for those that are not walked.
    walks: RefCell<HashMap<String, Option<Walk>>>,
}

/// Expressions kept to be walked; beyond it all are dropped, which costs time only.
const MOST_WALKS: usize = 1_000;

/// An automaton, or why there is none.
type Compiled = Result<Arc<Automaton>, Opaque>;

/// What is known of a pattern without an automaton.
#[derive(Clone, Debug)]
pub(super) struct Opaque {
    /// Why there is none, in words.
    pub(super) why: Arc<str>,
    /// Its matches begin like this, in lower case.
    pub(super) beginning: Arc<[u8]>,
}

/// One pattern may take so small a part of all steps.
const PATTERNS: u64 = 8;

impl Default for Budget {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Budget {
    /// All that `limits` allow.
    pub fn new(limits: &Limits) -> Self {
        Self::share(limits, limits.total_steps)
    }

    /// No more than some of the steps that `limits` allow.
    pub fn share(limits: &Limits, steps: u64) -> Self {
        let steps = steps.min(limits.total_steps);
        Self {
            limits: limits.clone(),
            is_share: steps < limits.total_steps,
            steps: Cell::new(steps),
            steps_per_pattern: steps / PATTERNS,
            pattern_bytes: Cell::new(limits.total_pattern_bytes),
            fell_short: Cell::new(false),
            tables: RefCell::default(),
            walks: RefCell::default(),
        }
    }

    /// Whether more steps would have been needed than there were: then more of them may give better answers.
    pub fn fell_short(&self) -> bool {
        self.fell_short.get()
    }

    /// Takes off the steps of some work.
    ///
    /// # Errors
    /// [`Unknown`] if there are not as many left.
    pub fn spend(&self, steps: usize) -> Result<(), Unknown> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        match self.steps.get().checked_sub(steps) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => {
                self.steps.set(0);
                self.fell_short.set(true);
                let whose = if self.is_share { "its share of the budget of the mesh" } else { "its budget" };
                Err(Unknown { why: format!("the list is too large to examine all of it within {whose}") })
            }
        }
    }

    pub(super) fn steps_per_question(&self) -> u64 {
        self.limits.steps_per_question
    }

    pub(super) fn conflicts_per_question(&self) -> u64 {
        self.limits.conflicts_per_question
    }

    /// The automaton of a pattern. Tables are made once.
    pub(super) fn automaton(&self, kind: Kind, pattern: &Pattern) -> Compiled {
        if !matches!(pattern, Pattern::Suffix { .. } | Pattern::Regex { .. }) {
            return self.compile(kind, pattern);
        }
        let key = (kind, pattern.clone());
        if let Some(known) = self.tables.borrow().get(&key) {
            return known.clone();
        }
        let compiled = self.compile(kind, pattern);
        self.tables.borrow_mut().insert(key, compiled.clone());
        compiled
    }

    /// Whether a regular expression certainly matches nothing that begins with `text`, or not the whole of it.
    pub(super) fn refuses(&self, pattern: &str, text: &str, whole: bool) -> bool {
        let Some((refused, steps)) = self.walk(pattern, |walk| walk.refuses(text, whole)) else {
            return false;
        };
        // Without budget the engine is asked, which says what is the matter.
        self.spend(steps).is_ok() && refused
    }

    /// A text that all of a regular expression matches, if one is found.
    pub(super) fn example(&self, pattern: &str) -> Option<String> {
        self.walk(pattern, |walk| walk.example().map(str::to_owned))?
    }

    /// What is found out by walking an expression; none if it is not walked.
    fn walk<R>(&self, pattern: &str, find: impl FnOnce(&mut Walk) -> R) -> Option<R> {
        let mut walks = self.walks.borrow_mut();
        if walks.len() >= MOST_WALKS && !walks.contains_key(pattern) {
            walks.clear();
        }
        if !walks.contains_key(pattern) {
            let (walk, _) = self.allow(|allowance| Walk::new(pattern, allowance));
            walks.insert(pattern.to_owned(), walk);
        }
        walks.get_mut(pattern).and_then(Option::as_mut).map(find)
    }

    /// What `make` makes of a pattern, taking off what it spends; and the bytes that it was allowed.
    fn allow<R>(&self, make: impl FnOnce(&mut Allowance) -> R) -> (R, usize) {
        let bytes = self.limits.pattern_bytes.min(self.pattern_bytes.get());
        let steps = self.steps_per_pattern.min(self.steps.get());
        let mut allowance = Allowance { bytes, steps };
        let made = make(&mut allowance);
        self.steps.set(self.steps.get().saturating_sub(steps.saturating_sub(allowance.steps)));
        (made, bytes)
    }

    fn compile(&self, kind: Kind, pattern: &Pattern) -> Compiled {
        let alphabet = &kind.shape().alphabet;
        let (compiled, bytes) = self.allow(|allowance| Automaton::compile(pattern, alphabet, allowance));
        match compiled {
            Ok(automaton) => {
                self.pattern_bytes.set(self.pattern_bytes.get().saturating_sub(automaton.bytes()));
                Ok(Arc::new(automaton))
            }
            Err(problem) => Err(self.opaque(problem, bytes)),
        }
    }

    fn opaque(&self, TooLarge { pattern, problem, beginning }: TooLarge, bytes: usize) -> Opaque {
        let why = match problem {
            Problem::Bytes => format!("{pattern} needs an automaton of more than {bytes} bytes"),
            Problem::Steps => {
                self.fell_short.set(true);
                let whose = match self.is_share {
                    true => "its list's share of the budget of the mesh",
                    false => "the budget of its list",
                };
                format!("{pattern} is too large to examine within {whose}")
            }
            Problem::Pattern(why) => format!("{pattern} {why}"),
        };
        Opaque { why: Arc::from(why), beginning: Arc::from(beginning) }
    }
}

/// What one question may still take.
#[derive(Debug)]
pub(super) struct Effort<'b> {
    pub(super) budget: &'b Budget,
    question: u64,
}

impl<'b> Effort<'b> {
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self { budget, question: budget.steps_per_question() }
    }

    /// Starts a new question with its full share; asking it takes a step.
    pub(super) fn next_question(&mut self) -> Result<(), Unknown> {
        self.question = self.budget.steps_per_question();
        self.budget.spend(1)
    }

    /// Takes `steps` off what is left for the question, and for all.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Unknown> {
        self.budget.spend(steps)?;
        match self.question.checked_sub(u64::try_from(steps).unwrap_or(u64::MAX)) {
            Some(left) => self.question = left,
            None => {
                let most = self.budget.steps_per_question();
                return Err(Unknown { why: format!("no answer after {most} steps of searching") });
            }
        }
        Ok(())
    }
}
