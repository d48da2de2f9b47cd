//! What can be seen without automata: entries that a request plainly reaches, and pairs that plainly share none.
//!
//! Most entries of most lists are plain paths in a sensible order. They are settled here by looking a few texts up; only
//! what is left is a question for the engine. Both answers are one-sided: "plainly" is a proof, and
//! its absence says nothing. A test holds them to what the engine says.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use super::budget::Budget;
use super::entry::{Entry, FieldCondition, FieldPattern, PathKind, PathPattern, StringPattern};

/// So many entries that begin alike are compared with a request; beyond it, the engine's index is quicker.
const MOST_ALIKE: usize = 256;

/// Whether a request plainly reaches each entry. Costs a few look-ups for each of them.
pub fn plainly_reached(entries: &[Entry], budget: &Budget) -> Vec<bool> {
    let mut earlier = Earlier::default();
    let reached = |entry| {
        let reached = earlier.plainly_lets_through(entry, budget);
        earlier.add(entry);
        reached
    };
    entries.iter().map(reached).collect()
}

/// Entries that come first, by how the paths that they match begin: by nothing, for those of which that is not plain.
#[derive(Debug, Default)]
pub struct Earlier<'e> {
    shelves: HashMap<String, Vec<(Option<Beginning>, &'e Entry)>>,
    /// The lengths of the keys.
    lengths: BTreeSet<usize>,
}

impl<'e> Earlier<'e> {
    /// Adds one.
    pub fn add(&mut self, entry: &'e Entry) {
        let beginning = entry.path.as_ref().and_then(Beginning::of);
        let key = beginning.as_ref().map(Beginning::text).unwrap_or_default().to_owned();
        self.lengths.insert(key.len());
        self.shelves.entry(key).or_default().push((beginning, entry));
    }

    /// Whether plainly none of them takes some request that `entry` matches, as far as the budget goes.
    pub fn plainly_lets_through(&self, entry: &Entry, budget: &Budget) -> bool {
        requests(entry, budget).iter().flatten().any(|request| !self.may_take(request, budget))
    }

    /// Whether one of them might match a request: only what is plainly not so is denied.
    fn may_take(&self, request: &Plain<'_>, budget: &Budget) -> bool {
        // Without case, which finds more alike than there may be.
        let path = request.path.to_ascii_lowercase();
        self.lengths.range(..=path.len()).any(|length| {
            let alike = path.get(..*length).and_then(|key| self.shelves.get(key));
            let alike = alike.map(Vec::as_slice).unwrap_or_default();
            let takes = |(beginning, entry): &(Option<Beginning>, &Entry)| {
                beginning.as_ref().is_none_or(|beginning| beginning.may_match(&path))
                    && request.may_match_but_for_its_path(entry)
                    && !request.has_a_path_that_is_refused(entry, budget)
            };
            alike.len() > MOST_ALIKE || alike.iter().any(takes)
        })
    }
}

/// Whether plainly no request matches both, as far as the budget goes.
pub fn plainly_apart(a: &Entry, b: &Entry, budget: &Budget) -> bool {
    let methods = match (&a.method, &b.method) {
        (Some(StringPattern::Exact(a)), Some(StringPattern::Exact(b))) => a != b,
        _ => false,
    };
    let (Some(a), Some(b)) = (&a.path, &b.path) else { return methods };
    let (Some(own), Some(other)) = (Beginning::of(a), Beginning::of(b)) else { return methods };
    methods || own.is_apart_from(&other) || matches_none(a, b, budget) || matches_none(b, a, budget)
}

/// Whether a path condition is a regular expression that matches nothing of what a plain one does.
fn matches_none(path: &PathPattern, other: &PathPattern, budget: &Budget) -> bool {
    let PathKind::Regex(pattern) = &path.kind else { return false };
    let (text, whole) = match &other.kind {
        PathKind::Exact(text) => (text.as_str(), true),
        PathKind::Prefix(text) => (text.as_str(), false),
        PathKind::SegmentPrefix(text) => (text.trim_end_matches('/'), false),
        PathKind::Regex(_) => return false,
    };
    // Without case, an expression may match less (`[^b]` not even `B`).
    if path.ignore_case || other.ignore_case || !(text.is_empty() || is_plain_path(text)) {
        return false;
    }
    budget.refuses(pattern, text, whole)
}

/// What two plain paths of equal rank share exactly when they share a request: the path without case and closing `/`.
/// None for paths that are not plain, and for none at all.
pub fn plain_path(entry: &Entry) -> Option<String> {
    let path = match &entry.path.as_ref()?.kind {
        PathKind::Exact(path) | PathKind::SegmentPrefix(path) | PathKind::Prefix(path) => path,
        PathKind::Regex(_) => return None,
    };
    is_plain_path(path).then(|| path.trim_end_matches('/').to_ascii_lowercase())
}

/// A request that an entry matches, as far as it says anything.
struct Plain<'e> {
    path: String,
    method: Cow<'e, str>,
    headers: &'e [FieldCondition],
    query: &'e [FieldCondition],
}

/// Two requests that the entry matches, the plainest and one further down; none if its conditions are not plain.
fn requests<'e>(entry: &'e Entry, budget: &Budget) -> [Option<Plain<'e>>; 2] {
    let path = match &entry.path {
        None => Some((String::from("/"), true)),
        Some(PathPattern { kind: PathKind::Exact(path), .. }) => Some((path.clone(), false)),
        Some(PathPattern { kind: PathKind::SegmentPrefix(path), .. }) => {
            let trimmed = path.trim_end_matches('/');
            Some((if trimmed.is_empty() { "/" } else { trimmed }.to_owned(), true))
        }
        Some(PathPattern { kind: PathKind::Prefix(path), .. }) => Some((path.clone(), true)),
        // Without case, an expression may match less (`[^b]` not even `B`).
        Some(PathPattern { kind: PathKind::Regex(pattern), ignore_case: false }) => {
            budget.example(pattern).map(|path| (path, false))
        }
        Some(PathPattern { kind: PathKind::Regex(_), ignore_case: true }) => None,
    };
    let method = match &entry.method {
        None => Some(Cow::Borrowed("WEFT")),
        Some(StringPattern::Exact(method)) => Some(Cow::Borrowed(method.as_str())),
        Some(StringPattern::Regex(pattern)) => budget.example(pattern).map(Cow::Owned),
        Some(StringPattern::Prefix(_) | StringPattern::Suffix(_)) => None,
    };
    let plain_fields = entry.headers.iter().chain(&entry.query).all(is_plain_field)
        && are_different(&entry.headers)
        && are_different(&entry.query)
        && entry.facts.iter().all(|fact| is_possible(fact, budget))
        && are_different(&entry.facts);
    let nothing_else = entry.scheme.is_none() && entry.authority.is_none() && entry.port.is_none();
    let (Some((path, opens)), Some(method), true) = (path, method, plain_fields && nothing_else) else {
        return [None, None];
    };
    if !is_plain_path(&path) || method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return [None, None];
    }
    let request = |path| Plain { path, method: method.clone(), headers: &entry.headers, query: &entry.query };
    let below = opens.then(|| request(format!("{}/weft", path.trim_end_matches('/'))));
    [Some(request(path)), below]
}

impl Plain<'_> {
    /// Whether an entry's path condition is an expression that plainly does not match.
    fn has_a_path_that_is_refused(&self, other: &Entry, budget: &Budget) -> bool {
        match &other.path {
            Some(PathPattern { kind: PathKind::Regex(pattern), ignore_case: false }) => {
                budget.refuses(pattern, &self.path, true)
            }
            _ => false,
        }
    }

    /// Whether an entry that may match its path might match it: only what is plainly not so is denied.
    fn may_match_but_for_its_path(&self, other: &Entry) -> bool {
        let method = match &other.method {
            Some(StringPattern::Exact(method)) => *method == self.method,
            Some(_) | None => true,
        };
        let has = |own: &[FieldCondition], wanted: &FieldCondition| {
            if wanted.invert || wanted.value == FieldPattern::Absent {
                return true;
            }
            let found = own.iter().find(|field| field.name.eq_ignore_ascii_case(&wanted.name));
            match (found.map(|field| &field.value), &wanted.value) {
                (None, _) => false,
                (
                    Some(FieldPattern::Text(StringPattern::Exact(own))),
                    FieldPattern::Text(StringPattern::Exact(wanted)),
                ) => own == wanted,
                _ => true,
            }
        };
        method
            && other.headers.iter().all(|wanted| has(self.headers, wanted))
            && other.query.iter().all(|wanted| has(self.query, wanted))
    }
}

/// Whether some value of a fact plainly satisfies a condition. Of facts it is not known what else they are bound to.
fn is_possible(fact: &FieldCondition, budget: &Budget) -> bool {
    !fact.invert
        && match &fact.value {
            FieldPattern::Text(StringPattern::Exact(_) | StringPattern::Prefix(_))
            | FieldPattern::Present => true,
            FieldPattern::Text(StringPattern::Regex(pattern)) => budget.example(pattern).is_some(),
            FieldPattern::Text(StringPattern::Suffix(_)) | FieldPattern::Absent => false,
        }
}

/// Whether a condition asks for one value that any request may carry.
fn is_plain_field(field: &FieldCondition) -> bool {
    let token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let FieldPattern::Text(StringPattern::Exact(value)) = &field.value else { return false };
    !field.invert && token(&field.name) && token(value)
}

fn are_different(fields: &[FieldCondition]) -> bool {
    fields.iter().enumerate().all(|(place, field)| {
        fields.iter().take(place).all(|other| !other.name.eq_ignore_ascii_case(&field.name))
    })
}

/// Whether a path stands for itself: no escapes, no empty or dot segments, nothing that could be read otherwise.
fn is_plain_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let Some(rest) = path.strip_prefix('/') else { return false };
    let segments = rest.strip_suffix('/').unwrap_or(rest);
    segments.is_empty() && rest.is_empty()
        || segments.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(plain))
}

/// How everything begins that a path condition matches, in lower case.
#[derive(Debug)]
enum Beginning {
    /// Exactly this.
    Whole(String),
    /// This, then anything that begins a segment, or nothing.
    Segments(String),
    /// This, then anything.
    Text(String),
}

impl Beginning {
    /// None for conditions that are not plain.
    fn of(path: &PathPattern) -> Option<Self> {
        let lower = |path: &str| is_plain_path(path).then(|| path.to_ascii_lowercase());
        match &path.kind {
            PathKind::Exact(path) => lower(path).map(Self::Whole),
            PathKind::SegmentPrefix(path) => {
                lower(path).map(|path| Self::Segments(path.trim_end_matches('/').to_owned()))
            }
            PathKind::Prefix(path) => lower(path).map(Self::Text),
            PathKind::Regex(pattern) => Some(Self::Text(literal_beginning(pattern).to_ascii_lowercase())),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Whole(text) | Self::Segments(text) | Self::Text(text) => text,
        }
    }

    /// Whether a path in lower case might be one of these.
    fn may_match(&self, path: &str) -> bool {
        match self {
            Self::Whole(own) => path == own,
            Self::Segments(own) => {
                path.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Text(own) => path.starts_with(own.as_str()),
        }
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        !self.may_hold(other.text()) && !other.may_hold(self.text())
            || matches!((self, other), (Self::Whole(a), Self::Whole(b)) if a != b)
    }

    /// Whether something that begins with `text` might match, given that `text` is not the shorter of the two.
    fn may_hold(&self, text: &str) -> bool {
        match self {
            Self::Whole(own) => text == own,
            // That the other one's beginning may go on within the segment makes this a likeness, too.
            Self::Segments(own) | Self::Text(own) => text.starts_with(own.as_str()),
        }
    }
}

/// The text that all matches of a regular expression begin with, as far as it is plain to see; perhaps empty.
fn literal_beginning(pattern: &str) -> &str {
    if pattern.contains("[]") || pattern.contains("[^]") || has_outer_choice(pattern) {
        return "";
    }
    let literal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    let length = pattern.bytes().take_while(|byte| literal(*byte)).count();
    // What is repeated perhaps is not there at all.
    let repeated = matches!(pattern.as_bytes().get(length), Some(b'?' | b'*' | b'{'));
    pattern.get(..length.saturating_sub(usize::from(repeated))).unwrap_or_default()
}

/// Whether there is a `|` outside of brackets.
fn has_outer_choice(pattern: &str) -> bool {
    let (mut depth, mut in_class, mut escaped) = (0_usize, false, false);
    for byte in pattern.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b']' if in_class => in_class = false,
            _ if in_class => {}
            b'[' => in_class = true,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reach::{Budget, Reach, Reachability, overlaps};

    fn path() -> impl Strategy<Value = Option<PathPattern>> {
        let text = prop::sample::select(vec![
            "/", "/a", "/a/", "/a/b", "/A", "/ab", "/a/b/c", "/b", "/a-b", "/a//b", "/a/./b", "/%61", "a",
            "/a/weft",
        ]);
        let regex = prop::sample::select(vec![
            "/a",
            "/a.*",
            "/a?b",
            "/a/[bc]",
            "/(a|b)",
            "/a|/b",
            "/a{0,2}",
            "/ab*/c",
            "(?i)/A",
            "/a/b(/.*)?",
            "/a[]b]",
            "/a/[^b]+",
            "/(a|a/b)",
            "/a/b/c.+",
        ]);
        let kind = prop_oneof![
            text.clone().prop_map(|text| PathKind::Exact(text.to_owned())),
            text.clone().prop_map(|text| PathKind::SegmentPrefix(text.to_owned())),
            text.prop_map(|text| PathKind::Prefix(text.to_owned())),
            regex.prop_map(|text| PathKind::Regex(text.to_owned())),
        ];
        prop::option::of(
            (kind, prop::bool::ANY).prop_map(|(kind, ignore_case)| PathPattern { kind, ignore_case }),
        )
    }

    fn fields() -> impl Strategy<Value = Vec<FieldCondition>> {
        let value = prop_oneof![
            prop::sample::select(vec!["1", "2"])
                .prop_map(|text| FieldPattern::Text(StringPattern::Exact(text.to_owned()))),
            Just(FieldPattern::Text(StringPattern::Prefix("1".to_owned()))),
            Just(FieldPattern::Present),
            Just(FieldPattern::Absent),
        ];
        let field = (prop::sample::select(vec!["x", "X", "y"]), value, prop::bool::weighted(0.2));
        let field =
            field.prop_map(|(name, value, invert)| FieldCondition { name: name.to_owned(), value, invert });
        prop::collection::vec(field, 0..3)
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let method = prop::sample::select(vec!["GET", "POST", "get"]);
        let method = prop::option::of(method.prop_map(|text| StringPattern::Exact(text.to_owned())));
        (path(), method, fields(), fields()).prop_map(|(path, method, headers, query)| Entry {
            path,
            method,
            headers,
            query,
            ..Entry::default()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn what_is_plainly_reached_is_reached(entries in prop::collection::vec(entry(), 1..5)) {
            let budget = Budget::default();
            let mut list = Reachability::new(&entries, &budget);
            for (at, plainly) in plainly_reached(&entries, &budget).into_iter().enumerate() {
                if plainly {
                    let reach = list.reach(at);
                    prop_assert!(matches!(reach, Reach::Reachable { .. }), "{at}: {reach:?}");
                }
            }
        }

        #[test]
        fn what_is_plainly_apart_shares_no_request(a in entry(), b in entry()) {
            if plainly_apart(&a, &b, &Budget::default()) {
                prop_assert_eq!(overlaps(&a, &b, &Budget::default()), Ok(None));
            }
        }
    }

    #[test]
    fn ordinary_lists_are_plain() {
        let path = |kind| Entry { path: Some(PathPattern { kind, ignore_case: false }), ..Entry::default() };
        let entries = [
            path(PathKind::Exact("/items/health".to_owned())),
            Entry {
                method: Some(StringPattern::Exact("GET".to_owned())),
                ..path(PathKind::SegmentPrefix("/items".to_owned()))
            },
            path(PathKind::SegmentPrefix("/items".to_owned())),
            path(PathKind::SegmentPrefix("/".to_owned())),
            Entry::default(),
        ];
        assert_eq!(plainly_reached(&entries, &Budget::default()), [true, true, true, true, false]);
        let apart = |a: &Entry, b: &Entry| plainly_apart(a, b, &Budget::default());
        assert!(apart(&entries[0], &path(PathKind::Regex("/users/[0-9]+".to_owned()))));
        assert!(!apart(&entries[0], &path(PathKind::Regex("/item[a-z]/health".to_owned()))));
        assert!(apart(&entries[1], &path(PathKind::Regex("/item[0-9]+(/.*)?".to_owned()))));
        assert!(apart(&entries[0], &path(PathKind::Regex("/items|/items/health/.+".to_owned()))));
        assert!(!apart(&entries[0], &path(PathKind::Regex("/items|/items/health".to_owned()))));
    }

    #[test]
    fn long_lists_are_plain_too() {
        let path = |kind| Entry { path: Some(PathPattern { kind, ignore_case: false }), ..Entry::default() };
        let mut entries: Vec<Entry> = (0..10_000)
            .map(|at| match at % 3 {
                0 => path(PathKind::Exact(format!("/area-{}/{at}", at % 97))),
                1 => path(PathKind::SegmentPrefix(format!("/area-{}/{at}", at % 97))),
                _ => path(PathKind::Regex(format!("/area-{}/{at}/[a-z]+", at % 97))),
            })
            .collect();
        entries.push(path(PathKind::SegmentPrefix("/".to_owned())));
        entries.push(path(PathKind::SegmentPrefix("/area-1/1".to_owned())));
        let reached = plainly_reached(&entries, &Budget::default());
        // The last is taken by one that is equal but for its kind.
        assert!(reached.iter().enumerate().all(|(at, reached)| *reached == (at <= 10_000)));

        // Nobody looks through hundreds of entries that begin alike.
        let mut alike = vec![path(PathKind::Regex("/a[0-9]+".to_owned())); MOST_ALIKE];
        let last = path(PathKind::Exact("/ab".to_owned()));
        alike.iter_mut().for_each(|entry| entry.method = Some(StringPattern::Exact("PUT".to_owned())));
        alike.push(last.clone());
        assert_eq!(plainly_reached(&alike, &Budget::default()).last(), Some(&true));
        alike.extend([alike[0].clone(), last]);
        assert_eq!(plainly_reached(&alike, &Budget::default()).last(), Some(&false));
    }
}
