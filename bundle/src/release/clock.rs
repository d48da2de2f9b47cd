//! Points in time as they stand in signed payloads: `2026-11-21T03:04:05Z`, whole seconds, UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A second of UTC between the years 1970 and 9999. This crate never asks what time it is; callers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime {
    seconds: u64,
}

/// A text is not a time such as `2026-11-21T03:04:05Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeError {
    text: String,
}

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a time such as `2026-11-21T03:04:05Z`", self.text.escape_debug())
    }
}

impl std::error::Error for TimeError {}

/// The last second of the year 9999, the last that RFC 3339 can write.
const LAST: u64 = 253_402_300_799;

impl UtcTime {
    /// The time this many seconds after the start of 1970, or the last that can be written.
    pub const fn from_unix(seconds: u64) -> Self {
        Self { seconds: if seconds < LAST { seconds } else { LAST } }
    }

    /// Seconds since the start of 1970.
    pub const fn unix(self) -> u64 {
        self.seconds
    }

    /// This time and a duration, cut to whole seconds.
    pub const fn plus(self, duration: Duration) -> Self {
        Self::from_unix(self.seconds.saturating_add(duration.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.seconds.saturating_sub(earlier.seconds))
    }
}

impl From<SystemTime> for UtcTime {
    /// A clock before 1970 reads as 1970.
    fn from(time: SystemTime) -> Self {
        Self::from_unix(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let text = time.and_then(|time| time.format(&Rfc3339).ok()).ok_or(fmt::Error)?;
        f.pad(&text)
    }
}

impl FromStr for UtcTime {
    type Err = TimeError;

    /// One spelling per time: no fractions, no offsets, upper-case `T` and `Z`.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let refuse = || TimeError { text: text.chars().take(40).collect() };
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| refuse())?;
        let time = Self { seconds: u64::try_from(time.unix_timestamp()).map_err(|_| refuse())? };
        if time.to_string() != text {
            return Err(refuse());
        }
        Ok(time)
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_spelling() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-21T03:04:05Z", 1_795_230_245),
            ("9999-12-31T23:59:59Z", LAST),
        ] {
            assert_eq!(text.parse::<UtcTime>().unwrap().unix(), seconds);
            assert_eq!(UtcTime::from_unix(seconds).to_string(), text);
        }
        for text in [
            "",
            "2026-11-21",
            "2026-11-21t03:04:05z",
            "2026-11-21T03:04:05.0Z",
            "2026-11-21T03:04:05+00:00",
            "2026-11-21T04:04:05+01:00",
            "1969-12-31T23:59:59Z",
            "2026-02-30T00:00:00Z",
            "2026-11-21 03:04:05Z",
        ] {
            assert!(text.parse::<UtcTime>().is_err(), "{text}");
        }
        assert_eq!(UtcTime::from_unix(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }
}
