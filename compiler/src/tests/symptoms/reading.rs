//! What was read as something that it is not, or missed because it could not be read.

use super::found;
use crate::source::Sources;
use crate::tests::{SHOP, compile_text, findings};

/// A Service of pods with the label `app: pay`, and a caller of it.
const PAY: &str = "
apiVersion: v1
kind: Service
metadata: { name: pay }
spec: { selector: { app: pay }, ports: [ { name: http, port: 80, targetPort: web } ] }
";

/// What makes the pods of `pay`, with the way to its template.
fn pods(version: &str, kind: &str, spec: &str) -> String {
    let template = "template: { metadata: { labels: { app: pay, tier: back } }, \
                    spec: { containers: [ { ports: [ { name: web, containerPort: 8080 } ] } ] } }";
    format!(
        "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{ name: pay-1 }}\nspec: {{ {} }}\n",
        spec.replace("TEMPLATE", template)
    )
}

/// The port of the pods of `pay`, if documents say it.
fn target(text: &str) -> Option<u16> {
    let (_, compilation) = compile_text(text);
    let pay = compilation.mesh.find("default", "pay").unwrap();
    compilation.mesh.service(pay).port(80).map(|port| port.target)
}

#[test]
fn pods_of_jobs_and_replica_sets_were_unknown() {
    let job = "---\napiVersion: batch/v1\nkind: Job\nmetadata: { name: pay-2 }\n";
    for (version, kind, spec) in [
        ("apps/v1", "ReplicaSet", "replicas: 2, TEMPLATE"),
        ("batch/v1", "Job", "TEMPLATE"),
        ("batch/v1", "CronJob", "schedule: '0 * * * *', jobTemplate: { spec: { TEMPLATE } }"),
    ] {
        let text = format!("{PAY}{}", pods(version, kind, spec));
        assert_eq!(target(&text), Some(8080), "{}", findings(&text));
        assert!(!findings(&text).contains("error"), "{}", findings(&text));
    }
    // What is over has no pods, and what says nothing of pods is no concern of a mesh.
    for over in [
        pods("apps/v1", "ReplicaSet", "replicas: 0, TEMPLATE"),
        format!(
            "{}status: {{ conditions: [ {{ type: Complete, status: 'True' }} ] }}\n",
            pods("batch/v1", "Job", "TEMPLATE")
        ),
        format!("{job}spec: {{ suspend: true }}\n"),
    ] {
        let text = format!("{PAY}{over}");
        assert!(
            findings(&text).contains("the number of the workloads' port `web` is not known"),
            "{}",
            findings(&text)
        );
    }
}

#[test]
fn what_a_broken_file_would_have_defined_was_unknown() {
    let references = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web }
spec: { parentRefs: [ { group: '', kind: Service, name: web } ], rules: [ { backendRefs: [ { name: pay, port: 80 } ] } ] }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec: { hosts: [ cart ], http: [ { route: [ { destination: { host: pay.default.svc.cluster.local } } ] } ] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: pay }
spec: { selector: { matchLabels: { app: pay } }, action: DENY, rules: [ {} ] }
---
apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: pay }
spec: { invariants: [ { name: i, callers: { of: pay, exactly: [ web ] } } ] }
";
    let names = |text: &str, broken: &str| {
        let sources = Sources::in_memory([("a.yaml", SHOP), ("b.yaml", text), ("c.yaml", broken)]);
        let found = crate::compile(&sources).diagnostics;
        found.iter().map(|finding| finding.analysis).collect::<Vec<_>>()
    };
    assert_eq!(names(references, ""), ["unknown-reference"; 4]);
    let broken = PAY.replace("name: pay }", "name: pay");
    assert_eq!(names(references, &broken), ["invalid-yaml"]);
    // What the text does not name is not in it.
    let other = references.replace("name: pay, port", "name: bank, port");
    assert_eq!(names(&other, &broken), ["unknown-reference", "invalid-yaml"]);
}

#[test]
fn the_mesh_in_a_broken_file_was_missing() {
    let broken = SHOP.replace("metadata: { name: test }", "metadata: { name: test");
    let found = crate::compile(&Sources::in_memory([("mesh.yaml", broken)])).diagnostics;
    let names: Vec<_> = found.iter().map(|finding| finding.analysis).collect();
    assert_eq!(names, ["invalid-yaml"]);
}

#[test]
fn a_patch_of_kustomize_was_a_second_deployment() {
    let base = format!("{PAY}{}", pods("apps/v1", "Deployment", "TEMPLATE"));
    let patch = pods("apps/v1", "Deployment", "TEMPLATE").replace("8080", "9090");
    let policy = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: cart }
spec: { $patch: delete }
";
    let files = |kustomization: &str| {
        format!(
            "=== base/pay.yaml\n{base}\n=== prod/kustomization.yaml\n{kustomization}\n=== prod/pay.yaml\n{patch}\n=== prod/cart.yaml\n{policy}"
        )
    };
    assert!(found(&files("resources: [ ../base, pay.yaml, cart.yaml ]")).contains(&"duplicate-object"));
    for listed in [
        "patches: [ { path: pay.yaml, target: { kind: Deployment } }, { path: ./cart.yaml } ]",
        "patchesStrategicMerge: [ pay.yaml, cart.yaml, 'a: |\n  b' ]",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\npatches: [ { path: ../prod/pay.yaml } ]\npatchesJson6902: [ { path: cart.yaml } ]",
    ] {
        let text = files(listed);
        assert_eq!(target(&text), Some(8080), "{}", findings(&text));
        assert!(!findings(&text).contains("error"), "{}", findings(&text));
        let (_, compilation) = compile_text(&text);
        let patches = compilation.skipped.iter().filter(|left| left.is_patch);
        assert_eq!(patches.count(), 2);
    }
    // What cannot be read at all may be anything.
    let broken = files("patches: [ { path: pay.yaml }, { path: cart.yaml } ]")
        .replace("$patch: delete }", "$patch: delete");
    assert!(found(&broken).contains(&"invalid-yaml"));
}
