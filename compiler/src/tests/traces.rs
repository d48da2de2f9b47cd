//! What would happen to a request.

mod tokens;

use super::compile_text;
use crate::trace::{Decision, From, Question, Stranger, Trace, Tracer, trace};

const ROUTES: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - name: moved
    matches: [ { path: { value: /old } } ]
    filters: [ { type: RequestRedirect, requestRedirect: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } } ]
  - name: items
    matches: [ { path: { value: /items } } ]
    filters: [ { type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /admin } } } ]
    backendRefs: [ { name: cart, port: 80 } ]
  - name: reads
    matches: [ { method: GET, path: { value: /api } } ]
    backendRefs: [ { name: cart, port: 80, weight: 3 }, { name: web, port: 80, weight: 1 } ]
  - name: elsewhere
    matches: [ { path: { value: /else } } ]
    filters: [ { type: URLRewrite, urlRewrite: { hostname: other.example } } ]
    backendRefs: [ { name: cart, port: 80, weight: 2000 }, { name: web, port: 80, weight: 1 } ]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-admin }
spec:
  targetRefs: [ { kind: Service, name: cart } ]
  action: deny
  rules: [ { to: [ { paths: [ { prefix: /admin } ] } ] } ]
";

fn ask(request: &str) -> Trace {
    let (_, compilation) = compile_text(ROUTES);
    assert!(!compilation.has_errors(), "{:?}", compilation.diagnostics);
    let from = compilation.mesh.find("default", "web").unwrap();
    let question =
        Question::parse(from, "10.0.0.1".parse().unwrap(), request, &["x-a: 1".to_owned()]).unwrap();
    trace(&compilation.mesh, &question).unwrap()
}

/// A rule that browsers of other origins may ask, and that some requests fail on purpose.
const BROWSERS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [ { group: '', kind: Service, name: cart } ]
  rules:
  - name: open
    filters: [ { type: CORS, cors: { allowOrigins: [ 'https://shop.example' ], exposeHeaders: [ x-total ] } } ]
    backendRefs: [ { name: cart, port: 80 } ]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: cart }
spec:
  targetRefs: [ { kind: HTTPRoute, name: cart } ]
  fault: { delay: { fixed: 2s, percent: 10 }, abort: { grpcStatus: 14, percent: 1 } }
";

#[test]
fn browsers_are_told_what_the_proxy_tells_them() {
    let (_, compilation) = compile_text(BROWSERS);
    assert!(!compilation.has_errors(), "{:?}", compilation.diagnostics);
    let from = compilation.mesh.find("default", "web").unwrap();
    let ask = |request: &str, fields: &[&str]| {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let question = Question::parse(from, "10.0.0.1".parse().unwrap(), request, &fields).unwrap();
        let trace = trace(&compilation.mesh, &question).unwrap();
        let texts: Vec<_> = trace.steps.iter().map(|step| format!("{}: {}", step.stage, step.text)).collect();
        (trace, texts)
    };
    let (shop, evil) = ("origin: https://shop.example", "origin: https://evil.example");
    let asks = "access-control-request-method: GET";
    let (preflight, _) = ask("OPTIONS http://cart/", &[shop, asks]);
    assert_eq!((preflight.decision, preflight.status), (Decision::Respond, Some(204)));
    assert_eq!(preflight.rule.unwrap().name.as_deref(), Some("open"));
    let (refused, _) = ask("OPTIONS http://cart/", &[evil, asks]);
    assert_eq!((refused.decision, refused.status), (Decision::Respond, Some(403)));

    let (forwarded, texts) = ask("GET http://cart/", &[shop]);
    assert_eq!(forwarded.decision, Decision::Forward);
    let told = &forwarded.backends[0].arriving.as_ref().unwrap().response_headers;
    let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        told,
        [
            ("access-control-allow-origin", "https://shop.example"),
            ("access-control-expose-headers", "x-total"),
            ("vary", "origin")
        ]
    );
    for text in [
        "cors: the response says that this origin may read it",
        "fault: 10 of 100 wait 2s",
        "fault: 1 of 100 are answered with gRPC status 14",
    ] {
        assert!(texts.iter().any(|said| said == text), "{texts:#?}");
    }
    let (_, texts) = ask("GET http://cart/", &[evil]);
    assert!(!texts.iter().any(|text| text.starts_with("cors")), "{texts:#?}");
}

#[test]
fn a_split_names_its_shares_and_the_rule() {
    let trace = ask("GET http://cart/api/x");
    assert_eq!(trace.decision, Decision::Forward);
    let shares: Vec<_> = trace.backends.iter().map(|share| (share.service.as_str(), share.weight)).collect();
    assert_eq!(shares, [("default/cart", 3), ("default/web", 1)]);
    let rule = trace.rule.unwrap();
    assert_eq!(
        (rule.object.as_str(), rule.name.as_deref(), rule.line),
        ("HTTPRoute default/cart", Some("reads"), 15)
    );
    assert!(trace.access.unwrap().allowed);
}

#[test]
fn access_sees_the_rewritten_path() {
    let trace = ask("GET http://cart/items/1");
    assert_eq!((trace.decision, trace.status), (Decision::Deny, Some(403)));
    let access = trace.access.unwrap();
    assert_eq!((access.policy.as_str(), access.allowed), ("AccessPolicy default/no-admin", false));
}

#[test]
fn a_condition_in_cel_decides_and_is_shown_with_its_line() {
    let policy = |action: &str, when: &str| {
        format!(
            "apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: cel }}
spec:
  targetRefs: [ {{ kind: Service, name: cart }} ]
  action: {action}
  rules:
  - when: {when}
"
        )
    };
    let ask = |action, when, headers: &[&str]| {
        let (_, compilation) = compile_text(&policy(action, when));
        assert!(!compilation.has_errors(), "{:?}", compilation.diagnostics);
        let from = compilation.mesh.find("default", "web").unwrap();
        let headers: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
        let question =
            Question::parse(from, "10.0.0.1".parse().unwrap(), "GET http://cart/a", &headers).unwrap();
        let access = trace(&compilation.mesh, &question).unwrap().access.unwrap();
        (access.allowed, access.line)
    };
    let when = "request.headers['x-env'] == 'test' && source.namespace == 'default'";
    // The rule itself decides at line 8, the policy's presence at line 3, the mesh's default at line 4.
    assert_eq!(ask("allow", when, &["x-env: test"]), (true, 8));
    assert_eq!(ask("allow", when, &["x-env: prod"]), (false, 3));
    assert_eq!(ask("allow", when, &[]), (false, 3));
    assert_eq!(ask("allow", when, &["x-env: test", "x-env: prod"]), (false, 3));
    assert_eq!(ask("deny", when, &["x-env: test"]), (false, 8));
    assert!(ask("deny", when, &["x-env: prod"]).0);
    assert_eq!(ask("deny", when, &[]), (false, 8), "what cannot be judged is denied");
    assert!(ask("deny", "has(request.headers.debug) && request.headers.debug == 'on'", &[]).0);
}

#[test]
fn who_may_call_knows_what_a_condition_says_of_callers() {
    let dependencies = |action: &str, when: &str| {
        let (_, compilation) = compile_text(&format!(
            "apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: cel }}
spec: {{ targetRefs: [ {{ kind: Service, name: cart }} ], action: {action}, rules: [ {{ when: \"{when}\" }} ] }}
"
        ));
        let web = compilation.mesh.find("default", "web").unwrap();
        crate::model::callers::dependencies(&compilation.mesh, web).len()
    };
    assert_eq!(dependencies("allow", "source.namespace == 'default'"), 1);
    assert_eq!(dependencies("allow", "source.namespace == 'ops'"), 0);
    assert_eq!(dependencies("allow", "source.namespace == 'ops' || request.path == '/a'"), 1);
    assert_eq!(dependencies("allow", "source.namespace == 'ops' && request.path == '/a'"), 0);
    assert_eq!(dependencies("deny", "request.path == '/a'"), 1);
    assert_eq!(dependencies("deny", "source.namespace != 'ops'"), 0);
    assert_eq!(dependencies("deny", "source.namespace != 'ops' && request.path == '/a'"), 1);
}

#[test]
fn redirects_show_where_to() {
    let trace = ask("GET http://cart/old/x?q=1");
    assert_eq!((trace.decision, trace.status), (Decision::Redirect, Some(302)));
    assert_eq!(trace.location.as_deref(), Some("http://cart/new/x?q=1"));
}

#[test]
fn what_no_rule_matches_is_answered_with_404() {
    let trace = ask("POST http://cart/api/x");
    assert_eq!((trace.decision, trace.status), (Decision::Respond, Some(404)));
}

#[test]
fn unknown_hosts_and_ports_are_explained() {
    let text = |request| ask(request).steps.into_iter().map(|step| step.text).collect::<Vec<_>>().join("\n");
    assert_eq!(text("GET http://crat/"), "no service of this mesh is called `crat`; did you mean `cart`?");
    assert_eq!(text("GET http://cart:81/"), "service `default/cart` has no port 81; it has 80");
    assert!(text("GET http://cart/a%2fb").contains("escape"));
}

#[test]
fn a_new_host_and_small_shares_are_shown() {
    let texts: Vec<_> = ask("GET http://cart/else").steps.into_iter().map(|step| step.text).collect();
    assert!(texts.contains(&"the host becomes `other.example`".to_owned()), "{texts:#?}");
    assert!(texts.contains(&"99.9 % goes to `default/cart:80`, 2 endpoints".to_owned()), "{texts:#?}");
    assert!(texts.contains(&"<0.1 % goes to `default/web:80`, 1 endpoint".to_owned()), "{texts:#?}");
}

#[test]
fn odd_requests_are_refused_with_a_reason() {
    let (_, compilation) = compile_text("");
    let from = compilation.mesh.find("default", "web").unwrap();
    let refusal = |request: &str| {
        let question = Question::parse(from, "10.0.0.1".parse().unwrap(), request, &[]);
        question.map(|question| question.authority).unwrap_err().to_string()
    };
    for (request, why) in [
        ("cart/x", "it has no `http://host`"),
        ("GET ftp://cart/", "the scheme is not `http` or `https`"),
        ("G(T http://cart/", "the method has odd characters"),
        ("GET http:///x", "it names no host"),
        ("GET http://:80/x", "it names no host"),
        ("GET http://me@cart/", "a user name is no part of it"),
        ("GET http://cart:99999/", "the port is not a number from 1 to 65535"),
        ("GET http://cart:/", "the port is not a number from 1 to 65535"),
        ("GET http://cart/x#y", "what follows `#` is never sent"),
    ] {
        assert!(refusal(request).contains(why), "{request}: {}", refusal(request));
    }
}

#[test]
fn the_json_has_the_documented_shape() {
    let value = serde_json::to_value(ask("GET http://cart/api/x")).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["decision", "backends", "mirrors", "rule", "access", "steps"]);
    assert_eq!(value["access"]["file"], "shop.yaml");
    assert_eq!(value["decision"], "forward");
}

/// As [`ask`], from a client without a proxy.
fn ask_as(documents: &str, identity: Option<&str>, request: &str) -> Trace {
    let (_, compilation) = compile_text(documents);
    let identity = identity.map(|id| id.parse().unwrap());
    let from = From::Peer(Stranger { identity, namespace: "default".to_owned() });
    let question = Question::parse(from, "10.0.0.1".parse().unwrap(), request, &[]).unwrap();
    trace(&compilation.mesh, &question).unwrap()
}

#[test]
fn clients_without_a_proxy_are_not_routed() {
    let known = Some("spiffe://test.example/ns/a/sa/b");
    let trace = ask_as(ROUTES, known, "GET http://cart/api/x");
    assert_eq!((trace.decision, trace.status, trace.rule), (Decision::Forward, None, None));
    assert_eq!(trace.backends[0].service, "default/cart");
    let trace = ask_as(ROUTES, known, "GET http://cart.default.svc.cluster.local/admin");
    assert_eq!((trace.decision, trace.status), (Decision::Deny, Some(403)));
    assert_eq!(trace.access.unwrap().rule.as_deref(), Some("rules[0]"));
    let trace = ask_as(ROUTES, None, "GET http://cart/api/x");
    assert_eq!((trace.decision, trace.status), (Decision::Deny, None));
    assert_eq!(trace.steps[1].text, "`default/cart` takes no connection without a certificate");
    for unknown in
        ["http://crat/", "http://cart.elsewhere/", "http://cart.default.example/", "http://cart:81/"]
    {
        assert_eq!(ask_as(ROUTES, known, unknown).status, Some(502), "{unknown}");
    }
}

#[test]
fn one_tracer_answers_as_many_do() {
    let (_, compilation) = compile_text(ROUTES);
    let mut tracer = Tracer::new(&compilation.mesh);
    let from = compilation.mesh.find("default", "web").unwrap();
    for request in ["http://cart/api", "http://cart/items", "http://cart/old", "http://cart/api"] {
        let question = Question::parse(from, "10.0.0.1".parse().unwrap(), request, &[]).unwrap();
        let shown = |trace: Trace| serde_json::to_string(&trace).unwrap();
        assert_eq!(
            shown(tracer.trace(&question).unwrap()),
            shown(trace(&compilation.mesh, &question).unwrap())
        );
    }
}

#[test]
fn changed_headers_arrive() {
    let headers = |trace: Trace| trace.backends[0].arriving.clone().unwrap();
    let arriving = headers(ask("GET http://cart/else"));
    assert_eq!((arriving.authority.as_str(), arriving.path.as_str()), ("other.example", "/else"));
    assert_eq!(arriving.headers, [("x-a".to_owned(), "1".to_owned())]);
}

const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: weft
  listeners:
  - { name: web, port: 80, protocol: HTTP }
  - { name: shop, port: 443, protocol: HTTPS, hostname: '*.example', tls: { certificateRefs: [ { name: shop } ] } }
  - { name: through, port: 8443, protocol: TLS, tls: { mode: Passthrough } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec:
  parentRefs: [ { name: edge, sectionName: shop } ]
  rules:
  - name: cart
    matches: [ { path: { value: /cart } } ]
    filters: [ { type: RequestMirror, requestMirror: { backendRef: { name: web, port: 80 }, percent: 5 } } ]
    backendRefs: [ { name: cart, port: 80 } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: db }
spec: { parentRefs: [ { name: edge }, { kind: Service, name: db } ], hostnames: [ db.example ], rules: [ { name: all, backendRefs: [ { name: db, port: 443 } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: db }
spec: { ports: [ { name: tls, port: 443, protocol: tls }, { name: sql, port: 5432, protocol: tcp } ], endpoints: { static: [ { address: 10.0.0.9 } ] } }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec: { targetRefs: [ { kind: Service, name: cart } ], action: allow, rules: [ { from: [ { gateway: edge } ], to: [ { methods: [ GET ] } ] } ] }
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: { name: banned }
spec: { targetRefs: [ { kind: Gateway, name: edge } ], action: deny, rules: [ { from: [ { network: 198.51.100.0/24 } ] } ] }
";

/// What becomes of a request or connection, and every step, a line each.
fn story(
    from: impl Into<crate::trace::From>,
    mesh: &crate::model::Mesh,
    address: &str,
    request: &str,
) -> String {
    let question = Question::parse(from, address.parse().unwrap(), request, &[]).unwrap();
    let trace = trace(mesh, &question).unwrap();
    let steps = trace.steps.iter().map(|step| {
        let line = step.line.map(|line| format!(" ({line})")).unwrap_or_default();
        format!("  {}: {}{line}\n", step.stage, step.text)
    });
    format!(
        "{request} from {address}\n{}  = {:?} {:?}\n",
        steps.collect::<String>(),
        trace.decision,
        trace.status
    )
}

#[test]
fn callers_from_outside_come_through_a_listener() {
    let (_, compilation) = compile_text(EDGE);
    assert!(!compilation.has_errors(), "{:?}", compilation.diagnostics);
    let mesh = &compilation.mesh;
    let gateway = mesh.find_gateway("default", "edge").unwrap();
    let stories = [
        ("0.0.0.0", "GET https://a.example/cart/1"),
        ("0.0.0.0", "POST https://a.example/cart/1"),
        ("198.51.100.7", "GET https://a.example/cart/1"),
        ("0.0.0.0", "GET https://a.example/other"),
        ("0.0.0.0", "GET https://elsewhere/"),
        ("0.0.0.0", "GET http://a.example:443/"),
        ("0.0.0.0", "GET http://a.example/"),
        ("0.0.0.0", "GET http://a.example:8443/"),
        ("0.0.0.0", "tls://db.example:8443"),
        ("0.0.0.0", "tls://other.example:8443"),
        ("0.0.0.0", "tcp://a.example:443"),
        ("198.51.100.7", "tls://db.example:8443"),
    ];
    let all: String = stories.map(|(address, request)| story(gateway, mesh, address, request)).concat();
    insta::assert_snapshot!(all);
}

#[test]
fn connections_go_where_their_routes_say() {
    let (_, compilation) = compile_text(EDGE);
    let mesh = &compilation.mesh;
    let web = mesh.find("default", "web").unwrap();
    let requests =
        ["tcp://db:5432", "tls://db:443/db.example", "tls://db:443", "tcp://cart:80", "tcp://none:1"];
    let all: String = requests.map(|request| story(web, mesh, "10.0.0.1", request)).concat();
    insta::assert_snapshot!(all);
}
