//! What would happen to a request, as data; `weft trace --format json` writes it as it is.

use serde::Serialize;
use weft_bundle::body::Origin;

/// What would happen.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// In a word.
    pub decision: Decision,
    /// The status, where the mesh itself answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where a redirect points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The shares of a split.
    pub backends: Vec<BackendShare>,
    /// Copies that are sent elsewhere.
    pub mirrors: Vec<BackendShare>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Place>,
    /// The verdict of the gateway, for a caller from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission: Option<Access>,
    /// The audit rules of the gateway that record it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audits: Vec<Place>,
    /// The verdict of the first backend that refuses, else of the first; of the gateway, if that refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Everything in the order in which it is decided.
    pub steps: Vec<Step>,
}

/// What happens to a request, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It reaches a backend.
    Forward,
    /// It is answered with another place to go.
    Redirect,
    /// The mesh itself answers.
    Respond,
    /// No backend lets it in.
    Deny,
}

/// A share of a split.
#[derive(Clone, Debug, Serialize)]
pub struct BackendShare {
    /// `namespace/name`; empty for a backend that does not exist.
    pub service: String,
    /// The subset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The share, relative to its neighbours.
    pub weight: u32,
    /// The status that answers this share, if it goes nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the backend lets it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// The audit rules of the backend that record it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audits: Vec<Place>,
    /// The request as it gets there, after all changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arriving: Option<Arriving>,
}

/// A request as the application behind a backend gets it, and what becomes of the headers of its response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arriving {
    /// Host and port.
    pub authority: String,
    /// The path, without query.
    pub path: String,
    /// Header fields by name, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// The header fields that the caller sees of a response that comes without any.
    pub response_headers: Vec<(String, String)>,
}

/// A rule, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Kind and name.
    pub object: String,
    /// The rule in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl std::convert::From<&Origin> for Place {
    fn from(origin: &Origin) -> Self {
        Self {
            object: origin.object.clone(),
            name: origin.rule.clone(),
            file: origin.file.clone(),
            line: origin.line,
        }
    }
}

/// A verdict, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Does it pass?
    pub allowed: bool,
    /// The policy that decided.
    pub policy: String,
    /// The rule in it, if one decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// What a refusal is answered with, where that is not 403: 401 for a token that does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Access {
    /// What a refusal is answered with.
    pub fn refusal(&self) -> u16 {
        self.status.unwrap_or(403)
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The stage: `frontend`, `listener`, `route`, `cors`, `fault`, `rewrite`, `split`, `mirror`, `token`, `access`.
    pub stage: &'static str,
    /// What was decided, in words.
    pub text: String,
    /// The file that decided, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}
