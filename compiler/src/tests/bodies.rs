//! What documents are lowered to.

use super::body;

macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident($service:literal): $text:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(body($text, $service)); })*
    };
}

cases! {
    /// The document that people bring from Istio, as it stands.
    an_istio_canary("default/web"): "
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: myservice
spec:
  hosts:
  - myservice
  http:
  - route:
    - destination:
        host: myservice
        subset: v1
      weight: 90
    - destination:
        host: myservice
        subset: v2
      weight: 10
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata:
  name: myservice
spec:
  host: myservice
  subsets:
  - name: v1
    labels:
      version: v1
  - name: v2
    labels:
      version: v2
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: myservice }
spec:
  ports: [ { name: http, port: 8080, protocol: http } ]
  endpoints:
    static:
    - { address: 10.1.0.1, labels: { version: v1 } }
    - { address: 10.1.0.2, labels: { version: v2 } }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart-is-closed }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { namespace: ops } ] } ] }
";
    httproutes_merge_by_specificity("default/web"): "
=== a.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: general }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart, port: 80 } ]
  rules:
  - name: all
    backendRefs: [ { name: cart, port: 80 } ]
    timeouts: { request: 3s, backendRequest: 1s }
  - name: exact
    matches: [ { path: { type: Exact, value: /checkout } } ]
    filters:
    - { type: URLRewrite, urlRewrite: { hostname: cart.internal, path: { type: ReplaceFullPath, replaceFullPath: /pay } } }
    - { type: RequestHeaderModifier, requestHeaderModifier: { set: [ { name: X-Env, value: prod } ], remove: [ X-Debug ] } }
    backendRefs: [ { name: cart, port: 80, weight: 3 }, { name: gone, namespace: default, port: 80, weight: 0 } ]
=== b.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: moved }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - matches: [ { path: { value: /old }, method: GET }, { path: { value: /older }, queryParams: [ { name: q, value: x } ] } ]
    filters:
    - type: RequestRedirect
      requestRedirect: { scheme: https, statusCode: 301, path: { type: ReplaceFullPath, replaceFullPath: /new } }
=== gone.yaml
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: gone }
spec: { ports: [ { name: http, port: 80, protocol: http } ], endpoints: { static: [ { address: 10.0.0.9 } ] } }
";
    access_is_one_ordered_list("default/cart"): "
=== z.yaml
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: readers }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules:
  - from: [ { service: web }, { namespace: ops }, { network: 10.0.0.0/8 } ]
    to: [ { methods: [ GET ], paths: [ { prefix: /items }, { exact: /health } ] } ]
  - to: [ { ports: [ 80 ] } ]
    from: [ { identity: spiffe://test.example/ns/default/sa/robot } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-admin }
spec:
  targetRefs: [ { kind: Service, name: cart, port: http } ]
  action: deny
  rules: [ { to: [ { paths: [ { prefix: /admin } ] } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: watch }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: audit, rules: [ { to: [ { methods: [ POST ] } ] } ] }
";
    kubernetes_services_and_slices("default/web"): "
apiVersion: v1
kind: Service
metadata: { name: pay, namespace: money, labels: { anything: goes } }
spec:
  selector: { app: pay }
  ports: [ { name: http-web, port: 80, targetPort: 8080 }, { name: db, port: 5432 } ]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: pay-1, namespace: money, labels: { kubernetes.io/service-name: pay } }
addressType: IPv4
ports: [ { name: http-web, port: 8080 }, { name: db, port: 5432 } ]
endpoints:
- { addresses: [ 10.2.0.1 ], conditions: { ready: true }, zone: eu-1a }
- { addresses: [ 10.2.0.2 ], conditions: { ready: false } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: pay }
spec:
  targetRefs: [ { kind: Service, name: pay, namespace: money } ]
  timeouts: { request: 2s, idle: 0s }
  retry: { attempts: 2, perTry: 500ms, on: [ connect-failure, '503' ], budget: { percent: 10, min: 1 } }
  loadBalancer: { policy: round-robin }
";
    consumer_routes_replace_producer_routes("team/client"): "
=== producer.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: producer }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
=== consumer.yaml
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: consumer, namespace: team }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart, namespace: default } ]
  rules:
  - matches: [ { path: { value: /only } } ]
    backendRefs: [ { name: cart, namespace: default, port: 80 } ]
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: client, namespace: team }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  calls: [ { name: cart, namespace: default } ]
";
    /// `http` is 80 here and 8080 there; 8080 here is the admin port, which the policy does not open.
    a_named_port_opens_its_own_number_only("default/one"): "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: one }
spec: { ports: [ { name: http, port: 80, protocol: http }, { name: admin, port: 8080, protocol: http } ], calls: [] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: two }
spec: { ports: [ { name: http, port: 8080, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: both }
spec:
  targetRefs: [ { kind: Service, name: one }, { kind: Service, name: two } ]
  action: allow
  rules: [ { to: [ { ports: [ http ] } ] } ]
";
    /// The Service `front` has no endpoints and admits nobody; its routes lead to one that admits the caller.
    a_service_that_only_carries_routes_is_known("default/client"): "
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: client }
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: front }
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: front }
spec:
  parentRefs: [ { kind: Service, name: front } ]
  rules: [ { backendRefs: [ { name: cart, port: 80 } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: closed }
spec: { targetRefs: [ { kind: Service, name: front }, { kind: Service, name: web } ], action: allow, rules: [] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { service: client } ] } ] }
";
    istio_defaults_retries_and_redirects("default/web"): "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec:
  hosts: [ cart ]
  http:
  - { match: [ { uri: { exact: /none } } ], retries: { attempts: 0 }, route: [ { destination: { host: cart } } ] }
  - { match: [ { uri: { exact: /empty } } ], retries: {}, route: [ { destination: { host: cart } } ] }
  - { match: [ { uri: { exact: /5xx } } ], retries: { attempts: 1, retryOn: '5xx,,' }, route: [ { destination: { host: cart } } ] }
  - { match: [ { uri: { exact: /moved } } ], redirect: { authority: other.example } }
  - { match: [ { headers: { X-A: { exact: b } }, withoutHeaders: { X-C: {} }, uri: { prefix: /r } } ], rewrite: { uri: /s, authority: x }, timeout: 2s, route: [ { destination: { host: cart } } ] }
  - { route: [ { destination: { host: cart } } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: web }
spec: { targetRefs: [ { kind: Service, name: web } ], action: allow, rules: [] }
";
    ports_that_lead_to_one_are_one_inbound("default/same"): "
apiVersion: v1
kind: Service
metadata: { name: same }
spec: { ports: [ { name: http, port: 80, targetPort: 8080 }, { name: http-alt, port: 81, targetPort: 8080 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: nobody }
spec:
  targetRefs: [ { kind: Service, name: web }, { kind: Service, name: cart }, { kind: Service, name: same } ]
  action: allow
  rules: []
";

    /// A way out of a closed mesh: TLS is begun by the proxy, and the address of a name is looked up by it.
    a_service_outside_the_mesh("default/web"): "
apiVersion: weft.dev/v1alpha1
kind: ExternalService
metadata: { name: pay }
spec:
  hosts: [ pay.example ]
  ports: [ { name: http, port: 80, protocol: http, target: 443, tls: {} } ]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: pay }
spec:
  targetRefs: [ { kind: Service, name: pay } ]
  limits: { requests: 10 }
  outliers: { consecutiveErrors: 5 }
";

    access_with_conditions_in_cel("default/cart"): "
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: allow
  rules:
  - from: [ { service: web } ]
    when: request.headers['x-env'] != 'test'
  - when: >-
      source.namespace in ['ops', 'debug'] &&
      size(request.path) < 64
";
}
