//! # What it finds
//! A document with template marks such as `{{ .Values.name }}`.
//!
//! # Why it matters
//! A template is not policy yet; what it becomes depends on values that are not in it.
//!
//! # Example
//! ```yaml
//! metadata: { name: {{ .Release.Name }} }
//! ```
//!
//! # Fix
//! Render first, and check the result: `helm template . > rendered.yaml`, or `kustomize build . > rendered.yaml`.
//!
//! # References
//! Helm, `helm template`; Kustomize, `kustomize build`.
