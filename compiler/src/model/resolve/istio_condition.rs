//! The values of an AuthorizationPolicy as predicates.
//!
//! In Envoy a matcher of something that is not there does not hold, so its contrary does. A predicate knows a third
//! answer, so every atom is guarded by the question whether its attribute is there, and a `not` list holds where it is
//! not. Two answers stay stricter than Envoy's: a header with several values that do not agree, where Envoy joins them,
//! and a claim that is neither a text nor a list.

use weft_bundle::body::{
    AddressAttribute, Attribute, ClaimPath, Comparison, IdentityMatch, ListAttribute, NumberAttribute,
    Predicate, StringMatch,
};
use weft_bundle::spiffe::{SpiffeId, TrustDomain};

use crate::dialect::istio::authorization_policy::Subject;
use crate::dialect::istio::{network, pattern, port};
use crate::model::Mesh;
use crate::yaml::Spanned;

/// The trust domain that Istio's documents write for the mesh's own, whatever that is called
/// (istio:pilot/pkg/security/trustdomain).
pub(super) const ALIAS: &str = "cluster.local";

/// What the values mean: the mesh they are in, and the namespace of their policy.
#[derive(Clone, Copy)]
pub(super) struct Meaning<'m> {
    pub(super) mesh: &'m Mesh,
    pub(super) namespace: &'m str,
}

impl<'m> Meaning<'m> {
    /// That the subject is any of the values, or none of them. None if a value means nothing, which was reported.
    pub(super) fn list(
        self,
        subject: &Subject,
        values: &[Spanned<String>],
        negated: bool,
    ) -> Option<Predicate> {
        let atoms = values.iter().map(|value| self.atom(subject, value)).collect::<Option<Vec<_>>>()?;
        let any = match subject {
            // All networks fit into one atom.
            Subject::SourceIp => addresses(AddressAttribute::Source, values)?,
            Subject::RemoteIp => addresses(AddressAttribute::Remote, values)?,
            Subject::DestinationIp => addresses(AddressAttribute::Destination, values)?,
            _ => any(atoms),
        };
        let guarded = match presence(subject) {
            Some(attribute) => all(vec![Predicate::Has(attribute), any]),
            None => any,
        };
        Some(if negated { Predicate::Not(Box::new(guarded)) } else { guarded })
    }

    fn atom(self, subject: &Subject, value: &str) -> Option<Predicate> {
        let text = |of, is| Predicate::Text { of, is };
        Some(match subject {
            Subject::Principal => self.principal(value)?,
            Subject::Namespace => match pattern::namespace(value) {
                Some(is) => text(Attribute::Namespace, is),
                None => text(Attribute::Namespace, StringMatch::Exact(value.to_owned())),
            },
            Subject::ServiceAccount => {
                let (namespace, account) = pattern::service_account(value)?;
                let namespace = namespace.unwrap_or(self.namespace).to_owned();
                all(vec![
                    text(Attribute::Namespace, StringMatch::Exact(namespace)),
                    text(Attribute::ServiceAccount, StringMatch::Exact(account.to_owned())),
                ])
            }
            Subject::TrustDomain => {
                text(Attribute::TrustDomain, pattern::text(self.trust_domain_text(value)))
            }
            Subject::SourceIp | Subject::RemoteIp | Subject::DestinationIp => {
                network(value)?;
                Predicate::Any(Vec::new())
            }
            Subject::DestinationPort => Predicate::Number {
                of: NumberAttribute::DestinationPort,
                is: Comparison::Equal,
                value: i64::from(port(value)?),
            },
            Subject::Sni => text(Attribute::Sni, pattern::text(value)),
            Subject::Host => text(Attribute::Authority, pattern::text(&value.to_ascii_lowercase())),
            Subject::Method => text(Attribute::Method, pattern::text(value)),
            Subject::Path => match pattern::path(value).ok()? {
                Some(is) => Predicate::Path { is, ignore_case: false },
                None => Predicate::Has(Attribute::Path),
            },
            Subject::Header(name) => match value {
                "*" => Predicate::Has(Attribute::Header(name.clone())),
                value => text(Attribute::Header(name.clone()), pattern::text(value)),
            },
            Subject::RequestPrincipal => request_principal(value),
            Subject::Audience => {
                Predicate::Contains { of: ListAttribute::TokenAudiences, is: pattern::text(value) }
            }
            // A list of one, or a list.
            Subject::Presenter => {
                Predicate::Contains { of: ListAttribute::Claim(presenter()), is: pattern::text(value) }
            }
            Subject::Claim(names) => Predicate::Contains {
                of: ListAttribute::Claim(ClaimPath(names.clone())),
                is: pattern::text(value),
            },
        })
    }

    /// `trust domain/ns/namespace/sa/account`, with a `*` at one end or alone.
    fn principal(self, value: &str) -> Option<Predicate> {
        if value == "*" {
            return Some(Predicate::Has(Attribute::Identity));
        }
        if let Some(id) = self.identity(value) {
            return Some(Predicate::Identity(IdentityMatch::Exact(id)));
        }
        let is = match pattern::text(value) {
            StringMatch::Prefix(prefix) => {
                StringMatch::Prefix(format!("spiffe://{}", self.with_trust_domain(&prefix)))
            }
            StringMatch::Suffix(suffix) => StringMatch::Suffix(suffix),
            // Reported while reading. Such a text is nobody's identity.
            StringMatch::Exact(text) => StringMatch::Exact(format!("spiffe://{text}")),
            StringMatch::Regex(_) | StringMatch::Present => return None,
        };
        Some(Predicate::Text { of: Attribute::Identity, is })
    }

    /// The one identity that a principal without `*` names.
    pub(super) fn identity(self, value: &str) -> Option<SpiffeId> {
        let plain = !value.contains('*');
        let text = format!("spiffe://{}", self.with_trust_domain(value));
        plain.then(|| text.parse().ok()).flatten()
    }

    /// The identities of an account in any trust domain whose peers may connect.
    pub(super) fn accounts(self, value: &str) -> Option<Vec<SpiffeId>> {
        let (namespace, account) = pattern::service_account(value)?;
        let namespace = namespace.unwrap_or(self.namespace);
        self.trust_domains().map(|td| SpiffeId::for_service_account(td, namespace, account).ok()).collect()
    }

    /// The one trust domain that a value without `*` names.
    pub(super) fn trust_domain(self, value: &str) -> Option<TrustDomain> {
        self.trust_domain_text(value).parse().ok()
    }

    /// The trust domains whose peers may connect.
    pub(super) fn trust_domains(self) -> impl Iterator<Item = &'m TrustDomain> {
        self.mesh.trust_anchors.keys()
    }

    fn trust_domain_text<'v>(self, value: &'v str) -> &'v str
    where
        'm: 'v,
    {
        if value == ALIAS { self.mesh.trust_domain.as_str() } else { value }
    }

    fn with_trust_domain(self, principal: &str) -> String {
        match principal.split_once('/') {
            Some((ALIAS, rest)) => format!("{}/{rest}", self.mesh.trust_domain),
            _ => principal.to_owned(),
        }
    }
}

/// `issuer/subject`, of which the last `/` is the one between them; a `*` at one end of the whole
/// (istio:pilot/pkg/security/authz/model/generator.go, `requestPrincipalGenerator`).
fn request_principal(value: &str) -> Predicate {
    let some = || pattern::text("*");
    let (issuer, subject) = match (value.rsplit_once('/'), value) {
        (_, "*") => (some(), some()),
        (Some(("*", subject)), _) => (some(), StringMatch::Exact(subject.to_owned())),
        (Some((issuer, subject)), _) if issuer.starts_with('*') => {
            (pattern::text(issuer), StringMatch::Exact(subject.to_owned()))
        }
        (Some((issuer, subject)), _) => (StringMatch::Exact(issuer.to_owned()), pattern::text(subject)),
        (None, value) if value.starts_with('*') => (some(), pattern::text(value)),
        (None, value) => (pattern::text(value), some()),
    };
    all(vec![
        Predicate::Text { of: Attribute::TokenIssuer, is: issuer },
        Predicate::Text { of: Attribute::TokenSubject, is: subject },
    ])
}

/// The attribute without which nothing about a subject holds; none if it is always there, or asked about by the atom.
fn presence(subject: &Subject) -> Option<Attribute> {
    match subject {
        Subject::Principal => Some(Attribute::Identity),
        Subject::Namespace | Subject::ServiceAccount => Some(Attribute::Namespace),
        Subject::TrustDomain => Some(Attribute::TrustDomain),
        Subject::Sni => Some(Attribute::Sni),
        Subject::Header(name) => Some(Attribute::Header(name.clone())),
        Subject::RequestPrincipal => Some(Attribute::TokenPrincipal),
        Subject::Audience => Some(Attribute::Claim(ClaimPath(vec!["aud".to_owned()]))),
        Subject::Presenter => Some(Attribute::Claim(presenter())),
        Subject::Claim(names) => Some(Attribute::Claim(ClaimPath(names.clone()))),
        Subject::SourceIp
        | Subject::RemoteIp
        | Subject::DestinationIp
        | Subject::DestinationPort
        | Subject::Host
        | Subject::Method
        | Subject::Path => None,
    }
}

fn presenter() -> ClaimPath {
    ClaimPath(vec!["azp".to_owned()])
}

fn addresses(of: AddressAttribute, values: &[Spanned<String>]) -> Option<Predicate> {
    let any = values.iter().map(|value| network(value)).collect::<Option<Vec<_>>>()?;
    Some(Predicate::Address { of, any })
}

/// Any of them, as plainly as it can be said.
pub(super) fn any(mut parts: Vec<Predicate>) -> Predicate {
    parts.dedup();
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            Predicate::Any(parts)
        }
        None => Predicate::Any(parts),
    }
}

/// All of them, as plainly as it can be said.
pub(super) fn all(parts: Vec<Predicate>) -> Predicate {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Predicate::All(parts) => flat.extend(parts),
            other => flat.push(other),
        }
    }
    flat.dedup();
    match flat.pop() {
        Some(only) if flat.is_empty() => only,
        Some(last) => {
            flat.push(last);
            Predicate::All(flat)
        }
        None => Predicate::All(flat),
    }
}
