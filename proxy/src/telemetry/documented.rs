//! `proxy/TELEMETRY.md` says what operators see; here it is held against what they do see.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weft_bundle::body::AccessLog;
use weft_bundle::engine::TokenFault;

use super::cluster::CopyOutcome;
use super::metrics::{Direction, InjectedFault, Metrics, Refusal, TokenOutcome};
use super::reason::Reason;
use super::stream::{StreamCount, StreamKind};
use crate::discovery::Fault;

const PAGE: &str = include_str!("../../TELEMETRY.md");

/// What is printed when every metric has been counted.
fn counted() -> String {
    let metrics = Metrics::new();
    for direction in [Direction::Inbound, Direction::Outbound] {
        let service = metrics.service(direction, "shop/cart");
        service.ended(200, Reason::Ok, Duration::from_millis(3));
        service.fault(InjectedFault::Delay);
        service.fault(InjectedFault::Abort);
        service.decided(true);
        service.decided(false);
        service.token(TokenOutcome::Accepted);
        service.token(TokenOutcome::Missing);
        (0..TokenFault::NAMES.len()).for_each(|fault| service.token(TokenOutcome::Refused(fault)));
        let mut stream = StreamCount::start(&service, StreamKind::Tcp);
        stream.because(Reason::Ok);
        drop(stream);
        drop((metrics.connection(direction), metrics.resting(direction)));
    }
    let cluster = metrics.cluster("shop/cart:80");
    cluster.copied(CopyOutcome::Answered);
    cluster.discovered();
    let last_known = cluster.last_known();
    last_known.now();
    cluster.discovery_failed(Fault::Empty);
    metrics.refused(Refusal::Handshake);
    metrics.control.rejected("rollback");
    metrics.control.applied(7, false);
    metrics.control.checked();
    metrics.control.certificate_expires("edge/shop", 0);
    metrics.encode()
}

/// The rows that the page should have: name, kind, labels, meaning.
fn rows() -> BTreeSet<String> {
    let text = counted();
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sample, _) = line.rsplit_once(' ').unwrap();
        let (name, pairs) = sample.split_once('{').unwrap_or((sample, ""));
        let base = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let own = labels.entry(base.unwrap_or(name).to_owned()).or_default();
        let names = pairs.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        own.extend(names.filter(|name| name != "le"));
    }
    let said = |word: &str| {
        let lines = text.lines().filter_map(move |line| line.strip_prefix("# ")?.strip_prefix(word));
        lines.filter_map(|line| line.trim().split_once(' ')).collect::<BTreeMap<_, _>>()
    };
    let (kinds, helps) = (said("TYPE"), said("HELP"));
    let row = |(name, kind): (&&str, &&str)| {
        let labels: Vec<String> =
            labels.get(*name).into_iter().flatten().map(|label| format!("`{label}`")).collect();
        let end = if *kind == "counter" { "_total" } else { "" };
        format!("| `{name}{end}` | {kind} | {} | {} |", labels.join(", "), helps[name].trim_end_matches('.'))
    };
    kinds.iter().map(row).collect()
}

/// The rows of a table of the page.
fn table(title: &str) -> BTreeSet<String> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(title)).unwrap();
    section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
}

#[test]
fn the_page_has_every_metric_and_no_other() {
    let (should, does) = (rows(), table("Metrics"));
    let missing: Vec<_> = should.difference(&does).cloned().collect();
    let extra: Vec<_> = does.difference(&should).cloned().collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing:\n{}\nextra:\n{}",
        missing.join("\n"),
        extra.join("\n")
    );
}

#[test]
fn the_page_has_every_reason_with_its_status() {
    let should: BTreeSet<String> =
        Reason::ALL.iter().map(|reason| format!("| `{reason}` | {} |", reason.status().as_u16())).collect();
    let start = |row: &String| row.splitn(4, '|').take(3).collect::<Vec<_>>().join("|") + "|";
    let does: BTreeSet<String> = table("Reasons").iter().map(start).collect();
    assert_eq!(should, does);
}

#[test]
fn the_page_has_every_field_token_outcome_and_fault() {
    let names = |title: &str| {
        let rows = table(title).into_iter();
        rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names("The access log"), own(&AccessLog::FIELDS));
    let outcomes = [&["accepted", "missing"][..], &TokenFault::NAMES].concat();
    assert_eq!(names("Outcomes of tokens"), own(&outcomes));
    let faults: Vec<_> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
    assert_eq!(names("Endpoints that are not found"), own(&faults));
}

/// The rules of OpenMetrics 1.0 that a writer can break: each family once, its samples behind its type, names that fit it,
/// an end.
#[test]
fn what_is_printed_is_openmetrics() {
    let text = counted();
    assert!(text.ends_with("# EOF\n"));
    let (mut family, mut kind, mut seen, mut samples) =
        (String::new(), String::new(), BTreeSet::new(), BTreeSet::new());
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(said) = line.strip_prefix("# HELP ") {
            family = said.split(' ').next().unwrap().to_owned();
            assert!(seen.insert(family.clone()), "{family} twice");
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            let (name, of) = said.split_once(' ').unwrap();
            assert_eq!(name, family);
            kind = of.to_owned();
        } else {
            assert!(samples.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "{line} twice");
            let name = line.split(['{', ' ']).next().unwrap();
            let end = name.strip_prefix(family.as_str()).unwrap_or("?");
            let ends: &[&str] = match kind.as_str() {
                "counter" => &["_total", "_created"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("{other}"),
            };
            assert!(ends.contains(&end), "{name} is no {kind} of {family}");
        }
    }
}
