//! Durations as people write them: `250ms`, `15s`, `1m30s`, `1h`.
//!
//! Bodies carry durations as text in one canonical spelling ([`DurationText`]), so that equal durations are equal
//! bytes. The grammar is that of Gateway API's `Duration` (GEP-2257): up to four number-unit pairs of `h`, `m`, `s`,
//! `ms`, each number of at most five digits. Zero is written `0s`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration with millisecond resolution that reads and writes itself as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DurationText(Duration);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError {
    text: String,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a duration such as `250ms`, `15s` or `1m30s`", self.text)
    }
}

impl std::error::Error for DurationError {}

impl DurationText {
    /// The duration, cut to whole milliseconds, or the longest that can be written: `99999h59m59s999ms`.
    pub const fn new(duration: Duration) -> Self {
        let millis = duration.as_millis();
        let millis = if millis < LONGEST_MILLIS as u128 { millis as u64 } else { LONGEST_MILLIS };
        Self(Duration::from_millis(millis))
    }

    /// The duration as the standard library has it.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whether it is zero, which in timeouts means "no limit".
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for DurationText {
    fn from(duration: Duration) -> Self {
        Self::new(duration)
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            let count = rest / millis;
            if count > 0 {
                write!(f, "{count}{unit}")?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

/// The most milliseconds that have a spelling.
const LONGEST_MILLIS: u64 = 100_000 * 3_600_000 - 1;

const UNITS: [(&str, u128); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl std::str::FromStr for DurationText {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse(text).ok_or_else(|| DurationError { text: text.chars().take(40).collect() })
    }
}

/// Units may come in any order and repeat, as GEP-2257 has it.
fn parse(text: &str) -> Option<DurationText> {
    let mut rest = text;
    let mut total: u64 = 0;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > 5 {
            return None;
        }
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at_checked(letters)?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(u64::try_from(*millis).ok()?)?)?;
        if tail.is_empty() {
            // The sum may need more digits than a text may have; then what we write could not be read.
            return (total <= LONGEST_MILLIS).then_some(DurationText(Duration::from_millis(total)));
        }
        rest = tail;
    }
    None
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for (text, canonical) in [
            ("250ms", "250ms"),
            ("15s", "15s"),
            ("90s", "1m30s"),
            ("1h", "1h"),
            ("0ms", "0s"),
            ("1m1m", "2m"),
        ] {
            let duration: DurationText = text.parse().unwrap();
            assert_eq!(duration.to_string(), canonical);
            assert_eq!(canonical.parse::<DurationText>().unwrap(), duration);
        }
    }

    #[test]
    fn the_longest_duration_reads_back() {
        let longest = DurationText::new(Duration::MAX);
        assert_eq!(longest.to_string(), "99999h59m59s999ms");
        assert_eq!(longest.to_string().parse(), Ok(longest));
    }

    #[test]
    fn not_durations() {
        for text in
            ["", "15", "s", "-1s", "1.5s", "1d", "123456s", "1h1m1s1ms1h", " 1s", "1 s", "1sé", "99999h1h"]
        {
            assert!(text.parse::<DurationText>().is_err(), "{text}");
        }
    }
}
