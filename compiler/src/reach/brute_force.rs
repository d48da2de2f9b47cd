//! The engine against brute force on small alphabets.
//!
//! The oracle below shares nothing with the engine: its own matcher for every kind of pattern, and a table of all
//! requests of a small universe. What the universe reaches, the engine must reach; what the engine reaches, it must
//! prove with a request that the oracle's matcher confirms; what it calls covered, its core must cover in the
//! universe, and no smaller one.

use super::*;
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::cell::Cell;

/// A regular expression as a tree, so that the oracle need not parse.
#[derive(Clone, Debug)]
enum Re {
    Byte(u8),
    NotA,
    Any,
    Cat(Box<Re>, Box<Re>),
    Or(Box<Re>, Box<Re>),
    Star(Box<Re>),
}

impl Re {
    fn text(&self) -> String {
        match self {
            Re::Byte(byte) => char::from(*byte).to_string(),
            Re::NotA => "[^a]".to_owned(),
            Re::Any => ".".to_owned(),
            Re::Cat(a, b) => format!("{}{}", a.text(), b.text()),
            Re::Or(a, b) => format!("(?:{}|{})", a.text(), b.text()),
            Re::Star(a) => format!("(?:{})*", a.text()),
        }
    }

    /// Where a match that starts at one of `starts` (a bit per position) can end.
    fn ends(&self, text: &[u8], starts: u128) -> u128 {
        let one = |test: fn(u8, u8) -> bool, with: u8| {
            text.iter()
                .enumerate()
                .filter(|(_, byte)| test(**byte, with))
                .fold(0, |ends, (at, _)| ends | (starts >> at & 1) << (at + 1))
        };
        match self {
            Re::Byte(byte) => one(|a, b| a == b, *byte),
            Re::NotA => one(|a, b| a != b, b'a'),
            Re::Any => one(|a, b| a != b, b'\n'),
            Re::Cat(a, b) => b.ends(text, a.ends(text, starts)),
            Re::Or(a, b) => a.ends(text, starts) | b.ends(text, starts),
            Re::Star(a) => {
                let mut ends = starts;
                loop {
                    let more = ends | a.ends(text, ends);
                    if more == ends {
                        return ends;
                    }
                    ends = more;
                }
            }
        }
    }

    fn matches(&self, text: &[u8]) -> bool {
        assert!(text.len() < 120, "the oracle is for short texts");
        self.ends(text, 1) >> text.len() & 1 == 1
    }
}

#[derive(Clone, Debug)]
enum Text {
    Exact(String),
    Prefix(String),
    Segments(String),
    Suffix(String),
    Regex(Re),
}

impl Text {
    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Text::Exact(own) => own.as_bytes() == text,
            Text::Prefix(own) => text.starts_with(own.as_bytes()),
            Text::Suffix(own) => text.ends_with(own.as_bytes()),
            Text::Segments(own) => {
                let own = own.trim_end_matches('/').as_bytes();
                text.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
            Text::Regex(re) => re.matches(text),
        }
    }

    fn path(&self, ignore_case: bool) -> PathPattern {
        let kind = match self {
            Text::Exact(text) => PathKind::Exact(text.clone()),
            Text::Prefix(text) => PathKind::Prefix(text.clone()),
            Text::Segments(text) => PathKind::SegmentPrefix(text.clone()),
            Text::Suffix(_) => unreachable!("paths have no suffix patterns"),
            Text::Regex(re) => PathKind::Regex(re.text()),
        };
        PathPattern { kind, ignore_case }
    }

    fn string(&self) -> StringPattern {
        match self {
            Text::Exact(text) => StringPattern::Exact(text.clone()),
            Text::Prefix(text) => StringPattern::Prefix(text.clone()),
            Text::Suffix(text) => StringPattern::Suffix(text.clone()),
            Text::Segments(_) => unreachable!("only paths have segments"),
            Text::Regex(re) => StringPattern::Regex(re.text()),
        }
    }
}

#[derive(Clone, Debug)]
enum Field {
    Text(Text),
    Present,
    Absent,
}

/// An entry as the oracle sees it. The headers are `h0` and `h1`.
#[derive(Clone, Debug)]
struct Row {
    path: Option<(Text, bool)>,
    method: Option<Text>,
    headers: [Option<(Field, bool)>; 2],
}

impl Row {
    fn path_matches(&self, path: &[u8]) -> bool {
        self.path.as_ref().is_none_or(|(pattern, ignore_case)| {
            // Patterns of the generator are in lower case.
            if *ignore_case { pattern.matches(&path.to_ascii_lowercase()) } else { pattern.matches(path) }
        })
    }

    fn method_matches(&self, method: &[u8]) -> bool {
        self.method.as_ref().is_none_or(|pattern| pattern.matches(method))
    }

    fn header_matches(&self, at: usize, value: Option<&[u8]>) -> bool {
        self.headers[at].as_ref().is_none_or(|(field, invert)| {
            let holds = match field {
                Field::Text(pattern) => value.is_some_and(|value| pattern.matches(value)),
                Field::Present => value.is_some(),
                Field::Absent => value.is_none(),
            };
            holds != *invert
        })
    }

    fn matches(&self, request: &Request) -> bool {
        let header = |name: &str| {
            request.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())
        };
        self.path_matches(request.path.as_bytes())
            && self.method_matches(request.method.as_bytes())
            && self.header_matches(0, header("h0"))
            && self.header_matches(1, header("h1"))
    }

    fn entry(&self) -> Entry {
        let header = |at: usize| {
            let (field, invert) = self.headers[at].as_ref()?;
            let value = match field {
                Field::Text(pattern) => FieldPattern::Text(pattern.string()),
                Field::Present => FieldPattern::Present,
                Field::Absent => FieldPattern::Absent,
            };
            Some(FieldCondition { name: format!("H{at}"), value, invert: *invert })
        };
        Entry {
            path: self.path.as_ref().map(|(pattern, ignore_case)| pattern.path(*ignore_case)),
            method: self.method.as_ref().map(Text::string),
            headers: (0..2).filter_map(header).collect(),
            ..Entry::default()
        }
    }
}

/// The values of `h0` and `h1`.
type Headers = [Option<&'static [u8]>; 2];

/// Every request over a few paths, methods and header values, including some that no pattern names.
struct Universe {
    paths: Vec<Vec<u8>>,
    /// A method and the two headers.
    others: Vec<(&'static [u8], Headers)>,
}

impl Universe {
    fn new() -> Self {
        let mut paths = words(b"ab/", 5);
        paths.extend(words(b"abAc/", 3));
        paths.sort();
        paths.dedup();
        for path in &mut paths {
            path.insert(0, b'/');
        }
        // No request has an empty segment; see the shape of paths.
        paths.retain(|path| !path.windows(2).any(|pair| pair == b"//"));
        let values = [None, Some("a"), Some("b"), Some("ab"), Some(""), Some("c")]
            .map(|value| value.map(str::as_bytes));
        let mut others = Vec::new();
        for method in [b"GET".as_slice(), b"POST", b"X"] {
            for first in values {
                others.extend(values.map(|second| (method, [first, second])));
            }
        }
        Self { paths, others }
    }

    /// Whether some request is matched by `target` and by none of `before`.
    fn reaches(&self, target: &Row, before: &[Row]) -> bool {
        let on_path =
            |row: &Row| -> Vec<bool> { self.paths.iter().map(|path| row.path_matches(path)).collect() };
        let wanted = on_path(target);
        let unwanted: Vec<Vec<bool>> = before.iter().map(on_path).collect();
        self.others.iter().any(|(method, headers)| {
            let matches = |row: &Row| {
                row.method_matches(method)
                    && row.header_matches(0, headers[0])
                    && row.header_matches(1, headers[1])
            };
            let mut left = if matches(target) { wanted.clone() } else { return false };
            for (row, paths) in before.iter().zip(&unwanted) {
                if matches(row) {
                    left.iter_mut().zip(paths).for_each(|(left, taken)| *left &= !taken);
                }
            }
            left.contains(&true)
        })
    }
}

fn words(letters: &[u8], longest: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..longest {
        let until = all.len();
        for at in from..until {
            for letter in letters {
                let mut word = all[at].clone();
                word.push(*letter);
                all.push(word);
            }
        }
        from = until;
    }
    all
}

fn re() -> impl Strategy<Value = Re> {
    let leaf = prop_oneof![
        3 => prop::sample::select(b"ab/".to_vec()).prop_map(Re::Byte),
        1 => Just(Re::NotA),
        2 => Just(Re::Any),
        2 => Just(Re::Star(Box::new(Re::Any))),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let pair = (inner.clone(), inner.clone()).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        prop_oneof![
            3 => pair.clone().prop_map(|(a, b)| Re::Cat(a, b)),
            1 => pair.prop_map(|(a, b)| Re::Or(a, b)),
            1 => inner.prop_map(|a| Re::Star(Box::new(a))),
        ]
    })
}

fn path() -> impl Strategy<Value = (Text, bool)> {
    let text = "/[ab/]{0,2}";
    let pattern = prop_oneof![
        2 => text.prop_map(Text::Exact),
        2 => text.prop_map(Text::Prefix),
        3 => text.prop_map(Text::Segments),
        3 => re().prop_map(|re| Text::Regex(Re::Cat(Box::new(Re::Byte(b'/')), Box::new(re)))),
        1 => re().prop_map(Text::Regex),
    ];
    (pattern, prop::bool::weighted(0.1))
}

fn method() -> impl Strategy<Value = Text> {
    prop_oneof![
        4 => prop::sample::select(vec!["GET", "POST"]).prop_map(|text| Text::Exact(text.to_owned())),
        1 => Just(Text::Prefix("P".to_owned())),
        1 => Just(Text::Suffix("T".to_owned())),
        1 => Just(Text::Regex(Re::Star(Box::new(Re::Any)))),
    ]
}

fn header() -> impl Strategy<Value = (Field, bool)> {
    let text = "[ab]{0,1}";
    let field = prop_oneof![
        3 => text.prop_map(|text| Field::Text(Text::Exact(text))),
        1 => text.prop_map(|text| Field::Text(Text::Prefix(text))),
        1 => text.prop_map(|text| Field::Text(Text::Suffix(text))),
        1 => re().prop_map(|re| Field::Text(Text::Regex(re))),
        1 => Just(Field::Present),
        1 => Just(Field::Absent),
    ];
    (field, prop::bool::weighted(0.3))
}

fn row() -> impl Strategy<Value = Row> {
    let headers = [prop::option::weighted(0.4, header()), prop::option::weighted(0.15, header())];
    (prop::option::weighted(0.8, path()), prop::option::weighted(0.3, method()), headers)
        .prop_map(|(path, method, headers)| Row { path, method, headers })
}

/// Parts of all paths, and of all values of a header; no part is covered by the others.
fn path_parts() -> Vec<Vec<Text>> {
    let slash = |re| Text::Regex(Re::Cat(Box::new(Re::Byte(b'/')), Box::new(re)));
    let then_any = |re| slash(Re::Cat(Box::new(re), Box::new(Re::Star(Box::new(Re::Any)))));
    let root = || Text::Exact("/".to_owned());
    vec![
        vec![root(), then_any(Re::Byte(b'a')), then_any(Re::NotA)],
        vec![root(), Text::Prefix("/a".to_owned()), then_any(Re::NotA)],
        vec![
            slash(Re::Star(Box::new(Re::NotA))),
            then_any(Re::Cat(Box::new(Re::Star(Box::new(Re::Any))), Box::new(Re::Byte(b'a')))),
        ],
    ]
}

fn header_parts() -> Vec<Vec<(Field, bool)>> {
    let exact = |text: &str| Field::Text(Text::Exact(text.to_owned()));
    let prefix = |text: &str| Field::Text(Text::Prefix(text.to_owned()));
    let others = Re::Cat(Box::new(Re::NotA), Box::new(Re::Star(Box::new(Re::Any))));
    vec![
        vec![(Field::Present, false), (Field::Absent, false)],
        vec![(exact("a"), false), (exact("a"), true)],
        vec![
            (prefix("a"), false),
            (Field::Text(Text::Regex(others)), false),
            (exact(""), false),
            (Field::Present, true),
        ],
    ]
}

/// Tables in which several rows together take what a last row asks for: the paths in parts, one part again by a
/// header, some of them lost, the whole perhaps for one method only.
fn divided() -> impl Strategy<Value = Vec<Row>> {
    let parts = (prop::sample::select(path_parts()), prop::sample::select(header_parts()), 0..3_usize);
    let common = (prop::option::weighted(0.3, method()), prop::option::weighted(0.1, 0..7_usize));
    (parts, common, vec(row(), 0..3), row()).prop_flat_map(
        |((paths, headers, split), (method, lost), noise, last)| {
            let mut rows = noise;
            for (at, path) in paths.into_iter().enumerate() {
                let part = Row { path: Some((path, false)), method: method.clone(), headers: [None, None] };
                if at == split {
                    rows.extend(
                        headers
                            .iter()
                            .map(|header| Row { headers: [Some(header.clone()), None], ..part.clone() }),
                    );
                } else {
                    rows.push(part);
                }
            }
            if let Some(lost) = lost.filter(|lost| *lost < rows.len()) {
                rows.remove(lost);
            }
            let last = Row { method: method.or_else(|| last.method.clone()), ..last };
            (Just(rows).prop_shuffle(), Just(last)).prop_map(|(mut rows, last)| {
                rows.push(last);
                rows
            })
        },
    )
}

/// Runs the same cases every time, and shrinks what fails.
pub(super) fn check<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(strategy, |value| {
        test(value);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// The test below, without end: what `examples/fuzz_reach` draws its cases from.
#[allow(dead_code, reason = "only the fuzzer makes one")]
pub(super) struct Oracle(Universe);

#[allow(dead_code, reason = "only the fuzzer makes one")]
impl Oracle {
    pub(super) fn new() -> Self {
        Self(Universe::new())
    }

    /// One case of each kind.
    pub(super) fn round(&self, seed: &[u8; 32]) {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let rows = rows().new_tree(&mut runner).unwrap().current();
        verdicts_agree(&self.0, &rows);
        let (a, b) = (row(), row()).new_tree(&mut runner).unwrap().current();
        overlap_agrees(&self.0, &a, &b);
        cubes_agree(&vec(cube(), 10..30).new_tree(&mut runner).unwrap().current());
    }
}

/// Lists of any kind.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop_oneof![vec(row(), 1..8), divided()]
}

/// How often each verdict was given: reachable, covered by one, by several, impossible.
fn verdicts_agree(universe: &Universe, rows: &[Row]) -> [i32; 4] {
    let [mut reachable, mut single, mut union, mut impossible] = [0; 4];
    let entries: Vec<Entry> = rows.iter().map(Row::entry).collect();
    for (at, verdict) in analyse(&entries, &Budget::default()).iter().enumerate() {
        let before = &rows[..at];
        let reached = universe.reaches(&rows[at], before);
        match verdict {
            Reach::Reachable { witness } => {
                reachable += 1;
                assert!(rows[at].matches(witness), "{at} does not match its witness {witness}");
                let thief = before.iter().position(|row| row.matches(witness));
                assert_eq!(thief, None, "{witness} does not arrive at {at}");
            }
            Reach::Unreachable { covered_by, example, taken_by } => {
                *(if covered_by.len() == 1 { &mut single } else { &mut union }) += 1;
                assert!(!reached, "{at} is reached in the universe");
                assert!(rows[at].matches(example));
                assert_eq!(rows.iter().position(|row| row.matches(example)), Some(*taken_by));
                assert_minimal(universe, rows, at, covered_by);
            }
            Reach::Impossible { .. } => {
                impossible += 1;
                assert!(!universe.reaches(&rows[at], &[]), "{at} is matched in the universe");
            }
            Reach::Unknown { why } => panic!("{at} is undecided: {why}"),
        }
    }
    for (at, plainly) in plainly_reached(&entries, &Budget::default()).into_iter().enumerate() {
        assert!(!plainly || engine_reaches(&entries, at), "{at} is not plainly reached");
    }
    [reachable, single, union, impossible]
}

fn engine_reaches(entries: &[Entry], at: usize) -> bool {
    matches!(Reachability::new(entries, &Budget::default()).reach(at), Reach::Reachable { .. })
}

#[test]
fn every_verdict_agrees_with_brute_force() {
    let universe = Universe::new();
    let seen = Cell::new([0; 4]);
    check(400, &rows(), |rows| {
        let more = verdicts_agree(&universe, &rows);
        let before = seen.get();
        seen.set(std::array::from_fn(|at| before[at] + more[at]));
    });
    let seen = seen.get();
    assert!(
        seen[0] > 800 && seen[1] > 200 && seen[2] > 100 && seen[3] > 10,
        "too few of some verdict: {seen:?}"
    );
}

/// The covering entries cover; without any one of them something arrives.
fn assert_minimal(universe: &Universe, rows: &[Row], at: usize, covered_by: &[usize]) {
    let pick = |left_out: Option<usize>| -> Vec<Row> {
        covered_by
            .iter()
            .filter(|entry| Some(**entry) != left_out)
            .map(|entry| rows[*entry].clone())
            .collect()
    };
    assert!(covered_by.is_sorted() && covered_by.iter().all(|entry| *entry < at));
    assert!(!universe.reaches(&rows[at], &pick(None)), "{covered_by:?} do not cover {at}");
    for &left_out in covered_by {
        let mut fewer = pick(Some(left_out));
        fewer.push(rows[at].clone());
        let entries: Vec<Entry> = fewer.iter().map(Row::entry).collect();
        let Some(Reach::Reachable { witness }) = analyse(&entries, &Budget::default()).pop() else {
            panic!("{covered_by:?} is not minimal for {at}: {left_out} is not needed");
        };
        assert_eq!(fewer.iter().position(|row| row.matches(&witness)), Some(fewer.len() - 1));
    }
}

#[test]
fn overlaps_and_covers_agree_with_brute_force() {
    let universe = Universe::new();
    check(500, &(row(), row()), |(a, b)| overlap_agrees(&universe, &a, &b));
}

fn overlap_agrees(universe: &Universe, a: &Row, b: &Row) {
    let budget = Budget::default();
    let (wide, narrow) = (a.entry(), b.entry());
    match overlaps(&wide, &narrow, &budget).unwrap() {
        Some(request) => {
            assert!(a.matches(&request) && b.matches(&request), "{request}");
            assert!(!plainly_apart(&wide, &narrow, &budget), "{request}");
        }
        None => {
            let shared = universe.paths.iter().any(|path| {
                a.path_matches(path)
                    && b.path_matches(path)
                    && universe.others.iter().any(|(method, headers)| {
                        [a, b].iter().all(|row| {
                            row.method_matches(method) && (0..2).all(|at| row.header_matches(at, headers[at]))
                        })
                    })
            });
            assert!(!shared);
        }
    }
    if covers(&wide, &narrow, &budget).unwrap() {
        assert!(!universe.reaches(b, std::slice::from_ref(a)));
    } else {
        let verdict = analyse(&[wide, narrow], &budget).pop();
        let Some(Reach::Reachable { witness }) = verdict else { panic!("{verdict:?}") };
        assert!(b.matches(&witness) && !a.matches(&witness));
    }
}

#[test]
fn the_taker_is_the_first_that_matches() {
    check(200, &(vec(row(), 1..8), row()), |(rows, target)| {
        let entries: Vec<Entry> = rows.iter().map(Row::entry).collect();
        let budget = Budget::default();
        let Some(Reach::Reachable { witness }) = analyse(&[target.entry()], &budget).pop() else { return };
        let list = Reachability::new(&entries, &budget);
        assert_eq!(list.taker(&witness), rows.iter().position(|row| row.matches(&witness)));
    });
}

/// A truth table: for each of some headers whether it must be `1`, must not be, or does not matter.
type Cube = Vec<Option<bool>>;

const HEADERS: usize = 5;

fn cube_entry(cube: &Cube) -> Entry {
    let condition = |(at, wanted): (usize, &Option<bool>)| {
        let value = FieldPattern::Text(StringPattern::Exact("1".to_owned()));
        wanted.map(|wanted| FieldCondition { name: format!("h{at}"), value, invert: !wanted })
    };
    Entry { headers: cube.iter().enumerate().filter_map(condition).collect(), ..Entry::default() }
}

fn cover(target: &Cube, by: &[&Cube]) -> bool {
    let holds = |cube: &Cube, point: usize| {
        cube.iter()
            .enumerate()
            .all(|(at, wanted)| wanted.is_none_or(|wanted| (point >> at & 1 == 1) == wanted))
    };
    (0..1 << HEADERS).all(|point| !holds(target, point) || by.iter().any(|cube| holds(cube, point)))
}

fn cube() -> impl Strategy<Value = Cube> {
    vec(prop_oneof![1 => Just(None), 1 => prop::bool::ANY.prop_map(Some)], HEADERS)
}

#[test]
fn combinations_of_headers_agree_with_truth_tables() {
    let union = Cell::new(0);
    check(300, &vec(cube(), 10..40), |cubes| union.set(union.get() + cubes_agree(&cubes)));
    assert!(union.get() > 150, "too few covers by more than two: {}", union.get());
}

/// How many are covered by more than two together.
fn cubes_agree(cubes: &[Cube]) -> usize {
    let mut union = 0;
    let entries: Vec<Entry> = cubes.iter().map(cube_entry).collect();
    for (at, verdict) in analyse(&entries, &Budget::default()).iter().enumerate() {
        let before: Vec<&Cube> = cubes[..at].iter().collect();
        let Reach::Unreachable { covered_by, .. } = verdict else {
            assert!(
                matches!(verdict, Reach::Reachable { .. }) && !cover(&cubes[at], &before),
                "{at}: {verdict:?}"
            );
            continue;
        };
        union += usize::from(covered_by.len() > 2);
        let core: Vec<&Cube> = covered_by.iter().map(|entry| &cubes[*entry]).collect();
        assert!(cover(&cubes[at], &core), "{covered_by:?} do not cover {at}");
        for left_out in 0..core.len() {
            let mut fewer = core.clone();
            fewer.remove(left_out);
            assert!(!cover(&cubes[at], &fewer), "{covered_by:?} is not minimal for {at}");
        }
    }
    union
}
