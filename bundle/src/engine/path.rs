//! One canonical form of the path, used for matching, for access and for forwarding.
//!
//! Two spellings of a path that an application may take for the same resource must not differ here, or a rule for one
//! would not hold for the other. So, in this order (RFC 3986 section 6.2.2, stricter where it says *Weft*):
//! 1. Only visible ASCII; a `\`, `#`, control byte or byte from 0x80 is refused (*Weft*).
//! 2. Escapes of unreserved characters are decoded, the digits of others become upper case.
//! 3. Escapes that hide structure are refused: `%2F`, `%5C`, `%00`, `%0A`, `%0D`, `%C0` and `%C1`, from which lenient
//!    decoders of UTF-8 make a `/` or `.`, and `%25` before two hex digits, which a second decoding would turn into something else
//!    (*Weft*).
//! 4. Runs of `/` become one (*Weft*); `.` and `..` segments are resolved, `..` above the root is refused, and so are
//!    `.;x` and `..;x`, also with `%3B`, which some applications read as `.` and `..` (*Weft*).
//!
//! Canonicalising a canonical path changes nothing.

use std::fmt;

/// A path in canonical form: begins with `/`, has no query. `*` stands alone for `OPTIONS *`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanonicalPath(String);

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRefusal {
    /// It does not begin with `/`.
    NotAbsolute,
    /// It has a byte that a path may not have.
    IllegalByte,
    /// An escape is cut short or has digits that are not hexadecimal.
    BrokenEscape,
    /// An escape hides a separator, a control byte or another escape.
    AmbiguousEscape,
    /// It climbs above the root, or has a dot segment with parameters.
    DotSegment,
}

impl PathRefusal {
    /// A short stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path-not-absolute",
            Self::IllegalByte => "path-illegal-byte",
            Self::BrokenEscape => "path-broken-escape",
            Self::AmbiguousEscape => "path-ambiguous-escape",
            Self::DotSegment => "path-dot-segment",
        }
    }
}

impl fmt::Display for PathRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with `/`",
            Self::IllegalByte => "the path has a byte that may not stand in a path",
            Self::BrokenEscape => "the path has a broken percent-escape",
            Self::AmbiguousEscape => {
                "the path has an escape that hides a separator, a control byte or another escape"
            }
            Self::DotSegment => "the path climbs above the root or hides a dot segment",
        })
    }
}

impl std::error::Error for PathRefusal {}

impl CanonicalPath {
    /// The canonical form of the path of a request target, without its query. An empty path is `/`.
    ///
    /// # Errors
    /// Why it is refused; the request must then be answered with 400 and not forwarded.
    pub fn parse(raw: &str) -> Result<Self, PathRefusal> {
        if raw.is_empty() {
            return Ok(Self("/".to_owned()));
        }
        if raw == "*" || is_plain(raw) {
            return Ok(Self(raw.to_owned()));
        }
        let decoded = decode(raw)?;
        if hides_an_escape(&decoded) {
            return Err(PathRefusal::AmbiguousEscape);
        }
        let absolute = decoded.strip_prefix('/').ok_or(PathRefusal::NotAbsolute)?;
        resolve(absolute).map(Self)
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether nothing needs doing: absolute, legal, no escapes, no empty or dot segments. Most paths are.
fn is_plain(raw: &str) -> bool {
    let mut previous = 0;
    raw.starts_with('/')
        && raw.bytes().all(|byte| {
            let awkward =
                byte == b'%' || !is_legal(byte) || (previous == b'/' && (byte == b'/' || byte == b'.'));
            previous = byte;
            !awkward
        })
}

/// `pchar` of RFC 3986 and `/`, with the characters that clients send unescaped although they should not: `"<>^`{|}`
/// are refused like the rest.
fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%[]|".contains(&byte)
}

fn decode(raw: &str) -> Result<String, PathRefusal> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if !is_legal(byte) {
            return Err(PathRefusal::IllegalByte);
        }
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let (value, tail) = escape(rest).ok_or(PathRefusal::BrokenEscape)?;
        rest = tail;
        match value {
            // C0 and C1 begin nothing but an ASCII character in two bytes, such as `/` in `%C0%AF` (RFC 3629 section 4).
            b'/' | b'\\' | 0..=0x1f | 0x7f | 0xc0 | 0xc1 => return Err(PathRefusal::AmbiguousEscape),
            value if value.is_ascii_alphanumeric() || b"-._~".contains(&value) => out.push(char::from(value)),
            value => {
                out.push('%');
                out.push(digit(value >> 4));
                out.push(digit(value & 15));
            }
        }
    }
    Ok(out)
}

/// Whether a second decoding would find an escape: `%25` before two digits. Asked of the decoded text, because the
/// digits may themselves have been escaped.
fn hides_an_escape(decoded: &str) -> bool {
    decoded.split("%25").skip(1).any(|after| escape(after.as_bytes()).is_some())
}

/// Drops empty segments, resolves dot segments. A final `/`, `.` or `..` leaves a final `/`.
fn resolve(path: &str) -> Result<String, PathRefusal> {
    let mut kept: Vec<&str> = Vec::new();
    let mut directory = true;
    for segment in path.split('/') {
        directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop().ok_or(PathRefusal::DotSegment)?;
            }
            hidden if has_parameters_only(hidden) => return Err(PathRefusal::DotSegment),
            name => kept.push(name),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if directory || kept.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// Whether a segment is a dot segment with parameters.
fn has_parameters_only(segment: &str) -> bool {
    let after = segment.strip_prefix("..").or_else(|| segment.strip_prefix('.'));
    after.is_some_and(|after| after.starts_with(';') || after.starts_with("%3B"))
}

/// The byte that two hexadecimal digits stand for, and what follows them.
pub(super) fn escape(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = digits.split_first_chunk()?;
    Some((hex(high)? * 16 + hex(low)?, rest))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(raw: &str) -> String {
        CanonicalPath::parse(raw).unwrap().to_string()
    }

    #[test]
    fn spellings_of_one_path_become_one() {
        for (raw, expected) in [
            ("", "/"),
            ("*", "*"),
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2e/b", "/b"),
            ("/%61dmin", "/admin"),
            ("/a%20b", "/a%20b"),
            ("/a%3a", "/a%3A"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/100%25", "/100%25"),
            ("/a...", "/a..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/%c3%a9%e2%82%ac%f0%9f%98%80", "/%C3%A9%E2%82%AC%F0%9F%98%80"),
            ("/%e9", "/%E9"),
            ("/.a;b/..c;d", "/.a;b/..c;d"),
        ] {
            assert_eq!(canonical(raw), expected, "{raw}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for (raw, why) in [
            ("a", PathRefusal::NotAbsolute),
            ("/a\\b", PathRefusal::IllegalByte),
            ("/a b", PathRefusal::IllegalByte),
            ("/a#b", PathRefusal::IllegalByte),
            ("/\u{e9}", PathRefusal::IllegalByte),
            ("/a\0", PathRefusal::IllegalByte),
            ("/a%", PathRefusal::BrokenEscape),
            ("/a%4", PathRefusal::BrokenEscape),
            ("/a%zz", PathRefusal::BrokenEscape),
            ("/a%2fb", PathRefusal::AmbiguousEscape),
            ("/a%5Cb", PathRefusal::AmbiguousEscape),
            ("/a%00", PathRefusal::AmbiguousEscape),
            ("/a%0d%0a", PathRefusal::AmbiguousEscape),
            ("/a%252fb", PathRefusal::AmbiguousEscape),
            ("/%25a%61", PathRefusal::AmbiguousEscape),
            ("/%25%61a", PathRefusal::AmbiguousEscape),
            ("/%2525aa", PathRefusal::AmbiguousEscape),
            ("/..", PathRefusal::DotSegment),
            ("/a/../../b", PathRefusal::DotSegment),
            ("/a/..;/b", PathRefusal::DotSegment),
            ("/a/.;x/b", PathRefusal::DotSegment),
            ("/%2e%2e;/b", PathRefusal::DotSegment),
            ("/a/..%3b/b", PathRefusal::DotSegment),
            ("/a/.%3Bx/b", PathRefusal::DotSegment),
            ("/a%c0%afb", PathRefusal::AmbiguousEscape),
            ("/%C0%AE%C0%AE/b", PathRefusal::AmbiguousEscape),
        ] {
            assert_eq!(CanonicalPath::parse(raw), Err(why), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn canonicalising_twice_changes_nothing(raw in "/([a-c./%;]|%2[0-9a-fA-F]|%[46][0-9])*") {
            if let Ok(once) = CanonicalPath::parse(&raw) {
                prop_assert_eq!(CanonicalPath::parse(once.as_str()), Ok(once.clone()));
                prop_assert!(once.as_str() == "*" || is_plain(&once.as_str().replace('%', "").replace("/.", "/x")));
            }
        }
    }
}
