//! Who may call: refusals name the document and the line that decided, and a change holds from the next request on.

use weft_tests::client::{Answer, Call, Client, Protocol};

use crate::bookinfo::Bookinfo;

/// The line that the refusal names, as it stands in the document.
fn deciding_line(bookinfo: &Bookinfo, answer: &Answer) -> String {
    let text = answer.text();
    let (_, rest) = text.split_once("(access.yaml:").unwrap_or_else(|| panic!("{answer}"));
    let line: usize = rest.split(')').next().unwrap().parse().unwrap();
    bookinfo.mesh.read("access.yaml").unwrap().lines().nth(line - 1).unwrap().trim().to_owned()
}

#[test]
fn a_refusal_names_the_document_and_the_line() {
    let bookinfo = Bookinfo::new();
    let (page, details) = (bookinfo.page(), bookinfo.replica("details", 19081, None));
    let v2 = bookinfo.replica("reviews-v2", 19083, None);
    let mut client = Client::new(Protocol::Http1, page.proxy.outbound());

    let delete = Call::get("http://details:9080/details/7").method("DELETE");
    let refused = client.send_blocking(&delete).unwrap();
    assert_eq!(refused.status, 403, "{refused}");
    assert!(!refused.header("x-weft-reason").is_empty(), "{refused}");
    assert!(refused.text().starts_with("denied by AccessPolicy bookinfo/details-readers"), "{refused}");
    assert!(deciding_line(&bookinfo, &refused).contains("details-readers"), "{refused}");
    assert_eq!(details.application.hits(), 0, "a refused request never reaches the application");

    // A denial beats the permission for the same path.
    let read = |path: &str| Call::get(&format!("http://reviews:9080{path}")).header("end-user", "jason");
    let drafts = client.send_blocking(&read("/reviews/drafts/1")).unwrap();
    assert_eq!(drafts.status, 403, "{drafts}");
    assert!(drafts.text().starts_with("denied by AccessPolicy bookinfo/no-drafts"), "{drafts}");
    assert!(deciding_line(&bookinfo, &drafts).contains("/reviews/drafts"), "{drafts}");

    // The same path, written to look like another one: one canonical form serves matching and access.
    for disguise in
        ["/reviews/%64rafts/1", "/reviews/x/../drafts/1", "/reviews//drafts/1", "/reviews/./drafts"]
    {
        let answer = client.send_blocking(&read(disguise)).unwrap();
        assert!(matches!(answer.status, 400 | 403), "{disguise}: {answer}");
    }
    assert_eq!(v2.application.hits(), 0);
}

#[test]
fn trace_names_the_same_line_as_the_proxy() {
    let bookinfo = Bookinfo::new();
    let (page, _details) = (bookinfo.page(), bookinfo.replica("details", 19081, None));
    let url = "http://details:9080/details/7";
    let refused = Client::new(Protocol::Http1, page.proxy.outbound())
        .send_blocking(&Call::get(url).method("DELETE"))
        .unwrap();
    let request = format!("DELETE {url}");
    let arguments = ["trace", "policy", "--from", "bookinfo/productpage", &request, "--format", "json"];
    let traced = bookinfo.mesh.weft(&arguments).unwrap();
    let json: serde_json::Value = serde_json::from_str(&traced.stdout).unwrap();
    assert_eq!(json["access"]["allowed"], false, "{traced}");
    let place = format!("({}:{})", json["access"]["file"].as_str().unwrap(), json["access"]["line"]);
    assert!(refused.text().contains(&place), "{traced}\n{refused}");
}

#[test]
fn a_permission_taken_away_holds_from_the_next_request_on_the_same_connection() {
    let bookinfo = Bookinfo::new();
    let (page, details) = (bookinfo.page(), bookinfo.replica("details", 19081, None));
    let mut client = Client::new(Protocol::Http2, page.proxy.outbound());
    let call = Call::get("http://details:9080/details/7");
    assert_eq!(client.send_blocking(&call).unwrap().status, 200);
    bookinfo.mesh.edit("access.yaml", "prefix: /details ", "prefix: /elsewhere ").unwrap();
    bookinfo.mesh.commit("Details are elsewhere").unwrap();
    bookinfo.mesh.build().unwrap();
    details.proxy.wait_sequence(2).unwrap();
    let refused = client.send_blocking(&call).unwrap();
    assert_eq!(refused.status, 403, "{refused}");
}
