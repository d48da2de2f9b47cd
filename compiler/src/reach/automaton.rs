//! The language of one pattern, as a deterministic automaton over bytes.
//!
//! Literal patterns are walked as they are; only suffixes and regular expressions get a table, built by
//! `table` under a limit. Two sentinel states make searches short: [`DEAD`] accepts no continuation,
//! [`FULL`] accepts every one (of the bytes that the dimension allows).

use super::table::{Allowance, Problem, Table};

/// A state of some automaton.
pub(super) type State = u32;
/// From here nothing is accepted any more.
pub(super) const DEAD: State = u32::MAX;
/// From here everything is accepted.
pub(super) const FULL: State = u32::MAX - 1;

/// Bytes that may occur in a dimension.
pub(super) type Alphabet = [bool; 256];

/// What is to be matched, before it is compiled. Equal patterns share one automaton.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    Any,
    Exact { text: String, ignore_case: bool },
    Prefix { text: String, ignore_case: bool },
    Segments { text: String, ignore_case: bool },
    Suffix { text: String },
    Regex { text: String, ignore_case: bool },
}

/// A pattern without an automaton: too large, or not a regular expression.
#[derive(Debug)]
pub(super) struct TooLarge {
    /// Which pattern, in words.
    pub(super) pattern: String,
    /// What is the matter with it.
    pub(super) problem: Problem,
    /// Its matches begin like this, in lower case.
    pub(super) beginning: Vec<u8>,
}

/// A deterministic automaton.
#[derive(Debug)]
pub(super) enum Automaton {
    Any,
    Literal(Literal),
    Table(Table),
}

impl Automaton {
    /// Compiles a pattern for a dimension whose values consist of `alphabet`.
    pub(super) fn compile(
        pattern: &Pattern,
        alphabet: &Alphabet,
        allowance: &mut Allowance,
    ) -> Result<Self, TooLarge> {
        let literal = |text: &str, end, ignore_case| {
            Ok(Self::Literal(Literal { text: text.as_bytes().to_vec(), end, ignore_case }))
        };
        match pattern {
            Pattern::Any => Ok(Self::Any),
            Pattern::Exact { text, ignore_case } => literal(text, End::Here, *ignore_case),
            Pattern::Prefix { text, .. } if text.is_empty() => Ok(Self::Any),
            Pattern::Prefix { text, ignore_case } => literal(text, End::Anywhere, *ignore_case),
            Pattern::Segments { text, ignore_case } => match text.trim_end_matches('/') {
                "" => literal("/", End::Anywhere, false),
                whole => literal(whole, End::SegmentBoundary, *ignore_case),
            },
            Pattern::Suffix { text } => {
                let escaped: String = text.bytes().map(|byte| format!(r"\x{byte:02x}")).collect();
                let table = Table::compile(&format!("(?s:.*){escaped}"), false, alphabet, allowance);
                Self::table(table, || format!("the suffix `{}`", abridged(text)))
            }
            Pattern::Regex { text, ignore_case } => {
                let table = Table::compile(text, *ignore_case, alphabet, allowance);
                Self::table(table, || format!("the regular expression `{}`", abridged(text)))
            }
        }
    }

    fn table(
        compiled: Result<Table, (Problem, Vec<u8>)>,
        pattern: impl Fn() -> String,
    ) -> Result<Self, TooLarge> {
        compiled.map(Self::Table).map_err(|(problem, beginning)| TooLarge {
            pattern: pattern(),
            problem,
            beginning,
        })
    }

    /// Accepts what begins like this, in any case.
    pub(super) fn beginning_with(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::Any;
        }
        Self::Literal(Literal { text: text.to_vec(), end: End::Anywhere, ignore_case: true })
    }

    pub(super) fn start(&self) -> State {
        match self {
            Self::Any => FULL,
            Self::Literal(_) => 0,
            Self::Table(table) => table.start(),
        }
    }

    pub(super) fn step(&self, state: State, byte: u8) -> State {
        match (state, self) {
            (DEAD | FULL, _) => state,
            (_, Self::Any) => FULL,
            (_, Self::Literal(literal)) => literal.step(state, byte),
            (_, Self::Table(table)) => table.step(state, byte),
        }
    }

    pub(super) fn accepts(&self, state: State) -> bool {
        match (state, self) {
            (DEAD, _) => false,
            (FULL, _) | (_, Self::Any) => true,
            (_, Self::Literal(literal)) => literal.accepts(state),
            (_, Self::Table(table)) => table.accepts(state),
        }
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let mut state = self.start();
        for &byte in text {
            if state == DEAD || state == FULL {
                break;
            }
            state = self.step(state, byte);
        }
        self.accepts(state)
    }

    /// How every accepted text begins, in lower case; empty if there is no such beginning.
    pub(super) fn beginning(&self) -> Vec<u8> {
        match self {
            Self::Any => Vec::new(),
            Self::Literal(literal) => literal.text.to_ascii_lowercase(),
            Self::Table(table) => table.beginning(),
        }
    }

    /// The bytes that occur in accepted texts.
    pub(super) fn bytes_in_use(&self) -> Alphabet {
        match self {
            Self::Table(table) => table.bytes_in_use(),
            Self::Any | Self::Literal(_) => [true; 256],
        }
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Literal(literal) => literal.text.len(),
            Self::Table(table) => table.bytes(),
        }
    }
}

/// A text and where a match may end.
#[derive(Debug)]
pub(super) struct Literal {
    text: Vec<u8>,
    end: End,
    ignore_case: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Here,
    Anywhere,
    SegmentBoundary,
}

impl Literal {
    /// A state is the number of bytes read; texts are far shorter than the sentinels.
    fn step(&self, state: State, byte: u8) -> State {
        match index(&self.text, state) {
            Some(expected) if self.is(*expected, byte) => {
                let next = state + 1;
                let done = index(&self.text, next).is_none();
                if done && self.end == End::Anywhere { FULL } else { next }
            }
            None if self.end == End::SegmentBoundary && byte == b'/' => FULL,
            Some(_) | None => DEAD,
        }
    }

    fn is(&self, expected: u8, byte: u8) -> bool {
        expected == byte || self.ignore_case && expected.eq_ignore_ascii_case(&byte)
    }

    fn accepts(&self, state: State) -> bool {
        index(&self.text, state).is_none()
    }

    /// The bytes that this literal tells from others.
    pub(super) fn special_bytes(&self) -> impl Iterator<Item = u8> {
        let cases = |byte: &u8| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()];
        let boundary = (self.end == End::SegmentBoundary).then_some(b'/');
        self.text.iter().flat_map(cases).chain(boundary)
    }
}

pub(super) fn index<T>(list: &[T], state: State) -> Option<&T> {
    list.get(usize::try_from(state).ok()?)
}

/// A pattern of ten kilobytes does not belong into a message.
fn abridged(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Alphabet = [true; 256];

    /// Enough for any pattern here, with a table of as many bytes.
    fn up_to(bytes: usize) -> Allowance {
        Allowance { bytes, steps: 10_000_000 }
    }

    fn compile(pattern: &Pattern) -> Automaton {
        Automaton::compile(pattern, &ALL, &mut up_to(1 << 20)).unwrap()
    }

    fn regex(text: &str) -> Pattern {
        Pattern::Regex { text: text.to_owned(), ignore_case: false }
    }

    fn check(pattern: &Pattern, yes: &[&str], no: &[&str]) {
        let automaton = compile(pattern);
        for text in yes {
            assert!(automaton.matches(text.as_bytes()), "{pattern:?} should match {text:?}");
        }
        for text in no {
            assert!(!automaton.matches(text.as_bytes()), "{pattern:?} should not match {text:?}");
        }
    }

    #[test]
    fn literals_end_where_their_kind_says() {
        let (text, ignore_case) = ("/a".to_owned(), false);
        check(&Pattern::Exact { text: text.clone(), ignore_case }, &["/a"], &["", "/", "/A", "/a/", "/ab"]);
        check(
            &Pattern::Prefix { text: text.clone(), ignore_case },
            &["/a", "/ab", "/a/b"],
            &["/", "/A", "b/a"],
        );
        check(&Pattern::Segments { text, ignore_case }, &["/a", "/a/", "/a/b"], &["/", "/ab", "/A"]);
        check(&Pattern::Segments { text: "/a/".to_owned(), ignore_case }, &["/a", "/a/b"], &["/ab"]);
        check(&Pattern::Segments { text: "/".to_owned(), ignore_case }, &["/", "/a"], &["*"]);
        check(&Pattern::Suffix { text: ".b*".to_owned() }, &[".b*", "x\n.b*"], &["", ".b", "xb*", ".b*x"]);
    }

    #[test]
    fn case_is_ignored_for_ascii_letters_only() {
        let (text, ignore_case) = ("/Aé[".to_owned(), true);
        let yes = ["/aé[", "/Aé["];
        let no = ["/aÉ[", "/aé{"];
        check(&Pattern::Exact { text, ignore_case }, &yes, &no);
        check(&Pattern::Regex { text: "/A[b-c]+".to_owned(), ignore_case }, &["/aBc"], &["/ad"]);
    }

    #[test]
    fn regular_expressions_match_the_whole_text_as_bytes() {
        check(&regex("a|ab"), &["a", "ab"], &["", "b", "abc", "xa"]);
        check(&regex("/.*"), &["/", "/é"], &["/\n", "x/"]);
        check(&regex(r"\d+"), &["0", "42"], &["٤", ""]);
        check(&regex("^/a$"), &["/a"], &["/a\n"]);
        check(&regex(r"(?m)a$\n^b"), &["a\nb"], &["a"]);
        check(&regex(r"\ba\b-b"), &["a-b"], &["ab"]);
        assert!(compile(&regex(r"(?-u:\xff)")).matches(b"\xff"));
    }

    #[test]
    fn hopeless_and_certain_states_are_folded() {
        let automaton = compile(&regex("(?s)a.*|b[^\\x00-\\xff]"));
        let start = automaton.start();
        assert_eq!(automaton.step(start, b'a'), FULL);
        assert_eq!(automaton.step(start, b'b'), DEAD);
        assert_eq!(compile(&regex("(?s).*")).start(), FULL);
        assert_eq!(compile(&regex("a$b")).start(), DEAD);
    }

    #[test]
    fn certainty_counts_only_bytes_that_can_occur() {
        let mut alphabet = ALL;
        alphabet[usize::from(b'\n')] = false;
        let automaton = Automaton::compile(&regex("/.*"), &alphabet, &mut up_to(1 << 20)).unwrap();
        assert_eq!(automaton.step(automaton.start(), b'/'), FULL);
    }

    #[test]
    fn the_beginning_is_what_all_matches_share() {
        let beginning = |pattern: &Pattern| String::from_utf8(compile(pattern).beginning()).unwrap();
        assert_eq!(beginning(&regex("/api/v[0-9]+")), "/api/v");
        assert_eq!(beginning(&regex("/api(/.*)?")), "/api");
        assert_eq!(beginning(&regex("/a|/b")), "/");
        assert_eq!(beginning(&regex("a*")), "");
        assert_eq!(beginning(&Pattern::Regex { text: "/aPi".to_owned(), ignore_case: true }), "/api");
        assert_eq!(beginning(&Pattern::Prefix { text: "/X".to_owned(), ignore_case: false }), "/x");
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let refused = |text: &str| Automaton::compile(&regex(text), &ALL, &mut up_to(1 << 16)).unwrap_err();
        assert_eq!(refused(".*a.{20}").problem, Problem::Bytes);
        assert_eq!(refused("((a{1000}){1000}){1000}").problem, Problem::Bytes);
        let Problem::Pattern(why) = refused("a)|(b").problem else { panic!("that is no expression") };
        assert!(why.starts_with("is not valid: "), "{why}");
        let long = refused(&format!("{}[", "é".repeat(100))).pattern;
        assert!(long.ends_with("é…`"), "{long}");
    }

    #[test]
    fn steps_are_counted_and_end_the_work() {
        let steps_of = |text: &str| {
            let mut allowance = up_to(1 << 20);
            let problem = Automaton::compile(&regex(text), &ALL, &mut allowance).err().map(|it| it.problem);
            (up_to(0).steps - allowance.steps, problem)
        };
        let (few, none) = steps_of("/api/v[0-9]+/items(/.*)?");
        assert!(none.is_none() && (100..20_000).contains(&few), "{few}");
        assert_eq!(steps_of("/.*[a-k].{60}").1, Some(Problem::Bytes));

        let steps = few;
        let mut just_enough = Allowance { bytes: 1 << 20, steps };
        let pattern = regex("/api/v[0-9]+/items(/.*)?");
        assert!(Automaton::compile(&pattern, &ALL, &mut just_enough).is_ok());
        assert_eq!(just_enough.steps, 0);
        for steps in [0, few / 2, few - 1] {
            let mut too_few = Allowance { bytes: 1 << 20, steps };
            let refused = Automaton::compile(&pattern, &ALL, &mut too_few).unwrap_err();
            assert_eq!((refused.problem, too_few.steps), (Problem::Steps, 0), "{steps}");
        }
    }
}
