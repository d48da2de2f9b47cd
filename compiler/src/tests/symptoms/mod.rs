//! Faults that a review found, each a test named by its symptom.

mod access;
mod reading;
mod routes;
mod services;
mod views;

use super::compile_text;

/// The names of what is found, each once, without what proxies do not do yet.
fn found(text: &str) -> Vec<&'static str> {
    let (_, compilation) = compile_text(text);
    let mut names: Vec<_> = compilation.diagnostics.iter().map(|finding| finding.analysis).collect();
    names.retain(|name| *name != "unserved-feature");
    names.dedup();
    names
}

/// An AuthorizationPolicy with that action and rule.
fn authorization(action: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: p }}
spec: {{ targetRefs: [ {{ kind: Service, name: cart }} ], action: {action}, rules: [ {rule} ] }}
"
    )
}

const OUTSIDE: &str = "
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay }
spec: { hosts: [ pay.example ], ports: [ { name: http, port: 80, protocol: http } ], visibleTo: [ s ] }
---
";

const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners: [ { name: web, port: 80, protocol: HTTP }, { name: through, port: 443, protocol: TLS, tls: { mode: Passthrough } } ]
---
";

/// A Kubernetes Service of pods with the label `app`, and a Gateway of Istio for workloads that nothing describes.
const INGRESS: &str = "
apiVersion: v1
kind: Service
metadata: { name: istio-gw }
spec: { selector: { app: gw }, ports: [ { name: http, port: 80 } ] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public }
spec:
  selector: { istio: ingressgateway }
  servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ shop.example ] } ]
---
";
