#[test]
fn everything_that_is_honoured() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public, namespace: shop }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 80, name: http, protocol: HTTP }
    bind: 0.0.0.0
    hosts: ["*"]
    tls: { httpsRedirect: true }
  - port: { number: 443, name: https, protocol: HTTPS }
    name: front
    hosts: [shop.example, "./*.shop.example", "*/api.example", ops/ops.example]
    tls: { mode: SIMPLE, credentialName: shop, minProtocolVersion: TLSV1_2, maxProtocolVersion: TLSV1_3 }
  - port: { number: 444, name: grpc, protocol: HTTPS }
    hosts: ["*"]
    tls: { mode: MUTUAL, credentialNames: [rsa, ecdsa], caCertificates: ca/clients.pem }
  - port: { number: 445, name: maybe, protocol: HTTPS }
    hosts: ["*"]
    tls: { mode: OPTIONAL_MUTUAL, credentialName: shop, caCertificates: ca/clients.pem, minProtocolVersion: TLS_AUTO }
  - port: { number: 8443, name: through, protocol: TLS }
    hosts: [db.example]
    tls: { mode: PASSTHROUGH }
  - port: { number: 15443, name: mesh, protocol: TLS }
    hosts: ["*"]
    tls: { mode: ISTIO_MUTUAL }
  - port: { number: 9000, name: bytes, protocol: TCP }
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: { name: shop, namespace: shop }
spec:
  hosts: [shop.example, cart]
  gateways: [mesh, public, ./public2, edge/public]
  http:
  - match: [{ uri: { prefix: /a }, gateways: [edge/public] }]
    route: [{ destination: { host: cart } }]
"#
    );
}

#[test]
fn istios_own_validation() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: empty }
spec: { servers: [], selector: { "istio*": a } }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: wrong }
spec:
  servers:
  - port: { number: 0, name: a, protocol: HTTP }
    hosts: []
  - port: { number: 443, name: a, protocol: HTTPS }
    hosts: ["a*.example", "Shop/x.example", x.example, x.example]
  - port: { number: 80, name: b, protocol: HTTP }
    hosts: ["*"]
    tls: { mode: SIMPLE, credentialName: x }
  - port: { number: 81, name: c, protocol: TCP }
    hosts: ["*"]
    tls: { httpsRedirect: true }
  - port: { number: 82, name: d, protocol: SPDY }
    hosts: ["*"]
  - port: { number: 83, name: e, protocol: HTTPS }
    hosts: ["*"]
    tls: { httpsRedirect: true, mode: SIMPLE, caCertificates: x.pem }
  - port: { number: 84, name: f, protocol: TLS }
    hosts: ["*"]
    tls: { mode: PASSTHROUGH, credentialName: x }
  - port: { number: 85, name: g, protocol: TLS }
    hosts: ["*"]
    tls: { mode: ISTIO_MUTUAL, credentialName: x, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2 }
  - port: { number: 86, name: h, protocol: HTTPS }
    hosts: ["*"]
    tls: { mode: SIMPLE, credentialName: x, credentialNames: [y, y, Z] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: a }
spec:
  hosts: [a]
  gateways: [Public, a/b/c, public, public]
  http: [{ route: [{ destination: { host: a } }] }]
"#
    );
}

#[test]
fn what_cannot_be_honoured_is_an_error_at_its_line() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public }
spec:
  servers:
  - port: { number: 80, name: http, protocol: GRPC-WEB, targetPort: 8080 }
    bind: 10.0.0.1
    defaultEndpoint: 127.0.0.1:80
    hosts: ["*"]
  - port: { number: 443, name: https, protocol: HTTPS }
    hosts: ["*"]
    tls:
      mode: MUTUAL
      credentialName: x
      subjectAltNames: [a]
      verifyCertificateSpki: [b]
      verifyCertificateHash: [c]
      minProtocolVersion: TLSV1_0
      maxProtocolVersion: TLSV1_1
      cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]
      caCrl: /etc/crl
  - port: { number: 444, name: files, protocol: HTTPS }
    hosts: ["*"]
    tls: { mode: SIMPLE, serverCertificate: /etc/a.pem, privateKey: /etc/a.key }
  - port: { number: 445, name: more, protocol: HTTPS }
    hosts: ["*"]
    tls: { mode: OPTIONAL_MUTUAL, tlsCertificates: [{}], caCertCredentialName: y }
  - port: { number: 446, name: auto, protocol: TLS }
    hosts: ["*"]
    tls: { mode: AUTO_PASSTHROUGH }
"#
    );
}
