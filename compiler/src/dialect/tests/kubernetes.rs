use super::{parse, sources};
use crate::dialect::Kind;

#[test]
fn facts_are_read_and_the_rest_is_left_to_the_api_server() {
    snapshot!(
        r#"
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: { name: reviews, namespace: bookinfo, labels: null, uid: "1", creationTimestamp: null }
  spec: { ports: [{ port: 9080, targetPort: http }], selector: { app: reviews }, internalTrafficPolicy: Cluster, ipFamilies: null }
  status: { loadBalancer: {} }
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: { name: reviews-x, namespace: bookinfo, labels: { kubernetes.io/service-name: reviews } }
  addressType: IPv4
  endpoints: [{ addresses: [10.0.0.4], conditions: { ready: true, serving: true }, nodeName: n }]
  ports: [{ name: "", port: 9080, protocol: TCP }]
- apiVersion: v1
  kind: Secret
  metadata: { name: s }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: d }
spec: { replicas: 2, selector: {}, strategy: {}, template: { metadata: { labels: null }, spec: { containers: [{ name: c, image: i }], serviceAccount: old } } }
status: {}
---
apiVersion: v1
kind: Pod
metadata: { name: p, ownerReferences: [] }
spec: { containers: [], nodeName: n }
status: { podIP: "", hostIP: 10.0.0.1 }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: a }
secrets: [{ name: s }]
---
apiVersion: v1
kind: Secret
metadata: { name: tls }
type: kubernetes.io/tls
data: { tls.crt: "", tls.key: "" }
---
apiVersion: v1
kind: Secret
metadata: { name: encrypted }
type: kubernetes.io/tls
data: { tls.crt: "ENC[AES256_GCM,data:x]" }
sops: { version: 3.9.0 }
---
apiVersion: example.com/v1
kind: HTTPRoute
spec: nonsense
---
- not
- an object
---
values: { image: x }
"#
    );
}

#[test]
fn an_endpoint_slice_has_its_fields_beside_its_metadata() {
    let parsed = parse(&sources(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv6\n\
         endpoints: [{addresses: ['fd00::1'], conditions: {ready: false}, zone: z, targetRef: {kind: Pod, name: p}}]\n",
    ));
    assert_eq!(parsed.diagnostics, []);
    let Kind::EndpointSlice(slice) = &parsed.documents[0].spec else { panic!("an EndpointSlice") };
    assert_eq!(slice.endpoints[0].addresses[0].to_string(), "fd00::1");
    assert_eq!(slice.endpoints[0].conditions.ready, Some(false));
}

#[test]
fn facts_that_make_no_sense() {
    snapshot!(
        r#"
apiVersion: v1
kind: Service
metadata: { name: a }
spec: { ports: [{ port: http }] }
---
apiVersion: v1
kind: Service
metadata: { name: b }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: c }
endpoints: [{ addresses: [host.example] }]
---
apiVersion: v1
kind: List
items: none
"#
    );
}
