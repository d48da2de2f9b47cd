//! The corpus, and ways to change a document.

use std::fs;
use std::io;
use std::path::Path;

use crate::fuzz::Draw;

const TOKENS: [&str; 44] = [
    "{", "}", "[", "]", ": ", "- ", "? ", "&a ", "*a", "!!str ", "!x ", "|\n", ">-\n", "'", "\"", "#", "\t",
    "\n", "\r\n", "---\n", "...\n", "%", "@", "`", "<<: ", "~", ",", "{{", "}}", "\u{feff}", "\u{85}", "é",
    "\u{0}", "  ", "0x", "1e9", ".inf", "-", "null", " #", "🦀", "\\", "\u{202e}", "\u{2028}",
];

/// Values that are likely to be at some limit.
const VALUES: [&str; 40] = [
    "0",
    "1",
    "-1",
    "65535",
    "65536",
    "4294967296",
    "1.5",
    "1e3",
    "true",
    "''",
    "\"\"",
    "~",
    "[]",
    "{}",
    "/",
    "/a",
    "/a/",
    "//",
    "*",
    "'*'",
    "'.*'",
    "'('",
    "'(a|b)*'",
    "'[^/]+'",
    "'a{1,1000}'",
    "0s",
    "1ms",
    "1h",
    "99999h",
    "100ns",
    "GET",
    "get",
    "spiffe://test.example/ns/default/sa/web",
    "web",
    "cart",
    "cart.default.svc.cluster.local",
    "10.0.0.0/8",
    "::1",
    "Exact",
    "RegularExpression",
];

/// Texts to begin with.
pub(crate) struct Corpus {
    shop: Vec<u8>,
    texts: Vec<Vec<u8>>,
    /// Lines of all texts, as values for others.
    lines: Vec<String>,
}

impl Corpus {
    /// Every document below the repository that `compiler` is part of.
    pub(crate) fn read(compiler: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        for directory in ["../policy-examples", "../fixtures", "src"] {
            walk(&compiler.join(directory), &mut paths)?;
        }
        // The same corpus on every machine.
        paths.sort();
        let mut texts = Vec::new();
        for path in paths {
            let bytes = fs::read(&path)?;
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("yaml") => texts.push(bytes),
                Some("snap") => texts.extend(input_of(&String::from_utf8_lossy(&bytes))),
                _ => {}
            }
        }
        let lines = texts
            .iter()
            .flat_map(|text| String::from_utf8_lossy(text).lines().map(str::to_owned).collect::<Vec<_>>());
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines.dedup();
        let shop = include_str!("../../src/tests/mod.rs");
        let shop = shop.split("const SHOP: &str = \"").nth(1).and_then(|rest| rest.split("\";").next());
        Ok(Self { shop: shop.unwrap_or_default().as_bytes().to_vec(), texts, lines })
    }

    /// The mesh of the snapshot tests.
    pub(crate) fn shop(&self) -> &[u8] {
        &self.shop
    }

    /// One of the texts.
    pub(crate) fn pick(&self, draw: &mut Draw) -> Vec<u8> {
        draw.pick(&self.texts).cloned().unwrap_or_default()
    }

    /// The text with one change.
    pub(crate) fn changed(&self, mut text: Vec<u8>, draw: &mut Draw) -> Vec<u8> {
        let at = draw.below(text.len() + 1);
        match draw.below(12) {
            0 => {
                let byte = u8::try_from(draw.below(256)).unwrap_or(0);
                text.splice(at..(at + 1).min(text.len()), [byte]);
            }
            1 => drop(text.splice(at..at, draw.pick(&TOKENS).copied().unwrap_or_default().bytes())),
            2 => drop(text.drain(at..(at + draw.below(40)).min(text.len()))),
            3 => {
                let from = draw.below(text.len() + 1);
                let piece =
                    text.get(from..(from + draw.below(60)).min(text.len())).unwrap_or_default().to_vec();
                text.splice(at..at, piece);
            }
            4 => {
                let other = self.pick(draw);
                let from = draw.below(other.len() + 1);
                text.truncate(at);
                text.extend(other.get(from..).unwrap_or_default());
            }
            5 => {
                let other = self.pick(draw);
                text.extend(b"\n---\n");
                text.extend(other);
            }
            6..=9 => return self.with_lines(&text, draw),
            _ => return of_tree(&text, draw).unwrap_or(text),
        }
        text
    }

    /// A change of whole lines, which keeps most of the syntax.
    fn with_lines(&self, text: &[u8], draw: &mut Draw) -> Vec<u8> {
        let text = String::from_utf8_lossy(text);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let (at, other) = (draw.below(lines.len()), draw.below(lines.len()));
        let Some(line) = lines.get(at).cloned() else { return Vec::new() };
        let indent = line.len() - line.trim_start().len();
        match draw.below(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(other, line),
            2 => lines.swap(at, other),
            3 => {
                let new = draw.pick(&self.lines).map(|line| line.trim_start().to_owned()).unwrap_or_default();
                lines.insert(at, format!("{}{new}", " ".repeat(indent)));
            }
            4 => {
                let indent = (indent + 2 * draw.below(3)).saturating_sub(2);
                lines.splice(at..=at, [format!("{}{}", " ".repeat(indent), line.trim_start())]);
            }
            5 => {
                // Another value of the same key, from anywhere.
                let key = line.trim_start().trim_start_matches("- ").split(':').next().unwrap_or_default();
                let wanted = format!("{key}:");
                let same: Vec<&String> =
                    self.lines.iter().filter(|line| line.trim_start().starts_with(&wanted)).collect();
                if let Some(new) = draw.pick(&same) {
                    lines.splice(at..=at, [format!("{}{}", " ".repeat(indent), new.trim_start())]);
                }
            }
            _ => {
                if let Some((key, _)) = line.split_once(':') {
                    let value = draw.pick(&VALUES).copied().unwrap_or_default();
                    lines.splice(at..=at, [format!("{key}: {value}")]);
                }
            }
        }
        lines.join("\n").into_bytes()
    }
}

/// What a snapshot was made of: between its head and its rule.
fn input_of(snapshot: &str) -> Option<Vec<u8>> {
    let (_, rest) = snapshot.strip_prefix("---\n")?.split_once("\n---\n")?;
    let (input, _) = rest.split_once("\n────────")?;
    // Several files in one: as one file of several documents.
    let joined: Vec<&str> =
        input.lines().map(|line| if line.starts_with("=== ") { "---" } else { line }).collect();
    Some(joined.join("\n").into_bytes())
}

/// One value of one document changed, or put elsewhere; none for what is not YAML.
fn of_tree(text: &[u8], draw: &mut Draw) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut documents: Vec<&str> = text.split("\n---\n").collect();
    let at = draw.below(documents.len());
    let mut value: serde_yaml::Value = serde_yaml::from_str(documents.get(at)?).ok()?;
    let count = count(&value);
    let donor = nth(&value, &mut draw.below(count)).cloned();
    let scalar = serde_yaml::from_str(draw.pick(&VALUES)?).ok()?;
    let new = if draw.below(2) == 0 { donor.unwrap_or(scalar) } else { scalar };
    replace(&mut value, &mut draw.below(count), &new, draw.below(4));
    let written = serde_yaml::to_string(&value).ok()?;
    documents.splice(at..=at, [written.as_str()]);
    Some(documents.join("\n---\n").into_bytes())
}

fn count(value: &serde_yaml::Value) -> usize {
    1 + match value {
        serde_yaml::Value::Sequence(items) => items.iter().map(count).sum::<usize>(),
        serde_yaml::Value::Mapping(entries) => entries.iter().map(|(_, value)| count(value)).sum(),
        _ => 0,
    }
}

/// The value at a place in document order.
fn nth<'v>(value: &'v serde_yaml::Value, left: &mut usize) -> Option<&'v serde_yaml::Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        serde_yaml::Value::Sequence(items) => items.iter().find_map(|item| nth(item, left)),
        serde_yaml::Value::Mapping(entries) => entries.iter().find_map(|(_, value)| nth(value, left)),
        _ => None,
    }
}

/// Puts `new` at a place, or beside it; true when it is done.
fn replace(value: &mut serde_yaml::Value, left: &mut usize, new: &serde_yaml::Value, how: usize) -> bool {
    if *left == 0 {
        match (how, &mut *value) {
            (0, serde_yaml::Value::Sequence(items)) => items.push(new.clone()),
            (1, serde_yaml::Value::Sequence(items)) => items.truncate(items.len() / 2),
            (2, serde_yaml::Value::Sequence(items)) => items.extend(items.clone()),
            _ => *value = new.clone(),
        }
        return true;
    }
    *left -= 1;
    match value {
        serde_yaml::Value::Sequence(items) => items.iter_mut().any(|item| replace(item, left, new, how)),
        serde_yaml::Value::Mapping(entries) => {
            entries.iter_mut().any(|(_, value)| replace(value, left, new, how))
        }
        _ => false,
    }
}

fn walk(directory: &Path, found: &mut Vec<std::path::PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => walk(&path, found)?,
            false => found.push(path),
        }
    }
    Ok(())
}
