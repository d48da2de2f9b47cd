//! JSON Schemas of the Weft kinds, for editors and other checkers.
//!
//! They come from the very types that parse, so a field cannot be in one and not in the other; a test keeps the files in
//! `schemas/` fresh. Draft-07, because that is what editors' YAML servers fully support. The schema of all kinds is put
//! together by hand as `if kind … then …`: with one branch per kind, a message names the field that is wrong instead of
//! every kind the document is not.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::dialect::weft;

/// A schema to be written to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaFile {
    /// The kind, or `all` for the schema of every kind.
    pub kind: &'static str,
    /// The file's name, as in `schemas/`.
    pub file: &'static str,
    /// The schema.
    pub schema: Value,
}

impl SchemaFile {
    /// The schema as indented JSON with a line break at the end.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.schema)
    }
}

/// The name of the schema of every kind.
pub const ALL: &str = "all";

/// Every schema: that of all kinds first, then one per kind.
pub fn schemas() -> Vec<SchemaFile> {
    let mut schemas = vec![SchemaFile { kind: ALL, file: "weft.json", schema: all() }];
    schemas.extend(KINDS.iter().map(|kind| SchemaFile {
        kind: kind.name,
        file: kind.file,
        schema: one(kind),
    }));
    schemas
}

/// A kind, and how its `spec` is put into a generator.
struct Kind {
    name: &'static str,
    file: &'static str,
    spec: fn(&mut SchemaGenerator) -> Value,
}

const KINDS: &[Kind] = &[
    Kind { name: "Mesh", file: "mesh.json", spec: spec::<weft::Mesh> },
    Kind { name: "Service", file: "service.json", spec: spec::<weft::Service> },
    Kind { name: "ExternalService", file: "external-service.json", spec: spec::<weft::ExternalService> },
    Kind { name: "AccessPolicy", file: "access-policy.json", spec: spec::<weft::AccessPolicy> },
    Kind { name: "TrafficPolicy", file: "traffic-policy.json", spec: spec::<weft::TrafficPolicy> },
    Kind { name: "PolicyTest", file: "policy-test.json", spec: spec::<weft::PolicyTest> },
];

fn spec<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn one(kind: &Kind) -> Value {
    let mut generator = generator();
    let document = document(kind, &mut generator);
    let mut schema = header(&format!("{} {}", weft::API_VERSION, kind.name));
    schema.extend(document);
    schema.insert("definitions".into(), Value::Object(definitions(generator)));
    without_null(Value::Object(schema))
}

fn all() -> Value {
    let mut generator = generator();
    let documents: Vec<(String, Map<String, Value>)> =
        KINDS.iter().map(|kind| (format!("{}Document", kind.name), document(kind, &mut generator))).collect();
    let branches: Vec<Value> = KINDS
        .iter()
        .zip(&documents)
        .map(|(kind, (name, _))| {
            json!({
                "if": { "properties": { "kind": { "const": kind.name } } },
                "then": { "$ref": format!("#/definitions/{name}") },
            })
        })
        .collect();
    let mut schema = header(weft::API_VERSION);
    schema.extend(object(json!({
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": { "const": weft::API_VERSION },
            "kind": { "enum": KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>() },
        },
        "allOf": branches,
    })));
    let mut definitions = definitions(generator);
    definitions.extend(documents.into_iter().map(|(name, document)| (name, Value::Object(document))));
    definitions.sort_keys();
    schema.insert("definitions".into(), Value::Object(definitions));
    without_null(Value::Object(schema))
}

/// Takes the `null` out again that schemars allows for every optional field: the parser refuses a field without a
/// value, because it reads as "everything" in some places and as "nothing" in others.
fn without_null(value: Value) -> Value {
    let is_null = |value: &Value| value.is_null() || value == "null" || *value == json!({ "type": "null" });
    match value {
        Value::Object(map) => Value::Object(map.into_iter().map(|entry| lone(entry, is_null)).collect()),
        Value::Array(items) => {
            Value::Array(items.into_iter().filter(|item| !is_null(item)).map(without_null).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// A list of alternatives that is down to one loses its brackets, where the keyword allows that.
fn lone((keyword, value): (String, Value), is_null: impl Fn(&Value) -> bool) -> (String, Value) {
    let had_null = value.as_array().is_some_and(|items| items.iter().any(is_null));
    let value = without_null(value);
    match (keyword.as_str(), value) {
        ("type", Value::Array(mut items)) if had_null && items.len() == 1 => (keyword, items.remove(0)),
        // Draft-07 ignores what stands beside a `$ref`, such as a description, so the reference stays wrapped.
        ("anyOf", value) if had_null => ("allOf".into(), value),
        (_, value) => (keyword, value),
    }
}

fn header(title: &str) -> Map<String, Value> {
    object(json!({ "$schema": "http://json-schema.org/draft-07/schema#", "title": title }))
}

/// A whole document of a kind. Nothing but these four fields is known.
fn document(kind: &Kind, generator: &mut SchemaGenerator) -> Map<String, Value> {
    object(json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "const": weft::API_VERSION },
            "kind": { "const": kind.name },
            "metadata": metadata(),
            "spec": (kind.spec)(generator),
        },
    }))
}

/// What an author writes; the fields of an API server are accepted when parsing and not offered here.
fn metadata() -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": {
                "description": "The object's name.",
                "type": "string",
                "maxLength": 253,
                "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            },
            "namespace": {
                "description": "The object's namespace; `default` if not set.",
                "type": "string",
                "maxLength": 63,
                "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            },
            "labels": texts,
            "annotations": texts,
        },
    })
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft07().into_generator()
}

fn definitions(mut generator: SchemaGenerator) -> Map<String, Value> {
    let mut definitions = generator.take_definitions(true);
    definitions.sort_keys();
    definitions
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_files_in_the_repository_are_fresh() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
        for schema in schemas() {
            let on_disk = std::fs::read_to_string(directory.join(schema.file)).unwrap_or_default();
            assert!(
                on_disk == schema.text(),
                "schemas/{} is stale: run `cargo run -p weft -- schema --out schemas`",
                schema.file
            );
        }
        let files = std::fs::read_dir(directory).unwrap().count();
        assert_eq!(files, schemas().len(), "schemas/ holds a file that nothing writes");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for file in schemas() {
            let mut pending = vec![&file.schema];
            while let Some(value) = pending.pop() {
                if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(file.schema.pointer(pointer).is_some(), "{}: {reference}", file.file);
                }
                match value {
                    Value::Object(map) => pending.extend(map.values()),
                    Value::Array(items) => pending.extend(items),
                    _ => {}
                }
            }
        }
    }

    /// What the parser refuses as unknown, the schema refuses too.
    #[test]
    fn every_object_of_ours_is_closed() {
        for file in schemas() {
            assert!(!file.text().contains("null"), "{}", file.file);
            let definitions = file.schema["definitions"].as_object().unwrap();
            for (name, definition) in definitions {
                if definition.get("properties").is_some() {
                    assert_eq!(definition["additionalProperties"], false, "{}: {name}", file.file);
                }
            }
        }
    }
}
