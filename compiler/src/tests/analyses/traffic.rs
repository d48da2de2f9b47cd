//! Analyses of how traffic is treated, of what has no effect, and of what ends on a day.

use time::Date;

use super::{compile_text, findings, found_in, names_found};
use crate::analysis::{anchor_expires_soon, unsafe_transition, unused_object};
use crate::model::Mesh;

cases! {
    ejections_that_do_not_help: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], outliers: { consecutiveErrors: 5 } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], outliers: { consecutiveErrors: 5, minHealthyPercent: 60 } }
";
    breakers_below_replicas: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], limits: { connections: 1 } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: three }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.1.1 }, { address: 10.0.1.2 }, { address: 10.0.1.3 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: three }
spec: { targetRefs: [ { kind: Service, name: three } ], limits: { connections: 8, requests: 2 } }
";
    faults_left_on: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], fault: { abort: { status: 500, percent: 100 } } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], fault: { delay: { fixed: 2s, percent: 100 } } }
";
    unused_objects: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: v1 }
spec: { targetRefs: [ { kind: Service, name: cart, subset: v1 } ], timeouts: { connect: 2s } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: nothing }
spec: { targetRefs: [ { kind: Service, name: cart } ] }
";
}

macro_rules! quiet {
    ($($name:ident, $analysis:literal: $text:expr;)*) => {
        $(#[test] fn $name() {
            let names = names_found($text);
            assert!(!names.contains(&$analysis), "{}", findings($text));
        })*
    };
}

quiet! {
    one_of_two_may_be_left_out, "ejection-cannot-happen": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], outliers: { consecutiveErrors: 5, minHealthyPercent: 50 } }
";
    a_mesh_may_ask_for_ejection_everywhere, "ejection-cannot-happen": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: mesh }
spec: { targetRefs: [ { kind: Mesh, name: test } ], outliers: { consecutiveErrors: 5 } }
";
    a_connection_for_each_endpoint, "breaker-below-replicas": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], limits: { connections: 2, pending: 1, requests: 2 } }
";
    a_fault_for_some_is_an_experiment, "fault-left-on": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], fault: { abort: { status: 500, percent: 99 } } }
";
    a_fault_for_testers_is_an_experiment, "fault-left-on": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: HTTPRoute, name: cart, rule: testers } ], fault: { abort: { status: 500, percent: 100 } } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - name: testers
    matches: [ { headers: [ { name: x-tester, value: 'yes' } ] } ]
    backendRefs: [ { name: cart, port: 80 } ]
  - name: rest
    backendRefs: [ { name: cart, port: 80 } ]
";
    what_is_broken_is_not_also_unused, "unused-object": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: crat }
spec: { targetRefs: [ { kind: Service, name: crat } ], timeouts: { connect: 2s } }
";
    what_a_proxy_does_is_served, "unserved-feature": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { request: 1s }, loadBalancer: { policy: random } }
";
}

/// Which features are served changes with the proxies, so the settings are all and the expectation is the table.
#[test]
fn what_proxies_do_not_do_is_named_once_for_a_document() {
    use weft_bundle::feature::Feature;
    let text = "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], fault: { abort: { status: 500, percent: 10 } } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], limits: { connections: 8, pending: 9 }, rateLimits: [ { requests: 10, per: 1s } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Telemetry
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], tracing: { samplingPercent: 5, endpoint: 'http://collector:4317' } }
---
apiVersion: weft.dev/v1alpha1
kind: Telemetry
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], tracing: { samplingPercent: 5 }, accessLog: { off: true } }
";
    let asked = [
        Feature::Fault,
        Feature::Limits,
        Feature::RateLimits,
        Feature::Telemetry,
        Feature::SpanExport,
        Feature::Telemetry,
    ];
    let unserved = asked.into_iter().filter(|feature| !feature.is_served());
    let expected: Vec<_> =
        unserved.map(|feature| format!("proxies of this version do not do this yet: {feature}")).collect();
    assert_eq!(found_in(text, |_| (), crate::analysis::unserved_feature::run), expected);
}

#[test]
fn a_policy_for_nothing_is_unused_and_one_that_lets_nobody_in_is_not() {
    use weft_bundle::body::Effect;
    let text = "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { service: web } ] } ] }
";
    let unused = |edit: fn(&mut Mesh)| found_in(text, edit, unused_object::run);
    assert!(unused(|_| ()).is_empty());
    assert!(unused(|mesh| mesh.access[0].rules.clear()).is_empty());
    let nowhere = unused(|mesh| mesh.access[0].targets.clear());
    assert_eq!(nowhere, ["`AccessPolicy default/cart` has no effect: it is for nothing that exists"]);
    let empty = unused(|mesh| {
        mesh.access[0].rules.clear();
        mesh.access[0].effect = Effect::Deny;
    });
    assert_eq!(empty, ["`AccessPolicy default/cart` has no effect: it has no rules"]);
}

fn day(year: i32, month: u8, day: u8) -> Date {
    Date::from_calendar_date(year, month.try_into().unwrap(), day).unwrap()
}

/// A certificate with a last day, as a mesh holds it.
fn anchor(year: i32, month: u8, day: u8) -> String {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.not_after = rcgen::date_time_ymd(year, month, day);
    let key = rcgen::KeyPair::generate().unwrap();
    data_encoding::BASE64.encode(parameters.self_signed(&key).unwrap().der())
}

#[test]
fn anchors_are_named_a_month_before_their_end() {
    let mut mesh = compile_text("").1.mesh;
    let domain = mesh.trust_domain.clone();
    mesh.trust_anchors.insert(domain, vec![anchor(2026, 12, 31), anchor(2027, 12, 31)]);
    let on = |today| {
        let found = anchor_expires_soon::run_on(&mesh, today);
        found.into_iter().map(|finding| finding.message).collect::<Vec<_>>()
    };
    let says = |when: &str| vec![format!("a trust anchor of `test.example` {when}")];
    assert!(on(day(2026, 11, 30)).is_empty());
    assert_eq!(on(day(2026, 12, 1)), says("expires in 30 days, on 2026-12-31"));
    assert_eq!(on(day(2026, 12, 30)), says("expires tomorrow, on 2026-12-31"));
    assert_eq!(on(day(2026, 12, 31)), says("expires today"));
    assert_eq!(on(day(2027, 1, 1)), says("expired on 2026-12-31"));
    assert_eq!(on(day(2027, 12, 31)).len(), 2);
}

const ROUTED: &str = "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: caller }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: web } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";

/// What is said of a change of [`ROUTED`].
fn between(before: impl FnOnce(&mut Mesh), after: impl FnOnce(&mut Mesh)) -> Vec<String> {
    let mut base = compile_text(ROUTED).1.mesh;
    let mut head = base.clone();
    before(&mut base);
    after(&mut head);
    unsafe_transition::between(&base, &head).into_iter().map(|finding| finding.message).collect()
}

fn cart(mesh: &mut Mesh) -> &mut crate::model::Service {
    let index = mesh.find("default", "cart").unwrap();
    &mut mesh.services[index.0]
}

#[test]
fn what_is_taken_from_its_users_at_once() {
    use weft_bundle::body::PeerTls;
    let routes_to_v1 = |mesh: &mut Mesh| {
        if let crate::model::RuleAction::Forward(backends) = &mut mesh.routes[0].rules[0].action {
            backends[0].target.as_mut().unwrap().subset = Some("v1".to_owned());
        }
    };
    let without_v1 = |mesh: &mut Mesh| drop(cart(mesh).subsets.remove("v1"));
    assert!(between(|_| (), |_| ()).is_empty());
    assert!(between(|_| (), without_v1).is_empty());
    let gone = ["subset `v1` of `default/cart` is gone while proxies still send requests to it"];
    assert_eq!(between(routes_to_v1, without_v1), gone);

    let tls = |from, to| {
        between(|mesh| cart(mesh).ports[0].peer_tls = from, |mesh| cart(mesh).ports[0].peer_tls = to)
    };
    assert!(tls(PeerTls::Off, PeerTls::Permissive).is_empty());
    assert!(tls(PeerTls::Permissive, PeerTls::Strict).is_empty());
    assert_eq!(tls(PeerTls::Off, PeerTls::Strict).len(), 1);

    let two = between(
        |_| (),
        |mesh| {
            let other = mesh.find("default", "web").unwrap();
            cart(mesh).identity = mesh.services[other.0].identity.clone();
            cart(mesh).ports.clear();
        },
    );
    assert_eq!(two.len(), 2, "{two:?}");
}

#[test]
fn what_nobody_uses_may_go() {
    let head = compile_text("").1.mesh;
    let mut base = compile_text(ROUTED).1.mesh;
    base.default_access = weft_bundle::body::Verdict::Deny;
    assert!(unsafe_transition::between(&base, &head).is_empty());
    let gone = unsafe_transition::between(&head, &base);
    assert!(gone.is_empty(), "{gone:?}");
}
