//! Names, addresses and the kinds of path that only some dialects have, against the decision engine.
//!
//! What the core reaches it proves with a request that the engine takes there; what the engine takes there in a small
//! universe, the core reaches.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use weft_bundle::body::PathMatch;
use weft_bundle::engine::{Connection, Engine};

use super::super::scene::{self, HOST, Sent};
use super::*;
use crate::dialect::{Known, parse_with};
use crate::model::resolve::resolve;
use crate::progress::Silent;
use crate::source::Sources;

const HOSTS: [&str; 6] = ["a.x", "b.x", "b.a.x", "x", "y", "[::1]"];
const PATHS: [&str; 9] = ["/", "/a", "/a/", "/a/b", "/b", "/b/a", "/a/b/a", "/a/b/b", "/ab"];

fn engine(list: &[RequestMatch]) -> Engine {
    scene::engine(list.iter().map(|condition| (condition.clone(), scene::respond())).collect()).unwrap()
}

fn verdicts(list: &[RequestMatch]) -> Vec<Reach> {
    let entries: Vec<Entry> = list.iter().map(entry_of).collect();
    let all = vec![true; entries.len()];
    let verdicts = repeated_headers::analyse(&entries, &all, &Budget::default());
    verdicts.into_iter().flatten().collect()
}

fn route(engine: &Engine, host: &str, path: &str) -> Option<usize> {
    let request = reach::Request { path: path.to_owned(), ..reach::Request::default() };
    let sent = Sent::of(&request, host).unwrap();
    engine.route(engine.frontend(HOST, 80).unwrap(), &sent.as_request()).entry.map(|(at, _)| at)
}

fn connect(engine: &Engine, server_name: Option<&str>, destination: Option<IpAddr>) -> Option<usize> {
    let connection = Connection { server_name, destination };
    engine.route_connection(engine.frontend(HOST, 80).unwrap(), &connection).entry.map(|(at, _)| at)
}

fn fact(request: &reach::Request, name: &str) -> Option<String> {
    let found = request.facts.iter().find(|(own, _)| own == name);
    found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
}

fn address(bits: &str) -> IpAddr {
    let (family, bits) = bits.split_at(1);
    match family {
        "4" => IpAddr::V4(u32::from_str_radix(bits, 2).unwrap().into()),
        _ => IpAddr::V6(u128::from_str_radix(bits, 2).unwrap().into()),
    }
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec!["a.x", "b.x", "*.x", "*.a.x", "x", "y", "*", "[::1]"]);
    vec(name.prop_map(str::to_owned), 0..3)
}

fn path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        "(/|a|b|/a|/b|a/b)".prop_map(PathMatch::Suffix),
        prop::sample::select(vec!["/{*}", "/{**}", "/a/{*}", "/a/{**}", "/{*}/a", "/a/{*}/b"])
            .prop_map(|template| PathMatch::Template(template.to_owned())),
        prop::sample::select(PATHS.to_vec()).prop_map(|path| PathMatch::Exact(path.to_owned())),
        prop::sample::select(vec!["/", "/a", "/a/b"])
            .prop_map(|path| PathMatch::SegmentPrefix(path.to_owned())),
    ]
}

fn request() -> impl Strategy<Value = RequestMatch> {
    (prop::option::weighted(0.8, path()), names()).prop_map(|(path, hosts)| RequestMatch {
        path,
        hosts,
        ..RequestMatch::default()
    })
}

fn connection() -> impl Strategy<Value = RequestMatch> {
    let network = prop::sample::select(vec![
        "0.0.0.0/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "10.0.0.0/8",
        "10.0.0.1/32",
        "::/0",
    ]);
    (names(), vec(network.prop_map(|network| network.parse::<ipnet::IpNet>().unwrap()), 0..3)).prop_map(
        |(server_names, destinations)| RequestMatch { server_names, destinations, ..RequestMatch::default() },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn hosts_suffixes_and_templates_are_the_engines(list in vec(request(), 1..6)) {
        let engine = engine(&list);
        let reached: BTreeSet<usize> = HOSTS
            .iter()
            .flat_map(|host| PATHS.iter().filter_map(|path| route(&engine, host, path)))
            .collect();
        for (at, verdict) in verdicts(&list).into_iter().enumerate() {
            match verdict {
                Reach::Reachable { witness } => {
                    let host = fact(&witness, "host").unwrap_or_else(|| "elsewhere".to_owned());
                    prop_assert_eq!(route(&engine, &host, &witness.path), Some(at), "{}", witness);
                }
                other => prop_assert!(!reached.contains(&at), "{} is reached: {:?}", at, other),
            }
        }
    }

    #[test]
    fn server_names_and_destinations_are_the_engines(list in vec(connection(), 1..6)) {
        let engine = engine(&list);
        let names = HOSTS.iter().map(|name| Some(*name)).chain([None]);
        let addresses = ["10.0.0.1", "10.9.9.9", "9.9.9.9", "200.0.0.1", "::1"].map(|text| text.parse().ok());
        let addresses = addresses.into_iter().chain([None]);
        let reached: BTreeSet<usize> = names
            .flat_map(|name| addresses.clone().map(move |to| (name, to)))
            .filter_map(|(name, to)| connect(&engine, name, to))
            .collect();
        for (at, verdict) in verdicts(&list).into_iter().enumerate() {
            match verdict {
                Reach::Reachable { witness } => {
                    let to = fact(&witness, "destination").map(|bits| address(&bits));
                    let name = fact(&witness, "server name");
                    prop_assert_eq!(connect(&engine, name.as_deref(), to), Some(at), "{}", witness);
                }
                other => prop_assert!(!reached.contains(&at), "{} is reached: {:?}", at, other),
            }
        }
    }
}

/// Both halves of all addresses are all of them, and `*` is every name, an address too.
#[test]
fn what_is_covered_in_parts_is_covered() {
    let to = |networks: &[&str]| RequestMatch {
        destinations: networks.iter().map(|network| network.parse().unwrap()).collect(),
        ..RequestMatch::default()
    };
    let halves = [to(&["0.0.0.0/1"]), to(&["128.0.0.0/1"]), to(&["0.0.0.0/0"])];
    assert!(matches!(&verdicts(&halves)[2], Reach::Unreachable { covered_by, .. } if covered_by == &[0, 1]));
    let host = |name: &str| RequestMatch { hosts: vec![name.to_owned()], ..RequestMatch::default() };
    assert!(matches!(&verdicts(&[host("*"), host("[::1]")])[1], Reach::Unreachable { .. }));
    assert!(matches!(&verdicts(&[host("*.x"), host("x")])[1], Reach::Reachable { .. }));
}

/// A mesh of so many services with lists that are hard to decide, and one whose last rule is plainly covered.
fn hard_lists(count: usize) -> Mesh {
    let service = |name: &str| {
        format!(
            "---\napiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  \
             ports: [ {{ name: http, port: 80, protocol: http }} ]\n  endpoints: {{ static: [ {{ address: 10.0.0.1 }} ] }}\n"
        )
    };
    let route = |name: &str, paths: &[String]| {
        let rule = |path: &String| {
            format!(
                "  - match: [ {{ uri: {{ regex: '{path}' }} }} ]\n    route: [ {{ destination: {{ host: {name} }} }} ]\n"
            )
        };
        let rules: String = paths.iter().map(rule).collect();
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: {name} }}\nspec:\n  \
             hosts: [ {name} ]\n  http:\n{rules}"
        )
    };
    let mut text = String::from(
        "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: { name: hard }\nspec: { trustDomain: hard.example }\n",
    );
    let plain = ["/api/v[0-9]+/.*", "/health/[a-z]+", "/api/v1/items/[0-9]+"].map(str::to_owned);
    text += &(service("plain") + &route("plain", &plain));
    for number in 0..count {
        let name = format!("hard-{number}");
        let paths: Vec<String> = (60..66).map(|length| format!("/.*[a-k-].{{{length}}}")).collect();
        text += &(service(&name) + &route(&name, &paths));
    }
    let sources = Sources::in_memory([("mesh.yaml", text)]);
    let mut parsed = parse_with(&sources, &mut Known::default(), &Silent);
    resolve(&sources, &mut parsed).0
}

fn shown(findings: &[Diagnostic]) -> Vec<String> {
    let one = |finding: &Diagnostic| {
        let notes: String = finding.notes.iter().map(|note| format!(" | {note}")).collect();
        format!("{}: {}{notes}", finding.object.as_deref().unwrap_or_default(), finding.message)
    };
    findings.iter().map(one).collect()
}

#[test]
fn a_thousand_hard_lists_are_few_findings_and_spoil_no_other() {
    let limits = Limits { total_steps: 1_500_000, ..Limits::default() };
    let found = run_within(&hard_lists(25), &limits);
    insta::assert_snapshot!(shown(&found).join("\n"));
    assert_eq!(shown(&run_within(&hard_lists(25), &limits)), shown(&found));
}

#[test]
fn one_hard_list_has_all_that_a_list_may_take() {
    let limits = Limits { pattern_bytes: 1 << 14, ..Limits::default() };
    insta::assert_snapshot!(shown(&run_within(&hard_lists(1), &limits)).join("\n"));
}
