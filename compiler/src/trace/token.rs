//! What becomes of the tokens of a request, by the code that proxies run ([`weft_bundle::engine::TokenReader`]). Their times are
//! judged where the question says what time it is.

use http::HeaderMap;
use weft_bundle::engine::{Bearer, Judged, NoMemory, Request, TokenReader};

/// The parts of a request that reading its tokens changes, as they are passed on.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    headers: HeaderMap,
    query: Option<String>,
}

impl Passed {
    /// What is passed on of a request.
    fn of(reader: &TokenReader, bearer: Option<&Bearer<'_>>, request: &Request<'_>) -> Self {
        let mut passed = Self { headers: request.headers.clone(), query: request.query.map(str::to_owned) };
        reader.pass_on(bearer, &mut passed.headers, &mut passed.query);
        passed
    }

    /// The request as it goes on.
    pub(super) fn request<'p>(&'p self, request: &Request<'p>) -> Request<'p> {
        Request { headers: &self.headers, query: self.query.as_deref(), ..*request }
    }
}

/// Judges the tokens of a request, and gives what is passed on of it.
pub(super) fn judge<'r>(
    reader: &'r TokenReader,
    request: &Request<'_>,
    now: Option<i64>,
) -> (Judged<'r>, Passed) {
    let judged = reader.judge(request, now, &NoMemory);
    let bearer = match &judged {
        Judged::Valid(bearer) => Some(bearer),
        Judged::Missing | Judged::Refused(_) => None,
    };
    let passed = Passed::of(reader, bearer, request);
    (judged, passed)
}
