//! The interpreter as oracle: what an expression says of a request, and what its predicate says.
//!
//! An expression, well-typed, and a request are made at random from small alphabets, so that comparisons hold about as
//! often as not. The interpreter of the `cel` crate is asked once for every choice of one line per header:
//! * if there is only one choice, both say the same: true, false, or an error;
//! * else the predicate says true or false only if every choice does.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test, also when it is run as an example; the random numbers are made for the lists"
)]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use cel_interpreter::{Context, Program, Value};
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue};
use regex_automata::dfa::{Automaton, dense};
use regex_automata::{Input, util::syntax};
use serde_json::json;
use weft::cel::{Environment, compile};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{Facts, Peer, PredicateMatcher, Request, Token, Truth};
use weft_bundle::spiffe::SpiffeId;

/// Makes an expression and a few requests, and compares. Gives whether the expression could be lowered.
///
/// # Errors
/// The difference, for people.
pub(crate) fn compare(rng: &mut Rng) -> Result<bool, String> {
    let text = condition(rng, 3);
    let Ok(predicate) = compile(&text, Environment::Everything) else { return Ok(false) };
    let matcher = PredicateMatcher::compile(&predicate).map_err(|error| format!("{text}: {error}"))?;
    let program = Program::compile(&text).map_err(|error| format!("{text}: {error}"))?;
    for _ in 0..4 {
        let world = World::random(rng);
        let ours = world.ask(&matcher);
        let theirs = world.interpret(&program);
        let agreed = match theirs.as_slice() {
            [only] => ours == *only,
            choices => ours == Truth::Error || choices.iter().all(|choice| *choice == ours),
        };
        if !agreed {
            return Err(format!("{text}\n  of {world:?}\n  is {theirs:?} and not {ours:?}\n  {predicate:?}"));
        }
    }
    Ok(true)
}

/// Something like an expression, for what must only not panic: a good one with a few bytes changed, or a heap of parts.
pub(crate) fn garbage(rng: &mut Rng) -> String {
    let parts = [
        "request",
        ".",
        "path",
        "headers",
        "['x-a']",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "a",
        "1",
        "-",
        "!",
        "==",
        "&&",
        "||",
        "?",
        ":",
        " in ",
        "has(",
        "size(",
        ".exists(x, ",
        ".all(x, ",
        ".map(x, ",
        "'''",
        "r'",
        "b'",
        "\\",
        "\u{e9}",
        "\u{1f600}",
        "\n",
        "\0",
        "0x",
        "1.5e",
        "9999999999999999999",
        "true",
        "null",
        "matches('(",
        "token.claims",
        "`",
        "@",
        "#",
        "//",
        "duration('1s')",
        "inNetwork(",
        ",",
        "{1:",
        "f(",
        "<",
        "+",
    ];
    if rng.bool() {
        return (0..rng.usize(..60)).map(|_| parts[rng.usize(..parts.len())]).collect();
    }
    let mut text: Vec<char> = condition(rng, 4).chars().collect();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=text.len());
        match rng.u8(..3) {
            0 if at < text.len() => drop(text.remove(at)),
            1 => text.splice(at..at, parts[rng.usize(..parts.len())].chars()).for_each(drop),
            _ => {
                let end = rng.usize(at..=text.len());
                let copy: Vec<char> = text[at..end].to_vec();
                text.splice(at..at, copy).for_each(drop);
            }
        }
    }
    text.into_iter().collect()
}

fn pick<'p>(rng: &mut Rng, from: &[&'p str]) -> &'p str {
    from[rng.usize(..from.len())]
}

/// The texts that can be asked for, each with literals that it may be.
const TEXTS: [(&str, &[&str]); 16] = [
    ("request.method", &["GET", "POST", "PURGE"]),
    ("request.scheme", &["http", "https"]),
    ("request.host", &["a", "a.b", "b"]),
    ("request.path", &["/", "/a", "/a/b", "/ab", "/a.b"]),
    ("request.query", &["", "a=1", "a", "1"]),
    ("request.headers['x-a']", &["", "a", "b", "ab", "a.b"]),
    ("request.headers.accept", &["a", "b", "ba"]),
    ("source.identity", &["spiffe://a/ns/b/sa/a", "spiffe://b/x"]),
    ("source.trust_domain", &["a", "b"]),
    ("source.namespace", &["a", "b"]),
    ("source.service_account", &["a", "b"]),
    ("connection.sni", &["a", "a.b"]),
    ("token.subject", &["a", "b"]),
    ("token.principal", &["a/a", "a/b"]),
    ("token.claims.text", &["a", "b", "ab"]),
    ("token.claims['deep'].text", &["a", "b"]),
];

const PATTERNS: [&str; 12] =
    ["a", "^a", "b$", "^/?a$", "a|b", "^(a|/)", "[^a]", "(?i)A", "a.b", "", "^a|b$", "(?x) a # b"];

fn condition(rng: &mut Rng, depth: usize) -> String {
    if depth == 0 || rng.u8(..4) == 0 {
        return atom(rng);
    }
    let mut part = || condition(rng, depth - 1);
    let (one, two, three) = (part(), part(), part());
    match rng.u8(..12) {
        0..=3 => format!("({one} && {two})"),
        4..=7 => format!("({one} || {two})"),
        8 => format!("!({one})"),
        9 => format!("({one} ? {two} : {three})"),
        10 => format!("(({one}) == ({two}))"),
        _ => format!("(({one}) != ({two}))"),
    }
}

fn atom(rng: &mut Rng) -> String {
    let (text, literals) = TEXTS[rng.usize(..TEXTS.len())];
    let (one, two) = (pick(rng, literals), pick(rng, literals));
    let order = pick(rng, &["==", "!=", "<", "<=", ">", ">="]);
    let number = rng.i64(-1..6);
    match rng.u8(..19) {
        0..=2 => format!("{text} == '{one}'"),
        3 => format!("'{one}' != {text}"),
        4 => format!("{text} in ['{one}', '{two}']"),
        5 => format!("{text}.startsWith('{one}')"),
        6 => format!("{text}.endsWith('{}')", pick(rng, &["", "a", "b", ".b", "1"])),
        7 => format!("{text}.contains('{}')", pick(rng, &["", "a", "b", ".", "/a"])),
        8 => format!("{text}.matches('{}')", pick(rng, &PATTERNS)),
        9 => format!("size({text}) {order} {number}"),
        10 => format!(
            "{} {order} {}",
            pick(rng, &["destination.port", "token.claims.number", "response.code"]),
            number * 2
        ),
        11 => format!(
            "has({})",
            pick(
                rng,
                &[
                    "request.headers.accept",
                    "source.identity",
                    "token.subject",
                    "token.claims.text",
                    "source.namespace"
                ]
            )
        ),
        12 => format!("'{}' in request.headers", pick(rng, &["x-a", "accept", "x-c"])),
        13 => format!(
            "'{}' in {}",
            pick(rng, &["a", "b"]),
            pick(rng, &["token.audiences", "token.claims.list", "token.claims"])
        ),
        14 => pick(
            rng,
            &[
                "token.claims.flag",
                "token.claims.flag == false",
                "true",
                "false",
                "1 + 2 == 3",
                "'a' + 'b' == 'ab'",
            ],
        )
        .to_owned(),
        15 => format!("inNetwork(source.address, '{}', '{}')", pick(rng, &NETWORKS), pick(rng, &NETWORKS)),
        16 => format!("['{one}', '{two}'].exists(v, {text}.contains(v) || request.headers['x-a'] == v)"),
        17 => format!("['{one}', '{two}'].all(v, {text} != v && has(request.headers.accept))"),
        _ => format!("['x-a', 'accept'].{}(v, request.headers[v] == '{one}')", pick(rng, &["exists", "all"])),
    }
}

const NETWORKS: [&str; 4] = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "fd00::/8"];

/// A request, its caller and its connection.
#[derive(Debug)]
struct World {
    method: &'static str,
    scheme: &'static str,
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    identity: Option<&'static str>,
    address: &'static str,
    sni: Option<&'static str>,
    port: u16,
    claims: serde_json::Value,
    code: u16,
}

impl World {
    fn random(rng: &mut Rng) -> Self {
        let mut headers = Vec::new();
        for name in ["x-a", "accept"] {
            for _ in 0..[0, 1, 1, 1, 1, 2][rng.usize(..6)] {
                headers.push((name, pick(rng, &["", "a", "b", "ab", "a.b", "ba"])));
            }
        }
        let mut claims = serde_json::Map::new();
        let all = [
            ("iss", json!("a")),
            ("sub", json!(pick(rng, &["a", "b"]))),
            ("aud", json!([pick(rng, &["a", "c"])])),
            ("text", json!(pick(rng, &["a", "b", "ab"]))),
            ("number", json!(rng.i64(-2..12))),
            ("flag", json!(rng.bool())),
            ("list", json!(["a", "c"][..rng.usize(..3)])),
            ("deep", json!({"text": pick(rng, &["a", "c"])})),
        ];
        claims.extend(
            all.into_iter().filter(|_| rng.u8(..4) != 0).map(|(name, value)| (name.to_owned(), value)),
        );
        let some = |rng: &mut Rng, from: &[&'static str]| rng.bool().then(|| pick(rng, from));
        Self {
            method: pick(rng, &["GET", "POST", "PURGE"]),
            scheme: pick(rng, &["http", "https"]),
            host: pick(rng, &["a", "a.b", "b"]),
            path: pick(rng, &["/", "/a", "/a/b", "/ab", "/a.b"]),
            query: some(rng, &["", "a=1", "a", "1"]),
            headers,
            identity: some(rng, &["spiffe://a/ns/b/sa/a", "spiffe://b/x", "spiffe://a/ns/a/sa/b"]),
            address: pick(rng, &["10.0.0.1", "10.1.0.1", "192.0.2.1", "fd00::1", "::1"]),
            sni: some(rng, &["a", "a.b"]),
            port: rng.u16(..12),
            claims: claims.into(),
            code: rng.u16(..12),
        }
    }

    fn ask(&self, matcher: &PredicateMatcher) -> Truth {
        let path = CanonicalPath::parse(self.path).unwrap();
        let headers: HeaderMap = self
            .headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let authority = format!("{}:80", self.host);
        let request = Request {
            method: self.method,
            scheme: self.scheme,
            authority: &authority,
            path: &path,
            query: self.query,
            headers: &headers,
        };
        let identity: Option<SpiffeId> = self.identity.map(|id| id.parse().unwrap());
        let token = Token::new(self.claims.as_object().unwrap().clone());
        let peer = Peer { identity: identity.as_ref(), address: self.address.parse().unwrap() };
        matcher.evaluate(&Facts {
            request: Some(&request),
            token: Some(&token),
            destination_port: Some(self.port),
            sni: self.sni,
            response: Some(weft_bundle::engine::ResponseFacts {
                code: self.code,
                duration: std::time::Duration::ZERO,
            }),
            ..Facts::of(peer)
        })
    }

    /// What the interpreter says for each choice of one line per header.
    fn interpret(&self, program: &Program) -> Vec<Truth> {
        let mut choices: Vec<HashMap<String, Value>> = vec![HashMap::new()];
        for name in ["x-a", "accept"] {
            let values: Vec<&str> =
                self.headers.iter().filter(|(of, _)| *of == name).map(|(_, value)| *value).collect();
            if !values.is_empty() {
                choices = choices
                    .iter()
                    .flat_map(|choice| {
                        values.iter().map(move |value| {
                            let mut choice = choice.clone();
                            choice.insert(name.to_owned(), text(value));
                            choice
                        })
                    })
                    .collect();
            }
        }
        choices.into_iter().map(|headers| self.interpret_one(program, headers)).collect()
    }

    fn interpret_one(&self, program: &Program, headers: HashMap<String, Value>) -> Truth {
        let mut context = Context::default();
        let request = map([
            ("method", Some(text(self.method))),
            ("scheme", Some(text(self.scheme))),
            ("host", Some(text(self.host))),
            ("path", Some(text(self.path))),
            ("query", Some(text(self.query.unwrap_or_default()))),
            ("headers", Some(Value::Map(headers.into()))),
        ]);
        let identity: Option<SpiffeId> = self.identity.map(|id| id.parse().unwrap());
        let identity = identity.as_ref();
        let source = map([
            ("identity", self.identity.map(text)),
            ("trust_domain", identity.map(|id| text(id.trust_domain().as_str()))),
            ("namespace", identity.and_then(|id| id.namespace()).map(text)),
            ("service_account", identity.and_then(|id| id.service_account()).map(text)),
            ("address", Some(text(self.address))),
        ]);
        let claim = |name: &str| self.claims.get(name).map(value);
        let principal = self.claims.get("iss").zip(self.claims.get("sub"));
        let principal =
            principal.map(|(iss, sub)| format!("{}/{}", iss.as_str().unwrap(), sub.as_str().unwrap()));
        let token = map([
            ("subject", claim("sub")),
            ("principal", principal.as_deref().map(text)),
            ("audiences", claim("aud").or(Some(Value::List(Arc::default())))),
            ("claims", Some(value(&self.claims))),
        ]);
        context.add_variable_from_value("request", request);
        context.add_variable_from_value("source", source);
        context.add_variable_from_value("token", token);
        context.add_variable_from_value("destination", map([("port", Some(Value::Int(self.port.into())))]));
        context.add_variable_from_value("response", map([("code", Some(Value::Int(self.code.into())))]));
        context.add_variable_from_value("connection", map([("sni", self.sni.map(text))]));
        context.add_function("matches", matches).unwrap();
        context.add_function("inNetwork", in_network).unwrap();
        match program.execute(&context) {
            Ok(Value::Bool(holds)) => holds.into(),
            Ok(other) => panic!("a condition came to {other:?}"),
            Err(_) => Truth::Error,
        }
    }
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn map<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Map(fields.collect::<HashMap<String, Value>>().into())
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => Value::Int(number.as_i64().unwrap()),
        serde_json::Value::String(string) => text(string),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.iter().map(value).collect())),
        serde_json::Value::Object(fields) => Value::Map(
            fields.iter().map(|(name, field)| (name.clone(), value(field))).collect::<HashMap<_, _>>().into(),
        ),
        serde_json::Value::Null => Value::Null,
    }
}

/// `matches` of the specification, by another engine than the proxies'.
fn matches(
    cel_interpreter::extractors::This(text): cel_interpreter::extractors::This<Arc<String>>,
    pattern: Arc<String>,
) -> bool {
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    let dfa = dense::Builder::new().syntax(syntax).build(&pattern).unwrap();
    dfa.try_search_fwd(&Input::new(text.as_str())).unwrap().is_some()
}

fn in_network(address: Arc<String>, one: Arc<String>, two: Arc<String>) -> bool {
    let address: IpAddr = address.parse().unwrap();
    [one, two].iter().any(|network| match network.parse::<ipnet::IpNet>() {
        Ok(network) => network.contains(&address),
        Err(_) => network.parse::<IpAddr>().unwrap() == address,
    })
}
