//! A crash, a full disk, a read-only disk: at every step the state is the old or the new, and never a mixture.

use std::cell::Cell;

use super::*;

/// State that fails for good once a number of writes has been made.
struct Failing<'a> {
    inner: &'a Memory,
    writes_left: Cell<usize>,
}

impl Failing<'_> {
    fn write(&self) -> Result<(), StoreError> {
        let left =
            self.writes_left.get().checked_sub(1).ok_or(StoreError("no space left on device".into()))?;
        self.writes_left.set(left);
        Ok(())
    }
}

impl State for Failing<'_> {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.load(name)
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write()?;
        self.inner.save(name, bytes)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.write()?;
        self.inner.remove(name)
    }
}

/// A cycle and, if there is a candidate, its adoption. Gives whether it came to its end.
fn cycle(bench: &Bench, state: &dyn State) -> Result<(), UpdateError> {
    match bench.updater.check(state, &bench.store, bench.running.as_ref(), bench.now)? {
        Step::Candidate(candidate) => candidate.accept(state),
        Step::Unchanged(_) | Step::Denylist(_) => Ok(()),
    }
}

#[test]
fn a_crash_between_any_two_writes_leaves_the_old_or_the_new() {
    let mut bench = Bench::running();
    bench.publish(2);
    bench.adopt();
    // The most that a cycle can do: two new roots, new timestamp keys, a new release.
    bench.rotate(&[&key(1)], |_| {});
    bench.rotate(&[&key(1)], |root| {
        root.keys.extend(key_list([key(30).public()]));
        root.roles.timestamp = role_keys(1, &[key(30).public()]);
    });
    bench.timestamp_key = key(30);
    bench.publish(3);
    let start = bench.state.files.borrow().clone();
    let mut crashes = 0;
    loop {
        bench.state.files.replace(start.clone());
        let failing = Failing { inner: &bench.state, writes_left: Cell::new(crashes) };
        let done = cycle(&bench, &failing);
        let after = bench.resume().unwrap();
        assert!(after.instead_of.is_none(), "after {crashes} writes");
        let expected = body("shop/cart", &format!("note-{}", after.pin.sequence));
        assert_eq!(after.body, expected);
        match done {
            // Removing what is no longer needed may fail; nothing else may go unsaid.
            Ok(()) => assert_eq!(after.pin.sequence, 3),
            Err(error) => {
                assert_eq!(error.reason(), "state");
                assert_eq!(after.pin.sequence, 2, "after {crashes} writes");
            }
        }
        // The restarted proxy gets there with the same store, and rollback protection never got weaker.
        let seen = bench.standing().seen.unwrap().sequence;
        assert!((2..=3).contains(&seen));
        let running = Some(after.pin.sha256);
        match bench.updater.check(&bench.state, &bench.store, running.as_ref(), bench.now).unwrap() {
            Step::Candidate(candidate) => candidate.accept(&bench.state).unwrap(),
            Step::Unchanged(_) => assert_eq!(after.pin.sequence, 3),
            Step::Denylist(_) => panic!("there is no denylist"),
        }
        assert_eq!(bench.resume().unwrap().pin.sequence, 3);
        if failing.writes_left.get() > 0 {
            break;
        }
        crashes += 1;
    }
    // Two roots; timestamp and record; service file, body and record; and what is removed.
    assert!(crashes >= 7, "{crashes}");
}

#[test]
fn nothing_is_persisted_by_a_cycle_that_fails_before_its_checks() {
    let mut bench = Bench::running();
    let before = bench.state.files.borrow().clone();
    for change in [
        (|timestamp: &mut Timestamp| timestamp.version = 0) as fn(&mut Timestamp),
        |timestamp| timestamp.issued = NOW.plus(DAY),
        |timestamp| timestamp.expires = NOW,
        |timestamp| timestamp.root_version = 9,
        |timestamp| timestamp.current.sequence = 0,
        |timestamp| timestamp.mesh = "test".parse().unwrap(),
    ] {
        bench.timestamp = None;
        bench.publish_with(2, change);
        assert!(bench.check().is_err());
        assert_eq!(*bench.state.files.borrow(), before);
    }
}

#[test]
fn a_failure_after_the_timestamp_freezes_nothing() {
    // CVE-2025-2888: a client that persisted a timestamp before its checks froze itself.
    let mut bench = Bench::running();
    bench.publish(2);
    let name = ObjectName::service(2, &cart());
    let good = get(&bench.store, &name);
    bench.store.files.borrow_mut().remove(name.as_str());
    for _ in 0..3 {
        assert_eq!(bench.reason(), "missing");
    }
    put(&bench.store, &name, &good);
    assert_eq!(bench.adopt().sequence, 2);
}

#[test]
fn the_state_directory_does_not_grow() {
    let mut bench = Bench::running();
    for sequence in 2..20 {
        bench.publish(sequence);
        bench.adopt();
        bench.unchanged();
    }
    let names: Vec<String> = bench.state.files.borrow().keys().cloned().collect();
    // The record; a timestamp; service file and body of the active release and of the one before.
    assert_eq!(names.len(), 6, "{names:?}");
}
