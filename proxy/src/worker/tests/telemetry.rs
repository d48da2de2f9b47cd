//! What policy says of telling: traces, labels, and what is counted of bodies and decisions.

use http::Method;
use serde_json::json;

use crate::testing::*;

#[tokio::test]
async fn traces_begin_where_policy_says_and_those_of_callers_go_on() {
    let parent = |headers: &http::HeaderMap| {
        headers
            .get_all("traceparent")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let echo = upstream(Speaks::Http1, move |request| {
        let said = parent(request.headers()).join(",");
        async move { reply(said) }
    })
    .await;
    let callers = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (tracing, begun) in [
        (None, ""),
        (Some(json!({"sampling": {"numerator": 1, "denominator": 1}})), "-01"),
        (Some(json!({"sampling": {"numerator": 0, "denominator": 1}})), "-00"),
    ] {
        // Both sides of a hop: the second goes on with what the first began.
        let mut inner = serves(echo, "off", &json!({}));
        if let Some(tracing) = &tracing {
            inner["telemetry"] = json!({"tracing": tracing});
        }
        let inner = plane_with(&inner);
        let mut outer = calls(&[inner.inbound_address("http").unwrap()]);
        if let Some(tracing) = &tracing {
            outer["telemetry"] = json!({"tracing": tracing});
        }
        let outer = plane_with(&outer);
        let mut client = Client::connect(outer.outbound_address().unwrap(), Speaks::Http1).await;
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let made = client.get("/").await.text;
            assert!(made.len() == if begun.is_empty() { 0 } else { 55 } && made.ends_with(begun), "{made}");
            ids.insert(made);
        }
        assert_eq!(ids.len(), if begun.is_empty() { 1 } else { 3 });
        let request = client.request(Method::GET, "/").header("traceparent", callers);
        let request = request.header("connection", "traceparent-not");
        assert_eq!(client.send(request.body(full("")).unwrap()).await.unwrap().text, callers);
    }
}

#[tokio::test]
async fn labels_hold_what_policy_says_and_nothing_that_callers_choose() {
    let mut body = calls(&[says("hello").await]);
    body["telemetry"] = json!({"metric_labels": {"method": "method", "by": "rule", "ns": "peer_namespace"}});
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    for method in ["GET", "GET", "PURGE", "EVIL\u{7c}"] {
        let request = client.request(method.parse().unwrap(), "/");
        assert_eq!(client.send(request.body(full("")).unwrap()).await.unwrap().status, 200);
    }
    let start =
        r#"weft_requests_total{direction="outbound",service="shop/upstream",code_class="2xx",reason="ok","#;
    let got =
        |method: &str, times: u32| format!(r#"{start}by="Test shop/test",method="{method}",ns=""}} {times}"#);
    let lines = [got("GET", 2), got("other", 2)];
    until("all are counted", || lines.iter().all(|line| plane.metrics().encode().contains(line))).await;
    let text = plane.metrics().encode();
    assert!(!text.contains("PURGE") && !text.contains("EVIL"), "{text}");
    let count = r#"weft_request_duration_seconds_count{direction="outbound",service="shop/upstream",by="Test shop/test",method="GET",ns=""} 2"#;
    assert!(text.contains(count), "{text}");
}

#[tokio::test]
async fn bodies_and_decisions_are_counted() {
    let application = says("hello").await;
    let mut body = serves(application, "off", &json!({}));
    body["inbound"][0]["access"]["rules"] =
        json!([{"effect": "deny", "origin": origin(2), "to": [{"methods": ["PUT"]}]}]);
    let plane = plane_with(&body);
    let mut client = Client::connect(plane.inbound_address("http").unwrap(), Speaks::Http1).await;
    for method in [Method::POST, Method::POST, Method::PUT] {
        let request = client.request(method, "/").body(full("twelve bytes")).unwrap();
        client.send(request).await.unwrap();
    }
    let denied = "denied by Test shop/test (test.yaml:2)\n".len();
    let lines = [
        r#"weft_request_body_bytes_total{direction="inbound",service="shop/cart"} 24"#.to_owned(),
        format!(
            r#"weft_response_body_bytes_total{{direction="inbound",service="shop/cart"}} {}"#,
            10 + denied
        ),
        r#"weft_access_decisions_total{service="shop/cart",decision="allow"} 2"#.to_owned(),
        r#"weft_access_decisions_total{service="shop/cart",decision="deny"} 1"#.to_owned(),
    ];
    until("all is counted", || lines.iter().all(|line| plane.metrics().encode().contains(line))).await;
}

#[tokio::test]
async fn what_cannot_be_told_is_refused() {
    let refused = |telemetry: serde_json::Value| {
        let mut body = calls(&[]);
        body["telemetry"] = telemetry;
        snapshot(&body, 1).unwrap_err().to_string()
    };
    assert_eq!(refused(json!({"access_log": {"fields": ["nope"]}})), "telemetry: there is no field `nope`");
    assert!(refused(json!({"metric_labels": {"le": "method"}})).contains("`le` is not the name of a label"));
    assert!(
        refused(json!({"tracing": {"sampling": {"numerator": 2, "denominator": 1}}}))
            .contains("more than all")
    );
    let exports =
        json!({"tracing": {"sampling": {"numerator": 1, "denominator": 1}, "endpoint": "http://c:4317"}});
    assert_eq!(
        refused(exports),
        "sending spans to an OTLP endpoint (shop/cart) is not supported by this version of the proxy"
    );
    let wild = json!({"access_log": {"filter": {"text": {"of": "path", "is": {"regex": "("}}}}});
    assert!(refused(wild).starts_with("telemetry: the filter of the access log: "));
}
