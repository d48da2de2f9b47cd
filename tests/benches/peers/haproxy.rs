//! HAProxy as Debian has it: one thread, logs off. It checks a peer's chain and not its identity, as URIs in certificates mean
//! nothing to it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use weft_tests::{Context, Result, port};

use crate::contender::{Contender, Http, Place, Program, Running, Shape, Until, first_line};
use crate::measure;

/// HAProxy.
#[derive(Debug)]
pub(crate) struct HaProxy;

impl Contender for HaProxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn version(&self) -> Result<String> {
        first_line(Command::new("haproxy").arg("-v"), "apt-get install haproxy")
    }

    fn start(&self, shape: Shape, place: &Place, until: Until) -> Result<Option<Running>> {
        let (outer, inner) = (port::free_address()?, port::free_address()?);
        let origin = place.origin.of(shape.http());
        let proto = |http| if http == Http::Two { " proto h2" } else { "" };
        let alpn = |http| if http == Http::Two { "h2" } else { "http/1.1" };
        let programs = match shape {
            Shape::Plain(http) => {
                vec![run("haproxy-plain", outer, proto(http), "", (origin, proto(http)), place, until)?]
            }
            Shape::Routes(count) => {
                let mut rules = String::new();
                for part in 0..count {
                    let _ = writeln!(rules, "  use_backend next if {{ path_beg /part{part}/ }}");
                }
                vec![run("haproxy-routes", outer, "", &rules, (origin, ""), place, until)?]
            }
            Shape::Hop(http) => {
                let end = &end_tls(alpn(http), place)?;
                let begin = &begin_tls(alpn(http), place)?;
                vec![
                    run(
                        "haproxy-inner",
                        inner,
                        end,
                        ONLY_GET,
                        (origin, proto(http)),
                        place,
                        Until::Listening,
                    )?,
                    run("haproxy-outer", outer, proto(http), "", (inner, begin), place, Until::Listening)?,
                ]
            }
            Shape::Access(rules) => {
                let mut allowed = String::new();
                for part in 0..rules {
                    let _ = writeln!(allowed, "  http-request allow if METH_GET {{ path_beg /part{part}/ }}");
                }
                allowed.push_str("  http-request deny\n");
                let (end, begin) = (&end_tls("http/1.1", place)?, &begin_tls("http/1.1", place)?);
                vec![
                    run("haproxy-inner", inner, end, &allowed, (origin, ""), place, Until::Listening)?,
                    run("haproxy-outer", outer, "", "", (inner, begin), place, Until::Listening)?,
                ]
            }
            Shape::Terminate => {
                let end = &end_tls("http/1.1", place)?;
                vec![run("haproxy-terminate", outer, end, ONLY_GET, (origin, ""), place, until)?]
            }
        };
        Ok(Program::running(programs, outer))
    }
}

const ONLY_GET: &str = "  http-request deny unless METH_GET\n";

fn run(
    name: &str,
    listens: SocketAddr,
    bind: &str,
    rules: &str,
    (to, how): (SocketAddr, &str),
    place: &Place,
    until: Until,
) -> Result<Program> {
    let text = format!(
        "global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 15s
frontend in
  bind {listens}{bind}
  http-request set-header x-route all
{rules}  default_backend next
backend next
  http-reuse always
  server origin {to}{how}
"
    );
    let file = place.write(&format!("{name}.conf"), &text)?;
    let mut haproxy = measure::pinned("haproxy".as_ref());
    haproxy.arg("-db").arg("-f").arg(file);
    Program::start(haproxy, &place.file(&format!("{name}.log")), listens, until)
}

/// A certificate and its key in one file, as HAProxy wants them.
fn bundle(service: &str, place: &Place) -> Result<String> {
    let (certificate, key) = place.identity(&format!("default/{service}"))?;
    let read = |path: &std::path::Path| std::fs::read_to_string(path).context(path.display());
    let path = place.write(&format!("haproxy-{service}.pem"), &(read(&certificate)? + &read(&key)?))?;
    Ok(path.display().to_string())
}

fn end_tls(alpn: &str, place: &Place) -> Result<String> {
    let (crt, ca) = (bundle("api", place)?, place.authority());
    let ca = ca.display();
    Ok(format!(" ssl crt {crt} ca-file {ca} verify required ssl-min-ver TLSv1.3 no-tls-tickets alpn {alpn}"))
}

fn begin_tls(alpn: &str, place: &Place) -> Result<String> {
    let (crt, ca) = (bundle("web", place)?, place.authority());
    let ca = ca.display();
    Ok(format!(" ssl crt {crt} ca-file {ca} verify required ssl-min-ver TLSv1.3 no-ssl-reuse alpn {alpn}"))
}
