//! What opens a connection to a server that wants to know for whom it is (the PROXY protocol, versions 1 and 2; HAProxy,
//! `doc/proxy-protocol.txt`). Only written here, never read.

use std::net::{IpAddr, SocketAddr};

use super::terms::Source;

/// What version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, and that we are the proxy of somebody, or speak for ourselves.
const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;

/// TCP over IPv4 and IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header of that version, version 1 being the one in text. Nobody stands for ourselves, as in health checks.
pub(super) fn header(version: u8, source: Option<Source>) -> Vec<u8> {
    let pair =
        source.and_then(|Source { client, local }| Some((plain(client), plain(local))).filter(same_kind));
    match (version, pair) {
        (1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (1, Some((client, local))) => {
            let kind = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (client.ip(), local.ip());
            format!("PROXY {kind} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes()
        }
        (_, None) => [&SIGNATURE[..], &[LOCAL, 0, 0, 0]].concat(),
        (_, Some((client, local))) => {
            let (kind, from, to) = match (client.ip(), local.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => (TCP4, from.octets().to_vec(), to.octets().to_vec()),
                (from, to) => (TCP6, octets(from), octets(to)),
            };
            let ports = [client.port().to_be_bytes(), local.port().to_be_bytes()].concat();
            let addresses = [from, to, ports].concat();
            // 12 or 36.
            let length = u16::try_from(addresses.len()).unwrap_or_default().to_be_bytes();
            [&SIGNATURE[..], &[PROXY, kind], &length, &addresses].concat()
        }
    }
}

/// IPv4 as such, also where the socket is one for IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn same_kind((client, local): &(SocketAddr, SocketAddr)) -> bool {
    client.is_ipv4() == local.is_ipv4()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(client: &str, local: &str) -> Option<Source> {
        Some(Source { client: client.parse().unwrap(), local: local.parse().unwrap() })
    }

    #[test]
    fn version_one_is_a_line() {
        let line = |source| String::from_utf8(header(1, source)).unwrap();
        let four = source("192.0.2.1:56324", "192.0.2.11:443");
        assert_eq!(line(four), "PROXY TCP4 192.0.2.1 192.0.2.11 56324 443\r\n");
        let mapped = source("[::ffff:192.0.2.1]:56324", "[::ffff:192.0.2.11]:443");
        assert_eq!(line(mapped), line(four));
        let six = source("[2001:db8::1]:1", "[2001:db8::2]:65535");
        assert_eq!(line(six), "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
        let mixed = source("192.0.2.1:1", "[2001:db8::2]:2");
        assert_eq!((line(mixed), line(None)), ("PROXY UNKNOWN\r\n".into(), "PROXY UNKNOWN\r\n".into()));
        let longest = source(
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535",
        );
        assert!(line(longest).len() <= 107, "the most that a reader must take");
    }

    #[test]
    fn version_two_is_binary() {
        let four = header(2, source("192.0.2.1:256", "192.0.2.11:443"));
        let rest = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 11, 1, 0, 1, 187];
        assert_eq!(four, [&b"\r\n\r\n\0\r\nQUIT\n"[..], &rest].concat());
        let six = header(2, source("[2001:db8::1]:1", "[2001:db8::2]:2"));
        assert_eq!((six.len(), &six[12..16]), (52, &[0x21, 0x21, 0, 36][..]));
        assert_eq!((&six[48..], six[16]), (&[0, 1, 0, 2][..], 0x20));
        assert_eq!(header(2, None)[12..], [0x20, 0, 0, 0]);
        assert_eq!(header(2, source("192.0.2.1:1", "[2001:db8::2]:2")), header(2, None));
    }
}
