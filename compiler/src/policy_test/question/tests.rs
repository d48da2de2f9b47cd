use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const IDS: [&str; 3] = ["spiffe://t/ns/a/sa/x", "spiffe://t/ns/b/sa/x", "spiffe://t/ns/b/sa/y"];
const METHODS: [&str; 3] = ["GET", "POST", "OPTIONS"];
const ADDRESSES: [&str; 5] = ["0.0.0.0", "10.0.0.1", "10.1.0.1", "fd00::1", "::"];

fn engine(rules: &[Value], otherwise: &str, tls: &str) -> Arc<Engine> {
    let origin = json!({ "object": "Test a/b", "file": "a.yaml", "line": 1 });
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| {
            let mut rule = rule.clone();
            rule["origin"] = origin.clone();
            rule
        })
        .collect();
    let access = json!({ "rules": rules, "otherwise": { "effect": otherwise, "origin": origin } });
    let port = json!({ "name": "http", "port": 80, "protocol": "http", "application": "127.0.0.1:80",
                       "tls": tls, "access": access });
    let body =
        json!({ "mesh": "m", "service": "a/b", "identity": IDS[0], "trust_anchors": {}, "inbound": [port] });
    Arc::new(Engine::build(Arc::new(serde_json::from_value(body).unwrap())).unwrap())
}

/// What is asked of peers alone, of the method, or of what no request here has.
fn when() -> impl Strategy<Value = Value> {
    let text = |of: &str, is: &str| json!({ "text": { "of": of, "is": { "exact": is } } });
    let atoms = vec![
        json!({ "identity": { "exact": IDS[0] } }),
        text("namespace", "b"),
        text("service_account", "x"),
        text("method", "GET"),
        text("token_issuer", "x"),
        json!({ "has": "sni" }),
        json!({ "address": { "of": "source", "any": ["10.0.0.0/8"] } }),
        json!({ "number": { "of": "destination_port", "is": "equal", "value": 80 } }),
    ];
    let atom = prop::sample::select(atoms);
    atom.prop_recursive(2, 6, 3, |part| {
        prop_oneof![
            part.clone().prop_map(|part| json!({ "not": part })),
            prop::collection::vec(part.clone(), 1..3).prop_map(|parts| json!({ "all": parts })),
            prop::collection::vec(part, 1..3).prop_map(|parts| json!({ "any": parts })),
        ]
    })
}

fn operation() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        "/[ab]{0,2}".prop_map(|path| json!({ "exact": path })),
        "/[ab]{0,1}".prop_map(|path| json!({ "segment_prefix": path })),
        "/[ab/]{0,1}".prop_map(|path| json!({ "prefix": path })),
        prop::sample::select(vec!["/a.*", "/[^a]*", "/(a|b)", ".*b"])
            .prop_map(|regex| json!({ "regex": regex })),
    ];
    let methods = prop::collection::vec(prop::sample::select(METHODS.to_vec()), 0..3);
    (methods, prop::collection::vec(path, 0..3)).prop_map(|(methods, paths)| {
        let mut operation = json!({});
        if !methods.is_empty() {
            operation["methods"] = json!(methods);
        }
        if !paths.is_empty() {
            operation["paths"] = json!(paths);
        }
        operation
    })
}

fn rule() -> impl Strategy<Value = Value> {
    let peer = prop_oneof![
        prop::sample::select(IDS.to_vec()).prop_map(|id| json!({ "identities": [{ "exact": id }] })),
        Just(json!({ "identities": [{ "namespace": { "trust_domain": "t", "namespace": "b" } }] })),
        prop::sample::select(vec!["10.0.0.0/8", "10.1.0.0/16", "::/0", "fd00::/8", "::ffff:10.0.0.0/104"])
            .prop_map(|network| json!({ "networks": [network] })),
    ];
    let effect = prop::sample::select(vec!["audit", "deny", "allow"]);
    let when = prop::option::weighted(0.3, when());
    (effect, prop::collection::vec(peer, 0..3), prop::collection::vec(operation(), 0..3), when).prop_map(
        |(effect, from, to, when)| match when {
            Some(when) => json!({ "effect": effect, "from": from, "to": to, "when": when }),
            None => json!({ "effect": effect, "from": from, "to": to }),
        },
    )
}

/// Whether a request of a small world has that outcome.
fn brute_force(
    engine: &Engine,
    id: Option<&SpiffeId>,
    wanted: &OperationMatch,
    verdict: Verdict,
) -> Option<String> {
    // Who may do what with the requests that are asked about, written as a rule of its own.
    let operation = json!({ "effect": "allow", "to": [serde_json::to_value(wanted).unwrap()] });
    let about = self::engine(&[operation], "deny", "strict");
    let mut paths = vec!["/".to_owned(), "*".to_owned()];
    for first in ["a", "b", "c", "%20"] {
        paths.extend(["", "/", "/a", "/b/", "a", "b"].map(|second| format!("/{first}{second}")));
    }
    let headers = http::HeaderMap::new();
    for (path, method) in paths.iter().flat_map(|path| METHODS.map(|method| (path, method))) {
        // No request but `OPTIONS *` has that path.
        if path == "*" && method != "OPTIONS" {
            continue;
        }
        let path = CanonicalPath::parse(path).unwrap();
        let request = weft_bundle::engine::Request {
            method,
            scheme: "http",
            authority: "",
            path: &path,
            query: None,
            headers: &headers,
        };
        let anybody = Peer { identity: None, address: ADDRESSES[0].parse().unwrap() };
        if about.authorize(about.inbound(80).unwrap(), &anybody, &request).verdict.is_err() {
            continue;
        }
        for address in ADDRESSES {
            let peer = Peer { identity: id, address: address.parse().unwrap() };
            let answer = engine.authorize(engine.inbound(80).unwrap(), &peer, &request);
            if decided(&answer).0 == verdict {
                return Some(format!("{method} {path} from {address}"));
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_request_is_overlooked(
        rules in prop::collection::vec(rule(), 0..5),
        otherwise in prop::sample::select(vec!["allow", "deny"]),
        wanted in operation(),
    ) {
        let engine = engine(&rules, otherwise, "strict");
        let wanted: OperationMatch = serde_json::from_value(wanted).unwrap();
        let mut port = Port::new(Arc::clone(&engine), 80, &wanted).unwrap().unwrap();
        for id in IDS {
            let id: SpiffeId = id.parse().unwrap();
            for verdict in [Verdict::Allow, Verdict::Deny] {
                // What is found was confirmed by the engine; what is not found must not be there. That it is not
                // known needs a condition on the request.
                let found = port.witness(Some(&id), verdict, &Budget::default());
                prop_assert!(found.is_ok() || rules.iter().any(|rule| rule.get("when").is_some()));
                if matches!(found, Ok(None)) {
                    prop_assert_eq!(brute_force(&engine, Some(&id), &wanted, verdict), None, "{} {:?}", id, verdict);
                }
            }
        }
    }
}

#[test]
fn options_of_the_server_slip_past_paths() {
    let deny = json!({ "effect": "deny", "to": [{ "paths": [{ "prefix": "/" }] }] });
    let everything = OperationMatch::default();
    let mut port = Port::new(engine(&[deny], "allow", "strict"), 80, &everything).unwrap().unwrap();
    let id: SpiffeId = IDS[0].parse().unwrap();
    let witness = port.witness(Some(&id), Verdict::Allow, &Budget::default()).unwrap().unwrap();
    assert_eq!(witness.request.unwrap().to_string(), "OPTIONS *");
}

#[test]
fn a_list_beyond_all_measure_is_not_decided() {
    let many = |prefix: &str| (0..1000).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let paths: Vec<Value> = many("/").into_iter().map(|path| json!({ "exact": path })).collect();
    let rule = json!({ "effect": "deny", "to": [{ "methods": many("M"), "paths": paths }] });
    let mut port =
        Port::new(engine(&[rule], "allow", "strict"), 80, &OperationMatch::default()).unwrap().unwrap();
    let id: SpiffeId = IDS[0].parse().unwrap();
    let why = port.witness(Some(&id), Verdict::Allow, &Budget::default()).unwrap_err();
    assert_eq!(why, "methods and paths, of the rules and of the test, make more than 100000 pairs");
}

#[test]
fn identities_count_where_peers_can_prove_them() {
    let allow = json!({ "effect": "allow", "from": [{ "identities": [{ "exact": IDS[0] }] }] });
    let id: SpiffeId = IDS[0].parse().unwrap();
    let anybody = json!({ "effect": "allow" });
    for (rule, tls, known, unknown) in [
        (&allow, "strict", true, false),
        (&allow, "permissive", true, false),
        (&allow, "off", false, false),
        (&anybody, "strict", true, false),
        (&anybody, "permissive", true, true),
        (&anybody, "off", true, true),
    ] {
        let engine = engine(std::slice::from_ref(rule), "deny", tls);
        let mut port = Port::new(engine, 80, &OperationMatch::default()).unwrap().unwrap();
        let mut passes = |id| port.witness(id, Verdict::Allow, &Budget::default()).unwrap().is_some();
        assert_eq!((passes(Some(&id)), passes(None)), (known, unknown), "{rule} {tls}");
    }
}

/// An Istio DENY for everybody but one caller, beside a rule that asks for a header.
#[test]
fn conditions_that_a_peer_decides_are_decided() {
    let others = json!({ "not": { "all": [{ "has": "identity" }, { "identity": { "exact": IDS[0] } }] } });
    let header = json!({ "has": { "header": "x" } });
    let deny = |when: Value| json!({ "effect": "deny", "when": when });
    let ask = |rules: &[Value], id: &str, wanted| {
        let mut port =
            Port::new(engine(rules, "allow", "strict"), 80, &OperationMatch::default()).unwrap().unwrap();
        let id: SpiffeId = id.parse().unwrap();
        port.witness(Some(&id), wanted, &Budget::default()).map(|witness| witness.is_some())
    };
    let both = [deny(others.clone())];
    assert_eq!(ask(&both, IDS[0], Verdict::Allow), Ok(true));
    assert_eq!(ask(&both, IDS[0], Verdict::Deny), Ok(false));
    assert_eq!(ask(&both, IDS[1], Verdict::Allow), Ok(false));
    // One part that is false settles it, whatever the header is.
    let mixed = [deny(json!({ "all": [header, others] }))];
    assert_eq!(ask(&mixed, IDS[0], Verdict::Deny), Ok(false));
    // No request without the header is refused, and none with it was tried.
    let why = ask(&mixed, IDS[1], Verdict::Deny).unwrap_err();
    assert_eq!(why, "what becomes of `GET /` depends on what rules ask `when`");
}

/// The way that depends on nothing is found, although one that does comes first.
#[test]
fn a_sure_way_is_taken_before_one_that_depends() {
    let rules = [
        json!({ "effect": "deny", "to": [{ "paths": [{ "exact": "/" }] }], "when": { "has": "sni" } }),
        json!({ "effect": "allow", "to": [{ "paths": [{ "exact": "/" }] }], "when": { "has": "token_issuer" } }),
        json!({ "effect": "allow", "to": [{ "paths": [{ "segment_prefix": "/" }] }] }),
    ];
    let mut port =
        Port::new(engine(&rules, "deny", "strict"), 80, &OperationMatch::default()).unwrap().unwrap();
    let id: SpiffeId = IDS[0].parse().unwrap();
    let request =
        port.witness(Some(&id), Verdict::Allow, &Budget::default()).unwrap().unwrap().request.unwrap();
    assert_ne!(request.path, "/");
}
