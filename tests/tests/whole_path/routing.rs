//! Where requests go: shares, headers, paths, and that `weft trace` says the same.

use weft_tests::client::{self, Call, Protocol};
use weft_tests::load::burst;
use weft_tests::mesh::Mesh;
use weft_tests::upstream::Upstream;

use crate::bookinfo::Bookinfo;

const REVIEWS: &str = "http://reviews:9080/reviews/7";

#[test]
fn a_gateway_api_canary_is_within_three_points_over_two_thousand_requests() {
    let bookinfo = Bookinfo::new();
    let (page, _v1) = (bookinfo.page(), bookinfo.replica("reviews-v1", 19082, None));
    let _v3 = bookinfo.replica("reviews-v3", 19084, None);
    let tally = burst(Protocol::Http1, page.proxy.outbound(), &Call::get(REVIEWS), 2000).unwrap();
    assert_eq!(tally.failed(), 0, "{tally}");
    assert!((tally.percent("v3") - 10.0).abs() <= 3.0, "{tally:?}");
    assert!((tally.percent("v1") - 90.0).abs() <= 3.0, "{tally:?}");
}

#[test]
fn the_istio_document_as_it_stands_splits_ninety_to_ten() {
    let mesh = Mesh::new("istio-canary", &[]).unwrap();
    let inbound = mesh.copy_example("istio-canary").unwrap();
    mesh.commit("Canary").unwrap();
    mesh.build().unwrap();
    let _replicas: Vec<_> = [("v1", 19181), ("v2", 19182)]
        .map(|(version, port)| {
            let application = Upstream::start("myservice", version).unwrap();
            let mut setup = mesh.proxy("default/myservice", version).unwrap();
            setup.inbound.push(format!("http={}", inbound[&port]));
            setup.application.push(format!("http={}", application.address()));
            (setup.start().unwrap(), application)
        })
        .into();
    let mut client = mesh.proxy("default/client", "client").unwrap();
    client.inbound.push(format!("http={}", weft_tests::port::free_address().unwrap()));
    let client = client.start().unwrap();
    let call = Call::get("http://myservice:8080/");
    let tally = burst(Protocol::Http2, client.outbound(), &call, 2000).unwrap();
    assert_eq!(tally.failed(), 0, "{tally}");
    assert!((tally.percent("v2") - 10.0).abs() <= 3.0, "{tally:?}");
}

#[test]
fn a_user_is_routed_by_header_and_the_callee_calls_on_through_its_own_sidecar() {
    let bookinfo = Bookinfo::new();
    let page = bookinfo.page();
    let _v2 = bookinfo.replica("reviews-v2", 19083, Some("http://ratings:9080/ratings/7"));
    let ratings = bookinfo.replica("ratings", 19085, None);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let call = Call::get(REVIEWS).header("end-user", "jason");
        let answer = client::call(protocol, page.proxy.outbound(), &call).unwrap();
        let said = answer.json();
        assert_eq!((answer.status, said["version"].as_str()), (200, Some("v2")), "{answer}");
        assert_eq!(said["called"]["answer"]["service"], "ratings", "{answer}");
        let peer = &said["headers"]["x-weft-peer"];
        assert_eq!(peer, "spiffe://bookinfo.example/ns/bookinfo/sa/productpage", "{answer}");
    }
    assert_eq!(ratings.application.hits(), 2);
}

#[test]
fn explicit_proxying_works_in_absolute_form_and_unknown_hosts_are_refused() {
    let bookinfo = Bookinfo::new();
    let (page, _details) = (bookinfo.page(), bookinfo.replica("details", 19081, None));
    let outbound = page.proxy.outbound();
    let absolute = Call::get("http://details:9080/details/7").absolute();
    assert_eq!(client::call(Protocol::Http1, outbound, &absolute).unwrap().field("service"), "details");
    let qualified = Call::get("http://details.bookinfo:9080/details/7");
    assert_eq!(client::call(Protocol::Http1, outbound, &qualified).unwrap().field("service"), "details");
    // Ratings is in the mesh, but not a dependency of the page: its sidecar has never heard of it.
    let unknown =
        client::call(Protocol::Http1, outbound, &Call::get("http://ratings:9080/ratings/7")).unwrap();
    assert_eq!(unknown.status, 502, "{unknown}");
    assert!(!unknown.header("x-weft-reason").is_empty());
}

/// What you test is what runs: the simulator and the proxy give the same answer for the Gateway API example.
#[test]
fn trace_says_what_the_proxy_does() {
    let mesh = Mesh::new("gateway-api", &[]).unwrap();
    let inbound = mesh.copy_example("gateway-api").unwrap();
    mesh.commit("Routes").unwrap();
    mesh.build().unwrap();
    let replica = |name: &str, port: u16| {
        let application = Upstream::start(name, "v1").unwrap();
        let mut setup = mesh.proxy(&format!("shop/{name}"), name).unwrap();
        setup.inbound.push(format!("http={}", inbound[&port]));
        setup.application.push(format!("http={}", application.address()));
        (setup.start().unwrap(), application)
    };
    let (web, _api, _search) = (replica("web", 19280), replica("api", 19281), replica("search", 19282));
    let cases: [(&str, &str, &[&str]); 8] = [
        ("GET", "/items/7", &[]),
        ("HEAD", "/items", &[]),
        ("POST", "/items/7", &[]),
        ("GET", "/orders/42", &[]),
        ("GET", "/orders/x", &[]),
        ("GET", "/search/tea?q=green", &["x-debug: yes"]),
        ("GET", "/search?engine=beta", &["x-tester: yes"]),
        ("GET", "/catalogue/7", &[]),
    ];
    for (method, path, headers) in cases {
        let url = format!("http://api:8080{path}");
        let mut call = Call::get(&url).method(method);
        let mut arguments =
            vec!["trace".to_owned(), "policy".to_owned(), "--from".to_owned(), "shop/web".to_owned()];
        arguments.push(format!("{method} {url}"));
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            call = call.header(name, value);
            arguments.extend(["-H".to_owned(), (*header).to_owned()]);
        }
        arguments.extend(["--format".to_owned(), "json".to_owned()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let traced = mesh.weft(&arguments).unwrap();
        let traced_json: serde_json::Value = serde_json::from_str(&traced.stdout).unwrap_or_default();
        let answer = client::call(Protocol::Http1, web.0.outbound(), &call).unwrap();
        match traced_json["decision"].as_str() {
            Some("forward") => {
                assert_eq!(answer.status, 200, "{traced}\n{answer}");
                if method != "HEAD" {
                    let service = traced_json["backends"][0]["service"].as_str().unwrap_or_default();
                    assert!(service.ends_with(&answer.field("service")), "{traced}\n{answer}");
                }
            }
            Some("redirect") => {
                let status = traced_json["status"].as_u64();
                assert_eq!(status, Some(u64::from(answer.status)), "{traced}\n{answer}");
                assert_eq!(traced_json["location"], answer.header("location"), "{traced}\n{answer}");
            }
            Some("respond") => {
                let status = traced_json["status"].as_u64();
                assert_eq!(status, Some(u64::from(answer.status)), "{traced}\n{answer}");
            }
            _ => panic!("{traced}"),
        }
    }
    // What the filters of the example do to a request, seen from behind them.
    let ask = |url: &str, header: (&str, &str)| {
        client::call(Protocol::Http1, web.0.outbound(), &Call::get(url).header(header.0, header.1)).unwrap()
    };
    let rewritten = ask("http://api:8080/search/tea?q=green", ("x-debug", "yes"));
    assert_eq!(rewritten.json()["path"], "/tea?q=green", "{rewritten}");
    assert_eq!(rewritten.json()["host"], "search.shop.example", "{rewritten}");
    assert_eq!(rewritten.json()["headers"]["x-from"], "api", "{rewritten}");
    assert!(rewritten.json()["headers"]["x-debug"].is_null(), "{rewritten}");
    let beta = ask("http://api:8080/search?engine=beta", ("x-tester", "true"));
    assert_eq!((beta.header("x-engine"), beta.json()["path"].as_str()), ("beta", Some("/beta?engine=beta")));
}
