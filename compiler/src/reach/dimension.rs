//! What values a request can have in each dimension.
//!
//! Shapes keep witnesses real (no path with a NUL byte, no header value with a leading blank) and let a list be
//! exhaustive where the values are: `http` and `https` together cover every scheme. A shape admits *at least* what a
//! proxy can be asked to match: if it left out a possible value, an entry could be called unreachable wrongly. One
//! value is left out on purpose: the path `*` of `OPTIONS *`, which asks about the server and not about a resource. An
//! entry that only such a request could reach is called unreachable.

use super::automaton::{Alphabet, Automaton, Pattern};
use super::table::Allowance;
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
        let cell = SHAPES.get(self as usize).expect("there are eight kinds");
        cell.get_or_init(|| match self {
            Self::Path => Shape::always(&canonical_path(), &["/"]),
            Self::Method => {
                Shape::always(METHOD, &["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
            }
            Self::Scheme => Shape::always("https?", &["http", "https"]),
            Self::Authority => Shape::always(AUTHORITY, &["example"]),
            Self::Port => Shape::always(PORT, &["80", "443", "8080"]),
            Self::Header => Shape::optional(HEADER_VALUE, &["1", "x"]),
            // After decoding, a parameter can hold anything; nothing more is known of facts.
            Self::Query | Self::Fact => Shape::optional("(?s).*", &["1", "x"]),
        })
    }
}

/// The paths that [`weft_bundle::engine::path::CanonicalPath`] leaves as they are: no empty or dot segment, no escape
/// of what needs none, none that hides structure.
fn canonical_path() -> String {
    let hex = "[0-9A-Fa-f]";
    let other = |more: &str| {
        let plain = format!(r"[G-Zg-z_~!$&'()*+,=:@\[\]|{more}-]");
        // An escaped `;` may begin a parameter like a plain one.
        let semicolon = if more.contains(';') { "B" } else { "" };
        let escape =
            format!("%(?:2[0-46-9A-C]|3[A{semicolon}C-F]|40|5[BDE]|60|7[B-D]|[89ABDEF][0-9A-F]|C[2-9A-F])");
        format!("(?:{plain}|{escape})")
    };
    // An escaped `%` must not be followed by two hex digits, or it would hide another escape.
    let percents = format!("(?:%25{hex}?)");
    let any = other(".;");
    let rest = format!("(?:{hex}|{percents}*{any})*{percents}*");
    let word = |first: String| format!("(?:(?:{hex}|{first}){rest}|{percents}+(?:{any}{rest})?)");
    // `.`, `..`, `.;x` and `..;x` are read as steps by some applications.
    let segment = format!(r"(?:{}|\.{}|\.\.{})", word(other(";")), word(other("")), word(other(".")));
    format!("/(?:{segment}/)*{segment}?")
}

/// RFC 9110, `token`.
const METHOD: &str = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+";
/// Names, addresses in either notation, and a port.
const AUTHORITY: &str = r"[!-~&&[^/?#@A-Z]]+";
/// 1 to 65535.
const PORT: &str = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]";
/// RFC 9110, `field-value`: visible bytes, blanks only between them; may be empty.
const HEADER_VALUE: &str = r"(?-u:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?";

impl Shape {
    fn always(regex: &str, favourites: &'static [&'static str]) -> Self {
        Self::new(false, regex, favourites)
    }

    fn optional(regex: &str, favourites: &'static [&'static str]) -> Self {
        Self::new(true, regex, favourites)
    }

    fn new(optional: bool, regex: &str, favourites: &'static [&'static str]) -> Self {
        let compile = |alphabet: &Alphabet| {
            let pattern = Pattern::Regex { text: regex.to_owned(), ignore_case: false };
            let mut allowance = Allowance { bytes: 1 << 20, steps: u64::MAX };
            Automaton::compile(&pattern, alphabet, &mut allowance)
                .expect("shapes are constants, compiled by a test")
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
    use proptest::{prelude::*, string::string_regex};
    use weft_bundle::engine::path::CanonicalPath;

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
        check(Kind::Method, &[b"GET", b"M-SEARCH"], &[b"", b"G T", b"G(T"]);
        check(Kind::Scheme, &[b"http", b"https"], &[b"", b"httpss", b"HTTP"]);
        check(Kind::Authority, &[b"a.b:80", b"[::1]:80"], &[b"", b"A", b"a/b", b"u@h"]);
        check(Kind::Port, &[b"1", b"9999", b"65535"], &[b"", b"0", b"080", b"65536", b"99999", b"100000"]);
        check(Kind::Header, &[b"", b"a", b"a b", b"\xff"], &[b" ", b" a", b"a ", b"a\nb", b"\x7f"]);
        check(Kind::Query, &[b"", b"\0\xff"], &[]);
        check(Kind::Fact, &[b"", b"spiffe://a/b"], &[]);
    }

    fn is_canonical_path(path: &str) -> bool {
        let shape = Kind::Path.shape();
        path.bytes().all(|byte| shape.alphabet[usize::from(byte)]) && shape.language.matches(path.as_bytes())
    }

    #[test]
    fn paths_are_those_of_the_engine() {
        for path in [
            "/", "/a/b", "/a/", "/...", "/.a", "/..a", "/.%20", "/%25", "/%254/", "/%25.4", "/a;b", "/%E4",
            "/a%3B",
        ] {
            assert!(is_canonical_path(path), "{path}");
        }
        for path in [
            "", "*", "a", "//", "/a//", "/.", "/../", "/.;a", "/..;", "/a?", "/a#", "/%", "/%2f", "/%2541",
            "/.%3B", "/..%3B", "/%C0",
        ] {
            assert!(!is_canonical_path(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_the_engine_leaves_as_it_is_is_a_path(raw in "/([a0./;%~|\"{]|%2[0-9a-fA-F]|%[3-7][0-9a-fA-F]|%C[03])*") {
            let canonical = CanonicalPath::parse(&raw).is_ok_and(|path| path.as_str() == raw);
            prop_assert_eq!(is_canonical_path(&raw), canonical);
        }
    }

    proptest! {
        // These paths are hundreds of bytes long.
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn what_is_a_path_the_engine_leaves_as_it_is(path in string_regex(&canonical_path()).unwrap()) {
            let canonical = CanonicalPath::parse(&path).unwrap();
            prop_assert_eq!(canonical.as_str(), path);
        }
    }

    #[test]
    fn readable_bytes_come_first() {
        let bytes = &Kind::Path.shape().bytes;
        assert!(bytes.starts_with(b"xabc"));
        assert!(!bytes.contains(&b'?'));
    }
}
