//! `AuthorizationPolicy` (iapi:security/v1beta1/authorization_policy.proto).

use serde::Deserialize;

use super::selector::{TargetReference, WorkloadSelector};
use crate::yaml::{Spanned, Unread};

/// `AuthorizationPolicy.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicy {
    /// The workloads that it protects; all of its namespace if nothing says otherwise, and of the mesh in the root
    /// namespace.
    pub selector: Option<Spanned<WorkloadSelector>>,
    /// The older form of `targetRefs`, for one target.
    pub target_ref: Option<Spanned<TargetReference>>,
    /// The objects that it protects.
    #[serde(default)]
    pub target_refs: Vec<Spanned<TargetReference>>,
    /// What happens to a request that a rule matches; `ALLOW` if not set.
    pub action: Option<Spanned<Action>>,
    /// Any of them; nothing matches if there are none.
    #[serde(default)]
    pub rules: Vec<Spanned<Rule>>,
    /// Not honoured; it belongs to `CUSTOM`.
    pub provider: Option<Unread>,
}

/// `AuthorizationPolicy.Action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// It passes.
    Allow,
    /// It is refused.
    Deny,
    /// It is recorded.
    Audit,
    /// An external program decides; not honoured.
    Custom,
}

/// `Rule`: a source, an operation and every condition.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Any of them; everyone if not set.
    pub from: Option<Vec<Spanned<From>>>,
    /// Any of them; everything if not set.
    pub to: Option<Vec<Spanned<To>>>,
    /// All of them.
    #[serde(default)]
    pub when: Vec<Spanned<Condition>>,
}

/// `Rule.From`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct From {
    /// Who.
    pub source: Spanned<Source>,
}

/// `Rule.To`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct To {
    /// What.
    pub operation: Spanned<Operation>,
}

/// `Source`: every list that is there must hold, by any of its values; none of the values of a `not` list may.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// Identities, `trust domain/ns/namespace/sa/account`.
    pub principals: Vec<Spanned<String>>,
    /// None of these identities.
    pub not_principals: Vec<Spanned<String>>,
    /// Tokens, `issuer/subject`.
    pub request_principals: Vec<Spanned<String>>,
    /// None of these tokens.
    pub not_request_principals: Vec<Spanned<String>>,
    /// Namespaces of identities.
    pub namespaces: Vec<Spanned<String>>,
    /// None of these namespaces.
    pub not_namespaces: Vec<Spanned<String>>,
    /// Service accounts, `account` or `namespace/account`.
    pub service_accounts: Vec<Spanned<String>>,
    /// None of these service accounts.
    pub not_service_accounts: Vec<Spanned<String>>,
    /// Trust domains of identities.
    pub trust_domains: Vec<Spanned<String>>,
    /// None of these trust domains.
    pub not_trust_domains: Vec<Spanned<String>>,
    /// Networks of the connection's address.
    pub ip_blocks: Vec<Spanned<String>>,
    /// None of these networks.
    pub not_ip_blocks: Vec<Spanned<String>>,
    /// Networks of the client's address, as forwarding headers have it.
    pub remote_ip_blocks: Vec<Spanned<String>>,
    /// None of these networks.
    pub not_remote_ip_blocks: Vec<Spanned<String>>,
}

/// `Operation`: every list that is there must hold, by any of its values; none of the values of a `not` list may.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Hosts, with their port if the client sent one.
    pub hosts: Vec<Spanned<String>>,
    /// None of these hosts.
    pub not_hosts: Vec<Spanned<String>>,
    /// Ports of workloads.
    pub ports: Vec<Spanned<String>>,
    /// None of these ports.
    pub not_ports: Vec<Spanned<String>>,
    /// Methods.
    pub methods: Vec<Spanned<String>>,
    /// None of these methods.
    pub not_methods: Vec<Spanned<String>>,
    /// Paths.
    pub paths: Vec<Spanned<String>>,
    /// None of these paths.
    pub not_paths: Vec<Spanned<String>>,
}

/// `Condition`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The attribute.
    pub key: Spanned<String>,
    /// Any of them.
    #[serde(default)]
    pub values: Vec<Spanned<String>>,
    /// None of them.
    #[serde(default)]
    pub not_values: Vec<Spanned<String>>,
}

/// What a list of values is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The caller's identity.
    Principal,
    /// Its namespace.
    Namespace,
    /// Its namespace and service account.
    ServiceAccount,
    /// Its trust domain.
    TrustDomain,
    /// The connection's address.
    SourceIp,
    /// The client's address.
    RemoteIp,
    /// The address that was connected to.
    DestinationIp,
    /// The port that was connected to.
    DestinationPort,
    /// The server name of the TLS greeting.
    Sni,
    /// Host, and port if it was sent.
    Host,
    /// The method.
    Method,
    /// The path without query.
    Path,
    /// A header field, lower case.
    Header(String),
    /// Issuer and subject of the token.
    RequestPrincipal,
    /// For whom the token is meant.
    Audience,
    /// To whom it was issued.
    Presenter,
    /// A claim, by the names that lead to it.
    Claim(Vec<String>),
}

impl Subject {
    /// The subject of a condition's key.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of_key(key: &str) -> Result<Self, KeyError> {
        let (name, arguments) = match key.split_once('[') {
            Some((name, rest)) => (name, Some(brackets(rest).ok_or(KeyError::Brackets)?)),
            None => (key, None),
        };
        Ok(match (name, arguments) {
            ("source.ip", None) => Self::SourceIp,
            ("remote.ip", None) => Self::RemoteIp,
            ("source.namespace", None) => Self::Namespace,
            ("source.principal", None) => Self::Principal,
            ("source.serviceAccount", None) => Self::ServiceAccount,
            ("request.auth.principal", None) => Self::RequestPrincipal,
            ("request.auth.audiences", None) => Self::Audience,
            ("request.auth.presenter", None) => Self::Presenter,
            ("destination.ip", None) => Self::DestinationIp,
            ("destination.port", None) => Self::DestinationPort,
            ("connection.sni", None) => Self::Sni,
            ("request.auth.claims", Some(names)) => Self::Claim(names),
            ("request.headers", Some(names)) => match names.as_slice() {
                [name] => Self::of_header(name)?,
                _ => return Err(KeyError::Brackets),
            },
            ("request.headers" | "request.auth.claims", None) => return Err(KeyError::Brackets),
            ("destination.namespace", None) => return Err(KeyError::Replaced("the namespace of the policy")),
            ("destination.labels", _) => return Err(KeyError::Replaced("`selector`")),
            ("destination.name" | "destination.user", None) => {
                return Err(KeyError::Replaced("`selector` or `targetRefs`"));
            }
            (name, _) if name.starts_with("experimental.envoy.filters.") => return Err(KeyError::Envoy),
            _ => return Err(KeyError::Unknown),
        })
    }

    fn of_header(name: &str) -> Result<Self, KeyError> {
        match name.to_ascii_lowercase().as_str() {
            ":method" => Ok(Self::Method),
            ":authority" | "host" => Ok(Self::Host),
            // With its query, unlike `paths`.
            ":path" => Err(KeyError::Replaced("`paths` of an operation, which leaves the query out")),
            lower if http::HeaderName::from_bytes(lower.as_bytes()).is_ok() => {
                Ok(Self::Header(lower.to_owned()))
            }
            _ => Err(KeyError::Header),
        }
    }

    /// Whether it is known of requests only.
    pub fn is_of_request(&self) -> bool {
        match self {
            Self::Principal
            | Self::Namespace
            | Self::ServiceAccount
            | Self::TrustDomain
            | Self::SourceIp
            | Self::DestinationIp
            | Self::DestinationPort
            | Self::Sni => false,
            Self::RemoteIp
            | Self::Host
            | Self::Method
            | Self::Path
            | Self::Header(_)
            | Self::RequestPrincipal
            | Self::Audience
            | Self::Presenter
            | Self::Claim(_) => true,
        }
    }
}

/// Why a key of a condition stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Istio has no such attribute.
    Unknown,
    /// A name in brackets is missing, empty, or one too many.
    Brackets,
    /// The name in brackets is not that of a header field.
    Header,
    /// Istio has another place for it.
    Replaced(&'static str),
    /// It reads what filters of Envoy write.
    Envoy,
}

/// The names in `a][b]`, none empty.
fn brackets(rest: &str) -> Option<Vec<String>> {
    let inner = rest.strip_suffix(']')?;
    let names: Vec<String> = inner.split("][").map(str::to_owned).collect();
    let plain = names.iter().all(|name| !name.is_empty() && !name.contains(['[', ']']));
    plain.then_some(names)
}

impl Source {
    /// Every list with what it is compared with, and whether it is a `not` list.
    pub fn lists(&self) -> [(Subject, &'static str, &[Spanned<String>], bool); 14] {
        [
            (Subject::Principal, "principals", &self.principals, false),
            (Subject::Principal, "notPrincipals", &self.not_principals, true),
            (Subject::RequestPrincipal, "requestPrincipals", &self.request_principals, false),
            (Subject::RequestPrincipal, "notRequestPrincipals", &self.not_request_principals, true),
            (Subject::Namespace, "namespaces", &self.namespaces, false),
            (Subject::Namespace, "notNamespaces", &self.not_namespaces, true),
            (Subject::ServiceAccount, "serviceAccounts", &self.service_accounts, false),
            (Subject::ServiceAccount, "notServiceAccounts", &self.not_service_accounts, true),
            (Subject::TrustDomain, "trustDomains", &self.trust_domains, false),
            (Subject::TrustDomain, "notTrustDomains", &self.not_trust_domains, true),
            (Subject::SourceIp, "ipBlocks", &self.ip_blocks, false),
            (Subject::SourceIp, "notIpBlocks", &self.not_ip_blocks, true),
            (Subject::RemoteIp, "remoteIpBlocks", &self.remote_ip_blocks, false),
            (Subject::RemoteIp, "notRemoteIpBlocks", &self.not_remote_ip_blocks, true),
        ]
    }
}

impl Operation {
    /// Every list with what it is compared with, and whether it is a `not` list.
    pub fn lists(&self) -> [(Subject, &'static str, &[Spanned<String>], bool); 8] {
        [
            (Subject::Host, "hosts", &self.hosts, false),
            (Subject::Host, "notHosts", &self.not_hosts, true),
            (Subject::DestinationPort, "ports", &self.ports, false),
            (Subject::DestinationPort, "notPorts", &self.not_ports, true),
            (Subject::Method, "methods", &self.methods, false),
            (Subject::Method, "notMethods", &self.not_methods, true),
            (Subject::Path, "paths", &self.paths, false),
            (Subject::Path, "notPaths", &self.not_paths, true),
        ]
    }
}
