//! What is proved here is what the proxy does: witnesses and examples, sent through the decision engine.

use super::{brute_force::check, *};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use std::sync::Arc;
use weft_bundle::{
    body::{Body, FieldMatch, Frontend, PathMatch, RequestMatch, StringMatch},
    engine::{self, Engine, path::CanonicalPath},
};

fn engine_of(entries: &[Entry]) -> Engine {
    let origin = json!({"object": "Test a/b", "file": "a.yaml", "line": 1});
    let rule = json!({"origin": origin, "action": {"respond": {"status": 204}}});
    let body: Value = json!({
        "mesh": "m", "service": "a/b", "identity": "spiffe://td/ns/a/sa/b", "trust_anchors": {},
        "outbound": [{"service": "a/c", "port": 80, "protocol": "http", "hosts": ["c"], "rules": [rule], "otherwise": rule}],
    });
    let mut body: Body = serde_json::from_value(body).unwrap();
    let as_body = |entry| weft_bundle::body::Entry { condition: condition(entry), rule: 0 };
    let frontend: &mut Frontend = &mut body.outbound[0];
    frontend.entries = entries.iter().map(as_body).collect();
    Engine::build(Arc::new(body)).unwrap()
}

fn condition(entry: &Entry) -> RequestMatch {
    RequestMatch {
        path: entry.path.as_ref().map(|path| match path.kind.clone() {
            PathKind::Exact(text) => PathMatch::Exact(text),
            PathKind::SegmentPrefix(text) => PathMatch::SegmentPrefix(text),
            PathKind::Prefix(text) => PathMatch::Prefix(text),
            PathKind::Regex(text) => PathMatch::Regex(text),
        }),
        path_ignore_case: entry.path.as_ref().is_some_and(|path| path.ignore_case),
        method: entry.method.as_ref().map(text),
        scheme: entry.scheme.as_ref().map(text),
        authority: entry.authority.as_ref().map(text),
        headers: entry.headers.iter().map(field).collect(),
        query: entry.query.iter().map(field).collect(),
        ..RequestMatch::default()
    }
}

fn text(pattern: &StringPattern) -> StringMatch {
    match pattern.clone() {
        StringPattern::Exact(text) => StringMatch::Exact(text),
        StringPattern::Prefix(text) => StringMatch::Prefix(text),
        StringPattern::Suffix(text) => StringMatch::Suffix(text),
        StringPattern::Regex(text) => StringMatch::Regex(text),
    }
}

fn field(condition: &FieldCondition) -> FieldMatch {
    let (value, invert) = match &condition.value {
        FieldPattern::Text(pattern) => (text(pattern), condition.invert),
        FieldPattern::Present => (StringMatch::Present, condition.invert),
        FieldPattern::Absent => (StringMatch::Present, !condition.invert),
    };
    FieldMatch { name: condition.name.clone(), value, invert }
}

/// The entry that the engine takes a request to.
fn route(engine: &Engine, request: &Request) -> Option<usize> {
    let encoded = |text: &[u8]| text.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let pairs =
        request.query.iter().map(|(name, value)| format!("{}={}", encoded(name.as_bytes()), encoded(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    let headers = request.headers.iter().map(|(name, value)| {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, http::HeaderValue::from_bytes(value).unwrap())
    });
    let path = CanonicalPath::parse(&request.path).unwrap();
    assert_eq!(path.as_str(), request.path, "the path of a request is canonical");
    let request = engine::Request {
        method: &request.method,
        scheme: &request.scheme,
        authority: request.authority.as_deref().unwrap_or("example"),
        path: &path,
        query: (!query.is_empty()).then_some(&query),
        headers: &headers.collect(),
    };
    engine.route(engine.frontend("c", 80).unwrap(), &request).entry.map(|(at, _)| at)
}

fn regex() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "b",
        ".",
        "[^a]",
        r"\w",
        r"\d*",
        ".*",
        "(a|/b)",
        "/",
        "a?",
        "%20",
        "(?i:B)",
        r"\.",
        r"\b",
        "[[:punct:]]+",
    ];
    vec(prop::sample::select(pieces.to_vec()), 0..4).prop_map(|pieces| pieces.concat())
}

fn string() -> impl Strategy<Value = StringPattern> {
    prop_oneof![
        "[aB]{0,2}".prop_map(StringPattern::Exact),
        "[aB]{0,1}".prop_map(StringPattern::Prefix),
        "[aB]{0,1}".prop_map(StringPattern::Suffix),
        regex().prop_map(StringPattern::Regex),
    ]
}

fn path() -> impl Strategy<Value = PathPattern> {
    let kind = prop_oneof![
        "/[aB/]{0,2}".prop_map(PathKind::Exact),
        "/[aB/]{0,2}".prop_map(PathKind::SegmentPrefix),
        "/?[aB/]{0,2}".prop_map(PathKind::Prefix),
        regex().prop_map(|regex| PathKind::Regex(format!("/{regex}"))),
    ];
    (kind, prop::bool::weighted(0.2)).prop_map(|(kind, ignore_case)| PathPattern { kind, ignore_case })
}

fn fields(name: &'static str) -> impl Strategy<Value = Vec<FieldCondition>> {
    let value = prop_oneof![
        4 => string().prop_map(FieldPattern::Text),
        1 => Just(FieldPattern::Present),
        1 => Just(FieldPattern::Absent),
    ];
    let field = (value, prop::bool::weighted(0.3)).prop_map(move |(value, invert)| FieldCondition {
        name: name.to_owned(),
        value,
        invert,
    });
    prop_oneof![5 => Just(Vec::new()), 3 => vec(field, 1..3)]
}

fn entry() -> impl Strategy<Value = Entry> {
    let method =
        prop::sample::select(vec!["GET", "POST"]).prop_map(|text| StringPattern::Exact(text.to_owned()));
    let scheme =
        prop::sample::select(vec!["http", "https"]).prop_map(|text| StringPattern::Exact(text.to_owned()));
    let rare = (
        prop::option::weighted(0.2, method),
        prop::option::weighted(0.2, scheme),
        prop::option::weighted(0.1, string()),
    );
    (prop::option::weighted(0.8, path()), rare, fields("X-h"), fields("Q")).prop_map(
        |(path, (method, scheme, authority), headers, query)| Entry {
            path,
            method,
            scheme,
            authority,
            headers,
            query,
            ..Entry::default()
        },
    )
}

#[test]
fn the_engine_agrees_with_every_piece_of_evidence() {
    check(300, &vec(entry(), 1..8), |entries| {
        let engine = engine_of(&entries);
        let budget = Budget::default();
        let mut list = Reachability::new(&entries, &budget);
        for at in 0..entries.len() {
            match list.reach(at) {
                Reach::Reachable { witness } => assert_eq!(route(&engine, &witness), Some(at), "{witness}"),
                Reach::Unreachable { example, taken_by, .. } => {
                    assert_eq!(route(&engine, &example), Some(taken_by), "{example}");
                    assert_eq!(route(&engine_of(&entries[at..=at]), &example), Some(0), "{example}");
                }
                Reach::Impossible { .. } => {}
                Reach::Unknown { why } => panic!("{at} is undecided: {why}"),
            }
            let other = (at + 1) % entries.len();
            if let Some(both) = list.overlaps(at, other).unwrap() {
                for entry in [at, other] {
                    assert_eq!(route(&engine_of(&entries[entry..=entry]), &both), Some(0), "{both}");
                }
            }
        }
    });
}

#[test]
fn the_engine_takes_requests_where_the_list_says() {
    let request = ("/[aBc]{0,3}", "[aBc]{0,2}", "[aBc%+ ]{0,2}", prop::bool::ANY, prop::bool::ANY);
    check(300, &(vec(entry(), 1..8), vec(request, 8)), |(entries, requests)| {
        let engine = engine_of(&entries);
        let budget = Budget::default();
        let list = Reachability::new(&entries, &budget);
        for (path, header, query, has_header, has_query) in requests {
            let field = |name: &str, value: String| (name.to_owned(), value.into_bytes());
            let request = Request {
                path,
                headers: has_header.then(|| field("x-h", header)).into_iter().collect(),
                query: has_query.then(|| field("Q", query)).into_iter().collect(),
                ..Request::default()
            };
            assert_eq!(list.taker(&request), route(&engine, &request), "{request}");
        }
    });
}
