//! Bodies to canonical bytes, checked by the very code that will load them; and a rendering that people can review.

mod parts;

use std::fmt;
use std::sync::Arc;

use weft_bundle::body::Body;
use weft_bundle::engine::{BuildError, Engine};
use weft_bundle::json::{self, JsonError};

use self::parts::Parts;
use crate::lower::{Subject, gateway_of, lower_subject, subjects};
use crate::model::Mesh;
use crate::parallel;

/// The compiled policy of one service.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// `namespace/name`.
    pub service: String,
    /// The canonical bytes of its body, which the release signs.
    pub bytes: Vec<u8>,
}

/// Why a body was not emitted. Each is a fault of the compiler, not of a document: documents are refused earlier.
#[derive(Debug)]
pub enum EmitError {
    /// The proxy would not load it.
    Unloadable {
        /// The service.
        service: String,
        /// What the proxy would say.
        source: BuildError,
    },
    /// It cannot be written.
    Unwritable {
        /// The service.
        service: String,
        /// Why.
        source: JsonError,
    },
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unloadable { service, .. } => {
                write!(f, "a proxy could not load what was compiled for `{service}`")
            }
            Self::Unwritable { service, .. } => {
                write!(f, "what was compiled for `{service}` cannot be written")
            }
        }
    }
}

impl std::error::Error for EmitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unloadable { source, .. } => Some(source),
            Self::Unwritable { source, .. } => Some(source),
        }
    }
}

/// The bodies of all services and gateways, sorted by namespace and name.
///
/// # Errors
/// The first body that a proxy would refuse.
pub fn emit(mesh: &Mesh) -> Result<Vec<Emitted>, EmitError> {
    emit_subjects(&Parts::new(mesh), &subjects(mesh))
}

/// As many bodies are made before they are handed on: enough for all threads, and few enough for any memory.
const BATCH: usize = 256;

/// The bodies of these subjects, some at a time, for who need not hold all of them at once.
pub fn batches(mesh: &Mesh, subjects: &[Subject]) -> impl Iterator<Item = Result<Vec<Emitted>, EmitError>> {
    let parts = Parts::new(mesh);
    subjects.chunks(BATCH).map(move |batch| emit_subjects(&parts, batch))
}

fn emit_subjects(parts: &Parts<'_>, subjects: &[Subject]) -> Result<Vec<Emitted>, EmitError> {
    let emitted = parallel::map(subjects, |_, subject| match subject {
        Subject::Service(index) if gateway_of(parts.mesh(), *index).is_none() => parts.body_of(*index),
        Subject::Service(_) | Subject::Gateway(_) => whole(lower_subject(parts.mesh(), *subject)),
    });
    emitted.into_iter().collect()
}

/// A body that shares nothing with others.
fn whole(body: Body) -> Result<Emitted, EmitError> {
    let body = checked(body)?;
    match json::to_canonical(&body) {
        Ok(bytes) => Ok(Emitted { service: body.service, bytes }),
        Err(source) => Err(unwritable(body.service, source)),
    }
}

/// The same body, if a proxy would load it.
fn checked(body: Body) -> Result<Body, EmitError> {
    let body = Arc::new(body);
    match Engine::build(Arc::clone(&body)) {
        // The engine is dropped here, so that nobody else has the body.
        Ok(_) => Ok(Arc::unwrap_or_clone(body)),
        Err(source) => Err(EmitError::Unloadable { service: body.service.clone(), source }),
    }
}

fn unwritable(service: String, source: JsonError) -> EmitError {
    EmitError::Unwritable { service, source }
}

/// The canonical bytes of a body as YAML, in the order that [`Body`] has, for review and for snapshots. Not read by anything.
pub fn render(bytes: &[u8]) -> String {
    let body = match json::from_slice::<Body>(bytes) {
        Ok(body) => body,
        Err(error) => return format!("# this is no body: {error}\n"),
    };
    // By way of JSON, whose enums are plain mappings; YAML would tag them.
    let value = serde_json::to_value(body).unwrap_or_default();
    serde_yaml::to_string(&value)
        .unwrap_or_else(|error| format!("# this body cannot be shown as YAML: {error}\n"))
}

#[cfg(test)]
mod tests;
