//! Who still comes in clear text to ports that take both: whom strict mutual TLS would refuse. They have no identity, so
//! they are known by their addresses, which are no labels: the list is for the admin page, and it is bounded.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use super::metrics::lock;

/// How many addresses are listed.
const MAX_LISTED: usize = 1000;

/// Connections in clear text, by port and address. Only such a connection takes the lock, once.
#[derive(Debug, Default)]
pub(crate) struct ClearText(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    known: BTreeMap<(u16, IpAddr), u64>,
    /// Connections of those who did not fit.
    others: u64,
}

impl ClearText {
    /// Notes a connection.
    pub(crate) fn came(&self, port: u16, address: IpAddr) {
        let mut listed = lock(&self.0);
        let is_full = listed.known.len() >= MAX_LISTED;
        match listed.known.get_mut(&(port, address.to_canonical())) {
            Some(count) => *count += 1,
            None if is_full => listed.others += 1,
            None => drop(listed.known.insert((port, address.to_canonical()), 1)),
        }
    }

    /// The list, sorted.
    pub(crate) fn describe(&self) -> serde_json::Value {
        let listed = lock(&self.0);
        let callers = listed.known.iter().map(|((port, address), count)| {
            serde_json::json!({"port": port, "address": address, "connections": count})
        });
        serde_json::json!({"callers": callers.collect::<Vec<_>>(), "others": listed.others})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded() {
        let clear = ClearText::default();
        for _ in 0..2 {
            for number in 0..1500_u32 {
                clear.came(80, IpAddr::from(number.to_be_bytes()));
            }
        }
        let shown = clear.describe();
        assert_eq!((shown["callers"].as_array().unwrap().len(), &shown["others"]), (1000, &1000.into()));
        assert_eq!(
            shown["callers"][0],
            serde_json::json!({"port": 80, "address": "0.0.0.0", "connections": 2})
        );
    }
}
