//! More labels of request metrics, where policy asks for some: never a text that a caller chooses, and never more sets of
//! them than fit.
//!
//! Handles are kept by each thread for itself, so that a request that was like another takes no lock.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;

use super::metrics::{Latency, lock};

/// How many sets of labels a service has; the requests of all others are counted under `other`.
const MAX_SETS: usize = 1000;

/// How many handles a thread keeps.
const MAX_HANDLES: usize = 4096;

/// Names of labels, and what they hold.
pub(super) type Pairs = Vec<(String, String)>;

/// The labels that were added; none for most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Added(pub(super) Option<Arc<Pairs>>);

impl EncodeLabelSet for Added {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for pair in self.0.iter().flat_map(|pairs| pairs.iter()) {
            pair.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// What counts requests with one set of labels and one end.
#[derive(Clone, Debug)]
pub(super) struct Handles {
    pub(super) requests: Counter,
    pub(super) latency: Arc<Latency>,
}

/// The sets of labels of one service.
#[derive(Debug, Default)]
pub(super) struct Sets(Mutex<HashSet<Arc<Pairs>>>);

impl Sets {
    /// The set as it is counted.
    fn admit(&self, pairs: &Pairs) -> Added {
        let mut sets = lock(&self.0);
        if let Some(known) = sets.get(pairs) {
            return Added(Some(Arc::clone(known)));
        }
        let kept = match sets.len() < MAX_SETS {
            true => pairs.clone(),
            false => pairs.iter().map(|(name, _)| (name.clone(), "other".to_owned())).collect(),
        };
        let kept = Arc::new(kept);
        sets.insert(Arc::clone(&kept));
        Added(Some(kept))
    }

    /// The handles of a set of labels and an end; `make` makes them the first time. `service` tells services apart.
    pub(super) fn handles(
        &self,
        service: u64,
        end: usize,
        pairs: Pairs,
        make: impl FnOnce(Added) -> Handles,
    ) -> Handles {
        thread_local! {
            static HANDLES: RefCell<HashMap<(u64, usize, Pairs), Handles>> = RefCell::default();
        }
        HANDLES.with_borrow_mut(|handles| {
            if handles.len() >= MAX_HANDLES {
                handles.clear();
            }
            let key = (service, end, pairs);
            if let Some(known) = handles.get(&key) {
                return known.clone();
            }
            let made = make(self.admit(&key.2));
            handles.insert(key, made.clone());
            made
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_bounded_and_the_rest_counts_together() {
        let sets = Sets::default();
        let pairs = |number: usize| vec![("peer".to_owned(), number.to_string())];
        for number in 0..2 * MAX_SETS {
            let added = sets.admit(&pairs(number));
            let value = added.0.unwrap()[0].1.clone();
            assert_eq!(value, if number < MAX_SETS { number.to_string() } else { "other".to_owned() });
        }
        assert_eq!(sets.0.lock().unwrap().len(), MAX_SETS + 1);
        assert_eq!(sets.admit(&pairs(7)).0.unwrap()[0].1, "7");
    }
}
