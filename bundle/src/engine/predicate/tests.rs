//! Predicates, asked of requests with and without what they ask about.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::*;
use crate::engine::path::CanonicalPath;
use crate::engine::{Peer, Request, ResponseFacts, Token};
use crate::spiffe::SpiffeId;

/// What a predicate in JSON says: `GET /a/b?x=1` on `shop.example:8080` by `spiffe://td/ns/ops/sa/cart` from 10.1.2.3,
/// with a token, one `x-one` and two `x-two`.
fn ask(predicate: serde_json::Value) -> Truth {
    ask_with(predicate, |facts| facts)
}

fn ask_with(predicate: serde_json::Value, change: impl FnOnce(Facts<'_>) -> Facts<'_>) -> Truth {
    let path = CanonicalPath::parse("/a/b").unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-one", "1"), ("x-two", "guest"), ("x-two", "admin"), ("x-bytes", "\u{e9}")] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers.append("x-broken", HeaderValue::from_bytes(b"\xff").unwrap());
    let request = Request {
        method: "GET",
        scheme: "http",
        authority: "shop.example:8080",
        path: &path,
        query: Some("x=1"),
        headers: &headers,
    };
    let identity: SpiffeId = "spiffe://td/ns/ops/sa/cart".parse().unwrap();
    let claims = json!({"iss": "https://issuer", "sub": "ann", "azp": "app", "aud": ["a", "b"], "level": 3,
        "admin": true, "half": 1.5, "realm": {"roles": ["reader", 7]}, "team": "blue"});
    let token = Token::new(claims.as_object().unwrap().clone());
    let facts = Facts {
        request: Some(&request),
        token: Some(&token),
        remote_address: Some("192.0.2.7".parse().unwrap()),
        destination_port: Some(8080),
        sni: Some("shop.example"),
        response: Some(ResponseFacts { code: 503, duration: std::time::Duration::from_micros(2999) }),
        ..Facts::of(Peer { identity: Some(&identity), address: "::ffff:10.1.2.3".parse().unwrap() })
    };
    let predicate: Predicate = serde_json::from_value(predicate).unwrap();
    PredicateMatcher::compile(&predicate).unwrap().evaluate(&change(facts))
}

fn text(of: serde_json::Value, exact: &str) -> serde_json::Value {
    json!({"text": {"of": of, "is": {"exact": exact}}})
}

/// What is known on a port without requests and without TLS.
fn only_an_address(facts: Facts<'_>) -> Facts<'_> {
    Facts::of(Peer { identity: None, address: facts.peer.address })
}

#[test]
fn every_text_attribute_is_the_one_it_says() {
    for (of, value) in [
        (json!("method"), "GET"),
        (json!("scheme"), "http"),
        (json!("host"), "shop.example"),
        (json!("authority"), "shop.example:8080"),
        (json!("path"), "/a/b"),
        (json!("query"), "x=1"),
        (json!({"header": "x-one"}), "1"),
        (json!("identity"), "spiffe://td/ns/ops/sa/cart"),
        (json!("trust_domain"), "td"),
        (json!("namespace"), "ops"),
        (json!("service_account"), "cart"),
        (json!("sni"), "shop.example"),
        (json!("token_issuer"), "https://issuer"),
        (json!("token_subject"), "ann"),
        (json!("token_presenter"), "app"),
        (json!("token_principal"), "https://issuer/ann"),
        (json!({"claim": ["team"]}), "blue"),
    ] {
        assert_eq!(ask(text(of.clone(), value)), Truth::True, "{of}");
        assert_eq!(ask(text(of.clone(), "other")), Truth::False, "{of}");
        assert_eq!(ask(json!({"has": of})), Truth::True, "{of}");
        assert_eq!(ask_with(text(of.clone(), value), only_an_address), Truth::Error, "{of}");
        assert_eq!(ask_with(json!({"has": of}), only_an_address), Truth::False, "{of}");
    }
}

#[test]
fn numbers_flags_lists_and_addresses() {
    let number = |of: serde_json::Value, is: &str, value: i64| {
        ask(json!({"number": {"of": of, "is": is, "value": value}}))
    };
    for (of, value) in [
        (json!({"size": "path"}), 4),
        (json!("destination_port"), 8080),
        (json!({"claim": ["level"]}), 3),
        (json!("response_code"), 503),
        (json!("response_milliseconds"), 2),
        (json!({"size": {"header": "x-bytes"}}), 1),
        (json!({"size": {"header": "x-two"}}), 5),
    ] {
        for (is, below, same, above) in [
            ("equal", false, true, false),
            ("less", false, false, true),
            ("at_most", false, true, true),
            ("greater", true, false, false),
            ("at_least", true, true, false),
        ] {
            for (against, holds) in [(value - 1, below), (value, same), (value + 1, above)] {
                assert_eq!(number(of.clone(), is, against), Truth::from(holds), "{of} {is} {against}");
            }
        }
    }
    for of in
        [json!({"claim": ["half"]}), json!({"claim": ["team"]}), json!({"size": {"header": "x-broken"}})]
    {
        assert_eq!(number(of.clone(), "equal", 1), Truth::Error, "{of}");
    }
    assert_eq!(ask(json!({"flag": {"claim": ["admin"]}})), Truth::True);
    assert_eq!(ask(json!({"flag": {"claim": ["level"]}})), Truth::Error);
    let contains =
        |of: serde_json::Value, item: &str| ask(json!({"contains": {"of": of, "is": {"exact": item}}}));
    assert_eq!(contains(json!("token_audiences"), "b"), Truth::True);
    assert_eq!(contains(json!("token_audiences"), "c"), Truth::False);
    assert_eq!(contains(json!({"claim": ["realm", "roles"]}), "reader"), Truth::True);
    assert_eq!(contains(json!({"claim": ["realm", "roles"]}), "7"), Truth::False);
    assert_eq!(contains(json!({"claim": ["team"]}), "blue"), Truth::True, "one text is a list of one");
    assert_eq!(contains(json!({"claim": ["realm"]}), "roles"), Truth::Error);
    let address = |of: &str, network: &str| ask(json!({"address": {"of": of, "any": [network]}}));
    assert_eq!(address("source", "10.0.0.0/8"), Truth::True);
    assert_eq!(address("source", "::ffff:10.0.0.0/104"), Truth::True);
    assert_eq!(address("remote", "10.0.0.0/8"), Truth::False);
    assert_eq!(address("destination", "10.0.0.0/8"), Truth::Error);
    let identity = |wanted: serde_json::Value| ask(json!({"identity": wanted}));
    assert_eq!(identity(json!({"namespace": {"trust_domain": "td", "namespace": "ops"}})), Truth::True);
    assert_eq!(identity(json!({"exact": "spiffe://td/ns/ops/sa/cart2"})), Truth::False);
    assert_eq!(ask(json!({"path": {"is": {"segment_prefix": "/A"}, "ignore_case": true}})), Truth::True);
    assert_eq!(ask(json!({"path": {"is": {"segment_prefix": "/a/"}}})), Truth::True);
}

#[test]
fn connectives_have_three_values_in_any_order() {
    let (t, f, e) = (json!({"all": []}), json!({"any": []}), text(json!({"header": "absent"}), "x"));
    for (parts, all, any) in [
        ([&t, &t], Truth::True, Truth::True),
        ([&t, &f], Truth::False, Truth::True),
        ([&f, &f], Truth::False, Truth::False),
        ([&t, &e], Truth::Error, Truth::True),
        ([&f, &e], Truth::False, Truth::Error),
        ([&e, &e], Truth::Error, Truth::Error),
    ] {
        for parts in [[parts[0], parts[1]], [parts[1], parts[0]]] {
            assert_eq!(ask(json!({"all": parts})), all, "{parts:?}");
            assert_eq!(ask(json!({"any": parts})), any, "{parts:?}");
        }
    }
    assert_eq!(ask(json!({"not": t})), Truth::False);
    assert_eq!(ask(json!({"not": f})), Truth::True);
    assert_eq!(ask(json!({"not": e})), Truth::Error);
}

#[test]
fn values_of_one_header_that_disagree_are_an_error() {
    let two = |is: serde_json::Value| json!({"text": {"of": {"header": "x-two"}, "is": is}});
    assert_eq!(ask(two(json!({"exact": "admin"}))), Truth::Error);
    assert_eq!(ask(json!({"not": two(json!({"exact": "admin"}))})), Truth::Error);
    assert_eq!(ask(two(json!({"exact": "guest,admin"}))), Truth::False, "values are never joined");
    assert_eq!(ask(two(json!({"regex": "guest|admin"}))), Truth::True);
    assert_eq!(ask(two(json!("present"))), Truth::True);
    assert_eq!(ask(text(json!({"header": "x-broken"}), "\u{fffd}")), Truth::False, "compared as bytes");
}

#[test]
fn what_means_nothing_is_refused() {
    let compile = |predicate: serde_json::Value| {
        let predicate: Predicate = serde_json::from_value(predicate).unwrap();
        PredicateMatcher::compile(&predicate).map(drop)
    };
    let nest = |depth| (0..depth).fold(json!({"has": "method"}), |inner, _| json!({"not": inner}));
    assert_eq!(compile(nest(Predicate::MAX_DEPTH)), Ok(()));
    assert!(matches!(compile(nest(Predicate::MAX_DEPTH + 1)), Err(MatchError::Predicate(_))));
    let wide = |parts| json!({"any": vec![json!({"has": "method"}); parts]});
    assert_eq!(compile(wide(Predicate::MAX_SIZE - 1)), Ok(()));
    assert!(matches!(compile(wide(Predicate::MAX_SIZE)), Err(MatchError::Predicate(_))));
    for refused in [
        json!({"has": {"claim": []}}),
        json!({"flag": {"claim": []}}),
        json!({"contains": {"of": {"claim": []}, "is": "present"}}),
        json!({"number": {"of": {"claim": []}, "is": "equal", "value": 1}}),
        json!({"number": {"of": "destination_port", "is": "equal", "value": 1i64 << 53}}),
    ] {
        assert!(matches!(compile(refused.clone()), Err(MatchError::Predicate(_))), "{refused}");
    }
    assert!(matches!(compile(json!({"has": {"header": "a b"}})), Err(MatchError::HeaderName(_))));
    assert!(matches!(compile(json!({"path": {"is": {"regex": "("}}})), Err(MatchError::Regex { .. })));
    for unknown in [
        json!({"maybe": []}),
        json!({"text": {"of": "method", "is": "present", "x": 1}}),
        json!({"has": "cookie"}),
    ] {
        assert!(serde_json::from_value::<Predicate>(unknown).is_err());
    }
}

#[test]
fn the_deepest_predicate_can_be_read_in_a_body() {
    let atom = json!({"number": {"of": {"size": {"claim": ["a"]}}, "is": "equal", "value": 1}});
    let deepest = (0..Predicate::MAX_DEPTH).fold(atom, |inner, _| json!({"all": [inner]}));
    // body, inbound, port, access, rules, rule
    let nested = json!({"inbound": [{"access": {"rules": [{"when": deepest}]}}]});
    let bytes = crate::json::to_canonical(&nested).unwrap();
    assert!(crate::json::from_slice::<serde_json::Value>(&bytes).is_ok());
    let predicate: Predicate = serde_json::from_value(deepest).unwrap();
    assert_eq!((predicate.depth(), predicate.size()), (Predicate::MAX_DEPTH, Predicate::MAX_DEPTH + 1));
}
