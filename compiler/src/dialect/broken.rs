//! What a text that is no YAML seems to hold, so that what refers to it is not also called unknown.
//!
//! Nothing is made of it. A reader of such a text sees `kind: Service` and `name: cart` in it and knows what the Service `cart`
//! would have been; so does this, in whatever style the text is written, and without the namespace.

use std::collections::BTreeSet;

/// So many kinds, and names, of one part of a file are looked at: an object's own come before those inside it.
const MOST_KINDS: usize = 2;
const MOST_NAMES: usize = 8;

/// Kind and name of the objects that a text seems to hold, such as `Service cart`. There may be more than there would be.
pub(super) fn objects(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split("\n---") {
        let kinds: Vec<&str> = values(part, "kind").take(MOST_KINDS).collect();
        for name in values(part, "name").take(MOST_NAMES) {
            found.extend(kinds.iter().map(|kind| format!("{kind} {name}")));
        }
    }
    found
}

/// What follows a key, wherever that stands.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(key).filter_map(move |(at, _)| {
        let (before, rest) = text.split_at_checked(at)?;
        let begins = before.chars().next_back().is_none_or(|c| c.is_whitespace() || "{,\"'".contains(c));
        let rest = rest.strip_prefix(key).filter(|_| begins)?.trim_start_matches(['"', '\'']);
        let rest = rest.strip_prefix(':')?.trim_start_matches([' ', '"', '\'']);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-._".contains(c)).unwrap_or(rest.len());
        rest.get(..end).filter(|value| !value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_seen_in_any_style() {
        let text = "kind: Service\nmetadata:\n  labels: { app.kubernetes.io/name: other }\n  name: cart\n  rename: x\n---\n\
                    { \"kind\": \"Mesh\", \"metadata\": { \"name\": \"shop\" }\n---\nkind: \nname: {{ .Values.name }}\n";
        let expected = ["Mesh shop", "Service cart"].map(str::to_owned);
        assert_eq!(objects(text), BTreeSet::from(expected));
        assert_eq!(objects("name: a"), BTreeSet::new());
    }
}
