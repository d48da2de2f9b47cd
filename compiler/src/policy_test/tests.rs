//! Documents in, results out: each snapshot shows both.

use super::{Report, bodies, output, run};
use crate::compile;
use crate::diagnostic::human::{self, Style};
use crate::source::Sources;

/// A shop with a route that does everything to a request, and access that differs by method, path and network.
const SHOP: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: test }
spec: { trustDomain: test.example }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: shop }
spec: { ports: [ { name: http, port: 80, protocol: http } ], calls: [ { name: cart }, { name: db } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: batch, namespace: ops }
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db, namespace: shop }
spec:
  ports: [ { name: sql, port: 5432, protocol: tcp } ]
  endpoints: { static: [ { address: 10.0.0.9 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: cart, namespace: shop }
spec:
  ports: [ { name: http, port: 80, protocol: http }, { name: clear, port: 81, protocol: http, peerTLS: permissive } ]
  endpoints:
    static:
    - { address: 10.0.0.2, labels: { version: v1 } }
    - { address: 10.0.0.3, labels: { version: v2 } }
  subsets: [ { name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart, namespace: shop }
spec:
  targetRefs: [ { kind: Service, name: cart, port: 80 } ]
  action: allow
  rules:
  - from: [ { service: web } ]
    to: [ { methods: [ GET ] }, { methods: [ POST ], paths: [ { prefix: /cart } ] } ]
  - from: [ { namespace: ops } ]
    to: [ { paths: [ { regex: '/admin/.*' } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: clear, namespace: shop }
spec:
  targetRefs: [ { kind: Service, name: cart, port: 81 } ]
  action: allow
  rules: [ { from: [ { network: 10.0.0.0/8 } ], to: [ { paths: [ { exact: /health } ] } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-secrets, namespace: shop }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: deny
  rules: [ { to: [ { paths: [ { prefix: /admin/secrets } ] } ] } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: db, namespace: shop }
spec: { targetRefs: [ { kind: Service, name: db } ], action: allow, rules: [ { from: [ { service: web } ] } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart, namespace: shop }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart, port: 80 } ]
  rules:
  - name: old
    matches: [ { path: { value: /old } } ]
    filters: [ { type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } } ]
  - name: changed
    matches: [ { path: { value: /cart } } ]
    filters:
    - { type: URLRewrite, urlRewrite: { hostname: other.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /cart/v2 } } }
    - { type: RequestHeaderModifier, requestHeaderModifier: { set: [ { name: X-Env, value: prod } ], remove: [ x-debug ] } }
    - { type: ResponseHeaderModifier, responseHeaderModifier: { add: [ { name: x-served-by, value: mesh } ] } }
    backendRefs: [ { name: cart, port: 80, weight: 3 }, { name: web, port: 80, weight: 1 } ]
  - name: rest
    matches: [ { path: { value: /items } }, { path: { value: /admin } } ]
    backendRefs: [ { name: cart, port: 80 } ]
";

fn document(spec: &str) -> Sources {
    let head =
        "apiVersion: weft.dev/v1alpha1\nkind: PolicyTest\nmetadata: { name: t, namespace: shop }\nspec:\n";
    Sources::in_memory([("shop.yaml", SHOP.to_owned()), ("tests.yaml", format!("{head}{spec}"))])
}

fn report(sources: &Sources) -> Report {
    let compilation = compile(sources);
    let shown = human::render(&compilation.diagnostics, sources, Style::Plain);
    assert!(!compilation.has_errors(), "{shown}");
    run(&compilation.mesh, "").unwrap()
}

/// The tests, then what `weft test` prints.
fn results(spec: &str) -> String {
    let sources = document(spec);
    let report = report(&sources);
    let found = human::render(&output::failures(&report), &sources, Style::Plain);
    format!(
        "{}\n\n────────\n\n{}\n{found}{}\n",
        spec.trim_end(),
        output::human(&report),
        output::summary(&report)
    )
}

macro_rules! cases {
    ($($(#[$doc:meta])* $name:ident: $spec:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(results($spec)); })*
    };
}

/// Tests that all pass.
macro_rules! passing {
    ($($(#[$doc:meta])* $name:ident: $spec:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() {
            let shown = results($spec);
            assert!(!shown.contains("FAILED") && !shown.ends_with("\n0 passed\n"), "{shown}");
        })*
    };
}

cases! {
    every_expectation_that_fails: "
  cases:
  - name: a redirect
    from: web
    request: { url: 'http://cart/old/1' }
    expect: { access: allow, backend: cart, status: 301, location: 'http://cart/newer/1', path: /new, policy: cart }
  - name: a split that one half refuses
    from: web
    request: { url: 'http://cart/cart/1', headers: { x-debug: '1' } }
    expect:
      access: allow
      backends: [ { backend: cart, weight: 2 }, { backend: 'web:80', weight: 1 } ]
      path: /cart/1
      host: cart
      headers: { x-env: [ test, prod ], X-Debug: '1' }
      responseHeaders: { x-served-by: [] }
      rule: rest
      policy: no-secrets
      mirrors: [ db ]
  - name: another way round
    from: web
    request: { url: 'http://cart/cart/1' }
    expect: { access: deny, backend: cart/v1 }
  - name: nowhere
    from: web
    request: { url: 'http://batch.ops/' }
    expect: { status: 404, rule: rest }
  - name: a stranger with a certificate
    from: spiffe://test.example/ns/elsewhere/sa/x
    request: { url: 'http://cart/items' }
    expect: { access: allow }
  - name: a stranger without one
    request: { url: 'http://cart/items' }
    expect: { access: allow }
  - name: a stranger in clear text
    address: 10.1.2.3
    request: { url: 'http://cart:81/health' }
    expect: { access: deny }
";
    invariants_that_fail: "
  invariants:
  - name: only the batch calls
    callers: { of: cart, port: http, exactly: [ ops/batch ] }
  - name: nobody writes
    denied: { of: cart, port: 80, methods: [ POST, PUT ] }
  - name: ops is kept out
    callers: { of: cart, port: http, exclude: [ { namespace: ops } ], include: [ { namespace: nobody-there } ] }
  - name: web may read and write
    allowed: { of: cart, port: http, from: [ web ], methods: [ GET, POST ] }
  - name: nobody comes in clear text
    denied: { of: cart, port: clear, from: [ { notNamespace: shop } ] }
  - name: the batch reads the database
    callers: { of: db, include: [ ops/batch ] }
  - name: web does not
    denied: { of: db, from: [ web ] }
  - name: strangers of ops stay out
    denied: { of: cart, port: http, paths: [ { prefix: /admin } ], from: [ { notService: ops/batch } ] }
";
    /// An expression beyond the limits is not guessed about.
    an_invariant_that_cannot_be_decided: "
  invariants:
  - name: a large expression
    denied: { of: cart, port: http, from: [ web ], paths: [ { regex: '/(a|b)*a(a|b){40}' } ] }
";
}

passing! {
    every_expectation_that_holds: "
  cases:
  - name: a redirect
    from: web
    request: { url: 'http://cart/old/1' }
    expect: { status: 302, location: 'http://cart/new/1', rule: HTTPRoute shop/cart old }
  - name: a split
    from: web
    request: { url: 'http://cart/cart/1', headers: { x-debug: '1', x-keep: [ a, b ] } }
    expect:
      backends: [ { backend: cart, weight: 75 }, { backend: 'shop/web:80', weight: 25 } ]
      path: /cart/v2/1
      host: other.example
      headers: { x-env: prod, x-debug: [], x-keep: [ a, b ] }
      responseHeaders: { X-Served-By: mesh }
      rule: HTTPRoute shop/cart
      mirrors: []
  - { name: reads, from: web, request: { url: 'http://cart/items' }, expect: { access: allow, policy: cart, backend: 'shop/cart' } }
  - { name: writes, from: web, request: { method: POST, url: 'http://cart/items' }, expect: { access: deny, status: 403, policy: shop/cart } }
  - name: no secrets
    from: web
    request: { url: 'http://cart/admin/secrets/1' }
    expect: { access: deny, policy: AccessPolicy shop/no-secrets }
  - { name: clear text, address: 10.1.2.3, request: { url: 'http://cart:81/health' }, expect: { access: allow } }
  - { name: from elsewhere, address: 11.1.2.3, request: { url: 'http://cart:81/health' }, expect: { access: deny, status: 403 } }
  - { name: without a certificate, request: { url: 'http://cart/health' }, expect: { access: deny } }
";
    invariants_that_hold: "
  invariants:
  - { name: a, callers: { of: cart, port: http, exactly: [ web, ops/batch ] } }
  - { name: b, callers: { of: cart, port: http, paths: [ { prefix: /cart } ], exactly: [ web ], exclude: [ { notNamespace: shop } ] } }
  - { name: c, callers: { of: cart, port: http, methods: [ POST ], paths: [ { prefix: /items } ], only: [] } }
  - { name: d, callers: { of: cart, port: http, paths: [ { prefix: /admin/secrets } ], exactly: [] } }
  - { name: e, denied: { of: cart, port: http, paths: [ { prefix: /admin } ], methods: [ POST ], from: [ { notNamespace: ops } ] } }
  - { name: f, denied: { of: cart, port: http, from: [ { identity: 'spiffe://elsewhere.example/ns/ops/sa/x' } ] } }
  - { name: g, denied: { of: cart, port: clear, paths: [ { exact: /healthz } ] } }
  - { name: h, allowed: { of: cart, port: http, from: [ web ], methods: [ GET ], paths: [ { prefix: /items } ] } }
  - { name: i, callers: { of: db, exactly: [ web ] } }
  - { name: j, allowed: { of: db, from: [ web ] } }
  - { name: k, denied: { of: db, from: [ { notService: web } ] } }
";
}

#[test]
fn rules_that_no_case_reaches_are_listed() {
    let sources = document(
        "
  cases:
  - { name: one, from: web, request: { url: 'http://cart/items' }, expect: { access: allow } }
  - { name: two, from: web, request: { url: 'http://cart/admin/secrets' }, expect: { access: deny } }
",
    );
    insta::assert_snapshot!(output::coverage(&report(&sources)));
}

#[test]
fn a_filter_takes_names_and_documents() {
    let sources = document(
        "\n  cases:\n  - { name: one, request: { url: 'http://cart' }, expect: { access: deny } }\n",
    );
    let mesh = compile(&sources).mesh;
    let count = |filter| run(&mesh, filter).unwrap().outcomes.len();
    assert_eq!([count("on"), count("shop/t"), count("two")], [1, 1, 0]);
}

#[test]
fn machines_get_json_and_junit() {
    let sources = document(
        "
  cases:
  - { name: good, from: web, request: { url: 'http://cart/items' }, expect: { access: allow } }
  - { name: <bad> & \"odd\", from: web, request: { url: 'http://cart/items' }, expect: { access: deny } }
",
    );
    let mut report = report(&sources);
    report.outcomes.push(bodies::compare("shop/web", "snapshots/shop/web.yaml.snap", None, Some("a: 1\n")));
    insta::assert_snapshot!(format!(
        "{}\n{}",
        output::json(&report, &sources),
        output::junit(&report, &sources)
    ));
}

#[test]
fn a_changed_body_shows_its_difference() {
    let kept: String = (0..40).map(|line| format!("line: {line}\n")).collect();
    let now = kept.replace("line: 7\n", "").replace("line: 30\n", "line: thirty\n");
    let found = |kept: Option<&str>, now: Option<&str>| {
        let outcome = bodies::compare("shop/web", "snapshots/shop/web.yaml.snap", kept, now);
        human::render(&outcome.failures, &Sources::default(), Style::Plain)
    };
    assert_eq!(found(Some(&kept), Some(&kept)), "");
    insta::assert_snapshot!(
        [found(Some(&kept), Some(&now)), found(None, Some(&now)), found(Some(&kept), None),].join("")
    );
}

/// A test is policy, not part of it: it changes no body.
#[test]
fn tests_do_not_reach_the_bundles() {
    let bodies = |sources: &Sources| -> Vec<Vec<u8>> {
        crate::emit::emit(&compile(sources).mesh).unwrap().into_iter().map(|emitted| emitted.bytes).collect()
    };
    let with = document("\n  invariants: [ { name: a, callers: { of: cart, only: [] } } ]\n");
    assert_eq!(bodies(&with), bodies(&Sources::in_memory([("shop.yaml", SHOP)])));
}
