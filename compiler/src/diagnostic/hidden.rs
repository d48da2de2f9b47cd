//! What no excerpt shows: private keys.
//!
//! A Secret may stand in a document that has a finding, and an excerpt shows whole lines. So the text that excerpts are
//! cut from has stars in the place of
//! * a block in PEM whose label says that it is a private key;
//! * base64 in which such a block begins, wherever it stands;
//! * the value of a key that ends in `.key`, as `tls.key` of a Secret does, with the lines that belong to it.
//!
//! Every character stays one character, so that places stay what they are. This never shows more than it was given, and
//! knows nothing of YAML: a text that is not YAML has keys as well.

use std::borrow::Cow;
use std::ops::Range;

/// The text with private keys replaced.
pub(super) fn hide(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut ranges = Vec::new();
    pem(&text, &mut ranges);
    encoded(&text, &mut ranges);
    values(&text, &mut ranges);
    if ranges.is_empty() {
        return text;
    }
    ranges.sort_by_key(|range| range.start);
    let mut hidden = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        let start = range.start.max(at);
        let end = range.end.max(start);
        hidden.push_str(text.get(at..start).unwrap_or_default());
        hidden.extend(text.get(start..end).unwrap_or_default().chars().map(star));
        at = end;
    }
    hidden.push_str(text.get(at..).unwrap_or_default());
    Cow::Owned(hidden)
}

/// Lines stay lines; a character of several bytes stays, since spans count bytes and no key has one.
fn star(c: char) -> char {
    if c.is_ascii_graphic() { '*' } else { c }
}

const BEGIN: &str = "-----BEGIN ";
const KEY: &str = "PRIVATE KEY-----";

/// From the line that says what follows to the end that it names, or of the text.
fn pem(text: &str, ranges: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while let Some(start) = find(text, at, BEGIN) {
        let label_end = find(text, start, "\n").unwrap_or(text.len());
        let line = text.get(start..label_end).unwrap_or_default();
        // Escaped line breaks leave the whole block on one line.
        let is_key = line.split("-----").nth(1).is_some_and(|label| label.ends_with("PRIVATE KEY"));
        at = start + BEGIN.len();
        if is_key {
            let body = start + line.find(KEY).map_or(BEGIN.len(), |found| found + KEY.len());
            let end = find(text, body, KEY).map_or(text.len(), |end| end + KEY.len());
            ranges.push(body..end);
            at = end;
        }
    }
}

/// `PRIVATE KEY` in base64, by what stands before it modulo three bytes, without what depends on neighbours.
const ENCODED: [&str; 3] = ["UFJJVkFURSBLRV", "BSSVZBVEUgS0VZ", "QUklWQVRFIEtFW"];

/// Words of base64 with a private key in them.
fn encoded(text: &str, ranges: &mut Vec<Range<usize>>) {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    for mark in ENCODED {
        let mut at = 0;
        while let Some(found) = find(text, at, mark) {
            let before = text.get(..found).unwrap_or_default();
            let start = before.rfind(|c| !in_word(c)).map_or(0, |last| last + 1);
            let rest = text.get(found..).unwrap_or_default();
            let end = found + rest.find(|c| !in_word(c)).unwrap_or(rest.len());
            // Where the word is one of several lines, they are all of it.
            let end = end + continued(text, end, in_word);
            ranges.push(floor(text, start)..end);
            at = end;
        }
    }
}

/// How many bytes of whole lines of base64 follow a word that ends its line.
fn continued(text: &str, end: usize, in_word: impl Fn(char) -> bool) -> usize {
    let Some(rest) = text.get(end..).filter(|rest| rest.starts_with(['\n', '\r'])) else { return 0 };
    let is_part = |line: &&str| line.trim().is_empty() || line.trim().chars().all(&in_word);
    rest.split_inclusive('\n').take_while(is_part).map(str::len).sum()
}

/// The values of keys that end in `.key`.
fn values(text: &str, ranges: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while let Some(found) = find(text, at, ".key") {
        at = found + ".key".len();
        let rest = text.get(at..).unwrap_or_default();
        let quoted = rest.strip_prefix(['"', '\'']).unwrap_or(rest);
        let Some(value) = quoted.trim_start_matches(' ').strip_prefix(':') else { continue };
        let start = text.len() - value.len();
        let line_end = find(text, start, "\n").unwrap_or(text.len());
        let line_start = text.get(..found).and_then(|before| before.rfind('\n')).map_or(0, |last| last + 1);
        let indent = indent_of(text.get(line_start..).unwrap_or_default());
        let lines = text.get(line_end..).unwrap_or_default().split_inclusive('\n');
        let belongs = |line: &&str| line.trim().is_empty() || indent_of(line) > indent;
        let more: usize = lines.skip(1).take_while(belongs).map(str::len).sum();
        let end = line_end + usize::from(line_end < text.len()) + more;
        // In a mapping on one line the value ends where the next key may begin.
        let line = text.get(start..line_end).unwrap_or_default();
        let end = match line.find([',', '}']) {
            Some(stop) if more == 0 => start + stop,
            _ => end.min(text.len()),
        };
        ranges.push(start..end);
        at = end.max(at);
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn find(text: &str, from: usize, what: &str) -> Option<usize> {
    Some(from + text.get(from..)?.find(what)?)
}

/// The nearest boundary of a character at or before a place.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> String {
        let hidden = hide(Cow::Borrowed(text)).into_owned();
        assert_eq!(hidden.len(), text.len());
        hidden
    }

    #[test]
    fn keys_in_pem_are_stars_and_certificates_are_not() {
        let text = "a: |\n  -----BEGIN EC PRIVATE KEY-----\n  MIIB\n  -----END EC PRIVATE KEY-----\nb: |\n  \
                    -----BEGIN CERTIFICATE-----\n  MIIC\n";
        let shown = hidden(text);
        assert!(!shown.contains("MIIB") && shown.contains("MIIC") && shown.contains("b: |"), "{shown}");
        let cut = hidden("x: \"-----BEGIN PRIVATE KEY-----\\nMIIB\\n");
        assert!(!cut.contains("MIIB"), "{cut}");
    }

    #[test]
    fn keys_in_base64_are_stars_whatever_they_are_called() {
        for before in ["", "-", "--"] {
            let pem =
                format!("{before}-----BEGIN PRIVATE KEY-----\nMIIBVgIBADANBgkqhkiG9w0BAQEFAASCAUAwggE8\n");
            let word = data_encoding::BASE64.encode(pem.as_bytes());
            let shown = hidden(&format!("data: {{ other: {word}, ca.crt: LS0t }}\n"));
            let (beginning, _) = word.split_at(8);
            assert!(!shown.contains(beginning) && shown.ends_with("ca.crt: LS0t }\n"), "{shown}");
            let (first, second) = word.split_at(60);
            let shown = hidden(&format!("data:\n  other: |\n    {first}\n    {second}\n  next: kept\n"));
            assert!(!shown.contains(second) && shown.ends_with("next: kept\n"), "{shown}");
        }
    }

    #[test]
    fn what_a_key_named_key_holds_is_stars_to_its_end() {
        assert_eq!(
            hidden("data: { tls.key: 'secret', ca.crt: x }\n"),
            "data: { tls.key: ********, ca.crt: x }\n"
        );
        assert_eq!(
            hidden("  tls.key: |\n    se\n    cret\n  ca.crt: x\n"),
            "  tls.key: *\n    **\n    ****\n  ca.crt: x\n"
        );
        assert_eq!(hidden("\"tls.key\": \"se\",\n\"b\": 1\n"), "\"tls.key\": ****,\n\"b\": 1\n");
        assert_eq!(hidden("a.keys: x\nfile: a.key\n"), "a.keys: x\nfile: a.key\n");
    }
}
