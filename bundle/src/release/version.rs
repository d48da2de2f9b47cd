//! Versions of our own programs, as far as they must be compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version `major.minor.patch`. Pre-releases are not told apart: `0.2.0-rc.1` cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramVersion {
    /// Raised when something that worked no longer does.
    pub major: u32,
    /// Raised when something new works.
    pub minor: u32,
    /// Raised otherwise.
    pub patch: u32,
}

/// A text is not a version such as `0.1.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionError;

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version is three numbers, such as `0.1.0`")
    }
}

impl std::error::Error for VersionError {}

impl ProgramVersion {
    /// The version of this crate, which all of our programs share.
    pub fn own() -> Self {
        env!("CARGO_PKG_VERSION").parse().expect("the manifest's version is three numbers")
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for ProgramVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| n.to_string() == text);
        let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
        match numbers.as_deref() {
            Some(&[major, minor, patch]) => Ok(Self { major, minor, patch }),
            _ => Err(VersionError),
        }
    }
}

impl Serialize for ProgramVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProgramVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text: &str| text.parse::<ProgramVersion>().unwrap();
        assert!(version("0.10.0") > version("0.9.9"));
        assert!(version("1.0.0") > version("0.99.99"));
        assert_eq!(version("1.2.3").to_string(), "1.2.3");
        assert_eq!(ProgramVersion::own().to_string(), env!("CARGO_PKG_VERSION"));
        for text in ["", "1", "1.2", "1.2.3.4", "1.2.x", "01.2.3", "+1.2.3", "1.2.3-rc.1", "4294967296.0.0"] {
            assert!(text.parse::<ProgramVersion>().is_err(), "{text}");
        }
    }
}
