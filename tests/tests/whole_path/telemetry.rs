//! What operators see, as documents ask for it: log lines, traces, labels, and the pages of the admin address.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use weft_tests::client::{self, Call, Protocol};

use crate::plain::Plain;

const API: &str = "http://api/items?secret=1";

/// `web` and `api`, told this about telling, with its log as JSON.
fn told(document: &str) -> Plain {
    let mut plain = Plain::new(&[("api", 1)], document);
    let mut setup = plain.proxy.setup().clone();
    plain.proxy.terminate().unwrap();
    setup.log.set_extension("json");
    setup.arguments.extend(["--log-format".to_owned(), "json".to_owned()]);
    plain.proxy = setup.start().unwrap_or_else(|failure| panic!("{failure}"));
    plain
}

/// Lines of the access log, once there are so many.
#[track_caller]
fn lines(plain: &Plain, count: usize) -> Vec<Value> {
    let lines = || {
        let log = plain.proxy.log();
        let lines = log.lines().filter(|line| line.ends_with(r#""target":"access"}"#));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    plain.until("the lines are there", || lines().len() >= count);
    lines()
}

/// Names of fields, in their order, without what all log lines have.
fn names(line: &Value) -> Vec<&str> {
    let names = line.as_object().unwrap().keys().map(String::as_str);
    names.filter(|name| !["timestamp", "level", "target"].contains(name)).collect()
}

#[test]
fn the_log_has_the_requests_and_fields_that_policy_names() {
    let plain = told(
        "
apiVersion: weft.dev/v1alpha1
kind: Telemetry
metadata: { name: web }
spec:
  targetRefs: [ { kind: Service, name: web } ]
  accessLog:
    fields: [ status, duration_ms, path, method ]
    filter: \"response.code >= 500 || request.headers['x-debug'] == 'yes'\"
",
    );
    let ask = |status: &str, debug: &str| {
        let call = Call::get(API).header("x-bench-status", status).header("x-debug", debug);
        assert_eq!(plain.ask(&call).status.to_string(), status);
    };
    ask("200", "no");
    ask("503", "no");
    ask("404", "no");
    ask("404", "yes");
    // Where the filter asks about something that is not there, the request is logged.
    assert_eq!(plain.ask(&Call::get(API)).status, 200);
    let found = lines(&plain, 3);
    let statuses: Vec<_> = found.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [503, 404, 200]);
    for line in &found {
        assert_eq!(names(line), ["status", "duration_ms", "path", "method"], "{line}");
        assert_eq!((&line["path"], &line["method"]), (&"/items".into(), &"GET".into()));
        let duration = line["duration_ms"].to_string();
        assert!(duration.split('.').nth(1).is_none_or(|decimals| decimals.len() <= 3), "{duration}");
    }
    let all = told("");
    all.ask(&Call::get(API));
    let line = lines(&all, 1).remove(0);
    let expected = [
        "direction",
        "service",
        "method",
        "authority",
        "path",
        "version",
        "status",
        "reason",
        "duration_ms",
        "bytes",
        "client",
        "rule",
        "cluster",
        "endpoint",
        "tries",
        "sequence",
    ];
    assert_eq!(names(&line), expected, "{line}");
}

#[test]
fn documents_of_istio_turn_the_log_off_begin_traces_and_add_labels() {
    let plain = told(
        "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: all }
spec:
  accessLogging: [ { disabled: true } ]
  tracing: [ { randomSamplingPercentage: 100 } ]
  metrics: [ { overrides: [ { tagOverrides: { request_method: { value: request.method } } } ] } ]
",
    );
    let parent = |call: &Call| {
        let answer = plain.ask(call);
        assert_eq!(answer.status, 200, "{answer}");
        answer.json()["headers"]["traceparent"].as_str().unwrap_or_default().to_owned()
    };
    let (one, two) = (parent(&Call::get(API)), parent(&Call::get(API).method("POST")));
    for begun in [&one, &two] {
        assert!(begun.len() == 55 && begun.starts_with("00-") && begun.ends_with("-01"), "{begun}");
    }
    assert_ne!(one, two);
    let callers = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    assert_eq!(parent(&Call::get(API).header("traceparent", callers)), callers);
    plain.until("all are counted", || {
        let counted = |method| plain.metric("weft_requests_total", &[("request_method", method)]);
        counted("GET") == 2.0 && counted("POST") == 1.0
    });
    assert!(!plain.proxy.log().contains(r#""target":"access""#), "{}", plain.proxy.log_tail());
}

/// What another implementation makes of the metrics, if it is there.
#[test]
fn a_reader_of_openmetrics_reads_the_metrics() {
    let plain = Plain::new(&[("api", 1)], "");
    plain.ask(&Call::get(API));
    client::call(Protocol::Http1, plain.inbound, &Call::get("http://web/")).unwrap();
    plain.until("both are counted", || plain.metric("weft_requests_total", &[]) == 2.0);
    let script = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
print(sum(len(family.samples) for family in families))";
    let found = Command::new("python3").args(["-c", "import prometheus_client"]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        anstream::eprintln!(
            "SKIPPED: reading metrics needs python3 with `prometheus-client` (pip install prometheus-client)"
        );
        return;
    }
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(plain.proxy.metrics().0.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "it is not OpenMetrics");
    let samples: usize = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(samples > 50, "{samples}");
}

#[test]
fn operators_see_certificates_and_policy_and_can_end_a_proxy() {
    let mut plain = Plain::new(&[("api", 1)], "");
    let certs = plain.proxy.admin("/certs").unwrap();
    let chain = certs.json()["identity"]["chain"].clone();
    assert_eq!(chain[0]["spiffe_id"], "spiffe://small.example/ns/default/sa/web");
    assert!(!certs.text().contains("PRIVATE"));
    let config = plain.proxy.admin("/config").unwrap().json();
    assert_eq!((&config["sequence"], &config["body"]["service"]), (&1.into(), &"default/web".into()));
    assert_eq!(config["digest"], plain.proxy.bundle()["bundle"]["digest"]);
    let admin = plain.proxy.setup().admin;
    let post = Call::get(&format!("http://{admin}/drain")).method("POST");
    let foreign = client::call(Protocol::Http1, admin, &post.clone().header("origin", "http://evil.example"));
    assert_eq!(foreign.unwrap().status, 403);
    let rebound = client::call(Protocol::Http1, admin, &Call::get("http://evil.example/config"));
    assert_eq!(rebound.unwrap().status, 403);
    assert!(plain.proxy.is_ready());

    // What is under way is finished before the end.
    let held = plain.ask_aside(&Call::get(API).header("x-bench-hold", "yes"));
    plain.until("it is under way", || plain.endpoints("api")[0].holds() == 1);
    assert_eq!(client::call(Protocol::Http1, admin, &post).unwrap().status, 202);
    plain.until("it says so", || {
        plain.proxy.admin("/drain").is_ok_and(|answer| answer.json()["draining"] == true)
    });
    let state = plain.proxy.admin("/drain").unwrap().json();
    assert_eq!((&state["outbound"]["requests"], plain.proxy.is_ready()), (&1.into(), false));
    plain.endpoints("api")[0].release();
    assert_eq!(held.join().unwrap().status, 200);
    assert!(plain.proxy.wait_end().unwrap().success());
}

#[test]
fn an_admin_address_that_others_reach_is_refused_with_the_reason() {
    let plain = Plain::new(&[], "");
    let mut setup = plain.proxy.setup().clone();
    setup.admin = "0.0.0.0:15000".parse().unwrap();
    let output = setup.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("0.0.0.0:15000 is not on loopback: whoever reaches it could read policy"),
        "{said}"
    );
}
