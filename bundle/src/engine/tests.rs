//! Whole bodies, decided.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::json;

use super::*;
use crate::spiffe::SpiffeId;

fn origin(line: u32) -> serde_json::Value {
    json!({"object": "Test a/b", "file": "a.yaml", "line": line})
}

fn body() -> Body {
    let forward = |cluster: &str, line| json!({"origin": origin(line), "action": {"forward": [{"target": {"cluster": cluster}, "weight": 1}]}});
    let cluster = |name: &str| {
        json!({"service": name, "port": 80, "protocol": "http", "tls": "off", "load_balancer": "random",
        "connect_timeout": "1s", "idle_timeout": "50s", "retry_budget": {"percent": 20, "min": 3}})
    };
    let value = json!({
        "mesh": "m", "service": "a/b", "identity": "spiffe://td/ns/a/sa/b", "trust_anchors": {},
        "clusters": {"one": cluster("a/one"), "two": cluster("a/two")},
        "outbound": [{"service": "a/c", "port": 80, "protocol": "http", "hosts": ["c", "c.a"],
            "entries": [
                {"match": {"path": {"segment_prefix": "/v2"}, "headers": [{"name": "x", "value": {"exact": "1"}}]}, "rule": 0},
                {"match": {"method": {"exact": "POST"}}, "rule": 1},
            ],
            "rules": [forward("one", 1), forward("two", 2)],
            "otherwise": {"origin": origin(3), "action": {"respond": {"status": 404}}}}],
        "inbound": [{"name": "http", "port": 80, "protocol": "http", "application": "127.0.0.1:8080", "tls": "strict",
            "access": {"rules": [
                {"effect": "audit", "origin": origin(10), "to": [{"methods": ["GET"]}]},
                {"effect": "deny", "origin": origin(11), "to": [{"paths": [{"segment_prefix": "/admin"}]}]},
                {"effect": "allow", "origin": origin(12), "from": [{"identities": [{"exact": "spiffe://td/ns/a/sa/c"}]}]},
                {"effect": "allow", "origin": origin(13), "from": [
                    {"identities": [{"namespace": {"trust_domain": "td", "namespace": "ops"}}], "networks": ["10.0.0.0/8"]}]},
            ], "otherwise": {"effect": "deny", "origin": origin(14)}}}],
    });
    serde_json::from_value(value).unwrap()
}

fn with_request<T>(
    method: &str,
    path: &str,
    headers: &[(&'static str, &str)],
    f: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let path = CanonicalPath::parse(path).unwrap();
    let headers: HeaderMap =
        headers.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap())).collect();
    f(&Request { method, scheme: "http", authority: "c:80", path: &path, query: None, headers: &headers })
}

#[test]
fn the_first_entry_that_matches_decides() {
    let engine = Engine::build(Arc::new(body())).unwrap();
    let line = |method, path, headers: &[(&'static str, &str)]| {
        let frontend = engine.frontend("c.a", 80).unwrap();
        with_request(method, path, headers, |request| engine.route(frontend, request).rule.origin.line)
    };
    assert_eq!(line("POST", "/v2/x", &[("x", "1")]), 1);
    assert_eq!(line("POST", "/v2x", &[("x", "1")]), 2);
    assert_eq!(line("GET", "/v2", &[("x", "2")]), 3);
    assert_eq!(line("post", "/", &[]), 3, "methods are compared as received");
    assert!(engine.frontend("c", 81).is_none() && engine.frontend("d", 80).is_none());
}

#[test]
fn access_denies_before_it_allows_and_audits_only_record() {
    let engine = Engine::build(Arc::new(body())).unwrap();
    let ask = |identity: Option<&str>, address: &str, method, path| {
        let identity: Option<SpiffeId> = identity.map(|text| text.parse().unwrap());
        let peer = Peer { identity: identity.as_ref(), address: address.parse().unwrap() };
        with_request(method, path, &[], |request| {
            let answer = engine.authorize(engine.inbound(80).unwrap(), &peer, request);
            let line = match answer.verdict {
                Ok(permit) => i64::from(permit.origin().line),
                Err(denial) => -i64::from(denial.origin.line),
            };
            (line, answer.audits.len())
        })
    };
    let c = Some("spiffe://td/ns/a/sa/c");
    assert_eq!(ask(c, "10.0.0.1", "GET", "/x"), (12, 1));
    assert_eq!(ask(c, "10.0.0.1", "POST", "/%61dmin/x"), (-11, 0));
    assert_eq!(ask(None, "10.0.0.1", "POST", "/x"), (-14, 0));
    assert_eq!(ask(Some("spiffe://td.evil/ns/a/sa/c"), "10.0.0.1", "POST", "/x"), (-14, 0));
    assert_eq!(ask(Some("spiffe://td/ns/ops/sa/any"), "::ffff:10.1.2.3", "POST", "/x"), (13, 0));
    assert_eq!(ask(Some("spiffe://td/ns/ops/sa/any"), "192.168.0.1", "POST", "/x"), (-14, 0));
    assert_eq!(ask(Some("spiffe://td/ns/opsx/sa/any"), "10.0.0.1", "POST", "/x"), (-14, 0));
}

#[test]
fn where_requests_cannot_be_seen_request_rules_fail_closed() {
    let engine = Engine::build(Arc::new(body())).unwrap();
    let id: SpiffeId = "spiffe://td/ns/a/sa/c".parse().unwrap();
    let peer = Peer { identity: Some(&id), address: "10.0.0.1".parse().unwrap() };
    let answer = engine.authorize_connection(engine.inbound(80).unwrap(), &peer);
    assert_eq!(answer.verdict.unwrap_err().origin.line, 11);
}

#[test]
fn broken_bodies_are_refused() {
    let broken = |change: &dyn Fn(&mut Body)| {
        let mut body = body();
        change(&mut body);
        Engine::build(Arc::new(body)).unwrap_err()
    };
    let missing = broken(&|body| drop(body.clusters.remove("two")));
    assert!(matches!(missing, BuildError::MissingCluster { .. }), "{missing}");
    let rule = broken(&|body| body.outbound[0].entries[0].rule = 9);
    assert!(matches!(rule, BuildError::MissingRule { .. }));
    let twice = broken(&|body| body.outbound.push(body.outbound[0].clone()));
    assert!(matches!(twice, BuildError::Duplicate { .. }));
    let port = broken(&|body| body.inbound.push(body.inbound[0].clone()));
    assert!(matches!(port, BuildError::Duplicate { .. }));
    let regex = broken(&|body| {
        body.outbound[0].entries[0].condition.path = Some(crate::body::PathMatch::Regex("(".into()));
    });
    assert!(matches!(regex, BuildError::Match { .. }));
    let header = broken(&|body| body.outbound[0].rules[0].request_headers.remove.push("a b".into()));
    assert!(matches!(header, BuildError::IllegalText { .. }));
}

#[test]
fn what_would_break_a_message_is_refused() {
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(body()).unwrap();
        change(&mut value["outbound"][0]["rules"][0]);
        match Engine::build(Arc::new(serde_json::from_value(value).unwrap())) {
            Err(BuildError::IllegalText { text, .. }) => Some(text),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    };
    let action = |action: serde_json::Value| refused(&|rule| rule["action"] = action.clone());
    for status in [100, 101, 199, 600] {
        assert_eq!(action(json!({"respond": {"status": status}})), Some(status.to_string()));
        assert_eq!(
            action(json!({"forward": [{"target": {"status": status}, "weight": 1}]})),
            Some(status.to_string())
        );
    }
    for status in [204, 205, 304] {
        assert_eq!(action(json!({"respond": {"status": status}})), None);
        assert_eq!(action(json!({"respond": {"status": status, "body": "x"}})), Some(status.to_string()));
    }
    assert_eq!(action(json!({"respond": {"status": 200, "body": "x"}})), None);
    for (redirect, text) in [
        (json!({"status": 302, "scheme": "https", "host": "a.b", "path": {"full": "/x"}}), None),
        (json!({"status": 302, "host": "[::1]", "path": {"matched": ""}}), None),
        (json!({"status": 200}), Some("200")),
        (json!({"status": 304}), Some("304")),
        (json!({"status": 302, "scheme": "javascript"}), Some("javascript")),
        (json!({"status": 302, "host": "a/b"}), Some("a/b")),
        (json!({"status": 302, "host": "a:80"}), Some("a:80")),
        (json!({"status": 302, "host": ""}), Some("")),
        (json!({"status": 302, "path": {"full": "/x\r\ny: z"}}), Some("/x\r\ny: z")),
        (json!({"status": 302, "path": {"full": "/x?y"}}), Some("/x?y")),
    ] {
        assert_eq!(action(json!({"redirect": redirect})).as_deref(), text);
    }
    for (rewrite, text) in [
        (json!({"host": "a.b:8080", "path": {"matched": "/x"}}), None),
        (json!({"host": "a b"}), Some("a b")),
        (json!({"host": "a:0"}), Some("a:0")),
        (json!({"host": "u@a"}), Some("u@a")),
        (json!({"path": {"matched": "/a b"}}), Some("/a b")),
        (json!({"path": {"full": "/a#b"}}), Some("/a#b")),
    ] {
        assert_eq!(refused(&|rule| rule["rewrite"] = rewrite.clone()).as_deref(), text);
    }
    for side in ["request_headers", "response_headers"] {
        let edits = json!({"set": [["transfer-encoding", "chunked"]]});
        assert_eq!(refused(&|rule| rule[side] = edits.clone()).as_deref(), Some("transfer-encoding"));
        assert_eq!(refused(&|rule| rule[side] = json!({"add": [["x", "1"]]})), None);
    }
}

#[test]
fn a_denied_network_is_denied_in_every_spelling() {
    let engine = |network: &str| {
        let mut value = serde_json::to_value(body()).unwrap();
        value["inbound"][0]["access"] = json!({
            "rules": [{"effect": "deny", "origin": origin(1), "from": [{"networks": [network]}]}],
            "otherwise": {"effect": "allow", "origin": origin(2)},
        });
        Engine::build(Arc::new(serde_json::from_value(value).unwrap())).unwrap()
    };
    let denied = |network: &str, address: &str| {
        let engine = engine(network);
        let peer = Peer { identity: None, address: address.parse().unwrap() };
        engine.authorize_connection(engine.inbound(80).unwrap(), &peer).verdict.is_err()
    };
    for network in ["10.0.0.0/8", "10.1.2.3/8", "::ffff:10.0.0.0/104"] {
        assert!(denied(network, "10.9.9.9") && denied(network, "::ffff:10.9.9.9"), "{network}");
        assert!(!denied(network, "11.0.0.1") && !denied(network, "fd00::a09:909"), "{network}");
    }
    assert!(denied("::ffff:0.0.0.0/96", "192.0.2.1") && denied("fd00::/8", "fd00::1"));
    assert!(!denied("::/0", "192.0.2.1"), "IPv4 is not a part of IPv6");
}

#[test]
fn a_condition_that_errors_denies_and_never_allows() {
    let header = |name: &str| json!({"text": {"of": {"header": name}, "is": {"exact": "1"}}});
    let decide = |effect: &str, when: serde_json::Value, headers: Option<&[(&'static str, &str)]>| {
        let mut value = serde_json::to_value(body()).unwrap();
        let otherwise = if effect == "allow" { "deny" } else { "allow" };
        value["inbound"][0]["access"] = json!({
            "rules": [{"effect": effect, "origin": origin(1), "when": when}],
            "otherwise": {"effect": otherwise, "origin": origin(2)},
        });
        let engine = Engine::build(Arc::new(serde_json::from_value(value).unwrap())).unwrap();
        let peer = Peer { identity: None, address: "10.0.0.1".parse().unwrap() };
        let port = engine.inbound(80).unwrap();
        let holds = |answer: Authorization<'_>| {
            let decided = match answer.verdict {
                Ok(permit) => permit.origin().line,
                Err(denial) => denial.origin.line,
            };
            decided == 1 || !answer.audits.is_empty()
        };
        match headers {
            Some(headers) => {
                with_request("GET", "/", headers, |request| holds(engine.authorize(port, &peer, request)))
            }
            None => holds(engine.authorize_connection(port, &peer)),
        }
    };
    let not_one = json!({"not": header("x")});
    for (effect, strict) in [("allow", false), ("deny", true), ("audit", true)] {
        assert!(decide(effect, header("x"), Some(&[("x", "1")])), "{effect}");
        assert!(!decide(effect, header("x"), Some(&[("x", "2")])), "{effect}");
        assert!(!decide(effect, not_one.clone(), Some(&[("x", "1")])), "{effect}");
        for when in [header("x"), not_one.clone()] {
            assert_eq!(decide(effect, when.clone(), Some(&[])), strict, "absent: {effect} {when}");
            assert_eq!(
                decide(effect, when.clone(), Some(&[("x", "1"), ("x", "2")])),
                strict,
                "{effect} {when}"
            );
            assert_eq!(decide(effect, when.clone(), None), strict, "no request to see: {effect} {when}");
        }
        let guarded = json!({"all": [{"has": {"header": "x"}}, header("x")]});
        assert!(!decide(effect, guarded, Some(&[])), "{effect}");
        let port = json!({"number": {"of": "destination_port", "is": "equal", "value": 80}});
        assert!(decide(effect, port.clone(), None) && decide(effect, port, Some(&[])), "{effect}");
    }
}

#[test]
fn unknown_fields_in_a_body_are_refused() {
    let mut value = serde_json::to_value(body()).unwrap();
    value["outbound"][0]["entries"][0]["match"]["cookie"] = json!("x");
    assert!(serde_json::from_value::<Body>(value).is_err());
}

/// A gateway with three listeners: two for requests on one port, one for connections.
fn gateway() -> Body {
    let forward = |line| json!({"origin": origin(line), "action": {"forward": [{"target": {"cluster": "one"}, "weight": 1}]}});
    let respond = |line| json!({"origin": origin(line), "action": {"respond": {"status": 404}}});
    let listener = |name: &str, port: u16, protocol: &str, host: &str, entries, line: u32| {
        json!({"name": name, "access": {"otherwise": {"effect": "allow", "origin": origin(line)}},
            "frontend": {"service": "a/b", "port": port, "protocol": protocol, "hosts": [host], "entries": entries,
                "rules": [forward(line), forward(line + 1)], "otherwise": respond(line + 2)}})
    };
    let mut value = serde_json::to_value(body()).unwrap();
    value["listeners"] = json!([
        listener("any", 80, "http", "*", json!([{"rule": 0}]), 20),
        listener(
            "shop",
            80,
            "http",
            "*.shop.example",
            json!([{"match": {"hosts": ["www.shop.example"]}, "rule": 0}, {"match": {"hosts": ["*.b.shop.example"]}, "rule": 1}]),
            30
        ),
        listener(
            "tls",
            443,
            "tls",
            "*",
            json!([{"match": {"server_names": ["*.a.example"]}, "rule": 0}, {"match": {"destinations": ["10.0.0.0/8"]}, "rule": 1}]),
            40
        ),
    ]);
    serde_json::from_value(value).unwrap()
}

#[test]
fn the_most_specific_listener_takes_a_request_and_only_its_routes_count() {
    let engine = Engine::build(Arc::new(gateway())).unwrap();
    let line = |host: &str| {
        let path = CanonicalPath::parse("/").unwrap();
        let headers = HeaderMap::new();
        let request = Request {
            method: "GET",
            scheme: "http",
            authority: &format!("{host}:80"),
            path: &path,
            query: None,
            headers: &headers,
        };
        let listener = engine.listener(80, Some(host)).unwrap();
        engine.route(listener.frontend(), &request).rule.origin.line
    };
    assert_eq!(line("www.shop.example"), 30);
    assert_eq!(line("x.b.shop.example"), 31);
    assert_eq!(line("other.shop.example"), 32, "not the listener for every host, which would forward");
    assert_eq!(line("shop.example"), 20);
    assert!(engine.listener(81, Some("shop.example")).is_none());
    assert_eq!(engine.listener(80, None).unwrap().get().name, "any");
}

#[test]
fn connections_are_routed_by_name_and_address() {
    let engine = Engine::build(Arc::new(gateway())).unwrap();
    let line = |server_name: Option<&str>, destination: &str| {
        let frontend = engine.listener(443, server_name).unwrap().frontend();
        let connection = Connection { server_name, destination: destination.parse().ok() };
        engine.route_connection(frontend, &connection).rule.origin.line
    };
    assert_eq!(line(Some("x.a.example"), "192.0.2.1"), 40);
    assert_eq!(line(Some("a.example"), "10.1.1.1"), 41);
    assert_eq!(line(None, "::ffff:10.1.1.1"), 41);
    assert_eq!(line(None, "192.0.2.1"), 42);
    // A condition on requests never holds for a connection, and the other way round.
    let http = engine.listener(80, Some("www.shop.example")).unwrap().frontend();
    assert_eq!(engine.route_connection(http, &Connection::default()).rule.origin.line, 32);
    let tls = engine.listener(443, None).unwrap().frontend();
    assert_eq!(with_request("GET", "/", &[], |request| engine.route(tls, request).rule.origin.line), 42);
}

#[test]
fn a_rewrite_by_expression_is_compiled_once_and_checked() {
    let body = |pattern: &str, substitution: &str| {
        let mut value = serde_json::to_value(body()).unwrap();
        value["outbound"][0]["rules"][1]["rewrite"] =
            json!({"path": {"regex": {"pattern": pattern, "substitution": substitution}}});
        Engine::build(Arc::new(serde_json::from_value(value).unwrap()))
    };
    let engine = body("/v([0-9])/(.*)", r"/\2/\1").unwrap();
    let frontend = engine.frontend("c", 80).unwrap();
    let path = |path| {
        with_request("POST", path, &[], |request| {
            engine.route(frontend, request).rewritten_path(request.path)
        })
    };
    assert_eq!(path("/v1/a/b").as_deref(), Some("/a/b/1"));
    assert_eq!(path("/x").as_deref(), Some("/x"));
    assert!(matches!(body("(", "/"), Err(BuildError::Match { .. })));
    assert!(matches!(body("a", r"\1"), Err(BuildError::IllegalText { .. })));
}

#[test]
fn what_no_proxy_does_yet_is_named_with_a_place() {
    use crate::feature::{Feature, uses};
    assert!(uses(&body()).is_empty());
    let gateway = uses(&gateway());
    let expected = [(Feature::Gateway, "listener `any`"), (Feature::OpaqueListeners, "listener `tls`")];
    let expected = expected.map(|(feature, place)| (feature, place.to_owned()));
    assert_eq!(gateway.into_iter().collect::<Vec<_>>(), expected);
    let mut value = serde_json::to_value(body()).unwrap();
    value["outbound"][0]["rules"][0]["mirrors"] =
        json!([{"cluster": "two", "share": {"numerator": 1, "denominator": 2}}]);
    value["clusters"]["one"]["limits"] = json!({"requests": 3});
    let uses = uses(&serde_json::from_value(value).unwrap());
    assert_eq!(uses.get(&Feature::Mirror).map(String::as_str), Some("Test a/b (a.yaml:1)"));
    assert_eq!(uses.get(&Feature::Limits).map(String::as_str), Some("cluster one"));
}
