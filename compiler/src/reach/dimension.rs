//! What values a request can have in each dimension.
//!
//! Shapes keep witnesses real (no path with a NUL byte, no header value with a leading blank) and let a list be
//! exhaustive where the values are: `http` and `https` together cover every scheme. A shape admits *at least* what a
//! proxy can be asked to match: if it left out a possible value, an entry could be called unreachable wrongly.

use super::automaton::{Alphabet, Automaton, Pattern};
use std::sync::OnceLock;

/// The kinds of dimension; headers, query parameters and facts have one dimension per name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Path,
    Method,
    Scheme,
    Authority,
    Port,
    Header,
    Query,
    Fact,
}

/// The legal values of a dimension.
#[derive(Debug)]
pub(super) struct Shape {
    /// Whether a request may have no value here.
    pub(super) optional: bool,
    /// Values that a reader knows; tried before any search, and the first is the plain one.
    pub(super) favourites: &'static [&'static str],
    /// The legal values.
    pub(super) language: Automaton,
    /// The bytes that occur in them, the most readable first.
    pub(super) bytes: Vec<u8>,
    /// The same as a set.
    pub(super) alphabet: Alphabet,
}

impl Kind {
    /// The shape of this kind of dimension, built on first use.
    pub(super) fn shape(self) -> &'static Shape {
        static SHAPES: [OnceLock<Shape>; 8] = [const { OnceLock::new() }; 8];
        let [path, method, scheme, authority, port, header, query, fact] = &SHAPES;
        let (cell, optional, regex, favourites): (_, _, _, &[&str]) = match self {
            Self::Path => (path, false, PATH, &["/"]),
            Self::Method => {
                (method, false, METHOD, &["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
            }
            Self::Scheme => (scheme, false, "https?", &["http", "https"]),
            Self::Authority => (authority, false, AUTHORITY, &["example"]),
            Self::Port => (port, false, PORT, &["80"]),
            Self::Header => (header, true, HEADER_VALUE, &["1"]),
            // After decoding, a parameter can hold anything; nothing more is known of facts.
            Self::Query => (query, true, "(?s).*", &["1"]),
            Self::Fact => (fact, true, "(?s).*", &["1"]),
        };
        cell.get_or_init(|| Shape::new(optional, regex, favourites))
    }
}

/// Canonical paths. Which bytes a proxy refuses is its own affair; none of these may be left out here.
const PATH: &str = r"/(?:[!-~&&[^?#%]]|%[0-9A-Fa-f]{2})*";
/// RFC 9110, `token`.
const METHOD: &str = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+";
/// Names, addresses in either notation, and a port.
const AUTHORITY: &str = r"[!-~&&[^/?#@A-Z]]+";
/// 1 to 65535.
const PORT: &str = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]";
/// RFC 9110, `field-value`: visible bytes, blanks only between them; may be empty.
const HEADER_VALUE: &str = r"(?-u:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?";

impl Shape {
    fn new(optional: bool, regex: &str, favourites: &'static [&'static str]) -> Self {
        let compile = |alphabet: &Alphabet| {
            let pattern = Pattern::Regex { text: regex.to_owned(), ignore_case: false };
            Automaton::compile(&pattern, alphabet, 1 << 20).expect("shapes are constants, compiled by a test")
        };
        let alphabet = compile(&[true; 256]).bytes_in_use();
        let mut bytes: Vec<u8> =
            (0..=u8::MAX).filter(|byte| alphabet.get(usize::from(*byte)).copied().unwrap_or(false)).collect();
        bytes.sort_by_key(|byte| (readability(*byte), *byte));
        Self { optional, favourites, language: compile(&alphabet), bytes, alphabet }
    }

    /// The value of a request about which nothing is asked; `None` if it then has none.
    pub(super) fn plain(&self) -> Option<Vec<u8>> {
        if self.optional { None } else { self.favourites.first().map(|text| text.as_bytes().to_vec()) }
    }
}

/// The lower, the sooner a byte is tried. An `x` is read as "anything at all".
fn readability(byte: u8) -> u8 {
    match byte {
        b'x' => 0,
        b'a'..=b'z' => 1,
        b'0'..=b'9' => 2,
        b'/' => 3,
        b'-' | b'.' | b'_' => 4,
        b'A'..=b'Z' => 5,
        b'!'..=b'~' => 6,
        b' ' => 7,
        0x00..=0x1f | 0x7f..=0xff => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, yes: &[&[u8]], no: &[&[u8]]) {
        let shape = kind.shape();
        // Automata are only meant for texts over their alphabet.
        let admits = |text: &[u8]| {
            text.iter().all(|byte| shape.alphabet[usize::from(*byte)]) && shape.language.matches(text)
        };
        for text in yes {
            assert!(admits(text), "{kind:?} admits {:?}", text.escape_ascii().to_string());
        }
        for text in no {
            assert!(!admits(text), "{kind:?} admits {:?}", text.escape_ascii().to_string());
        }
        for favourite in shape.favourites {
            assert!(admits(favourite.as_bytes()), "{kind:?} admits its favourite {favourite:?}");
        }
    }

    #[test]
    fn shapes_admit_what_a_request_can_have() {
        check(
            Kind::Path,
            &[b"/", b"/a//b", b"/%2F%e4"],
            &[b"", b"a", b"/?", b"/#", b"/ ", b"/\0", b"/%2", b"/\xff"],
        );
        check(Kind::Method, &[b"GET", b"M-SEARCH"], &[b"", b"G T", b"G(T"]);
        check(Kind::Scheme, &[b"http", b"https"], &[b"", b"httpss", b"HTTP"]);
        check(Kind::Authority, &[b"a.b:80", b"[::1]:80"], &[b"", b"A", b"a/b", b"u@h"]);
        check(Kind::Port, &[b"1", b"9999", b"65535"], &[b"", b"0", b"080", b"65536", b"99999", b"100000"]);
        check(Kind::Header, &[b"", b"a", b"a b", b"\xff"], &[b" ", b" a", b"a ", b"a\nb", b"\x7f"]);
        check(Kind::Query, &[b"", b"\0\xff"], &[]);
        check(Kind::Fact, &[b"", b"spiffe://a/b"], &[]);
    }

    #[test]
    fn readable_bytes_come_first() {
        let bytes = &Kind::Path.shape().bytes;
        assert!(bytes.starts_with(b"xabc"));
        assert!(!bytes.contains(&b'?'));
    }
}
