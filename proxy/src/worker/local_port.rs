//! Local ports of dependencies: `--forward 127.0.0.1:5432=db.shop:5432`. What connects there reaches the service, whatever
//! it speaks, by the same rules as on the outbound listener.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use weft_bundle::engine::{Engine, FrontendRef};

/// A local port, and the service behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPort {
    /// Where it listens.
    pub address: SocketAddr,
    /// A host name, or `namespace/name`; lower case.
    service: String,
    port: u16,
}

/// Why a text is not `ADDR=SERVICE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPortError(String);

impl fmt::Display for LocalPortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a local address and a service such as `127.0.0.1:5432=db.shop:5432`", self.0)
    }
}

impl std::error::Error for LocalPortError {}

impl FromStr for LocalPort {
    type Err = LocalPortError;

    fn from_str(text: &str) -> Result<Self, LocalPortError> {
        let read = || {
            let (address, service) = text.split_once('=')?;
            let (service, port) = service.rsplit_once(':')?;
            let port = port.parse().ok().filter(|port| *port > 0)?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let parts: Vec<&str> = service.split('/').collect();
            let legal = |part: &&str| !part.is_empty() && part.bytes().all(plain);
            if parts.len() > 2 || !parts.iter().all(legal) {
                return None;
            }
            Some(Self { address: address.parse().ok()?, service: service.to_ascii_lowercase(), port })
        };
        read().ok_or_else(|| LocalPortError(text.to_owned()))
    }
}

impl fmt::Display for LocalPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.address, self.service, self.port)
    }
}

impl LocalPort {
    /// What callers see of the service, if policy has it.
    pub(crate) fn frontend<'e>(&self, engine: &'e Engine) -> Option<FrontendRef<'e>> {
        match self.service.contains('/') {
            true => engine.frontend_of(&self.service, self.port),
            false => engine.frontend(&self.service, self.port),
        }
    }

    /// The host and port that requests are sent to.
    pub(crate) fn authority(&self) -> (String, u16) {
        let host = match self.service.split_once('/') {
            Some((namespace, name)) => format!("{name}.{namespace}"),
            None => self.service.clone(),
        };
        (host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_address_and_a_service() {
        for text in ["127.0.0.1:5432=db.shop:5432", "[::1]:1=shop/db:5432", "127.0.0.1:0=DB:80"] {
            let port: LocalPort = text.parse().unwrap();
            assert_eq!(port.to_string(), text.to_lowercase());
        }
        let named = |text: &str| text.parse::<LocalPort>().unwrap().authority();
        assert_eq!(named("127.0.0.1:1=shop/db:5432"), ("db.shop".to_owned(), 5432));
        for wrong in [
            "",
            "127.0.0.1:5432",
            "127.0.0.1:5432=db",
            "127.0.0.1:5432=db:0",
            "127.0.0.1:5432=:80",
            "localhost:5432=db:80",
            "127.0.0.1:5432=a/b/c:80",
            "127.0.0.1:5432=a b:80",
            "127.0.0.1:5432=db:65536",
        ] {
            let error = wrong.parse::<LocalPort>().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:5432=db.shop:5432"), "{error}");
        }
    }
}
