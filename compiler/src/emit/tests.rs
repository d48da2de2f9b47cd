//! What is written from parts that many share is what each service's own body would be.

use weft_bundle::json::to_canonical;

use super::*;
use crate::compile;
use crate::source::{Directory, Source, Sources};

/// The bodies as if nothing were shared.
fn unshared(mesh: &Mesh) -> Vec<(String, Vec<u8>)> {
    let bodies = subjects(mesh).into_iter().map(|subject| lower_subject(mesh, subject));
    bodies.map(|body| (body.service.clone(), to_canonical(&body).unwrap())).collect()
}

fn shared(mesh: &Mesh) -> Vec<(String, Vec<u8>)> {
    emit(mesh).unwrap().into_iter().map(|body| (body.service, body.bytes)).collect()
}

fn assert_equal(mesh: &Mesh, what: &str) {
    for (shared, unshared) in shared(mesh).iter().zip(unshared(mesh)) {
        assert_eq!(shared.0, unshared.0, "{what}");
        assert_eq!(String::from_utf8_lossy(&shared.1), String::from_utf8_lossy(&unshared.1), "{what}");
    }
}

#[test]
fn shared_parts_give_the_bodies_of_every_example() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../policy-examples");
    let mut looked_at = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let mesh = compile(&Directory::new(&path).read().unwrap()).mesh;
            assert_equal(&mesh, &path.display().to_string());
            looked_at += mesh.services.len();
        }
    }
    assert!(looked_at > 20, "{looked_at}");
}

/// Callers of one service that see it alike, and for each reason not to, one that sees it in another way.
const ALIKE_AND_NOT: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: m }
spec: { trustDomain: m.example, defaults: { access: allow } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart, namespace: shop }
spec:
  ports: [ { name: http, port: 80, protocol: http }, { name: admin, port: 79, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.1, labels: { app: red } } ] }
  calls: []
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: producer, namespace: shop }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: consumer, namespace: apart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart, namespace: shop } ]
  rules: [ { filters: [ { type: RequestRedirect, requestRedirect: { hostname: elsewhere.example } } ] } ]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: slow, namespace: told }
spec: { host: basket.shop.svc.cluster.local, trafficPolicy: { connectionPool: { tcp: { maxConnections: 7 } } } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: by-label, namespace: shop }
spec:
  hosts: [ stock ]
  http:
  - match: [ { sourceLabels: { app: blue } } ]
    directResponse: { status: 418 }
  - route: [ { destination: { host: stock } } ]
";

#[test]
fn callers_that_see_a_service_in_another_way_share_nothing_of_it() {
    let mut text = ALIKE_AND_NOT.to_owned();
    for target in ["basket", "stock"] {
        text += &format!(
            "---\napiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {{ name: {target}, namespace: shop }}\n\
             spec: {{ ports: [ {{ name: http, port: 80, protocol: http }} ], endpoints: {{ static: [ {{ address: 10.0.0.2, \
             labels: {{ app: red }} }} ] }}, calls: [] }}\n"
        );
    }
    for (name, namespace, color) in [
        ("a", "one", "red"),
        ("b", "two", "red"),
        ("c", "two", "blue"),
        ("d", "shop", "red"),
        ("e", "apart", "red"),
        ("f", "told", "red"),
    ] {
        text += &format!(
            "---\napiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
             spec:\n  ports: [ {{ name: http, port: 80, protocol: http }} ]\n  endpoints: {{ static: [ {{ address: 10.1.0.1, \
             labels: {{ app: {color} }} }} ] }}\n  calls: [ {{ name: cart, namespace: shop }}, {{ name: basket, namespace: shop \
             }}, {{ name: stock, namespace: shop }} ]\n"
        );
    }
    let compilation = compile(&Sources::in_memory([("a.yaml", text)]));
    assert!(!compilation.has_errors(), "{:#?}", compilation.diagnostics);
    let mesh = compilation.mesh;
    assert_equal(&mesh, "apart");

    let parts = Parts::new(&mesh);
    let bodies = emit_subjects(&parts, &subjects(&mesh)).unwrap();
    let seen = |service: &str| {
        let body = bodies.iter().find(|body| body.service == service).unwrap();
        let body: Body = json::from_slice(&body.bytes).unwrap();
        json::to_canonical(&(body.outbound, body.clusters)).unwrap()
    };
    assert_eq!(seen("one/a"), seen("two/b"));
    for other in ["two/c", "shop/d", "apart/e", "told/f"] {
        assert_ne!(seen("one/a"), seen(other), "{other}");
    }
    // `cart` for all, at home and in `apart`; nothing of `basket`, of which some are told something else, nor of `stock`.
    assert_eq!(parts.kept(), 3);
}
