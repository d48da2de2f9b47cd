//! What rules do beside routing: faults that some requests meet, and what browsers of other origins are told.

use weft_tests::client::{Call, Protocol};

use crate::plain::{Plain, traffic_policy};

const API: &str = "http://api/";

#[test]
fn faults_hit_the_share_and_the_testers_that_policy_names() {
    let plain = Plain::new(
        &[("api", 1)],
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: api }
spec:
  hosts: [ api ]
  http:
  - match: [ { headers: { x-tester: { exact: slow } } } ]
    fault: { delay: { fixedDelay: 150ms, percentage: { value: 100 } } }
    route: [ { destination: { host: api } } ]
  - match: [ { headers: { x-tester: { exact: grpc } } } ]
    fault: { abort: { grpcStatus: UNAVAILABLE, percentage: { value: 100 } } }
    route: [ { destination: { host: api } } ]
  - fault: { abort: { httpStatus: 503, percentage: { value: 20 } } }
    route: [ { destination: { host: api } } ]
",
    );
    let begun = std::time::Instant::now();
    let slow = plain.ask(&Call::get(API).header("x-tester", "slow"));
    assert_eq!(slow.status, 200, "{slow}");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(150));
    let grpc = plain.ask(&Call::get(API).header("x-tester", "grpc"));
    assert_eq!((grpc.status, grpc.header("grpc-status")), (200, "14"), "{grpc}");

    let tally =
        weft_tests::load::burst(Protocol::Http2, plain.proxy.outbound(), &Call::get(API), 1000).unwrap();
    // Five standard deviations of a binomial distribution.
    assert!((137..=263).contains(&tally.failed()), "{tally}");
    assert_eq!(tally.failures.len(), 1, "{tally}");
    assert_eq!(plain.endpoints("api")[0].hits(), 1001 - tally.failed(), "what fails goes nowhere");
    let injected = |fault| plain.metric("weft_faults_injected_total", &[("fault", fault)]);
    assert_eq!((injected("delay"), injected("abort")), (1.0, tally.failed() as f64 + 1.0));
}

/// What you test is what runs: the simulator and the proxy give browsers the same answers.
#[test]
fn browsers_get_what_trace_says() {
    let plain = Plain::new(
        &[("api", 1)],
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api }
spec:
  parentRefs: [ { group: '', kind: Service, name: api, port: 80 } ]
  rules:
  - filters:
    - type: CORS
      cors:
        allowOrigins: [ 'https://shop.example', 'https://*.shop.example' ]
        allowMethods: [ GET, PUT ]
        allowHeaders: [ x-csrf ]
        exposeHeaders: [ x-total ]
        allowCredentials: true
        maxAge: 600
    backendRefs: [ { name: api, port: 80 } ]
",
    );
    let asks: (&str, &str) = ("access-control-request-method", "PUT");
    let cases: [(&str, &str, bool); 5] = [
        ("OPTIONS", "https://shop.example", true),
        ("OPTIONS", "https://www.shop.example", true),
        ("OPTIONS", "https://evil.example", true),
        ("GET", "https://shop.example", false),
        ("GET", "https://evil.example", false),
    ];
    for (method, origin, preflight) in cases {
        let mut call = Call::get(API).method(method).header("origin", origin);
        let (request, field) = (format!("{method} {API}"), format!("origin: {origin}"));
        let asked = format!("{}: {}", asks.0, asks.1);
        let mut arguments =
            vec!["trace", "policy", "--from", "web", &request, "--format", "json", "-H", &field];
        if preflight {
            call = call.header(asks.0, asks.1);
            arguments.extend(["-H", &asked]);
        }
        let answer = plain.ask(&call);
        let traced = plain.mesh.weft(&arguments).unwrap();
        let json: serde_json::Value = serde_json::from_str(&traced.stdout).unwrap();
        let told = answer.header("access-control-allow-origin");
        if preflight {
            assert_eq!(json["status"], answer.status, "{traced}\n{answer}");
            assert_eq!(told == origin, answer.status == 204, "{origin}: {answer}");
        } else {
            assert_eq!(
                (answer.status, json["decision"].as_str()),
                (200, Some("forward")),
                "{traced}\n{answer}"
            );
            let fields = json["backends"][0]["arriving"]["response_headers"].as_array().unwrap();
            for field in fields {
                let (name, value) = (field[0].as_str().unwrap(), field[1].as_str().unwrap());
                assert_eq!(answer.header(name), value, "{traced}\n{answer:?}");
            }
            assert_eq!(told == origin, fields.iter().any(|field| field[1] == origin), "{traced}");
        }
    }
    assert_eq!(plain.endpoints("api")[0].hits(), 2, "preflights do not reach it");
    let preflights = plain.metric("weft_requests_total", &[("reason", "preflight"), ("code_class", "2xx")]);
    assert_eq!(preflights, 2.0);
}

#[test]
fn copies_go_elsewhere_and_callers_do_not_notice() {
    let plain = Plain::new(
        &[("api", 1), ("shadow", 1), ("rare", 1)],
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: api }
spec:
  hosts: [ api ]
  http:
  - route: [ { destination: { host: api } } ]
    mirrors:
    - { destination: { host: shadow }, percentage: { value: 100 } }
    - { destination: { host: rare }, percentage: { value: 10 } }
",
    );
    let hits = |service| plain.endpoints(service)[0].hits();
    // Answered late by all of them, but the caller waits for one only.
    let held = plain.ask_aside(&Call::get(API).method("POST").header("x-bench-hold", "yes").body("a body"));
    plain.until("both have it", || plain.endpoints("shadow")[0].holds() == 1 && hits("api") == 1);
    plain.endpoints("api")[0].release();
    let answer = held.join().unwrap();
    assert_eq!((answer.status, answer.field("service").as_str()), (200, "api"), "{answer}");
    assert_eq!(plain.endpoints("shadow")[0].holds(), 1);
    for _ in 0..300 {
        let answer = plain.ask(&Call::get("http://api/items").body("another"));
        assert_eq!((answer.status, answer.field("service").as_str()), (200, "api"), "{answer}");
    }
    plain.until("every request was copied", || hits("shadow") == 301);
    // Five standard deviations of a binomial distribution.
    assert!((5..=56).contains(&hits("rare")), "{} of 301", hits("rare"));
    plain.endpoints("shadow")[0].release();
    let answered = [("cluster", "default/shadow:80"), ("outcome", "answered")];
    plain.until("every copy was answered", || {
        plain.metric("weft_mirrored_requests_total", &answered) == 301.0
    });
}

#[test]
fn a_user_has_a_home_that_every_sidecar_finds() {
    let policy = traffic_policy(
        "api",
        "loadBalancer: { policy: maglev, hash: { on: [ { header: x-user }, { cookie: { name: sid, ttl: 0s } } ] } }",
    );
    let plain = Plain::new(&[("api", 3)], &policy);
    let mut second = plain.proxy.setup().clone();
    second.outbound = weft_tests::port::free_address().unwrap();
    second.admin = weft_tests::port::free_address().unwrap();
    second.inbound = vec![format!("http={}", weft_tests::port::free_address().unwrap())];
    second.state.set_extension("second");
    let second = second.start().unwrap();
    let mut homes = std::collections::BTreeSet::new();
    for user in 0..30 {
        let call = Call::get(API).header("x-user", &user.to_string());
        let home = plain.ask(&call).field("version");
        let other = weft_tests::client::call(Protocol::Http1, second.outbound(), &call).unwrap();
        assert_eq!((plain.ask(&call).field("version"), other.field("version")), (home.clone(), home.clone()));
        homes.insert(home);
    }
    assert_eq!(homes.len(), 3);
    let first = plain.ask(&Call::get(API));
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("sid="), "{first}");
    for _ in 0..5 {
        let again = plain.ask(&Call::get(API).header("cookie", &cookie));
        assert_eq!((again.field("version"), again.header("set-cookie")), (first.field("version"), ""));
    }
}

#[test]
fn a_session_leads_back_to_who_answered_first() {
    let plain =
        Plain::new(&[("api", 4)], &traffic_policy("api", "affinity: { cookie: home, absoluteTimeout: 1h }"));
    let mut homes = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let first = plain.ask(&Call::get(API));
        let cookie = first.header("set-cookie").to_owned();
        assert!(cookie.starts_with("home=") && cookie.contains("Max-Age=3600"), "{cookie}");
        let back = Call::get(API).header("cookie", cookie.split(';').next().unwrap());
        let again = plain.ask(&back);
        assert_eq!((again.field("version"), again.header("set-cookie")), (first.field("version"), ""));
        homes.insert(first.field("version"));
    }
    assert!(homes.len() > 1, "{homes:?}");
}
