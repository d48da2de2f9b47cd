//! Against brute force: the definition, over all requests of a small universe.

use proptest::collection::vec;
use proptest::prelude::*;
use weft_bundle::engine::Engine;

use super::super::scene::{self, HOST, Sent};
use super::*;

const BETA: &str = "x-beta";

/// All requests with short paths, and with the parts that the conditions below ask about.
fn universe() -> Vec<reach::Request> {
    let mut paths = vec!["/".to_owned()];
    for length in 1..=4 {
        let longer: Vec<String> = paths
            .iter()
            .filter(|path| path.len() == length)
            .flat_map(|path| ['a', 'b', '/'].map(|letter| format!("{path}{letter}")))
            .collect();
        paths.extend(longer.into_iter().filter(|path| !path.contains("//")));
    }
    let mut all = Vec::new();
    for path in &paths {
        for method in ["GET", "PUT", "PATCH"] {
            for beta in [None, Some("y"), Some("yn"), Some("n")] {
                let headers = beta.map(|value| (BETA.to_owned(), value.as_bytes().to_vec()));
                let headers = headers.into_iter().collect();
                let (path, method) = (path.clone(), method.to_owned());
                all.push(reach::Request { path, method, headers, ..reach::Request::default() });
            }
        }
    }
    all
}

fn matcher(condition: &RequestMatch) -> Engine {
    scene::engine(vec![(condition.clone(), scene::respond())]).unwrap()
}

fn matches(engine: &Engine, request: &reach::Request) -> bool {
    let sent = Sent::of(request, HOST).unwrap();
    engine.route(engine.frontend(HOST, 80).unwrap(), &sent.as_request()).entry.is_some()
}

/// Which requests of the universe match.
fn set(condition: &RequestMatch, universe: &[reach::Request]) -> Vec<bool> {
    let engine = matcher(condition);
    universe.iter().map(|request| matches(&engine, request)).collect()
}

/// What the page says, read from tables of requests.
fn expected(earlier: &RequestMatch, later: &RequestMatch, universe: &[reach::Request]) -> bool {
    let parts: [fn(&RequestMatch) -> RequestMatch; 3] = [
        |all| RequestMatch { path: all.path.clone(), ..RequestMatch::default() },
        |all| RequestMatch { method: all.method.clone(), ..RequestMatch::default() },
        |all| RequestMatch { headers: all.headers.clone(), ..RequestMatch::default() },
    ];
    let stand = parts.map(|part| {
        let (a, b) = (set(&part(earlier), universe), set(&part(later), universe));
        let shared = a.iter().zip(&b).any(|(a, b)| *a && *b);
        let contains = |wide: &[bool], narrow: &[bool]| wide.iter().zip(narrow).all(|(w, n)| *w || !*n);
        (shared, contains(&a, &b), contains(&b, &a))
    });
    let crossing = stand.contains(&(true, false, false));
    let narrower = stand.contains(&(true, false, true));
    let path_is_part = stand[0] == (true, true, false);
    let limits_path = set(&parts[0](earlier), universe).contains(&false);
    stand.iter().all(|(shared, ..)| *shared)
        && ((crossing && !narrower) || (narrower && path_is_part && limits_path))
}

fn path() -> impl Strategy<Value = PathMatch> {
    let text = "/(a|b|a/|ab)?";
    prop_oneof![
        text.prop_map(PathMatch::Exact),
        text.prop_map(PathMatch::Prefix),
        text.prop_map(|path| PathMatch::SegmentPrefix(format!("/{}", path.trim_matches('/')))),
        prop::sample::select(vec!["/a.*", "/.*b", "/[ab]", "/(a|b)/?", "/.*"])
            .prop_map(|regex| PathMatch::Regex(regex.to_owned())),
        "[ab]".prop_map(PathMatch::Suffix),
    ]
}

fn condition() -> impl Strategy<Value = RequestMatch> {
    let method = prop::sample::select(vec!["GET", "P.*", ".*T"]);
    let value = prop_oneof![
        Just(StringMatch::Exact("y".to_owned())),
        Just(StringMatch::Prefix("y".to_owned())),
        Just(StringMatch::Suffix("n".to_owned())),
        Just(StringMatch::Present),
    ];
    let header = (value, prop::bool::weighted(0.3));
    (
        prop::option::weighted(0.8, path()),
        prop::option::weighted(0.3, method),
        prop::option::weighted(0.4, header),
    )
        .prop_map(|(path, method, header)| RequestMatch {
            path,
            method: method.map(|text| match text {
                "GET" => StringMatch::Exact(text.to_owned()),
                _ => StringMatch::Regex(text.to_owned()),
            }),
            headers: header
                .map(|(value, invert)| FieldMatch { name: BETA.to_owned(), value, invert })
                .into_iter()
                .collect(),
            ..RequestMatch::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn two_rules_are_judged_as_the_page_says(a in condition(), b in condition()) {
        let universe = universe();
        let found = crossings(&[&a, &b], || vec![entry_of(&a), entry_of(&b)], |_, _| true, &Budget::default());
        prop_assert_eq!(!found.is_empty(), expected(&a, &b, &universe), "{:?}", found);
    }

    #[test]
    fn examples_are_what_the_engine_does(list in vec(condition(), 2..7)) {
        let conditions: Vec<&RequestMatch> = list.iter().collect();
        let all = scene::engine(list.iter().map(|c| (c.clone(), scene::respond())).collect()).unwrap();
        for (first, second, example) in crossings(&conditions, || list.iter().map(entry_of).collect(), |_, _| true, &Budget::default()) {
            let sent = Sent::of(&example, HOST).unwrap();
            let routed = all.route(all.frontend(HOST, 80).unwrap(), &sent.as_request());
            prop_assert_eq!(routed.entry.map(|(at, _)| at), Some(first), "{}", example);
            prop_assert!(matches(&matcher(&list[second]), &example), "{}", example);
        }
    }
}
