//! What comes out: a concrete request, as evidence.

use std::fmt;

/// One request. What no entry asks about is left at its plainest: `GET`, `http`, `/`, absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The authority; `None` if no entry asks about it, so that any will do.
    pub authority: Option<String>,
    /// The port; `None` if no entry asks about it, so that any will do.
    pub port: Option<u16>,
    /// The canonical path, without query.
    pub path: String,
    /// Header fields that are there, by name in lower case, sorted.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Query parameters that are there, decoded, sorted.
    pub query: Vec<(String, Vec<u8>)>,
    /// Facts that are known, sorted.
    pub facts: Vec<(String, Vec<u8>)>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            scheme: "http".to_owned(),
            authority: None,
            port: None,
            path: "/".to_owned(),
            headers: Vec::new(),
            query: Vec::new(),
            facts: Vec::new(),
        }
    }
}

/// One line, as a person would type it: ``GET /reviews?page=2 with `x-env: test` ``. The scheme and host are shown
/// only where they matter.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.method)?;
        if let Some(authority) = &self.authority {
            write!(f, "{}://{authority}", self.scheme)?;
        }
        f.write_str(&self.path)?;
        for (at, (name, value)) in self.query.iter().enumerate() {
            write!(f, "{}", if at == 0 { '?' } else { '&' })?;
            percent_encode(f, name.as_bytes())?;
            f.write_str("=")?;
            percent_encode(f, value)?;
        }
        let mut extras = Vec::new();
        if self.authority.is_none() && self.scheme != "http" {
            extras.push(format!("scheme {}", self.scheme));
        }
        if let Some(port) = self.port {
            extras.push(format!("port {port}"));
        }
        for (name, value) in self.headers.iter().chain(&self.facts) {
            extras.push(format!("`{name}: {}`", value.escape_ascii()));
        }
        for (at, extra) in extras.iter().enumerate() {
            write!(f, "{}{extra}", if at == 0 { " with " } else { ", " })?;
        }
        Ok(())
    }
}

fn percent_encode(f: &mut fmt::Formatter<'_>, text: &[u8]) -> fmt::Result {
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_as_one_would_type_it() {
        let plain = Request::default();
        assert_eq!(plain.to_string(), "GET /");

        let full = Request {
            authority: Some("shop.example".to_owned()),
            path: "/cart".to_owned(),
            query: vec![("a b".to_owned(), b"1&2".to_vec()), ("c".to_owned(), Vec::new())],
            headers: vec![("x-env".to_owned(), b"t\xff".to_vec())],
            port: Some(8080),
            ..Request::default()
        };
        let expected = r"GET http://shop.example/cart?a%20b=1%262&c= with port 8080, `x-env: t\xff`";
        assert_eq!(full.to_string(), expected);
    }
}
