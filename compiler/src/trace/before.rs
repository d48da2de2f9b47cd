//! What a rule does before it forwards: what other origins are told, and faults.

use http::{HeaderMap, HeaderName, HeaderValue};
use weft_bundle::body::{Abort, Delay, Fraction, Rule};
use weft_bundle::engine::{CrossOrigin, Grant, Request, Routed};

use super::answer::{BackendShare, Trace};
use super::{Run, fields, respond};

impl Run<'_, '_> {
    /// What a request of a browser is told: an answer to a preflight, or what its response gets, if anything.
    pub(super) fn cross_origin<'e>(
        &mut self,
        routed: &Routed<'e>,
        request: &Request<'_>,
    ) -> Result<Option<Grant<'e>>, Box<Trace>> {
        let origin = Some(&routed.rule.origin);
        match routed.cross_origin(request) {
            None => Ok(None),
            Some(CrossOrigin::Preflight(_)) => {
                self.say(
                    "cors",
                    "a preflight of an origin that may ask; it is answered here".to_owned(),
                    origin,
                );
                Err(Box::new(respond(204, Some(routed.rule))))
            }
            Some(CrossOrigin::Refused) => {
                self.say(
                    "cors",
                    "a preflight of an origin that may not ask; it is refused".to_owned(),
                    origin,
                );
                Err(Box::new(respond(403, Some(routed.rule))))
            }
            Some(CrossOrigin::Pass(grant)) => {
                if grant.is_given() {
                    self.say("cors", "the response says that this origin may read it".to_owned(), origin);
                }
                Ok(Some(grant))
            }
        }
    }

    /// The faults that some of the requests meet.
    pub(super) fn say_faults(&mut self, rule: &Rule) {
        let Some(fault) = &rule.fault else { return };
        if let Some(Delay { fixed, share: Fraction { numerator, denominator } }) = &fault.delay {
            let text = format!("{numerator} of {denominator} wait {fixed}");
            self.say("fault", text, Some(&rule.origin));
        }
        if let Some(Abort { status, grpc_status, share: Fraction { numerator, denominator } }) = &fault.abort
        {
            let status = match grpc_status {
                Some(code) => format!("gRPC status {code}"),
                None => status.to_string(),
            };
            let text = format!("{numerator} of {denominator} are answered with {status}");
            self.say("fault", text, Some(&rule.origin));
        }
    }
}

/// Adds to what the caller sees of a response what its origin is told.
pub(super) fn told(mut share: BackendShare, grant: Option<&Grant<'_>>) -> BackendShare {
    if let (Some(grant), Some(arriving)) = (grant, &mut share.arriving) {
        let mut headers = HeaderMap::new();
        for (name, value) in &arriving.response_headers {
            let field = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value));
            if let (Ok(name), Ok(value)) = field {
                headers.append(name, value);
            }
        }
        grant.apply(&mut headers);
        arriving.response_headers = fields(&headers);
    }
    share
}
