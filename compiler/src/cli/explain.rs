//! `weft explain`: what a finding means.

use std::process::ExitCode;

use serde::Serialize;

use super::{FINE, refuse, say};
use crate::analysis::{PAGES, Page};
use crate::diagnostic::hint;

/// Says what an analysis finds, why it matters, and how to mend it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  weft explain                                       list all analyses with their levels
  weft explain unreachable-route                     the page of one
  weft explain unreachable-route --format markdown
  weft explain --format json                         all of them, for machines

`(always)` stands behind those whose level is fixed: nothing can be built from what they find. The level of the others
is set with `analyses:` in the Mesh document or with `weft check --level NAME=LEVEL`.")]
pub struct Args {
    /// The name in brackets behind `error`, `warning` or `note`; without it, all names are listed
    analysis: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = PageFormat::Text)]
    format: PageFormat,
}

/// How pages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PageFormat {
    /// For a terminal
    Text,
    /// A page with headings; as a list, a table
    Markdown,
    /// For machines: an object, or a list of them
    Json,
}

/// Prints the page, or the list.
pub fn run(args: &Args) -> ExitCode {
    let Some(name) = &args.analysis else {
        say(list(args.format));
        return FINE;
    };
    match Page::find(name) {
        Some(page) => {
            say(one(page, args.format));
            FINE
        }
        None => {
            let hint = hint(name, PAGES.iter().map(|page| page.name));
            refuse(format_args!("there is no analysis `{name}`{hint}\n\n`weft explain` lists them all"))
        }
    }
}

/// A page as machines read it.
#[derive(Serialize)]
struct Explained {
    name: &'static str,
    summary: &'static str,
    level: String,
    adjustable: bool,
    page: String,
}

impl Explained {
    fn new(page: &'static Page) -> Self {
        let Page { name, summary, level, adjustable, .. } = page;
        Self { name, summary, level: level.to_string(), adjustable: *adjustable, page: page.text() }
    }
}

fn list(format: PageFormat) -> String {
    let line = |page: &Page| {
        let fixed = if page.adjustable { "" } else { " (always)" };
        format!("{:<22} {:<6} {}{fixed}", page.name, page.level.to_string(), page.summary)
    };
    let row = |page: &Page| {
        let fixed = if page.adjustable { "" } else { ", always" };
        format!("| `{}` | {}{fixed} | {} |", page.name, page.level, page.summary)
    };
    match format {
        PageFormat::Text => PAGES.iter().map(line).collect::<Vec<_>>().join("\n"),
        PageFormat::Markdown => {
            let head = ["| analysis | level | finds |", "|---|---|---|"].map(str::to_owned);
            head.into_iter().chain(PAGES.iter().map(row)).collect::<Vec<_>>().join("\n")
        }
        PageFormat::Json => json(&PAGES.iter().map(Explained::new).collect::<Vec<_>>()),
    }
}

fn one(page: &'static Page, format: PageFormat) -> String {
    match format {
        PageFormat::Text => format!("{} — {}\n\n{}", page.name, page.summary, page.text()),
        PageFormat::Markdown => {
            // The name is the heading, so those of the page are below it.
            let text = page.text().replace("\n# ", "\n## ");
            format!("# `{}`\n\n{}\n\n#{text}", page.name, page.summary)
        }
        PageFormat::Json => json(&Explained::new(page)),
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("strings and booleans always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_in_each_format() {
        let page = Page::find("dead-backend").unwrap();
        let markdown = one(page, PageFormat::Markdown);
        assert!(markdown.starts_with(
            "# `dead-backend`\n\na share of requests goes where there is no endpoint\n\n## What it finds\nA rule"
        ));
        assert!(markdown.contains("\n## Why it matters\n"), "{markdown}");
        let json: serde_json::Value = serde_json::from_str(&one(page, PageFormat::Json)).unwrap();
        assert_eq!(
            (&json["name"], &json["level"], &json["adjustable"]),
            (&"dead-backend".into(), &"warn".into(), &true.into())
        );
    }

    #[test]
    fn the_list_in_each_format() {
        for format in [PageFormat::Text, PageFormat::Markdown, PageFormat::Json] {
            let list = list(format);
            assert!(PAGES.iter().all(|page| list.contains(page.name)), "{list}");
        }
        let json: serde_json::Value = serde_json::from_str(&list(PageFormat::Json)).unwrap();
        assert_eq!(json.as_array().unwrap().len(), PAGES.len());
    }
}
