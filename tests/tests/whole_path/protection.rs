//! What keeps an upstream from too much, and callers from upstreams that are ill.

use weft_tests::client::Call;

use crate::plain::Plain;

const API: &str = "http://api/";

/// A request that is answered when the test says so.
fn held() -> Call {
    Call::get(API).header("x-bench-hold", "yes")
}

#[test]
fn requests_over_the_limits_wait_or_are_refused_and_the_rest_is_served() {
    let plain = Plain::new(
        &[("api", 1)],
        "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: api }
spec:
  targetRefs: [ { kind: Service, name: api } ]
  limits: { connections: 1, pending: 1, requests: 8 }
",
    );
    let api = &plain.endpoints("api")[0];
    let first = plain.ask_aside(&held());
    plain.until("the first to be there", || api.holds() == 1);
    let second = plain.ask_aside(&held());
    plain.until("the second to wait", || plain.cluster("api")["pending"] == 1);
    let refused = plain.ask(&Call::get(API));
    assert_eq!((refused.status, refused.header("x-weft-reason")), (503, "overflow"), "{refused}");
    assert_eq!(api.hits(), 1, "what waits or is refused does not reach it");
    api.release();
    for answer in [first, second] {
        assert_eq!(answer.join().unwrap().status, 200);
    }
    let labels = |limit| [("cluster", "default/api:80"), ("limit", limit)];
    assert_eq!(plain.metric("weft_upstream_overflow_total", &labels("pending")), 1.0);
    assert_eq!(plain.metric("weft_upstream_overflow_total", &labels("connections")), 1.0);
    assert_eq!(plain.metric("weft_upstream_connections_total", &[("cluster", "default/api:80")]), 1.0);
    assert_eq!(plain.ask(&Call::get(API)).status, 200);
}
