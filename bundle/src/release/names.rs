//! The names of things that are signed, and of the objects that hold them.
//!
//! Object names are built here and nowhere else, and only from numbers, digests and these checked names, so no text
//! from outside can leave the directory it belongs in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;

/// A service: `namespace/name`, both in the manner of DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    text: String,
    slash: usize,
}

/// The name of a mesh: one DNS label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshName(String);

/// The name of a channel, such as `stable`: one DNS label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(String);

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    wanted: &'static str,
    text: String,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.text.escape_debug(), self.wanted)
    }
}

impl std::error::Error for NameError {}

impl ServiceId {
    /// The service `namespace/name`.
    ///
    /// # Errors
    /// If the namespace is not a DNS label or the name is not a DNS name, in lower case.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        format!("{namespace}/{name}").parse()
    }

    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the slash.
    pub fn namespace(&self) -> &str {
        self.text.get(..self.slash).unwrap_or_default()
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.text.get(self.slash + 1..).unwrap_or_default()
    }
}

impl MeshName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Channel {
    /// The channel that proxies follow unless told otherwise.
    pub fn stable() -> Self {
        Self("stable".to_owned())
    }

    /// Whether a release of files that are not committed may be signed for it.
    pub fn allows_dirty(&self) -> bool {
        self.0 == "dev"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((namespace, name)) if is_label(namespace) && is_dns_name(name) => {
                Ok(Self { text: text.to_owned(), slash: namespace.len() })
            }
            _ => Err(refuse(text, "a service id such as `shop/cart`: lower-case letters, digits and `-`")),
        }
    }
}

impl FromStr for MeshName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(refuse(text, "a mesh name: lower-case letters, digits and `-`, at most 63"))
    }
}

impl FromStr for Channel {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(refuse(text, "a channel name: lower-case letters, digits and `-`, at most 63"))
    }
}

fn refuse(text: &str, wanted: &'static str) -> NameError {
    NameError { wanted, text: text.chars().take(80).collect() }
}

/// RFC 1123 label, lower case.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Labels joined by single dots. A dot cannot come first, last or twice, so neither `..` nor a hidden file is a name.
fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

macro_rules! as_text {
    ($type:ident, $text:expr) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text: fn(&$type) -> &str = $text;
                f.write_str(text(self))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(ServiceId, ServiceId::as_str);
as_text!(MeshName, MeshName::as_str);
as_text!(Channel, Channel::as_str);

/// The name of an object in a release directory or bucket: a relative path with forward slashes, safe to join to the
/// root of either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The root of trust of this version.
    pub fn root(version: u64) -> Self {
        Self(format!("root/{version}.json"))
    }

    /// What is current in a channel: the only object that changes.
    pub fn latest(channel: &Channel) -> Self {
        Self(format!("channels/{channel}/latest.json"))
    }

    /// The signed statement of a release.
    pub fn release(sequence: u64) -> Self {
        Self(format!("releases/{sequence}/release.json"))
    }

    /// The leaves of a release, one a line.
    pub fn manifest(sequence: u64) -> Self {
        Self(format!("releases/{sequence}/manifest.jsonl"))
    }

    /// The proof for one service of a release.
    pub fn service(sequence: u64, service: &ServiceId) -> Self {
        Self(format!("releases/{sequence}/services/{service}.json"))
    }

    /// A body.
    pub fn blob(digest: &Digest) -> Self {
        Self(format!("blobs/sha256/{digest}"))
    }

    /// A list of identities that are no longer trusted.
    pub fn denylist(version: u64) -> Self {
        Self(format!("denylist/{version}.json"))
    }

    /// In a single-service pack: the newest root.
    pub fn pack_root() -> Self {
        Self("root.json".to_owned())
    }

    /// In a single-service pack: what is current.
    pub fn pack_latest() -> Self {
        Self("latest.json".to_owned())
    }

    /// In a single-service pack: the proof, with the body inside.
    pub fn pack_service() -> Self {
        Self("service.json".to_owned())
    }

    /// In a single-service pack: the denylist.
    pub fn pack_denylist() -> Self {
        Self("denylist.json".to_owned())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_keep_their_text() {
        for text in ["shop/cart", "a/b", "ns-1/v1.api.example", "0/0"] {
            let id: ServiceId = text.parse().unwrap();
            assert_eq!(format!("{}/{}", id.namespace(), id.name()), text);
        }
        assert_eq!(
            ObjectName::service(7, &"shop/cart".parse().unwrap()).as_str(),
            "releases/7/services/shop/cart.json"
        );
        assert_eq!(ObjectName::latest(&Channel::stable()).as_str(), "channels/stable/latest.json");
    }

    #[test]
    fn names_that_could_escape_or_collide_are_refused() {
        let long = "a".repeat(64);
        for text in [
            "",
            "/",
            "a",
            "a/",
            "/a",
            "a/b/c",
            "../a",
            "a/..",
            "a/.",
            "a/.b",
            "a/b.",
            "a/b..c",
            "a.b/c",
            "A/b",
            "a/B",
            "a/b\0",
            "a\0/b",
            "a/b\n",
            "a/-b",
            "a/b-",
            "a/b_c",
            "a/b%2f",
            "a\\b/c",
            "a/é",
            "a/ b",
            &long,
            &format!("{long}/a"),
            &format!("a/{long}"),
        ] {
            assert!(text.parse::<ServiceId>().is_err(), "{text:?}");
        }
        for text in ["", ".", "..", "a/b", "a.b", "A", "a\0", &long] {
            assert!(text.parse::<MeshName>().is_err(), "{text:?}");
            assert!(text.parse::<Channel>().is_err(), "{text:?}");
        }
    }
}
