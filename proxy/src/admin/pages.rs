//! What is answered.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use super::{Site, guard};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every page.
const PAGES: &str = "/live /ready /metrics /bundle /clusters /certs /config /clear-text /drain\n";

/// Answers one request.
pub(super) fn respond<B>(request: &Request<B>, site: &Site) -> Response<Full<Bytes>> {
    if let Some(why) = guard::refusal(request, site.over_tcp) {
        return page(StatusCode::FORBIDDEN, TEXT, format!("{why}\n"));
    }
    let path = request.uri().path();
    match (request.method(), path) {
        (&Method::POST, "/drain") => {
            site.drain.ask();
            json(StatusCode::ACCEPTED, &site.plane.describe_drain())
        }
        (&Method::GET | &Method::HEAD, _) => read(path, site),
        _ => {
            let (allowed, said) = match path {
                "/drain" => ("GET, HEAD, POST", "only GET and POST\n"),
                _ => ("GET, HEAD", "only GET\n"),
            };
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, said.to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            response
        }
    }
}

fn read(path: &str, Site { plane, facts, .. }: &Site) -> Response<Full<Bytes>> {
    match path {
        "/live" => page(StatusCode::OK, TEXT, "live\n".to_owned()),
        "/ready" => match plane.not_ready() {
            None => page(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(why) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
        },
        "/metrics" => page(StatusCode::OK, OPENMETRICS, plane.metrics().encode()),
        "/bundle" => {
            let mut facts_of_both = plane.describe();
            if let Some(fields) = facts_of_both.as_object_mut() {
                fields.insert("source".to_owned(), facts());
            }
            json(StatusCode::OK, &facts_of_both)
        }
        "/clusters" => json(StatusCode::OK, &plane.describe_clusters()),
        "/certs" => json(StatusCode::OK, &plane.describe_certificates()),
        "/config" => json(StatusCode::OK, &plane.describe_config()),
        "/clear-text" => json(StatusCode::OK, &plane.describe_clear_text()),
        "/drain" => json(StatusCode::OK, &plane.describe_drain()),
        _ => page(StatusCode::NOT_FOUND, TEXT, PAGES.to_owned()),
    }
}

fn json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    page(status, JSON, format!("{value:#}\n"))
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
