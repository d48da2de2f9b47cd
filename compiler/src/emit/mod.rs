//! Bodies to canonical bytes, checked by the very code that will load them; and a rendering that people can review.

use std::fmt;
use std::sync::Arc;

use weft_bundle::body::Body;
use weft_bundle::engine::{BuildError, Engine};
use weft_bundle::json::{self, JsonError};

use crate::lower::{Subject, lower_subject, subjects};
use crate::model::Mesh;
use crate::parallel;

/// The compiled policy of one service.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// `namespace/name`.
    pub service: String,
    /// What was compiled.
    pub body: Arc<Body>,
    /// Its canonical bytes, which the release signs.
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
    emit_subjects(mesh, &subjects(mesh))
}

/// As many bodies are made before they are handed on: enough for all threads, and few enough for any memory.
const BATCH: usize = 256;

/// The bodies of these subjects, some at a time, for who need not hold all of them at once.
pub fn batches(mesh: &Mesh, subjects: &[Subject]) -> impl Iterator<Item = Result<Vec<Emitted>, EmitError>> {
    subjects.chunks(BATCH).map(|batch| emit_subjects(mesh, batch))
}

fn emit_subjects(mesh: &Mesh, subjects: &[Subject]) -> Result<Vec<Emitted>, EmitError> {
    let emitted = parallel::map(subjects, |_, subject| emit_body(lower_subject(mesh, *subject)));
    emitted.into_iter().collect()
}

fn emit_body(body: Body) -> Result<Emitted, EmitError> {
    let body = Arc::new(body);
    let service = body.service.clone();
    if let Err(source) = Engine::build(Arc::clone(&body)) {
        return Err(EmitError::Unloadable { service, source });
    }
    match json::to_canonical(&*body) {
        Ok(bytes) => Ok(Emitted { service, body, bytes }),
        Err(source) => Err(EmitError::Unwritable { service, source }),
    }
}

/// A body as YAML, for review and for snapshots. Not read by anything.
pub fn render(body: &Body) -> String {
    // By way of JSON, whose enums are plain mappings; YAML would tag them.
    let value = serde_json::to_value(body).unwrap_or_default();
    serde_yaml::to_string(&value)
        .unwrap_or_else(|error| format!("# this body cannot be shown as YAML: {error}\n"))
}
