//! SPIFFE identities as parsed structure, so that they are never compared as prefixes of a string.
//!
//! The grammar is SPIFFE-ID sections 2.1 to 2.4: scheme `spiffe`, a lower-case trust domain of at most 255 bytes of
//! `[a-z0-9.-_]`, a path of non-empty segments of `[A-Za-z0-9.-_]` that are not `.` or `..`, at most 2048 bytes in all.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The trust domain of an identity: the part that says whose certificates to believe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

/// The identity of a workload, such as `spiffe://prod.example/ns/shop/sa/cart`. The path is never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    path: String,
    /// Both, as they are written.
    text: String,
}

/// Why a text is not a SPIFFE identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpiffeError {
    /// It does not begin with `spiffe://`.
    Scheme,
    /// The trust domain is empty, too long, or has a character outside `[a-z0-9.-_]`.
    TrustDomain,
    /// The path is missing, or has an empty, dot or illegal segment.
    Path,
    /// It is longer than 2048 bytes.
    TooLong,
}

impl fmt::Display for SpiffeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a SPIFFE id begins with `spiffe://`",
            Self::TrustDomain => "a trust domain is 1 to 255 of `a-z`, `0-9`, `.`, `-` and `_`",
            Self::Path => "the path of a SPIFFE id is segments of letters, digits, `.`, `-` and `_`",
            Self::TooLong => "a SPIFFE id has at most 2048 bytes",
        })
    }
}

impl std::error::Error for SpiffeError {}

impl TrustDomain {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for TrustDomain {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
        if text.is_empty() || text.len() > 255 || !text.bytes().all(legal) {
            return Err(SpiffeError::TrustDomain);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SpiffeId {
    /// The identity `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    ///
    /// # Errors
    /// [`SpiffeError::Path`] if a name has characters that a path may not have.
    pub fn for_service_account(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeError> {
        if namespace.contains('/') || service_account.contains('/') {
            return Err(SpiffeError::Path);
        }
        format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}").parse()
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The whole id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path, with its leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The namespace, if the path has the form `/ns/<namespace>/sa/<service account>`.
    pub fn namespace(&self) -> Option<&str> {
        self.names().map(|(namespace, _)| namespace)
    }

    /// The service account, if the path has that form.
    pub fn service_account(&self) -> Option<&str> {
        self.names().map(|(_, service_account)| service_account)
    }

    fn names(&self) -> Option<(&str, &str)> {
        let mut segments = self.path.split('/').skip(1);
        match (segments.next(), segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("ns"), Some(namespace), Some("sa"), Some(service_account), None) => {
                Some((namespace, service_account))
            }
            _ => None,
        }
    }
}

impl std::str::FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > 2048 {
            return Err(SpiffeError::TooLong);
        }
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeError::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(SpiffeError::Path)?;
        let trust_domain = domain.parse()?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        let good = |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(legal);
        if !path.split('/').all(good) {
            return Err(SpiffeError::Path);
        }
        Ok(Self { trust_domain, path: format!("/{path}"), text: text.to_owned() })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

macro_rules! as_text {
    ($type:ty) => {
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
as_text!(TrustDomain);
as_text!(SpiffeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ids_keep_their_text() {
        for text in ["spiffe://prod.example/ns/shop/sa/cart", "spiffe://a/b", "spiffe://td_1-x/A/b.c"] {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
        let id: SpiffeId = "spiffe://prod.example/ns/shop/sa/cart".parse().unwrap();
        assert_eq!((id.trust_domain().as_str(), id.namespace()), ("prod.example", Some("shop")));
        assert_eq!(
            (id.service_account(), id.as_str()),
            (Some("cart"), "spiffe://prod.example/ns/shop/sa/cart")
        );
    }

    #[test]
    fn bad_ids_are_refused() {
        for text in [
            "spiffe://td",
            "spiffe://td/",
            "spiffe://TD/a",
            "spiffe://td:80/a",
            "spiffe://u@td/a",
            "spiffe:/td/a",
            "https://td/a",
            "spiffe://td/a/",
            "spiffe://td//a",
            "spiffe://td/./a",
            "spiffe://td/../a",
            "spiffe://td/a?b",
            "spiffe://td/a#b",
            "spiffe://td/%61",
            "spiffe://td/a\0b",
            "spiffe:///a",
            "Spiffe://td/a",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
        assert_eq!(
            format!("spiffe://td/{}", "a".repeat(2048)).parse::<SpiffeId>(),
            Err(SpiffeError::TooLong)
        );
    }
}
