//! `weft` as users meet it: folder in, exit code and text out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use weft_tests::binaries::{Binaries, workspace};
use weft_tests::command::{self, Finished};
use weft_tests::mesh::Mesh;

use crate::forge;
use crate::small::{MESH, Small, services};

fn weft(directory: &Path, arguments: &[&str]) -> Finished {
    let mut weft = Command::new(&Binaries::get().unwrap().weft);
    command::run(weft.current_dir(directory).args(arguments)).unwrap()
}

#[test]
fn every_policy_example_checks_without_findings_and_passes_its_tests() {
    let examples = workspace().join("policy-examples");
    let (mut checked, mut tested) = (0, 0);
    for entry in fs::read_dir(&examples).unwrap() {
        let path = entry.unwrap().path();
        let finished = weft(&path, &["check", "--format", "json"]);
        let json: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished}"));
        // The compiler is ahead of the proxy, and says so; nothing else may be found.
        let found = json["diagnostics"].as_array().unwrap();
        let others = found.iter().filter(|finding| finding["analysis"] != "unserved-feature");
        assert_eq!((finished.code, others.count()), (Some(0), 0), "{finished}");
        assert!(json["summary"]["documents"].as_u64() > Some(0), "{finished}");
        if path.join("tests.yaml").exists() {
            weft(&path, &["test", "--min-coverage", "100"]).expect_code(0).unwrap();
            tested += 1;
        }
        assert!(path.join("README.md").exists(), "{} says nothing", path.display());
        checked += 1;
    }
    assert!(checked >= 7 && tested >= 6, "{checked} {tested}");
}

#[test]
fn a_new_repository_checks_tests_and_builds_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    weft(scratch.path(), &["init", "shop"]).expect_code(0).unwrap();
    let shop = scratch.path().join("shop");
    weft(&shop, &["check"]).expect_code(0).unwrap();
    weft(&shop, &["test", "--min-coverage", "100"]).expect_code(0).unwrap();
    weft(&shop, &["trace", "--from", "web", "GET http://api:8080/v1/items"]).expect_code(0).unwrap();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(&shop)
            .args(["-c", "user.name=Weft", "-c", "user.email=weft@example.com"])
            .args(arguments);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null");
        command::run(&mut git).unwrap().expect_code(0).unwrap()
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "Start"]);
    weft(&shop, &["build", "--out", "release", "--key", "keys"]).expect_code(0).unwrap();
    let verify =
        ["verify", "release", "--root", "keys/root.json", "--mesh", "shop", "--service", "default/web"];
    weft(&shop, &verify).expect_code(0).unwrap();
    let private = git(&["ls-files", "*.pem"]).stdout;
    assert!(!private.contains("release.pem"), "a private key was committed: {private}");
}

/// Everything but the timestamp, which says when it was signed.
fn immutable(release: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = forge::files(release).into_iter().filter(|name| !name.starts_with("channels"));
    names.map(|name| (name.display().to_string(), fs::read(release.join(name)).unwrap())).collect()
}

#[test]
fn the_same_commit_gives_the_same_bytes_anywhere() {
    let small = Small::new();
    let repository = small.mesh.policy();
    let mut builds = Vec::new();
    for (name, zone, locale) in [("a", "UTC", "C"), ("a/much/longer/path/é", "Asia/Kathmandu", "tr_TR.UTF-8")]
    {
        let place = small.mesh.root().join("elsewhere").join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet"]).arg(&repository).arg(&place).env("GIT_CONFIG_GLOBAL", "/dev/null");
        command::run(&mut clone).unwrap().expect_code(0).unwrap();
        let mut build = Command::new(&small.mesh.binaries().weft);
        build
            .current_dir(&place)
            .args(["build", "--out", "../out", "--key"])
            .arg(small.mesh.root().join("keys"));
        build.env("TZ", zone).env("LC_ALL", locale).env("LANG", locale).env("RAYON_NUM_THREADS", "1");
        command::run(&mut build).unwrap().expect_code(0).unwrap();
        let out = place.parent().unwrap().join("out");
        builds.push(immutable(&out));
        fs::rename(&out, small.mesh.root().join(format!("out-{}", builds.len()))).unwrap();
    }
    let [first, second] = builds.try_into().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, bytes) in &first {
        assert_eq!(bytes, &second[name], "{name}");
    }
    assert!(first.len() >= 6, "{:?}", first.keys());
}

#[test]
fn a_dirty_tree_is_signed_for_no_channel_but_dev() {
    let small = Small::new();
    small.mesh.write("services.yaml", &services(1, "uncommitted")).unwrap();
    let build = |channel: &str| {
        let arguments = ["build", "policy", "--out", "release", "--key", "keys", "--channel", channel];
        small.mesh.weft(&arguments).unwrap()
    };
    let refused = build("stable").expect_code(2).unwrap();
    assert!(refused.stderr.contains("committed"), "{refused}");
    build("dev").expect_code(0).unwrap();
}

/// Bad input gets a diagnostic at its line and exit 1; the other documents are still checked.
#[test]
fn bad_documents_are_findings_at_their_lines() {
    let mut bomb =
        String::from("apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: { name: x }\nspec:\n");
    bomb += "  a: &a [x, x, x, x, x, x, x, x, x]\n";
    for (before, next) in ('a'..='h').zip('b'..='i') {
        let nine = vec![format!("*{before}"); 9].join(", ");
        bomb += &format!("  {next}: &{next} [{nine}]\n");
    }
    let nested = "[".repeat(10 << 20);
    let cases: [(&str, &[u8], u64); 8] = [
        ("bad-yaml", b"apiVersion: v1\nkind: [\n", 2),
        ("unknown-field", b"apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: { name: x }\nspec:\n  prots: []\n  ports: [ { name: http, port: 80, protocol: http } ]\n", 5),
        ("duplicate-key", b"apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: { name: x }\nspec: { ports: [ { name: http, port: 80, protocol: http } ] }\nkind: Service\n", 5),
        ("alias-bomb", bomb.as_bytes(), 0),
        ("nesting", nested.as_bytes(), 1),
        ("invalid-utf-8", b"apiVersion: weft.dev/v1alpha1\nkind: \xff\xfe\n", 2),
        ("template", b"apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Values.name }}\n", 4),
        ("tab", b"apiVersion: v1\nkind: Service\nmetadata:\n\tname: x\n", 4),
    ];
    for (name, text, line) in cases {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("mesh.yaml"), MESH.replace("[ { file: ca/root.pem } ]", "[]")).unwrap();
        fs::write(scratch.path().join("bad.yaml"), text).unwrap();
        let other =
            "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: { name: y }\nspec: { oops: 1 }\n";
        fs::write(scratch.path().join("other.yaml"), other).unwrap();
        let finished = weft(scratch.path(), &["check", "--format", "json"]);
        assert_eq!(finished.code, Some(1), "{name}: {finished}");
        let json: Value =
            serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{name}: {finished}"));
        let found = json["diagnostics"].as_array().unwrap();
        let at = |file: &str| {
            found
                .iter()
                .find(|finding| finding["severity"] == "error" && finding["file"].as_str() == Some(file))
        };
        let bad = at("bad.yaml").unwrap_or_else(|| panic!("{name}: {finished}"));
        if line > 0 {
            assert_eq!(bad["line"].as_u64(), Some(line), "{name}: {finished}");
        }
        assert!(at("other.yaml").is_some(), "{name} silenced the other document: {finished}");
    }
}

#[test]
fn a_build_of_bad_documents_publishes_nothing() {
    let small = Small::new();
    let before = immutable(&small.mesh.release());
    small
        .mesh
        .write("broken.yaml", "apiVersion: weft.dev/v1alpha1\nkind: Servcie\nmetadata: { name: x }\n")
        .unwrap();
    small.mesh.commit("Broken").unwrap();
    let arguments = ["build", "policy", "--out", "release", "--key", "keys"];
    let refused = small.mesh.weft(&arguments).unwrap().expect_code(1).unwrap();
    assert!(refused.stderr.contains("broken.yaml") || refused.stdout.contains("broken.yaml"), "{refused}");
    assert_eq!(immutable(&small.mesh.release()), before);
}

#[test]
fn rendered_bodies_say_where_each_rule_comes_from() {
    let mesh = Mesh::new("bookinfo", &[]).unwrap();
    mesh.copy_example("bookinfo").unwrap();
    mesh.commit("Bookinfo").unwrap();
    mesh.weft(&["build", "policy", "--render", "rendered"]).unwrap().expect_code(0).unwrap();
    let page = fs::read_to_string(mesh.root().join("rendered/bookinfo/productpage.yaml")).unwrap();
    assert!(page.contains("HTTPRoute bookinfo/reviews") && page.contains("routes.yaml"), "{page}");
    let ratings = fs::read_to_string(mesh.root().join("rendered/bookinfo/ratings.yaml")).unwrap();
    assert!(ratings.contains("spiffe://bookinfo.example/ns/bookinfo/sa/reviews"), "{ratings}");
    assert!(!ratings.contains("bookinfo/details"), "a bundle knows only what its service needs: {ratings}");
}
