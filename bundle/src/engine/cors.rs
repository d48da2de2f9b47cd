//! What browsers of other origins are told (the Fetch standard's CORS protocol; Gateway API v1, `HTTPCORSFilter`; Istio
//! `CorsPolicy`).
//!
//! A *preflight* is an `OPTIONS` with `Origin` and `Access-Control-Request-Method`; it is answered here, unless its origin may
//! not ask and policy forwards it then. Every other request goes on, and if its origin may ask, its response says so. The
//! browser enforces; nothing is refused for its method or its header fields.
//!
//! Where credentials may come along, `*` means nothing to browsers, so what was asked for is named instead.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use super::Request;
use super::matcher::{MatchError, TextMatcher};
use crate::body::{Cors, StringMatch};

/// What becomes of a request to a rule that has something to say to other origins.
#[derive(Clone, Debug)]
pub enum CrossOrigin<'e> {
    /// It is answered here, with these fields.
    Preflight(HeaderMap),
    /// It is a preflight of an origin that may not ask, and is refused.
    Refused,
    /// It goes on, and its response gets what the grant says.
    Pass(Grant<'e>),
}

/// What a response gets.
#[derive(Clone, Debug)]
pub struct Grant<'e> {
    cors: &'e CorsMatcher,
    /// The value of `Access-Control-Allow-Origin`, if the origin may ask.
    origin: Option<HeaderValue>,
}

/// A [`Cors`], compiled.
#[derive(Debug)]
pub(super) struct CorsMatcher {
    origins: Vec<TextMatcher>,
    /// Whether every origin gets the same answer.
    any_origin: bool,
    methods: Names,
    headers: Names,
    exposed: Names,
    max_age: Option<HeaderValue>,
    credentials: bool,
    forward_unmatched: bool,
}

/// A list of names, as written in a field.
#[derive(Clone, Debug)]
enum Names {
    None,
    Any,
    Listed(HeaderValue),
}

impl Names {
    fn compile(names: &[String]) -> Result<Self, MatchError> {
        if names.iter().any(|name| name == "*") {
            return Ok(Self::Any);
        }
        if names.is_empty() {
            return Ok(Self::None);
        }
        let listed = names.join(", ");
        HeaderValue::from_str(&listed).map(Self::Listed).map_err(|_| MatchError::HeaderName(listed))
    }

    /// The field's value; `asked` is what stands for `*` where credentials may come along.
    fn value(&self, credentials: bool, asked: Option<&HeaderValue>) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Any if credentials => asked.cloned(),
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Listed(names) => Some(names.clone()),
        }
    }
}

impl CorsMatcher {
    pub(super) fn compile(cors: &Cors) -> Result<Self, MatchError> {
        Ok(Self {
            origins: cors.allow_origins.iter().map(TextMatcher::compile).collect::<Result<_, _>>()?,
            any_origin: cors.allow_origins.contains(&StringMatch::Present) && !cors.allow_credentials,
            methods: Names::compile(&cors.allow_methods)?,
            headers: Names::compile(&cors.allow_headers)?,
            exposed: Names::compile(&cors.expose_headers)?,
            max_age: cors.max_age.map(|age| HeaderValue::from(age.get().as_secs())),
            credentials: cors.allow_credentials,
            forward_unmatched: cors.forward_unmatched,
        })
    }

    pub(super) fn decide(&self, request: &Request<'_>) -> CrossOrigin<'_> {
        let origin = only(request.headers, &ORIGIN);
        let allowed = origin.filter(|origin| self.origins.iter().any(|one| one.matches(origin.as_bytes())));
        let grant = Grant {
            cors: self,
            origin: allowed.map(|origin| match self.any_origin {
                true => HeaderValue::from_static("*"),
                false => origin.clone(),
            }),
        };
        let method = only(request.headers, &ACCESS_CONTROL_REQUEST_METHOD);
        let (Some(_), Some(method), "OPTIONS") = (origin, method, request.method) else {
            return CrossOrigin::Pass(grant);
        };
        match (&grant.origin, self.forward_unmatched) {
            (Some(_), _) => CrossOrigin::Preflight(self.preflight(&grant, method, request)),
            (None, true) => CrossOrigin::Pass(grant),
            (None, false) => CrossOrigin::Refused,
        }
    }

    fn preflight(&self, grant: &Grant<'_>, method: &HeaderValue, request: &Request<'_>) -> HeaderMap {
        let mut fields = HeaderMap::new();
        grant.say_who(&mut fields);
        let asked = only(request.headers, &ACCESS_CONTROL_REQUEST_HEADERS);
        let said = [
            (ACCESS_CONTROL_ALLOW_METHODS, self.methods.value(self.credentials, Some(method))),
            (ACCESS_CONTROL_ALLOW_HEADERS, self.headers.value(self.credentials, asked)),
            (ACCESS_CONTROL_MAX_AGE, self.max_age.clone()),
        ];
        for (name, value) in said {
            if let Some(value) = value {
                fields.insert(name, value);
            }
        }
        fields
    }
}

/// The value of a field; none if it is not there, or more than once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

impl Grant<'_> {
    /// Whether the origin of the request may ask.
    pub fn is_given(&self) -> bool {
        self.origin.is_some()
    }

    /// Writes it into a response. What an upstream says of the same things is replaced if the origin may ask, and else left
    /// alone.
    pub fn apply(&self, response: &mut HeaderMap) {
        let exposed = match &self.cors.exposed {
            Names::Any if self.cors.credentials => named(response),
            other => other.value(false, None),
        };
        self.say_who(response);
        if let (Some(_), Some(exposed)) = (&self.origin, exposed) {
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Says which origin may ask, and that the answer depends on it, so that no cache gives it to another.
    fn say_who(&self, fields: &mut HeaderMap) {
        if !self.cors.any_origin {
            fields.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = &self.origin else { return };
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.cors.credentials {
            fields.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else {
            fields.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        }
    }
}

/// The names of a response's fields, sorted.
fn named(response: &HeaderMap) -> Option<HeaderValue> {
    let mut names: Vec<&str> = response.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    if names.is_empty() { None } else { HeaderValue::from_str(&names.join(", ")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::DurationText;
    use crate::engine::path::CanonicalPath;

    fn cors() -> Cors {
        Cors {
            allow_origins: vec![
                StringMatch::Exact("https://a.example".to_owned()),
                StringMatch::Regex("https://[a-z]+\\.b\\.example".to_owned()),
            ],
            allow_methods: vec!["GET".to_owned(), "PUT".to_owned()],
            allow_headers: vec!["x-one".to_owned()],
            expose_headers: vec!["x-two".to_owned(), "x-three".to_owned()],
            max_age: Some(DurationText::new(std::time::Duration::from_secs(60))),
            allow_credentials: false,
            forward_unmatched: false,
        }
    }

    /// What a request of these fields gets: `pass`, `refused` or `preflight`, and the fields of the response.
    fn told(cors: &Cors, method: &str, fields: &[(&'static str, &str)], response: &[&'static str]) -> String {
        let matcher = CorsMatcher::compile(cors).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let path = CanonicalPath::parse("/").unwrap();
        let request =
            Request { method, scheme: "http", authority: "api", path: &path, query: None, headers: &headers };
        let (word, answer) = match matcher.decide(&request) {
            CrossOrigin::Refused => return "refused".to_owned(),
            CrossOrigin::Preflight(fields) => ("preflight", fields),
            CrossOrigin::Pass(grant) => {
                let mut answer = HeaderMap::new();
                for name in response {
                    answer.insert(*name, HeaderValue::from_static("upstream"));
                }
                grant.apply(&mut answer);
                ("pass", answer)
            }
        };
        let mut lines: Vec<String> =
            answer.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines.insert(0, word.to_owned());
        lines.join("\n").replace("access-control-", "")
    }

    const A: (&str, &str) = ("origin", "https://a.example");
    const ASKS: (&str, &str) = ("access-control-request-method", "PUT");

    #[test]
    fn preflights_are_answered() {
        let answer = "preflight\nallow-headers: x-one\nallow-methods: GET, PUT\nallow-origin: https://a.example\n\
                      max-age: 60\nvary: origin";
        assert_eq!(told(&cors(), "OPTIONS", &[A, ASKS], &[]), answer);
        let other = ("origin", "https://www.b.example");
        assert!(
            told(&cors(), "OPTIONS", &[other, ASKS], &[]).contains("allow-origin: https://www.b.example")
        );
        // No origin, no method asked for, another method: ordinary requests.
        for (method, fields) in [("OPTIONS", &[ASKS][..]), ("OPTIONS", &[A]), ("PUT", &[A, ASKS])] {
            assert!(told(&cors(), method, fields, &[]).starts_with("pass"), "{method} {fields:?}");
        }
    }

    #[test]
    fn other_origins_are_told_nothing() {
        let forward = Cors { forward_unmatched: true, ..cors() };
        for origin in ["https://a.example.evil", "http://a.example", "null", "https://x.y.b.example"] {
            let origin = ("origin", origin);
            assert_eq!(told(&cors(), "OPTIONS", &[origin, ASKS], &[]), "refused");
            assert_eq!(told(&forward, "OPTIONS", &[origin, ASKS], &[]), "pass\nvary: origin");
            assert_eq!(told(&cors(), "GET", &[origin], &[]), "pass\nvary: origin");
        }
        assert_eq!(told(&cors(), "GET", &[A, A], &[]), "pass\nvary: origin", "two origins are none");
    }

    #[test]
    fn responses_say_who_may_read_them() {
        let answer = "pass\nallow-origin: https://a.example\nexpose-headers: x-two, x-three\nvary: origin";
        assert_eq!(told(&cors(), "GET", &[A], &["access-control-allow-origin"]), answer);
        assert_eq!(told(&cors(), "GET", &[], &[]), "pass\nvary: origin", "a cache may hold it for others");
    }

    #[test]
    fn any_is_a_star_without_credentials_and_what_was_asked_for_with_them() {
        let star = || vec!["*".to_owned()];
        let any = Cors {
            allow_origins: vec![StringMatch::Present],
            allow_methods: star(),
            allow_headers: star(),
            expose_headers: star(),
            max_age: None,
            ..cors()
        };
        let asked = ("access-control-request-headers", "x-a, x-b");
        assert_eq!(
            told(&any, "OPTIONS", &[A, ASKS, asked], &[]),
            "preflight\nallow-headers: *\nallow-methods: *\nallow-origin: *"
        );
        assert_eq!(
            told(&any, "GET", &[A], &["x-b"]),
            "pass\nallow-origin: *\nexpose-headers: *\nx-b: upstream"
        );
        let credentials = Cors { allow_credentials: true, ..any };
        assert_eq!(
            told(&credentials, "OPTIONS", &[A, ASKS, asked], &[]),
            "preflight\nallow-credentials: true\nallow-headers: x-a, x-b\nallow-methods: PUT\n\
             allow-origin: https://a.example\nvary: origin"
        );
        assert_eq!(
            told(&credentials, "GET", &[A], &["x-b", "x-a"]),
            "pass\nallow-credentials: true\nallow-origin: https://a.example\nexpose-headers: x-a, x-b\nvary: origin\n\
             x-a: upstream\nx-b: upstream"
        );
    }
}
