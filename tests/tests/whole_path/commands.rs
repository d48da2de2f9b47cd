//! Commands that are asked for something that makes no sense, or that cannot say what they have to say.

use std::fs::{self, File};
use std::process::Command;

use weft_tests::binaries::Binaries;

use crate::findings::Repository;

#[test]
fn a_filter_that_matches_nothing_passed() {
    let repository = Repository::clean();
    repository.write(
        "tests.yaml",
        "apiVersion: weft.dev/v1alpha1
kind: PolicyTest
metadata: { name: cart }
spec: { invariants: [ { name: alone, callers: { of: cart, exactly: [ cart ] } } ] }
",
    );
    let finished = repository.weft(&["test", "--filter", "TYPO"]).expect_code(2).unwrap();
    assert!(finished.stderr.contains("no test has `TYPO` in its name"), "{finished}");
}

#[test]
fn two_reports_overwrote_each_other() {
    let repository = Repository::clean();
    let both = ["check", "--report", "sarif=report", "--report", "junit=report"];
    let finished = repository.weft(&both).expect_code(2).unwrap();
    assert!(finished.stderr.contains("two reports are to be written into `report`"), "{finished}");
    assert!(!repository.path().join("report").exists());
}

#[test]
fn a_trace_without_a_request_took_the_directory_for_one() {
    let repository = Repository::clean();
    let finished = repository.weft(&["trace", ".", "--from", "cart"]).expect_code(2).unwrap();
    assert!(finished.stderr.contains("no request comes after it"), "{finished}");
}

#[test]
fn one_finding_was_listed_as_findings() {
    let repository = Repository::clean();
    let route = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: cart }
spec: { hosts: [ cart ], http: [ { route: [ { destination: { host: cart, subset: v2 } } ] } ] }
";
    repository.write("b-route.yaml", route);
    let finished = repository.weft(&["check", "--write-baseline", "b.json"]).expect_code(0).unwrap();
    assert_eq!(finished.stdout, "listed 1 finding in b.json\n");
}

#[test]
fn help_that_could_not_be_written_was_a_success() {
    // Where there is no such device, as on macOS, there is nothing to try.
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    for arguments in [&["help"][..], &["help", "check"], &["--version"], &["schema", "Mesh"]] {
        let mut weft = Command::new(&Binaries::get().unwrap().weft);
        let output = weft.args(arguments).stdout(full.try_clone().unwrap()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: cannot write"), "{arguments:?}: {stderr}");
        assert!(stderr.contains("No space left on device"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_transition_is_waived_in_the_document_that_changes() {
    let repository = Repository::clean();
    let strict = fs::read_to_string(repository.path().join("a-shop.yaml")).unwrap();
    let off = strict.replace("port: 80,", "port: 80, peerTLS: off,");
    repository.write("a-shop.yaml", &off);
    let found = repository.weft(&["check", "--base", "HEAD"]).expect_code(0).unwrap();
    assert!(found.stderr.contains("warning[unsafe-transition]"), "{found}");
    let waiver =
        "name: cart, annotations: { weft.dev/waive: 'unsafe-transition reason=nobody calls at night' }";
    repository.write("a-shop.yaml", &off.replacen("name: cart", waiver, 1));
    let waived = repository.weft(&["check", "--base", "HEAD"]).expect_code(0).unwrap();
    assert!(!waived.stderr.contains("unsafe-transition"), "{waived}");
    assert!(waived.stderr.contains("1 waived") && !waived.stderr.contains("unused-waiver"), "{waived}");
    repository.commit();
    let later = repository.weft(&["check"]).expect_code(0).unwrap();
    assert!(!later.stderr.contains("unused-waiver"), "{later}");
}

#[test]
fn what_was_left_alone_could_not_be_named() {
    let repository = Repository::clean();
    repository.write("c.YAML", "apiVersion: helm.example/v2\nkind: Release\nmetadata: { name: a }\n");
    repository.write(".hidden.yaml", "kind: Service\n");
    repository.commit();
    for revision in [&["check", "-v"][..], &["check", "-v", "--rev", "HEAD"]] {
        let finished = repository.weft(revision).expect_code(0).unwrap();
        assert!(finished.stderr.contains("1 document of other programs skipped"), "{finished}");
        let named = "note: left alone: 1 document helm.example/v2 Release, in `c.YAML`\n\
                     note: left alone: what is hidden, `.hidden.yaml`\n";
        assert!(finished.stderr.ends_with(named), "{finished}");
    }
}
