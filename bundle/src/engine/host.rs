//! Patterns of host names: a name, `*.suffix`, or `*` (Gateway API v1, `Hostname`).
//!
//! Names are lower case, as in DNS and in requests once they are read. `*.suffix` holds for one label or more before the
//! suffix, and not for the suffix itself.

use std::cmp::Reverse;

use super::matcher::MatchError;

/// A pattern of host names. The greater of two is the more specific one: names before suffixes before everything, and
/// longer suffixes first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// One name.
    Exact(String),
    /// Names that end in this text, which begins with a dot, after at least one label.
    Suffix(String),
    /// Every name.
    Any,
}

impl HostPattern {
    /// The pattern that a text stands for.
    ///
    /// # Errors
    /// [`MatchError::HostPattern`] for an empty text, one with upper-case letters, or a `*` that is not a first label.
    pub fn parse(text: &str) -> Result<Self, MatchError> {
        let wrong = || MatchError::HostPattern(text.chars().take(80).collect());
        let legal = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b != b'*')
        };
        match text.strip_prefix('*') {
            Some("") => Ok(Self::Any),
            Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') && legal(suffix) => {
                Ok(Self::Suffix(suffix.to_owned()))
            }
            Some(_) => Err(wrong()),
            None if legal(text) => Ok(Self::Exact(text.to_owned())),
            None => Err(wrong()),
        }
    }

    /// Whether a lower-case name fits.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Suffix(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
            Self::Any => true,
        }
    }

    /// How specific it is: an exact name has the greatest, then the longest suffix.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            Self::Exact(name) => (2, name.len()),
            Self::Suffix(suffix) => (1, suffix.len()),
            Self::Any => (0, 0),
        }
    }

    /// The names that fit both; none if no name does.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (wide, narrow) =
            if self.specificity() <= other.specificity() { (self, other) } else { (other, self) };
        let inside = match (wide, narrow) {
            (Self::Any, _) => true,
            (_, Self::Exact(name)) => wide.matches(name),
            (Self::Suffix(wide), Self::Suffix(narrow)) => narrow.ends_with(wide.as_str()),
            (Self::Suffix(_) | Self::Exact(_), Self::Any) | (Self::Exact(_), Self::Suffix(_)) => false,
        };
        inside.then(|| narrow.clone())
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// The place of the most specific of some patterns that fits a name; the first among equals.
pub(super) fn most_specific<'p, K>(
    patterns: impl Iterator<Item = (K, &'p HostPattern)>,
    name: &str,
) -> Option<K> {
    let fitting = patterns.filter(|(_, pattern)| pattern.matches(name));
    fitting.min_by_key(|(_, pattern)| Reverse(pattern.specificity())).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap()
    }

    #[test]
    fn a_star_stands_for_one_label_or_more() {
        assert!(pattern("*.a.b").matches("x.a.b") && pattern("*.a.b").matches("y.x.a.b"));
        assert!(!pattern("*.a.b").matches("a.b") && !pattern("*.a.b").matches("xa.b"));
        assert!(!pattern("*.a.b").matches(".a.b"));
        assert!(pattern("*").matches("anything") && pattern("a.b").matches("a.b"));
        for wrong in ["", "*a.b", "a.*", "*.", "A.b", "a b"] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let texts = ["*", "*.b", "*.a.b", "x.a.b"];
        let patterns = texts.map(pattern);
        let pick = |name| most_specific(texts.iter().zip(&patterns), name).copied();
        assert_eq!(pick("x.a.b"), Some("x.a.b"));
        assert_eq!(pick("y.a.b"), Some("*.a.b"));
        assert_eq!(pick("a.b"), Some("*.b"));
        assert_eq!(pick("c"), Some("*"));
    }

    #[test]
    fn intersections_are_the_narrower_of_two() {
        let both = |a: &str, b: &str| {
            let there = pattern(a).intersection(&pattern(b));
            assert_eq!(there, pattern(b).intersection(&pattern(a)), "{a} {b}");
            there.map(|pattern| pattern.to_string())
        };
        assert_eq!(both("*", "*.a").as_deref(), Some("*.a"));
        assert_eq!(both("*.a", "*.b.a").as_deref(), Some("*.b.a"));
        assert_eq!(both("*.a", "b.a").as_deref(), Some("b.a"));
        assert_eq!(both("*.a", "a"), None);
        assert_eq!(both("*.a", "*.b"), None);
        assert_eq!(both("a", "a").as_deref(), Some("a"));
        assert_eq!(both("*.example.com", "*.test.com"), None);
    }
}
