//! Repositories that are meant to hurt: each must end soon, in bounded memory, with a verdict or with a limit that names
//! the document.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::{Outcome, measure};

/// A repository that hurts.
struct Case {
    name: &'static str,
    write: fn(&Path) -> Outcome,
}

const CASES: [Case; 12] = [
    Case { name: "gibibyte-of-documents", write: gibibyte },
    Case { name: "huge-file", write: huge_file },
    Case { name: "million-documents", write: million_documents },
    Case { name: "rules-on-one-host", write: |at| rules_on_one_host(at, 100_000, 0) },
    Case { name: "regexes-on-one-host", write: |at| rules_on_one_host(at, 100_000, 20) },
    Case { name: "routes-on-one-host", write: routes_on_one_host },
    Case { name: "equal-routes", write: equal_routes },
    Case { name: "long-regex", write: long_regex },
    Case { name: "many-namespaces", write: many_namespaces },
    Case { name: "unknown-names", write: unknown_names },
    Case { name: "open-mesh", write: open_mesh },
    Case { name: "many-lists", write: many_lists },
];

/// Makes and checks each case, or those that are named.
pub(crate) fn run(only: &[&str]) -> Outcome {
    println!("{:24} {:>8} {:>8} {:>10}  code", "case", "wall s", "CPU s", "peak MiB");
    for case in CASES.iter().filter(|case| only.is_empty() || only.contains(&case.name)) {
        let scratch = tempfile::tempdir()?;
        (case.write)(scratch.path())?;
        let place = scratch.path().to_str().ok_or("the scratch directory has an odd name")?;
        let cost = measure::run(&["check", place])?;
        let code = cost.code.map_or_else(|| "killed".to_owned(), |code| code.to_string());
        let (wall, cpu, peak) = (cost.wall.as_secs_f64(), cost.cpu, cost.peak_mib);
        println!("{:24} {wall:>8.2} {cpu:>8.2} {peak:>10.0}  {code}  {}", case.name, cost.said);
    }
    Ok(())
}

const MESH: &str = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: { name: hostile }\nspec: { trustDomain: hostile.example, defaults: { access: allow } }\n";

fn service(namespace: &str, name: &str) -> String {
    format!(
        "---\napiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec:\n  ports: [ {{ name: http, port: 80, protocol: http }} ]\n  endpoints: {{ static: [ {{ address: 10.0.0.1 }} ] }}\n"
    )
}

fn route_head(name: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name}, namespace: shop }}\nspec:\n  parentRefs: [ {{ group: \"\", kind: Service, name: web, port: 80 }} ]\n  rules:\n"
    )
}

fn rule(text: &mut String, matches: &str) -> std::fmt::Result {
    writeln!(text, "  - matches: [ {{ {matches} }} ]\n    backendRefs: [ {{ name: web, port: 80 }} ]")
}

fn put(at: &Path, name: &str, text: &str) -> Outcome {
    Ok(fs::write(at.join(name), text)?)
}

fn with_mesh(at: &Path, text: &str) -> Outcome {
    put(at, "mesh.yaml", &format!("{MESH}{}", service("shop", "web")))?;
    put(at, "policy.yaml", text)
}

/// 128 files of 8 MiB.
fn gibibyte(at: &Path) -> Outcome {
    put(at, "mesh.yaml", MESH)?;
    for file in 0..128 {
        let mut text = String::new();
        let mut number = 0;
        while text.len() < 8 << 20 {
            text.push_str(&service(&format!("ns-{file}"), &format!("service-{number}")));
            number += 1;
        }
        put(at, &format!("{file:03}.yaml"), &text)?;
    }
    Ok(())
}

fn huge_file(at: &Path) -> Outcome {
    with_mesh(at, &"# nothing but comments, and a great many of them\n".repeat(10 << 20))
}

fn million_documents(at: &Path) -> Outcome {
    put(at, "mesh.yaml", MESH)?;
    for file in 0..10 {
        put(at, &format!("{file}.yaml"), &"---\na: 1\n".repeat(100_000))?;
    }
    Ok(())
}

/// Istio's order is as listed, so a VirtualService is the longest list there can be in one document.
fn rules_on_one_host(at: &Path, rules: usize, regex_percent: usize) -> Outcome {
    put(at, "mesh.yaml", &format!("{MESH}{}", service("shop", "web")))?;
    let (files, each) = (1, rules);
    for file in 0..files {
        let mut text = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: web-{file}, namespace: shop }}\nspec:\n  hosts: [ web ]\n  http:\n"
        );
        for number in 0..each {
            let path = match number % 100 < regex_percent {
                true => format!("regex: '/[a-z]+/{number}/.*x'"),
                false => format!("prefix: /area-{}/{number}", number % 97),
            };
            writeln!(
                text,
                "  - match: [ {{ uri: {{ {path} }} }} ]\n    route: [ {{ destination: {{ host: web }} }} ]"
            )?;
        }
        put(at, &format!("{file}.yaml"), &text)?;
    }
    Ok(())
}

fn routes_on_one_host(at: &Path) -> Outcome {
    let mut text = String::new();
    for route in 0..6_250 {
        text.push_str(&route_head(&format!("r{route}")));
        for number in 0..16 {
            rule(&mut text, &format!("path: {{ type: PathPrefix, value: /r{route}/{number} }}"))?;
        }
    }
    with_mesh(at, &text)
}

/// Every pair of them is a tie.
fn equal_routes(at: &Path) -> Outcome {
    let mut text = String::new();
    for route in 0..5_000 {
        text.push_str(&route_head(&format!("r{route:04}")));
        rule(&mut text, &format!("path: {{ type: PathPrefix, value: /{route:04} }}"))?;
    }
    with_mesh(at, &text)
}

fn long_regex(at: &Path) -> Outcome {
    let mut text = route_head("long");
    let words: Vec<String> = (0..1_250).map(|number| format!("w{number:05}.*")).collect();
    rule(&mut text, &format!("path: {{ type: RegularExpression, value: '/({})' }}", words.join("|")))?;
    rule(&mut text, "path: { type: RegularExpression, value: '/(a|b|ab){1,900}c(a?){0,900}' }")?;
    rule(&mut text, "path: { type: RegularExpression, value: '/.*a.{800}' }")?;
    rule(&mut text, "path: { type: PathPrefix, value: / }, method: GET")?;
    with_mesh(at, &text)
}

fn many_namespaces(at: &Path) -> Outcome {
    put(at, "mesh.yaml", MESH)?;
    for number in 0..10_000 {
        let mut text = service(&format!("ns-{number}"), "web");
        let sets = ["v1", "v2"].map(|set| format!("{set}-{number}"));
        write!(
            text,
            "  calls: [ {{ name: web, namespace: ns-{} }} ]\n# {sets:?}\n",
            (number + 1).min(9_999)
        )?;
        if number == 9_999 {
            text = service("ns-9999", "web") + "  calls: []\n";
        }
        put(at, &format!("{number}.yaml"), &text)?;
    }
    Ok(())
}

/// Each name is near to ten thousand others.
fn unknown_names(at: &Path) -> Outcome {
    let mut text = MESH.to_owned();
    for number in 0..10_000 {
        text.push_str(&service("shop", &format!("service-with-a-long-name-{number}")));
    }
    put(at, "mesh.yaml", &text)?;
    let mut text = service("shop", "web") + "  calls:\n";
    for number in 0..10_000 {
        writeln!(text, "  - name: service-with-a-longer-name-{number}")?;
    }
    put(at, "web.yaml", &text)
}

/// Everybody may call everybody, and nobody declares anything.
fn open_mesh(at: &Path) -> Outcome {
    let services = (0..10_000).map(|number| service("shop", &format!("s{number}")));
    put(at, "mesh.yaml", &services.fold(MESH.to_owned(), |text, service| text + &service))
}

/// A thousand services, each with a list that exhausts the budget of one.
fn many_lists(at: &Path) -> Outcome {
    let mut text = MESH.to_owned() + &service("shop", "web");
    for number in 0..1_000 {
        let name = format!("s{number}");
        text.push_str(&service("shop", &name));
        text.push_str(&route_head(&name).replace("name: web", &format!("name: {name}")));
        for pair in 0..12 {
            // Each matches the shortest text that the next one does, so that only the engine can tell.
            let length = 60 + pair;
            rule(
                &mut text,
                &format!("path: {{ type: RegularExpression, value: '/.*[a-k-].{{{length}}}' }}"),
            )?;
        }
    }
    put(at, "mesh.yaml", &text)
}
