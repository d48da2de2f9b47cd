//! Analyses of what calls what.

use super::{findings, found_in, names_found};
use crate::analysis::{forwarding_cycle, retry_amplification};

/// Services that call each other in a row, each retried on 5xx, and one that only fails to connect.
const ROW: &str = "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: b } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.1.0.1 } ] }, calls: [ { name: c } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: c }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.1.0.2 } ] }, calls: [ { name: d }, { name: e } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: d }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.1.0.3 } ] }, calls: [] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: e }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.1.0.4 } ] }, calls: [] }
";

fn with_row(policies: &str) -> String {
    format!("{ROW}---\n{}", policies.trim_start())
}

const RETRIES: &str = "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: all }
spec:
  targetRefs: [ { kind: Service, name: b }, { kind: Service, name: c }, { kind: Service, name: d }, { kind: Service, name: e } ]
  retry: { attempts: 2, on: [ 5xx ], methods: [ GET ] }
";

cases! {
    dependency_cycle_of_three_and_of_one: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: b } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web }, { name: c } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: c }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: a } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: self }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: self } ] }
";
    undeclared_call_of_two_callers: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { service: a }, { identity: spiffe://test.example/ns/default/sa/b } ] } ]
";
    /// `a` declares nothing of it, `b` declares one of the two, and `c`, in another namespace, all that it reaches.
    undeclared_call_out_of_the_mesh: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart }, { name: pay } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: c }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart }, { name: pay }, { name: mail }, { name: web } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay }
spec: { hosts: [ pay.example ], ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: mail }
spec: { hosts: [ mail.example ], ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - filters: [ { type: RequestMirror, requestMirror: { backendRef: { name: mail, port: 80 } } } ]
    backendRefs: [ { name: cart, port: 80, weight: 9 }, { name: pay, port: 80, weight: 1 } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web }
spec:
  parentRefs: [ { group: '', kind: Service, name: web } ]
  rules: [ { backendRefs: [ { name: web, port: 80 }, { name: pay, port: 80, weight: 0 } ] } ]
";
}

silent! {
    a_call_through_a_route_is_declared: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: web, port: 80 } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], action: allow, rules: [ { from: [ { service: a } ] } ] }
";
    a_chain_of_calls_is_no_cycle: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: b }, { name: web } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web } ] }
";
    a_declared_call_may_be_allowed: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules: [ { from: [ { service: a }, { service: web } ] } ]
";
}

cases! {
    retry_amplification_to_two_ends: &with_row(RETRIES);
    timeout_inversion_of_two_callees: &with_row("
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: outer }
spec: { targetRefs: [ { kind: Service, name: c } ], timeouts: { request: 2s } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: inner }
spec: { targetRefs: [ { kind: Service, name: d } ], timeouts: { request: 2500ms } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: endless }
spec: { targetRefs: [ { kind: Service, name: e } ], timeouts: { request: 0s } }
");
    unreachable_service_called_and_routed_to: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: caller }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: web } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: closed }
spec: { targetRefs: [ { kind: Service, name: web }, { kind: Service, name: cart } ], action: deny, rules: [ {} ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";
    timeout_below_retries_of_a_service_and_a_rule: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  timeouts: { request: 5s, perTry: 4s }
  retry: { attempts: 3, methods: [ GET ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [ web ]
  http: [ { timeout: 2s, retries: { attempts: 3, perTryTimeout: 1s }, route: [ { destination: { host: web } } ] } ]
";
    keepalive_mismatch_of_two: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { poolIdle: 5m } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], timeouts: { poolIdle: 0s } }
";
    retry_of_unsafe_methods: "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], retry: { attempts: 1, on: [ reset ], methods: [ GET, PATCH, POST ] } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [ web ]
  http: [ { retries: { attempts: 3, retryOn: 5xx }, route: [ { destination: { host: web } } ] } ]
";
    forwarding_cycle_behind_a_route: "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: front }
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: back }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.1.0.1 } ] }
  calls: [ { name: front } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: front }
spec:
  parentRefs: [ { group: '', kind: Service, name: front } ]
  rules: [ { backendRefs: [ { name: back, port: 80 } ] } ]
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
    retries_of_two_hops_are_few, "retry-amplification": &with_row(&RETRIES.replace("attempts: 2", "attempts: 1"));
    retries_of_what_never_arrived_do_not_multiply, "retry-amplification":
        &with_row(&RETRIES.replace("5xx", "connect-failure"));
    limits_that_shrink_are_in_order, "timeout-inversion": &with_row("
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: outer }
spec: { targetRefs: [ { kind: Service, name: c } ], timeouts: { request: 3s } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: inner }
spec: { targetRefs: [ { kind: Service, name: d }, { kind: Service, name: e } ], timeouts: { request: 3s } }
");
    a_default_is_nobodys_inversion, "timeout-inversion": &with_row("
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: outer }
spec: { targetRefs: [ { kind: Service, name: c } ], timeouts: { request: 3s } }
");
    what_nobody_asks_for_may_be_closed, "unreachable-service": "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: closed }
spec: { targetRefs: [ { kind: Service, name: web } ], action: deny, rules: [ {} ] }
";
    tries_that_just_fit, "timeout-below-retries": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  timeouts: { request: 20s, perTry: 10s }
  retry: { attempts: 2, methods: [ GET ] }
";
    a_connection_dropped_in_time, "keepalive-mismatch": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { poolIdle: 59s } }
";
    what_was_not_done_may_be_repeated, "retry-of-unsafe-method": "
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  retry: { attempts: 1, on: [ connect-failure, refused-stream ], methods: [ GET, POST ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: web }
spec:
  hosts: [ web ]
  http:
  - match: [ { method: { exact: GET } } ]
    retries: { attempts: 3, retryOn: 5xx }
    route: [ { destination: { host: web } } ]
";
    a_route_to_who_does_not_call_back, "forwarding-cycle": "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: back }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.1.0.1 } ] }
  calls: [ { name: web } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: back, port: 80 } ] } ]
";
}

/// A mirror is added to the model: the circle goes through it, and through no route.
#[test]
fn a_copy_that_calls_back_is_a_circle() {
    use crate::model::{BackendTarget, MirrorRef};
    let text = "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: audit }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.1.0.1 } ] }
  calls: [ { name: cart } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
";
    assert!(found_in(text, |_| (), forwarding_cycle::run).is_empty());
    let found = found_in(
        text,
        |mesh| {
            let service = mesh.find("default", "audit").unwrap();
            let target = BackendTarget { service, port: 80, subset: None };
            let rule = &mut mesh.routes[0].rules[0];
            let span = rule.at.span;
            rule.mirrors.push(MirrorRef {
                target: Some(target),
                share: weft_bundle::body::Fraction::ALL,
                span,
            });
        },
        forwarding_cycle::run,
    );
    assert_eq!(found, ["requests are copied in a circle: `default/audit` → `default/audit`"]);
}

#[test]
fn a_circle_of_calls_has_no_end_to_multiply_to() {
    let circle =
        with_row(RETRIES).replace("10.1.0.3 } ] }, calls: []", "10.1.0.3 } ] }, calls: [ { name: b } ]");
    let found = found_in(&circle, |_| (), retry_amplification::run);
    assert!(found.is_empty() || found.iter().all(|message| message.contains("`default/e`")), "{found:?}");
}
