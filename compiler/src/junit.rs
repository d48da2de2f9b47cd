//! JUnit XML: the little of it that every CI system reads.
//!
//! There is no standard; this is the common ground of Jenkins, GitLab, Azure and GitHub's reporters: suites of cases, a
//! case fails or passes, either may carry text.

use std::fmt::Write as _;

/// A run: suites with a name.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What ran.
    pub name: String,
    /// In the order in which they are shown.
    pub suites: Vec<Suite>,
}

/// Cases that belong together.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// What they have in common.
    pub name: String,
    /// In the order in which they are shown.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// What is tried.
    pub name: String,
    /// What it is tried on.
    pub class: String,
    /// The file it is in.
    pub file: Option<String>,
    /// The line of that file, from 1.
    pub line: Option<u32>,
    /// Why it failed; none if it passed.
    pub failure: Option<Failure>,
    /// What else there is to say.
    pub output: Option<String>,
}

/// Why a case failed.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// The kind of failure.
    pub kind: String,
    /// In a line.
    pub message: String,
    /// At length.
    pub text: String,
}

impl Run {
    /// The XML document, with a line break at the end. It holds no times, so that equal runs give equal bytes.
    pub fn render(&self) -> String {
        let count = |fails: bool| {
            self.suites
                .iter()
                .flat_map(|suite| &suite.cases)
                .filter(|case| !fails || case.failure.is_some())
                .count()
        };
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        xml.push_str("<testsuites");
        attribute(&mut xml, "name", &self.name);
        attribute(&mut xml, "tests", &count(false).to_string());
        attribute(&mut xml, "failures", &count(true).to_string());
        attribute(&mut xml, "errors", "0");
        xml.push_str(">\n");
        for suite in &self.suites {
            suite.render(&mut xml);
        }
        xml.push_str("</testsuites>\n");
        xml
    }
}

impl Suite {
    fn render(&self, xml: &mut String) {
        let failures = self.cases.iter().filter(|case| case.failure.is_some()).count();
        xml.push_str("  <testsuite");
        attribute(xml, "name", &self.name);
        attribute(xml, "tests", &self.cases.len().to_string());
        attribute(xml, "failures", &failures.to_string());
        attribute(xml, "errors", "0");
        attribute(xml, "skipped", "0");
        xml.push_str(">\n");
        for case in &self.cases {
            case.render(xml);
        }
        xml.push_str("  </testsuite>\n");
    }
}

impl Case {
    fn render(&self, xml: &mut String) {
        xml.push_str("    <testcase");
        attribute(xml, "name", &self.name);
        attribute(xml, "classname", &self.class);
        if let Some(file) = &self.file {
            attribute(xml, "file", file);
        }
        if let Some(line) = self.line {
            attribute(xml, "line", &line.to_string());
        }
        if self.failure.is_none() && self.output.is_none() {
            xml.push_str("/>\n");
            return;
        }
        xml.push_str(">\n");
        if let Some(Failure { kind, message, text }) = &self.failure {
            xml.push_str("      <failure");
            attribute(xml, "type", kind);
            attribute(xml, "message", message);
            let _ = writeln!(xml, ">{}</failure>", escaped(text));
        }
        if let Some(output) = &self.output {
            let _ = writeln!(xml, "      <system-out>{}</system-out>", escaped(output));
        }
        xml.push_str("    </testcase>\n");
    }
}

fn attribute(xml: &mut String, name: &str, value: &str) {
    let _ = write!(xml, " {name}=\"{}\"", escaped(value).replace('\n', "&#10;").replace('\t', "&#9;"));
}

/// Text that is text in XML 1.0, which has no way to spell most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_is_well_formed_and_comes_back() {
        let evil = "]]> & <a b=\"c\">'\n\t\u{1b}[31m\u{0}\u{ffff} é";
        let case = Case {
            name: evil.into(),
            class: evil.into(),
            file: Some(evil.into()),
            line: Some(3),
            failure: Some(Failure { kind: "error".into(), message: evil.into(), text: evil.into() }),
            output: Some(evil.into()),
        };
        let suite = Suite { name: evil.into(), cases: vec![case, Case::default()] };
        let xml = Run { name: evil.into(), suites: vec![suite, Suite::default()] }.render();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let readable = evil.replace(['\u{1b}', '\u{0}', '\u{ffff}'], "\u{fffd}");
        let root = document.root_element();
        assert_eq!(root.attribute("name"), Some(readable.as_str()));
        assert_eq!((root.attribute("tests"), root.attribute("failures")), (Some("2"), Some("1")));
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(
            (failure.attribute("message"), failure.text()),
            (Some(readable.as_str()), Some(readable.as_str()))
        );
    }
}
