//! Documents of each dialect, in the dialect's own words, with spans.
