//! Endpoints in files: a JSON list, read again whenever its directory changes, and from time to time anyway.
//!
//! ```json
//! [
//!   { "address": "10.0.0.4" },
//!   { "address": "fd00::5", "port": 8080, "weight": 2, "locality": "eu/a", "labels": { "version": "v2" } }
//! ]
//! ```
//! | field | |
//! |---|---|
//! | `address` | an IP address |
//! | `port` | from 1; the service's port if not there |
//! | `weight` | from 1; 1 if not there |
//! | `locality` | `region/zone/subzone`, or the beginning of it |
//! | `labels` | texts by name; a subset takes the endpoints that carry its labels |
//!
//! It is read strictly: an unknown field, a field twice, a number that is no whole number, or anything after the list makes
//! the whole file wrong, so that a half-written one is never taken for a short one. Write a new file beside it and rename
//! it; one that is written in place is read once it is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use serde::Deserialize;
use weft_bundle::json;

use super::{Fault, Feed, Found, FoundEndpoint};
use crate::cluster::members::Source;
use crate::cluster::place::Place;
use crate::cluster::tiers::Traits;
use crate::source::watch::{DirectoryWatch, Wake};

/// How much of a file is read: some hundred thousand endpoints.
const MAX_BYTES: u64 = 16 << 20;

/// How often files are looked at without a hint, give or take a fifth.
const EVERY: Duration = Duration::from_secs(10);

/// The files that are followed.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<BTreeMap<PathBuf, Followed>>);

#[derive(Debug)]
struct Followed {
    feed: Weak<Feed>,
    /// SHA-256 of what was read last, and whether it was good.
    read: Option<(Vec<u8>, bool)>,
}

impl Files {
    /// Reads a file now, and follows it.
    pub(super) fn add(&self, path: &Path, feed: Weak<Feed>) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut followed = Followed { feed, read: None };
        followed.look(path);
        files.insert(path.to_owned(), followed);
    }

    /// The directories whose events mean that a file may have changed.
    fn directories(&self) -> Vec<PathBuf> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, followed| followed.feed.strong_count() > 0);
        let mut directories: Vec<_> = files
            .keys()
            .flat_map(|path| [Some(path.clone()), path.canonicalize().ok()])
            .filter_map(|path| path?.parent().map(Path::to_path_buf))
            .collect();
        directories.sort();
        directories.dedup();
        directories
    }

    fn look(&self) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter_mut().for_each(|(path, followed)| followed.look(path));
    }
}

impl Followed {
    fn look(&mut self, path: &Path) {
        let Some(feed) = self.feed.upgrade() else { return };
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.read = None;
                return feed.publish(Err(error));
            }
        };
        let digest = digest::digest(&digest::SHA256, &bytes).as_ref().to_vec();
        match &self.read {
            Some((before, true)) if *before == digest => return feed.confirm(),
            // What was wrong is not counted again until it changes.
            Some((before, false)) if *before == digest => return,
            Some(_) | None => {}
        }
        let answer = parse(&bytes);
        self.read = Some((digest, answer.is_ok()));
        feed.publish(answer);
    }
}

/// Reads and watches until it is told to stop.
pub(super) fn keep_reading(files: &Files, mut watch: DirectoryWatch) {
    loop {
        // Before reading, so that nothing in between is missed.
        watch.arm(&files.directories());
        files.look();
        if watch.wait(EVERY.mul_f64(0.8 + 0.4 * fastrand::f64())) == Wake::Stop {
            return;
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, (Fault, String)> {
    let missing = |error: std::io::Error| (Fault::Missing, error.to_string());
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(missing)?.is_file() {
        return Err((Fault::Missing, "not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(missing)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(missing)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= MAX_BYTES => Ok(bytes),
        _ => Err((Fault::TooLarge, format!("more than {MAX_BYTES} bytes"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: IpAddr,
    port: Option<u16>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    weight: Option<u32>,
    locality: Option<String>,
}

fn parse(bytes: &[u8]) -> Result<Found, (Fault, String)> {
    let malformed = |why: String| (Fault::Malformed, why);
    let entries: Vec<Entry> = json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let endpoint = |(place, entry): (usize, Entry)| {
        let wrong = |what: String| malformed(format!("endpoint {}: {what}", place + 1));
        if entry.port == Some(0) || entry.weight == Some(0) {
            return Err(wrong("a port and a weight are at least 1".to_owned()));
        }
        if entry.address.is_unspecified() || entry.address.is_multicast() {
            return Err(wrong(format!("nobody can be reached at {}", entry.address)));
        }
        let place = entry.locality.map(|text| text.parse::<Place>()).transpose();
        let place = place.map_err(|error| wrong(error.to_string()))?;
        let traits = Traits { priority: 0, place, labels: entry.labels };
        let weight = entry.weight.unwrap_or(1);
        Ok(FoundEndpoint { address: entry.address, port: entry.port, weight, traits })
    };
    let mut endpoints: Vec<_> = entries.into_iter().enumerate().map(endpoint).collect::<Result<_, _>>()?;
    if endpoints.is_empty() {
        return Err((Fault::Empty, "the list is empty".to_owned()));
    }
    endpoints.sort_by_key(|endpoint| (endpoint.address, endpoint.port));
    Ok(Found { source: Source::File, endpoints })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_strictly() {
        let found = parse(
            br#"[{"address": "fd00::5", "port": 8080, "weight": 2, "locality": "eu/a", "labels": {"v": "2"}},
                 {"address": "10.0.0.4"}]"#,
        )
        .unwrap();
        assert_eq!(found.endpoints[0].address, IpAddr::from([10, 0, 0, 4]));
        assert_eq!((found.endpoints[0].port, found.endpoints[0].weight), (None, 1));
        let second = &found.endpoints[1];
        assert_eq!((second.port, second.weight, second.traits.labels["v"].as_str()), (Some(8080), 2, "2"));
        for (text, fault, words) in [
            ("", Fault::Malformed, "ends too early"),
            (r#"[{"address": "10.0.0.4"}"#, Fault::Malformed, "ends too early"),
            (r#"[{"address": "10.0.0.4"}] x"#, Fault::Malformed, "not JSON"),
            ("[]", Fault::Empty, "empty"),
            (r#"{"address": "10.0.0.4"}"#, Fault::Malformed, "expected a sequence"),
            (r#"[{"address": "localhost"}]"#, Fault::Malformed, "invalid IP address"),
            (r#"[{"address": "10.0.0.4", "prot": 1}]"#, Fault::Malformed, "unknown field `prot`"),
            (r#"[{"address": "10.0.0.4", "address": "10.0.0.5"}]"#, Fault::Malformed, "stands twice"),
            (r#"[{"address": "10.0.0.4", "port": 0}]"#, Fault::Malformed, "endpoint 1: a port"),
            (r#"[{"address": "10.0.0.4", "port": 65536}]"#, Fault::Malformed, "65536"),
            (r#"[{"address": "10.0.0.4", "weight": 1.5}]"#, Fault::Malformed, "not an integer"),
            (r#"[{"address": "0.0.0.0"}]"#, Fault::Malformed, "nobody can be reached"),
            (r#"[{"address": "10.0.0.4", "locality": "eu//x"}]"#, Fault::Malformed, "`eu//x` is not"),
        ] {
            let (found, why) = parse(text.as_bytes()).unwrap_err();
            assert!(found == fault && why.contains(words), "{text}: {found:?} {why}");
        }
    }
}
