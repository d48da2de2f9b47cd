//! Whether those who are asked let a request in: its token first, then access policy.

use std::net::{IpAddr, Ipv4Addr};

use weft_bundle::body::Origin;
use weft_bundle::engine::{BuildError, Facts, Judged, Peer, RefusedToken, Request, Token, TokenReader};
use weft_bundle::spiffe::SpiffeId;

use super::token::{self, Passed};
use super::{Access, From, Place, Run};

/// What a proxy says of a request that comes to it.
#[derive(Default)]
pub(super) struct Answer {
    /// Whether it lets it in; none if there is no such proxy.
    pub(super) access: Option<Access>,
    /// The audit rules that record it.
    pub(super) audits: Vec<Place>,
    /// What it passes on, if it read tokens.
    pub(super) passed: Option<Passed>,
}

/// What reading its tokens makes of a request.
#[derive(Default)]
pub(super) struct Read {
    /// The token, verified, if it brings one.
    pub(super) token: Option<Token>,
    /// What is passed on, if anybody read tokens.
    pub(super) passed: Option<Passed>,
}

impl Run<'_, '_> {
    /// What the callee's proxy says.
    pub(super) fn ask(
        &mut self,
        service: &str,
        port: u16,
        identity: Option<&SpiffeId>,
        request: Option<&Request<'_>>,
    ) -> Result<Answer, BuildError> {
        let mesh = self.tracer.mesh;
        let found = service.split_once('/').and_then(|(namespace, name)| mesh.find(namespace, name));
        let Some(callee) = found else { return Ok(Answer::default()) };
        let Some(number) = mesh.service(callee).port(port).map(|port| port.target) else {
            return Ok(Answer::default());
        };
        let engine = self.tracer.engine(callee)?;
        let Some(inbound) = engine.inbound(number) else { return Ok(Answer::default()) };
        let address = match self.question.from {
            From::Service(_) | From::Peer(_) => self.question.address,
            // The callee sees the gateway, whose address nobody knows here.
            From::Gateway(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let read = request.map(|request| self.token(service, engine.tokens(inbound), request));
        let Read { token, passed } = match read.transpose() {
            Ok(read) => read.unwrap_or_default(),
            Err(refusal) => return Ok(Answer { access: Some(refusal), ..Answer::default() }),
        };
        // Rules look at what is passed on: what callers say in fields that only the proxy may set counts for nothing.
        let arrived =
            request.map(|request| passed.as_ref().map_or(*request, |passed| passed.request(request)));
        let facts = Facts {
            request: arrived.as_ref(),
            token: token.as_ref(),
            ..Facts::of(Peer { identity, address })
        };
        let answer = engine.decide(inbound, &facts);
        for audit in &answer.audits {
            self.say("access", format!("`{service}` records it: {}", audit.object), Some(audit));
        }
        let audits = answer.audits.iter().map(|origin| Place::from(*origin)).collect();
        let caller = identity.map_or_else(|| "a caller without identity".to_owned(), |id| format!("`{id}`"));
        let (allowed, origin, text) = match &answer.verdict {
            Ok(permit) => {
                (true, permit.origin(), format!("`{service}` lets {caller} in: {}", permit.origin().object))
            }
            Err(denial) if denial.by_default => {
                let text = format!(
                    "`{service}` refuses {caller}: no rule allows it, and {} denies the rest",
                    denial.origin.object
                );
                (false, denial.origin, text)
            }
            Err(denial) => {
                (false, denial.origin, format!("`{service}` refuses {caller}: {}", denial.origin.object))
            }
        };
        self.say("access", text, Some(origin));
        let Origin { object, rule, file, line } = origin.clone();
        let access = Access { allowed, policy: object, rule, file, line, status: None };
        Ok(Answer { access: Some(access), audits, passed })
    }

    /// Reads the tokens of a request, and says what becomes of them.
    ///
    /// # Errors
    /// The refusal, where it brings one that does not hold.
    pub(super) fn token(
        &mut self,
        who: &str,
        reader: Option<&TokenReader>,
        request: &Request<'_>,
    ) -> Result<Read, Access> {
        let Some(reader) = reader else { return Ok(Read::default()) };
        let (judged, passed) = token::judge(reader, request, self.question.now);
        match judged {
            Judged::Missing => {
                let issuers: Vec<_> = reader.providers().map(|p| format!("`{}`", p.issuer)).collect();
                let text = format!(
                    "no token of {} came: what `{who}` allows only with a token is not allowed",
                    issuers.join(" or ")
                );
                self.say("token", text, reader.providers().next().map(|provider| &provider.origin));
                Ok(Read { token: None, passed: Some(passed) })
            }
            Judged::Valid(bearer) => {
                let (token, provider) = (bearer.token(), bearer.provider());
                let whose = token.subject().map(|subject| format!(" for `{subject}`")).unwrap_or_default();
                let times = match self.question.now {
                    Some(_) => "",
                    None => "; its times are not judged here",
                };
                let text = format!("`{who}` accepts the token of `{}`{whose}{times}", provider.issuer);
                self.say("token", text, Some(&provider.origin));
                Ok(Read { token: Some(token.clone()), passed: Some(passed) })
            }
            Judged::Refused(RefusedToken { origin, fault }) => {
                self.say("token", format!("`{who}` refuses the token with 401: {fault}"), Some(origin));
                let Origin { object, rule, file, line } = origin.clone();
                Err(Access { allowed: false, policy: object, rule, file, line, status: Some(401) })
            }
        }
    }
}
