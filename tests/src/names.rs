//! A real name server on loopback: `dnsmasq`, as Debian has it (package `dnsmasq-base`).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use crate::{Context, Result, port, wait};

/// A name server that knows some names below `test`, and that there are no others there.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    running: Option<Child>,
}

impl NameServer {
    /// Starts one with these records, in the words of dnsmasq: `host-record=api.test,127.0.0.2,1` (name, address, seconds
    /// that it holds), `srv-host=_http._tcp.test,api.test,8080,10,3` (target, port, priority, weight). Nothing if there is no
    /// dnsmasq.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(records: &[String]) -> Result<Option<Self>> {
        let found = Command::new("dnsmasq").arg("--version").stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let mut server = Self { address: port::free_address()?, running: None };
        server.knows(records)?;
        Ok(Some(server))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Knows these records from now on, and no others.
    ///
    /// # Errors
    /// It does not start again.
    pub fn knows(&mut self, records: &[String]) -> Result<()> {
        self.stop();
        let mut command = Command::new("dnsmasq");
        command.args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
        ]);
        command.args(["--local=/test/", "--local-ttl=1"]);
        command.arg(format!("--listen-address={}", self.address.ip()));
        command.arg(format!("--port={}", self.address.port()));
        command.args(records.iter().map(|record| format!("--{record}")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(command.spawn().context("dnsmasq")?);
        wait::until("dnsmasq to answer", || self.answers().then_some(()))
    }

    /// Ends it: questions get no answer any more.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // Already gone is as good.
            let _ = running.kill();
            let _ = running.wait();
        }
    }

    /// Whether it answers a question for `test` (any answer will do).
    fn answers(&self) -> bool {
        const QUESTION: &[u8] =
            &[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, b't', b'e', b's', b't', 0, 0, 1, 0, 1];
        let ask = || -> std::io::Result<usize> {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_read_timeout(Some(std::time::Duration::from_millis(200)))?;
            socket.connect(self.address)?;
            socket.send(QUESTION)?;
            socket.recv(&mut [0; 512])
        };
        ask().is_ok_and(|length| length > 0)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop();
    }
}
