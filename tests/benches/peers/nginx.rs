//! nginx as Debian has it: one worker, logs off. It speaks HTTP/1.1 to the origin and between two of its kind, and cannot tell
//! the names of a peer apart, so it checks less than the others: the chain, not who it is.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use weft_tests::{Result, port};

use crate::contender::{Contender, Http, Place, Program, Running, Shape, Until, first_line};
use crate::measure;

/// nginx.
#[derive(Debug)]
pub(crate) struct Nginx;

impl Contender for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn version(&self) -> Result<String> {
        first_line(Command::new("nginx").arg("-v"), "apt-get install nginx-light")
    }

    fn start(&self, shape: Shape, place: &Place, until: Until) -> Result<Option<Running>> {
        let (outer, inner) = (port::free_address()?, port::free_address()?);
        let origin = place.origin.http1;
        let programs = match shape {
            Shape::Plain(http) => {
                let http2 = if http == Http::Two { " http2" } else { "" };
                vec![run("nginx-plain", outer, &server(outer, http2, "", origin, "", None), place, until)?]
            }
            Shape::Routes(count) => {
                vec![run(
                    "nginx-routes",
                    outer,
                    &server(outer, "", "", origin, "", Some(count)),
                    place,
                    until,
                )?]
            }
            Shape::Hop(Http::One) => {
                let server_tls = &end_tls(place)?;
                let client_tls = &begin_tls(place)?;
                vec![
                    run(
                        "nginx-inner",
                        inner,
                        &server(inner, " ssl", server_tls, origin, "", None),
                        place,
                        Until::Listening,
                    )?,
                    run(
                        "nginx-outer",
                        outer,
                        &server(outer, "", "", inner, client_tls, None),
                        place,
                        Until::Listening,
                    )?,
                ]
            }
            Shape::Terminate => {
                let tls = &end_tls(place)?;
                vec![run(
                    "nginx-terminate",
                    outer,
                    &server(outer, " ssl", tls, origin, "", None),
                    place,
                    until,
                )?]
            }
            Shape::Hop(Http::Two) | Shape::Access(_) => return Ok(None),
        };
        Ok(Program::running(programs, outer))
    }
}

fn run(name: &str, listens: SocketAddr, server: &str, place: &Place, until: Until) -> Result<Program> {
    let root = place.mesh.root().display();
    let text = format!(
        "daemon off; worker_processes 1; pid {root}/{name}.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; server_tokens off;
  client_body_temp_path {root}/{name}-body; proxy_temp_path {root}/{name}-proxy;
  fastcgi_temp_path {root}/{name}-fastcgi; uwsgi_temp_path {root}/{name}-uwsgi; scgi_temp_path {root}/{name}-scgi;
{server}
}}
"
    );
    let file = place.write(&format!("{name}.conf"), &text)?;
    let mut nginx = measure::pinned("nginx".as_ref());
    nginx.arg("-e").arg("stderr").arg("-c").arg(file);
    Program::start(nginx, &place.file(&format!("{name}.log")), listens, until)
}

fn server(
    listen: SocketAddr,
    how: &str,
    tls: &str,
    to: SocketAddr,
    to_tls: &str,
    routes: Option<usize>,
) -> String {
    let scheme = if to_tls.is_empty() { "http" } else { "https" };
    let pass = format!("{{ proxy_pass {scheme}://next; proxy_set_header x-route all; {COMMON} {to_tls} }}");
    let mut locations = String::new();
    match routes {
        Some(count) => {
            for part in 0..count {
                let _ = writeln!(locations, "location /part{part}/ {pass}");
            }
        }
        None => {
            let _ = writeln!(locations, "location / {pass}");
        }
    }
    format!(
        "upstream next {{ server {to}; keepalive 1024; keepalive_requests 100000000; }}
server {{ listen {listen}{how}; {tls}
{locations}}}"
    )
}

const COMMON: &str = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; proxy_buffering on;";

fn end_tls(place: &Place) -> Result<String> {
    let (certificate, key) = place.identity("default/api")?;
    Ok(format!(
        "ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; ssl_verify_client on; \
         ssl_session_tickets off; ssl_session_cache off;",
        certificate.display(),
        key.display(),
        place.authority().display()
    ))
}

fn begin_tls(place: &Place) -> Result<String> {
    let (certificate, key) = place.identity("default/web")?;
    Ok(format!(
        "proxy_ssl_protocols TLSv1.3; proxy_ssl_certificate {}; proxy_ssl_certificate_key {}; \
         proxy_ssl_trusted_certificate {}; proxy_ssl_verify off; proxy_ssl_session_reuse off;",
        certificate.display(),
        key.display(),
        place.authority().display()
    ))
}
