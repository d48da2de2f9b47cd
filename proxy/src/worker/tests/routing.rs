//! Where requests go, and what changes on the way.

use http::{Method, Request};
use serde_json::json;

use crate::testing::*;

#[tokio::test]
async fn a_request_goes_out_and_in() {
    let application = says("hello").await;
    let inbound = plane_with(&serves(application, "off", &json!({})));
    let outbound = plane_with(&calls(&[inbound.inbound_address("http").unwrap()]));
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let mut client = Client::connect(outbound.outbound_address().unwrap(), speaks).await;
        for _ in 0..3 {
            let got = client.get("/").await;
            assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "hello"), "{got:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_known_or_not_plain_is_refused() {
    let plane = plane_with(&calls(&[says("hello").await]));
    let address = plane.outbound_address().unwrap();
    let ask = async |request: http::request::Builder| {
        let mut client = Client::connect(address, Speaks::Http1).await;
        let got = client.send(request.body(full("")).unwrap()).await.unwrap();
        (got.status.as_u16(), got.reason().to_owned())
    };
    let to = |uri: &str, host: &str| Request::builder().uri(uri).header("host", host);
    assert_eq!(ask(to("/", "elsewhere")).await, (502, "unknown-host".to_owned()));
    assert_eq!(ask(to("/", "upstream:81")).await, (502, "unknown-host".to_owned()));
    assert_eq!(ask(to("http://upstream/", "elsewhere")).await.0, 200, "the absolute form decides");
    assert_eq!(ask(Request::builder().uri("/")).await, (400, "bad-host".to_owned()));
    assert_eq!(ask(to("/", "a").header("host", "b")).await, (400, "bad-host".to_owned()));
    assert_eq!(ask(to("/a%2fb", "upstream")).await, (400, "bad-path".to_owned()));
    let connect = Request::builder().method(Method::CONNECT).uri("upstream:80");
    assert_eq!(ask(connect).await, (501, "unsupported".to_owned()));
}

#[tokio::test]
async fn without_policy_nothing_passes() {
    let plane = plane();
    let got = get(plane.outbound_address().unwrap(), "/").await;
    assert_eq!((got.status.as_u16(), got.reason()), (503, "no-policy"));
}

#[tokio::test]
async fn a_canary_gets_its_share() {
    let (stable, canary) = (says("stable").await, says("canary").await);
    let mut body = calls(&[stable]);
    body["clusters"]["canary"] = cluster(&[canary]);
    body["outbound"][0]["otherwise"]["action"] = json!({"forward": [
        {"target": {"cluster": "up"}, "weight": 90}, {"target": {"cluster": "canary"}, "weight": 10}]});
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let mut count = 0;
    for _ in 0..2000 {
        count += u32::from(client.get("/").await.text == "canary");
    }
    // Five standard deviations of a binomial distribution.
    assert!((133..=267).contains(&count), "{count} of 2000");
}

#[tokio::test]
async fn rules_decide_by_header_and_change_what_they_say() {
    let echo = upstream(Speaks::Http1, |request| async move {
        let mut response = reply(format!("{} {:?}", request.uri(), request.headers()));
        response.headers_mut().insert("x-from", "upstream".parse().unwrap());
        response
    })
    .await;
    let mut body = calls(&[echo]);
    body["outbound"][0]["entries"] = json!([
        {"match": {"path": {"segment_prefix": "/old"}}, "rule": 0},
        {"match": {"path": {"exact": "/moved"}}, "rule": 1},
        {"match": {"headers": [{"name": "end-user", "value": {"exact": "jason"}}]}, "rule": 2},
        {"match": {"path": {"exact": "/gone"}}, "rule": 3},
        {"match": {"path": {"exact": "/nobody"}}, "rule": 4},
    ]);
    body["outbound"][0]["rules"] = json!([
        {"origin": origin(1), "rewrite": {"host": "new.example", "path": {"matched": "/new"}},
            "request_headers": {"set": [["x-set", "1"]], "remove": ["x-remove"]},
            "response_headers": {"set": [["x-from", "rule"]]},
            "action": {"forward": [{"target": {"cluster": "up"}, "weight": 1,
                "request_headers": {"add": [["x-set", "2"]]}}]}},
        {"origin": origin(2), "action": {"redirect": {"host": "new.example", "status": 301}}},
        {"origin": origin(3), "action": {"respond": {"status": 418, "body": "teapot"}}},
        {"origin": origin(4), "action": {"forward": [{"target": {"status": 500}, "weight": 1}]}},
        {"origin": origin(5), "action": {"forward": [{"target": {"cluster": "up"}, "weight": 0}]}},
    ]);
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;

    let request = client.request(Method::GET, "/old//./x?q=1").header("x-remove", "1");
    let got = client.send(request.body(full("")).unwrap()).await.unwrap();
    assert!(got.text.starts_with("/new/x?q=1 "), "{}", got.text);
    for expected in [r#""host": "new.example""#, r#""x-set": "1", "x-set": "2""#] {
        assert!(got.text.contains(expected), "{}", got.text);
    }
    assert!(!got.text.contains("x-remove"));
    assert_eq!(got.headers["x-from"], "rule");

    let moved = client.get("/moved").await;
    assert_eq!(
        (moved.status.as_u16(), moved.headers["location"].to_str().unwrap()),
        (301, "http://new.example/moved")
    );
    let request = client.request(Method::GET, "/x").header("end-user", "jason").body(full("")).unwrap();
    let teapot = client.send(request).await.unwrap();
    assert_eq!((teapot.status.as_u16(), teapot.text.as_str()), (418, "teapot"));
    let gone = client.get("/gone").await;
    assert_eq!((gone.status.as_u16(), gone.reason()), (500, "backend-missing"));
    let nobody = client.get("/nobody").await;
    assert_eq!((nobody.status.as_u16(), nobody.reason()), (503, "no-backend"));
}

#[tokio::test]
async fn what_belongs_to_one_hop_stays_there() {
    let echo = upstream(Speaks::Http1, |request| async move {
        let mut response = reply(format!("{:?}", request.headers()));
        for (name, value) in [("connection", "x-secret"), ("x-secret", "1"), ("keep-alive", "timeout=5")] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    })
    .await;
    let plane = plane_with(&calls(&[echo]));
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let request = client
        .request(Method::GET, "/")
        .header("connection", "x-mine, upgrade")
        .header("x-mine", "1")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAMAAABkAAQAAP__")
        .header("proxy-connection", "keep-alive")
        .header("x-weft-peer", "spiffe://td/forged")
        .header("x_weft_peer", "spiffe://td/forged")
        .header("accept", "a");
    let got = client.send(request.body(full("")).unwrap()).await.unwrap();
    for gone in
        ["x-mine", "upgrade", "http2-settings", "proxy-connection", "x-weft-peer", "x_weft_peer", "forged"]
    {
        assert!(!got.text.contains(gone), "{gone} in {}", got.text);
    }
    assert!(got.text.contains(r#""accept": "a""#), "{}", got.text);
    assert!(!got.headers.contains_key("x-secret") && !got.headers.contains_key("keep-alive"));
}

#[tokio::test]
async fn access_is_decided_by_the_engine_and_said_with_its_origin() {
    let mut body = serves(says("hello").await, "off", &json!({}));
    body["inbound"][0]["access"] = json!({
        "rules": [
            {"effect": "audit", "origin": origin(10)},
            {"effect": "allow", "origin": origin(11), "to": [{"methods": ["GET"], "paths": [{"segment_prefix": "/open"}]}]},
        ],
        "otherwise": {"effect": "deny", "origin": {"object": "AccessPolicy shop/readers", "file": "access.yaml", "line": 12}},
    });
    let plane = plane_with(&body);
    let address = plane.inbound_address("http").unwrap();
    assert_eq!(get(address, "/open/x").await.text, "hello");
    for path in ["/closed", "/open/../closed", "/open/%2e%2e/closed"] {
        let got = get(address, path).await;
        assert_eq!((got.status.as_u16(), got.reason()), (403, "access-denied"), "{path}");
        assert_eq!(got.text, "denied by AccessPolicy shop/readers (access.yaml:12)\n");
    }
    assert!(
        plane
            .metrics()
            .encode()
            .contains(r#"weft_access_audited_total{direction="inbound",service="shop/cart"} 4"#)
    );
}

#[tokio::test]
async fn a_loop_is_cut() {
    let plane = plane();
    let own = plane.outbound_address().unwrap();
    plane.apply(snapshot(&calls(&[own]), 1).unwrap()).unwrap();
    let got = get(own, "/").await;
    assert_eq!((got.status.as_u16(), got.reason()), (508, "loop"), "{got:?}");
    let inbound = snapshot(&serves(own, "off", &json!({})), 2).unwrap();
    assert!(matches!(plane.apply(inbound), Err(crate::snapshot::ApplyError::ApplicationLoop { .. })));
}
