//! JUnit's XML, as Jenkins, GitLab and others read it: suites of cases, each passed or failed.
//!
//! Only what all readers know: `testsuites`, `testsuite`, `testcase`, `failure`. There are no times, so equal results give
//! equal bytes.

use std::fmt::Write as _;

/// A group of cases.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// In order.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What it belongs to.
    pub class: String,
    /// The file it is written in.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// What failed; none if it passed.
    pub failures: Vec<Failure>,
}

/// One thing that failed.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// The name of what found it.
    pub kind: String,
    /// In a line.
    pub message: String,
    /// In full.
    pub text: String,
}

/// The document, with a line break at the end.
pub fn render(suites: &[Suite]) -> String {
    let failed = |suite: &Suite| suite.cases.iter().filter(|case| !case.failures.is_empty()).count();
    let tests: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let failures: usize = suites.iter().map(failed).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites name=\"weft\" tests=\"{tests}\" failures=\"{failures}\">");
    for suite in suites {
        let (name, tests, failures) = (escape(&suite.name), suite.cases.len(), failed(suite));
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\">");
        suite.cases.iter().for_each(|case| xml += &self::case(case));
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

fn case(case: &Case) -> String {
    let (name, class, file) = (escape(&case.name), escape(&case.class), escape(&case.file));
    let mut xml =
        format!("    <testcase name=\"{name}\" classname=\"{class}\" file=\"{file}\" line=\"{}\"", case.line);
    if case.failures.is_empty() {
        return xml + "/>\n";
    }
    xml += ">\n";
    for failure in &case.failures {
        let (kind, message, text) = (escape(&failure.kind), escape(&failure.message), escape(&failure.text));
        let _ = writeln!(xml, "      <failure type=\"{kind}\" message=\"{message}\">{text}</failure>");
    }
    xml + "    </testcase>\n"
}

/// For text and attributes alike. What XML 1.0 cannot hold becomes the replacement character.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_count_and_texts_are_escaped() {
        let failure = Failure { kind: "f".into(), message: "a < \"b\"".into(), text: "1\n\u{1b}&2".into() };
        let failed = Case { name: "<x>".into(), line: 3, failures: vec![failure], ..Case::default() };
        let passed = Case { name: "y".into(), ..Case::default() };
        let xml = render(&[Suite { name: "s".into(), cases: vec![failed, passed] }]);
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="weft" tests="2" failures="1">
  <testsuite name="s" tests="2" failures="1">
    <testcase name="&lt;x&gt;" classname="" file="" line="3">
      <failure type="f" message="a &lt; &quot;b&quot;">1
�&amp;2</failure>
    </testcase>
    <testcase name="y" classname="" file="" line="0"/>
  </testsuite>
</testsuites>
"#;
        assert_eq!(xml, expected);
    }
}
