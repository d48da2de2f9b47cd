//! Which outbound frontend a caller means: by the name that it uses, by a pattern of names, or by the address that it
//! connects to.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::BuildError;
use super::access::plain_network;
use super::host::{HostPattern, most_specific};
use crate::body::{Frontend, Protocol};

/// Frontends, by their place in the body.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// By name, then port.
    names: HashMap<String, Vec<(u16, usize)>>,
    patterns: Vec<(HostPattern, u16, usize)>,
    networks: Vec<(IpNet, u16, usize)>,
    /// Ports that take TLS which is not ended on its way.
    tls: BTreeSet<u16>,
}

impl Directory {
    pub(super) fn of(frontends: &[Frontend]) -> Result<Self, BuildError> {
        let mut directory = Self::default();
        for (index, frontend) in frontends.iter().enumerate() {
            let port = frontend.port;
            if frontend.protocol == Protocol::Tls {
                directory.tls.insert(port);
            }
            for host in &frontend.hosts {
                if !directory.add(host, port, index)? {
                    return Err(BuildError::Duplicate { place: format!("{host}:{port}") });
                }
            }
            let networks = frontend.addresses.iter().map(|network| (plain_network(*network), port, index));
            directory.networks.extend(networks);
        }
        Ok(directory)
    }

    /// False if it is there already.
    fn add(&mut self, host: &str, port: u16, index: usize) -> Result<bool, BuildError> {
        if !host.contains('*') {
            let ports = self.names.entry(host.to_owned()).or_default();
            let is_new = ports.iter().all(|(number, _)| *number != port);
            ports.push((port, index));
            return Ok(is_new);
        }
        let pattern = HostPattern::parse(host)
            .map_err(|source| BuildError::Match { place: format!("{host}:{port}"), source })?;
        let is_new = !self.patterns.iter().any(|(other, number, _)| *other == pattern && *number == port);
        self.patterns.push((pattern, port, index));
        Ok(is_new)
    }

    pub(super) fn takes_server_names(&self, port: u16) -> bool {
        self.tls.contains(&port)
    }

    pub(super) fn looks_at_destinations(&self) -> bool {
        !self.networks.is_empty() || !self.patterns.is_empty() || !self.tls.is_empty()
    }

    pub(super) fn named(&self, host: &str, port: u16) -> Option<usize> {
        let by_name = || self.names.get(host)?.iter().find(|(number, _)| *number == port);
        if let Some((_, index)) = by_name() {
            return Some(*index);
        }
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        // No pattern of names is one of addresses.
        if let Ok(address) = bare.parse() {
            return self.at(address, port);
        }
        let here = self.patterns.iter().filter(|(_, number, _)| *number == port);
        most_specific(here.map(|(pattern, _, index)| (*index, pattern)), host)
    }

    pub(super) fn at(&self, address: IpAddr, port: u16) -> Option<usize> {
        let address = address.to_canonical();
        let fits =
            |(network, number, _): &&(IpNet, u16, usize)| *number == port && network.contains(&address);
        let found = self.networks.iter().filter(fits);
        found.min_by_key(|(network, ..)| Reverse(network.prefix_len())).map(|(.., index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Action, Origin, Rule};

    fn directory(frontends: &[(u16, &[&str], &[&str])]) -> Result<Directory, BuildError> {
        let origin =
            Origin { object: "Service a/b".to_owned(), rule: None, file: "a.yaml".to_owned(), line: 1 };
        let otherwise = Rule {
            origin,
            action: Action::Respond { status: 404, body: None },
            request_headers: Default::default(),
            response_headers: Default::default(),
            rewrite: None,
            timeouts: Default::default(),
            retry: None,
            mirrors: Vec::new(),
            cors: None,
            fault: None,
            session: None,
        };
        let frontend = |(port, hosts, addresses): &(u16, &[&str], &[&str])| Frontend {
            service: "a/b".to_owned(),
            port: *port,
            protocol: Protocol::Tcp,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            addresses: addresses.iter().map(|network| network.parse().unwrap()).collect(),
            entries: Vec::new(),
            rules: Vec::new(),
            otherwise: otherwise.clone(),
        };
        Directory::of(&frontends.iter().map(frontend).collect::<Vec<_>>())
    }

    #[test]
    fn a_name_comes_before_patterns_and_the_longest_of_those_wins() {
        let directory = directory(&[
            (443, &["*.example.com"], &[]),
            (443, &["*"], &[]),
            (443, &["api.example.com", "*.eu.example.com"], &[]),
            (80, &["*.example.com"], &[]),
        ])
        .unwrap();
        for (host, port, found) in [
            ("api.example.com", 443, Some(2)),
            ("www.example.com", 443, Some(0)),
            ("www.eu.example.com", 443, Some(2)),
            ("example.com", 443, Some(1)),
            ("api.example.com", 80, Some(3)),
            ("example.com", 80, None),
            ("10.0.0.1", 443, None),
        ] {
            assert_eq!(directory.named(host, port), found, "{host}:{port}");
        }
    }

    #[test]
    fn the_smallest_network_wins_and_the_first_of_equals() {
        let directory = directory(&[
            (5432, &["a"], &["10.0.0.0/8"]),
            (5432, &["b"], &["10.1.0.0/16", "2001:db8::/32"]),
            (5432, &["c"], &["10.1.0.0/16"]),
            (6379, &["d"], &["10.1.2.3/32"]),
        ])
        .unwrap();
        for (address, port, found) in [
            ("10.2.0.1", 5432, Some(0)),
            ("10.1.2.3", 5432, Some(1)),
            ("10.1.2.3", 6379, Some(3)),
            ("10.1.2.4", 6379, None),
            ("2001:db8::1", 5432, Some(1)),
            ("::ffff:10.1.2.3", 5432, Some(1)),
            ("192.168.0.1", 5432, None),
        ] {
            assert_eq!(directory.at(address.parse().unwrap(), port), found, "{address}:{port}");
        }
        assert_eq!(directory.named("10.1.2.3", 5432), Some(1), "an address is as good as a name");
        assert_eq!(directory.named("[2001:db8::1]", 5432), Some(1));
    }

    #[test]
    fn whether_a_destination_can_matter_is_known_ahead() {
        let looks = |hosts: &[&str], addresses: &[&str]| {
            directory(&[(80, hosts, addresses)]).unwrap().looks_at_destinations()
        };
        assert!(!looks(&["a"], &[]) && looks(&["*.a"], &[]) && looks(&["a"], &["10.0.0.0/8"]));
        assert!(!directory(&[(80, &["a"], &[])]).unwrap().takes_server_names(80), "it is not TLS");
    }

    #[test]
    fn one_name_or_pattern_leads_to_one_frontend() {
        for hosts in [&["a"][..], &["*.a"]] {
            assert!(directory(&[(80, hosts, &[]), (81, hosts, &[])]).is_ok());
            assert!(matches!(
                directory(&[(80, hosts, &[]), (80, hosts, &[])]),
                Err(BuildError::Duplicate { .. })
            ));
        }
        assert!(matches!(directory(&[(80, &["a.*"], &[])]), Err(BuildError::Match { .. })));
    }
}
