//! The question itself, as a loop of guesses and refutations. The module page of [`super`] tells how it works.

use super::{
    dimension::Kind,
    entry::Entry,
    index::Index,
    limits::{Effort, Limits, Unknown},
    question::{Opaque, Outcome, Question},
    request::Request,
    theory::{Choice, Theory},
    vocabulary::{Conditions, Dimension, DimensionId, PredicateId, Value, Vocabulary},
};
use std::collections::BTreeMap;

/// What is known of one entry. Entries are named by their place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Some request arrives.
    Reachable {
        /// One that does: this entry matches it and none before it does.
        witness: Request,
    },
    /// Earlier entries take everything that this one matches.
    Unreachable {
        /// Entries that do so together, sorted; without any one of them something would arrive. A single one if one
        /// is enough, and then the first such.
        covered_by: Vec<usize>,
        /// A request that this entry matches…
        example: Request,
        /// …and the earlier entry that takes it, the first to match.
        taken_by: usize,
    },
    /// The conditions contradict each other or the shape of requests, wherever the entry stands.
    Impossible {
        /// What cannot be satisfied: `the path`, ``the header `x-env` ``, …
        what: String,
    },
    /// Not decided.
    Unknown {
        /// Why, in words.
        why: String,
    },
}

/// An ordered list of entries, compiled, of which questions can be asked.
///
/// What was learnt for one question speeds up the next, and all share the total budget; hence `&mut self`.
#[derive(Debug)]
pub struct Reachability {
    pub(super) vocabulary: Vocabulary,
    entries: Vec<Conditions>,
    index: Index,
    theory: Theory,
    effort: Effort,
    max_conflicts: u64,
}

/// What comparing an entry with a request counts for; a text is several steps, an entry may have several.
const STEPS_PER_ENTRY: usize = 8;

/// A request as values; dimensions that are not named have their plain value.
pub(super) type Values = BTreeMap<DimensionId, Value>;

impl Reachability {
    /// Compiles `entries`. Patterns that exceed `limits` make only the answers unknown that depend on them.
    pub fn new(entries: &[Entry], limits: &Limits) -> Self {
        let mut vocabulary = Vocabulary::new(limits);
        let entries: Vec<Conditions> = entries.iter().map(|entry| vocabulary.read(entry)).collect();
        let index = Index::new(&vocabulary, &entries);
        let effort = Effort::new(limits);
        let max_conflicts = limits.conflicts_per_question;
        Self { vocabulary, entries, index, theory: Theory::default(), effort, max_conflicts }
    }

    /// Says whether a request can reach the entry at `at`.
    ///
    /// A place beyond the end has no conditions and comes last: it stands for "none of the entries".
    pub fn reach(&mut self, at: usize) -> Reach {
        self.effort.next_question();
        self.decide(at).unwrap_or_else(|unknown| Reach::Unknown { why: unknown.why })
    }

    /// A request that both entries match, if there is one.
    ///
    /// # Errors
    /// [`Unknown`] if a pattern is too large or the search too long.
    pub fn overlaps(&mut self, a: usize, b: usize) -> Result<Option<Request>, Unknown> {
        self.effort.next_question();
        let target = conjunction(&self.entries, &[a, b])?;
        Ok(self.any_values(&target)?.ok().map(|values| self.request(&values)))
    }

    /// Says whether a request that *all* of some entries match gets past the first `end` entries.
    pub fn reach_all(&mut self, all: &[usize], end: usize) -> Reach {
        self.effort.next_question();
        let entries = std::mem::take(&mut self.entries);
        let answer = conjunction(&entries, all).and_then(|target| self.decide_among(&entries, end, &target));
        self.entries = entries;
        answer.unwrap_or_else(|unknown| Reach::Unknown { why: unknown.why })
    }

    /// Whether entry `wide` matches every request that entry `narrow` matches.
    ///
    /// # Errors
    /// [`Unknown`] if a pattern is too large or the search too long.
    pub fn covers(&mut self, wide: usize, narrow: usize) -> Result<bool, Unknown> {
        self.effort.next_question();
        let nothing = Conditions::default();
        let entries = std::mem::take(&mut self.entries);
        let (wide, narrow) = (entries.get(wide).unwrap_or(&nothing), entries.get(narrow).unwrap_or(&nothing));
        let answer = transparent(wide).and_then(|()| transparent(narrow)).and_then(|()| {
            let empty = self.any_values(narrow)?.is_err();
            Ok(empty || self.includes(wide, narrow)?)
        });
        self.entries = entries;
        answer
    }

    /// The first entry that matches `request`. Entries with a pattern that is too large are passed over.
    pub fn taker(&self, request: &Request) -> Option<usize> {
        self.first_taker(&self.entries, &self.values(request))
    }

    fn decide(&mut self, at: usize) -> Result<Reach, Unknown> {
        // Taken out while they are read, so that the theory can be changed meanwhile.
        let entries = std::mem::take(&mut self.entries);
        let nothing = Conditions::default();
        let answer = self.decide_among(&entries, at, entries.get(at).unwrap_or(&nothing));
        self.entries = entries;
        answer
    }

    fn decide_among(
        &mut self,
        entries: &[Conditions],
        at: usize,
        target: &Conditions,
    ) -> Result<Reach, Unknown> {
        transparent(target)?;
        let example = match self.any_values(target)? {
            Ok(values) => values,
            Err(dimension) => {
                return Ok(Reach::Impossible { what: describe(self.vocabulary.dimension(dimension)) });
            }
        };
        let takers = self.takers(entries, &example, at)?;
        if takers.is_empty() {
            return Ok(Reach::Reachable { witness: self.request(&example) });
        }
        for &taker in &takers {
            if let Some(wide) = entries.get(taker)
                && wide.opaque.is_none()
                && self.includes(wide, target)?
            {
                return self.unreachable(entries, target, vec![taker], example, &takers);
            }
        }
        let mut question = Question::new(entries, at, target, self.max_conflicts);
        let mut core = match question.ask(self, &example, Opaque::MayMatch)? {
            Outcome::Arrives(values) => return Ok(Reach::Reachable { witness: self.request(&values) }),
            Outcome::Covered(core) => core,
        };
        if let Some(why) = core.iter().find_map(|taker| entries.get(*taker)?.opaque.clone()) {
            // The proof leans on a pattern that is too large. Perhaps another proof does not.
            question = Question::new(entries, at, target, self.max_conflicts);
            core = match question.ask(self, &example, Opaque::PassedOver)? {
                Outcome::Arrives(_) => return Ok(Reach::Unknown { why: why.to_string() }),
                Outcome::Covered(core) => core,
            };
        }
        let core = question.minimise(self, core)?;
        self.unreachable(entries, target, core, example, &takers)
    }

    /// The verdict with an example, if possible one that a guilty entry is the first to take: a reader who is told of
    /// one entry should not meet another one in the example. `takers` are those of the example at hand.
    fn unreachable(
        &mut self,
        entries: &[Conditions],
        target: &Conditions,
        covered_by: Vec<usize>,
        mut example: Values,
        takers: &[usize],
    ) -> Result<Reach, Unknown> {
        let first = covered_by.first().copied().unwrap_or_default();
        let mut takers = takers.to_vec();
        if !takers.first().is_some_and(|taker| covered_by.contains(taker)) {
            let mut question = Question::new(entries, first, target, self.max_conflicts);
            // Running out of budget here costs only the better example.
            if let Ok(Outcome::Arrives(better)) = question.ask(self, &example, Opaque::MayMatch) {
                let last = covered_by.last().copied().unwrap_or_default();
                takers = self.takers(entries, &better, last.saturating_add(1))?;
                example = better;
            }
        }
        let certain = |at: &usize| entries.get(*at).is_some_and(|entry| entry.opaque.is_none());
        let taken_by = takers.into_iter().find(certain).unwrap_or(first);
        Ok(Reach::Unreachable { covered_by, example: self.request(&example), taken_by })
    }

    /// The first entry that certainly matches.
    fn first_taker(&self, entries: &[Conditions], values: &Values) -> Option<usize> {
        let certain = |at: &usize| {
            entries.get(*at).is_some_and(|entry| entry.opaque.is_none() && self.matches(entry, values))
        };
        self.candidates(values, entries.len()).into_iter().find(certain)
    }

    /// Values that satisfy `target`, or the dimension that has none.
    fn any_values(&mut self, target: &Conditions) -> Result<Result<Values, DimensionId>, Unknown> {
        let mut values = Values::new();
        for (&dimension, required) in &target.by_dimension {
            match self.choose(dimension, required, &[])? {
                Choice::Value(value) => values.insert(dimension, value),
                Choice::Conflict(_) => return Ok(Err(dimension)),
            };
        }
        Ok(Ok(values))
    }

    /// Whether `wide` matches all that `narrow` matches, where that is not nothing: an inclusion per dimension.
    fn includes(&mut self, wide: &Conditions, narrow: &Conditions) -> Result<bool, Unknown> {
        for (&dimension, predicates) in &wide.by_dimension {
            let required = narrow.on(dimension);
            for predicate in predicates {
                if required.contains(predicate) {
                    continue;
                }
                if let Choice::Value(_) = self.choose(dimension, required, &[*predicate])? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    pub(super) fn choose(
        &mut self,
        dimension: DimensionId,
        required: &[PredicateId],
        avoided: &[PredicateId],
    ) -> Result<Choice, Unknown> {
        self.theory.choose(&self.vocabulary, &mut self.effort, dimension, required, avoided)
    }

    /// Entries before `end` that match, or with an opaque predicate may match; sorted.
    pub(super) fn takers(
        &mut self,
        entries: &[Conditions],
        values: &Values,
        end: usize,
    ) -> Result<Vec<usize>, Unknown> {
        let mut takers = self.candidates(values, end);
        self.effort.spend(takers.len().saturating_mul(STEPS_PER_ENTRY))?;
        takers.retain(|at| entries.get(*at).is_some_and(|entry| self.matches(entry, values)));
        Ok(takers)
    }

    fn candidates(&self, values: &Values, end: usize) -> Vec<usize> {
        let plain: Vec<(DimensionId, Vec<u8>)> = (0..self.vocabulary.dimensions().len())
            .filter(|dimension| !values.contains_key(dimension))
            .filter_map(|dimension| Some((dimension, self.vocabulary.dimension(dimension).shape().plain()?)))
            .collect();
        let plain = plain.iter().map(|(dimension, value)| (*dimension, value.as_slice()));
        let chosen = values.iter().filter_map(|(dimension, value)| Some((*dimension, value.as_deref()?)));
        self.index.candidates(chosen.chain(plain), end)
    }

    fn matches(&self, entry: &Conditions, values: &Values) -> bool {
        entry.by_dimension.iter().all(|(dimension, predicates)| {
            let plain;
            let value = match values.get(dimension) {
                Some(value) => value.as_deref(),
                None => {
                    plain = self.vocabulary.dimension(*dimension).shape().plain();
                    plain.as_deref()
                }
            };
            predicates.iter().all(|id| self.vocabulary.predicate(*id).admits(value))
        })
    }

    fn request(&self, values: &Values) -> Request {
        let mut request = Request::default();
        for (id, dimension) in self.vocabulary.dimensions().iter().enumerate() {
            let value = match values.get(&id) {
                Some(value) => value.clone(),
                None => dimension.shape().plain(),
            };
            let Some(value) = value else { continue };
            let text = || String::from_utf8_lossy(&value).into_owned();
            match dimension.kind {
                Kind::Path => request.path = text(),
                Kind::Method => request.method = text(),
                Kind::Scheme => request.scheme = text(),
                Kind::Authority => request.authority = Some(text()),
                Kind::Port => request.port = text().parse().ok(),
                Kind::Header => request.headers.push((dimension.name.clone(), value)),
                Kind::Query => request.query.push((dimension.name.clone(), value)),
                Kind::Fact => request.facts.push((dimension.name.clone(), value)),
            }
        }
        for fields in [&mut request.headers, &mut request.query, &mut request.facts] {
            fields.sort_unstable();
        }
        request
    }

    fn values(&self, request: &Request) -> Values {
        let mut values = Values::new();
        for (id, dimension) in self.vocabulary.dimensions().iter().enumerate() {
            let field = |fields: &[(String, Vec<u8>)], same: fn(&str, &str) -> bool| {
                fields.iter().find(|(name, _)| same(name, &dimension.name)).map(|(_, value)| value.clone())
            };
            let text = |text: &str| Some(text.as_bytes().to_vec());
            let value = match dimension.kind {
                Kind::Path => text(&request.path),
                Kind::Method => text(&request.method),
                Kind::Scheme => text(&request.scheme),
                Kind::Authority => {
                    request.authority.as_deref().and_then(text).or_else(|| dimension.shape().plain())
                }
                Kind::Port => request
                    .port
                    .map(|port| port.to_string().into_bytes())
                    .or_else(|| dimension.shape().plain()),
                Kind::Header => field(&request.headers, str::eq_ignore_ascii_case),
                Kind::Query => field(&request.query, |a, b| a == b),
                Kind::Fact => field(&request.facts, |a, b| a == b),
            };
            values.insert(id, value);
        }
        values
    }
}

/// What all of some entries demand.
fn conjunction(entries: &[Conditions], all: &[usize]) -> Result<Conditions, Unknown> {
    let mut by_dimension: BTreeMap<DimensionId, Vec<PredicateId>> = BTreeMap::new();
    for conditions in all.iter().filter_map(|at| entries.get(*at)) {
        transparent(conditions)?;
        for (dimension, predicates) in &conditions.by_dimension {
            by_dimension.entry(*dimension).or_default().extend(predicates);
        }
    }
    for predicates in by_dimension.values_mut() {
        predicates.sort_unstable();
        predicates.dedup();
    }
    Ok(Conditions { by_dimension, opaque: None })
}

fn transparent(conditions: &Conditions) -> Result<(), Unknown> {
    match &conditions.opaque {
        Some(why) => Err(Unknown { why: why.to_string() }),
        None => Ok(()),
    }
}

fn describe(dimension: &Dimension) -> String {
    let name = &dimension.name;
    match dimension.kind {
        Kind::Path => "the path".to_owned(),
        Kind::Method => "the method".to_owned(),
        Kind::Scheme => "the scheme".to_owned(),
        Kind::Authority => "the authority".to_owned(),
        Kind::Port => "the port".to_owned(),
        Kind::Header => format!("the header `{name}`"),
        Kind::Query => format!("the query parameter `{name}`"),
        Kind::Fact => format!("`{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::{
        FieldCondition, FieldPattern, PathKind, PathPattern, StringPattern, analyse, covers, overlaps,
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
        let (name, condition) =
            word.split_at(word.find(['=', '^', '$', '~', '?']).unwrap_or_default().max(1));
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
        show(analyse(&entries, &Limits::default()).last().unwrap())
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
        assert_eq!(
            last(&["* h^a", "* h$aba h~[ab]+ h^aba"]),
            "covered by [0], GET / with `h: aba` goes to 0"
        );
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
        let Some(Reach::Unreachable { covered_by, .. }) = analyse(&entries, &Limits::default()).pop() else {
            panic!("the parts exhaust the expression: {:?}", analyse(&entries, &Limits::default()).pop());
        };
        assert_eq!(covered_by, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn values_of_a_closed_set_can_be_exhausted() {
        let scheme =
            |text: &str| Entry { scheme: Some(StringPattern::Exact(text.into())), ..Entry::default() };
        let verdicts = analyse(&[scheme("https"), scheme("http"), Entry::default()], &Limits::default());
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
        let host =
            |text: &str| Entry { authority: Some(StringPattern::Suffix(text.into())), ..Entry::default() };
        let verdicts = analyse(&[port(80), host(".b"), port(80), port(81), host("a.b")], &Limits::default());
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
            show(analyse(&entries, &limits).last().unwrap())
        };
        let huge = "* ~/a.*b.{25}";
        let unknown =
            "unknown: the regular expression `/a.*b.{25}` needs an automaton of more than 16384 bytes";
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
        let Some(Reach::Unknown { why }) = analyse(&entries, &question).pop() else {
            panic!("that took few steps")
        };
        assert_eq!(why, "no answer after 50 steps of searching");
        let list = Limits { total_steps: 50, ..Limits::default() };
        let Some(Reach::Unknown { why }) = analyse(&entries, &list).pop() else {
            panic!("that took few steps")
        };
        assert_eq!(why, "the list is too large to examine all of it within its budget");
        let bytes = Limits { total_pattern_bytes: 700, ..Limits::default() };
        let Some(Reach::Unknown { why }) = analyse(&entries, &bytes).pop() else {
            panic!("that took few bytes")
        };
        assert!(why.contains("needs an automaton of more than"), "{why}");
    }

    #[test]
    fn pairs_can_be_compared_without_their_order() {
        let limits = Limits::default();
        let overlap =
            |a, b| overlaps(&entry(a), &entry(b), &limits).unwrap().map(|request| request.to_string());
        assert_eq!(overlap("GET /a", "* ~/.*z h=2").as_deref(), Some("GET /a/z with `h: 2`"));
        assert_eq!(overlap("GET /a", "POST /a"), None);
        assert_eq!(overlap("* h?", "* !h?"), None);
        let cover = |a, b| covers(&entry(a), &entry(b), &limits).unwrap();
        assert!(cover("* /a", "GET /a/b") && !cover("GET /a/b", "* /a"));
        assert!(cover("* h=1", "* h=1 h=2"), "nothing matches the narrow one");
        assert!(overlaps(&entry("* ~("), &entry("* /"), &limits).is_err());
    }

    #[test]
    fn the_place_after_the_last_entry_stands_for_no_match() {
        let entries = [entry("* ~/.+"), entry("* =/"), entry("* /a")];
        let mut list = Reachability::new(&entries, &Limits::default());
        assert_eq!(show(&list.reach(3)), "covered by [0, 1], GET / goes to 1");
        assert_eq!(show(&Reachability::new(&entries[..1], &Limits::default()).reach(1)), "reached by GET /");
    }
}
