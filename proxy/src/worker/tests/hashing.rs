//! Requests with the same key, or of the same session, go to the same endpoint.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::Method;
use serde_json::{Value, json};

use crate::testing::*;
use crate::worker::DataPlane;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

async fn endpoints() -> Vec<SocketAddr> {
    let mut endpoints = Vec::new();
    for name in NAMES {
        endpoints.push(says(name).await);
    }
    endpoints
}

fn hashing(balancer: &str, endpoints: &[SocketAddr], keys: &Value) -> Value {
    let mut body = calls(endpoints);
    body["clusters"]["up"]["load_balancer"] = json!(balancer);
    body["clusters"]["up"]["hash"] = json!({"keys": keys});
    body
}

/// Which endpoint answers a user.
async fn ask(plane: &DataPlane, path: &str, fields: &[(&str, &str)]) -> Got {
    let mut client = Client::connect(plane.outbound_address().unwrap(), Speaks::Http1).await;
    let mut request = client.request(Method::GET, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(full("")).unwrap()).await.unwrap()
}

async fn homes(plane: &DataPlane) -> BTreeMap<String, String> {
    let mut homes = BTreeMap::new();
    for user in 0..60 {
        let user = format!("user-{user}");
        let home = ask(plane, "/", &[("x-user", &user)]).await.text;
        homes.insert(user, home);
    }
    homes
}

#[tokio::test]
async fn a_key_has_a_home_on_every_worker_and_over_reloads() {
    for balancer in ["ring-hash", "maglev"] {
        let endpoints = endpoints().await;
        let plane = plane_of(2);
        let mut body = hashing(balancer, &endpoints, &json!([{"header": "x-user"}]));
        plane.apply(snapshot(&body, 1).unwrap()).unwrap();
        let before = homes(&plane).await;
        assert!(NAMES.iter().all(|name| before.values().any(|home| home == name)), "{before:?}");
        assert_eq!(homes(&plane).await, before);
        // One endpoint less: only its keys move, or few others.
        body["clusters"]["up"]["endpoints"].as_array_mut().unwrap().pop();
        plane.apply(snapshot(&body, 2).unwrap()).unwrap();
        let after = homes(&plane).await;
        let left: Vec<_> = after.values().collect();
        let gone = NAMES.iter().find(|name| !left.contains(&&(**name).to_owned())).unwrap();
        let moved = before.iter().filter(|(user, home)| *home != gone && after[*user] != **home).count();
        assert!(moved <= 6, "{balancer}: {moved} of 60 moved that need not");
    }
}

#[tokio::test]
async fn every_kind_of_key_and_none() {
    let plane =
        plane_with(&hashing("maglev", &endpoints().await, &json!([{"query": "user"}, "source_address"])));
    let home = ask(&plane, "/?user=1", &[]).await.text;
    let here = ask(&plane, "/", &[]).await.text;
    for _ in 0..10 {
        assert_eq!(ask(&plane, "/other?x=2&user=1", &[]).await.text, home);
        assert_eq!(ask(&plane, "/", &[]).await.text, here);
    }
    let plane = plane_with(&hashing("ring-hash", &endpoints().await, &json!([{"header": "x-user"}])));
    let mut anywhere = std::collections::BTreeSet::new();
    for _ in 0..200 {
        anywhere.insert(ask(&plane, "/", &[]).await.text);
    }
    assert_eq!(anywhere.len(), 4, "without a key it goes anywhere");
}

#[tokio::test]
async fn a_cookie_is_made_once_and_leads_home() {
    let keys = json!([{"cookie": {"name": "sid", "ttl": "1h", "path": "/"}}]);
    let plane = plane_with(&hashing("maglev", &endpoints().await, &keys));
    for _ in 0..10 {
        let first = ask(&plane, "/", &[]).await;
        let set = first.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(set.ends_with("; Max-Age=3600; Path=/; HttpOnly"), "{set}");
        let cookie = set.split(';').next().unwrap();
        for _ in 0..5 {
            let again = ask(&plane, "/", &[("cookie", &format!("theme=dark; {cookie}"))]).await;
            assert_eq!(again.text, first.text);
            assert!(!again.headers.contains_key("set-cookie"));
        }
    }
}

#[tokio::test]
async fn keys_of_an_endpoint_that_is_gone_or_left_out_find_another() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut endpoints = endpoints().await;
    endpoints.push(nobody);
    let mut body = hashing("ring-hash", &endpoints, &json!([{"header": "x-user"}]));
    body["outbound"][0]["otherwise"]["retry"] = json!({"attempts": 1, "on": ["connect-failure"], "methods": ["GET"],
        "backoff_base": "1ms", "backoff_max": "1ms"});
    let plane = plane_with(&body);
    let homes_by_retry = homes(&plane).await;
    assert!(homes_by_retry.values().all(|home| NAMES.contains(&home.as_str())), "{homes_by_retry:?}");
    body["clusters"]["up"]["outliers"] = json!({"consecutive_errors": 1, "consecutive_gateway_errors": 0,
        "interval": "10s", "base_ejection": "1h", "max_ejected_percent": 50, "min_healthy_percent": 0});
    plane.apply(snapshot(&body, 2).unwrap()).unwrap();
    assert_eq!(homes(&plane).await, homes_by_retry, "the next on the ring stands in either way");
    assert_eq!(plane.describe_clusters()["up"]["ejected"], json!([nobody]));
}

#[tokio::test]
async fn a_session_stays_with_its_backend_and_endpoint() {
    for (carrier, field) in [("cookie", "set-cookie"), ("header", "x-home")] {
        let (endpoints, other) = (endpoints().await, says("other").await);
        let mut body = calls(&endpoints);
        body["clusters"]["other"] = cluster(&[other]);
        body["outbound"][0]["otherwise"]["action"] = json!({"forward": [
            {"target": {"cluster": "up"}, "weight": 1}, {"target": {"cluster": "other"}, "weight": 1}]});
        body["outbound"][0]["otherwise"]["session"] = json!({"name": "x-home", "carrier": carrier});
        let plane = plane_of(2);
        plane.apply(snapshot(&body, 1).unwrap()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let mut carried = Vec::new();
        for _ in 0..60 {
            let first = ask(&plane, "/", &[]).await;
            let token = first.headers[field].to_str().unwrap().split(';').next().unwrap().to_owned();
            let name = if carrier == "cookie" { "cookie" } else { "x-home" };
            for _ in 0..3 {
                let again = ask(&plane, "/", &[(name, &token)]).await;
                assert_eq!(again.text, first.text, "{token}");
                assert!(!again.headers.contains_key(field), "it carries that already");
            }
            seen.insert(first.text.clone());
            carried.push((name, token, first.text));
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
        // An endpoint that is gone: its sessions move once, the others stay.
        let gone = body["clusters"]["up"]["endpoints"].as_array_mut().unwrap().pop().unwrap();
        let gone = endpoints.iter().position(|address| u64::from(address.port()) == gone["port"]).unwrap();
        plane.apply(snapshot(&body, 2).unwrap()).unwrap();
        for (name, token, home) in &carried {
            let again = ask(&plane, "/", &[(*name, token)]).await;
            let moved = *home == NAMES[gone];
            assert_eq!((again.text == *home, again.headers.contains_key(field)), (!moved, moved), "{token}");
        }
    }
}
