//! Work on independent things by several threads, with results as if one had done it.
//!
//! Threads are scoped and end with the call. Results come in the order of the things, whichever thread made them, so
//! nothing that follows can tell how many there were.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More threads than this gain nothing on policy, and each has a heap of its own.
const MOST_THREADS: usize = 16;

/// As many threads wait for a disk at once: file systems write what several ask for in one go.
const MOST_WAITING: usize = 32;

/// What `make` gives for each item, in their order.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], make: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    spread(items, threads.min(MOST_THREADS), make)
}

/// The same for work that mostly waits for a disk.
pub(crate) fn map_waiting<T: Sync, R: Send>(items: &[T], make: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    spread(items, MOST_WAITING, make)
}

/// What both give; the first is worked out by a thread of its own meanwhile.
pub(crate) fn both<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        match first.join() {
            Ok(first) => (first, second),
            // As above: as if this thread had panicked itself.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn spread<T: Sync, R: Send>(items: &[T], threads: usize, make: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    // Items differ in size, so threads fetch a few at a time instead of getting a fixed share.
    let batch = (items.len() / 1024).clamp(1, 64);
    let threads = threads.min(items.len().div_ceil(batch));
    if threads <= 1 {
        return items.iter().enumerate().map(|(place, item)| make(place, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut made: Vec<(usize, Vec<R>)> = Vec::new();
        loop {
            let start = next.fetch_add(batch, Ordering::Relaxed);
            let here: Vec<R> = items
                .iter()
                .enumerate()
                .skip(start)
                .take(batch)
                .map(|(place, item)| make(place, item))
                .collect();
            if here.is_empty() {
                return made;
            }
            made.push((start, here));
        }
    };
    let mut made = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut made = work();
        for other in others {
            match other.join() {
                Ok(batches) => made.extend(batches),
                // Not ours to judge: as if this thread had panicked itself.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        made
    });
    made.sort_unstable_by_key(|(start, _)| *start);
    // With room for all from the start: a large list that grows is held twice.
    let mut all = Vec::with_capacity(items.len());
    made.into_iter().for_each(|(_, batch)| all.extend(batch));
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_come_in_the_order_of_the_items() {
        for count in [0, 1, 2, 63, 1_000, 70_000] {
            let items: Vec<usize> = (0..count).collect();
            let make = |place, item: &usize| {
                assert_eq!(place, *item);
                item * 3
            };
            let expected: Vec<usize> = items.iter().map(|item| item * 3).collect();
            assert_eq!(super::map(&items, make), expected);
            assert_eq!(super::map_waiting(&items, make), expected);
        }
    }
}
