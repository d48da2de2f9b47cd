//! Expressions in, predicates or faults out.

use super::*;

/// Each expression over what it comes to: a predicate as a body has it, or faults under the part they are about.
fn show(expressions: &[&str]) -> String {
    shown(expressions, Environment::Access)
}

fn shown(expressions: &[&str], environment: Environment) -> String {
    let mut out = String::new();
    for text in expressions {
        out.push_str(&format!("{text}\n"));
        match compile(text, environment) {
            Ok(predicate) => out.push_str(&format!("  {}\n", serde_json::to_string(&predicate).unwrap())),
            Err(faults) => faults.iter().for_each(|fault| out.push_str(&underlined(text, fault))),
        }
        out.push('\n');
    }
    out
}

fn underlined(text: &str, fault: &Fault) -> String {
    assert!(fault.range.end <= text.len(), "{text}: {fault:?}");
    let before = text.get(..fault.range.start).unwrap().chars().count();
    let under = text.get(fault.range.clone()).unwrap().chars().count().max(1);
    let kind = match fault.kind {
        FaultKind::Invalid => "",
        FaultKind::NotSupported => "not supported: ",
    };
    let mut out = format!("{}{} {kind}{}\n", " ".repeat(before), "^".repeat(under), fault.message);
    for (name, line) in [("note", &fault.note), ("help", &fault.help)] {
        out.extend(line.iter().map(|line| format!("  {name}: {line}\n")));
    }
    out
}

#[test]
fn what_expressions_come_to() {
    insta::assert_snapshot!(show(&[
        "request.method == 'GET' && request.path.startsWith('/api/') && request.headers['x-env'] != 'test'",
        "request.method in ['GET', 'HEAD']",
        "has(request.headers.cookie) || 'x-debug' in request.headers",
        "!(request.scheme == 'https' && request.host.endsWith('.example'))",
        "request.path.matches('^/v[0-9]+/.*$')",
        "request.path.matches('/v[0-9]+|^/old')",
        "request.query.contains('a.b=(1)')",
        "size(request.path) < 64 && 8 <= request.query.size()",
        "destination.port in [80, 8000 + 80] || destination.port > 30000",
        "source.identity == 'spiffe://td/ns/ops/sa/cart'",
        "source.identity.startsWith('spiffe://td/ns/')",
        "source.namespace == 'ops' && source.trust_domain == 'td' && source.service_account != 'x'",
        "inNetwork(source.address, '10.0.0.0/8', '192.0.2.7', 'fd00::/8')",
        "['/a', '/b'].exists(p, request.path.startsWith(p + '/'))",
        "['a', 'b'].all(n, 'x-' + n in request.headers)",
        "request.method == 'GET' ? request.path == '/a' : source.namespace == 'ops'",
        "true ? request.path == '/a' : request.path == '/b'",
        "(request.path == '/a') == (request.method == 'GET')",
        "(request.path == '/a') != false",
        "1 + 1 == 2 && 'abc'.startsWith('ab') && 'abc'.matches('b') && size('\u{e9}') == 1",
        "false",
        "request.path == '/a' || true",
    ]));
}

#[test]
fn tokens_and_responses() {
    insta::assert_snapshot!(shown(
        &[
            "token.issuer == 'https://issuer' && 'api' in token.audiences && has(token.subject)",
            "token.claims.team == 'blue' || token.claims['realm']['level'] >= 3",
            "token.claims.admin && !token.claims.guest && token.claims.x == true",
            "'reader' in token.claims.roles && 'team' in token.claims && has(token.claims.realm.level)",
            "inNetwork(source.remote_address, '10.0.0.0/8') && connection.sni == 'a.example'",
            "response.code >= 500 || response.duration > duration('1s500ms')",
            "size(token.claims.team) > 1",
            "'a' == token.claims.team.startsWith('a')",
            "response.duration > 5",
        ],
        Environment::Everything
    ));
    insta::assert_snapshot!(shown(
        &[
            "response.code >= 500 || response.duration > duration('1s')",
            "connection.sni == 'a'",
            "request.x == 1"
        ],
        Environment::AccessLog
    ));
}

#[test]
fn what_is_wrong_is_shown_where_it_is() {
    insta::assert_snapshot!(show(&[
        "request.headres['x-env'] == 'test'",
        "reqest.path == '/a'",
        "path == '/a'",
        "request.path == 1 && 'a' == request.method && request.nope == 2",
        "'\u{e9}' == request.query && request.nope",
        "request.path.beginsWith('/a')",
        "request.path.startsWith('/a', '/b')",
        "startsWith(request.path, '/a')",
        "request.path.startsWith('api')",
        "request.path == '/a//b'",
        "request.method == 'get'",
        "request.scheme == 'ftp'",
        "request.host == 'Shop.example:80'",
        "request.headers['X-Env'] == 'a'",
        "request.headers['a b'] == 'a'",
        "request.headers.host == 'a'",
        "request.headers == 'a'",
        "request['path'] == '/a'",
        "request.path['a'] == '/a'",
        "source.identity == 'spiffe://td'",
        "source.identity.startsWith('spiffe://td')",
        "source.address == '10.0.0.1'",
        "inNetwork(source.address, '10.0.0.1/8')",
        "inNetwork(source.address, 'ten')",
        "inNetwork('10.0.0.1', '10.0.0.0/8')",
        "request.path.matches('(')",
        "request.path.matches('(?=a)')",
        "request.path",
        "request.path && true",
        "destination.port == 99999999999999999",
        "1 / 0 == 1",
        "request.method in []",
        "",
        "request.path ==",
        "request.path == '/a",
        "request.path = '/a'",
        "a b",
        "has(request.path == '/a')",
        "connection.sni == 'a'",
        "request.size == 1",
        "response.code == 200",
    ]));
}

#[test]
fn what_has_no_predicate_is_refused_with_the_reason() {
    insta::assert_snapshot!(show(&[
        "request.path == request.query",
        "request.path.startsWith(request.query)",
        "request.path < '/b'",
        "size(request.path) + 1 < 10",
        "request.path + 'x' == '/ax'",
        "size(request.headers) < 10",
        "string(1) == 'a'",
        "[1, 2].map(x, x) == [1]",
        "[1, 2].exists_one(x, x == 1)",
        "['a'].exists(x, ['b'].exists(y, request.path == '/a'))",
        "[request.path].exists(x, x == '/a')",
        "has(source.address)",
        "destination.port == 80.5",
        "destination.port == 80u",
        "{'a': 1}['a'] == 1",
        "request.query == null",
        "b'a' == request.query",
        &(0..17).map(|n| format!("request.query.contains('{n}')")).collect::<Vec<_>>().join(" || "),
    ]));
}

#[test]
fn hostile_expressions_are_refused_in_bounded_time() {
    let deep =
        |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    for text in [
        deep("(", ")", 300),
        deep("[", "]", 300),
        deep("(", ")", 65),
        deep("f(", ")", 64),
        "!!(!!!!!!(!!!!".repeat(4),
        vec!["1"; 500].join("+"),
        format!("x{}", "[0]".repeat(250)),
        format!("x{}", ".a".repeat(450)),
        "true?1:".repeat(140),
        "-".repeat(1000),
        "!".repeat(1000),
        "'".repeat(1024),
        "a".repeat(1025),
        "\u{0}\u{feff}\u{202e}".to_owned(),
        "[1,2].map(v,[v,v])".to_owned() + &".map(v,[v,v])".repeat(26),
        format!("{}true{}", "true ? (".repeat(20), ") : false".repeat(20)),
    ] {
        let _ = compile(&text, Environment::Everything);
    }
    let nested =
        (0..12).fold("request.path == '/a'".to_owned(), |inner, _| format!("({inner}) == ({inner})"));
    assert!(compile(&nested, Environment::Access).is_err());
    let doubled =
        (0..4).fold("request.path == '/a'".to_owned(), |inner, _| format!("({inner}) == ({inner})"));
    assert!(compile(&doubled, Environment::Access).is_ok());
    let faults = compile(&format!("{doubled} ? true : false"), Environment::Access).unwrap_err();
    assert!(faults[0].message.contains("comparisons"), "too large only when lowered: {faults:?}");
    // Deep, within every limit.
    let parentheses = format!("{}true{}", "(".repeat(60), ")".repeat(60));
    assert_eq!(compile(&parentheses, Environment::Access), Ok(Predicate::constant(true)));
    let negations = format!("{}has(request.headers.a)", "!".repeat(150));
    assert!(compile(&negations, Environment::Access).is_ok());
}

#[test]
fn a_place_is_found_in_the_document_or_named_in_words() {
    use crate::yaml::{Span, Spanned};
    let place = |file: &str, text: &str| {
        let start = u32::try_from(file.find(['"', '\'', '|', '>', 'r']).unwrap()).unwrap();
        let span = Span::new(crate::source::FileId(0), start, u32::try_from(file.len()).unwrap());
        let text = Spanned::new(text.to_owned(), span);
        let faults = compile(&text.value, Environment::Access).unwrap_err();
        let finding = Placed { text: &text, file: file.as_bytes() }.diagnostic(&faults[0]);
        (file.get(finding.span.unwrap().range()).unwrap().to_owned(), finding.notes.first().cloned())
    };
    let whole = |file: &str| file.get(3..).unwrap().to_owned();
    let plain = "k: request.nope == 1";
    assert_eq!(place(plain, "request.nope == 1"), ("request.nope".to_owned(), None));
    assert_eq!(place("k: \"request.nope == 1\"", "request.nope == 1").0, "request.nope");
    assert_eq!(place("k: >-\n   request.nope == 1", "request.nope == 1").0, "request.nope");
    assert_eq!(place("k: request.path ==", "request.path ==").0, "=", "what is missing is after this");
    let escaped = "k: 'request.query == ''a'' && request.nope == 1'";
    let (shown, note) = place(escaped, "request.query == 'a' && request.nope == 1");
    assert_eq!((shown, note.as_deref()), (whole(escaped), Some("at column 25 of the expression")));
    let folded = "k: |\n  request.query == 'a' &&\n  request.nope == 1\n";
    let (shown, note) = place(folded, "request.query == 'a' &&\nrequest.nope == 1\n");
    assert_eq!((shown, note.as_deref()), (whole(folded), Some("at line 2, column 1 of the expression")));
}
