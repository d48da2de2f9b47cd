//! Ports on loopback that are free now and that nobody else will be given.
//!
//! Policy names the ports of endpoints before the proxies that listen on them are started, so a port has to be known
//! early and still be free later. Ports below the system's ephemeral range are never handed to outgoing connections or
//! to `bind(0)`; each process starts at its own place in that range and each port is given out once, so only a
//! stranger's fixed port can be in the way, and that is seen by binding it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Failure, Result};

/// The first port that is given out.
const FIRST: u32 = 10_240;

/// How many are given out before starting over: up to 32,000, where Linux begins its ephemeral range.
const COUNT: u32 = 21_760;

/// A free port on 127.0.0.1.
///
/// # Errors
/// Not one of a thousand candidates can be bound.
pub fn free() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Far apart for neighbouring process ids, so that test processes side by side do not meet.
    let place = std::process::id().wrapping_mul(7919);
    for _ in 0..1000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let candidate = FIRST + place.wrapping_add(step) % COUNT;
        let port = u16::try_from(candidate).unwrap_or(u16::MAX);
        // A proxy's own listeners share their port among threads; this one does not, so it sees those too.
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failure::new("no free port on 127.0.0.1"))
}

/// A free address on loopback.
///
/// # Errors
/// As [`free`].
pub fn free_address() -> Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once_and_can_be_bound() {
        let ports: Vec<u16> = (0..50).map(|_| free().unwrap()).collect();
        let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), ports.len());
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
