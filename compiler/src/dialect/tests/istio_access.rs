#[test]
fn everything_that_is_honoured() {
    snapshot!(
        r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: all, namespace: shop, annotations: { istio.io/dry-run: "true" } }
spec:
  selector: { matchLabels: { app: cart } }
  action: ALLOW
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/shop/sa/web, "*/sa/web", cluster.local/ns/ops/*, "*"]
        notPrincipals: [cluster.local/ns/shop/sa/old]
        requestPrincipals: [https://issuer/ann, https://issuer/*, "*"]
        notRequestPrincipals: ["*/eve"]
        namespaces: [shop, team-*, "*-prod", "a*b"]
        notNamespaces: [test]
        trustDomains: [cluster.local]
        notTrustDomains: [old.example]
        ipBlocks: [10.0.0.0/8, 192.0.2.1, "2001:db8::/32"]
        notIpBlocks: [10.9.0.0/16]
        remoteIpBlocks: [198.51.100.0/24]
        notRemoteIpBlocks: [198.51.100.7]
    - source: { serviceAccounts: [web, ops/robot], notServiceAccounts: [ops/old] }
    to:
    - operation:
        hosts: [cart.example, "*.example", "cart.example:*"]
        notHosts: [old.example]
        ports: ["8080"]
        notPorts: ["9090"]
        methods: [GET, "P*"]
        notMethods: [TRACE]
        paths: [/a, /b/*, "*.js", "*", "/c/{*}/d", "/e/{**}", "/f/{**}/g"]
        notPaths: [/a/b]
    when:
    - { key: "request.headers[X-Env]", values: [prod, "*"], notValues: [test] }
    - { key: source.ip, notValues: [10.8.0.0/16] }
    - { key: remote.ip, values: [198.51.100.0/24] }
    - { key: source.namespace, values: [shop] }
    - { key: source.principal, values: ["*"] }
    - { key: source.serviceAccount, notValues: [shop/old] }
    - { key: request.auth.principal, values: [https://issuer/ann] }
    - { key: request.auth.audiences, values: [cart] }
    - { key: request.auth.presenter, values: [app] }
    - { key: "request.auth.claims[groups]", values: [admin] }
    - { key: "request.auth.claims[realm][roles]", notValues: [guest] }
    - { key: destination.ip, values: [10.1.0.0/16] }
    - { key: destination.port, values: ["8080"] }
    - { key: connection.sni, values: ["*.example"] }
---
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: { name: nothing, namespace: shop }
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: targets, namespace: shop }
spec:
  targetRefs:
  - { kind: Service, group: "", name: cart }
  - { kind: Gateway, group: gateway.networking.k8s.io, name: edge }
  - { kind: ServiceEntry, group: networking.istio.io, name: db }
  action: DENY
  rules: [{}]
"#
    );
}

#[test]
fn istios_own_validation() {
    snapshot!(
        r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ways, namespace: shop }
spec:
  selector: { matchLabels: { "": x, app: "a*" } }
  targetRefs:
  - { kind: Deployment, group: apps, name: cart }
  - { kind: GatewayClass, group: gateway.networking.k8s.io, name: istio }
  - { kind: Service, name: cart, namespace: other }
  - { kind: Service, name: cart }
  action: DENY
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: custom, namespace: shop }
spec: { action: CUSTOM, provider: { name: opa }, rules: [{}] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: lists, namespace: shop }
spec:
  selector: { matchLabels: {} }
  provider: { name: opa }
  rules:
  - from: []
    to: []
  - from: [{ source: {} }]
    to: [{ operation: {} }]
    when: [{ key: source.ip }]
  - from: [{ source: { principals: [a/ns/b/sa/c], serviceAccounts: [web] } }]
  - from: [{ source: { principals: ["", spiffe://td/ns/a/sa/b, "not an id"], ipBlocks: [10.0.0.300, 10.0.0.0/99], serviceAccounts: [a/b/c, "*"] } }]
  - from: [{ source: { requestPrincipals: [ann], namespaces: [a, a] } }]
  - to: [{ operation: { ports: ["0", "70000", http], methods: [get, "G ET"], paths: [a, /a//b, "/{a}/{*}", "/{**}/{*}", "x*"] } }]
  - when:
    - { key: source.port, values: ["1"] }
    - { key: request.header, values: [a] }
    - { key: request.headers, values: [a] }
    - { key: "request.headers[]", values: [a] }
    - { key: "request.headers[a b]", values: [a] }
    - { key: "request.headers[:path]", values: [a] }
    - { key: "request.auth.claims[a", values: [a] }
    - { key: "destination.labels[version]", values: [v1] }
    - { key: destination.namespace, values: [a] }
    - { key: destination.user, values: [a] }
    - { key: "experimental.envoy.filters.network.mysql_proxy[db.table]", values: [a] }
    - { key: connection.sni, values: [outbound_.80_._.cart.shop.svc.cluster.local] }
    - { key: destination.port, values: ["x"] }
    - { key: "", values: [a] }
"#
    );
}
