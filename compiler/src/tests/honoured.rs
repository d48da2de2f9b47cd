//! Nothing is dropped in silence: whatever field is taken out of the documents of `fixtures/honoured/`, in which every field
//! that is honoured is set to something else than its default, a body changes or something is found.

use serde_json::Value;

use crate::compile;
use crate::emit::emit;
use crate::source::Sources;

/// An endpoint that is not ready is none; that it is not ready must make a difference.
const SAYS_NOTHING: [&str; 2] = ["/endpoints/1", "/endpoints/1/addresses/0"];

/// Everything that comes of documents, each on one line, so that no line number changes; none if anything is wrong.
fn outcome(documents: &[Value]) -> Option<Vec<String>> {
    let files =
        documents.iter().enumerate().map(|(at, document)| (format!("{at:02}.yaml"), document.to_string()));
    let compilation = compile(&Sources::in_memory(files));
    if compilation.has_errors() {
        return None;
    }
    let mut outcome: Vec<String> = emit(&compilation.mesh)
        .unwrap()
        .iter()
        .map(|emitted| String::from_utf8(emitted.bytes.clone()).unwrap())
        .collect();
    outcome.extend(
        compilation.diagnostics.iter().map(|finding| format!("{} {}", finding.analysis, finding.message)),
    );
    Some(outcome)
}

/// The pointers of every key and list item below a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let pointer = format!("{at}/{key}");
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

fn without(document: &Value, pointer: &str) -> Value {
    let mut document = document.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => unreachable!("only these have children"),
    }
    document
}

/// Takes each key and item out of the documents of `fixtures/honoured/`, one at a time.
fn check(text: &str) {
    let documents: Vec<Value> = text
        .split("\n---\n")
        .map(|text| serde_json::to_value(serde_yaml::from_str::<serde_yaml::Value>(text).unwrap()).unwrap())
        .collect();
    let whole = outcome(&documents).expect("the documents are free of errors");
    let mut silent = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let mut found = Vec::new();
        pointers(document, "", &mut found);
        for pointer in found.iter().filter(|pointer| !SAYS_NOTHING.contains(&pointer.as_str())) {
            let mut changed = documents.clone();
            changed[at] = without(document, pointer);
            if outcome(&changed).is_some_and(|outcome| outcome == whole) {
                silent.push(format!("{} {} {pointer}", document["kind"], document["metadata"]["name"]));
            }
        }
    }
    assert!(silent.is_empty(), "no difference without:\n{}", silent.join("\n"));
}

/// Small meshes, as each key costs a compilation of its mesh.
macro_rules! honoured {
    ($($name:ident: $file:literal,)*) => {$(
        #[test]
        fn $name() {
            check(include_str!(concat!("../../../fixtures/honoured/", $file)));
        }
    )*};
}

honoured! {
    a_mesh_of_routes_and_policies: "mesh.yaml",
    traffic_policies: "traffic.yaml",
    services_outside_the_mesh: "external.yaml",
    gateways: "gateways.yaml",
    identities_access_and_telemetry: "identity.yaml",
    istios_networking_kinds: "istio.yaml",
    istios_gateways: "istio-gateways.yaml",
    istios_destination_rules_by_caller: "istio-scopes.yaml",
}
