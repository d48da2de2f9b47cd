//! Kinds about peers, tokens and telemetry, by themselves.

#[test]
fn peer_authentications_with_faults() {
    snapshot!(
        r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: good, namespace: shop }
spec: { selector: { matchLabels: { app: cart } }, mtls: { mode: UNSET }, portLevelMtls: { 8080: { mode: PERMISSIVE } } }
---
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: { name: everywhere, namespace: shop }
spec: { mtls: { mode: STRICT }, portLevelMtls: { 8080: { mode: DISABLE } } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: ports, namespace: shop }
spec: { selector: { matchLabels: { app: cart } }, portLevelMtls: { 0: {}, http: {} } }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: none, namespace: shop }
spec: { selector: { matchLabels: { app: cart } }, portLevelMtls: {} }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: mode, namespace: shop }
spec: { mtls: { mode: MUTUAL } }
"#
    );
}

#[test]
fn request_authentications_with_faults() {
    snapshot!(
        r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: keys, namespace: shop }
spec:
  jwtRules:
  - { issuer: a, jwksUri: https://a/keys }
  - { issuer: a }
  - { jwks: '{"keys":[]}', issuer: '' }
  - { jwks: '{"keys":[{"kty":"oct","k":"AA"}]}' }
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: places, namespace: shop }
spec:
  jwtRules:
  - issuer: a
    jwks: '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
    audiences: ['']
    fromHeaders: [{ name: a b }]
    fromParams: ['']
    fromCookies: ['']
    outputPayloadToHeader: ':x'
    outputClaimToHeaders: [{ header: x, claim: a..b }, { header: X, claim: c }]
    timeout: 5s
"#
    );
}

#[test]
fn token_providers_with_faults() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: TokenProvider
metadata: { name: a }
spec:
  targetRefs: [{ kind: HTTPRoute, name: r }, { kind: Service, name: cart, port: 80 }, { kind: Service, name: cart, port: 80 }]
  issuer: ''
  audiences: []
  jwks: { inline: '{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}' }
  from: [{ header: { name: ':a' } }, { query: '' }]
  claimHeaders: [{ header: x-user, claim: [] }, { header: X-User, claim: sub }, { header: Host, claim: sub }, { header: x-weft-peer, claim: sub }]
  payloadHeader: x-user
---
apiVersion: weft.dev/v1alpha1
kind: TokenProvider
metadata: { name: b }
spec:
  targetRefs: []
  issuer: https://b
  jwks: { uri: https://b/keys }
  from: [{ body: x }]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: c }
spec:
  targetRefs: [{ kind: Namespace, name: shop }]
  action: allow
  rules:
  - from: [{ token: { provider: A, claims: [] } }, { token: { provider: x/y, claims: [{ claim: '', values: [] }] } }]
"#
    );
}

#[test]
fn telemetry_with_faults() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: Telemetry
metadata: { name: a }
spec:
  targetRefs: [{ kind: VirtualService, name: r }, { kind: Service, name: cart, subset: v1 }]
  accessLog: { off: true, fields: [status, Status, status] }
  tracing:
    samplingPercent: 100.5
    endpoint: collector:4317
    attributes: { a: { header: { name: a b } }, b: { environment: { name: '' } } }
  metricLabels: { 1a: method, __b: rule }
---
apiVersion: weft.dev/v1alpha1
kind: Telemetry
metadata: { name: c }
spec: { targetRefs: [], metricLabels: { c: path } }
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: b }
spec:
  tracing:
  - match: { mode: CLIENT }
    providers: [{ name: zipkin }]
    randomSamplingPercentage: 0.00001
    useRequestIdForTraceSampling: true
    enableIstioTags: true
    disableContextPropagation: true
    customTags: { a: {}, b: { literal: { value: x }, header: { name: y } }, c: { formatter: { value: '%REQ(x)%' } }, d: { literal: { value: '' } } }
  - {}
  accessLogging:
  - { providers: [{ name: otel }, { name: '' }], match: { mode: SERVER } }
  metrics:
  - providers: [{ name: stackdriver }]
    reportingInterval: 5s
    overrides:
    - { match: { metric: REQUEST_COUNT, mode: SERVER }, disabled: true, tagOverrides: { a: { operation: REMOVE }, b: {}, c: { value: request.host } } }
    - { match: { customMetric: x } }
"#
    );
}
