//! What is proved of lists with host names is what the proxies do.

use std::sync::Arc;

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;
use weft_bundle::body::{self, Body, PathMatch, RequestMatch};
use weft_bundle::engine::{Engine, Request, path::CanonicalPath};

use crate::reach::entry_of;
use crate::reach::{self, Budget, Reach};

/// A gateway with one listener for every host, that has these conditions in this order.
fn engine_of(conditions: &[RequestMatch]) -> Engine {
    let origin = json!({"object": "Test a/b", "file": "a.yaml", "line": 1});
    let rule = json!({"origin": origin, "action": {"respond": {"status": 204}}});
    let frontend = json!({"service": "a/b", "port": 80, "protocol": "http", "hosts": ["*"], "rules": [rule], "otherwise": rule});
    let access = json!({"otherwise": {"effect": "allow", "origin": origin}});
    let mut body: Body = serde_json::from_value(json!({
        "mesh": "m", "service": "a/b", "identity": "spiffe://td/ns/a/sa/b", "trust_anchors": {},
        "listeners": [{"name": "l", "frontend": frontend, "access": access}],
    }))
    .unwrap();
    let entry = |condition: &RequestMatch| body::Entry { condition: condition.clone(), rule: 0 };
    body.listeners[0].frontend.entries = conditions.iter().map(entry).collect();
    Engine::build(Arc::new(body)).unwrap()
}

/// The entry that takes a request; one without a host is for a host that no pattern names.
fn taker(engine: &Engine, request: &reach::Request) -> Option<usize> {
    let host = request.facts.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone());
    let host = String::from_utf8(host.unwrap_or_else(|| b"nowhere".to_vec())).unwrap();
    let path = CanonicalPath::parse(&request.path).unwrap();
    let headers = HeaderMap::new();
    let (method, scheme) = (request.method.as_str(), request.scheme.as_str());
    let asked = Request { method, scheme, authority: &host, path: &path, query: None, headers: &headers };
    let listener = engine.listener(80, Some(&host)).unwrap();
    engine.route(listener.frontend(), &asked).entry.map(|(place, _)| place)
}

fn condition() -> impl Strategy<Value = RequestMatch> {
    let host = prop::sample::select(vec!["*", "*.b", "*.a.b", "a.b", "x.a.b", "y.a.b", "c"]);
    let hosts = prop::collection::vec(host.prop_map(str::to_owned), 0..3);
    let path = prop::sample::select(vec!["/", "/a", "/a/b", "/c"]);
    let path = prop::option::of(path.prop_map(|path| PathMatch::SegmentPrefix(path.to_owned())));
    (hosts, path).prop_map(|(hosts, path)| RequestMatch { hosts, path, ..RequestMatch::default() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hosts_are_reached_as_the_engine_says(conditions in prop::collection::vec(condition(), 1..7)) {
        let engine = engine_of(&conditions);
        let entries: Vec<_> = conditions.iter().map(entry_of).collect();
        for (place, reached) in reach::analyse(&entries, &Budget::default()).into_iter().enumerate() {
            match reached {
                Reach::Reachable { witness } => prop_assert_eq!(taker(&engine, &witness), Some(place), "{}", witness),
                Reach::Unreachable { example, taken_by, .. } => {
                    prop_assert_eq!(taker(&engine, &example), Some(taken_by), "{}", example);
                }
                Reach::Impossible { what } => prop_assert!(false, "{} cannot hold", what),
                Reach::Unknown { why } => prop_assert!(false, "{}", why),
            }
        }
    }
}
