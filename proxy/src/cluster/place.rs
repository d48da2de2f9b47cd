//! Where a proxy and its endpoints are: `region/zone/subzone`, and labels.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A place. What is not said is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    region: String,
    zone: String,
    subzone: String,
}

/// Why a text is not a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceError(String);

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not `region/zone/subzone`", self.0.escape_default())
    }
}

impl std::error::Error for PlaceError {}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let wrong = || PlaceError(text.chars().take(200).collect());
        let mut parts = text.split('/');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let place = Self { region: next(), zone: next(), subzone: next() };
        let has_more = parts.next().is_some();
        let has_hole = text.split('/').any(|part| part.is_empty() || part.contains('*'));
        if has_more || has_hole { Err(wrong()) } else { Ok(place) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        for part in [&self.zone, &self.subzone] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

impl Place {
    /// The largest part.
    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// How far another place is: 0 here, 1 in our zone, 2 in our region, 3 elsewhere.
    pub(super) fn distance(&self, other: Option<&Self>) -> u8 {
        match other {
            Some(other) if self == other => 0,
            Some(other) if (&self.region, &self.zone) == (&other.region, &other.zone) => 1,
            Some(other) if self.region == other.region => 2,
            Some(_) | None => 3,
        }
    }
}

/// How exactly a pattern means a place: so many of its parts are named. None if it does not mean it.
///
/// A pattern is `region/zone/subzone`; a `*`, or a part that is not there, means every one. A place that is not known is
/// meant by `*` alone.
pub(super) fn exactness(pattern: &str, place: Option<&Place>) -> Option<usize> {
    let parts =
        place.map_or([""; 3], |place| [&place.region, &place.zone, &place.subzone].map(|part| &**part));
    let mut named = 0;
    for (wanted, part) in pattern.split('/').zip(parts) {
        match wanted {
            "*" | "" => {}
            wanted if wanted == part => named += 1,
            _ => return None,
        }
    }
    Some(named)
}

/// Where this proxy is, and what it carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Where it is, if that is known.
    pub place: Option<Place>,
    /// What its endpoints are compared with.
    pub labels: BTreeMap<String, String>,
}

/// The value of a label: as it was given, or, for those of a topology, by the place.
pub(super) fn label<'p>(
    labels: &'p BTreeMap<String, String>,
    place: Option<&'p Place>,
    key: &str,
) -> Option<&'p str> {
    let of_place = || {
        let place = place?;
        let part = match key {
            "topology.kubernetes.io/region" => &place.region,
            "topology.kubernetes.io/zone" => &place.zone,
            "topology.istio.io/subzone" => &place.subzone,
            _ => return None,
        };
        (!part.is_empty()).then_some(part.as_str())
    };
    labels.get(key).map(String::as_str).or_else(of_place)
}

/// `KEY=VALUE`, as on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Why a text is not a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelError(String);

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not `KEY=VALUE`", self.0.escape_default())
    }
}

impl std::error::Error for LabelError {}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            Some(_) | None => Err(LabelError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_read_and_written() {
        for text in ["eu", "eu/a", "eu/a/rack-1"] {
            assert_eq!(place(text).to_string(), text);
        }
        for text in ["", "/", "eu/", "/a", "eu//r", "eu/a/r/x", "*", "eu/*"] {
            assert_eq!(text.parse::<Place>(), Err(PlaceError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn the_nearer_the_more_parts_are_the_same() {
        let here = place("eu/a/1");
        let far = ["eu/a/1", "eu/a/2", "eu/a", "eu/b/1", "eu", "us/a/1"]
            .map(|text| here.distance(Some(&place(text))));
        assert_eq!(far, [0, 1, 1, 2, 2, 3]);
        assert_eq!(here.distance(None), 3);
    }

    #[test]
    fn a_pattern_means_what_is_below_it() {
        let eu_a = Some(place("eu/a"));
        for (pattern, exact) in [
            ("*", Some(0)),
            ("eu", Some(1)),
            ("eu/*", Some(1)),
            ("eu/a", Some(2)),
            ("eu/a/*", Some(2)),
            ("eu/a/1", None),
            ("eu/b", None),
            ("us", None),
        ] {
            assert_eq!(exactness(pattern, eu_a.as_ref()), exact, "{pattern}");
        }
        assert_eq!([exactness("*", None), exactness("eu", None)], [Some(0), None]);
    }

    #[test]
    fn labels_of_a_topology_follow_from_the_place() {
        let labels = BTreeMap::from([("version".to_owned(), "v2".to_owned())]);
        let here = place("eu/a");
        let value = |key| label(&labels, Some(&here), key);
        assert_eq!(value("version"), Some("v2"));
        assert_eq!(value("topology.kubernetes.io/region"), Some("eu"));
        assert_eq!(value("topology.kubernetes.io/zone"), Some("a"));
        assert_eq!(value("topology.istio.io/subzone"), None);
        let told = BTreeMap::from([("topology.kubernetes.io/zone".to_owned(), "b".to_owned())]);
        assert_eq!(label(&told, Some(&here), "topology.kubernetes.io/zone"), Some("b"));
        assert!(
            "=x".parse::<Label>().is_err() && "x".parse::<Label>().is_err() && "x=".parse::<Label>().is_ok()
        );
    }
}
