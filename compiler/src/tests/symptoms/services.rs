//! What services are, and how they are called.

use super::{OUTSIDE, found};
use crate::lower::lower;
use crate::tests::{compile_text, findings};

#[test]
fn strict_peers_were_asked_of_what_is_outside() {
    let strict = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: all, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
";
    let text = format!("{}{strict}", OUTSIDE.replace(", visibleTo: [ s ]", ""));
    let (_, compilation) = compile_text(&text);
    let web = lower(&compilation.mesh, compilation.mesh.find("default", "web").unwrap());
    assert_eq!(web.clusters["default/pay:80"].tls, weft_bundle::body::UpstreamTls::Off);
}

#[test]
fn the_later_of_two_destination_rules_decided_about_tls() {
    let rule = |name: &str, mode: &str| {
        format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: {name} }}
spec: {{ host: pay.example, trafficPolicy: {{ tls: {{ mode: {mode} }} }} }}
---
"
        )
    };
    let outside = OUTSIDE.replace(", visibleTo: [ s ]", "");
    assert!(
        found(&format!("{outside}{}{}", rule("a", "SIMPLE"), rule("b", "DISABLE")))
            .contains(&"conflicting-settings")
    );
}

#[test]
fn an_empty_list_of_rate_limits_was_said_to_match_everything() {
    let text = "apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], rateLimits: [] }
";
    let shown = findings(text);
    assert!(shown.contains("`rateLimits` is an empty list, which asks for nothing"), "{shown}");
    assert!(!shown.contains("match"), "{shown}");
}

#[test]
fn one_slice_written_by_hand_made_all_other_services_dead() {
    let text = "apiVersion: v1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: tcp, port: 5432 } ] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: db-1, labels: { kubernetes.io/service-name: db } }
addressType: IPv4
ports: [ { name: tcp, port: 5432 } ]
endpoints: [ { addresses: [ 10.0.0.9 ] } ]
---
apiVersion: v1
kind: Service
metadata: { name: api }
spec: { selector: { app: api }, ports: [ { name: http, port: 80 } ] }
";
    let names = found(text);
    assert!(names.contains(&"unlisted-endpoints") && !names.contains(&"dead-backend"), "{}", findings(text));
}

#[test]
fn a_patch_of_the_number_of_copies_was_an_error() {
    let patch = "apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec: { replicas: 3 }
";
    assert!(
        !found(patch).iter().any(|name| ["missing-field", "invalid-value"].contains(name)),
        "{}",
        findings(patch)
    );
}

#[test]
fn of_two_idle_times_of_a_connection_the_lower_priority_won() {
    let rule = |name: &str, priority: i64, pool: &str| {
        format!(
            "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: {name}, annotations: {{ weft.dev/priority: '{priority}' }} }}
spec: {{ host: db.default.svc.cluster.local, trafficPolicy: {{ connectionPool: {{ tcp: {{ {pool} }} }} }} }}
"
        )
    };
    let service = "apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec:
  ports: [ { name: tcp, port: 5432, protocol: tcp } ]
  endpoints: { static: [ { address: 10.0.0.9 } ] }
";
    let idle = |text: &str| {
        let (_, compilation) = compile_text(text);
        let db = compilation.mesh.find("default", "db").unwrap();
        let settings = crate::model::routing::settings(&compilation.mesh, db, 5432, None, None);
        (settings.idle.unwrap().to_string(), settings.connect.unwrap().to_string())
    };
    let (first, second) = (rule("a", 1, "idleTimeout: 10s"), rule("b", 0, "idleTimeout: 20s"));
    assert_eq!(idle(&format!("{service}{first}{second}")).0, "10s");
    let other = rule("b", 0, "connectTimeout: 200ms");
    assert_eq!(idle(&format!("{service}{first}{other}")), ("10s".to_owned(), "200ms".to_owned()));
}
