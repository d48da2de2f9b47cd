//! Everything under "bad input": a finding at its line, the other documents still checked, never a panic, never a hang.

use super::{parse, read};
use crate::source::Sources;

/// A document that is fine, to show that it is still read.
const FINE: &str = "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: { name: fine }\nspec: { ports: [ { name: \
                    http, port: 80, protocol: http } ] }\n";

/// Rendered findings for a file of bytes, beside a file that is fine.
fn findings(bytes: impl Into<Vec<u8>>) -> String {
    let sources = Sources::in_memory([("broken.yaml", bytes.into()), ("fine.yaml", FINE.into())]);
    let parsed = parse(&sources);
    // However much there is, little is kept of it and said about it.
    assert!(parsed.diagnostics.len() <= 100, "{} findings", parsed.diagnostics.len());
    assert!(parsed.documents.len() <= 100, "{} documents", parsed.documents.len());
    let findings = crate::diagnostic::human::render(
        &parsed.diagnostics,
        &sources,
        crate::diagnostic::human::Style::Plain,
    );
    format!("{}-----\n{findings}", read(&parsed))
}

#[test]
fn a_syntax_error_ends_its_document_only() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: first
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: second }
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata:
  name: third
 spec: {}
---
%YAML 1.1
---
a: *nowhere
---
key: value: other
"#
    );
}

#[test]
fn a_tab_is_pointed_at() {
    snapshot!("apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata:\n\tname: a\n");
}

#[test]
fn templates_are_named_as_such() {
    snapshot!(
        r#"
{{- if .Values.enabled }}
apiVersion: weft.dev/v1alpha1
kind: Service
metadata:
  name: a
{{- end }}
---
# a comment about {{ templates }} is none
apiVersion: weft.dev/v1alpha1
kind: Service
metadata:
  name: {{ .Release.Name }}
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata:
  name: "{{ .Release.Name }}-reviews"
spec: { ports: [ { name: http, port: 80, protocol: http } ] }
"#
    );
}

#[test]
fn all_repeated_and_all_unknown_keys_are_reported() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a, name: b, lables: {} }
spec:
  ports:
  - name: http
    port: 80
    name: other
    protcol: http
    protocol: http
  endpoints: { static: [ { address: 10.0.0.1, wieght: 5 } ] }
  subests: []
status: {}
"#
    );
}

#[test]
fn values_of_another_type() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: 5 }
spec: {}
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: a, namespace: yes, labels: { version: 1.10, on: true } }
spec:
  ports: { name: http }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec:
  ports: [ { name: http, port: 080, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.1, weight: "5" } ] }
  subsets: [ { name: !custom v1, labels: {} } ]
  calls:
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: c }
spec: { ports: [ { name: http, port: 70000, protocol: http } ], endpoints: [], subsets: [ v1 ], calls: [ { name: -1 } ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: ~ }
spec: text
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: []
"#
    );
}

#[test]
fn kinds_and_groups_that_are_not_read() {
    snapshot!(
        r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRout
---
apiVersion: weft.dev/v1
kind: Service
---
apiVersion: weft.dv/v1alpha1
kind: Service
---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XMesh
---
apiVersion: weft.dev/v1alpha1
---
kind: Service
metadata: { name: a }
spec: {}
"#
    );
}

#[test]
fn anchors_aliases_and_merge_keys() {
    snapshot!(
        r#"
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: &m { name: a, labels: &l { app: a } }
spec:
  ports:
  - &p { name: http, port: 80, protocol: http }
  - { <<: *p, name: other, port: 81 }
  - { <<: [ { name: third }, *p ], port: 82 }
  - { <<: text, name: fourth }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: b }
spec: &s { ports: [ *s ] }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: c }
spec: { ports: [ *p ] }
"#
    );
}

#[test]
fn an_alias_bomb_is_defused() {
    let mut bomb =
        String::from("apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: { name: bomb }\nspec:\n");
    bomb.push_str("  x0: &x0 [ lol, lol, lol, lol, lol, lol, lol, lol, lol ]\n");
    for level in 1..9 {
        let aliases = vec![format!("*x{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("  x{level}: &x{level} [ {aliases} ]\n"));
    }
    bomb.push_str("  ports: *x8\n");
    let output = findings(bomb);
    assert!(output.contains("unknown field `x0`"), "{output}");

    // Where the type lets the nesting be read, the budget ends it.
    let ports = "&p { name: http, port: 80, protocol: http }";
    let many = format!(
        "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {{ name: bomb }}\nspec:\n  ports: [ {ports}{} ]\n",
        ", *p".repeat(5_000)
    );
    insta::assert_snapshot!(findings(many));
}

#[test]
fn ten_megabytes_of_nesting() {
    let block: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let inputs = [
        "[".repeat(10 << 20),
        "{a: ".repeat(1 << 18),
        "- ".repeat(1 << 19),
        "? ".repeat(1 << 19),
        block,
        format!("a: {}", "[[[[".repeat(20)),
        "&a ".repeat(1 << 18),
        "*".repeat(1 << 20),
        "'".repeat(1 << 20),
        "---\n".repeat(100_000),
        "#\n".repeat(1 << 19),
        "a: b\n".repeat(260_000),
        "- a\n".repeat(510_000),
    ];
    let mut output = String::new();
    for input in &inputs {
        let start: String = input.chars().take(12).collect();
        output.push_str(&format!("===== {start:?}, {} bytes\n{}", input.len(), findings(input.as_bytes())));
    }
    insta::assert_snapshot!(output);
}

#[test]
fn what_is_not_utf_8_spoils_its_document_only() {
    let mut bytes = FINE.replace("fine", "before").into_bytes();
    bytes.extend(
        b"---\napiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: { name: \xff\xfe }\nspec: {}\n---\n",
    );
    bytes.extend(FINE.replace("fine", "after").into_bytes());
    insta::assert_snapshot!(findings(bytes));
}

#[test]
fn utf_16_is_named_as_such() {
    let bytes: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("a: 1".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    insta::assert_snapshot!(findings(bytes));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_fine() {
    let text = format!("\u{feff}{}---\r\n{}", FINE.replace('\n', "\r\n"), FINE.replace('\n', "\r\n"));
    insta::assert_snapshot!(findings(text), @r"
    read Service default/fine
    read Service default/fine
    read Service default/fine
    -----
    ");
    let broken = "apiVersion: weft.dev/v1alpha1\r\nkind: Servce\r\nmetadata: { name: a }\r\n";
    insta::assert_snapshot!(findings(broken));
}

#[test]
fn nothing_is_fine_too() {
    for empty in ["", "\n", "---\n", "---\n---\n...\n", "# only a comment\n", "\u{feff}", "null\n"] {
        let output = findings(empty);
        assert!(output.contains("read Service default/fine\n"), "{empty:?}: {output}");
        assert!(output.ends_with("-----\n"), "{empty:?}: {output}");
    }
}

#[test]
fn json_is_read_like_yaml() {
    snapshot!(
        r#"=== policy.json
{
	"apiVersion": "weft.dev/v1alpha1",
	"kind": "Service",
	"metadata": {"name": "a\u002db"},
	"spec": {"ports": [{"name": "http", "port": 80, "protocol": "htpp"}]}
}
=== package.json
{"name": "x", "version": "1.0.0"}
"#
    );
}

#[test]
fn a_line_of_a_megabyte_is_not_shown() {
    let line = format!("metadata: {{ name: a, x: \"{}\" }}", "x".repeat(1 << 20));
    insta::assert_snapshot!(findings(format!(
        "apiVersion: weft.dev/v1alpha1\nkind: Service\n{line}\nspec: {{}}\n"
    )));
}

/// The files in `fixtures/broken`, each with the analysis that names its fault.
const FIXTURES: [(&str, &str); 14] = [
    ("alias-bomb.yaml", "unknown-field"),
    ("alias-cycle.yaml", "invalid-yaml"),
    ("control-character.yaml", "invalid-yaml"),
    ("directive.yaml", "invalid-yaml"),
    ("duplicate-key.yaml", "duplicate-key"),
    ("invalid-utf-8.yaml", "invalid-yaml"),
    ("nesting.yaml", "invalid-yaml"),
    ("syntax.yaml", "invalid-yaml"),
    ("tab.yaml", "invalid-yaml"),
    ("template-block.yaml", "template"),
    ("template.yaml", "template"),
    ("unknown-field.yaml", "unknown-field"),
    ("unknown-kind.yaml", "unknown-kind"),
    ("utf-16.yaml", "invalid-yaml"),
];

#[test]
fn every_broken_fixture_is_found_at_a_place_and_spoils_no_other_file() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/broken");
    for (name, analysis) in FIXTURES {
        let bytes = std::fs::read(directory.join(name)).unwrap();
        let sources =
            Sources::in_memory([(name.to_owned(), bytes), ("zz-fine.yaml".to_owned(), FINE.into())]);
        let parsed = parse(&sources);
        assert!(parsed.diagnostics.iter().all(|finding| finding.analysis == analysis), "{name}: {parsed:#?}");
        assert!(parsed.diagnostics.iter().all(|finding| finding.span.is_some()), "{name}: {parsed:#?}");
        assert!(!parsed.diagnostics.is_empty(), "{name}");
        assert!(
            parsed.documents.iter().any(|document| document.name() == "fine" && document.sound),
            "{name}"
        );
        assert!(
            !parsed.documents.iter().any(|document| document.name() != "fine" && document.sound),
            "{name}"
        );
    }
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), FIXTURES.len());
}
