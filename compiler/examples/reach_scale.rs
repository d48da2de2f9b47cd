//! How long exact reachability takes on large route tables.
//!
//! `cargo run --release -p weft --example reach_scale` prints one line per table. The tables are made by a fixed
//! recipe, so figures of two runs differ only by the machine: words of a small vocabulary as paths, so that they overlap
//! a great deal; a share of regular expressions with wild cards in the middle; some methods and headers.

use std::time::{Duration, Instant};
use weft::reach::{
    Budget, Entry, FieldCondition, FieldPattern, PathKind, PathPattern, Reach, Reachability, StringPattern,
};

fn main() {
    println!("{:44} {:>9} {:>9}  verdicts", "table", "total", "worst");
    let sizes = [(100, 20), (1_000, 0), (1_000, 20), (1_000, 50), (5_000, 20), (20_000, 20), (100_000, 20)];
    for (entries, regex_percent) in sizes {
        let table = routes(entries, regex_percent);
        report(&format!("{entries} routes, {regex_percent} % regular expressions"), &table);
    }
    report("1000 routes, general before specific", &routes(1_000, 20).into_iter().rev().collect::<Vec<_>>());
    report("5000 tenants by one header, one path", &tenants(5_000));
    report("100 parts, then their union", &parts(100));
}

fn report(name: &str, table: &[Entry]) {
    let budget = Budget::default();
    let start = Instant::now();
    let mut list = Reachability::new(table, &budget);
    let mut worst = Duration::ZERO;
    let [mut reachable, mut single, mut union, mut impossible, mut unknown] = [0; 5];
    for at in 0..table.len() {
        let question = Instant::now();
        match list.reach(at) {
            Reach::Reachable { .. } => reachable += 1,
            Reach::Unreachable { covered_by, .. } if covered_by.len() == 1 => single += 1,
            Reach::Unreachable { .. } => union += 1,
            Reach::Impossible { .. } => impossible += 1,
            Reach::Unknown { .. } => unknown += 1,
        }
        worst = worst.max(question.elapsed());
    }
    let total = start.elapsed();
    println!(
        "{name:44} {:>6.1} ms {:>6.1} ms  {reachable} reachable, {single} covered by one, {union} by several, \
         {impossible} impossible, {unknown} unknown",
        total.as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3,
    );
}

/// A linear congruential generator: the same tables everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 16] = [
            "api", "v1", "v2", "users", "orders", "cart", "items", "search", "admin", "health", "static",
            "img", "reviews", "ratings", "pay", "export",
        ];
        usize::try_from(self.below(16)).ok().and_then(|at| WORDS.get(at)).copied().unwrap_or("api")
    }

    fn path(&mut self, segments: u64) -> String {
        (0..segments).map(|_| format!("/{}", self.word())).collect()
    }
}

/// Roughly from specific to general, as people write them, with mistakes.
fn routes(count: usize, regex_percent: u64) -> Vec<Entry> {
    let mut draw = Draw(1);
    let mut table: Vec<(u64, Entry)> = (0..count)
        .map(|_| {
            let depth = 1 + draw.below(5);
            let path = draw.path(depth);
            let kind = match draw.below(100) {
                share if share < regex_percent => match draw.below(4) {
                    0 => PathKind::Regex(format!("{path}/[0-9]+")),
                    1 => PathKind::Regex(format!("{path}/[^/]+{}", draw.path(1))),
                    2 => PathKind::Regex(format!("{path}/.*\\.(png|jpg|{})", draw.word())),
                    _ => PathKind::Regex(format!("/.*{path}/v[0-9]+(/.*)?")),
                },
                share if share % 2 == 0 => PathKind::Exact(path),
                _ => PathKind::SegmentPrefix(path),
            };
            let mut entry =
                Entry { path: Some(PathPattern { kind, ignore_case: false }), ..Entry::default() };
            if draw.below(4) == 0 {
                let method = if draw.below(2) == 0 { "GET" } else { "POST" };
                entry.method = Some(StringPattern::Exact(method.to_owned()));
            }
            if draw.below(4) == 0 {
                entry.headers.push(header(&format!("x-{}", draw.word()), &draw.below(3).to_string()));
            }
            (10 - depth + draw.below(4), entry)
        })
        .collect();
    table.sort_by_key(|(rank, _)| *rank);
    table.into_iter().map(|(_, entry)| entry).collect()
}

fn tenants(count: usize) -> Vec<Entry> {
    let path = || Some(PathPattern { kind: PathKind::SegmentPrefix("/api".to_owned()), ignore_case: false });
    let tenant =
        |at| Entry { path: path(), headers: vec![header("x-tenant", &format!("t{at}"))], ..Entry::default() };
    let mut table: Vec<Entry> = (0..count).map(tenant).collect();
    table.push(Entry { path: path(), ..Entry::default() });
    table
}

/// Exact paths `/0` to `/<count - 1>`, then an expression that a hundred of them exhaust.
fn parts(count: usize) -> Vec<Entry> {
    let path = |kind| Entry { path: Some(PathPattern { kind, ignore_case: false }), ..Entry::default() };
    let mut table: Vec<Entry> = (0..count).map(|at| path(PathKind::Exact(format!("/{at}")))).collect();
    table.push(path(PathKind::Regex("/(0|[1-9][0-9]?)".to_owned())));
    table
}

fn header(name: &str, value: &str) -> FieldCondition {
    let value = FieldPattern::Text(StringPattern::Exact(value.to_owned()));
    FieldCondition { name: name.to_owned(), value, invert: false }
}
