//! What every kind's own checks share: names, paths, expressions, limits, and the one way to say "not supported yet".

use std::collections::HashMap;
use std::hash::Hash;

use weft_bundle::duration::DurationText;
use weft_bundle::engine::is_told_field;
use weft_bundle::engine::path::CanonicalPath;

use super::{INVALID_NAME, NOT_SUPPORTED};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::yaml::de::listed;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD, Span, Spanned, Unread};

/// Collects what is wrong with one object.
pub(super) struct Checker<'a> {
    object: &'a str,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// Something with a place: a value that was read, or one that was not.
pub(super) trait Placed {
    fn place(&self) -> Span;
}

impl<T> Placed for Spanned<T> {
    fn place(&self) -> Span {
        self.span
    }
}

impl Placed for Unread {
    fn place(&self) -> Span {
        self.span
    }
}

impl<'a> Checker<'a> {
    pub(super) fn new(object: &'a str, diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        Self { object, diagnostics }
    }

    /// Adds a finding about this object.
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic.object(self.object));
    }

    /// Adds that a value is not one the field may have.
    pub(super) fn invalid(&mut self, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::error(INVALID_VALUE, message).at(span));
    }

    /// Adds the same with a remedy.
    pub(super) fn invalid_because(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Diagnostic::error(INVALID_VALUE, message).at(span).help(help));
    }

    /// Refuses a field that is there and not honoured yet. To lift it, honour it and delete the call.
    pub(super) fn not_yet<P: Placed>(&mut self, field: Option<&P>, name: &str, needs: &str) {
        if let Some(field) = field {
            self.not_yet_at(field.place(), name, needs);
        }
    }

    /// Refuses a construct that is not honoured yet.
    pub(super) fn not_yet_at(&mut self, span: Span, name: &str, needs: &str) {
        self.report(
            Diagnostic::error(NOT_SUPPORTED, format!("`{name}` is not supported yet"))
                .at(span)
                .label("would have no effect")
                .with_note(format!("it needs {needs}"))
                .help("remove it; nothing is built from a document that asks for more than it would get"),
        );
    }

    /// A DNS label: at most 63 of lower-case letters, digits and `-`, not at an end.
    pub(super) fn label(&mut self, name: &Spanned<String>, what: &str) {
        if !is_label(name) {
            let rule =
                "at most 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit";
            self.bad_name(name, what, rule);
        }
    }

    /// A DNS subdomain: labels with dots between them, at most 253 characters.
    pub(super) fn subdomain(&mut self, name: &Spanned<String>, what: &str) {
        if !is_subdomain(name) {
            let rule = "at most 253 lower-case letters, digits, `-` and `.`, every part beginning and ending with a \
                        letter or digit";
            self.bad_name(name, what, rule);
        }
    }

    fn bad_name(&mut self, name: &Spanned<String>, what: &str, rule: &str) {
        if crate::yaml::parse::action(name).is_some() {
            self.report(crate::yaml::parse::unrendered(name.span));
            return;
        }
        let diagnostic =
            Diagnostic::error(INVALID_NAME, format!("`{}` is not the name of {what}", Short(name)))
                .at(name.span)
                .with_note(format!("such a name has {rule}"));
        let lower = name.to_lowercase();
        let near = (lower != name.value && is_subdomain(&lower)).then(|| format!("did you mean `{lower}`?"));
        self.report(match near {
            Some(near) => diagnostic.label(near),
            None => diagnostic,
        });
    }

    /// Every key once; the second of a pair is reported, with the first beside it.
    pub(super) fn unique<K: Hash + Eq>(
        &mut self,
        items: impl IntoIterator<Item = (K, Span)>,
        message: impl Fn(&K) -> String,
    ) {
        let mut seen = HashMap::new();
        for (key, span) in items {
            match seen.get(&key) {
                None => {
                    seen.insert(key, span);
                }
                Some(first) => {
                    let diagnostic = Diagnostic::error(INVALID_VALUE, message(&key))
                        .at(span)
                        .related(*first, "first here");
                    self.report(diagnostic);
                }
            }
        }
    }

    /// At most `limit` entries.
    pub(super) fn at_most<T>(&mut self, list: &[Spanned<T>], limit: usize, what: &str) {
        if let Some(first) = list.get(limit) {
            let count = list.len();
            self.invalid(first.span, format!("{count} {what} are more than the {limit} that are allowed"));
        }
    }

    /// A list of conditions that is there has an entry: an empty one reads as "everything" to some and as "nothing" to
    /// others.
    pub(super) fn not_empty<T>(&mut self, list: Option<&Vec<T>>, owner: Span, name: &str) {
        if list.is_some_and(Vec::is_empty) {
            self.invalid_because(
                owner,
                format!("`{name}` is an empty list, which matches nothing"),
                format!("leave `{name}` out to match everything"),
            );
        }
    }

    /// A list of what to do that is there has an entry.
    pub(super) fn not_idle<T>(&mut self, list: Option<&Vec<T>>, owner: Span, name: &str) {
        if list.is_some_and(Vec::is_empty) {
            let message = format!("`{name}` is an empty list, which asks for nothing");
            self.invalid_because(owner, message, format!("give `{name}` at least one entry"));
        }
    }

    /// A path as requests have it once they are in canonical form; anything else would never match.
    pub(super) fn path(&mut self, path: &Spanned<String>) {
        if !path.starts_with('/') {
            self.invalid(path.span, format!("the path `{}` does not begin with `/`", Short(path)));
            return;
        }
        match CanonicalPath::parse(path) {
            Err(refusal) => {
                let message = format!("no request has the path `{}`", Short(path));
                self.report(
                    Diagnostic::error(INVALID_VALUE, message).at(path.span).with_note(refusal.to_string()),
                );
            }
            Ok(canonical) if canonical.as_str() != path.value => self.invalid_because(
                path.span,
                format!("no request has the path `{}`", Short(path)),
                format!("paths are compared in canonical form, which is `{canonical}`"),
            ),
            Ok(_) => {}
        }
    }

    /// A regular expression that proxies can run in linear time.
    pub(super) fn regex(&mut self, pattern: &Spanned<String>) {
        if let Err(error) = weft_bundle::engine::whole_regex(pattern) {
            self.report(
                Diagnostic::error(INVALID_VALUE, error.to_string())
                    .at(pattern.span)
                    .with_note("expressions are those of RE2: no look-around, no back-references"),
            );
        }
    }

    /// An HTTP method: a token, and in upper case unless it is not one of the usual ones.
    pub(super) fn method(&mut self, method: &Spanned<String>) {
        if !is_token(method) {
            self.invalid(method.span, format!("`{}` is not an HTTP method", Short(method)));
            return;
        }
        let upper = method.to_uppercase();
        if upper != method.value && METHODS.contains(&upper.as_str()) {
            self.invalid_because(
                method.span,
                format!("methods are compared with their case, and no request has `{}`", method.value),
                format!("write `{upper}`"),
            );
        }
    }

    /// One of Gateway API's methods.
    pub(super) fn standard_method(&mut self, method: &Spanned<String>) {
        if METHODS.contains(&method.as_str()) {
            return;
        }
        let message = format!("`{}` is not one of {}", Short(method), listed(&METHODS));
        let diagnostic = Diagnostic::error(INVALID_VALUE, message).at(method.span);
        self.report(match did_you_mean(method, METHODS) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }

    /// A name to look up: labels of letters, digits, `-` and `_`.
    pub(super) fn dns_name(&mut self, name: &Spanned<String>) {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
        };
        if name.len() > 253 || !name.split('.').all(label) {
            self.invalid(name.span, format!("`{}` is not a DNS name in lower case", Short(name)));
        }
    }

    /// A header field's name.
    pub(super) fn header_name(&mut self, name: &Spanned<String>) {
        if name.starts_with(':') {
            self.invalid_because(
                name.span,
                format!("`{}` is a pseudo-header, not a header field", Short(name)),
                "match and change path, method and authority by their own fields",
            );
        } else if !is_token(name) || name.len() > 256 {
            self.invalid(name.span, format!("`{}` is not the name of a header field", Short(name)));
        }
    }

    /// The name of a header field that tells the application what a token says.
    pub(super) fn told_header(&mut self, name: &Spanned<String>) {
        self.header_name(name);
        if is_token(name) && !is_told_field(&name.to_ascii_lowercase()) {
            self.invalid_because(
                name.span,
                format!("`{}` cannot carry what a token says", Short(name)),
                "it belongs to the framing of messages, or to the proxies",
            );
        }
    }

    /// The name of a cookie: a token (RFC 6265 section 4.1.1).
    pub(super) fn cookie_name(&mut self, name: &Spanned<String>) {
        if !is_token(name) || name.len() > 256 {
            self.invalid(name.span, format!("`{}` is not the name of a cookie", Short(name)));
        }
    }

    /// Not more than everything.
    pub(super) fn percent(&mut self, percent: &Spanned<u32>) {
        if percent.value > 100 {
            self.invalid(percent.span, format!("{} per cent is more than everything", percent.value));
        }
    }

    /// A count that is not zero.
    pub(super) fn at_least_one(&mut self, count: &Spanned<u32>) {
        if count.value == 0 {
            self.invalid(count.span, "this must be at least 1");
        }
    }

    /// A duration that is not zero.
    pub(super) fn some_time(&mut self, duration: &Spanned<DurationText>) {
        if duration.is_zero() {
            self.invalid(duration.span, "this must be longer than nothing");
        }
    }

    /// One of some fields that exclude each other, given with their places where they are there.
    pub(super) fn exactly_one(&mut self, owner: Span, fields: &[(&str, Option<Span>)]) {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let mut there = fields.iter().filter_map(|(name, span)| Some((*name, (*span)?)));
        match (there.next(), there.next()) {
            (None, _) => self.report(
                Diagnostic::error(MISSING_FIELD, format!("one of {} must be there", listed(&names)))
                    .at(owner),
            ),
            (Some(_), None) => {}
            (Some((first, place)), Some((second, span))) => self.report(
                Diagnostic::error(INVALID_VALUE, format!("`{first}` and `{second}` exclude each other"))
                    .at(span)
                    .related(place, "the other one is here"),
            ),
        }
    }

    /// A header field's value.
    pub(super) fn header_value(&mut self, value: &Spanned<String>) {
        if http::HeaderValue::from_str(value).is_err() || value.len() > 4096 {
            self.invalid(value.span, format!("`{}` is not the value of a header field", Short(value)));
        }
    }

    /// A port number: not zero.
    pub(super) fn port(&mut self, port: Option<&Spanned<u16>>) {
        if let Some(port) = port
            && port.value == 0
        {
            self.invalid(port.span, "a port is a number from 1 to 65535, not 0");
        }
    }

    /// `http` or `https`.
    pub(super) fn scheme(&mut self, scheme: Option<&Spanned<String>>) {
        if let Some(scheme) = scheme
            && !matches!(scheme.as_str(), "http" | "https")
        {
            self.invalid(scheme.span, format!("`{}` is not `http` or `https`", Short(scheme)));
        }
    }

    /// A status that redirects.
    pub(super) fn redirect_status(&mut self, status: Option<&Spanned<u16>>) {
        if let Some(status) = status
            && !matches!(status.value, 301 | 302 | 303 | 307 | 308)
        {
            let message =
                format!("{} is not a status that redirects: 301, 302, 303, 307 or 308", status.value);
            self.invalid(status.span, message);
        }
    }
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// RFC 1123 label.
pub(super) fn is_label(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// RFC 1123 subdomain.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// RFC 9110 token.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
