//! What policy must do, with every name bound: the cases and invariants of PolicyTests.

use weft_bundle::body::{OperationMatch, Protocol};
use weft_bundle::spiffe::{SpiffeId, TrustDomain};

use super::{At, Mesh, ServiceIndex};
use crate::trace::Question;
use crate::yaml::Span;

/// A document with tests.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// The document.
    pub at: At,
    /// In document order.
    pub cases: Vec<Case>,
    /// In document order.
    pub invariants: Vec<Invariant>,
}

/// One request, and what must become of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where its name is written; the name is the origin's rule.
    pub at: At,
    /// The request.
    pub question: Question,
    /// All must hold; in the order of the document format.
    pub expectations: Vec<Expectation>,
}

/// One thing that must hold.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Where it is written.
    pub span: Span,
    /// What.
    pub what: Expected,
}

/// What must become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whether all backends let it in, or none.
    Access {
        /// All let it in.
        allowed: bool,
    },
    /// The backends that get a share, each once, with their weights where these matter.
    Backends(Vec<(ExpectedBackend, Option<u32>)>),
    /// The status with which the mesh itself answers.
    Status(u16),
    /// Where a redirect points.
    Location(String),
    /// The path with which it arrives.
    Path(String),
    /// The authority with which it arrives.
    Host(String),
    /// The values of a header field with which it arrives; empty: the field is not there.
    RequestHeader(String, Vec<String>),
    /// The values of a header field on a response that comes without any.
    ResponseHeader(String, Vec<String>),
    /// The rule that routes it: name, object, or both.
    Rule(String),
    /// The policy that decides about access, as its object.
    Policy(String),
    /// The services that get a copy, sorted.
    Mirrors(Vec<ServiceIndex>),
}

/// A backend that a case names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpectedBackend {
    /// The service.
    pub service: ServiceIndex,
    /// Its port; any if none.
    pub port: Option<u16>,
    /// Its subset; none stands for the whole service.
    pub subset: Option<String>,
}

/// What must hold for every request.
#[derive(Clone, Debug)]
pub struct Invariant {
    /// Where its name is written; the name is the origin's rule.
    pub at: At,
    /// The requests that it is about.
    pub requests: Requests,
    /// What must hold of them.
    pub claims: Vec<Claim>,
}

/// Requests to a service.
#[derive(Clone, Debug)]
pub struct Requests {
    /// The service that is called.
    pub of: ServiceIndex,
    /// One port of it, or all.
    pub port: Option<u16>,
    /// What is asked for; empty: everything.
    pub operation: OperationMatch,
}

/// What must hold of some requests.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Where it is written.
    pub span: Span,
    /// What.
    pub what: Claimed,
}

/// What must hold of some requests.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// The services that get some of them through are among these.
    Only(Vec<Selector>),
    /// Each of these services gets some of them through.
    Include(Vec<Selector>),
    /// None of these services gets any of them through.
    Exclude(Vec<Selector>),
    /// None of these callers, known or not, gets any of them through; empty: nobody does.
    Denied(Vec<Selector>),
    /// Each of these callers gets all of them through; empty: everybody does.
    Allowed(Vec<Selector>),
}

/// Callers.
#[derive(Clone, Debug)]
pub struct Selector {
    /// Where it is written.
    pub span: Span,
    /// Who.
    pub who: Who,
    /// Whether everybody else is meant.
    pub negated: bool,
}

/// Who callers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever has this identity.
    Identity(SpiffeId),
    /// Every identity of a namespace.
    Namespace(TrustDomain, String),
}

impl Selector {
    /// Whether a caller is among them; one without an identity is nobody, and so only among those of a negation.
    pub fn selects(&self, identity: Option<&SpiffeId>) -> bool {
        let is = match (&self.who, identity) {
            (_, None) => false,
            (Who::Identity(id), Some(caller)) => id == caller,
            (Who::Namespace(trust_domain, namespace), Some(caller)) => {
                caller.trust_domain() == trust_domain && caller.namespace() == Some(namespace)
            }
        };
        is != self.negated
    }
}

impl ExpectedBackend {
    /// `namespace/name`, with port and subset if they are set, as trace and cluster ids have it.
    pub fn display(&self, mesh: &Mesh) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let subset = self.subset.as_ref().map(|subset| format!("/{subset}")).unwrap_or_default();
        format!("{}{port}{subset}", mesh.service(self.service).id())
    }
}

impl Requests {
    /// The ports that they go to: number, where workloads listen, and what is spoken.
    pub fn ports(&self, mesh: &Mesh) -> Vec<(u16, u16, Protocol)> {
        let ports = mesh.service(self.of).ports.iter();
        let ports = ports.filter(|port| self.port.is_none_or(|number| number == port.number));
        ports.map(|port| (port.number, port.target, port.protocol)).collect()
    }
}
