//! What is said of short lists, in a notation of one line for each entry.

use super::*;
use crate::reach::{
    FieldCondition, FieldPattern, Limits, PathKind, PathPattern, StringPattern, analyse, covers, overlaps,
};

/// Reads an entry: `METHOD` or `*`, then a path (`=` exact, `~` regular expression, `^` leading bytes, else whole
/// segments; `i` before it ignores case), then conditions `name=value`, `name^value`, `name$value`, `name~value`,
/// `name?` (present), each perhaps with `!` before it. `&name` is a query parameter, `@name` a fact.
fn entry(line: &str) -> Entry {
    let mut words = line.split_whitespace();
    let method = words.next().filter(|method| *method != "*");
    let mut entry =
        Entry { method: method.map(|text| StringPattern::Exact(text.into())), ..Entry::default() };
    for word in words {
        let (ignore_case, path) = word.strip_prefix('i').map_or((false, word), |path| (true, path));
        let (sign, text) = path.split_at(1);
        let kind = match sign {
            "=" => PathKind::Exact(text.into()),
            "~" => PathKind::Regex(text.into()),
            "^" => PathKind::Prefix(text.into()),
            "/" => PathKind::SegmentPrefix(path.into()),
            _ => {
                add_condition(&mut entry, word);
                continue;
            }
        };
        entry.path = Some(PathPattern { kind, ignore_case });
    }
    entry
}

fn add_condition(entry: &mut Entry, word: &str) {
    let (invert, word) = word.strip_prefix('!').map_or((false, word), |word| (true, word));
    let (name, condition) = word.split_at(word.find(['=', '^', '$', '~', '?']).unwrap_or_default().max(1));
    let (sign, text) = condition.split_at(1);
    let text = text.to_owned();
    let value = match sign {
        "=" => FieldPattern::Text(StringPattern::Exact(text)),
        "^" => FieldPattern::Text(StringPattern::Prefix(text)),
        "$" => FieldPattern::Text(StringPattern::Suffix(text)),
        "~" => FieldPattern::Text(StringPattern::Regex(text)),
        _ => FieldPattern::Present,
    };
    let (list, name) = match name.split_at(1) {
        ("&", name) => (&mut entry.query, name),
        ("@", name) => (&mut entry.facts, name),
        _ => (&mut entry.headers, name),
    };
    list.push(FieldCondition { name: name.into(), value, invert });
}

fn show(reach: &Reach) -> String {
    match reach {
        Reach::Reachable { witness } => format!("reached by {witness}"),
        Reach::Unreachable { covered_by, example, taken_by } => {
            format!("covered by {covered_by:?}, {example} goes to {taken_by}")
        }
        Reach::Impossible { what } => format!("impossible: {what}"),
        Reach::Unknown { why } => format!("unknown: {why}"),
    }
}

/// What is said of the last of `lines`.
fn last(lines: &[&str]) -> String {
    let entries: Vec<Entry> = lines.iter().map(|line| entry(line)).collect();
    show(analyse(&entries, &Budget::default()).last().unwrap())
}

#[test]
fn specific_before_general_is_silence() {
    assert_eq!(last(&["GET =/a", "* /a", "* ~/[0-9]+", "* /"]), "reached by GET /");
    assert_eq!(last(&["* /a x=1", "* /a"]), "reached by GET /a");
}

#[test]
fn one_entry_can_cover_another() {
    assert_eq!(last(&["* /b", "* /a", "* /", "GET =/a/b"]), "covered by [1], GET /a/b goes to 1");
    assert_eq!(last(&["* ^/a", "* /a"]), "covered by [0], GET /a goes to 0");
    assert_eq!(last(&["* /a", "* ^/a"]), "reached by GET /ax");
    assert_eq!(last(&["* i/A", "* ~/a/[0-9]"]), "covered by [0], GET /a/0 goes to 0");
    assert_eq!(last(&["* ~/.*", "* /"]), "covered by [0], GET / goes to 0");
    assert_eq!(last(&["* h^a", "* h$aba h~[ab]+ h^aba"]), "covered by [0], GET / with `h: aba` goes to 0");
}

#[test]
fn entries_can_cover_together_what_none_covers_alone() {
    let halves = ["* /z", "* ~/[a-m].*", "* ~/([^a-m].*)?", "* /"];
    assert_eq!(last(&halves), "covered by [1, 2], GET / goes to 2");
    let headers = ["* /a h=1", "* /a !h=1", "* =/a"];
    assert_eq!(last(&headers), "covered by [0, 1], GET /a goes to 1");
    let crossed = ["GET /", "* /a", "POST /b h?", "POST /b !h?", "* !h?", "POST ~/[ab]"];
    assert_eq!(last(&crossed), "covered by [1, 2, 4], POST /a goes to 1");
}

#[test]
fn a_union_can_have_many_parts() {
    let mut entries: Vec<Entry> = (0..100).map(|at| entry(&format!("* =/{at}"))).collect();
    entries.push(entry("* ~/([0-9]|[1-9][0-9])"));
    let Some(Reach::Unreachable { covered_by, .. }) = analyse(&entries, &Budget::default()).pop() else {
        panic!("the parts exhaust the expression: {:?}", analyse(&entries, &Budget::default()).pop());
    };
    assert_eq!(covered_by, (0..100).collect::<Vec<_>>());
}

#[test]
fn values_of_a_closed_set_can_be_exhausted() {
    let scheme = |text: &str| Entry { scheme: Some(StringPattern::Exact(text.into())), ..Entry::default() };
    let verdicts = analyse(&[scheme("https"), scheme("http"), Entry::default()], &Budget::default());
    assert_eq!(show(&verdicts[2]), "covered by [0, 1], GET / goes to 1");
    assert_eq!(show(&verdicts[0]), "reached by GET / with scheme https");
    assert_eq!(last(&["GET /", "POST /", "* /"]), "reached by PUT /");
}

#[test]
fn an_inverted_condition_holds_for_an_absent_field() {
    assert_eq!(last(&["* !h=1", "* !h?"]), "covered by [0], GET / goes to 0");
    assert_eq!(last(&["* !h?", "* !h=1"]), "reached by GET / with `h: x`");
    assert_eq!(last(&["* h?", "* h~.*"]), "covered by [0], GET / with `h: 1` goes to 0");
}

#[test]
fn names_of_headers_have_no_case_but_others_do() {
    assert_eq!(last(&["* X-A=1", "* x-a=1"]), "covered by [0], GET / with `x-a: 1` goes to 0");
    assert_eq!(last(&["* &Q=2", "* &q=2"]), "reached by GET /?q=2");
    assert_eq!(last(&["* @sni=a", "* @sni^a"]), "reached by GET / with `sni: ax`");
}

#[test]
fn ports_and_authorities_are_dimensions_too() {
    let port = |port| Entry { port: Some(port), ..Entry::default() };
    let host = |text: &str| Entry { authority: Some(StringPattern::Suffix(text.into())), ..Entry::default() };
    let verdicts = analyse(&[port(80), host(".b"), port(80), port(81), host("a.b")], &Budget::default());
    let shown: Vec<String> = verdicts.iter().map(show).collect();
    assert_eq!(shown[1], "reached by GET http://.b/ with port 443");
    assert_eq!(shown[2], "covered by [0], GET http://example/ with port 80 goes to 0");
    assert_eq!(shown[3], "reached by GET http://example/ with port 81");
    assert_eq!(shown[4], "covered by [1], GET http://a.b/ with port 443 goes to 1");
}

#[test]
fn contradictions_are_told_from_covers() {
    assert_eq!(last(&["* /", "* =/a//b"]), "impossible: the path");
    assert_eq!(last(&["* h=1 h=2"]), "impossible: the header `h`");
    assert_eq!(last(&["* &q? !&q?"]), "impossible: the query parameter `q`");
}

#[test]
fn a_pattern_that_is_too_large_spoils_only_what_depends_on_it() {
    let last = |lines: &[&str]| {
        let entries: Vec<Entry> = lines.iter().map(|line| entry(line)).collect();
        let limits = Limits { pattern_bytes: 1 << 14, ..Limits::default() };
        show(analyse(&entries, &Budget::new(&limits)).last().unwrap())
    };
    let huge = "* ~/a.*b.{25}";
    let unknown = "unknown: the regular expression `/a.*b.{25}` needs an automaton of more than 16384 bytes";
    assert_eq!(last(&[huge]), unknown);
    assert_eq!(last(&[huge, "* ~/a+"]), unknown);
    assert_eq!(last(&[huge, "* /a"]), unknown);
    assert_eq!(last(&[huge, "* /b"]), "reached by GET /b");
    assert_eq!(last(&[huge, "* /"]), "reached by GET /");
    assert_eq!(last(&["* ~/a.*b.{25} h?", "* /a"]), "reached by GET /a");
    assert_eq!(last(&["* h~a.*b.{25}", "* h^a", "* h?"]), "reached by GET / with `h: 1`");
    assert_eq!(last(&["* !h~a.*b.{25}", "* /"]).replace("/a.", "a."), unknown.replace("/a.", "a."));
    assert_eq!(last(&["* !h~a.*b.{25}", "POST /", "POST /a"]), "covered by [1], POST /a goes to 1");
    assert_eq!(last(&[huge, "* /a", "* /a/b"]), "covered by [1], GET /a/b goes to 1");
    let together = [huge, "* ^/ab", "* ~/a[^b].*", "* ~/a.+"];
    assert_eq!(last(&together), "covered by [1, 2], GET /ax goes to 2");
}

#[test]
fn budgets_end_in_unknown() {
    let lines = ["* ~/([ab]{7})*", "* ~/([ab]{11})*", "* ~/([ab]{13})*", "* ~/[ab]*c?"];
    let entries: Vec<Entry> = lines.iter().map(|line| entry(line)).collect();
    let question = Limits { steps_per_question: 50, ..Limits::default() };
    let Some(Reach::Unknown { why }) = analyse(&entries, &Budget::new(&question)).pop() else {
        panic!("that took few steps")
    };
    assert_eq!(why, "no answer after 50 steps of searching");
    let list = Limits { total_steps: 50, ..Limits::default() };
    let Some(Reach::Unknown { why }) = analyse(&entries, &Budget::new(&list)).pop() else {
        panic!("that took few steps")
    };
    assert_eq!(why, "the list is too large to examine all of it within its budget");
    let bytes = Limits { total_pattern_bytes: 700, ..Limits::default() };
    let Some(Reach::Unknown { why }) = analyse(&entries, &Budget::new(&bytes)).pop() else {
        panic!("that took few bytes")
    };
    assert!(why.contains("needs an automaton of more than"), "{why}");
}

#[test]
fn pairs_can_be_compared_without_their_order() {
    let budget = Budget::default();
    let overlap = |a, b| overlaps(&entry(a), &entry(b), &budget).unwrap().map(|request| request.to_string());
    assert_eq!(overlap("GET /a", "* ~/.*z h=2").as_deref(), Some("GET /a/z with `h: 2`"));
    assert_eq!(overlap("GET /a", "POST /a"), None);
    assert_eq!(overlap("* h?", "* !h?"), None);
    let cover = |a, b| covers(&entry(a), &entry(b), &budget).unwrap();
    assert!(cover("* /a", "GET /a/b") && !cover("GET /a/b", "* /a"));
    assert!(cover("* h=1", "* h=1 h=2"), "nothing matches the narrow one");
    assert!(overlaps(&entry("* ~("), &entry("* /"), &budget).is_err());
}

#[test]
fn the_place_after_the_last_entry_stands_for_no_match() {
    let entries = [entry("* ~/.+"), entry("* =/"), entry("* /a")];
    let budget = Budget::default();
    let mut list = Reachability::new(&entries, &budget);
    assert_eq!(show(&list.reach(3)), "covered by [0, 1], GET / goes to 1");
    assert_eq!(show(&Reachability::new(&entries[..1], &budget).reach(1)), "reached by GET /");
}
